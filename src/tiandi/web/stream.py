"""What happens, told to everybody who looks, as server-sent events (WHATWG HTML, section 9.2).

What is told is encoded once and shared by all readers: the network at most once a second and only when it changed, events as they come,
gathered for a quarter of a second. A ring keeps the last events. A reader has no queue of its own but a place in the ring, so that one
who is slow costs nothing: it skips old pictures of the network, is told how many events it lost, and whoever takes nothing is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from itertools import islice

import msgspec

from tiandi.random import secret_bytes
from tiandi.scenario.view import EventView, NetworkView
from tiandi.web.watched import Watched

EVENTS_KEPT = 2000
GATHER_S = 0.25
NETWORK_EVERY_S = 1.0
NETWORK_FRESH_S = 0.2
"""How old the picture of the network may be that a request gets."""
PING_S = 15.0
"""Something is sent at least this often, so that both sides notice when the other is gone."""
RETRY_MS = 2000
AGAIN_S = 1.0

_log = logging.getLogger(__name__)
_encoder = msgspec.json.Encoder()


class Stream:
    """The picture of a network and its last events, kept up to date for any number of readers."""

    def __init__(self, watched: Watched, *, events_kept: int = EVENTS_KEPT) -> None:
        self._watched = watched
        self._process = secret_bytes(4).hex()
        """Identifiers of events begin with it: those of an earlier process mean nothing to this one."""
        self._ring: deque[tuple[EventView, bytes]] = deque(maxlen=events_kept)
        self._count = 0
        """Events so far; the newest in the ring is event ``_count`` - 1."""
        self._view: NetworkView | None = None
        self._told: NetworkView | None = None
        self._body = self._frame = b""
        self._read_s = self._told_s = float("-inf")
        self._batch, self._batch_number, self._batch_count = b"", 0, 0
        """What readers who keep up get, and the number of events told with it."""
        self._news, self._wanted = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False
        self.readers = 0

    def start(self) -> None:
        """Begin to listen to the network."""
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._tell())]

    async def close(self) -> None:
        """Send every reader home, and stop listening."""
        self._closed = True
        self._news.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def network(self) -> tuple[NetworkView, bytes]:
        """The network as it is, and the same in JSON."""
        now_s = time.monotonic()
        view = self._view
        if view is None or now_s - self._read_s > NETWORK_FRESH_S:
            view = self._read_network(now_s)
        return view, self._body

    def changed(self) -> None:
        """Somebody acted: the picture is out of date."""
        self._read_s = self._told_s = float("-inf")

    def events(self) -> Iterator[EventView]:
        """The last events, newest first."""
        return (event for event, _ in reversed(self._ring))

    async def follow(self, last_event_id: str = "") -> AsyncIterator[bytes]:
        """What a reader is sent: the network and the events after ``last_event_id`` at once, then what happens."""
        self.readers += 1
        self._wanted.set()
        try:
            self._gather()
            number, told = self._batch_number, self._batch_count
            self.network()
            yield b"retry: %d\n\n" % RETRY_MS + self._frame + self._frames(self._place(last_event_id), told)
            while not self._closed:
                if number == self._batch_number:
                    try:
                        async with asyncio.timeout(PING_S):
                            await self._news.wait()
                    except TimeoutError:
                        yield b":\n\n"
                    continue
                keeps_up = number == self._batch_number - 1
                body = self._batch if keeps_up else self._frame + self._frames(told, self._batch_count)
                number, told = self._batch_number, self._batch_count
                yield body
        finally:
            self.readers -= 1
            if not self.readers:
                self._wanted.clear()

    async def _listen(self) -> None:
        while True:
            try:
                async for event in self._watched.subscribe():
                    frame = b"id: %s-%d\nevent: event\ndata: %s\n\n" % (self._process.encode(), self._count, _encoder.encode(event))
                    self._ring.append((event, frame))
                    self._count += 1
            except Exception:
                _log.exception("the network's events broke off")
            await asyncio.sleep(AGAIN_S)

    async def _tell(self) -> None:
        """While somebody looks: new events, and the network when it is time."""
        while True:
            await self._wanted.wait()
            try:
                self._gather()
            except Exception:
                _log.exception("the network could not be shown")
            await asyncio.sleep(GATHER_S)

    def _gather(self) -> None:
        """Make what is new a batch, and wake the readers."""
        now_s = time.monotonic()
        batch = b""
        # A little early rather than a quarter of a second late.
        if now_s - self._told_s > NETWORK_EVERY_S - GATHER_S / 2:
            self._told_s = now_s
            view = self._read_network(now_s)
            if self._told is None or msgspec.structs.replace(view, now_real=self._told.now_real) != self._told:
                self._told, batch = view, self._frame
        batch += self._frames(self._batch_count, self._count)
        if batch:
            self._batch, self._batch_number, self._batch_count = batch, self._batch_number + 1, self._count
            news, self._news = self._news, asyncio.Event()
            news.set()

    def _read_network(self, now_s: float) -> NetworkView:
        view = self._watched.view()
        body = _encoder.encode(view)
        self._view, self._body, self._frame, self._read_s = view, body, b"event: network\ndata: %s\n\n" % body, now_s
        return view

    def _place(self, last_event_id: str) -> int:
        """The number of events that a reader knows of: it gets the others."""
        process, _, number = last_event_id.partition("-")
        if not last_event_id:
            return self._batch_count
        if process != self._process or not (number.isascii() and number.isdigit() and len(number) <= 15):
            return self._count - len(self._ring)
        return min(int(number) + 1, self._batch_count)

    def _frames(self, known: int, until: int) -> bytes:
        """The events from ``known`` to ``until``, after how many of them are gone from the ring."""
        oldest = self._count - len(self._ring)
        lost = max(0, oldest - known)
        head = b'event: lost\ndata: {"events":%d}\n\n' % lost if lost else b""
        return head + b"".join(frame for _, frame in islice(self._ring, max(0, known - oldest), max(0, until - oldest)))
