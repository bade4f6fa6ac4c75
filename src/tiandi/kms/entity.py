"""A key management entity (KME): what it does for applications, for neighbours and for links, whatever the transport."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import msgspec

from tiandi.errors import InputError, KeysExhausted, NoRoute, NotAuthorised, RelayFailed, TiandiError
from tiandi.kms import etsi014
from tiandi.kms.directory import Directory
from tiandi.kms.etsi014 import Limits
from tiandi.kms.keys import SupplyKey, new_prefix
from tiandi.kms.relay import patience
from tiandi.kms.relay.exchange import Exchange, Post
from tiandi.kms.relay.relay_messages import MOST_SHARES, Departure, Way, relay_cost_bit
from tiandi.kms.relay.relaying import Relaying
from tiandi.kms.source import KeySource
from tiandi.kms.states import State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Database, Transaction
from tiandi.kms.store.link_keys import LEAST_BLOCK_BYTE, LinkKeys
from tiandi.kms.store.master_keys import MasterKey
from tiandi.kms.store.schema import create_tables
from tiandi.kms.store.sealing import Sealer, open_sealer
from tiandi.kms.store.supply_keys import Reservation, RouteType, SupplyKeys
from tiandi.kms.supply.forgetting import Forgetting
from tiandi.kms.supply.orders import Orders
from tiandi.kms.supply.rates import RateMeter
from tiandi.kms.supply.stock_keeping import Supply

UNLIMITED_BPS = 2**31
DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Plan:
    """A reservation that is to be made, the KME of each slave, how those are reached, and when the keys are given up."""

    reservation: Reservation
    homes: dict[str, str]
    ways: dict[str, Way]
    deadline_ms: int


class KeyManagementEntity:
    """The KME of one trusted node over its store. Begin with `open`, then `start`; end with `close`."""

    def __init__(self, kme_id: str, database: Database, sealer: Sealer, *, directory: Directory, post: Post, limits: Limits) -> None:
        self.kme_id = kme_id
        self.limits = limits
        self.directory = directory
        self.database = database
        self.link_keys = LinkKeys(sealer)
        self.supply_keys = SupplyKeys(sealer)
        self.relaying = Relaying(kme_id, sealer, self.link_keys, self.supply_keys)
        self.exchange = Exchange(kme_id, database, self.relaying, self.link_keys, directory=directory, post=post)
        self.supply = Supply(self)
        self.sealer = sealer
        self._orders = Orders(self)
        self._forgetting = Forgetting(self)
        self._arrivals: dict[str, RateMeter] = {}
        self._housekeeping: asyncio.Task[None] | None = None
        self.draining = False

    @classmethod
    async def open(
        cls, kme_id: str, database: Database, master_key: MasterKey, *, directory: Directory, post: Post, limits: Limits = DEFAULT_LIMITS,
        tables: Sequence[str] = (),
    ) -> KeyManagementEntity:  # fmt: skip
        """The KME over its database. Raises StateError when the database is another's or cannot be opened."""
        await create_tables(database, kme_id, *tables)
        sealer = await open_sealer(database, master_key, kme_id)
        entity = cls(kme_id, database, sealer, directory=directory, post=post, limits=limits)
        await entity.exchange.load_kem_keys(sealer)
        return entity

    def start(self) -> None:
        """Begin to take up what was left, here or by other processes of this node."""
        self._housekeeping = asyncio.create_task(self._keep_house())

    async def close(self) -> None:
        """Stop, then close the database; what goes on stands in the store."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.gather(self._housekeeping, return_exceptions=True)
        await self.supply.close()
        await self.exchange.close()
        await self.database.close()

    async def _keep_house(self) -> None:
        while True:
            try:
                await self.sealer.renew_when_due()
                await self.exchange.load_kem_keys(self.sealer)
                self.supply.look_again()
                await self._forgetting.look_when_due()
                await self.exchange.sweep()
            except TiandiError:
                pass  # A disk or a neighbour that fails now may not fail in a second.
            except Exception as error:  # A KME that takes up nothing any more is worse than one fault told every second.
                asyncio.get_running_loop().call_exception_handler({"message": f"housekeeping of {self.kme_id}", "exception": error})
            await asyncio.sleep(patience.SWEEP_PAUSE_S)

    # For links: Kq-1.

    async def collect(self, source: KeySource) -> int:
        """Store the blocks a source has made and begin to compare them with the peer; returns their bits.

        One that is too short to be compared is passed over, so that it does not come again and again before the others.
        """
        blocks = await source.take_blocks()
        usable = [block for block in blocks if len(block.key) >= LEAST_BLOCK_BYTE]
        new = await asyncio.gather(
            *(self.database.run(self.link_keys.receive, source.peer, block.block_id, block.key, source.own_half) for block in usable)
        )
        await source.acknowledge([block.block_id for block in blocks])
        if any(new) and source.own_half == "first":
            self.exchange.later(self.exchange.compare(source.peer))
        length_bit = sum(block.length_bit for block, is_new in zip(usable, new, strict=True) if is_new)
        # Each end sends under half of what arrives.
        self._arrivals.setdefault(source.peer, RateMeter()).add(length_bit // 2)
        return length_bit

    def available_bps(self, master: str, slave: str) -> int:
        """Key that a pair may count on: its quota, or what the first link on its way brings of late, whichever is less [bit/s]."""
        quota_bps = self.directory.policy(master, slave).maximum_bps
        link_bps = UNLIMITED_BPS if self.directory.home(slave) == self.kme_id else 0
        if not link_bps:
            with suppress(KeyError, NoRoute):
                link_bps = int(self._arrivals[self.directory.routes_for(master, [slave], self.kme_id, 0, 1)[0][1]].rate)
        return link_bps if quota_bps is None else min(link_bps, quota_bps)

    async def stock_bit(self, peer: str) -> int:
        """Link key under which this KME can send to ``peer`` [bit]."""
        return await self.database.run(self.link_keys.stock_bit, peer)

    async def account(self) -> dict[str, dict[str, int]]:
        """Bits by stock and state."""
        return await self.database.run(ledger.accounts)

    # For applications: Ak.

    async def status(self, caller: str, slave: str) -> etsi014.Status:
        """Get status for the pair of the calling SAE and ``slave``."""
        self._require_pair(caller, [slave])
        size = self.limits.key_size
        return etsi014.Status(
            source_KME_ID=self.kme_id,
            target_KME_ID=self.directory.home(slave),
            master_SAE_ID=caller,
            slave_SAE_ID=slave,
            key_size=size,
            stored_key_count=min(await self.supply.primed_count(caller, slave, size), self.limits.max_key_count),
            max_key_count=self.limits.max_key_count,
            max_key_per_request=self.limits.max_key_per_request,
            max_key_size=self.limits.max_key_size,
            min_key_size=self.limits.min_key_size,
            max_SAE_ID_count=self.limits.max_SAE_ID_count,
        )

    async def get_keys(self, caller: str, slave: str, request: etsi014.KeyRequest) -> list[SupplyKey]:
        """Get key: the caller is master. Raises RequestRefused out of its limits, KeysExhausted when there are too few."""
        slaves = request.slaves(caller, slave) if slave != caller else [slave]
        self._require_pair(caller, slaves)
        request.require(self.limits)
        if self.draining:
            raise KeysExhausted(f"{self.kme_id} is being drained: it", 0, request.number * request.size)
        return await self._orders.deliver(caller, slaves, request)

    async def get_keys_with_ids(self, caller: str, master: str, key_ids: list[UUID]) -> list[SupplyKey]:
        """Get key with key IDs: the caller is slave. Raises KeyNotFound or NotAuthorised, and then delivers none."""
        self._require_home(caller)
        if not key_ids or len(key_ids) > self.limits.max_key_per_request:
            raise InputError("key_IDs", len(key_ids), f"must be 1 to {self.limits.max_key_per_request} identifiers")
        return await self.database.run(self.supply_keys.deliver_to_slave, master, caller, key_ids)

    def _require_home(self, sae: str) -> None:
        if sae not in self.directory.saes or self.directory.home(sae) != self.kme_id or self.directory.beyond(sae):
            raise NotAuthorised(f"SAE {sae} is not served by {self.kme_id}")

    def _require_pair(self, caller: str, slaves: Sequence[str]) -> None:
        self._require_home(caller)
        self.directory.require_pair(caller, slaves)

    # Making supply keys.

    async def reserve(
        self, master: str, slaves: Sequence[str], *, size_bit: int, count: int, paths: int | None = None, kept_apart: bool = False,
        route: Sequence[str] | None = None, prefix: bytes | None = None, keys: bytes | None = None, first_index: int = 0,
    ) -> Reservation:  # fmt: skip
        """Make ``count`` keys ready for a pair at the KMEs of both; returns when they are.

        ``kept_apart`` keeps them from other requests; ``route`` is taken instead of asking the controller. Raises NoRoute,
        KeysExhausted, RelayFailed; then nothing of them will ever be supplied.
        """
        plan = await self.plan(
            master, slaves, size_bit=size_bit, count=count, paths=paths, kept_apart=kept_apart, route=route, prefix=prefix,
            first_index=first_index,
        )  # fmt: skip
        await self.make(plan, keys=keys)
        return plan.reservation

    async def make(self, plan: Plan, *, keys: bytes | None = None) -> None:
        """Make what was planned, as `reserve` does."""
        departure = await self.database.run(self.depart, plan, keys=keys)
        is_patient = plan.reservation.route_type != "satellite"  # Which may take hours.
        state = await self.exchange.carry(departure, deadline_ms=plan.deadline_ms, is_patient=is_patient)
        if state != State.READY:
            for target in plan.ways:
                self.exchange.forget_kem(target)
            raise RelayFailed(
                " ".join(plan.ways) or self.kme_id,
                f"keys for {plan.reservation.master} and {' '.join(plan.homes)} are {'on their way' if state == State.RESERVED else state}",
            )

    async def depart(self, transaction: Transaction, plan: Plan, *, keys: bytes | None = None) -> Departure:
        """Start the keys of a planned reservation on their ways, as part of the caller's transaction; see `Relaying.depart`."""
        claim_ms = ledger.now_ms() + patience.CLAIM_MS
        return await self.relaying.depart(
            transaction, plan.reservation, plan.homes, plan.ways, claim_ms=claim_ms, deadline_ms=plan.deadline_ms, keys=keys
        )

    async def plan(
        self, master: str, slaves: Sequence[str], *, size_bit: int, count: int, paths: int | None = None, kept_apart: bool = False,
        route: Sequence[str] | None = None, route_type: RouteType | None = None, prefix: bytes | None = None, first_index: int = 0,
        extension: bytes = b"",
    ) -> Plan:  # fmt: skip
        """How keys as `reserve` makes them would travel, over routes of ``route_type`` only if it is given. Raises NoRoute, RelayFailed."""
        policy = self.directory.strictest_policy(master, slaves)
        homes = {slave: self.directory.home(slave) for slave in slaves}
        targets = sorted(set(homes.values()) - {self.kme_id})
        reservation = Reservation(
            prefix=prefix or new_prefix(),
            master=master,
            slaves=list(slaves),
            size_bit=size_bit,
            count=count,
            first_index=first_index,
            stream=kept_apart,
            extension=extension,
        )
        wanted_bit = relay_cost_bit(reservation)
        ways: dict[str, Way] = {}
        for target in targets:
            number = paths or policy.paths
            those_there_first = sorted(slaves, key=lambda slave: homes[slave] != target)
            found = [route] if route is not None else self._find_routes(master, those_there_first, wanted_bit, number, route_type)
            if route is None and len(found) < number:
                raise NoRoute(self.kme_id, target, f"{number} node-disjoint routes are wanted, there are {len(found)}")
            kem_public = await self.exchange.kem_public(target) if policy.post_quantum else b""
            ways[target] = Way(found, min(policy.threshold or len(found), len(found)), kem_public, policy.relay_form == "announced")
        routes = [list(route) for way in ways.values() for route in way.routes]
        reservation = msgspec.structs.replace(
            reservation,
            route_type=self._route_type(routes),
            paths=min((len(way.routes) for way in ways.values()), default=1),
            hops=max((len(route) - 2 for route in routes), default=0),
        )
        patience_s = self.directory.satellite_patience_s if reservation.route_type == "satellite" else patience.PATIENCE_S
        return Plan(reservation, homes, ways, ledger.now_ms() + int(1000 * patience_s))

    def _find_routes(
        self, master: str, slaves: Sequence[str], wanted_bit: int, number: int, route_type: RouteType | None
    ) -> Sequence[Sequence[str]]:
        find = self.directory.routes_for
        if route_type is None:
            return find(master, slaves, self.kme_id, wanted_bit, number)
        routes = find(master, slaves, self.kme_id, wanted_bit, MOST_SHARES)
        return [route for route in routes if self._route_type([route]) == route_type][:number]

    def is_by_satellite(self, master: str, slave: str) -> bool:
        """Whether a pair's keys travel with a satellite, so that nobody waits for them."""
        policy, target = self.directory.policy(master, slave), self.directory.home(slave)
        if not self.directory.satellites or target == self.kme_id:
            return False
        with suppress(NoRoute):
            return self._route_type(self.directory.routes_for(master, [slave], self.kme_id, 0, policy.paths)) == "satellite"
        return False

    def _route_type(self, routes: Sequence[Sequence[str]]) -> RouteType:
        if any(node in self.directory.satellites for route in routes for node in route):
            return "satellite"
        return "relayed" if any(len(route) > 2 for route in routes) else "direct"
