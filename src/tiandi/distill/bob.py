"""Bob: announces what he detected, corrects his key towards Alice's, counts his errors."""

from __future__ import annotations

import numpy as np

from tiandi.bits import BitArray, pack
from tiandi.distill import messages
from tiandi.distill.authentication import Authentication
from tiandi.distill.cascade import CascadeCorrector
from tiandi.distill.cascade_plan import FRAME_BIT, REPAIR_SUBSETS, SEED_BYTE, CascadePlan, block_levels, last_subsets, repair_levels
from tiandi.distill.ldpc import LdpcCorrector, LdpcPlan
from tiandi.distill.ledger import CASCADE
from tiandi.distill.party import HASH_BYTE, HASH_KEY_BYTE, REPAIRS, Party, Settings, State, pieces_of, unpacked
from tiandi.distill.reconciliation import choose_reconciliation
from tiandi.distill.records import BASIS_NAMES, ReceiverRecord
from tiandi.distill.sifting import decode_slots, encode_slots, ones, pack_words, select
from tiandi.errors import (
    AuthenticationFailed,
    DistillationAborted,
    KeysExhausted,
    ProtocolViolation,
    QberTooHigh,
    VerificationFailed,
)
from tiandi.random import secret_bytes
from tiandi.tags import verify_one_time_tag

NONCE_BYTE = 16
"""A block that says the same as another one never has the same transcript."""


