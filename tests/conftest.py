"""What many tests need: a link that distils in a moment, a certificate authority, running KMEs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings

from tiandi.distill.records import KeyBlock
from tiandi.kms.directory import Directory, PairPolicy, Sae
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.server import KmeHost, listen
from tiandi.kms.store.master_keys import create_master_key_file, open_master_key
from tiandi.kms.store.sqlite_database import SqliteDatabase
from tiandi.kms.tls.pki import CertificateAuthority, Credentials
from tiandi.physics.detectors import Detector
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.quantum.channel import FibreChannel
from tiandi.quantum.link import QkdLink
from tiandi.scenario.network import QkdLinkEnd

# Hypothesis looks for new examples at a developer's desk; in continuous integration a verdict must repeat.
settings.register_profile("repeatable", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("repeatable")

SLOW_FILES = (
    "web/test_page.py", "crash/test_kill.py", "kms/test_service.py", "crash/test_postgres_failover.py", "outside/test_documents.py",
    "computing/cloud/clients/test_clients.py", "control/test_live_control.py", "scenario/test_node.py", "scenario/test_living.py",
    "cli/test_kme.py", "planning/test_network_day.py", "experiments/test_experiments.py", "partition/test_partition.py", "test_docs.py",
    "distill/test_processors.py", "outside/test_clients.py", "crash/test_disk.py", "cli/test_distill.py", "planning/test_study.py",
    "cli/test_up.py",
)  # fmt: skip
"""Those whose tests take longest together, the longest first: started last, one would be waited for by all other workers."""

RING_SCENARIO = Path(__file__).parents[1] / "src" / "tiandi" / "scenario" / "data" / "ring.toml"


@pytest.fixture
def transmitter() -> Transmitter:
    return Transmitter(clock_hz=40e6, mean_photon_numbers=(0.5, 0.15, 0.0), probabilities=(0.7, 0.2, 0.1))


@pytest.fixture
def receiver() -> Receiver:
    return Receiver(
        optics_efficiency=0.5,
        detector=Detector(efficiency=0.15, dark_count_rate_hz=500, dead_time_s=2e-6),
        gate_s=1e-9,
        misalignment=0.01,
    )


@pytest.fixture
def link(transmitter: Transmitter, receiver: Receiver) -> QkdLink:
    """45 km of fibre."""
    return QkdLink("Here", "There", transmitter=transmitter, receiver=receiver, channel=FibreChannel(45.0))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    order = {Path(__file__).parent / file: number for number, file in enumerate(SLOW_FILES)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


class KmeChain:
    """KMEs kme-0, kme-1, ... with an SAE at either end: alice at the first, bob at the last."""

    def __init__(self, folder: Path, length: int) -> None:
        self.authority = CertificateAuthority(folder / "pki")
        self.host = KmeHost(Directory(find_routes=self._routes, default_policy=PairPolicy(ahead_count=0)))
        self.names = [f"kme-{number}" for number in range(length)]
        for name in self.names:
            create_master_key_file(folder / f"{name}.key")
            master_key = open_master_key(f"file:{folder / name}.key")
            credentials = self.authority.issue("kme", name)
            self.host.add(name, SqliteDatabase(folder / f"{name}.sqlite"), master_key, credentials=credentials, listener=listen(0, "port"))
        self.host.directory.saes.update({"alice": Sae(self.names[0]), "bob": Sae(self.names[-1])})
        self.alice, self.bob = (self.authority.issue("sae", sae) for sae in ("alice", "bob"))

    def address(self, name: str) -> str:
        return self.host.directory.kme_addresses[name]

    def entity(self, name: str) -> KeyManagementEntity:
        return self.host.entities[name]

    def share(self, here: str, there: str, key: bytes) -> None:
        """Give two KMEs a block of link key, and let them compare it."""
        block = KeyBlock(uuid4(), key)
        for kme, peer, half in ((there, here, "second"), (here, there, "first")):
            end = QkdLinkEnd(peer, half)
            end.put(block)
            self.host.call(self.entity(kme).collect(end))
        self.host.call(self.entity(here).exchange.compare(there))

    def _routes(self, source: str, target: str, wanted_bit: int, paths: int) -> list[list[str]]:
        here, there = self.names.index(source), self.names.index(target)
        return [self.names[here : there + 1] if here < there else self.names[there : here + 1][::-1]]

    def issue(self, sae: str) -> Credentials:
        return self.authority.issue("sae", sae)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[KmeChain]:
    """Three KMEs in a row, serving HTTPS, with 4 kB of link key on each hop."""
    chain = KmeChain(tmp_path, 3)
    with chain.host:
        for here, there in pairwise(chain.names):
            chain.share(here, there, os.urandom(4000))
        yield chain
