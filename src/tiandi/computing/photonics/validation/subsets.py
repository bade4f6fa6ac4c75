"""Small sets of modes, all patterns of which are known exactly: distance, scores, and correlations of orders four to six.

- Total variation over all patterns, and the relative error sqrt(sum (h - p)^2 / sum p^2) of the shares h against the exact p, from which
  sampling noise can be taken off without bias.
- Linear cross entropy on the scale of the set: (sum h p - sum u p) / (sum p p - sum u p), with u what independent modes of the exact rates
  would do: 1 for exact samples, 0 for independent modes. Logarithmic: mean of -ln p over the samples, less the entropy of p, in nats.
- Heavy outputs: share of samples whose pattern is likelier than the median pattern (Aaronson and Chen, arXiv:1612.05903).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.photonics.gaussian import FloatArray
from tiandi.computing.photonics.validation.estimates import (
    Estimate,
    jackknife,
    jackknife_error,
    pooled_and_left_out,
    root_of_square,
    variance_of_mean,
)
from tiandi.computing.photonics.validation.moments import Agreement, agreement
from tiandi.computing.photonics.validation.totals import absolute_noise


@dataclass(frozen=True, slots=True)
class SetScores:
    """Means over the sets of one kind."""

    modes: int
    sets: int
    total_variation: Estimate
    relative_error: Estimate
    linear_cross_entropy: Estimate
    logarithmic_cross_entropy: Estimate
    heavy_outputs: Estimate


def set_scores(counts: NDArray[np.int64], samples: FloatArray, exact: FloatArray) -> SetScores:
    """Of pattern ``counts`` in blocks, (blocks, sets, patterns), against ``exact`` probabilities (sets, patterns)."""
    pooled, left = pooled_and_left_out(counts.astype(float), samples)
    power = (exact**2).sum(axis=1)
    noise = float((variance_of_mean(left).sum(axis=1) / power).mean())
    squares = (((left - exact) ** 2).sum(axis=2) / power).mean(axis=1)
    raw = float((((pooled - exact) ** 2).sum(axis=1) / power).mean())
    distances = 0.5 * np.abs(left - exact).sum(axis=2).mean(axis=1)
    floor = 0.5 * float(absolute_noise(exact, float(samples.sum())).sum(axis=1).mean())
    distance = 0.5 * float(np.abs(pooled - exact).sum(axis=1).mean())
    blocks_noise = noise * len(samples) / (len(samples) - 1)
    return SetScores(
        int(math.log2(exact.shape[1])),
        len(exact),
        jackknife(distance, distances, ideal=floor, one_sided=True),
        root_of_square(raw - noise, jackknife_error(squares - blocks_noise), raw_square=raw, noise_square=noise),
        *(jackknife(score, of_left, ideal=ideal) for score, of_left, ideal in _scores(pooled, left, exact)),
    )


def _scores(pooled: FloatArray, left: FloatArray, exact: FloatArray) -> list[tuple[float, FloatArray, float]]:
    """Three scores that are means over samples: of all, of the blocks' complements, and ideal."""
    independent = independent_patterns(exact)
    lowest, span = (independent * exact).sum(axis=1), ((exact - independent) * exact).sum(axis=1)
    # Where modes do nearly what independent ones would, the scale of the set has no length.
    linear = exact / np.where(span > 1e-12, span, np.inf)[:, None] / max(int((span > 1e-12).sum()), 1) * len(exact)
    offset = float((lowest / np.where(span > 1e-12, span, np.inf)).sum() / max(int((span > 1e-12).sum()), 1))
    logarithm = -np.log(np.maximum(exact, 1e-300))
    heavy = (exact > np.median(exact, axis=1, keepdims=True)).astype(float)
    found = []
    for weights, base, ideal in (
        (linear, offset, None),
        (logarithm, float((exact * logarithm).sum(axis=1).mean()), 0.0),
        (heavy, 0.0, float((exact * heavy).sum(axis=1).mean())),
    ):
        value = float((pooled * weights).sum(axis=1).mean()) - base
        of_left = (left * weights).sum(axis=2).mean(axis=1) - base
        found.append((value, of_left, 1.0 if ideal is None else ideal))
    return found


def independent_patterns(exact: FloatArray) -> FloatArray:
    """(sets, patterns): what modes with the same rates would do if none knew of the others."""
    sets, patterns = exact.shape
    modes = int(math.log2(patterns))
    on = (np.arange(patterns)[:, None] >> np.arange(modes)) & 1
    rates = exact @ on
    return np.asarray(np.where(on[None], rates[:, None, :], 1 - rates[:, None, :]).prod(axis=2).reshape(sets, patterns))


def joint_cumulants(probabilities: FloatArray) -> FloatArray:
    """Joint cumulants of the clicks of every set of modes, (..., 2**k), from the probabilities of all patterns, (..., 2**k).

    Entry S is the cumulant of the modes in the bits of S: its moment less the products of cumulants over all partitions, worked out by
    splitting off the block that holds the lowest mode.
    """
    modes = int(math.log2(probabilities.shape[-1]))
    moments = np.moveaxis(np.array(probabilities, float), -1, 0).copy()
    for mode in range(modes):
        folded = moments.reshape(-1, 2, 1 << mode, *moments.shape[1:])
        folded[:, 0] += folded[:, 1]
    cumulants = moments.copy()
    cumulants[0] = 0.0
    for whole, parts in _splits(modes):
        for part in parts:
            cumulants[whole] -= cumulants[part] * moments[whole ^ part]
    return np.moveaxis(cumulants, 0, -1)


@cache
def _splits(modes: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """For each set of at least two modes, its proper subsets with the lowest mode in them."""
    return tuple(
        (whole, tuple(part for part in range(1, whole) if part & whole == part and part & (whole & -whole)))
        for whole in range(3, 1 << modes)
        if whole & (whole - 1)
    )


def high_orders(counts: NDArray[np.int64], samples: FloatArray, exact: FloatArray) -> dict[int, Agreement]:
    """Agreement of the cumulants of orders four to six within the sets whose patterns were counted, (blocks, sets, patterns)."""
    pooled, left = pooled_and_left_out(counts.astype(float), samples)
    ideal, whole, others = joint_cumulants(exact), joint_cumulants(pooled), joint_cumulants(left)
    orders = np.array([pattern.bit_count() for pattern in range(exact.shape[1])])
    found = {}
    for order in (4, 5, 6):
        of_order = orders == order
        if of_order.any():
            chosen = others[:, :, of_order].reshape(len(samples), -1)
            found[order] = agreement(whole[:, of_order].ravel(), chosen.__getitem__, len(samples), ideal[:, of_order].ravel())
    return found
