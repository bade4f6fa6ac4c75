"""What many tests need: a link that distils in a moment, a certificate authority, running KMEs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings

from tiandi.kms.entity import Directory
from tiandi.kms.envelope import create_master_key
from tiandi.kms.pki import CertificateAuthority, Credentials
from tiandi.kms.server import KmeHost, listen
from tiandi.kms.store import KeyStore
from tiandi.physics.detectors import Detector
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.quantum.channel import FibreChannel
from tiandi.quantum.link import QkdLink

# Hypothesis looks for new examples at a developer's desk; in continuous integration a verdict must repeat.
settings.register_profile("repeatable", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("repeatable")

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


class KmeChain:
    """KMEs kme-0, kme-1, ... with an SAE at either end: alice at the first, bob at the last."""

    def __init__(self, folder: Path, length: int) -> None:
        self.authority = CertificateAuthority(folder / "pki")
        self.host = KmeHost(Directory())
        self.names = [f"kme-{number}" for number in range(length)]
        for name in self.names:
            store = KeyStore(folder / f"{name}.sqlite", name, create_master_key(folder / f"{name}.key"))
            self.host.add(store, self.authority.issue("kme", name), listen(0, "port"))
        self.host.directory.sae_homes.update({"alice": self.names[0], "bob": self.names[-1]})
        self.alice, self.bob = (self.authority.issue("sae", sae) for sae in ("alice", "bob"))

    def address(self, name: str) -> str:
        return self.host.directory.kme_addresses[name]

    def store(self, name: str) -> KeyStore:
        return self.host.entities[name].store

    def issue(self, sae: str) -> Credentials:
        return self.authority.issue("sae", sae)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[KmeChain]:
    """Three KMEs in a row, serving HTTPS, with 4 kB of link key on each hop."""
    chain = KmeChain(tmp_path, 3)
    with chain.host:
        for here, there in pairwise(chain.names):
            key, block_id = os.urandom(4000), uuid4()
            chain.store(here).add_block(there, block_id, key, "first")
            chain.store(there).add_block(here, block_id, key, "second")
        chain.host.directory.routes |= {tuple(chain.names), tuple(reversed(chain.names))}
        yield chain
