"""Light through fibre: what is lost, how pulses spread, and what data channels in the same fibre scatter into the receiver.

Widths are standard deviations ("sigma") of intensities taken as Gaussian; a full width at half maximum is 2.355 times as much.
Left out: the drift of polarisation and phase, for which no figure of an installed cable was at hand, and which receivers track;
polarisation mode dispersion (below 0.2 ps per square root of a km in G.652.D, recalled); four-wave mixing and leaking filters
between channels, which depend on their grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.constants import Planck, speed_of_light
from scipy.special import exprel, ndtr

from tiandi.limits import require_each_within, require_within
from tiandi.units import METRE_PER_NANOMETRE, SECOND_PER_PICOSECOND, WATT_PER_MILLIWATT, transmittance_from_loss

FibreKind = Literal["G.652.D", "ultra-low-loss"]
Array = NDArray[np.float64]

PER_KM_FROM_DB_PER_KM = math.log(10.0) / 10.0

ATTENUATION_DB_PER_KM: dict[FibreKind, tuple[tuple[float, float], ...]] = {
    "G.652.D": ((1310.0, 0.35), (1383.0, 0.31), (1550.0, 0.20), (1625.0, 0.23)),
    "ultra-low-loss": ((1310.0, 0.31), (1550.0, 0.17), (1625.0, 0.20)),
}
"""Largest attenuation that data sheets allow at a wavelength [nm]: a cable of G.652.D fibre, and Corning SMF-28 ULL (PI1470, July 2014)."""

ZERO_DISPERSION_WAVELENGTH_NM = 1312.0
"""In the middle of the 1300 to 1324 nm that data sheets of G.652.D fibre allow."""
ZERO_DISPERSION_SLOPE_PS_PER_NM2_KM = 0.092
"""The largest that data sheets of G.652.D fibre allow; 0.086 is typical."""

RAMAN_COEFFICIENT_PER_KM_NM = 3e-9
"""Share of the light that standard fibre scatters into a nm of one direction in a km, data and photons both near 1550 nm.

