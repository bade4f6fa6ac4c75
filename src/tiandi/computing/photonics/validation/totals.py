"""How many modes click (or how much is counted) in all, and in the two parts of a partition: distance and chi-square to the ideal.

Chi-square is that of xQSim (Drummond, Opanchuk, Dellios and Reid, Phys. Rev. A 105, 012427 (2022), doi:10.1103/PhysRevA.105.012427; Dellios
et al., arXiv:2211.03480): bins that expect more than ten samples, variances of sampling and of the ideal's own error added, and the cube
root of chi-square over its degrees as a normal variable Z (Wilson and Hilferty).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tiandi.computing.photonics.gaussian import FloatArray
from tiandi.computing.photonics.validation.estimates import BINOMIAL, JACKKNIFE, Estimate, jackknife, jackknife_error, pooled_and_left_out

LEAST_EXPECTED = 10.0


@dataclass(frozen=True, eq=False)
class Distribution:
    """Ideal probabilities of any shape, with their own standard errors (0 where they are exact) and where they come from."""

    probabilities: FloatArray
    errors: FloatArray
    source: str
    batches: FloatArray | None = None
    """(batches, ...): estimates on their own whose mean the probabilities are; None where they are exact."""


def of_sums(joint: FloatArray, modes: int) -> FloatArray:
    """Of a joint distribution (first, second): the distribution of the sum, (modes + 1,)."""
    first, second = np.indices(joint.shape)
    sums: FloatArray = np.bincount((first + second).ravel(), joint.ravel(), modes + 1).astype(float)
    return sums[: modes + 1]


@dataclass(frozen=True, slots=True)
class Fit:
    """A histogram against the ideal distribution."""

    distance: Estimate
    """Total variation; its ideal is what sampling noise alone gives. The true distance lies between their difference and the value."""
    chi_square: Estimate
    """Over its degrees of freedom."""
    bins: int
    z: float
    """Standard deviations by which chi-square is above its mean."""


@dataclass(frozen=True, slots=True)
class TotalScores:
    """Of the number of clicks."""

    mean: Estimate
    deviation: Estimate
    fit: Fit | None
    """None where the ideal distribution is not known."""


def absolute_noise(probabilities: FloatArray, samples: float, errors: FloatArray | float = 0.0) -> FloatArray:
    """Mean absolute deviation of each bin's share in ``samples`` samples, and of the ideal's own normal ``errors``.

    Of the binomial law exactly: 2 v (1 - p) b(v; n, p) / n, v = floor(n p) + 1 (De Moivre).
    """
    probabilities = np.clip(probabilities, 0.0, 1.0)
    above = np.floor(samples * probabilities) + 1
    binomial = 2 * above * (1 - probabilities) * stats.binom.pmf(above, samples, probabilities) / samples
    return np.asarray(np.sqrt(binomial**2 + 2 / math.pi * np.square(errors)))


def fit(histogram: FloatArray, ideal: Distribution, samples: float, distance_error: float, method: str) -> Fit:
    """Shares ``histogram`` of ``samples`` samples against the ideal distribution, bin by bin."""
    size = np.minimum(histogram.shape, ideal.probabilities.shape)
    common = tuple(slice(0, int(length)) for length in size)
    share, expected, errors = histogram[common], ideal.probabilities[common], ideal.errors[common]
    outside = float(histogram.sum() - share.sum()) + max(float(ideal.probabilities.sum() - expected.sum()), 0.0)
    distance = 0.5 * (float(np.abs(share - expected).sum()) + outside)
    noise = 0.5 * float(absolute_noise(expected, samples, errors).sum())
    full = expected * samples > LEAST_EXPECTED
    variance = expected[full] * (1 - expected[full]) / samples + errors[full] ** 2
    bins = int(full.sum())
    chi_square = float(((share[full] - expected[full]) ** 2 / variance).sum()) / max(bins, 1)
    width = 2 / (9 * max(bins, 1))
    return Fit(
        Estimate(distance, distance_error, noise, method=method, one_sided=True, in_quadrature=True),
        Estimate(chi_square, math.sqrt(2 / max(bins, 1)), 1.0, method="law of chi-square", one_sided=True),
        bins,
        (chi_square ** (1 / 3) - (1 - width)) / math.sqrt(width),
    )


def _error_of_ideal(shares: FloatArray, ideal: Distribution) -> float:
    """Standard error of the distance from ``shares`` that the ideal distribution brings, by a jackknife over its batches.

    Errors of neighbouring bins hang together, so that those of single bins do not tell.
    """
    if ideal.batches is None:
        return 0.0
    number = len(ideal.batches)
    common = tuple(slice(0, min(lengths)) for lengths in zip(shares.shape, ideal.probabilities.shape, strict=True))
    left = ((ideal.probabilities * number - batch)[common] / (number - 1) for batch in ideal.batches)
    return jackknife_error([0.5 * float(np.abs(shares[common] - probabilities).sum()) for probabilities in left])


def counted_fit(counts: NDArray[np.int64], samples: FloatArray, ideal: Distribution) -> Fit:
    """A histogram counted in blocks, (blocks, ...)."""
    pooled, left = pooled_and_left_out(counts.astype(float), samples)
    size = np.minimum(pooled.shape, ideal.probabilities.shape)
    common = tuple(slice(0, int(length)) for length in size)
    distances = [0.5 * float(np.abs(shares[common] - ideal.probabilities[common]).sum()) for shares in left]
    error = math.hypot(jackknife_error(distances), _error_of_ideal(pooled, ideal))
    return fit(pooled, ideal, float(samples.sum()), error, JACKKNIFE)


def published_fit(histogram: FloatArray, samples: int, ideal: Distribution) -> Fit:
    """A published histogram; the error of its distance from the multinomial law, which bounds what bins share."""
    shares = histogram / histogram.sum()
    error = math.hypot(0.5 / math.sqrt(samples), _error_of_ideal(shares, ideal))
    return fit(shares, ideal, float(samples), error, BINOMIAL)


def total_scores(
    counts: NDArray[np.int64], samples: FloatArray, *, mean: float, deviation: float | None, ideal: Distribution | None
) -> TotalScores:
    """Of a histogram of totals counted in blocks, (blocks, totals); ``mean`` and ``deviation`` are the exact ones."""
    pooled, left = pooled_and_left_out(counts.astype(float), samples)
    values = np.arange(pooled.shape[0])
    means, squares = left @ values, left @ values**2
    value = float(pooled @ values)
    spread = math.sqrt(max(float(pooled @ values**2) - value**2, 0.0))
    return TotalScores(
        jackknife(value, means, ideal=mean),
        jackknife(spread, np.sqrt(np.maximum(squares - means**2, 0.0)), ideal=deviation),
        None if ideal is None else counted_fit(counts, samples, ideal),
    )


def published_total_scores(
    histogram: FloatArray, samples: int, *, mean: float, deviation: float | None, ideal: Distribution | None
) -> TotalScores:
    """Of a published distribution of totals: errors from its own second and fourth moments."""
    shares, values = histogram / histogram.sum(), np.arange(len(histogram))
    value = float(shares @ values)
    second, fourth = (float(shares @ (values - value) ** power) for power in (2, 4))
    return TotalScores(
        Estimate(value, math.sqrt(second / samples), mean, method=BINOMIAL),
        Estimate(math.sqrt(second), math.sqrt(max(fourth - second**2, 0.0) / samples / (4 * second)), deviation, method=BINOMIAL),
        None if ideal is None else published_fit(histogram, samples, ideal),
    )
