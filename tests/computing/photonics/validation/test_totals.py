"""Distributions of totals against brute force, other ways, and the law of chi-square."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats

from tests.computing.photonics.validation.small import MODES, drawn, exact_samples, ideal_patterns, small_machine
from tiandi.computing.photonics.exact.chain_rule import sample_exact
from tiandi.computing.photonics.exact.light import seen_state
from tiandi.computing.photonics.exact.photon_numbers import photon_probability
from tiandi.computing.photonics.gaussian import Detectors, Machine
from tiandi.computing.photonics.machines import haar_columns
from tiandi.computing.photonics.validation.bayesian import mock_up_law
from tiandi.computing.photonics.validation.grouped import exact_grouped, ideal_totals, photon_totals
from tiandi.computing.photonics.validation.ideal import count_moments
from tiandi.computing.photonics.validation.ranking import rank
from tiandi.computing.photonics.validation.tally import Extent, Plan, close_modes, make_plan, tally
from tiandi.computing.photonics.validation.totals import (
    Distribution,
    absolute_noise,
    counted_fit,
    of_sums,
    published_total_scores,
    total_scores,
)


def plan_of(machine: Machine) -> Plan:
    generator = np.random.default_rng(1)
    close = close_modes(machine, generator)
    return make_plan(machine, close, np.eye(len(close)), generator, Extent(small=4, large=2, partitions=2))


def test_noise_of_a_distance_is_the_mean_absolute_deviation_of_the_binomial_law() -> None:
    for samples, chance in ((30, 0.004), (30, 0.3), (1000, 0.05), (7, 1.0)):
        counts = np.arange(samples + 1)
        expected = (np.abs(counts / samples - chance) * stats.binom.pmf(counts, samples, chance)).sum()
        assert absolute_noise(np.array([chance]), samples)[0] == pytest.approx(expected, abs=1e-12)


def test_exact_grouped_distributions_are_sums_of_pattern_probabilities() -> None:
    machine = small_machine()
    plan = plan_of(machine)
    on = (np.arange(1 << MODES)[:, None] >> np.arange(MODES)) & 1
    for inside, found in zip(plan.inside.T, exact_grouped(machine, plan), strict=True):
        for first in range(5):
            for second in range(5):
                chosen = (on @ inside == first) & (on @ (1 - inside) == second)
                assert found.probabilities[first, second] == pytest.approx(ideal_patterns()[chosen].sum(), abs=1e-12)


@pytest.mark.parametrize("indistinguishability", [1.0, 0.7])
def test_sampled_distributions_are_exact_within_their_errors(indistinguishability: float, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = replace(small_machine(), indistinguishability=indistinguishability, detectors=Detectors(dark_count_probability=0.02))
    plan = plan_of(machine)
    exact = exact_grouped(machine, plan)
    monkeypatch.setattr("tiandi.computing.photonics.validation.grouped.MOST_EXACT", 0)
    total, grouped = ideal_totals(machine, plan, np.random.default_rng(2), 100_000)
    assert total is not None
    for found, known in zip(grouped, exact, strict=True):
        deviations = (found.probabilities - known.probabilities) / np.maximum(found.errors, 1e-6)
        assert np.abs(deviations).max() < 5.5
        assert np.sqrt((deviations**2).mean()) < 1.6
    assert np.abs(total.probabilities - of_sums(exact[0].probabilities, MODES)).sum() / 2 < 4 * total.errors.sum()


def test_bins_of_a_pseudo_number_detector_are_threshold_detectors_on_shares_of_its_light() -> None:
    machine = replace(small_machine(), transfer=small_machine().transfer[:3], detectors=Detectors("pseudo-number", 3, 0.01))
    spread = replace(machine, transfer=np.repeat(machine.transfer, 3, axis=0) / np.sqrt(3), detectors=Detectors("threshold", 1, 0.01))
    total, _ = ideal_totals(machine, plan_of(machine), np.random.default_rng(3), 100_000)
    known, _ = ideal_totals(spread, plan_of(spread), np.random.default_rng(3), 1)
    assert total is not None
    assert known is not None
    assert known.source == "exact"
    assert (np.abs(total.probabilities - known.probabilities) < 5 * total.errors + 1e-6).all()


@pytest.mark.parametrize("indistinguishability", [1.0, 0.6])
def test_dark_counts_of_number_detectors_are_one_at_most_for_samples_totals_and_moments(indistinguishability: float) -> None:
    """Exact samples, the judge's totals and its moments against photon numbers by brute force with a dark count of a coin each."""
    dark = 0.3
    machine = Machine(
        "three",
        np.array([0.5, -0.4]),
        np.sqrt(0.8) * haar_columns(3, 2, np.random.default_rng(6)),
        indistinguishability,
        Detectors("number", 1, dark),
    )
    state, detector = seen_state(machine)
    table = np.zeros((9, 9, 9))
    for photons in product(range(8), repeat=3):
        if sum(photons) <= 8 and indistinguishability == 1:
            table[photons] = photon_probability(state, photons)
    samples = sample_exact(machine, 20_000, np.random.default_rng(7), workers=1)
    if indistinguishability == 1:
        for axis in range(3):
            table = (1 - dark) * table + dark * np.roll(table, 1, axis=axis)
        assert table.sum() == pytest.approx(1, abs=2e-3)
        expected = 20_000 * table.ravel()
        found = np.bincount(np.ravel_multi_index(tuple(np.minimum(samples, 8).T), (9, 9, 9)), minlength=729)
        full = expected > 8
        assert stats.chi2.sf(((found - expected)[full] ** 2 / expected[full]).sum(), full.sum()) > 1e-5
    total = photon_totals(machine).probabilities[:12]
    expected = 20_000 * total
    found = np.bincount(samples.sum(axis=1), minlength=12)[:12]
    full = expected > 8
    assert stats.chi2.sf(((found - expected)[full] ** 2 / expected[full]).sum(), full.sum()) > 1e-5
    moments = count_moments(machine, np.arange(3), np.zeros(1, np.int64))
    covariance = np.cov(samples.T.astype(float))
    assert np.abs(samples.mean(axis=0) - moments.rates).max() < 5 * np.sqrt(covariance.diagonal().max() / 20_000)
    np.testing.assert_allclose(covariance, moments.pairs, rtol=0.1, atol=0.02)
    assert len(detector) == state.modes


