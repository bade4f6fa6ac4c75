"""The chip as it is at one moment of laboratory time, under one setting: what drift and biases make of the parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from tiandi.computing.chip.drift import Drifted
from tiandi.computing.chip.parameters import FloatArray, Hidden
from tiandi.computing.chip.transmons import coupling_hz, push, resonator_shifts_hz, transmon_hz, transmon_slope_hz, zz_hz
from tiandi.computing.instruments.instrument import Settings

WHITE_SHARE_OF_FLUX_NOISE = 0.15
"""How much of the flux noise is faster than a sequence: it dephases as white noise of this share of the slow part's width. Assumed."""
PURCELL_FILTER = 0.03
"""What a filter leaves of the decay through the resonator. Assumed."""


@dataclass(frozen=True, eq=False)
class Conditions:
    """(qubits,) unless said otherwise."""

    flux: FloatArray
    bare_hz: FloatArray
    """f01 of the transmon alone."""
    frequency_hz: FloatArray
    """f01 with neighbours in state 0 and the mixer's leakage on: what a spectroscopist finds."""
    slope_hz: FloatArray
    """Of the frequency by the flux, per flux quantum."""
    t1_s: FloatArray
    white_dephasing_hz: FloatArray
    slow_hz: FloatArray
    """Standard deviation of the frequency from shot to shot."""
    thermal: FloatArray
    defect_hz: FloatArray
    """(qubits, defects)."""
    drive: sparse.csr_array
    """(qubits, lines): complex Rabi frequency at amplitude 1, in Hz."""
    flux_matrix: sparse.csr_array
    """(elements, lines): flux quanta per volt that a program asks for, compensation included."""
    coupler_flux: FloatArray
    coupler_hz: FloatArray
    coupling_hz: FloatArray
    zz_hz: FloatArray
    """(couplers,)."""
    resonator_hz: FloatArray
    """(qubits, 3): with the transmon in state 0, 1, 2, at low power."""
    angle_rad: FloatArray


def conditions(hidden: Hidden, settings: Settings, drifted: Drifted) -> Conditions:
    """The chip under ``settings`` when it has ``drifted``."""
    qubits, couplers = hidden.qubits, hidden.couplers
    matrix = flux_matrix(hidden, settings)
    flux = matrix @ np.concatenate([settings.flux_bias_v, settings.coupler_bias_v])
    own = flux[:qubits] + hidden.offset + drifted.flux
    other = flux[qubits:] + couplers.offset + drifted.coupler_flux
    bare = transmon_hz(own, hidden.maximum_hz, hidden.asymmetry, hidden.anharmonicity_hz) + drifted.frequency_hz
    slope = transmon_slope_hz(own, hidden.maximum_hz, hidden.asymmetry, hidden.anharmonicity_hz)
    coupler = transmon_hz(other, couplers.maximum_hz, couplers.asymmetry, couplers.anharmonicity_hz)
    first, second = hidden.layout.couplers.T
    coupling = coupling_hz(
        bare[first], bare[second], coupler, direct=couplers.direct_hz, first=couplers.first_hz, second=couplers.second_hz
    )
    apart = bare[first] - bare[second]
    shift = push(apart, coupling)
    dressed = bare.copy()
    np.add.at(dressed, first, shift)
    np.add.at(dressed, second, -shift)
    drive = _drive(hidden, drifted)
    stark, saturation = _leakage(hidden, settings, drive, dressed)
    dressed = dressed + stark
    defect = hidden.defect_hz + drifted.defect_hz
    resonator = hidden.resonator_hz[:, None] + resonator_shifts_hz(
        bare, hidden.anharmonicity_hz, hidden.resonator_hz, hidden.resonator_coupling_hz
    )
    return Conditions(
        flux=own,
        bare_hz=bare,
        frequency_hz=dressed,
        slope_hz=slope,
        t1_s=1 / decay_rate(hidden, defect, dressed),
        white_dephasing_hz=white_dephasing_hz(hidden, slope),
        slow_hz=np.hypot(hidden.slow_hz, slope * hidden.flux_noise),
        thermal=np.minimum(hidden.thermal + saturation, 0.5),
        defect_hz=defect,
        drive=drive,
        flux_matrix=matrix,
        coupler_flux=other,
        coupler_hz=coupler,
        coupling_hz=coupling,
        zz_hz=zz_hz(apart, coupling, hidden.anharmonicity_hz[first], hidden.anharmonicity_hz[second]),
        resonator_hz=resonator,
        angle_rad=hidden.angle_rad + drifted.angle_rad,
    )


