"""Ports for servers that tests start, and may kill and start anew at the same place."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle, islice

RANGE = range(20_000, 32_000)
"""Below what systems give to callers (Linux: from 32768), so that nobody takes a port while its server is dead."""
WORKERS = 8
"""Workers of pytest-xdist have parts of the range of their own."""
LOOPBACK = "127.0.0.1"


def _own_ports() -> Iterator[int]:
    """Those of this worker, in turn: what was handed out comes again only when all others were. Two runs at once begin elsewhere."""
    part = len(RANGE) // WORKERS
    first = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS * part
    own, start = RANGE[first : first + part], secrets.randbelow(part)
    return cycle([*own[start:], *own[:start]])


_ports = _own_ports()


def free_port(count: int = 1, addresses: Sequence[str] = (LOOPBACK,)) -> int:
    """The first of ``count`` ports in a row that nobody listens at now, at none of the addresses, and that nobody else is given soon."""
    while True:
        ports = list(islice(_ports, count))
        if ports[-1] - ports[0] != count - 1:
            continue
        try:
            with ExitStack() as trials:
                for address in addresses:
                    for port in ports:
                        trials.enter_context(socket.socket()).bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        return ports[0]
