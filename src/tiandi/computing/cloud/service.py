"""The cloud as one thing: who asks, what is accepted, what runs, and who is told. Doors talk to this and to nothing below."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import partial
from weakref import WeakValueDictionary

from tiandi.computing.cloud import queue, users
from tiandi.computing.cloud.clicks import Clicks
from tiandi.computing.cloud.database import Database, Transaction, Work
from tiandi.computing.cloud.jobs import Job, Outcome, State, Submission
from tiandi.computing.cloud.limits import require_fitting
from tiandi.computing.cloud.machines import Machine, require_clicks, require_machine
from tiandi.computing.cloud.pool import Reader, Runner, WorkerDied
from tiandi.computing.cloud.queue import Taken
from tiandi.computing.cloud.schema import create_tables
from tiandi.computing.cloud.users import User
from tiandi.computing.cloud.worker import Reply, Request, prepared
from tiandi.errors import InputError, StateError

LEASE_S = 15.0
"""How long after its last word a server is believed to hold its jobs, where there are several."""
TICK_S = 2.0
AGAIN_S = 1.0
"""How soon to ask a store that others use, or that could not be read, again."""
IDLE_S = 30.0
FORGET_EVERY_S = 60.0
LONG_PROGRAM_BYTE = 32 * 1024
"""A submission longer than that is read in a process of its own."""
MOST_REQUEST_LETTERS, MOST_REASON_LETTERS = 128, 2000

_log = logging.getLogger("tiandi.cloud")


class Cloud:
    """A job service over ``database`` and ``machines``; ``runner`` does the work, and none is done without one.

    Call `start` first and `close` last, on one event loop. ``keep_s``: for how long jobs that ended are kept [s].
    """

    def __init__(
        self,
        database: Database,
        machines: Mapping[str, Machine],
        *,
        reader: Reader,
        runner: Runner | None = None,
        keep_s: float = 90 * 86_400.0,
    ) -> None:
        self.database, self.machines = database, machines
        self._reader, self._runner, self._keep_s = reader, runner, keep_s
        self.server = queue.new_job_id()
        self._held: dict[str, Taken] = {}
        self._work = asyncio.Event()
        self._news: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False

    async def start(self) -> None:
        """Create what the store lacks, take up what was left, and begin to work."""
        await create_tables(self.database)
        if not self.database.shared:
            # This is the only server: whoever held jobs is gone.
            for server in await self.database.read(queue.dead_servers, float("inf")):
                await self._take_back(server, died=True)
        await self.database.run(queue.keep_alive, self.server, time.time() + LEASE_S)
        self._tasks = [asyncio.create_task(self._tick())]
        if self._runner is not None:
            self._tasks += [asyncio.create_task(self._slot(self._runner)) for _ in range(self._runner.size)]

    async def close(self, grace_s: float = 5.0) -> None:
        """Let what runs end within ``grace_s`` [s], put the rest back into the queue, and close the store."""
        self._closing = True
        self._work.set()
        if slots := self._tasks[1:]:
            await asyncio.wait(slots, timeout=grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.close()
        await self._reader.close()
        with suppress(StateError):
            if self._tasks:
                await self._take_back(self.server, died=False)
        await self.database.close()

    # Who asks.

    async def authenticate(self, key: str) -> str:
        """The user whose API key this is. Raises NotAuthorised."""
        return await self.database.read(users.authenticate, key)

    async def user(self, owner: str) -> User:
        """An account as it stands."""
        return await self.database.read(users.find_user, owner)

    # What is asked.

    async def check(self, submission: Submission, *, owner: str = "") -> list[list[int]]:
        """The measured qubits of each program. Raises InputError for what the machine could never run, or its limits forbid.

        Users take turns at the reader of what is slow to read; StateError tells ``owner`` that too many wait there.
        """
        machine = require_machine(self.machines, submission.machine)
        programs, language, mapped = submission.programs, submission.language, submission.compile
        if sum(map(len, programs)) > LONG_PROGRAM_BYTE or any(machine.is_slow_to_read(program, language) for program in programs):
            measured = await self._reader.measured(machine.name, language, programs, compile=mapped, owner=owner)
        else:
            read = [prepared(machine, programs, number, language, compile=mapped) for number in range(len(programs))]
            measured = [list(program.circuit.measured_qubits) for program in read]
        require_fitting(machine.limits, shots=submission.shots, measured=[len(qubits) for qubits in measured])
        return measured

    async def submit(self, owner: str, submission: Submission, *, request: str | None = None) -> tuple[Job, bool]:
        """Accept a job, durably; False with it when the same ``request`` (an idempotency key) had made it before.

        Raises InputError for what `check` refuses, QuotaExceeded.
        """
        if request is not None and not (1 <= len(request) <= MOST_REQUEST_LETTERS and request.isprintable()):
            raise InputError("Idempotency-Key", request[:64], f"must be 1 to {MOST_REQUEST_LETTERS} printable characters")
        if "\0" in submission.name:
            raise InputError("name", "NUL", "must be letters that every store takes")
        await self.check(submission, owner=owner)
        job, is_new = await self.database.run(queue.submit, owner, submission, request=request)
        self._tell(owner)
        self._work.set()
        return job, is_new

    async def job(self, owner: str, job_id: str) -> Job:
        """Raises JobNotFound."""
        return await self.database.read(queue.find_job, owner, job_id)

    async def jobs(self, owner: str, *, before: int | None = None, state: State | None = None, limit: int = 50) -> list[Job]:
        """A user's jobs by their last change, latest first; the next page is ``before`` the change of the last of this one."""
        return await self.database.read(queue.list_jobs, owner, before=before, state=state, limit=limit)

    async def programs(self, owner: str, job_id: str) -> list[str]:
        """What was submitted. Raises JobNotFound."""
        return await self.database.read(queue.read_programs, owner, job_id)

    async def outcomes(self, owner: str, job_id: str, *, first: int = 0, limit_byte: int | None = None) -> list[Outcome]:
        """Results of the circuits from ``first`` on, in order. Raises JobNotFound, JobConflict for a job that is not completed."""
        return await self.database.read(queue.read_outcomes, owner, job_id, first=first, limit_byte=limit_byte)

    async def clicks(self, owner: str, job_id: str, *, circuit: int = 0) -> Clicks:
        """Totals and correlations of a photonic job's circuit. Raises JobNotFound, JobConflict, InputError for other machines."""
        job = await self.job(owner, job_id)
        [outcome] = await self.outcomes(owner, job_id, first=circuit, limit_byte=0)
        require_clicks(require_machine(self.machines, job.machine))
        program = (await self.programs(owner, job_id))[circuit]
        figures = await self._reader.clicks(Request(job.machine, job.language, job.compile, [program], outcome=outcome), owner=owner)
        found = {name: getattr(figures, name) for name in figures.__struct_fields__}
        return Clicks(**found, job=job.id, circuit=circuit, shots=outcome.shots, engine=outcome.engine, why=outcome.why)

    async def cancel(self, owner: str, job_id: str) -> Job:
        """End a job that waits or runs. Raises JobNotFound, JobConflict for one that has ended otherwise."""
        job = await self.database.run(queue.cancel, owner, job_id)
        self._tell(owner)
        if job_id in self._held and self._runner is not None:
            await self._runner.stop(job_id)
        return job

    async def last_change(self, owner: str) -> int:
        """The number of a user's last change, from which `follow` tells what comes after."""
        return await self.database.read(queue.last_change, owner)

    async def follow(self, owner: str, after: int, ping_s: float) -> AsyncIterator[list[Job]]:
        """A user's jobs as they change after change number ``after``, each as it is then; an empty list after ``ping_s`` without one."""
        quiet_s = time.monotonic()
        while True:
            news = self._news.setdefault(owner, asyncio.Event())
            if changed := await self.database.read(queue.changed_jobs, owner, after):
                after, quiet_s = changed[-1].change, time.monotonic()
                yield changed
                continue
            if time.monotonic() - quiet_s >= ping_s:
                quiet_s = time.monotonic()
                yield []
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S if self.database.shared else ping_s):
                    await news.wait()

    def _tell(self, owner: str) -> None:
        """Wake whoever follows this user."""
        if (news := self._news.pop(owner, None)) is not None:
            news.set()

    # What is done.

    async def _slot(self, runner: Runner) -> None:
        """One job after another. What became of one is kept in the transaction that takes the next."""
        record: Work[[], bool] | None = None
        taken: Taken | None = None
        owner = ""
        while record is not None or not self._closing:
            try:
                self._work.clear()
                taken = await self.database.run(_turn, record, None if self._closing else self.server)
                record = None
                self._tell(owner)
                if taken is None:
                    await self._wait_for_work()
                    continue
                self._work.set()  # Where one waited there may be more.
                owner = taken.owner
                self._tell(owner)
                record = await self._run(runner, taken)
            except StateError as error:
                _log.error("the store: %s", error)
                await asyncio.sleep(AGAIN_S)
            except Exception as error:  # A slot that ended of it would do no job any more, and keep this one for ever.
                _note("a job cannot be taken, or what became of it not be kept", error)
                record = None if record is None or taken is None else _keeping(queue.fail, taken, "its result cannot be kept", 0.0)
                taken = None
                await asyncio.sleep(AGAIN_S)

    async def _wait_for_work(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0 if self._closing else AGAIN_S if self.database.shared else IDLE_S):
                await self._work.wait()

    async def _run(self, runner: Runner, taken: Taken) -> Work[[], bool]:
        """Run a job; what is to be kept of it."""
        self._held[taken.job_id] = taken
        begin_s = time.monotonic()
        try:
            reply = await runner.run(taken)
        except WorkerDied as error:
            return _keeping(queue.give_again, taken, str(error), time.monotonic() - begin_s)
        except TimeoutError as error:
            return _keeping(queue.fail, taken, str(error), time.monotonic() - begin_s)
        except Exception as error:  # Such as too many open files: a slot that ended of it would keep the job for ever.
            _note("no worker could be asked", error)
            await asyncio.sleep(AGAIN_S)
            return _keeping(queue.give_again, taken, type(error).__name__, 0.0)
        finally:
            del self._held[taken.job_id]
        busy_s = time.monotonic() - begin_s
        if (reason := _reason(reply)) is not None:
            return _keeping(queue.fail, taken, reason, busy_s)
        return partial(_complete, taken=taken, reply=reply, busy_s=busy_s)

    async def _tick(self) -> None:
        """Say that this server is there; stop what is no longer its own; look after what others left."""
        forgot_s = 0.0
        while True:
            try:
                now_s = time.time()
                await self.database.run(queue.keep_alive, self.server, now_s + LEASE_S)
                held = [(taken.job_id, taken.fence) for taken in self._held.values()]
                for job_id in await self.database.read(queue.lost_jobs, self.server, held) if held else ():
                    if self._runner is not None:
                        await self._runner.stop(job_id)
                for server in await self.database.read(queue.dead_servers, now_s):
                    _log.warning("nothing was heard of server %s: its jobs are given again", server)
                    await self._take_back(server, died=True)
                if now_s - forgot_s > FORGET_EVERY_S:
                    forgot_s = now_s
                    while await self.database.run(queue.forget, now_s - self._keep_s):
                        await asyncio.sleep(0)
            except StateError as error:
                _log.error("the store: %s", error)
            except Exception as error:  # Else nobody would say any more that this server is there.
                _note("this server's books", error)
            await asyncio.sleep(TICK_S)

    async def _take_back(self, server: str, *, died: bool) -> None:
        while not await self.database.run(queue.take_back, server, died=died):
            pass
        self._work.set()


async def _turn(transaction: Transaction, record: Work[[], bool] | None, server: str | None) -> Taken | None:
    """Keep what became of a job, and take the next."""
    if record is not None:
        await record(transaction)
    return None if server is None else await queue.take(transaction, server)


def _keeping(keep: Work[[Taken, str, float], bool], taken: Taken, reason: str, busy_s: float) -> Work[[], bool]:
    async def work(transaction: Transaction) -> bool:
        return await keep(transaction, taken, reason, busy_s)

    return work


async def _complete(transaction: Transaction, *, taken: Taken, reply: Reply, busy_s: float) -> bool:
    return await queue.complete(transaction, taken, reply.outcomes, busy_s)


def _note(what: str, error: Exception) -> None:
    """Log where a fault is, but not its text, which may be somebody's program."""
    _log.error("%s: %s\n%s", what, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))


def _reason(reply: Reply) -> str | None:
    """Why there is no result; None where there is one. Every view of the job has it, and a store may not take every letter."""
    field, value, limit = reply.refused or ("", "", "")
    why = f"{field} = {value}: {limit}" if reply.refused is not None else reply.failed
    return why.replace("\0", "?")[:MOST_REASON_LETTERS] or None
