"""Who wants how much key: pairs by name, and groups by a gravity model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tiandi.errors import ScenarioError
from tiandi.planning.inputs import Demand
from tiandi.scenario import schema
from tiandi.scenario.checks import LINK_JOINT
from tiandi.scenario.expansion import chosen
from tiandi.scenario.places import great_circle_km

MOST_NODES = 640
"""Of a group: some 200,000 pairs."""
NEAREST_KM = 1.0
"""Two nodes closer than this count as this far apart."""


def demands_of(file: schema.ScenarioFile) -> list[Demand]:
    """Demands of pairs, then those of groups; a pair that was named before is left out of a group.

    Raises ScenarioError on a pair named twice, a group of too few or too many nodes, and weights that leave nobody.
    """
    if file.plan is None:
        return []
    demands = [_demand(entry, entry.ends, entry.rate_bps) for entry in file.plan.demands]
    taken = [frozenset(entry.ends) for entry in file.plan.demands]
    if len(set(taken)) < len(taken):
        twice = next(pair for pair in taken if taken.count(pair) > 1)
        raise ScenarioError("plan.demands", LINK_JOINT.join(sorted(twice)), "this pair stands twice")
    seen = set(taken)
    grounded = {node.name: node for node in file.topology.nodes if node.kind != "satellite"}
    for number, group in enumerate(file.plan.demand_groups):
        where = f"plan.demand_groups[{number}]"
        names = chosen(f"{where}.nodes", group.nodes, list(grounded))
        if not 2 <= len(names) <= MOST_NODES:
            raise ScenarioError(f"{where}.nodes", f"{len(names)} nodes", f"must be 2 to {MOST_NODES} nodes, of which every pair wants key")
        pairs = [pair for pair in combinations(names, 2) if frozenset(pair) not in seen]
        seen |= {frozenset(pair) for pair in pairs}
        shares = _gravity(where, group, pairs, grounded)
        demands += [_demand(group, pair, group.rate_bps * float(share)) for pair, share in zip(pairs, shares, strict=True) if share > 0.0]
    return demands


def _demand(terms: schema.DemandTerms, ends: tuple[str, str], rate_bps: float) -> Demand:
    return Demand(ends, rate_bps, terms.priority, terms.paths, terms.least_trust, terms.post_quantum)


def _gravity(
    where: str, group: schema.DemandGroupEntry, pairs: Sequence[tuple[str, str]], nodes: dict[str, schema.NodeEntry]
) -> NDArray[np.float64]:
    """What part of the group's rate each pair wants, shape (pairs,): weight times weight over a power of the distance."""
    shares = np.array([group.weights.get(here, 1.0) * group.weights.get(there, 1.0) for here, there in pairs])
    if group.distance_exponent > 0.0:
        ends = np.array([[_place(where, nodes[name]) for name in pair] for pair in pairs])
        shares = shares / np.maximum(great_circle_km(ends[:, 0], ends[:, 1]), NEAREST_KM) ** group.distance_exponent
    if not shares.sum() > 0.0:
        raise ScenarioError(f"{where}.weights", group.weights, "must leave at least one pair that wants key")
    return shares / shares.sum()


def _place(where: str, node: schema.NodeEntry) -> tuple[float, float]:
    if node.latitude_deg is None or node.longitude_deg is None:
        raise ScenarioError(f"{where}.distance_exponent", node.name, "needs latitude_deg and longitude_deg of each node")
    return node.latitude_deg, node.longitude_deg
