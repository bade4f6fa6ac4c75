"""The embedded database: SQLite, one file, one server, commits in groups.

Statements run on the event loop's own thread, where they take microseconds; the commit, which waits for the disk, runs in a thread of
its own, and whoever comes meanwhile joins the next group. Reading has a connection of its own, which sees what is committed.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import re
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw

from tiandi.computing.cloud.database import Arguments, Result, Row, Work
from tiandi.errors import StateError

LARGEST_GROUP = 256
BUSY_TIMEOUT_MS = 2000
_FATAL = (apsw.FullError, apsw.IOError, apsw.CorruptError, apsw.NotADBError)

_Call = Callable[[], Awaitable[Any]]
_Told = tuple[asyncio.Future[Any], Any, BaseException | None]


@functools.cache
def _dialect(query: str) -> str:
    """The statement as SQLite writes it; one writer needs no row locks."""
    return re.sub(r"\$(\d+)", r"?\1", re.sub(r" FOR UPDATE( SKIP LOCKED)?", "", query))


class _Transaction:
    """Its coroutines never wait."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    async def rows(self, query: str, *values: Any) -> list[Row]:
        return self._connection.execute(_dialect(query), values).fetchall()

    async def execute_many(self, query: str, values: Iterable[Row]) -> None:
        self._connection.executemany(_dialect(query), values)


class SqliteDatabase:
    """Opens or creates the database at ``path``; ``serving``: as the one server of it. Others may look in and manage users meanwhile.

    Raises StateError when it is no database, or another server has it.
    """

    shared = False

    def __init__(self, path: Path, *, serving: bool = False) -> None:
        self._path = path
        self._lock = _lock(path) if serving else None
        try:
            # With programs and results of all users in it, and files beside it that have its mode.
            path.touch(mode=0o600)
            self._writing = _connect(path)
            self._writing.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN IMMEDIATE; COMMIT")
            self._reading = _connect(path)
            self._reading.execute("PRAGMA query_only = ON")
        except (apsw.Error, OSError) as error:
            self._unlock()
            raise StateError("store", str(path), f"cannot be opened: {error}") from None
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._waiting: list[tuple[_Call, asyncio.Future[Any]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._is_closed = False

    async def run(self, work: Work[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        """See `Database.run`."""
        self._require_open()
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((functools.partial(work, _Transaction(self._writing), *arguments, **named), outcome))
        if self._committing is None:
            self._committing = loop.create_task(self._commit_groups())
        return await outcome

    async def read(self, work: Work[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        """See `Database.read`."""
        self._require_open()
        try:
            self._reading.execute("BEGIN")
            try:
                result: Result = _drive(work(_Transaction(self._reading), *arguments, **named))
            finally:
                self._reading.execute("ROLLBACK")
            return result
        except apsw.Error as error:
            raise StateError("store", str(self._path), f"cannot be read: {error}") from None

    async def close(self) -> None:
        """See `Database.close`."""
        self._is_closed = True
        while self._committing is not None:
            await self._committing
        self._disk.shutdown()
        self._reading.close()
        self._writing.close()
        self._unlock()

    def _require_open(self) -> None:
        if self._is_closed:
            raise StateError("store", str(self._path), "is closed")

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    async def _commit_groups(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # Whoever is about to ask joins this group.
                group, self._waiting = self._waiting[:LARGEST_GROUP], self._waiting[LARGEST_GROUP:]
                _tell(await self._commit_group([(work, outcome) for work, outcome in group if not outcome.done()]))
        finally:
            self._committing = None

    async def _commit_group(self, group: list[tuple[_Call, asyncio.Future[Any]]]) -> list[_Told]:
        before = self._writing.total_changes()
        try:
            self._writing.execute("BEGIN IMMEDIATE")
            results: list[_Told] = [(outcome, *self._attempt(work)) for work, outcome in group]
            if self._writing.total_changes() == before:
                self._writing.execute("COMMIT")
            else:
                await asyncio.get_running_loop().run_in_executor(self._disk, self._writing.execute, "COMMIT")
        except Exception as error:  # Whatever it is, those who wait are told.
            if self._writing.in_transaction:
                self._writing.execute("ROLLBACK")
            failure = StateError("store", str(self._path), f"cannot be written: {error}")
            return [(outcome, None, failure) for _, outcome in group]
        return results

    def _attempt(self, work: _Call) -> tuple[Any, BaseException | None]:
        """One work inside the group's transaction. An error of its own undoes its own changes; one of the disk is everybody's."""
        self._writing.execute("SAVEPOINT work")
        try:
            result: Any = _drive(work())
        except Exception as error:
            if not self._writing.in_transaction or isinstance(error, _FATAL):
                raise
            self._writing.execute("ROLLBACK TO work; RELEASE work")
            return None, error
        self._writing.execute("RELEASE work")
        return result, None


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), statementcachesize=200)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    return connection


def _lock(path: Path) -> Any:
    """The file whose lock tells servers apart; the lock goes with the process."""
    file = None
    try:
        file = path.with_name(path.name + "-serving").open("wb")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        assert file is not None
        file.close()
        raise StateError("store", str(path), "another server has it; several servers need a PostgreSQL") from None
    except OSError as error:
        raise StateError("store", str(path), f"cannot be opened: {error.strerror}") from None
    return file


def _tell(results: list[_Told]) -> None:
    """Tell everybody who still waits."""
    for outcome, result, problem in results:
        if outcome.done():
            continue  # Whoever asked has gone; what was done stays done.
        if problem is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(problem)


def _drive(coroutine: Any) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("work in a transaction may await nothing but the transaction")
