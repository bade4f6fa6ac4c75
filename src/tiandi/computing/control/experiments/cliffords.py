"""The 24 Cliffords of one qubit out of half turns and turns, their group, and random sequences of them.

They are found, not listed: breadth first over products of pulses, as rotations of the three axes, so that each has the fewest pulses; on
average 1.83; with a rest as the identity it is the 1.875 of Barends et al. (doi 10.1038/nature13171, supplement).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.experiments.gates import Gates
from tiandi.computing.instruments.program import Moment
from tiandi.random import twin_generator

PULSES = ((0.5, 0.0), (0.5, 0.5), (0.5, 1.0), (0.5, 1.5), (1.0, 0.0), (1.0, 0.5))
"""Angle and phase in units of pi: half turns about x, y, -x, -y and turns about x, y. These are the rows of the table of a train."""
X_HALF, X_TURN = 0, 4


def table(gate: Gates) -> tuple[Moment, ...]:
    """One moment for each of PULSES."""
    return tuple(((gate.turn if angle == 1.0 else gate.half)(phase * np.pi),) for angle, phase in PULSES)


def _rotation(half_turns: float, phase: float) -> NDArray[np.int64]:
    axis, turned = np.array([np.cos(phase * np.pi), np.sin(phase * np.pi), 0.0]), half_turns * np.pi
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.rint(np.eye(3) + np.sin(turned) * cross + (1 - np.cos(turned)) * cross @ cross).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Group:
    """``pulses``: rows of PULSES for each Clifford, in time; ``product[a, b]``: a, then b; ``inverse`` (24,)."""

    pulses: tuple[tuple[int, ...], ...]
    product: NDArray[np.int64]
    inverse: NDArray[np.int64]

    def number(self, *pulses: int) -> int:
        """Of the Clifford that these pulses make."""
        found = 0
        for pulse in pulses:
            found = int(self.product[found, self.pulses.index((pulse,))])
        return found


@cache
def group() -> Group:
    """The Cliffords, the identity first."""
    steps = [_rotation(*pulse) for pulse in PULSES]
    found: dict[bytes, tuple[NDArray[np.int64], tuple[int, ...]]] = {}
    edge: list[tuple[NDArray[np.int64], tuple[int, ...]]] = [(np.eye(3, dtype=np.int64), ())]
    while edge:
        for rotation, pulses in edge:
            found.setdefault(rotation.tobytes(), (rotation, pulses))
        edge = [
            (step @ rotation, (*pulses, row))
            for rotation, pulses in edge
            for row, step in enumerate(steps)
            if (step @ rotation).tobytes() not in found
        ]
    place = {key: number for number, key in enumerate(found)}
    rotations = [rotation for rotation, _ in found.values()]
    product = np.array([[place[(then @ first).tobytes()] for then in rotations] for first in rotations])
    return Group(tuple(pulses for _, pulses in found.values()), product, np.argmax(product == 0, axis=1))


def sequences(lengths: NDArray[np.int64], interleaved: int | None = None, *, name: str) -> NDArray[np.int16]:
    """(1, len(lengths), longest): rows of `table` for sequences of so many random Cliffords and the one that undoes them, -1 behind.

    ``interleaved``: a Clifford played after each. ``name`` gives the sequences: the same name, the same ones.
    """
    cliffords = group()
    generator = twin_generator(0, "control", name)
    rows: list[list[int]] = []
    for length in lengths:
        state, pulses = 0, list[int]()
        for number in generator.integers(0, 24, int(length)):
            for step in (int(number),) if interleaved is None else (int(number), interleaved):
                state = int(cliffords.product[state, step])
                pulses += cliffords.pulses[step]
        rows.append(pulses + list(cliffords.pulses[int(cliffords.inverse[state])]))
    order = np.full((1, len(rows), max(1, *(len(row) for row in rows))), -1, np.int16)
    for place, row in enumerate(rows):
        order[0, place, : len(row)] = row
    return order
