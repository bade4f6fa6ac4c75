"""Readout: means, assignment and shots agree with each other; sampling by chi-square at a stated rate of false alarm."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tiandi.computing.chip.reading import counted
from tiandi.computing.chip.readout import Signals, assignment, classify, draw_shots, moments

FALSE_ALARM = 1e-6
CENTRES = np.array([[0.0, 4.0 + 0.5j, 2.5 - 3.5j]])


def a_signal(jumps: float = 0.3) -> Signals:
    jump = np.zeros((1, 3, 3))
    jump[0, 1, 0], jump[0, 2, 1], jump[0, 0, 1], jump[0, 0, 2] = jumps, 2 * jumps, 0.1 * jumps, 0.05 * jumps
    return Signals(CENTRES.copy(), np.array([1.1]), jump)


@pytest.mark.parametrize("state", [0, 1, 2])
def test_assignment_is_what_shots_are_called(state: int) -> None:
    shots = 400_000
    read = a_signal()
    points = draw_shots(np.random.default_rng(state), read, np.full((1, shots), state))
    threshold = np.array([0.4])
    called = np.bincount(classify(points, CENTRES, threshold)[0], minlength=3)
    expected = assignment(read, CENTRES, threshold)[0, state] * shots
    # The 41 points across leave an error of some 1e-4 of the shots: it is allowed beside the chi-square of the counts.
    slack = 4e-4 * shots
    distance = np.maximum(np.abs(called - expected) - slack, 0.0)
    assert stats.chi2.sf((distance**2 / expected).sum(), 2) > FALSE_ALARM


@pytest.mark.parametrize("jumps", [0.0, 1e-4, 0.5])
def test_moments_are_those_of_shots(jumps: float) -> None:
    read, shots = a_signal(jumps), 200_000
    mean, in_phase, quadrature, crossed = (part[0] for part in moments(read))
    for state in range(3):
        points = draw_shots(np.random.default_rng(10 + state), read, np.full((1, shots), state))[0]
        error = 6 * np.std(points) / shots**0.5
        assert abs(points.mean() - mean[state]) < error
        assert points.real.var() == pytest.approx(in_phase[state] + 1.1**2, rel=0.03)
        assert points.imag.var() == pytest.approx(quadrature[state] + 1.1**2, rel=0.03)
        assert np.cov(points.real, points.imag)[0, 1] == pytest.approx(crossed[state], abs=0.04)


def test_without_centres_everything_is_called_zero() -> None:
    unknown = np.full((1, 3), np.nan, np.complex128)
    assert np.array_equal(assignment(a_signal(), unknown, np.zeros(1))[0], [[1, 0, 0]] * 3)


def test_two_centres_give_the_error_function() -> None:
    read = Signals(CENTRES.copy(), np.array([1.1]), np.zeros((1, 3, 3)))
    two = CENTRES.copy()
    two[0, 2] = np.nan
    half = abs(CENTRES[0, 1]) / 2
    found = assignment(read, two, np.array([0.25]))[0]
    assert found[0, 1] == pytest.approx(stats.norm.sf((half + 0.25) / 1.1), abs=1e-12)
    assert found[1, 0] == pytest.approx(stats.norm.sf((half - 0.25) / 1.1), abs=1e-12)


def test_counts_are_multinomial() -> None:
    chances, shots, repeats = np.array([0.5, 0.3, 0.2]), 1000, 20_000
    drawn = counted(np.broadcast_to(chances, (repeats, 3)), shots, np.random.default_rng(1)) * shots
    statistic = ((drawn - shots * chances) ** 2 / (shots * chances)).sum(axis=1)
    assert stats.kstest(statistic, stats.chi2(2).cdf).pvalue > FALSE_ALARM
    assert drawn.sum() == pytest.approx(shots * repeats)