def test_detectors_in_the_dark_give_their_dark_counts_only() -> None:
    machine = Machine("dark", np.zeros(1), np.zeros((2, 1), complex), 1.0, Detectors("number", 1, 0.4))
    assert sample_exact(machine, 1000, np.random.default_rng(8), workers=1).max() == 1
    np.testing.assert_allclose(photon_totals(machine).probabilities[:3], [0.36, 0.48, 0.16])
    np.testing.assert_allclose(count_moments(machine, np.arange(2), np.zeros(1, np.int64)).pairs, 0.24 * np.eye(2), atol=1e-12)


def test_chi_square_of_exact_samples_follows_its_law() -> None:
    """Sixty sets of samples: mean 1 and the scatter of chi-square; false alarms of this test below 1e-4."""
    machine = small_machine()
    plan, generator = plan_of(machine), np.random.default_rng(4)
    ideal = exact_grouped(machine, plan)[0]
    found = []
    for _ in range(60):
        counted = tally(plan, exact_samples(4000, generator))
        found.append(counted_fit(counted.grouped[:, 0], counted.samples, ideal))
    assert np.mean([item.chi_square.value for item in found]) == pytest.approx(1.0, abs=4 * found[0].chi_square.error / np.sqrt(60))
    assert np.abs(np.mean([item.z for item in found])) < 4 / np.sqrt(60)
    assert np.mean([item.distance.value for item in found]) == pytest.approx(found[0].distance.ideal, rel=0.12)


def test_the_same_light_is_as_close_with_few_samples_as_with_many() -> None:
    """A distance less its noise made few samples win, 24 times of 40; ranked are the roots of differences of squares."""
    machine, generator = small_machine(), np.random.default_rng(3)
    plan = plan_of(machine)
    ideal = exact_grouped(machine, plan)[0]
    law = mock_up_law(machine, "squashed", generator).patterns(np.arange(MODES))
    results = []
    for _ in range(20):
        few, many = (tally(plan, drawn(law, number, generator)) for number in (3000, 100_000))
        two = [{"halves_distance": counted_fit(counted.grouped[:, 0], counted.samples, ideal).distance} for counted in (few, many)]
        results.append(rank(dict(zip(("few", "many"), two, strict=True)))[0].won)
    assert results.count(0.5) >= 17


def test_the_error_of_an_ideal_that_is_sampled_is_in_the_error_of_the_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two million exact samples against a poorly known ideal: without it, up to 18 standard errors off."""
    machine = small_machine()
    plan = plan_of(machine)
    counted = tally(plan, exact_samples(2_000_000, np.random.default_rng(100)))
    monkeypatch.setattr("tiandi.computing.photonics.validation.grouped.MOST_EXACT", 0)
    for seed in range(4):
        total, grouped = ideal_totals(machine, plan, np.random.default_rng(seed), 20_480)
        assert total is not None
        assert abs(counted_fit(counted.totals, counted.samples, total).distance.deviations) < 4
        assert abs(counted_fit(counted.grouped[:, 1], counted.samples, grouped[1]).distance.deviations) < 4


def test_error_bars_of_the_total_cover() -> None:
    machine = small_machine()
    plan, generator = plan_of(machine), np.random.default_rng(5)
    chances = of_sums(exact_grouped(machine, plan)[0].probabilities, MODES)
    values = np.arange(len(chances))
    mean = float(chances @ values)
    deviation = float(np.sqrt(chances @ (values - mean) ** 2))
    within = np.zeros(2)
    for _ in range(80):
        counted = tally(plan, exact_samples(2000, generator))
        scores = total_scores(counted.totals, counted.samples, mean=mean, deviation=deviation, ideal=None)
        within += [abs(scores.mean.deviations) < 2, abs(scores.deviation.deviations) < 2]
    assert (within > 67).all(), within


def test_published_totals_have_the_errors_of_their_own_moments() -> None:
    shares = stats.binom.pmf(np.arange(21), 20, 0.4)
    scores = published_total_scores(shares, 10_000, mean=8.0, deviation=2.0, ideal=Distribution(shares, np.zeros(21), "exact"))
    assert scores.mean.error == pytest.approx(np.sqrt(4.8 / 10_000))
    draws = np.random.default_rng(6).binomial(20, 0.4, (400, 10_000)).std(axis=1)
    assert scores.deviation.error == pytest.approx(draws.std(), rel=0.15)
    assert scores.fit is not None
    assert scores.fit.chi_square.value == pytest.approx(0.0, abs=1e-9)
