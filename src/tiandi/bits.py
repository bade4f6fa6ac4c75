"""Bit strings: as arrays of 0 and 1 while they are worked on, as packed bytes when they travel or rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BitArray = NDArray[np.uint8]
Data = bytes | memoryview
"""Bytes, whether they are one's own or lie in a larger buffer."""


def pack(bits: BitArray) -> bytes:
    """Eight bits a byte, first bit lowest; the last byte is filled with zeros."""
    return np.packbits(bits, bitorder="little").tobytes()


def unpack(packed: bytes, length_bit: int) -> BitArray:
    """The first ``length_bit`` bits of ``packed`` as an array of 0 and 1.

    Raises ValueError when ``packed`` is not exactly as long as ``length_bit`` bits need.
    """
    if len(packed) != (length_bit + 7) // 8:
        raise ValueError(f"{length_bit} bit need {(length_bit + 7) // 8} bytes, not {len(packed)}")
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=length_bit, bitorder="little")


def exclusive_or(left: bytes, right: bytes) -> bytes:
    """Bitwise exclusive or of two byte strings of one length, as in a one-time pad.

    Raises ValueError when the lengths differ: a pad shorter than its message is no pad.
    """
    if len(left) != len(right):
        raise ValueError(f"a one-time pad needs equal lengths, not {len(left)} and {len(right)} bytes")
    return (np.frombuffer(left, np.uint8) ^ np.frombuffer(right, np.uint8)).tobytes()
