"""What exact samples cost, before they are drawn.

The chain rule spends on each mode a time that doubles with every photon (or click) carried so far. How many there will be is known: for
number detectors exactly, for threshold detectors by a negative binomial distribution with the exact mean and variance of the number of
clicks. Those found so far are taken to be spread evenly over the modes. The constants are of one core of a server of 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, nbinom

from tiandi.computing.photonics.exact.clicks import click_cumulants, click_moments
from tiandi.computing.photonics.exact.light import seen_state
from tiandi.computing.photonics.exact.totals import total_photon_distribution
from tiandi.computing.photonics.gaussian import FloatArray, Machine
from tiandi.limits import require_within

LARGEST_MODES = 1000
HARDEST_COUNT = 1000
"""Photons or clicks above which the time of a sample no longer grows here: it is beyond all bounds long before."""
SECONDS_A_STEP = 15e-6
SECONDS_A_TERM = 1.2e-9
TERMS_OF_POWERS = 14
SUBSETS_FROM = 14
SECONDS_A_SUBSET = 2.3e-9
NEGLIGIBLE = 1e-12


@dataclass(frozen=True, eq=False)
class ExactCost:
    """Cost of exact samples of one machine, on one thread."""

    distribution: FloatArray
    """(n,): of the photons or clicks of a sample."""
    seconds: FloatArray
    """(n,): of one sample with so many."""

    @property
    def mean_seconds(self) -> float:
        """Of one sample."""
        return float(self.distribution @ self.seconds)

    @property
    def mean_count(self) -> float:
        """Photons or clicks of one sample."""
        return float(self.distribution @ np.arange(len(self.distribution)))

    def expected_seconds(self, number: int, workers: int = 1) -> float:
        """Of ``number`` samples on ``workers`` threads."""
        return number * self.mean_seconds / workers

    def worst_count(self, number: int) -> int:
        """So many photons or clicks are passed by one in ``number`` samples at most."""
        require_within("number", number, 1, float("inf"))
        above = 1 - np.cumsum(self.distribution)
        return int(np.flatnonzero(above * number <= 1)[0]) if (above * number <= 1).any() else len(above) - 1

    def worst_seconds(self, number: int) -> float:
        """Of the one sample with `worst_count`."""
        return float(self.seconds[self.worst_count(number)])

    def words(self) -> str:
        """The cost in one clause."""
        return f"{self.mean_count:.1f} counts and {self.mean_seconds:.3g} s a sample on one thread in the mean"


def cost_of_exact(machine: Machine) -> ExactCost:
    """What `chain_rule.sample_exact` would take on ``machine``, from its distribution of clicks or photons; up to 1,000 modes."""
    require_within("modes", machine.modes, 1, LARGEST_MODES)
    if machine.detectors.kind == "threshold":
        distribution, modes = _click_distribution(machine), machine.modes
    else:
        state = seen_state(machine)[0]
        distribution, modes = total_photon_distribution(state), state.modes
    kept = max(1, int(np.flatnonzero(distribution > NEGLIGIBLE)[-1]) + 1)
    counts = np.arange(kept)
    steps = np.array([_step_seconds(int(count)) for count in counts])
    seconds = modes * np.cumsum(steps) / (counts + 1)
    return ExactCost(distribution[:kept], seconds)


def _step_seconds(count: int) -> float:
    """Of the amplitudes of one mode with ``count`` single photons before it."""
    if count < SUBSETS_FROM:
        return SECONDS_A_STEP + SECONDS_A_TERM * 2.0 ** max(count - 1, 6) * (count + TERMS_OF_POWERS)
    pairs = (min(count, HARDEST_COUNT) + 1) // 2
    return SECONDS_A_STEP + SECONDS_A_SUBSET * 2.0**pairs * pairs**3


def _click_distribution(machine: Machine) -> FloatArray:
    mean, variance = float(click_moments(machine, 1).sum()), float(click_cumulants(machine).sum())
    counts = np.arange(machine.modes + 1)
    if variance <= mean:
        distribution = binom.pmf(counts, machine.modes, mean / machine.modes)
    else:
        distribution = nbinom.pmf(counts, mean**2 / (variance - mean), mean / variance)
    return np.asarray(distribution / distribution.sum())
