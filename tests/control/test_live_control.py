"""Four KMEs, processes of their own, in a ring with two ways round: link states spread, keys change their way, none is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import pytest

from tests.kms.kme_processes import PATIENCE_S, Process
from tests.ports import free_port
from tiandi.errors import TiandiError
from tiandi.kms.client import KeyClient
from tiandi.kms.store.master_keys import create_master_key_file
from tiandi.kms.tls.calling import client
from tiandi.kms.tls.pki import CertificateAuthority, Credentials, credentials_in

NAMES = ("kme-a", "kme-b", "kme-c", "kme-d")
RING = (("kme-a", "kme-b"), ("kme-b", "kme-d"), ("kme-a", "kme-c"), ("kme-c", "kme-d"))

HEAD = """
[kme]
id = "{kme}"
any_pair = true
[listen]
port = {port}
[database]
sqlite = "{kme}.sqlite"
[keys]
master_key = "file:{kme}.master"
[tls]
certificate = "pki/kme.{kme}.crt"
private_key = "pki/kme.{kme}.key"
authority = "pki/authority.crt"
[[saes]]
id = "alice"
home = "kme-a"
[[saes]]
id = "bob"
home = "kme-d"
"""
PEER = '[[peers]]\nid = "{kme}"\naddress = "https://127.0.0.1:{port}"\ntrust = "{trust}"\n'
LINK = '[[links]]\nends = ["{0}", "{1}"]\n'
SOURCE = '[[sources]]\nkind = "files"\npeer = "{peer}"\nfolder = "{kme}.{peer}.keys"\ninterval_s = 0.1\n'


class Ring:
    """A context manager that leaves no process behind. ``trust`` is by KME, "own" where it says nothing."""

    def __init__(self, folder: Path, trust: dict[str, str] | None = None) -> None:
        self.folder, self.trust = folder, trust or {}
        self.ports = {kme: free_port() for kme in NAMES}
        authority = CertificateAuthority(folder / "pki")
        for kind, identity in (("sae", "alice"), ("sae", "bob"), ("operator", "olga")):
            authority.issue(kind, identity)  # type: ignore[arg-type]
        self.processes = {}
        for kme in NAMES:
            authority.issue("kme", kme)
            create_master_key_file(folder / f"{kme}.master")
            for peer in NAMES:
                (folder / f"{kme}.{peer}.keys").mkdir()
            self.processes[kme] = Process(folder / f"{kme}.toml", folder / f"{kme}.log")
        self.write(RING)

    def write(self, links: tuple[tuple[str, str], ...]) -> None:
        """The configuration of every KME, with these links; a source for each of the ring's."""
        for kme in NAMES:
            text = HEAD.format(kme=kme, port=self.ports[kme])
            text += "".join(
                PEER.format(kme=peer, port=self.ports[peer], trust=self.trust.get(peer, "own")) for peer in NAMES if peer != kme
            )
            text += "".join(LINK.format(*link) for link in links)
            text += "".join(SOURCE.format(kme=kme, peer=peer) for peer in NAMES if {kme, peer} in map(set, RING))
            self.processes[kme].config.write_text(text, encoding="utf-8")

    def __enter__(self) -> Self:
        for process in self.processes.values():
            process.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self.processes.values():
            if process.running is not None and process.running.poll() is None:
                process.running.kill()
                process.running.wait()

    def feed(self, link: tuple[str, str], length_byte: int, *, differs: bool = False) -> None:
        """A block of link key at both ends: the same, or one that differs by a byte."""
        name, key = str(uuid4()), os.urandom(length_byte)
        for kme, peer in (link, link[::-1]):
            if differs and kme == link[1]:
                key = key[:-1] + bytes([key[-1] ^ 1])
            partial = self.folder / f"{kme}.{peer}.keys" / f".{name}"
            partial.touch(0o600)
            partial.write_bytes(key)
            partial.rename(partial.with_name(f"{name}.key"))

    def client(self, sae: str) -> KeyClient:
        kme = {"alice": "kme-a", "bob": "kme-d"}[sae]
        return KeyClient(f"https://127.0.0.1:{self.ports[kme]}", kme, self.credentials("sae", sae))

    def credentials(self, kind: str, identity: str) -> Credentials:
        return credentials_in(self.folder / "pki", kind, identity)  # type: ignore[arg-type]

    def ask(self, kme: str, what: str) -> Any:
        """An answer of the operators' door."""
        with client(self.credentials("operator", "olga"), timeout_s=PATIENCE_S, post_quantum_only=False) as http:
            answer = http.get(f"https://127.0.0.1:{self.ports[kme]}/admin/v1/{what}", extensions={"sni_hostname": kme})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def spent_bit(self, kme: str) -> int:
        """Link key that a KME has used up to send on."""
        return sum(link["own"].get("spent", 0) for link in self.ask(kme, "links"))

    def is_open(self, kme: str, neighbour: str) -> bool:
        """Whether kme-a takes the end of a link for one that keys may go over; one that was forgotten is none."""
        end = self.known().get((kme, neighbour))
        return end is not None and end["in_service"]

    def known(self, kme: str = "kme-a") -> dict[tuple[str, str], dict[str, Any]]:
        """What a KME knows of every end of a link."""
        return {(end["kme"], end["neighbour"]): end for end in self.ask(kme, "network")}


