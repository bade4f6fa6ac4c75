"""Clear air between a station and space: how much of it the light crosses, and what it takes away.

Left out: refraction. It lifts a satellite by 0.1 degree at 10 degrees of elevation and by less above, which changes the air mass by 1 %;
the elevations are geometric. Absorption by gases is left out as well: choose wavelengths outside their lines, or measure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tiandi.limits import require_each_within, require_within
from tiandi.physics.beam import Array
from tiandi.units import MICROMETRE_PER_NANOMETRE, loss_from_transmittance, transmittance_from_loss

ELEVATION_WITH_PLAIN_SECANT_DEG = 20.0
AIR_SCALE_HEIGHT_M = 8434.0
"""Height over which the pressure of an isothermal atmosphere at 288.15 K falls by e."""


def air_mass(elevation_deg: ArrayLike) -> Array:
    """Length of the way through the atmosphere over that at the zenith, shape as ``elevation_deg``.

    1/sin(elevation) above 20 degrees, Kasten and Young 1989 (doi:10.1364/AO.28.004735, eq. 3) below. Raises InputError on an elevation
    outside 0 to 90 degrees.
    """
    elevation = require_each_within("elevation_deg", elevation_deg, 0.0, 90.0)
    sine = np.sin(np.radians(elevation))
    low = 1.0 / (sine + 0.50572 * (elevation + 6.07995) ** -1.6364)
    with np.errstate(divide="ignore"):
        return np.where(elevation > ELEVATION_WITH_PLAIN_SECANT_DEG, 1.0 / sine, low)


def extinction_transmittance(elevation_deg: ArrayLike, *, zenith_extinction_db: ArrayLike) -> Array:
    """Fraction of the light that clear air lets through, when it takes ``zenith_extinction_db`` [dB] from light at the zenith; broadcast.

    Beer and Lambert: the loss [dB] grows with `air_mass`. Raises InputError on a loss outside 0 to 100 dB and as `air_mass` does.
    """
    return transmittance_from_loss(require_each_within("zenith_extinction_db", zenith_extinction_db, 0.0, 100.0) * air_mass(elevation_deg))


def zenith_scattering_loss_db(
    wavelength_nm: ArrayLike, *, turbidity: ArrayLike, angstrom_exponent: float = 1.3, station_altitude_m: float = 0.0
) -> Array:
    """Loss [dB] by scattering between space and a station, for light at the zenith; broadcast.

    Molecules have the optical depth 0.008569 L^-4 (1 + 0.0113 L^-2 + 0.00013 L^-4) at sea level, L the wavelength in micrometres, and less
    above it in proportion to the pressure (Hansen and Travis 1974, doi:10.1007/BF00168069; recalled). Haze has ``turbidity`` x L^-exponent
    (Angstrom), with the turbidity over the station itself: 0.01 in very clear air, 0.5 in haze; the exponent is 1.3 on average. Left out:
    gases, clouds, and light scattered forward into the telescope. Raises InputError outside 300 to 2,500 nm or turbidities of 0 to 5.
    """
    length = require_each_within("wavelength_nm", wavelength_nm, 300.0, 2500.0) * MICROMETRE_PER_NANOMETRE
    require_within("angstrom_exponent", angstrom_exponent, -1.0, 4.0)
    require_within("station_altitude_m", station_altitude_m, -500.0, 9000.0)
    haze = require_each_within("turbidity", turbidity, 0.0, 5.0) * length**-angstrom_exponent
    molecules = 0.008569 * length**-4 * (1.0 + 0.0113 * length**-2 + 0.00013 * length**-4)
    return loss_from_transmittance(np.exp(-molecules * np.exp(-station_altitude_m / AIR_SCALE_HEIGHT_M) - haze))
