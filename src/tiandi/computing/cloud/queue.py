"""The queue: priorities first, then fair shares between users, then a user's own order. Every function is work in a transaction.

Each user has an account of the worker time it has had, divided by its share; among users with a job at the highest priority that waits,
the one who had least is next. Whoever comes back to a priority at which nothing of theirs waits starts level with the least of those who
wait there, so that nobody saves up a claim, be it by doing nothing or by waiting where the turn never comes
(start-time fair queuing: Goyal, Vin and Cheng, IEEE/ACM Trans. Netw. 5, 690 (1997), doi:10.1109/90.649569).

A job that is taken gets a fencing number. What a worker brings back counts only while job, state and number are still those: the first
result is the only one, however often a job had to be given.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from tiandi.computing.cloud.database import Row, Transaction
from tiandi.computing.cloud.jobs import Job, JobConflict, JobNotFound, Outcome, QuotaExceeded, State, Submission, as_text
from tiandi.computing.cloud.users import today
from tiandi.errors import InputError
from tiandi.random import secret_bytes

EXPECTED_S = 1.0
"""What a job is charged until it is known how long it took [s]."""
MOST_DEATHS = 3
"""Of a job's workers, or of servers that had it: then it is the job that is believed to kill them."""
BYTE_PER_MB = 1 << 20
CANDIDATES = 8

_JOB = "id, name, machine, language, circuits, shots, priority, compile, state, submitted_s, started_s, ended_s, busy_s, reason, change"
_encoder, _outcome = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Outcome)
_programs = msgspec.msgpack.Decoder(list[str])


@dataclass(frozen=True)
class Taken:
    """A job for a worker, and the fencing number under which its result counts."""

    job_id: str
    fence: int
    owner: str
    machine: str
    language: str | None
    compile: bool
    shots: int
    seed: int
    programs: list[str]


def new_job_id() -> str:
    """An identifier that nobody can guess."""
    return secret_bytes(16).hex()


def _job(row: Row) -> Job:
    job_id, name, machine, language, circuits, shots, priority, mapped, state, submitted_s, started_s, ended_s, busy_s, reason, change = row
    return Job(
        id=job_id, name=name, machine=machine, language=language, circuits=circuits, shots=shots, priority=priority, compile=bool(mapped),
        state=state, submitted=as_text(submitted_s) or "", started=as_text(started_s), ended=as_text(ended_s), busy_s=busy_s, reason=reason,
        change=change,
    )  # fmt: skip


# What a user does.


