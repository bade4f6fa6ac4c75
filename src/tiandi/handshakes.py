"""TLS handshakes on a server's side that are counted: asyncio's own servers tell nobody of a connection before it is over.

What is accepted is a plain connection; of those whose peers have not shown what they are, at most so many are kept, and for a new one the
oldest must go. A peer that means it is done within two of its round trips, one that only takes a place is soon the oldest.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

TIMEOUT_S = 10.0


class Handshakes:
    """At most ``limit()`` peers at once that shake hands, but always one; `door` is the protocol factory of a plain TCP server.

    ``connect`` makes the protocol inside, which is told of its connection when the handshake is over, and never of one that failed.
    """

    def __init__(self, context: ssl.SSLContext, connect: Callable[[], asyncio.BaseProtocol], *, limit: Callable[[], int]) -> None:
        self.context, self.connect, self.limit = context, connect, limit
        self.under_way: dict[asyncio.Transport, None] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    def door(self) -> asyncio.Protocol:
        """For one connection that is accepted."""
        return _Door(self)

    def abort(self) -> None:
        """Hang up on everybody who is not done."""
        for transport in list(self.under_way):
            transport.abort()


class _Door(asyncio.Protocol):
    """Shakes hands, and keeps what is said right behind the handshake until there is somebody inside to hear it."""

    def __init__(self, crowd: Handshakes) -> None:
        self._crowd = crowd
        self._early: list[Callable[[asyncio.BaseProtocol], object]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        plain = cast(asyncio.Transport, transport)
        plain.pause_reading()  # What comes is for TLS.
        under_way = self._crowd.under_way
        while under_way and len(under_way) >= self._crowd.limit():
            oldest = next(iter(under_way))
            del under_way[oldest]
            oldest.abort()
        under_way[plain] = None
        task = asyncio.get_running_loop().create_task(self._shake(plain))
        self._crowd.tasks.add(task)
        task.add_done_callback(self._crowd.tasks.discard)

    async def _shake(self, plain: asyncio.Transport) -> None:
        if plain.is_closing():  # Others needed its place.
            self._crowd.under_way.pop(plain, None)
            return
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(plain, self, self._crowd.context, server_side=True, ssl_handshake_timeout=TIMEOUT_S)
        except OSError:  # No TLS, no certificate that is taken, too late, or gone: the peer has been told by TLS.
            plain.abort()
            return
        finally:
            self._crowd.under_way.pop(plain, None)
        if secured is None:  # It was cut off.
            return
        inside = self._crowd.connect()
        secured.set_protocol(inside)
        inside.connection_made(secured)
        for tell in self._early:
            tell(inside)

    def data_received(self, data: bytes) -> None:
        self._early.append(lambda inside: _feed(inside, data))

    def eof_received(self) -> bool:
        self._early.append(lambda inside: cast(asyncio.Protocol, inside).eof_received())
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._early.append(lambda inside: inside.connection_lost(exc))


def _feed(inside: asyncio.BaseProtocol, data: bytes) -> None:
    """Have a protocol of either kind hear ``data``."""
    if not isinstance(inside, asyncio.BufferedProtocol):
        cast(asyncio.Protocol, inside).data_received(data)
        return
    left = memoryview(data)
    while left:
        room = memoryview(inside.get_buffer(len(left)))
        size_byte = min(len(room), len(left))
        room[:size_byte] = left[:size_byte]
        inside.buffer_updated(size_byte)
        left = left[size_byte:]
