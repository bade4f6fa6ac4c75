"""Simulated customers of a living network: pairs of nodes that draw keys at their demand, more by day than by night.

They ask the KMEs in this process directly (what a door would do once it knows the caller); the slave fetches each key by its identifier.
Who asks through a door, with a certificate, is served beside them.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field, replace
from datetime import datetime

from tiandi.control.routing import RoutePolicy
from tiandi.errors import NoRoute, TiandiError
from tiandi.kms.directory import PairPolicy
from tiandi.kms.etsi014 import KEY_SIZE_BIT, MAX_KEY_PER_REQUEST, KeyRequest
from tiandi.planning.inputs import Demand
from tiandi.scenario.demands import demands_of
from tiandi.scenario.network import RunningNetwork, kme_identity
from tiandi.scenario.scenario import Scenario
from tiandi.scenario.speed_clock import SpeedClock
from tiandi.scenario.view import PairLine

TICK_S = 0.5
MOST_PAIRS = 64
"""Pairs that draw, those who want most; a gravity model over a country would name thousands."""
APPLICATION_DEMAND_BPS = 256.0
"""Of each pair of applications in a scenario that names no demands: a key a second (assumed)."""
DAY_SWING, BUSIEST_HOUR, HOURS, DEG_PER_HOUR = 0.6, 15.0, 24.0, 15.0
"""Demand swings by this share of its mean, with its top in the afternoon of the pair's mean longitude (assumed)."""
MOST_OWED_S = 60.0
"""Simulated time for which a customer who got nothing asks later; older wishes lapse."""
LONGEST_PAUSE = 64
"""Ticks between two requests of a pair while no way of its holds key: what is ordered then is mostly given up again."""
LARGEST_KEY_BIT = 8192
MEMORY_S = 10.0
"""Real time over which a rate is averaged."""
GONE_S = 600.0
"""Simulated time without key after which a pair is served no more."""


@dataclass(eq=False)
class Customers:
    """One pair of simulated applications."""

    ends: tuple[str, str]
    saes: tuple[str, str]
    demand: Demand
    longitude_deg: float
    owed_bit: float = 0.0
    served_bps: float = 0.0
    got_bit: int = 0
    served: datetime | None = None
    failed: bool = False
    busy: bool = False
    pause: int = 0
    """Ticks from one request to the next while there is no way."""
    waited: int = 0
    keys: int = 0
    delivered_bit: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    """Keys whose only way led over a node, by node."""

    def wanted_bps(self, moment: datetime) -> float:
        """What the pair wants at this time of its day [bit/s]."""
        hour = moment.hour + moment.minute / 60.0 + self.longitude_deg / DEG_PER_HOUR
        return self.demand.rate_bps * (1.0 + DAY_SWING * math.cos(2.0 * math.pi * (hour - BUSIEST_HOUR) / HOURS))

    def age_s(self, now: datetime) -> float | None:
        """How old the key is that the pair got last [s]."""
        return None if self.served is None else max(0.0, (now - self.served).total_seconds())

    def line(self, now: datetime) -> PairLine:
        """The pair at a glance."""
        age_s = self.age_s(now)
        wanted_bps = self.wanted_bps(now)
        gone = age_s is None or age_s > max(GONE_S, 4.0 * KEY_SIZE_BIT / max(wanted_bps, 1e-9))
        state = "none" if gone else "short" if self.failed else "served"
        return PairLine(self.ends, round(self.wanted_bps(now), 1), round(self.served_bps, 1), age_s, state)  # type: ignore[arg-type]


