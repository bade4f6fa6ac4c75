"""What the cloud accepts, and what waiting costs: small jobs submitted over HTTP, each on disk before its answer, on two machines' twins.

Server and client are processes of their own on one machine. The bare limits are an empty handler of the same server, and the disk.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar

from kme_processes import fdatasync_rate
from measure import Figure
from tiandi.computing.cloud import queue, users
from tiandi.computing.cloud.answers import Answer, route
from tiandi.computing.cloud.jobs import Submission
from tiandi.computing.cloud.machines import DEFAULT_CATALOGUE, twins
from tiandi.computing.cloud.pool import Reader
from tiandi.computing.cloud.queue import Taken
from tiandi.computing.cloud.schema import create_tables
from tiandi.computing.cloud.server import CloudServer, create_app, listen
from tiandi.computing.cloud.service import Cloud
from tiandi.computing.cloud.sqlite_database import SqliteDatabase

FORK = get_context("fork")
RATE_GOAL_US = 1e6 / 500
P99_GOAL_MS = 50.0
WAITING_GOAL = 1.5
MEMORY_GOAL_MB = 30.0
"""What 100,000 waiting jobs may add to the server."""
CONNECTIONS = 8
MEASURED_S, WARM_S = 4.0, 1.0
OFFERED_PER_S = 500
FEW, MANY = 100, 100_000
PICKS, ROUNDS = 40, 6
USERS = 20
PROGRAM = "X2P Q{0}\nY2M Q{1}\nCZ Q{0} Q{1}\nX2P Q{1}\nM Q{0}\nM Q{1}\n"
MICROSECOND, MILLISECOND = 1e6, 1e3


@dataclass(frozen=True)
class Answers:
    """Seconds from asking to the answer, of those that were measured, and how long that took."""

    latencies_s: list[float]
    elapsed_s: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies_s) / self.elapsed_s

    def latency_ms(self, share: float) -> float:
        """A quantile."""
        return MILLISECOND * sorted(self.latencies_s)[min(int(share * len(self.latencies_s)), len(self.latencies_s) - 1)]


def benchmark_cloud() -> list[Figure]:
    """As fast as it goes, at the rate of the goal, and with few and many jobs waiting."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return _accepting(folder) + _waiting(folder)


def _body() -> bytes:
    machine = "tianyan-176"
    calibration = twins()[machine].calibration()
    works = {item["qubit"] for item in calibration["qubits"] if item["works"]}
    pair = next(item["qubits"] for item in calibration["couplers"] if item["works"] and works.issuperset(item["qubits"]))
    return msgspec.json.encode({"machine": machine, "programs": [PROGRAM.format(*pair)], "shots": 1000, "language": "qcis"})


def _accepting(folder: Path) -> list[Figure]:
    body = _body()
    with _process(_serve_cloud, folder / "accepting.sqlite") as (pipe, port, key):
        fastest = _ask(port, "/api/v1/jobs", key, body, status=b"201")
        offered = _ask(port, "/api/v1/jobs", key, body, status=b"201", per_s=OFFERED_PER_S)
        pipe.send("count")
        accepted, cpu_s = pipe.recv()
    with _process(_serve_empty, folder) as (_, port, key):
        bare = _ask(port, "/empty", key, body, status=b"200")
    limits = f"{fastest.rate / bare.rate:.2f} of an empty handler's {bare.rate:,.0f}/s; disk {fdatasync_rate(folder):,.0f} fdatasync/s; "
    limits += f"{MICROSECOND * cpu_s / accepted:.0f} us of the server's processor a job"
    asked = len(fastest.latencies_s) + len(offered.latencies_s)
    if accepted < asked:
        raise RuntimeError(f"{accepted} jobs are in the store, {asked} were accepted")
    tail = (
        f"p50 {offered.latency_ms(0.5):.1f} ms, longest {offered.latency_ms(1):.1f} ms; empty handler's p99 {bare.latency_ms(0.99):.1f} ms"
    )
    flat_out = f"Cloud: a job accepted durably ({fastest.rate:,.0f}/s, p99 {fastest.latency_ms(0.99):.1f} ms)"
    return [
        Figure(flat_out, MICROSECOND / fastest.rate, RATE_GOAL_US, "us", limits),
        Figure(f"Cloud: 99 % of jobs accepted within, {offered.rate:,.0f}/s offered", offered.latency_ms(0.99), P99_GOAL_MS, "ms", tail),
    ]


def _waiting(folder: Path) -> list[Figure]:
    """The same work with few and many jobs waiting, in the same store and run."""
    with _process(_fill_and_time, folder / "waiting.sqlite") as (pipe, _, _):
        few, many, grown_mb = pipe.recv()
    accept, pick = (f"{before:.0f} us with {FEW} waiting, {after:.0f} us with {MANY:,}" for before, after in zip(few, many, strict=True))
    return [
        Figure("Cloud: accepting with 100,000 jobs waiting over that with 100", many[0] / few[0], WAITING_GOAL, "", accept),
        Figure("Cloud: giving the next job with 100,000 waiting over that with 100", many[1] / few[1], WAITING_GOAL, "", pick),
        Figure("Cloud: memory of the server for 100,000 jobs that wait", grown_mb, MEMORY_GOAL_MB, "MB", "page caches of SQLite and all"),
    ]


