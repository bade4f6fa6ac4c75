"""Audit: the report of a block, recomputed from what was said.

Counts of parities come from replaying Bob's questions against a key of zeros: how many a question asks for does not depend on the key. What
only the keys could show (that both are equal, that a tag was right) cannot be audited; the tags did that. An audit shows that a report
follows from its transcript; whoever writes both anew has written another block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tiandi.bits import BitArray
from tiandi.distill import messages
from tiandi.distill.amplification import toeplitz_seed_bit
from tiandi.distill.authentication import BLOCK_KEY_BIT
from tiandi.distill.cascade import CascadeAnswerer
from tiandi.distill.cascade_plan import CascadePlan
from tiandi.distill.ldpc import LdpcPlan, LdpcTeller
from tiandi.distill.ledger import CASCADE, LDPC, BasisCounts, Ledger, Way
from tiandi.distill.party import BOB_SILENCE_BIT, HASH_BIT, HASH_BYTE, LENGTH_BYTE, PIECE_BIT, bases_wanted, replenishes, unpacked
from tiandi.distill.records import BASIS_NAMES
from tiandi.distill.sifting import decode_slots
from tiandi.errors import ProtocolViolation
from tiandi.hosts.transcript import Transcript
from tiandi.quantum.agreement import Agreement
from tiandi.tags import forgery_probability
from tiandi.units import BIT_PER_BYTE, byte_from_bit

Value = int | float | str

_FOLLOWS: dict[type[messages.Message] | None, tuple[type[messages.Message], ...]] = {
    None: (messages.Announcement,),
    messages.Announcement: (messages.Sifting,),
    messages.Sifting: (messages.Estimate,),
    messages.Estimate: (messages.Proceed,),
    messages.Proceed: (messages.Reconciliation, messages.SyndromeRequest),
    messages.Reconciliation: (messages.Parities,),
    messages.Query: (messages.Parities,),
    messages.Parities: (messages.Query, messages.VerificationRequest),
    messages.SyndromeRequest: (messages.Syndromes,),
    messages.IncrementRequest: (messages.Syndromes,),
    messages.Syndromes: (messages.IncrementRequest, messages.VerificationRequest),
    messages.VerificationRequest: (messages.Verification,),
    messages.Verification: (messages.Reconciliation, messages.PieceHashRequest, messages.Errors),
    messages.PieceHashRequest: (messages.PieceHashes,),
    messages.PieceHashes: (messages.RevelationRequest,),
    messages.RevelationRequest: (messages.Revelation,),
    messages.Revelation: (messages.VerificationRequest,),
    messages.Errors: (messages.Amplification,),
    messages.Amplification: (messages.Confirmation,),
    messages.Confirmation: (messages.Acknowledgement,),
}
"""What an honest peer may answer to each message."""


class Figure(NamedTuple):
    """A figure of a report, and what the transcript says it must be."""

    name: str
    reported: Value
    recomputed: Value

    @property
    def agrees(self) -> bool:
        return self.reported == self.recomputed


def audit(transcript: Transcript) -> list[Figure]:
    """Every figure of the report that follows from what was said, beside what follows.

    Raises ProtocolViolation when what was said is no talk that two honest ends could have had.
    """
    listener = _Listener(transcript)
    for number, data in enumerate(transcript.said[1:], 1):
        listener.hear(number, data)
    listener.end(aborted=not transcript.key_bit)
    reported, recomputed = (_flat(msgspec.to_builtins(ledger)) for ledger in (transcript.ledger, listener.ledger))
    names = [*reported, *(name for name in recomputed if name not in reported)]
    figures = [Figure(name, reported.get(name, "missing"), recomputed.get(name, "missing")) for name in names]
    if transcript.key_bit:
        figures.append(Figure("outcome", transcript.outcome, listener.block_id))
    return [*figures, Figure("key_bit", transcript.key_bit, listener.key_bit)]


def _flat(report: dict[str, Any]) -> dict[str, Value]:
    """Figures of a ledger by name; those of a basis as ``name X`` and ``name Z``. How a pool was begun is not heard by a listener."""
    flat: dict[str, Value] = {}
    for name, value in report.items():
        if isinstance(value, dict):
            flat |= {f"{name} {basis}": each for basis, each in value.items()}
        elif name != "authentication_strength":
            flat[name] = "" if value is None else value
    return flat


class _Listener:
    """Hears all messages of a block and keeps its own ledger."""

    def __init__(self, transcript: Transcript) -> None:
        self._agreement = Agreement.decode(transcript.said[0] if transcript.said else b"")
        self._settings = self._agreement.settings()
        self.ledger = Ledger(epsilon_secrecy=self._settings.epsilon_secrecy, epsilon_correctness=self._settings.epsilon_correctness)
        self.key_bit, self.block_id = 0, ""
        self._said_byte = sum(len(data) + LENGTH_BYTE for data in transcript.said[:1])
        self._last: type[messages.Message] | None = None
        self._unverified = {0, 1}
        self._bob_bases: BitArray = np.empty(0, np.uint8)
        self._intensities: list[NDArray[np.uint8]] = []
        self._samples: list[BitArray] = []
        self._answerers: dict[int, CascadeAnswerer] = {}
        self._tellers: dict[int, LdpcTeller] = {}
        self._owed_byte = [0, 0]
        self._replenish_bit = 0
        self._lengths: list[int] = []

    def hear(self, number: int, data: bytes) -> None:
        """Enter the message in ``data``. Raises ProtocolViolation, with its ``number``, when it cannot follow on those before."""
        message = messages.decode(data)
        try:
            if type(message) not in _FOLLOWS.get(self._last, ()):
                raise ProtocolViolation("it is not its turn")
            if not isinstance(message, messages.Confirmation | messages.Acknowledgement):
                self._said_byte += len(data) + LENGTH_BYTE
            hearing = self._HEARING.get(type(message))
            if hearing is not None:
                hearing(self, message)
            self._last = type(message)
        except (ProtocolViolation, ValueError, LookupError) as error:
            raise ProtocolViolation(f"message {number} ({type(message).__name__}) does not follow on those before: {error}") from None

    def end(self, *, aborted: bool) -> None:
        """Nothing more is said. Raises ProtocolViolation when a block that delivered key ends before its tags."""
        if not aborted and self._last is not messages.Acknowledgement:
            raise ProtocolViolation("key is reported of a block that was never confirmed")

    def _hear_announcement(self, message: messages.Announcement) -> None:
        self.ledger.detected = decode_slots(message.slots, most=self._agreement.pulses).size
        self._bob_bases = unpacked(message.bases, self.ledger.detected)

    def _hear_sifting(self, message: messages.Sifting) -> None:
        matched = unpacked(message.matched, self.ledger.detected) == 1
        bases = self._bob_bases[matched]
        digits = [unpacked(digit, bases.size) << number for number, digit in enumerate(message.intensities)]
        intensities = np.bitwise_or.reduce(digits)
        self.ledger.signal_sifted = int((intensities == 0).sum())
        for basis, name in enumerate(BASIS_NAMES):
            of_basis = intensities[bases == basis]
            self.ledger.sifted[name] = of_basis.size
            positions = decode_slots(message.sampled[basis], most=of_basis.size)
            self.ledger.sampled[name] = positions.size
            self._samples.append(unpacked(message.sample_bits[basis], positions.size))
            self._intensities.append(np.delete(of_basis, positions))
        counts = np.array([np.bincount(intensities[bases == basis], minlength=self._settings.intensities) for basis in (0, 1)])
        if (objection := self._settings.objection(counts)) is not None:
            raise ProtocolViolation(f"an honest end would have stopped here: {objection}")

    def _hear_estimate(self, message: messages.Estimate) -> None:
        for name, told, sample in zip(BASIS_NAMES, message.sample_bits, self._samples, strict=True):
            different = unpacked(told, sample.size) ^ sample
            self.ledger.sample_qber[name] = float(different.mean()) if sample.size else 0.5

    def _hear_proceed(self, message: messages.Proceed) -> None:
        if max(self.ledger.sample_qber.values()) > self._settings.qber_limit:
            raise ProtocolViolation("an honest end would have stopped at this error rate")

    def _begin(self, way: Way, basis: int) -> BitArray:
        self.ledger.reconciliation = way
        self._unverified.add(basis)
        return np.zeros(self._intensities[basis].size, np.uint8)

    def _hear_reconciliation(self, message: messages.Reconciliation) -> None:
        for basis, proposal in enumerate(message.proposals):
            if proposal is not None:
                zeros = self._begin(CASCADE, basis)
                self._answerers[basis] = CascadeAnswerer(CascadePlan.checked(key_bit=zeros.size, **msgspec.structs.asdict(proposal)), zeros)
        self._hear_questions(message.questions)

    def _hear_query(self, message: messages.Query) -> None:
        self._hear_questions(message.questions)

    def _hear_questions(self, questions: tuple[messages.Questions, messages.Questions]) -> None:
        self._owed_byte = [0, 0]
        for basis, of_basis in enumerate(questions):
            if of_basis:
                answerer = self._answerers[basis]
                before = answerer.told
                self._owed_byte[basis] = len(answerer.answer(of_basis))
                self._count("parities_leaked_bit", basis, answerer.told - before)

    def _hear_syndrome_request(self, message: messages.SyndromeRequest) -> None:
        self._owed_byte = [0, 0]
        for basis, proposal in enumerate(message.proposals):
            if proposal is not None:
                zeros = self._begin(LDPC, basis)
                plan = LdpcPlan.checked(key_bit=zeros.size, **msgspec.structs.asdict(proposal))
                self._tellers[basis] = LdpcTeller(plan, zeros)
                self._hear_frames(basis, np.arange(plan.frames))

    def _hear_increment_request(self, message: messages.IncrementRequest) -> None:
        self._owed_byte = [0, 0]
        for basis, wanted in enumerate(message.frames):
            if wanted:
                frames = unpacked(wanted, self._tellers[basis].plan.frames)
                self._count("bob_told_bit", basis, frames.size)
                self._hear_frames(basis, np.flatnonzero(frames))

    def _hear_frames(self, basis: int, frames: NDArray[np.int64]) -> None:
        teller = self._tellers[basis]
        before = teller.leaked_bit
        self._owed_byte[basis] = byte_from_bit(teller.tell(frames).size)
        self._count("parities_leaked_bit", basis, teller.leaked_bit - before)

    def _hear_answer(self, message: messages.Parities | messages.Syndromes | messages.Revelation) -> None:
        told_byte = [len(bits) for bits in message.bits]
        if told_byte != self._owed_byte:
            raise ProtocolViolation(f"{told_byte} bytes answer a question for {self._owed_byte}")

    def _hear_verification_request(self, message: messages.VerificationRequest) -> None:
        for basis in bases_wanted(message.wanted):
            self._count_hashes(basis, 1)
            self._unverified.discard(basis)

    def _hear_piece_hash_request(self, message: messages.PieceHashRequest) -> None:
        for basis in bases_wanted(message.wanted):
            self._count_hashes(basis, -(-self._intensities[basis].size // PIECE_BIT))

    def _hear_revelation_request(self, message: messages.RevelationRequest) -> None:
        self._owed_byte = [0, 0]
        for basis, wanted in enumerate(message.pieces):
            if wanted:
                self._unverified.add(basis)
                size = self._intensities[basis].size
                pieces = unpacked(wanted, -(-size // PIECE_BIT))
                lengths_bit = np.diff(np.append(np.arange(0, size, PIECE_BIT), size))
                revealed_bit = int(lengths_bit[pieces == 1].sum())
                self._owed_byte[basis] = byte_from_bit(revealed_bit)
                self._count("revealed_bit", basis, revealed_bit)
                self._count("bob_told_bit", basis, pieces.size)

    def _hear_errors(self, message: messages.Errors) -> None:
        if self._unverified:
            raise ProtocolViolation("a key was never verified")
        counts = np.array([np.bincount(kinds, minlength=self._settings.intensities) for kinds in self._intensities])
        errors = np.array(message.counts)
        if errors.shape != counts.shape or (errors > counts).any() or (errors < 0).any():
            raise ProtocolViolation("errors are told that do not fit the counts")
        self._replenish_bit = message.replenish_bit
        self.ledger.signal_qber = float(errors[:, 0].sum()) / max(1.0, float(counts[:, 0].sum()))
        for basis, name in enumerate(BASIS_NAMES):
            self._count("bob_told_bit", basis, BOB_SILENCE_BIT + sum(int(count).bit_length() for count in counts[basis]))
            proven = self._settings.proof(
                BasisCounts(counts, errors),
                basis=basis,
                leaked_bit=self.ledger.leaked_bit(name),
                error_pattern_told=self.ledger.error_pattern_told,
            )
            self._lengths.append(max(0, min(proven.length_bit, int(counts[basis].sum()))))
            self.ledger.errors[name] = int(errors[basis].sum())
            self.ledger.phase_error[name] = proven.phase_error

    def _hear_amplification(self, message: messages.Amplification) -> None:
        self.block_id = str(message.block_id)
        for basis, length_bit in enumerate(self._lengths):
            unpacked(message.seeds[basis], toeplitz_seed_bit(self._intensities[basis].size, length_bit) if length_bit else 0)

    def _hear_confirmation(self, message: messages.Confirmation) -> None:
        one_time = len(message.tag) == HASH_BYTE
        self.ledger.authentication_spent_bit = BLOCK_KEY_BIT if one_time else 0
        self.ledger.epsilon_authentication = 2 * forgery_probability(self._said_byte) if one_time else 0.0

    def _hear_acknowledgement(self, message: messages.Acknowledgement) -> None:
        replenish_byte = byte_from_bit(self._replenish_bit)
        self.ledger.authentication_replenished_bit = replenish_byte * BIT_PER_BYTE
        for name, length_bit in zip(BASIS_NAMES, self._lengths, strict=True):
            self.ledger.secret_bit[name] = length_bit
        self.key_bit = (sum(self._lengths) // BIT_PER_BYTE - replenish_byte) * BIT_PER_BYTE
        if not replenishes(self._replenish_bit, self._settings) or self.key_bit <= 0:
            raise ProtocolViolation("the authentication pool is given a share that was not agreed on")

    def _count(self, field: str, basis: int, bits: int) -> None:
        getattr(self.ledger, field)[BASIS_NAMES[basis]] += bits

    def _count_hashes(self, basis: int, hashes: int) -> None:
        self._count("verification_leaked_bit", basis, hashes * HASH_BIT)
        self._count("bob_told_bit", basis, hashes)

    _HEARING: dict[type[messages.Message], Callable[[Any, Any], None]] = {
        messages.Announcement: _hear_announcement,
        messages.Sifting: _hear_sifting,
        messages.Estimate: _hear_estimate,
        messages.Proceed: _hear_proceed,
        messages.Reconciliation: _hear_reconciliation,
        messages.Query: _hear_query,
        messages.Parities: _hear_answer,
        messages.SyndromeRequest: _hear_syndrome_request,
        messages.IncrementRequest: _hear_increment_request,
        messages.Syndromes: _hear_answer,
        messages.VerificationRequest: _hear_verification_request,
        messages.PieceHashRequest: _hear_piece_hash_request,
        messages.RevelationRequest: _hear_revelation_request,
        messages.Revelation: _hear_answer,
        messages.Errors: _hear_errors,
        messages.Amplification: _hear_amplification,
        messages.Confirmation: _hear_confirmation,
        messages.Acknowledgement: _hear_acknowledgement,
    }
