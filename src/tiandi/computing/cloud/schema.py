"""The tables of the cloud's store.

users     accounts, with what the fair shares and quotas count; whoever changes anything of a user locks its row first
keys      API keys, as hashes
jobs      every job; programs and results apart, so that its rows stay small
lines     how many jobs of a user wait at a priority, and how much the user has had: where the next job is found at once
servers   who holds running jobs, and until when that is believed
"""

from __future__ import annotations

from tiandi.computing.cloud.database import Database, Transaction
from tiandi.errors import StateError

VERSION = 1

TABLES = """
CREATE TABLE users (name TEXT PRIMARY KEY, created_s REAL NOT NULL, enabled INTEGER NOT NULL, share REAL NOT NULL,
    highest_priority INTEGER NOT NULL, most_waiting INTEGER NOT NULL, shots_a_day INTEGER NOT NULL, program_mb_a_day INTEGER NOT NULL,
    had REAL NOT NULL, waiting INTEGER NOT NULL, running INTEGER NOT NULL, day INTEGER NOT NULL, shots_today INTEGER NOT NULL,
    program_byte_today INTEGER NOT NULL, changes INTEGER NOT NULL) STRICT;
CREATE INDEX users_active ON users (had) WHERE waiting + running > 0;
CREATE INDEX users_had ON users (had);
CREATE TABLE keys (id TEXT PRIMARY KEY, owner TEXT NOT NULL, hash BLOB NOT NULL, created_s REAL NOT NULL) STRICT;
CREATE TABLE jobs (id TEXT PRIMARY KEY, owner TEXT NOT NULL, request TEXT, digest BLOB NOT NULL, name TEXT NOT NULL, machine TEXT NOT NULL,
    language TEXT, circuits INTEGER NOT NULL, shots INTEGER NOT NULL, priority INTEGER NOT NULL, compile INTEGER NOT NULL,
    seed INTEGER NOT NULL, state TEXT NOT NULL, place INTEGER NOT NULL, change INTEGER NOT NULL, submitted_s REAL NOT NULL,
    started_s REAL, ended_s REAL, busy_s REAL, reason TEXT NOT NULL, server TEXT, fence INTEGER NOT NULL, deaths INTEGER NOT NULL) STRICT;
CREATE UNIQUE INDEX jobs_request ON jobs (owner, request) WHERE request IS NOT NULL;
CREATE INDEX jobs_waiting ON jobs (owner, priority, place) WHERE state = 'queued';
CREATE INDEX jobs_held ON jobs (server) WHERE server IS NOT NULL;
CREATE INDEX jobs_change ON jobs (owner, change);
CREATE INDEX jobs_ended ON jobs (ended_s) WHERE ended_s IS NOT NULL;
CREATE TABLE programs (job TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE results (job TEXT NOT NULL, circuit INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (job, circuit)) STRICT;
CREATE TABLE lines (owner TEXT NOT NULL, priority INTEGER NOT NULL, waiting INTEGER NOT NULL, had REAL NOT NULL,
    PRIMARY KEY (owner, priority)) STRICT;
CREATE INDEX lines_next ON lines (priority DESC, had, owner) WHERE waiting > 0;
CREATE TABLE servers (id TEXT PRIMARY KEY, until_s REAL NOT NULL) STRICT
"""


async def create_tables(database: Database) -> None:
    """Create what is not there. Raises StateError when the store is of another version."""

    async def create(transaction: Transaction) -> int:
        await transaction.rows("CREATE TABLE IF NOT EXISTS store (version INTEGER NOT NULL) STRICT")
        rows = await transaction.rows("SELECT version FROM store FOR UPDATE")
        if rows:
            return int(rows[0][0])
        for statement in TABLES.split(";"):
            await transaction.rows(statement)
        await transaction.rows("INSERT INTO store (version) VALUES ($1)", VERSION)
        return VERSION

    try:
        version = await database.run(create)
    except StateError:
        # Servers that start at once all find nothing, and all but one cannot make what is there by then: they look again.
        version = await database.run(create)
    if version != VERSION:
        raise StateError("store", f"version {version}", f"must be version {VERSION}")
