"""Ways for key between many pairs of nodes at once, as numbers: the cheapest way of each pair, and several different ones.

A way is the links whose key one bit of a pair's key costs: those of a route, or of all the node-disjoint routes that make a key together.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiandi.compiling import kernel
from tiandi.control.route_search import Prices, arcs_of, cheapest, disjoint
from tiandi.control.topology import TRUST_CLASSES, Topology, TrustClass
from tiandi.errors import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

PENALTY = 3.0
"""What a link that an earlier way of the pair uses costs more, as a factor (chosen): a way of thrice the hops comes before it."""


class Pairs(NamedTuple):
    """Pairs of nodes by number; ``trust`` is the number of the least trusted class on the way, ``shares`` how many disjoint routes."""

    source: Ints
    target: Ints
    trust: Ints
    shares: Ints

    def take(self, which: Ints) -> Pairs:
        """Those of these numbers."""
        return Pairs(self.source[which], self.target[which], self.trust[which], self.shares[which])


class Ways(NamedTuple):
    """Ways of pairs: pair p has the ways ``of_pair[p]`` to ``of_pair[p + 1]``, way w the links ``link[of_way[w] : of_way[w + 1]]``."""

    of_pair: Ints
    of_way: Ints
    link: Ints

    def take(self, chosen: Ints, per_pair: Ints) -> Ways:
        """The ways of the numbers ``chosen``, of which the pairs have ``per_pair`` in turn."""
        lengths = np.diff(self.of_way)[chosen]
        of_way = np.concatenate([[0], np.cumsum(lengths)])
        at = np.repeat(self.of_way[chosen] - of_way[:-1], lengths) + np.arange(of_way[-1])
        return Ways(np.concatenate([[0], np.cumsum(per_pair)]), of_way, self.link[at])


class WayFinder:
    """The nodes and links of a topology as arrays, in its order, and the ways through them.

    A node relays for others if it is no user node and at least as trusted as a pair asks.
    """

    def __init__(self, topology: Topology) -> None:
        self.node = {name: number for number, name in enumerate(topology.nodes)}
        self.links = tuple(topology.links)
        ends = [[self.node[end] for end in link.ends] for link in topology.links.values()]
        self.ends: Ints = np.array(ends, np.int64).reshape(-1, 2)
        trust = np.array([TRUST_CLASSES.index(node.trust) for node in topology.nodes.values()], np.int64)
        relays = np.array([node.relays for node in topology.nodes.values()], bool)
        self.relays: Booleans = relays & (trust >= np.arange(len(TRUST_CLASSES))[:, None])
        self._arcs = arcs_of(self.ends[:, 0], self.ends[:, 1], len(self.node))

    def pairs(self, ends: Sequence[tuple[str, str]], trust: Sequence[TrustClass], shares: Sequence[int]) -> Pairs:
        """Pairs of nodes by number. Raises InputError on a node that is not there."""
        for name in {name for pair in ends for name in pair}:
            if name not in self.node:
                raise InputError("demands.ends", name, "there is no such node")
        numbers = np.array([[self.node[name] for name in pair] for pair in ends], np.int64).reshape(-1, 2)
        levels = np.array([TRUST_CLASSES.index(least) for least in trust], np.int64)
        return Pairs(numbers[:, 0].copy(), numbers[:, 1].copy(), levels, np.array(shares, np.int64))

    def cheapest(self, pairs: Pairs, cost: Floats) -> Ways:
        """The way of least cost for each pair, or none; a ``cost`` per link, of which an infinite one closes the link."""
        order = np.lexsort((pairs.source, pairs.trust))
        ways = Ways(*_cheapest_ways(self._arcs, self._prices(cost), pairs.take(order)))
        first, count = np.empty(order.size, np.int64), np.empty(order.size, np.int64)
        first[order], count[order] = ways.of_pair[:-1], np.diff(ways.of_pair)
        return ways.take(first[count > 0], count)

    def several(self, pairs: Pairs, cost: Floats, most: int) -> Ways:
        """Up to ``most`` different ways for each pair, the cheapest first; each shuns the links of those before it."""
        return Ways(*_several_ways(self._arcs, self._prices(cost), pairs, most))

    def _prices(self, cost: Floats) -> Prices:
        """``cost`` per link; nodes per class of trust, as rows, cost nothing or all."""
        link = np.array(cost, float)
        return Prices(link, np.where(self.relays, 0.0, np.inf), np.zeros(link.size))


@kernel
def _tree(arcs, prices, source):  # type: ignore[no-untyped-def]
    """The arc by which the cheapest way from ``source`` enters each node; -1 where there is none."""
    cost = np.full(prices.node.size, np.inf)
    entered_by = np.full(prices.node.size, -1)
    cost[source] = 0.0
    waiting = [(0.0, source)]
    while len(waiting) > 0:
        so_far, node = heapq.heappop(waiting)
        if so_far > cost[node] or (node != source and prices.node[node] == np.inf):
            continue
        for arc in range(arcs.start[node], arcs.start[node + 1]):
            head = arcs.head[arc]
            there = so_far + prices.link[arcs.link[arc]]
            if there < cost[head]:
                cost[head] = there
                entered_by[head] = arc
                heapq.heappush(waiting, (there, head))
    return entered_by


@kernel
def _cheapest_ways(arcs, prices, pairs):  # type: ignore[no-untyped-def]
    """One way a pair, where there is one; neighbours of the same source and trust share a search."""
    of_pair, of_way, links = [0], [0], [0 for _ in range(0)]
    entered_by, searched = np.zeros(0, np.int64), (-1, -1)
    for pair in range(pairs.source.size):
        source, target, trust = pairs.source[pair], pairs.target[pair], pairs.trust[pair]
        roads = Prices(prices.link, prices.node[trust], prices.latency_ms)
        if pairs.shares[pair] > 1:
            links.extend(_disjoint_links(arcs, roads, (source, target), pairs.shares[pair]))
        else:
            if searched != (source, trust):
                entered_by, searched = _tree(arcs, roads, source), (source, trust)
            while target != source and entered_by[target] >= 0:
                links.append(arcs.link[entered_by[target]])
                target = arcs.tail[entered_by[target]]
        if len(links) > of_way[-1]:
            of_way.append(len(links))
        of_pair.append(len(of_way) - 1)
    return np.array(of_pair), np.array(of_way), np.array(links, dtype=np.int64)


@kernel
def _disjoint_links(arcs, prices, ends, shares):  # type: ignore[no-untyped-def]
    """The links of ``shares`` node-disjoint routes of least cost together; empty where there are not so many."""
    kept = prices.node[ends[1]]
    prices.node[ends[1]] = 0.0
    used, found, _ = disjoint(arcs, prices, ends, shares)
    prices.node[ends[1]] = kept
    return arcs.link[np.flatnonzero(used)] if found == shares else np.zeros(0, np.int64)


@kernel
def _several_ways(arcs, prices, pairs, most):  # type: ignore[no-untyped-def]
    """Up to ``most`` ways a pair: each search raises the cost of what it found, and twice in a row nothing new ends it."""
    of_pair, of_way, links = [0], [0], [0 for _ in range(0)]
    raised = prices.link.copy()
    for pair in range(pairs.source.size):
        source, target = pairs.source[pair], pairs.target[pair]
        nodes = prices.node[pairs.trust[pair]].copy()
        nodes[target] = 0.0
        roads = Prices(raised, nodes, prices.latency_ms)
        begun, stale = len(of_way) - 1, 0
        while len(of_way) - 1 - begun < most and stale < 2:
            if pairs.shares[pair] > 1:
                way = _disjoint_links(arcs, roads, (source, target), pairs.shares[pair])
            else:
                way = arcs.link[cheapest(arcs, roads, source, target)]
            if way.size == 0:
                break
            raised[way] *= PENALTY
            known = False
            for other in range(begun, len(of_way) - 1):
                known |= np.array_equal(np.array(links[of_way[other] : of_way[other + 1]]), way)
            stale = stale + 1 if known else 0
            if not known:
                links.extend(way)
                of_way.append(len(links))
        for at in range(of_way[begun], len(links)):
            raised[links[at]] = prices.link[links[at]]
        of_pair.append(len(of_way) - 1)
    return np.array(of_pair), np.array(of_way), np.array(links, dtype=np.int64)
