"""Where a machine's qubits lie and which of them are coupled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
NO_PATTERN = -1
PUBLISHED_SEQUENCE = "ABCDCDAB"
"""Layers of two-qubit gates as the papers take them in turn (Arute et al. 2019, doi:10.1038/s41586-019-1666-5)."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """``position`` (qubits, 2): row and column for drawing; ``couplers`` (couplers, 2): their qubits, smaller first.

    ``pattern`` (couplers,): which layer A, B, C, D (0 to 3) of two-qubit gates of a random circuit it belongs to, each a matching;
    NO_PATTERN where none is defined. A and B are the two halves of the couplers of one direction, C and D those of the other, staggered
    from row to row (Arute et al. 2019; Cirq's GRID_STAGGERED_PATTERN).
    """

    position: IntArray
    couplers: IntArray
    pattern: IntArray

    @property
    def qubit_count(self) -> int:
        """Qubits, working or not."""
        return len(self.position)

    def coupler_number(self) -> dict[tuple[int, int], int]:
        """The number of the coupler between two qubits, smaller first."""
        return {(int(first), int(second)): number for number, (first, second) in enumerate(self.couplers)}


def rotated_square(rows: int, columns: int) -> Lattice:
    """The lattice of the Zuchongzhi and Sycamore kind: (row, column) is coupled to (row+1, column) and to its neighbour in row+1.

    11 x 6 gives 66 qubits and 110 couplers (Zuchongzhi 2), 15 x 7 gives 105 and 182 (Zuchongzhi 3.0, Willow).
    """
    couplers, pattern = [], []
    for row in range(rows - 1):
        for column in range(columns):
            sideways = column + 1 if row % 2 else column - 1
            for kind, other in ((0, column), (1, sideways)):
                if 0 <= other < columns:
                    couplers.append((row * columns + column, (row + 1) * columns + other))
                    pattern.append(((0, 3), (2, 1))[row % 2][kind])
    return Lattice(_positions(rows, columns), np.array(couplers, np.int64).reshape(-1, 2), np.array(pattern, np.int64))


def square(rows: int, columns: int) -> Lattice:
    """Each qubit coupled to the next in its row and in its column: 12 x 6 gives the 72 qubits and 126 couplers of Wukong."""
    couplers, pattern = [], []
    for row in range(rows):
        for column in range(columns):
            number = row * columns + column
            if column + 1 < columns:
                couplers.append((number, number + 1))
                pattern.append((row + column) % 2)
            if row + 1 < rows:
                couplers.append((number, number + columns))
                pattern.append(2 + (row + column) % 2)
    return Lattice(_positions(rows, columns), np.array(couplers, np.int64).reshape(-1, 2), np.array(pattern, np.int64))


def checkerboard(rows: int, columns: int) -> Lattice:
    """Qubits on the points whose row and column are both even or both odd, each coupled to its diagonal neighbours.

    2d + 1 rows and columns hold a rotated surface code of distance d: data on the odd points, checks on even ones.
    """
    points = [(row, column) for row in range(rows) for column in range(row % 2, columns, 2)]
    number = {point: place for place, point in enumerate(points)}
    couplers, pattern = [], []
    for (row, column), qubit in number.items():
        for kind, other in ((0, (row + 1, column - 1)), (1, (row + 1, column + 1))):
            if other in number:
                couplers.append((qubit, number[other]))
                pattern.append(((0, 3), (1, 2))[row % 2][kind])
    return Lattice(np.array(points, np.int64), np.array(couplers, np.int64).reshape(-1, 2), np.array(pattern, np.int64))


def heavy_hexagon(lines: Sequence[range], bridges: tuple[range, range], *, hanging: bool = False) -> Lattice:
    """IBM's lattice, numbered as IBM does: ``lines`` of qubits over columns, and single qubits between two lines that join them.

    ``bridges``: the columns of those below the first line, the third and so on, and below the second, the fourth and so on;
    ``hanging``: whether there are some below the last line, too.
    """
    number: dict[tuple[int, int], int] = {}
    for line, columns in enumerate(lines):
        number |= {(2 * line, column): len(number) + place for place, column in enumerate(columns)}
        if hanging or line + 1 < len(lines):
            number |= {(2 * line + 1, column): len(number) + place for place, column in enumerate(bridges[line % 2])}
    couplers = []
    for (row, column), qubit in number.items():
        neighbours = [(row + 1, column)] if row % 2 else [(row, column + 1), (row + 1, column)]
        couplers += [(qubit, number[other]) for other in neighbours if other in number]
    pairs = np.array(couplers, np.int64).reshape(-1, 2)
    return Lattice(np.array(list(number), np.int64), pairs, np.full(len(pairs), NO_PATTERN, np.int64))


def _positions(rows: int, columns: int) -> IntArray:
    return np.array([(row, column) for row in range(rows) for column in range(columns)], np.int64).reshape(-1, 2)
