"""The densest subgraph of k vertices: searches with and without proposals of a Gaussian boson sampler, and the exact answer where small.

Samples of a machine that holds a graph come from dense subgraphs more often, since the hafnian counts perfect matchings: Arrazola and
Bromley, Phys. Rev. Lett. 121, 030503 (2018), doi 10.1103/PhysRevLett.121.030503; on Jiuzhang, Deng et al., Phys. Rev. Lett. 130, 190601
(2023), doi 10.1103/PhysRevLett.130.190601. That classical samplers and searches do as well is the finding of Oh, Fefferman, Jiang and
Quesada, arXiv 2302.00536, and of Solomons, Thomas and McCutcheon, arXiv 2301.13217.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.compiling import kernel
from tiandi.computing.photonics.gaussian import CountArray, FloatArray
from tiandi.computing.photonics.uses.encoding import BoolArray, require_graph
from tiandi.errors import InputError
from tiandi.limits import require_within

IntArray = NDArray[np.int64]
MOST_SUBSETS = 200_000_000
"""Looked at in about two seconds."""
LARGEST_MASK = 62
MOST_STEPS = 100_000_000


@dataclass(frozen=True, eq=False)
class Search:
    """What a search found, and how fast."""

    vertices: IntArray
    """(k,), ascending."""
    edges: int
    best_after: IntArray
    """(tries,): edges of the best subgraph among the first 1, 2, .. that were looked at."""

    @property
    def density(self) -> float:
        """Edges over those of a clique of as many vertices."""
        return self.edges / math.comb(len(self.vertices), 2)


def edges_within(graph: BoolArray, subsets: BoolArray) -> IntArray:
    """Edges inside each row of ``subsets`` (number, n)."""
    rows = subsets.astype(np.float32)
    return np.asarray(np.rint(((rows @ graph.astype(np.float32)) * rows).sum(axis=1) / 2), np.int64)


def uniform_subsets(vertices: int, size: int, number: int, generator: np.random.Generator) -> BoolArray:
    """(number, vertices): subsets of ``size`` vertices, all equally likely."""
    order = generator.random((number, vertices)).argsort(axis=1)
    return order < size


def subsets_of_size(adjacency: ArrayLike, samples: CountArray, size: int) -> BoolArray:
    """(number, n): the vertices on which each sample has clicks, brought to ``size``.

    Vertices with least neighbours in a subset leave it one by one, or those with most join it, the lowest number first among equals.
    Nothing is thrown away, so that a sample is one proposal; but part of the work is then done by this greedy step, which is why every
    rival is given it as well.
    """
    graph = require_graph(adjacency)
    rows = _require_samples(graph, samples)
    _require_size(graph, size)
    resized = np.zeros(rows.shape, np.bool_)
    _resize(graph, rows, size, resized)
    return resized


def of_exact_size(adjacency: ArrayLike, samples: CountArray, size: int) -> BoolArray:
    """(number that fit, n): only the samples with clicks on exactly ``size`` vertices, as they are (post-selection)."""
    rows = _require_samples(require_graph(adjacency), samples)
    return rows[rows.sum(axis=1) == size]


def random_search(adjacency: ArrayLike, proposals: BoolArray) -> Search:
    """The best of ``proposals`` (number, n), each a subset of the same size."""
    graph = require_graph(adjacency)
    subsets = _require_samples(graph, proposals)
    if not len(subsets) or len(np.unique(subsets.sum(axis=1))) != 1:
        raise InputError("proposals", len(subsets), "must be at least one, all of the same size")
    edges = edges_within(graph, subsets)
    best = int(edges.argmax())
    return Search(np.flatnonzero(subsets[best]), int(edges[best]), np.maximum.accumulate(edges))


def simulated_annealing(
    adjacency: ArrayLike, size: int, steps: int, generator: np.random.Generator, *, hottest: float = 1.0, coldest: float = 0.05
) -> Search:
    """Swaps of one vertex, taken with Metropolis' rule at a temperature [edges] that falls by a constant factor a step."""
    graph = require_graph(adjacency)
    _require_size(graph, size)
    require_within("steps", steps, 1, MOST_STEPS)
    require_within("coldest", coldest, 1e-9, hottest)
    inside = uniform_subsets(len(graph), size, 1, generator)[0]
    best_after = np.empty(steps, np.int64)
    best = _anneal(graph, inside, generator.random((steps, 3)), (hottest, coldest), best_after)
    return Search(np.flatnonzero(best), int(best_after[-1]), best_after)


def greedy(adjacency: ArrayLike, size: int) -> Search:
    """The vertex with least neighbours leaves, until ``size`` are left: Charikar, APPROX 2000, doi 10.1007/3-540-44436-X_10."""
    graph = require_graph(adjacency)
    return random_search(graph, subsets_of_size(graph, np.ones((1, len(graph)), np.uint8), size))


