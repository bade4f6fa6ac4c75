"""kill -9 of server and workers, at random moments: no job is lost, and none is done twice for its user."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from msgspec.msgpack import Decoder

from tests.computing.cloud import toys
from tests.computing.cloud.serving import PATIENCE_S, Served, is_alive, kill, make_user, served
from tests.computing.cloud.stores import audit
from tiandi.computing.cloud import users
from tiandi.computing.cloud.database import Transaction
from tiandi.computing.cloud.jobs import Outcome
from tiandi.computing.cloud.postgres_database import PostgresDatabase
from tiandi.computing.cloud.schema import create_tables
from tiandi.computing.cloud.sqlite_database import SqliteDatabase
from tiandi.random import twin_generator

BODY = {"machine": "sleeper-20", "programs": [toys.BELL], "shots": 50}


class Load:
    """A user who submits until told to stop, and repeats every request whose answer was lost."""

    def __init__(self, running: Served, key: str) -> None:
        self._running, self._key = running, key
        self.made: dict[str, str] = {}
        """Job by request."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._submit)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def _submit(self) -> None:
        number, end_s = 0, time.monotonic() + 4 * PATIENCE_S
        while time.monotonic() < end_s and not self._stopped.is_set():
            number += 1
            while str(number) not in self.made and time.monotonic() < end_s:
                try:
                    with self._running.client(self._key) as client:
                        headers = {"Idempotency-Key": str(number)}
                        answer = client.post("/api/v1/jobs", json={**BODY, "seed": number}, headers=headers)
                    answer.raise_for_status()
                    self.made[str(number)] = answer.json()["id"]
                except httpx.TransportError:
                    time.sleep(0.05)
            time.sleep(0.01)


def all_ended(running: Served, key: str) -> dict[str, str]:
    """State of every job by its identifier, when all have ended."""
    end_s = time.monotonic() + 2 * PATIENCE_S
    while True:
        with running.client(key) as client:
            if not any(client.get("/api/v1/jobs", params={"state": state}).json()["jobs"] for state in ("queued", "running")):
                states, before = {}, None
                while True:
                    page = client.get("/api/v1/jobs", params={"limit": 500, **({"before": before} if before else {})}).json()
                    states |= {job["id"]: job["state"] for job in page["jobs"]}
                    if (before := page["next"]) is None:
                        return states
        assert time.monotonic() < end_s
        time.sleep(0.1)


def require_right(store: Path, load: Load, states: dict[str, str]) -> None:
    """Every job that was acknowledged, and no other, is completed once, with the result of its own seed."""
    assert set(states) == set(load.made.values())
    assert set(states.values()) == {"completed"}

    async def look() -> None:
        database = SqliteDatabase(store)

        async def results(transaction: Transaction) -> list[tuple[str, int, bytes]]:
            return [tuple(row) for row in await transaction.rows("SELECT id, seed, body FROM jobs JOIN results ON job = id")]  # type: ignore[misc]

        await audit(database)
        rows = await database.read(results)
        await database.close()
        assert sorted(job for job, _, _ in rows) == sorted(load.made.values())
        for _, seed, body in rows:
            expected = twin_generator(seed, BODY["machine"]).integers(0, 2, (50, 2), dtype=np.uint8)  # type: ignore[arg-type]
            assert (Decoder(Outcome).decode(body).bits() == expected).all()

    asyncio.run(look())


def put_under_fire(tmp_path: Path, shots: int, fire: Callable[[Served, np.random.Generator], None]) -> None:
    store = tmp_path / "cloud.sqlite"
    key = make_user(store, "anna")
    generator = np.random.default_rng(8)
    with served(store, tmp_path, "--workers", "2") as running:
        load = Load(running, key)
        load.start()
        try:
            for _ in range(shots):
                time.sleep(generator.uniform(0.05, 0.6))
                fire(running, generator)
        finally:
            load.stop()
        states = all_ended(running, key)
    require_right(store, load, states)
    assert key[16:] not in running.log.read_text()


def _kill_server(running: Served, _: np.random.Generator) -> None:
    workers = running.workers()
    running.kill()
    running.start()
    end_s = time.monotonic() + PATIENCE_S
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() < end_s, "a worker outlived its server"
        time.sleep(0.02)


def _kill_worker(running: Served, generator: np.random.Generator) -> None:
    if workers := running.workers():
        kill(workers[generator.integers(len(workers))])


@pytest.mark.parametrize("shots", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_servers_lose_no_job_and_run_none_twice(tmp_path: Path, shots: int) -> None:
    put_under_fire(tmp_path, shots, _kill_server)


@pytest.mark.parametrize("shots", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_killed_workers_lose_no_job_and_run_none_twice(tmp_path: Path, shots: int) -> None:
    put_under_fire(tmp_path, shots, _kill_worker)


def test_a_second_server_of_one_file_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "cloud.sqlite"
    (tmp_path / "second").mkdir()
    with served(store, tmp_path), pytest.raises(AssertionError, match="another server has it"):
        Served(str(store), tmp_path / "second" / "cloud.log").start()


@pytest.mark.slow
def test_another_server_does_the_jobs_of_one_that_died(tmp_path: Path, postgres: Callable[[str], str]) -> None:
    """Over one PostgreSQL: what a killed server held is given again once nothing was heard of it for `LEASE_S`."""
    dsn = postgres("cloud-two-servers")

    async def make() -> str:
        database = PostgresDatabase(dsn)
        await database.open()
        await create_tables(database)
        await database.run(users.add_user, "anna", users.Quotas())
        key = await database.run(users.add_key, "anna")
        await database.close()
        return key

    key = asyncio.run(make())
    (tmp_path / "second").mkdir()
    with served(dsn, tmp_path, "--workers", "2") as first, first.client(key) as client:
        jobs = {client.post("/api/v1/jobs", json={**BODY, "machine": machine}).json()["id"] for machine in ("sleeper-200",) * 20}
        with served(dsn, tmp_path / "second", "--workers", "2") as second:
            time.sleep(0.5)
            first.kill()
            states = all_ended(second, key)
    assert states == dict.fromkeys(jobs, "completed")
