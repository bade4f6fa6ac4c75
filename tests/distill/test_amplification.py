from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import toeplitz

from tiandi.distill import amplification
from tiandi.distill.amplification import ROUNDED_SEED_BIT, rounded_middle_product, toeplitz_hash, toeplitz_seed_bit
from tiandi.distill.binary_polynomial import middle_product
from tiandi.distill.vectors import Lanes, lanes_available, lanes_with


def by_matrix(bits: np.ndarray, seed: np.ndarray, output_bit: int) -> np.ndarray:
    length = bits.size
    matrix = toeplitz(seed[length - 1 : length - 1 + output_bit], seed[length - 1 :: -1][:length])
    return (matrix.astype(np.int64) @ bits.astype(np.int64)) & 1


def some_input(input_bit: int, output_bit: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    diagonals = generator.integers(0, 2, toeplitz_seed_bit(input_bit, output_bit), dtype=np.uint8)
    return generator.integers(0, 2, input_bit, dtype=np.uint8), diagonals


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 2**32))
def test_hash_is_the_product_with_the_matrix(input_bit: int, output_bit: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    bits = generator.integers(0, 2, input_bit, dtype=np.uint8)
    diagonals = generator.integers(0, 2, toeplitz_seed_bit(input_bit, output_bit), dtype=np.uint8)
    assert (toeplitz_hash(bits, diagonals, output_bit) == by_matrix(bits, diagonals, output_bit)).all()


@pytest.mark.parametrize("length", [1000, 65_537, 1_000_003])
def test_the_largest_counts_are_exact(length: int) -> None:
    """All ones: every output counts ``length`` ones."""
    output_bit = length // 3
    out = toeplitz_hash(np.ones(length, np.uint8), np.ones(toeplitz_seed_bit(length, output_bit), np.uint8), output_bit)
    assert (out == length % 2).all()


def test_rows_of_a_large_hash_equal_inner_products() -> None:
    generator = np.random.default_rng(2)
    length, output_bit = 900_001, 200_003
    bits = generator.integers(0, 2, length, dtype=np.uint8)
    seed = generator.integers(0, 2, toeplitz_seed_bit(length, output_bit), dtype=np.uint8)
    out = toeplitz_hash(bits, seed, output_bit)
    for row in (0, 1, 77_777, output_bit - 1):
        assert out[row] == (seed[row : row + length][::-1] & bits).sum() % 2


def test_hash_of_nothing_wanted_is_empty() -> None:
    assert toeplitz_hash(np.ones(10, np.uint8), np.zeros(0, np.uint8), 0).size == 0


def test_a_seed_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="must have 14 bits"):
        toeplitz_hash(np.ones(10, np.uint8), np.ones(13, np.uint8), 5)


WORST = [(100_000, 40_000), (131_073, 65_537), (200_001, 77), (500_000, 1), (262_144, 262_144), (300_000, 299_999), (1_000_003, 400_009)]


@pytest.mark.parametrize(("length", "output_bit"), WORST)
@pytest.mark.parametrize("kind", ["random", "ones", "single"])
def test_long_hashes_equal_those_by_rounding(length: int, output_bit: int, kind: str) -> None:
    """Carry-less arithmetic against floating point: two ways that share nothing."""
    generator = np.random.default_rng(length)
    bits, seed = generator.integers(0, 2, length, dtype=np.uint8), generator.integers(0, 2, length + output_bit - 1, dtype=np.uint8)
    if kind == "ones":
        bits[:], seed[:] = 1, 1
    if kind == "single":
        bits[:] = 0
        bits[generator.integers(length)] = 1
    assert (toeplitz_hash(bits, seed, output_bit) == rounded_middle_product(bits, seed)).all()


