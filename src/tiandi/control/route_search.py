"""Compiled searches over a network in arrays: the cheapest way, the cheapest within limits, and node-disjoint ways of least cost together.

They know no names. A link may be used both ways, so each is two arcs; a link or a node that must not be used costs infinity.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiandi.compiling import kernel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MOST_LABELS = 1_000_000
"""Partial ways that `cheapest_within` looks at before it gives up."""


class Arcs(NamedTuple):
    """Arcs by the node they leave: those of node n are ``start[n]`` to ``start[n + 1]`` - 1; shapes (nodes + 1,) and (2 links,) each."""

    start: IntArray
    tail: IntArray
    head: IntArray
    link: IntArray


class Prices(NamedTuple):
    """What a link costs and how long it takes [ms], shape (links,), and what a node costs that is passed through, shape (nodes,)."""

    link: FloatArray
    node: FloatArray
    latency_ms: FloatArray


class _Flow(NamedTuple):
    """Which arcs are used, by which arc it enters a node (-1: not), and the potential of every place, a node's way in or out."""

    used: BoolArray
    entered_by: IntArray
    potential: FloatArray


class _Left(NamedTuple):
    """What it costs to reach a place through what the flow leaves, from which place and by which arc."""

    cost: FloatArray
    arrived_from: IntArray
    arrived_by: IntArray


def arcs_of(tails: IntArray, heads: IntArray, nodes: int) -> Arcs:
    """The arcs, both ways, of links from ``tails`` to ``heads``, shape (links,) each, between ``nodes`` nodes."""
    both_tails, both_heads = np.concatenate((tails, heads)), np.concatenate((heads, tails))
    links = np.tile(np.arange(len(tails), dtype=np.int64), 2)
    order = np.lexsort((links, both_tails))
    start = np.searchsorted(both_tails[order], np.arange(nodes + 1)).astype(np.int64)
    return Arcs(start, both_tails[order], both_heads[order], links[order])


@kernel
def cheapest(arcs: Arcs, prices: Prices, source: int, target: int) -> IntArray:
    """The arcs of the cheapest way, shape (hops,); none when there is no way (Dijkstra 1959, doi:10.1007/BF01386390).

    Every node that it enters is paid for, the target too: give that the price 0.
    """
    cost = np.full(arcs.start.size - 1, np.inf)
    entered_by = np.full(arcs.start.size - 1, -1)
    cost[source] = 0.0
    waiting = [(0.0, source)]
    while len(waiting) > 0:
        so_far, node = heapq.heappop(waiting)
        if node == target:
            break
        if so_far > cost[node]:
            continue
        for arc in range(arcs.start[node], arcs.start[node + 1]):
            head = arcs.head[arc]
            there = so_far + prices.link[arcs.link[arc]] + prices.node[head]
            if there < cost[head]:
                cost[head] = there
                entered_by[head] = arc
                heapq.heappush(waiting, (there, head))
    backwards = [entered_by[target]]
    if backwards[0] < 0:
        return np.empty(0, np.int64)
    while arcs.tail[backwards[-1]] != source:
        backwards.append(entered_by[arcs.tail[backwards[-1]]])
    return np.array(backwards[::-1])


@kernel
def costs_to(arcs: Arcs, prices: Prices, source: int, target: int) -> FloatArray:
    """What the cheapest way from each node to ``target`` costs, shape (nodes,); only the ``source`` is left that may not be passed."""
    cost = np.full(arcs.start.size - 1, np.inf)
    cost[target] = 0.0
    waiting = [(0.0, target)]
    while len(waiting) > 0:
        so_far, node = heapq.heappop(waiting)
        if so_far > cost[node]:
            continue
        for arc in range(arcs.start[node], arcs.start[node + 1]):
            tail = arcs.head[arc]
            there = so_far + prices.link[arcs.link[arc]] + prices.node[node]
            if there < cost[tail] and (tail == source or prices.node[tail] < np.inf):
                cost[tail] = there
                if tail != source:
                    heapq.heappush(waiting, (there, tail))
    return cost


