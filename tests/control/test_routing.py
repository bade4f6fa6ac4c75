from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rustworkx
from scipy.optimize import linprog

from tests.control.networks import all_ways, disjoint_sets, filled, line, random_states
from tiandi.control import route_search, routing
from tiandi.control.link_states import LinkStates
from tiandi.control.routing import Cut, Route, RoutePolicy, Router, RouteWeights
from tiandi.control.topology import TRUST_CLASSES, Link, Node, Topology, TrustClass
from tiandi.errors import InputError, NoRoute


def ring() -> LinkStates:
    return line("a", "b", "c", "d", "a")


def way(states: LinkStates, source: str, target: str) -> tuple[str, ...]:
    return Router(states).find_routes(source, target, wanted_bit=10)[0].nodes


def test_the_way_with_the_fewest_hops_where_links_are_alike() -> None:
    assert way(ring(), "a", "b") == ("a", "b")
    assert len(way(ring(), "a", "c")) == 3


def test_a_link_out_of_service_is_gone_round() -> None:
    states = ring()
    states.update("a - b", in_service=False, note="alarm")
    assert way(states, "a", "b") == ("a", "d", "c", "b")


def test_a_link_short_of_key_is_gone_round() -> None:
    states = ring()
    states.update("a - b", stock_bit=9)
    assert way(states, "a", "b") == ("a", "d", "c", "b")


def test_no_way_names_the_obstacles() -> None:
    states = line("a", "b", "c")
    states.update("a - b", in_service=False, note="QBER 0.25")
    states.update("b - c", stock_bit=5)
    with pytest.raises(NoRoute, match=r"a - b is out of service \(QBER 0.25\); b - c holds 5 bit of key, 10 bit are wanted"):
        way(states, "a", "c")


def test_unconnected_nodes_are_said_to_be() -> None:
    states = ring()
    states.change(states.topology.with_changes(put=[Node("z")]))
    with pytest.raises(NoRoute, match="no chain of links joins them"):
        way(states, "a", "z")


WEIGHTS = RouteWeights(hop=0.05, stock=9.0, rate=2.0, latency_per_ms=0.05, trust=(0.5, 0.3, 0.1, 0.0))
SEEDS = range(150)


def ways_of(states: LinkStates, *, least_trust: TrustClass = "foreign") -> list[Route]:
    return list(all_ways(states, ("n0", "n1"), 100.0, WEIGHTS, least_trust=least_trust))


def found(states: LinkStates, paths: int = 1, **limits: Any) -> list[Route]:
    try:
        return Router(states).find_routes("n0", "n1", wanted_bit=100.0, paths=paths, policy=RoutePolicy(weights=WEIGHTS, **limits))
    except NoRoute:
        return []


def is_real(route: Route, states: LinkStates, ways: list[Route]) -> bool:
    """Whether a route is one of all ways, with the same price and latency."""
    same = [way for way in ways if (way.nodes, way.links) == (route.nodes, route.links)]
    return bool(same) and (route.cost, route.latency_ms) == pytest.approx((same[0].cost, same[0].latency_ms))


@pytest.mark.parametrize("least_trust", TRUST_CLASSES)
def test_the_cheapest_of_all_ways_is_found(least_trust: TrustClass) -> None:
    for seed in SEEDS:
        states = random_states(seed)
        ways = ways_of(states, least_trust=least_trust)
        routes = found(states, least_trust=least_trust)
        assert bool(routes) == bool(ways)
        if routes:
            assert is_real(routes[0], states, ways)
            assert routes[0].cost == pytest.approx(min(way.cost for way in ways))


