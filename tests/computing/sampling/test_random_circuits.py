"""Circuits of random circuit sampling, against what the papers say of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.computing.circuits.circuit import Circuit
from tiandi.computing.machines.lattice import Lattice, rotated_square, square
from tiandi.computing.machines.twin import build_twin
from tiandi.computing.sampling.random_circuits import EASIER_SEQUENCE, CouplerAngles, drawn_angles, patches_of, random_circuit
from tiandi.errors import InputError

LATTICE = rotated_square(11, 6)
ALL = range(66)


def layers(circuit: Circuit) -> list[list[tuple[int, ...]]]:
    """Qubits of the two-qubit gates between barriers."""
    found: list[list[tuple[int, ...]]] = [[]]
    for operation in circuit.operations:
        if operation.name == "barrier":
            found.append([])
        elif operation.name == "fsim":
            found[-1].append(operation.qubits)
    return [layer for layer in found if layer]


def test_layers_follow_the_patterns_ABCDCDAB() -> None:
    pattern = {tuple(pair): int(kind) for pair, kind in zip(LATTICE.couplers.tolist(), LATTICE.pattern, strict=True)}
    found = [{pattern[pair] for pair in layer} for layer in layers(random_circuit(LATTICE, ALL, 10))]
    assert found == [{"ABCD".index(letter)} for letter in "ABCDCDABAB"]


def test_another_sequence_takes_the_same_layers_in_its_own_order() -> None:
    published, other = (layers(random_circuit(LATTICE, ALL, 6, sequence=sequence)) for sequence in ("ABCD", "DDA"))
    assert other == [published[number] for number in (3, 3, 0, 3, 3, 0)]


def test_the_easier_sequence_joins_rows_pair_by_pair() -> None:
    """Two cycles stay between rows 0 and 1, 2 and 3, and so on, the next two between 1 and 2, 3 and 4; the published one changes each."""

    def upper_rows(sequence: str) -> list[set[int]]:
        return [{first // 6 % 2 for first, _ in layer} for layer in layers(random_circuit(LATTICE, ALL, 8, sequence=sequence))]

    assert upper_rows(EASIER_SEQUENCE) == [{row} for row in (0, 0, 1, 1, 1, 1, 0, 0)]
    assert upper_rows("ABCDCDAB") == [{row} for row in (0, 1, 1, 0, 1, 0, 0, 1)]


def test_eight_cycles_use_every_coupler_twice() -> None:
    assert random_circuit(LATTICE, ALL, 8).counted()["fsim"] == 2 * 110


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32))
def test_a_qubit_never_has_the_same_root_twice_in_a_row(seed: int) -> None:
    circuit = random_circuit(square(3, 3), range(9), 12, seed=seed)
    for qubit in range(9):
        own = [operation.name for operation in circuit.operations if operation.qubits == (qubit,) and operation.name != "measure"]
        assert len(own) == 13
        assert all(first != second for first, second in itertools.pairwise(own))


def test_the_three_roots_are_equally_frequent() -> None:
    counted = random_circuit(LATTICE, ALL, 99).counted()
    roots = np.array([counted[name] for name in ("sx", "sy", "rxy")])
    assert roots.sum() == 6600
    assert np.abs(roots - 2200).max() < 5 * math.sqrt(6600 * 2 / 9)


def test_the_third_root_is_that_of_W() -> None:
    found = {operation.parameters for operation in random_circuit(LATTICE, ALL, 3).operations if operation.name == "rxy"}
    assert found == {(math.pi / 2, math.pi / 4)}


def test_a_patch_circuit_lacks_every_gate_between_its_patches_and_an_elided_one_the_first() -> None:
    patches = patches_of(LATTICE, ALL)
    assert [len(patch) for patch in patches] == [33, 33]
    inside = [set(patch) for patch in patches]

    def crossing(circuit: Circuit) -> list[int]:
        return [sum(not any(set(pair) <= part for part in inside) for pair in layer) for layer in layers(circuit)]

    full = random_circuit(LATTICE, ALL, 8)
    patch, elided = (random_circuit(LATTICE, ALL, 8, patches=patches, elided_cycles=cycles) for cycles in (None, 4))
    assert sum(crossing(patch)) == 0
    assert crossing(elided) == [0] * 4 + crossing(full)[4:]
    assert sum(crossing(full)) > sum(crossing(elided)) > 0
    assert set(patch.operations) <= set(full.operations)


def test_couplers_that_do_not_work_are_left_out() -> None:
    pair = tuple(LATTICE.couplers[0].tolist())
    assert all(pair not in layer for layer in layers(random_circuit(LATTICE, ALL, 8, without={pair})))


def test_a_subset_keeps_the_machines_numbers_and_only_its_couplers() -> None:
    circuit = random_circuit(LATTICE, (3, 9, 10, 15), 8)
    assert circuit.qubit_count == 66
    assert circuit.measured_qubits == (3, 9, 10, 15)
    assert circuit.used_qubits == (3, 9, 10, 15)


def test_angles_are_of_the_machine_and_repeat_with_its_seed() -> None:
    first, second = drawn_angles(LATTICE, seed=1), drawn_angles(LATTICE, seed=1)
    assert (first.theta_rad == second.theta_rad).all()
    angles = CouplerAngles(np.full(110, 1.5), np.full(110, 0.5))
    gates = {operation.parameters for operation in random_circuit(LATTICE, ALL, 4, angles=angles).operations if operation.name == "fsim"}
    assert gates == {(1.5, 0.5)}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cycles": 0}, "cycles"),
        ({"cycles": 1001}, "cycles"),
        ({"qubits": (0, 66)}, "qubit"),
        ({"qubits": (1, 1)}, "qubits"),
        ({"qubits": ()}, "qubits"),
        ({"elided_cycles": 9}, "elided_cycles"),
        *(({"sequence": sequence}, "sequence") for sequence in ("", "ABCE", "abcd", "A" * 65)),
        ({"angles": CouplerAngles(np.full(110, np.nan), np.zeros(110))}, "angles.theta_rad"),
        ({"angles": CouplerAngles(np.zeros(3), np.zeros(3))}, "angles"),
        ({"lattice": Lattice(np.zeros((2, 2), np.int64), np.array([[0, 1]]), np.array([-1]))}, "lattice"),
    ],
)
def test_bad_input_is_named(change: dict[str, object], field: str) -> None:
    given_values: dict[str, object] = {"lattice": LATTICE, "qubits": (0, 6), "cycles": 8, **change}
    lattice, qubits, cycles = (given_values.pop(name) for name in ("lattice", "qubits", "cycles"))
    with pytest.raises(InputError) as caught:
        random_circuit(lattice, qubits, cycles, **given_values)  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize("count", [1, 34])
def test_patches_of_less_than_two_qubits_are_refused(count: int) -> None:
    with pytest.raises(InputError, match="patches"):
        patches_of(LATTICE, ALL, count)


@pytest.mark.parametrize("count", [8, 12, 20, 45])
def test_patches_of_a_machine_are_in_one_piece(count: int) -> None:
    twin = build_twin("zuchongzhi-3.0")
    patches = patches_of(twin.lattice, twin.subset(count))
    assert sorted(qubit for patch in patches for qubit in patch) == list(twin.subset(count))
    assert all(len(patch) >= count // 3 for patch in patches)
    for patch in patches:
        reached = {patch[0]}
        for _ in patch:
            reached |= {
                qubit for pair in twin.lattice.couplers.tolist() if set(pair) <= set(patch) and reached & set(pair) for qubit in pair
            }
        assert reached == set(patch)
