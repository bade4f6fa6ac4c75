"""One-qubit gates as machines make them: a pulse about an axis in the equator, and turns about Z that only move the frame of later pulses.

u(theta, phi, lam) is rxy(theta, pi/2 - lam) and then rz(phi + lam) (McKay et al., Phys. Rev. A 96, 022330 (2017),
doi:10.1103/PhysRevA.96.022330). A turn about Z passes cz, turns the axis of the next pulse, and is nothing to a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from tiandi.computing.circuits.circuit import BARRIER, DELAY, MEASURE, RESET, Operation
from tiandi.computing.circuits.controlled import general_angles
from tiandi.computing.circuits.gates import GATES

SMALLEST_ANGLE = 1e-12
_QUARTER = math.pi / 2
_NAMED = {0: "sx", 1: "sy", 2: "sxdg", 3: "sydg"}
_PASSES = frozenset({"cz", "cp", "rzz"})


def pulses(operations: Iterable[Operation], names: frozenset[str]) -> list[Operation]:
    """The same with every one-qubit gate as at most one pulse: a quarter turn of ``names`` where it is one, else rxy.

    Equal to the given up to a global phase, and up to phases that no measurement sees. Two-qubit gates stay as they are.
    """
    frame: dict[int, float] = {}
    done: list[Operation] = []

    def settle(qubits: tuple[int, ...]) -> None:
        for qubit in qubits:
            angle = math.remainder(frame.pop(qubit, 0.0), 2 * math.pi)
            if abs(angle) > SMALLEST_ANGLE:
                done.append(Operation("rz", (qubit,), (angle,)))

    for operation in operations:
        name, qubits = operation.name, operation.qubits
        if name in {MEASURE, RESET}:
            frame.pop(qubits[0], None)
        elif name in {BARRIER, DELAY} or name in _PASSES:
            pass
        elif len(qubits) == 1:
            pulse, frame[qubits[0]] = _pulse(operation, frame.get(qubits[0], 0.0), names)
            done.extend(pulse)
            continue
        else:
            settle(qubits)
        done.append(operation)
    settle(tuple(sorted(frame)))
    return done


def _pulse(operation: Operation, frame: float, names: frozenset[str]) -> tuple[list[Operation], float]:
    """The pulse, if any, of a one-qubit gate behind a turn about Z by ``frame``; and the turn about Z that is left behind it."""
    _, theta, phi, lam = general_angles(GATES[operation.name].unitary(*operation.parameters))
    left = phi + lam + frame
    if theta < SMALLEST_ANGLE:
        return [], left
    axis = math.remainder(_QUARTER - lam - frame, 2 * math.pi)
    quarters = round(axis / _QUARTER)
    if abs(theta - _QUARTER) < SMALLEST_ANGLE and abs(axis - quarters * _QUARTER) < SMALLEST_ANGLE:
        name = _NAMED[quarters % 4]
        if name in names:
            return [Operation(name, operation.qubits)], left
    return [Operation("rxy", operation.qubits, (theta, axis))], left