class Bob(Party):
    """The receiver's end. It speaks first: `start`."""

    def __init__(self, record: ReceiverRecord, settings: Settings, authentication: Authentication) -> None:
        super().__init__(record.slots.size, settings, authentication)
        self._record: ReceiverRecord | None = record
        self._corrector: CascadeCorrector | None = None
        self._decoder: LdpcCorrector | None = None
        self._basis = 0
        self._repairs = 0
        self._located = False
        self._wrong_pieces: list[int] = []
        self._received_keys: list[BitArray] = []

    def start(self) -> bytes | None:
        """The first message; an abort when the authentication pool cannot pay for this block."""
        record = self._record
        assert record is not None
        try:
            self._authentication.require()
        except KeysExhausted as error:
            return self._abort(DistillationAborted(str(error)))
        self.ledger.detected = record.slots.size
        self.state = State.SIFTING
        return self._say(messages.Announcement(secret_bytes(NONCE_BYTE), encode_slots(record.slots), pack(record.bases)))

    def _on_sifting(self, message: messages.Sifting) -> messages.Message:
        record = self._record
        assert record is not None
        matched = pack_words(unpacked(message.matched, record.slots.size))
        count = ones(matched)
        if len(message.intensities) != self.settings.intensity_planes:
            raise ProtocolViolation("intensities do not fit the settings")
        bases, bits = select(np.stack([pack_words(record.bases), pack_words(record.bits)]), matched, record.slots.size)
        self._sift(bases, np.stack([bits, *[pack_words(unpacked(plane, count)) for plane in message.intensities]]), count)
        positions = [decode_slots(sampled, most=key.size) for sampled, key in zip(message.sampled, self._keys, strict=True)]
        if any(chosen.size and chosen[-1] >= key.size for chosen, key in zip(positions, self._keys, strict=True)):
            raise ProtocolViolation("a sample is told of bits that do not exist")
        samples = [key.take_out(chosen) for key, chosen in zip(self._keys, positions, strict=True)]
        self._received_keys = [key.bits.copy() for key in self._keys]
        x_sample, z_sample = map(pack, samples)
        reply = messages.Estimate((x_sample, z_sample))
        others = [unpacked(told, sample.size) for told, sample in zip(message.sample_bits, samples, strict=True)]
        try:
            self._judge_samples(samples, others)
        except QberTooHigh as error:
            # Alice is told the sample all the same, so that she sees the eavesdropper with her own eyes.
            self._abort(error)
            return reply
        self.state = State.ESTIMATING
        return reply

    def _on_proceed(self, message: messages.Proceed) -> messages.Message:
        return self._reconcile()

    def _reconcile(self) -> messages.Message:
        """Begin with the key of the present basis, or search it again for what was missed."""
        bits, name = self._keys[self._basis].bits, BASIS_NAMES[self._basis]
        if bits.size == 0:
            raise ProtocolViolation(f"nothing was sifted in basis {name}")
        qber, settings = self.ledger.sample_qber[name], self.settings
        way = choose_reconciliation(bits.size, qber, round_trip_s=settings.round_trip_s, patience_s=settings.patience_s)
        way = self.ledger.reconciliation.setdefault(name, way)
        self.state = State.RECONCILING
        if way == CASCADE:
            return self._begin_cascade(bits, qber)
        plan = LdpcPlan.for_key(bits.size, qber)
        self._decoder = LdpcCorrector(plan, bits)
        return messages.SyndromeRequest(self._basis, plan.frames, plan.rows, plan.circulant, plan.seed)

    def _begin_cascade(self, bits: BitArray, qber: float) -> messages.Message:
        frames = -(-bits.size // FRAME_BIT)
        frame_bit = -(-bits.size // frames)
        levels = repair_levels(frame_bit) if self._repairs else block_levels(qber, frame_bit)
        subsets = REPAIR_SUBSETS if self._repairs else last_subsets(frames)
        plan = CascadePlan.checked(key_bit=bits.size, frames=frames, levels=levels, subsets=subsets, seed=secret_bytes(SEED_BYTE))
        self._corrector = CascadeCorrector(plan, bits)
        return messages.Reconciliation(self._basis, frames, levels, subsets, plan.seed, self._corrector.questions)

    def _on_parities(self, message: messages.Parities) -> messages.Message:
        corrector = self._corrector
        if corrector is None:
            raise ProtocolViolation("parities are told that nobody asked for")
        self._count_parities(self._basis, corrector.expected)
        corrector.absorb(message.bits)
        if corrector.questions:
            return messages.Query(corrector.questions)
        return self._corrected(corrector.corrected)

    def _on_syndromes(self, message: messages.Syndromes) -> messages.Message:
        decoder = self._decoder
        if decoder is None:
            raise ProtocolViolation("syndromes are told that nobody asked for")
        before = decoder.leaked_bit
        decoder.absorb(unpacked(message.bits, decoder.expected_bit))
        self._count_parities(self._basis, decoder.leaked_bit - before)
        if decoder.query is None:
            return self._corrected(decoder.corrected)
        frames = np.zeros(decoder.plan.frames, np.uint8)
        frames[decoder.query] = 1
        self.ledger.bob_told_bit[BASIS_NAMES[self._basis]] += frames.size
        return messages.IncrementRequest(pack(frames))

    def _corrected(self, bits: BitArray) -> messages.Message:
        self._keys[self._basis].bits[:] = bits
        bits.fill(0)
        self._forget_corrections()
        return self._verify()

    def _verify(self) -> messages.Message:
        self.state = State.VERIFYING
        return messages.VerificationRequest(self._basis)

    def _forget_corrections(self) -> None:
        for correcting in (self._corrector, self._decoder):
            if correcting is not None:
                correcting.wipe()
        self._corrector = self._decoder = None

    def _on_verification(self, message: messages.Verification) -> messages.Message:
        self._count_hashes(self._basis, 1)
        if not self._agrees(message.hash_key, self._keys[self._basis].bits, message.hash):
            return self._look_again()
        self._repairs, self._located = 0, False
        self._basis += 1
        return self._reconcile() if self._basis < len(BASIS_NAMES) else self._report_errors()

    def _look_again(self) -> messages.Message:
        """A key that differs is searched once more if it was Cascade's; then what differs is revealed."""
        if self._located:
            raise VerificationFailed("the keys still differ after all that differed was revealed")
        if self.ledger.reconciliation[BASIS_NAMES[self._basis]] == CASCADE and self._repairs < REPAIRS:
            self._repairs += 1
            return self._reconcile()
        self._located = True
        self.state = State.LOCATING
        return messages.PieceHashRequest(self._basis)

    def _on_piece_hashes(self, message: messages.PieceHashes) -> messages.Message:
        pieces = pieces_of(self._keys[self._basis].bits)
        if len(message.hashes) != len(pieces) * HASH_BYTE:
            raise ProtocolViolation("there must be one hash a piece")
        self._count_hashes(self._basis, len(pieces))
        hashes = [message.hashes[at : at + HASH_BYTE] for at in range(0, len(message.hashes), HASH_BYTE)]
        wrong = [not self._agrees(message.hash_key, piece, told) for piece, told in zip(pieces, hashes, strict=True)]
        self._wrong_pieces = np.flatnonzero(wrong).tolist()
        if not self._wrong_pieces:
            raise VerificationFailed("the keys differ, and none of their pieces does")
        self.ledger.bob_told_bit[BASIS_NAMES[self._basis]] += len(pieces)
        self.state = State.REVEALING
        return messages.RevelationRequest(self._basis, pack(np.array(wrong, np.uint8)))

    def _on_revelation(self, message: messages.Revelation) -> messages.Message:
        wrong = [pieces_of(self._keys[self._basis].bits)[piece] for piece in self._wrong_pieces]
        revealed = unpacked(message.bits, sum(piece.size for piece in wrong))
        self.ledger.revealed_bit[BASIS_NAMES[self._basis]] += revealed.size
        for piece, bits in zip(wrong, np.split(revealed, np.cumsum([piece.size for piece in wrong])[:-1]), strict=True):
            piece[:] = bits
        return self._verify()

    @staticmethod
    def _agrees(hash_key: bytes, bits: BitArray, told: bytes) -> bool:
        if len(hash_key) != HASH_KEY_BYTE:
            raise ProtocolViolation(f"a hash key must have {HASH_KEY_BYTE} bytes")
        try:
            verify_one_time_tag(hash_key, [pack(bits)], told)
        except AuthenticationFailed:
            return False
        return True

    def _report_errors(self) -> messages.Message:
        """Both keys are Alice's now: what was corrected is every error there was, exactly."""
        x_errors, z_errors = (
            key.error_counts(before, self.settings.intensities) for key, before in zip(self._keys, self._received_keys, strict=True)
        )
        errors = tuple(x_errors), tuple(z_errors)
        self._replenish_bit = 0 if self._authentication.full else self.settings.replenish_bit
        self._final_lengths = self._lengths(errors)
        self.state = State.AMPLIFYING
        return messages.Errors(errors, self._replenish_bit)

    def _on_amplification(self, message: messages.Amplification) -> messages.Message:
        self._secret = self._amplify(self._final_lengths, message.seeds)
        self._block_id = message.block_id
        self.state = State.CONFIRMING
        seal = self._authentication.seal(self._transcript)
        return messages.Confirmation(seal.segment, seal.start, seal.tag)

    def _on_acknowledgement(self, message: messages.Acknowledgement) -> None:
        self._authentication.open_answer(self._transcript, message.tag)
        self._finish(self._block_id, self._final_lengths)

    def _destroy(self) -> None:
        super()._destroy()
        for key in self._received_keys:
            key.fill(0)
        self._received_keys.clear()
        self._forget_corrections()
        self._record = None

    TRANSITIONS = {
        (State.SIFTING, messages.Sifting): _on_sifting,
        (State.ESTIMATING, messages.Proceed): _on_proceed,
        (State.RECONCILING, messages.Parities): _on_parities,
        (State.RECONCILING, messages.Syndromes): _on_syndromes,
        (State.VERIFYING, messages.Verification): _on_verification,
        (State.LOCATING, messages.PieceHashes): _on_piece_hashes,
        (State.REVEALING, messages.Revelation): _on_revelation,
        (State.AMPLIFYING, messages.Amplification): _on_amplification,
        (State.CONFIRMING, messages.Acknowledgement): _on_acknowledgement,
    }
