"""Cliques: a local search from the clicks of samples, the same from other beginnings, and the exact maximum.

A sample's vertices are shrunk to a clique, which is then grown, and moved sideways where it cannot grow: Banchi, Fingerhuth, Babej, Ing and
Arrazola, Sci. Adv. 6, eaax1950 (2020), doi 10.1126/sciadv.aax1950. The search without samples is that of Pullan and Hoos, J. Artif. Intell.
Res. 25, 159 (2006), doi 10.1613/jair.1815, without its penalties.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.computing.photonics.gaussian import CountArray
from tiandi.computing.photonics.uses.encoding import BoolArray, require_graph
from tiandi.errors import InputError
from tiandi.limits import require_within

IntArray = NDArray[np.int64]
MOST_BRANCHES = 20_000_000


@dataclass(frozen=True, eq=False)
class CliqueSearch:
    """The largest clique that was found, and how soon."""

    clique: IntArray
    """Vertices, ascending."""
    best_after: IntArray
    """(beginnings,): size of the largest clique after the first 1, 2, .. of them."""


def is_clique(adjacency: ArrayLike, vertices: IntArray) -> bool:
    """Whether all ``vertices`` are joined to each other."""
    part = require_graph(adjacency)[np.ix_(vertices, vertices)]
    return bool((part | np.eye(len(vertices), dtype=bool)).all())


def shrunk(graph: BoolArray, inside: BoolArray, generator: np.random.Generator) -> BoolArray:
    """(n,): what is left of ``inside`` when vertices with least neighbours in it, drawn among equals, leave until it is a clique."""
    left = inside.copy()
    while (count := int(left.sum())) > 1:
        degrees = np.where(left, graph[:, left].sum(axis=1), count)
        if degrees.min() == count - 1:
            break
        left[generator.choice(np.flatnonzero(degrees == degrees.min()))] = False
    return left


def local_search(graph: BoolArray, clique: BoolArray, rounds: int, generator: np.random.Generator) -> BoolArray:
    """The largest of what ``clique`` (n,) becomes in at most ``rounds`` swaps: it grows as far as it can between them."""
    current, best = clique.copy(), clique.copy()
    for _ in range(rounds + 1):
        while len(joined := np.flatnonzero(~current & (graph[:, current].sum(axis=1) == current.sum()))):
            current[generator.choice(joined)] = True
        if current.sum() > best.sum():
            best = current.copy()
        nearly = np.flatnonzero(~current & (graph[:, current].sum(axis=1) == current.sum() - 1))
        if not len(nearly):
            break
        new = generator.choice(nearly)
        current[current & ~graph[new]] = False
        current[new] = True
    return best


def cliques_from(
    adjacency: ArrayLike, beginnings: CountArray | BoolArray, generator: np.random.Generator, *, rounds: int = 0
) -> CliqueSearch:
    """The largest clique of those that grow out of ``beginnings`` (number, n): samples, or any sets of vertices."""
    graph = require_graph(adjacency)
    rows = np.asarray(beginnings) != 0
    if rows.ndim != 2 or rows.shape[1] != len(graph) or not len(rows):
        raise InputError("beginnings", list(rows.shape), f"must be (at least 1, {len(graph)})")
    require_within("rounds", rounds, 0, 1_000_000)
    best, sizes = np.zeros(len(graph), np.bool_), np.empty(len(rows), np.int64)
    for number, row in enumerate(rows):
        found = local_search(graph, shrunk(graph, row, generator), rounds, generator)
        if found.sum() > best.sum():
            best = found
        sizes[number] = best.sum()
    return CliqueSearch(np.flatnonzero(best), sizes)


def maximum_clique(adjacency: ArrayLike) -> IntArray:
    """A largest clique, ascending, by branch and bound with colours as bounds: Tomita and Seki, DMTCS 2003, doi 10.1007/3-540-45066-1_22.

    Raises InputError where more than 20 million branches would be needed.
    """
    graph = require_graph(adjacency)
    order = np.argsort(-graph.sum(axis=1), kind="stable")
    sorted_graph = graph[np.ix_(order, order)]
    neighbours = [sum(1 << int(j) for j in np.flatnonzero(row)) for row in sorted_graph]
    found = _Branching(neighbours).largest()
    return np.sort(order[[vertex for vertex in range(len(graph)) if found >> vertex & 1]])


class _Branching:
    """Sets of vertices are bits of whole numbers."""

    def __init__(self, neighbours: list[int]) -> None:
        self._neighbours = neighbours
        self._best, self._size, self._branches = 0, 0, 0

    def largest(self) -> int:
        self._expand(0, 0, (1 << len(self._neighbours)) - 1)
        return self._best

    def _expand(self, clique: int, size: int, candidates: int) -> None:
        self._branches += 1
        if self._branches > MOST_BRANCHES:
            raise InputError("vertices", len(self._neighbours), f"need more than {MOST_BRANCHES} branches")
        for vertex, colour in reversed(self._coloured(candidates)):
            if size + colour <= self._size:
                return
            grown, left = clique | 1 << vertex, candidates & self._neighbours[vertex]
            if left:
                self._expand(grown, size + 1, left)
            elif size + 1 > self._size:
                self._best, self._size = grown, size + 1
            candidates &= ~(1 << vertex)

    def _coloured(self, candidates: int) -> list[tuple[int, int]]:
        """Vertices with the number of colours that those before and they need at most: neighbours differ in colour."""
        coloured, colour = [], 0
        while candidates:
            colour += 1
            free = candidates
            while free:
                vertex = (free & -free).bit_length() - 1
                coloured.append((vertex, colour))
                candidates &= ~(1 << vertex)
                free &= ~(self._neighbours[vertex] | 1 << vertex)
        return coloured
