"""A network that misbehaves: a TCP proxy that forwards bytes as it is told, and knows nothing of what they mean."""

from __future__ import annotations

import asyncio
import random
import threading
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

Weather = Literal["fair", "slow", "cut", "mute", "deaf", "half", "black", "refuse"]
"""How bytes fare: all arrive; all arrive late; connections break after some bytes; requests arrive and answers are lost; requests are
lost; one direction ends early; nothing arrives and nothing breaks; nobody is let in.
"""
CHUNK_BYTE = 4096
MOST_BYTE = 30_000
"""A connection that is cut has carried at most so many."""
SLOW_S = 0.05
LINGER_S = 0.2


class Proxy:
    """Listens on a port of its own and forwards to ``target``; ``weather`` may change at any time. A context manager."""

    def __init__(self, target: int, seed: int = 1) -> None:
        self.weather: Weather = "fair"
        self.port = self.accepted = self.broken = 0
        self._target = target
        self._chance = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def break_all(self) -> None:
        """Break every connection that stands, as a reboot of what lies between would."""
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
            self.broken += 1

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        try:
            if self.weather == "refuse":
                writer.transport.abort()
                return
            with suppress(OSError):
                onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._target)
                both = {writer, onward_writer}
                self._writers |= both
                limit_byte = self._chance.randrange(MOST_BYTE)
                await asyncio.gather(
                    self._forward(reader, onward_writer, is_answer=False, limit_byte=limit_byte, both=both),
                    self._forward(onward_reader, writer, is_answer=True, limit_byte=limit_byte, both=both),
                )
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        is_answer: bool,
        limit_byte: int,
        both: set[asyncio.StreamWriter],
    ) -> None:
        carried = 0
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTE):
                while self.weather == "black":
                    await asyncio.sleep(SLOW_S)
                if self.weather == "slow":
                    await asyncio.sleep(SLOW_S * self._chance.random())
                carried += len(data)
                if self.weather == "refuse" or (self.weather == "cut" and carried > limit_byte):
                    writer.write(data[: self._chance.randrange(len(data))])
                    break
                if (self.weather == "mute" and is_answer) or (self.weather == "deaf" and not is_answer):
                    await asyncio.sleep(LINGER_S)  # The request goes on; its answer is lost, or the other way round.
                    break
                if self.weather == "half" and carried > limit_byte:
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()
        self.broken += self.weather != "fair"
        for each in both:
            self._writers.discard(each)
            each.close()
