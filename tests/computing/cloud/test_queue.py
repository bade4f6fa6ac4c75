"""The queue over both stores: order, shares, quotas, fencing, idempotency."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.computing.cloud.stores import OpenDatabase, audit, bell, sqlite, store
from tiandi.computing.cloud import queue, users
from tiandi.computing.cloud.database import Database, Transaction
from tiandi.computing.cloud.jobs import JobConflict, JobNotFound, Outcome, QuotaExceeded
from tiandi.computing.cloud.queue import Taken
from tiandi.computing.cloud.users import Quotas
from tiandi.errors import InputError, NotAuthorised

OUTCOMES = [Outcome(qubits=[0, 1], shots=2, rows=b"\x40\xc0", engine="dice", why="")]


async def taken_of(database: Database, server: str = "here") -> Taken:
    taken = await database.run(queue.take, server)
    assert taken is not None
    return taken


def run(opened: OpenDatabase, work: Callable[[Database], Awaitable[None]], *names: str, quotas: Quotas | None = None) -> None:
    """``work`` over a store with these users, whose books are balanced at the end."""

    async def whole() -> None:
        async with store(opened, *names, quotas=quotas) as database:
            await work(database)
            await audit(database)

    asyncio.run(whole())


def test_a_job_goes_its_way(opened: OpenDatabase) -> None:
    async def work(database: Database) -> None:
        job, is_new = await database.run(queue.submit, "anna", bell(name="first", seed=7))
        assert (job.state, is_new, job.circuits) == ("queued", True, 1)
        taken = await taken_of(database)
        assert (taken.job_id, taken.fence, taken.seed, taken.machine) == (job.id, 1, 7, "dice")
        assert taken.programs == await database.read(queue.read_programs, "anna", job.id)
        running = await database.read(queue.find_job, "anna", job.id)
        assert running.state == "running"
        with pytest.raises(JobConflict, match="running"):
            await database.read(queue.read_outcomes, "anna", job.id)
        assert await database.run(queue.complete, taken, OUTCOMES, 0.5)
        done = await database.read(queue.find_job, "anna", job.id)
        assert (done.state, done.busy_s, done.is_final) == ("completed", 0.5, True)
        [outcome] = await database.read(queue.read_outcomes, "anna", job.id)
        assert outcome.counts() == {"01": 1, "11": 1}
        assert [job.state for job in await database.read(queue.changed_jobs, "anna", running.change)] == ["completed"]

    run(opened, work, "anna")


def test_a_second_result_is_never_kept(opened: OpenDatabase) -> None:
    async def work(database: Database) -> None:
        job, _ = await database.run(queue.submit, "anna", bell())
        first = await taken_of(database, "one")
        await database.run(queue.keep_alive, "one", 0.0)
        assert await database.read(queue.dead_servers, time.time()) == ["one"]
        assert await database.run(queue.take_back, "one", died=True)
        second = await taken_of(database, "two")
        assert (second.job_id, second.fence) == (first.job_id, first.fence + 1)
        assert await database.read(queue.lost_jobs, "one", [(first.job_id, first.fence)]) == [job.id]
        assert not await database.run(queue.complete, first, OUTCOMES, 1.0)
        assert await database.run(queue.complete, second, OUTCOMES, 1.0)
        assert not await database.run(queue.complete, second, OUTCOMES, 1.0)
        assert not await database.run(queue.fail, first, "late", 1.0)
        assert (await database.read(queue.find_job, "anna", job.id)).state == "completed"

    run(opened, work, "anna")


def test_a_job_that_kills_its_worker_is_given_up_the_third_time(opened: OpenDatabase) -> None:
    async def work(database: Database) -> None:
        job, _ = await database.run(queue.submit, "anna", bell())
        for _ in range(queue.MOST_DEATHS):
            assert (await database.read(queue.find_job, "anna", job.id)).state == "queued"
            await database.run(queue.give_again, await taken_of(database), "signal SIGKILL", 0.1)
        ended = await database.read(queue.find_job, "anna", job.id)
        assert (ended.state, ended.reason) == ("failed", "its worker died 3 times (signal SIGKILL)")

    run(opened, work, "anna")


def test_a_job_that_kills_its_server_is_given_up_the_third_time(opened: OpenDatabase) -> None:
    async def work(database: Database) -> None:
        job, _ = await database.run(queue.submit, "anna", bell())
        for number in range(2 * queue.MOST_DEATHS):  # Servers that close in order are no deaths.
            await taken_of(database, f"closed-{number}")
            assert await database.run(queue.take_back, f"closed-{number}", died=False)
        for number in range(queue.MOST_DEATHS):
            assert (await database.read(queue.find_job, "anna", job.id)).state == "queued"
            await taken_of(database, f"dead-{number}")
            assert await database.run(queue.take_back, f"dead-{number}", died=True)
        ended = await database.read(queue.find_job, "anna", job.id)
        assert (ended.state, ended.reason) == ("failed", "its worker died 3 times (the last time with its server)")
        assert await database.run(queue.take, "next") is None

    run(opened, work, "anna")


def test_a_job_that_is_given_again_keeps_its_place(opened: OpenDatabase) -> None:
    async def work(database: Database) -> None:
        jobs = [(await database.run(queue.submit, "anna", bell()))[0].id for _ in range(3)]
        await database.run(queue.give_again, await taken_of(database), "signal SIGKILL", 0.1)
        assert [(await taken_of(database)).job_id for _ in jobs] == jobs

    run(opened, work, "anna")


def test_one_request_makes_one_job(opened: OpenDatabase) -> None:
    async def work(database: Database) -> None:
        same = [database.run(queue.submit, "anna", bell(), request="again") for _ in range(8)]
        made = await asyncio.gather(*same)
        assert len({job.id for job, _ in made}) == 1
        assert sum(is_new for _, is_new in made) == 1
        other, is_new = await database.run(queue.submit, "bert", bell(), request="again")
        assert is_new
        assert other.id != made[0][0].id
        with pytest.raises(InputError, match="another job before"):
            await database.run(queue.submit, "anna", bell(shots=7), request="again")

    run(opened, work, "anna", "bert")


def test_priorities_come_first_and_must_be_allowed(opened: OpenDatabase) -> None:
    async def work(database: Database) -> None:
        priorities = [5, 2, 7, 5, 0, 7]
        jobs = [(await database.run(queue.submit, "anna", bell(priority=priority)))[0].id for priority in priorities]
        order = [jobs[number] for number in (2, 5, 0, 3, 1, 4)]
        assert [(await taken_of(database)).job_id for _ in jobs] == order
        with pytest.raises(InputError, match="must be at most 7"):
            await database.run(queue.submit, "anna", bell(priority=8))

    run(opened, work, "anna", quotas=Quotas(highest_priority=7))


def test_quotas_hold(opened: OpenDatabase) -> None:
    async def work(database: Database) -> None:
        await database.run(queue.submit, "anna", bell(shots=400))
        with pytest.raises(QuotaExceeded, match="a day has 1000"):
            await database.run(queue.submit, "anna", bell(shots=601))
        await database.run(queue.submit, "anna", bell(shots=300))
        with pytest.raises(QuotaExceeded, match="2 jobs wait, 2 may"):
            await database.run(queue.submit, "anna", bell(shots=1))
        await taken_of(database)
        await database.run(queue.submit, "anna", bell(shots=1))
        account = await database.read(users.find_user, "anna")
        assert (account.waiting, account.running, account.shots_today) == (2, 1, 701)

    run(opened, work, "anna", quotas=Quotas(most_waiting=2, shots_a_day=1000))


def test_programs_have_a_quota_a_day(opened: OpenDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(database: Database) -> None:
        long = "# " + 600_000 * "." + "\n"
        first, _ = await database.run(queue.submit, "anna", bell(programs=[long]), request="one")
        with pytest.raises(QuotaExceeded, match=r"6000.. bytes of programs came today and 6000.. more are sent: a day has 1 MiB"):
            await database.run(queue.submit, "anna", bell(programs=[long]))
        assert (await database.run(queue.submit, "anna", bell(programs=[long]), request="one"))[0].id == first.id
        await database.run(queue.submit, "anna", bell())
        before = (await database.read(users.find_user, "anna")).program_byte_today
        assert 600_000 < before < 601_000
        tomorrow = users.today() + 1
        for module in (users, queue):
            monkeypatch.setattr(module, "today", lambda _now_s=None: tomorrow)
        await database.run(queue.submit, "anna", bell(programs=[long]))
        assert (await database.read(users.find_user, "anna")).program_byte_today < before

    run(opened, work, "anna", quotas=Quotas(program_mb_a_day=1))


def test_cancel_in_every_state(opened: OpenDatabase) -> None:
    async def work(database: Database) -> None:
        job, _ = await database.run(queue.submit, "anna", bell())
        for _ in range(2):
            assert (await database.run(queue.cancel, "anna", job.id)).state == "cancelled"
        assert await database.run(queue.take, "here") is None
        job, _ = await database.run(queue.submit, "anna", bell())
        taken = await taken_of(database)
        assert (await database.run(queue.cancel, "anna", job.id)).state == "cancelled"
        assert not await database.run(queue.complete, taken, OUTCOMES, 1.0)
        for keep, state in ((queue.complete, "completed"), (queue.fail, "failed")):
            job, _ = await database.run(queue.submit, "anna", bell())
            await database.run(keep, await taken_of(database), OUTCOMES if keep is queue.complete else "no", 1.0)  # type: ignore[operator]
            with pytest.raises(JobConflict, match=state):
                await database.run(queue.cancel, "anna", job.id)
        with pytest.raises(JobNotFound):
            await database.run(queue.cancel, "bert", job.id)

    run(opened, work, "anna", "bert")


def test_jobs_of_others_are_not_there(opened: OpenDatabase) -> None:
    async def work(database: Database) -> None:
        job, _ = await database.run(queue.submit, "anna", bell())
        for look in (queue.find_job, queue.read_programs, queue.read_outcomes):
            with pytest.raises(JobNotFound):
                await database.read(look, "bert", job.id)  # type: ignore[operator]
        assert await database.read(queue.list_jobs, "bert") == []
        assert [item.id for item in await database.read(queue.list_jobs, "anna", state="queued")] == [job.id]

    run(opened, work, "anna", "bert")


def test_old_jobs_are_forgotten_with_all_that_is_theirs(opened: OpenDatabase) -> None:
    async def work(database: Database) -> None:
        job, _ = await database.run(queue.submit, "anna", bell())
        await database.run(queue.submit, "anna", bell())
        await database.run(queue.complete, await taken_of(database), OUTCOMES, 1.0)
        assert await database.run(queue.forget, 0.0) == 0
        assert await database.run(queue.forget, time.time() + 1) == 1
        with pytest.raises(JobNotFound):
            await database.read(queue.find_job, "anna", job.id)

        async def left(transaction: object) -> list[int]:
            return [(await transaction.rows(f"SELECT COUNT(*) FROM {table}"))[0][0] for table in ("jobs", "programs", "results")]  # type: ignore[attr-defined]

        assert await database.read(left) == [1, 1, 0]

    run(opened, work, "anna")


def test_keys_let_in_their_user_and_nobody_else(opened: OpenDatabase) -> None:
    async def work(database: Database) -> None:
        key, other = [await database.run(users.add_key, name) for name in ("anna", "bert")]
        assert len(key) == 64
        assert await database.read(users.authenticate, key) == "anna"
        for wrong in ("", "x", key[:-1], key + "0", key[:16] + other[16:], key.upper() + "é", "\0" * 64, key[:16] + "0" * 48):
            with pytest.raises(NotAuthorised) as refused:
                await database.read(users.authenticate, wrong)
            assert key[16:] not in str(refused.value)
        await database.run(users.change_user, "anna", Quotas(), enabled=False)
        with pytest.raises(NotAuthorised):
            await database.read(users.authenticate, key)
        await database.run(users.change_user, "anna", Quotas(), enabled=True)
        assert [item for item, _ in await database.read(users.list_keys, "anna")] == [key[:16]]
        assert await database.run(users.revoke_key, key[:16]) == "anna"
        with pytest.raises(NotAuthorised):
            await database.read(users.authenticate, key)

    run(opened, work, "anna", "bert")


def test_the_store_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Programs and results of all users are in it."""

    async def work() -> None:
        async with store(sqlite(tmp_path), "anna"):
            for file in ("cloud.sqlite", "cloud.sqlite-wal", "cloud.sqlite-shm"):
                assert (tmp_path / file).stat().st_mode & 0o077 == 0, file

    asyncio.run(work())


