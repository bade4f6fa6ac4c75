"""Gates run backwards and gates under controls, written out exactly in `gates.GATES`.

Under two or more controls a gate is taken apart by its square root (Barenco et al., Phys. Rev. A 52, 3457 (1995), lemma 7.5,
doi:10.1103/PhysRevA.52.3457), which costs about 3**controls gates and no further qubit; hence `MOST_CONTROLS`.
"""

from __future__ import annotations

import cmath
import math

import numpy as np

from tiandi.computing.circuits.circuit import Operation
from tiandi.computing.circuits.gates import GATES, Matrix
from tiandi.errors import InputError

MOST_CONTROLS = 6
_INVERSE_NAME = {
    "s": "sdg", "sdg": "s", "t": "tdg", "tdg": "t", "sx": "sxdg", "sxdg": "sx", "sy": "sydg", "sydg": "sy",
}  # fmt: skip
_TURNS = {"rx", "ry", "rz", "p", "cp", "rzz", "fsim"}
_UNDER_CONTROL = {"cx": "x", "cy": "y", "cz": "z", "cp": "p"}


def inverse(operation: Operation) -> Operation:
    """The gate that undoes ``operation``, exactly (global phase included)."""
    name, qubits, parameters = operation.name, operation.qubits, operation.parameters
    if name in _INVERSE_NAME:
        return Operation(_INVERSE_NAME[name], qubits)
    if name in _TURNS:
        return Operation(name, qubits, tuple(-angle for angle in parameters))
    if name == "rxy":
        return Operation(name, qubits, (-parameters[0], parameters[1]))
    if name == "u":
        theta, phi, lam = parameters
        return Operation(name, qubits, (-theta, -lam, -phi))
    if name == "iswap":
        return Operation("fsim", qubits, (math.pi / 2, 0.0))
    return operation


def controlled(operation: Operation, controls: tuple[int, ...]) -> tuple[Operation, ...]:
    """``operation`` where every qubit of ``controls`` is 1, exactly up to a global phase of the whole.

    Raises InputError for more than `MOST_CONTROLS` controls (those of cx, cy, cz and cp included) and for controls that it acts on.
    """
    if not controls:
        return (operation,)
    if len({*controls, *operation.qubits}) < len(controls) + len(operation.qubits):
        raise InputError("controls", controls, f"must differ from each other and from the qubits {operation.qubits} of the gate")
    if operation.name in _UNDER_CONTROL:
        control, target = operation.qubits
        return controlled(Operation(_UNDER_CONTROL[operation.name], (target,), operation.parameters), (*controls, control))
    if len(controls) > MOST_CONTROLS:
        raise InputError("controls", len(controls), f"must be at most {MOST_CONTROLS} for one gate")
    if len(operation.qubits) == 2:
        return _two_qubit_gate(operation, controls)
    (target,) = operation.qubits
    name = operation.name
    if len(controls) == 1 and name in {"x", "y", "z", "p"}:
        return (Operation(f"c{name}", (controls[0], target), operation.parameters),)
    if name == "x" and len(controls) == 2:
        return toffoli(*controls, target)
    return tuple(_matrix_under_controls(GATES[name].unitary(*operation.parameters), controls, target))


def toffoli(first: int, second: int, target: int) -> tuple[Operation, ...]:
    """An X on ``target`` where both controls are 1, by six cx (Nielsen and Chuang, figure 4.9)."""
    word = (
        ("h", target), ("cx", second, target), ("tdg", target), ("cx", first, target), ("t", target), ("cx", second, target),
        ("tdg", target), ("cx", first, target), ("t", second), ("t", target), ("h", target), ("cx", first, second), ("t", first),
        ("tdg", second), ("cx", first, second),
    )  # fmt: skip
    return tuple(Operation(str(name), tuple(int(qubit) for qubit in qubits)) for name, *qubits in word)


def _two_qubit_gate(operation: Operation, controls: tuple[int, ...]) -> tuple[Operation, ...]:
    """swap, rzz and fsim are a gate on one qubit between two cx, which need no control of their own."""
    first, second = operation.qubits
    around = Operation("cx", (first, second))
    if operation.name == "swap":
        return (around, *controlled(Operation("x", (first,)), (*controls, second)), around)
    if operation.name == "rzz":
        return (around, *controlled(Operation("rz", (second,), operation.parameters), controls), around)
    theta, phi = (-math.pi / 2, 0.0) if operation.name == "iswap" else operation.parameters
    exchange = controlled(Operation("rx", (first,), (2 * theta,)), (*controls, second))
    phase = controlled(Operation("cp", (first, second), (-phi,)), controls) if phi else ()
    return (around, *exchange, around, *phase)


def _matrix_under_controls(matrix: Matrix, controls: tuple[int, ...], target: int) -> list[Operation]:
    if len(controls) == 1:
        return _matrix_under_control(matrix, controls[0], target)
    *others, last = controls
    root = _square_root(matrix)
    flip = controlled(Operation("x", (last,)), tuple(others))
    return [
        *_matrix_under_control(root, last, target),
        *flip,
        *_matrix_under_control(root.conj().T, last, target),
        *flip,
        *_matrix_under_controls(root, tuple(others), target),
    ]


def _matrix_under_control(matrix: Matrix, control: int, target: int) -> list[Operation]:
    """exp(i alpha) u(theta, phi, lam) under one control, by two cx (Barenco et al., lemma 5.1)."""
    alpha, theta, phi, lam = general_angles(matrix)
    mean = (phi + lam) / 2
    return [
        Operation("p", (control,), (alpha + mean,)),
        Operation("p", (target,), ((lam - phi) / 2,)),
        Operation("cx", (control, target)),
        Operation("u", (target,), (-theta / 2, 0.0, -mean)),
        Operation("cx", (control, target)),
        Operation("u", (target,), (theta / 2, phi, 0.0)),
    ]


def general_angles(matrix: Matrix) -> tuple[float, float, float, float]:
    """alpha, theta, phi and lam [rad] of a unitary (2, 2) that is exp(i alpha) u(theta, phi, lam)."""
    theta = 2 * math.atan2(abs(matrix[1, 0]), abs(matrix[0, 0]))
    if abs(matrix[0, 0]) < 1e-12:
        alpha = cmath.phase(-matrix[0, 1])
        return alpha, math.pi, cmath.phase(matrix[1, 0]) - alpha, 0.0
    alpha = cmath.phase(matrix[0, 0])
    if abs(matrix[1, 0]) < 1e-12:
        return alpha, 0.0, 0.0, cmath.phase(matrix[1, 1]) - alpha
    return alpha, theta, cmath.phase(matrix[1, 0]) - alpha, cmath.phase(-matrix[0, 1]) - alpha


def _square_root(matrix: Matrix) -> Matrix:
    """A unitary (2, 2) whose square is ``matrix``, by the theorem of Cayley and Hamilton; the sign keeps the divisor away from 0."""
    root = cmath.sqrt(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])
    trace = matrix[0, 0] + matrix[1, 1]
    root = root if abs(trace + 2 * root) >= abs(trace - 2 * root) else -root
    return (matrix + root * np.eye(2)) / cmath.sqrt(trace + 2 * root)
