"""The loop that stays awake for a moment: it misses nothing, sleeps when nothing comes, and leaves the processor to a thread that works."""

from __future__ import annotations

import asyncio
import selectors
import threading
import time

import pytest

from tiandi.hosts import waiting
from tiandi.hosts.waiting import WakefulLoop, run_wakefully


@pytest.fixture
def timeouts(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """How long the system was asked to wait for something, time after time."""
    asked: list[float | None] = []
    select = selectors.DefaultSelector.select

    def noted(self: selectors.DefaultSelector, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        asked.append(timeout)
        return select(self, timeout)

    monkeypatch.setattr(selectors.DefaultSelector, "select", noted)
    monkeypatch.setattr(waiting, "AWAKE_S", 0.01)
    return asked


def test_it_looks_for_a_moment_and_then_sleeps(timeouts: list[float | None]) -> None:
    async def wait() -> None:
        timeouts.clear()
        await asyncio.sleep(0.05)

    start_s = time.monotonic()
    run_wakefully(wait())
    assert time.monotonic() - start_s >= 0.05
    assert timeouts[0] == 0
    assert max(timeout for timeout in timeouts if timeout) > 0.04


def test_it_sleeps_at_once_while_a_thread_works(timeouts: list[float | None]) -> None:
    async def work() -> None:
        working, may_end = threading.Event(), threading.Event()

        def job() -> None:
            working.set()
            may_end.wait(10)

        done = asyncio.get_running_loop().run_in_executor(None, job)
        working.wait(10)
        timeouts.clear()
        await asyncio.sleep(0.02)
        assert timeouts
        assert 0 not in timeouts[:-1]
        may_end.set()
        await done
        timeouts.clear()
        await asyncio.sleep(0.02)
        assert timeouts[0] == 0

    run_wakefully(work())


def test_a_job_that_fails_has_ended_too() -> None:
    async def fail() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WakefulLoop)
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 // 0)
        await asyncio.sleep(0)
        return loop._wakeful.jobs

    assert run_wakefully(fail()) == 0


def test_what_comes_is_heard() -> None:
    async def echo() -> list[bytes]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                writer.write(line)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        heard = []
        for number in range(200):
            if number % 50 == 0:
                await asyncio.sleep(0.002)
            writer.write(b"%d\n" % number)
            heard.append(await reader.readline())
        writer.close()
        server.close()
        return heard

    assert run_wakefully(echo()) == [b"%d\n" % number for number in range(200)]


def test_an_end_of_the_loop_is_an_end_as_of_any_other() -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        run_wakefully(cancelled())