Recalled, not re-read: 2e-9 to 4e-9, the more the further apart the two wavelengths lie within the band (Eraerds et al. 2010,
doi:10.1088/1367-2630/12/6/063027, measured the whole band).
"""


def fibre_transmittance(length_km: float, *, attenuation_db_per_km: float, insertion_loss_db: float = 0.0) -> float:
    """Fraction of the light that arrives through ``length_km`` [km] of fibre and its connectors.

    Beer-Lambert: 10^(-(attenuation length + insertion loss) / 10).
    """
    return transmittance_from_loss(attenuation_db_per_km * length_km + insertion_loss_db)


def fibre_attenuation_db_per_km(wavelength_nm: ArrayLike, *, kind: FibreKind = "G.652.D") -> Array:
    """Attenuation [dB/km] that a data sheet guarantees at ``wavelength_nm`` [nm], 1310 to 1625; shape as ``wavelength_nm``.

    Between the wavelengths of `ATTENUATION_DB_PER_KM` it is linear in wavelength^-4, as Rayleigh scattering is. Left out: the water
    peak near 1383 nm of the ultra-low-loss fibre, which its data sheet does not bound, and installed cables that are worse than
    their data sheet. Raises InputError on another wavelength.
    """
    wavelength = require_each_within("wavelength_nm", wavelength_nm, 1310.0, 1625.0)
    known_wavelengths, known = np.array(ATTENUATION_DB_PER_KM[kind][::-1]).T
    return np.asarray(np.interp(wavelength**-4.0, known_wavelengths**-4.0, known))


def joint_loss_db(*, splices: int, splice_loss_db: float, connectors: int, connector_loss_db: float) -> float:
    """Loss [dB] of all splices and connectors of a fibre, given how many there are and the loss of each.

    Recalled: 0.02 to 0.1 dB a fusion splice, one every 2 to 6 km of cable; 0.2 to 0.5 dB a mated pair of connectors. Raises
    InputError on a negative number or loss.
    """
    for field, value in {
        "splices": splices,
        "splice_loss_db": splice_loss_db,
        "connectors": connectors,
        "connector_loss_db": connector_loss_db,
    }.items():
        require_within(field, value, 0.0, math.inf)
    return splices * splice_loss_db + connectors * connector_loss_db


def chromatic_dispersion_ps_per_nm_km(
    wavelength_nm: ArrayLike,
    *,
    zero_dispersion_wavelength_nm: float = ZERO_DISPERSION_WAVELENGTH_NM,
    zero_dispersion_slope_ps_per_nm2_km: float = ZERO_DISPERSION_SLOPE_PS_PER_NM2_KM,
) -> Array:
    """Chromatic dispersion D [ps/(nm km)] at ``wavelength_nm`` [nm], 1200 to 1700; shape as ``wavelength_nm``.

    S0 / 4 (wavelength - zero^4 / wavelength^3), the fit that ITU-T G.652 prescribes for standard fibre (recalled). Fibres of larger
    effective area (G.654) have some 3 ps/(nm km) more at 1550 nm (recalled). Raises InputError on an argument out of range.
    """
    wavelength = require_each_within("wavelength_nm", wavelength_nm, 1200.0, 1700.0)
    require_within("zero_dispersion_wavelength_nm", zero_dispersion_wavelength_nm, 1260.0, 1400.0)
    require_within("zero_dispersion_slope_ps_per_nm2_km", zero_dispersion_slope_ps_per_nm2_km, 0.05, 0.12)
    return zero_dispersion_slope_ps_per_nm2_km / 4.0 * (wavelength - zero_dispersion_wavelength_nm**4 / wavelength**3)


def transform_limited_bandwidth_sigma_nm(pulse_sigma_s: ArrayLike, *, wavelength_nm: float) -> Array:
    """Smallest bandwidth [nm] that a pulse of ``pulse_sigma_s`` [s] can have; shape as ``pulse_sigma_s``.

    wavelength^2 / (4 pi c sigma), reached by an unchirped Gaussian pulse: its widths in time and angular frequency multiply to 1/2.
    A gain-switched laser has several times as much. Raises InputError on an argument out of range.
    """
    pulse = require_each_within("pulse_sigma_s", pulse_sigma_s, 1e-13, 1e-6)
    require_within("wavelength_nm", wavelength_nm, 400.0, 2000.0)
    return wavelength_nm**2 * METRE_PER_NANOMETRE / (4.0 * math.pi * speed_of_light * pulse)


def dispersion_sigma_s(length_km: ArrayLike, *, dispersion_ps_per_nm_km: ArrayLike, bandwidth_sigma_nm: ArrayLike) -> Array:
    """Spread of arrival [s] that dispersion adds, in squares, to a pulse over ``length_km`` [km] of fibre; arguments broadcast.

    |D| length bandwidth: exact for a Gaussian pulse without chirp and a slope of dispersion that does not matter, which fails within
    a few nm of zero dispersion. Raises InputError on a negative length or bandwidth.
    """
    length = require_each_within("length_km", length_km, 0.0, 1e5)
    bandwidth = require_each_within("bandwidth_sigma_nm", bandwidth_sigma_nm, 0.0, 100.0)
    return np.abs(np.asarray(dispersion_ps_per_nm_km, float)) * length * bandwidth * SECOND_PER_PICOSECOND


@dataclass(frozen=True)
class GateShares:
    """Fractions of a pulse's clicks that fall into its own gate, the one before and the one after, each of shape (...)."""

    accepted: Array
    into_previous: Array
    into_next: Array


def gate_shares(
    *,
    pulse_sigma_s: ArrayLike,
    dispersion_sigma_s: ArrayLike,
    jitter_sigma_s: ArrayLike,
    gate_s: float,
    clock_hz: float,
    offset_s: ArrayLike = 0.0,
) -> GateShares:
    """Where the clicks of a pulse fall that leaves the source as wide as ``pulse_sigma_s`` [s]; array arguments broadcast.

    Pulse, dispersion and jitter of the detector are convolved as Gaussians: their squares add. Gates of ``gate_s`` [s] repeat with
    ``clock_hz`` [Hz]; the pulse arrives ``offset_s`` [s] after the middle of its own. Left out: the exponential tail of avalanche
    diodes' jitter. Raises InputError on an argument out of range, such as gates that overlap.
    """
    pulse = require_each_within("pulse_sigma_s", pulse_sigma_s, 1e-15, 1e-6)
    dispersed = require_each_within("dispersion_sigma_s", dispersion_sigma_s, 0.0, 1e-3)
    jitter = require_each_within("jitter_sigma_s", jitter_sigma_s, 0.0, 1e-6)
    require_within("clock_hz", clock_hz, 1.0, 1e11)
    require_within("gate_s", gate_s, 0.0, 1.0 / clock_hz)
    spread = np.sqrt(pulse**2 + dispersed**2 + jitter**2)
    offset = np.asarray(offset_s, float)

    def share(late_s: Array) -> Array:
        """Fraction within a gate whose middle lies ``late_s`` after the pulse; taken on the left, where the tail keeps its digits."""
        middle = -np.abs(late_s)
        return np.asarray(ndtr((middle + 0.5 * gate_s) / spread) - ndtr((middle - 0.5 * gate_s) / spread))

    return GateShares(accepted=share(-offset), into_previous=share(-1.0 / clock_hz - offset), into_next=share(1.0 / clock_hz - offset))


