"""Alice: knows what she sent, tells Bob what the proof needs, answers his parities, draws the seeds."""

from __future__ import annotations

from uuid import UUID

import numpy as np

from tiandi.bits import BitArray, pack
from tiandi.distill import messages
from tiandi.distill.authentication import AuthenticationPool, PoolPosition
from tiandi.distill.cascade import CascadeAnswerer
from tiandi.distill.cascade_plan import CascadePlan, Question
from tiandi.distill.party import HASH_BIT, VERIFICATION_ATTEMPTS, Party, Settings, State
from tiandi.distill.records import BASIS_NAMES, TransmitterRecord
from tiandi.errors import ProtocolViolation, TooFewDetections
from tiandi.random import secret_bits, secret_bytes
from tiandi.tags import TAG_KEY_BYTE, one_time_tag, verify_one_time_tag


class Alice(Party):
    """The transmitter's end. It waits for Bob's announcement."""

    def __init__(self, record: TransmitterRecord, settings: Settings, pool: AuthenticationPool) -> None:
        super().__init__(settings, pool)
        self._record: TransmitterRecord | None = record
        self._answerer: CascadeAnswerer | None = None
        self._answering_basis = 0
        self._reconciliations = [0] * len(BASIS_NAMES)

    def _on_announcement(self, message: messages.Announcement) -> messages.Message:
        record = self._record
        assert record is not None
        self._tag_position = PoolPosition(message.authentication_segment, message.authentication_start)
        self._pool.require(self._tag_position, 2 * TAG_KEY_BYTE)
        if len(message.gaps) > record.slots.nbytes:
            raise ProtocolViolation("more detections are announced than pulses were sent")
        gaps = _integers(message.gaps, "<u4")
        slots = np.cumsum(gaps, dtype=np.int64)
        rows = np.searchsorted(record.slots, slots)
        if slots.size == 0:
            raise TooFewDetections(0, self.settings.minimum_sample_bit)
        if (gaps[1:] == 0).any() or rows.max() >= record.slots.size or (record.slots[rows] != slots).any():
            raise ProtocolViolation("a detection is announced of a pulse that was not sent")
        self.ledger.detected = slots.size
        matched = (self._unpack(message.bases, slots.size) == record.bases[rows]).astype(np.uint8)
        rows = rows[matched == 1]
        self._matched_bases, kinds, bits = record.bases[rows], record.intensities[rows], record.bits[rows]
        self._sampled = self._draw_sample(self._matched_bases)
        self._sample_bits = bits[self._sampled == 1]
        self._sift(self._matched_bases, kinds, bits, self._sampled)
        self.state = State.ESTIMATING
        return messages.Sifting(
            matched=pack(matched), intensities=kinds.tobytes(), sampled=pack(self._sampled), sample_bits=pack(self._sample_bits)
        )

    def _draw_sample(self, bases: BitArray) -> BitArray:
        """Mark each sifted bit for the sample by a fair lottery, at least `Settings.minimum_sample_bit` of each basis on average."""
        minimum = self.settings.minimum_sample_bit
        sifted_bit = np.bincount(bases, minlength=len(BASIS_NAMES))
        if sifted_bit.min() < 2 * minimum:
            raise TooFewDetections(int(sifted_bit.min()), 2 * minimum)
        share = np.maximum(self.settings.sample_fraction, minimum / sifted_bit)
        lots = np.frombuffer(secret_bytes(4 * bases.size), "<u4")
        return (lots < share[bases] * 2.0**32).astype(np.uint8)

    def _on_estimate(self, message: messages.Estimate) -> messages.Message:
        differences = self._unpack(message.sample_bits, self._sample_bits.size) ^ self._sample_bits
        self._judge_sample(self._matched_bases, self._sampled, differences)
        self.state = State.RECONCILING
        return messages.Proceed()

    def _on_reconciliation(self, message: messages.Reconciliation) -> messages.Message:
        if message.basis not in range(len(BASIS_NAMES)):
            raise ProtocolViolation("there is no such basis")
        self._reconciliations[message.basis] += 1
        if self._reconciliations[message.basis] > VERIFICATION_ATTEMPTS:
            raise ProtocolViolation("reconciliation is begun too often")
        key = self._keys[message.basis]
        plan = CascadePlan.checked(
            key_bit=key.size, frames=message.frames, levels=message.levels, subsets=message.subsets, seed=message.seed
        )
        self._forget_answerer()
        self._answerer, self._answering_basis = CascadeAnswerer(plan, key), message.basis
        return self._tell(message.questions)

    def _on_query(self, message: messages.Query) -> messages.Message:
        return self._tell(message.questions)

    def _tell(self, questions: tuple[Question, ...]) -> messages.Message:
        if self._answerer is None:
            raise ProtocolViolation("a parity is asked for before reconciliation has begun")
        told = self._answerer.told
        answer = self._answerer.answer(questions)
        self._count_parities(self._answering_basis, self._answerer.told - told)
        return messages.Parities(answer)

    def _forget_answerer(self) -> None:
        if self._answerer is not None:
            self._answerer.wipe()
        self._answerer = None

    def _on_verification_request(self, message: messages.VerificationRequest) -> messages.Message:
        if message.basis not in range(len(BASIS_NAMES)):
            raise ProtocolViolation("there is no such basis")
        name = BASIS_NAMES[message.basis]
        self.ledger.verification_leaked_bit[name] += HASH_BIT
        if self.ledger.verification_leaked_bit[name] > VERIFICATION_ATTEMPTS * HASH_BIT:
            raise ProtocolViolation("verification is asked for too often")
        hash_key = secret_bytes(32)
        return messages.Verification(hash_key, one_time_tag(hash_key, [pack(self._keys[message.basis])]))

    def _on_errors(self, message: messages.Errors) -> messages.Message:
        counts = self._intensity_counts()
        if any(len(told) != self.settings.intensities for told in message.counts):
            raise ProtocolViolation("errors are not told by intensity")
        for told, known in zip(message.counts, counts, strict=True):
            if any(not 0 <= errors <= count for errors, count in zip(told, known, strict=True)):
                raise ProtocolViolation("more errors are told of than there are bits")
        self._final_lengths = self._lengths(message.counts)
        # Drawn only now: nobody could have prepared the light, or any earlier message, for this hash.
        x_bit, z_bit = self._seed_bits(self._final_lengths)
        seeds = pack(secret_bits(x_bit)), pack(secret_bits(z_bit))
        self._block_id = UUID(bytes=secret_bytes(16), version=4)
        self._secret = self._amplify(self._final_lengths, seeds)
        self.state = State.CONFIRMING
        return messages.Amplification(self._block_id, seeds)

    def _on_confirmation(self, message: messages.Confirmation) -> messages.Message:
        # The announcement that named this key was not authentic. Bob's tag under it is; only then is anything spent.
        assert self._tag_position is not None
        verify_one_time_tag(self._pool.peek(self._tag_position, TAG_KEY_BYTE), self._transcript, message.tag)
        _, alice_key = self._take_tag_keys()
        tag = one_time_tag(alice_key, self._transcript)
        self._finish(self._block_id, self._final_lengths)
        return messages.Confirmation(tag)

    def _destroy(self) -> None:
        super()._destroy()
        self._forget_answerer()
        self._record = None

    TRANSITIONS = {
        (State.IDLE, messages.Announcement): _on_announcement,
        (State.ESTIMATING, messages.Estimate): _on_estimate,
        (State.RECONCILING, messages.Reconciliation): _on_reconciliation,
        (State.RECONCILING, messages.Query): _on_query,
        (State.RECONCILING, messages.VerificationRequest): _on_verification_request,
        (State.RECONCILING, messages.Errors): _on_errors,
        (State.CONFIRMING, messages.Confirmation): _on_confirmation,
    }


def _integers(data: bytes, dtype: str) -> np.ndarray:
    """Whole numbers from a message. Raises ProtocolViolation when the bytes do not divide."""
    if len(data) % np.dtype(dtype).itemsize:
        raise ProtocolViolation("a list of numbers is cut off")
    return np.frombuffer(data, dtype).astype(np.int64)
