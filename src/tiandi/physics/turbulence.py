"""Turbulent air between a station and space: seeing, scintillation, and the fading of what a telescope collects.

Kolmogorov's spectrum without inner and outer scale, in flat layers: lengths along the way are heights over the sine of the elevation, so
below some 20 degrees the figures are rough, and the weak-turbulence ones too large. Book: Andrews and Phillips, Laser Beam Propagation
through Random Media, second edition 2005, doi:10.1117/3.626196; chapter 12 is about paths to space.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_banded
from scipy.special import gammaln, j1, kve

from tiandi.limits import require_each_within, require_within
from tiandi.physics.beam import Array, wave_number_per_m
from tiandi.units import METRE_PER_KILOMETRE, RADIAN_PER_MICRORADIAN

TOP_OF_TURBULENCE_M = 20000.0
"""Altitude above which turbulence is negligible, Recommendation ITU-R P.1621. Hufnagel and Valley's formula has 1 % of the Rytov variance
and 2 % of the isoplanatic angle above it; figures that others print leave them out too."""
PANEL_BORDERS_M = (0.0, 20.0, 200.0, 1000.0, 4000.0, 10000.0)
"""Heights above the station between which, and from the last to the top, integrals run by 24 points of Gauss and Legendre."""


@dataclass(frozen=True)
class TurbulenceProfile:
    """Hufnagel and Valley's profile of turbulence over a station; as it stands, the model called HV 5/7.

    ``high_wind_m_per_s`` is the root-mean-square wind between 5 and 20 km, ``ground_strength`` the structure constant Cn2 [m^(-2/3)] at
    the ground: 1.7e-14 by night, some 1e-13 by day. ``station_altitude_m`` is the telescope's and ``ground_altitude_m`` the terrain's,
    both above the sea; the layer at the ground thins out above the terrain. Raises InputError on a field out of its range.
    """

    high_wind_m_per_s: float = 21.0
    ground_strength: float = 1.7e-14
    station_altitude_m: float = 0.0
    ground_altitude_m: float = 0.0

    def __post_init__(self) -> None:
        require_within("high_wind_m_per_s", self.high_wind_m_per_s, 0.0, 100.0)
        require_within("ground_strength", self.ground_strength, 0.0, 1e-11)
        require_within("ground_altitude_m", self.ground_altitude_m, -500.0, 9000.0)
        require_within("station_altitude_m", self.station_altitude_m, self.ground_altitude_m, 9000.0)


@dataclass(frozen=True)
class WindProfile:
    """Bufton's profile of wind speed, to which the turning of the telescope adds where ``slew_rad_per_s`` is not 0.

    Speed [m/s] at height h above the sea: ground + jet exp(-((h - 9400) / 4800)^2) + slew x distance; directions are not told apart. A
    ground wind of 2.8 m/s gives the 21 m/s of HV 5/7. Bufton 1973 (doi:10.1364/AO.12.001785) in the form of Andrews and Phillips,
    chapter 12, equations 2 and 3. Raises InputError on a field out of its range.
    """

    ground_m_per_s: float = 2.8
    jet_m_per_s: float = 30.0
    slew_rad_per_s: float = 0.0

    def __post_init__(self) -> None:
        require_within("ground_m_per_s", self.ground_m_per_s, 0.0, 60.0)
        require_within("jet_m_per_s", self.jet_m_per_s, 0.0, 100.0)
        require_within("slew_rad_per_s", self.slew_rad_per_s, 0.0, 0.1)


HUFNAGEL_VALLEY_57 = TurbulenceProfile()
BUFTON = WindProfile()


def structure_constant(altitude_m: ArrayLike, *, air: TurbulenceProfile = HUFNAGEL_VALLEY_57) -> Array:
    """Cn2 [m^(-2/3)] at ``altitude_m`` [m] above the sea, shape as ``altitude_m``.

    0.00594 (v/27)^2 (1e-5 h)^10 e^(-h/1000) + 2.7e-16 e^(-h/1500) + A e^(-h/100), the last over the terrain. Andrews and Phillips,
    chapter 12, equation 1. Raises InputError below the terrain.
    """
    height = require_each_within("altitude_m", altitude_m, air.ground_altitude_m, 1e6)
    jet = 0.00594 * (air.high_wind_m_per_s / 27.0) ** 2 * (1e-5 * height) ** 10 * np.exp(-height / 1000.0)
    return jet + 2.7e-16 * np.exp(-height / 1500.0) + air.ground_strength * np.exp(-(height - air.ground_altitude_m) / 100.0)


def fried_parameter_m(wavelength_nm: ArrayLike, *, elevation_deg: ArrayLike, air: TurbulenceProfile = HUFNAGEL_VALLEY_57) -> Array:
    """Fried's parameter r0 [m] of light that crosses all the air, seen at the station; broadcast.

    (0.423 k^2 sec z Int Cn2 dh)^(-3/5): Fried 1966, doi:10.1364/JOSA.56.001372. Raises InputError outside 1 to 90 degrees.
    """
    return (0.423 * wave_number_per_m(wavelength_nm) ** 2 * _secant(elevation_deg) * _integral(air, np.ones_like)) ** -0.6


def isoplanatic_angle_urad(wavelength_nm: ArrayLike, *, elevation_deg: ArrayLike, air: TurbulenceProfile = HUFNAGEL_VALLEY_57) -> Array:
    """Angle [microradian] over which the wave front stays the same to 1 rad^2; broadcast.

    (2.914 k^2 sec^(8/3) z Int Cn2 h^(5/3) dh)^(-3/5), h above the station: Fried 1982, doi:10.1364/JOSA.72.000052. Raises as
    `fried_parameter_m`.
    """
    moment = _integral(air, lambda height: height ** (5.0 / 3.0))
    strength = 2.914 * wave_number_per_m(wavelength_nm) ** 2 * _secant(elevation_deg) ** (8.0 / 3.0) * moment
    return strength**-0.6 / RADIAN_PER_MICRORADIAN


def fried_parameter_from_space_m(
    range_km: ArrayLike, *, wavelength_nm: ArrayLike, elevation_deg: ArrayLike, air: TurbulenceProfile = HUFNAGEL_VALLEY_57
) -> Array:
    """Fried's parameter r0 [m] of light from the station, seen at a satellite ``range_km`` [km] away; broadcast.

    What spreads a downlink: tens of metres, where the transmitter is 0.1 m wide. The integral of `fried_parameter_m` weighted with (way
    from the station / range)^(5/3), so 3.18 isoplanatic angles times the range. Raises as `fried_parameter_m`, and on a range below 100 km.
    """
    distance_m = require_each_within("range_km", range_km, 100.0, 1e9) * METRE_PER_KILOMETRE
    angle_urad = isoplanatic_angle_urad(wavelength_nm, elevation_deg=elevation_deg, air=air)
    return (0.423 / 2.914) ** -0.6 * angle_urad * RADIAN_PER_MICRORADIAN * distance_m


def greenwood_frequency_hz(
    wavelength_nm: ArrayLike, *, elevation_deg: ArrayLike, wind: WindProfile = BUFTON, air: TurbulenceProfile = HUFNAGEL_VALLEY_57
) -> Array:
    """Frequency [Hz] at which a servo must follow the wave front to leave 1 rad^2; broadcast.

    (0.102 k^2 sec z Int Cn2 v^(5/3) dh)^(3/5): Greenwood 1977, doi:10.1364/JOSA.67.000390. Raises as `fried_parameter_m`.
    """
    secant = _secant(elevation_deg)[..., None]

    def speed_m_per_s(height_m: Array) -> Array:
        jet = wind.jet_m_per_s * np.exp(-(((air.station_altitude_m + height_m - 9400.0) / 4800.0) ** 2))
        return np.asarray(wind.ground_m_per_s + jet + wind.slew_rad_per_s * height_m * secant)

    moment = _integral(air, lambda height_m: speed_m_per_s(height_m) ** (5.0 / 3.0))
    return (0.102 * wave_number_per_m(wavelength_nm) ** 2 * secant[..., 0] * moment) ** 0.6


def coherence_time_s(
    wavelength_nm: ArrayLike, *, elevation_deg: ArrayLike, wind: WindProfile = BUFTON, air: TurbulenceProfile = HUFNAGEL_VALLEY_57
) -> Array:
    """Time [s] in which the phase of the light changes by 1 rad^2: (0.102 / 2.914)^(3/5) = 0.134 over `greenwood_frequency_hz`; broadcast.

    In a wind the same at all heights it is 0.314 r0 over the speed. Scintillation, made high up, changes within the time that the
    wind needs for a Fresnel length, some milliseconds. Raises as `fried_parameter_m`.
    """
    return (0.102 / 2.914) ** 0.6 / greenwood_frequency_hz(wavelength_nm, elevation_deg=elevation_deg, wind=wind, air=air)


def rytov_variance(wavelength_nm: ArrayLike, *, elevation_deg: ArrayLike, air: TurbulenceProfile = HUFNAGEL_VALLEY_57) -> Array:
    """Variance of the logarithm of the irradiance at a point of the station under light from a satellite, in weak turbulence; broadcast.

    2.25 k^(7/6) sec^(11/6) z Int Cn2 (h - h0)^(5/6) dh with h0 the station's altitude: Recommendation ITU-R P.1622, whose table 2 it
    reproduces. Weak means below about 0.5 here; see `scintillation_index` beyond. Raises as `fried_parameter_m`.
    """
    moment = _integral(air, lambda height: height ** (5.0 / 6.0))
    return 2.25 * wave_number_per_m(wavelength_nm) ** (7.0 / 6.0) * _secant(elevation_deg) ** (11.0 / 6.0) * moment


def aperture_averaging(
    aperture_m: ArrayLike, *, wavelength_nm: ArrayLike, elevation_deg: ArrayLike, air: TurbulenceProfile = HUFNAGEL_VALLEY_57
) -> Array:
    """Variance of the light in a telescope over `rytov_variance` at a point, between 0 and 1; broadcast.

    The filter (2 J1(x) / x)^2, x half the wave number of the eddies times ``aperture_m`` [m], in each layer's spectrum of irradiance
    (Andrews and Phillips, chapter 10), integrated numerically: no fitted formula. Plane wave, weak turbulence, no central obscuration,
    which changes it a little. Raises InputError on an aperture outside 1 mm to 100 m, and as `fried_parameter_m`.
    """
    diameter = require_each_within("aperture_m", aperture_m, 1e-3, 100.0)
    per_height = (0.25 * wave_number_per_m(wavelength_nm) * diameter**2 / _secant(elevation_deg))[..., None]
    grid, fraction = _layer_averaging()
    averaged = _integral(air, lambda height: height ** (5.0 / 6.0) * np.exp(np.interp(np.log(per_height / height), grid, fraction)))
    return averaged / _integral(air, lambda height: height ** (5.0 / 6.0))


def weak_scintillation_index(log_variance: ArrayLike) -> Array:
    """Variance of a log-normal irradiance of mean 1 whose logarithm has ``log_variance``: e^s2 - 1, shape as ``log_variance``."""
    return np.expm1(require_each_within("log_variance", log_variance, 0.0, 100.0))


def gamma_gamma_shapes(rytov: ArrayLike) -> tuple[Array, Array]:
    """Shapes alpha (large eddies) and beta (small ones) of the gamma-gamma distribution under a ``rytov`` variance, each shaped like it.

    Plane wave, no inner scale, a receiver that is a point: Al-Habash, Andrews, Phillips 2001, doi:10.1117/1.1386641. Raises InputError
    outside 0.001 to 1,000.
    """
    variance = require_each_within("rytov", rytov, 1e-3, 1e3)
    large = 0.49 * variance / (1.0 + 1.11 * variance**1.2) ** (7.0 / 6.0)
    small = 0.51 * variance / (1.0 + 0.69 * variance**1.2) ** (5.0 / 6.0)
    return 1.0 / np.expm1(large), 1.0 / np.expm1(small)


def scintillation_index(rytov: ArrayLike) -> Array:
    """Variance of the irradiance at a point over its squared mean, in turbulence of any strength, shape as ``rytov``.

    (1 + 1/alpha) (1 + 1/beta) - 1 with the shapes, source and errors of `gamma_gamma_shapes`; about ``rytov`` itself where that is small.
    """
    alpha, beta = gamma_gamma_shapes(rytov)
    return 1.0 / alpha + 1.0 / beta + 1.0 / (alpha * beta)


def lognormal_density(irradiance: ArrayLike, *, log_variance: ArrayLike) -> Array:
    """Probability density at ``irradiance`` of a log-normal irradiance of mean 1, 0 where that is not positive; broadcast.

    The logarithm is normal with mean -s2/2 and variance s2 = ``log_variance``. Raises InputError on a variance outside 1e-9 to 100.
    """
    variance = require_each_within("log_variance", log_variance, 1e-9, 100.0)
    given = np.asarray(irradiance, float)
    positive = np.where(given > 0.0, given, 1.0)
    density = np.exp(-0.5 * (np.log(positive) + 0.5 * variance) ** 2 / variance) / (positive * np.sqrt(2.0 * np.pi * variance))
    return np.where(given > 0.0, density, 0.0)


def gamma_gamma_density(irradiance: ArrayLike, *, rytov: ArrayLike) -> Array:
    """Probability density at ``irradiance`` of a gamma-gamma irradiance of mean 1, 0 where that is not positive; broadcast.

    2 (ab)^((a+b)/2) / (Gamma(a) Gamma(b)) I^((a+b)/2 - 1) K_(a-b)(2 sqrt(ab I)); shapes, source and errors of `gamma_gamma_shapes`.
    """
    alpha, beta = gamma_gamma_shapes(rytov)
    given = np.asarray(irradiance, float)
    positive = np.where(given > 0.0, given, 1.0)
    order, argument = np.abs(alpha - beta), 2.0 * np.sqrt(alpha * beta * positive)
    with np.errstate(over="ignore"):
        bessel = np.log(kve(order, argument)) - argument
    # Where the Bessel function overflows its argument is so small that the first term of its series is all of it.
    bessel = np.where(np.isfinite(bessel), bessel, gammaln(np.maximum(order, 1.0)) + order * np.log(2.0 / argument) - np.log(2.0))
    half = 0.5 * (alpha + beta)
    logarithm = np.log(2.0) + half * np.log(alpha * beta) - gammaln(alpha) - gammaln(beta) + (half - 1.0) * np.log(positive) + bessel
    return np.where(given > 0.0, np.exp(logarithm), 0.0)


def sample_lognormal(count: int, *, log_variance: float, generator: np.random.Generator) -> Array:
    """``count`` independent irradiances of mean 1, shape (count,), exact under `lognormal_density`. Raises InputError out of range."""
    require_within("count", count, 0, 10**9)
    require_within("log_variance", log_variance, 0.0, 100.0)
    return np.exp(np.sqrt(log_variance) * generator.standard_normal(count) - 0.5 * log_variance)


def sample_gamma_gamma(count: int, *, rytov: float, generator: np.random.Generator) -> Array:
    """``count`` independent irradiances of mean 1, shape (count,), exact under `gamma_gamma_density`: a product of two gamma variates."""
    require_within("count", count, 0, 10**9)
    alpha, beta = gamma_gamma_shapes(rytov)
    return np.asarray(generator.gamma(alpha, 1.0 / alpha, count) * generator.gamma(beta, 1.0 / beta, count))


def fading_series(count: int, *, log_variance: float, step_s: float, coherence_time_s: float, generator: np.random.Generator) -> Array:
    """Irradiance of mean 1 at ``count`` moments ``step_s`` [s] apart, shape (count,): log-normal, and fading with a memory.

    The logarithm is the stationary Ornstein-Uhlenbeck process, which has the marginal of `lognormal_density` and the autocorrelation
    e^(-t / coherence time) exactly, at every step. That the memory is exponential is a model; measured spectra fall off faster. Raises
    InputError on values out of range.
    """
    require_within("count", count, 1, 10**8)
    require_within("log_variance", log_variance, 0.0, 100.0)
    require_within("step_s", step_s, 0.0, 1e6)
    require_within("coherence_time_s", coherence_time_s, 1e-9, 1e6)
    memory = np.exp(-step_s / coherence_time_s)
    fresh = generator.standard_normal(count)
    fresh[1:] *= np.sqrt(-np.expm1(-2.0 * step_s / coherence_time_s))
    # x[n] - memory x[n-1] = fresh[n] is a system of two diagonals.
    normal = solve_banded((1, 0), np.stack([np.ones(count), np.full(count, -memory)]), fresh)
    return np.exp(np.sqrt(log_variance) * normal - 0.5 * log_variance)


def _secant(elevation_deg: ArrayLike) -> Array:
    """1/sin(elevation): the length of the way through flat layers over their thickness."""
    return 1.0 / np.sin(np.radians(require_each_within("elevation_deg", elevation_deg, 1.0, 90.0)))


def _integral(air: TurbulenceProfile, weight: Callable[[Array], Array]) -> Array:
    """Integral of Cn2 times ``weight`` (of the height above the station [m], shape (nodes,)) up to the top; the last axis is summed."""
    points, weights = np.polynomial.legendre.leggauss(24)
    borders = np.array([*PANEL_BORDERS_M, TOP_OF_TURBULENCE_M - air.station_altitude_m])
    halves = 0.5 * np.diff(borders)[:, None]
    height = (borders[:-1, None] + halves * (1.0 + points)).ravel()
    return np.asarray(structure_constant(air.station_altitude_m + height, air=air) * weight(height) @ (halves * weights).ravel())


@lru_cache(maxsize=1)
def _layer_averaging() -> tuple[Array, Array]:
    """Logarithms of q = k D^2 / (4 z) and of the share of irradiance variance that an aperture D keeps of one thin layer at distance z.

    The integral of s^(-8/3) (1 - cos s^2) (2 J1(s sqrt q) / (s sqrt q))^2 over s, the wave number in Fresnel units, over that at q = 0.
    """
    s = np.geomspace(1e-5, 1e3, 6001)
    # Beyond 12 the cosine averages out: what that leaves is under 1e-5 of the whole.
    spectrum = s ** (-5.0 / 3.0) * np.where(s < 12.0, 1.0 - np.cos(np.minimum(s, 12.0) ** 2), 1.0)
    logarithms = np.linspace(np.log(1e-6), np.log(1e8), 141)
    x = s * np.exp(0.5 * logarithms)[:, None]
    kept = np.trapezoid(spectrum * (2.0 * j1(x) / x) ** 2, np.log(s), axis=-1)
    return logarithms, np.log(kept / np.trapezoid(spectrum, np.log(s)))
