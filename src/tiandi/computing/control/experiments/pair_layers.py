"""Layers of one-qubit gates on both qubits of a pair at once, as rows of a train's table, with the CZ behind them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.experiments.cliffords import PULSES
from tiandi.computing.control.experiments.cliffords import table as single_table
from tiandi.computing.control.experiments.gates import Gates
from tiandi.computing.control.experiments.pairing import Pairs, calibrated_cz
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import ComplexArray, Moment

REST = len(PULSES)
"""No pulse on a qubit."""
HALF_TURNS = 4
"""Of PULSES: about x, y, -x, -y."""
CZ = (REST + 1) ** 2 - 1
"""Row of the gate; the last of the table."""


def row_of(first: int, second: int) -> int:
    """Row in which the first qubit has the pulse ``first`` of PULSES, or REST, and the second one ``second``; not REST on both."""
    return first * (REST + 1) + second


def table(knowledge: Knowledge, pair: Pairs) -> tuple[Moment, ...]:
    """Rows of `row_of`, and the CZ."""
    first, second = (_rows(each) for each in (pair.first_gates, pair.second_gates))
    layers = [(*one, *other) for one in first for other in second]
    return (*layers[:-1], calibrated_cz(knowledge, pair))


def half_turns(knowledge: Knowledge, pair: Pairs) -> tuple[Moment, ...]:
    """Row HALF_TURNS first + second: half turns of both qubits, of the first HALF_TURNS of PULSES; behind them the CZ, at HALF_TURNS^2."""
    first, second = (single_table(each)[:HALF_TURNS] for each in (pair.first_gates, pair.second_gates))
    return (*((*one, *other) for one in first for other in second), calibrated_cz(knowledge, pair))


def _rows(gate: Gates) -> tuple[Moment, ...]:
    return (*single_table(gate), ())


def rotation(half_turns: float, phase: float) -> ComplexArray:
    """(2, 2): turn by ``half_turns`` pi about the axis at ``phase`` pi in the equator."""
    half, axis = 0.5 * np.pi * half_turns, np.pi * phase
    return np.array([
        [np.cos(half), -1j * np.sin(half) * np.exp(-1j * axis)],
        [-1j * np.sin(half) * np.exp(1j * axis), np.cos(half)],
    ])  # fmt: skip


def layer(first: tuple[int, ...], second: tuple[int, ...]) -> list[int]:
    """Rows for pulses of both qubits in time; the shorter one rests at the end."""
    length = max(len(first), len(second))
    padded = [(*pulses, *(REST,) * (length - len(pulses))) for pulses in (first, second)]
    return [row_of(one, other) for one, other in zip(*padded, strict=True)]


def orders(sequences: list[list[int]]) -> NDArray[np.int16]:
    """(1, sequences, longest): -1 behind."""
    order = np.full((1, len(sequences), max(1, *(len(each) for each in sequences))), -1, np.int16)
    for place, each in enumerate(sequences):
        order[0, place, : len(each)] = each
    return order
