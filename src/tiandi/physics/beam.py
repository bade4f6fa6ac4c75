"""A laser beam from one telescope to another: how wide it becomes, how much is collected, what pointing and turbulence cost.

Two conventions of counting stand side by side, because the field uses both. *Gaussian*: the beam falls off as exp(-2 r^2 / w^2), and
``divergence_full_angle_urad`` is the full angle between its 1/e^2 points. *Top hat*: the same disc is taken as evenly filled. On the
axis of a wide beam the Gaussian gives exactly twice as much. A published loss means nothing before its convention is known.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chndtr, i0e

from tiandi.limits import require_each_within, require_within
from tiandi.units import METRE_PER_KILOMETRE, METRE_PER_NANOMETRE, RADIAN_PER_MICRORADIAN

Array = NDArray[np.float64]
BeamShape = Literal["top-hat", "gaussian"]

LARGEST_ANGLE_URAD = 1e5
"""Small angles are taken as their sines throughout; at 0.1 rad that is wrong by 0.2 %."""


def wave_number_per_m(wavelength_nm: ArrayLike) -> Array:
    """2 pi over the wavelength [1/m], shape as ``wavelength_nm``; raises InputError outside 200 to 20,000 nm."""
    return 2.0 * np.pi / (require_each_within("wavelength_nm", wavelength_nm, 200.0, 20000.0) * METRE_PER_NANOMETRE)


def diffraction_divergence_urad(waist_m: ArrayLike, *, wavelength_nm: ArrayLike) -> Array:
    """Full 1/e^2 angle [microradian] to which diffraction spreads a Gaussian beam of 1/e^2 radius ``waist_m`` [m]; broadcast.

    2 wavelength / (pi waist): the least there is. Real transmitters are wider, and then the measured divergence counts. Textbook (Siegman,
    Lasers, 1986; recalled). Raises InputError on a waist outside 0.1 mm to 100 m.
    """
    waist = require_each_within("waist_m", waist_m, 1e-4, 100.0)
    return 4.0 / (wave_number_per_m(wavelength_nm) * waist) / RADIAN_PER_MICRORADIAN


def beam_radius_m(range_km: ArrayLike, *, divergence_full_angle_urad: ArrayLike, waist_m: ArrayLike = 0.0) -> Array:
    """Radius w [m] at which a Gaussian beam falls to 1/e^2 of its axis, after ``range_km`` [km]; broadcast.

    w^2 = waist^2 + (half angle x range)^2, exact when `diffraction_divergence_urad` gives the angle. Raises InputError on a range
    outside 1 mm to 1e9 km, an angle outside (1e-6, 1e5) microradian, a waist outside 0 to 100 m.
    """
    distance_m = require_each_within("range_km", range_km, 1e-6, 1e9) * METRE_PER_KILOMETRE
    half_angle = 0.5 * _divergence(divergence_full_angle_urad) * RADIAN_PER_MICRORADIAN
    return np.hypot(require_each_within("waist_m", waist_m, 0.0, 100.0), half_angle * distance_m)


def top_hat_collection(range_km: ArrayLike, *, divergence_full_angle_urad: ArrayLike, aperture_m: ArrayLike) -> Array:
    """Fraction of an evenly filled beam that a telescope collects; broadcast.

    Convention: top hat, the area of the aperture [m] over the area of a disc of ``divergence_full_angle_urad`` full angle.
    For a small aperture it is half of what `gaussian_collection` gives on the axis for that full angle. This is the
    convention of Liao et al. 2017 (doi:10.1038/nature23655), who count 22 dB at 1,200 km for about 10 microradian; it gives 21.6 dB.
    Raises InputError as `beam_radius_m` does, and on an aperture outside 1 mm to 100 m.
    """
    radius_m = beam_radius_m(range_km, divergence_full_angle_urad=divergence_full_angle_urad)
    return np.minimum(1.0, (0.5 * _aperture(aperture_m) / radius_m) ** 2)


def gaussian_collection(
    range_km: ArrayLike, *, divergence_full_angle_urad: ArrayLike, aperture_m: ArrayLike, waist_m: ArrayLike = 0.0
) -> Array:
    """Fraction of a Gaussian beam that a telescope of diameter ``aperture_m`` [m] centred on its axis collects; broadcast.

    Convention: Gaussian, 1 - exp(-2 a^2 / w^2) with a the aperture's radius and w of `beam_radius_m`; exact for a round aperture without
    obscuration. For a small aperture it is twice what `top_hat_collection` gives. Raises InputError as `top_hat_collection` does.
    """
    radius_m = beam_radius_m(range_km, divergence_full_angle_urad=divergence_full_angle_urad, waist_m=waist_m)
    return -np.expm1(-0.5 * (_aperture(aperture_m) / radius_m) ** 2)


def truncated_fraction(truncation: ArrayLike, *, obscuration: ArrayLike = 0.0) -> Array:
    """Fraction of a Gaussian beam that leaves a telescope with a central obscuration; broadcast.

    ``truncation`` is the aperture's radius over the beam's 1/e^2 radius in it, ``obscuration`` the diameter of the obscuration over that of
    the aperture. Where the mean photon number holds behind the telescope, this loss is not part of the channel. Raises InputError on
    a truncation outside 0.01 to 100 or an obscuration outside 0 to 0.99.
    """
    alpha, gamma = _telescope(truncation, obscuration)
    return np.exp(-2.0 * (alpha * gamma) ** 2) - np.exp(-2.0 * alpha**2)


def gain_efficiency(truncation: ArrayLike, *, obscuration: ArrayLike = 0.0) -> Array:
    """On-axis gain of a telescope fed with a Gaussian beam over `diffraction_gain` of its full aperture; broadcast.

    (2 / alpha^2) (exp(-alpha^2) - exp(-alpha^2 gamma^2))^2 with alpha the ``truncation`` and gamma the ``obscuration``, as
    `truncated_fraction` explains them; light stopped at the aperture counts as lost. At best 0.8145, for alpha = 1.12 and no obscuration.
    Far field, no defocus and no aberrations. Klein and Degnan 1974, doi:10.1364/AO.13.002134 (recalled). Raises as `truncated_fraction`.
    """
    alpha, gamma = _telescope(truncation, obscuration)
    return 2.0 / alpha**2 * (np.exp(-(alpha**2)) - np.exp(-((alpha * gamma) ** 2))) ** 2


def diffraction_gain(aperture_m: ArrayLike, *, wavelength_nm: ArrayLike) -> Array:
    """Gain over an isotropic source of an evenly lit round aperture of ``aperture_m`` [m] in the far field; broadcast.

    (pi D / wavelength)^2, the most that an aperture can do. Raises InputError on an aperture outside 1 mm to 100 m.
    """
    return (0.5 * wave_number_per_m(wavelength_nm) * _aperture(aperture_m)) ** 2


def mean_pointing_factor(jitter_urad: ArrayLike, *, divergence_full_angle_urad: ArrayLike, boresight_urad: ArrayLike = 0.0) -> Array:
    """Mean of exp(-2 r^2 / w^2) when a Gaussian beam is off by a random angle; broadcast.

    ``jitter_urad`` is the standard deviation [microradian] on each of two axes, ``boresight_urad`` a constant offset. With theta the half
    angle: exp(-2 b^2 / (theta^2 + 4 sigma^2)) / (1 + 4 sigma^2 / theta^2). The receiver must be small against the beam; within
    1 % as long as it collects less than 1 %. Raises InputError on a negative angle.
    """
    theta, sigma, offset = _pointing(jitter_urad, divergence_full_angle_urad, boresight_urad, lowest_urad=0.0)
    widened = theta**2 + 4.0 * sigma**2
    return theta**2 / widened * np.exp(-2.0 * offset**2 / widened)


def pointing_density(
    factor: ArrayLike, *, jitter_urad: ArrayLike, divergence_full_angle_urad: ArrayLike, boresight_urad: ArrayLike = 0.0
) -> Array:
    """Probability density of the pointing factor exp(-2 r^2 / w^2) at ``factor``, 0 outside (0, 1]; broadcast.

    Without an offset g^2 h^(g^2 - 1) with g = theta / (2 sigma): Farid and Hranilovic 2007 (doi:10.1109/JLT.2007.899174) for a receiver
    small against the beam. With one, the offset angle follows Rice's distribution: Yang, Cheng, Tsiftsis 2014
    (doi:10.1109/TCOMM.2014.010914.130249). Parameters as in `mean_pointing_factor`. Raises InputError on a jitter below 1e-6 microradian.
    """
    theta, sigma, offset = _pointing(jitter_urad, divergence_full_angle_urad, boresight_urad, lowest_urad=1e-6)
    h = np.asarray(factor, float)
    inside = (h > 0.0) & (h <= 1.0)
    logarithm = np.log(np.where(inside, h, 1.0))
    angle = theta * np.sqrt(-0.5 * logarithm)
    exponent = -logarithm - 0.5 * ((angle - offset) / sigma) ** 2
    density = (0.5 * theta / sigma) ** 2 * np.exp(exponent) * i0e(angle * offset / sigma**2)
    return np.where(inside, density, 0.0)


def pointing_cumulative(
    factor: ArrayLike, *, jitter_urad: ArrayLike, divergence_full_angle_urad: ArrayLike, boresight_urad: ArrayLike = 0.0
) -> Array:
    """Probability that the pointing factor is at most ``factor``; broadcast.

    h^(g^2) without an offset, Marcum's Q function with one; good to about 1e-12 absolutely. Parameters, source and errors as in
    `pointing_density`.
    """
    theta, sigma, offset = _pointing(jitter_urad, divergence_full_angle_urad, boresight_urad, lowest_urad=1e-6)
    h = np.clip(np.asarray(factor, float), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        squared_angle = -0.5 * theta**2 * np.log(h)
    return np.asarray(1.0 - chndtr(squared_angle / sigma**2, 2.0, (offset / sigma) ** 2))


def sample_pointing_factors(
    count: int, *, jitter_urad: float, divergence_full_angle_urad: float, generator: np.random.Generator, boresight_urad: float = 0.0
) -> Array:
    """``count`` independent pointing factors, shape (count,): two normal axes, exact under the model of `pointing_density`.

    Raises InputError on a negative angle or count.
    """
    require_within("count", count, 0, 10**9)
    theta, sigma, offset = _pointing(jitter_urad, divergence_full_angle_urad, boresight_urad, lowest_urad=0.0)
    along = offset + sigma * generator.standard_normal(count)
    across = sigma * generator.standard_normal(count)
    return np.asarray(np.exp(-2.0 * (along**2 + across**2) / theta**2))


def turbulent_divergence_urad(divergence_full_angle_urad: ArrayLike, *, wavelength_nm: ArrayLike, fried_parameter_m: ArrayLike) -> Array:
    """Full 1/e^2 angle [microradian] of a beam behind turbulence near its transmitter, averaged over long; broadcast.

    theta (1 + (D0 / r0)^(5/3))^(3/5) with D0^2 = 8 W0^2 and r0 the Fried parameter [m] seen from the transmitter (Andrews and Phillips
    2005, doi:10.1117/3.626196, chapter 12; recalled). W0 is the waist of the diffraction-limited beam of that divergence: in the far field
    turbulence multiplies the beam's transfer function, whatever made the beam wide. On the axis 0 to 0.35 dB below the exact integral over
    Kolmogorov's structure function. Wander is part of it. Raises InputError on a Fried parameter below 0.1 mm; an infinite one is calm air.
    """
    theta = _divergence(divergence_full_angle_urad)
    waist_m = 4.0 / (wave_number_per_m(wavelength_nm) * theta * RADIAN_PER_MICRORADIAN)
    fried_m = require_each_within("fried_parameter_m", fried_parameter_m, 1e-4, np.inf)
    return theta * (1.0 + (np.sqrt(8.0) * waist_m / fried_m) ** (5.0 / 3.0)) ** 0.6


def beam_wander_urad(waist_m: ArrayLike, *, wavelength_nm: ArrayLike, fried_parameter_m: ArrayLike) -> Array:
    """Standard deviation per axis [microradian] of the direction of a Gaussian beam sent up through turbulence; broadcast.

    The gradient of the phase weighted with the beam's own irradiance, for Kolmogorov's spectrum without an outer scale:
    variance 0.1368 wavelength^2 waist^(-1/3) r0^(-5/3), the constant worked out here; for an evenly lit aperture of diameter 2 waists the
    textbooks' gradient tilt has 0.170 where this has 0.172. `turbulent_divergence_urad` contains it already: a transmitter that
    tracks it away gets the narrower beam theta^2 - 4 sigma^2 of the half angle. Raises InputError as the two functions above.
    """
    waist = require_each_within("waist_m", waist_m, 1e-4, 100.0)
    fried_m = require_each_within("fried_parameter_m", fried_parameter_m, 1e-4, np.inf)
    wavelength_m = 2.0 * np.pi / wave_number_per_m(wavelength_nm)
    return np.sqrt(0.1368 * waist ** (-1.0 / 3.0) * fried_m ** (-5.0 / 3.0)) * wavelength_m / RADIAN_PER_MICRORADIAN


def _divergence(divergence_full_angle_urad: ArrayLike) -> Array:
    return require_each_within("divergence_full_angle_urad", divergence_full_angle_urad, 1e-6, LARGEST_ANGLE_URAD)


def _aperture(aperture_m: ArrayLike) -> Array:
    return require_each_within("aperture_m", aperture_m, 1e-3, 100.0)


def _telescope(truncation: ArrayLike, obscuration: ArrayLike) -> tuple[Array, Array]:
    return require_each_within("truncation", truncation, 0.01, 100.0), require_each_within("obscuration", obscuration, 0.0, 0.99)


def _pointing(
    jitter_urad: ArrayLike, divergence_full_angle_urad: ArrayLike, boresight_urad: ArrayLike, *, lowest_urad: float
) -> tuple[Array, Array, Array]:
    """Half angle of the beam, jitter and offset, all in microradian."""
    return (
        0.5 * _divergence(divergence_full_angle_urad),
        require_each_within("jitter_urad", jitter_urad, lowest_urad, LARGEST_ANGLE_URAD),
        require_each_within("boresight_urad", boresight_urad, 0.0, LARGEST_ANGLE_URAD),
    )
