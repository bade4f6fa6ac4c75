"""Light that is not the satellite's: how bright the sky is, and how many counts a telescope makes of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.constants import Planck, speed_of_light

from tiandi.limits import require_each_within, require_within
from tiandi.physics.beam import Array
from tiandi.units import METRE_PER_NANOMETRE, MICROMETRE_PER_NANOMETRE, RADIAN_PER_MICRORADIAN

BRIGHT_DAY = 150.0
CLOUDY_DAY_OR_DUSK = 15.0
FULL_MOON = 1.5e-3
CLEAR_NIGHT = 1.5e-5
DARKEST_NIGHT = 1.5e-6
"""Radiances of named skies [W/(m^2 sr um)] at the wavelengths of silicon detectors, Miao et al. 2005 (doi:10.1088/1367-2630/7/1/215).

Recalled, not re-read: right to an order of magnitude. A town's lights, snow and the direction to the sun move them by as much.
"""

# Illuminance of the ground as 10^(a + b x + c x^2 + d x^3) lux, x the elevation over 90 degrees: from which elevation [deg] on, a, b, c, d.
SUN_ILLUMINANCE = (
    (-90.0, 13.84, 262.72, 1447.42, 2797.93),
    (-12.0, 2.70, 12.17, -431.69, -1899.83),
    (-5.0, 2.88, 21.81, -258.11, -858.36),
    (-0.8, 2.88, 22.26, -207.64, 1034.30),
    (5.0, 3.05, 13.28, -45.98, 64.33),
    (20.0, 3.74, 3.97, -4.07, 1.47),
)
MOON_ILLUMINANCE = (
    (-90.0, -2.79, 24.27, -252.95, 1321.29),
    (5.0, -2.58, 12.58, -42.58, 59.06),
    (20.0, -1.95, 4.06, -4.24, 1.56),
)


def sun_illuminance_lux(sun_elevation_deg: ArrayLike) -> Array:
    """Light of sun and daylit sky on level ground [lux] under a clear sky, shape as ``sun_elevation_deg``.

    Polynomials of the US Naval Observatory's Circular 171 (Janiczek and DeYoung 1987), as Vallado's Fundamentals of Astrodynamics,
    table 5-1, prints them for elevations above -18 degrees; below, the last one is carried on and falls to nothing. They meet
    within 1 %. Raises InputError on an elevation outside -90 to 90 degrees.
    """
    return 10.0 ** _logarithm(SUN_ILLUMINANCE, require_each_within("sun_elevation_deg", sun_elevation_deg, -90.0, 90.0))


def moon_illuminance_lux(moon_elevation_deg: ArrayLike, *, illuminated_fraction: ArrayLike) -> Array:
    """Light of the moon on level ground [lux] under a clear sky; broadcast.

    ``illuminated_fraction`` of the moon's disc is 1 at full moon and 0 at new moon. The same source as `sun_illuminance_lux`, without the
    moon's distance (12 %); below -0.8 degrees the last polynomial is carried on and falls to nothing. Raises InputError on values out of
    their range.
    """
    elevation = require_each_within("moon_elevation_deg", moon_elevation_deg, -90.0, 90.0)
    phase_deg = np.degrees(np.arccos(2.0 * require_each_within("illuminated_fraction", illuminated_fraction, 0.0, 1.0) - 1.0))
    return np.asarray(10.0 ** (_logarithm(MOON_ILLUMINANCE, elevation) - 8.68e-3 * phase_deg - 2.2e-9 * phase_deg**4))


def sky_radiance(
    sun_elevation_deg: ArrayLike,
    *,
    moon_elevation_deg: ArrayLike = -90.0,
    illuminated_fraction: ArrayLike = 0.0,
    darkness: ArrayLike = CLEAR_NIGHT,
) -> Array:
    """Radiance of a clear sky far from sun and moon [W/(m^2 sr um)]; broadcast.

    An interpolation of ours: ``darkness``, the night without sun and moon, plus a share of the light on the ground, scaled so that a full
    moon at the zenith gives `FULL_MOON`, and never more than `BRIGHT_DAY`. That one scale puts `CLOUDY_DAY_OR_DUSK` at a sun 3 degrees
    high and `BRIGHT_DAY` at 20, and twilight passes over six decades. Left out: the distance from sun and moon, the colour of
    twilight (radiance is taken in proportion to what the eye sees), clouds. Raises InputError on values out of range.
    """
    night = require_each_within("darkness", darkness, 0.0, BRIGHT_DAY)
    lux = sun_illuminance_lux(sun_elevation_deg) + moon_illuminance_lux(moon_elevation_deg, illuminated_fraction=illuminated_fraction)
    radiance_per_lux = FULL_MOON / moon_illuminance_lux(90.0, illuminated_fraction=1.0)
    return np.minimum(night + radiance_per_lux * lux, BRIGHT_DAY)


def background_rate_hz(
    radiance_w_per_m2_sr_um: ArrayLike,
    *,
    field_of_view_half_angle_urad: ArrayLike,
    aperture_m: ArrayLike,
    bandwidth_nm: ArrayLike,
    wavelength_nm: ArrayLike,
    efficiency: ArrayLike,
    obscuration: ArrayLike = 0.0,
    detectors: int = 4,
) -> Array:
    """Counts per second [1/s] that the sky makes in each of a receiver's ``detectors``, as `Receiver` takes them; broadcast.

    Radiance x solid angle pi half-angle^2 x area of the aperture x filter bandwidth, over the energy of a photon, times the ``efficiency``
    of optics and detectors. ``obscuration``, the diameter of the central obscuration over the aperture's, stays 0 where the efficiency
    counts it already. Taken as unpolarised: of four detectors behind a passive choice each sees a quarter (of two behind an active one
    half), which scattered daylight does not keep to. Dead time is left out. Raises InputError on values out of range.
    """
    radiance = require_each_within("radiance_w_per_m2_sr_um", radiance_w_per_m2_sr_um, 0.0, 1e8)
    half_angle = require_each_within("field_of_view_half_angle_urad", field_of_view_half_angle_urad, 0.0, 1e5) * RADIAN_PER_MICRORADIAN
    obscured = require_each_within("obscuration", obscuration, 0.0, 0.99)
    area_m2 = 0.25 * np.pi * require_each_within("aperture_m", aperture_m, 1e-3, 100.0) ** 2 * (1.0 - obscured**2)
    bandwidth_um = require_each_within("bandwidth_nm", bandwidth_nm, 0.0, 1e4) * MICROMETRE_PER_NANOMETRE
    wavelength_m = require_each_within("wavelength_nm", wavelength_nm, 200.0, 20000.0) * METRE_PER_NANOMETRE
    power_w = radiance * np.pi * half_angle**2 * area_m2 * bandwidth_um
    photons = power_w * wavelength_m / (Planck * speed_of_light)
    require_within("detectors", detectors, 1, 64)
    return np.asarray(require_each_within("efficiency", efficiency, 0.0, 1.0) * photons / detectors)


def _logarithm(table: tuple[tuple[float, ...], ...], elevation_deg: Array) -> Array:
    """Decimal logarithm of the illuminance: the polynomial of the last row whose elevation is reached."""
    rows = np.array(table)
    row = rows[np.searchsorted(rows[:, 0], elevation_deg, side="right") - 1]
    x = elevation_deg / 90.0
    return np.asarray(row[..., 1] + x * (row[..., 2] + x * (row[..., 3] + x * row[..., 4])))
