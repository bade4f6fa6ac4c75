"""Light between a satellite and a telescope, or between two satellites: what arrives, and at what frequency."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.constants import speed_of_light

from tiandi.errors import InputError
from tiandi.limits import require_each_within
from tiandi.physics.atmosphere import extinction_transmittance
from tiandi.physics.beam import (
    LARGEST_ANGLE_URAD,
    Array,
    BeamShape,
    gaussian_collection,
    top_hat_collection,
    turbulent_divergence_urad,
)
from tiandi.physics.orbit import Positions
from tiandi.physics.turbulence import HUFNAGEL_VALLEY_57, TurbulenceProfile, fried_parameter_m
from tiandi.units import METRE_PER_KILOMETRE, METRE_PER_NANOMETRE, transmittance_from_loss

COLLECTION = {"top-hat": top_hat_collection, "gaussian": gaussian_collection}


def intersatellite_transmittance(
    range_km: ArrayLike,
    *,
    divergence_full_angle_urad: ArrayLike,
    aperture_m: ArrayLike,
    pointing_loss_db: ArrayLike = 0.0,
    jitter_urad: ArrayLike = 0.0,
    beam: BeamShape = "gaussian",
) -> Array:
    """Mean fraction of the light of one satellite that reaches another one's focus, before the receiver's own optics; broadcast.

    Geometry in the convention ``beam`` (see `tiandi.physics.beam`) and pointing, no air. ``jitter_urad`` is the standard deviation of the
    pointing [microradian] on each of two axes: averaged over it, a Gaussian beam is a wider Gaussian beam, exactly; that widening stands
    for it in the top hat. ``pointing_loss_db`` is a constant loss besides. Left out: how the pointing fades from moment to moment
    (`tiandi.physics.beam.pointing_density`). Raises InputError on values out of range.
    """
    if beam not in COLLECTION:
        raise InputError("beam", beam, f"must be one of {', '.join(COLLECTION)}")
    divergence = require_each_within("divergence_full_angle_urad", divergence_full_angle_urad, 1e-6, LARGEST_ANGLE_URAD)
    jitter = require_each_within("jitter_urad", jitter_urad, 0.0, LARGEST_ANGLE_URAD)
    loss_db = require_each_within("pointing_loss_db", pointing_loss_db, 0.0, 100.0)
    collected = COLLECTION[beam](range_km, divergence_full_angle_urad=np.hypot(divergence, 4.0 * jitter), aperture_m=aperture_m)
    return collected * transmittance_from_loss(loss_db)


def downlink_transmittance(
    range_km: ArrayLike,
    elevation_deg: ArrayLike,
    *,
    divergence_full_angle_urad: ArrayLike,
    aperture_m: ArrayLike,
    zenith_extinction_db: ArrayLike,
    pointing_loss_db: ArrayLike,
    jitter_urad: ArrayLike = 0.0,
    beam: BeamShape = "top-hat",
) -> Array:
    """Mean fraction of the light that reaches the telescope's focus, before the receiver's own optics; broadcast.

    `intersatellite_transmittance` times extinction (proportional to air mass). Turbulence spreads a downlink by less than 0.01 dB;
    who wants it passes the divergence of `tiandi.physics.beam.turbulent_divergence_urad`. Left out: scintillation, which
    moves photons between moments but not their sum, and what turbulence costs behind the focus, at a field stop or a fibre.
    """
    through_air = extinction_transmittance(elevation_deg, zenith_extinction_db=zenith_extinction_db)
    return through_air * intersatellite_transmittance(
        range_km,
        divergence_full_angle_urad=divergence_full_angle_urad,
        aperture_m=aperture_m,
        pointing_loss_db=pointing_loss_db,
        jitter_urad=jitter_urad,
        beam=beam,
    )


def uplink_transmittance(
    range_km: ArrayLike,
    elevation_deg: ArrayLike,
    *,
    divergence_full_angle_urad: ArrayLike,
    aperture_m: ArrayLike,
    wavelength_nm: ArrayLike,
    zenith_extinction_db: ArrayLike,
    pointing_loss_db: ArrayLike = 0.0,
    jitter_urad: ArrayLike = 0.0,
    beam: BeamShape = "gaussian",
    air: TurbulenceProfile = HUFNAGEL_VALLEY_57,
) -> Array:
    """Mean fraction of a station's light that reaches the focus of a satellite's telescope of ``aperture_m`` [m]; broadcast.

    As `downlink_transmittance`, with the beam widened by the turbulence it passes first; ``divergence_full_angle_urad`` is without it. The
    mean over long times, wander included, in weak as in strong turbulence; fading is left out. Raises InputError on values out of range.
    """
    fried_m = fried_parameter_m(wavelength_nm, elevation_deg=elevation_deg, air=air)
    return downlink_transmittance(
        range_km,
        elevation_deg,
        divergence_full_angle_urad=turbulent_divergence_urad(
            divergence_full_angle_urad, wavelength_nm=wavelength_nm, fried_parameter_m=fried_m
        ),
        aperture_m=aperture_m,
        zenith_extinction_db=zenith_extinction_db,
        pointing_loss_db=pointing_loss_db,
        jitter_urad=jitter_urad,
        beam=beam,
    )


def range_rates_km_per_s(times_s: ArrayLike, positions: Positions, other: Positions) -> Array:
    """Rate of change [km/s] of the distance between two ends at ``times_s`` (n,), n at least 3; shape (n,), positive when they part.

    From positions [km] of shape (n, 3), of which ``other`` may be a single one (3,), in any common frame, turning or not: parabolas through
    neighbouring moments, off by (step^2 / 6) times the third derivative of the distance, under 1 m/s in a low orbit at steps of 1 s.
    Raises InputError on too few times or times that do not increase.
    """
    times = np.asarray(times_s, float)
    if times.ndim != 1 or times.size < 3 or not (np.diff(times) > 0.0).all():
        raise InputError("times_s", times.shape, "must be at least three times that increase")
    return np.asarray(np.gradient(np.linalg.norm(positions - other, axis=-1), times, edge_order=2))


def doppler_factor(range_rate_km_per_s: ArrayLike) -> Array:
    """Relative change of the frequency of light between ends that part at ``range_rate_km_per_s``, shape as it: -rate / speed of light.

    Left out: terms of the second order and gravity, below 1e-9 in low orbits. Raises InputError on more than 1,000 km/s.
    """
    return -require_each_within("range_rate_km_per_s", range_rate_km_per_s, -1000.0, 1000.0) * METRE_PER_KILOMETRE / speed_of_light


def doppler_shift_hz(range_rate_km_per_s: ArrayLike, *, wavelength_nm: ArrayLike) -> Array:
    """Change of frequency [Hz] of light of ``wavelength_nm`` [nm], otherwise as `doppler_factor`; broadcast."""
    wavelength_m = require_each_within("wavelength_nm", wavelength_nm, 200.0, 20000.0) * METRE_PER_NANOMETRE
    return doppler_factor(range_rate_km_per_s) * speed_of_light / wavelength_m