async def submit(transaction: Transaction, owner: str, submission: Submission, *, request: str | None = None) -> tuple[Job, bool]:
    """A new job, and True; or the job that the same ``request`` of this user made before, and False.

    Raises QuotaExceeded, and InputError for a priority above the user's or a request that was another before.
    """
    (account,) = await transaction.rows(
        "SELECT highest_priority, most_waiting, shots_a_day, program_mb_a_day, waiting, running, day, shots_today, program_byte_today, had,"
        " changes FROM users WHERE name = $1 FOR UPDATE",
        owner,
    )
    digest = sha256(_encoder.encode(submission)).digest()
    if request is not None:
        before = await transaction.rows(f"SELECT digest, {_JOB} FROM jobs WHERE owner = $1 AND request = $2", owner, request)
        if before:
            if bytes(before[0][0]) != digest:
                raise InputError("Idempotency-Key", request, "was given with another job before")
            return _job(before[0][1:]), False
    highest_priority, most_waiting, shots_a_day, mb_a_day, waiting, running, day, shots_today, byte_today, had, changes = account
    now_s, wanted, programs = time.time(), submission.shots * len(submission.programs), _encoder.encode(submission.programs)
    if day != today(now_s):
        shots_today = byte_today = 0
    if submission.priority > highest_priority:
        raise InputError("priority", submission.priority, f"must be at most {highest_priority} for this user")
    if waiting >= most_waiting:
        raise QuotaExceeded(f"{waiting} jobs wait, {most_waiting} may: submit again when some are done")
    if shots_today + wanted > shots_a_day:
        raise QuotaExceeded(f"{shots_today} shots were asked for today and {wanted} more are wanted: a day has {shots_a_day}")
    if byte_today + len(programs) > mb_a_day * BYTE_PER_MB:
        raise QuotaExceeded(f"{byte_today} bytes of programs came today and {len(programs)} more are sent: a day has {mb_a_day} MiB")
    had = await _level(transaction, owner, submission.priority, had, is_active=waiting + running > 0)
    job_id, change = new_job_id(), changes + 1
    seed = int.from_bytes(secret_bytes(6)) if submission.seed is None else submission.seed
    await transaction.rows(
        "INSERT INTO jobs (id, owner, request, digest, name, machine, language, circuits, shots, priority, compile, seed, state, place,"
        " change, submitted_s, reason, fence, deaths)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'queued', $13, $13, $14, '', 0, 0)",
        job_id, owner, request, digest, submission.name, submission.machine, submission.language, len(submission.programs),
        submission.shots, submission.priority, int(submission.compile), seed, change, now_s,
    )  # fmt: skip
    await transaction.rows("INSERT INTO programs (job, body) VALUES ($1, $2)", job_id, programs)
    await transaction.rows(
        "UPDATE users SET waiting = waiting + 1, changes = $2, day = $3, shots_today = $4, program_byte_today = $5, had = $6"
        " WHERE name = $1",
        owner, change, today(now_s), shots_today + wanted, byte_today + len(programs), had,
    )  # fmt: skip
    await _line(transaction, owner, submission.priority, had)
    await transaction.rows("UPDATE lines SET had = $2 WHERE owner = $1 AND had <> $2", owner, had)
    return Job(
        id=job_id, name=submission.name, machine=submission.machine, language=submission.language, circuits=len(submission.programs),
        shots=submission.shots, priority=submission.priority, compile=submission.compile, state="queued",
        submitted=as_text(now_s) or "", change=change,
    ), True  # fmt: skip


async def find_job(transaction: Transaction, owner: str, job_id: str) -> Job:
    """Raises JobNotFound for a job that is not there, or another user's."""
    rows = await transaction.rows(f"SELECT {_JOB} FROM jobs WHERE id = $1 AND owner = $2", job_id, owner)
    if not rows:
        raise JobNotFound(f"no job {job_id[:64]}")
    return _job(rows[0])


async def list_jobs(
    transaction: Transaction, owner: str, *, before: int | None = None, state: State | None = None, limit: int = 50
) -> list[Job]:
    """A user's jobs by their last change, latest first; those whose change is less than ``before``, in ``state``."""
    query = (
        f"SELECT {_JOB} FROM jobs WHERE owner = $1 AND change < $2 AND (CAST($3 AS TEXT) IS NULL OR state = $3)"
        " ORDER BY change DESC LIMIT $4"
    )
    return [_job(row) for row in await transaction.rows(query, owner, 2**62 if before is None else before, state, limit)]


async def changed_jobs(transaction: Transaction, owner: str, after: int, limit: int = 200) -> list[Job]:
    """A user's jobs whose last change is later than number ``after``, in the order of their changes."""
    query = f"SELECT {_JOB} FROM jobs WHERE owner = $1 AND change > $2 ORDER BY change LIMIT $3"
    return [_job(row) for row in await transaction.rows(query, owner, after, limit)]


async def last_change(transaction: Transaction, owner: str) -> int:
    """The number of a user's last change."""
    rows = await transaction.rows("SELECT changes FROM users WHERE name = $1", owner)
    return int(rows[0][0]) if rows else 0


async def read_programs(transaction: Transaction, owner: str, job_id: str) -> list[str]:
    """What was submitted. Raises JobNotFound."""
    await find_job(transaction, owner, job_id)
    [(body,)] = await transaction.rows("SELECT body FROM programs WHERE job = $1", job_id)
    return _programs.decode(body)


