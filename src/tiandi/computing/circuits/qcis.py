"""QCIS, the instruction set of the Zuchongzhi machines and the Tianyan cloud, as cqlib 1.3.11 writes and takes it.

One instruction a line: a name, qubits Q0, Q1, ..., then angles [rad]; `#` and `//` begin a comment. Native are X2P X2M Y2P Y2M XY2P
XY2M RZ CZ I B M; the others are words that the cloud's compiler makes of them. `I Q0 t` waits t times 0.5 ns. RXY takes the axis before
the angle. Lines of pulses (PXY, PZ, PZ0) are known and refused. Global phases are not kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tiandi.computing.circuits.circuit import BARRIER, DELAY, MEASURE, RESET, Circuit, Operation
from tiandi.computing.circuits.controlled import controlled, toffoli
from tiandi.computing.circuits.program import read_angle, read_number, wrong
from tiandi.errors import InputError

LANGUAGE = "QCIS"
WAITING_STEP_PER_S = 2e9
LONGEST_WAIT_STEP = 2_000_000_000
PULSES = frozenset({"PXY", "PZ", "PZ0", "PLS", "PULSE"})

Expansion = Callable[[tuple[int, ...], tuple[float, ...]], tuple[Operation, ...]]

PLAIN: dict[str, tuple[str, int, int]] = {
    "X2P": ("sx", 1, 0), "X2M": ("sxdg", 1, 0), "Y2P": ("sy", 1, 0), "Y2M": ("sydg", 1, 0), "RZ": ("rz", 1, 1), "CZ": ("cz", 2, 0),
    "X": ("x", 1, 0), "Y": ("y", 1, 0), "Z": ("z", 1, 0), "H": ("h", 1, 0), "S": ("s", 1, 0), "SD": ("sdg", 1, 0), "T": ("t", 1, 0),
    "TD": ("tdg", 1, 0), "RX": ("rx", 1, 1), "RY": ("ry", 1, 1), "U": ("u", 1, 3), "CX": ("cx", 2, 0), "CNOT": ("cx", 2, 0),
    "CY": ("cy", 2, 0), "SWAP": ("swap", 2, 0), "FSIM": ("fsim", 2, 2),
}  # fmt: skip


def _turn_under_control(name: str) -> Expansion:
    return lambda qubits, angles: controlled(Operation(name, qubits[1:], angles), qubits[:1])


def _equator(quarter: float) -> Expansion:
    return lambda qubits, angles: (Operation("rxy", qubits, (quarter, angles[0])),)


def _axis_first(qubits: tuple[int, ...], angles: tuple[float, ...]) -> tuple[Operation, ...]:
    return (Operation("rxy", qubits, (angles[1], angles[0])),)


EXPANDED: dict[str, tuple[Expansion, int, int]] = {
    "XY2P": (_equator(math.pi / 2), 1, 1), "XY2M": (_equator(-math.pi / 2), 1, 1), "XY": (_equator(math.pi), 1, 1),
    "RXY": (_axis_first, 1, 2), "CRX": (_turn_under_control("rx"), 2, 1), "CRY": (_turn_under_control("ry"), 2, 1),
    "CRZ": (_turn_under_control("rz"), 2, 1), "CCX": (lambda qubits, _: toffoli(*qubits), 3, 0),
    "CCNOT": (lambda qubits, _: toffoli(*qubits), 3, 0),
}  # fmt: skip
NAMES = (*PLAIN, *EXPANDED, "I", "B", "M")


def read_qcis(text: str) -> Circuit:
    """The circuit of a QCIS program; its qubits are as many as the highest number asks for.

    Raises InputError that names the line and the token.
    """
    operations: list[Operation] = []
    known: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if "#" in line or "/" in line:
            line = line.partition("#")[0].partition("//")[0]  # noqa: PLW2901
        words = line.split()
        if words:
            _read_line(words, number, known, operations)
    if not operations:
        raise InputError(LANGUAGE, text[:60], "must hold an instruction, such as 'H Q0'")
    return Circuit(max(known.values()) + 1, tuple(operations))


def _read_line(words: list[str], line: int, known: dict[str, int], operations: list[Operation]) -> None:
    name = words[0]
    if name in PLAIN:
        gate, qubit_count, angle_count = PLAIN[name]
        qubits = _qubits(words[1 : 1 + qubit_count], line, known)
        _check(words, line, qubits, qubit_count, angle_count)
        operations.append(Operation(gate, qubits, tuple(read_angle(word, LANGUAGE, line) for word in words[1 + qubit_count :])))
    elif name == "M":
        operations.extend(Operation(MEASURE, (qubit,)) for qubit in _some_qubits(words, line, known))
    elif name in EXPANDED:
        expand, qubit_count, angle_count = EXPANDED[name]
        qubits = _qubits(words[1 : 1 + qubit_count], line, known)
        _check(words, line, qubits, qubit_count, angle_count)
        operations.extend(expand(qubits, tuple(read_angle(word, LANGUAGE, line) for word in words[1 + qubit_count :])))
    elif name == "B":
        operations.append(Operation(BARRIER, tuple(dict.fromkeys(_some_qubits(words, line, known)))))
    elif name == "I":
        qubits = _qubits(words[1:2], line, known)
        _check(words, line, qubits, 1, 1)
        steps = read_number(words[2], LANGUAGE, line, "a time in steps of 0.5 ns", LONGEST_WAIT_STEP)
        operations.append(Operation(DELAY, qubits, (steps / WAITING_STEP_PER_S,)))
    elif name in PULSES:
        limit = "is a pulse: write gates, or have tiandi.computing.instruments.pulses.read_pulses make a program for an instrument of it"
        raise wrong(LANGUAGE, line, " ".join(words), limit)
    else:
        raise wrong(LANGUAGE, line, name, f"must begin with one of {', '.join(NAMES)}")


def _check(words: list[str], line: int, qubits: tuple[int, ...], qubit_count: int, angle_count: int) -> None:
    if len(qubits) != qubit_count or len(words) != 1 + qubit_count + angle_count:
        counts = f"{qubit_count} qubit{'s' * (qubit_count > 1)} and {angle_count} number{'s' * (angle_count != 1)}"
        raise wrong(LANGUAGE, line, " ".join(words[:12]), f"{words[0]} takes {counts}")
    if qubit_count > 1 and len(set(qubits)) < qubit_count:
        raise wrong(LANGUAGE, line, " ".join(words), "the qubits of a gate must differ")


def _some_qubits(words: list[str], line: int, known: dict[str, int]) -> tuple[int, ...]:
    if len(words) == 1:
        raise wrong(LANGUAGE, line, words[0], f"{words[0]} takes one qubit or more")
    return _qubits(words[1:], line, known)


def _qubits(words: list[str], line: int, known: dict[str, int]) -> tuple[int, ...]:
    for word in words:
        if word not in known:
            if word[0] == "G":
                raise wrong(LANGUAGE, line, word, "couplers appear in pulse programs only; name qubits, such as Q0")
            if word[0] != "Q":
                raise wrong(LANGUAGE, line, word, "must be a qubit, such as Q0")
            known[word] = read_number(word[1:], LANGUAGE, line, "the number of a qubit")
    return tuple([known[word] for word in words])


_NAME_OF = {gate: name for name, (gate, _, _) in reversed(PLAIN.items()) if gate not in {"cx", "cy", "swap", "u"}}


def write_qcis(circuit: Circuit) -> str:
    """``circuit`` in the instructions that cqlib sends to a machine; the same up to a global phase.

    Raises InputError for a reset, which QCIS does not have, and for a wait that is no whole number of steps of 0.5 ns.
    """
    return "\n".join(line for operation in circuit.operations for line in _lines(operation))


def _lines(operation: Operation) -> list[str]:
    name, qubits, angles = operation.name, operation.qubits, operation.parameters
    if name in _NAME_OF:
        return [_line(_NAME_OF[name], qubits, *angles)]
    if name in _WRITTEN:
        return _WRITTEN[name](qubits, angles)
    return [line for part in _MADE_OF[name](qubits, angles) for line in _lines(part)]


def _no_reset(qubits: tuple[int, ...], _: tuple[float, ...]) -> list[str]:
    raise InputError("operation", f"{RESET} of qubit {qubits[0]}", "QCIS has no reset")


_WRITTEN: dict[str, Callable[[tuple[int, ...], tuple[float, ...]], list[str]]] = {
    MEASURE: lambda qubits, _: [_line("M", qubits)],
    BARRIER: lambda qubits, _: [_line("B", qubits)] if qubits else [],
    DELAY: lambda qubits, angles: [f"I Q{qubits[0]} {_steps(angles[0])}"],
    RESET: _no_reset,
    "id": lambda qubits, _: [f"I Q{qubits[0]} 0"],
    "rxy": lambda qubits, angles: [_line("RXY", qubits, angles[1], angles[0])],
}


def _around(middle: str, before: str, after: str) -> Expansion:
    """A two-qubit gate between gates on its second qubit."""
    return lambda qubits, _: (Operation(before, qubits[1:]), Operation(middle, qubits), Operation(after, qubits[1:]))


def _rzz(qubits: tuple[int, ...], angles: tuple[float, ...]) -> tuple[Operation, ...]:
    return Operation("cx", qubits), Operation("rz", qubits[1:], angles), Operation("cx", qubits)


def _u(qubits: tuple[int, ...], angles: tuple[float, ...]) -> tuple[Operation, ...]:
    theta, phi, lam = angles
    return Operation("rz", qubits, (lam,)), Operation("ry", qubits, (theta,)), Operation("rz", qubits, (phi,))


def _cp(qubits: tuple[int, ...], angles: tuple[float, ...]) -> tuple[Operation, ...]:
    half = angles[0] / 2
    return Operation("rz", qubits[:1], (half,)), Operation("rz", qubits[1:], (half,)), Operation("rzz", qubits, (-half,))


_MADE_OF: dict[str, Expansion] = {
    "p": lambda qubits, angles: (Operation("rz", qubits, angles),),
    "u": _u,
    "cx": _around("cz", "h", "h"),
    "cy": _around("cx", "sdg", "s"),
    "swap": lambda qubits, _: (Operation("cx", qubits), Operation("cx", qubits[::-1]), Operation("cx", qubits)),
    "iswap": lambda qubits, _: (Operation("fsim", qubits, (-math.pi / 2, 0.0)),),
    "rzz": _rzz,
    "cp": _cp,
}


def _line(name: str, qubits: tuple[int, ...], *angles: float) -> str:
    return " ".join([name, *(f"Q{qubit}" for qubit in qubits), *(repr(float(angle)) for angle in angles)])


def _steps(duration_s: float) -> int:
    steps = round(duration_s * WAITING_STEP_PER_S)
    if abs(duration_s * WAITING_STEP_PER_S - steps) > 1e-6 or not 0 <= steps <= LONGEST_WAIT_STEP:
        raise InputError("delay", duration_s, f"must be a whole number in [0, {LONGEST_WAIT_STEP}] of 0.5 ns in QCIS")
    return steps
