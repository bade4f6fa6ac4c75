"""The middle of a product of two long polynomials over GF(2), exactly.

32 coefficients are an element of GF(2^64): the product of two such polynomials of degree below 32 still fits into one. Let E be the matrix
that evaluates polynomials over GF(2^64) at as many points as the product has elements. The product is E^-1 of the products of values. With
one factor fixed that is a linear map of the other, and its transpose takes a polynomial as long as the whole product to the middle of its
own product with the fixed factor in reverse: it is E^T of the products of the fixed factor's values and E^-T of the long polynomial
(the transposition principle; recalled). So no transform need be longer than the long polynomial.

All that is transposed is linear over GF(2), where an element pairs with another by the coefficient of x^63 of their product. In these
terms the transpose of multiplication by an element is that multiplication, and bit k of an element goes to place 63 - k but for three short
carries. The transforms put elements in reverse order. Both reversals together are one of all bits, which is what the fixed factor and the
result lack: everything can stay in its natural order.
"""

from __future__ import annotations

import numpy as np

from tiandi.bits import BitArray
from tiandi.compiling import kernel
from tiandi.distill.additive_fourier import aligned_words, evaluate, evaluate_transposed, inlined, interpolate_transposed
from tiandi.distill.fourier_stages import SMALLEST_LEVELS, Words
from tiandi.distill.vectors import Lanes, load, multiply, pack_64, store

ELEMENT_BIT = 32
MOST_PIECES = 8


def middle_product(short: BitArray, long: BitArray, lanes: Lanes) -> BitArray:
    """Coefficients n - 1 ... n + l - 2 of the product over GF(2) of ``short`` (n,) and ``long`` (n + l - 1,): 0 or 1 each, shape (l,).

    ``lanes`` says with which instructions, see `vectors`; the result is the same. The first call with each compiles for some seconds.
    """
    short, long = (np.ascontiguousarray(bits, np.uint8) for bits in (short, long))
    wanted_bit = long.size - short.size + 1
    piece_bit, levels = _division(short.size, wanted_bit)
    # One allocation for all, as large ones are handed out much faster; with a single piece its products are the total.
    workspace = aligned_words((2 if piece_bit == short.size else 3) << levels).reshape(-1, 1 << levels)
    values, products, total = workspace[0], workspace[1], workspace[-1]
    if piece_bit < short.size:
        total.fill(0)
    for start in range(0, short.size, piece_bit):
        stop = min(start + piece_bit, short.size)
        _enter(values, short[start:stop])
        evaluate(values, lanes)
        _enter_windows(products, long[short.size - stop : long.size - start])
        interpolate_transposed(products, lanes)
        _multiply_values(products, values, lanes)
        if piece_bit < short.size:
            total ^= products
    evaluate_transposed(total, lanes)
    return _leave(total, wanted_bit)


def _division(short_bit: int, wanted_bit: int) -> tuple[int, int]:
    """How many bits of ``short`` to take at a time, and the levels of a transform, for the least work.

    A transform has 2^levels elements. To take ``short`` in c pieces takes 2 c + 1 transforms, but these may be half as long.
    """
    choices = []
    for pieces in range(1, MOST_PIECES + 1):
        piece_bit = -(-short_bit // pieces)
        elements = -(-(piece_bit + wanted_bit - 1) // ELEMENT_BIT)
        levels = max(SMALLEST_LEVELS, (elements - 1).bit_length())
        choices.append(((2 * pieces + 1) * levels << levels, piece_bit, levels))
    return min(choices)[1:]


def _leave(words: Words, count: int) -> BitArray:
    """The last ``count`` of the bits of the upper halves of ``words``: with x^0 ... x^31 an element pairs to its bits 63 ... 32."""
    elements = -(-count // ELEMENT_BIT)
    upper = words[words.size - elements :].view(np.uint32)[1::2].copy()
    return np.unpackbits(upper.view(np.uint8), bitorder="little")[ELEMENT_BIT * elements - count :]


@kernel
def _enter(words, bits):  # type: ignore[no-untyped-def]
    """Word q gets bits 32 q ... 32 q + 31 of ``bits``, and zeros beyond their end."""
    pairs = -(-bits.size // 64)
    for pair in range(pairs):
        both = pack_64(bits, 64 * pair) if 64 * (pair + 1) <= bits.size else _edge_bits(bits, 64 * pair)
        words[2 * pair] = both & np.uint64(0xFFFFFFFF)
        words[2 * pair + 1] = both >> np.uint64(32)
    words[2 * pairs :] = 0


@kernel
def _enter_windows(words, bits):  # type: ignore[no-untyped-def]
    """Put ``bits`` at the end of 32 (N + 1) bits; word q becomes the element that pairs with x^k to bit 32 q + 63 - k of these."""
    pairs = min(words.size // 2, bits.size // 64 + 1)
    start = bits.size - 64
    above = _edge_bits(bits, start)
    for pair in range(pairs):
        start -= 64
        below = pack_64(bits, start) if start >= 0 else _edge_bits(bits, start)
        words[words.size - 1 - 2 * pair] = above
        words[words.size - 2 - 2 * pair] = below >> np.uint64(32) | above << np.uint64(32)
        above = below
    words[: words.size - 2 * pairs] = 0
    for q in range(words.size):
        words[q] ^= words[q] >> np.uint64(60) ^ words[q] >> np.uint64(61) ^ words[q] >> np.uint64(63)


@inlined
def _edge_bits(bits, start):  # type: ignore[no-untyped-def]
    """64 bits from ``start`` on, with zeros where there are none."""
    word = np.uint64(0)
    for place in range(max(0, -start), min(64, bits.size - start)):
        word |= np.uint64(bits[start + place] != 0) << np.uint64(place)
    return word


@kernel
def _multiply_values(left, right, lanes):  # type: ignore[no-untyped-def]
    for i in range(0, left.size, len(lanes)):
        store(left, i, multiply(load(left, i, lanes), load(right, i, lanes)))
