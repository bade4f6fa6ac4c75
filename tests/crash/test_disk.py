"""Disks that are full, that fail, that are cut: a KME says 503, goes on when it can, and never opens what it cannot trust."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.crash.faults import Fault
from tests.crash.load import Applications, Loader
from tests.crash.network import Network, Process, row_of_kmes
from tests.crash.nursery import Nursery
from tests.crash.test_kill import PAIRS, play, settle

FOR_EVER = 10**9
DISK_BYTE = 4 * 1024 * 1024
STATE_ERROR = 2


@pytest.fixture
def network(nursery: Nursery) -> Iterator[Network]:
    with row_of_kmes(nursery) as network:
        yield network


@pytest.fixture
def applications(network: Network) -> Iterator[Applications]:
    applications = Applications(network)
    yield applications
    applications.close()


def ask_for_a_while(network: Network, applications: Applications, *, duration_s: float) -> tuple[int, int]:
    """Ask as masters and slaves without waiting for anything to get better: how many were served, and how many refused with 503."""

    async def ask() -> tuple[int, int]:
        loaders = [Loader(network, applications.journal, pair) for pair in PAIRS[:2]]
        until_s = time.monotonic() + duration_s
        while time.monotonic() < until_s:
            await asyncio.gather(*(loader.step(1) for loader in loaders))
            await asyncio.sleep(0.02)
        for loader in loaders:
            await loader.close()
        return sum(loader.served for loader in loaders), sum(loader.failed for loader in loaders)

    return asyncio.run(ask())


def assert_survives(network: Network, applications: Applications, victim: Process, fault: Fault, duration_s: float) -> int:
    """Play while the disk fails, then after it has come back; how many requests were refused meanwhile."""
    victim.ask("arm", fault)
    network.put_link_key()
    _, failed = ask_for_a_while(network, applications, duration_s=duration_s)
    assert not victim.has_ended(), f"{fault} ended {victim.name}: {victim.log[-2000:]}"
    victim.ask("arm")
    play(network, applications)
    settle(network, applications)
    return failed


def test_a_disk_that_fails_for_a_while_costs_nothing_but_that_while(network: Network, applications: Applications) -> None:
    play(network, applications)
    for kme, kind in (("kme-0", "full"), ("kme-2", "broken"), ("kme-1", "short")):
        failed = assert_survives(network, applications, network.of(kme), Fault(kind=kind, times=FOR_EVER), 0.5)
        assert failed, f"the disk of {kme} was {kind} and nobody was refused"
    assert not network.kills


@pytest.mark.slow
@pytest.mark.parametrize("kme", ["kme-0", "kme-1", "kme-2"])
def test_a_disk_that_fails_at_any_call_costs_nothing_but_that_call(network: Network, applications: Applications, kme: str) -> None:
    for at in range(1, 60, 2):
        fault = Fault(kind=("full", "broken", "short")[at % 3], at=at, times=1 + at % 4)
        assert_survives(network, applications, network.of(kme), fault, 0.2)
    assert not network.kills


@pytest.mark.slow
def test_a_failing_disk_and_a_kill_together_lose_no_key_but_what_was_asked_for(network: Network, applications: Applications) -> None:
    """A commit whose sync failed may or may not be there after a crash: what was refused may be gone, nothing is given twice."""
    for number in range(20):
        victim = network.processes[number % 3]
        victim.ask("arm", Fault(kind=("full", "broken", "short")[number % 3], at=1 + number, times=FOR_EVER))
        ask_for_a_while(network, applications, duration_s=0.2)
        applications.doubt_refused()
        victim.kill()
        victim.start()
        play(network, applications)
        settle(network, applications)
    print(f"\n{network.kills} kills on failing disks")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own, of a few megabytes."""
    folder.mkdir()
    mount: list[str | Path] = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTE}", "tmpfs", folder]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("this machine lets nobody mount a file system here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(folder: Path) -> Path:
    """Fill a file system to the last byte."""
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return filler


def test_a_full_disk_is_told_with_503_and_everything_goes_on_when_there_is_space(nursery: Nursery, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, row_of_kmes(nursery, stores={"kme-0": disk}) as network:
        applications = Applications(network)
        play(network, applications)
        filler = fill(disk)
        network.put_link_key(60_000)
        _, failed = ask_for_a_while(network, applications, duration_s=3.0)
        assert failed, "the disk was full and nobody was refused"
        victim = network.of("kme-0")
        victim.kill()
        victim.begin()
        if not victim.wait_until_ready():
            assert victim.status == STATE_ERROR, victim.log[-2000:]
            assert victim.log.splitlines()[-1].startswith("key store"), victim.log[-2000:]
        filler.unlink()
        play(network, applications)
        settle(network, applications)
        applications.close()


def test_a_limit_on_file_sizes_is_told_with_503_and_everything_goes_on_when_it_is_lifted(
    network: Network, applications: Applications
) -> None:
    play(network, applications)
    victim = network.of("kme-2")
    victim.ask("limit files", 100_000)
    network.put_link_key(60_000)
    _, failed = ask_for_a_while(network, applications, duration_s=2.0)
    assert failed, "nobody was refused"
    assert not victim.has_ended(), victim.log[-2000:]
    victim.ask("limit files")
    play(network, applications)
    settle(network, applications)


@pytest.mark.parametrize("damage", ["cut", "header", "all but the header"])
def test_a_damaged_store_is_not_opened_and_one_error_says_so(network: Network, applications: Applications, damage: str) -> None:
    play(network, applications)
    settle(network, applications)
    victim = network.of("kme-0")
    assert victim.stop() == 0
    content = bytearray(victim.store.read_bytes())
    if damage == "cut":
        del content[-5000:]
    elif damage == "header":
        content[:100] = os.urandom(100)
    else:
        content[4096:] = os.urandom(len(content) - 4096)
    victim.store.write_bytes(content)
    before = len(victim.log.splitlines())
    victim.begin()
    assert not victim.wait_until_ready(), "a damaged store was opened"
    assert victim.status == STATE_ERROR
    [line] = victim.log.splitlines()[before:]
    assert line.startswith("key store"), line


@pytest.mark.slow
def test_a_damaged_page_is_never_a_wrong_key(network: Network, applications: Applications) -> None:
    """Whatever page of the store was overwritten: it does not open, or it refuses, or what it gives is right."""
    play(network, applications)
    settle(network, applications)
    victim = network.of("kme-2")
    assert victim.stop() == 0
    content = victim.store.read_bytes()
    for page in range(len(content) // 4096):
        spoilt = bytearray(content)
        spoilt[page * 4096 : (page + 1) * 4096] = os.urandom(4096)
        victim.store.write_bytes(spoilt)
        victim.begin()
        if victim.wait_until_ready():
            ask_for_a_while(network, applications, duration_s=0.3)
            assert not victim.has_ended(), victim.log[-2000:]
            victim.kill()
        else:
            assert victim.status == STATE_ERROR, victim.log[-2000:]
        Path(f"{victim.store}-wal").unlink(missing_ok=True)
    applications.assert_sound()
