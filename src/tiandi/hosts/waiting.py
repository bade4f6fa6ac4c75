"""An event loop that stays awake for a moment before it sleeps.

A round of Cascade takes either end some hundred microseconds. To let a processor sleep and to wake it again takes tens of them, and of both
ends: the one that sends has to wake the other. So look for what comes a little longer first.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

Result = TypeVar("Result")

AWAKE_S = 1e-4
"""Longer than an answer takes that is on its way, and short for an end that has nothing to do."""


class _WakefulSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.jobs = 0
        """Of threads, which need the processor."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready, within ``timeout`` [s]; None waits for ever."""
        tired_s = time.perf_counter() + (AWAKE_S if timeout is None else min(AWAKE_S, timeout))
        while not self.jobs and time.perf_counter() < tired_s:
            if ready := super().select(0):
                return ready
        return super().select(timeout)


class WakefulLoop(asyncio.SelectorEventLoop):
    """It sleeps only when nothing has come for `AWAKE_S`, or while a thread works for it."""

    def __init__(self) -> None:
        self._wakeful = _WakefulSelector()
        super().__init__(self._wakeful)

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """As any loop does; what is done in a thread is counted."""
        future = super().run_in_executor(executor, func, *args)
        self._wakeful.jobs += 1
        future.add_done_callback(self._one_job_less)
        return future

    def _one_job_less(self, _: asyncio.Future[Any]) -> None:
        self._wakeful.jobs -= 1


def run_wakefully(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """The same as `asyncio.run`, in such a loop."""
    with asyncio.Runner(loop_factory=WakefulLoop) as runner:
        return runner.run(coroutine)
