"""How far a count may lie from what is expected of it: the inequalities behind finite keys.

Every function works on arrays, element by element; ``failure`` is the probability with which a bound may fail. The observed value
bounds its mean (`hoeffding_mean`, `chernoff_mean`), the mean bounds what will be observed (`chernoff_observed`), and a sample bounds the
rest of what it was drawn from (`exact_rate_bound`; the others are there to compare with what is published).
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from tiandi.errors import InputError
from tiandi.limits import require_within

Array = NDArray[np.float64]

Bound = Literal["chernoff", "asymptotic"]
"""Which inequality a key's counts are bounded by; "asymptotic" takes them for their means, as in infinitely long blocks."""

EPSILON_LIMITS = 1e-60, 0.5
"""Between which a key's failure probabilities must lie; square and share of the smallest are still numbers."""

FALSE_POSITIONS = 8


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


def mean_bounds(counts: Array, failure: float, bound: Bound) -> tuple[Array, Array]:
    """Lower and upper bound on the mean behind ``counts``, none below 0, by the inequality that ``bound`` names."""
    low, high = chernoff_mean(counts, failure) if bound == "chernoff" else (counts, counts)
    return np.maximum(low, 0.0), high


def observed_bounds(mean: Array, failure: float, bound: Bound) -> tuple[Array, Array]:
    """Lower and upper bound on what will be observed of a count whose mean is ``mean``, by the inequality that ``bound`` names."""
    return chernoff_observed(mean, failure) if bound == "chernoff" else (mean, mean)


def require_bound(bound: str) -> None:
    """Raise InputError unless ``bound`` is one that `mean_bounds` knows."""
    if bound not in get_args(Bound):
        raise InputError("bound", bound, f"must be one of {', '.join(get_args(Bound))}")


def exact_rate_bound(errors: ArrayLike, tested: ArrayLike, kept: ArrayLike, failure: float) -> Array:
    """Rate of errors in ``kept`` events that is exceeded with at most ``failure``, from ``errors`` in the ``tested`` ones; broadcast.

    Both are drawn from one lot without replacement, so errors in the test follow the hypergeometric distribution; the bound is the
    rate under which a test with no more errors is just as likely as ``failure``. The tail is bounded by its last term over 1 - r, r being
    how fast the terms fall there, which is on the safe side, as is what rounding may take from the logarithms. Any sizes and
    any errors, none included; 1 where nothing can be said. Raises InputError on a failure outside [1e-300, 1].
    """
    require_within("failure", failure, 1e-300, 1.0)
    seen, tested, kept = np.broadcast_arrays(*(np.asarray(values, float) for values in (errors, tested, kept)))
    with np.errstate(divide="ignore", invalid="ignore"):
        slack = 8.0 * np.finfo(float).eps * gammaln(tested + kept + 1.0)
        constant = _log_choose(tested, seen) + slack

        def exponent(hidden: Array) -> Array:
            """Root of minus the logarithm of the tail, nearly a straight line, less what it must be; negative where nothing is excluded."""
            falling = seen * (kept - hidden) / ((tested - seen + 1.0) * (hidden + 1.0))
            tail = constant + _log_choose(kept, hidden) - _log_choose(tested + kept, seen + hidden) - np.log1p(-falling)
            return np.sqrt(np.maximum(np.where(falling < 1.0, -tail, 0.0), 0.0)) - np.sqrt(-np.log(failure))

        low, high = kept * np.minimum(seen / tested, 1.0), kept.copy()
        below, above = np.full(low.shape, -np.sqrt(-np.log(failure))), exponent(high)
        excluded, was_high = above >= 0.0, np.full(low.shape, -1)
        for _ in range(FALSE_POSITIONS):
            # False position with the Illinois rule: an end that stays twice counts half, so that both ends close in.
            middle = np.clip(high - above * (high - low) / (above - below), low, high)
            value = exponent(middle)
            is_high = value >= 0.0
            again = is_high == was_high
            low, high = np.where(is_high, low, middle), np.where(is_high, middle, high)
            below, above = (
                np.where(is_high, np.where(again, 0.5 * below, below), value),
                np.where(is_high, value, np.where(again, 0.5 * above, above)),
            )
            was_high = is_high.astype(int)
        return np.where((seen <= tested) & (tested > 0.0) & (kept > 0.0) & excluded, high / kept, 1.0)


def _log_choose(total: Array, chosen: Array) -> Array:
    return gammaln(total + 1.0) - gammaln(chosen + 1.0) - gammaln(total - chosen + 1.0)


def sampling_deviation(rate: ArrayLike, tested: ArrayLike, kept: ArrayLike, failure: float) -> Array:
    """How much a rate of errors seen in ``tested`` events may lie below the rate in the ``kept`` ones, drawn from the same lot.

    gamma of Fung, Ma, Chau 2010 (doi:10.1103/PhysRevA.81.012318), as Lim et al. 2014 print it in equation 5. It rests on Stirling's
    formula and fails more often than it says for few errors and for very many; to compare with what others compute, `exact_rate_bound` to
    rely on. Not finite where there is nothing to compare.
    """
    rate, tested, kept = np.asarray(rate, float), np.asarray(tested, float), np.asarray(kept, float)
    spread = (1.0 - rate) * rate
    per_event = (tested + kept) / (tested * kept)
    return np.sqrt(per_event * spread / np.log(2) * np.log2(per_event / spread / failure**2))


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
