"""Privacy amplification: the part of the key that nobody else can know.

A Toeplitz matrix with random diagonals is a two-universal hash (Krawczyk 1994, doi:10.1007/3-540-48658-5_15), so by the leftover hash
lemma its output is secret up to the epsilon of the proof that set its length (Tomamichel et al. 2011, doi:10.1109/TIT.2011.2158473).
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from tiandi.bits import BitArray
from tiandi.distill.binary_polynomial import middle_product_packed
from tiandi.distill.sifting import Words, pack_words, unpack_words
from tiandi.distill.vectors import lanes_available

ROUNDED_SEED_BIT = 1 << 17
"""Up to this length of seed floating point takes a few milliseconds, so that it is not worth the seconds of a first compilation."""

ROUNDING_LIMIT = 0.1
"""The convolution's results are whole numbers; one further than this from a whole number means that double precision was exceeded."""


def toeplitz_seed_bit(input_bit: int, output_bit: int) -> int:
    """Random bits that a Toeplitz matrix of ``output_bit`` rows and ``input_bit`` columns takes."""
    return input_bit + output_bit - 1


def toeplitz_hash(bits: BitArray, seed: BitArray, output_bit: int) -> BitArray:
    """Product over GF(2) of a Toeplitz matrix and ``bits`` (n,); row i, column j of the matrix is seed[i - j + n - 1].

    ``seed`` has n + output_bit - 1 bits; ValueError if not. The product is the middle of the product of two polynomials, exact at any
    length. The first long one compiles for some seconds, once for an installation.
    """
    return toeplitz_hash_packed(pack_words(bits), bits.size, pack_words(seed), seed.size, output_bit)


def toeplitz_hash_packed(key: Words, key_bit: int, seed: Words, seed_bit: int, output_bit: int) -> BitArray:
    """The same for ``key_bit`` bits of key and ``seed_bit`` of seed that are 64 a word, first one lowest, with zeros after the last."""
    if output_bit == 0:
        return np.zeros(0, np.uint8)
    if seed_bit != toeplitz_seed_bit(key_bit, output_bit):
        raise ValueError(f"the seed must have {toeplitz_seed_bit(key_bit, output_bit)} bits, not {seed_bit}")
    if seed_bit <= ROUNDED_SEED_BIT:
        bits = unpack_words(key, key_bit)
        hashed = rounded_middle_product(bits, unpack_words(seed, seed_bit))
        bits.fill(0)
        return hashed
    return middle_product_packed(key, key_bit, seed, seed_bit, lanes_available()[0])


def rounded_middle_product(short: BitArray, long: BitArray) -> BitArray:
    """The same as `middle_product` by fast Fourier transform in double precision.

    The counts, at most n, are exact after rounding (error about 1e-9 at n = 1e7); a result that is not nearly whole raises
    ArithmeticError rather than becoming key.
    """
    size = fft.next_fast_len(long.size, real=True)
    spectrum = fft.rfft(short.astype(np.float64), size)
    spectrum *= fft.rfft(long.astype(np.float64), size)
    # Coefficients n-1 .. n+l-2 of the circular convolution are untouched by its wrapping at any size of long.size or more.
    counts = fft.irfft(spectrum, size, overwrite_x=True)[short.size - 1 : long.size]
    whole = np.rint(counts)
    if np.abs(counts - whole).max() > ROUNDING_LIMIT:
        raise ArithmeticError("privacy amplification lost precision; use smaller blocks")
    return (whole.astype(np.int64) & 1).astype(np.uint8)
