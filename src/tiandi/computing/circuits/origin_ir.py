"""OriginIR, the language of the Origin cloud and of Wukong, as pyqpanda3 0.5.1 writes and takes it.

`QINIT n` and `CREG n`, then one statement a line: gates on q[i] with angles [rad] in brackets, `q` alone for every qubit, MEASURE
q[i],c[j], BARRIER, RESET, IDLE [ns], and the blocks DAGGER ... ENDDAGGER and CONTROL q[i],... ... ENDCONTROL, nested. U4(alpha, beta,
gamma, delta) is exp(i alpha) Rz(beta) Ry(gamma) Rz(delta); CU is U4 under a control. QGATE, QIF and QWHILE are known and refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tiandi.computing.circuits.circuit import BARRIER, DELAY, MEASURE, MOST_QUBITS, RESET, Circuit, Operation
from tiandi.computing.circuits.controlled import controlled, inverse
from tiandi.computing.circuits.program import DEEPEST, MOST_TOUCHED, Program, read_angle, read_number, wrong
from tiandi.errors import InputError

LANGUAGE = "OriginIR"
PHASE = "global phase"
REFUSED = {
    "QGATE": "definitions of gates are not read; write the gates out",
    "QIF": "branches on results are not run; a circuit is gates and measurements",
    "QWHILE": "loops on results are not run; a circuit is gates and measurements",
    "ORACLE": "matrices are not read; write gates",
}

Parts = Callable[[tuple[int, ...], tuple[float, ...]], list[Operation]]

PLAIN: dict[str, tuple[str, int, int]] = {
    "H": ("h", 1, 0), "X": ("x", 1, 0), "Y": ("y", 1, 0), "Z": ("z", 1, 0), "S": ("s", 1, 0), "T": ("t", 1, 0), "I": ("id", 1, 0),
    "ECHO": ("id", 1, 0), "X1": ("sx", 1, 0), "Y1": ("sy", 1, 0), "RX": ("rx", 1, 1), "RY": ("ry", 1, 1), "RZ": ("rz", 1, 1),
    "U1": ("p", 1, 1), "P": ("p", 1, 1), "U3": ("u", 1, 3), "RPhi": ("rxy", 1, 2), "RPHI": ("rxy", 1, 2), "CNOT": ("cx", 2, 0),
    "CZ": ("cz", 2, 0), "SWAP": ("swap", 2, 0), "ISWAP": ("iswap", 2, 0), "CR": ("cp", 2, 1), "CP": ("cp", 2, 1), "RZZ": ("rzz", 2, 1),
}  # fmt: skip


def _u4(qubits: tuple[int, ...], angles: tuple[float, ...]) -> list[Operation]:
    alpha, beta, gamma, delta = angles
    return [Operation(PHASE, (), (alpha - (beta + delta) / 2,)), Operation("u", qubits, (gamma, beta, delta))]


def _under_control(parts: Parts) -> Parts:
    def expand(qubits: tuple[int, ...], angles: tuple[float, ...]) -> list[Operation]:
        block = _Block("CONTROL", qubits[:1])
        return [operation for part in parts(qubits[1:], angles) for operation in block.written(part)]

    return expand


def _between(before: tuple[str, str], after: tuple[str, str]) -> Parts:
    """A rotation about ZZ between gates on either qubit ("" for none)."""

    def expand(qubits: tuple[int, ...], angles: tuple[float, ...]) -> list[Operation]:
        first = [Operation(name, (qubit,)) for name, qubit in zip(before, qubits, strict=True) if name]
        last = [Operation(name, (qubit,)) for name, qubit in zip(after, qubits, strict=True) if name]
        return [*first, Operation("rzz", qubits, angles), *last]

    return expand


def _single(name: str) -> Parts:
    return lambda qubits, angles: [Operation(name, qubits, angles)]


EXPANDED: dict[str, tuple[Parts, int, int]] = {
    "Z1": (lambda qubits, _: [Operation("rz", qubits, (math.pi / 2,))], 1, 0),
    "U2": (lambda qubits, angles: [Operation("u", qubits, (math.pi / 2, *angles))], 1, 2),
    "U4": (_u4, 1, 4), "CU": (_under_control(_u4), 2, 4), "CRX": (_under_control(_single("rx")), 2, 1),
    "CRY": (_under_control(_single("ry")), 2, 1), "CRZ": (_under_control(_single("rz")), 2, 1),
    "SQISWAP": (lambda qubits, _: [Operation("fsim", qubits, (-math.pi / 4, 0.0))], 2, 0),
    "TOFFOLI": (lambda qubits, _: list(controlled(Operation("x", qubits[2:]), qubits[:2])), 3, 0),
    "RXX": (_between(("h", "h"), ("h", "h")), 2, 1), "RYY": (_between(("sx", "sx"), ("sxdg", "sxdg")), 2, 1),
    "RZX": (_between(("", "h"), ("", "h")), 2, 1),
}  # fmt: skip
NAMES = (*PLAIN, *EXPANDED, "MEASURE", "BARRIER", "RESET", "IDLE", "DAGGER", "CONTROL")


@dataclass
class _Block:
    """An open DAGGER or CONTROL block: what it holds so far, and since which line."""

    kind: str
    controls: tuple[int, ...] = ()
    line: int = 0
    held: list[tuple[Operation, tuple[int, ...]]] = field(default_factory=list)

    def closed(self) -> list[tuple[Operation, tuple[int, ...]]]:
        """What it holds as the block around it sees it: reversed and inverted, or under more controls."""
        if self.kind == "CONTROL":
            return [(operation, (*controls, *self.controls)) for operation, controls in self.held]
        return [(_undone(operation), controls) for operation, controls in reversed(self.held)]

    def written(self, operation: Operation, controls: tuple[int, ...] | None = None) -> tuple[Operation, ...]:
        """``operation`` under controls in gates of `gates.GATES`; a global phase turns into a phase of a control, or into nothing."""
        controls = self.controls if controls is None else controls
        if operation.name == PHASE:
            return controlled(Operation("p", controls[:1], operation.parameters), controls[1:]) if controls else ()
        return (operation,) if operation.name == BARRIER else controlled(operation, controls)


def _undone(operation: Operation) -> Operation:
    return Operation(PHASE, (), (-operation.parameters[0],)) if operation.name == PHASE else inverse(operation)


class _Reader:
    """Reads line after line; `operations` holds what is outside of every block."""

    def __init__(self) -> None:
        self.qubit_count = 0
        self.bit_count: int | None = None
        self.operations: list[Operation] = []
        self.classical_bits: list[int] = []
        self.blocks: list[_Block] = []
        self.known: dict[str, int] = {}
        self.touched = 0
        self.line = 0

    def wrong(self, token: str, limit: str) -> InputError:
        return wrong(LANGUAGE, self.line, token, limit)

    def read(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        rest = rest.translate(_NO_SPACE)
        if name in PLAIN:
            gate, qubit_count, angle_count = PLAIN[name]
            qubits, angles = self._operands(name, rest, qubit_count, angle_count)
            if qubit_count == 1:
                self._add([Operation(gate, (qubit,), angles) for qubit in qubits])
            else:
                self._add([Operation(gate, qubits, angles)])
        elif name in EXPANDED:
            expand, qubit_count, angle_count = EXPANDED[name]
            qubits, angles = self._operands(name, rest, qubit_count, angle_count)
            targets = [(qubit,) for qubit in qubits] if qubit_count == 1 else [qubits]
            for target in targets:
                self._add(expand(target, angles))
        elif name in _OTHER:
            _OTHER[name](self, rest)
        else:
            raise self.wrong(name, REFUSED.get(name, f"must begin with one of {', '.join(NAMES)}; one statement a line"))

    def _add(self, operations: list[Operation]) -> None:
        self.touched += sum(len(operation.qubits) for operation in operations)
        if self.touched > MOST_TOUCHED:
            raise self.wrong(operations[-1].name, f"a program's operations may touch at most {MOST_TOUCHED} qubits in all")
        if self.blocks:
            self.blocks[-1].held.extend((operation, ()) for operation in operations)
        elif operations and any(operation.name == PHASE for operation in operations):
            self.operations.extend(operation for operation in operations if operation.name != PHASE)
        else:
            self.operations.extend(operations)

    def _operands(self, name: str, rest: str, qubit_count: int, angle_count: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
        before, bracket, inside = rest.partition(",(")
        if bracket and inside.endswith(")") and _closes_last(inside):
            words, numbers = before.split(","), inside[:-1].split(",")
        else:
            words = rest.split(",")
            words, numbers = words[: len(words) - angle_count], words[len(words) - angle_count :]
        qubits = self._qubits(words)
        if len(numbers) != angle_count or (qubit_count > 1 and len(qubits) != qubit_count):
            counts = f"{qubit_count} qubit{'s' * (qubit_count > 1)} and {angle_count} angle{'s' * (angle_count != 1)}"
            raise self.wrong(f"{name} {rest}", f"{name} takes {counts}, as in {_example(name, qubit_count, angle_count)}")
        if qubit_count > 1 and len(set(qubits)) < qubit_count:
            raise self.wrong(f"{name} {rest}", "the qubits of a gate must differ")
        return qubits, tuple(read_angle(number, LANGUAGE, self.line) for number in numbers)

    def _qubits(self, words: list[str]) -> tuple[int, ...]:
        if words == ["q"]:
            return tuple(range(self.qubit_count))
        known = self.known
        for word in words:
            if word not in known:
                found = _QUBIT.fullmatch(word)
                if found is None:
                    raise self.wrong(word, "must be a qubit, such as q[0]")
                if not self.qubit_count:
                    raise self.wrong(word, "needs QINIT before it, such as 'QINIT 2'")
                known[word] = read_number(found[1], LANGUAGE, self.line, "a qubit of QINIT", self.qubit_count - 1)
        return tuple([known[word] for word in words])

    def _qinit(self, rest: str) -> None:
        if self.qubit_count:
            raise self.wrong("QINIT", "must stand once")
        self.qubit_count = read_number(rest, LANGUAGE, self.line, "a count of qubits", MOST_QUBITS)
        if not self.qubit_count:
            raise self.wrong(rest, f"must lie in [1, {MOST_QUBITS}]")

    def _creg(self, rest: str) -> None:
        if self.bit_count is not None:
            raise self.wrong("CREG", "must stand once")
        self.bit_count = read_number(rest, LANGUAGE, self.line, "a count of bits", MOST_QUBITS)

    def _measure(self, rest: str) -> None:
        self._require_no_block("MEASURE")
        words = rest.split(",")
        if len(words) != 2:
            raise self.wrong(f"MEASURE {rest}", "takes a qubit and a bit, as in MEASURE q[0],c[0]")
        qubits = self._qubits(words[:1])
        bit_count = self.bit_count or 0
        if words[1] == "c":
            bits = tuple(range(bit_count))
        else:
            found = _BIT.fullmatch(words[1])
            if found is None or not bit_count:
                raise self.wrong(words[1], "must be a bit of CREG, such as c[0]")
            bits = (read_number(found[1], LANGUAGE, self.line, "a bit of CREG", bit_count - 1),)
        if len(bits) != len(qubits):
            raise self.wrong(f"MEASURE {rest}", f"{len(qubits)} qubits need as many bits, not {len(bits)}")
        self._add([Operation(MEASURE, (qubit,)) for qubit in qubits])
        self.classical_bits.extend(bits)

    def _barrier(self, rest: str) -> None:
        self._add([Operation(BARRIER, tuple(dict.fromkeys(self._qubits(rest.split(",")))))])

    def _reset(self, rest: str) -> None:
        self._require_no_block("RESET")
        self._add([Operation(RESET, (qubit,)) for qubit in self._qubits(rest.split(","))])

    def _idle(self, rest: str) -> None:
        self._require_no_block("IDLE")
        qubits, (duration_ns,) = self._operands("IDLE", rest, 1, 1)
        if not 0 <= duration_ns <= 1e9:
            raise self.wrong(f"IDLE {rest}", "must wait a time in [0, 1e9] ns")
        self._add([Operation(DELAY, (qubit,), (duration_ns * 1e-9,)) for qubit in qubits])

    def _require_no_block(self, name: str) -> None:
        if self.blocks:
            raise self.wrong(name, f"must not stand in a {self.blocks[-1].kind} block")

    def _open(self, kind: str, controls: tuple[int, ...]) -> None:
        if len(self.blocks) == DEEPEST:
            raise self.wrong(kind, f"blocks may be nested {DEEPEST} deep")
        self.blocks.append(_Block(kind, controls, self.line))

    def _dagger(self, rest: str) -> None:
        if rest:
            raise self.wrong(rest, "DAGGER stands alone in its line")
        self._open("DAGGER", ())

    def _control(self, rest: str) -> None:
        self._open("CONTROL", self._qubits(rest.split(",")))

    def _close(self, kind: str) -> None:
        if not self.blocks or self.blocks[-1].kind != kind:
            raise self.wrong(f"END{kind}", f"no {kind} block is open here")
        held = self.blocks.pop().closed()
        if self.blocks:
            self.blocks[-1].held.extend(held)
            return
        writer = _Block("")
        for operation, controls in held:
            try:
                self._add(list(writer.written(operation, controls)))
            except InputError as error:
                raise error if error.field.startswith(LANGUAGE) else self.wrong(str(controls), error.limit) from None

    def program(self) -> Program:
        if self.blocks:
            raise self.wrong("end of the program", f"the {self.blocks[-1].kind} block of line {self.blocks[-1].line} is not closed")
        if not self.qubit_count:
            raise self.wrong("end of the program", "must hold QINIT, such as 'QINIT 2'")
        return Program(Circuit(self.qubit_count, tuple(self.operations)), tuple(self.classical_bits), self.bit_count or 0)


_OTHER: dict[str, Callable[[_Reader, str], None]] = {
    "QINIT": _Reader._qinit, "CREG": _Reader._creg, "MEASURE": _Reader._measure, "BARRIER": _Reader._barrier, "RESET": _Reader._reset,
    "IDLE": _Reader._idle, "DAGGER": _Reader._dagger, "CONTROL": _Reader._control,
    "ENDDAGGER": lambda reader, _: reader._close("DAGGER"), "ENDCONTROL": lambda reader, _: reader._close("CONTROL"),
}  # fmt: skip
_QUBIT, _BIT = re.compile(r"q\[(\d+)\]"), re.compile(r"c\[(\d+)\]")
_NO_SPACE = {ord(space): None for space in " \t\r\f\v"}


def _closes_last(inside: str) -> bool:
    """Whether the bracket that was open before ``inside`` is closed by its last character."""
    depth = 1
    for place, character in enumerate(inside):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return place == len(inside) - 1
    return False


def _example(name: str, qubit_count: int, angle_count: int) -> str:
    qubits = ",".join(f"q[{number}]" for number in range(qubit_count))
    return f"{name} {qubits}" + (f",({','.join(['0.5'] * angle_count)})" if angle_count else "")


def _without_comments(text: str) -> str:
    """``text`` without what stands between /* and */, its lines kept."""
    kept: list[str] = []
    place = 0
    while (opened := text.find("/*", place)) >= 0:
        closed = text.find("*/", opened + 2)
        if closed < 0:
            raise wrong(LANGUAGE, text.count("\n", 0, opened) + 1, "/*", "must be closed by */")
        kept += [text[place:opened], "\n" * text.count("\n", opened, closed)]
        place = closed + 2
    return "".join([*kept, text[place:]])


def read_origin_program(text: str) -> Program:
    """The circuit of an OriginIR program on the qubits of QINIT, and which bit of CREG each measurement writes.

    Raises InputError that names the line and the token.
    """
    reader = _Reader()
    for number, line in enumerate(_without_comments(text).split("\n"), 1):
        statement = line.partition("//")[0].strip().replace("\t", " ")
        if statement:
            reader.line = number
            reader.read(statement)
    return reader.program()


def read_origin_ir(text: str) -> Circuit:
    """The circuit of an OriginIR program; `read_origin_program` keeps the classical bits as well."""
    return read_origin_program(text).circuit


_NAME_OF = {gate: name for name, (gate, _, _) in reversed(PLAIN.items())}


def write_origin_ir(circuit: Circuit) -> str:
    """``circuit`` as pyqpanda3 reads it, every gate exactly; the k-th measurement writes c[k]."""
    bits = iter(range(len(circuit.operations)))
    lines = [line for operation in circuit.operations for line in _lines(operation, bits)]
    return "\n".join([f"QINIT {circuit.qubit_count}", f"CREG {max(1, len(circuit.measured_qubits))}", *lines])


def _lines(operation: Operation, bits: Iterator[int]) -> list[str]:
    name, qubits, angles = operation.name, operation.qubits, operation.parameters
    if name in _NAME_OF:
        return [_line(_NAME_OF[name], qubits, *angles)]
    if name == MEASURE:
        return [f"MEASURE q[{qubits[0]}],c[{next(bits)}]"]
    if name in _WRITTEN:
        return _WRITTEN[name](qubits, angles)
    return ["DAGGER", _line(_NAME_OF[inverse(operation).name], qubits), "ENDDAGGER"]  # sdg, tdg, sxdg and sydg.


def _fsim(qubits: tuple[int, ...], angles: tuple[float, ...]) -> list[str]:
    """A turn about XX + YY, then a phase."""
    return [_line("RXX", qubits, angles[0]), _line("RYY", qubits, angles[0]), _line("CR", qubits, -angles[1])]


_WRITTEN: dict[str, Callable[[tuple[int, ...], tuple[float, ...]], list[str]]] = {
    BARRIER: lambda qubits, _: [_line("BARRIER", qubits)] if qubits else [],
    RESET: lambda qubits, _: [_line("RESET", qubits)],
    DELAY: lambda qubits, angles: [_line("IDLE", qubits, angles[0] * 1e9)],
    "cy": lambda qubits, _: [f"CONTROL q[{qubits[0]}]", _line("Y", qubits[1:]), "ENDCONTROL"],
    "fsim": _fsim,
}


def _line(name: str, qubits: tuple[int, ...], *angles: float) -> str:
    words = ",".join(f"q[{qubit}]" for qubit in qubits)
    return f"{name} {words}" + (f",({','.join(repr(float(angle)) for angle in angles)})" if angles else "")
