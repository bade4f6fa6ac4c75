"""Any circuit language: which one a text is in, and its circuit."""

from __future__ import annotations

import re

from tiandi.computing.circuits.circuit import Circuit
from tiandi.computing.circuits.origin_ir import read_origin_program
from tiandi.computing.circuits.program import Program, straight
from tiandi.computing.circuits.qcis import read_qcis
from tiandi.errors import InputError

LANGUAGES = ("qcis", "originir", "openqasm")
_COMMENTS = re.compile(r"\s+|//[^\n]*|#[^\n]*")
_OPENQASM = re.compile(r"OPENQASM\b|include\s*\"|qreg\s|qubit\b|gate\s|creg\s|bit\b")
_ORIGIN_IR = re.compile(r"QINIT\b|CREG\b|/\*")
_QCIS = re.compile(r"[A-Z][A-Z0-9]*[ \t]+[QG]\d")
_LONGEST_HEAD = 20_000


def language_of(text: str) -> str:
    """One of `LANGUAGES`, by how ``text`` begins behind its comments. Raises InputError where it begins like none of them."""
    head, place = text[:_LONGEST_HEAD], 0
    while found := _COMMENTS.match(head, place):
        place = found.end()
    if _OPENQASM.match(head, place):
        return "openqasm"
    if head.startswith("/*", place):
        return "openqasm" if re.search(r"OPENQASM\b", head) else "originir"
    if _ORIGIN_IR.match(head, place):
        return "originir"
    if _QCIS.match(head, place):
        return "qcis"
    beginning = head[place : place + 40].partition("\n")[0]
    line = head.count("\n", 0, place) + 1
    limit = "must begin like QCIS ('H Q0'), OriginIR ('QINIT 2') or OpenQASM ('OPENQASM 3.0;'), or name its language"
    raise InputError(f"program line {line}", beginning, limit)


def read_program(text: str, language: str | None = None) -> Program:
    """``text`` in ``language`` (one of `LANGUAGES`; recognised unless given) with its classical bits. Raises InputError."""
    name = language_of(text) if language is None else language.lower()
    if name == "qcis":
        return straight(read_qcis(text))
    if name == "originir":
        return read_origin_program(text)
    if name == "openqasm":
        from tiandi.computing.circuits.openqasm import read_openqasm_program  # noqa: PLC0415 - Qiskit takes seconds to import.

        return read_openqasm_program(text)
    raise InputError("language", language, f"must be one of {', '.join(LANGUAGES)}")


def read_circuit(text: str, language: str | None = None) -> Circuit:
    """``text`` in ``language`` (one of `LANGUAGES`; recognised unless given). Raises InputError."""
    return read_program(text, language).circuit