@contextmanager
def _process(work: Callable[..., Any], where: Path) -> Iterator[tuple[Connection, int, str]]:
    near, far = FORK.Pipe()
    process = FORK.Process(target=_run, args=(work, far, where))
    process.start()
    far.close()
    try:
        port, key = near.recv()
        yield near, port, key
    finally:
        near.close()
        process.join(10)
        process.kill()


def _run(work: Callable[..., Any], pipe: Connection, where: Path) -> None:
    asyncio.run(work(pipe, where))
    os._exit(0)


async def _opened(path: Path) -> SqliteDatabase:
    database = SqliteDatabase(path, serving=True)
    await create_tables(database)
    for number in range(USERS):
        quotas = users.Quotas(most_waiting=10_000_000, shots_a_day=10**15, program_mb_a_day=10**9)
        await database.run(users.add_user, f"user-{number}", quotas)
    return database


async def _serve_cloud(pipe: Connection, path: Path) -> None:
    database = await _opened(path)
    key = await database.run(users.add_key, "user-0")
    cloud = Cloud(database, twins(), reader=Reader(DEFAULT_CATALOGUE))
    await cloud.start()
    server = CloudServer(create_app(cloud), listen(0))
    await server.start()
    begin_s = time.process_time()
    pipe.send((int(server.address.rpartition(":")[2]), key))
    while (await asyncio.to_thread(_wait, pipe)) is not None:
        pipe.send(((await database.read(queue.count_jobs))["waiting"], time.process_time() - begin_s))


async def _serve_empty(pipe: Connection, _: Path) -> None:
    async def nothing(*_: Any) -> Answer:
        return Answer(200, b"{}")

    app = Litestar(route_handlers=[route("/empty", nothing)], openapi_config=None, logging_config=None)
    server = CloudServer(app, listen(0))
    await server.start()
    pipe.send((int(server.address.rpartition(":")[2]), "none"))
    await asyncio.to_thread(_wait, pipe)


def _wait(pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        return None


async def _fill_and_time(pipe: Connection, path: Path) -> None:
    pipe.send((0, ""))
    database = await _opened(path)
    submission = msgspec.json.decode(_body(), type=Submission)

    async def submit(count: int) -> None:
        for first in range(0, count, 256):
            await asyncio.gather(
                *(database.run(queue.submit, f"user-{number % USERS}", submission) for number in range(first, min(first + 256, count)))
            )

    async def picked() -> Taken:
        taken = await database.run(queue.take, "here")
        assert taken is not None
        return taken

    async def timed() -> tuple[float, float]:
        """Processor time of one submission, and of taking one job and failing it, in the quickest of several rounds [us]."""
        submitting, picking = [], []
        for _ in range(ROUNDS):
            begin_s = time.process_time()
            for number in range(PICKS):
                await database.run(queue.submit, f"user-{number % USERS}", submission)
            between_s = time.process_time()
            for _ in range(PICKS):
                await database.run(queue.fail, await picked(), "timed", 0.01)
            submitting.append(between_s - begin_s)
            picking.append(time.process_time() - between_s)
        return MICROSECOND * min(submitting) / PICKS, MICROSECOND * min(picking) / PICKS

    await submit(FEW)
    await timed()
    few = await timed()
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await submit(MANY - FEW)
    many = await timed()
    pipe.send((few, many, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024))
    await database.close()


def _ask(port: int, path: str, key: str, body: bytes, *, status: bytes, per_s: float | None = None) -> Answers:
    """POST ``body`` over several connections, each anew when it is answered, or together ``per_s`` times a second; in another process."""
    near, far = FORK.Pipe()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    process = FORK.Process(target=lambda: far.send(_clients(port, head.encode() + b"\r\n\r\n" + body, status, per_s)))
    process.start()
    far.close()
    try:
        found: Answers = near.recv()
    finally:
        process.join(5)
        process.kill()
    return found


def _clients(port: int, request: bytes, status: bytes, per_s: float | None) -> Answers:
    begin_s = time.perf_counter() + WARM_S
    latencies: list[list[float]] = [[] for _ in range(CONNECTIONS)]

    wrong: list[bytes] = []

    def require(answer: bytes) -> None:
        if answer[9:12] != status:
            wrong.append(answer)

    def talk(number: int) -> None:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        turn_s = begin_s - WARM_S + (number / per_s if per_s else 0.0)
        while turn_s < begin_s + MEASURED_S:
            if per_s:
                # A late answer counts from when its turn was, so that a server that stands still is not spared.
                time.sleep(max(0.0, turn_s - time.perf_counter()))
            connection.sendall(request)
            require(_answer(connection))
            now_s = time.perf_counter()
            if turn_s >= begin_s:
                latencies[number].append(now_s - turn_s)
            turn_s = turn_s + CONNECTIONS / per_s if per_s else now_s

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong or not all(latencies):
        raise RuntimeError(wrong[0].decode(errors="replace") if wrong else "nothing was answered")
    return Answers([item for part in latencies for item in part], MEASURED_S)


def _answer(connection: socket.socket) -> bytes:
    """A whole answer: whatever it is, it says how long it is."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _some(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += _some(connection)
    return head + body


def _some(connection: socket.socket) -> bytes:
    if not (data := connection.recv(65_536)):
        raise RuntimeError("the server left")
    return data


if __name__ == "__main__":
    for figure in benchmark_cloud():
        print(figure.line())
    sys.exit(0)
