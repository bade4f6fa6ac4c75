"""A running network: a KME for every node, fed by the quantum links, routed by the controller, watched by the fault manager."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

from tiandi.clock import Clock
from tiandi.control.controller import Controller
from tiandi.control.link_states import SATELLITE_WAIT_S
from tiandi.control.routing import RoutePolicy
from tiandi.control.topology import Link, Node, Topology
from tiandi.distill.records import KeyBlock
from tiandi.errors import DistillationAborted, InputError, NoRoute, NoSecretKey, ScenarioError
from tiandi.kms.client import KeyClient
from tiandi.kms.directory import Directory, PairPolicy, Sae
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.etsi014 import KEY_SIZE_BIT, MAX_KEY_PER_REQUEST
from tiandi.kms.keys import Half
from tiandi.kms.relay.relay_messages import OVERHEAD_BIT
from tiandi.kms.server import KmeHost, listen
from tiandi.kms.store.link_keys import LEAST_BLOCK_BYTE
from tiandi.kms.store.master_keys import create_master_key_file, open_master_key
from tiandi.kms.store.sqlite_database import SqliteDatabase
from tiandi.kms.tls.identities import IdentityKind
from tiandi.kms.tls.pki import CertificateAuthority, Credentials, credentials_in
from tiandi.management.alarms import Alarm, FaultManager
from tiandi.quantum.link import LinkBlock
from tiandi.scenario import schema
from tiandi.scenario.checks import LINK_JOINT
from tiandi.scenario.scenario import Scenario
from tiandi.tags import TAG_KEY_BYTE
from tiandi.units import BIT_PER_BYTE


def kme_identity(node: str) -> str:
    """The KME of a node, as a name that TLS accepts: kme-shanghai-pudong."""
    return "kme-" + re.sub(r"[^a-z0-9]+", "-", node.lower()).strip("-")


def relay_bit(number: int) -> int:
    """Link key that ``number`` supply keys take on every hop [bit]: their pads, and tags for each portion."""
    return number * KEY_SIZE_BIT + -(-number // MAX_KEY_PER_REQUEST) * OVERHEAD_BIT


def relay_topology(topology: schema.Topology, named: Callable[[str], str] = kme_identity) -> Topology:
    """What the controller relays keys over, its nodes as ``named`` calls them: fibres, and hand-overs between two stations.

    The light of a downlink makes key that its satellite hands over: no keys are relayed over it.
    """
    fibres = [Link(entry.name, _ends(entry, named), length_km=entry.length_km) for entry in topology.fibres]
    hand_overs = [Link(entry.name, _ends(entry, named), "downlink") for entry in topology.hand_overs]
    return Topology.of([Node(named(entry.name), entry.kind, entry.trust) for entry in topology.nodes], [*fibres, *hand_overs])


def _ends(entry: schema.FibreEntry | schema.DownlinkEntry | schema.HandOverEntry, named: Callable[[str], str]) -> tuple[str, str]:
    return named(entry.ends[0]), named(entry.ends[1])


class QkdLinkEnd:
    """One end of a quantum link as a `KeySource` of the KME beside it."""

    def __init__(self, peer: str, own_half: Half) -> None:
        self.name = f"QKD link with {peer}"
        self.peer = peer
        self.own_half: Half = own_half
        self._blocks: list[KeyBlock] = []

    def put(self, block: KeyBlock) -> None:
        self._blocks.append(block)

    async def take_blocks(self) -> list[KeyBlock]:
        return list(self._blocks)

    async def acknowledge(self, block_ids: Collection[UUID]) -> None:
        """The KME has these blocks."""
        self._blocks = [block for block in self._blocks if block.block_id not in block_ids]


class RunningNetwork:
    """A context manager: inside it every KME of ``scenario`` serves HTTPS on the loopback address.

    ``controller`` knows its links as they were when `look` or `relay_keys` was called last. ``folder`` takes key stores and certificates;
    those of a run before are gone on with. Keys are relayed when an operator says so, along the route that the controller approved, and
    none are made ahead; with ``serving`` each KME makes them as its SAEs need them, the controller decides the ways. What ends with
    "_async" runs on the loop of `host`, the rest on other threads. Raises StateError when a port is taken.
    """

    def __init__(self, scenario: Scenario, folder: Path, clock: Clock, *, serving: bool = False) -> None:
        self.faults = FaultManager()
        self._clock = clock
        self._topology = scenario.file.topology
        self._pki = folder / "pki"
        self._authority = CertificateAuthority(self._pki, scenario.name)
        self._approved: set[tuple[str, ...]] = set()
        self.controller = Controller(relay_topology(self._topology))
        self.obstacles: dict[str, str] = {}
        """Links out of service for another reason than an alarm, and why."""
        controlled = Directory(routes=self.controller, find_routes=self.controller.find) if serving else None
        self._host = KmeHost(controlled or Directory(routes=self._approved, default_policy=PairPolicy(ahead_count=0)))
        self._credentials: dict[str, Credentials] = {}
        self._node_of: dict[str, str] = {}
        self._links: dict[str, tuple[str, str]] = {}
        try:
            for number, node in enumerate(self._topology.nodes):
                port = scenario.file.run.port_base + number if scenario.file.run.port_base else 0
                self._add_kme(node.name, folder / "kme", port)
        except BaseException:
            self._host.close()
            raise
        for application in self._topology.applications:
            self.enrol(application.sae, application.node)
        joints: list[schema.FibreEntry | schema.DownlinkEntry | schema.HandOverEntry]
        joints = [*self._topology.fibres, *self._topology.downlinks, *self._topology.hand_overs]
        for entry in joints:
            self._links[entry.name] = _ends(entry, kme_identity)
        for hand_over in self._topology.hand_overs:
            self._host.directory.satellites.add(kme_identity(hand_over.satellite))
            self._host.directory.hand_overs.add((kme_identity(hand_over.satellite), *self._links[hand_over.name]))
        self._expected: dict[str, datetime] = {}

    def _add_kme(self, node: str, folder: Path, port: int) -> None:
        kme = kme_identity(node)
        if kme in self._node_of:
            raise ScenarioError("topology.nodes", node, f"gives the same KME identity ({kme}) as {self._node_of[kme]}")
        self._node_of[kme] = node
        home = folder / kme
        home.mkdir(parents=True, mode=0o700, exist_ok=True)
        listener = listen(port, f"run.port_base (for the KME of {node})")
        if not (home / "master.key").exists():
            create_master_key_file(home / "master.key")
        master_key = open_master_key(f"file:{home / 'master.key'}")
        credentials = self._issued("kme", kme)
        self._host.add(kme, SqliteDatabase(home / "store.sqlite"), master_key, credentials=credentials, listener=listener)

    def _issued(self, kind: IdentityKind, identity: str) -> Credentials:
        """The certificate of an identity; one that a run before was given, killed in between perhaps, is taken if it is whole."""
        try:
            return credentials_in(self._pki, kind, identity)
        except InputError:
            return self._authority.issue(kind, identity)

    def enrol(self, sae: str, node: str) -> None:
        """Let an SAE be served at a node, from now on; its certificate is made, or found."""
        if sae not in self._credentials:
            self._credentials[sae] = self._issued("sae", sae)
        self._host.directory.saes[sae] = Sae(kme_identity(node))

    @property
    def host(self) -> KmeHost:
        """Who runs the KMEs, and the loop they live on."""
        return self._host

    def __enter__(self) -> Self:
        self._host.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._host.close()

    def entity(self, node: str) -> KeyManagementEntity:
        """The KME of a node."""
        return self._host.entities[kme_identity(node)]

    def node_of(self, kme: str) -> str:
        """The node of a KME."""
        return self._node_of[kme]

    def key_client(self, sae: str) -> KeyClient:
        """A client as the SAE itself would make one: the address of its KME and its own certificate."""
        kme = self._host.directory.home(sae)
        return KeyClient(self._host.directory.kme_addresses[kme], kme, self._credentials[sae])

    def receive(self, block: LinkBlock) -> Alarm | None:
        """Give the key of a block to the KMEs at both ends; if it was aborted, raise the alarm instead and return it."""
        alarm = self._host.call(self.receive_async(block))
        if alarm is None:
            here, there = self._links[block.link]
            self._host.call(self._host.entities[here].exchange.compare(there))
        return alarm

    async def receive_async(self, block: LinkBlock) -> Alarm | None:
        """As `receive`, but the KMEs may still be comparing the block when it returns."""
        alice, bob = block.alice, block.bob
        if isinstance(alice, KeyBlock) and isinstance(bob, KeyBlock):
            kmes = self._links[block.link]
            ends = QkdLinkEnd(kmes[1], "first"), QkdLinkEnd(kmes[0], "second")
            for end, key in zip(ends, (alice, bob), strict=True):
                end.put(key)
            await asyncio.gather(*(self._host.entities[kme].collect(end) for kme, end in zip(kmes, ends, strict=True)))
            if block.link in self.controller.topology.links:
                self.controller.states.update(block.link, qber=block.ledger.qber)
            return None
        causes = {
            self._node_of[kme]: outcome if isinstance(outcome, DistillationAborted) else NoSecretKey("the peer destroyed the block")
            for kme, outcome in zip(self._links[block.link], (alice, bob), strict=True)
        }
        alarm = self.faults.block_aborted(block.link, self._clock.now(), causes)
        if block.link in self.controller.topology.links:
            await self._look_at(block.link)
        return alarm

    def hand_over_all(self) -> dict[str, int]:
        """Let every satellite make its stations share all the key it has for both; returns bits by link."""
        shared = {entry.name: self.hand_over(entry) for entry in self._topology.hand_overs}
        return {name: bit for name, bit in shared.items() if bit}

    def hand_over(self, entry: schema.HandOverEntry) -> int:
        """Let a satellite make two stations share all the key it has for both; returns bits, 0 where it has too little.

        Key of a downlink that is out of service stays aboard. Raises RelayFailed when a station refuses or is not reached.
        """
        if any(self.faults.out_of_service(f"{entry.satellite}{LINK_JOINT}{station}") for station in entry.stations):
            return 0
        satellite, stations = self.entity(entry.satellite), self._links[entry.name]
        length_byte = min(self.stock_bit(entry.satellite, station) for station in entry.stations) // BIT_PER_BYTE - TAG_KEY_BYTE
        if length_byte < LEAST_BLOCK_BYTE:
            return 0
        self._host.call(satellite.exchange.hand_over(*stations, length_byte))
        self._host.call(self._host.entities[stations[0]].exchange.compare(stations[1]))
        return length_byte * BIT_PER_BYTE

    def stock_bit(self, here: str, there: str) -> int:
        """Link key [bit] under which the KME of a node can send to that of another."""
        return self._host.call(self.entity(here).stock_bit(kme_identity(there)))

    async def stocks_async(self, here: str, there: str) -> tuple[int, int]:
        """Link key [bit] under which each of two nodes, or KMEs, can send to the other."""
        here, there = kme_identity(self._node_of.get(here, here)), kme_identity(self._node_of.get(there, there))
        own_bit, peers_bit = await asyncio.gather(self._host.entities[here].stock_bit(there), self._host.entities[there].stock_bit(here))
        return own_bit, peers_bit

    def expect(self, link: str, moment: datetime) -> None:
        """A hand-over ``link`` that is empty gets key again at ``moment``, as far as is planned: keys that would go over it wait."""
        self._expected[link] = moment

    def look(self) -> None:
        """Let the controller know every link as it is now: the stock that both ends hold, alarms, how long keys wait for a satellite."""
        self._host.call(self.look_async())

    async def look_async(self) -> dict[str, tuple[int, int]]:
        """As `look`; returns what each end can send under [bit], by link."""
        names = list(self.controller.topology.links)
        return dict(zip(names, await asyncio.gather(*map(self._look_at, names)), strict=True))

    async def _look_at(self, name: str) -> tuple[int, int]:
        own_bit, peers_bit = await self.stocks_async(*self._links[name])
        stock_bit = min(own_bit, peers_bit)
        note = self.faults.out_of_service(name) or self.obstacles.get(name)
        wait_s = None
        if self.controller.topology.links[name].kind == "downlink":
            wait_s = self._wait_s(name) if stock_bit < relay_bit(1) else 0.0  # What was handed over waits for nobody.
        self.controller.states.update(name, stock_bit=stock_bit, in_service=note is None, note=note or "", wait_s=wait_s)
        return own_bit, peers_bit

    def _wait_s(self, name: str) -> float:
        if name not in self._expected:
            return SATELLITE_WAIT_S
        return max(0.0, (self._expected[name] - self._clock.now()).total_seconds())

    def relay_keys(self, master: str, slave: str, number: int, *, policy: RoutePolicy | None = None) -> tuple[list[str], list[UUID]]:
        """Make ``number`` keys ready for a pair of SAEs; returns the nodes on the way and the key identifiers.

        Raises NoRoute when no chain of links in service that ``policy`` allows has enough key, RelayFailed when the relay stops on the way.
        """
        homes = [self._host.directory.home(sae) for sae in (master, slave)]
        portions = [min(MAX_KEY_PER_REQUEST, number - start) for start in range(0, number, MAX_KEY_PER_REQUEST)]
        self.look()
        try:
            (route,) = self.controller.routes(homes[0], homes[1], relay_bit(number), 1, policy=self._without_satellites(policy))
        except NoRoute as error:
            raise NoRoute(self._node_of[homes[0]], self._node_of[homes[1]], error.why) from None
        approved = tuple(route)
        source = self._host.entities[homes[0]]
        self._approved.add(approved)
        try:
            key_ids = [
                key_id
                for portion in portions
                for key_id in self._host.call(source.reserve(master, [slave], size_bit=KEY_SIZE_BIT, count=portion, route=route)).key_ids
            ]
        finally:
            self._approved.discard(approved)
        return [self._node_of[kme] for kme in route], key_ids

    def _without_satellites(self, policy: RoutePolicy | None) -> RoutePolicy | None:
        """A policy that also avoids hand-overs by the satellites through which it lets no keys pass."""
        if policy is None:
            return None
        nodes = self.controller.topology.nodes
        barred = {entry.name for entry in self._topology.hand_overs if policy.forbids(nodes[kme_identity(entry.satellite)])}
        return replace(policy, avoid=policy.avoid | barred)

    def link_between(self, here: str, there: str) -> str:
        """The name of the link that joins two nodes on a route."""
        ends = {kme_identity(here), kme_identity(there)}
        return next(name for name, kmes in self._links.items() if set(kmes) == ends)

    def accounts(self) -> dict[str, dict[str, dict[str, int]]]:
        """The ledger of every KME, by node."""
        return {self._node_of[kme]: self._host.call(entity.account()) for kme, entity in self._host.entities.items()}
