"""The embedded database: SQLite, one file, one process, commits in groups.

Statements run on the event loop's own thread, where they take microseconds; the commit, which waits for the disk, runs in a thread of
its own. Whoever comes while a commit is under way joins the next group, so that one wait for the disk serves many.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw

from tiandi.errors import StateError
from tiandi.kms.store.database import Arguments, Result, Row, Work
from tiandi.kms.store.ledger import enter
from tiandi.kms.store.moves import Moves

_Call = Callable[[], Awaitable[Any]]

LARGEST_GROUP = 256
BUSY_TIMEOUT_MS = 1000
# Exclusive: a second process on the same file would spend the same key.
PRAGMAS = (
    f"busy_timeout = {BUSY_TIMEOUT_MS}",
    "locking_mode = EXCLUSIVE",
    "journal_mode = WAL",
    "synchronous = FULL",
    "secure_delete = ON",
    "foreign_keys = ON",
)


@functools.cache
def _dialect(query: str) -> str:
    """The statement as SQLite writes it; one writer needs no row locks."""
    return re.sub(r"\$(\d+)", r"?\1", re.sub(r" FOR UPDATE( SKIP LOCKED)?", "", query))


class SqliteTransaction:
    """The open transaction of a `SqliteDatabase`. Its coroutines never wait."""

    chain = "sqlite"

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.moves = Moves()

    async def rows(self, query: str, *values: Any) -> list[Row]:
        return self._connection.execute(_dialect(query), values).fetchall()

    async def execute_many(self, query: str, values: Iterable[Row]) -> None:
        self._connection.executemany(_dialect(query), values)


class SqliteDatabase:
    """Opens or creates the database at ``path``. Raises StateError when another process has it or it is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._connection = apsw.Connection(str(path), statementcachesize=200)
            for pragma in PRAGMAS:
                self._connection.execute(f"PRAGMA {pragma}")
            self._connection.execute("BEGIN IMMEDIATE; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")
            # On a file that lost pages new rows would be written over what is left of old ones.
            [(verdict,)] = self._connection.execute("PRAGMA quick_check(1)")
            if verdict != "ok":
                raise apsw.CorruptError(verdict.splitlines()[-1])
        except apsw.Error as error:
            raise StateError("key store", str(path), f"cannot be opened: {error}") from None
        self._transaction = SqliteTransaction(self._connection)
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._waiting: list[tuple[_Call, asyncio.Future[Any]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._is_closed = False

    async def run(self, work: Work[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        """See `Database.run`."""
        if self._is_closed:
            raise StateError("key store", str(self._path), "is closed")
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((functools.partial(work, self._transaction, *arguments, **named), outcome))
        if self._committing is None:
            self._committing = loop.create_task(self._commit_groups())
        return await outcome

    async def close(self) -> None:
        """Wait for transactions under way, then close; what was deleted is truncated from the write-ahead log as well."""
        self._is_closed = True
        while self._committing is not None:
            await self._committing
        self._disk.shutdown()
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except apsw.Error:
            pass  # A full disk; the next opening truncates.
        finally:
            self._connection.close()

    async def _commit_groups(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # Whoever is about to ask joins this group.
                group, self._waiting = self._waiting[:LARGEST_GROUP], self._waiting[LARGEST_GROUP:]
                await self._commit_group([(work, outcome) for work, outcome in group if not outcome.done()])
        finally:
            self._committing = None

    async def _commit_group(self, group: list[tuple[_Call, asyncio.Future[Any]]]) -> None:
        results: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        before = self._connection.total_changes()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for work, outcome in group:
                results.append((outcome, *self._attempt(work)))
            try:
                _drive(enter(self._transaction))
            except StateError as error:
                self._undo()
                if len(group) > 1:
                    await self._commit_singly(group)
                else:
                    _tell([(group[0][1], None, error)])
                return
            if self._connection.total_changes() == before:
                self._connection.execute("COMMIT")
            else:
                await asyncio.get_running_loop().run_in_executor(self._disk, self._connection.execute, "COMMIT")
        except Exception as error:  # Whatever it is, those who wait are told.
            self._undo()
            failure = StateError("key store", str(self._path), f"cannot be written: {error}")
            results = [(outcome, None, failure) for _, outcome in group]
        _tell(results)

    async def _commit_singly(self, group: list[tuple[_Call, asyncio.Future[Any]]]) -> None:
        """Of a group that the ledger refused, each work again in a transaction of its own: only the guilty one fails."""
        for work, outcome in group:
            if not outcome.done():
                await self._commit_group([(work, outcome)])

    def _undo(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._transaction.moves.clear()

    def _attempt(self, work: _Call) -> tuple[Any, BaseException | None]:
        """One work inside the group's transaction. An error of its own undoes its own changes; one of the disk is everybody's."""
        self._connection.execute("SAVEPOINT work")
        entered = len(self._transaction.moves.entries)
        try:
            result: Any = _drive(work())
        except Exception as error:
            if not self._connection.in_transaction:
                raise  # SQLite has undone the whole group.
            self._connection.execute("ROLLBACK TO work; RELEASE work")
            self._transaction.moves.undo(entered)
            if isinstance(error, (apsw.FullError, apsw.IOError, apsw.CorruptError, apsw.NotADBError)):
                raise
            return None, error
        self._connection.execute("RELEASE work")
        return result, None


def _tell(results: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
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
