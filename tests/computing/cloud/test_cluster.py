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


def test_without_a_scheduler_the_error_says_so() -> None:
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        asyncio.run(ClusterRunner.open("tcp://127.0.0.1:9", toys.CATALOGUE, size=1, time_limit_s=1.0, memory_byte=0))
