from functools import reduce
from itertools import pairwise

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiandi.distill import vectors
from tiandi.distill.additive_fourier import aligned_words, evaluate, evaluate_transposed, interpolate_transposed
from tiandi.distill.amplification import rounded_middle_product
from tiandi.distill.binary_polynomial import middle_product
from tiandi.distill.fourier_stages import cantor_basis
from tiandi.distill.vectors import Lanes, lanes_available, lanes_with, load, multiply, store

MODULUS = 1 << 64 | 1 << 4 | 1 << 3 | 1 << 1 | 1
EVERY_FORM = pytest.mark.parametrize("lanes", lanes_available(), ids=lambda lanes: f"{len(lanes)} words")
FASTEST = lanes_available()[0]
LEVELS = pytest.mark.parametrize("levels", [11, 12, 13, 15, 16, 17, 18, 19, 20])
"""Odd and even numbers of levels in either stage that may have them."""


def reference_product(left: int, right: int) -> int:
    """Bit by bit, never longer than 65 bits."""
    product = 0
    while right:
        product ^= left if right & 1 else 0
        right >>= 1
        left <<= 1
        left ^= MODULUS if left >> 64 else 0
    return product


def reference_power(base: int, exponent: int) -> int:
    power = 1
    while exponent:
        power = reference_product(power, base) if exponent & 1 else power
        base, exponent = reference_product(base, base), exponent >> 1
    return power


@numba.njit
def multiply_arrays(left, right, lanes):  # type: ignore[no-untyped-def]
    products = np.empty_like(left)
    for i in range(0, left.size, len(lanes)):
        store(products, i, multiply(load(left, i, lanes), load(right, i, lanes)))
    return products


def random_words(count: int, seed: int) -> NDArray[np.uint64]:
    words = aligned_words(count)
    words[:] = np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)
    return words


def random_bits(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 2, count, dtype=np.uint8)


def by_definition(short: NDArray[np.uint8], long: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return (np.convolve(long.astype(np.int64), short.astype(np.int64), "valid") & 1).astype(np.uint8)


def point(number: int) -> int:
    return reduce(int.__xor__, (element for bit, element in enumerate(cantor_basis()) if number >> bit & 1), 0)


def place(number: int, count: int) -> int:
    """Where `evaluate` leaves the value at a point."""
    position = count - 1 - number
    block, rest = divmod(position, 2048)
    run, row = divmod(rest, 256)
    return 2048 * block + 8 * row + run


def test_the_modulus_has_no_factors() -> None:
    """Rabin's test for degree 64: x^(2^64) = x, and x^(2^32) + x has no factor in common with the modulus."""
    half = 2
    for _ in range(32):
        half = reference_product(half, half)
    whole = half
    for _ in range(32):
        whole = reference_product(whole, whole)
    left, right = MODULUS, half ^ 2
    while right:
        while left.bit_length() >= right.bit_length():
            left ^= right << left.bit_length() - right.bit_length()
        left, right = right, left
    assert (whole, left) == (2, 1)


@EVERY_FORM
def test_products_of_field_elements_are_those_of_the_reference(lanes: Lanes) -> None:
    special = [0, 1, 2, 0b11011, 2**64 - 1, 0xAAAAAAAAAAAAAAAA, 0x5555555555555555, 0x8000000080000000, *(1 << k for k in range(60, 64))]
    pairs = np.array([(left, right) for left in special for right in special], np.uint64)
    left, right = np.concatenate([pairs, random_words(2 * (1024 - len(pairs)), 1).reshape(-1, 2)]).T.copy()
    expected = [reference_product(int(a), int(b)) for a, b in zip(left, right, strict=True)]
    assert multiply_arrays(left, right, lanes).tolist() == expected


@EVERY_FORM
def test_field_elements_obey_the_axioms(lanes: Lanes) -> None:
    a, b, c = random_words(3 * 1024, 2).reshape(3, -1)

    def times(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return multiply_arrays(left, right, lanes)

    assert (times(a, b) == times(b, a)).all()
    assert (times(times(a, b), c) == times(a, times(b, c))).all()
    assert (times(a, b ^ c) == times(a, b) ^ times(a, c)).all()
    inverse, square = np.ones_like(a), a
    for _ in range(63):
        square = times(square, square)
        inverse = times(inverse, square)
    assert (times(a, inverse) == 1).all()


def test_cantor_basis_is_a_basis_with_its_recurrence() -> None:
    basis = cantor_basis()
    assert basis[0] == 1
    assert all(reference_product(after, after) ^ after == before for before, after in pairwise(basis))
    independent: list[int] = []
    for element in basis:
        rest = reduce(lambda left, other: min(left, left ^ other), sorted(independent, reverse=True), element)
        assert rest
        independent.append(rest)


@EVERY_FORM
def test_values_of_a_dense_polynomial_are_those_of_horner(lanes: Lanes) -> None:
    coefficients = random_words(2048, 3)
    values = coefficients.copy()
    evaluate(values, lanes)
    for number in (0, 1, 2, 255, 256, 1234, 2047):
        expected = 0
        for coefficient in coefficients[::-1]:
            expected = reference_product(expected, point(number)) ^ int(coefficient)
        assert int(values[place(number, 2048)]) == expected


@LEVELS
def test_values_of_a_sparse_polynomial_are_those_of_its_powers(levels: int) -> None:
    generator = np.random.default_rng(levels)
    count = 1 << levels
    words = np.zeros(count, np.uint64)
    exponents = [*generator.integers(0, count, 4).tolist(), count - 1]
    words[exponents] = random_words(5, levels)
    terms = {exponent: int(words[exponent]) for exponent in exponents}
    evaluate(words, FASTEST)
    for number in (*generator.integers(0, count, 6).tolist(), 0, count - 1):
        powers = [reference_product(factor, reference_power(point(number), exponent)) for exponent, factor in terms.items()]
        assert int(words[place(number, count)]) == reduce(int.__xor__, powers)


@LEVELS
def test_transposed_interpolation_keeps_every_pairing(levels: int) -> None:
    """The sum of products of E a with E^-T b is that of a with b; the order of b is reversed."""
    left, right = random_words(1 << levels, 4), random_words(1 << levels, 5)
    before = np.bitwise_xor.reduce(multiply_arrays(left, right[::-1].copy(), FASTEST))
    evaluate(left, FASTEST)
    interpolate_transposed(right, FASTEST)
    assert np.bitwise_xor.reduce(multiply_arrays(left, right, FASTEST)) == before


@LEVELS
def test_transposed_evaluation_undoes_transposed_interpolation(levels: int) -> None:
    words = random_words(1 << levels, 6)
    original = words.copy()
    interpolate_transposed(words, FASTEST)
    assert (words != original).any()
    evaluate_transposed(words, FASTEST)
    assert (words == original).all()


@EVERY_FORM
@pytest.mark.parametrize("short_bit", [1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025])
def test_middle_product_at_the_edges_of_words(lanes: Lanes, short_bit: int) -> None:
    for wanted_bit in (1, 31, 32, 33, 63, 64, 65, 500):
        short, long = random_bits(short_bit, wanted_bit), random_bits(short_bit + wanted_bit - 1, short_bit)
        for left, right in ((short, long), (np.ones_like(short), np.ones_like(long)), (np.zeros_like(short), long)):
            assert (middle_product(left, right, lanes) == by_definition(left, right)).all()


@EVERY_FORM
@pytest.mark.parametrize("total_bit", [65535, 65536, 65537, 131072, 131073])
def test_middle_product_that_just_fits_a_transform_or_just_does_not(lanes: Lanes, total_bit: int) -> None:
    for short_bit in (1, total_bit // 3, total_bit - 1, total_bit):
        short, long = random_bits(short_bit, 7), random_bits(total_bit, 8)
        assert (middle_product(short, long, lanes) == rounded_middle_product(short, long)).all()


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 2**32))
def test_middle_product_is_that_of_the_definition(short_bit: int, wanted_bit: int, seed: int) -> None:
    short, long = random_bits(short_bit, seed), random_bits(short_bit + wanted_bit - 1, seed + 1)
    assert (middle_product(short, long, FASTEST) == by_definition(short, long)).all()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 200_000), st.integers(1, 200_000), st.data())
