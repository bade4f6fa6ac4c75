"""Alice: knows what she sent, tells Bob what the proof needs, answers his questions, draws the seeds."""

from __future__ import annotations

from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from tiandi.bits import pack
from tiandi.distill import messages
from tiandi.distill.authentication import Authentication, Seal
from tiandi.distill.cascade import CascadeAnswerer
from tiandi.distill.cascade_plan import CascadePlan
from tiandi.distill.ldpc import LdpcPlan, LdpcTeller
from tiandi.distill.ledger import CASCADE, LDPC, Way
from tiandi.distill.party import HASH_KEY_BYTE, REPAIRS, Party, Settings, State, bases_wanted, pieces_of, replenishes, unpacked
from tiandi.distill.records import BASIS_NAMES, TransmitterRecord
from tiandi.distill.sifted_key import SiftedKey
from tiandi.distill.sifting import bytes_from, encode_slots, find_slots, matching, ones, pack_words, planes, select, words_from
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
        self._answerers: dict[int, CascadeAnswerer | LdpcTeller] = {}
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
        sent_planes = np.empty((2 + self.settings.intensity_planes, found.size), np.uint64)
        pack_words(record.bases, sent_planes[0])
        pack_words(record.bits, sent_planes[1])
        planes(record.intensities, self.settings.intensity_planes, sent_planes[2:])
        if detected < record.slots.size:
            sent_planes = select(sent_planes, found, record.slots.size)
        matched = matching(sent_planes[0], words_from(message.bases, detected), detected)
        sifted = select(sent_planes, matched, detected)
        count = ones(matched)
        self._sift(sifted[0], sifted[1:], count)
        positions = self._draw_samples()
        self._samples = [key.take_out(chosen) for key, chosen in zip(self._keys, positions, strict=True)]
        self.state = State.ESTIMATING
        x_positions, z_positions = (bytes(encode_slots(chosen)) for chosen in positions)
        x_sample, z_sample = map(pack, self._samples)
        return messages.Sifting(
            matched=bytes_from(matched, detected),
            intensities=tuple([bytes_from(plane, count) for plane in sifted[2:]]),
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

    def _begin_reconciliation(self, basis: int, way: Way) -> SiftedKey:
        """The key that is to be reconciled. Raises ProtocolViolation when Bob begins more often than an honest one would."""
        self._reconciliations[basis] += 1
        if self._reconciliations[basis] > 1 + REPAIRS or self.ledger.reconciliation not in (None, way):
            raise ProtocolViolation("reconciliation is begun too often")
        self.ledger.reconciliation = way
        return self._keys[basis]

    def _on_reconciliation(self, message: messages.Reconciliation) -> messages.Message:
        self._forget_answers()
        for basis, proposal in enumerate(message.proposals):
            if proposal is not None:
                key = self._begin_reconciliation(basis, CASCADE)
                plan = CascadePlan.checked(key_bit=key.size, **msgspec.structs.asdict(proposal))
                self._answerers[basis] = CascadeAnswerer(plan, key.words)
        return self._answer_questions(message.questions)

    def _on_query(self, message: messages.Query) -> messages.Message:
        return self._answer_questions(message.questions)

    def _answer_questions(self, questions: tuple[messages.Questions, messages.Questions]) -> messages.Message:
        if not any(questions):
            raise ProtocolViolation("nothing is asked")
        answers = [b"", b""]
        for basis, of_basis in enumerate(questions):
            answerer = self._answerers.get(basis)
            if of_basis and not isinstance(answerer, CascadeAnswerer):
                raise ProtocolViolation("a parity is asked for before reconciliation has begun")
            if of_basis and isinstance(answerer, CascadeAnswerer):
                told = answerer.told
                answers[basis] = answerer.answer(of_basis)
                self._count_parities(basis, answerer.told - told)
        return messages.Parities((answers[0], answers[1]))

    def _on_syndrome_request(self, message: messages.SyndromeRequest) -> messages.Message:
        self._forget_answers()
        wanted: dict[int, NDArray[np.int64]] = {}
        for basis, proposal in enumerate(message.proposals):
            if proposal is not None:
                key = self._begin_reconciliation(basis, LDPC)
                plan = LdpcPlan.checked(key_bit=key.size, **msgspec.structs.asdict(proposal))
                bits = key.bits
                self._answerers[basis] = LdpcTeller(plan, bits)
                bits.fill(0)
                wanted[basis] = np.arange(plan.frames)
        return self._tell_syndromes(wanted)

    def _on_increment_request(self, message: messages.IncrementRequest) -> messages.Message:
        wanted: dict[int, NDArray[np.int64]] = {}
        for basis, frames in enumerate(message.frames):
            teller = self._answerers.get(basis)
            if frames and isinstance(teller, LdpcTeller):
                self.ledger.bob_told_bit[BASIS_NAMES[basis]] += teller.plan.frames
                wanted[basis] = np.flatnonzero(unpacked(frames, teller.plan.frames))
            elif frames:
                raise ProtocolViolation("more is asked for before reconciliation has begun")
        return self._tell_syndromes(wanted)

    def _tell_syndromes(self, wanted: dict[int, NDArray[np.int64]]) -> messages.Message:
        if not wanted:
            raise ProtocolViolation("nothing is asked")
        told = [b"", b""]
        for basis, frames in wanted.items():
            teller = self._answerers[basis]
            assert isinstance(teller, LdpcTeller)
            before = teller.leaked_bit
            told[basis] = pack(teller.tell(frames))
            self._count_parities(basis, teller.leaked_bit - before)
        return messages.Syndromes((told[0], told[1]))

    def _forget_answers(self) -> None:
        for answerer in self._answerers.values():
            answerer.wipe()
        self._answerers.clear()

    def _on_verification_request(self, message: messages.VerificationRequest) -> messages.Message:
        hash_key = secret_bytes(HASH_KEY_BYTE)
        hashes = [b"", b""]
        for basis in bases_wanted(message.wanted):
            self._verifications[basis] += 1
            if self._verifications[basis] > MOST_VERIFICATIONS:
                raise ProtocolViolation("verification is asked for too often")
            self._count_hashes(basis, 1)
            hashes[basis] = one_time_tag(hash_key, [self._keys[basis].packed])
        return messages.Verification(hash_key, (hashes[0], hashes[1]))

    def _on_piece_hash_request(self, message: messages.PieceHashRequest) -> messages.Message:
        hash_key = secret_bytes(HASH_KEY_BYTE)
        hashes = [b"", b""]
        for basis in bases_wanted(message.wanted):
            if basis in self._located:
                raise ProtocolViolation("hashes of pieces are asked for twice")
            self._located.add(basis)
            pieces = pieces_of(self._keys[basis].bits)
            self._count_hashes(basis, len(pieces))
            hashes[basis] = b"".join([one_time_tag(hash_key, [pack(piece)]) for piece in pieces])
        return messages.PieceHashes(hash_key, (hashes[0], hashes[1]))

    def _on_revelation_request(self, message: messages.RevelationRequest) -> messages.Message:
        told = [b"", b""]
        for basis, wanted in enumerate(message.pieces):
            if not wanted:
                continue
            name, pieces = BASIS_NAMES[basis], pieces_of(self._keys[basis].bits)
            chosen = np.flatnonzero(unpacked(wanted, len(pieces)))
            if not chosen.size or basis not in self._located or self.ledger.revealed_bit[name]:
                raise ProtocolViolation("pieces are asked for that are not due")
            revealed = np.concatenate([pieces[piece] for piece in chosen])
            self.ledger.revealed_bit[name] += revealed.size
            self.ledger.bob_told_bit[name] += len(pieces)
            told[basis] = pack(revealed)
        if not any(told):
            raise ProtocolViolation("no piece is asked for")
        return messages.Revelation((told[0], told[1]))

    def _on_errors(self, message: messages.Errors) -> messages.Message:
        intensities = self.settings.intensities
        if any(len(told) != intensities for told in message.counts):
            raise ProtocolViolation("errors are not told by intensity")
        for told, key in zip(message.counts, self._keys, strict=True):
            if any(not 0 <= errors <= count for errors, count in zip(told, key.counts(intensities)[:-1], strict=True)):
                raise ProtocolViolation("more errors are told of than there are bits")
        if not replenishes(message.replenish_bit, self.settings):
            raise ProtocolViolation("the authentication pool is to be given another share than was agreed on")
        self._final_lengths = self._lengths(message.counts)
        self._replenish_with(message.replenish_bit, self._final_lengths)
        # Drawn only now: nobody could have prepared the light, or any earlier message, for this hash.
        x_bit, z_bit = self._seed_bits(self._final_lengths)
        seeds = secret_bytes(byte_from_bit(x_bit)), secret_bytes(byte_from_bit(z_bit))
        self._block_id = UUID(bytes=secret_bytes(16), version=4)
        self._secret = self._amplify(self._final_lengths, seeds)
        self.state = State.CONFIRMING
        return messages.Amplification(self._block_id, seeds)

    def _on_confirmation(self, message: messages.Confirmation) -> messages.Message:
        self._authentication.open(self._transcript, Seal(message.segment, message.start, message.tag))
        tag = self._authentication.answer(self._tags[0])
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
