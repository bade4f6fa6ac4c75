"""Counting and cumulants against plain loops; error bars against repetition; the experiment's published figures."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from tests.computing.photonics.public_data import jiuzhang_data
from tiandi.computing.photonics.exact.clicks import click_moments
from tiandi.computing.photonics.machines import build_machine
from tiandi.computing.photonics.public_data import read_published
from tiandi.computing.photonics.samplers.phase_space import PhaseSpaceSampler
from tiandi.computing.photonics.validation.estimates import jackknife_error, pooled_and_left_out, root_of_square
from tiandi.computing.photonics.validation.kernels import count_patterns, count_together, pack_clicks
from tiandi.computing.photonics.validation.moments import (
    agreement,
    pair_cumulants,
    published_click_agreement,
    published_rates,
    triple_cumulants,
)


def test_pairs_triples_and_patterns_are_counted_as_a_loop_counts_them() -> None:
    samples = (np.random.default_rng(1).random((203, 7)) < 0.4).astype(np.uint8)
    packed = np.zeros((4, 7), np.uint64)
    pack_clicks(samples, packed)
    pairs, triples = np.zeros(21, np.int64), np.zeros(35, np.int64)
    count_together(np.ascontiguousarray(packed.T), pairs, triples)
    assert pairs.tolist() == [int((samples[:, i] & samples[:, j]).sum()) for i, j in combinations(range(7), 2)]
    assert triples.tolist() == [int(samples[:, list(modes)].all(axis=1).sum()) for modes in combinations(range(7), 3)]
    counts = np.zeros((2, 8), np.int64)
    count_patterns(samples, np.array([[0, 3, 5], [6, 1, 2]]), counts)
    expected = [np.bincount(samples[:, list(modes)] @ [1, 2, 4], minlength=8).tolist() for modes in ([0, 3, 5], [6, 1, 2])]
    assert counts.tolist() == expected


def test_cumulants_are_unbiased_k_statistics() -> None:
    """The mean over all samples of three drawn from a table of four patterns is the cumulant of the table."""
    table = np.array([[0, 0, 1], [1, 1, 1], [1, 0, 0], [1, 1, 0]], float)
    chances = np.array([0.1, 0.4, 0.2, 0.3])
    found_pairs, found_triple = np.zeros(3), 0.0
    for number in range(4**4):
        chosen = [number // 4**place % 4 for place in range(4)]
        weight, rows = chances[chosen].prod(), table[chosen]
        rates = rows.mean(axis=0)
        pairs = np.array([(rows[:, i] * rows[:, j]).mean() for i, j in combinations(range(3), 2)])
        found_pairs += weight * pair_cumulants(rates, pairs, 4)
        found_triple += weight * triple_cumulants(rates, pairs, np.array([rows.prod(axis=1).mean()]), 4)[0]
    means = chances @ table
    centred = table - means
    assert found_pairs == pytest.approx([chances @ (centred[:, i] * centred[:, j]) for i, j in combinations(range(3), 2)], abs=1e-12)
    assert found_triple == pytest.approx(chances @ centred.prod(axis=1), abs=1e-12)


def test_jackknife_of_a_mean_is_its_textbook_error() -> None:
    values = np.random.default_rng(2).normal(size=40)
    _, left = pooled_and_left_out(values, np.ones(40))
    assert jackknife_error(left) == pytest.approx(values.std(ddof=1) / np.sqrt(40))


def test_a_root_within_noise_of_zero_keeps_a_sensible_error_and_its_significance() -> None:
    below = root_of_square(-1e-4, 3e-4, raw_square=1e-3, noise_square=1.1e-3)
    assert below.value == pytest.approx(-0.01)
    assert below.error == pytest.approx(np.sqrt(3e-4))
    assert below.distance == 0
    assert root_of_square(9e-4, 3e-4, raw_square=2e-3, noise_square=1.1e-3).deviations == pytest.approx(3)


def test_error_bars_of_slope_and_relative_error_cover_the_truth() -> None:
    """Noise on a known departure: in 100 repetitions, within one error 68 times and within two 95, give or take chance."""
    generator = np.random.default_rng(3)
    exact = generator.normal(size=400)
    truth = 0.9 * exact + 0.1 * generator.normal(size=400)
    slope, off = truth @ exact / (exact @ exact), np.sqrt(((truth - exact) ** 2).mean() / (exact**2).mean())
    within = np.zeros((2, 2))
    for _ in range(100):
        blocks = truth + 2.0 * generator.normal(size=(20, 400))
        pooled, left = pooled_and_left_out(blocks, np.ones(20))
        found = agreement(pooled, lambda block, left=left: left[block], 20, exact)
        for row, (estimate, value) in enumerate(((found.slope, slope), (found.relative_error, off))):
            within[row] += np.abs(estimate.value - value) < np.array([1, 2]) * estimate.error
    assert ((within[:, 0] > 54) & (within[:, 0] < 84)).all(), within
    assert (within[:, 1] > 86).all(), within


def test_noise_is_taken_off_without_bias() -> None:
    generator = np.random.default_rng(4)
    exact = generator.normal(size=300)
    squares = []
    for _ in range(100):
        pooled, left = pooled_and_left_out(exact + 3.0 * generator.normal(size=(20, 300)), np.ones(20))
        estimate = agreement(pooled, lambda block, left=left: left[block], 20, exact).relative_error
        squares.append(np.sign(estimate.value) * estimate.value**2)
    assert np.mean(squares) == pytest.approx(0.0, abs=4 * np.std(squares) / 10)


def test_the_experiment_at_1_65_w_departs_from_the_ideal_as_is_known() -> None:
    """Figures of the project's reference, over all triples; there over 20,000 at random, and with sampling noise."""
    folder = jiuzhang_data()
    machine, published = build_machine("jiuzhang-2.0-1.65w", data=folder), read_published("jiuzhang-2.0-1.65w", folder)
    state = machine.state()
    rates, products = click_moments(state, 1), click_moments(state, 2)
    exact = pair_cumulants(rates, products), triple_cumulants(rates, products, click_moments(state, 3))
    assert published_rates(published, rates).value == pytest.approx(0.0124, abs=5e-5)
    shots = PhaseSpaceSampler(machine, "squeezed").sample(40_000, np.random.default_rng(2))
    pairs, triples = published_click_agreement(published, exact, shots[:4000], np.random.default_rng(1))
    assert pairs is not None
    assert triples is not None
    assert pairs.correlation is not None
    assert triples.correlation is not None
    assert pairs.correlation.raw == pytest.approx(0.991, abs=5e-4)
    assert pairs.slope.value == pytest.approx(0.918, abs=5e-4)
    assert pairs.relative_error.value == pytest.approx(0.136, abs=1e-3)
    # As much as slopes of sets of samples scatter; 1.6 times what moments would that know nothing of each other.
    first, second = np.triu_indices(144, 1)
    moments = [(part.T.astype(float) @ part)[first, second] / len(part) for part in np.split(shots, 40)]
    found = [pair_cumulants(part.mean(axis=0), products) @ exact[0] for part, products in zip(np.split(shots, 40), moments, strict=True)]
    scatter = np.std(found, ddof=1) / (exact[0] @ exact[0]) * np.sqrt(1000 / published.samples)
    assert pairs.slope.error == pytest.approx(scatter, rel=0.3)
    assert triples.correlation.raw == pytest.approx(0.963, abs=2e-3)
    assert triples.slope.value == pytest.approx(0.818, abs=3e-3)
    assert triples.relative_error.raw == pytest.approx(0.29, abs=5e-3)
