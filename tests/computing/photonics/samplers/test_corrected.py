"""The corrected sampler against exact moments; samplers that know moments only against the same."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from tests.computing.photonics.public_data import jiuzhang_data
from tests.computing.photonics.samplers.small import FALSE_ALARM, chi_square_value, small_machine
from tiandi.computing.photonics.exact.clicks import click_moments, pattern_probabilities
from tiandi.computing.photonics.exact.photon_numbers import bin_distribution
from tiandi.computing.photonics.gaussian import Detectors, Machine
from tiandi.computing.photonics.machines import build_machine
from tiandi.computing.photonics.samplers.corrected import CorrectedSampler
from tiandi.computing.photonics.samplers.detection import cumulative
from tiandi.computing.photonics.samplers.latent_fit import largest_count
from tiandi.computing.photonics.samplers.moment_based import BoltzmannSampler, GreedySampler
from tiandi.computing.photonics.samplers.normal import normal_density, normal_probability, normal_quantile
from tiandi.computing.photonics.samplers.pairs import PairsAndSinglesSampler
from tiandi.computing.photonics.samplers.phase_space import PhaseSpaceSampler
from tiandi.errors import InputError


def pair_errors(samples: NDArray[np.uint8], means: NDArray[np.float64], products: NDArray[np.float64]) -> tuple[float, float]:
    """Largest differences of means and of pairs' means of products, pairs in lexicographic order."""
    values = samples.astype(float)
    pairs = np.array([np.mean(values[:, i] * values[:, j]) for i, j in combinations(range(values.shape[1]), 2)])
    return float(np.abs(values.mean(axis=0) - means).max()), float(np.abs(pairs - products).max())


@pytest.mark.parametrize("indistinguishability", [1.0, 0.6])
def test_rates_and_pairs_of_clicks_are_the_exact_ones(indistinguishability: float) -> None:
    machine = small_machine(8, indistinguishability=indistinguishability, detectors=Detectors(dark_count_probability=0.02), strength=1.4)
    sampler = CorrectedSampler(machine, np.random.default_rng(1), draws=150_000)
    samples = sampler.sample(200_000, np.random.default_rng(2))
    rate, pair = pair_errors(samples, click_moments(machine, 1), click_moments(machine, 2))
    assert rate < 0.005
    assert pair < 0.005
    projected = PhaseSpaceSampler(machine, "squeezed").sample(200_000, np.random.default_rng(2))
    assert pair_errors(projected, click_moments(machine, 1), click_moments(machine, 2))[0] > 2 * rate


def test_means_variances_and_pairs_of_bins_are_the_exact_ones() -> None:
    machine = small_machine(3, detectors=Detectors("pseudo-number", 4, 0.01), strength=1.5)
    sampler = CorrectedSampler(machine, np.random.default_rng(1), draws=100_000)
    samples = sampler.sample(200_000, np.random.default_rng(2)).astype(float)
    counts = np.arange(5)
    table = bin_distribution(machine, [0, 1, 2], 4)
    assert sampler.name == "corrected-number"
    for mode in range(3):
        exact = np.moveaxis(table, mode, 0).reshape(5, -1).sum(axis=1)
        assert samples[:, mode].mean() == pytest.approx(counts @ exact, rel=0.02)
        assert samples[:, mode].var() == pytest.approx(counts**2 @ exact - (counts @ exact) ** 2, rel=0.03)
    covariance = np.cov(samples.T)
    for i, j in combinations(range(3), 2):
        joint = table.sum(axis=3 - i - j)
        exact = counts @ joint @ counts - (counts @ joint.sum(axis=1)) * (counts @ joint.sum(axis=0))
        assert covariance[i, j] == pytest.approx(exact, abs=0.01)


def test_means_variances_and_pairs_of_photons_are_those_of_wicks_theorem() -> None:
    machine = small_machine(3, detectors=Detectors("number"), strength=0.8)
    samples = CorrectedSampler(machine, np.random.default_rng(1), draws=40_000).sample(200_000, np.random.default_rng(2)).astype(float)
    transfer, r = machine.transfer, machine.squeezing_r
    number = (transfer.conj() * np.sinh(r) ** 2) @ transfer.T
    anomalous = (transfer * np.sinh(2 * r) / 2) @ transfer.T
    exact = np.abs(number) ** 2 + np.abs(anomalous) ** 2 + np.diag(number.diagonal().real)
    np.testing.assert_allclose(samples.mean(axis=0), number.diagonal().real, rtol=0.02)
    np.testing.assert_allclose(np.cov(samples.T), exact, atol=0.02)


def test_many_modes_only_have_their_rates_put_right() -> None:
    machine = small_machine(6, strength=1.4)
    sampler = CorrectedSampler(machine, np.random.default_rng(1), draws=60_000, pairs=False)
    samples = sampler.sample(200_000, np.random.default_rng(2))
    assert np.abs(samples.mean(axis=0) - click_moments(machine, 1)).max() < 0.005
    assert "covariance" not in sampler.describe()
    wide = Machine("wide", np.array([0.5]), np.full((2049, 1), 0.01 + 0j))
    with pytest.raises(InputError, match="modes = 2049"):
        CorrectedSampler(wide, np.random.default_rng(1), pairs=True)


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(InputError, match="draws = 100"):
        CorrectedSampler(small_machine(), np.random.default_rng(1), draws=100)


