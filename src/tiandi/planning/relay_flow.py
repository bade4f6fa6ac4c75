"""The fast local rule of key relay as a fluid: who gets how much key out of the stocks of a day, in milliseconds.

The rule takes, for each pair, the shortest of its ways that still has key on every link. As a fluid all pairs fill up at once, each in
proportion to what it wants (water-filling), until a link is empty; pairs that lead over it go on by their next way. Nobody looks ahead, as
`tiandi.control.flow` does: `FluidRelay.distance_from_optimum` measures what that costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from tiandi.compiling import kernel
from tiandi.control.flow import MOST_BIT, KeyDemand, Objective, flow_over_time
from tiandi.control.topology import Topology
from tiandi.control.way_search import Floats, Ints, WayFinder, Ways
from tiandi.errors import InputError
from tiandi.limits import require_each_within, require_within
from tiandi.planning.inputs import Demand

MOST_CANDIDATES = 64
MOST_SEARCHES = 2000
"""Ways beyond the candidates are looked for, once theirs are all empty, from so many sources in one sharing out."""
LEAST_STOCK_BIT = 1.0
"""A link with less than a bit is empty."""


@dataclass(frozen=True)
class Allocation:
    """Key [bit] ``carried_bit`` (pairs,) and ``used_bit`` (links,); ``bottleneck`` (pairs,) is the link that ended a pair's filling.

    -1 where a pair has all it wants, or no way at all.
    """

    carried_bit: Floats
    used_bit: Floats
    bottleneck: Ints


@dataclass(frozen=True)
class Distance:
    """Key of all pairs together [bit], and the least share of its want of any pair that has a way: by the fluid rule and at the optimum."""

    fluid_bit: float
    optimum_bit: float
    fluid_least_share: float
    optimum_least_share: float

    @property
    def ratio(self) -> float:
        """The rule's key over the optimum's; 1 where there is none to have."""
        return self.fluid_bit / self.optimum_bit if self.optimum_bit > 0.0 else 1.0


class FluidRelay:
    """Pairs and their ways through a topology, for sharing out stocks again and again; nothing of one day is left for the next."""

    def __init__(self, topology: Topology, demands: Sequence[Demand], *, candidates: int = 4) -> None:
        """Finds up to ``candidates`` different ways for each pair, the fewest hops first. Raises InputError on nodes that are not there."""
        require_within("candidates", candidates, 1, MOST_CANDIDATES)
        self._topology, self._demands = topology, tuple(demands)
        self._finder = WayFinder(topology)
        self._pairs = self._finder.pairs(
            [item.ends for item in demands], [item.least_trust for item in demands], [item.paths for item in demands]
        )
        self._priority = np.array([item.priority for item in demands], np.int64)
        self._candidates = self._plan(self._finder.several(self._pairs, np.ones(len(self._finder.links)), candidates))

    @property
    def ways(self) -> Ways:
        """The candidates of each pair; links are numbers in the topology's order."""
        return self._candidates.ways

    def share_out(self, stock_bit: ArrayLike, wanted_bit: ArrayLike) -> Allocation:
        """What each pair gets of ``stock_bit`` (links,), wanting ``wanted_bit`` (pairs,), the least priority first. Raises InputError."""
        stock = self._checked("stock_bit", stock_bit, len(self._finder.links)).copy()
        wanted = self._checked("wanted_bit", wanted_bit, len(self._demands))
        before, carried = stock.copy(), np.zeros(wanted.size)
        bottleneck = np.full(wanted.size, -1)
        for priority in np.unique(self._priority):
            plan, searches = self._candidates, 0
            while True:
                rest = np.where(self._priority == priority, wanted - carried, 0.0)
                share, blocked = _fill(plan, stock, rest)
                carried += share * rest
                bottleneck[rest > 0.0] = blocked[rest > 0.0]
                stuck = np.flatnonzero((share < 1.0) & (rest > 0.0))
                searches += np.unique(self._pairs.source[stuck]).size
                more = self._more_ways(plan.ways, stuck, stock) if searches <= MOST_SEARCHES else None
                if more is None:
                    break
                plan = self._plan(more)
        return Allocation(np.minimum(carried, wanted), before - stock, bottleneck)

    def distance_from_optimum(self, stock_bit: ArrayLike, wanted_bit: ArrayLike, *, objective: Objective = "most") -> Distance:
        """The rule and the optimum on the same stocks and wants. Raises InputError."""
        stock = self._checked("stock_bit", stock_bit, len(self._finder.links))
        wanted = self._checked("wanted_bit", wanted_bit, len(self._demands))
        mine = self.share_out(stock, wanted).carried_bit
        demands = [
            KeyDemand(item.ends, float(bit), 1.0, item.priority, item.paths, item.least_trust)
            for item, bit in zip(self._demands, wanted, strict=True)
        ]
        best = flow_over_time(self._topology, np.zeros((1, stock.size)), demands, wanted[None, :], stock_bit=stock, objective=objective)
        asking = (np.diff(self.ways.of_pair) > 0) & (wanted > 0.0)
        shares = [float((bit[asking] / wanted[asking]).min(initial=1.0)) for bit in (mine, best.carried_bit[0])]
        return Distance(float(mine.sum()), float(best.carried_bit.sum()), *shares)

    def _checked(self, field: str, values: ArrayLike, size: int) -> Floats:
        array = require_each_within(field, values, 0.0, MOST_BIT)
        if array.shape != (size,):
            raise InputError(field, array.shape, f"must have shape {(size,)}")
        return array

    def _plan(self, ways: Ways) -> _Plan:
        of_pair = np.repeat(np.arange(len(self._demands)), np.diff(ways.of_pair))
        through = np.repeat(np.arange(of_pair.size), np.diff(ways.of_way))
        order = np.argsort(ways.link, kind="stable")
        first = np.searchsorted(ways.link[order], np.arange(len(self._finder.links) + 1))
        return _Plan(ways, of_pair, first, through[order])

    def _more_ways(self, ways: Ways, stuck: Ints, stock: Floats) -> Ways | None:
        """``ways``, and one more for each pair that is ``stuck`` while there is one with key on every link; None if no pair has another."""
        full = stock >= LEAST_STOCK_BIT
        size = len(self._finder.node)
        one, other = self._finder.ends[full].T
        _, part = connected_components(sparse.coo_array((np.ones(one.size), (one, other)), shape=(size, size)), directed=False)
        stuck = stuck[part[self._pairs.source[stuck]] == part[self._pairs.target[stuck]]]
        found = self._finder.cheapest(self._pairs.take(stuck), np.where(full, 1.0, np.inf))
        if found.link.size == 0:
            return None
        known, new = np.diff(ways.of_pair), np.zeros(len(self._demands), np.int64)
        new[stuck] = np.diff(found.of_pair)
        pairs = np.arange(new.size)
        owner = np.concatenate([np.repeat(pairs, known), np.repeat(pairs, new)])
        both = Ways(
            ways.of_pair,
            np.concatenate([ways.of_way, ways.of_way[-1] + found.of_way[1:]]),
            np.concatenate([ways.link, found.link]),
        )
        return both.take(np.argsort(owner, kind="stable"), known + new)


