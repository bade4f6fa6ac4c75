"""Where the moon stands, to a third of a degree, and how much of it is lit: enough to tell a dark night from a bright one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiandi.constants import DAYS_PER_JULIAN_CENTURY, EARTH_EQUATORIAL_RADIUS_KM, JULIAN_DATE_J2000
from tiandi.physics.orbit import Positions, Station, look_angles
from tiandi.physics.sun import ecliptic_to_earth_fixed, sun_positions

# Amplitude [deg], phase [deg] and rate [deg per Julian century] of each term.
LONGITUDE_SINES = (
    (6.29, 134.9, 477198.85),
    (-1.27, 259.2, -413335.38),
    (0.66, 235.7, 890534.23),
    (0.21, 269.9, 954397.70),
    (-0.19, 357.5, 35999.05),
    (-0.11, 186.6, 966404.05),
)
LATITUDE_SINES = ((5.13, 93.3, 483202.03), (0.28, 228.2, 960400.87), (-0.28, 318.3, 6003.18), (-0.17, 217.6, -407332.20))
PARALLAX_COSINES = ((0.0518, 134.9, 477198.85), (0.0095, 259.2, -413335.38), (0.0078, 235.7, 890534.23), (0.0028, 269.9, 954397.70))


def moon_positions(julian_dates: NDArray[np.float64]) -> Positions:
    """Earth-fixed positions of the moon's centre [km], shape (n, 3).

    Low-precision formulas of the Astronomical Almanac, page D22 (also Vallado, Fundamentals of Astrodynamics and Applications, algorithm
    31; both recalled): 0.3 degree in longitude, 0.2 in latitude, 0.3 % in distance from 1900 to 2100. UTC stands in for terrestrial time,
    0.01 degree.
    """
    centuries = (julian_dates - JULIAN_DATE_J2000) / DAYS_PER_JULIAN_CENTURY
    longitude_deg = 218.32 + 481267.8813 * centuries + sum(size * _sine(phase, rate, centuries) for size, phase, rate in LONGITUDE_SINES)
    latitude_deg = sum(size * _sine(phase, rate, centuries) for size, phase, rate in LATITUDE_SINES)
    parallax_deg = 0.9508 + sum(size * _sine(phase + 90.0, rate, centuries) for size, phase, rate in PARALLAX_COSINES)
    distance_km = EARTH_EQUATORIAL_RADIUS_KM / np.sin(np.radians(parallax_deg))
    return ecliptic_to_earth_fixed(np.radians(longitude_deg), np.radians(latitude_deg), distance_km, julian_dates)


def moon_elevation_deg(station: Station, julian_dates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Geometric elevation of the moon's centre as seen from ``station`` [deg], shape (n,); refraction is left out."""
    return look_angles(station, moon_positions(julian_dates)).elevation_deg


def moon_illuminated_fraction(julian_dates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the moon's disc that the sun lights, 0 (new) to 1 (full), shape (n,), seen from the Earth's centre.

    (1 + cos i) / 2 with i the angle at the moon between sun and Earth (Meeus, Astronomical Algorithms, chapter 48). An eclipse by the
    Earth is left out.
    """
    moon = moon_positions(julian_dates)
    to_sun = sun_positions(julian_dates) - moon
    cosine = -np.einsum("ij,ij->i", to_sun, moon) / (np.linalg.norm(to_sun, axis=1) * np.linalg.norm(moon, axis=1))
    return np.asarray(0.5 * (1.0 + cosine))


def _sine(phase_deg: float, rate_deg_per_century: float, centuries: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sin(np.radians(phase_deg + rate_deg_per_century * centuries)))
