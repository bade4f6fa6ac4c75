"""Cross entropy, against the law of Porter and Thomas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tiandi.computing.sampling.cross_entropy import linear_cross_entropy, logarithmic_cross_entropy, product_of_parts
from tiandi.errors import InputError


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_both_estimates_find_the_share_of_ideal_samples(share: float) -> None:
    generator = np.random.default_rng(1)
    even, ideal = generator.exponential(size=40_000), generator.gamma(2.0, size=40_000)
    scaled = np.where(generator.random(40_000) < share, ideal, even)
    for found in (linear_cross_entropy(scaled), logarithmic_cross_entropy(scaled)):
        assert found.shots == 40_000
        assert abs(found.value - share) < 4 * found.error


def test_the_error_is_that_of_the_mean_of_even_bits() -> None:
    # Under Porter and Thomas D p has variance 1: the error is 1/sqrt(N), that of its logarithm pi/sqrt(6 N).
    scaled = np.random.default_rng(2).exponential(size=30_000)
    assert linear_cross_entropy(scaled).error == pytest.approx(1 / math.sqrt(30_000), rel=0.03)
    assert logarithmic_cross_entropy(scaled).error == pytest.approx(math.pi / math.sqrt(6 * 30_000), rel=0.03)


def test_patches_multiply() -> None:
    generator = np.random.default_rng(3)
    parts = [np.where(generator.random(40_000) < 0.4, generator.gamma(2.0, size=40_000), generator.exponential(size=40_000)) for _ in "ab"]
    found = product_of_parts([linear_cross_entropy(part) for part in parts])
    assert abs(found.value - 0.16) < 4 * found.error
    assert found.error == pytest.approx(0.4 * math.hypot(*[linear_cross_entropy(part).error for part in parts]), rel=0.1)
    # All bits together are another thing: (1 + 0.4)^2 - 1.
    assert linear_cross_entropy(parts[0] * parts[1]).value == pytest.approx(0.96, abs=0.1)


@pytest.mark.parametrize("samples", [[1.0], [[1.0, 2.0]], [1.0, -0.1], [1.0, math.nan]])
def test_samples_that_are_none_are_refused(samples: list[float]) -> None:
    with pytest.raises(InputError):
        linear_cross_entropy(samples)


def test_the_logarithm_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="above 0"):
        logarithmic_cross_entropy([0.0, 1.0])
