"""Which line reaches which qubit, asked of those alone that their own line does not reach.

Candidates try each other's lines, all at once: in round s each listens while the line of the one s places further is played. What a swap
has exchanged is found in as many rounds as there are candidates, whatever the size of the chip.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.knowledge import Flag
from tiandi.computing.instruments.program import IntArray


def rounds(candidates: IntArray) -> list[IntArray]:
    """Lines to play in each round, (candidates,) each."""
    return [np.roll(candidates, -shift) for shift in range(1, len(candidates))]


def swapped(candidates: IntArray, reached_by: IntArray, kind: str) -> list[Flag]:
    """Flags of candidates that another line reaches; ``reached_by`` (candidates,): that line, -1 for none; ``kind``: drive or flux."""
    return [
        Flag("qubit", int(qubit), f"{kind} cables swapped", f"the {kind} line of qubit {line} moves it, its own does not")
        for qubit, line in zip(candidates, reached_by, strict=True)
        if line >= 0
    ]


def taken(reached_by: IntArray, round_lines: IntArray, answers: NDArray[np.bool_]) -> IntArray:
    """``reached_by`` with the lines of a round to which a candidate answered and that had no line yet."""
    return np.where((reached_by < 0) & answers, round_lines, reached_by)