def test_correlations_that_cannot_exist_are_repaired_and_told() -> None:
    bright = Machine("pair", np.array([1.5]), np.full((3, 1), np.sqrt(1 / 3) + 0j))
    sampler = CorrectedSampler(bright, np.random.default_rng(1), draws=20_000, noise=2.0)
    assert (sampler.fit.smallest_eigenvalue < 1e-3) == (sampler.fit.repaired > 0)
    assert ("had to be changed" in sampler.describe()) == (sampler.fit.repaired > 0)


def test_jiuzhang_2_has_its_exact_rates_and_pairs() -> None:
    machine = build_machine("jiuzhang-2.0-1.65w", data=jiuzhang_data())
    sampler = CorrectedSampler(machine, np.random.default_rng(1), draws=20_000)
    samples = sampler.sample(60_000, np.random.default_rng(2)).astype(np.float32)
    rates, pairs = click_moments(machine, 1), click_moments(machine, 2)
    first, second = np.triu_indices(machine.modes, 1)
    exact = pairs - rates[first] * rates[second]
    found = np.cov(samples.T)[first, second]
    assert np.sqrt(np.mean((samples.mean(axis=0, dtype=float) - rates) ** 2)) < 4e-3
    assert found @ exact / (exact @ exact) == pytest.approx(1, abs=0.03)
    assert np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)) < 0.35


def test_counts_that_matter_end_where_single_mode_light_does() -> None:
    assert largest_count(Detectors(), 1.0) == 1
    assert largest_count(Detectors("pseudo-number", 8), 1.0) == 8
    assert 20 < largest_count(Detectors("number"), 1.0) < 60


def test_normal_functions_are_scipys_to_their_stated_error() -> None:
    values = np.linspace(-6, 6, 2001).astype(np.float32)
    np.testing.assert_allclose(normal_probability(values.copy()), ndtr(values), atol=2e-5)
    probabilities = np.concatenate([np.geomspace(1e-6, 0.5, 500), 1 - np.geomspace(1e-6, 0.5, 500)])
    single = probabilities.astype(np.float32)
    exact = ndtri(single.astype(float))
    np.testing.assert_allclose(normal_quantile(single)[:500], exact[:500], atol=1e-4)
    np.testing.assert_allclose(normal_density(values), np.exp(-(values**2) / 2) / np.sqrt(2 * np.pi), rtol=1e-4)


@pytest.mark.parametrize("detectors", [Detectors("pseudo-number", 4, 0.1), Detectors("number", 1, 0.1), Detectors("threshold", 1, 0.1)])
def test_cumulative_probabilities_rise_to_one_for_classical_light(detectors: Detectors) -> None:
    real = np.array([[0.0, 0.5, 3.0]], np.float32)
    levels = cumulative(real.copy(), np.zeros_like(real), detectors, 4 if detectors.kind == "pseudo-number" else 1)
    assert (np.diff(levels, axis=0) >= 0).all()
    bins = detectors.bins
    np.testing.assert_allclose(levels[0], (0.9 * np.exp(-real / bins)) ** bins if bins > 1 else 0.9 * np.exp(-real), rtol=1e-5)


def test_a_boltzmann_machine_of_first_order_is_independent_clicks_exactly() -> None:
    machine = small_machine()
    rates = click_moments(machine, 1)
    patterns = np.arange(16)[:, None] >> np.arange(4) & 1
    exact = np.prod(np.where(patterns == 1, rates, 1 - rates), axis=1)
    assert chi_square_value(BoltzmannSampler(machine, order=1).sample(100_000, np.random.default_rng(1)), exact) > FALSE_ALARM


def test_a_boltzmann_machine_of_second_order_is_nearer_to_pairs_than_one_of_first() -> None:
    machine = small_machine(8, transmission=0.3, strength=0.5)
    means, products = click_moments(machine, 1), click_moments(machine, 2)
    first, second = (
        pair_errors(BoltzmannSampler(machine, order=order).sample(100_000, np.random.default_rng(1)), means, products) for order in (1, 2)
    )
    assert second[0] < 0.02
    assert second[1] < first[1] / 2


def test_greedy_samples_have_exact_pairs_but_not_exact_patterns() -> None:
    machine = small_machine(6)
    samples = GreedySampler(machine).sample(20_000, np.random.default_rng(1))
    rate, pair = pair_errors(samples, click_moments(machine, 1), click_moments(machine, 2))
    assert rate < 1e-3
    assert pair < 1e-2
    assert chi_square_value(samples, pattern_probabilities(machine, range(6))) < FALSE_ALARM


def test_pairs_and_singles_are_exact_for_weak_pure_light() -> None:
    machine = small_machine(4, transmission=1.0, strength=0.08)
    sampler = PairsAndSinglesSampler(machine)
    samples = sampler.sample(400_000, np.random.default_rng(1))
    exact = pattern_probabilities(machine, range(4))
    clicked = np.bincount(samples @ (1 << np.arange(4)), minlength=16) / len(samples)
    np.testing.assert_allclose(clicked, exact, atol=2e-4)
    lossy = PairsAndSinglesSampler(small_machine(4, detectors=Detectors("number"))).sample(100_000, np.random.default_rng(1))
    expected = np.trace(np.abs(small_machine().transfer) ** 2 @ np.diag(np.sinh(small_machine().squeezing_r) ** 2) @ np.ones((4, 4)))
    assert lossy.sum(axis=1).mean() == pytest.approx(expected, rel=0.02)
