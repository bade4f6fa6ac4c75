"""SAEs that join a network while it runs."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.kms.kme_processes import tiandi
from tiandi.clock import SimulatedClock
from tiandi.errors import InputError, StateError
from tiandi.kms.client import KeyClient
from tiandi.scenario.enrolment import ENROLLED, Enrolments, join
from tiandi.scenario.living_state import Running, StateLock
from tiandi.scenario.network import RunningNetwork, kme_identity
from tiandi.scenario.scenario import Scenario, load_scenario

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def ring() -> Scenario:
    return load_scenario("ring")


@pytest.fixture(scope="module")
def nodes(ring: Scenario) -> list[str]:
    return [node.name for node in ring.file.topology.nodes]


@pytest.fixture(scope="module")
def folder(ring: Scenario, nodes: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of a ring that runs, and looks for who joins as a living one does."""
    folder, stopped = tmp_path_factory.mktemp("ring"), threading.Event()
    with ExitStack() as stack:
        lock = stack.enter_context(StateLock(folder))
        network = stack.enter_context(RunningNetwork(ring, folder, SimulatedClock(START), serving=True))
        enrolments = Enrolments(network, folder)

        def look() -> None:
            while not stopped.wait(0.05):
                enrolments.take_up()

        addresses = network.host.directory.kme_addresses
        doors = {node: str(addresses[kme_identity(node)]) for node in nodes}
        lock.tell(Running(process=os.getpid(), scenario=ring.name, started="2026-01-01T00:00:00Z", doors=doors))
        looking = threading.Thread(target=look)
        looking.start()
        yield folder
        stopped.set()
        looking.join()


def enrol(folder: Path, name: str, *more: object) -> subprocess.CompletedProcess[str]:
    return tiandi("sae", "enrol", name, "--state", folder, *more)


def test_an_sae_joins_and_is_served(folder: Path, nodes: list[str]) -> None:
    done = enrol(folder, "encryptor", "--node", nodes[0], "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["sae"], told["kme"]) == ("encryptor", kme_identity(nodes[0]))
    assert set(told["first_key"]) == {"curl", "qkdsec", "tiandi"}
    again = join(folder, "encryptor", nodes[0])
    with KeyClient(again.address, again.kme, again.files) as client:
        assert again.partner is not None
        assert client.status(again.partner).source_KME_ID == again.kme
    other = join(folder, "decryptor", nodes[1], partner="encryptor")
    assert other.partner == "encryptor"
    assert str(other.files.certificate) in enrol(folder, "decryptor", "--node", nodes[1]).stdout


def test_who_joined_is_known_to_the_next_run(folder: Path, nodes: list[str], ring: Scenario, tmp_path: Path) -> None:
    join(folder, "encryptor", nodes[0])
    (tmp_path / ENROLLED).mkdir()
    for file in (folder / ENROLLED).iterdir():
        (tmp_path / ENROLLED / file.name).write_bytes(file.read_bytes())
    with RunningNetwork(ring, tmp_path, SimulatedClock(START), serving=True) as network:
        enrolments = Enrolments(network, tmp_path)
        assert "encryptor" in enrolments.take_up()
        assert enrolments.take_up() == []
        assert network.host.directory.home("encryptor") == kme_identity(nodes[0])


def test_what_cannot_be_is_told(folder: Path, nodes: list[str], ring: Scenario, tmp_path: Path) -> None:
    own = ring.file.topology.applications[0].sae
    join(folder, "encryptor", nodes[0])
    for name, node, partner in (("x", "nowhere", None), ("x", nodes[0], "nobody"), ("encryptor", nodes[1], None), (own, nodes[0], None)):
        with pytest.raises(InputError):
            join(folder, name, node, partner=partner)
    with pytest.raises(InputError):
        join(folder, "no/name", nodes[0])
    with pytest.raises(StateError, match="tiandi up"):
        join(tmp_path, "x", nodes[0])
    for more in ((), ("--config", "x.toml"), ("--node", nodes[0], "--replace")):
        assert enrol(folder, "x", *more).returncode == 2
