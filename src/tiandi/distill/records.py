"""What each end brings into distillation, and what it takes out."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tiandi.bits import BitArray
from tiandi.units import BIT_PER_BYTE

BASIS_NAMES = ("X", "Z")
"""Basis 0 and basis 1."""


class _Record:
    """Raw key: its repr shows how much there is, and nothing of it."""

    slots: NDArray[np.int64]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.slots.size} slots)"


@dataclass(frozen=True, repr=False)
class TransmitterRecord(_Record):
    """What Alice remembers of her pulses, arrays of shape (n,) in order of ``slots``; a twin keeps only those that were detected."""

    slots: NDArray[np.int64]
    intensities: NDArray[np.uint8]
    bases: BitArray
    bits: BitArray


@dataclass(frozen=True, repr=False)
class ReceiverRecord(_Record):
    """What Bob detected, arrays of shape (n,) in order of ``slots``."""

    slots: NDArray[np.int64]
    bases: BitArray
    bits: BitArray


@dataclass(frozen=True, repr=False)
class KeyBlock:
    """Secret key under an identifier that both ends share. Its repr shows identifier and length only."""

    block_id: UUID
    key: bytes

    @property
    def length_bit(self) -> int:
        return len(self.key) * BIT_PER_BYTE

    def __repr__(self) -> str:
        return f"KeyBlock({self.block_id}, {self.length_bit} bit)"
