"""Clicks against thewalrus, Piquasso, an independent multiple-precision sum and brute force."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import mpmath
import numpy as np
import piquasso as pq
import pytest
import thewalrus
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.computing.photonics.states import random_machine, random_state
from tiandi.computing.photonics.exact.clicks import (
    click_cumulants,
    click_logarithms,
    click_moments,
    click_probability,
    click_probability_with_error,
    no_click_probabilities,
    pattern_probabilities,
)
from tiandi.computing.photonics.exact.kernels import all_click
from tiandi.computing.photonics.exact.light import seen_state, subset_moments
from tiandi.computing.photonics.gaussian import Detectors, GaussianState
from tiandi.errors import InputError


@pytest.mark.slow
@pytest.mark.parametrize("transmission", [0.6, 1.0])
def test_click_probabilities_are_those_of_thewalrus(transmission: float) -> None:
    state = random_state(3, 5, displacement=0.6, transmission=transmission)
    for pattern in product((0, 1), repeat=5):
        theirs = thewalrus.threshold_detection_prob(state.mean, state.covariance, np.array(pattern)).real
        assert click_probability(state, pattern) == pytest.approx(theirs, rel=1e-10, abs=1e-13)


def test_click_probabilities_are_those_of_piquasso() -> None:
    with pq.Program() as program:
        for mode, r in enumerate((0.4, -0.7, 0.9, 0.2)):
            pq.Q(mode) | pq.Squeezing(r, phi=0.3 * mode)
        for mode in range(3):
            pq.Q(mode, mode + 1) | pq.Beamsplitter(0.4 + mode, 0.7)
    state = pq.GaussianSimulator(d=4, config=pq.Config(hbar=2)).execute(program).state
    ours = GaussianState(state.xxpp_covariance_matrix / 2, state.xxpp_mean_vector)
    for pattern in product((0, 1), repeat=4):
        assert click_probability(ours, pattern) == pytest.approx(state.get_threshold_detection_probability(pattern), abs=1e-10)


def test_probability_of_many_clicks_keeps_its_digits() -> None:
    state = random_state(5, 10)
    matrices, _ = subset_moments(state, np.arange(10)[None])
    with mpmath.workdps(40):
        total = mpmath.mpf(0)
        for chosen in product((0, 1), repeat=10):
            rows = np.flatnonzero(np.repeat(chosen, 2))
            determinant = mpmath.det(mpmath.matrix(matrices[0][np.ix_(rows, rows)].tolist())) if rows.size else 1
            total += (-1) ** sum(chosen) / mpmath.sqrt(determinant)
        exact = float(total)
    found = click_probability_with_error(state, [1] * 10)
    assert found.value == pytest.approx(exact, rel=1e-13)
    assert found.relative_error < 1e-12
    doubles, _ = all_click(matrices[0], np.zeros(20), 1.0)
    assert abs(doubles - exact) > abs(found.value - exact)


@pytest.mark.parametrize("light", [random_state(7, 6, displacement=0.4), random_machine(8, 6, 4), random_machine(9, 4, 3, share=0.8)])
def test_patterns_add_up_and_agree_with_single_ones(light: GaussianState) -> None:
    modes = np.arange(light.modes)
    patterns = pattern_probabilities(light, modes)
    assert patterns.sum() == pytest.approx(1, abs=1e-12)
    for index in (0, 1, 5, len(patterns) - 1):
        assert patterns[index] == pytest.approx(click_probability(light, index >> modes & 1), rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("light", [random_state(7, 7, displacement=0.4), random_machine(8, 7, 4), random_machine(9, 5, 3, share=0.8)])
def test_moments_of_each_order_are_sums_of_patterns(light: GaussianState) -> None:
    modes = light.modes
    patterns = pattern_probabilities(light, np.arange(modes))
    bits = np.arange(len(patterns))[:, None] >> np.arange(modes) & 1
    for order in range(1, 5):
        subsets = np.array([np.random.default_rng(i).permutation(modes)[:order] for i in range(6)])
        expected = [(patterns * bits[:, subset].prod(axis=1)).sum() for subset in subsets]
        np.testing.assert_allclose(click_moments(light, order, subsets), expected, atol=1e-12)
    assert len(click_moments(light, 2)) == modes * (modes - 1) // 2
    clicks = bits.sum(axis=1)
    variance = (patterns * clicks**2).sum() - (patterns @ clicks) ** 2
    assert click_cumulants(light).sum() == pytest.approx(variance, abs=1e-11)


def test_partly_distinguishable_light_is_that_of_all_its_modes() -> None:
    machine = random_machine(4, 4, 3, share=0.7)
    state, detector = seen_state(machine)
    for subset in ([0], [1, 3], [0, 1, 2, 3]):
        modes = np.flatnonzero(np.isin(detector, subset))
        assert no_click_probabilities(machine, np.array([subset]))[0] == pytest.approx(
            no_click_probabilities(state, modes[None])[0], rel=1e-11
        )


def test_dark_counts_click_on_the_vacuum() -> None:
    machine = replace(random_machine(4, 3, 2), detectors=Detectors(dark_count_probability=0.1))
    dark = replace(machine, squeezing_r=np.zeros(2))
    assert click_probability(dark, [1, 0, 1]) == pytest.approx(0.1 * 0.9 * 0.1)
    np.testing.assert_allclose(click_moments(dark, 2), 0.01)
    assert pattern_probabilities(machine, np.arange(3))[0] == pytest.approx(
        0.9**3 * no_click_probabilities(machine.state(), np.array([[0, 1, 2]]))[0]
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.permutations(range(5)))
def test_permuted_modes_permute_patterns(seed: int, order: list[int]) -> None:
    state = random_state(seed, 5, displacement=0.3)
    pattern = np.random.default_rng(seed).integers(0, 2, 5)
    moved = state.part(np.array(order))
    assert click_probability(moved, pattern[order]) == pytest.approx(click_probability(state, pattern), rel=1e-8, abs=1e-14)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 1.0))
def test_loss_never_adds_clicks_and_ends_in_the_dark(seed: int, transmission: float) -> None:
    machine = random_machine(seed, 4, 3)
    lossy = replace(machine, transfer=np.sqrt(transmission) * machine.transfer)
    assert (click_moments(lossy, 1) <= click_moments(machine, 1) + 1e-12).all()
    assert click_moments(replace(machine, transfer=0 * machine.transfer), 1).sum() == pytest.approx(0, abs=1e-12)


def test_bad_input_is_named() -> None:
    state = random_state(1, 4)
    with pytest.raises(InputError, match="subsets"):
        click_moments(state, 2, np.array([[0, 0]]))
    with pytest.raises(InputError, match="subsets"):
        click_moments(state, 2, np.array([[0, 4]]))
    with pytest.raises(InputError, match="order"):
        click_moments(state, 13)
    with pytest.raises(InputError, match="pattern"):
        click_probability(state, [0, 1, 2, 0])
    with pytest.raises(InputError, match="modes"):
        pattern_probabilities(random_state(1, 16), np.arange(16))
    with pytest.raises(InputError, match="20,000,000"):
        click_moments(random_state(1, 40), 8)


def test_logarithms_of_whole_patterns_keep_their_digits_in_weak_light() -> None:
    """Seven clicks that come once in 10^18 times: below what doubles leave of a sum of numbers near 1."""
    machine = random_machine(18, 9, 6)
    machine = replace(machine, transfer=0.06 * machine.transfer, detectors=Detectors(dark_count_probability=1e-4))
    rows = np.zeros((3, 9), np.uint8)
    rows[1, [2, 5]] = rows[2, 1:8] = 1
    found = click_logarithms(machine.state(), rows, 1e-4)
    assert found[2] < -42
    assert np.exp(found) == pytest.approx([click_probability(machine, row) for row in rows], rel=1e-8)
    matrix = subset_moments(machine, np.array([[0, 8, 1, 2, 3, 4, 5, 6, 7]]))[0][0]
    with mpmath.workdps(50):
        total = mpmath.mpf(0)
        for chosen in product((0, 1), repeat=7):
            kept = np.flatnonzero(np.repeat((1, 1, *chosen), 2))
            silent = (mpmath.mpf(1) - mpmath.mpf(1e-4)) ** (2 + sum(chosen))
            total += (-1) ** sum(chosen) * silent / mpmath.sqrt(mpmath.det(mpmath.matrix(matrix[np.ix_(kept, kept)].tolist())))
        assert found[2] == pytest.approx(float(mpmath.log(total)), abs=1e-9)
    with pytest.raises(InputError, match="must be 0"):
        click_logarithms(random_state(1, 2, displacement=0.5), np.ones((1, 2), np.uint8))
