"""Features of graphs: sampled beside exact ones, and independent of how vertices are numbered."""

from __future__ import annotations

from itertools import permutations

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.computing.photonics.uses.graphs import random_graph
from tiandi.computing.photonics.exact.chain_rule import sample_state
from tiandi.computing.photonics.exact.photon_numbers import photon_probability
from tiandi.computing.photonics.exact.totals import total_photon_distribution
from tiandi.computing.photonics.uses import similarity as graphs
from tiandi.computing.photonics.uses.encoding import displaced, encode_graph
from tiandi.errors import InputError


def test_orbits_are_the_partitions_of_a_number() -> None:
    for photons, number in enumerate((1, 1, 2, 3, 5, 7, 11, 15, 22)):
        assert len(graphs.orbits(photons)) == number
        assert all(sum(orbit) == photons and list(orbit) == sorted(orbit, reverse=True) for orbit in graphs.orbits(photons))
    assert graphs.orbits(4, 2) == [(2, 2), (2, 1, 1), (1, 1, 1, 1)]


def test_an_orbit_is_the_sum_over_all_its_patterns() -> None:
    state = displaced(encode_graph(random_graph(4, 5, 0.6), mean_photons=1.5).state(), 0.2)
    for orbit in ((1,), (2, 1), (1, 1, 1), (2, 1, 1)):
        patterns = set(permutations([*orbit, *[0] * (5 - len(orbit))]))
        expected = sum(photon_probability(state, pattern) for pattern in patterns)
        assert graphs.exact_orbit_features(state, [orbit]).values[0] == pytest.approx(expected, rel=1e-12)
    assert graphs.exact_orbit_features(state, [(1,) * 6]).values.tolist() == [0.0]


def test_all_orbits_of_a_number_of_photons_make_up_its_probability() -> None:
    state = encode_graph(random_graph(5, 6, 0.5), mean_photons=1.0).state()
    features = graphs.exact_orbit_features(state, graphs.orbits(4))
    assert features.values.sum() == pytest.approx(total_photon_distribution(state)[4], rel=1e-9)


def test_sampled_features_are_the_exact_ones_within_their_errors() -> None:
    state = displaced(encode_graph(random_graph(6, 6, 0.6), mean_photons=1.2).state(), 0.25)
    chosen = [orbit for photons in (1, 2, 3, 4) for orbit in graphs.orbits(photons)]
    exact = graphs.exact_orbit_features(state, chosen)
    samples = sample_state(state, 20_000, np.random.default_rng(1), threshold=False, workers=2)
    sampled = graphs.orbit_features(samples, chosen)
    assert (np.abs(sampled.values - exact.values) < 4 * np.sqrt(exact.values / 20_000)).all()
    events = graphs.event_features(samples, [3, 4], 2)
    expected = [sum(sampled.values[chosen.index(orbit)] for orbit in graphs.orbits(photons, 2)) for photons in (3, 4)]
    assert events.values == pytest.approx(expected)
    assert events.errors == pytest.approx(np.sqrt(events.values * (1 - events.values) / 20_000))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 100), st.permutations(range(6)))
def test_features_do_not_depend_on_the_numbers_of_vertices(seed: int, order: list[int]) -> None:
    graph = random_graph(seed, 6, 0.5)
    features = [
        graphs.exact_orbit_features(encode_graph(one, mean_photons=1.0).state(), graphs.orbits(4, 2)).values
        for one in (graph, graph[np.ix_(order, order)])
    ]
    assert features[0] == pytest.approx(features[1], abs=1e-12)


def test_graphs_of_equal_spectrum_are_told_apart_by_orbits_and_not_by_totals() -> None:
    """A star of five vertices, and a square with a vertex alone: the smallest cospectral pair."""
    star, square = networkx.star_graph(4), networkx.cycle_graph(4)
    square.add_node(4)
    states = [encode_graph(networkx.to_numpy_array(one), mean_photons=1.0).state() for one in (star, square)]
    totals = [total_photon_distribution(state, 6) for state in states]
    assert totals[0] == pytest.approx(totals[1], abs=1e-12)
    walks = [graphs.closed_walks(networkx.to_numpy_array(one), 8).values for one in (star, square)]
    assert walks[0] == pytest.approx(walks[1])
    orbits = [graphs.exact_orbit_features(state, [(1, 1, 1, 1), (2, 2)]).values for state in states]
    assert np.abs(orbits[0] - orbits[1]).max() > 0.01


def test_kernels_and_neighbours() -> None:
    features = [graphs.Features(np.array(row), np.zeros(2)) for row in ([0.0, 1.0], [0.0, 1.1], [1.0, 0.0], [1.1, 0.0])]
    kernel = graphs.similarity(features, width=0.5)
    assert kernel.diagonal() == pytest.approx(np.ones(4))
    assert kernel[0, 1] > kernel[0, 2] == kernel[2, 0]
    assert graphs.similarity(features)[0, 1] == pytest.approx(1.1)
    assert np.linalg.eigvalsh(kernel).min() > 0
    assert graphs.leave_one_out(features, [0, 0, 1, 1]) == 1.0
    assert graphs.leave_one_out(features, [0, 1, 0, 1]) == 0.0


def test_closed_walks_are_traces_of_powers() -> None:
    graph = random_graph(7, 8, 0.5)
    power = np.linalg.matrix_power(graph.astype(float), 4)
    assert graphs.closed_walks(graph, 4).values[2] == pytest.approx(np.trace(power) / 7**4)


def test_what_cannot_be_reckoned_is_refused() -> None:
    state = encode_graph(random_graph(1, 20, 0.5), mean_photons=1.0).state()
    with pytest.raises(InputError, match="patterns"):
        graphs.exact_orbit_features(state, [(1,) * 10])
    with pytest.raises(InputError, match="samples"):
        graphs.orbit_features(np.zeros((0, 3), np.uint8), [(1,)])
    with pytest.raises(InputError, match="labels"):
        graphs.leave_one_out([graphs.Features(np.zeros(2), np.zeros(2))], [1, 2])
    with pytest.raises(InputError, match="photons"):
        graphs.orbits(1000)
