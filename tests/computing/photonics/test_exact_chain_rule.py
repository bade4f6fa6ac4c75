"""Exact samples against exact distributions. Every chi-square test has a false-alarm rate of 1e-4."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.stats import chi2

from tests.computing.photonics.public_data import jiuzhang_data
from tests.computing.photonics.states import random_machine, random_state
from tiandi.computing.photonics.exact.chain_kernels import draw_later_light
from tiandi.computing.photonics.exact.chain_rule import bargmann_quadratic, pure_with_noise, sample_exact, sample_state
from tiandi.computing.photonics.exact.clicks import click_moments, pattern_probabilities
from tiandi.computing.photonics.exact.costs import cost_of_exact
from tiandi.computing.photonics.exact.photon_numbers import bin_distribution, photon_probability
from tiandi.computing.photonics.exact.totals import total_photon_distribution
from tiandi.computing.photonics.gaussian import Detectors, FloatArray, Machine
from tiandi.computing.photonics.machines import build_machine
from tiandi.errors import InputError

FALSE_ALARMS = 1e-4


def _agrees(observed: FloatArray, probabilities: FloatArray) -> bool:
    """Whether counts follow probabilities, those expected below 5 times together in one class."""
    expected = probabilities * observed.sum()
    rare = expected < 5
    seen = np.append(observed[~rare], observed[rare].sum())
    wanted = np.append(expected[~rare], observed.sum() - expected[~rare].sum())
    kept = wanted > 0.5
    statistic = ((seen - wanted)[kept] ** 2 / wanted[kept]).sum()
    return bool(statistic < chi2.isf(FALSE_ALARMS, kept.sum() - 1))


def _patterns(samples: np.ndarray) -> FloatArray:
    modes = samples.shape[1]
    return np.bincount((samples.astype(int) << np.arange(modes)).sum(axis=1), minlength=1 << modes).astype(float)


@pytest.mark.parametrize("transmission", [0.6, 1.0])
@pytest.mark.parametrize("displacement", [0.0, 0.8])
def test_clicks_follow_the_exact_patterns(transmission: float, displacement: float) -> None:
    state = random_state(21, 6, displacement=displacement, transmission=transmission)
    samples = sample_state(state, 12_000, np.random.default_rng(1), threshold=True)
    assert samples.max() == 1
    assert _agrees(_patterns(samples), pattern_probabilities(state, np.arange(6)))


@pytest.mark.parametrize("transmission", [0.6, 1.0])
def test_photon_numbers_follow_their_exact_probabilities(transmission: float) -> None:
    state = random_state(22, 3, displacement=0.4, transmission=transmission)
    samples = sample_state(state, 12_000, np.random.default_rng(2), threshold=False)
    observed = np.zeros((6, 6, 6))
    np.add.at(observed, tuple(np.minimum(samples, 5).T), 1)
    probabilities = np.zeros((6, 6, 6))
    for counts in product(range(5), repeat=3):
        probabilities[counts] = photon_probability(state, counts)
    inner = observed[:5, :5, :5]
    flat = np.append(inner.ravel(), observed.sum() - inner.sum())
    assert _agrees(flat, np.append(probabilities[:5, :5, :5].ravel(), 1 - probabilities.sum()))


def test_numbers_thresholded_and_clicks_are_the_same_distribution() -> None:
    state = random_state(23, 4)
    numbers = sample_state(state, 8_000, np.random.default_rng(3), threshold=False)
    assert _agrees(_patterns(numbers > 0), pattern_probabilities(state, np.arange(4)))
    total = total_photon_distribution(state)
    observed = np.bincount(np.minimum(numbers.sum(axis=1), len(total) - 1), minlength=len(total)).astype(float)
    assert _agrees(observed, total)


def test_machines_with_dark_counts_and_distinguishable_light() -> None:
    machine = random_machine(24, 4, 2, share=0.6, detectors=Detectors(dark_count_probability=0.05))
    samples = sample_exact(machine, 8_000, np.random.default_rng(4))
    assert _agrees(_patterns(samples), pattern_probabilities(machine, np.arange(4)))


def test_pseudo_number_detectors() -> None:
    machine = random_machine(25, 2, 2, detectors=Detectors("pseudo-number", 3, 0.02))
    samples = sample_exact(machine, 8_000, np.random.default_rng(5))
    observed = np.zeros((4, 4))
    np.add.at(observed, tuple(samples.T), 1)
    assert _agrees(observed.ravel(), bin_distribution(machine, [0, 1], 3).ravel())


def test_a_passive_interferometer_keeps_the_distribution_of_photons() -> None:
    machine = random_machine(26, 3, 3, transmission=1.0)
    samples = sample_state(machine.state(), 4_000, np.random.default_rng(6), threshold=False)
    assert (samples.sum(axis=1) % 2 == 0).all()


def test_samples_do_not_depend_on_workers() -> None:
    state = random_state(27, 5)
    one, two = (sample_state(state, 100, np.random.default_rng(7), threshold=True, workers=workers) for workers in (1, 2))
    assert np.array_equal(one, two)


def test_pure_part_is_pure_and_noise_is_noise() -> None:
    state = random_state(28, 5)
    split = pure_with_noise(state)
    pure = split.heterodyne_root @ split.heterodyne_root.T - np.eye(10)
    assert np.linalg.det(pure) == pytest.approx(1)
    np.testing.assert_allclose(pure + split.noise_root @ split.noise_root.T, state.covariance, atol=1e-10)
    np.testing.assert_allclose(split.quadratic, bargmann_quadratic(pure), atol=1e-10)


def test_later_light_of_one_photon_is_the_vacuum() -> None:
    """One photon leaves nothing: then b is a vacuum's heterodyne outcome, of mean |b|^2 1, and 1 - t is uniform."""
    generator = np.random.default_rng(8)
    drawn = np.array([draw_later_light(np.array([0.3 + 0j, 1.0, 0.0]), generator) for _ in range(20_000)])
    assert np.mean(np.abs(drawn) ** 2) == pytest.approx(0.5, abs=5 * np.std(np.abs(drawn) ** 2) / np.sqrt(20_000))