@pytest.mark.parametrize(("most_hops", "most_latency_ms"), [(2, None), (3, None), (None, 6.0), (3, 8.0), (4, 4.0)])
def test_the_cheapest_of_all_ways_within_limits_is_found(most_hops: int | None, most_latency_ms: float | None) -> None:
    policy = RoutePolicy(most_hops=most_hops, most_latency_ms=most_latency_ms)
    changed = 0
    for seed in SEEDS[::2]:
        states = random_states(seed, nodes=8, links=20)
        ways = ways_of(states)
        within = [way for way in ways if policy.keeps(way)]
        routes = found(states, most_hops=most_hops, most_latency_ms=most_latency_ms)
        assert bool(routes) == bool(within)
        if routes:
            assert is_real(routes[0], states, within)
            assert routes[0].cost == pytest.approx(min(way.cost for way in within))
            changed += routes[0].cost > min(way.cost for way in ways) + 1e-9
    assert changed > 1


@pytest.mark.parametrize("paths", [2, 3])
def test_ways_that_share_no_node_are_as_many_and_as_cheap_as_can_be(paths: int) -> None:
    several = 0
    for seed in SEEDS:
        states = random_states(seed, links=15)
        ways = ways_of(states)
        routes = found(states, paths)
        most = max((size for size in range(1, paths + 1) if next(disjoint_sets(ways, size), None)), default=0)
        assert len(routes) == most
        if most:
            assert all(is_real(route, states, ways) for route in routes)
            assert list(disjoint_sets(routes, most)) == [tuple(routes)]
            assert sum(route.cost for route in routes) == pytest.approx(
                min(sum(way.cost for way in chosen) for chosen in disjoint_sets(ways, most))
            )
            assert [route.cost for route in routes] == sorted(route.cost for route in routes)
        several += most == paths
    assert several > 20


def test_the_cut_is_as_many_as_there_are_ways_and_without_it_there_is_none() -> None:
    for seed in SEEDS:
        states = random_states(seed, links=15)
        ways = ways_of(states)
        cut = Router(states).find_cut("n0", "n1", wanted_bit=100.0)
        assert len(cut.nodes) + len(cut.links) == len(found(states, 16))
        assert all({*way.nodes[1:-1], *way.links} & {*cut.nodes, *cut.links} for way in ways)


def test_several_ways_within_limits_keep_them_and_are_never_none_where_there_is_one() -> None:
    for seed in SEEDS:
        states = random_states(seed, links=16)
        policy = RoutePolicy(most_hops=3, most_latency_ms=9.0)
        within = [way for way in ways_of(states) if policy.keeps(way)]
        routes = found(states, 2, most_hops=3, most_latency_ms=9.0)
        assert bool(routes) == bool(within)
        assert all(policy.keeps(route) for route in routes)
        assert len(routes) < 2 or not set(routes[0].nodes[1:-1]) & set(routes[1].nodes[1:-1])


def test_too_few_ways_name_the_node_that_all_go_through() -> None:
    states = filled(Topology.of(map(Node, "abcde"), [Link(f"{a}{b}", (a, b)) for a, b in ("ab", "ac", "bd", "cd", "de")]))
    with pytest.raises(NoRoute, match=r"2 ways that share no node are wanted, there are 1: all go through d$"):
        Router(states).find_routes("a", "e", wanted_bit=10, paths=2, least_paths=2)
    assert Router(states).find_cut("a", "e", wanted_bit=10) == Cut(("d",), ())
    assert len(Router(states).find_routes("a", "e", wanted_bit=10, paths=2)) == 1


def test_too_few_ways_that_keep_the_limits_are_said_to_be() -> None:
    states = line("a", "b", "c", "d", "a")
    with pytest.raises(NoRoute, match="there are 1: others take too many hops or too long"):
        Router(states).find_routes("a", "b", wanted_bit=10, paths=2, least_paths=2, policy=RoutePolicy(most_hops=2))


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (RoutePolicy(least_trust="guarded"), "b is of the class own, at least guarded is asked for"),
        (RoutePolicy(avoid=frozenset({"b"})), "b is to be avoided"),
        (RoutePolicy(avoid=frozenset({"a - b"})), "a - b is to be avoided"),
        (RoutePolicy(most_hops=1), "the fewest hops are 2, at most 1 are allowed"),
        (RoutePolicy(most_latency_ms=1.5), r"the quickest way takes 2\.1 ms, at most 1\.5 ms are allowed"),
        (RoutePolicy(stock_share=0.009), "a - b holds 1000 bit of key, 99% kept back, 10 bit are wanted"),
    ],
    ids=["trust", "node", "link", "hops", "latency", "share"],
)
def test_a_policy_that_leaves_no_way_is_told_what_is_in_the_way(policy: RoutePolicy, why: str) -> None:
    with pytest.raises(NoRoute, match=why):
        Router(line("a", "b", "c")).find_routes("a", "c", wanted_bit=10, policy=policy)


