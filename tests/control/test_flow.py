"""Optimal key relay against closed forms, an edge formulation solved by scipy, and brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog

from tiandi.control.cuts import full_cut
from tiandi.control.flow import FlowSolution, KeyDemand, flow_over_time, optimal_flow
from tiandi.control.topology import Link, Node, Switch, Topology
from tiandi.errors import InputError

Floats = NDArray[np.float64]


def network(edges: list[tuple[str, str]], **kinds: str) -> Topology:
    names = sorted({end for edge in edges for end in edge})
    nodes = [Node(name, kind=kinds.get(name, "trusted node")) for name in names]  # type: ignore[arg-type]
    return Topology.of(nodes, [Link(f"{number}: {a}{b}", (a, b)) for number, (a, b) in enumerate(edges)])


def random_case(seed: int) -> tuple[Topology, Floats, list[KeyDemand]]:
    generator = np.random.default_rng(seed)
    names = [chr(65 + number) for number in range(7)]
    everything = list(combinations(names, 2))
    edges = [everything[at] for at in generator.choice(len(everything), 10, replace=False)]
    topology = network(edges, **{edges[0][0]: "user node"})
    places = sorted(topology.nodes)
    demands = []
    for _ in range(6):
        one, other = generator.choice(len(places), 2, replace=False)
        demands.append(KeyDemand((places[one], places[other]), float(generator.uniform(10, 200)), float(generator.uniform(0.5, 3))))
    return topology, generator.uniform(0.0, 100.0, len(edges)), demands


def edge_formulation(topology: Topology, link_bit: Floats, demands: list[KeyDemand]) -> float:
    """The most weighted key by conservation at nodes: a flow per demand and direction of each link."""
    nodes, links = list(topology.nodes), list(topology.links.values())
    width, count = 2 * len(links), len(demands)
    equal, right, objective = [], [], np.zeros(count * width + count)
    upper = [np.inf] * (count * width) + [demand.wanted_bit for demand in demands]
    for number, demand in enumerate(demands):
        objective[count * width + number] = -demand.weight
        for name in nodes:
            row = np.zeros(objective.size)
            for at, link in enumerate(links):
                for direction in (0, 1):
                    column = number * width + 2 * at + direction
                    if link.ends[direction] == name:
                        row[column] = 1.0
                        if not topology.nodes[name].relays and name != demand.ends[0]:
                            upper[column] = 0.0
                    if link.ends[1 - direction] == name:
                        row[column] = -1.0
                        if not topology.nodes[name].relays and name != demand.ends[1]:
                            upper[column] = 0.0
            row[count * width + number] = {demand.ends[0]: -1.0, demand.ends[1]: 1.0}.get(name, 0.0)
            equal.append(row)
            right.append(0.0)
    most = np.zeros((len(links), objective.size))
    for at in range(len(links)):
        most[at, [number * width + 2 * at + direction for number in range(count) for direction in (0, 1)]] = 1.0
    done = linprog(objective, A_ub=most, b_ub=link_bit, A_eq=np.array(equal), b_eq=right, bounds=[(0.0, limit) for limit in upper])
    return float(-done.fun)


def check_plan(topology: Topology, link_bit: Floats, demands: list[KeyDemand], flow: FlowSolution) -> None:
    """Every route joins its demand's ends, what it carries adds up, and no link spends more than it has."""
    used = dict.fromkeys(topology.links, 0.0)
    carried = np.zeros(len(demands))
    for route in flow.routes:
        here = demands[route.demand].ends[1]
        for name in route.links:
            ends = topology.links[name].ends
            here = ends[0] if here == ends[1] else ends[1]
            used[name] += route.carried_bit
        assert here == demands[route.demand].ends[0]
        carried[route.demand] += route.carried_bit
    assert carried == pytest.approx(flow.carried_bit, abs=1e-3)
    assert list(used.values()) == pytest.approx(flow.used_bit)
    assert (flow.used_bit <= link_bit + 1e-3).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_columns_find_the_same_optimum_as_all_edges_at_once(seed: int) -> None:
    topology, link_bit, demands = random_case(seed)
    flow = optimal_flow(topology, link_bit, demands)
    assert flow.carried_bit @ [demand.weight for demand in demands] == pytest.approx(
        edge_formulation(topology, link_bit, demands), rel=1e-5
    )
    check_plan(topology, link_bit, demands, flow)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_no_share_of_the_fair_optimum_can_rise_without_another_as_small_falling(seed: int) -> None:
    topology, link_bit, demands = random_case(seed)
    wanted = np.array([demand.wanted_bit for demand in demands])
    flow = optimal_flow(topology, link_bit, demands, objective="fair")
    check_plan(topology, link_bit, demands, flow)
    share = flow.carried_bit / wanted
    for number in np.flatnonzero(share < 0.999):
        poorer = share <= share[number] + 1e-6
        others = [KeyDemand(item.ends, float(bit), 1e3) for item, bit, kept in zip(demands, flow.carried_bit, poorer, strict=True) if kept]
        with_all = edge_formulation(topology, link_bit, [*others, KeyDemand(demands[number].ends, float(wanted[number]), 1e-3)])
        assert with_all == pytest.approx(1e3 * flow.carried_bit[poorer].sum(), abs=1.0)


