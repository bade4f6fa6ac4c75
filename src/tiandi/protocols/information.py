"""Entropies, and how much key a channel can carry at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def binary_entropy(probability: ArrayLike) -> Array:
    """h(p) = -p log2 p - (1 - p) log2(1 - p), with h(0) = h(1) = 0; shape as ``probability``."""
    p = np.clip(np.asarray(probability, float), 0.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(-np.where(p > 0, p * np.log2(p), 0.0) - np.where(p < 1, (1 - p) * np.log2(1 - p), 0.0))


def plob_bound(transmittance: ArrayLike) -> Array:
    """Secret bits per use that no protocol without a repeater exceeds on a lossy channel, shape as ``transmittance``.

    -log2(1 - transmittance): Pirandola, Laurenza, Ottaviani, Banchi 2017, doi:10.1038/ncomms15043.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(-np.log1p(-np.asarray(transmittance, float)) / np.log(2.0))