def test_hops_and_latency_that_cannot_be_had_at_once() -> None:
    links = [Link("slow", ("a", "b"), length_km=4000.0), Link("ac", ("a", "c")), Link("cd", ("c", "d")), Link("db", ("d", "b"))]
    router = Router(filled(Topology.of(map(Node, "abcd"), links)))
    with pytest.raises(NoRoute, match="no way was found within 2 hops and 5 ms at once"):
        router.find_routes("a", "b", wanted_bit=1, policy=RoutePolicy(most_hops=2, most_latency_ms=5.0))


def test_a_user_node_relays_for_nobody_but_has_keys_of_its_own() -> None:
    nodes = [Node("a"), Node("u", "user node"), Node("b")]
    router = Router(filled(Topology.of(nodes, [Link("au", ("a", "u")), Link("ub", ("u", "b"))])))
    assert router.find_routes("a", "u", wanted_bit=1)[0].nodes == ("a", "u")
    with pytest.raises(NoRoute, match="u is a user node, which relays for nobody"):
        router.find_routes("a", "b", wanted_bit=1)


def test_a_satellite_relays_and_its_latency_is_its_waiting_time() -> None:
    nodes = [Node("a", "ground station"), Node("s", "satellite"), Node("b", "ground station")]
    states = filled(Topology.of(nodes, [Link("a - s", ("a", "s"), "downlink"), Link("s - b", ("s", "b"), "downlink")]))
    for name, wait_s in (("a - s", 0.0), ("s - b", 5400.0)):
        states.update(name, wait_s=wait_s)
    (route,) = Router(states).find_routes("a", "b", wanted_bit=1)
    assert route.nodes == ("a", "s", "b")
    assert route.latency_ms == pytest.approx(5400e3, abs=10.0)
    with pytest.raises(NoRoute, match="quickest way takes"):
        Router(states).find_routes("a", "b", wanted_bit=1, policy=RoutePolicy(most_latency_ms=60e3))


def test_a_change_of_topology_and_of_states_counts_in_the_next_search() -> None:
    states = line("a", "b", "c")
    router = Router(states)
    states.change(states.topology.with_changes(put=[Link("a - c", ("a", "c"))]))
    assert router.find_routes("a", "c", wanted_bit=10)[0].nodes == ("a", "b", "c")
    states.update("a - c", stock_bit=5000.0)
    assert router.find_routes("a", "c", wanted_bit=10)[0].nodes == ("a", "c")
    states.update("a - c", in_service=False)
    assert router.find_routes("a", "c", wanted_bit=10)[0].nodes == ("a", "b", "c")


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "z"},
        {"target": "z"},
        {"target": "a"},
        {"wanted_bit": -1.0},
        {"wanted_bit": float("nan")},
        {"paths": 0},
        {"paths": 17},
        {"paths": 2, "least_paths": 3},
    ],
    ids=str,
)
def test_bad_questions_are_refused(wrong: dict[str, Any]) -> None:
    asked = {"source": "a", "target": "c", "wanted_bit": 10.0} | wrong
    with pytest.raises(InputError):
        Router(line("a", "b", "c")).find_routes(asked.pop("source"), asked.pop("target"), **asked)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RoutePolicy(least_trust="best"),  # type: ignore[arg-type]
        lambda: RoutePolicy(most_hops=0),
        lambda: RoutePolicy(most_latency_ms=-1.0),
        lambda: RoutePolicy(stock_share=1.5),
        lambda: RouteWeights(hop=-1.0),
        lambda: RouteWeights(trust=(1.0, 1.0, 1.0)),  # type: ignore[arg-type]
        lambda: RouteWeights(trust=(1.0, -1.0, 1.0, 0.0)),
    ],
    ids=["trust", "hops", "latency", "share", "weight", "trust weights", "trust weight"],
)
def test_bad_policies_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(InputError):
        make()


