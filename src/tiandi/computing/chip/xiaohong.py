"""Where the qubits of the twin of Xiaohong lie. The layout is ours: that of the true chip is not published that we found.

504 qubits are published (Xinhua, 25 April 2024); a lattice of 24 rows and 21 columns holds them with 963 couplers, which is near the
"about 960" that such a count suggests. Eight resonators hang on a feed line, neighbours of one row (assumed).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.machines.lattice import square
from tiandi.limits import require_within

IntArray = NDArray[np.int64]
ROWS, COLUMNS = 24, 21
PER_FEED_LINE = 8
LARGEST = 4_096


@dataclass(frozen=True, eq=False)
class Layout:
    """``position`` (qubits, 2), ``couplers`` (couplers, 2) with the lower number first, ``feed_line`` and ``slot`` on it (qubits,)."""

    position: IntArray
    couplers: IntArray
    feed_line: IntArray
    slot: IntArray


def layout(qubits: int) -> Layout:
    """A square lattice in the proportions of 24 to 21, filled row by row: 504 qubits give 963 couplers."""
    require_within("qubits", qubits, 1, LARGEST)
    columns = max(1, round(math.sqrt(qubits * COLUMNS / ROWS)))
    whole = square(-(-qubits // columns), columns)
    kept = (whole.couplers < qubits).all(axis=1)
    number = np.arange(qubits)
    return Layout(whole.position[:qubits], whole.couplers[kept], number // PER_FEED_LINE, number % PER_FEED_LINE)
