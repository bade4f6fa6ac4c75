"""Circuits from Qiskit and to Qiskit.

Qubit k of Qiskit is qubit k here. Qiskit writes bit 0 of a result rightmost; here column k of a result is the k-th measurement, and
`from_qiskit_program` says which classical bit of Qiskit that is. Global phases are dropped.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tiandi.computing.circuits.circuit import BARRIER, DELAY, MEASURE, RESET, Circuit, Operation
from tiandi.computing.circuits.controlled import general_angles
from tiandi.computing.circuits.program import MOST_TOUCHED, Program
from tiandi.errors import InputError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Instruction

SAME_NAME = frozenset({
    "id", "x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "sxdg", "rx", "ry", "rz", "p", "u", "cx", "cy", "cz", "cp", "swap", "iswap",
    "rzz",
})  # fmt: skip
SECONDS_PER_UNIT = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12}
DEEPEST_DEFINITION = 32


def qiskit() -> Any:
    """The package, imported. Raises InputError that names the extra where it is absent."""
    try:
        import qiskit as package  # noqa: PLC0415 - it takes seconds to import.
    except ImportError:
        raise InputError("qiskit", None, "is not installed: pip install 'tiandi[computing]'") from None
    return package


def from_qiskit(circuit: QuantumCircuit) -> Circuit:
    """``circuit`` in gates of `gates.GATES`; see `from_qiskit_program`."""
    return from_qiskit_program(circuit).circuit


def from_qiskit_program(circuit: QuantumCircuit) -> Program:
    """``circuit`` with its classical bits. Gates that are not in `gates.GATES` are taken apart by their own definitions.

    Raises InputError for free parameters, for operations that look at results (if, while, for, switch, stored variables), and for
    instructions without definition.
    """
    if circuit.num_qubits == 0:
        raise InputError("circuit", circuit.name, "must have a qubit")
    if circuit.parameters:
        names = ", ".join(sorted(parameter.name for parameter in circuit.parameters)[:5])
        raise InputError("parameters", names, "must have values: circuit.assign_parameters(...)")
    walk = _Walk()
    walk.circuit(circuit, tuple(range(circuit.num_qubits)), tuple(range(circuit.num_clbits)), 0)
    return Program(Circuit(circuit.num_qubits, tuple(walk.operations)), tuple(walk.classical_bits), circuit.num_clbits)


class _Walk:
    """Goes through a circuit and the definitions of its gates."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.classical_bits: list[int] = []
        self.touched = 0

    def circuit(self, circuit: QuantumCircuit, qubits: tuple[int, ...], bits: tuple[int, ...], depth: int) -> None:
        number_of = {qubit: qubits[place] for place, qubit in enumerate(circuit.qubits)}
        bit_of = {bit: bits[place] for place, bit in enumerate(circuit.clbits)}
        for step in circuit.data:
            self.instruction(
                step.operation, tuple(number_of[qubit] for qubit in step.qubits), tuple(bit_of[bit] for bit in step.clbits), depth
            )

    def instruction(self, instruction: Instruction, qubits: tuple[int, ...], bits: tuple[int, ...], depth: int) -> None:
        name = instruction.name
        self.touched += len(qubits)
        if self.touched > MOST_TOUCHED:
            raise InputError("circuit", name, f"its operations may touch at most {MOST_TOUCHED} qubits in all, definitions written out")
        if name == "measure":
            self.operations.append(Operation(MEASURE, qubits))
            self.classical_bits.extend(bits)
        elif name == "barrier":
            self.operations.append(Operation(BARRIER, qubits))
        elif name == "reset":
            self.operations.append(Operation(RESET, qubits))
        elif name == "delay":
            self.operations.append(Operation(DELAY, qubits, (_seconds(instruction),)))
        elif (gate := _gate(instruction)) is not None:
            self.operations.append(Operation(gate[0], qubits, gate[1]))
        elif _steers(instruction):
            raise InputError("operation", name, "steers the circuit while it runs; only gates, measurements, resets and delays are run")
        elif instruction.definition is None or depth == DEEPEST_DEFINITION:
            raise InputError("operation", name, f"must be a gate with a definition, at most {DEEPEST_DEFINITION} deep")
        else:
            self.circuit(instruction.definition, qubits, bits, depth + 1)


def _steers(instruction: Instruction) -> bool:
    from qiskit.circuit import ControlFlowOp, Store  # noqa: PLC0415

    return isinstance(instruction, ControlFlowOp | Store)


def _gate(instruction: Instruction) -> tuple[str, tuple[float, ...]] | None:
    """Its name and angles in `gates.GATES`, where it is one of these up to a global phase."""
    from qiskit.circuit import ControlledGate  # noqa: PLC0415

    if isinstance(instruction, ControlledGate) and instruction.ctrl_state != 2**instruction.num_ctrl_qubits - 1:
        return None
    if instruction.name == "unitary" and instruction.num_qubits == 1:
        return "u", general_angles(np.asarray(instruction.params[0], complex))[1:]
    if instruction.base_class.__module__.startswith("qiskit.circuit.library"):
        if instruction.name in SAME_NAME:
            return instruction.name, _angles(instruction)
        if instruction.name == "r":
            return "rxy", _angles(instruction)
    return None


def _angles(instruction: Instruction) -> tuple[float, ...]:
    angles = tuple(float(angle) for angle in instruction.params)
    if not all(math.isfinite(angle) for angle in angles):
        raise InputError(f"angles of {instruction.name}", angles, "must be finite")
    return angles


def _seconds(instruction: Instruction) -> float:
    if instruction.unit not in SECONDS_PER_UNIT:
        raise InputError("unit of delay", instruction.unit, f"must be one of {', '.join(SECONDS_PER_UNIT)}")
    duration_s = float(instruction.duration) * SECONDS_PER_UNIT[instruction.unit]
    if not 0 <= duration_s < math.inf:
        raise InputError("delay", duration_s, "must be a finite time of at least 0 s")
    return duration_s


def to_qiskit(circuit: Circuit) -> QuantumCircuit:
    """``circuit`` in Qiskit's gates; rxy becomes r, sy and sydg ry, fsim xx_plus_yy and cp. The k-th measurement writes bit k."""
    package = qiskit()
    from qiskit.circuit import library  # noqa: PLC0415

    target = package.QuantumCircuit(circuit.qubit_count, len(circuit.measured_qubits))
    standard = library.get_standard_gate_name_mapping()
    bit = 0
    for operation in circuit.operations:
        name, qubits, angles = operation.name, operation.qubits, operation.parameters
        if name == MEASURE:
            target.measure(qubits[0], bit)
            bit += 1
        elif name == BARRIER:
            target.barrier(*qubits)
        elif name == RESET:
            target.reset(qubits[0])
        elif name == DELAY:
            target.delay(angles[0], qubits[0], unit="s")
        elif name == "fsim":
            target.append(library.XXPlusYYGate(2 * angles[0]), qubits)
            target.cp(-angles[1], *qubits)
        elif name in {"sy", "sydg"}:
            target.ry(math.pi / 2 if name == "sy" else -math.pi / 2, qubits[0])
        else:
            target.append(standard["r" if name == "rxy" else name].base_class(*angles), qubits)
    return target