def test_parking_lot_shares_are_those_of_progressive_filling() -> None:
    """Bertsekas and Gallager's example: one pair over every link, one pair a link; the long one gets what the narrowest link leaves it."""
    topology = network([("A", "B"), ("B", "C"), ("C", "D")])
    demands = [KeyDemand(("A", "D"), 100.0), KeyDemand(("A", "B"), 100.0), KeyDemand(("B", "C"), 100.0), KeyDemand(("C", "D"), 100.0)]
    fair = optimal_flow(topology, [10.0, 4.0, 10.0], demands, objective="fair")
    assert fair.carried_bit == pytest.approx([2.0, 8.0, 2.0, 8.0], abs=1e-5)
    most = optimal_flow(topology, [10.0, 4.0, 10.0], demands)
    assert most.carried_bit == pytest.approx([0.0, 10.0, 4.0, 10.0], abs=1e-5)
    assert most.price == pytest.approx([1.0, 1.0, 1.0], abs=1e-4)


def test_the_first_priority_is_served_regardless_of_the_others() -> None:
    topology = network([("A", "B"), ("B", "C")])
    demands = [KeyDemand(("A", "C"), 8.0, priority=0), KeyDemand(("A", "B"), 100.0), KeyDemand(("B", "C"), 100.0)]
    for objective in ("most", "fair"):
        flow = optimal_flow(topology, [10.0, 10.0], demands, objective=objective)  # type: ignore[arg-type]
        assert flow.carried_bit == pytest.approx([8.0, 2.0, 2.0], abs=1e-5)


def test_user_nodes_and_less_trusted_nodes_relay_nothing() -> None:
    topology = Topology.of(
        [Node("A"), Node("B", kind="user node"), Node("C"), Node("D", trust="foreign")],
        [Link("AB", ("A", "B")), Link("BC", ("B", "C")), Link("AD", ("A", "D")), Link("DC", ("D", "C"))],
    )
    demands = [KeyDemand(("A", "C"), 50.0, least_trust="own"), KeyDemand(("A", "C"), 50.0), KeyDemand(("A", "B"), 50.0)]
    flow = optimal_flow(topology, [10.0] * 4, demands)
    assert flow.carried_bit == pytest.approx([0.0, 10.0, 10.0])


def test_disjoint_shares_cost_key_on_all_their_routes() -> None:
    topology = network([("A", "B"), ("B", "C"), ("A", "D"), ("D", "C"), ("A", "C")])
    assert optimal_flow(topology, [10.0] * 5, [KeyDemand(("A", "C"), 100.0, paths=1)]).carried_bit == pytest.approx([30.0])
    assert optimal_flow(topology, [10.0] * 5, [KeyDemand(("A", "C"), 100.0, paths=2)]).carried_bit == pytest.approx([15.0])
    assert optimal_flow(topology, [10.0] * 5, [KeyDemand(("A", "C"), 100.0, paths=4)]).carried_bit == pytest.approx([0.0])


def test_links_on_a_switch_share_its_time() -> None:
    topology = Topology.of(
        [Node("A"), Node("B"), Node("C")],
        [Link("AB", ("A", "B"), switch="S"), Link("AC", ("A", "C"), switch="S")],
        [Switch("S")],
    )
    demands = [KeyDemand(("A", "B"), 100.0), KeyDemand(("A", "C"), 100.0)]
    assert optimal_flow(topology, [30.0, 60.0], demands).carried_bit == pytest.approx([0.0, 60.0], abs=1e-5)
    assert optimal_flow(topology, [30.0, 60.0], demands, objective="fair").carried_bit == pytest.approx([20.0, 20.0], abs=1e-4)


