"""Small machines, and a chi-square test of samples against exact pattern probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, unitary_group

from tiandi.computing.photonics.gaussian import Detectors, Machine

FALSE_ALARM = 1e-4
"""Of each chi-square test; seeds are fixed, so that a test once passed stays so."""


def small_machine(
    modes: int = 4,
    *,
    indistinguishability: float = 1.0,
    detectors: Detectors | None = None,
    transmission: float = 0.6,
    strength: float = 1.0,
) -> Machine:
    """A Haar-random lossy interferometer with a squeezer at each input."""
    unitary = unitary_group.rvs(modes, random_state=11)
    squeezing = strength * np.resize([0.9, -0.8, 0.7, 1.0, -0.6], modes)
    return Machine("small", squeezing, np.sqrt(transmission) * unitary, indistinguishability, detectors or Detectors())


def chi_square_value(samples: NDArray[np.uint8], probabilities: NDArray[np.float64], base: int = 2) -> float:
    """Probability of a chi-square at least as large as that of ``samples`` (n, modes); cells of less than five are one.

    ``probabilities`` (base^modes,): the first mode is the lowest digit.
    """
    cells = samples.astype(np.int64) @ base ** np.arange(samples.shape[1])
    found = np.bincount(cells, minlength=len(probabilities)).astype(float)
    expected = len(samples) * probabilities
    rare = expected < 5
    if rare.any():
        found, expected = np.append(found[~rare], found[rare].sum()), np.append(expected[~rare], expected[rare].sum())
        if expected[-1] < 5:
            found[-2] += found[-1]
            expected[-2] += expected[-1]
            found, expected = found[:-1], expected[:-1]
    statistic = float(np.sum((found - expected) ** 2 / expected))
    return float(chi2.sf(statistic, len(expected) - 1))
