"""Bob: announces what he detected, corrects his key towards Alice's, counts his errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tiandi.bits import pack
from tiandi.distill import messages
from tiandi.distill.authentication import BLOCK_KEY_BIT, Authentication
from tiandi.distill.cascade import CascadeCorrector
from tiandi.distill.cascade_plan import FRAME_BIT, REPAIR_SUBSETS, SEED_BYTE, CascadePlan, block_levels, last_subsets, repair_levels
from tiandi.distill.ldpc import LdpcCorrector, LdpcPlan
from tiandi.distill.ledger import CASCADE, LDPC
from tiandi.distill.party import HASH_BYTE, HASH_KEY_BYTE, REPAIRS, Party, Settings, State, pieces_of, unpacked
from tiandi.distill.reconciliation import choose_reconciliation
from tiandi.distill.records import BASIS_NAMES, ReceiverRecord
from tiandi.distill.sifting import Words, bytes_from, decode_slots, encode_slots, ones, pack_words, select, words_from
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
        self._bases: Words = np.empty(0, np.uint64)
        self._correctors: dict[int, CascadeCorrector] = {}
        self._decoders: dict[int, LdpcCorrector] = {}
        self._repairs = [0] * len(BASIS_NAMES)
        self._verified: set[int] = set()
        self._located: set[int] = set()
        self._wrong_pieces: dict[int, list[int]] = {}
        self._received_keys: list[Words] = []

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
        self._bases = pack_words(record.bases)
        bases = bytes_from(self._bases, record.slots.size)
        return self._say(messages.Announcement(secret_bytes(NONCE_BYTE), encode_slots(record.slots), bases))

    def _on_sifting(self, message: messages.Sifting) -> messages.Message:
        record = self._record
        assert record is not None
        matched = words_from(message.matched, record.slots.size)
        count = ones(matched)
        if len(message.intensities) != self.settings.intensity_planes:
            raise ProtocolViolation("intensities do not fit the settings")
        columns = np.empty((2, self._bases.size), np.uint64)
        columns[0] = self._bases
        pack_words(record.bits, columns[1])
        bases, bits = select(columns, matched, record.slots.size)
        self._sift(bases, np.stack([bits, *[words_from(plane, count) for plane in message.intensities]]), count)
        positions = [decode_slots(sampled, most=key.size) for sampled, key in zip(message.sampled, self._keys, strict=True)]
        if any(chosen.size and chosen[-1] >= key.size for chosen, key in zip(positions, self._keys, strict=True)):
            raise ProtocolViolation("a sample is told of bits that do not exist")
        samples = [key.take_out(chosen) for key, chosen in zip(self._keys, positions, strict=True)]
        self._received_keys = [key.words.copy() for key in self._keys]
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
        keys_bit = [key.size for key in self._keys]
        if not all(keys_bit):
            raise ProtocolViolation("nothing was sifted in one of the bases")
        settings, worst = self.settings, max(self.ledger.sample_qber.values())
        self.ledger.reconciliation = choose_reconciliation(
            keys_bit, worst, round_trip_s=settings.round_trip_s, patience_s=settings.patience_s
        )
        return self._reconcile((0, 1))

    def _reconcile(self, bases: Sequence[int]) -> messages.Message:
        """Begin with the keys of these bases, or search them again for what was missed."""
        self.state = State.RECONCILING
        proposals = [self._propose(basis) if basis in bases else None for basis in range(len(BASIS_NAMES))]
        match proposals:
            case (messages.LdpcProposal() | None as first, messages.LdpcProposal() | None as second):
                return messages.SyndromeRequest((first, second))
            case (messages.CascadeProposal() | None as first, messages.CascadeProposal() | None as second):
                return messages.Reconciliation((first, second), self._questions())
        raise AssertionError("both bases are reconciled in one way")

    def _propose(self, basis: int) -> messages.CascadeProposal | messages.LdpcProposal:
        key, qber = self._keys[basis], self.ledger.sample_qber[BASIS_NAMES[basis]]
        if self.ledger.reconciliation == LDPC:
            code, bits = LdpcPlan.for_key(key.size, qber), key.bits
            self._decoders[basis] = LdpcCorrector(code, bits)
            bits.fill(0)
            return messages.LdpcProposal(code.frames, code.rows, code.circulant, code.seed)
        frames = -(-key.size // FRAME_BIT)
        frame_bit = -(-key.size // frames)
        repairs = self._repairs[basis]
        levels = repair_levels(frame_bit) if repairs else block_levels(qber, frame_bit)
        subsets = REPAIR_SUBSETS if repairs else last_subsets(frames)
        plan = CascadePlan.checked(key_bit=key.size, frames=frames, levels=levels, subsets=subsets, seed=secret_bytes(SEED_BYTE))
        self._correctors[basis] = CascadeCorrector(plan, key.words)
        return messages.CascadeProposal(frames, levels, subsets, plan.seed)

    def _questions(self) -> tuple[messages.Questions, messages.Questions]:
        """What each corrector asks next; nothing of a basis that is done."""
        x_questions, z_questions = (
            self._correctors[basis].questions if basis in self._correctors else () for basis in range(len(BASIS_NAMES))
        )
        return x_questions, z_questions

    def _on_parities(self, message: messages.Parities) -> messages.Message:
        for basis, (asked, bits) in enumerate(zip(self._questions(), message.bits, strict=True)):
            if asked:
                self._count_parities(basis, self._correctors[basis].expected)
                self._correctors[basis].absorb(bits)
            elif bits:
                raise ProtocolViolation("parities are told that nobody asked for")
        questions = self._questions()
        if any(questions):
            return messages.Query(questions)
        for basis, corrector in self._correctors.items():
            self._keys[basis].become(corrector.corrected_words)
        return self._verify_corrected(self._correctors)

    def _on_syndromes(self, message: messages.Syndromes) -> messages.Message:
        wanted = [b"", b""]
        for basis, bits in enumerate(message.bits):
            decoder = self._decoders.get(basis)
            if decoder is None or decoder.query is None:
                if bits:
                    raise ProtocolViolation("syndromes are told that nobody asked for")
                continue
            before = decoder.leaked_bit
            decoder.absorb(unpacked(bits, decoder.expected_bit))
            self._count_parities(basis, decoder.leaked_bit - before)
            if decoder.query is not None:
                frames = np.zeros(decoder.plan.frames, np.uint8)
                frames[decoder.query] = 1
                self.ledger.bob_told_bit[BASIS_NAMES[basis]] += frames.size
                wanted[basis] = pack(frames)
        if any(wanted):
            return messages.IncrementRequest((wanted[0], wanted[1]))
        for basis, decoder in self._decoders.items():
            self._keys[basis].become_bits(decoder.corrected)
        return self._verify_corrected(self._decoders)

    def _verify_corrected(self, bases: Iterable[int]) -> messages.Message:
        corrected = set(bases)
        self._forget_corrections()
        return self._verify(corrected)

    def _verify(self, bases: Iterable[int]) -> messages.Message:
        self.state = State.VERIFYING
        self._verified = set(bases)
        return messages.VerificationRequest((0 in self._verified, 1 in self._verified))

    def _forget_corrections(self) -> None:
        for corrector in self._correctors.values():
            corrector.wipe()
        for decoder in self._decoders.values():
            decoder.wipe()
        self._correctors.clear()
        self._decoders.clear()

    def _on_verification(self, message: messages.Verification) -> messages.Message:
        wrong = []
        for basis in sorted(self._verified):
            self._count_hashes(basis, 1)
            if not self._agrees(message.hash_key, self._keys[basis].packed, message.hashes[basis]):
                wrong.append(basis)
        return self._look_again(wrong) if wrong else self._report_errors()

    def _look_again(self, bases: list[int]) -> messages.Message:
        """Keys that differ are searched once more if Cascade was at work; then what differs is revealed."""
        if self._located & set(bases):
            raise VerificationFailed("the keys still differ after all that differed was revealed")
        if self.ledger.reconciliation == CASCADE and all(self._repairs[basis] < REPAIRS for basis in bases):
            for basis in bases:
                self._repairs[basis] += 1
            return self._reconcile(bases)
        self._located |= set(bases)
        self.state = State.LOCATING
        return messages.PieceHashRequest((0 in bases, 1 in bases))

    def _on_piece_hashes(self, message: messages.PieceHashes) -> messages.Message:
        self._wrong_pieces = {}
        wanted = [b"", b""]
        for basis in sorted(self._located & self._verified):
            pieces, told = pieces_of(self._keys[basis].bits), message.hashes[basis]
            if len(told) != len(pieces) * HASH_BYTE:
                raise ProtocolViolation("there must be one hash a piece")
            self._count_hashes(basis, len(pieces))
            hashes = [told[at : at + HASH_BYTE] for at in range(0, len(told), HASH_BYTE)]
            wrong = [not self._agrees(message.hash_key, pack(piece), each) for piece, each in zip(pieces, hashes, strict=True)]
            if not any(wrong):
                raise VerificationFailed("the keys differ, and none of their pieces does")
            self.ledger.bob_told_bit[BASIS_NAMES[basis]] += len(pieces)
            self._wrong_pieces[basis] = np.flatnonzero(wrong).tolist()
            wanted[basis] = pack(np.array(wrong, np.uint8))
        self.state = State.REVEALING
        return messages.RevelationRequest((wanted[0], wanted[1]))

    def _on_revelation(self, message: messages.Revelation) -> messages.Message:
        for basis, numbers in self._wrong_pieces.items():
            bits = self._keys[basis].bits
            pieces = pieces_of(bits)
            ends = np.cumsum([pieces[number].size for number in numbers])
            revealed = unpacked(message.bits[basis], int(ends[-1]))
            self.ledger.revealed_bit[BASIS_NAMES[basis]] += revealed.size
            for number, piece in zip(numbers, np.split(revealed, ends[:-1]), strict=True):
                pieces[number][:] = piece
            self._keys[basis].become_bits(bits)
        return self._verify(self._wrong_pieces)

    @staticmethod
    def _agrees(hash_key: bytes, packed: bytes, told: bytes) -> bool:
        if len(hash_key) != HASH_KEY_BYTE:
            raise ProtocolViolation(f"a hash key must have {HASH_KEY_BYTE} bytes")
        try:
            verify_one_time_tag(hash_key, [packed], told)
        except AuthenticationFailed:
            return False
        return True

    def _report_errors(self) -> messages.Message:
        """Both keys are Alice's now: what was corrected is every error there was, exactly."""
        x_errors, z_errors = (
            key.error_counts(before, self.settings.intensities) for key, before in zip(self._keys, self._received_keys, strict=True)
        )
        errors = tuple(x_errors), tuple(z_errors)
        self._final_lengths = self._lengths(errors)
        least, most = self.settings.replenish_limits_bit
        quarter = sum(self._final_lengths) // 4 // BLOCK_KEY_BIT * BLOCK_KEY_BIT
        self._replenish_with(0 if self._authentication.full else min(max(least, quarter), most), self._final_lengths)
        self.state = State.AMPLIFYING
        return messages.Errors(errors, self._replenish_bit)

    def _on_amplification(self, message: messages.Amplification) -> messages.Message:
        self._secret = self._amplify(self._final_lengths, message.seeds)
        self._block_id = message.block_id
        self.state = State.CONFIRMING
        seal = self._authentication.seal(self._transcript)
        return messages.Confirmation(seal.segment, seal.start, seal.tag)

    def _on_acknowledgement(self, message: messages.Acknowledgement) -> None:
        self._authentication.open_answer(self._tags[0], message.tag)
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
