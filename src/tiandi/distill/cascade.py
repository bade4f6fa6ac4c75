"""Cascade: Bob finds his errors by asking Alice for parities of ever smaller parts of the key.

Brassard and Salvail 1994, doi:10.1007/3-540-48285-7_35.

The key of a basis is cut into frames of equal length, the frames into batches. Each pass shuffles every frame by one permutation and cuts
it into blocks of a power of two. Bob knows of every block, and of every part of it that he has heard of, whether his parity differs from
Alice's; the smallest parts he knows of lie side by side. One that differs holds an odd number of errors: it is searched by bisection. Every
error found changes one such part in every other pass, where the partner that masked it shows up. At the end, parities of random subsets of
a whole batch show what all blocks have hidden.

Alice mirrors the searches: Bob names a part once and then tells, with one bit a round, into which half each search has turned. All searches
of all frames of a batch go in one message, and so do those of several batches. Each frame goes through the passes at its own pace; only the
random subsets wait for all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tiandi.bits import BitArray, pack, unpack
from tiandi.distill import cascade_kernels as kernels
from tiandi.distill.cascade_plan import FRAME_BITS, FRAME_MASK, WORD_BIT, CascadePlan, Question
from tiandi.distill.sifting import Words, cut, unpack_words, words_for
from tiandi.errors import ProtocolViolation
from tiandi.units import byte_from_bit

BATCHES_IN_FLIGHT = 2
"""Of one key; the keys of both bases are in flight together. Of a full batch Bob holds 13 MB."""

NO_NUMBERS = np.empty(0, np.int64)


class CascadeAnswerer:
    """Alice: knows her key, answers parities, counts what she gave away."""

    def __init__(self, plan: CascadePlan, bits: BitArray | NDArray[np.uint64]) -> None:
        self.plan = plan
        self.told = 0
        self._words = plan.words_of(bits)
        self._batches: dict[int, _AnsweringBatch] = {}

    def wipe(self) -> None:
        """Overwrite what tells Alice's bits."""
        self._words.fill(0)
        for batch in self._batches.values():
            batch.wipe()

    def answer(self, questions: Sequence[Question]) -> bytes:
        """The parities asked for, packed question by question: those of searches, then those of rows.

        Raises ProtocolViolation for a part that does not exist, an answer that is not due, or more parities than the key has bits.
        """
        answers = []
        for question in questions:
            told, answer = self._batch(question.batch).answer(question, self.plan.key_bit - self.told)
            self.told += told
            answers.append(answer)
        return b"".join(answers)

    def _batch(self, number: int) -> _AnsweringBatch:
        if not 0 <= number < self.plan.batches:
            raise ProtocolViolation("a parity is asked of a batch that does not exist")
        if number not in self._batches:
            self._batches[number] = _AnsweringBatch(self.plan, _rows_of(self.plan, number, self._words, 1))
        return self._batches[number]


class _AnsweringBatch:
    """Alice's rows of one batch, and where Bob's searches in them stand."""

    def __init__(self, plan: CascadePlan, rows: NDArray[np.uint64]) -> None:
        self._plan = plan
        self.rows, self.sums = rows, _sums_for(rows)
        self._opened = np.zeros(len(rows), np.int64)
        self._searches = np.empty((0, 2), np.uint64)
        self._active = 0

    def wipe(self) -> None:
        """Overwrite what tells Alice's bits."""
        for held in (self.rows, self.sums, self._searches):
            held.fill(0)

    def answer(self, question: Question, limit: int) -> tuple[int, bytes]:
        """How many parities are told, at most ``limit``, and they: of the searches, then of the rows that are opened."""
        plan = self._plan
        turns = _packed(question.turns, self._active)
        starts, openings = _numbers(question.starts, "<u4", limit), _numbers(question.openings, "<u2", len(self.rows))
        searches, blocks = self._active + starts.size, self._blocks_due(openings)
        if searches + blocks > limit:
            raise ProtocolViolation("more parities are asked for than the key has bits")
        if len(self._searches) < searches:
            grown = np.zeros((2 * searches, 2), np.uint64)
            grown[: self._active] = self._searches[: self._active]
            self._searches.fill(0)
            self._searches = grown
        halves = np.empty(byte_from_bit(searches), np.uint8)
        self._active = kernels.tell_halves(
            self.rows, self.sums, plan.masks, plan.offsets, self._opened, plan.root_level,
            self._searches, self._active, turns, starts, halves,
        )  # fmt: skip
        if self._active == kernels.REFUSED:
            raise ProtocolViolation("a parity is asked of a part that does not exist")
        return searches + blocks, halves.tobytes() + self._open(openings, blocks)

    def _open(self, openings: NDArray[np.int64], blocks: int) -> bytes:
        plan = self._plan
        if not blocks:
            return b""
        if plan.opens_subsets(openings):
            self._opened += blocks
            return pack(_subset_parities(plan, self.rows))
        kernels.make_rows(self.rows, self.sums, plan.maps, openings)
        told = np.empty(byte_from_bit(blocks), np.uint8)
        kernels.tell_blocks(self.rows, self.sums, plan.shapes, openings, told)
        self._opened[openings & FRAME_MASK] += 1
        return told.tobytes()

    def _blocks_due(self, openings: NDArray[np.int64]) -> int:
        """Parities told of ``openings``: each row is opened once, pass after pass; the random subsets when all are."""
        if not openings.size:
            return 0
        numbers, frames = openings >> FRAME_BITS, openings & FRAME_MASK
        passes = len(self._plan.levels)
        if self._plan.opens_subsets(openings):
            due = bool((self._opened == passes).all())
        else:
            due = bool((frames < self._opened.size).all() and (numbers < passes).all())
            due = due and bool((numbers == self._opened[frames]).all()) and np.unique(frames).size == frames.size
        if not due:
            raise ProtocolViolation("a pass is asked for that is not due")
        return self._plan.parities_of(openings)


