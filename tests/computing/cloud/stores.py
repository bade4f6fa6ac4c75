"""Stores for tests: a file of SQLite, or a database of PostgreSQL, each of its own; and a cloud over one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.computing.cloud import toys
from tiandi.computing.cloud import users
from tiandi.computing.cloud.database import Database, Transaction
from tiandi.computing.cloud.jobs import Job, Submission
from tiandi.computing.cloud.pool import ProcessPool, Reader
from tiandi.computing.cloud.schema import create_tables
from tiandi.computing.cloud.service import Cloud
from tiandi.computing.cloud.sqlite_database import SqliteDatabase
from tiandi.computing.cloud.users import Quotas

OpenDatabase = Callable[[], Awaitable[Database]]
PATIENCE_S = 60.0


def sqlite(folder: Path, *, serving: bool = True) -> OpenDatabase:
    async def opened() -> Database:
        return SqliteDatabase(folder / "cloud.sqlite", serving=serving)

    return opened


@asynccontextmanager
async def store(opened: OpenDatabase, *names: str, quotas: Quotas | None = None) -> AsyncIterator[Database]:
    """An open store with users of these names."""
    database = await opened()
    await create_tables(database)
    for name in names:
        await database.run(users.add_user, name, quotas or Quotas())
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def cloud(
    opened: OpenDatabase, *names: str, workers: int = 1, time_limit_s: float = 30.0, quotas: Quotas | None = None
) -> AsyncIterator[Cloud]:
    """A cloud of toy machines that works, or one that only accepts for no ``workers``."""
    database = await opened()
    await create_tables(database)
    for name in names:
        await database.run(users.add_user, name, quotas or Quotas())
    runner = ProcessPool(toys.CATALOGUE, size=workers, time_limit_s=time_limit_s, memory_byte=toys.GIBIBYTE) if workers else None
    running = Cloud(database, toys.machines(), reader=Reader(toys.CATALOGUE), runner=runner)
    await running.start()
    try:
        yield running
    finally:
        await running.close(grace_s=0.1)


def bell(machine: str = "dice", **more: Any) -> Submission:
    return Submission(**{"machine": machine, "programs": [toys.BELL], "shots": 100, **more})


async def ended(running: Cloud, owner: str, job_id: str) -> Job:
    """The job when it has ended."""
    async with asyncio.timeout(PATIENCE_S):
        async for _ in running.follow(owner, 0, 5.0):
            job = await running.job(owner, job_id)
            if job.is_final:
                return job
    raise AssertionError("the stream ended")


async def audit(database: Database) -> None:
    """What is counted in users and lines is what is in jobs, and every completed job has each result once."""

    async def look(transaction: Transaction) -> None:
        for state, column in (("queued", "waiting"), ("running", "running")):
            counted = await transaction.rows(f"SELECT name, {column} FROM users WHERE {column} <> 0 ORDER BY name")
            jobs = await transaction.rows("SELECT owner, COUNT(*) FROM jobs WHERE state = $1 GROUP BY owner ORDER BY owner", state)
            assert counted == jobs
        lines = await transaction.rows("SELECT owner, priority, waiting FROM lines WHERE waiting <> 0 ORDER BY owner, priority")
        jobs = await transaction.rows(
            "SELECT owner, priority, COUNT(*) FROM jobs WHERE state = 'queued' GROUP BY owner, priority ORDER BY owner, priority"
        )
        assert lines == jobs
        assert await transaction.rows("SELECT l.owner FROM lines l JOIN users u ON u.name = l.owner WHERE l.had <> u.had") == []
        wrong = await transaction.rows(
            "SELECT id, state FROM jobs j WHERE (SELECT COUNT(*) FROM results r WHERE r.job = j.id)"
            " <> CASE WHEN state = 'completed' THEN circuits ELSE 0 END"
        )
        assert wrong == []
        assert await transaction.rows("SELECT id FROM jobs WHERE (server IS NOT NULL) <> (state = 'running')") == []

    await database.read(look)
