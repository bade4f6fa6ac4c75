"""Patterns of small sets: cumulants against the sum over partitions, scores against exact and independent samples."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.computing.photonics.validation.small import MODES, exact_samples, ideal_patterns, independent_samples
from tiandi.computing.photonics.gaussian import FloatArray
from tiandi.computing.photonics.validation.kernels import count_patterns
from tiandi.computing.photonics.validation.subsets import high_orders, independent_patterns, joint_cumulants, set_scores


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """All ways to put items in blocks."""
    if not items:
        yield []
        return
    for rest in partitions(items[1:]):
        yield [[items[0]], *rest]
        for number, block in enumerate(rest):
            yield [*rest[:number], [items[0], *block], *rest[number + 1 :]]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.01, 1.0), min_size=32, max_size=32))
def test_joint_cumulants_are_the_sum_over_all_partitions(weights: list[float]) -> None:
    chances = np.array(weights) / sum(weights)
    on = (np.arange(32)[:, None] >> np.arange(5)) & 1
    found = joint_cumulants(chances)
    for pattern in (0b1, 0b11, 0b10101, 0b11110, 0b11111):
        modes = [mode for mode in range(5) if pattern >> mode & 1]
        expected = sum(
            (-1) ** (len(parts) - 1)
            * math.factorial(len(parts) - 1)
            * math.prod(float(chances @ on[:, part].prod(axis=1)) for part in parts)
            for parts in partitions(modes)
        )
        assert found[pattern] == pytest.approx(expected, abs=1e-10)


def counted(samples: np.ndarray, blocks: int = 20) -> np.ndarray:  # type: ignore[type-arg]
    counts = np.zeros((blocks, 1, 1 << MODES), np.int64)
    for block, run in enumerate(np.array_split(samples, blocks)):
        count_patterns(run, np.arange(MODES)[None], counts[block])
    return counts


def numbers(total: int) -> FloatArray:
    return np.array([len(run) for run in np.array_split(np.arange(total), 20)], float)


def test_exact_samples_score_as_ideal_and_independent_modes_as_zero() -> None:
    generator, exact = np.random.default_rng(1), ideal_patterns()[None]
    good = set_scores(counted(exact_samples(40_000, generator)), numbers(40_000), exact)
    for estimate in (good.total_variation, good.linear_cross_entropy, good.logarithmic_cross_entropy, good.heavy_outputs):
        assert abs(estimate.deviations) < 5
    assert good.relative_error.deviations < 5
    bad = set_scores(counted(independent_samples(40_000, generator)), numbers(40_000), exact)
    assert abs(bad.linear_cross_entropy.value) < 5 * bad.linear_cross_entropy.error
    assert bad.total_variation.deviations > 20
    assert bad.relative_error.deviations > 20


def test_distances_are_the_true_ones_where_samples_are_many() -> None:
    generator, exact = np.random.default_rng(2), ideal_patterns()
    wrong = independent_patterns(exact[None])[0]
    found = set_scores(counted(independent_samples(200_000, generator)), numbers(200_000), exact[None])
    truth = np.abs(wrong - exact).sum() / 2
    assert found.total_variation.ideal is not None
    assert found.total_variation.value - found.total_variation.ideal - 0.002 < truth < found.total_variation.value + 0.002
    relative = np.sqrt(((wrong - exact) ** 2).sum() / (exact**2).sum())
    assert found.relative_error.value == pytest.approx(relative, abs=4 * found.relative_error.error)


def test_error_bars_of_scores_cover() -> None:
    generator, exact = np.random.default_rng(3), ideal_patterns()[None]
    within = np.zeros(2)
    for _ in range(60):
        scores = set_scores(counted(exact_samples(2000, generator)), numbers(2000), exact)
        within += [abs(scores.linear_cross_entropy.deviations) < 2, abs(scores.heavy_outputs.deviations) < 2]
    assert (within > 49).all(), within


def test_high_orders_of_exact_samples_agree() -> None:
    found = high_orders(counted(exact_samples(400_000, np.random.default_rng(4))), numbers(400_000), ideal_patterns()[None])
    assert [found[order].entries for order in (4, 5, 6)] == [70, 56, 28]
    for order in (4, 5, 6):
        assert abs(found[order].slope.deviations) < 5
        assert found[order].relative_error.deviations < 5
    assert found[4].slope.error < 0.1
