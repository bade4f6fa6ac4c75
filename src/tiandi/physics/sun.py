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
    obliquity_rad = np.radians(23.439 - 4e-7 * days)
    distance_km = ASTRONOMICAL_UNIT_KM * (1.00014 - 0.01671 * np.cos(anomaly_rad) - 0.00014 * np.cos(2 * anomaly_rad))
    direction = np.stack(
        [np.cos(longitude_rad), np.cos(obliquity_rad) * np.sin(longitude_rad), np.sin(obliquity_rad) * np.sin(longitude_rad)], axis=1
    )
    return to_earth_fixed(direction * distance_km[:, None], julian_dates)


def sun_elevation_deg(station: Station, julian_dates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Geometric elevation of the sun's centre [deg], shape (n,)."""
    return look_angles(station, sun_positions(julian_dates)).elevation_deg
