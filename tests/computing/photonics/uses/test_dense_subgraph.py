"""Dense subgraphs, beside brute force in plain Python and networkx."""

from __future__ import annotations

from itertools import combinations, permutations

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.computing.photonics.uses.graphs import random_graph, with_clique
from tiandi.computing.photonics.exact.chain_rule import sample_exact
from tiandi.computing.photonics.gaussian import Detectors
from tiandi.computing.photonics.samplers import SAMPLERS
from tiandi.computing.photonics.uses import dense_subgraph as dense
from tiandi.computing.photonics.uses.encoding import encode_graph
from tiandi.errors import InputError


def brute_force(graph: np.ndarray, size: int) -> int:
    whole = networkx.from_numpy_array(graph)
    return max(whole.subgraph(part).number_of_edges() for part in combinations(range(len(graph)), size))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(3, 10), st.floats(0.1, 0.9), st.data())
def test_the_exact_answer_is_that_of_brute_force(seed: int, vertices: int, share: float, data: st.DataObject) -> None:
    size = data.draw(st.integers(2, vertices))
    graph = random_graph(seed, vertices, share)
    found = dense.densest_subgraph(graph, size)
    assert found.edges == brute_force(graph, size)
    assert len(found.vertices) == size
    assert graph[np.ix_(found.vertices, found.vertices)].sum() // 2 == found.edges


def test_edges_are_counted_as_networkx_does() -> None:
    graph = random_graph(4, 20, 0.4)
    subsets = dense.uniform_subsets(20, 7, 50, np.random.default_rng(1))
    assert (subsets.sum(axis=1) == 7).all()
    whole = networkx.from_numpy_array(graph)
    expected = [whole.subgraph(np.flatnonzero(row)).number_of_edges() for row in subsets]
    assert dense.edges_within(graph, subsets).tolist() == expected


def test_the_largest_graph_that_fits_into_a_word_is_searched_whole() -> None:
    graph = with_clique(5, 62, 0.3, 3)
    assert dense.densest_subgraph(graph, 3).edges == 3
    assert dense.densest_subgraph(graph, 2).density == 1.0


def test_samples_become_subsets_of_the_size_asked_for() -> None:
    graph = np.zeros((5, 5), bool)
    for first, second in ((0, 1), (0, 2), (1, 2), (2, 3), (3, 4)):
        graph[first, second] = graph[second, first] = True
    samples = np.array([[1, 0, 2, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 1, 1, 0, 0]], np.uint8)
    resized = dense.subsets_of_size(graph, samples, 3)
    assert [np.flatnonzero(row).tolist() for row in resized] == [[0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 2]]
    assert dense.of_exact_size(graph, samples, 3).tolist() == [[True, True, True, False, False]]
    assert dense.greedy(graph, 3).edges == 3


def test_gaussian_boson_samples_are_denser_than_uniform_subsets_and_so_are_classical_pairs() -> None:
    """Exact photon samples as they come, of eight different vertices, no greedy step: mean edges over those of uniform subsets."""
    graph = with_clique(7, 16, 0.35, 7)
    generator = np.random.default_rng(2)
    machine = encode_graph(graph, mean_photons=5.0, detectors=Detectors())
    samples = sample_exact(machine, 2500, generator, workers=2)
    pairs = SAMPLERS["pairs-and-singles"](machine, generator).sample(20_000, generator)
    uniform = dense.edges_within(graph, dense.uniform_subsets(16, 6, 20_000, generator)).mean()
    means = [dense.edges_within(graph, dense.of_exact_size(graph, rows, 6)) for rows in (samples, pairs)]
    for edges in means:
        assert len(edges) > 100
        assert edges.mean() - uniform > 5 * edges.std() / np.sqrt(len(edges))
    assert means[0].mean() > means[1].mean()


def test_searches_find_a_planted_clique_and_say_when() -> None:
    graph = with_clique(8, 24, 0.3, 8)
    best = dense.densest_subgraph(graph, 8).edges
    assert best == 28
    annealed = dense.simulated_annealing(graph, 8, 20_000, np.random.default_rng(1))
    assert (annealed.edges, len(annealed.vertices), annealed.density) == (best, 8, 1.0)
    assert (np.diff(annealed.best_after) >= 0).all()
    searched = dense.random_search(graph, dense.uniform_subsets(24, 8, 500, np.random.default_rng(3)))
    assert searched.edges == searched.best_after[-1] < best
    assert dense.simulated_annealing(graph, 24, 10, np.random.default_rng(1)).edges == graph.sum() // 2


def test_expected_tries_are_the_mean_over_all_orders() -> None:
    graph = random_graph(6, 8, 0.5)
    proposals = dense.uniform_subsets(8, 4, 6, np.random.default_rng(5))
    edges = dense.edges_within(graph, proposals)
    wanted = int(np.sort(edges)[-2])
    first = [next(place for place, index in enumerate(order, 1) if edges[index] >= wanted) for order in permutations(range(6))]
    assert dense.expected_tries(graph, proposals, wanted) == pytest.approx(np.mean(first))
    assert dense.expected_tries(graph, proposals, 100) == 7
    rows = dense.shuffled(np.triu(np.ones((5, 8), np.uint8)), np.random.default_rng(1))
    assert rows.sum(axis=1).tolist() == [8, 7, 6, 5, 4]


def test_what_cannot_be_searched_is_refused() -> None:
    graph = random_graph(1, 40, 0.5)
    with pytest.raises(InputError, match="one by one"):
        dense.densest_subgraph(graph, 20)
    with pytest.raises(InputError, match="size"):
        dense.greedy(graph, 41)
    with pytest.raises(InputError, match="same size"):
        dense.random_search(graph, np.eye(40, dtype=bool) | (np.arange(40) < 2))
    with pytest.raises(InputError, match="samples"):
        dense.subsets_of_size(graph, np.zeros((2, 5), np.uint8), 3)
    with pytest.raises(InputError, match="steps"):
        dense.simulated_annealing(graph, 5, 0, np.random.default_rng(1))
