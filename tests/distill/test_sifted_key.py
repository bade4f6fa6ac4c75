"""The sifted key of one basis, packed, against the same with one bit a byte."""

from __future__ import annotations

import numpy as np
import pytest

from tiandi.bits import pack
from tiandi.distill.sifted_key import SiftedKey
from tiandi.distill.sifting import pack_words, planes

SIZES = [1, 63, 64, 65, 1000, 40_000, 70_001]
INTENSITIES = 3


def a_key(size: int, seed: int) -> tuple[SiftedKey, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    bits, intensities = generator.integers(0, 2, size, dtype=np.uint8), generator.integers(0, INTENSITIES + 1, size, dtype=np.uint8)
    return SiftedKey(pack_words(bits), planes(intensities, 2), size), bits, intensities


@pytest.mark.parametrize("size", SIZES)
def test_bits_and_counts_are_those_of_the_events(size: int) -> None:
    key, bits, intensities = a_key(size, seed=size)
    assert (key.bits == bits).all()
    assert key.packed == pack(bits)
    assert key.counts(INTENSITIES) == np.bincount(intensities, minlength=4).tolist()
    other = bits ^ (np.random.default_rng(1).random(size) < 0.1)
    wrong = np.bincount(intensities[bits != other], minlength=4)
    assert key.error_counts(pack_words(other), INTENSITIES) == wrong[:INTENSITIES].tolist()


@pytest.mark.parametrize("size", SIZES)
def test_a_sample_that_is_taken_out_leaves_the_rest_in_order(size: int) -> None:
    key, bits, intensities = a_key(size, seed=size + 1)
    positions = np.flatnonzero(np.random.default_rng(2).random(size) < 0.05)
    before = key.words
    assert (key.take_out(positions) == bits[positions]).all()
    assert not before.any()
    assert key.size == size - positions.size
    assert (key.bits == np.delete(bits, positions)).all()
    assert key.counts(INTENSITIES) == np.bincount(np.delete(intensities, positions), minlength=4).tolist()


def test_what_a_key_becomes_is_wiped_where_it_came_from() -> None:
    key, _, _ = a_key(1000, seed=3)
    corrected = np.random.default_rng(4).integers(0, 2, 1000, dtype=np.uint8)
    expected = corrected.copy()
    key.become_bits(corrected)
    assert (key.bits == expected).all()
    assert not corrected.any()
    key.wipe()
    assert not key.words.any()
