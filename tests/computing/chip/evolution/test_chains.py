"""Chains by index against products of the matrices, and sequences that come back to where they began."""

from __future__ import annotations

import numpy as np
import pytest

from tiandi.computing.chip.evolution.chains import NONE, apply_chains, apply_pair_chains
from tiandi.computing.chip.evolution.hermitian import level_vector, unitary_superoperators
from tiandi.errors import InputError


@pytest.mark.parametrize("size", [9, 16])
def test_chains_are_products(size: int) -> None:
    random = np.random.default_rng(1)
    table, initial = random.normal(size=(3, 4, size, size)) / size, random.normal(size=(3, size))
    order = random.integers(NONE, 4, (3, 5, 6)).astype(np.int16)
    found = apply_chains(initial, table, order)
    for entry in range(3):
        for point in range(5):
            expected = initial[entry]
            for gate in order[entry, point]:
                expected = table[entry, gate] @ expected if gate >= 0 else expected
            assert np.abs(found[entry, point] - expected).max() < 1e-12


def test_shared_order_table_and_state_serve_all_entries() -> None:
    random = np.random.default_rng(2)
    table, order = random.normal(size=(7, 2, 9, 9)) / 9.0, np.array([[[0, 1, 1], [1, 0, NONE]]])
    found = apply_chains(level_vector(0)[None], table, order)
    each = [apply_chains(level_vector(0)[None], table[entry : entry + 1], order)[0] for entry in range(7)]
    assert np.abs(found - each).max() < 1e-15


def test_pair_chains_are_products() -> None:
    random = np.random.default_rng(3)
    first, second = random.normal(size=(2, 3, 9, 9)) / 9.0, random.normal(size=(1, 2, 9, 9)) / 9.0
    both, initial = random.normal(size=(2, 1, 81, 81)) / 81.0, random.normal(size=(1, 81))
    order = np.stack([random.integers(NONE, size, (2, 4, 5)) for size in (3, 2, 1)], axis=-1)
    found = apply_pair_chains(initial, first, second, both, order)
    for entry in range(2):
        for point in range(4):
            expected = initial[0]
            for one, two, pair in order[entry, point]:
                expected = np.kron(first[entry, one], np.eye(9)) @ expected if one >= 0 else expected
                expected = np.kron(np.eye(9), second[0, two]) @ expected if two >= 0 else expected
                expected = both[entry, pair] @ expected if pair >= 0 else expected
            assert np.abs(found[entry, point] - expected).max() < 1e-12


def test_a_random_sequence_and_its_inverse_give_the_beginning_back() -> None:
    """Twenty thousand gates forth and back: rounding stays below 1e-10."""
    random = np.random.default_rng(4)
    unitaries = np.linalg.qr(random.normal(size=(6, 3, 3)) + 1j * random.normal(size=(6, 3, 3)))[0]
    maps = unitary_superoperators(np.concatenate([unitaries, np.swapaxes(unitaries.conj(), 1, 2)]))
    forth = random.integers(0, 6, 10_000)
    order = np.concatenate([forth, forth[::-1] + 6])[None, None]
    found = apply_chains(level_vector(0)[None], maps[None], order)
    assert np.abs(found[0, 0] - level_vector(0)).max() < 1e-10


def test_bad_input_is_named() -> None:
    table = np.zeros((2, 3, 9, 9))
    with pytest.raises(InputError, match="order"):
        apply_chains(level_vector(0)[None], table, np.array([[[3]]]))
    with pytest.raises(InputError, match="table"):
        apply_chains(level_vector(0, 4)[None], table, np.array([[[0]]]))
    with pytest.raises(InputError, match="batch"):
        apply_chains(np.zeros((3, 9)), table, np.array([[[0]]]))
    with pytest.raises(InputError, match="both"):
        apply_pair_chains(np.zeros((1, 81)), table, table, table, np.zeros((1, 1, 1, 3), int))
