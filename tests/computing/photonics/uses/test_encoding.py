"""Graphs in machines, beside thewalrus and the exact probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from thewalrus import hafnian
from thewalrus.decompositions import takagi as takagi_of_thewalrus
from thewalrus.quantum import adj_scaling

from tests.computing.photonics.uses.graphs import random_graph
from tiandi.computing.photonics.exact.photon_numbers import photon_probability
from tiandi.computing.photonics.exact.totals import total_photon_distribution
from tiandi.computing.photonics.gaussian import Detectors
from tiandi.computing.photonics.uses.encoding import displaced, encode_graph, require_graph, scaling, takagi
from tiandi.errors import InputError


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6).flatmap(
        lambda size: arrays(complex, (size, size), elements=st.complex_numbers(max_magnitude=10, allow_nan=False, allow_infinity=False))
    )
)
def test_takagi_takes_any_symmetric_matrix_apart(matrix: np.ndarray) -> None:
    symmetric = matrix + matrix.T
    values, unitary = takagi(symmetric)
    assert np.abs(unitary @ np.diag(values) @ unitary.T - symmetric).max() < 1e-8 * max(1.0, float(np.abs(symmetric).max()))
    assert np.abs(unitary @ unitary.conj().T - np.eye(len(values))).max() < 1e-9
    assert (np.diff(values) <= 1e-9).all()


def test_takagi_tells_small_values_apart_from_each_other() -> None:
    matrix = np.full((5, 5), 6e-8j)
    matrix[1, 4] = matrix[4, 1] = 1
    values, unitary = takagi(matrix)
    assert np.abs(unitary @ np.diag(values) @ unitary.T - matrix).max() < 1e-14
    assert np.abs(unitary @ unitary.conj().T - np.eye(5)).max() < 1e-12


def test_singular_values_are_those_of_thewalrus_also_where_they_repeat() -> None:
    for matrix in (random_graph(1, 9, 0.5), np.ones((6, 6)) - np.eye(6), np.kron(np.eye(3), [[0, 1], [1, 0]]), np.diag([2.0, 0, 0])):
        values, unitary = takagi(matrix)
        assert values == pytest.approx(takagi_of_thewalrus(matrix.astype(complex))[0], abs=1e-9)
        assert np.abs(unitary @ np.diag(values) @ unitary.T - matrix).max() < 1e-9


def test_the_scaling_is_that_of_thewalrus_and_the_photons_come_out() -> None:
    graph = random_graph(2, 10, 0.6)
    for mean_photons in (0.1, 3.0, 20.0):
        factor = scaling(takagi(graph)[0], mean_photons)
        assert factor == pytest.approx(adj_scaling(graph.astype(float), mean_photons), rel=1e-6)
        state = encode_graph(graph, mean_photons=mean_photons).state()
        assert state.mean_photon_numbers.sum() == pytest.approx(mean_photons)
    half = encode_graph(graph, mean_photons=4.0, transmission=0.5).state()
    assert half.mean_photon_numbers.sum() == pytest.approx(2.0)


@pytest.mark.slow
def test_patterns_come_with_the_square_of_their_hafnian() -> None:
    graph = random_graph(3, 6, 0.7).astype(float)
    machine = encode_graph(graph, mean_photons=2.0)
    factor, state = scaling(takagi(graph)[0], 2.0), machine.state()
    vacuum = photon_probability(state, [0] * 6)
    for pattern in ([1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0], [0, 2, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]):
        rows = np.repeat(np.arange(6), pattern)
        squared = hafnian(factor * graph[np.ix_(rows, rows)]) ** 2 if len(rows) % 2 == 0 else 0.0
        expected = vacuum * squared / math.prod(math.factorial(n) for n in pattern)
        assert photon_probability(state, pattern) == pytest.approx(expected, abs=1e-12)


def test_a_displaced_state_shows_odd_numbers_of_photons() -> None:
    state = encode_graph(random_graph(3, 5, 0.7), mean_photons=1.0).state()
    assert total_photon_distribution(state)[1::2].max() < 1e-12
    assert total_photon_distribution(displaced(state, 0.3))[1] > 0.01
    assert displaced(state, 0.3).mean_photon_numbers.sum() == pytest.approx(1.0 + 5 * 0.09)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.zeros((2, 3)), "square"),
        (np.array([[0, 2], [2, 0]]), "0 and 1"),
        (np.array([[0, 1], [0, 0]]), "symmetric"),
        (np.array([[1, 1], [1, 0]]), "loops"),
        (np.zeros((3, 3)), "an edge"),
    ],
)
def test_what_is_no_graph_is_refused(matrix: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        require_graph(matrix)


def test_bad_matrices_and_photon_numbers_are_refused() -> None:
    graph = random_graph(1, 4, 0.9)
    with pytest.raises(InputError, match="transpose"):
        takagi([[0, 1], [0, 0]])
    with pytest.raises(InputError, match="mean_photons"):
        encode_graph(graph, mean_photons=0.0)
    with pytest.raises(InputError, match="transmission"):
        encode_graph(graph, mean_photons=1.0, transmission=1.1)
    with pytest.raises(InputError, match="an edge"):
        encode_graph(np.zeros((3, 3)), mean_photons=1.0)
    assert encode_graph(graph, mean_photons=1.0, detectors=Detectors()).detectors.kind == "threshold"
