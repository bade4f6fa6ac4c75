"""A circuit with its noise written out: what every engine runs. A machine's twin makes it from a `Circuit`; nothing here knows machines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.circuits.circuit import Circuit
from tiandi.computing.circuits.gates import GATES, Matrix

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Unitary:
    """A gate as it is meant or as it is wrongly done (over-rotation, residual ZZ): ``matrix`` (2**k, 2**k), first qubit most significant.

    ``name`` and ``parameters`` are those of `gates.GATES` where it is exactly such a gate, else "" and ().
    """

    matrix: Matrix
    qubits: tuple[int, ...]
    name: str = ""
    parameters: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class PauliNoise:
    """One Pauli word (I, X, Y, Z; first qubit most significant) happens, with ``probabilities`` (4**k,) that add up to 1."""

    probabilities: FloatArray
    qubits: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Damping:
    """Decay of |1> to |0> with probability ``amplitude``, then dephasing by a Z with probability ``phase``, on one qubit."""

    amplitude: float
    phase: float
    qubit: int


@dataclass(frozen=True, slots=True)
class Leakage:
    """With ``probability`` a qubit leaves its two levels. Engines without a third level replace its state by the maximally mixed one."""

    probability: float
    qubit: int


@dataclass(frozen=True, slots=True)
class Reset:
    """A qubit is brought to |0>."""

    qubit: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """A qubit is read: 1 for 0 with probability ``one_for_zero``, 0 for 1 with ``zero_for_one``."""

    qubit: int
    one_for_zero: float = 0.0
    zero_for_one: float = 0.0


Step = Unitary | PauliNoise | Damping | Leakage | Reset | Measurement


@dataclass(frozen=True)
class NoisyCircuit:
    """``steps`` in the order of time; the bits of a result follow the order of the measurements."""

    qubit_count: int
    steps: tuple[Step, ...]

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """What each bit of a result comes from."""
        return tuple(step for step in self.steps if isinstance(step, Measurement))

    @property
    def noiseless(self) -> bool:
        """Whether nothing but gates, resets and faultless measurements happens."""
        return all(
            isinstance(step, Unitary | Reset) or (isinstance(step, Measurement) and not step.one_for_zero and not step.zero_for_one)
            for step in self.steps
        )


def without_noise(circuit: Circuit) -> NoisyCircuit:
    """``circuit`` as an ideal machine runs it: delays and barriers do nothing."""
    steps: list[Step] = []
    for operation in circuit.operations:
        if operation.name in GATES:
            matrix = GATES[operation.name].unitary(*operation.parameters)
            steps.append(Unitary(matrix, operation.qubits, operation.name, operation.parameters))
        elif operation.name == "measure":
            steps.append(Measurement(operation.qubits[0]))
        elif operation.name == "reset":
            steps.append(Reset(operation.qubits[0]))
    return NoisyCircuit(circuit.qubit_count, tuple(steps))
