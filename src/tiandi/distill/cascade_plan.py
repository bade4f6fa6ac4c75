"""What the two ends of Cascade agree on: frames and batches, block sizes, permutations and random subsets, and how a question is put."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiandi.bits import BitArray
from tiandi.errors import ProtocolViolation

FRAME_BIT = 65536
MAXIMUM_PASSES = 8
MAXIMUM_SUBSETS = 32
MAXIMUM_FRAMES = 4096
FRAME_BITS = 7
"""Binary digits of the number of a frame within its batch. The compiled loops hold it: empty ``__pycache__`` after a change."""

FRAME_MASK = (1 << FRAME_BITS) - 1
BATCH_FRAMES = 1 << FRAME_BITS
MAXIMUM_BATCHES = MAXIMUM_FRAMES // BATCH_FRAMES
SEED_BYTE = 16
WORD_BIT = 64
ROW_BIT = WORD_BIT * WORD_BIT
"""A row is filled up with zeros to whole squares of 64 x 64 bits, which the shuffles transpose."""

REPAIR_SUBSETS = 24
"""Random subsets of a batch of a key that failed its verification."""

LEAST_QBER = 1e-3
"""Block sizes grow no further below this error rate: an estimate of none is only a small sample."""

LEAST_SEARCHES, LEAST_SEARCHES_OF_MANY = 32, 64
"""A frame searches at least so many parts at a time: with fewer it leaks a little less, and waits longer. At 2 % twice as many leak 0.15 %
more and take a fifth fewer rounds; a short frame, and one with few errors or with very many, leaks too much for that."""

LEVELS_OF_MANY = (4, 5, 6)
"""Levels of the first blocks from 1.4 to 7 % of errors."""

ERRORS_OF_BLOCKS = ((0.014, (1.33, 5.0, 230.0, 33.0)), (0.03, (1.5, 4.0, 115.0, 33.0)), (np.inf, (1.2, 7.1, 230.0, 33.0)))
"""Below which error rate, and how many errors a block of each pass may hold at most."""


class Question(NamedTuple):
    """What Bob asks of one batch: where his searches turned (packed bits), new searches (nodes, uint32) and new rows (uint16)."""

    batch: int
    turns: bytes
    starts: bytes
    openings: bytes


@dataclass(frozen=True)
class CascadePlan:
    """What both ends must agree on: binary logarithms of the block sizes, pass by pass, and how many random subsets of each batch."""

    key_bit: int
    frames: int
    levels: tuple[int, ...]
    subsets: int
    seed: bytes

    @classmethod
    def checked(cls, *, key_bit: int, frames: int, levels: tuple[int, ...], subsets: int, seed: bytes) -> CascadePlan:
        """The plan for a key of ``key_bit`` bits. Raises ProtocolViolation when a peer proposes one that makes no sense."""
        if (
            not 1 <= frames <= min(MAXIMUM_FRAMES, -(-key_bit // WORD_BIT))
            or not 1 <= len(levels) <= MAXIMUM_PASSES
            or len(seed) != SEED_BYTE
        ):
            raise ProtocolViolation("a Cascade plan is out of range")
        plan = cls(key_bit, frames, levels, subsets, seed)
        if plan.frame_bit > FRAME_BIT or any(not 1 <= level <= plan.root_level for level in levels) or not 1 <= subsets <= MAXIMUM_SUBSETS:
            raise ProtocolViolation("a Cascade plan has frames, blocks or subsets out of range")
        return plan

    @property
    def frame_bit(self) -> int:
        """Bits of a frame, in whole words; the last frame is filled up with zeros."""
        return -(-self.key_bit // (self.frames * WORD_BIT)) * WORD_BIT

    @cached_property
    def row_words(self) -> int:
        """Words of a frame filled up with zeros to whole squares."""
        return _row_bit(self.frame_bit) // WORD_BIT

    @cached_property
    def root_level(self) -> int:
        """Level of the root of a row's tree: 2^level is the first power of two that holds it."""
        return (_row_bit(self.frame_bit) - 1).bit_length()

    @cached_property
    def batches(self) -> int:
        """Batches of a key; all but the last hold equally many frames."""
        return -(-self.frames // self.batch_frames)

    @cached_property
    def batch_frames(self) -> int:
        """Frames of a batch."""
        return -(-self.frames // -(-self.frames // BATCH_FRAMES))

    @property
    def least_searches(self) -> int:
        """How many parts of a frame are searched at a time at least, if so many differ."""
        has_many = self.frame_bit > FRAME_BIT // 2 and self.levels[0] in LEVELS_OF_MANY
        return LEAST_SEARCHES_OF_MANY if has_many else LEAST_SEARCHES

    @cached_property
    def shapes(self) -> NDArray[np.int64]:
        """Level, blocks and parities told of each pass, shape (passes, 3); after the first pass the last one follows from the others."""
        bits = np.array([self.frame_bit] + (len(self.levels) - 1) * [_row_bit(self.frame_bit)])
        blocks = -(-bits >> np.array(self.levels))
        return np.stack([self.levels, blocks, blocks - (np.arange(blocks.size) > 0)], axis=1)

    @cached_property
    def maps(self) -> NDArray[np.uint16]:
        """The permutations, shape (passes, 4, row_words); the first pass is the identity and its maps are void.

        A permutation throws the words of a frame into a table of 64 lines, turns each by some bits, transposes the 64 x 64 bits of each
        column, and throws the words of the table about. The maps are: for a word of the frame its line (6 bits), column (4) and turn (6);
        for a word of the table its place in the row; for a word of the row its line and column; for a word of the table its place in the
        frame.
        """
        words, columns = self.row_words, self.row_words // WORD_BIT
        maps = np.zeros((len(self.levels), 4, words), np.uint16)
        place = np.arange(words)
        for number in range(1, len(self.levels)):
            into, out_of, turns = self._random_words(number, 3 * words).reshape(3, words)
            table, row = np.argsort(into, kind="stable"), np.argsort(out_of, kind="stable")
            maps[number, 0] = table // columns | table % columns << 6 | (turns >> np.uint64(58)).astype(np.int64) << 10
            maps[number, 1] = row
            maps[number, 2, row] = place // columns | place % columns << 6
            maps[number, 3, table] = place
        return maps

    @cached_property
    def masks(self) -> NDArray[np.uint64]:
        """Which bits of a frame are in each random subset, shape (subsets, 2 row_words): said twice over, to be read from any offset."""
        words = self._random_words(MAXIMUM_PASSES, self.subsets * self.row_words).reshape(self.subsets, -1)
        return np.concatenate([words, words], axis=1)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each frame of a batch begins in the masks: what one permutation hides in two frames must not look alike to a subset."""
        return (self._random_words(MAXIMUM_PASSES + 1, BATCH_FRAMES) % np.uint64(self.row_words)).astype(np.int64)

    def words_of(self, bits: BitArray | NDArray[np.uint64]) -> NDArray[np.uint64]:
        """``bits``, one a byte or 64 a word, cut into frames and packed, shape (frames, frame_bit / 64), filled up with zeros."""
        words = np.zeros((self.frames, self.frame_bit // WORD_BIT), np.uint64)
        packed = np.packbits(bits, bitorder="little") if bits.dtype == np.uint8 else bits.view(np.uint8)
        words.reshape(-1).view(np.uint8)[: packed.size] = packed
        return words

    def parities_of(self, openings: NDArray[np.int64]) -> int:
        """Parities that Alice tells for ``openings``: block parities of a pass of a frame, or at last the random subsets of the batch."""
        if not openings.size:
            return 0
        if self.opens_subsets(openings):
            return self.subsets
        return int(self.shapes[openings >> FRAME_BITS, 2].sum())

    def opens_subsets(self, openings: NDArray[np.int64]) -> bool:
        """Whether ``openings`` ask for the random subsets, for which a frame would ask as for one more pass."""
        return openings.size == 1 and int(openings[0]) == len(self.levels) << FRAME_BITS

    def _random_words(self, stream: int, count: int) -> NDArray[np.uint64]:
        key = np.frombuffer(self.seed, "<u8").astype(np.uint64)
        return np.random.Philox(key=key, counter=stream << 128).random_raw(count)


def block_levels(qber: float, frame_bit: int) -> tuple[int, ...]:
    """Block sizes for an error rate, found by trial from 0.1 to 11 %.

    Blocks of the first pass hold about one error, those of the next some 3 or 5, those of the third a hundred or so; those of the last
    are quarters of a frame, or halves if a frame has few errors. Where choices leak alike, the one with fewest rounds is taken: at 2 %,
    blocks of the second pass twice as long leak half a percent less and take twice as many. Zeros that fill up rows make errors rarer in
    all passes but the first.
    """
    qber = max(qber, LEAST_QBER)
    root = (_row_bit(frame_bit) - 1).bit_length()
    diluted = qber * frame_bit / _row_bit(frame_bit)
    errors = next(errors for limit, errors in ERRORS_OF_BLOCKS if qber < limit)
    first, second, third, last = (_level(errors[0] / qber), *(_level(limit / diluted) for limit in errors[1:]))
    first, second = min(first, root - 1), min(second, root - 1)
    third = max(second, min(third, root - 2))
    return first, second, third, max(third, root - 2, min(last, root - 1))


def repair_levels(frame_bit: int) -> tuple[int, ...]:
    """Block sizes for a key that failed its verification: whole frames, where the partner is found of an error that a subset has shown."""
    return ((_row_bit(frame_bit) - 1).bit_length(),)


def last_subsets(frames: int) -> int:
    """Random subsets of each batch after the passes, for a key of so many frames.

    What is left of errors shows in each with probability 1/2. One that differs is searched and agrees from then on; the others may agree by
    chance while something is left, with probability 2^(1 - subsets) each time, and the more often the more frames a batch has.
    """
    return 10 + (min(frames, BATCH_FRAMES) - 1).bit_length()


def _level(bit: float) -> int:
    """Level of the largest power of two within ``bit`` bits, at least 1."""
    return max(1, int(np.floor(np.log2(bit))))


def _row_bit(frame_bit: int) -> int:
    return -(-frame_bit // ROW_BIT) * ROW_BIT