async def read_outcomes(
    transaction: Transaction, owner: str, job_id: str, *, first: int = 0, limit_byte: int | None = None
) -> list[Outcome]:
    """Results of the circuits from number ``first`` on, as many as fit ``limit_byte`` but at least one.

    Raises JobNotFound, and JobConflict while there are none or when there never will be.
    """
    job = await find_job(transaction, owner, job_id)
    if job.state != "completed":
        raise JobConflict(f"job {job_id} is {job.state}{': ' + job.reason if job.reason else ''}")
    outcomes: list[Outcome] = []
    left_byte = limit_byte
    for number in range(first, job.circuits):
        [(body,)] = await transaction.rows("SELECT body FROM results WHERE job = $1 AND circuit = $2", job_id, number)
        if left_byte is not None:
            left_byte -= len(body)
            if left_byte < 0 and outcomes:
                break
        outcomes.append(_outcome.decode(body))
    return outcomes


async def cancel(transaction: Transaction, owner: str, job_id: str) -> Job:
    """End a job that waits or runs; one that was cancelled before stays so. Raises JobNotFound, and JobConflict for one that has ended."""
    await transaction.rows("SELECT name FROM users WHERE name = $1 FOR UPDATE", owner)
    job = await find_job(transaction, owner, job_id)
    if job.state == "cancelled":
        return job
    if job.is_final:
        raise JobConflict(f"job {job_id} is {job.state}")
    await _end(transaction, owner, job_id, "cancelled", reason="cancelled by its user", busy_s=None)
    if job.state == "queued":
        await transaction.rows("UPDATE users SET waiting = waiting - 1 WHERE name = $1", owner)
        await transaction.rows("UPDATE lines SET waiting = waiting - 1 WHERE owner = $1 AND priority = $2", owner, job.priority)
    else:
        [(started_s,)] = await transaction.rows("SELECT started_s FROM jobs WHERE id = $1", job_id)
        # It costs its worker, which must be started again: nobody stops workers for nothing.
        await _stop_running(transaction, owner, max(EXPECTED_S, time.time() - started_s))
    return await find_job(transaction, owner, job_id)


# What a server does for its workers.


async def take(transaction: Transaction, server: str) -> Taken | None:
    """The next job, which runs from now on; None where nothing waits."""
    lines = await transaction.rows(
        "SELECT owner, priority FROM lines WHERE waiting > 0 ORDER BY priority DESC, had, owner LIMIT $1", CANDIDATES
    )
    for owner, priority in lines:
        # Another server may be taking a job of this user at this moment: the next in line, then.
        account = await transaction.rows("SELECT share, changes, had FROM users WHERE name = $1 FOR UPDATE SKIP LOCKED", owner)
        found = account and await transaction.rows(
            "SELECT id, fence, machine, language, compile, shots, seed FROM jobs WHERE owner = $1 AND priority = $2 AND state = 'queued'"
            " ORDER BY place LIMIT 1",
            owner, priority,
        )  # fmt: skip
        if not found:
            continue
        (share, changes, had), (job_id, fence, machine, language, mapped, shots, seed) = account[0], found[0]
        await transaction.rows(
            "UPDATE jobs SET state = 'running', server = $2, fence = $3, started_s = $4, change = $5 WHERE id = $1",
            job_id, server, fence + 1, time.time(), changes + 1,
        )  # fmt: skip
        await transaction.rows(
            "UPDATE users SET waiting = waiting - 1, running = running + 1, changes = $2 WHERE name = $1", owner, changes + 1
        )
        await transaction.rows("UPDATE lines SET waiting = waiting - 1 WHERE owner = $1 AND priority = $2", owner, priority)
        await _charge(transaction, owner, had + EXPECTED_S / share)
        [(body,)] = await transaction.rows("SELECT body FROM programs WHERE job = $1", job_id)
        return Taken(job_id, fence + 1, owner, machine, language, bool(mapped), shots, seed, _programs.decode(body))
    return None


async def complete(transaction: Transaction, taken: Taken, outcomes: Sequence[Outcome], busy_s: float) -> bool:
    """Keep the results of a job; False, and nothing is kept, when it is no longer this worker's."""
    if not await _leave(transaction, taken, busy_s):
        return False
    await _end(transaction, taken.owner, taken.job_id, "completed", reason="", busy_s=busy_s)
    bodies = [(taken.job_id, number, _encoder.encode(outcome)) for number, outcome in enumerate(outcomes)]
    await transaction.execute_many("INSERT INTO results (job, circuit, body) VALUES ($1, $2, $3)", bodies)
    return True


