"""Figures with error bars, from samples that were counted in blocks.

A figure that is not a plain mean (a slope, a distance) has no textbook error. It is worked out again with each block of samples left out;
how far these values scatter is its error (delete-one-block jackknife: Efron and Stein, Ann. Statist. 9, 586 (1981),
doi:10.1214/aos/1176345462). It also holds for samplers whose samples hang together, as long as a block is longer than their memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tiandi.computing.photonics.gaussian import FloatArray

JACKKNIFE, BOOTSTRAP, BINOMIAL = (
    "jackknife over blocks",
    "bootstrap with binomial noise, and how shots of positive-P samples hang together",
    "binomial",
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, its standard error, and what an exact sampler would show."""

    value: float
    error: float
    ideal: float | None = None
    """What exact samples, as many, would show on the mean; None where there is no such figure."""
    raw: float | None = None
    """Where sampling noise was subtracted: the figure before that."""
    noise: float | None = None
    """And the noise: what exact samples would show before it is subtracted."""
    method: str = JACKKNIFE
    """Where the error comes from."""
    one_sided: bool = False
    """Whether only more than the ideal is worse: of distances, which noise taken off can leave below it."""
    square_deviations: float | None = None
    """Of a root mean square: those of its square, which unlike the root is near normal where the truth is 0."""

    in_quadrature: bool = False
    """Whether noise adds to the figure as to the length of a vector, so that the root of the squares' difference is nearest the truth."""

    @property
    def deviations(self) -> float:
        """From the ideal, in standard errors; infinite where a figure without error is off."""
        if self.square_deviations is not None:
            return self.square_deviations
        off = self.value - (self.ideal or 0.0)
        return off / self.error if self.error > 0 else math.copysign(math.inf, off) if off else 0.0

    @property
    def distance(self) -> float:
        """From the ideal, so that more samples make it better known, not larger or smaller."""
        if self.in_quadrature:
            return math.sqrt(max(self.value**2 - (self.ideal or 0.0) ** 2, 0.0))
        off = self.value - (self.ideal or 0.0)
        return max(off, 0.0) if self.one_sided else abs(off)

    @property
    def distance_error(self) -> float:
        """Standard error of the distance."""
        if not self.in_quadrature:
            return self.error
        return math.sqrt(self.distance**2 + 2 * self.value * self.error) - self.distance


def jackknife_error(left_out: ArrayLike) -> float:
    """Standard error from the values of a figure with each block left out, shape (blocks,)."""
    values = np.asarray(left_out, float)
    return float(math.sqrt((len(values) - 1) * values.var()))


def jackknife(value: float, left_out: ArrayLike, *, ideal: float | None = None, one_sided: bool = False) -> Estimate:
    """A figure from all samples and its values with each block left out."""
    return Estimate(float(value), jackknife_error(left_out), ideal, one_sided=one_sided)


def root_of_square(square: float, square_error: float, *, raw_square: float, noise_square: float, method: str = JACKKNIFE) -> Estimate:
    """A root mean square after its noise was subtracted from the square; below 0 where noise happened to be more than its mean.

    The error is the distance to the upper end of the square's own, so that it stays sensible where the square is within noise of 0.
    """
    value = math.copysign(math.sqrt(abs(square)), square)
    kept = max(square, 0.0)
    error = math.sqrt(kept + square_error) - math.sqrt(kept)
    deviations = square / square_error if square_error > 0 else math.copysign(math.inf, square) if square else 0.0
    raw, noise = math.sqrt(max(raw_square, 0.0)), math.sqrt(max(noise_square, 0.0))
    return Estimate(value, error, 0.0, raw, noise, method, one_sided=True, square_deviations=deviations)


def pooled_and_left_out(counts: FloatArray, samples: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Means over all blocks, shape counts.shape[1:], and with each left out, shape counts.shape.

    ``counts`` are sums over the samples of each block, ``samples`` their numbers, shape (blocks,).
    """
    total, number = counts.sum(axis=0), samples.sum()
    rest = (number - samples).reshape(-1, *[1] * (counts.ndim - 1))
    return total / number, (total - counts) / rest


def variance_of_mean(left_out: FloatArray) -> FloatArray:
    """Of each entry of a statistic: its sampling variance, from its values with each block left out, (blocks, ...)."""
    return np.asarray((len(left_out) - 1) * left_out.var(axis=0))
