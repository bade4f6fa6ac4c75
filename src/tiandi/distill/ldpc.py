"""Reconciliation by low-density parity-check codes: Alice tells parities, Bob computes his errors, and asks for more where he cannot.

One way but for the list of frames that need more. That is blind reconciliation (Martinez-Mateo, Elkouss and Martin 2012, arXiv:1205.5729,
recalled), with parities of split rows in place of bits revealed. It suits links whose round trip is long.

The key is dealt out to frames bit by bit, so that all have the same error rate. What is told of a frame comes in stages: the syndrome of a
code that corrects the QBER in all but some frames of a thousand; then parities of halves of ever more rows; and at last the frame.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tiandi.bits import BitArray
from tiandi.distill.ldpc_codes import CIRCULANT_SIZES, LEAST_ROWS, CodeName, build_code, split_rows, split_syndrome
from tiandi.distill.ldpc_decoder import entropy_bit, find_errors
from tiandi.errors import InputError, ProtocolViolation
from tiandi.limits import require_within

LEAST_KEY_BIT = 2048
MAXIMUM_KEY_BIT = 2**32
LARGEST_QBER = 0.12
MAXIMUM_FRAMES = 65_536
MAXIMUM_FRAME_BIT = 2_097_152
MAXIMUM_SEED = 2**32 - 1
_ROWS = range(LEAST_ROWS, 257)
_PREFERRED_ROWS = 40
_FRAME_BIT = 102_400
_SMALLEST_QBER = 1e-3
_LONGEST_OF_SYNDROME = 200
_HALVINGS = 6
# Found by trial over QBER 0.1 to 11 % and frames of 25,600 to 1.6 million bits.
_EFFICIENCY, _DEVIATIONS = 1.12, 3.0


def _syndrome_bit(qber: float, frame_bit: int) -> int:
    """Parities that correct nearly every frame of this length."""
    high = qber + _DEVIATIONS * (qber * (1 - qber) / frame_bit) ** 0.5
    return int(np.ceil(_EFFICIENCY * entropy_bit(min(high, 0.5)) * frame_bit))


def _longest_frame(qber: float) -> int:
    """Bits of a frame whose syndrome fills a whole number of the largest circulants, some 100,000 or more."""
    largest = CIRCULANT_SIZES[-1]
    syndrome_bit = max(_PREFERRED_ROWS, -(-_syndrome_bit(qber, _FRAME_BIT) // largest)) * largest
    return bisect_right(range(MAXIMUM_FRAME_BIT), syndrome_bit, key=lambda frame_bit: _syndrome_bit(qber, max(frame_bit, 1))) - 1


@dataclass(frozen=True)
class LdpcPlan:
    """What both ends must agree on: how many frames, and the code (rows of circulants, their size, its seed)."""

    key_bit: int
    frames: int
    rows: int
    circulant: int
    seed: int = 0

    @classmethod
    def for_key(cls, key_bit: int, qber: float, seed: int = 0) -> LdpcPlan:
        """A plan for ``key_bit`` bits, 2048 or more, with an expected error rate ``qber``, up to 0.12.

        Frames have about 100,000 bits, at low QBER more, and all the same length. The syndrome is as long as errors three standard
        deviations above the mean need, times the decoder's own inefficiency of 1.12. A QBER below 0.001 counts as that. Raises InputError
        for a key or a QBER out of range.
        """
        if not LEAST_KEY_BIT <= key_bit <= MAXIMUM_KEY_BIT:
            raise InputError("key_bit", key_bit, f"must lie in [{LEAST_KEY_BIT}, {MAXIMUM_KEY_BIT}]")
        require_within("qber", qber, 0.0, LARGEST_QBER)
        qber = max(qber, _SMALLEST_QBER)
        longest = _longest_frame(qber)
        frames = -(-key_bit // longest)
        wanted_bit = _syndrome_bit(qber, -(-key_bit // frames))
        large = max((size for size in CIRCULANT_SIZES if size * _PREFERRED_ROWS <= wanted_bit), default=CIRCULANT_SIZES[0])
        # Of circulants of nearly the same size one comes closest to the length wanted.
        sizes = [size for size in CIRCULANT_SIZES if large - 128 <= size <= large]
        circulant = min(sizes, key=lambda size: (-(-wanted_bit // size) * size, -size))
        return cls(key_bit, frames, max(LEAST_ROWS, -(-wanted_bit // circulant)), circulant, seed)

    @classmethod
    def checked(cls, *, key_bit: int, frames: int, rows: int, circulant: int, seed: int) -> LdpcPlan:
        """The plan that a peer proposes for a key of ``key_bit`` bits. Raises ProtocolViolation when it makes no sense."""
        if not 1 <= frames <= min(MAXIMUM_FRAMES, key_bit) or circulant not in CIRCULANT_SIZES or rows not in _ROWS:
            raise ProtocolViolation("an LDPC plan is out of range")
        plan = cls(key_bit, frames, rows, circulant, seed)
        if not 0 <= seed <= MAXIMUM_SEED or plan.frame_bit > MAXIMUM_FRAME_BIT:
            raise ProtocolViolation("an LDPC plan has a seed or frames out of range")
        if not rows * circulant < plan.frame_bit <= rows * circulant * _LONGEST_OF_SYNDROME:
            raise ProtocolViolation("an LDPC plan has a rate out of range")
        return plan

    @property
    def frame_bit(self) -> int:
        """Bits of the key in each frame; the last few frames are filled up with a zero."""
        return -(-self.key_bit // self.frames)

    @cached_property
    def code(self) -> CodeName:
        """The code of the first stage; the columns that a frame does not fill up are known to be zero."""
        return CodeName(self.rows, -(-self.frame_bit // self.circulant), self.circulant, self.seed)

    @cached_property
    def splits(self) -> tuple[int, ...]:
        """How many rows are split at each stage that has parities: none at first, then 1/32, 1/16 ... of all."""
        steps = {0} | {-(-self.rows // 2**halving) for halving in range(_HALVINGS)}
        return tuple(count for count in sorted(steps) if (self.rows + count) * self.circulant < self.frame_bit)

    @property
    def stages(self) -> int:
        """Stages in all; the last tells the frame itself."""
        return len(self.splits) + 1

    def stage_bit(self, stage: int) -> int:
        """Bits told of a frame at ``stage``, counted from 0."""
        if stage == self.stages - 1:
            return self.frame_bit
        before = self.splits[stage - 1] if stage else -self.rows
        return (self.splits[stage] - before) * self.circulant

    def leaked_bit(self, told: NDArray[np.int64]) -> int:
        """Bits told of all frames when ``told`` (frames,) stages were told of each; of no frame more than it has."""
        per_stage = [self.stage_bit(stage) for stage in range(self.stages)]
        return int(np.minimum(np.concatenate([[0], np.cumsum(per_stage)]), self.frame_bit)[told].sum())

    def frames_of(self, bits: BitArray) -> BitArray:
        """``bits`` (key_bit,) dealt out to frames, shape (frames, code_bit), filled up with zeros. Raises InputError for another number."""
        if bits.size != self.key_bit:
            raise InputError("bits", bits.size, f"must be {self.key_bit} bits")
        padded = np.zeros(self.frames * self.frame_bit, np.uint8)
        padded[: bits.size] = bits
        frames = np.zeros((self.frames, self.code.code_bit), np.uint8)
        frames[:, : self.frame_bit] = padded.reshape(self.frame_bit, self.frames).T
        return frames

    def key_of(self, frames: BitArray) -> BitArray:
        """The inverse of `frames_of`."""
        return frames[:, : self.frame_bit].T.ravel()[: self.key_bit]

    def parities(self, stage: int, frame: BitArray) -> BitArray:
        """What ``stage`` tells of a frame (code_bit,), shape (stage_bit,)."""
        if stage == self.stages - 1:
            return frame[: self.frame_bit]
        if stage == 0:
            return build_code(self.code).syndrome(frame).ravel()
        name = self.code.split(self.splits[stage])
        _, places = split_rows(name)
        return build_code(name).syndrome(frame)[places[self.splits[stage - 1] :]].ravel()


class LdpcTeller:
    """Alice: knows her key, tells of each frame what its next stage holds, counts what she gave away."""

    def __init__(self, plan: LdpcPlan, bits: BitArray) -> None:
        self.plan = plan
        self._frames = plan.frames_of(bits)
        self._told = np.zeros(plan.frames, np.int64)

    def wipe(self) -> None:
        """Overwrite Alice's bits."""
        self._frames.fill(0)

    @property
    def leaked_bit(self) -> int:
        """Bits told so far; see `LdpcPlan.leaked_bit`."""
        return self.plan.leaked_bit(self._told)

    def tell(self, frames: NDArray[np.int64]) -> BitArray:
        """The next stage of each of ``frames``, ascending numbers; at first of all of them.

        Raises ProtocolViolation for frames that do not exist or have no next stage.
        """
        if frames.size == 0 or frames[0] < 0 or frames[-1] >= self.plan.frames or (np.diff(frames) <= 0).any():
            raise ProtocolViolation("more is asked of frames that do not exist")
        if (self._told[frames] == self.plan.stages).any():
            raise ProtocolViolation("more is asked of a frame of which everything was told")
        told = [self.plan.parities(self._told[frame], self._frames[frame]) for frame in frames]
        self._told[frames] += 1
        return np.concatenate(told)