def test_a_satellite_carries_key_from_the_first_contact_to_the_second() -> None:
    """Nothing goes at once; a stock does; a small buffer aboard holds it back, and key relayed ahead waits at the pair instead."""
    topology = network([("A", "S"), ("S", "B")], S="satellite")
    contacts = [[90.0, 0.0], [0.0, 50.0], [0.0, 100.0]]
    pair = [KeyDemand(("A", "B"), 0.0)]
    wanted = [[20.0], [30.0], [80.0]]
    flow = flow_over_time(topology, contacts, pair, wanted)
    assert flow.carried_bit.ravel() == pytest.approx([0.0, 30.0, 60.0], abs=1e-4)
    assert flow.stock_bit[0] == pytest.approx([90.0, 0.0], abs=1e-4)
    assert flow_over_time(topology, contacts, pair, wanted, buffer_bit={"S": 40.0}).carried_bit.sum() == pytest.approx(40.0, abs=1e-4)
    late = [[0.0], [0.0], [80.0]]
    small = flow_over_time(topology, [[90.0, 0.0], [0.0, 50.0], [0.0, 0.0]], pair, late, buffer_bit={"S": 90.0}, ahead_bit=45.0)
    assert small.carried_bit.ravel() == pytest.approx([0.0, 0.0, 50.0], abs=1e-4)
    assert flow_over_time(topology, [[0.0, 0.0]], pair, [[9.0]], stock_bit=[5.0, 7.0]).carried_bit == pytest.approx(np.array([[5.0]]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_the_cut_is_the_least_of_all_partitions(seed: int) -> None:
    topology, link_bit, _ = random_case(seed)
    names = [name for name, node in topology.nodes.items() if node.relays]
    source, target = names[0], names[-1]
    inner = [name for name in names if name not in (source, target)]
    least = min(
        sum(
            bit
            for bit, link in zip(link_bit, topology.links.values(), strict=True)
            if ((link.ends[0] in near) != (link.ends[1] in near)) and all(topology.nodes[end].relays for end in link.ends)
        )
        for size in range(len(inner) + 1)
        for near in ({source, *some} for some in combinations(inner, size))
    )
    cut = full_cut(topology, link_bit, source, target)
    assert cut.capacity_bit == pytest.approx(least, rel=1e-6)
    assert source in cut.near
    assert target not in cut.near


def test_the_full_cut_of_all_demands_together_is_named_with_what_is_wanted_across() -> None:
    topology = network([("A", "B"), ("B", "C"), ("C", "D")])
    demands = [KeyDemand(("A", "D"), 5.0), KeyDemand(("B", "C"), 5.0), KeyDemand(("C", "D"), 1.0)]
    used = optimal_flow(topology, [10.0, 6.0, 7.0], demands, objective="fair").used_bit
    cut = full_cut(topology, [10.0, 6.0, 7.0], "A", "D", demands=demands, used_bit=used)
    assert cut.links == ("1: BC",)
    assert cut.near == {"A", "B"}
    assert (cut.capacity_bit, cut.demand_bit) == (6.0, 10.0)
    assert str(cut) == "1: BC: at most 6 bit of the 10 bit wanted across"
    apart = network([("A", "B"), ("C", "D")])
    assert str(full_cut(apart, [1.0, 1.0], "A", "D", demands=demands[:1])) == "no links at all: at most 0 bit of the 5 bit wanted across"


def test_bad_input_names_field_value_and_limit() -> None:
    topology = network([("A", "B")])
    demand = KeyDemand(("A", "B"), 5.0)
    with pytest.raises(InputError, match=r"link_bit = \(1, 2\): must have a row per period and 1 columns"):
        optimal_flow(topology, [1.0, 2.0], [demand])
    with pytest.raises(InputError, match=r"link_bit = -1\.0"):
        optimal_flow(topology, [-1.0], [demand])
    with pytest.raises(InputError, match="there is no such node"):
        optimal_flow(topology, [1.0], [KeyDemand(("A", "X"), 5.0)])
    with pytest.raises(InputError, match="objective = 'best': must be one of most, fair"):
        optimal_flow(topology, [1.0], [demand], objective="best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"wanted_bit = \(1, 2\): must have shape \(1, 1\)"):
        flow_over_time(topology, [[1.0]], [demand], [[1.0, 2.0]])
    with pytest.raises(InputError, match="buffer_bit = 'X': there is no such node"):
        flow_over_time(topology, [[1.0]], [demand], [[1.0]], buffer_bit={"X": 1.0})
    with pytest.raises(InputError, match=r"demands\.ends = \('A', 'A'\): must be two different nodes"):
        KeyDemand(("A", "A"), 5.0)
    with pytest.raises(InputError, match="target = 'A': must be another node"):
        full_cut(topology, [1.0], "A", "A")
    assert optimal_flow(topology, [1.0], []).routes == ()
