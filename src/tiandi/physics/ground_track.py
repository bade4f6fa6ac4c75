"""Where on the ground a satellite is overhead: geodetic coordinates of Earth-fixed positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.constants import EARTH_EQUATORIAL_RADIUS_KM, EARTH_FLATTENING
from tiandi.physics.orbit import Elements, Positions, propagate

BOWRING_ROUNDS = 2
"""The first leaves a millimetre at 500 km and 0.3 m at the moon, the second what a double rounds."""


@dataclass(frozen=True)
class Geodetic:
    """Geodetic coordinates on WGS 84, arrays of shape (n,): longitudes in [-180, 180], altitudes above the ellipsoid."""

    latitude_deg: NDArray[np.float64]
    longitude_deg: NDArray[np.float64]
    altitude_km: NDArray[np.float64]


def geodetic(positions: Positions) -> Geodetic:
    """Latitude and longitude [deg] and altitude [km] of Earth-fixed ``positions`` [km], shape (n, 3), from deep below ground to the moon.

    Bowring 1976 (Survey Review 23, 323, doi:10.1179/sre.1976.23.181.323), iterated; inverse of `Station.position_km` to a micrometre.
    """
    x, y, z = positions.T
    polar_radius_km = EARTH_EQUATORIAL_RADIUS_KM * (1 - EARTH_FLATTENING)
    eccentricity_squared = EARTH_FLATTENING * (2 - EARTH_FLATTENING)
    axial_km = np.hypot(x, y)
    parametric_rad = np.arctan2(z, axial_km * (1 - EARTH_FLATTENING))
    for _ in range(BOWRING_ROUNDS):
        latitude_rad = np.arctan2(
            z + eccentricity_squared / (1 - EARTH_FLATTENING) ** 2 * polar_radius_km * np.sin(parametric_rad) ** 3,
            axial_km - eccentricity_squared * EARTH_EQUATORIAL_RADIUS_KM * np.cos(parametric_rad) ** 3,
        )
        parametric_rad = np.arctan2((1 - EARTH_FLATTENING) * np.sin(latitude_rad), np.cos(latitude_rad))
    surface_km = EARTH_EQUATORIAL_RADIUS_KM * np.sqrt(1 - eccentricity_squared * np.sin(latitude_rad) ** 2)
    return Geodetic(
        latitude_deg=np.degrees(latitude_rad),
        longitude_deg=np.degrees(np.arctan2(y, x)),
        altitude_km=axial_km * np.cos(latitude_rad) + z * np.sin(latitude_rad) - surface_km,
    )


def ground_track(elements: Elements, julian_dates: NDArray[np.float64]) -> Geodetic:
    """Geodetic coordinates of a satellite at ``julian_dates`` (UTC), shape (n,). Raises ElementsError as `propagate`."""
    return geodetic(propagate(elements, julian_dates))
