"""Ports for servers that tests start, and may kill and start anew at the same place."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Sequence
from contextlib import ExitStack

RANGE = range(20_000, 32_000)
"""Below what systems give to callers (Linux: from 32768), so that nobody takes a port while its server is dead."""
WORKERS = 8
"""Workers of pytest-xdist have parts of the range of their own."""
LOOPBACK = "127.0.0.1"


def free_port(count: int = 1, addresses: Sequence[str] = (LOOPBACK,)) -> int:
    """The first of ``count`` ports that nobody listens at now, at none of the addresses."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = RANGE[worker % WORKERS :: WORKERS] if count == 1 else RANGE[worker % WORKERS * count :: WORKERS * count]
    while True:
        port = secrets.choice(own)
        try:
            with ExitStack() as trials:
                for address in addresses:
                    for each in range(port, port + count):
                        trials.enter_context(socket.socket()).bind((address, each))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        return port
