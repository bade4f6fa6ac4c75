"""What the experiments here share: the fields of a node of the graph, and short ways to read what is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.experiment import GOOD
from tiandi.computing.control.knowledge import Element, Knowledge
from tiandi.computing.instruments.instrument import Electronics
from tiandi.computing.instruments.program import FloatArray, IntArray

HOUR_S = 3600.0


@dataclass(frozen=True)
class Node:
    """The fields of an experiment; a class of experiments gives defaults and `measure`."""

    name: str
    title: str
    after: tuple[str, ...] = ()
    valid_s: float = 12.0 * HOUR_S
    element: Element = "qubit"

    def exclusion(self, knowledge: Knowledge) -> IntArray | None:
        """All targets may run together."""
        return None


@dataclass(frozen=True)
class QuietNeighbours(Node):
    """An experiment whose phases a neighbour's excitation would shift (residual ZZ): neighbours are never targets of one program."""

    def exclusion(self, knowledge: Knowledge) -> IntArray | None:
        return knowledge.electronics.couplers


def known(knowledge: Knowledge, name: str, targets: IntArray, otherwise: float | FloatArray) -> FloatArray:
    """(targets,): a parameter where it was measured, else ``otherwise``."""
    fallback = np.broadcast_to(np.asarray(otherwise, float), targets.shape)
    if name not in knowledge.parameters:
        return fallback.copy()
    value = knowledge[name][targets]
    return np.where(np.isfinite(value), value, fallback)


def column(values: FloatArray) -> FloatArray:
    """(targets,) -> (targets, 1), to broadcast over points."""
    return np.asarray(values, float)[:, None]


def verdicts(targets: int, *complaints: tuple[NDArray[np.bool_], str]) -> NDArray[np.object_]:
    """(targets,): the reason of the first complaint that applies to a target, else good."""
    found = np.full(targets, GOOD, object)
    for applies, reason in reversed(complaints):
        found[applies] = reason
    return found


def neighbours(couplers: IntArray, qubits: int) -> IntArray:
    """(qubits, most): the qubits joined to each by a coupler, -1 for none."""
    ends = np.concatenate([couplers, couplers[:, ::-1]])
    ends = ends[np.argsort(ends[:, 0], kind="stable")]
    degree = np.bincount(ends[:, 0], minlength=qubits)
    table = np.full((qubits, int(degree.max(initial=1))), -1, np.int64)
    place = np.arange(len(ends)) - np.repeat(np.cumsum(degree) - degree, degree)
    table[ends[:, 0], place] = ends[:, 1]
    return table


DIRECTIONS = {
    "up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1),
    "up_left": (-1, -1), "up_right": (-1, 1), "down_left": (1, -1), "down_right": (1, 1),
}  # fmt: skip
"""Row and column of a neighbour, less a qubit's own."""


def towards(electronics: Electronics, direction: str) -> IntArray:
    """(qubits,): the qubit in a direction of each, -1 for none."""
    place = {(int(row), int(column)): number for number, (row, column) in enumerate(electronics.position)}
    down, right = DIRECTIONS[direction]
    return np.array([place.get((int(row) + down, int(column) + right), -1) for row, column in electronics.position], np.int64)


def closer_than(electronics: Electronics, sites: int) -> IntArray:
    """(pairs, 2): pairs of qubits less than ``sites`` rows apart and less than ``sites`` columns."""
    place = {(int(row), int(column)): number for number, (row, column) in enumerate(electronics.position)}
    reach = range(-sites + 1, sites)
    steps = [(down, right) for down in reach for right in reach if (down, right) > (0, 0)]
    pairs = [
        (number, place[row + down, column + right])
        for (row, column), number in place.items()
        for down, right in steps
        if (row + down, column + right) in place
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)
