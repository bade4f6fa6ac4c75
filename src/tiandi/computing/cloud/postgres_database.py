"""The database of several servers: PostgreSQL, so that any of them may die and the others do its jobs.

A transaction that PostgreSQL refuses for a conflict, or that was not sent when the connection broke, runs again. When the answer to a
commit is lost, PostgreSQL is asked by the number of the transaction what became of it.
"""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from tiandi.computing.cloud.database import Arguments, Result, Row, Work
from tiandi.errors import StateError, TiandiError
from tiandi.random import secret_bytes

ATTEMPTS = 20
PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.5
COMMAND_TIMEOUT_S = 20.0
CONNECT_TIMEOUT_S = 5.0
LARGEST_POOL = 8
_BROKEN = (
    OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError,
    asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.CannotConnectNowError, asyncpg.ReadOnlySQLTransactionError,
)  # fmt: skip
"""The server has gone, or takes no writes any more."""
_CONFLICT = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)


@functools.cache
def _dialect(query: str) -> str:
    """The statement as PostgreSQL writes it."""
    query = re.sub(r"\bBLOB\b", "BYTEA", re.sub(r"\bREAL\b", "DOUBLE PRECISION", query))
    return re.sub(r"\bINTEGER\b", "BIGINT", query).replace(" STRICT", "")


class _Transaction:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def rows(self, query: str, *values: Any) -> list[Row]:
        return [tuple(row) for row in await self._connection.fetch(_dialect(query), *values)]

    async def execute_many(self, query: str, values: Iterable[Row]) -> None:
        await self._connection.executemany(_dialect(query), values)


class PostgresDatabase:
    """The database that ``dsn`` names, several hosts for a primary and its standbys. Call `open` first."""

    shared = True

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool: asyncpg.Pool[Any] | None = None

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
            raise StateError("store", "postgresql", f"cannot be opened: {error}") from None

    async def run(self, work: Work[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        """See `Database.run`."""
        problem = ""
        for attempt in range(ATTEMPTS):
            try:
                async with self._connection() as connection:
                    transaction = connection.transaction()
                    await transaction.start()
                    try:
                        result = await work(_Transaction(connection), *arguments, **named)
                        mark = await connection.fetchval("SELECT CAST(pg_current_xact_id_if_assigned() AS TEXT)")
                    except BaseException:
                        await transaction.rollback()
                        raise
                    try:
                        await transaction.commit()
                    except _BROKEN as error:
                        if mark is not None and not await self._was_committed(mark):
                            raise _Again(type(error).__name__) from None
                    return result
            except TiandiError:
                raise
            except _Again as error:
                problem = str(error)
            except _CONFLICT as error:
                problem = str(error)
            except _BROKEN as error:
                problem = f"{type(error).__name__}: {error}"
                await self._expire()
            except asyncpg.PostgresError as error:
                raise StateError("store", "postgresql", f"cannot be written: {error}") from None
            await asyncio.sleep(_pause_s(attempt))
        raise StateError("store", "postgresql", f"cannot be written: {problem}")

    async def read(self, work: Work[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        """See `Database.read`."""
        return await self.run(work, *arguments, **named)

    async def close(self) -> None:
        """See `Database.close`."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        if self._pool is None:
            raise StateError("store", "postgresql", "is closed")
        connection = await self._pool.acquire()
        try:
            yield connection
        finally:
            # A server that dies now must not have a transaction run again that it has committed.
            with suppress(asyncpg.PostgresError, *_BROKEN):
                await self._pool.release(connection)

    async def _expire(self) -> None:
        if self._pool is not None:
            await self._pool.expire_connections()

    async def _was_committed(self, mark: str) -> bool:
        """What became of a transaction, by PostgreSQL's own word. Raises StateError when nobody can say."""
        until_s = time.monotonic() + COMMAND_TIMEOUT_S
        attempt = 0
        while time.monotonic() < until_s:
            await self._expire()
            await asyncio.sleep(_pause_s(attempt))
            attempt += 1
            with suppress(asyncpg.PostgresError, *_BROKEN):
                async with self._connection() as connection:
                    status = await connection.fetchval("SELECT pg_xact_status(CAST($1 AS xid8))", mark)
                if status in ("committed", "aborted"):
                    return bool(status == "committed")
        raise StateError("store", "postgresql", "a commit was not answered: it may or may not have been made")


def _pause_s(attempt: int) -> float:
    """Longer each time, and never the same for two."""
    return min(PAUSE_S * 2**attempt, LONGEST_PAUSE_S) * (0.5 + secret_bytes(1)[0] / 255)


class _Again(Exception):
    """The transaction was not made and may be tried again."""
