"""Where the sun stands, to a hundredth of a degree: enough to tell night from day."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiandi.constants import ASTRONOMICAL_UNIT_KM, JULIAN_DATE_J2000
from tiandi.physics.orbit import Positions, Station, look_angles, to_earth_fixed


def sun_positions(julian_dates: NDArray[np.float64]) -> Positions:
    """Earth-fixed positions of the sun [km], shape (n, 3); low-precision formulas of the Astronomical Almanac, page C5, to 0.01 degree."""
    days = julian_dates - JULIAN_DATE_J2000
    anomaly_rad = np.radians(357.528 + 0.9856003 * days)
    longitude_rad = np.radians(280.460 + 0.9856474 * days + 1.915 * np.sin(anomaly_rad) + 0.020 * np.sin(2 * anomaly_rad))
    distance_km = ASTRONOMICAL_UNIT_KM * (1.00014 - 0.01671 * np.cos(anomaly_rad) - 0.00014 * np.cos(2 * anomaly_rad))
    return ecliptic_to_earth_fixed(longitude_rad, np.zeros_like(days), distance_km, julian_dates)


def ecliptic_to_earth_fixed(
    longitude_rad: NDArray[np.float64],
    latitude_rad: NDArray[np.float64],
    distance_km: NDArray[np.float64],
    julian_dates: NDArray[np.float64],
) -> Positions:
    """Earth-fixed positions [km], shape (n, 3), of ecliptic longitudes, latitudes and distances of date, each of shape (n,).

    With the mean obliquity of the Astronomical Almanac's low-precision formulas; nutation, 0.005 degree, is left out.
    """
    obliquity_rad = np.radians(23.439 - 4e-7 * (julian_dates - JULIAN_DATE_J2000))
    across = np.cos(latitude_rad) * np.sin(longitude_rad)
    direction = np.stack(
        [
            np.cos(latitude_rad) * np.cos(longitude_rad),
            np.cos(obliquity_rad) * across - np.sin(obliquity_rad) * np.sin(latitude_rad),
            np.sin(obliquity_rad) * across + np.cos(obliquity_rad) * np.sin(latitude_rad),
        ],
        axis=1,
    )
    return to_earth_fixed(direction * distance_km[:, None], julian_dates)


def sun_elevation_deg(station: Station, julian_dates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Geometric elevation of the sun's centre [deg], shape (n,)."""
    return look_angles(station, sun_positions(julian_dates)).elevation_deg