def test_rows_of_a_long_hash_equal_the_matrix() -> None:
    generator = np.random.default_rng(5)
    length, output_bit = 3_000_000, 1_000_000
    bits, seed = generator.integers(0, 2, length, dtype=np.uint8), generator.integers(0, 2, length + output_bit - 1, dtype=np.uint8)
    hashed = toeplitz_hash(bits, seed, output_bit)
    for row in (0, 1, 63, 64, 65_535, 524_287, output_bit - 1, *generator.integers(0, output_bit, 20).tolist()):
        assert hashed[row] == np.count_nonzero(bits & seed[row : row + length][::-1]) % 2


@pytest.mark.parametrize("lanes", {*lanes_available(), *lanes_with({})})
def test_every_processor_gets_the_same_hash(lanes: Lanes) -> None:
    """Wide vectors, one word at a time, and without carry-less multiplication."""
    generator = np.random.default_rng(6)
    bits, seed = generator.integers(0, 2, 150_001, dtype=np.uint8), generator.integers(0, 2, 230_000, dtype=np.uint8)
    assert (middle_product(bits, seed, lanes) == rounded_middle_product(bits, seed)).all()


def test_rows_of_a_very_long_hash_equal_inner_products() -> None:
    length, output_bit = 20_000_000, 10_000_000
    bits, seed = some_input(length, output_bit, 2)
    hashed = toeplitz_hash(bits, seed, output_bit)
    for row in (0, 1, 77_777, output_bit // 2, output_bit - 1):
        assert hashed[row] == np.count_nonzero(bits & seed[row : row + length][::-1]) % 2


@pytest.mark.parametrize("seed_bit", [ROUNDED_SEED_BIT - 1, ROUNDED_SEED_BIT, ROUNDED_SEED_BIT + 1])
def test_both_sides_of_the_change_of_methods_agree(seed_bit: int) -> None:
    input_bit = 2 * seed_bit // 3
    output_bit = seed_bit - input_bit + 1
    bits, seed = some_input(input_bit, output_bit, 3)
    hashed = toeplitz_hash(bits, seed, output_bit)
    assert (hashed == rounded_middle_product(bits, seed)).all()
    assert (hashed == middle_product(bits, seed, lanes_available()[0])).all()


def test_a_processor_without_carryless_products_makes_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    bits, seed = some_input(400_000, 200_000, 4)
    here = toeplitz_hash(bits, seed, 200_000)
    monkeypatch.setattr(amplification, "lanes_available", lambda: lanes_with({}))
    assert (toeplitz_hash(bits, seed, 200_000) == here).all()


@pytest.mark.parametrize(("input_bit", "output_bit"), [(50_000, 20_000), (500_000, 300_000)])
def test_hash_is_linear_in_the_key_and_in_the_seed(input_bit: int, output_bit: int) -> None:
    (bits, seed), (other_bits, other_seed) = some_input(input_bit, output_bit, 5), some_input(input_bit, output_bit, 6)

    def hashed(key: np.ndarray, diagonals: np.ndarray) -> np.ndarray:
        return toeplitz_hash(key, diagonals, output_bit)

    assert (hashed(bits ^ other_bits, seed) == hashed(bits, seed) ^ hashed(other_bits, seed)).all()
    assert (hashed(bits, seed ^ other_seed) == hashed(bits, seed) ^ hashed(bits, other_seed)).all()


@pytest.mark.parametrize(("input_bit", "output_bit"), [(4, 3), (5, 2), (3, 4)])
def test_hash_is_two_universal(input_bit: int, output_bit: int) -> None:
    """Over all seeds a difference of keys that is not zero is hashed to each value equally often: to zero in 2^-l of all cases."""
    seeds = np.array(list(product((0, 1), repeat=toeplitz_seed_bit(input_bit, output_bit))), np.uint8)
    weights = 1 << np.arange(output_bit)
    for difference in np.array(list(product((0, 1), repeat=input_bit)), np.uint8)[1:]:
        for hashed in (toeplitz_hash, lambda bits, seed, _: middle_product(bits, seed, lanes_available()[0])):
            values = [int(hashed(difference, seed, output_bit) @ weights) for seed in seeds]
            assert np.bincount(values, minlength=1 << output_bit).tolist() == [len(seeds) >> output_bit] * (1 << output_bit)
