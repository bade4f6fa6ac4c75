"""How old key is when it is used: the oldest bits of a link go first, and a pair's key is as old as the oldest link key in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tiandi.constants import SECONDS_PER_DAY

FloatArray = NDArray[np.float64]

QUANTILES = (np.arange(4) + 0.5) / 4
"""Parts of a day's use at which age is looked at."""


def made_times(making: Sequence[tuple[FloatArray, FloatArray]], used_bit: FloatArray) -> FloatArray:
    """When the key was made that each link used, shape (days, links, quantiles) [s].

    ``making`` has, for each link, rising times [s] and the bits made and kept until then; between them a link makes key evenly.
    ``used_bit`` is of shape (days, links); first in, first out.
    """
    before = np.cumsum(used_bit, axis=0) - used_bit
    levels = before[:, :, None] + used_bit[:, :, None] * QUANTILES
    times_s = np.zeros(levels.shape)
    for link, (moments_s, kept_bit) in enumerate(making):
        if kept_bit.size and used_bit[:, link].any():
            times_s[:, link] = np.interp(levels[:, link], kept_bit, moments_s)
    return times_s


def key_ages_s(made_s: FloatArray, routes: NDArray[np.int64]) -> FloatArray:
    """Age at use [s] of the key that each route carried, shape (routes, quantiles), from one day of `made_times`, (links, quantiles).

    ``routes`` holds numbers of links, shape (routes, hops), -1 beyond a route's end. Age counts from the making of the oldest link key to
    the use, which waits for the youngest: two stations meet in a satellite when the later of them has seen it. Times count from the
    start of the day.
    """
    on_way = (routes >= 0)[:, :, None]
    made = made_s[np.maximum(routes, 0)]
    oldest = np.where(on_way, made, np.inf).min(axis=1)
    youngest = np.where(on_way, made, -np.inf).max(axis=1)
    return np.maximum(QUANTILES * SECONDS_PER_DAY, youngest) - oldest