class CascadeCorrector:
    """Bob: asks, bisects and corrects. Send ``questions``, feed the answer to `absorb`, until no question is left.

    ``expected`` is how many parities the answer tells. Raises ProtocolViolation when answers have a wrong length or contradict each other.
    """

    def __init__(self, plan: CascadePlan, bits: BitArray | NDArray[np.uint64]) -> None:
        self.plan = plan
        self._words = plan.words_of(bits)
        self._waiting = iter(range(plan.batches))
        self._batches: dict[int, _SearchingBatch] = {}
        self._ask()

    def wipe(self) -> None:
        """Overwrite Bob's bits."""
        self._words.fill(0)
        for batch in self._batches.values():
            batch.wipe()

    @property
    def corrected_words(self) -> Words:
        """Bob's key as it stands, 64 bits a word: the corrector's own memory, good until it is wiped."""
        return cut(self._words.reshape(-1)[: words_for(self.plan.key_bit)], self.plan.key_bit)

    @property
    def corrected(self) -> BitArray:
        """The same, one a byte, shape (n,)."""
        return unpack_words(self.corrected_words, self.plan.key_bit)

    def absorb(self, answer: bytes) -> None:
        """Take in the answer to ``questions``."""
        if len(answer) != sum(batch.answer_byte for batch in self._batches.values()):
            raise ProtocolViolation("an answer holds another number of parities than was asked for")
        at = 0
        for number, batch in list(self._batches.items()):
            told = np.frombuffer(answer, np.uint8)[at : at + batch.answer_byte]
            at += batch.answer_byte
            batch.absorb(told)
            if batch.done:
                first = number * self.plan.batch_frames
                self._words[first : first + len(batch.rows)] = batch.rows[:, 0, : self._words.shape[1], kernels.BITS]
                batch.wipe()
                del self._batches[number]
        self._ask()

    def _ask(self) -> None:
        while len(self._batches) < BATCHES_IN_FLIGHT and (number := next(self._waiting, None)) is not None:
            self._batches[number] = _SearchingBatch(self.plan, _rows_of(self.plan, number, self._words, 3))
        self.questions = tuple([batch.question(number) for number, batch in self._batches.items()])
        self.expected = sum([batch.expected for batch in self._batches.values()])


