"""Jobs on a Dask cluster end as they do on processes of this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.computing.cloud import toys
from tests.computing.cloud.stores import audit, bell, ended, sqlite, store
from tests.planning.test_scheduling import Cluster, cluster  # noqa: F401 - a fixture.
from tiandi.computing.cloud.cluster import ClusterRunner
from tiandi.computing.cloud.pool import Reader
from tiandi.computing.cloud.service import Cloud
from tiandi.errors import InputError

pytest.importorskip("distributed")


def test_jobs_run_on_a_cluster(cluster: Cluster, tmp_path: Path) -> None:  # noqa: F811
    async def work(address: str) -> None:
        async with store(sqlite(tmp_path), "anna") as database:
            runner = await ClusterRunner.open(address, toys.CATALOGUE, size=None, time_limit_s=1.0, memory_byte=toys.GIBIBYTE)
            assert runner.size >= 1
            cloud = Cloud(database, toys.machines(), reader=Reader(toys.CATALOGUE), runner=runner)
            await cloud.start()
            expected = {"dice": "", "killer": "died 3 times (signal SIGKILL)", "sleeper-60000": "longer than the 1 s", "hog": "memory"}
            jobs = {machine: (await cloud.submit("anna", bell(machine)))[0].id for machine in expected}
            for machine, reason in expected.items():
                job = await ended(cloud, "anna", jobs[machine])
                assert job.state == ("failed" if reason else "completed")
                assert reason in job.reason
            await audit(database)
            await cloud.close(grace_s=0.1)

    asyncio.run(work(cluster.address))


def test_a_job_that_is_cancelled_leaves_its_place_on_the_cluster(cluster: Cluster, tmp_path: Path) -> None:  # noqa: F811
    """A thread that computed on would keep one of the two places for a minute, and each of the next jobs in it waiting."""

    async def work(address: str) -> None:
        async with store(sqlite(tmp_path), "anna") as database:
            runner = await ClusterRunner.open(address, toys.CATALOGUE, size=2, time_limit_s=60.0, memory_byte=toys.GIBIBYTE)
            cloud = Cloud(database, toys.machines(), reader=Reader(toys.CATALOGUE), runner=runner)
            await cloud.start()
            sleepers = [(await cloud.submit("anna", bell("sleeper-60000")))[0].id for _ in range(2)]
            after = [(await cloud.submit("anna", bell()))[0].id for _ in range(2)]
            async with asyncio.timeout(30.0):
                while not all([(await cloud.job("anna", job_id)).state == "running" for job_id in sleepers]):
                    await asyncio.sleep(0.05)
            await asyncio.sleep(1.0)
            for job_id in sleepers:
                assert (await cloud.cancel("anna", job_id)).state == "cancelled"
            async with asyncio.timeout(30.0):
                for job_id in after:
                    assert (await ended(cloud, "anna", job_id)).state == "completed"
            for job_id in sleepers:
                # How long a worker had it is known when that worker is free; one place may have done both of `after`.
                async with asyncio.timeout(30.0):
                    while (told := await cloud.job("anna", job_id)).busy_s is None:
                        await asyncio.sleep(0.05)
                assert told.state == "cancelled"
                assert 1.0 < told.busy_s < 30.0
            await audit(database)
            await cloud.close(grace_s=0.1)

    asyncio.run(work(cluster.address))


def test_without_a_scheduler_the_error_says_so() -> None:
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        asyncio.run(ClusterRunner.open("tcp://127.0.0.1:9", toys.CATALOGUE, size=1, time_limit_s=1.0, memory_byte=0))
