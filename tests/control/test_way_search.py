"""Ways of many pairs at once against brute force."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.control.topology import Link, Node, Topology
from tiandi.control.way_search import WayFinder


def network(seed: int) -> Topology:
    generator = np.random.default_rng(seed)
    nodes = [
        Node(str(number), trust="foreign" if number % 3 == 0 else "own", kind="user node" if number == 5 else "trusted node")
        for number in range(7)
    ]
    ends = [generator.choice(7, 2, replace=False) for _ in range(12)]
    return Topology.of(nodes, [Link(f"{number}", (str(a), str(b))) for number, (a, b) in enumerate(ends)])


def all_routes(topology: Topology, source: str, target: str, least_trust: str) -> list[tuple[str, ...]]:
    """Every route without a node twice, as names of links."""
    routes: list[tuple[str, ...]] = []

    def go_on(node: str, seen: set[str], links: tuple[str, ...]) -> None:
        for link in topology.links.values():
            if node not in link.ends:
                continue
            further = link.ends[0] if link.ends[1] == node else link.ends[1]
            if further == target:
                routes.append((*links, link.name))
            elif (
                further not in seen
                and topology.nodes[further].relays
                and (least_trust == "foreign" or topology.nodes[further].trust == "own")
            ):
                go_on(further, {*seen, further}, (*links, link.name))

    go_on(source, {source}, ())
    return routes


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["foreign", "own"]))
def test_the_cheapest_way_of_each_pair_is_that_of_all_routes(seed: int, least_trust: str) -> None:
    topology = network(seed)
    finder = WayFinder(topology)
    cost = np.random.default_rng(seed).uniform(0.1, 1.0, len(topology.links))
    price = dict(zip(finder.links, cost, strict=True))
    ends = [(str(a), str(b)) for a in range(7) for b in range(7) if a != b]
    ways = finder.cheapest(finder.pairs(ends, [least_trust] * len(ends), [1] * len(ends)), cost)  # type: ignore[list-item]
    for number, (source, target) in enumerate(ends):
        routes = all_routes(topology, source, target, least_trust)
        found = range(ways.of_pair[number], ways.of_pair[number + 1])
        assert len(found) == min(len(routes), 1)
        for way in found:
            total = cost[ways.link[ways.of_way[way] : ways.of_way[way + 1]]].sum()
            assert abs(total - min(sum(price[name] for name in route) for route in routes)) < 1e-12


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_several_ways_are_different_routes_and_the_shortest_is_the_first(seed: int) -> None:
    topology = network(seed)
    finder = WayFinder(topology)
    ends = [(str(a), str(b)) for a in range(7) for b in range(7) if a != b]
    ways = finder.several(finder.pairs(ends, ["foreign"] * len(ends), [1] * len(ends)), np.ones(len(topology.links)), 4)
    for number, (source, target) in enumerate(ends):
        routes = all_routes(topology, source, target, "foreign")
        found = [
            tuple(finder.links[link] for link in ways.link[ways.of_way[way] : ways.of_way[way + 1]])
            for way in range(ways.of_pair[number], ways.of_pair[number + 1])
        ]
        assert set(found) <= set(routes)
        assert len(set(found)) == len(found) <= 4
        if routes:
            assert len(found[0]) == min(len(route) for route in routes)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_disjoint_shares_take_the_cheapest_two_routes_that_share_no_node(seed: int) -> None:
    topology = network(seed)
    finder = WayFinder(topology)
    ends = [("0", "1"), ("2", "3"), ("6", "5")]
    ways = finder.cheapest(finder.pairs(ends, ["foreign"] * 3, [2] * 3), np.ones(len(topology.links)))
    for number, (source, target) in enumerate(ends):
        routes = all_routes(topology, source, target, "foreign")
        inner = [{end for name in route for end in topology.links[name].ends} - {source, target} for route in routes]
        lengths = [
            len(routes[one]) + len(routes[other])
            for one in range(len(routes))
            for other in range(one)
            if not inner[one] & inner[other] and routes[one] != routes[other]
        ]
        found = np.diff(ways.of_way)[ways.of_pair[number] : ways.of_pair[number + 1]]
        assert found.tolist() == ([min(lengths)] if lengths else [])
