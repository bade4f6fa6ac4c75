"""The lattice of each machine, and the qubits that a smaller experiment on it would take."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import rustworkx

from tiandi.computing.machines.lattice import Lattice, checkerboard, heavy_hexagon, rotated_square, square
from tiandi.computing.machines.sheets import Layout, find_sheet
from tiandi.errors import InputError
from tiandi.limits import require_within

KINDS: dict[str, Callable[[int, int], Lattice]] = {
    "rotated square": rotated_square,
    "square": square,
    "checkerboard": checkerboard,
    "heavy hexagon of Eagle": lambda rows, columns: heavy_hexagon(
        [range(columns - 1), *[range(columns)] * (rows - 2), range(1, columns)], (range(0, columns, 4), range(2, columns, 4))
    ),
    "heavy hexagon of Heron r1": lambda rows, columns: heavy_hexagon(
        [range(columns)] * rows, (range(0, columns, 4), range(2, columns, 4)), hanging=True
    ),
    "heavy hexagon of Heron r2": lambda rows, columns: heavy_hexagon([range(columns)] * rows, (range(3, columns, 4), range(1, columns, 4))),
}


def lattice_of(layout: Layout) -> Lattice:
    """Where the qubits lie, numbered without those that are absent."""
    if layout.kind not in KINDS:
        raise InputError("kind of layout", layout.kind, f"must be one of {', '.join(KINDS)}")
    whole = KINDS[layout.kind](layout.rows, layout.columns)
    there = np.ones(whole.qubit_count, bool)
    there[list(layout.absent)] = False
    kept = there[whole.couplers].all(axis=1)
    number = np.cumsum(there) - 1
    return Lattice(whole.position[there], number[whole.couplers[kept]], whole.pattern[kept])


@cache
def subset(machine: str, count: int) -> tuple[int, ...]:
    """``count`` qubits of ``machine`` for an experiment on fewer than all: our choice, since the papers do not print theirs.

    Qubits are left out one by one, each time one with the fewest neighbours left whose absence keeps the rest in one piece; among equals
    the one farthest from the middle, then the highest number. That keeps many couplers, as those who chose on the machines wanted.
    """
    layout = find_sheet(machine).layout
    if layout is None:
        raise InputError("machine", machine, "has no lattice that is known")
    lattice = lattice_of(layout)
    require_within("qubits", count, 1, lattice.qubit_count)
    graph = rustworkx.PyGraph()
    graph.add_nodes_from(range(lattice.qubit_count))
    graph.add_edges_from([(int(first), int(second), None) for first, second in lattice.couplers])
    away = np.abs(lattice.position - lattice.position.mean(axis=0)).sum(axis=1)
    while graph.num_nodes() > count:
        needed = rustworkx.articulation_points(graph)
        free = [qubit for qubit in graph.node_indices() if qubit not in needed]
        graph.remove_node(min(free, key=lambda qubit: (graph.degree(qubit), -away[qubit], -qubit)))
    return tuple(sorted(graph.node_indices()))
