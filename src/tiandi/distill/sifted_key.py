"""The sifted key of one basis, and what is counted in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.bits import BitArray
from tiandi.distill.sifting import Words, bytes_from, everything, ones, pack_words, select, tally, unpack_words

WORD_LEVEL, WORD_MASK = 6, 63
"""A position in a key is a word, and in its lowest digits a bit of it."""


@dataclass(eq=False, repr=False)
class SiftedKey:
    """One end's bits of one basis, packed in ``words`` (W,), and in ``planes`` (digits, W) the binary digits of the intensity behind each.

    ``size`` is their number.
    """

    words: Words
    planes: Words
    size: int

    @classmethod
    def of_basis(cls, chosen: Words, columns: Words, count: int) -> SiftedKey:
        """The key of those of ``count`` events that are ``chosen``; ``columns`` (1 + digits, words) are bits and digits of all of them."""
        selected = select(columns, chosen, count)
        return cls(selected[0], selected[1:], ones(chosen))

    @property
    def bits(self) -> BitArray:
        """The bits, one a byte, shape (n,): a copy, which whoever asks for it wipes."""
        return unpack_words(self.words, self.size)

    @property
    def packed(self) -> bytes:
        """The bits, eight a byte."""
        return bytes_from(self.words, self.size)

    def become(self, words: Words) -> None:
        """Put the bits of ``words`` (W,) in place of those there are, and wipe them."""
        self.words[:] = words
        words.fill(0)

    def become_bits(self, bits: BitArray) -> None:
        """The same of ``bits``, one a byte, shape (n,)."""
        self.become(pack_words(bits))
        bits.fill(0)

    def wipe(self) -> None:
        """Overwrite the bits."""
        self.words.fill(0)

    def counts(self, intensities: int, chosen: Words | None = None) -> list[int]:
        """How many bits, of those that are ``chosen``, are of each of ``intensities``; all others together come last."""
        return tally(self.planes, everything(self.size) if chosen is None else chosen, intensities)

    def error_counts(self, other: Words, intensities: int) -> list[int]:
        """How many bits of each of ``intensities`` differ from those of ``other`` (W,)."""
        return self.counts(intensities, self.words ^ other)[:-1]

    def take_out(self, positions: NDArray[np.int64]) -> BitArray:
        """Take the bits at rising ``positions`` out of the key and give them, shape (k,)."""
        words, places = positions >> WORD_LEVEL, (positions & WORD_MASK).astype(np.uint64)
        taken = (self.words[words] >> places & np.uint64(1)).astype(np.uint8)
        kept = everything(self.size)
        np.bitwise_xor.at(kept, words, np.uint64(1) << places)
        rest = SiftedKey.of_basis(kept, np.concatenate([self.words[None], self.planes]), self.size)
        self.wipe()
        self.words, self.planes, self.size = rest.words, rest.planes, rest.size
        return taken
