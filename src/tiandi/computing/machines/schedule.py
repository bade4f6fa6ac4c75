"""When each operation of a circuit happens: as soon as all its qubits are free; barriers hold up all of theirs.

Turns about Z are changes of frame that take no time. A measurement after which nothing happens to its qubit waits for the end of the
circuit, where all such are made at once, as the machines do.
"""

from __future__ import annotations

from dataclasses import dataclass

from tiandi.computing.circuits.circuit import BARRIER, DELAY, MEASURE, RESET, Circuit, Operation
from tiandi.computing.circuits.gates import GATES
from tiandi.computing.machines.calibration import Calibration

VIRTUAL = frozenset({"rz", "p", "z", "s", "sdg", "t", "tdg"})
TICK_PER_S = 10**15


@dataclass(frozen=True, slots=True)
class Scheduled:
    """``operation`` from ``start`` to ``end``, in femtoseconds; ``idle``: how long each of its qubits has waited since its last operation.

    A qubit that nothing has happened to yet lies in its ground state and does not wait.
    """

    operation: Operation
    start: int
    end: int
    idle: tuple[int, ...]


def schedule(circuit: Circuit, calibration: Calibration) -> list[Scheduled]:
    """The operations of ``circuit`` but its barriers, in the order of their beginnings; measurements keep the circuit's order."""
    together = _all_read_last(circuit)
    free, busy_until, begun = ([0] * circuit.qubit_count for _ in range(3))
    done: list[Scheduled] = []
    latest_read = 0

    def enter(operation: Operation, start: int, end: int) -> None:
        idle = tuple(start - busy_until[qubit] if begun[qubit] else 0 for qubit in operation.qubits)
        done.append(Scheduled(operation, start, end, idle))
        for qubit in operation.qubits:
            free[qubit] = busy_until[qubit] = end
            # A turn about Z leaves the ground state as it is.
            begun[qubit] = begun[qubit] or operation.name not in {*VIRTUAL, DELAY, "id"}

    for operation in circuit.operations:
        qubits = operation.qubits or tuple(range(circuit.qubit_count))
        start = max(free[qubit] for qubit in qubits)
        if operation.name == BARRIER:
            for qubit in qubits:
                free[qubit] = start
        elif operation.name == MEASURE and together:
            continue
        else:
            if operation.name == MEASURE:
                start = latest_read = max(start, latest_read)
            enter(operation, start, start + duration(operation, calibration))
    if together:
        end = max(free)
        for operation in circuit.operations:
            if operation.name == MEASURE:
                enter(operation, end, end)
    return sorted(done, key=lambda item: item.start)


def _all_read_last(circuit: Circuit) -> bool:
    """Whether nothing but barriers comes after the measurement of any qubit."""
    read: set[int] = set()
    for operation in circuit.operations:
        if operation.name != BARRIER and not read.isdisjoint(operation.qubits):
            return False
        if operation.name == MEASURE:
            read.update(operation.qubits)
    return True


def duration(operation: Operation, calibration: Calibration) -> int:
    """How long an operation takes, in femtoseconds."""
    if operation.name in VIRTUAL:
        return 0
    if operation.name == DELAY:
        return _ticks(operation.parameters[0])
    if operation.name in {MEASURE, RESET}:
        return _ticks(calibration.readout_s)
    two = operation.name in GATES and GATES[operation.name].qubit_count == 2
    return _ticks(calibration.two_qubit_gate_s if two else calibration.single_qubit_gate_s)


def _ticks(seconds: float) -> int:
    return round(seconds * TICK_PER_S)
