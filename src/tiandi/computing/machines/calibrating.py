"""A calibration drawn around what is published of a machine.

Each figure is drawn log-normally with the data sheet's spread, then scaled so that its mean or median, whichever was published, over the
qubits and couplers that the published experiment used (all of them where none is known) is the published figure exactly.
"""

from __future__ import annotations

import numpy as np

from tiandi.computing.machines.calibration import BoolArray, Calibration, FloatArray
from tiandi.computing.machines.lattice import Lattice
from tiandi.computing.machines.layouts import subset
from tiandi.computing.machines.sheets import DataSheet, Fact, pauli_per_average
from tiandi.random import twin_generator

LARGEST_PAULI_ERROR = 0.5
LARGEST_READOUT_ERROR = 0.45


def draw_calibration(sheet: DataSheet, lattice: Lattice, seed: int) -> Calibration:
    """One calibration of the machine, the same for the same seed; every number of it is drawn from a stream of its own."""
    used = np.zeros(lattice.qubit_count, bool)
    used[list(subset(sheet.id, int(sheet.number("qubits_used") or lattice.qubit_count)))] = True
    first, second = lattice.couplers.T
    joined_used = used[first] & used[second]

    def of_qubits(field: str, scale: float = 1.0) -> FloatArray:
        return scale * _drawn(sheet.need(field), used, seed, sheet.id, field)

    average = sheet.error_kind == "average"
    t1 = of_qubits("t1_s")
    one_for_zero, zero_for_one = _readout(sheet, used, seed)
    return Calibration(
        frequency_hz=of_qubits("frequency_hz"),
        anharmonicity_hz=of_qubits("anharmonicity_hz"),
        t1_s=t1,
        t2_s=np.minimum(of_qubits("t2_s"), 2 * t1),
        single_qubit_error=np.minimum(of_qubits("single_qubit_error", pauli_per_average(1) if average else 1.0), LARGEST_PAULI_ERROR),
        one_for_zero=one_for_zero,
        zero_for_one=zero_for_one,
        qubit_works=np.ones(lattice.qubit_count, bool),
        two_qubit_error=np.minimum(
            (pauli_per_average(2) if average else 1.0)
            * _drawn(sheet.need("two_qubit_error"), joined_used, seed, sheet.id, "two_qubit_error"),
            LARGEST_PAULI_ERROR,
        ),
        coupling_hz=_drawn(sheet.need("coupling_hz"), joined_used, seed, sheet.id, "coupling_hz"),
        coupler_works=np.ones(len(lattice.couplers), bool),
        single_qubit_gate_s=sheet.need("single_qubit_gate_s").number,
        two_qubit_gate_s=sheet.need("two_qubit_gate_s").number,
        readout_s=sheet.need("readout_s").number,
    )


def _drawn(fact: Fact, used: BoolArray, seed: int, *names: str) -> FloatArray:
    """One value a qubit or coupler; over ``used`` its mean or median is the fact's, of the fact's sign."""
    values = np.exp(fact.spread * twin_generator(seed, "machine", *names).standard_normal(len(used)))
    middle = np.median(values[used]) if fact.statistic == "median" else values[used].mean()
    return fact.number * values / middle


def _readout(sheet: DataSheet, used: BoolArray, seed: int) -> tuple[FloatArray, FloatArray]:
    """Probabilities to read 1 for 0 and 0 for 1: where only their mean is published, it is split by the assumed share."""
    if "one_for_zero" in sheet.facts:
        both = [_drawn(sheet.need(field), used, seed, sheet.id, field) for field in ("one_for_zero", "zero_for_one")]
    else:
        mean, share = _drawn(sheet.need("readout_error"), used, seed, sheet.id, "readout_error"), sheet.need("one_for_zero_share").number
        both = [2 * mean * share, 2 * mean * (1 - share)]
    return np.minimum(both[0], LARGEST_READOUT_ERROR), np.minimum(both[1], LARGEST_READOUT_ERROR)