async def fail(transaction: Transaction, taken: Taken, reason: str, busy_s: float) -> bool:
    """End a job that cannot be done; False when it is no longer this worker's."""
    if not await _leave(transaction, taken, busy_s):
        return False
    await _end(transaction, taken.owner, taken.job_id, "failed", reason=reason, busy_s=busy_s)
    return True


async def give_again(transaction: Transaction, taken: Taken, why: str, busy_s: float) -> bool:
    """Put a job whose worker died back to its place, or end it when it is the third; False when it is no longer this worker's."""
    if not await _leave(transaction, taken, busy_s):
        return False
    await _count_death(transaction, taken.owner, taken.job_id, why, busy_s)
    return True


async def lost_jobs(transaction: Transaction, server: str, held: Sequence[tuple[str, int]]) -> list[str]:
    """Those of the ``held`` jobs (identifier, fencing number) that are no longer this server's: cancelled, or given to others."""
    rows = await transaction.rows("SELECT id, fence FROM jobs WHERE server = $1", server)
    still = {(job_id, fence) for job_id, fence in rows}
    return [job_id for job_id, fence in held if (job_id, fence) not in still]


async def keep_alive(transaction: Transaction, server: str, until_s: float) -> None:
    """Say that a server holds its jobs until then."""
    await transaction.rows(
        "INSERT INTO servers (id, until_s) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET until_s = excluded.until_s", server, until_s
    )


async def dead_servers(transaction: Transaction, now_s: float) -> list[str]:
    """Servers of which nothing was heard in time."""
    return [server for (server,) in await transaction.rows("SELECT id FROM servers WHERE until_s < $1", now_s)]


async def take_back(transaction: Transaction, server: str, *, died: bool, limit: int = 100) -> bool:
    """Put the jobs of a server that is gone back to their places, at most ``limit``; True when none is left.

    Where it ``died`` any of them may be why, so that each is ended when that is the third time, as in `give_again`.
    """
    held = await transaction.rows("SELECT id, owner FROM jobs WHERE server = $1 ORDER BY owner LIMIT $2", server, limit)
    for job_id, owner in held:
        await transaction.rows("SELECT name FROM users WHERE name = $1 FOR UPDATE", owner)
        rows = await transaction.rows("SELECT priority FROM jobs WHERE id = $1 AND server = $2 AND state = 'running'", job_id, server)
        for (priority,) in rows:
            await _stop_running(transaction, owner, 0.0)
            if died:
                await _count_death(transaction, owner, job_id, "the last time with its server", None)
            else:
                await _requeue(transaction, owner, job_id, priority)
    if len(held) < limit:
        await transaction.rows("DELETE FROM servers WHERE id = $1", server)
    return len(held) < limit


async def forget(transaction: Transaction, before_s: float, limit: int = 200) -> int:
    """Delete jobs that ended before then, with programs and results, at most ``limit``; how many."""
    rows = await transaction.rows("SELECT id, owner FROM jobs WHERE ended_s < $1 ORDER BY ended_s LIMIT $2", before_s, limit)
    for job_id, _ in rows:
        for table, column in (("results", "job"), ("programs", "job"), ("jobs", "id")):
            await transaction.rows(f"DELETE FROM {table} WHERE {column} = $1", job_id)
    return len(rows)


async def count_jobs(transaction: Transaction) -> dict[str, int]:
    """How many jobs of all users wait and run."""
    [(waiting, running)] = await transaction.rows("SELECT COALESCE(SUM(waiting), 0), COALESCE(SUM(running), 0) FROM users")
    return {"waiting": int(waiting), "running": int(running)}


async def _leave(transaction: Transaction, taken: Taken, busy_s: float) -> bool:
    """Take a job off the worker that had it, and set right what its user is charged; False when it is no longer that worker's.

    Whoever cancels a job pays for what its worker still did, too.
    """
    [(share, had)] = await transaction.rows("SELECT share, had FROM users WHERE name = $1 FOR UPDATE", taken.owner)
    query = "SELECT state, busy_s, started_s, ended_s FROM jobs WHERE id = $1 AND fence = $2"
    for state, known_s, started_s, ended_s in await transaction.rows(query, taken.job_id, taken.fence):
        if state == "running":
            await _stop_running(transaction, taken.owner, busy_s)
            return True
        if state == "cancelled" and known_s is None:
            await transaction.rows("UPDATE jobs SET busy_s = $2 WHERE id = $1", taken.job_id, busy_s)
            await _charge(transaction, taken.owner, had + max(0.0, busy_s - max(EXPECTED_S, ended_s - started_s)) / share)
    return False


