"""The fast rule as a fluid: closed forms, conservation, and its distance from the optimum."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiandi.control.topology import Link, Node, Switch, Topology
from tiandi.errors import InputError
from tiandi.planning.inputs import Demand
from tiandi.planning.relay_flow import FluidRelay, lit_fraction


def chain(*names: str) -> Topology:
    return Topology.of([Node(name) for name in names], [Link(f"{a}{b}", (a, b)) for a, b in pairwise(names)])


def random_network(seed: int) -> tuple[Topology, list[Demand], NDArray[np.float64], NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    size = 12
    ring = [(number, (number + 1) % size) for number in range(size)]
    chords = [tuple(generator.choice(size, 2, replace=False)) for _ in range(6)]
    links = [Link(str(number), (str(a), str(b))) for number, (a, b) in enumerate([*ring, *chords])]
    nodes = [Node(str(number), kind="user node" if number == 0 else "trusted node") for number in range(size)]
    ends = [generator.choice(size, 2, replace=False) for _ in range(30)]
    priority = generator.integers(2, size=len(ends))
    demands = [Demand((str(a), str(b)), 1.0, priority=int(first)) for (a, b), first in zip(ends, priority, strict=True)]
    demands[3] = replace(demands[3], paths=2)
    return Topology.of(nodes, links), demands, generator.uniform(0.0, 1e6, len(links)), generator.uniform(0.0, 3e5, len(demands))


def test_a_link_is_shared_in_proportion_to_what_is_wanted() -> None:
    demands = [Demand(("A", "C"), 1.0), Demand(("A", "B"), 1.0), Demand(("B", "C"), 1.0)]
    shared = FluidRelay(chain("A", "B", "C"), demands).share_out([1000.0, 5000.0], [1000.0, 3000.0, 1000.0])
    assert shared.carried_bit == pytest.approx([250.0, 750.0, 1000.0])
    assert shared.used_bit == pytest.approx([1000.0, 1250.0])
    assert shared.bottleneck.tolist() == [0, 0, -1]


def test_the_next_way_is_taken_when_the_shortest_is_empty() -> None:
    topology = Topology.of([Node(name) for name in "ABC"], [Link("AB", ("A", "B")), Link("AC", ("A", "C")), Link("CB", ("C", "B"))])
    shared = FluidRelay(topology, [Demand(("A", "B"), 1.0)]).share_out([100.0, 70.0, 40.0], [500.0])
    assert shared.carried_bit == pytest.approx([140.0])
    assert shared.used_bit == pytest.approx([100.0, 40.0, 40.0])
    assert shared.bottleneck.tolist() == [2]


def test_ways_beyond_the_candidates_are_found_when_those_are_empty() -> None:
    middle = [f"M{number}" for number in range(6)]
    links = [Link(f"{end}{name}", (end, name)) for name in middle for end in "AB"]
    relay = FluidRelay(Topology.of([Node(name) for name in ["A", "B", *middle]], links), [Demand(("A", "B"), 1.0)], candidates=2)
    assert relay.share_out(np.full(12, 50.0), [1e6]).carried_bit == pytest.approx([300.0])


def test_the_first_priority_is_served_first() -> None:
    demands = [Demand(("A", "B"), 1.0), Demand(("A", "B"), 1.0, priority=0)]
    assert FluidRelay(chain("A", "B"), demands).share_out([100.0], [100.0, 90.0]).carried_bit == pytest.approx([10.0, 90.0])


def test_a_pair_without_a_way_gets_nothing_and_has_no_bottleneck() -> None:
    topology = Topology.of([Node("A"), Node("B", kind="user node"), Node("C")], [Link("AB", ("A", "B")), Link("BC", ("B", "C"))])
    shared = FluidRelay(topology, [Demand(("A", "C"), 1.0), Demand(("A", "B"), 1.0)]).share_out([10.0, 0.0], [5.0, 5.0])
    assert shared.carried_bit == pytest.approx([0.0, 5.0])
    assert shared.bottleneck.tolist() == [-1, -1]
    empty = FluidRelay(topology, [Demand(("B", "C"), 1.0)]).share_out([10.0, 0.0], [5.0])
    assert (empty.carried_bit[0], empty.bottleneck[0]) == (0.0, 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_nothing_is_carried_that_links_did_not_spend_and_the_optimum_carries_more(seed: int) -> None:
    topology, demands, stock, wanted = random_network(seed)
    relay = FluidRelay(topology, demands)
    shared = relay.share_out(stock, wanted)
    assert (shared.used_bit <= stock).all()
    assert (shared.carried_bit <= wanted).all()
    assert (shared.carried_bit >= 0.0).all()
    assert shared.used_bit.sum() >= shared.carried_bit.sum() - 1e-3
    left = stock - shared.used_bit
    short = np.flatnonzero((shared.carried_bit < wanted - 1.0) & (shared.bottleneck >= 0))
    assert (left[shared.bottleneck[short]] < 1.0).all()
    again = relay.share_out(stock, wanted)
    assert (again.carried_bit == shared.carried_bit).all()
    alike = FluidRelay(topology, [replace(item, priority=1) for item in demands]).distance_from_optimum(stock, wanted)
    assert 0.0 < alike.ratio <= 1.0 + 1e-5


def test_the_distance_from_the_optimum_of_a_parking_lot() -> None:
    """One pair over n links against n pairs over one each: the fluid gives each half, the optimum leaves the long pair without."""
    names = [str(number) for number in range(6)]
    demands = [Demand(("0", "5"), 1.0), *(Demand(ends, 1.0) for ends in pairwise(names))]
    relay = FluidRelay(chain(*names), demands)
    distance = relay.distance_from_optimum(np.full(5, 1e6), np.full(6, 1e6))
    assert (distance.fluid_bit, distance.optimum_bit) == pytest.approx((3e6, 5e6), rel=1e-5)
    assert distance.ratio == pytest.approx(0.6, rel=1e-5)
    assert (distance.fluid_least_share, distance.optimum_least_share) == pytest.approx((0.5, 0.0), abs=1e-5)
    fair = relay.distance_from_optimum(np.full(5, 1e6), np.full(6, 1e6), objective="fair")
    assert (fair.ratio, fair.optimum_least_share) == pytest.approx((1.0, 0.5), rel=1e-4)


def test_links_of_a_switch_take_turns() -> None:
    nodes = [Node("hub"), *(Node(str(number)) for number in range(4))]
    links = [Link(str(number), ("hub", str(number)), switch="S" if number < 3 else "") for number in range(4)]
    assert lit_fraction(Topology.of(nodes, links, [Switch("S", 2)])) == pytest.approx([2 / 3, 2 / 3, 2 / 3, 1.0])


def test_bad_input_names_field_value_and_limit() -> None:
    relay = FluidRelay(chain("A", "B"), [Demand(("A", "B"), 1.0)])
    with pytest.raises(InputError, match=r"stock_bit = \(2,\): must have shape \(1,\)"):
        relay.share_out([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match=r"wanted_bit = -1\.0"):
        relay.share_out([1.0], [-1.0])
    with pytest.raises(InputError, match="there is no such node"):
        FluidRelay(chain("A", "B"), [Demand(("A", "X"), 1.0)])
    with pytest.raises(InputError, match="candidates = 0"):
        FluidRelay(chain("A", "B"), [], candidates=0)
