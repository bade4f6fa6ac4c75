"""A lean HTTP/1.1 client over mutual TLS, to put a load on a KME: one thread, the standard library's TLS on plain sockets, no parsing."""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

from kme_processes import FORK
from tiandi.kms.tls.pki import Credentials

READ_BYTE = 65_536
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Load:
    """What is asked, over how many connections each: ``paths`` with the credentials of who asks."""

    address: str
    server_name: str
    callers: Sequence[tuple[Credentials, str]]
    connections: int
    warm_s: float
    measured_s: float


@dataclass(frozen=True)
class Answers:
    """What came back while it was measured."""

    elapsed_s: float
    latencies_s: list[float]
    cpu_s: float
    bodies: list[tuple[int, bytes]]
    """Of every answer of the whole run: whose it was of the load's callers, and the body."""
    server_cpu_s: dict[str, float] = field(default_factory=dict)

    def cpu_us(self) -> str:
        """Processor time of a request wherever it was spent."""
        spent = {**self.server_cpu_s, "client": self.cpu_s}
        return ", ".join(f"{name} {1e6 * seconds / len(self.latencies_s):.0f} us" for name, seconds in spent.items())

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies_s) / self.elapsed_s

    def latency_ms(self, share: float) -> float:
        """A quantile of the time to an answer."""
        return 1e3 * sorted(self.latencies_s)[min(int(share * len(self.latencies_s)), len(self.latencies_s) - 1)]


def put_load(load: Load, cpu_s: Callable[[], dict[str, float]]) -> Answers:
    """Ask in a process of its own, on each connection anew as soon as it is answered; ``cpu_s`` tells the servers' processor time.

    Raises RuntimeError for any answer but 200.
    """
    near, far = FORK.Pipe()
    process = FORK.Process(target=lambda: far.send(_ask(load, far)))
    process.start()
    far.close()
    try:
        near.recv()
        before_s = cpu_s()
        near.recv()
        after_s = cpu_s()
        answers: Answers = near.recv()
    except EOFError:
        raise RuntimeError("the load client failed") from None
    finally:
        process.join(5)
        process.terminate()
    return replace(answers, server_cpu_s={name: after_s[name] - before_s[name] for name in after_s})


def connect(address: str, server_name: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A connection after its handshake."""
    url = urlsplit(address)
    raw = socket.create_connection((url.hostname, url.port), timeout=TIMEOUT_S)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(raw, server_hostname=server_name)


class _Caller:
    """One connection that always waits for an answer."""

    def __init__(self, load: Load, number: int) -> None:
        self.number = number
        credentials, path = load.callers[number]
        self.socket = connect(load.address, load.server_name, credentials.client_context())
        self.socket.setblocking(False)
        self._request = f"GET {path} HTTP/1.1\r\nHost: {load.server_name}\r\nAccept: application/json\r\n\r\n".encode()
        self._received = b""
        self._wanted_byte = 0
        self.asked_s = 0.0

    def ask(self) -> None:
        """Send the request."""
        self.asked_s = time.perf_counter()
        self.socket.send(self._request)

    def take(self) -> bytes | None:
        """The answer's body, when it is whole."""
        try:
            while True:
                self._received += self.socket.recv(READ_BYTE)
                if self._is_whole():
                    break
        except ssl.SSLWantReadError:
            return None
        body, self._received, self._wanted_byte = self._received.partition(b"\r\n\r\n")[2], b"", 0
        return body

    def _is_whole(self) -> bool:
        if not self._wanted_byte:
            head, mark, _ = self._received.partition(b"\r\n\r\n")
            if not mark:
                return False
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(self._received[:500].decode())
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self._wanted_byte = len(head) + len(mark) + int(length)
        return len(self._received) >= self._wanted_byte


def _ask(load: Load, marks: Connection) -> Answers:
    callers = [_Caller(load, number) for number in range(len(load.callers)) for _ in range(load.connections)]
    poll = select.epoll()
    by_descriptor = {caller.socket.fileno(): caller for caller in callers}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    for caller in callers:
        caller.ask()
    clock, bodies = _Clock(load, marks), []
    latencies_s: list[float] = []
    waiting = len(callers)
    while waiting:
        for descriptor, _ in poll.poll(TIMEOUT_S) or _late():
            caller = by_descriptor[descriptor]
            body = caller.take()
            if body is None:
                continue
            bodies.append((caller.number, body))
            now_s = time.perf_counter()
            if clock.is_measured(now_s):
                latencies_s.append(now_s - caller.asked_s)
            if clock.has_ended:
                waiting -= 1
            else:
                caller.ask()
    return Answers(clock.elapsed_s, latencies_s, clock.cpu_s, bodies)


class _Clock:
    """Tells the measured time from that before and after, and the other end of a pipe when it begins and ends."""

    def __init__(self, load: Load, marks: Connection) -> None:
        self._marks = marks
        self._begins_s = time.perf_counter() + load.warm_s
        self._ends_s = self._begins_s + load.measured_s
        self._is_warm = self.has_ended = False
        self.elapsed_s = self.cpu_s = 0.0

    def is_measured(self, now_s: float) -> bool:
        """Whether what came now counts."""
        if not self._is_warm and now_s >= self._begins_s:
            self._is_warm, self._begins_s, self.cpu_s = True, now_s, time.process_time()
            self._marks.send("begins")
            return False
        if self._is_warm and not self.has_ended and now_s >= self._ends_s:
            self.has_ended, self.elapsed_s, self.cpu_s = True, now_s - self._begins_s, time.process_time() - self.cpu_s
            self._marks.send("ends")
            return True
        return self._is_warm and not self.has_ended


def _late() -> list[tuple[int, int]]:
    raise RuntimeError(f"no answer in {TIMEOUT_S} s")
