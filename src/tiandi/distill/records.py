"""What each end brings into distillation, and what it takes out."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tiandi.bits import BitArray
from tiandi.units import BIT_PER_BYTE

X_BASIS, Z_BASIS = 0, 1
BASIS_NAMES = ("X", "Z")


@dataclass(frozen=True)
class TransmitterRecord:
    """What Alice remembers of her pulses, arrays of shape (n,) in order of ``slots``; a twin keeps only those that were detected."""

    slots: NDArray[np.int64]
    intensities: NDArray[np.uint8]
    bases: BitArray
    bits: BitArray


@dataclass(frozen=True)
class ReceiverRecord:
    """What Bob detected, arrays of shape (n,) in order of ``slots``."""

    slots: NDArray[np.int64]
    bases: BitArray
    bits: BitArray


@dataclass(frozen=True)
class KeyBlock:
    """Secret key under an identifier that both ends share. Its repr shows identifier and length only."""

    block_id: UUID
    key: bytes

    @property
    def length_bit(self) -> int:
        return len(self.key) * BIT_PER_BYTE

    def __repr__(self) -> str:
        return f"KeyBlock({self.block_id}, {self.length_bit} bit)"
