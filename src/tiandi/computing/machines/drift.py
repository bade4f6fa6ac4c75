"""How a calibration ages. The model and all its numbers are ours ("assumed"); that T1 jumps when a two-level defect drifts into
resonance is from Klimov et al., PRL 121, 090502 (2018), doi:10.1103/PhysRevLett.121.090502.

- log T1 follows an Ornstein-Uhlenbeck process from 0, as does the frequency; pure dephasing stays.
- Defects come to a qubit at random times and leave again; while one is there, T1 is a fraction of what it was.
- A gate's settings drift off their optimum x by x, an Ornstein-Uhlenbeck process, too: the error grows as 1 + x^2, never shrinks.
- What T1 loses is added to the gates' errors (half of gate time over T1, for each qubit).

A twin of age 2 h is what the twin of age 1 h became: at every quarter of an hour both lie on one path.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tiandi.computing.machines.calibration import BoolArray, Calibration, FloatArray
from tiandi.computing.machines.lattice import IntArray
from tiandi.random import twin_generator

STEP_S = 900.0
OLDEST_S = 90 * 86400.0
LARGEST_PAULI_ERROR = 0.5


@dataclass(frozen=True, slots=True)
class DriftModel:
    """Times in seconds; standard deviations are those of the settled process."""

    relaxation_s: float = 12 * 3600.0
    log_t1_deviation: float = 0.15
    frequency_deviation_hz: float = 30e3
    setting_deviation: float = 0.4
    between_defects_s: float = 10 * 86400.0
    defect_stays_s: float = 6 * 3600.0
    t1_with_defect: float = 0.3


def drifted(calibration: Calibration, couplers: IntArray, age_s: float, *, machine: str, seed: int) -> Calibration:
    """``calibration`` after ``age_s`` without another one, on the path that machine and seed give; ``couplers``: the lattice's."""
    if age_s <= 0:
        return calibration
    model = DriftModel()
    qubits = len(calibration.t1_s)
    walks, defects = _paths(3 * qubits + len(couplers), qubits, age_s, model, twin_generator(seed, "drift", machine))
    log_t1, detuning, single, two = np.split(walks, [qubits, 2 * qubits, 3 * qubits])
    t1 = calibration.t1_s * np.exp(model.log_t1_deviation * log_t1) * np.where(defects, model.t1_with_defect, 1.0)
    pure = np.maximum(1 / calibration.t2_s - 0.5 / calibration.t1_s, 0.0)
    lost = np.maximum(1 / t1 - 1 / calibration.t1_s, 0.0) / 2
    return replace(
        calibration,
        frequency_hz=calibration.frequency_hz + model.frequency_deviation_hz * detuning,
        t1_s=t1,
        t2_s=1 / (0.5 / t1 + pure),
        single_qubit_error=_worse(calibration.single_qubit_error, model, single, calibration.single_qubit_gate_s * lost),
        two_qubit_error=_worse(calibration.two_qubit_error, model, two, calibration.two_qubit_gate_s * lost[couplers].sum(axis=1)),
        age_s=age_s,
    )


def _paths(walks: int, qubits: int, age_s: float, model: DriftModel, generator: np.random.Generator) -> tuple[FloatArray, BoolArray]:
    """``walks`` Ornstein-Uhlenbeck processes of deviation 1 that began at 0, and which qubits have a defect, both at ``age_s``."""
    values, defects = np.zeros(walks), np.zeros(qubits, bool)
    for step in range(math.ceil(age_s / STEP_S)):
        kick, chance = generator.standard_normal(walks), generator.random(qubits)
        length = min(STEP_S, age_s - step * STEP_S)
        kept = math.exp(-length / model.relaxation_s)
        values = kept * values + math.sqrt(1 - kept**2) * kick
        changes = np.where(defects, length / model.defect_stays_s, length / model.between_defects_s)
        defects = defects ^ (chance < -np.expm1(-changes))
    return values, defects


def _worse(error: FloatArray, model: DriftModel, setting: FloatArray, added: FloatArray) -> FloatArray:
    return np.minimum(error * (1 + (model.setting_deviation * setting) ** 2) + added, LARGEST_PAULI_ERROR)
