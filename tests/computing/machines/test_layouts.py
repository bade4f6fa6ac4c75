"""Lattices against the counts that their makers publish, and the qubits chosen for smaller experiments."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import rustworkx

from tiandi.computing.machines.lattice import NO_PATTERN, Lattice, checkerboard, rotated_square, square
from tiandi.computing.machines.layouts import lattice_of, subset
from tiandi.computing.machines.sheets import Layout, find_sheet, load_sheets
from tiandi.errors import InputError

WITH_LAYOUT = [name for name, sheet in load_sheets().items() if sheet.layout is not None]


def graph_of(lattice: Lattice, kept: np.ndarray) -> rustworkx.PyGraph:
    graph = rustworkx.PyGraph()
    graph.add_nodes_from(range(lattice.qubit_count))
    graph.add_edges_from([(a, b, None) for a, b in lattice.couplers.tolist()])
    graph.remove_nodes_from(np.flatnonzero(~kept).tolist())
    return graph


@pytest.mark.parametrize("name", WITH_LAYOUT)
def test_a_lattice_has_the_qubits_and_couplers_of_its_sheet(name: str) -> None:
    sheet = find_sheet(name)
    assert sheet.layout is not None
    lattice = lattice_of(sheet.layout)
    assert lattice.qubit_count == sheet.number("qubits")
    assert sheet.number("couplers") in {None, len(lattice.couplers)}
    assert (lattice.couplers[:, 0] < lattice.couplers[:, 1]).all()
    assert len({tuple(pair) for pair in lattice.couplers.tolist()}) == len(lattice.couplers)
    assert rustworkx.is_connected(graph_of(lattice, np.ones(lattice.qubit_count, bool)))


@pytest.mark.parametrize("name", [name for name in WITH_LAYOUT if "eagle" not in name and "heron" not in name])
def test_each_pattern_is_a_matching(name: str) -> None:
    layout = find_sheet(name).layout
    assert layout is not None
    lattice = lattice_of(layout)
    assert not (lattice.pattern == NO_PATTERN).any()
    for kind in range(4):
        qubits = lattice.couplers[lattice.pattern == kind].ravel()
        assert len(set(qubits.tolist())) == len(qubits)


def layer_as_cirq_numbers_it(row: int, column: int, *, vertical: bool) -> int:
    """Layer A to D (0 to 3) of the coupler from (row, column) of a square grid downwards (``vertical``) or to the right.

    By the rule of Cirq 1.7's GridInteractionLayer, in GRID_STAGGERED_PATTERN: A and B vertical with offsets 0 and 1, C and D horizontal
    with offsets 1 and 0; a layer holds couplers of the rows (columns) with an even number that begin at an even place after the offset,
    and of those with an odd one that begin at an odd place.
    """
    along, across = (row, column) if vertical else (column, row)
    offset = (along - across) % 2
    return offset if vertical else 3 - offset


@pytest.mark.parametrize(
    ("lattice", "row_and_column"),
    [
        (rotated_square(11, 6), lambda row, column: ((row + 2 * column + row % 2) // 2, (row - 2 * column - row % 2) // 2)),
        (checkerboard(9, 9), lambda row, column: ((column - row) // 2, 1 - (row + column) // 2)),
        (square(6, 5), lambda row, column: (column, -row)),
    ],
    ids=["rotated square", "checkerboard", "square"],
)
def test_layers_are_those_of_cirq(lattice: Lattice, row_and_column: Callable[[int, int], tuple[int, int]]) -> None:
    """On a square grid that the lattice, turned, is a part of."""
    place = [row_and_column(row, column) for row, column in lattice.position.tolist()]
    for (first, second), kind in zip(lattice.couplers.tolist(), lattice.pattern.tolist(), strict=True):
        (row, column), (other_row, other_column) = sorted((place[first], place[second]))
        assert (other_row - row, other_column - column) in {(0, 1), (1, 0)}
        assert kind == layer_as_cirq_numbers_it(row, column, vertical=other_row > row)


def test_eagle_is_numbered_as_ibm_does() -> None:
    """Edges recalled from IBM's map of 127 qubits: 14 hangs below 0 and above 18, 113 to 126 are the last line."""
    layout = find_sheet("ibm-eagle").layout
    assert layout is not None
    edges = {tuple(pair) for pair in lattice_of(layout).couplers.tolist()}
    assert {(0, 14), (14, 18), (20, 33), (33, 39), (4, 15), (15, 22), (112, 126), (125, 126), (12, 17), (17, 30)} <= edges
    degrees = np.bincount(lattice_of(layout).couplers.ravel())
    assert degrees.max() == 3


@pytest.mark.parametrize(
    ("name", "count"), [("zuchongzhi-2.0", 56), ("zuchongzhi-2.1", 60), ("zuchongzhi-3.0", 83), ("google-sycamore", 53)]
)
def test_the_subset_for_an_experiment_is_in_one_piece_and_well_joined(name: str, count: int) -> None:
    layout = find_sheet(name).layout
    assert layout is not None
    lattice, chosen = lattice_of(layout), subset(name, count)
    kept = np.zeros(lattice.qubit_count, bool)
    kept[list(chosen)] = True
    graph = graph_of(lattice, kept)
    assert len(chosen) == count
    assert rustworkx.is_connected(graph)
    # The whole lattices have 1.62 to 1.73 couplers a qubit.
    assert graph.num_edges() / count > 1.58


def test_a_subset_cannot_be_larger_than_the_machine() -> None:
    with pytest.raises(InputError, match=r"qubits = 67: must lie in \[1, 66\]"):
        subset("zuchongzhi-2.0", 67)
    with pytest.raises(InputError, match="no lattice"):
        subset("xiaohong", 10)


def test_an_unknown_kind_of_layout_is_refused() -> None:
    with pytest.raises(InputError, match="kind of layout = 'ring'"):
        lattice_of(Layout("ring", 3, 3, (), "assumed", "here"))


@pytest.mark.parametrize("name", ["google-willow", "zuchongzhi-3.2"])
def test_the_published_surface_code_of_distance_seven_fits(name: str) -> None:
    """49 data qubits on odd points, 36 checks of four and 12 of two around them: all there, all coupled, 97 qubits."""
    layout = find_sheet(name).layout
    assert layout is not None
    lattice = lattice_of(layout)
    number = {tuple(point): place for place, point in enumerate(lattice.position.tolist())}
    data = [number[row, column] for row in range(1, 14, 2) for column in range(1, 14, 2)]
    checks = [number[row, column] for row in range(2, 13, 2) for column in range(2, 13, 2)]
    checks += [number[0, column] for column in (4, 8, 12)] + [number[14, column] for column in (2, 6, 10)]
    checks += [number[row, 0] for row in (2, 6, 10)] + [number[row, 14] for row in (4, 8, 12)]
    assert len({*data, *checks}) == 97
    near = [set(pair) for pair in lattice.couplers.tolist()]
    touched = [sum({check, qubit} in near for qubit in data) for check in checks]
    assert touched == [4] * 36 + [2] * 12
