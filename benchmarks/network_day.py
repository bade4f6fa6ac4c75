"""A simulated day of the national network: 10,000 pairs ask for keys, and every request is served, waited for or refused by itself."""

from __future__ import annotations

import time

from flow import PAIRS, backbone
from measure import Figure
from tiandi.planning.inputs import StudyInputs
from tiandi.planning.network_day import DayRules, simulate_day

LOAD = 0.5
"""What is wanted over what the links make, at 20 hops a way; at noon it is twice that."""


def benchmark_network_day() -> list[Figure]:
    """Processor time of a day after a shorter one that compiles; no peer routes by stock at this size."""
    topology, demands = backbone(PAIRS, LOAD)
    inputs = StudyInputs("national", "The national network", topology, demands=tuple(demands))
    simulate_day(StudyInputs("few", "Few pairs", topology, demands=tuple(demands[:10])))
    start = time.process_time()
    day = simulate_day(inputs, rules=DayRules(), stock_bit=1e8)
    seconds = time.process_time() - start
    requests = int(day.latency_count.sum())
    assert (day.made_bit + 100_000_000 == day.spent_bit + day.spilled_bit + day.stock_bit).all()
    name = f"a day of the national network, {PAIRS:,} pairs, {requests:,} requests served ({100 * day.served:.1f} % of the key)"
    rate = f"{requests / seconds:,.0f} requests a second; latency to 99 %: {day.latency_quantile_s(0.99):.2f} s; {topology_words(inputs)}"
    return [Figure(name, seconds, 60.0, "s", rate)]


def topology_words(inputs: StudyInputs) -> str:
    """How large the network is."""
    return f"{len(inputs.topology.nodes)} nodes, {len(inputs.topology.links)} links"
