"""Which cut of the network is full: the links that a demand cannot do without, and what they carry at most.

The most key between two nodes is the least capacity of any set of links whose loss parts them (L. R. Ford and D. R. Fulkerson, Canadian
Journal of Mathematics 8:399 (1956), DOI 10.4153/CJM-1956-045-5; recalled).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from tiandi.control.flow import MOST_BIT, KeyDemand
from tiandi.control.topology import Topology, TrustClass
from tiandi.control.way_search import Floats, WayFinder
from tiandi.errors import InputError
from tiandi.limits import require_each_within

LARGEST = 2**31 - 1
"""scipy's flows are whole numbers of 32 bits: capacities are scaled to them, and a cut is the least to some parts in 1e9."""


@dataclass(frozen=True)
class FullCut:
    """The links between the nodes ``near`` a source and the rest, what they carry at most, and what is wanted across them [bit]."""

    links: tuple[str, ...]
    near: frozenset[str]
    capacity_bit: float
    demand_bit: float

    def __str__(self) -> str:
        what = ", ".join(self.links) or "no links at all"
        return f"{what}: at most {self.capacity_bit:.4g} bit of the {self.demand_bit:.4g} bit wanted across"


def full_cut(
    topology: Topology,
    link_bit: ArrayLike,
    source: str,
    target: str,
    *,
    demands: Sequence[KeyDemand] = (),
    used_bit: ArrayLike | None = None,
    least_trust: TrustClass = "foreign",
) -> FullCut:
    """The cut that limits key from ``source`` to ``target``, for ``link_bit`` [bit] per link lit all the time, and the ``demands`` across.

    With ``used_bit`` per link it is a cut that stands full because of all demands together; where there is none, and without
    ``used_bit``, it is the least one of the pair alone. Nodes that may not relay are no part of it. Raises InputError.
    """
    finder = WayFinder(topology)
    pair = finder.pairs([(source, target)], [least_trust], [1])
    if source == target:
        raise InputError("target", target, "must be another node than the source")
    capacity = require_each_within("link_bit", link_bit, 0.0, MOST_BIT)
    used = np.zeros(capacity.shape) if used_bit is None else require_each_within("used_bit", used_bit, 0.0, MOST_BIT)
    for name, array in (("link_bit", capacity), ("used_bit", used)):
        if array.shape != (len(finder.links),):
            raise InputError(name, array.shape, f"must have shape {(len(finder.links),)}")
    relays = finder.relays[pair.trust[0]].copy()
    relays[[pair.source[0], pair.target[0]]] = True
    there = relays[finder.ends].all(axis=1)
    left = np.where(there & (capacity - used > 1e-6 * capacity), capacity, 0.0)
    near = _reached(_matrix(finder, left), int(pair.source[0]))
    if near[pair.target[0]]:
        whole = _matrix(finder, np.where(there, capacity, 0.0))
        scale = LARGEST / max(float(np.maximum(whole.sum(axis=0), whole.sum(axis=1)).max()), 1.0)
        whole = (whole * scale).astype(np.int32)
        flow = maximum_flow(whole, int(pair.source[0]), int(pair.target[0])).flow
        near = _reached(whole - flow, int(pair.source[0]))
    crossing = np.flatnonzero(there & (near[finder.ends[:, 0]] != near[finder.ends[:, 1]]))
    sides = {name: bool(near[number]) for name, number in finder.node.items()}
    return FullCut(
        tuple(finder.links[link] for link in crossing),
        frozenset(name for name, is_near in sides.items() if is_near),
        float(capacity[crossing].sum()),
        sum((demand.wanted_bit for demand in demands if sides[demand.ends[0]] != sides[demand.ends[1]]), 0.0),
    )


def _matrix(finder: WayFinder, capacity: Floats) -> sparse.csr_array:
    """Capacities between nodes, both ways; parallel links add up."""
    one, other = finder.ends.T
    size = len(finder.node)
    return sparse.coo_array(
        (np.tile(capacity, 2), (np.concatenate([one, other]), np.concatenate([other, one]))), shape=(size, size)
    ).tocsr()


def _reached(matrix: sparse.csr_array, source: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which nodes can be reached over entries above zero."""
    positive = matrix > 0
    reached = np.zeros(matrix.shape[0], bool)
    reached[breadth_first_order(positive.astype(np.int8), source, return_predecessors=False)] = True
    return reached
