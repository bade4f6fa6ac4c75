"""Clicks that come in pairs, independent of all else: what weak light's correlations are, nearly.

Pairs at modes i and j come as Poisson numbers of mean rate_ij and make both detectors click. A set of modes is then dark with exp(-sum of
the rates of all pairs that touch it), so that logarithms of dark probabilities add up:

    ln(P_ij / (P_i P_j)) = ln of the same ratio of the rest + rate_ij.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tiandi.computing.photonics.exact.light import IntArray
from tiandi.computing.photonics.gaussian import CountArray, FloatArray

SMALLEST_DARK = 1e-6
SMALLEST_CHANGE = -0.9
"""Of a probability by correlation, relative to itself; below it the fit's noise would take over."""


@dataclass(frozen=True, eq=False)
class PairClicks:
    """Independent pairs of clicks of so many modes as ``rate`` has rows."""

    rate: FloatArray
    """(modes, modes): symmetric, zero on the diagonal, mean number of pairs a sample."""

    @cached_property
    def dark(self) -> FloatArray:
        """Probability (modes,) that no pair touches a mode."""
        return np.asarray(np.exp(-self.rate.sum(axis=1)), float)

    @cached_property
    def gain(self) -> FloatArray:
        """(modes, modes): probability that no pair touches either mode, over the product of both; at least one."""
        return np.asarray(np.exp(self.rate), float)

    @property
    def mean_number(self) -> float:
        """Pairs a sample."""
        return float(self.rate.sum()) / 2

    @cached_property
    def _list(self) -> tuple[IntArray, IntArray, FloatArray]:
        first, second = np.nonzero(np.triu(self.rate))
        return first, second, self.rate[first, second]

    def add(self, rows: CountArray, generator: np.random.Generator) -> None:
        """Set the clicks of the pairs of samples ``rows`` (samples, modes): of each pair a Poisson number, at random samples."""
        first, second, rate = self._list
        counts = generator.poisson(rate * len(rows))
        samples = generator.integers(0, len(rows), int(counts.sum()))
        rows[samples, np.repeat(first, counts)] = 1
        rows[samples, np.repeat(second, counts)] = 1


def log_ratios(rates: FloatArray, covariance: FloatArray) -> FloatArray:
    """ln(P_ij / (P_i P_j)) (modes, modes) of dark probabilities, of clicks' ``rates`` (modes,) and ``covariance``; zero on the diagonal."""
    dark = np.maximum(1 - rates, SMALLEST_DARK)
    between = covariance / np.outer(dark, dark)
    np.fill_diagonal(between, 0.0)
    return np.asarray(np.log1p(np.maximum(between, SMALLEST_CHANGE)), float)