class CustomerBase:
    """Every pair of ``scenario`` that draws keys from ``network``; lives on the network's event loop."""

    def __init__(self, scenario: Scenario, network: RunningNetwork, clock: SpeedClock) -> None:
        self._network, self._clock = network, clock
        self._last = clock.now()
        nodes = {node.name: node for node in scenario.file.topology.nodes}
        self.pairs: dict[tuple[str, str], Customers] = {}
        for demand in sorted(_demands(scenario), key=lambda demand: -demand.rate_bps)[:MOST_PAIRS]:
            saes = customer_sae(demand.ends[0]), customer_sae(demand.ends[1])
            for sae, end in zip(saes, demand.ends, strict=True):
                network.enrol(sae, end)
            places = [longitude for end in demand.ends if (longitude := nodes[end].longitude_deg) is not None]
            self.pairs[demand.ends] = Customers(demand.ends, saes, demand, sum(places) / len(places) if places else 0.0)
            network.host.directory.policies[saes] = _policy(demand)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Draw keys as they are wanted, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            now = self._clock.now()
            gone_s = min((now - self._last).total_seconds(), 2.0 * TICK_S * self._clock.wanted_speed)  # A jump is no night's sleep.
            self._last = now
            if gone_s <= 0.0:
                continue
            for pair in self.pairs.values():
                self._average(pair, gone_s)
                wanted_bps = pair.wanted_bps(now)
                most_bit = max(2.0 * KEY_SIZE_BIT, wanted_bps * max(MOST_OWED_S, 4.0 * gone_s))
                pair.owed_bit = min(pair.owed_bit + wanted_bps * gone_s, most_bit)
                if pair.owed_bit >= KEY_SIZE_BIT and not pair.busy and self._is_time(pair):
                    pair.busy = True
                    task = asyncio.create_task(self._draw(pair))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let no more be asked; keys on their way come to rest in their stores."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @staticmethod
    def _average(pair: Customers, gone_s: float) -> None:
        weight = 1.0 - math.exp(-TICK_S / MEMORY_S)
        pair.served_bps += weight * (pair.got_bit / gone_s - pair.served_bps)
        pair.got_bit = 0

    def _is_time(self, pair: Customers) -> bool:
        """Whether to ask now; a pair that was without a way asks at once when there is one again."""
        if pair.pause and not self._has_way(pair):
            pair.waited += 1
            return pair.waited >= pair.pause
        pair.pause = 0
        return True

    def _has_way(self, pair: Customers) -> bool:
        """Whether there are as many ways as the pair wants that each hold a key now."""
        source, target = (kme_identity(end) for end in pair.ends)
        paths, policy = pair.demand.paths, RoutePolicy(least_trust=pair.demand.least_trust)
        try:
            return len(self._network.controller.routes(source, target, KEY_SIZE_BIT, paths, policy=policy)) == paths
        except NoRoute:
            return False

    async def _draw(self, pair: Customers) -> None:
        """One request of the master, and the slave's for the same keys."""
        size_bit = KEY_SIZE_BIT
        while size_bit < LARGEST_KEY_BIT and pair.owed_bit > size_bit * MAX_KEY_PER_REQUEST:
            size_bit *= 2
        number = min(MAX_KEY_PER_REQUEST, int(pair.owed_bit // size_bit))
        master, slave = pair.saes
        try:
            source, target = (self._network.entity(end) for end in pair.ends)
            keys = await source.get_keys(master, slave, KeyRequest(number=number, size=size_bit))
            await target.get_keys_with_ids(slave, master, [key.key_id for key in keys])
        except TiandiError:
            pair.failed = True
            pair.pause, pair.waited = 0 if self._has_way(pair) else min(2 * pair.pause + 1, LONGEST_PAUSE), 0
        else:
            bit = len(keys) * size_bit
            pair.failed, pair.served, pair.pause = False, self._clock.now(), 0
            pair.owed_bit -= bit
            pair.got_bit += bit
            pair.keys += len(keys)
            pair.delivered_bit += bit
            self._note_way(pair, len(keys))
        finally:
            pair.busy = False

    def _note_way(self, pair: Customers, keys: int) -> None:
        routes = ways_of(self._network, pair, pair.demand.paths)
        if len(routes) == 1:
            for node in routes[0][1:-1]:
                pair.seen[node] = pair.seen.get(node, 0) + keys


def ways_of(network: RunningNetwork, pair: Customers, paths: int) -> list[list[str]]:
    """The nodes of at most ``paths`` disjoint ways of a pair's keys now; none where there is none."""
    source, target = (kme_identity(end) for end in pair.ends)
    try:
        routes = network.controller.find(source, target, KEY_SIZE_BIT, paths)
    except TiandiError:
        return []
    return [[network.node_of(kme) for kme in route] for route in routes]


def customer_sae(node: str) -> str:
    """The simulated application at a node."""
    return kme_identity(node).replace("kme-", "customer-", 1)


def _demands(scenario: Scenario) -> list[Demand]:
    """The scenario's demands; in one that names none, each pair of its applications wants a little."""
    if demands := demands_of(scenario.file):
        return demands
    homes = list(dict.fromkeys(application.node for application in scenario.file.topology.applications))
    pairs = [(here, there) for number, here in enumerate(homes) for there in homes[number + 1 :]]
    return [Demand(pair, APPLICATION_DEMAND_BPS) for pair in pairs]


def _policy(demand: Demand) -> PairPolicy:
    policy = PairPolicy(priority=demand.priority, paths=demand.paths, post_quantum=demand.post_quantum, ahead_sizes=2)
    return policy if demand.least_trust == "foreign" else replace(policy, least_trust=demand.least_trust)