class _SearchingBatch:
    """Bob's rows of one batch and the searches in them."""

    def __init__(self, plan: CascadePlan, rows: NDArray[np.uint64]) -> None:
        self._plan = plan
        self.rows, self.sums = rows, _sums_for(rows)
        self.done = False
        frames = len(rows)
        self._differing = np.zeros(rows.shape[:2], np.int32)
        self._opened, self._active = np.zeros((2, frames), np.int64)
        self._frame_parities = np.zeros(frames, np.uint8)
        self._searches = np.empty((frames * int(plan.shapes[:, 1].max()), 3), np.uint64)
        self._turns = np.empty(byte_from_bit(len(self._searches)), np.uint8)
        self._found = np.empty(len(self._searches), np.int64)
        self._openings = np.arange(frames)
        self._asked = np.empty(frames, np.int64)
        self._subsets_told: BitArray | None = None
        self._ask(0, 0)

    def wipe(self) -> None:
        """Overwrite Bob's bits."""
        for held in (self.rows, self.sums, self._searches):
            held.fill(0)

    def question(self, number: int) -> Question:
        """What is to be asked next, of batch ``number``."""
        turns = self._turns[: byte_from_bit(self._going_on)].tobytes()
        starts = self._searches[self._going_on : self._count, kernels.NODE].astype("<u4").tobytes() if self._count > self._going_on else b""
        return Question(number, turns, starts, self._openings.astype("<u2").tobytes() if self._openings.size else b"")

    def absorb(self, answer: BitArray) -> None:
        """Take in the answer to `question`, packed; choose what to ask next."""
        plan = self._plan
        going_on = kernels.enter_halves(
            self.rows, self.sums, self._differing, plan.maps, plan.masks, plan.offsets, self._opened, self._active, plan.root_level,
            self._searches, self._count, answer, self._turns, self._found,
        )  # fmt: skip
        if self._openings.size:
            self._enter_openings(answer[byte_from_bit(self._count) :])
        count, asked = kernels.choose(
            self.rows, self.sums, self._differing, self._opened, self._active, plan.root_level, plan.least_searches,
            self._searches, going_on, self._asked,
        )  # fmt: skip
        if count == kernels.REFUSED:
            raise ProtocolViolation("the parities told contradict each other")
        self._openings = self._asked[:asked]
        if count == asked == 0:
            count = self._look_for_the_rest()
        self._ask(going_on, count)

    def _ask(self, going_on: int, count: int) -> None:
        """Of ``count`` searches, so many are going on; how long the answer will be."""
        self._going_on, self._count = going_on, count
        blocks = self._plan.parities_of(self._openings)
        self.expected = count + blocks
        self.answer_byte = byte_from_bit(count) + byte_from_bit(blocks)

    def _enter_openings(self, told: BitArray) -> None:
        plan = self._plan
        if plan.opens_subsets(self._openings):
            self._subsets_told = unpack(told.tobytes(), plan.subsets)
            return
        kernels.make_rows(self.rows, self.sums, plan.maps, self._openings)
        kernels.enter_blocks(self.rows, self.sums, self._differing, plan.shapes, self._opened, self._frame_parities, self._openings, told)

    def _look_for_the_rest(self) -> int:
        """All blocks agree: ask for the random subsets, then search one that differs, until none does. Returns how many are searched."""
        plan = self._plan
        if self._subsets_told is None:
            self._openings = np.array([len(plan.levels) << FRAME_BITS])
            return 0
        differing = np.flatnonzero(_subset_parities(plan, self.rows) != self._subsets_told)
        self.done = not differing.size
        if self.done:
            return 0
        # The smallest tree that holds the frames of this batch; its numbers are those of a full batch.
        heap = 1 << (FRAME_BITS - (len(self.rows) - 1).bit_length())
        self._searches[0, kernels.NODE] = (len(plan.levels) + int(differing[0]) << FRAME_BITS + plan.root_level + 1) + heap
        return 1


def _rows_of(plan: CascadePlan, batch: int, words: NDArray[np.uint64], planes: int) -> NDArray[np.uint64]:
    """Rows of one batch, shape (frames, passes, row_words, planes), with the bits in that of the first pass."""
    chosen = words[batch * plan.batch_frames : (batch + 1) * plan.batch_frames]
    rows = np.zeros((len(chosen), len(plan.levels), plan.row_words, planes), np.uint64)
    rows[:, 0, : words.shape[1], kernels.BITS] = chosen
    return rows


def _sums_for(rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    frames, passes, words, planes = rows.shape
    return np.zeros((frames, passes, words // WORD_BIT, planes), np.uint64)


def _subset_parities(plan: CascadePlan, rows: NDArray[np.uint64]) -> BitArray:
    """Parities of all random subsets of a batch, shape (subsets,)."""
    parities = np.empty(plan.subsets, np.uint8)
    kernels.subset_parities(rows, plan.masks, plan.offsets, parities)
    return parities


def _packed(data: bytes, length_bit: int) -> BitArray:
    """A packed bit string from a message. Raises ProtocolViolation when it has another length."""
    if len(data) != byte_from_bit(length_bit):
        raise ProtocolViolation(f"{length_bit} turns need {byte_from_bit(length_bit)} bytes, not {len(data)}")
    return np.frombuffer(data, np.uint8)


def _numbers(data: bytes, dtype: str, most: int) -> NDArray[np.int64]:
    """Whole numbers from a message. Raises ProtocolViolation when the bytes do not divide or there are more than ``most``."""
    if not data:
        return NO_NUMBERS
    size = np.dtype(dtype).itemsize
    if len(data) % size or len(data) > size * most:
        raise ProtocolViolation("a list of numbers is cut off or too long")
    return np.frombuffer(data, dtype).astype(np.int64)
