"""Photon numbers, bins and totals against thewalrus, closed forms and sums over patterns."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import thewalrus
from hypothesis import given, settings
from hypothesis import strategies as st
from thewalrus.quantum import density_matrix_element

from tests.computing.photonics.states import random_machine, random_state
from tiandi.computing.photonics.exact.clicks import click_probability
from tiandi.computing.photonics.exact.photon_numbers import bin_distribution, loop_hafnian, number_distribution, photon_probability
from tiandi.computing.photonics.exact.subsets import single_photon_moments
from tiandi.computing.photonics.exact.totals import (
    exact_click_distribution,
    grouped_click_distribution,
    positive_p_intensities,
    total_click_distribution,
    total_photon_distribution,
)
from tiandi.computing.photonics.gaussian import Detectors, GaussianState
from tiandi.errors import InputError


@pytest.mark.slow
@pytest.mark.parametrize("displacement", [0.0, 0.7])
@pytest.mark.parametrize("transmission", [0.6, 1.0])
def test_photon_probabilities_are_those_of_thewalrus(displacement: float, transmission: float) -> None:
    state = random_state(2, 4, displacement=displacement, transmission=transmission)
    for counts in ([0, 0, 0, 0], [1, 0, 2, 1], [0, 3, 1, 0], [2, 2, 1, 1], [1, 1, 1, 1], [0, 0, 4, 0]):
        theirs = density_matrix_element(state.mean, state.covariance, counts, counts).real
        assert photon_probability(state, counts) == pytest.approx(theirs, rel=1e-10, abs=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize("counts", [[1] * 7, [1] * 16, [2, 1, 3, 1], [3, 3, 2, 2, 2], [2, 2, 2], [4, 4, 4, 4, 4, 4]])
def test_loop_hafnians_are_those_of_thewalrus(counts: list[int]) -> None:
    generator = np.random.default_rng(5)
    size = len(counts)
    matrix = generator.standard_normal((size, size)) + 1j * generator.standard_normal((size, size))
    matrix, loops = matrix + matrix.T, generator.standard_normal(size) + 0.5j
    rows = np.repeat(np.arange(size), counts)
    full = matrix[np.ix_(rows, rows)]
    np.fill_diagonal(full, loops[rows])
    theirs = thewalrus.hafnian(full, loop=True)
    assert loop_hafnian(matrix, loops, np.array(counts)) == pytest.approx(theirs, rel=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.floats(0, 2 * np.pi))
def test_phases_of_a_loop_hafnian_come_out_as_they_go_in(seed: int, size: int, phase: float) -> None:
    generator = np.random.default_rng(seed)
    matrix = generator.standard_normal((size, size)) + 1j * generator.standard_normal((size, size))
    matrix, loops, ones = matrix + matrix.T, generator.standard_normal(size) + 0j, np.ones(size, int)
    turn, order = np.exp(1j * phase), generator.permutation(size)
    turned = loop_hafnian(turn**2 * matrix[np.ix_(order, order)], turn * loops[order], ones)
    expected = turn**size * loop_hafnian(matrix, loops, ones)
    assert abs(turned - expected) < 1e-9 * max(1.0, abs(expected))
    pairs = np.zeros(1, complex)
    single_photon_moments(matrix, loops, np.zeros(size, complex), pairs)
    assert abs(pairs[0] - loop_hafnian(matrix, loops, ones)) < 1e-9 * max(1.0, abs(pairs[0]))


@pytest.mark.parametrize("displacement", [0.0, 0.5])
def test_total_photons_are_sums_of_patterns(displacement: float) -> None:
    state = random_state(11, 2, displacement=displacement)
    total = total_photon_distribution(state)
    for number in range(5):
        patterns = [counts for counts in product(range(number + 1), repeat=2) if sum(counts) == number]
        assert total[number] == pytest.approx(sum(photon_probability(state, counts) for counts in patterns), rel=1e-9)
    assert total.sum() == pytest.approx(1)
    assert total @ np.arange(len(total)) == pytest.approx(state.mean_photon_numbers.sum(), rel=1e-9)


def test_pure_light_has_pairs_only_and_interferometers_keep_its_photons() -> None:
    machine = random_machine(6, 4, 4, transmission=1.0)
    total = total_photon_distribution(machine.state())
    assert total[1::2].max() < 1e-14
    unmixed = replace(machine, transfer=np.eye(4, dtype=complex))
    np.testing.assert_allclose(total_photon_distribution(unmixed.state())[:30], total[:30], atol=1e-13)


def test_one_mode_of_thermal_light_is_geometric() -> None:
    state = GaussianState(np.diag([3.0, 5.0, 3.0, 5.0]), np.zeros(4))
    np.testing.assert_allclose(number_distribution(state, 0, 10), 0.5 ** np.arange(1, 12), rtol=1e-10)
    np.testing.assert_allclose(number_distribution(state, 1, 10), (1 / 3) * (2 / 3) ** np.arange(11), rtol=1e-10)


@pytest.mark.parametrize("light", [random_state(1, 3, displacement=0.4), random_machine(2, 3, 3)])
def test_bins_hold_the_photons_that_fall_into_them(light: GaussianState) -> None:
    bins, largest = 4, 60
    state = light if isinstance(light, GaussianState) else light.state()
    photons = number_distribution(state, 1, largest)
    occupied = np.zeros(bins + 1)
    occupied[0] = 1.0
    expected = photons[0] * occupied
    for number in range(1, largest + 1):
        stays, grows = np.arange(bins + 1) / bins, 1 - np.arange(bins + 1) / bins
        occupied = occupied * stays + np.concatenate([[0], (occupied * grows)[:-1]])
        expected = expected + photons[number] * occupied
    np.testing.assert_allclose(bin_distribution(light, [1], bins), expected, atol=1e-9)


def test_joint_bins_have_the_right_margins_and_one_bin_is_a_click() -> None:
    machine = random_machine(3, 4, 3, share=0.9, detectors=Detectors("pseudo-number", 3, 0.01))
    joint = bin_distribution(machine, [0, 2], 3)
    assert joint.sum() == pytest.approx(1)
    np.testing.assert_allclose(joint.sum(axis=1), bin_distribution(machine, [0], 3), atol=1e-12)
    np.testing.assert_allclose(joint.sum(axis=0), bin_distribution(machine, [2], 3), atol=1e-12)
    state = random_state(4, 2)
    clicks = bin_distribution(state, [0, 1], 1)
    for pattern in product((0, 1), repeat=2):
        assert clicks[pattern] == pytest.approx(click_probability(state, pattern), abs=1e-13)


@pytest.mark.parametrize("light", [random_state(12, 6, displacement=0.3), random_machine(13, 6, 5), random_machine(14, 5, 3, share=0.8)])
def test_phase_space_totals_agree_with_enumeration(light: GaussianState) -> None:
    """Each of some 7 entries lies within 5 standard errors: false alarms below 1e-5."""
    estimate = total_click_distribution(light, generator=np.random.default_rng(1), draws=40_000)
    exact = exact_click_distribution(light, np.arange(light.modes))
    assert (np.abs(estimate.values - exact) < 5 * estimate.errors + 1e-9).all()
    assert estimate.errors.max() < 0.01


def test_grouped_clicks_have_the_total_as_their_diagonals() -> None:
    machine = random_machine(15, 6, 5)
    groups = [np.array([0, 3]), np.array([1, 2, 4, 5])]
    joint = grouped_click_distribution(machine, groups, generator=np.random.default_rng(2), draws=20_000)
    assert joint.values.shape == (3, 5)
    exact = exact_click_distribution(machine, [0, 3])
    assert (np.abs(joint.values.sum(axis=1) - exact) < 5 * np.linalg.norm(joint.errors)).all()
    assert joint.values.sum() == pytest.approx(1, abs=1e-9)


def test_pseudo_number_totals_count_bins() -> None:
    machine = random_machine(16, 2, 2, detectors=Detectors("pseudo-number", 3, 0.02))
    estimate = total_click_distribution(machine, generator=np.random.default_rng(3), draws=40_000)
    joint = bin_distribution(machine, [0, 1], 3)
    exact = [np.trace(joint[:, ::-1], 3 - total) for total in range(7)]
    assert (np.abs(estimate.values - exact) < 5 * estimate.errors + 1e-9).all()


def test_positive_p_has_the_mean_photons_of_the_state() -> None:
    state = random_state(17, 4, displacement=0.5)
    drawn = positive_p_intensities(state, 100_000, np.random.default_rng(4))
    errors = drawn.std(axis=0) / np.sqrt(len(drawn))
    assert (np.abs(drawn.mean(axis=0) - state.mean_photon_numbers) < 5 * errors).all()


def test_bad_input_is_named() -> None:
    state = random_state(1, 4)
    with pytest.raises(InputError, match="counts"):
        photon_probability(state, [1, -1, 0, 0])
    with pytest.raises(InputError, match="hafnian"):
        photon_probability(state, [9, 9, 9, 9])
    with pytest.raises(InputError, match="groups"):
        grouped_click_distribution(state, [np.array([0]), np.array([0])], generator=np.random.default_rng(1))
    with pytest.raises(InputError, match="outcomes"):
        bin_distribution(random_state(1, 8), np.arange(8), 8)