def test_the_store_knows_no_key(tmp_path: Path) -> None:
    async def work() -> str:
        async with store(sqlite(tmp_path), "anna") as database:
            return await database.run(users.add_key, "anna")

    key = asyncio.run(work())
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert key[:16].encode() in content
    assert key[16:].encode() not in content
    assert bytes.fromhex(key[16:]) not in content


@settings(max_examples=6, deadline=None)
@given(
    shares=st.lists(st.sampled_from([0.5, 1.0, 2.0, 5.0]), min_size=2, max_size=4),
    durations_s=st.lists(st.floats(0.05, 4.0), min_size=4, max_size=4),
    workers=st.integers(1, 3),
)
def test_users_who_always_wait_get_their_shares(
    tmp_path_factory: pytest.TempPathFactory, shares: list[float], durations_s: list[float], workers: int
) -> None:
    """However long each one's jobs are, the time had over the share differs by no more than what may be under way at once."""

    async def work() -> None:
        names = [f"user-{number}" for number in range(len(shares))]
        async with store(sqlite(tmp_path_factory.mktemp("shares")), *names) as database:
            for name, share in zip(names, shares, strict=True):
                await database.run(users.change_user, name, Quotas(share=share), enabled=True)
                for _ in range(2):
                    await database.run(queue.submit, name, bell())
            had, now_s = dict.fromkeys(names, 0.0), 0.0
            length_s = dict(zip(names, durations_s, strict=False))
            under_way: list[tuple[float, Taken]] = []
            for _ in range(40):
                while len(under_way) < workers:
                    taken = await taken_of(database)
                    await database.run(queue.submit, taken.owner, bell())
                    under_way.append((now_s + length_s[taken.owner], taken))
                now_s, done = min(under_way, key=lambda item: item[0])
                under_way.remove((now_s, done))
                await database.run(queue.complete, done, OUTCOMES, length_s[done.owner])
                had[done.owner] += length_s[done.owner]
            level = [had[name] / share for name, share in zip(names, shares, strict=True)]
            step = [max(length_s[name], queue.EXPECTED_S) / share for name, share in zip(names, shares, strict=True)]
            assert max(level) - min(level) <= 2 * workers * max(step)
            await audit(database)

    asyncio.run(work())


