"""Cliques, beside networkx."""

from __future__ import annotations

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.computing.photonics.uses.graphs import random_graph, with_clique
from tiandi.computing.photonics.exact.chain_rule import sample_exact
from tiandi.computing.photonics.gaussian import Detectors
from tiandi.computing.photonics.uses.clique import cliques_from, is_clique, local_search, maximum_clique, shrunk
from tiandi.computing.photonics.uses.dense_subgraph import uniform_subsets
from tiandi.computing.photonics.uses.encoding import encode_graph
from tiandi.errors import InputError


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 25), st.floats(0.05, 0.95))
def test_the_maximum_is_that_of_networkx(seed: int, vertices: int, share: float) -> None:
    graph = random_graph(seed, vertices, share)
    found = maximum_clique(graph)
    assert is_clique(graph, found)
    assert len(found) == networkx.max_weight_clique(networkx.from_numpy_array(graph), weight=None)[1]


def test_a_planted_clique_of_a_hundred_vertices_is_found() -> None:
    graph = with_clique(3, 100, 0.4, 16)
    assert len(maximum_clique(graph)) == 16


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(3, 16), st.floats(0.2, 0.9))
def test_whatever_a_search_returns_is_a_clique(seed: int, vertices: int, share: float) -> None:
    graph, generator = random_graph(seed, vertices, share), np.random.default_rng(seed)
    beginning = generator.random(vertices) < 0.6
    small = shrunk(graph, beginning, generator)
    assert is_clique(graph, np.flatnonzero(small))
    assert (small & ~beginning).sum() == 0
    grown = local_search(graph, small, 10, generator)
    assert is_clique(graph, np.flatnonzero(grown))
    assert small.sum() <= grown.sum() <= len(maximum_clique(graph))


def test_samples_lead_to_the_maximum_clique() -> None:
    graph = with_clique(9, 16, 0.4, 7)
    machine = encode_graph(graph, mean_photons=4.0, detectors=Detectors())
    samples = sample_exact(machine, 200, np.random.default_rng(1), workers=2)
    found = cliques_from(graph, samples, np.random.default_rng(2), rounds=5)
    assert len(found.clique) == found.best_after[-1] == len(maximum_clique(graph)) == 7
    assert is_clique(graph, found.clique)
    plain = cliques_from(graph, uniform_subsets(16, 4, 20, np.random.default_rng(1)), np.random.default_rng(2))
    assert (np.diff(plain.best_after) >= 0).all()


def test_beginnings_that_do_not_fit_are_refused() -> None:
    graph = random_graph(1, 6, 0.5)
    for beginnings in (np.zeros((0, 6), np.uint8), np.zeros((3, 5), np.uint8)):
        with pytest.raises(InputError, match="beginnings"):
            cliques_from(graph, beginnings, np.random.default_rng(1))