def flux_matrix(hidden: Hidden, settings: Settings) -> sparse.csr_array:
    """(elements, lines): flux quanta in an element per volt that a program asks of a line."""
    size = hidden.qubits + len(hidden.couplers.volt)
    volt = np.concatenate([hidden.volt, hidden.couplers.volt])
    hardware = sparse.csr_array((hidden.flux_value / volt[hidden.flux_row], (hidden.flux_row, hidden.flux_column)), shape=(size, size))
    if not settings.flux_compensation:
        return hardware
    places = np.array(list(settings.flux_compensation), np.int64)
    shares = np.array(list(settings.flux_compensation.values()))
    compensation = sparse.csr_array((-shares, (places[:, 0], places[:, 1])), shape=(size, size))
    return sparse.csr_array(hardware + hardware @ compensation)


def white_dephasing_hz(hidden: Hidden, slope_hz: FloatArray) -> FloatArray:
    """1 / Tphi of the fast noise; ``slope_hz`` may have further axes in front of the qubits'."""
    return hidden.white_dephasing_hz + 2 * np.pi * WHITE_SHARE_OF_FLUX_NOISE * np.abs(slope_hz) * hidden.flux_noise


def decay_rate(hidden: Hidden, defect_hz: FloatArray, frequency_hz: FloatArray) -> FloatArray:
    """1 / T1 [1/s]: the material's, that through the resonator, and 2 g^2 w / (w^2 + D^2) of each two-level system of width w at D.

    Barends et al., PRL 111, 080502 (2013), doi 10.1103/PhysRevLett.111.080502, equation 1; decay through the resonator: kappa (g/D)^2,
    Koch et al. (2007), less what the filter stops. Angular frequencies throughout.
    """
    away = 2 * np.pi * (defect_hz - frequency_hz[:, None])
    width, coupling = 2 * np.pi * hidden.defect_width_hz, 2 * np.pi * hidden.defect_coupling_hz
    defects = (2 * coupling**2 * width / (width**2 + away**2)).sum(axis=1)
    purcell = 2 * np.pi * hidden.linewidth_hz * (hidden.resonator_coupling_hz / (frequency_hz - hidden.resonator_hz)) ** 2
    return 1 / hidden.t1_s + defects + PURCELL_FILTER * purcell


def _drive(hidden: Hidden, drifted: Drifted) -> sparse.csr_array:
    value = hidden.drive_value * np.exp(drifted.log_drive[hidden.drive_row])
    return sparse.csr_array((value, (hidden.drive_row, hidden.drive_column)), shape=(hidden.qubits, hidden.qubits))


def _leakage(hidden: Hidden, settings: Settings, drive: sparse.csr_array, frequency_hz: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Shift of f01 [Hz] and population of state 1 that the tones at the local oscillators make; they are always on.

    A tone of Rabi frequency R at D from the qubit moves it by (sqrt(D^2 + R^2) - |D|) away from the tone and, in time, keeps up to half of
    R^2 / (R^2 + D^2) excited. That a steady tone may be taken so is our approximation. Of a qubit's own line alone.
    """
    tone = hidden.leakage + settings.drive_offset
    line = np.zeros(hidden.qubits)
    reach = drive.tocoo()
    strongest = np.zeros(hidden.qubits)
    oscillator = np.zeros(hidden.qubits)
    order = np.argsort(np.abs(reach.data), kind="stable")
    strongest[reach.row[order]] = np.abs(reach.data[order])
    line[reach.row[order]] = np.abs(tone[reach.col[order]])
    oscillator[reach.row[order]] = settings.oscillator_hz[reach.col[order]]
    rabi = strongest * line
    away = frequency_hz - oscillator
    shift = np.where(away >= 0, 1.0, -1.0) * (np.hypot(away, rabi) - np.abs(away))
    return shift, 0.5 * rabi**2 / (rabi**2 + away**2 + 1.0)