def lit_fraction(topology: Topology) -> Floats:
    """The part of the time that each link is lit when the links of an optical switch take turns, shape (links,)."""
    links = topology.links.values()
    through = {name: sum(link.switch == name for link in links) for name in topology.switches}
    return np.array([min(1.0, topology.switches[link.switch].at_once / through[link.switch]) if link.switch else 1.0 for link in links])


class _Plan(NamedTuple):
    """Ways, the pair of each, and the ways over each link: ``over[first[l] : first[l + 1]]``."""

    ways: Ways
    pair: Ints
    first: Ints
    over: Ints


class _Filling(NamedTuple):
    """What changes while pairs fill: the way each takes now (the pair's end of ways: none), what its links carry for each unit of level."""

    way: Ints
    load: Floats
    users: Ints


@kernel
def _first_empty(ways, stock, way):  # type: ignore[no-untyped-def]
    """The first link of a way that is empty, -1 where none is."""
    for at in range(ways.of_way[way], ways.of_way[way + 1]):
        if stock[ways.link[at]] < LEAST_STOCK_BIT:
            return ways.link[at]
    return -1


@kernel
def _put_load(plan, filling, way, amount):  # type: ignore[no-untyped-def]
    """Add a pair's want to the links of its way, or take it off."""
    for at in range(plan.ways.of_way[way], plan.ways.of_way[way + 1]):
        link = plan.ways.link[at]
        filling.load[link] += amount
        filling.users[link] += 1 if amount > 0.0 else -1
        if filling.users[link] == 0:
            filling.load[link] = 0.0


@kernel
def _lead(plan, stock, filling, pair, want):  # type: ignore[no-untyped-def]
    """Lead a pair over its first way from the present one on with key on every link. -1, or the link that leaves it without one."""
    ways, empty = plan.ways, -1
    while filling.way[pair] < ways.of_pair[pair + 1]:
        met = _first_empty(ways, stock, filling.way[pair])
        if met < 0:
            _put_load(plan, filling, filling.way[pair], want)
            return -1
        empty = met if empty < 0 else empty
        filling.way[pair] += 1
    return empty


@kernel
def _fullest(stock, filling):  # type: ignore[no-untyped-def]
    """The link that is empty next, and at how much more level; -1 where none is in use."""
    link, least = -1, np.inf
    for number in range(stock.size):
        if filling.users[number] > 0 and stock[number] < least * filling.load[number]:
            link, least = number, stock[number] / filling.load[number]
    return link, least


@kernel
def _fill(plan, stock, wanted):  # type: ignore[no-untyped-def]
    """Fill all pairs in proportion to ``wanted``; takes from ``stock``. The share of its want each gets, and the link that ended it."""
    filling = _Filling(plan.ways.of_pair[:-1].copy(), np.zeros(stock.size), np.zeros(stock.size, np.int64))
    share, blocked = np.full(wanted.size, -1.0), np.full(wanted.size, -1)
    for pair in np.flatnonzero(wanted > 0.0):
        blocked[pair] = _lead(plan, stock, filling, pair, wanted[pair])
        if filling.way[pair] == plan.ways.of_pair[pair + 1]:
            share[pair] = 0.0
    level = 0.0
    while level < 1.0:
        emptied, step = _fullest(stock, filling)
        step = min(step, 1.0 - level)
        level += step
        stock[:] = np.maximum(stock - step * filling.load, 0.0)
        if level >= 1.0:
            break
        stock[emptied] = 0.0
        for way in plan.over[plan.first[emptied] : plan.first[emptied + 1]]:
            pair = plan.pair[way]
            if filling.way[pair] == way and wanted[pair] > 0.0:
                _put_load(plan, filling, way, -wanted[pair])
                _lead(plan, stock, filling, pair, wanted[pair])
                if filling.way[pair] == plan.ways.of_pair[pair + 1]:
                    share[pair], blocked[pair] = level, emptied
    return np.where(share < 0.0, 1.0, share), blocked