def test_a_search_that_looks_at_too_many_partial_ways_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route_search, "MOST_LABELS", 3)
    monkeypatch.setattr(routing, "cheapest_within", route_search.cheapest_within.py_func)  # type: ignore[attr-defined]
    states = line("a", "b", "c", "d", "e", "f", "a")
    states.update("f - a", stock_bit=60.0)
    router = Router(states)
    weights = RouteWeights(stock=100.0)
    assert len(router.find_routes("a", "f", wanted_bit=50, policy=RoutePolicy(weights=weights))[0].links) == 5
    with pytest.raises(NoRoute, match="none within the limits among"):
        router.find_routes("a", "e", wanted_bit=50, policy=RoutePolicy(weights=weights, most_hops=3))


@pytest.mark.parametrize("seed", range(3))
def test_a_large_network_agrees_with_rustworkx_and_with_a_linear_programme(seed: int) -> None:
    """Distances of rustworkx; two ways as a flow through split nodes, solved by HiGHS."""
    random = np.random.default_rng(seed)
    nodes, count = 150, 400
    joints = [tuple(random.choice(nodes, 2, replace=False).tolist()) for _ in range(count)]
    topology = Topology.of(
        [Node(f"n{number}") for number in range(nodes)],
        [Link(f"l{number}", (f"n{a}", f"n{b}")) for number, (a, b) in enumerate(joints)],
    )
    states = LinkStates(topology)
    for name in states.names:
        states.update(name, stock_bit=float(random.integers(100, 5000)))
    policy = RoutePolicy(weights=RouteWeights(stock=10.0, rate=0.0, latency_per_ms=0.0, trust=(0.0, 0.0, 0.0, 0.0)))
    prices = (1.0 + 10.0 * 100.0 / states.stock_bit).tolist()
    graph: rustworkx.PyGraph[int, float] = rustworkx.PyGraph(multigraph=True)
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from([(a, b, price) for (a, b), price in zip(joints, prices, strict=True)])
    lengths = rustworkx.dijkstra_shortest_path_lengths(graph, 0, edge_cost_fn=float)
    router = Router(states)
    for target in (number for number in range(1, nodes) if number in lengths):
        (route,) = router.find_routes("n0", f"n{target}", wanted_bit=100.0, policy=policy)
        assert route.cost == pytest.approx(lengths[target])
    for target in range(1, 8):
        best = two_ways_by_flow(joints, prices, nodes, target)
        routes = router.find_routes("n0", f"n{target}", wanted_bit=100.0, paths=2, policy=policy)
        assert (len(routes) == 2) == (best is not None)
        assert best is None or sum(route.cost for route in routes) == pytest.approx(best)


def two_ways_by_flow(joints: list[tuple[int, ...]], prices: list[float], nodes: int, target: int) -> float | None:
    """The least cost of two ways from node 0 that share no node: node n is n on its way in and n + ``nodes`` on its way out."""
    arcs = [(a + nodes, b, price) for (a, b), price in zip(joints, prices, strict=True)]
    arcs += [(b + nodes, a, price) for (a, b), price in zip(joints, prices, strict=True)]
    arcs += [(node, node + nodes, 0.0) for node in range(nodes) if node not in (0, target)]
    balance = np.zeros((2 * nodes, len(arcs)))
    for column, (tail, head, _) in enumerate(arcs):
        balance[tail, column], balance[head, column] = 1.0, -1.0
    supply = np.zeros(2 * nodes)
    supply[nodes], supply[target] = 2.0, -2.0
    solved = linprog([price for *_, price in arcs], A_eq=balance, b_eq=supply, bounds=(0.0, 1.0))
    return float(solved.fun) if solved.success else None