def densest_subgraph(adjacency: ArrayLike, size: int) -> Search:
    """The densest subgraph of ``size`` vertices by looking at all; InputError, with their number, where they are too many."""
    graph = require_graph(adjacency)
    _require_size(graph, size)
    require_within("vertices", len(graph), 2, LARGEST_MASK)
    subsets = math.comb(len(graph), size)
    if subsets > MOST_SUBSETS:
        raise InputError("subsets", subsets, f"must be at most {MOST_SUBSETS} to be looked at one by one")
    masks = (graph.astype(np.int64) << np.arange(len(graph))).sum(axis=1)
    best, edges = _enumerate(masks, size)
    vertices = np.flatnonzero(best >> np.arange(len(graph)) & 1)
    return Search(vertices, int(edges), np.array([edges]))


def expected_tries(adjacency: ArrayLike, proposals: BoolArray, edges: int) -> float:
    """Mean place of the first of ``proposals`` with at least ``edges``, over all orders of them; one behind the last where none has."""
    graph = require_graph(adjacency)
    hits = int((edges_within(graph, _require_samples(graph, proposals)) >= edges).sum())
    return (len(proposals) + 1) / (hits + 1)


def shuffled(samples: CountArray, generator: np.random.Generator) -> CountArray:
    """Each sample with its modes in random order: as many clicks, but nothing of the graph. The fair rival of a sampler."""
    return generator.permuted(samples, axis=1)


def _require_samples(graph: BoolArray, samples: NDArray[np.generic]) -> BoolArray:
    rows = np.asarray(samples)
    if rows.ndim != 2 or rows.shape[1] != len(graph):
        raise InputError("samples", list(rows.shape), f"must be (samples, {len(graph)})")
    return np.ascontiguousarray(rows != 0)


def _require_size(graph: BoolArray, size: int) -> None:
    require_within("size", size, 2, len(graph))


@kernel
def _resize(graph: BoolArray, rows: BoolArray, size: int, out: BoolArray) -> None:
    number = graph.shape[0]
    degree = np.zeros(number, np.int64)
    for row in range(rows.shape[0]):
        inside = out[row]
        count = 0
        degree[:] = 0
        for i in range(number):
            inside[i] = rows[row, i]
            if inside[i]:
                count += 1
                for j in range(number):
                    degree[j] += graph[i, j]
        while count != size:
            chosen, wanted = -1, count < size
            for i in range(number):
                if inside[i] != wanted and (
                    chosen < 0 or (wanted and degree[i] > degree[chosen]) or (not wanted and degree[i] < degree[chosen])
                ):
                    chosen = i
            step = 1 if wanted else -1
            inside[chosen] = wanted
            count += step
            for j in range(number):
                degree[j] += step * graph[chosen, j]


@kernel
def _anneal(graph: BoolArray, inside: BoolArray, uniform: FloatArray, heat: tuple[float, float], best_after: IntArray) -> BoolArray:
    hottest, coldest = heat
    number, steps = graph.shape[0], uniform.shape[0]
    members = np.flatnonzero(inside)
    others = np.flatnonzero(~inside)
    best = inside.copy()
    edges = 0
    for i in members:
        for j in members:
            if i < j:
                edges += graph[i, j]
    most = edges
    for step in range(steps):
        temperature = hottest * (coldest / hottest) ** (step / steps)
        if len(others) > 0:
            leaves = int(uniform[step, 0] * len(members))
            joins = int(uniform[step, 1] * len(others))
            old, new = members[leaves], others[joins]
            gain = -int(graph[new, old])
            for i in members:
                gain += int(graph[new, i]) - int(graph[old, i])
            if gain >= 0 or uniform[step, 2] < math.exp(gain / temperature):
                members[leaves], others[joins] = new, old
                edges += gain
                if edges > most:
                    most = edges
                    best = np.zeros(number, np.bool_)
                    best[members] = True
        best_after[step] = most
    return best


@kernel
def _enumerate(masks: IntArray, size: int) -> tuple[int, int]:
    """All subsets in turn (Gosper's step to the next number with as many bits), twice the edges of each by counting bits."""
    limit = np.int64(1) << len(masks)
    subset = (np.int64(1) << size) - 1
    best, most = subset, -1
    while subset < limit:
        twice = 0
        left = subset
        while left:
            lowest = left & -left
            vertex = _trailing_zeros(lowest)
            twice += _bits(masks[vertex] & subset)
            left ^= lowest
        if twice > most:
            best, most = subset, twice
        lowest = subset & -subset
        ripple = subset + lowest
        subset = (((ripple ^ subset) >> 2) // lowest) | ripple
    return int(best), most // 2


@kernel
def _bits(word: int) -> int:
    word = word - ((word >> 1) & 0x5555555555555555)
    word = (word & 0x3333333333333333) + ((word >> 2) & 0x3333333333333333)
    word = (word + (word >> 4)) & 0x0F0F0F0F0F0F0F0F
    word += word >> 8
    word += word >> 16
    word += word >> 32
    return word & 0x7F


@kernel
def _trailing_zeros(power: int) -> int:
    return _bits(power - 1)
