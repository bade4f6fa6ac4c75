"""Relays of a living network as they are told: which pairs got keys over other nodes, seen in the ledgers of their masters' KMEs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

from tiandi.errors import TiandiError
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.states import State
from tiandi.kms.store.database import Transaction
from tiandi.scenario.happenings import Happenings
from tiandi.scenario.network import RunningNetwork

TOLD_EVERY_S = 5.0
"""Real time between two events of one pair of nodes; keys made in between are told of together."""
MOST_AT_ONCE = 4
MOST_NAMED = 3
"""Nodes on the way that are named."""
MADE = (State.READY.value, State.DELIVERED.value)


class RelayWatch:
    """Tells ``happenings`` of keys that were relayed between nodes of ``network``; call `look` now and then, on its loop."""

    def __init__(self, network: RunningNetwork, happenings: Happenings, *, real: Callable[[], float] = time.monotonic) -> None:
        self._network, self._happenings, self._real = network, happenings, real
        self._made_bit: dict[str, int] = {}
        self._untold: Counter[tuple[str, str]] = Counter()
        self._told_s: dict[tuple[str, str], float] = {}
        self._has_looked = False

    async def look(self) -> None:
        """Count what was made since the last look, and tell of some of it."""
        directory = self._network.host.directory
        for kme, entity in self._network.host.entities.items():
            for stock, bit in (await _made_bit(entity)).items():
                before_bit, self._made_bit[stock] = self._made_bit.get(stock, 0), bit
                slave, _, size_bit = stock.split(" ")[2:]
                if bit > before_bit and self._has_looked and slave in directory.saes:
                    self._untold[kme, directory.home(slave)] += (bit - before_bit) // int(size_bit)
        self._has_looked = True
        now_s = self._real()
        due = [ends for ends, keys in self._untold.items() if keys and now_s - self._told_s.get(ends, -TOLD_EVERY_S) >= TOLD_EVERY_S]
        for ends in sorted(due, key=lambda ends: self._told_s.get(ends, 0.0))[:MOST_AT_ONCE]:
            self._told_s[ends] = now_s
            self._tell(ends, self._untold.pop(ends))

    def _tell(self, ends: tuple[str, str], keys: int) -> None:
        """One event, unless both are one node, or neighbours that need nobody between them."""
        if ends[0] == ends[1]:
            return
        named = self._network.node_of
        try:
            route = self._network.controller.find(*ends, 0, 1)[0]
        except TiandiError:
            return  # The way that they came is gone.
        between = [named(kme) for kme in self._between(route)]
        if between:
            more = f" and {len(between) - MOST_NAMED} more" if len(between) > MOST_NAMED else ""
            pair = named(ends[0]), named(ends[1])
            what = f"{pair[0]} - {pair[1]}: {keys} keys relayed by {', '.join(between[:MOST_NAMED])}{more}"
            self._happenings.tell("relay", what, pair=pair)

    def _between(self, route: list[str]) -> list[str]:
        """The KMEs between the ends of a way, and the satellites that handed over the key of a hop."""
        between: list[str] = []
        for here, there in pairwise(route):
            between += [satellite for satellite, *stations in self._network.host.directory.hand_overs if {here, there} == set(stations)]
            between.append(there)
        return between[:-1]


async def _made_bit(entity: KeyManagementEntity) -> dict[str, int]:
    """Bits of supply keys that were made ready at a KME as master, by stock, those that were delivered since included."""
    made: Counter[str] = Counter()
    for stock, state, bit in await entity.database.run(_supply):
        if stock.split(" ")[-2] == "master" and state in MADE:
            made[stock] += bit
    return made


async def _supply(transaction: Transaction) -> list[tuple[str, str, int]]:
    """Accounts of supply keys, by the primary key."""
    query = "SELECT stock, state, bit FROM account WHERE stock > 'supply ' AND stock < 'supply!'"
    return [(str(stock), str(state), int(bit)) for stock, state, bit in await transaction.rows(query)]