def until(holds: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.1)


def take(ring: Ring, number: int) -> list[bytes]:
    """Keys that alice and bob share, equal at both; asked for until there are any."""
    with ring.client("alice") as alice, ring.client("bob") as bob:
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                keys = alice.get_keys("bob", number=number)
                break
            except TiandiError:
                assert time.monotonic() < end
                time.sleep(0.2)
        assert bob.get_keys_with_ids("alice", [item.key_ID for item in keys]) == keys
    return [item.key for item in keys]


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    with Ring(tmp_path) as running:
        yield running


def feed_all(ring: Ring, by_b: int = 200_000, by_c: int = 200_000) -> None:
    for link in RING:
        ring.feed(link, by_b if "kme-b" in link else by_c)
    until(lambda: sum(end["stock_bit"] > 0 and end["in_service"] for end in ring.known().values()) == 8)


def test_keys_take_the_way_with_the_most_key_and_another_when_an_alarm_far_away_closes_it(ring: Ring) -> None:
    feed_all(ring, by_b=400_000, by_c=100_000)
    seen = take(ring, 64)
    by_c = ring.spent_bit("kme-c")
    assert ring.spent_bit("kme-b") > 64 * 256
    # An alarm at the far end of the way: kme-a hears of it by word of mouth.
    ring.feed(("kme-b", "kme-d"), 1000, differs=True)
    until(lambda: not ring.known()["kme-d", "kme-b"]["in_service"])
    assert "differs from the peer's copy" in ring.known()["kme-d", "kme-b"]["note"]
    by_b = ring.spent_bit("kme-b")
    seen += take(ring, 100) + take(ring, 100)
    assert ring.spent_bit("kme-b") == by_b
    assert ring.spent_bit("kme-c") > by_c + 100 * 256
    assert len(set(seen)) == 264


def test_no_key_is_lost_when_a_node_on_the_way_is_killed_under_load(ring: Ring) -> None:
    feed_all(ring)
    take(ring, 8)
    given: list[tuple[Any, bytes]] = []
    stop = threading.Event()

    def ask_on() -> None:
        with ring.client("alice") as alice:
            while not stop.is_set():
                try:
                    given.extend((item.key_ID, item.key) for item in alice.get_keys("bob", number=8))
                except TiandiError:
                    time.sleep(0.05)

    asking = threading.Thread(target=ask_on)
    asking.start()
    try:
        until(lambda: len(given) > 100)
        assert ring.processes["kme-b"].stop(signal.SIGKILL) == -signal.SIGKILL
        before = len(given)
        until(lambda: len(given) > before + 200)
    finally:
        stop.set()
        asking.join()
    with ring.client("bob") as bob:
        for start in range(0, len(given), 100):
            portion = given[start : start + 100]
            assert [(item.key_ID, item.key) for item in bob.get_keys_with_ids("alice", [key_id for key_id, _ in portion])] == portion
    until(lambda: not ring.known()["kme-a", "kme-b"]["in_service"])


@pytest.mark.slow
def test_a_link_taken_out_of_the_topology_is_used_no_more_without_a_restart(ring: Ring) -> None:
    feed_all(ring, by_b=400_000, by_c=100_000)
    take(ring, 32)
    ring.write(RING[2:])
    for process in ring.processes.values():
        assert process.running is not None
        process.running.send_signal(signal.SIGHUP)
    until(lambda: not ring.is_open("kme-d", "kme-b") and not ring.is_open("kme-a", "kme-b"))
    by_b = ring.spent_bit("kme-b")
    take(ring, 128)
    take(ring, 32)
    assert ring.spent_bit("kme-b") == by_b
