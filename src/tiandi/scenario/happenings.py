"""What happens in a living network, told to whoever listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from tiandi.clock import Clock, format_utc
from tiandi.scenario.view import EventKind, EventView

MOST_WAITING = 1000
"""Events that a listener may leave unread; who leaves more is dropped."""


class Happenings:
    """Numbers events and hands each to every listener. Lives on one event loop."""

    def __init__(self, clock: Clock, next_id: int = 1) -> None:
        self._clock, self.next_id = clock, next_id
        self._listeners: set[asyncio.Queue[EventView | None]] = set()

    def tell(self, kind: EventKind, what: str, *, moment: datetime | None = None, **about: Any) -> EventView:
        """Something happened now, or at ``moment``, of which news came only now; ``about`` names its link, node or pair."""
        event = EventView(self.next_id, format_utc(moment or self._clock.now()), kind, what, **about)
        self.next_id += 1
        for queue in list(self._listeners):
            if queue.full():
                self._listeners.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)
        return event

    def subscribe(self) -> AsyncIterator[EventView]:
        """Events from now on; the iteration ends for a listener that does not keep up, and when the network stops."""
        queue: asyncio.Queue[EventView | None] = asyncio.Queue(MOST_WAITING)
        self._listeners.add(queue)
        return self._listen(queue)

    async def _listen(self, queue: asyncio.Queue[EventView | None]) -> AsyncIterator[EventView]:
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._listeners.discard(queue)

    def close(self) -> None:
        """End every iteration."""
        for queue in list(self._listeners):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)
        self._listeners.clear()
