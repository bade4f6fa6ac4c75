"""Independent pairs of clicks, and how many of them the corrected sampler takes."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.computing.photonics.public_data import jiuzhang_data
from tests.computing.photonics.samplers.small import FALSE_ALARM, chi_square_value, small_machine
from tiandi.computing.photonics.exact.clicks import click_cumulants, click_moments
from tiandi.computing.photonics.gaussian import Detectors, Machine
from tiandi.computing.photonics.machines import build_machine
from tiandi.computing.photonics.samplers import corrected, pair_share
from tiandi.computing.photonics.samplers.corrected import CorrectedSampler
from tiandi.computing.photonics.samplers.latent_fit import Exact, Latent, Task, fit_latent
from tiandi.computing.photonics.samplers.light import random_field
from tiandi.computing.photonics.samplers.pair_clicks import PairClicks, log_ratios
from tiandi.computing.photonics.samplers.pair_share import Triples, independent_part, strongest_triples, triple_slope

RATES = np.array([[0.0, 0.3, 0.1], [0.3, 0.0, 0.0], [0.1, 0.0, 0.0]])


def exact_of(machine: Machine) -> Exact:
    return Exact(click_moments(machine, 1), click_cumulants(machine))


def sampled_slope(samples: NDArray[np.uint8], triples: Triples) -> float:
    """Slope of the samples' three-mode cumulants over the exact ones."""
    bits = np.packbits(samples.T, axis=1)
    moments = np.array([np.bitwise_count(bits[i] & bits[j] & bits[k]).sum() for i, j, k in triples.rows]) / len(samples)
    rates, covariance = samples.mean(axis=0), np.cov(samples.T.astype(np.float32))
    i, j, k = triples.rows.T
    lower = covariance[i, j] * rates[k] + covariance[i, k] * rates[j] + covariance[j, k] * rates[i] + rates[i] * rates[j] * rates[k]
    return float((moments - lower) @ triples.cumulants / (triples.cumulants @ triples.cumulants))


def test_patterns_of_pairs_are_those_of_poisson_numbers() -> None:
    rows = np.zeros((200_000, 3), np.uint8)
    PairClicks(RATES).add(rows, np.random.default_rng(1))
    exact = np.zeros(8)
    for here in np.ndindex(2, 2):
        chance = np.prod(np.where(here, 1 - np.exp([-0.3, -0.1]), np.exp([-0.3, -0.1])))
        exact[(0b011 if here[0] else 0) | (0b101 if here[1] else 0)] += chance
    possible = exact > 0
    assert not np.bincount(rows @ [1, 2, 4], minlength=8)[~possible].any()
    assert chi_square_value(rows, np.where(possible, exact, 1e-300)) > FALSE_ALARM


def test_logarithms_of_dark_probabilities_add_up() -> None:
    pairs = PairClicks(RATES)
    rates = 1 - pairs.dark
    covariance = np.outer(pairs.dark, pairs.dark) * (pairs.gain - 1)
    np.testing.assert_allclose(log_ratios(rates, covariance), RATES, atol=1e-12)
    assert pairs.mean_number == pytest.approx(0.4)


def test_pairs_leave_rates_and_covariances_the_exact_ones_and_their_triples_are_foretold(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = small_machine(6)
    exact = exact_of(machine)
    pairs = PairClicks(0.3 * np.maximum(log_ratios(exact.rates, exact.covariance), 0.0))
    monkeypatch.setattr(corrected, "choose_pairs", lambda *_: pairs)
    samples = CorrectedSampler(machine, np.random.default_rng(1), draws=60_000, noise=1.0).sample(400_000, np.random.default_rng(2))
    found = np.cov(samples.T)
    first, second = np.triu_indices(6, 1)
    np.testing.assert_allclose(samples.mean(axis=0), exact.rates, atol=4e-3)
    np.testing.assert_allclose(found[first, second], exact.covariance[first, second], atol=4e-3)
    latent = Latent(np.zeros(6), np.ones(6), pairs=pairs)
    task = Task(random_field(machine, "squeezed"), machine.detectors, 1.0, True, exact)
    fit_latent(task, latent, np.random.default_rng(1), 60_000)
    triples = strongest_triples(machine, exact)
    foretold = triple_slope(task, latent, triples, np.random.default_rng(2))
    assert sampled_slope(samples, triples) == pytest.approx(foretold, abs=0.1)


def test_cumulants_of_triples_are_the_exact_ones() -> None:
    machine = small_machine(5)
    triples = strongest_triples(machine, exact_of(machine))
    one, two = click_moments(machine, 1), click_cumulants(machine)
    for (i, j, k), value in zip(triples.rows, triples.cumulants, strict=True):
        lower = two[i, j] * one[k] + two[i, k] * one[j] + two[j, k] * one[i] + one[i] * one[j] * one[k]
        assert value == pytest.approx(click_moments(machine, 3, np.array([[i, j, k]]))[0] - lower, abs=1e-12)
    assert {tuple(row) for row in triples.rows.tolist()} == set(combinations(range(5), 3))


def test_a_correlation_is_split_into_a_common_and_an_independent_part() -> None:
    correlations = np.array([[1.0, 0.4, 0.1], [0.4, 1.0, 0.2], [0.1, 0.2, 1.0]])
    own, mixing = independent_part(correlations)
    np.testing.assert_allclose(mixing.T @ mixing + own * np.eye(3), correlations, atol=1e-6)
    assert own == pytest.approx(np.linalg.eigvalsh(correlations)[0])


def test_weak_light_takes_pairs_and_its_three_mode_cumulants_are_near_the_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_share, "BLOCKS", 16)
    machine = build_machine("jiuzhang-2.0-0.15w", data=jiuzhang_data())
    machine = replace(machine, transfer=machine.transfer[:32])
    sampler = CorrectedSampler(machine, np.random.default_rng(1), draws=20_000)
    assert "independent pairs of clicks" in sampler.describe()
    samples = sampler.sample(200_000, np.random.default_rng(2))
    assert sampled_slope(samples, strongest_triples(machine, exact_of(machine))) == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize(("strength", "dark_count_probability"), [(0.0, 0.0), (0.0, 0.1), (1.0, 0.999)])
def test_without_light_or_hardly_any_darkness_there_are_no_pairs(strength: float, dark_count_probability: float) -> None:
    machine = small_machine(strength=strength, detectors=Detectors(dark_count_probability=dark_count_probability))
    sampler = CorrectedSampler(machine, np.random.default_rng(1), draws=2000)
    assert "independent pairs" not in sampler.describe()
    assert sampler.sample(5000, np.random.default_rng(2)).mean() == pytest.approx(dark_count_probability, abs=0.01)