def test_nobody_saves_up_a_claim_by_doing_nothing(opened: OpenDatabase) -> None:
    async def work(database: Database) -> None:
        for _ in range(30):
            await database.run(queue.submit, "anna", bell())
        for _ in range(20):
            await database.run(queue.complete, await taken_of(database), OUTCOMES, 1.0)
        for _ in range(30):
            await database.run(queue.submit, "bert", bell())
        owners = []
        for _ in range(10):
            taken = await taken_of(database)
            owners.append(taken.owner)
            await database.run(queue.complete, taken, OUTCOMES, 1.0)
        assert 4 <= owners.count("anna") <= 6

    run(opened, work, "anna", "bert")


def test_nobody_saves_up_a_claim_by_waiting_at_a_low_priority(opened: OpenDatabase) -> None:
    async def work(database: Database) -> None:
        await database.run(queue.submit, "bert", bell(priority=0))  # Never comes to its turn while anna's wait.
        for _ in range(40):
            await database.run(queue.submit, "anna", bell())
        for _ in range(20):
            await database.run(queue.complete, await taken_of(database), OUTCOMES, 1.0)
        for _ in range(20):
            await database.run(queue.submit, "bert", bell())
        owners = []
        for _ in range(10):
            taken = await taken_of(database)
            owners.append(taken.owner)
            await database.run(queue.complete, taken, OUTCOMES, 1.0)
        assert 4 <= owners.count("anna") <= 6

    run(opened, work, "anna", "bert")