@dataclass(frozen=True)
class SharedFibre:
    """A fibre that carries a data channel beside the photons, and the filter through which the receiver sees it.

    ``launch_power_dbm`` is the mean power of the data where it enters, ``filter_bandwidth_nm`` the pass band of the receiver.
    Several data channels are several of these; their rates add. Raises InputError on a field out of its range.
    """

    launch_power_dbm: float
    filter_bandwidth_nm: float
    wavelength_nm: float = 1550.0
    attenuation_db_per_km: float = 0.2
    data_attenuation_db_per_km: float = 0.2
    raman_coefficient_per_km_nm: float = RAMAN_COEFFICIENT_PER_KM_NM

    def __post_init__(self) -> None:
        require_within("launch_power_dbm", self.launch_power_dbm, -100.0, 30.0)
        require_within("filter_bandwidth_nm", self.filter_bandwidth_nm, 0.0, 100.0)
        require_within("wavelength_nm", self.wavelength_nm, 1200.0, 1700.0)
        require_within("attenuation_db_per_km", self.attenuation_db_per_km, 0.1, 5.0)
        require_within("data_attenuation_db_per_km", self.data_attenuation_db_per_km, 0.1, 5.0)
        require_within("raman_coefficient_per_km_nm", self.raman_coefficient_per_km_nm, 0.0, 1e-6)

    @property
    def _scattered_hz_per_km(self) -> float:
        """Photons a second within the filter that a km scatters in one direction where the data has its full power."""
        power_w = WATT_PER_MILLIWATT * transmittance_from_loss(-self.launch_power_dbm)
        photon_energy_j = Planck * speed_of_light / (self.wavelength_nm * METRE_PER_NANOMETRE)
        return power_w / photon_energy_j * self.raman_coefficient_per_km_nm * self.filter_bandwidth_nm


def forward_raman_rate_hz(length_km: ArrayLike, shared: SharedFibre) -> Array:
    """Raman photons a second [Hz] at the end of ``length_km`` [km] of fibre from data sent along with the photons; shape as ``length_km``.

    P rho bandwidth times the integral of e^(-data z) e^(-quantum (length - z)), z from 0 to the length: P length e^(-alpha length) rho
    bandwidth where both attenuations are alpha (Eraerds et al. 2010, doi:10.1088/1367-2630/12/6/063027, formula recalled). Scattering
    takes nothing noticeable from the data. Raises InputError on a negative length.
    """
    length = require_each_within("length_km", length_km, 0.0, 1e4)
    less, more = sorted(
        PER_KM_FROM_DB_PER_KM * attenuation for attenuation in (shared.attenuation_db_per_km, shared.data_attenuation_db_per_km)
    )
    return shared._scattered_hz_per_km * length * np.exp(-less * length) * exprel((less - more) * length)


def backward_raman_rate_hz(length_km: ArrayLike, shared: SharedFibre) -> Array:
    """Raman photons a second [Hz] that come back out where the data enters, at the receiver's end; shape as ``length_km``.

    P rho bandwidth (1 - e^(-(data + quantum) length)) / (data + quantum), the same source. Left out: Rayleigh scattering of forward
    Raman light, some 30 dB weaker. Raises InputError on a negative length.
    """
    length = require_each_within("length_km", length_km, 0.0, 1e4)
    both_ways = PER_KM_FROM_DB_PER_KM * (shared.attenuation_db_per_km + shared.data_attenuation_db_per_km)
    return shared._scattered_hz_per_km * -np.expm1(-both_ways * length) / both_ways


def noise_counts_per_gate(photon_rate_hz: ArrayLike, *, efficiency: float, gate_s: float) -> Array:
    """Mean clicks in a gate of ``gate_s`` [s] from photons that come at ``photon_rate_hz`` [Hz] at any time; shape as the rate.

    ``efficiency`` is that of optics and detector, and of a receiver with several detectors the share that one of them gets: the
    light is unpolarised. Raises InputError on an argument out of range.
    """
    rate = require_each_within("photon_rate_hz", photon_rate_hz, 0.0, math.inf)
    require_within("efficiency", efficiency, 0.0, 1.0)
    require_within("gate_s", gate_s, 0.0, 1.0)
    return rate * efficiency * gate_s
