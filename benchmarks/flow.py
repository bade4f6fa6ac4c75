"""Sharing out the key of a day between 10,000 pairs: at the optimum, by the fast rule, and how far the rule is from the optimum."""

from __future__ import annotations

import time
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from measure import Figure
from tiandi import load_scenario
from tiandi.constants import SECONDS_PER_DAY
from tiandi.control.flow import KeyDemand, optimal_flow
from tiandi.control.topology import Link, Node, Topology
from tiandi.planning.inputs import Demand
from tiandi.planning.relay_flow import FluidRelay
from tiandi.scenario.study import study_inputs

PAIRS = 10_000
PEER_PAIRS = 300
ROUNDS = 5
SEED = 20250320


def benchmark_flow() -> list[Figure]:
    """Processor time on the national network, whose pairs want what its links make in a day over the mean length of a way."""
    topology, demands = backbone(PAIRS)
    link_bit = SECONDS_PER_DAY * np.array([link.rate_bps for link in topology.links.values()])
    wanted_bit = SECONDS_PER_DAY * np.array([demand.rate_bps for demand in demands])
    wants = [KeyDemand(demand.ends, float(bit)) for demand, bit in zip(demands, wanted_bit, strict=True)]
    optimal_flow(topology, link_bit, wants[:10])
    start = time.process_time()
    flow = optimal_flow(topology, link_bit, wants)
    optimum_s = time.process_time() - start
    distance = FluidRelay(topology, demands).distance_from_optimum(link_bit, wanted_bit)
    assert abs(distance.optimum_bit / flow.carried_bit.sum() - 1.0) < 1e-4
    where = f"{PAIRS:,} pairs, {len(topology.nodes)} nodes"
    starved = f"the optimum starves some pairs ({distance.optimum_least_share:.2f}), the rule none ({distance.fluid_least_share:.2f})"
    return [
        Figure(f"the most key for {where}, by linear programming", optimum_s, 30.0, "s", _peer(topology, link_bit, wants[:PEER_PAIRS])),
        Figure(f"a day by the fast rule, {where}", 1e3 * _day_s(topology, demands, link_bit, wanted_bit), 100.0, "ms"),
        Figure(f"a day by the fast rule, {PAIRS:,} pairs, 1,000 nodes, 3,000 links", _large_day_s(), 1.0, "s"),
        Figure("the optimum's key over the fast rule's, as much wanted as there is", 1.0 / distance.ratio, 2.0, "", starved),
    ]


def backbone(pairs: int, load: float = 1.0) -> tuple[Topology, list[Demand]]:
    """The fibres of the packaged national network, and pairs of its nodes drawn at random, which use ``load`` of it at 20 hops a way."""
    whole = study_inputs(load_scenario("national")).topology
    links = [link for link in whole.links.values() if link.kind == "fibre"]
    names = sorted({end for link in links for end in link.ends})
    random = np.random.default_rng(SEED)
    everyone = list(combinations(names, 2))
    chosen = random.choice(len(everyone), pairs, replace=False)
    rates_bps = random.uniform(0.5, 1.5, pairs) * load * sum(link.rate_bps for link in links) / 20 / pairs
    topology = Topology.of([whole.nodes[name] for name in names], links)
    return topology, [Demand(everyone[number], float(rate)) for number, rate in zip(chosen, rates_bps, strict=True)]


def _day_s(topology: Topology, demands: list[Demand], stock_bit: NDArray[np.float64], wanted_bit: NDArray[np.float64]) -> float:
    """Mean processor time of one sharing out after a first."""
    relay = FluidRelay(topology, demands)
    relay.share_out(stock_bit, wanted_bit)
    start = time.process_time()
    for _ in range(ROUNDS):
        relay.share_out(stock_bit, wanted_bit)
    return (time.process_time() - start) / ROUNDS


def _large_day_s() -> float:
    """The same in a ring of 1,000 nodes with 2,000 chords at random."""
    random = np.random.default_rng(SEED)
    ends = [(number, (number + 1) % 1000) for number in range(1000)]
    ends += [tuple(random.choice(1000, 2, replace=False)) for _ in range(2000)]
    links = [Link(str(number), (str(one), str(other))) for number, (one, other) in enumerate(ends)]
    pairs = [random.choice(1000, 2, replace=False) for _ in range(PAIRS)]
    demands = [Demand((str(one), str(other)), 1.0) for one, other in pairs]
    topology = Topology.of([Node(str(number)) for number in range(1000)], links)
    return _day_s(topology, demands, random.uniform(1e8, 1e9, len(links)), random.uniform(1e7, 5e7, PAIRS))


def _peer(topology: Topology, link_bit: NDArray[np.float64], wants: list[KeyDemand]) -> str:
    """The textbook's edge formulation, a flow per source, by the same HiGHS on fewer pairs; both must agree."""
    start = time.process_time()
    ours = float(optimal_flow(topology, link_bit, wants).carried_bit.sum())
    ours_s = time.process_time() - start
    start = time.process_time()
    most = _edge_formulation(topology, link_bit / 1e9, wants, 1e9)
    peer_s = time.process_time() - start
    assert abs(ours / most - 1.0) < 1e-4
    return f"{peer_s / ours_s:.1f} times faster than the edge formulation by the same HiGHS for {len(wants)} pairs ({peer_s:.2f} s)"


def _edge_formulation(topology: Topology, capacity: NDArray[np.float64], wants: list[KeyDemand], unit_bit: float) -> float:
    number = {name: at for at, name in enumerate(topology.nodes)}
    one, other = np.array([[number[end] for end in link.ends] for link in topology.links.values()]).T
    links, nodes = one.size, len(number)
    sources = sorted({want.ends[0] for want in wants})
    arc = np.arange(2 * links)
    leaves, enters = np.concatenate([one, other]), np.concatenate([other, one])
    both = (np.concatenate([leaves, enters]), np.tile(arc, 2))
    balance = sparse.coo_array((np.repeat([1.0, -1.0], 2 * links), both), shape=(nodes, 2 * links))
    handed = sparse.lil_array((len(sources) * nodes, len(wants)))
    for at, want in enumerate(wants):
        row = sources.index(want.ends[0]) * nodes
        handed[row + number[want.ends[0]], at] = -1.0
        handed[row + number[want.ends[1]], at] = 1.0
    arcs = sparse.hstack([sparse.eye_array(links)] * 2)
    done = linprog(
        np.concatenate([np.zeros(len(sources) * 2 * links), -np.ones(len(wants))]),
        A_ub=sparse.hstack([arcs] * len(sources) + [sparse.coo_array((links, len(wants)))], format="csr"),
        b_ub=capacity,
        A_eq=sparse.hstack([sparse.kron(sparse.eye_array(len(sources)), balance), handed], format="csr"),
        b_eq=np.zeros(len(sources) * nodes),
        bounds=[(0.0, None)] * (len(sources) * 2 * links) + [(0.0, want.wanted_bit / unit_bit) for want in wants],
        method="highs",
    )
    return float(-done.fun * unit_bit)
