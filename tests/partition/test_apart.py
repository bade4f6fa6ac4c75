"""KMEs in processes of their own: an hour apart by their clocks, and far away from each other."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from tests.hosts.test_far_away import HERE, THERE, Distance, far_apart, ip
from tests.partition.other_process import Plan
from tests.ports import free_port
from tiandi.errors import TiandiError
from tiandi.kms.client import KeyClient
from tiandi.kms.tls.pki import CertificateAuthority, Credentials

HOUR_MS = 3_600_000
LINK_BYTE = 500_000
__all__ = ["far_apart"]


class Apart:
    """KMEs in a row, each in its process; alice is at the first, bob at the last."""

    def __init__(self, folder: Path, hosts: Sequence[str], ahead_ms: Sequence[int]) -> None:
        self.names = [f"kme-{number}" for number in range(len(hosts))]
        authority = CertificateAuthority(folder / "pki")
        for name, host in zip(self.names, hosts, strict=True):
            authority.issue("kme", name, hosts=[host])
        self.saes: dict[str, Credentials] = {sae: authority.issue("sae", sae) for sae in ("alice", "bob")}
        self.addresses = {name: f"https://{host}:{free_port()}" for name, host in zip(self.names, hosts, strict=True)}
        plans = {
            name: Plan(
                folder=str(folder),
                pki=str(folder / "pki"),
                kme=name,
                address=self.addresses[name].removeprefix("https://"),
                ahead_ms=ahead,
                addresses=self.addresses,
                homes={"alice": self.names[0], "bob": self.names[-1]},
                blocks={},
            )
            for name, ahead in zip(self.names, ahead_ms, strict=True)
        }
        for here, there in pairwise(self.names):
            block_id, key = uuid4(), os.urandom(LINK_BYTE)
            plans[here].blocks[there] = [(block_id, key, "first")]
            plans[there].blocks[here] = [(block_id, key, "second")]
        self._files = [folder / f"{name}.json" for name in self.names]
        for file, plan in zip(self._files, plans.values(), strict=True):
            file.write_bytes(msgspec.json.encode(plan))
        self._processes: list[subprocess.Popen[str]] = []

    @contextmanager
    def running(self, prefixes: Sequence[Sequence[str]]) -> Iterator[None]:
        """Each process is started by the words of its prefix."""
        with ExitStack() as stack:
            for prefix, file in zip(prefixes, self._files, strict=True):
                words = [*prefix, sys.executable, "-m", "tests.partition.other_process", str(file)]
                process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
                stack.callback(process.communicate, "")
                self._processes.append(process)
            for process in self._processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "serving\n"
            yield

    def open_count(self) -> int:
        """Reservations that are not settled, at all KMEs."""
        total = 0
        for process in self._processes:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            total += int(process.stdout.readline())
        return total

    def settle(self, within_s: float) -> None:
        """Wait until nothing is open."""
        end_s = time.monotonic() + within_s
        while self.open_count():
            assert time.monotonic() < end_s
            time.sleep(0.1)


def first_key(alice: KeyClient, within_s: float) -> None:
    """Wait until both ends have compared their link key."""
    end_s = time.monotonic() + within_s
    while True:
        try:
            alice.get_keys("bob")
            return
        except TiandiError:
            assert time.monotonic() < end_s
            time.sleep(0.05)


@pytest.mark.parametrize("ahead_ms", [[0, HOUR_MS], [HOUR_MS, 0]])
def test_clocks_that_are_an_hour_apart_change_nothing(tmp_path: Path, ahead_ms: list[int]) -> None:
    apart = Apart(tmp_path, ["127.0.0.1"] * 2, ahead_ms)
    with apart.running([[]] * 2):
        first, last = apart.names[0], apart.names[-1]
        with KeyClient(apart.addresses[first], first, apart.saes["alice"]) as alice, KeyClient(
            apart.addresses[last], last, apart.saes["bob"]
        ) as bob:  # fmt: skip
            first_key(alice, 10)
            for _ in range(40):
                [key] = alice.get_keys("bob")
                assert bob.get_keys_with_ids("alice", [key.key_ID])[0].key == key.key
        apart.settle(5)


CALLER = """
import sys
from pathlib import Path
from tests.partition.test_apart import first_key
from tiandi.kms.client import KeyClient
from tiandi.kms.tls.pki import credentials_in
pki, address, kme, sae, other = sys.argv[1:]
with KeyClient(address, kme, credentials_in(Path(pki), "sae", sae), retry_s=30) as client:
    if sae == "alice":
        first_key(client, 60)
        for _ in range(100):
            [key] = client.get_keys(other)
            print(key.key_ID, key.key.hex(), flush=True)
    else:
        for line in sys.stdin:
            [key] = client.get_keys_with_ids(other, [__import__("uuid").UUID(line.split()[0])])
            assert key.key.hex() == line.split()[1]
            print("equal", flush=True)
"""


@pytest.mark.slow
def test_kmes_far_from_each_other_over_a_bad_line_keep_keys_flowing(
    far_apart: tuple[tuple[str, str], Distance], tmp_path: Path
) -> None:  # fmt: skip
    namespaces, distance = far_apart
    for name in namespaces:
        ip("-n", name, "link", "set", "lo", "up")
    apart = Apart(tmp_path, [HERE, THERE], [0, 0])
    entering = [["ip", "netns", "exec", name] for name in namespaces]

    def call(number: int, sae: str, other: str, said: str = "") -> str:
        kme = apart.names[number]
        words = [*entering[number], sys.executable, "-c", CALLER, str(tmp_path / "pki"), apart.addresses[kme], kme, sae, other]
        done = subprocess.run(words, input=said, capture_output=True, text=True, timeout=150, cwd=Path(__file__).parents[2], check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with apart.running(entering):
        keys = call(0, "alice", "bob")
        assert call(1, "bob", "alice", keys).count("equal") == len(keys.splitlines()) == 100
        assert distance.lost > 0
        apart.settle(30)
