"""Codes on lattices: against the definition of a code, by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from tiandi.computing.correction.patch import LARGEST_DISTANCE, Patch, chosen, layers_of, placements
from tiandi.computing.machines.lattice import Lattice, checkerboard, rotated_square, square
from tiandi.computing.machines.twin import build_twin
from tiandi.errors import InputError


def assert_is_code(patch: Patch, lattice: Lattice) -> None:
    couplers = lattice.coupler_number()
    supports = {basis: [set(check.support) for check in patch.checks if check.basis == basis] for basis in "XZ"}
    assert len(patch.data) == patch.distance**2
    assert len(patch.checks) == patch.distance**2 - 1
    assert len(set(patch.qubits)) == 2 * patch.distance**2 - 1
    assert all(len(one & other) % 2 == 0 for one in supports["X"] for other in supports["Z"])
    for basis, other in (("X", "Z"), ("Z", "X")):
        assert len(patch.logical[basis]) == patch.distance
        assert all(len(set(patch.logical[basis]) & support) % 2 == 0 for support in supports[other])
    assert len(set(patch.logical["X"]) & set(patch.logical["Z"])) % 2 == 1
    for layer in layers_of(patch.checks):
        assert len({qubit for pair in layer for qubit in pair}) == 2 * len(layer)
        assert all((min(pair), max(pair)) in couplers for pair in layer)


@pytest.mark.parametrize(
    ("lattice", "distance"),
    [(rotated_square(11, 6), 3), (rotated_square(11, 6), 5), (rotated_square(15, 7), 5), (checkerboard(15, 15), 7), (square(12, 6), 3)],
)
def test_every_placement_is_a_code_on_couplers_of_the_lattice(lattice: Lattice, distance: int) -> None:
    found = placements(lattice, distance)
    assert found
    for patch in found:
        assert_is_code(patch, lattice)


@pytest.mark.parametrize(
    ("machine", "largest"),
    [("zuchongzhi-2.1", 5), ("zuchongzhi-3.0", 5), ("zuchongzhi-3.2", 7), ("google-willow", 7), ("origin-wukong", 3)],
)
def test_machines_hold_codes_up_to_a_distance(machine: str, largest: int) -> None:
    lattice = build_twin(machine).lattice
    assert placements(lattice, largest)
    assert not placements(lattice, largest + 2)


def test_smaller_codes_tile_the_largest_as_in_the_experiments() -> None:
    # arXiv:2408.13687 averages over nine codes of distance 3 and four of distance 5 inside that of distance 7.
    lattice = build_twin("google-willow").lattice
    whole = chosen(placements(lattice, 7), lattice)[0]
    assert [len(chosen(placements(lattice, distance), lattice, whole)) for distance in (3, 5)] == [9, 4]


def test_a_broken_qubit_or_coupler_is_avoided() -> None:
    lattice = rotated_square(11, 6)
    patch = placements(lattice, 5)[0]
    for qubit in (patch.data[0], patch.checks[0].ancilla):
        works = np.ones(lattice.qubit_count, bool)
        works[qubit] = False
        assert all(qubit not in found.qubits for found in placements(lattice, 3, qubit_works=works))
    works = np.ones(len(lattice.couplers), bool)
    works[:] = False
    assert not placements(lattice, 3, coupler_works=works)


def test_lattices_without_a_square_grid_hold_none() -> None:
    assert not placements(build_twin("ibm-eagle").lattice, 3)
    triangle = Lattice(np.array([[0, 0], [0, 2], [1, 5]]), np.array([[0, 1], [0, 2], [1, 2]]), np.full(3, -1))
    with pytest.raises(InputError, match="square grid"):
        placements(triangle, 3)


@pytest.mark.parametrize("distance", [1, 4, LARGEST_DISTANCE + 2])
def test_a_distance_must_be_odd_and_moderate(distance: int) -> None:
    with pytest.raises(InputError, match="distance"):
        placements(checkerboard(7, 7), distance)
