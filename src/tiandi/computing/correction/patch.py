"""Rotated surface codes placed on a machine's lattice.

A code of distance d takes d x d data qubits and d^2 - 1 ancillas, each coupled to two or four data qubits diagonally. Coordinates here are
those of a checkerboard on which every coupler is a diagonal step; lattices that cannot be drawn so hold no such code.
Bombin and Martin-Delgado, PRA 76, 012305 (2007), doi:10.1103/PhysRevA.76.012305.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tiandi.computing.machines.calibration import BoolArray
from tiandi.computing.machines.lattice import IntArray, Lattice
from tiandi.errors import InputError

LARGEST_DISTANCE = 25
_SOUTH_EAST, _SOUTH_WEST, _NORTH_EAST, _NORTH_WEST = (1, 1), (1, -1), (-1, 1), (-1, -1)
STEPS = {
    "X": (_SOUTH_EAST, _SOUTH_WEST, _NORTH_EAST, _NORTH_WEST),
    "Z": (_SOUTH_EAST, _NORTH_EAST, _SOUTH_WEST, _NORTH_WEST),
}
"""The order in which a check meets its data qubits: an ancilla's error half-way spreads across, not along, the logical operator."""


@dataclass(frozen=True, slots=True)
class Check:
    """A product of X or of Z on up to four data qubits, read by ``ancilla``; ``data``: its data qubit in each of the four layers."""

    ancilla: int
    basis: str
    data: tuple[int | None, ...]

    @property
    def support(self) -> tuple[int, ...]:
        """Its data qubits."""
        return tuple(qubit for qubit in self.data if qubit is not None)


@dataclass(frozen=True)
class Patch:
    """One code on qubits of a lattice. ``turned``: data qubits on which X and Z are exchanged, so that all checks run the same gates.

    ``logical``: by basis, the data qubits whose product is the logical operator. ``corner``: where it lies, row and column.
    """

    distance: int
    data: tuple[int, ...]
    checks: tuple[Check, ...]
    turned: frozenset[int]
    logical: dict[str, tuple[int, ...]]
    corner: tuple[int, int]

    @property
    def qubits(self) -> tuple[int, ...]:
        """All its qubits, data first."""
        return (*self.data, *(check.ancilla for check in self.checks))


def checkerboard_coordinates(lattice: Lattice) -> IntArray:
    """Coordinates (qubits, 2) in which every coupler is a diagonal step; raises InputError where there are none of the kinds known here."""
    row, column = lattice.position.T
    for candidate in ((row, column), (row, 2 * column + row % 2), (row + column, row - column)):
        place = np.stack(candidate, axis=1)
        steps = place[lattice.couplers[:, 0]] - place[lattice.couplers[:, 1]]
        if (np.abs(steps) == 1).all():
            return place
    raise InputError("lattice", f"{lattice.qubit_count} qubits", "holds no surface code: its couplers are not those of a square grid")


def placements(
    lattice: Lattice, distance: int, *, qubit_works: BoolArray | None = None, coupler_works: BoolArray | None = None
) -> list[Patch]:
    """Every place for a code of ``distance`` on working qubits and couplers (all, unless told), from the first row and column on.

    Raises InputError for an even distance or one below 3, and for lattices without a square grid.
    """
    if distance < 3 or distance % 2 == 0 or distance > LARGEST_DISTANCE:
        raise InputError("distance", distance, f"must be odd and lie in [3, {LARGEST_DISTANCE}]")
    place = checkerboard_coordinates(lattice)
    site = {(int(row), int(column)): qubit for qubit, (row, column) in enumerate(place) if qubit_works is None or qubit_works[qubit]}
    joined = {pair for pair, number in lattice.coupler_number().items() if coupler_works is None or coupler_works[number]}
    low, high = place.min(axis=0), place.max(axis=0)
    found = []
    for row in range(int(low[0]) - 1, int(high[0]) - 2 * distance + 2):
        for column in range(int(low[1]) - 1, int(high[1]) - 2 * distance + 2):
            for parity in (0, 1):
                patch = _patch(site, joined, distance, (row, column), parity)
                if patch is not None:
                    found.append(patch)
    return found


def chosen(found: Sequence[Patch], lattice: Lattice, within: Patch | None = None) -> list[Patch]:
    """Of codes ``found`` on ``lattice`` those to average over: inside the code ``within``, with boundaries like its; else a central one.

    ``found`` must hold at least one.
    """
    if within is not None:
        inside = set(within.qubits)
        own = [
            patch
            for patch in found
            if inside.issuperset(patch.qubits)
            and all((patch.corner[axis] - within.corner[axis]) % 4 == 0 for axis in (0, 1))
            and patch.turned <= within.turned
        ]
        if own:
            return own
    middle = checkerboard_coordinates(lattice).mean(axis=0) - found[0].distance
    return [min(found, key=lambda patch: (float(np.abs(patch.corner - middle).sum()), patch.corner))]


def _patch(
    site: dict[tuple[int, int], int], joined: set[tuple[int, int]], distance: int, corner: tuple[int, int], parity: int
) -> Patch | None:
    """The code whose upper left ancilla place is ``corner``, or None where a qubit or coupler is missing."""
    grid = range(distance)
    data: dict[tuple[int, int], int] = {}
    for i in grid:
        for j in grid:
            qubit = site.get((corner[0] + 2 * i + 1, corner[1] + 2 * j + 1))
            if qubit is None:
                return None
            data[i, j] = qubit
    checks = []
    for a in range(distance + 1):
        for b in range(distance + 1):
            basis = "X" if (a + b) % 2 == parity else "Z"
            if not _there(a, b, distance, basis):
                continue
            ancilla = site.get((corner[0] + 2 * a, corner[1] + 2 * b))
            own = tuple(data.get((a + (down - 1) // 2, b + (right - 1) // 2)) for down, right in STEPS[basis])
            if ancilla is None or any((min(ancilla, qubit), max(ancilla, qubit)) not in joined for qubit in own if qubit is not None):
                return None
            checks.append(Check(ancilla, basis, own))
    turned = frozenset(qubit for (i, j), qubit in data.items() if (i + j) % 2 == parity)
    logical = {"Z": tuple(data[0, j] for j in grid), "X": tuple(data[i, 0] for i in grid)}
    return Patch(distance, tuple(data.values()), tuple(checks), turned, logical, corner)


def _there(a: int, b: int, distance: int, basis: str) -> bool:
    """Whether the code has a check at ancilla place (a, b): all inside, X above and below, Z left and right, none at corners."""
    at_row, at_column = a in {0, distance}, b in {0, distance}
    return not (at_row and at_column) and not (at_row and basis == "Z") and not (at_column and basis == "X")


def layers_of(checks: Sequence[Check]) -> list[list[tuple[int, int]]]:
    """Pairs of data qubit and ancilla that meet in each of the four layers of two-qubit gates."""
    return [[(qubit, check.ancilla) for check in checks if (qubit := check.data[layer]) is not None] for layer in range(4)]
