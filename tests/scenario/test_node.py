"""A scenario on several hosts: each node a process of its own, light by the quantum-channel twin, all else over the network."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from itertools import pairwise
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pytest

from tests.kms.kme_processes import command, tiandi
from tests.ports import free_port
from tests.recipes.namespaces import Host, two_hosts, why_none
from tiandi.bits import pack
from tiandi.distill.records import ReceiverRecord
from tiandi.errors import DistillationAborted, ProtocolViolation, StateError, TiandiError
from tiandi.hosts.wire import CONTROL, Address, dial, tls_context
from tiandi.kms.client import Key, KeyClient
from tiandi.kms.tls.pki import CertificateAuthority, credentials_in
from tiandi.protocols.event_file import Run
from tiandi.scenario.node import NodeRun
from tiandi.scenario.node_files import read_node
from tiandi.scenario.node_light import call, decode_detections, encode_detections, require_call
from tiandi.scenario.node_links import Module, prune_accounts, wipe_partial
from tiandi.scenario.node_preparation import PreparedNode, prepare

PATIENCE_S = 90.0
NODES = ("West", "Middle", "East")
PORTS_A_NODE = 3

TOPOLOGY = """
format = 1
name = "line"
title = "A line of {number} towns"
[[topology.node_lists]]
kind = "trusted node"
source = "synthetic"
[topology.node_lists.places]
{places}
{fibres}
[[topology.applications]]
sae = "sae-west"
node = "West"
[[topology.applications]]
sae = "sae-east"
node = "East"
"""
FIBRE = """
[[topology.fibres]]
ends = ["{}", "{}"]
length_km = 20
equipment = "town"
source = "synthetic"
"""


def write_scenario(path: Path, nodes: Sequence[str]) -> None:
    """A line of towns with the equipment of the packaged ring."""
    ring = resources.files("tiandi.scenario").joinpath("data", "ring.toml").read_text(encoding="utf-8")
    equipment = ring[ring.index("[equipment.transmitters.town]") : ring.index("[run.message]")]
    fibres = "".join(FIBRE.format(here, there) for here, there in pairwise(nodes))
    places = "\n".join(f"{node} = [48.0, {16.0 + number}]" for number, node in enumerate(nodes))
    path.write_text(TOPOLOGY.format(number=len(nodes), places=places, fibres=fibres) + equipment, encoding="utf-8")


@dataclass
class Node:
    """A node as a process of its own; ``prefix`` are words before its command."""

    made: PreparedNode
    prefix: list[str] = field(default_factory=list)
    running: subprocess.Popen[bytes] | None = None
    _begun: int = field(default=0, init=False)

    @property
    def log(self) -> Path:
        return self.made.folder / "log"

    def start(self) -> None:
        self._begun = len(self.log.read_text()) if self.log.exists() else 0
        with self.log.open("ab") as log:
            words = command("node", self.made.node, "--config", self.made.folder / "node.toml")
            self.running = subprocess.Popen([*self.prefix, *words], stderr=log, cwd="/")

    def wait_until_it_serves(self) -> None:
        """Since it was started last. Raises AssertionError with its log when it does not, or has ended."""
        end_s = time.monotonic() + PATIENCE_S
        while f"{self.made.kme} serves" not in self.log.read_text()[self._begun :]:
            self.require_running()
            assert time.monotonic() < end_s, self.log.read_text()
            time.sleep(0.1)
        self.require_running()

    def require_running(self) -> None:
        assert self.running is not None
        assert self.running.poll() is None, f"{self.made.node} has ended, {self.running.returncode}:\n{self.log.read_text()}"

    def stop(self, number: int) -> int:
        assert self.running is not None
        self.running.send_signal(number)
        return self.running.wait(PATIENCE_S)

    def client(self, sae: str) -> KeyClient:
        return KeyClient(self.made.address, self.made.kme, credentials_in(self.made.folder / "saes", "sae", sae))


@contextmanager
def running(nodes: Sequence[Node]) -> Iterator[None]:
    try:
        for node in nodes:
            node.start()
        yield
    finally:
        for node in nodes:
            if node.running is not None and node.running.poll() is None:
                node.stop(signal.SIGKILL)


def write_hosts(path: Path, places: dict[str, tuple[str, int]]) -> None:
    path.write_text("".join(f'[nodes.{node}]\naddress = "{address}"\nport = {port}\n' for node, (address, port) in places.items()))


def places_on_loopback(nodes: Sequence[str]) -> dict[str, tuple[str, int]]:
    """127.0.0.1, 127.0.0.2 and so on, each with a few ports that are free now."""
    addresses = [f"127.0.0.{number}" for number, _ in enumerate(nodes, 1)]
    port = free_port(PORTS_A_NODE, addresses)
    return {node: (address, port) for node, address in zip(nodes, addresses, strict=True)}


def some_keys(client: KeyClient, slave: str, number: int, until_s: float) -> list[Key]:
    """Keys, asked for until there are any."""
    while True:
        try:
            return client.get_keys(slave, number=number)
        except TiandiError:
            assert time.monotonic() < until_s, "no key in time"
            time.sleep(0.3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hosts")


@pytest.fixture
def nodes(all_nodes: dict[str, Node]) -> dict[str, Node]:
    """West, Middle and East, who serve."""
    for node in all_nodes.values():
        node.wait_until_it_serves()
    return all_nodes


@pytest.fixture(scope="module")
def all_nodes(folder: Path) -> Iterator[dict[str, Node]]:
    """West, Middle and East on three addresses of this machine."""
    write_scenario(folder / "line.toml", NODES)
    write_hosts(folder / "hosts.toml", places_on_loopback(NODES))
    made = {each.node: Node(each) for each in prepare(str(folder / "line.toml"), folder / "hosts.toml", folder / "made")}
    with running(list(made.values())):
        yield made


def test_keys_are_relayed_between_hosts_and_none_is_lost_or_used_twice_when_hosts_are_killed(nodes: dict[str, Node]) -> None:
    west, east = nodes["West"], nodes["East"]
    end_s = time.monotonic() + PATIENCE_S
    acknowledged: dict[object, bytes] = {}
    with west.client("sae-west") as master, east.client("sae-east") as slave:
        first = some_keys(master, "sae-east", 4, end_s)
        assert slave.get_keys_with_ids("sae-west", [key.key_ID for key in first]) == first
        uncollected = some_keys(master, "sae-east", 4, end_s)
    for name in ("Middle", "East", "West"):
        nodes[name].stop(signal.SIGKILL)
    for node in nodes.values():
        node.start()
    with west.client("sae-west") as master, east.client("sae-east") as slave:
        collected = None
        while collected is None:
            try:
                collected = slave.get_keys_with_ids("sae-west", [key.key_ID for key in uncollected])
            except TiandiError:
                assert time.monotonic() < end_s
                time.sleep(0.3)
        assert collected == uncollected, "what was acknowledged before the kill is there after it"
        with pytest.raises(TiandiError):
            slave.get_keys_with_ids("sae-west", [uncollected[0].key_ID])
        later = some_keys(master, "sae-east", 8, end_s)
        assert slave.get_keys_with_ids("sae-west", [key.key_ID for key in later]) == later
    for key in [*first, *uncollected, *later]:
        assert key.key_ID not in acknowledged
        assert key.key not in acknowledged.values()
        acknowledged[key.key_ID] = key.key


def test_both_ends_of_a_link_report_the_same_blocks_and_go_on_after_a_kill(nodes: dict[str, Node]) -> None:
    def blocks(node: str, link: str) -> set[str]:
        said = [json.loads(line)["message"] for line in nodes[node].log.read_text().splitlines()]
        return {words.split()[4].strip(",") for words in said if words.startswith(f"{link}: block ")}

    end_s = time.monotonic() + PATIENCE_S
    before = len(blocks("West", "West - Middle"))
    while len(blocks("West", "West - Middle")) < before + 2:
        assert time.monotonic() < end_s
        time.sleep(0.3)
    both = blocks("West", "West - Middle") & blocks("Middle", "West - Middle")
    assert len(both) >= 2


def test_the_qber_of_a_nodes_own_links_stands_in_the_reports_of_all(nodes: dict[str, Node], folder: Path) -> None:
    made = nodes["East"].made
    operator = CertificateAuthority(folder / "made" / "pki").issue("operator", "olga")
    context = ssl.create_default_context(cafile=operator.authority)
    context.load_cert_chain(operator.certificate, operator.private_key)
    with httpx.Client(base_url=made.address, verify=context, trust_env=False) as client:
        end_s = time.monotonic() + PATIENCE_S
        while True:
            told = {(entry["kme"], entry["neighbour"]): entry["qber"] for entry in client.get("/admin/v1/network").json()}
            if len(told) == 4 and None not in told.values():
                break
            assert time.monotonic() < end_s, told
            time.sleep(0.3)
    assert all(0.0 < qber < 0.05 for qber in told.values()), told


def test_the_twin_gives_light_to_the_other_end_of_the_link_and_to_nobody_else(nodes: dict[str, Node]) -> None:
    west, east, middle = (nodes[name].made for name in ("West", "East", "Middle"))
    twin = Address.parse(read_node(west.folder / "node.toml", "West").links[0].twin)

    async def call_as(certificate: Path, link: str) -> str:
        context = tls_context(
            serving=False, certificate=certificate, private_key=certificate.with_suffix(".key"), authority=east.folder / "authority.crt"
        )
        wire = await dial(twin, context, 10.0)
        wire.send(CONTROL, call(link))
        wire.admit_blocks(1 << 24)
        try:
            return f"light, {len((await wire.receive(10.0)).payload)} bytes"
        except DistillationAborted as error:
            return str(error)
        finally:
            wire.hang_up(DistillationAborted("seen"))

    sae, stranger = east.folder / "saes" / "sae.sae-east.crt", east.folder / f"kme.{east.kme}.crt"
    for certificate in (sae, stranger):
        assert "hung up" in asyncio.run(call_as(certificate, "West - Middle"))
    nodes["Middle"].stop(signal.SIGKILL)  # Else it would call again, and be heard instead.
    right = middle.folder / f"kme.{middle.kme}.crt"
    assert "hung up" in asyncio.run(call_as(right, "Middle - East"))
    assert asyncio.run(call_as(right, "West - Middle")).startswith("light")
    nodes["Middle"].start()


def test_a_node_drains_on_sigterm_and_its_store_is_sound(nodes: dict[str, Node]) -> None:
    for node in nodes.values():
        assert node.stop(signal.SIGTERM) == 0, node.log.read_text()
        made = node.made
        done = tiandi("audit", "verify", made.folder / "store.sqlite", "--master-key", f"file:{made.folder / 'master.key'}")
        assert (done.returncode, done.stderr) == (0, "")
        assert not list((made.folder / "link-keys").rglob(".partial-*"))
        assert b"Traceback" not in node.log.read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(bool(why_none()), reason=why_none() or "there can be two hosts")
def test_two_hosts_with_a_cable_between_them_share_keys(tmp_path: Path) -> None:
    def keys(host: Host, node: Node, sae: str, *words: object) -> list[dict[str, str]]:
        """What `tiandi keys` prints on a host, asked until it has something to say."""
        files = node.made.folder / "saes"
        door = ("--kme", node.made.address, "--kme-id", node.made.kme, "--certificate", files / f"sae.{sae}.crt")
        more = ("--key", files / f"sae.{sae}.key", "--authority", files / "authority.crt", "--retry-s", 30, "--json")
        end_s = time.monotonic() + PATIENCE_S
        while True:
            asking = [*host.prefix, *command("keys", *words, *door, *more)]
            done = subprocess.run(asking, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            if done.returncode == 0:
                return json.loads(done.stdout)["keys"]  # type: ignore[no-any-return]
            assert time.monotonic() < end_s, done.stderr

    with two_hosts() as hosts:
        write_scenario(tmp_path / "line.toml", ("West", "East"))
        write_hosts(tmp_path / "hosts.toml", {name: (host.address, 8443) for name, host in zip(("West", "East"), hosts, strict=True)})
        made = prepare(str(tmp_path / "line.toml"), tmp_path / "hosts.toml", tmp_path / "made")
        west, east = (Node(each, host.prefix) for each, host in zip(made, hosts, strict=True))
        with running([west, east]):
            got = keys(hosts[0], west, "sae-west", "get", "sae-east", "--number", 2)
            assert keys(hosts[1], east, "sae-east", "retrieve", "sae-west", *(key["key_ID"] for key in got)) == got


def test_detections_arrive_as_they_were_seen() -> None:
    slots = np.array([3, 4, 900], np.int64)
    record = ReceiverRecord(slots, np.array([0, 1, 1], np.uint8), np.array([1, 1, 0], np.uint8))
    run = Run("decoy BB84", 1e8, datetime.now(UTC), np.array([500, 500]), (0.5, 0.1, 0.0), (0.5, 0.3, 0.2))
    told, seen = decode_detections(encode_detections(run, record))
    assert (seen.slots == slots).all()
    assert pack(seen.bases) == pack(record.bases)
    assert pack(seen.bits) == pack(record.bits)
    assert int(told.pulses.sum()) == 1000
    assert (told.mean_photon_numbers, told.probabilities, told.clock_hz) == (run.mean_photon_numbers, run.probabilities, 1e8)


def test_light_that_cannot_be_is_refused() -> None:
    record = ReceiverRecord(np.array([3, 999], np.int64), np.zeros(2, np.uint8), np.zeros(2, np.uint8))
    run = Run("decoy BB84", 1e8, datetime.now(UTC), np.array([1000]), (0.5, 0.1, 0.0), (0.5, 0.3, 0.2))
    good = msgspec.msgpack.decode(encode_detections(run, record))
    spoilt = [{"pulses": 999}, {"events": 3}, {"bits": b""}, {"slots": b"\xff"}, {"clock_hz": 0.0}, {"start_s": 1e300}, {"pulses": 0}]
    for wrong in spoilt:
        with pytest.raises(ProtocolViolation):
            decode_detections(msgspec.msgpack.encode(good | wrong))
    for payload in (b"", b"\xc1", call("West - East")):
        with pytest.raises(ProtocolViolation):
            decode_detections(payload)
    with pytest.raises(ProtocolViolation, match="does not call"):
        require_call(call("West - East"), "East - West")


def test_what_a_killed_process_left_is_wiped_and_old_accounts_go(tmp_path: Path) -> None:
    (tmp_path / ".partial-x").write_bytes(b"half a key")
    wipe_partial(tmp_path)
    assert not list(tmp_path.iterdir())
    for number in range(1005):
        path = tmp_path / f"{number}.json"
        path.touch()
        os.utime(path, (number, number))
    prune_accounts(tmp_path)
    left = {int(path.stem) for path in tmp_path.iterdir()}
    assert left == set(range(5, 1005))


def test_a_key_that_has_its_name_is_not_wiped_with_what_was_not_whole(tmp_path: Path) -> None:
    """A process that dies between giving a key its name and taking away the other leaves both, of one file."""
    (tmp_path / ".partial-x").write_bytes(b"a whole key")
    os.link(tmp_path / ".partial-x", tmp_path / "block.key")
    wipe_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["block.key"]
    assert (tmp_path / "block.key").read_bytes() == b"a whole key"


def test_a_second_process_leaves_alone_what_the_first_is_writing(tmp_path: Path) -> None:
    write_scenario(tmp_path / "line.toml", NODES)
    write_hosts(tmp_path / "hosts.toml", places_on_loopback(NODES))
    west = prepare(str(tmp_path / "line.toml"), tmp_path / "hosts.toml", tmp_path / "made")[0]
    file = read_node(west.folder / "node.toml", "West")
    with NodeRun(file):
        writing = west.folder / file.links[0].keys / ".partial-x"
        writing.write_bytes(b"a key")
        with pytest.raises(StateError, match="in use"), NodeRun(file):
            pass
        assert writing.read_bytes() == b"a key"


def test_a_pool_belongs_to_one_process_and_to_one_link(tmp_path: Path) -> None:
    write_scenario(tmp_path / "line.toml", NODES)
    write_hosts(tmp_path / "hosts.toml", places_on_loopback(NODES))
    middle = prepare(str(tmp_path / "line.toml"), tmp_path / "hosts.toml", tmp_path / "made")[1]
    file = read_node(middle.folder / "node.toml", "Middle")
    with NodeRun(file), pytest.raises(StateError, match="in use"), NodeRun(file):
        pass
    swapped = [msgspec.structs.replace(link, pool=file.links[1 - number].pool) for number, link in enumerate(file.links)]
    with pytest.raises(TiandiError, match="must be of the link"), NodeRun(msgspec.structs.replace(file, links=swapped)):
        pass
    turned = [msgspec.structs.replace(link, role="receiver") for link in file.links]
    with pytest.raises(TiandiError, match="as the scenario says"):
        NodeRun(msgspec.structs.replace(file, links=turned))


def test_certificates_of_an_authority_that_is_there_are_taken(tmp_path: Path) -> None:
    write_scenario(tmp_path / "line.toml", NODES)
    write_hosts(tmp_path / "hosts.toml", places_on_loopback(NODES))
    authority = CertificateAuthority(tmp_path / "pki")
    made = prepare(str(tmp_path / "line.toml"), tmp_path / "hosts.toml", tmp_path / "made", authority)
    assert (made[0].folder / "authority.crt").read_bytes() == authority.certificate.read_bytes()
    assert not (tmp_path / "made" / "pki").exists()
    assert tiandi("kme", "check", "--config", made[0].folder / "kme.toml").returncode == 0


def test_operators_hear_at_once_of_a_block_without_key_and_of_other_trouble_when_it_stays(tmp_path: Path) -> None:
    write_scenario(tmp_path / "line.toml", NODES)
    write_hosts(tmp_path / "hosts.toml", places_on_loopback(NODES))
    west = prepare(str(tmp_path / "line.toml"), tmp_path / "hosts.toml", tmp_path / "made")[0]
    heard: list[str] = []

    async def trouble(link: str, why: str) -> None:
        heard.append(f"{link}: {why}")

    async def go_through(module: Module) -> None:
        await module.tell("nobody answers")
        assert heard == []
        await module.tell("a block gave no key: the QBER is too high", at_once=True)
        await module.tell("a block gave no key: the QBER is too high", at_once=True)
        await module.tell("")
        await module.tell("nobody answers")
        await module.tell("a block gave no key: no agreement", at_once=True)

    async def no_store(link: str, why: str) -> None:
        raise StateError("store", link, "cannot be written")

    async def go_on_untold(module: Module) -> None:
        module.trouble = no_store
        await module.tell("a block gave no key: not told", at_once=True)
        module.trouble = trouble
        await module.tell("")

    with NodeRun(read_node(west.folder / "node.toml", "West")) as run:
        module = run.modules[0]
        asyncio.run(go_on_untold(module))
        asyncio.run(go_through(module))
    assert heard == [
        "West - Middle: a block gave no key: the QBER is too high",
        "West - Middle: a block gave no key: no agreement",
    ]
