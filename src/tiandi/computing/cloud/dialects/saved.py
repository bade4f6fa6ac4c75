"""What users of the Tianyan dialect keep on the cloud: laboratories, the experiments saved in them, and which jobs were run for which.

The latest `MOST_KEPT` of each kind of a user are kept, older ones forgotten. Every function but `create_tables` is work in a transaction.
"""

from __future__ import annotations

import time

import msgspec

from tiandi.computing.cloud.database import Database, Transaction
from tiandi.errors import InputError, StateError
from tiandi.random import secret_bytes

MOST_KEPT = 500
MOST_PROGRAM_BYTE = 256 * 1024
_NUMBER_BYTE = 7  # Below 2**53: some clients make a float of it.

_TABLES = """
CREATE TABLE IF NOT EXISTS tianyan_labs (id TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, saved_s REAL NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS tianyan_labs_owner ON tianyan_labs (owner, saved_s);
CREATE TABLE IF NOT EXISTS tianyan_experiments (id TEXT PRIMARY KEY, owner TEXT NOT NULL, lab TEXT NOT NULL, machine TEXT NOT NULL,
    name TEXT NOT NULL, program TEXT NOT NULL, saved_s REAL NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS tianyan_experiments_owner ON tianyan_experiments (owner, saved_s);
CREATE TABLE IF NOT EXISTS tianyan_runs (id TEXT PRIMARY KEY, owner TEXT NOT NULL, lab TEXT NOT NULL, saved_s REAL NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS tianyan_runs_owner ON tianyan_runs (owner, saved_s);
CREATE INDEX IF NOT EXISTS tianyan_runs_lab ON tianyan_runs (lab)
"""


class Experiment(msgspec.Struct, frozen=True):
    """A program that waits to be run."""

    lab: str
    machine: str
    name: str
    program: str


async def create_tables(database: Database) -> None:
    """Create what is not there. Raises StateError."""

    async def create(transaction: Transaction) -> None:
        for statement in _TABLES.split(";"):
            await transaction.rows(statement)

    try:
        await database.run(create)
    except StateError:
        await database.run(create)  # Another server made them at the same moment.


async def add_lab(transaction: Transaction, owner: str, name: str) -> str:
    """A new laboratory's identifier."""
    lab = _new_id()
    await transaction.rows("INSERT INTO tianyan_labs (id, owner, name, saved_s) VALUES ($1, $2, $3, $4)", lab, owner, name, time.time())
    await _forget_oldest(transaction, "tianyan_labs", owner)
    return lab


async def require_lab(transaction: Transaction, owner: str, lab: str) -> str:
    """``lab``. Raises InputError unless it is this user's."""
    if not await transaction.rows("SELECT id FROM tianyan_labs WHERE id = $1 AND owner = $2", lab, owner):
        raise InputError("lab_id", lab[:32], "there is no such laboratory")
    return lab


async def add_experiment(transaction: Transaction, owner: str, experiment: Experiment) -> str:
    """A saved experiment's identifier. Raises InputError for an unknown laboratory or too long a program."""
    if len(experiment.program.encode()) > MOST_PROGRAM_BYTE:
        raise InputError("inputCode", f"{len(experiment.program)} characters", f"must be at most {MOST_PROGRAM_BYTE} bytes to be saved")
    if experiment.lab:
        await require_lab(transaction, owner, experiment.lab)
    number = _new_id()
    await transaction.rows(
        "INSERT INTO tianyan_experiments (id, owner, lab, machine, name, program, saved_s) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        number, owner, experiment.lab, experiment.machine, experiment.name, experiment.program, time.time(),
    )  # fmt: skip
    await _forget_oldest(transaction, "tianyan_experiments", owner)
    return number


async def find_experiment(transaction: Transaction, owner: str, number: str) -> Experiment:
    """A user's saved experiment. Raises InputError for an unknown one."""
    rows = await transaction.rows("SELECT lab, machine, name, program FROM tianyan_experiments WHERE id = $1 AND owner = $2", number, owner)
    if not rows:
        raise InputError("exp_id", number[:32], "there is no such experiment")
    return Experiment(*rows[0])


async def add_run(transaction: Transaction, owner: str, lab: str, job_id: str) -> None:
    """Note that a job was run for a laboratory."""
    await transaction.rows("INSERT INTO tianyan_runs (id, owner, lab, saved_s) VALUES ($1, $2, $3, $4)", job_id, owner, lab, time.time())
    await _forget_oldest(transaction, "tianyan_runs", owner)


async def runs_of(transaction: Transaction, owner: str, lab: str) -> list[str]:
    """The jobs that were run for a laboratory, oldest first. Raises InputError for an unknown one."""
    await require_lab(transaction, owner, lab)
    rows = await transaction.rows("SELECT id FROM tianyan_runs WHERE lab = $1 AND owner = $2 ORDER BY saved_s, id", lab, owner)
    return [str(job_id) for (job_id,) in rows]


def _new_id() -> str:
    """A number that nobody can guess, as decimal digits: some clients make an int of it."""
    return str(int.from_bytes(secret_bytes(_NUMBER_BYTE)) >> 3)


async def _forget_oldest(transaction: Transaction, table: str, owner: str) -> None:
    await transaction.rows(
        # The tables are those of this module.
        f"DELETE FROM {table} WHERE owner = $1 AND id IN (SELECT id FROM {table} WHERE owner = $1 ORDER BY saved_s DESC, id"  # noqa: S608
        f" LIMIT 1000 OFFSET {MOST_KEPT})",
        owner,
    )
