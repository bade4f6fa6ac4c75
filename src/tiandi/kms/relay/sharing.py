"""One key over several node-disjoint paths: no path knows it, and where fewer shares than paths are enough, paths may fail.

With ``threshold`` = number of shares, the shares are random but for their exclusive or, which is the secret. Below, they are those of
Shamir (1979, doi:10.1145/359168.359176), byte by byte: share i is the value at x = i + 1 of a polynomial of degree ``threshold`` - 1 over
GF(2^8) = GF(2)[z]/(z^8 + z^4 + z^3 + z + 1), whose value at 0 is the secret and whose other coefficients are random. Either way fewer
than ``threshold`` shares are independent of the secret, whatever computer their holder has.

Nothing here notices a wrong share. Whoever holds a single path can change the joined secret by any difference they like without knowing
it, so the caller verifies what it has joined by a tag under a key that did not travel in these shares.

Time depends on the length of the secret, on ``threshold`` and on which shares there are, all of which travel in the clear; secret bytes
only meet shifts, subtractions and bitwise operations of whole words, never a branch or an address, so that neither a neighbour who
watches the processor's cache nor a peer who measures answers learns anything from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from tiandi.bits import exclusive_or
from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.random import secret_bytes

MAX_SHARES = 255
"""As many points as GF(2^8) has beside 0, where the secret is."""

Words = NDArray[np.uint64]
"""Eight elements of GF(2^8) a word."""
WORD_BYTE = 8
LOW_BITS, HIGH_BITS, ONES = (np.uint64(0x0101010101010101 * byte) for byte in (0x7F, 0x80, 0x01))
REDUCTION = np.uint64(0x0101010101010101 * 0x1B)


def split(secret: bytes, *, threshold: int, shares: int) -> list[bytes]:
    """``shares`` shares of ``secret``, each as long as it, any ``threshold`` of which give it back, and fewer say nothing of it.

    Raises InputError when the secret is empty, or unless 2 <= ``threshold`` <= ``shares`` <= 255; one share of one is the secret itself.
    """
    _require_counts(threshold, shares)
    if not secret:
        raise InputError("secret", len(secret), "must have at least one byte")
    if threshold == shares:
        random = [secret_bytes(len(secret)) for _ in range(shares - 1)]
        return [*random, reduce(exclusive_or, random, secret)]
    coefficients = [secret, *(secret_bytes(len(secret)) for _ in range(threshold - 1))]
    return [_linear_combination([_power(x, j) for j in range(threshold)], coefficients) for x in range(1, shares + 1)]


def join(shares: Mapping[int, bytes], *, threshold: int, share_count: int) -> bytes:
    """The secret, from shares by their index of 0 to ``share_count`` - 1 in what `split` gave.

    Only the ``threshold`` of them with the lowest indices are used; when the caller's tag does not fit, others may. Raises InputError when
    there are fewer, when an index is out of range, or when lengths differ.
    """
    _require_counts(threshold, share_count)
    if len(shares) < threshold:
        raise InputError("shares", len(shares), f"at least {threshold} are needed")
    for index in shares:
        require_within("index of a share", index, 0, share_count - 1)
    lengths_byte = sorted({len(share) for share in shares.values()})
    if len(lengths_byte) > 1 or not lengths_byte[0]:
        raise InputError("lengths of shares [byte]", lengths_byte, "must be one length above 0")
    used = sorted(shares)[:threshold]
    if threshold == share_count:
        return reduce(exclusive_or, (shares[index] for index in used))
    return _linear_combination(_weights_at_zero([index + 1 for index in used]), [shares[index] for index in used])


def _require_counts(threshold: int, share_count: int) -> None:
    require_within("number of shares", share_count, 1, MAX_SHARES)
    # A threshold of one would send the secret whole along every path.
    require_within("threshold", threshold, min(2, share_count), share_count)


def _linear_combination(weights: Sequence[int], rows: Sequence[bytes]) -> bytes:
    """The sum of ``rows``, each times its weight in GF(2^8); time depends on the weights, which are public."""
    length = len(rows[0])
    words = [np.frombuffer(row.ljust(-(-length // WORD_BYTE) * WORD_BYTE, b"\0"), np.uint64) for row in rows]
    total = np.zeros_like(words[0])
    for place in reversed(range(max(weights).bit_length())):
        total = _doubled(total)
        for weight, row in zip(weights, words, strict=True):
            if weight >> place & 1:
                total ^= row
    return total.tobytes()[:length]


def _doubled(elements: Words) -> Words:
    """Each element times z: shifted by one, and reduced where its highest bit was set."""
    carries = (elements & HIGH_BITS) >> np.uint64(7)
    # 256 - 1 times each carry is a byte of ones where there was a carry; what leaves the word at its top is wanted nowhere.
    reduced = ((carries << np.uint64(8)) - carries) & REDUCTION
    return ((elements & LOW_BITS) << np.uint64(1)) ^ reduced


def _logarithms() -> tuple[list[int], list[int]]:
    """Powers of the generator z + 1, and the exponent of each element but 0. Only points and weights are looked up, never a secret."""
    powers = [1]
    while len(powers) < MAX_SHARES:
        doubled = powers[-1] << 1
        powers.append(powers[-1] ^ doubled ^ (0x11B if doubled > 0xFF else 0))
    exponents = [0] * 256
    for exponent, element in enumerate(powers):
        exponents[element] = exponent
    return powers, exponents


_POWERS, _EXPONENTS = _logarithms()


def _power(element: int, exponent: int) -> int:
    return _POWERS[_EXPONENTS[element] * exponent % MAX_SHARES]


def _weights_at_zero(points: Sequence[int]) -> list[int]:
    """Lagrange's weights: a polynomial's value at 0 is the sum of its values at ``points`` times these; product of x' / (x' - x)."""
    return [
        _POWERS[sum(_EXPONENTS[other] - _EXPONENTS[other ^ point] for other in points if other != point) % MAX_SHARES] for point in points
    ]