def test_weak_jiuzhang_has_the_rates_of_its_state() -> None:
    machine = build_machine("jiuzhang-2.0-0.15w", data=jiuzhang_data())
    samples = sample_exact(machine, 400, np.random.default_rng(9), workers=1)
    rates = click_moments(machine, 1)
    totals = samples.sum(axis=1)
    assert abs(totals.mean() - rates.sum()) < 4.5 * totals.std() / 20
    assert ((samples.mean(axis=0) - rates) ** 2 / (rates * (1 - rates) / 400)).sum() < chi2.isf(1e-6, 144)


def test_cost_is_told_before_and_too_much_is_refused() -> None:
    machine = build_machine("jiuzhang-2.0-1.65w")
    cost = cost_of_exact(machine)
    assert cost.mean_count == pytest.approx(click_moments(machine, 1).sum(), rel=0.02)
    assert cost.worst_seconds(1000) > cost.mean_seconds
    with pytest.raises(InputError, match=r"would take .* s on 1 threads; .* counts"):
        sample_exact(machine, 10, np.random.default_rng(1), workers=1)
    with pytest.raises(InputError, match="counts of one sample"):
        sample_state(random_state(29, 6, displacement=2.0), 50, np.random.default_rng(1), threshold=True, largest=3)
    wide = Machine("wide", np.array([0.1, 0.1]), np.full((1200, 2), 0.01 + 0j))
    with pytest.raises(InputError, match="modes"):
        sample_exact(wide, 1, np.random.default_rng(1))


def test_cost_of_number_detectors_is_of_photons() -> None:
    machine = replace(random_machine(30, 4, 3), detectors=Detectors("number"))
    assert cost_of_exact(machine).mean_count == pytest.approx(machine.state().mean_photon_numbers.sum(), rel=1e-6)
