"""An instrument in another process: the same interface, over TCP. What the instrument refuses arrives as the same InputError."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.instruments.frames import receive, send
from tiandi.computing.instruments.instrument import Electronics, Settings, Spectrum
from tiandi.computing.instruments.program import Program, Reading
from tiandi.errors import InputError, StateError


class RemoteInstrument:
    """An Instrument at the other end of a connection; calls come one after the other. Also a context manager, which hangs up."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._one_at_a_time = threading.Lock()
        self._electronics: Electronics | None = None

    @property
    def electronics(self) -> Electronics:
        """Asked for once."""
        if self._electronics is None:
            self._electronics = self._call("electronics")
        return self._electronics

    @property
    def now_s(self) -> float:
        """Laboratory time [s]."""
        return float(self._call("now_s"))

    def configure(self, settings: Settings) -> None:
        """Take new settings, or none of them."""
        self._call("configure", settings)

    def run(self, program: Program) -> Reading:
        """Play a program."""
        reading = self._call("run", program)
        assert isinstance(reading, Reading)
        return reading

    def monitor(self, lines: NDArray[np.int64]) -> Spectrum:
        """Look at drive lines with the spectrum analyser."""
        spectrum = self._call("monitor", np.asarray(lines))
        assert isinstance(spectrum, Spectrum)
        return spectrum

    def rest(self, time_s: float) -> None:
        """Let laboratory time pass."""
        self._call("rest", time_s)

    def close(self) -> None:
        """Hang up, so that another controller may come."""
        self._connection.close()

    def __enter__(self) -> RemoteInstrument:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _call(self, name: str, argument: Any = None) -> Any:
        with self._one_at_a_time:
            try:
                send(self._connection, {"call": name, "argument": argument})
                answer = receive(self._connection)
            except OSError as error:
                raise StateError("instrument", name, f"the connection failed: {error}") from error
        if not isinstance(answer, dict):
            raise StateError("instrument", name, "hung up without an answer")
        refused = answer.get("refused")
        if refused is not None:
            raise InputError(str(refused["field"]), refused["value"], str(refused["limit"]))
        return answer.get("result")


def connect(address: str, *, timeout_s: float = 10.0) -> RemoteInstrument:
    """The instrument at ``address``, as "127.0.0.1:4711"; StateError where nobody answers."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise InputError("address", address, 'must be a host and a port, as "127.0.0.1:4711"')
    try:
        connection = socket.create_connection((host, int(port)), timeout=timeout_s)
    except OSError as error:
        raise StateError("instrument", address, f"cannot be reached: {error}") from error
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return RemoteInstrument(connection)
