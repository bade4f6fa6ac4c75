"""Privacy amplification: the part of the key that nobody else can know.

A Toeplitz matrix with random diagonals is a two-universal hash (Krawczyk 1994, doi:10.1007/3-540-48658-5_15), so by the leftover hash
lemma its output is secret up to the epsilon of the proof that set its length (Tomamichel et al. 2011, doi:10.1109/TIT.2011.2158473).
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from tiandi.bits import BitArray

ROUNDING_LIMIT = 0.1
"""The convolution's results are whole numbers; one further than this from a whole number means that double precision was exceeded."""


def toeplitz_seed_bit(input_bit: int, output_bit: int) -> int:
    """Random bits that a Toeplitz matrix of ``output_bit`` rows and ``input_bit`` columns takes."""
    return input_bit + output_bit - 1


def toeplitz_hash(bits: BitArray, seed: BitArray, output_bit: int) -> BitArray:
    """Product over GF(2) of a Toeplitz matrix and ``bits`` (n,); row i, column j of the matrix is seed[i - j + n - 1].

    ``seed`` has n + output_bit - 1 bits. The product is a convolution: the counts, at most n, are computed in double precision by
    fast Fourier transform (error about 1e-9 at n = 1e7) and are exact after rounding; a result that is not nearly whole raises
    ArithmeticError rather than becoming key.
    """
    length = bits.size
    if output_bit == 0:
        return np.zeros(0, np.uint8)
    if seed.size != toeplitz_seed_bit(length, output_bit):
        raise ValueError(f"the seed must have {toeplitz_seed_bit(length, output_bit)} bits, not {seed.size}")
    size = fft.next_fast_len(seed.size, real=True)
    spectrum = fft.rfft(bits.astype(np.float64), size)
    spectrum *= fft.rfft(seed.astype(np.float64), size)
    # Outputs n-1 .. n+output-2 of the circular convolution are untouched by its wrapping at any size of seed.size or more.
    counts = fft.irfft(spectrum, size, overwrite_x=True)[length - 1 : length - 1 + output_bit]
    whole = np.rint(counts)
    if np.abs(counts - whole).max() > ROUNDING_LIMIT:
        raise ArithmeticError("privacy amplification lost precision; use smaller blocks")
    return (whole.astype(np.int64) & 1).astype(np.uint8)
