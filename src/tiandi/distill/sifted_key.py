"""The sifted key of one basis, and what is counted in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.bits import BitArray
from tiandi.distill.sifting import Words, ones, pack_words, select, unpack_words


@dataclass(eq=False, repr=False)
class SiftedKey:
    """One end's ``bits`` (n,) of one basis and, in ``planes`` (digits, words), the binary digits of the intensity behind each."""

    bits: BitArray
    planes: Words

    @classmethod
    def of_basis(cls, chosen: Words, columns: Words, count: int) -> SiftedKey:
        """The key of those of ``count`` events that are ``chosen``; ``columns`` (1 + digits, words) are bits and digits of all of them."""
        selected = select(columns, chosen, count)
        return cls(unpack_words(selected[0], ones(chosen)), selected[1:])

    @property
    def size(self) -> int:
        return self.bits.size

    def wipe(self) -> None:
        """Overwrite the bits."""
        self.bits.fill(0)

    def counts(self, intensities: int, chosen: Words | None = None) -> list[int]:
        """How many bits, of those that are ``chosen``, are of each of ``intensities``; all others together come last."""
        left = pack_words(np.ones(self.size, np.uint8)) if chosen is None else chosen
        counted = []
        for intensity in range(intensities):
            of_intensity = left.copy()
            for digit, plane in enumerate(self.planes):
                of_intensity &= plane if intensity >> digit & 1 else ~plane
            counted.append(ones(of_intensity))
        return [*counted, ones(left) - sum(counted)]

    def error_counts(self, other: BitArray, intensities: int) -> list[int]:
        """How many bits of each of ``intensities`` differ from those of ``other`` (n,)."""
        return self.counts(intensities, pack_words(self.bits ^ other))[:-1]

    def take_out(self, positions: NDArray[np.int64]) -> BitArray:
        """Take the bits at rising ``positions`` out of the key and give them, shape (k,)."""
        taken = self.bits[positions]
        kept = np.ones(self.size, np.uint8)
        kept[positions] = 0
        columns = np.concatenate([pack_words(self.bits)[None], self.planes])
        rest = SiftedKey.of_basis(pack_words(kept), columns, self.size)
        self.wipe()
        self.bits, self.planes = rest.bits, rest.planes
        return taken
