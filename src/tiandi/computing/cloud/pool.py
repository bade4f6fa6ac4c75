"""Workers as processes of this machine: given one request at a time, killed when they take too long, and replaced when they die."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol
from weakref import WeakValueDictionary

import msgspec

from tiandi.computing.cloud.clicks import ClickFigures
from tiandi.computing.cloud.queue import Taken
from tiandi.computing.cloud.worker import LENGTH, Reply, Request
from tiandi.errors import InputError, StateError

STREAM_LIMIT_BYTE = 1 << 20
START_TIMEOUT_S = 60.0
DYING_TIMEOUT_S = 5.0
READ_TIMEOUT_S, CLICKS_TIMEOUT_S = 30.0, 120.0
READERS_WAITING, READERS_OF_ONE = 32, 8
READER_MEMORY_BYTE = 2 << 30

_encoder, _reply = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Reply)


class WorkerDied(Exception):
    """The process ended before it answered."""


def ended_by(status: int) -> str:
    """The end of a process in words."""
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def worker_environment() -> dict[str, str]:
    """One thread each: as many workers as processors are the faster use of them. Where users' programs are run, no password is at hand."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("TIANDI_CLOUD_STORE", "PGPASSWORD")}
    return {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **inherited}


class Runner(Protocol):
    """What runs jobs: `size` of them at once."""

    size: int

    async def run(self, taken: Taken) -> Reply:
        """Run a job. Raises WorkerDied when its worker died, TimeoutError when it took too long."""
        ...

    async def stop(self, job_id: str) -> None:
        """Stop a job that runs here, at once; `run` raises WorkerDied."""
        ...

    async def close(self) -> None:
        """End every worker."""
        ...


class WorkerProcess:
    """One worker, started when it is first asked and again after it died."""

    def __init__(self, catalogue: str, memory_byte: int) -> None:
        self._command = (sys.executable, "-m", "tiandi.computing.cloud.worker", catalogue, str(memory_byte))
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, where one runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> asyncio.subprocess.Process:
        """Start the process unless it runs, and wait until it is ready. Raises WorkerDied."""
        if self._process is None or self._process.returncode is not None:
            environment = worker_environment()
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=STREAM_LIMIT_BYTE, env=environment
            )
            assert self._process.stdout is not None
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    await self._process.stdout.readexactly(LENGTH.size)
            except (TimeoutError, asyncio.IncompleteReadError):
                raise WorkerDied(f"not started: {await self._end()}") from None
        return self._process

    async def ask(self, request: Request, timeout_s: float) -> Reply:
        """Raises WorkerDied, and TimeoutError after which the process is gone, too."""
        try:
            process = await self.start()
            async with asyncio.timeout(timeout_s):
                assert process.stdin is not None
                assert process.stdout is not None
                body = _encoder.encode(request)
                process.stdin.write(LENGTH.pack(len(body)) + body)
                await process.stdin.drain()
                head = await process.stdout.readexactly(LENGTH.size)
                reply = _reply.decode(await process.stdout.readexactly(LENGTH.unpack(head)[0]))
            if reply.failed:
                await process.wait()
            return reply
        except (asyncio.IncompleteReadError, ConnectionError):
            raise WorkerDied(await self._end()) from None
        except BaseException:
            # Whatever it would still say belongs to nobody.
            await asyncio.shield(self._end())
            raise

    async def kill(self) -> None:
        """End the process at once."""
        await self._end()

    async def _end(self) -> str:
        """How the process ended."""
        if self._process is None:
            return "not started"
        process = self._process
        if process.stdout is not None and process.stdout.at_eof():
            # It is dying by itself, and how it did shall be known.
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), DYING_TIMEOUT_S)
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        status = await process.wait()
        return ended_by(status)


