"""How far a count may lie from what is expected of it: the inequalities behind finite keys.

Every function works on arrays, element by element; ``failure`` is the probability with which a bound may fail. The observed value
bounds its mean (`hoeffding_mean`, `chernoff_mean`), the mean bounds what will be observed (`chernoff_observed`), and a sample bounds the
rest of what it was drawn from (`sampling_deviation`, `small_block_deviation`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def hoeffding_mean(counts: ArrayLike, total: ArrayLike, failure: float) -> tuple[Array, Array]:
    """Lower and upper bound on the mean behind ``counts``, any part of ``total`` independent events (Hoeffding 1963, theorem 1).

    sqrt(total / 2 ln(1 / failure)) to either side, doi:10.1080/01621459.1963.10500830. Lower bounds may be negative.
    """
    observed = np.asarray(counts, float)
    deviation = np.sqrt(0.5 * np.asarray(total, float) * np.log(1.0 / failure))
    return observed - deviation, observed + deviation


def chernoff_mean(counts: ArrayLike, failure: float) -> tuple[Array, Array]:
    """Lower and upper bound on the mean behind ``counts``; Yin et al. 2020, doi:10.1038/s41598-020-71107-6."""
    observed = np.asarray(counts, float)
    beta = np.log(1.0 / failure)
    low = observed - (0.5 * beta + np.sqrt(2 * beta * observed + 0.25 * beta**2))
    return low, observed + beta + np.sqrt(2 * beta * observed + beta**2)


def chernoff_observed(mean: ArrayLike, failure: float) -> tuple[Array, Array]:
    """Lower and upper bound on what will be observed of a count whose mean is ``mean``; the same paper."""
    expected = np.asarray(mean, float)
    beta = np.log(1.0 / failure)
    return np.maximum(expected - np.sqrt(2 * beta * expected), 0.0), expected + 0.5 * beta + np.sqrt(2 * beta * expected + 0.25 * beta**2)


def sampling_deviation(rate: ArrayLike, tested: ArrayLike, kept: ArrayLike, failure: float) -> Array:
    """How much a rate of errors seen in ``tested`` events may lie below the rate in the ``kept`` ones, drawn from the same lot.

    gamma of Fung, Ma, Chau 2010 (doi:10.1103/PhysRevA.81.012318), as Lim et al. 2014 use it in equation 5. It rests on Stirling's
    formula: see `fewest_trusted_errors`. Not finite where there is nothing to compare.
    """
    rate, tested, kept = np.asarray(rate, float), np.asarray(tested, float), np.asarray(kept, float)
    spread = (1.0 - rate) * rate
    per_event = (tested + kept) / (tested * kept)
    return np.sqrt(per_event * spread / np.log(2) * np.log2(per_event / spread / failure**2))


def fewest_trusted_errors(tested: ArrayLike, kept: ArrayLike, failure: float) -> Array:
    """Errors from which on `sampling_deviation` is believed; fewer are counted as so many. Shape as ``tested`` and ``kept``.

    It promises too much for few errors: with one error in 30,000 tested and as many kept it fails more than 1,000 times as often as
    it says. This floor is ours: wide enough for the exact hypergeometric tail at every failure from 1e-3 / 21 to 1e-24 / 21 and tested
    events up to 333 times the kept ones, where it was tried.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(100.0, np.log(1.0 / failure) * (2.0 + 0.2 * np.asarray(tested, float) / np.asarray(kept, float)))


def serfling_deviation(tested: ArrayLike, kept: ArrayLike, failure: float) -> Array:
    """How much the rate in ``kept`` events may lie above that in ``tested`` ones, whatever the rate; any sizes.

    mu of Tomamichel, Lim, Gisin, Renner 2012 (doi:10.1038/ncomms1631): (n + k)/(n k) (k + 1)/k ln(2 / failure), under the root.
    """
    tested, kept = np.asarray(tested, float), np.asarray(kept, float)
    return np.sqrt((tested + kept) / (tested * kept) * (tested + 1.0) / tested * np.log(2.0 / failure))


def small_block_deviation(rate: ArrayLike, tested: ArrayLike, kept: ArrayLike, failure: float) -> Array:
    """Upper deviation gamma of the rate in ``kept`` events over ``rate`` in ``tested`` ones, tight for small blocks.

    Yin et al. 2020, doi:10.1038/s41598-020-71107-6. Not finite for a rate of 0.
    """
    rate, tested, kept = np.asarray(rate, float), np.asarray(tested, float), np.asarray(kept, float)
    larger, total = np.maximum(tested, kept), tested + kept
    logarithm = np.log(total / (2 * np.pi * tested * kept * rate * (1.0 - rate) * failure**2))
    g = total / (tested * kept) * logarithm
    ratio = larger * g / total
    root = np.sqrt(ratio**2 + 4.0 * rate * (1.0 - rate) * g)
    return np.asarray(((1.0 - 2.0 * rate) * ratio + root) / (2.0 + 2.0 * larger * ratio / total))
