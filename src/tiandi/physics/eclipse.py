"""How much of the sun a satellite sees past the Earth: full light, penumbra, umbra."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiandi.constants import EARTH_EQUATORIAL_RADIUS_KM
from tiandi.physics.orbit import Positions
from tiandi.physics.sun import sun_positions

SUN_RADIUS_KM = 695_700.0
"""Nominal solar radius, IAU 2015 resolution B3."""


def sunlit_fraction(positions: Positions, julian_dates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the sun's disc seen from Earth-fixed ``positions`` [km], shape (n, 3), past the Earth: 0 (umbra) to 1, shape (n,).

    The overlap of two discs on the sky, sun and Earth (Montenbruck, Gill 2000, Satellite Orbits, section 3.4.2, conical shadow model).
    The Earth is a sphere of its equatorial radius without air: flattening and refraction, left out, move the edge of the shadow by
    some seconds of a low orbit. The moon's shadow is left out. Positions must lie outside the Earth.
    """
    to_sun = sun_positions(julian_dates) - positions
    height_km, sun_distance_km = np.linalg.norm(positions, axis=1), np.linalg.norm(to_sun, axis=1)
    cosine = -np.einsum("ij,ij->i", positions, to_sun) / (height_km * sun_distance_km)
    return 1.0 - covered_fraction(
        np.arcsin(SUN_RADIUS_KM / sun_distance_km),
        np.arcsin(EARTH_EQUATORIAL_RADIUS_KM / height_km),
        np.arccos(np.clip(cosine, -1.0, 1.0)),
    )


def covered_fraction(
    disc_rad: NDArray[np.float64], cover_rad: NDArray[np.float64], separation_rad: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of a disc of apparent radius ``disc_rad`` that another of ``cover_rad`` hides when their centres are ``separation_rad`` apart.

    All [rad] and of one shape, taken as flat: the area of the lens between two circles over the disc's.
    """
    smaller = np.minimum(disc_rad, cover_rad)
    partial = (np.abs(cover_rad - disc_rad) < separation_rad) & (separation_rad < disc_rad + cover_rad)
    apart = np.where(partial, separation_rad, disc_rad + cover_rad)
    chord_from_disc = (apart**2 + disc_rad**2 - cover_rad**2) / (2.0 * apart)
    half_chord = np.sqrt(np.maximum(disc_rad**2 - chord_from_disc**2, 0.0))
    lens = (
        disc_rad**2 * np.arccos(np.clip(chord_from_disc / disc_rad, -1.0, 1.0))
        + cover_rad**2 * np.arccos(np.clip((apart - chord_from_disc) / cover_rad, -1.0, 1.0))
        - apart * half_chord
    )
    inside = np.where(separation_rad <= np.abs(cover_rad - disc_rad), (smaller / disc_rad) ** 2, 0.0)
    return np.asarray(np.where(partial, np.clip(lens / (np.pi * disc_rad**2), 0.0, 1.0), inside))
