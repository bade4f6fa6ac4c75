"""Alice: knows what she sent, tells Bob what the proof needs, answers his questions, draws the seeds."""

from __future__ import annotations

from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tiandi.bits import BitArray, pack
from tiandi.distill import messages
from tiandi.distill.authentication import Authentication, Seal
from tiandi.distill.cascade import CascadeAnswerer
from tiandi.distill.cascade_plan import CascadePlan, Question
from tiandi.distill.ldpc import LdpcPlan, LdpcTeller
from tiandi.distill.ledger import CASCADE, LDPC, Way
from tiandi.distill.party import HASH_KEY_BYTE, REPAIRS, Party, Settings, State, pieces_of, unpacked
from tiandi.distill.records import BASIS_NAMES, TransmitterRecord
from tiandi.distill.sifting import encode_slots, find_slots, matching, ones, pack_words, planes, select, unpack_words
from tiandi.errors import ProtocolViolation, TooFewDetections
from tiandi.random import secret_bytes, unpredictable_choice
from tiandi.tags import one_time_tag
from tiandi.units import byte_from_bit

MOST_VERIFICATIONS = REPAIRS + 2
"""After reconciliation, after each repair, and after revelation."""


class Alice(Party):
    """The transmitter's end. It waits for Bob's announcement."""

    def __init__(self, record: TransmitterRecord, settings: Settings, authentication: Authentication) -> None:
        super().__init__(record.slots.size, settings, authentication)
        self._record: TransmitterRecord | None = record
        self._answerer: CascadeAnswerer | None = None
        self._teller: LdpcTeller | None = None
        self._answering_basis = 0
        self._reconciliations = [0] * len(BASIS_NAMES)
        self._verifications = [0] * len(BASIS_NAMES)
        self._located: set[int] = set()

    def _on_announcement(self, message: messages.Announcement) -> messages.Message:
        record = self._record
        assert record is not None
        self._authentication.require()
        found = find_slots(message.slots, record.slots)
        detected = ones(found)
        if not detected:
            raise TooFewDetections(0, self.settings.sample_limits_bit[0])
        self.ledger.detected = detected
        digits = planes(record.intensities, self.settings.intensity_planes)
        sent_planes = np.stack([pack_words(record.bases), pack_words(record.bits), *digits])
        if detected < record.slots.size:
            sent_planes = select(sent_planes, found, record.slots.size)
        matched = matching(sent_planes[0], pack_words(unpacked(message.bases, detected)), detected)
        bases, *columns = select(sent_planes, matched, detected)
        count = ones(matched)
        self._sift(bases, np.stack(columns), count)
        positions = self._draw_samples()
        self._samples = [key.take_out(chosen) for key, chosen in zip(self._keys, positions, strict=True)]
        self.state = State.ESTIMATING
        x_positions, z_positions = map(encode_slots, positions)
        x_sample, z_sample = map(pack, self._samples)
        return messages.Sifting(
            matched=pack(unpack_words(matched, detected)),
            intensities=tuple([pack(unpack_words(plane, count)) for plane in columns[1:]]),
            sampled=(x_positions, z_positions),
            sample_bits=(x_sample, z_sample),
        )

    def _draw_samples(self) -> list[NDArray[np.int64]]:
        """Rising positions of the bits of each basis that are told to learn the error rate. They are public, and make no key."""
        least, most = self.settings.sample_limits_bit
        shortest = min(key.size for key in self._keys)
        if shortest < 2 * least:
            raise TooFewDetections(shortest, 2 * least)
        sizes = [min(max(round(self.settings.sample_fraction * key.size), least), most) for key in self._keys]
        return [unpredictable_choice(key.size, size) for key, size in zip(self._keys, sizes, strict=True)]

    def _on_estimate(self, message: messages.Estimate) -> messages.Message:
        others = [unpacked(told, sample.size) for told, sample in zip(message.sample_bits, self._samples, strict=True)]
        self._judge_samples(self._samples, others)
        self.state = State.RECONCILING
        return messages.Proceed()

    def _begin_reconciliation(self, basis: int, way: Way) -> BitArray:
        """The key that is to be reconciled. Raises ProtocolViolation when Bob begins more often than an honest one would."""
        key = self._key(basis)
        self._reconciliations[basis] += 1
        if self._reconciliations[basis] > 1 + REPAIRS or self.ledger.reconciliation.setdefault(BASIS_NAMES[basis], way) != way:
            raise ProtocolViolation("reconciliation is begun too often")
        self._forget_answers()
        self._answering_basis = basis
        return key.bits

    def _on_reconciliation(self, message: messages.Reconciliation) -> messages.Message:
        bits = self._begin_reconciliation(message.basis, CASCADE)
        plan = CascadePlan.checked(
            key_bit=bits.size, frames=message.frames, levels=message.levels, subsets=message.subsets, seed=message.seed
        )
        self._answerer = CascadeAnswerer(plan, bits)
        return self._answer_questions(message.questions)

    def _on_query(self, message: messages.Query) -> messages.Message:
        return self._answer_questions(message.questions)

    def _answer_questions(self, questions: tuple[Question, ...]) -> messages.Message:
        if self._answerer is None:
            raise ProtocolViolation("a parity is asked for before reconciliation has begun")
        told = self._answerer.told
        answer = self._answerer.answer(questions)
        self._count_parities(self._answering_basis, self._answerer.told - told)
        return messages.Parities(answer)

    def _on_syndrome_request(self, message: messages.SyndromeRequest) -> messages.Message:
        bits = self._begin_reconciliation(message.basis, LDPC)
        plan = LdpcPlan.checked(key_bit=bits.size, frames=message.frames, rows=message.rows, circulant=message.circulant, seed=message.seed)
        self._teller = LdpcTeller(plan, bits)
        return self._tell_syndromes(np.arange(plan.frames))

    def _on_increment_request(self, message: messages.IncrementRequest) -> messages.Message:
        if self._teller is None:
            raise ProtocolViolation("more is asked for before reconciliation has begun")
        frames = self._teller.plan.frames
        self.ledger.bob_told_bit[BASIS_NAMES[self._answering_basis]] += frames
        return self._tell_syndromes(np.flatnonzero(unpacked(message.frames, frames)))

    def _tell_syndromes(self, frames: NDArray[np.int64]) -> messages.Message:
        assert self._teller is not None
        before = self._teller.leaked_bit
        told = self._teller.tell(frames)
        self._count_parities(self._answering_basis, self._teller.leaked_bit - before)
        return messages.Syndromes(pack(told))

    def _forget_answers(self) -> None:
        for answering in (self._answerer, self._teller):
            if answering is not None:
                answering.wipe()
        self._answerer = self._teller = None

    def _on_verification_request(self, message: messages.VerificationRequest) -> messages.Message:
        key = self._key(message.basis)
        self._verifications[message.basis] += 1
        if self._verifications[message.basis] > MOST_VERIFICATIONS:
            raise ProtocolViolation("verification is asked for too often")
        self._count_hashes(message.basis, 1)
        hash_key = secret_bytes(HASH_KEY_BYTE)
        return messages.Verification(hash_key, one_time_tag(hash_key, [pack(key.bits)]))

    def _on_piece_hash_request(self, message: messages.PieceHashRequest) -> messages.Message:
        key = self._key(message.basis)
        if message.basis in self._located:
            raise ProtocolViolation("hashes of pieces are asked for twice")
        self._located.add(message.basis)
        pieces = pieces_of(key.bits)
        self._count_hashes(message.basis, len(pieces))
        hash_key = secret_bytes(HASH_KEY_BYTE)
        return messages.PieceHashes(hash_key, b"".join([one_time_tag(hash_key, [pack(piece)]) for piece in pieces]))

    def _on_revelation_request(self, message: messages.RevelationRequest) -> messages.Message:
        pieces = pieces_of(self._key(message.basis).bits)
        name = BASIS_NAMES[message.basis]
        wanted = np.flatnonzero(unpacked(message.pieces, len(pieces)))
        if not wanted.size or message.basis not in self._located or self.ledger.revealed_bit[name]:
            raise ProtocolViolation("pieces are asked for that are not due")
        revealed = np.concatenate([pieces[piece] for piece in wanted])
        self.ledger.revealed_bit[name] += revealed.size
        self.ledger.bob_told_bit[name] += len(pieces)
        return messages.Revelation(pack(revealed))

    def _on_errors(self, message: messages.Errors) -> messages.Message:
        intensities = self.settings.intensities
        if any(len(told) != intensities for told in message.counts):
            raise ProtocolViolation("errors are not told by intensity")
        for told, key in zip(message.counts, self._keys, strict=True):
            if any(not 0 <= errors <= count for errors, count in zip(told, key.counts(intensities)[:-1], strict=True)):
                raise ProtocolViolation("more errors are told of than there are bits")
        if message.replenish_bit not in (0, self.settings.replenish_bit):
            raise ProtocolViolation("the authentication pool is to be given another share than was agreed on")
        self._replenish_bit = message.replenish_bit
        self._final_lengths = self._lengths(message.counts)
        # Drawn only now: nobody could have prepared the light, or any earlier message, for this hash.
        x_bit, z_bit = self._seed_bits(self._final_lengths)
        seeds = secret_bytes(byte_from_bit(x_bit)), secret_bytes(byte_from_bit(z_bit))
        self._block_id = UUID(bytes=secret_bytes(16), version=4)
        self._secret = self._amplify(self._final_lengths, seeds)
        self.state = State.CONFIRMING
        return messages.Amplification(self._block_id, seeds)

    def _on_confirmation(self, message: messages.Confirmation) -> messages.Message:
        self._authentication.open(self._transcript, Seal(message.segment, message.start, message.tag))
        tag = self._authentication.answer(self._transcript)
        self._finish(self._block_id, self._final_lengths)
        return messages.Acknowledgement(tag)

    def _destroy(self) -> None:
        super()._destroy()
        self._forget_answers()
        self._record = None

    TRANSITIONS = {
        (State.IDLE, messages.Announcement): _on_announcement,
        (State.ESTIMATING, messages.Estimate): _on_estimate,
        (State.RECONCILING, messages.Reconciliation): _on_reconciliation,
        (State.RECONCILING, messages.Query): _on_query,
        (State.RECONCILING, messages.SyndromeRequest): _on_syndrome_request,
        (State.RECONCILING, messages.IncrementRequest): _on_increment_request,
        (State.RECONCILING, messages.VerificationRequest): _on_verification_request,
        (State.RECONCILING, messages.PieceHashRequest): _on_piece_hash_request,
        (State.RECONCILING, messages.RevelationRequest): _on_revelation_request,
        (State.RECONCILING, messages.Errors): _on_errors,
        (State.CONFIRMING, messages.Confirmation): _on_confirmation,
    }