class ProcessPool:
    """``size`` workers; a job may take ``time_limit_s`` [s] and ``memory_byte`` [byte] of data."""

    def __init__(self, catalogue: str, *, size: int, time_limit_s: float, memory_byte: int) -> None:
        self.size, self._time_limit_s = size, time_limit_s
        self.workers = [WorkerProcess(catalogue, memory_byte) for _ in range(size)]
        self._idle = list(self.workers)
        self._busy: dict[str, WorkerProcess] = {}

    async def start(self) -> None:
        """Start every worker, so that the first jobs need not wait for it."""
        await asyncio.gather(*(worker.start() for worker in self.workers))

    async def run(self, taken: Taken) -> Reply:
        """See `Runner.run`."""
        worker = self._idle.pop()
        self._busy[taken.job_id] = worker
        request = Request(taken.machine, taken.language, taken.compile, taken.programs, taken.shots, taken.seed)
        try:
            return await worker.ask(request, self._time_limit_s)
        except TimeoutError:
            raise TimeoutError(f"it took longer than the {self._time_limit_s:g} s that a job may take") from None
        finally:
            del self._busy[taken.job_id]
            self._idle.append(worker)

    async def stop(self, job_id: str) -> None:
        """See `Runner.stop`."""
        if (worker := self._busy.get(job_id)) is not None:
            await worker.kill()

    async def close(self) -> None:
        """See `Runner.close`."""
        await asyncio.gather(*(worker.kill() for worker in self.workers))


class _Desk:
    """A process that users take turns at; each answer within ``timeout_s`` [s]."""

    def __init__(self, catalogue: str, timeout_s: float) -> None:
        self.worker, self._timeout_s = WorkerProcess(catalogue, READER_MEMORY_BYTE), timeout_s
        self._turn = asyncio.Lock()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._waiting: Counter[str] = Counter()

    async def ask(self, request: Request, owner: str, what: tuple[str, str]) -> Reply:
        """A reply that is neither refused nor failed.

        Raises InputError for what cannot stand, about ``what`` (field, value) where no better is known; StateError while too many wait.
        """
        if self._waiting[owner] >= READERS_OF_ONE or self._waiting.total() >= READERS_WAITING:
            raise StateError("reader", f"{self._waiting.total()} submissions", "wait to be read already; try again")
        self._waiting[owner] += 1
        own_turn = self._turns.setdefault(owner, asyncio.Lock())
        try:
            async with own_turn, self._turn:
                reply = await self.worker.ask(request, self._timeout_s)
        except TimeoutError:
            raise InputError(*what, f"take longer than {self._timeout_s:g} s to read") from None
        except WorkerDied:
            raise InputError(*what, "their reader died of them") from None
        finally:
            self._waiting[owner] -= 1
            self._waiting += Counter()  # Who waits for nothing more is forgotten.
        if reply.refused is not None:
            raise InputError(*reply.refused)
        if reply.failed:
            raise InputError(*what, reply.failed)
        return reply


class Reader:
    """Reads what would keep a server from its other users, in a process of its own each:

    programs that are long, or whose language needs a large library, and the clicks of photonic jobs.
    """

    def __init__(self, catalogue: str) -> None:
        self._programs, self._clicks = _Desk(catalogue, READ_TIMEOUT_S), _Desk(catalogue, CLICKS_TIMEOUT_S)
        self.worker = self._programs.worker

    async def measured(
        self, machine: str, language: str | None, programs: Sequence[str], *, compile: bool, owner: str = ""
    ) -> list[list[int]]:
        """The measured qubits of each program, for ``owner``, whose turn comes after one submission of each other user.

        Raises InputError for a program that cannot stand, StateError while too many wait.
        """
        request = Request(machine, language, compile, list(programs))
        return (await self._programs.ask(request, owner, ("programs", f"{len(programs)} programs"))).measured

    async def clicks(self, request: Request, *, owner: str = "") -> ClickFigures:
        """Figures of the request's outcome, for ``owner``, whose turn comes as for `measured`.

        Raises InputError where they take too much time or memory, StateError while too many wait.
        """
        found = (await self._clicks.ask(request, owner, ("clicks", f"of {request.machine}"))).clicks
        assert found is not None
        return found

    async def close(self) -> None:
        """End both processes."""
        await asyncio.gather(self._programs.worker.kill(), self._clicks.worker.kill())
