"""Cross-entropy benchmarking: how much of the ideal distribution is left in a machine's samples.

Arute et al., Nature 574, 505 (2019), doi:10.1038/s41586-019-1666-5, supplementary section IV. The figures hold for circuits whose ideal
probabilities follow Porter and Thomas, exp(-2**n p): those that are deep enough. What noise lets expect: `machines.prediction`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.errors import InputError


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """An estimate and its standard error over ``shots`` samples."""

    value: float
    error: float
    shots: int


def linear_cross_entropy(scaled_probabilities: ArrayLike) -> CrossEntropy:
    """<D p(x)> - 1 over the samples x, from D p(x) = 2**n |<x|C|0>|**2, shape (shots,): 1 for an ideal machine, 0 for even bits."""
    scaled = _checked(scaled_probabilities)
    return _mean(scaled - 1.0)


def logarithmic_cross_entropy(scaled_probabilities: ArrayLike) -> CrossEntropy:
    """<log(D p(x))> + Euler's constant: the same by logarithms, which few very likely samples move less."""
    scaled = _checked(scaled_probabilities)
    if (scaled <= 0).any():
        raise InputError("scaled probabilities", 0.0, "must be above 0 for a logarithm")
    return _mean(np.log(scaled) + np.euler_gamma)


def product_of_parts(parts: Sequence[CrossEntropy]) -> CrossEntropy:
    """Of a circuit in parts that no gate joins, as the fidelity of a patch circuit is taken: the product of theirs.

    The cross entropy of all bits together would be another thing: (1 + F1)(1 + F2) - 1, which is 3 for an ideal machine.
    """
    values = np.array([part.value for part in parts])
    others = [float(np.prod(np.delete(values, number))) for number in range(len(parts))]
    error = math.hypot(*(part.error * other for part, other in zip(parts, others, strict=True)))
    return CrossEntropy(float(values.prod()), error, parts[0].shots)


def _checked(scaled_probabilities: ArrayLike) -> NDArray[np.float64]:
    scaled = np.asarray(scaled_probabilities, float)
    if scaled.ndim != 1 or len(scaled) < 2:
        raise InputError("samples", scaled.shape, "must be at least 2 in one row")
    if not (np.isfinite(scaled) & (scaled >= 0)).all():
        raise InputError(
            "scaled probabilities", float(scaled[~(np.isfinite(scaled) & (scaled >= 0))][0]), "must be finite and not negative"
        )
    return scaled


def _mean(values: NDArray[np.float64]) -> CrossEntropy:
    return CrossEntropy(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))), len(values))
