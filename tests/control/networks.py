"""Small networks for tests, and every way through them, counted out one by one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np

from tiandi.control.link_states import LinkStates
from tiandi.control.routing import REFILL_S, Route, RouteWeights
from tiandi.control.topology import TRUST_CLASSES, Link, Node, Topology, TrustClass


def random_states(seed: int, *, nodes: int = 7, links: int = 12) -> LinkStates:
    """A random network, parallel links, user nodes and all classes of trust among it."""
    random = np.random.default_rng(seed)
    kinds = ("trusted node", "trusted node", "trusted node", "user node")
    places = [Node(f"n{number}", kinds[random.integers(4)], trust=TRUST_CLASSES[random.integers(4)]) for number in range(nodes)]
    joints = [random.choice(nodes, 2, replace=False) for _ in range(links)]
    topology = Topology.of(
        places,
        (
            Link(f"l{number}", (f"n{a}", f"n{b}"), rate_bps=float(random.integers(0, 1000)), length_km=float(random.uniform(1, 900)))
            for number, (a, b) in enumerate(joints)
        ),
    )
    states = LinkStates(topology)
    for name in states.names:
        states.update(name, stock_bit=float(random.integers(0, 2000)), in_service=bool(random.random() < 0.9))
    return states


def line(*names: str, stock_bit: float = 1000.0) -> LinkStates:
    """Links "a - b", "b - c" and so on between the nodes of a line, or a ring when it ends where it began."""
    links = [Link(f"{a} - {b}", (a, b), rate_bps=100.0, length_km=10.0) for a, b in pairwise(names)]
    return filled(Topology.of(map(Node, dict.fromkeys(names)), links), stock_bit)


def filled(topology: Topology, stock_bit: float = 1000.0) -> LinkStates:
    """Every link holds as much."""
    states = LinkStates(topology)
    for name in states.names:
        states.update(name, stock_bit=stock_bit)
    return states


def all_ways(
    states: LinkStates, ends: tuple[str, str], wanted_bit: float, weights: RouteWeights, *, least_trust: TrustClass
) -> Iterator[Route]:
    """Every way without a node twice that may be used, priced as the documentation of routing says."""
    nodes, links = states.topology.nodes, states.topology.links

    def extend(way: tuple[str, ...], names: tuple[str, ...], cost: float, latency_ms: float) -> Iterator[Route]:
        if way[-1] == ends[1]:
            yield Route(way, names, cost, latency_ms)
            return
        node = nodes[way[-1]]
        if len(way) > 1:
            if node.kind == "user node" or TRUST_CLASSES.index(node.trust) < TRUST_CLASSES.index(least_trust):
                return
            cost += weights.trust[TRUST_CLASSES.index(node.trust)]
        for name, link in links.items():
            number = states.number[name]
            free_bit = states.stock_bit[number] - states.booked_bit[number]
            if way[-1] not in link.ends or not states.in_service[number] or free_bit < wanted_bit:
                continue
            there = link.ends[1 - link.ends.index(way[-1])]
            if there in way:
                continue
            price = weights.hop + weights.stock * wanted_bit / free_bit + weights.latency_per_ms * states.latency_ms[number]
            price += weights.rate * wanted_bit / (wanted_bit + states.rate_bps[number] * REFILL_S)
            yield from extend((*way, there), (*names, name), cost + price, latency_ms + states.latency_ms[number])

    yield from extend((ends[0],), (), 0.0, 0.0)


def disjoint_sets(ways: list[Route], paths: int) -> Iterator[tuple[Route, ...]]:
    """Every choice of so many ways that share no link, and no node but their ends."""
    for chosen in combinations(ways, paths):
        between = [node for way in chosen for node in way.nodes[1:-1]]
        names = [name for way in chosen for name in way.links]
        if len(set(between)) == len(between) and len(set(names)) == len(names):
            yield chosen