def test_stopping_a_job_at_once_costs_its_user(opened: OpenDatabase) -> None:
    """Its worker has to be started again: who did that over and over would be next, over and over."""

    async def work(database: Database) -> None:
        for owner in ("anna", "bert"):
            for _ in range(12):
                await database.run(queue.submit, owner, bell())
        owners = []
        for _ in range(12):
            taken = await taken_of(database)
            owners.append(taken.owner)
            if taken.owner == "anna":
                await database.run(queue.cancel, "anna", taken.job_id)
            else:
                await database.run(queue.complete, taken, OUTCOMES, 1.0)
        assert 5 <= owners.count("anna") <= 7

    run(opened, work, "anna", "bert")


def test_whoever_cancels_pays_for_what_the_worker_still_did(opened: OpenDatabase) -> None:
    async def work(database: Database) -> None:
        async def had(transaction: Transaction) -> float:
            return float((await transaction.rows("SELECT had FROM users WHERE name = 'anna'"))[0][0])

        await database.run(queue.submit, "anna", bell())
        taken = await taken_of(database)
        await database.run(queue.cancel, "anna", taken.job_id)
        before = await database.read(had)
        for _ in range(2):  # Once is enough, however often it is told.
            assert not await database.run(queue.give_again, taken, "signal SIGKILL", 101.0)
            assert await database.read(had) == pytest.approx(before + 100.0 / 2.0)
        assert (await database.read(queue.find_job, "anna", taken.job_id)).busy_s == 101.0

    run(opened, work, "anna", quotas=Quotas(share=2.0))
