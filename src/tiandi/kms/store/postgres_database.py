"""The database of a cluster: PostgreSQL, so that several KME processes on several machines serve one node and any of them may die."""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from tiandi.errors import StateError, TiandiError
from tiandi.kms.store.database import Arguments, Result, Row, Transaction, Work
from tiandi.kms.store.ledger import enter, is_entered
from tiandi.kms.store.moves import Moves

ATTEMPTS = 20
PAUSE_S = 0.005
COMMAND_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5.0
LOOK_UP_S = 20.0
"""For how long it is asked what became of a commit."""
LARGEST_POOL = 8
_BROKEN = (
    OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError,
    # What a server says that is killed, only just beginning, or a standby by now.
    asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.CannotConnectNowError, asyncpg.ReadOnlySQLTransactionError,
)  # fmt: skip
"""The server has gone, or takes no writes any more: every other connection to it is as bad, whether it has noticed or not."""
_CONFLICT = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)


@functools.cache
def _dialect(query: str) -> str:
    """The statement as PostgreSQL writes it."""
    query = re.sub(r"\bBLOB\b", "BYTEA", query)
    return re.sub(r"\bINTEGER\b", "BIGINT", query).replace(" STRICT", "").replace(" WITHOUT ROWID", "")


class PostgresTransaction:
    """The open transaction of a `PostgresDatabase`."""

    def __init__(self, connection: Any, chain: str) -> None:
        self._connection = connection
        self.chain = chain
        self.moves = Moves()

    async def rows(self, query: str, *values: Any) -> list[Row]:
        return [tuple(row) for row in await self._connection.fetch(_dialect(query), *values)]

    async def execute_many(self, query: str, values: Iterable[Row]) -> None:
        await self._connection.executemany(_dialect(query), values)


class PostgresDatabase:
    """The database that ``dsn`` names, several hosts for a primary and its standbys. Call `open` first.

    A transaction that PostgreSQL refuses for a conflict, or whose connection broke before the commit was sent, runs again. When the
    answer to a commit is lost, the page of the journal that it wrote tells whether it was made, on whichever server is the primary by
    then. Without such a page, or a server to ask, it raises StateError, and the change may or may not have been made.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._process = uuid4().hex[:12]
        self._pool: asyncpg.Pool[Any] | None = None
        self._chains: dict[int, str] = {}
        self._numbers = itertools.count()

    async def open(self) -> None:
        """Connect. Raises StateError when no server answers."""
        try:
            self._pool = await asyncpg.create_pool(
                self._dsn,
                min_size=1,
                max_size=LARGEST_POOL,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
                server_settings={"synchronous_commit": "on"},
                target_session_attrs=SessionAttribute.read_write,
            )
        except (asyncpg.PostgresError, *_BROKEN) as error:
            raise StateError("database", "postgresql", f"cannot be opened: {error}") from None

    async def run(self, work: Work[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        """See `Database.run`."""
        problem = ""
        for attempt in range(ATTEMPTS):
            try:
                return await self._attempt(functools.partial(_call, work, arguments, named))
            except _Unanswered as error:
                if await self._was_committed(error):
                    return error.result
                problem = error.why
            except _Again as error:
                problem = str(error)
            await _pause(attempt)
        raise StateError("database", "postgresql", f"cannot be written: {problem}")

    async def close(self) -> None:
        """Wait for transactions under way, then close."""
        if self._pool is not None:
            await self._pool.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        assert self._pool is not None, "open() comes first"
        connection = await self._pool.acquire()
        try:
            yield connection
        finally:
            # A server that dies now must not have a transaction run again that it has committed.
            with suppress(asyncpg.PostgresError, *_BROKEN):
                await self._pool.release(connection)

    async def _attempt(self, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        assert self._pool is not None, "open() comes first"
        try:
            async with self._connection() as connection:
                transaction = connection.transaction()
                await transaction.start()
                try:
                    opened = PostgresTransaction(connection, self._chain(connection))
                    result = await work(opened)
                    page = await enter(opened)
                except BaseException:
                    await transaction.rollback()
                    raise
                try:
                    return await self._commit(transaction, result)
                except (asyncpg.PostgresError, *_BROKEN) as error:
                    if isinstance(error, _CONFLICT):
                        raise
                    self._chains = {number: chain for number, chain in self._chains.items() if chain != opened.chain}
                    raise _Unanswered(opened.chain, page, result, type(error).__name__) from None
        except TiandiError:
            raise
        except _CONFLICT as error:
            raise _Again(str(error)) from None
        except _BROKEN as error:
            await self._pool.expire_connections()
            raise _Again(f"{type(error).__name__}: {error}") from None
        except asyncpg.PostgresError as error:
            raise StateError("database", "postgresql", f"cannot be written: {error}") from None

    async def _commit(self, transaction: Any, result: Result) -> Result:
        await transaction.commit()
        return result

    async def _was_committed(self, lost: _Unanswered) -> bool:
        """Ask until some server answers. Raises StateError when none does, or when no page of the journal could tell."""
        assert self._pool is not None
        until_s = time.monotonic() + (LOOK_UP_S if lost.page else 0.0)
        for attempt in itertools.count():
            if time.monotonic() > until_s:
                raise StateError("database", "postgresql", f"a commit was not answered: {lost.why}")
            try:
                async with self._connection() as connection:
                    transaction = connection.transaction()
                    await transaction.start()
                    try:
                        is_made = await is_entered(PostgresTransaction(connection, ""), lost.chain, lost.page)
                    finally:
                        await transaction.rollback()
                    if is_made:
                        # After a crash it may be on this server only: whatever is committed after it takes it to the standbys.
                        await connection.execute("UPDATE store SET version = version")
                    return is_made
            except (asyncpg.PostgresError, *_BROKEN):
                await self._pool.expire_connections()
                await _pause(attempt)
        raise AssertionError("unreachable")

    def _chain(self, connection: Any) -> str:
        """The journal chain of a connection: one writer each, so that no two transactions reach for the same link of it."""
        backend = connection.get_server_pid()
        if backend not in self._chains:
            self._chains[backend] = f"{self._process}-{next(self._numbers)}"
        return self._chains[backend]


async def _call(
    work: Callable[..., Awaitable[Result]], arguments: tuple[Any, ...], named: dict[str, Any], transaction: Transaction
) -> Result:
    return await work(transaction, *arguments, **named)


async def _pause(attempt: int) -> None:
    await asyncio.sleep(PAUSE_S * 2 ** min(attempt, 8) * random.uniform(0.5, 1.5))  # noqa: S311 - not a secret.


class _Unanswered(Exception):
    """A commit was sent and not answered; ``page`` is the page of the journal that it wrote in ``chain``, 0 for none."""

    def __init__(self, chain: str, page: int, result: Any, why: str) -> None:
        self.chain, self.page, self.result, self.why = chain, page, result, why
        super().__init__(why)


class _Again(Exception):
    """The transaction was not made and may be tried again."""
