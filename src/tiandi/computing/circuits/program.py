"""What every reader of a circuit language shares: a program's circuit with its classical bits, limits of size, errors, and angles.

An angle is a number, or a sum of products of numbers and pi with brackets: what cqlib (through SymPy) and pyqpanda3 both write or take.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from tiandi.computing.circuits.circuit import MEASURE, MOST_QUBITS, Circuit
from tiandi.errors import InputError

MOST_TOUCHED = 500_000
"""Qubits that the operations of one program may touch in all, broadcasts and controls written out."""
DEEPEST = 32
MOST_DIGITS = 9
LONGEST_ANGLE = 400
_SYMBOL = re.compile(r"\s*((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|pi|PI|[-+*/()])")


@dataclass(frozen=True)
class Program:
    """``circuit``, and for each of its measurements in turn the classical bit that it writes, out of ``classical_bit_count``."""

    circuit: Circuit
    classical_bits: tuple[int, ...]
    classical_bit_count: int

    @property
    def bits_follow_measurements(self) -> bool:
        """Whether the k-th measurement writes bit k, so that a result's columns are the classical bits."""
        return self.classical_bits == tuple(range(self.classical_bit_count))


def straight(circuit: Circuit) -> Program:
    """``circuit`` whose k-th measurement writes bit k: languages without classical registers."""
    count = sum(operation.name == MEASURE for operation in circuit.operations)
    return Program(circuit, tuple(range(count)), count)


def wrong(language: str, line: int, token: str, limit: str) -> InputError:
    """The error of every reader: the line, the token (its beginning) and what would do."""
    return InputError(f"{language} line {line}", token if len(token) <= 60 else f"{token[:57]}...", limit)


def read_number(digits: str, language: str, line: int, what: str, most: int = MOST_QUBITS - 1) -> int:
    """A whole number in [0, ``most``]."""
    if not (digits.isascii() and digits.isdigit()) or len(digits) > MOST_DIGITS or int(digits) > most:
        raise wrong(language, line, digits, f"must be {what}, a whole number in [0, {most}]")
    return int(digits)


def read_angle(token: str, language: str, line: int) -> float:
    """The value [rad] of a number or of an expression of numbers and pi. Raises InputError for anything else and for what is not finite."""
    try:
        value = float(token if len(token) <= LONGEST_ANGLE else "")
    except ValueError:
        value = _Expression(token, language, line).value()
    if not math.isfinite(value) or "_" in token:
        raise wrong(language, line, token, "must be a finite number")
    return value


class _Expression:
    """Recursive descent over sums, products, signs and brackets, at most `DEEPEST` deep."""

    def __init__(self, text: str, language: str, line: int) -> None:
        self.text, self.language, self.line = text, language, line
        if len(text) > LONGEST_ANGLE:
            raise self._wrong()
        self.symbols: list[str] = []
        place, end = 0, len(text.rstrip())
        while place < end:
            found = _SYMBOL.match(text, place)
            if found is None:
                raise self._wrong()
            self.symbols.append(found[1])
            place = found.end()
        self.place = 0

    def _wrong(self) -> InputError:
        limit = f"must be a number, or + - * / of numbers and pi with brackets (at most {LONGEST_ANGLE} characters, {DEEPEST} deep)"
        return wrong(self.language, self.line, self.text, limit)

    def value(self) -> float:
        try:
            value = self._sum(0)
        except (ZeroDivisionError, OverflowError):
            raise self._wrong() from None
        if self.place != len(self.symbols):
            raise self._wrong()
        return value

    def _next(self) -> str:
        return self.symbols[self.place] if self.place < len(self.symbols) else ""

    def _sum(self, depth: int) -> float:
        value = self._product(depth)
        while (sign := self._next()) in {"+", "-"}:
            self.place += 1
            other = self._product(depth)
            value = value + other if sign == "+" else value - other
        return value

    def _product(self, depth: int) -> float:
        value = self._atom(depth)
        while (sign := self._next()) in {"*", "/"}:
            self.place += 1
            other = self._atom(depth)
            value = value * other if sign == "*" else value / other
        return value

    def _atom(self, depth: int) -> float:
        symbol = self._next()
        self.place += 1
        if not symbol or depth > DEEPEST:
            raise self._wrong()
        if symbol in {"+", "-"}:
            value = self._atom(depth + 1)
            return value if symbol == "+" else -value
        if symbol in {"pi", "PI"}:
            return math.pi
        if symbol == "(":
            value = self._sum(depth + 1)
            if self._next() != ")":
                raise self._wrong()
            self.place += 1
            return value
        if symbol in {"*", "/", ")"}:
            raise self._wrong()
        return float(symbol)
