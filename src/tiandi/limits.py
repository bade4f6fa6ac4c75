"""Checks of what is given: one clear error that names field, value and limit."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.errors import InputError


def require_within(field: str, value: float, low: float, high: float) -> None:
    """Raise InputError unless ``low`` <= ``value`` <= ``high``."""
    if not low <= value <= high:
        raise InputError(field, value, f"must lie in [{low:g}, {high:g}]")


def require_each_within(field: str, values: ArrayLike, low: float, high: float) -> NDArray[np.float64]:
    """``values`` as an array of floats; raises InputError, with the first offender, unless each lies in [``low``, ``high``]."""
    array = np.asarray(values, float)
    outside = array[~((array >= low) & (array <= high))]
    if outside.size:
        raise InputError(field, float(outside[0]), f"must lie in [{low:g}, {high:g}]")
    return array


def require_distribution(field: str, values: ArrayLike) -> NDArray[np.float64]:
    """``values`` as an array of floats; raises InputError unless they are probabilities that add up to 1 along the last axis."""
    array = require_each_within(field, values, 0.0, 1.0)
    if (np.abs(array.sum(axis=-1) - 1.0) > 1e-9).any():
        raise InputError(field, array.tolist(), "must add up to 1")
    return array
