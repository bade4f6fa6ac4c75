"""Bob: announces what he detected, corrects his key towards Alice's, counts his errors."""

from __future__ import annotations

import numpy as np

from tiandi.bits import BitArray, pack
from tiandi.distill import messages
from tiandi.distill.authentication import AuthenticationPool
from tiandi.distill.cascade import CascadeCorrector
from tiandi.distill.cascade_plan import FRAME_BIT, REPAIR_SUBSETS, SEED_BYTE, CascadePlan, block_levels, last_subsets, repair_levels
from tiandi.distill.party import HASH_BIT, VERIFICATION_ATTEMPTS, Party, Settings, State
from tiandi.distill.records import BASIS_NAMES, ReceiverRecord
from tiandi.errors import (
    AuthenticationFailed,
    DistillationAborted,
    KeysExhausted,
    ProtocolViolation,
    QberTooHigh,
    VerificationFailed,
)
from tiandi.random import secret_bytes
from tiandi.tags import TAG_KEY_BYTE, one_time_tag, verify_one_time_tag

LONGEST_GAP = 2**32 - 1


class Bob(Party):
    """The receiver's end. It speaks first: `start`."""

    def __init__(self, record: ReceiverRecord, settings: Settings, pool: AuthenticationPool) -> None:
        super().__init__(settings, pool)
        self._record: ReceiverRecord | None = record
        self._corrector: CascadeCorrector | None = None
        self._basis = 0
        self._attempts = 0
        self._received_keys: list[BitArray] = []
        self._alice_tag_key = b""

    def start(self) -> bytes | None:
        """The first message; an abort when the authentication pool cannot pay for this block."""
        assert self._record is not None
        try:
            self._tag_position = self._pool.next_position(2 * TAG_KEY_BYTE)
            gaps = np.diff(self._record.slots, prepend=0)
            if gaps.size and gaps.max() > LONGEST_GAP:
                raise DistillationAborted(f"{gaps.max()} pulses in a row without a detection are more than {LONGEST_GAP}")
        except KeysExhausted as error:
            return self._abort(DistillationAborted(str(error)))
        except DistillationAborted as error:
            return self._abort(error)
        self.ledger.detected = self._record.slots.size
        self.state = State.SIFTING
        position = self._tag_position
        return self._say(messages.Announcement(gaps.astype("<u4").tobytes(), pack(self._record.bases), position.segment, position.start))

    def _on_sifting(self, message: messages.Sifting) -> messages.Message:
        record = self._record
        assert record is not None
        matched = self._unpack(message.matched, record.slots.size) == 1
        bases, bits = record.bases[matched], record.bits[matched]
        kinds = np.frombuffer(message.intensities, np.uint8)
        if kinds.size != bits.size or (kinds.size and kinds.max() >= self.settings.intensities):
            raise ProtocolViolation("intensities do not fit the sifted detections")
        sampled = self._unpack(message.sampled, bits.size)
        sample_bits = bits[sampled == 1]
        self._sift(bases, kinds, bits, sampled)
        self._received_keys = [key.copy() for key in self._keys]
        reply = messages.Estimate(pack(sample_bits))
        try:
            self._judge_sample(bases, sampled, self._unpack(message.sample_bits, sample_bits.size) ^ sample_bits)
        except QberTooHigh as error:
            # Alice is told the sample all the same, so that she sees the eavesdropper with her own eyes.
            self._abort(error)
            return reply
        self.state = State.ESTIMATING
        return reply

    def _on_proceed(self, message: messages.Proceed) -> messages.Message:
        self.state = State.RECONCILING
        return self._reconcile()

    def _reconcile(self) -> messages.Message:
        key = self._keys[self._basis]
        if key.size == 0:
            raise ProtocolViolation(f"nothing was sifted in basis {BASIS_NAMES[self._basis]}")
        frames = -(-key.size // FRAME_BIT)
        frame_bit = -(-key.size // frames)
        qber = self.ledger.sample_qber[BASIS_NAMES[self._basis]]
        levels = repair_levels(frame_bit) if self._attempts else block_levels(qber, frame_bit)
        subsets = REPAIR_SUBSETS if self._attempts else last_subsets(frames)
        plan = CascadePlan.checked(key_bit=key.size, frames=frames, levels=levels, subsets=subsets, seed=secret_bytes(SEED_BYTE))
        self._forget_corrector()
        self._corrector = CascadeCorrector(plan, key)
        return messages.Reconciliation(self._basis, frames, levels, subsets, plan.seed, self._corrector.questions)

    def _on_parities(self, message: messages.Parities) -> messages.Message:
        corrector = self._corrector
        assert corrector is not None
        self._count_parities(self._basis, corrector.expected)
        corrector.absorb(message.bits)
        if corrector.questions:
            return messages.Query(corrector.questions)
        self._keys[self._basis] = corrector.corrected
        self.state = State.VERIFYING
        return messages.VerificationRequest(self._basis)

    def _forget_corrector(self) -> None:
        if self._corrector is not None:
            self._corrector.wipe()
        self._corrector = None

    def _on_verification(self, message: messages.Verification) -> messages.Message:
        self.ledger.verification_leaked_bit[BASIS_NAMES[self._basis]] += HASH_BIT
        if len(message.hash_key) != 32:
            raise ProtocolViolation("a hash key must have 32 bytes")
        self._attempts += 1
        self.state = State.RECONCILING
        try:
            verify_one_time_tag(message.hash_key, [pack(self._keys[self._basis])], message.hash)
        except AuthenticationFailed:
            if self._attempts == VERIFICATION_ATTEMPTS:
                raise VerificationFailed(f"the keys still differ after {self._attempts} attempts") from None
            return self._reconcile()
        self._attempts = 0
        self._basis += 1
        if self._basis < len(BASIS_NAMES):
            return self._reconcile()
        return self._report_errors()

    def _report_errors(self) -> messages.Message:
        """Both keys are Alice's now: what was corrected is every error there was, exactly."""
        x_errors, z_errors = (
            np.bincount(kinds[before != after], minlength=self.settings.intensities).tolist()
            for kinds, before, after in zip(self._intensities, self._received_keys, self._keys, strict=True)
        )
        errors = tuple(x_errors), tuple(z_errors)
        self._final_lengths = self._lengths(errors)
        self.state = State.AMPLIFYING
        return messages.Errors(errors)

    def _on_amplification(self, message: messages.Amplification) -> messages.Message:
        self._secret = self._amplify(self._final_lengths, message.seeds)
        self._block_id = message.block_id
        self.state = State.CONFIRMING
        bob_key, self._alice_tag_key = self._take_tag_keys()
        return messages.Confirmation(one_time_tag(bob_key, self._transcript))

    def _on_confirmation(self, message: messages.Confirmation) -> None:
        verify_one_time_tag(self._alice_tag_key, self._transcript, message.tag)
        self._finish(self._block_id, self._final_lengths)

    def _destroy(self) -> None:
        super()._destroy()
        for key in self._received_keys:
            key.fill(0)
        self._received_keys.clear()
        self._forget_corrector()
        self._record = None
        self._alice_tag_key = b""

    TRANSITIONS = {
        (State.SIFTING, messages.Sifting): _on_sifting,
        (State.ESTIMATING, messages.Proceed): _on_proceed,
        (State.RECONCILING, messages.Parities): _on_parities,
        (State.VERIFYING, messages.Verification): _on_verification,
        (State.AMPLIFYING, messages.Amplification): _on_amplification,
        (State.CONFIRMING, messages.Confirmation): _on_confirmation,
    }