def test_single_ones_meet_where_they_should(short_bit: int, wanted_bit: int, data: st.DataObject) -> None:
    one = data.draw(st.integers(0, short_bit - 1))
    other = data.draw(st.integers(0, short_bit + wanted_bit - 2))
    short, long = np.zeros(short_bit, np.uint8), np.zeros(short_bit + wanted_bit - 1, np.uint8)
    short[one] = long[other] = 1
    expected = one + other - (short_bit - 1)
    assert np.flatnonzero(middle_product(short, long, FASTEST)).tolist() == ([expected] if 0 <= expected < wanted_bit else [])


@EVERY_FORM
@pytest.mark.parametrize(("short_bit", "wanted_bit"), [(300_000, 150_000), (1_000_000, 40_000), (700_001, 1_300_000), (1_400_000, 690_000)])
def test_every_form_agrees_with_rounded_floating_point(lanes: Lanes, short_bit: int, wanted_bit: int) -> None:
    """In one piece and in several."""
    short, long = random_bits(short_bit, 9), random_bits(short_bit + wanted_bit - 1, 10)
    assert (middle_product(short, long, lanes) == rounded_middle_product(short, long)).all()


def test_bits_need_not_lie_together_nor_be_writable() -> None:
    short, long = random_bits(2000, 11), random_bits(5000, 12)
    expected = by_definition(short[::2], long[::-1])
    fixed = long[::-1].copy()
    fixed.flags.writeable = False
    assert (middle_product(short[::2], long[::-1], FASTEST) == expected).all()
    assert (middle_product(short[::2].astype(bool), fixed, FASTEST) == expected).all()


def test_vectors_are_as_long_as_the_features_allow() -> None:
    every = {"avx512f": True, "vpclmulqdq": True, "gfni": True, "avx2": True, "pclmul": True}
    assert [len(lanes) for lanes in lanes_with(every)] == [8, 4, 2, 1]
    assert [len(lanes) for lanes in lanes_with(every | {"gfni": False})] == [4, 2, 1]
    assert [len(lanes) for lanes in lanes_with(every | {"vpclmulqdq": False})] == [2, 1]
    assert [len(lanes) for lanes in lanes_with({})] == [1]


def test_code_for_another_processor_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "target_features", dict)
    vectors.lanes_available.cache_clear()
    assert vectors.lanes_available() == ((0,),)
    vectors.lanes_available.cache_clear()
