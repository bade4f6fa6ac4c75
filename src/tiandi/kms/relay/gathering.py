"""Many askers, one question: whatever comes while one list is under way goes in the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

LARGEST_LIST = 64


class Gatherer(Generic[Item, Outcome]):
    """Sends items in lists, one list at a time. ``send`` gives an outcome or an error for each; what it raises is everybody's."""

    def __init__(self, send: Callable[[list[Item]], Awaitable[list[Outcome | BaseException]]]) -> None:
        self._send = send
        self._waiting: list[tuple[Item, asyncio.Future[Outcome]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, item: Item) -> Outcome:
        """The outcome of one item, or the error of the list it went in."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, outcome))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await outcome

    def close(self) -> None:
        """Send no more; nobody waits for an answer any longer."""
        if self._task is not None:
            self._task.cancel()
        for _, future in self._waiting:
            future.cancel()

    async def _run(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # Whoever is about to ask joins this list.
                group, self._waiting = self._waiting[:LARGEST_LIST], self._waiting[LARGEST_LIST:]
                # Whoever has gone asks for nothing.
                if asking := [(item, future) for item, future in group if not future.done()]:
                    await self._send_list([item for item, _ in asking], [future for _, future in asking])
        finally:
            self._task = None

    async def _send_list(self, items: list[Item], futures: list[asyncio.Future[Outcome]]) -> None:
        told: list[tuple[asyncio.Future[Outcome], Any]]
        try:
            told = list(zip(futures, await self._send(items), strict=True))
        except asyncio.CancelledError:
            for future in futures:
                future.cancel()
            raise
        except Exception as error:  # Whatever it is, those who wait are told.
            told = [(future, error) for future in futures]
        for future, outcome in told:
            if future.done():
                continue
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
