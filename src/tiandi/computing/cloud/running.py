"""Running a program on a twin, in a worker: written in native gates or laid out, with its noise, drawn by the engine that fits.

Without compiling every gate stays where its program has it: a one-qubit gate becomes one pulse; two-qubit gates of `THROUGH_CZ`
are written with the machine's cz.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.circuits.circuit import BARRIER, DELAY, MEASURE, RESET, Circuit, Operation
from tiandi.computing.circuits.controlled import general_angles
from tiandi.computing.circuits.gates import GATES
from tiandi.computing.circuits.program import Program
from tiandi.computing.circuits.synthesis import pulses
from tiandi.computing.cloud.jobs import Outcome
from tiandi.computing.cloud.machines import THROUGH_CZ
from tiandi.computing.engines.choice import run
from tiandi.computing.machines.twin import Twin
from tiandi.errors import InputError

_STAY = {MEASURE, RESET, BARRIER, DELAY}
_SEEDS = 2**31


def run_on_twin(twin: Twin, program: Program, shots: int, *, seed: int, compile: bool) -> Outcome:
    """The outcome of ``shots`` of ``program`` on ``twin``: column k holds classical bit k.

    Raises InputError for a circuit that no engine can run within its limits, with the cost.
    """
    circuit = program.circuit
    if compile:
        from tiandi.computing.machines.transpile import compile_circuit  # noqa: PLC0415 - Qiskit takes seconds to import.

        native = compile_circuit(circuit, twin.lattice, native_gates=twin.native_gates, calibration=twin.calibration, seed=seed % _SEEDS)
    else:
        native = in_native_gates(circuit, frozenset(twin.native_gates), twin.lattice.qubit_count)
    done = run(twin.noisy(native), shots, seed=seed)
    qubits = [-1] * program.classical_bit_count
    for qubit, bit in zip(native.measured_qubits, program.classical_bits, strict=True):
        qubits[bit] = qubit
    return Outcome.of(classical(done.bits, program), qubits, engine=done.engine, why=done.why)


def in_native_gates(circuit: Circuit, native: frozenset[str], qubit_count: int) -> Circuit:
    """``circuit`` on the same qubits in ``native`` gates. Raises InputError for a two-qubit gate that needs compiling."""
    operations = [part for operation in circuit.operations for part in _through_cz(operation, native)]
    if any(operation.name not in native | _STAY | {"rz", "id"} for operation in operations):
        operations = pulses(operations, native) if "rxy" in native else [_general(operation, native) for operation in operations]
    return Circuit(qubit_count, tuple(operations))


def _through_cz(operation: Operation, native: frozenset[str]) -> Iterator[Operation]:
    if len(operation.qubits) != 2 or operation.name in native or operation.name in _STAY:
        yield operation
        return
    if operation.name not in THROUGH_CZ or "cz" not in native:
        raise InputError("gate", operation.name, f"is not native: use {', '.join(sorted(native))}, or ask for compile")
    first, second = operation.qubits
    if operation.name == "swap":
        for control, target in ((first, second), (second, first), (first, second)):
            yield from _through_cz(Operation("cx", (control, target)), native)
        return
    before, behind = ("h", "h") if operation.name == "cx" else ("sx", "sxdg")
    yield from (Operation(before, (second,)), Operation("cz", operation.qubits), Operation(behind, (second,)))


def _general(operation: Operation, native: frozenset[str]) -> Operation:
    """A one-qubit gate as the general one."""
    if operation.name in native | _STAY | {"rz", "id"}:
        return operation
    _, theta, phi, lam = general_angles(GATES[operation.name].unitary(*operation.parameters))
    return Operation("u", operation.qubits, (theta, phi, lam))


def classical(bits: NDArray[np.uint8], program: Program) -> NDArray[np.uint8]:
    """Shape (shots, classical bits) from ``bits`` (shots, measurements); of two measurements into one bit the later stays."""
    if program.bits_follow_measurements:
        return bits
    table = np.zeros((len(bits), program.classical_bit_count), np.uint8)
    for column, bit in enumerate(program.classical_bits):
        table[:, bit] = bits[:, column]
    return table
