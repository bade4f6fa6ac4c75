"""Light from a satellite down to a telescope."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiandi.units import METRE_PER_KILOMETRE, RADIAN_PER_MICRORADIAN, transmittance_from_loss

ELEVATION_WITH_PLAIN_SECANT_DEG = 20.0


def top_hat_collection(range_km: NDArray[np.float64], *, divergence_full_angle_urad: float, aperture_m: float) -> NDArray[np.float64]:
    """Fraction of an evenly filled beam that a telescope collects, shape as ``range_km``.

    Convention: top hat, the area of the aperture [m] over the area of a disc of ``divergence_full_angle_urad`` full angle.
    For a small aperture it is half of what a Gaussian beam of that 1/e^2 full angle gives on its axis. This is the
    convention of Liao et al. 2017 (doi:10.1038/nature23655), who count 22 dB at 1,200 km for about 10 microradian; it gives 21.6 dB.
    """
    beam_radius_m = 0.5 * divergence_full_angle_urad * RADIAN_PER_MICRORADIAN * range_km * METRE_PER_KILOMETRE
    return np.minimum(1.0, (0.5 * aperture_m / beam_radius_m) ** 2)


def air_mass(elevation_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Length of the way through the atmosphere over that at the zenith, shape as ``elevation_deg``.

    1/sin(elevation) above 20 degrees, Kasten and Young 1989 (doi:10.1364/AO.28.004735, eq. 3) below.
    """
    sine = np.sin(np.radians(elevation_deg))
    low = 1.0 / (sine + 0.50572 * (elevation_deg + 6.07995) ** -1.6364)
    return np.where(elevation_deg > ELEVATION_WITH_PLAIN_SECANT_DEG, 1.0 / sine, low)


def downlink_transmittance(
    range_km: NDArray[np.float64],
    elevation_deg: NDArray[np.float64],
    *,
    divergence_full_angle_urad: float,
    aperture_m: float,
    zenith_extinction_db: float,
    pointing_loss_db: float,
) -> NDArray[np.float64]:
    """Fraction of the light that reaches the telescope's focus, before the receiver's own optics; shape as ``range_km``.

    Geometry times extinction (proportional to air mass) times a constant mean pointing loss. Left out: scintillation and the
    spread of the pointing, which move photons between seconds but hardly change a pass's sum.
    """
    geometry = top_hat_collection(range_km, divergence_full_angle_urad=divergence_full_angle_urad, aperture_m=aperture_m)
    return geometry * transmittance_from_loss(zenith_extinction_db * air_mass(elevation_deg) + pointing_loss_db)
