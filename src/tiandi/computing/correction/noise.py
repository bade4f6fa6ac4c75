"""What goes wrong in one cycle of error correction on a machine: the twin's calibration, with what the experiment published instead.

Each figure that `conditions` has scales the twin's values so that their mean over the machine is that figure; their spread stays.
Damping while a qubit waits is twirled (`machines.prediction.twirled`). Mechanisms that can be turned off are `MECHANISMS`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tiandi.computing.circuits.noise import FloatArray
from tiandi.computing.correction.conditions import Conditions, conditions_of
from tiandi.computing.correction.patch import LARGEST_DISTANCE
from tiandi.computing.machines.lattice import Lattice, checkerboard
from tiandi.computing.machines.noise_model import damping
from tiandi.computing.machines.prediction import twirled
from tiandi.computing.machines.twin import Twin
from tiandi.errors import InputError
from tiandi.random import twin_generator

MECHANISMS = {
    "two-qubit gates": "Pauli errors of CZ gates",
    "single-qubit gates": "Pauli errors of turns",
    "idling": "decay and dephasing of data qubits during readout and reset, and of whoever waits during gates",
    "readout": "wrong readout",
    "reset": "ancillas that a reset leaves excited",
    "leakage": "leaked qubits, which spoil their neighbours' gates until they are brought back",
    "crosstalk": "ZZ between neighbours busy in different gates, as fitted to random circuits",
    "stray": "more of the same ZZ: the remainder, fitted to the published error correction",
}


@dataclass(frozen=True, eq=False)
class CycleNoise:
    """Probabilities by qubit (qubits,) or coupler (couplers,) of ``lattice``; Pauli noise of waiting (qubits, 4): I, X, Y, Z.

    ``stray`` and ``crosstalk`` are of ZZ per pair of neighbours busy in different gates. ``leaking``: of each qubit of a two-qubit gate.
    ``settling``: share of leaked qubits that decay back in one cycle by themselves. ``rounds``: cycles of an experiment.
    """

    lattice: Lattice
    single_qubit: FloatArray
    two_qubit: FloatArray
    idle_single: FloatArray
    idle_two: FloatArray
    idle_readout: FloatArray
    readout: FloatArray
    reset: FloatArray
    resets: bool
    leaking: FloatArray
    settling: float
    data_removal: float
    ancilla_removal: float
    crosstalk: float
    stray: float
    cycle_s: float
    rounds: int
    hypothetical: bool = False

    def without(self, mechanism: str) -> CycleNoise:
        """The same with one of `MECHANISMS` turned off; raises InputError for another."""
        if mechanism not in MECHANISMS:
            raise InputError("mechanism", mechanism, f"must be one of {', '.join(MECHANISMS)}")
        still = _waiting_still(len(self.readout))
        if mechanism == "idling":
            return replace(self, idle_single=still, idle_two=still, idle_readout=still)
        field = mechanism.removesuffix(" gates").replace("-", "_").replace("leakage", "leaking")
        # Times nothing: an array stays one.
        return replace(self, **{field: 0 * getattr(self, field)})

    def happening(self) -> list[str]:
        """Those of `MECHANISMS` that happen at all."""
        there = {
            "two-qubit gates": self.two_qubit.any(),
            "single-qubit gates": self.single_qubit.any(),
            "idling": bool((self.idle_readout[:, 0] < 1).any()),
            "readout": self.readout.any(),
            "reset": self.reset.any(),
            "leakage": self.leaking.any(),
            "crosstalk": self.crosstalk > 0,
            "stray": self.stray > 0,
        }
        return [mechanism for mechanism in MECHANISMS if there[mechanism]]


def cycle_noise(twin: Twin, conditions: Conditions | None = None) -> CycleNoise:
    """The noise of one cycle on ``twin``; ``conditions``: of another experiment than the one known of the machine."""
    found = conditions_of(twin.sheet.id) if conditions is None else conditions
    calibration = twin.calibration

    def meant(field: str, values: FloatArray, most: float = 0.45) -> FloatArray:
        figure = found.facts.get(field)
        return values if figure is None else np.minimum(values * figure.number / values.mean(), most)

    single = meant("single_qubit_error", calibration.single_qubit_error)
    two = meant("two_qubit_error", calibration.two_qubit_error)
    readout = meant("readout_error", (calibration.one_for_zero + calibration.zero_for_one) / 2)
    t1 = meant("t1_s", calibration.t1_s, most=np.inf)
    t2 = np.minimum(meant("t2_s", calibration.t2_s, most=np.inf), 2 * t1)
    gates_s = 4 * (calibration.single_qubit_gate_s + calibration.two_qubit_gate_s)
    reading_s = (found.number("readout_s") or calibration.readout_s) + (found.need("reset_s") if found.reset else 0.0)
    cycle_s = found.number("cycle_s") or gates_s + reading_s
    waiting = _waiting(t1, t2, cycle_s - gates_s)
    if "data_idle_error" in found.facts:
        waiting = _scaled(waiting, found.facts["data_idle_error"].number)
    share = found.number("leakage_share")
    leaks = (twin.mechanisms.leakage_share if share is None else share) * two / 2
    return CycleNoise(
        lattice=twin.lattice,
        single_qubit=single,
        two_qubit=np.maximum(two - 1.5 * leaks, 0.0),
        idle_single=_waiting(t1, t2, calibration.single_qubit_gate_s),
        idle_two=_waiting(t1, t2, calibration.two_qubit_gate_s),
        idle_readout=waiting,
        readout=readout,
        reset=np.full(len(readout), found.need("reset_error") if found.reset else 0.0),
        resets=found.reset,
        leaking=leaks,
        settling=float(-np.expm1(-2 * cycle_s / t1.mean())),
        data_removal=found.need("data_removal"),
        ancilla_removal=found.need("ancilla_removal"),
        crosstalk=twin.mechanisms.crosstalk,
        stray=found.need("stray"),
        cycle_s=cycle_s,
        rounds=int(found.need("rounds")),
    )


def uniform_noise(lattice: Lattice, error: float, *, rounds: int = 3) -> CycleNoise:
    """The same ``error`` after every gate, of every readout and reset and of data qubits while ancillas are read; nothing leaks.

    Not a machine's: for comparison with other circuits.
    """
    qubits, couplers = lattice.qubit_count, len(lattice.couplers)
    still, same = _waiting_still(qubits), np.full(qubits, error)
    waiting = np.tile([1 - error, error / 3, error / 3, error / 3], (qubits, 1))
    return CycleNoise(
        lattice, same, np.full(couplers, error), still, still, waiting, same, same, True, np.zeros(couplers), 0, 0, 0, 0, 0, 1e-6, rounds
    )


def enlarged(noise: CycleNoise, distance: int, seed: int) -> CycleNoise:
    """``noise`` on a lattice made for a code of ``distance``: each qubit and coupler a copy of one of the machine's, drawn at random.

    No such machine exists; it is what one of the same make would be.
    """
    if not 3 <= distance <= LARGEST_DISTANCE:
        raise InputError("distance", distance, f"must lie in [3, {LARGEST_DISTANCE}]")
    lattice = checkerboard(2 * distance + 1, 2 * distance + 1)
    generator = twin_generator(seed, "correction", "enlarged", str(distance))
    qubits = generator.integers(len(noise.readout), size=lattice.qubit_count)
    couplers = generator.integers(len(noise.two_qubit), size=len(lattice.couplers))
    of_qubits = ("single_qubit", "idle_single", "idle_two", "idle_readout", "readout", "reset")
    drawn = {field: getattr(noise, field)[qubits] for field in of_qubits}
    drawn |= {field: getattr(noise, field)[couplers] for field in ("two_qubit", "leaking")}
    return replace(noise, lattice=lattice, hypothetical=True, **drawn)


def _waiting(t1_s: FloatArray, t2_s: FloatArray, time_s: float) -> FloatArray:
    """Twirled decay and dephasing of each qubit over ``time_s``. The data qubits are decoupled, so that dephasing is exponential."""
    return np.array([twirled(damping(0, time_s, t1_s=float(t1), t2_s=float(t2), slow=False)) for t1, t2 in zip(t1_s, t2_s, strict=True)])


def _scaled(waiting: FloatArray, error: float) -> FloatArray:
    """Pauli noise whose mean error over the qubits is ``error``."""
    errors = waiting[:, 1:] * error / (1 - waiting[:, 0]).mean()
    return np.column_stack([1 - errors.sum(axis=1), errors])


def _waiting_still(qubits: int) -> FloatArray:
    return np.tile([1.0, 0.0, 0.0, 0.0], (qubits, 1))
