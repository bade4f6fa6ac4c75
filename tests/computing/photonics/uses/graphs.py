"""Graphs for the tests, drawn at random."""

from __future__ import annotations

import numpy as np

from tiandi.computing.photonics.uses.encoding import BoolArray


def random_graph(seed: int, vertices: int, share: float) -> BoolArray:
    """Each edge is there with probability ``share``; at least one is."""
    upper = np.triu(np.random.default_rng(seed).random((vertices, vertices)) < share, 1)
    upper[0, 1] |= not upper.any()
    return upper | upper.T


def with_clique(seed: int, vertices: int, share: float, clique: int) -> BoolArray:
    """The same with a clique planted on ``clique`` vertices at random."""
    graph = random_graph(seed, vertices, share)
    chosen = np.random.default_rng(seed + 1000).permutation(vertices)[:clique]
    graph[np.ix_(chosen, chosen)] = True
    np.fill_diagonal(graph, False)
    return graph
