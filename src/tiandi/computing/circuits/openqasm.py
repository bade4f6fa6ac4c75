"""OpenQASM 2 and 3 by Qiskit's importers, and OpenQASM 3 out of its exporter.

What would cost an importer without bound is refused beforehand: registers and modifiers beyond `MOST_QUBITS`, deep brackets, long texts. An
include names the standard file only; no file is read. Hardware qubits ($0) are refused, because the importer forgets their numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tiandi.computing.circuits.circuit import MOST_QUBITS, Circuit
from tiandi.computing.circuits.program import DEEPEST, Program, read_number, wrong
from tiandi.computing.circuits.qiskit_circuits import from_qiskit_program, qiskit, to_qiskit
from tiandi.errors import InputError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

LANGUAGE = "OpenQASM"
LONGEST_TEXT = 1_000_000
_COMMENT = re.compile(r"//[^\n]*")
_VERSION = re.compile(r"\s*OPENQASM\s+(\d{1,4})(?:\.\d+)?\s*;")
_SYMBOL = re.compile(r"[(\[{]|[)\]}]|[;^]|(?:[-+~!][ \t\r\n]*)+")
_REGISTER = re.compile(r"\b[qc]reg\s+\w+\s*\[\s*(\d+)\s*\]")
_INCLUDE = re.compile(r"\binclude\s*[\"']([^\"'\n]*)[\"']")
_HARDWARE_QUBIT = re.compile(r"\$\d+")
_PLACE = re.compile(r"(?:<input>:)?(\d+)[,:](\d+):? ?")


def read_openqasm(text: str) -> Circuit:
    """The circuit of an OpenQASM program, version 2 or 3 by its first line (3 where it has none); see `read_openqasm_program`."""
    return read_openqasm_program(text).circuit


def read_openqasm_program(text: str) -> Program:
    """The circuit with its classical bits, numbered in the order of their declarations.

    Raises InputError that names the line and the token, also for programs that look at results while they run.
    """
    if len(text) > LONGEST_TEXT:
        raise InputError("characters of OpenQASM", len(text), f"must be at most {LONGEST_TEXT}")
    bare = _COMMENT.sub("", text)
    version = _VERSION.match(bare)
    if version is not None and version[1] not in {"2", "3"}:
        raise wrong(LANGUAGE, 1 + bare.count("\n", 0, version.start(1)), version[0].strip(), "must be version 2 or 3")
    old = version is not None and version[1] == "2"
    _check(bare, "qelib1.inc" if old else "stdgates.inc")
    qiskit()
    try:
        circuit = _read_2(text, bare) if old else _read_3(text)
    except InputError:
        raise
    except Exception as error:  # Whatever an importer makes of hostile text is bad input.
        raise _explained(text, error) from None
    return from_qiskit_program(circuit)


def write_openqasm(circuit: Circuit) -> str:
    """``circuit`` in OpenQASM 3; the same up to a global phase. The k-th measurement writes c[k]."""
    exported = to_qiskit(circuit)
    from qiskit import qasm3  # noqa: PLC0415

    return str(qasm3.dumps(exported))


def _check(bare: str, standard: str) -> None:
    """Refuse what would overflow a parser's stack or read a file."""
    depth = powers = 0
    for found in _SYMBOL.finditer(bare):
        symbol = found[0]
        if symbol == ";":
            powers = 0
        elif symbol == "^":
            powers += 1
        elif symbol[0] in "([{":
            depth += 1
        elif symbol[0] in ")]}":
            depth -= 1
        signs = len(symbol.split()) if " " in symbol else len(symbol)
        if max(depth, powers, signs) > DEEPEST:
            line = 1 + bare.count("\n", 0, found.start())
            raise wrong(LANGUAGE, line, symbol, f"brackets, powers and signs may be nested {DEEPEST} deep")
    for found in _INCLUDE.finditer(bare):
        if found[1] != standard:
            raise wrong(LANGUAGE, 1 + bare.count("\n", 0, found.start()), found[1], f"only {standard} can be included")


def _read_2(text: str, bare: str) -> QuantumCircuit:
    from qiskit import qasm2  # noqa: PLC0415

    total = 0
    for found in _REGISTER.finditer(bare):
        line = 1 + bare.count("\n", 0, found.start())
        total += read_number(found[1], LANGUAGE, line, "a size", MOST_QUBITS)
        if total > 2 * MOST_QUBITS:
            raise wrong(LANGUAGE, line, found[0], f"registers may hold {2 * MOST_QUBITS} qubits and bits in all")
    return qasm2.loads(text, custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS)


def _read_3(text: str) -> QuantumCircuit:
    import openqasm3  # noqa: PLC0415
    import qiskit_qasm3_import  # noqa: PLC0415

    tree = openqasm3.parse(text)
    total = 0
    for node in _nodes(tree):
        if isinstance(node, openqasm3.ast.Identifier) and _HARDWARE_QUBIT.fullmatch(node.name):
            raise _at(node, node.name, "hardware qubits are not read; declare 'qubit[n] q;' and name its qubits")
        size = node.size if isinstance(node, openqasm3.ast.QubitDeclaration | openqasm3.ast.BitType) else None
        size = node.argument if isinstance(node, openqasm3.ast.QuantumGateModifier) and node.modifier.name in {"ctrl", "negctrl"} else size
        if size is None:
            continue
        if not isinstance(size, openqasm3.ast.IntegerLiteral):
            raise _at(size, type(size).__name__, "must be a whole number")
        total += size.value
        if not 0 <= size.value <= MOST_QUBITS or total > 2 * MOST_QUBITS:
            raise _at(size, str(size.value)[:30], f"must be at most {MOST_QUBITS}, and {2 * MOST_QUBITS} in all")
    return qiskit_qasm3_import.convert(tree)


def _nodes(tree: Any) -> Iterator[Any]:
    """Every node of a syntax tree."""
    from openqasm3.ast import QASMNode  # noqa: PLC0415

    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, QASMNode):
            yield node
            waiting.extend(vars(node).values())
        elif isinstance(node, list | tuple):
            waiting.extend(node)


def _at(node: Any, token: str, limit: str) -> InputError:
    return wrong(LANGUAGE, node.span.start_line if node.span is not None else 1, token, limit)


def _explained(text: str, error: Exception) -> InputError:
    """The importer's complaint at its line and token, as far as it tells them."""
    message = str(getattr(error, "message", "") or error).strip("'\"")
    found = _PLACE.match(message)
    place = (int(found[1]), int(found[2])) if found is not None else None
    cause = error.__cause__.args[0] if error.__cause__ is not None and error.__cause__.args else None
    token = getattr(cause, "offendingToken", None)
    if token is not None:
        place = (token.line, token.column)
    limit = f"Qiskit's importer says: {message[found.end() if found else 0 :] or 'it cannot stand here'}"
    if place is None:
        return InputError(LANGUAGE, type(error).__name__, limit)
    lines = text.split("\n")
    rest = lines[place[0] - 1][max(0, place[1]) :].split() if 0 < place[0] <= len(lines) else []
    return wrong(LANGUAGE, place[0], rest[0] if rest else "end of the line", limit)