async def _count_death(transaction: Transaction, owner: str, job_id: str, why: str, busy_s: float | None) -> None:
    """Of a job that is off its worker: back to its place, or its end when it is the third."""
    [(deaths, priority)] = await transaction.rows("UPDATE jobs SET deaths = deaths + 1 WHERE id = $1 RETURNING deaths, priority", job_id)
    if deaths >= MOST_DEATHS:
        await _end(transaction, owner, job_id, "failed", reason=f"its worker died {MOST_DEATHS} times ({why})", busy_s=busy_s)
    else:
        await _requeue(transaction, owner, job_id, priority)


async def _stop_running(transaction: Transaction, owner: str, busy_s: float) -> None:
    """A user has one job less that runs, and is charged what it took instead of what was expected."""
    [(share, had)] = await transaction.rows("UPDATE users SET running = running - 1 WHERE name = $1 RETURNING share, had", owner)
    await _charge(transaction, owner, had + (busy_s - EXPECTED_S) / share)


async def _end(transaction: Transaction, owner: str, job_id: str, state: State, *, reason: str, busy_s: float | None) -> None:
    await transaction.rows(
        "UPDATE jobs SET state = $2, reason = $3, ended_s = $4, busy_s = $5, server = NULL, change = $6 WHERE id = $1",
        job_id, state, reason, time.time(), busy_s, await _next_change(transaction, owner),
    )  # fmt: skip


async def _requeue(transaction: Transaction, owner: str, job_id: str, priority: int) -> None:
    """Back to its old place in the line."""
    change = await _next_change(transaction, owner)
    await transaction.rows("UPDATE jobs SET state = 'queued', server = NULL, started_s = NULL, change = $2 WHERE id = $1", job_id, change)
    [(had,)] = await transaction.rows("UPDATE users SET waiting = waiting + 1 WHERE name = $1 RETURNING had", owner)
    await _line(transaction, owner, priority, had)


async def _next_change(transaction: Transaction, owner: str) -> int:
    return int((await transaction.rows("UPDATE users SET changes = changes + 1 WHERE name = $1 RETURNING changes", owner))[0][0])


async def _charge(transaction: Transaction, owner: str, had: float) -> None:
    await transaction.rows("UPDATE users SET had = $2 WHERE name = $1", owner, had)
    await transaction.rows("UPDATE lines SET had = $2 WHERE owner = $1", owner, had)


async def _line(transaction: Transaction, owner: str, priority: int, had: float) -> None:
    """One more waits at this priority."""
    await transaction.rows(
        "INSERT INTO lines (owner, priority, waiting, had) VALUES ($1, $2, 1, $3)"
        " ON CONFLICT (owner, priority) DO UPDATE SET waiting = lines.waiting + 1, had = excluded.had",
        owner, priority, had,
    )  # fmt: skip


async def _level(transaction: Transaction, owner: str, priority: int, had: float, *, is_active: bool) -> float:
    """Where a user starts of whom nothing waits at this priority: level with the least of those who wait there.

    Where nobody waits there, whoever was doing nothing starts level with the least of those who are active, or else with the most of all.
    """
    if await transaction.rows("SELECT 1 FROM lines WHERE owner = $1 AND priority = $2 AND waiting > 0", owner, priority):
        return had
    [(least,)] = await transaction.rows("SELECT MIN(had) FROM lines WHERE priority = $1 AND waiting > 0", priority)
    if least is None and not is_active:
        [(least,)] = await transaction.rows("SELECT MIN(had) FROM users WHERE waiting + running > 0")
        if least is None:
            [(least,)] = await transaction.rows("SELECT MAX(had) FROM users")
    return max(had, least if least is not None else 0.0)
