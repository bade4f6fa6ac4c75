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
from tiandi.compiling import inlined, lean_kernel
from tiandi.distill.additive_fourier import aligned_words, evaluate, evaluate_transposed, interpolate_transposed
from tiandi.distill.fourier_stages import SMALLEST_LEVELS
from tiandi.distill.sifting import Words, pack_words
from tiandi.distill.vectors import Lanes, load, multiply, store

ELEMENT_BIT, WORD_BIT = 32, 64
MOST_PIECES = 8
ALL = np.uint64(2**64 - 1)


def middle_product(short: BitArray, long: BitArray, lanes: Lanes) -> BitArray:
    """Coefficients n - 1 ... n + l - 2 of the product over GF(2) of ``short`` (n,) and ``long`` (n + l - 1,): 0 or 1 each, shape (l,).

    ``lanes`` says with which instructions, see `vectors`; the result is the same. The first call with each compiles for some seconds.
    """
    return middle_product_packed(pack_words(short), short.size, pack_words(long), long.size, lanes)


def middle_product_packed(short: Words, short_bit: int, long: Words, long_bit: int, lanes: Lanes) -> BitArray:
    """The same of ``short_bit`` and ``long_bit`` coefficients, 64 a word, first one lowest, with zeros after the last."""
    wanted_bit = long_bit - short_bit + 1
    piece_bit, levels = _division(short_bit, wanted_bit)
    # One allocation for all, as large ones are handed out much faster; with a single piece its products are the total.
    workspace = aligned_words((2 if piece_bit >= short_bit else 3) << levels).reshape(-1, 1 << levels)
    values, products, total = workspace[0], workspace[1], workspace[-1]
    if piece_bit < short_bit:
        total.fill(0)
    for start in range(0, short_bit, piece_bit):
        stop = min(start + piece_bit, short_bit)
        _enter(values, short[start // WORD_BIT : -(-stop // WORD_BIT)])
        evaluate(values, lanes)
        _enter_windows(products, long, short_bit - stop, long_bit - start)
        interpolate_transposed(products, lanes)
        _multiply_values(products, values, lanes)
        if piece_bit < short_bit:
            total ^= products
    evaluate_transposed(total, lanes)
    return _leave(total, wanted_bit)


def _division(short_bit: int, wanted_bit: int) -> tuple[int, int]:
    """How many bits of ``short`` to take at a time, whole words, and the levels of a transform, for the least work.

    A transform has 2^levels elements. To take ``short`` in c pieces takes 2 c + 1 transforms, but these may be half as long.
    """
    choices = []
    for pieces in range(1, MOST_PIECES + 1):
        piece_bit = WORD_BIT * -(-short_bit // (pieces * WORD_BIT))
        elements = -(-(piece_bit + wanted_bit - 1) // ELEMENT_BIT)
        levels = max(SMALLEST_LEVELS, (elements - 1).bit_length())
        choices.append(((2 * pieces + 1) * levels << levels, piece_bit, levels))
    return min(choices)[1:]


def _leave(words: Words, count: int) -> BitArray:
    """The last ``count`` of the bits of the upper halves of ``words``: with x^0 ... x^31 an element pairs to its bits 63 ... 32."""
    elements = -(-count // ELEMENT_BIT)
    upper = words[words.size - elements :].view(np.uint32)[1::2].copy()
    return np.unpackbits(upper.view(np.uint8), bitorder="little")[ELEMENT_BIT * elements - count :]


@lean_kernel
def _enter(words, bits):  # type: ignore[no-untyped-def]
    """Word q gets bits 32 q ... 32 q + 31 of packed ``bits``, and zeros beyond their end."""
    for pair in range(bits.size):
        words[2 * pair] = bits[pair] & np.uint64(0xFFFFFFFF)
        words[2 * pair + 1] = bits[pair] >> np.uint64(32)
    words[2 * bits.size :] = 0


@lean_kernel
def _enter_windows(words, bits, first, end):  # type: ignore[no-untyped-def]
    """Put bits ``first`` ... ``end`` - 1 of packed ``bits`` at the end of 32 (N + 1) bits; word q becomes the element that pairs with x^k
    to bit 32 q + 63 - k of these."""
    pairs = min(words.size // 2, (end - first) // 64 + 1)
    start = end - 64
    above = _window(bits, start, first)
    for pair in range(pairs):
        start -= 64
        below = _window(bits, start, first)
        words[words.size - 1 - 2 * pair] = above
        words[words.size - 2 - 2 * pair] = below >> np.uint64(32) | above << np.uint64(32)
        above = below
    words[: words.size - 2 * pairs] = 0
    for q in range(words.size):
        words[q] ^= words[q] >> np.uint64(60) ^ words[q] >> np.uint64(61) ^ words[q] >> np.uint64(63)


@inlined
def _window(bits, start, first):  # type: ignore[no-untyped-def]
    """64 bits from ``start`` on, with zeros in place of those before ``first``."""
    if start <= first - 64:
        return np.uint64(0)
    if start < 0:
        word = bits[0] << np.uint64(-start)
    else:
        word, shift = bits[start >> 6] >> np.uint64(start & 63), start & 63
        if shift and (start >> 6) + 1 < bits.size:
            word |= bits[(start >> 6) + 1] << np.uint64(64 - shift)
    return word & (ALL << np.uint64(first - start)) if start < first else word


@lean_kernel
def _multiply_values(left, right, lanes):  # type: ignore[no-untyped-def]
    for i in range(0, left.size, len(lanes)):
        store(left, i, multiply(load(left, i, lanes), load(right, i, lanes)))
