"""An instrument served over TCP: a control system in another process cannot tell it from one of its own.

One controller at a time: whoever calls first holds the instrument until it hangs up or its host is found gone (TCP keepalive); a second one
is told so and sent away. A connection that does not speak within `SILENT_S`, or is slow with a frame that it has begun, is closed. A frame
that cannot be understood is answered with one error, and its connection is closed; the instrument stays as it was. A controller that hangs
up in the middle of a call leaves the instrument as after that call.

There is no authentication and no encryption: whoever reaches the port controls the instrument. So it is served on loopback alone unless
``reachable`` says that others are meant to come in; then keep it behind a firewall, an SSH tunnel or a VPN.
"""

from __future__ import annotations

import logging
import socket
import threading
from ipaddress import ip_address
from types import TracebackType
from typing import Any

from tiandi.computing.instruments.frames import receive, send
from tiandi.computing.instruments.instrument import Instrument, Settings
from tiandi.computing.instruments.program import Program
from tiandi.errors import InputError, StateError, TiandiError
from tiandi.limits import require_within

LOOPBACK = "127.0.0.1"
BUSY = "another controller holds the instrument"
_LOGGER = logging.getLogger("tiandi.computing.instruments")
SILENT_S = 30.0
"""How long a new connection may say nothing, and how long an answer may wait to be taken."""
MOST_CONNECTIONS = 16
_SHORT_WAIT_S = 0.2
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


class InstrumentServer:
    """Serves from its making until `close`; also a context manager."""

    def __init__(self, instrument: Instrument, host: str, port: int, *, silent_s: float = SILENT_S) -> None:
        self._instrument, self._silent_s = instrument, silent_s
        self._held = threading.Lock()
        self._closed = threading.Event()
        self._open: set[socket.socket] = set()
        try:
            self._listener = socket.create_server((host, port))
        except OSError as error:
            raise StateError("port", port, f"cannot be listened to at {host}: {error.strerror or error}") from error
        self._listener.settimeout(_SHORT_WAIT_S)
        self._thread = threading.Thread(target=self._accept, name="instrument", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """As "127.0.0.1:4711"."""
        host, port = self._listener.getsockname()[:2]
        return f"{host}:{port}"

    def wait(self) -> None:
        """Until somebody closes the server."""
        self._closed.wait()

    def close(self) -> None:
        """Hear nobody any more; a call that is running comes to its end."""
        self._closed.set()
        self._thread.join()
        self._listener.close()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # It has gone by itself.

    def __enter__(self) -> InstrumentServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            if len(self._open) >= MOST_CONNECTIONS:
                connection.close()
                continue
            _watch_for_death(connection)
            self._open.add(connection)
            threading.Thread(target=self._converse, args=(connection,), name="controller", daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        held = False
        try:
            connection.settimeout(self._silent_s)
            request = self._heard(connection)
            if request is not None:
                held = self._held.acquire(timeout=_SHORT_WAIT_S)
                if not held:
                    send(connection, _refusal(InputError("controller", "a second one", BUSY)))
            while held and request is not None:
                send(connection, self._answer(request))
                connection.settimeout(None)
                request = self._heard(connection)
        except OSError as error:
            _LOGGER.info("a controller's connection ended: %s", error)
        finally:
            if held:
                self._held.release()
            self._open.discard(connection)
            connection.close()

    def _heard(self, connection: socket.socket) -> Any:
        """The next request; None where the conversation ends."""
        try:
            request = receive(connection, patience_s=self._silent_s)
        except InputError as error:
            send(connection, _refusal(error))
            return None
        # An answer that nobody takes must not wait for ever.
        connection.settimeout(self._silent_s)
        return request

    def _answer(self, request: Any) -> dict[str, Any]:
        try:
            return {"result": self._called(request)}
        except TiandiError as error:
            return _refusal(error)
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, MemoryError) as error:
            _LOGGER.info("a request could not be understood: %r", error)
            return _refusal(InputError("request", str(error)[:200], "must have the fields of its type, each of its kind"))

    def _called(self, request: Any) -> Any:
        name = request.get("call") if isinstance(request, dict) else None
        argument: Any = request.get("argument") if isinstance(request, dict) else None
        if name == "electronics":
            return self._instrument.electronics
        if name == "now_s":
            return self._instrument.now_s
        if name == "run":
            return self._instrument.run(_of(argument, Program))
        if name == "configure":
            self._instrument.configure(_of(argument, Settings))
            return None
        if name == "monitor":
            return self._instrument.monitor(argument)
        if name == "rest":
            self._instrument.rest(float(argument))
            return None
        raise InputError("call", str(name)[:40], "must be electronics, now_s, run, configure, monitor or rest")


def serve(instrument: Instrument, host: str = LOOPBACK, port: int = 0, *, reachable: bool = False) -> InstrumentServer:
    """Serve ``instrument`` in threads of this process; port 0 takes a free one. StateError where the port cannot be had.

    A ``host`` that others than this machine reach is refused unless ``reachable``: there is no authentication (see the module).
    """
    require_within("port", port, 0, 65_535)
    if not reachable and not _is_loopback(host):
        raise InputError("host", host, "must be a loopback address, for there is no authentication, unless reachable is set")
    return InstrumentServer(instrument, host, port)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _watch_for_death(connection: socket.socket) -> None:
    """Small frames go at once; a host that has gone without a word is noticed after a minute and a half."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _of(argument: Any, kind: type) -> Any:
    if not isinstance(argument, kind):
        raise InputError("argument", type(argument).__name__, f"must be {kind.__name__}")
    return argument


def _refusal(error: TiandiError) -> dict[str, Any]:
    if isinstance(error, InputError):
        return {"refused": {"field": error.field, "value": str(error.value)[:400], "limit": error.limit}}
    return {"refused": {"field": "instrument", "value": type(error).__name__, "limit": str(error)}}
