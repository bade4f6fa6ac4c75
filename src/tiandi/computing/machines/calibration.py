"""What a machine's calibration says at one moment, as arrays over its qubits and couplers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Errors are Pauli errors (the probability that a gate is followed by any Pauli but the identity), the field's e1 and e2.

    Shapes: (qubits,) for what a qubit has, (couplers,) for what a coupler has.
    """

    frequency_hz: FloatArray
    anharmonicity_hz: FloatArray
    t1_s: FloatArray
    t2_s: FloatArray
    single_qubit_error: FloatArray
    one_for_zero: FloatArray
    """Probability to read 1 where the qubit was 0."""
    zero_for_one: FloatArray
    qubit_works: BoolArray
    two_qubit_error: FloatArray
    coupling_hz: FloatArray
    coupler_works: BoolArray
    single_qubit_gate_s: float
    two_qubit_gate_s: float
    readout_s: float
    age_s: float = 0.0
    """Time since the calibration that it drifted from."""