class LdpcCorrector:
    """Bob: decodes, and asks for more. Feed what Alice tells of the frames in ``query`` to `absorb` until ``query`` is None.

    Each frame is corrected at the latest when all of it was told, so there are no more rounds than the plan has stages. ``corrected`` is
    most likely, not certainly, Alice's key: it must be verified.
    """

    def __init__(self, plan: LdpcPlan, bits: BitArray) -> None:
        self.plan = plan
        self._frames = plan.frames_of(bits)
        self._told = np.zeros(plan.frames, np.int64)
        self._differences: dict[int, BitArray] = {}
        self.query: NDArray[np.int64] | None = np.arange(plan.frames)

    def wipe(self) -> None:
        """Overwrite Bob's bits, and forget what is known of his errors."""
        self._frames.fill(0)
        self._differences.clear()

    @property
    def corrected(self) -> BitArray:
        """Bob's key as it stands, shape (key_bit,)."""
        return self.plan.key_of(self._frames)

    @property
    def leaked_bit(self) -> int:
        """Bits that Alice told so far; see `LdpcPlan.leaked_bit`."""
        return self.plan.leaked_bit(self._told)

    @property
    def repeated_frames(self) -> int:
        """Frames whose first syndrome did not suffice."""
        return int((self._told > 1).sum())

    @property
    def expected_bit(self) -> int:
        """Bits that the answer to ``query`` must have."""
        return 0 if self.query is None else sum(self.plan.stage_bit(self._told[frame]) for frame in self.query)

    def absorb(self, told: BitArray) -> None:
        """Take in the next stage of the frames in ``query``. Raises ProtocolViolation when it cannot be what Alice owes."""
        if self.query is None or told.size != self.expected_bit:
            raise ProtocolViolation("an answer holds another number of parities than was asked for")
        ends = np.cumsum([self.plan.stage_bit(self._told[frame]) for frame in self.query])
        parts = np.split(told, ends[:-1])
        left = [frame for frame, part in zip(self.query, parts, strict=True) if not self._correct(frame, part)]
        self.query = np.array(left) if left else None

    def _correct(self, frame: int, told: BitArray) -> bool:
        """Whether frame ``frame`` is corrected with what was ``told`` of its next stage."""
        plan, stage, bits = self.plan, int(self._told[frame]), self._frames[frame]
        self._told[frame] += 1
        difference = told ^ plan.parities(stage, bits)
        known = self._differences.pop(frame, np.zeros(0, np.uint8))
        if stage == plan.stages - 1:
            bits[: plan.frame_bit] ^= difference
            errors = np.zeros_like(bits)
            errors[: plan.frame_bit] = difference
            if (plan.parities(0, errors) != known[: plan.stage_bit(0)]).any():
                raise ProtocolViolation("the bits told do not have the parities told before")
            return True
        known = np.concatenate([known, difference])
        name = plan.code.split(plan.splits[stage])
        rows = known.reshape(-1, plan.circulant)
        found = find_errors(name, split_syndrome(name, rows[: plan.rows], rows[plan.rows :]), plan.frame_bit)
        if found is None:
            self._differences[frame] = known
            return False
        bits[: plan.frame_bit] ^= found
        return True