@kernel
def cheapest_within(
    arcs: Arcs, prices: Prices, bounds: FloatArray, ends: tuple[int, int], limits: tuple[float, float]
) -> tuple[IntArray, bool]:
    """The arcs of the cheapest way of at most ``limits`` (hops, latency [ms]), and whether the search went to its end.

    Of partial ways to a node those count that no other beats in cost, hops and latency at once (label setting, Desrochers and Soumis
    1988, doi:10.1080/03155986.1988.11732063). ``bounds``, shape (3, nodes), are the least cost, hops and latency from each node to the
    target: they put the best way first and drop what cannot end within the limits.
    """
    source, target = ends
    node_of, arc_of, parent_of, hops_of = [source], [-1], [-1], [0]
    cost_of, latency_of, next_at_node = [0.0], [0.0], [-1]
    settled = np.full(arcs.start.size - 1, -1)
    waiting = [(bounds[0, source], 0)]
    while len(waiting) > 0 and len(node_of) < MOST_LABELS:
        label = heapq.heappop(waiting)[1]
        node = node_of[label]
        other = settled[node]
        while other >= 0 and (hops_of[other] > hops_of[label] or latency_of[other] > latency_of[label]):
            other = next_at_node[other]
        if other >= 0:
            continue
        if node == target:
            backwards = [arc_of[label]]
            while parent_of[parent_of[label]] >= 0:
                label = parent_of[label]
                backwards.append(arc_of[label])
            return np.array(backwards[::-1]), True
        next_at_node[label], settled[node] = settled[node], label
        hops = hops_of[label] + 1
        for arc in range(arcs.start[node], arcs.start[node + 1]):
            head = arcs.head[arc]
            cost = cost_of[label] + prices.link[arcs.link[arc]] + prices.node[head]
            latency_ms = latency_of[label] + prices.latency_ms[arcs.link[arc]]
            if cost + bounds[0, head] < np.inf and hops + bounds[1, head] <= limits[0] and latency_ms + bounds[2, head] <= limits[1]:
                heapq.heappush(waiting, (cost + bounds[0, head], len(node_of)))
                node_of.append(head)
                arc_of.append(arc)
                parent_of.append(label)
                hops_of.append(hops)
                cost_of.append(cost)
                latency_of.append(latency_ms)
                next_at_node.append(-1)
    return np.empty(0, np.int64), len(waiting) == 0


@kernel
def disjoint(arcs: Arcs, prices: Prices, ends: tuple[int, int], paths: int) -> tuple[BoolArray, int, FloatArray]:
    """At most ``paths`` node-disjoint ways that cost the least together: the arcs they use, shape (arcs,), and how many ways they are.

    A flow of capacity 1 through every node, which is split into its way in (2 n) and its way out (2 n + 1), augmented along cheapest
    ways of what is left (Suurballe 1974, doi:10.1002/net.3230040204). Two direct links are two ways. When there are fewer than
    ``paths``, the last array, shape (2 nodes,), is infinite where what is left does not reach: between lies the fullest cut.
    """
    source, target = ends
    nodes = arcs.start.size - 1
    flow = _Flow(np.zeros(arcs.head.size, np.bool_), np.full(nodes, -1), np.zeros(2 * nodes))
    cost = flow.potential
    found = 0
    while found < paths:
        left = _cheapest_left(arcs, prices, ends, flow)
        cost = left.cost
        if cost[2 * target] == np.inf:
            break
        found += 1
        flow.potential[:] += np.minimum(cost, cost[2 * target])
        place = 2 * target
        while place != 2 * source + 1:
            if left.arrived_by[place] >= 0:
                flow.used[left.arrived_by[place]] = place % 2 == 0
            place = left.arrived_from[place]
        flow.entered_by[:] = -1
        for arc in np.flatnonzero(flow.used):
            if arcs.head[arc] != target:
                flow.entered_by[arcs.head[arc]] = arc
    return flow.used, found, cost


@kernel
def _cheapest_left(arcs: Arcs, prices: Prices, ends: tuple[int, int], flow: _Flow) -> _Left:
    """Cheapest ways, in reduced costs, from the source through what the flow leaves: costs, and from where by which arc each is reached.

    The way out of a node leads along its arcs, or, where the flow passes the node, back to its way in; the way in leads to the way out,
    or, where the flow passes, back along the arc of the flow for its price. No arc but a direct one is ever full: nodes are.
    """
    source, target = ends
    places = 2 * (arcs.start.size - 1)
    left = _Left(np.full(places, np.inf), np.full(places, -1), np.full(places, -1))
    left.cost[2 * source + 1] = 0.0
    waiting = [(0.0, 2 * source + 1)]
    while len(waiting) > 0:
        so_far, place = heapq.heappop(waiting)
        if place == 2 * target:
            break
        if so_far > left.cost[place]:
            continue
        node = place // 2
        passes = flow.entered_by[node]
        if place % 2 == 0:
            if passes < 0:
                _reach(waiting, left, flow, (place, 2 * node + 1), (-1, 0.0))
            else:
                price = -prices.link[arcs.link[passes]] - prices.node[node]
                _reach(waiting, left, flow, (place, 2 * arcs.tail[passes] + 1), (passes, price))
            continue
        if passes >= 0:
            _reach(waiting, left, flow, (place, 2 * node), (-1, 0.0))
        for arc in range(arcs.start[node], arcs.start[node + 1]):
            head = arcs.head[arc]
            if not (flow.used[arc] and node == source and head == target):
                _reach(waiting, left, flow, (place, 2 * head), (arc, prices.link[arcs.link[arc]] + prices.node[head]))
    return left


@kernel
def _reach(waiting: list[tuple[float, int]], left: _Left, flow: _Flow, step: tuple[int, int], by: tuple[int, float]) -> None:
    """Go from one place to another by an arc (-1: within a node) for a price, if that is the cheapest way there so far."""
    here, there = step
    arc, price = by
    total = left.cost[here] + max(0.0, price + flow.potential[here] - flow.potential[there])
    if total < left.cost[there]:
        left.cost[there], left.arrived_from[there], left.arrived_by[there] = total, here, arc
        heapq.heappush(waiting, (total, there))
