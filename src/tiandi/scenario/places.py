"""Distances over the ground."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.constants import EARTH_MEAN_RADIUS_KM


def great_circle_km(here_deg: ArrayLike, there_deg: ArrayLike) -> NDArray[np.float64]:
    """Great-circle distances [km], shape (n,), on a sphere of the mean radius, by the haversine formula; 0.6 % from the ellipsoid.

    Places are latitudes and longitudes [deg], shape (n, 2).
    """
    here, there = np.radians(np.asarray(here_deg, float)), np.radians(np.asarray(there_deg, float))
    half = np.sin((there - here) / 2) ** 2
    chord = half[:, 0] + np.cos(here[:, 0]) * np.cos(there[:, 0]) * half[:, 1]
    return 2 * EARTH_MEAN_RADIUS_KM * np.arcsin(np.sqrt(np.clip(chord, 0.0, 1.0)))
