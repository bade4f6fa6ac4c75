"""Cliffords of pairs against their known number, and sequences against plain matrices."""

from __future__ import annotations

import numpy as np

from tiandi.computing.control.experiments.cliffords import PULSES
from tiandi.computing.control.experiments.cross_entropy_benchmarking import sequences as random_circuits
from tiandi.computing.control.experiments.pair_cliffords import SIZES, pair_group, rows, sequences
from tiandi.computing.control.experiments.pair_layers import CZ, HALF_TURNS, REST, rotation, row_of


def played(order: list[int]) -> np.ndarray:
    """(4, 4): rows of a table as matrices, one after another."""
    turns = [*(rotation(*pulse) for pulse in PULSES), np.eye(2)]
    state = np.eye(4, dtype=complex)
    for row in order:
        gate = np.diag([1, 1, 1, -1]) if row == CZ else np.kron(turns[row // (REST + 1)], turns[row % (REST + 1)])
        state = gate @ state
    return state


def test_there_are_11520_all_different_with_one_and_a_half_cz_on_average() -> None:
    assert sum(SIZES) == 11_520
    assert len(pair_group().place) == 11_520
    assert np.mean([rows(number).count(CZ) for number in range(11_520)]) == 1.5


def test_pulses_make_the_clifford_they_are_for() -> None:
    every = pair_group()
    for number in range(0, 11_520, 37):
        overlap = np.trace(played(rows(number)).conj().T @ every.unitary[number])
        assert abs(abs(overlap) - 4.0) < 1e-9


def test_sequences_end_where_they_began() -> None:
    for interleaved in (False, True):
        order = sequences(np.array([1, 3, 9]), interleaved=interleaved, name="test")
        for row in order[0]:
            assert abs(abs(played([one for one in row.tolist() if one >= 0])[0, 0]) - 1.0) < 1e-9


def test_random_circuits_have_the_probabilities_of_their_matrices() -> None:
    order, ideal = random_circuits(np.array([1, 5]), 3, name="test")
    for row, wanted in zip(order[0], ideal, strict=True):
        layers = [CZ if one == HALF_TURNS**2 else row_of(*divmod(one, HALF_TURNS)) for one in row.tolist() if one >= 0]
        assert np.allclose(np.abs(played(layers)[:, 0]) ** 2, wanted)
