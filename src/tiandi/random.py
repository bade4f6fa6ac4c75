"""Two sources of randomness, never mixed: secrets from the operating system, twins from a seed.

A digital twin (light, detectors) draws from `twin_generator`, so that a run can be repeated. Whatever a real device would
draw for itself - raw key, hash seeds, nonces, identifiers - comes from `secret_bytes` and `secret_bits`, and never repeats.
"""

from __future__ import annotations

import hashlib
import os

import numpy as np
from numpy.typing import NDArray

from tiandi.bits import BitArray, unpack
from tiandi.units import byte_from_bit


def secret_bytes(length: int) -> bytes:
    """``length`` bytes from the operating system's generator."""
    return os.urandom(length)


def secret_bits(length_bit: int) -> BitArray:
    """``length_bit`` bits from the operating system's generator, as an array of 0 and 1."""
    return unpack(os.urandom(byte_from_bit(length_bit)), length_bit)


def unpredictable_choice(count: int, size: int) -> NDArray[np.int64]:
    """``size`` of the numbers 0 to ``count`` - 1 in rising order, each choice equally likely. Nobody can foresee it; it is no secret."""
    generator = np.random.Generator(np.random.Philox(int.from_bytes(os.urandom(16), "little")))
    return np.sort(generator.choice(count, size, replace=False, shuffle=False))


def twin_generator(seed: int | None, *names: str) -> np.random.Generator:
    """A generator for the twin called ``names``: the same seed and names give the same stream, other names another.

    Without a seed every call is different.
    """
    if seed is None:
        return np.random.default_rng()
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return np.random.default_rng(np.random.SeedSequence([seed, int.from_bytes(digest[:16], "big")]))
