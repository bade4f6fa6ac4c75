"""Tasks in a pool and on a Dask cluster: the same numbers, and one clear error."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.planning.tasks import die, fail, lack_route, scaled, slowly_scaled
from tiandi.errors import InputError, TiandiError
from tiandi.planning.scheduling import run_tasks

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cluster:
    """A Dask scheduler and its workers, processes of their own on loopback."""

    address: str
    workers: list[subprocess.Popen[bytes]]


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "60s"}
    return subprocess.Popen([sys.executable, "-m", *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    place = tmp_path / "scheduler.json"
    scheduler = _start(
        "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(place)
    )
    workers = [
        _start(
            "distributed.cli.dask_worker",
            *("--scheduler-file", str(place), "--no-dashboard", "--no-nanny", "--nthreads", "1", "--name", name),
            *("--host", "127.0.0.1", "--local-directory", str(tmp_path / name)),
        )
        for name in ("first", "second")
    ]

    try:
        until = time.monotonic() + 30
        while not (place.exists() and place.read_text()) and time.monotonic() < until:
            time.sleep(0.05)
        yield Cluster(json.loads(place.read_text())["address"], workers)
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done_once(workers: int) -> None:
    found = dict(run_tasks(scaled, 10, range(7), workers=workers))
    assert found == {number: 10 * number for number in range(7)}


def test_nothing_to_do_needs_nobody() -> None:
    assert list(run_tasks(scaled, 10, [], scheduler="tcp://127.0.0.1:1")) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_task_comes_home_whole(workers: int) -> None:
    with pytest.raises(InputError, match="must be even") as caught:
        list(run_tasks(fail, 0, [1, 2, 3], workers=workers))
    assert caught.value.field == "task"


def test_an_error_with_arguments_of_its_own_comes_home_as_text() -> None:
    with pytest.raises(TiandiError, match="no route for key from A to B: dark"):
        list(run_tasks(lack_route, 0, [1, 2], workers=2))


def test_a_worker_of_the_pool_that_dies_is_one_clear_error() -> None:
    with pytest.raises(InputError, match="a worker process died"):
        list(run_tasks(die, 0, [1, 2], workers=2))


@pytest.mark.parametrize("workers", [0, -1, 1_000_000])
def test_a_number_of_workers_that_nobody_has_is_refused(workers: int) -> None:
    with pytest.raises(InputError, match="workers"):
        list(run_tasks(scaled, 1, [1], workers=workers))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1:9", "nowhere", "gopher://127.0.0.1:9", ""])
def test_a_scheduler_that_is_not_there_is_one_clear_error_within_ten_seconds(address: str) -> None:
    distributed = pytest.importorskip("distributed")
    began = time.monotonic()
    with pytest.raises(InputError, match="no Dask scheduler answers there") as caught:
        list(run_tasks(scaled, 1, [1], scheduler=address))
    assert caught.value.field == "scheduler"
    assert time.monotonic() - began < 10.0
    clients = [one for one in gc.get_objects() if isinstance(one, distributed.Client)]
    assert {one.status for one in clients} <= {"closed"}


def test_a_cluster_that_loses_a_worker_gives_the_same_numbers(cluster: Cluster) -> None:
    tasks = list(range(12))
    found: dict[int, int] = {}
    for number, result in run_tasks(slowly_scaled, 10, tasks, scheduler=cluster.address):
        found[number] = result
        if len(found) == 3:
            cluster.workers[0].send_signal(signal.SIGKILL)
    assert found == dict(run_tasks(slowly_scaled, 10, tasks, workers=1))


def test_an_error_of_a_task_on_the_cluster_comes_home_whole(cluster: Cluster) -> None:
    with pytest.raises(InputError, match="must be even"):
        list(run_tasks(fail, 0, [1, 2, 3], scheduler=cluster.address))
