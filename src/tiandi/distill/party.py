"""What Alice and Bob have in common: states, a transcript of everything said, an account, and one way to fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tiandi.bits import BitArray, Data, unpack
from tiandi.distill import messages
from tiandi.distill.amplification import toeplitz_hash_packed, toeplitz_seed_bit
from tiandi.distill.authentication import BLOCK_KEY_BIT, Authentication
from tiandi.distill.ledger import BasisCounts, Ledger
from tiandi.distill.messages import Message
from tiandi.distill.records import BASIS_NAMES, KeyBlock
from tiandi.distill.sifted_key import SiftedKey
from tiandi.distill.sifting import Words, everything, words_from
from tiandi.errors import (
    DistillationAborted,
    ImplausibleStatistics,
    KeysExhausted,
    NoSecretKey,
    PeerAborted,
    ProtocolViolation,
    QberTooHigh,
)
from tiandi.tags import forgery_probability
from tiandi.units import BIT_PER_BYTE, byte_from_bit

HASH_BIT = 128
HASH_KEY_BYTE = 32
HASH_BYTE = 16
REPAIRS = 1
"""How often a key that Cascade left with errors is searched again before its wrong pieces are revealed."""
PIECE_BIT = 65536
"""Bits of a piece that is revealed when it cannot be corrected."""
BOB_SILENCE_BIT = 2
"""What Bob tells of a basis by asking for nothing more."""
LENGTH_BYTE = 8
LEAST_SAID_BYTE, SAID_BYTE_PER_EVENT = 1 << 24, 64
"""A block never needs more than so many bytes of talk, and so many for each event of an end's record."""


class State(Enum):
    """Where a party stands. The transitions of each role are the table `TRANSITIONS` of its class."""

    IDLE = "idle"
    SIFTING = "sifting"
    ESTIMATING = "estimating"
    RECONCILING = "reconciling"
    VERIFYING = "verifying"
    LOCATING = "locating"
    REVEALING = "revealing"
    AMPLIFYING = "amplifying"
    CONFIRMING = "confirming"
    FINISHED = "finished"
    ABORTED = "aborted"


@dataclass(frozen=True)
class ProvenLength:
    """What a proof says of the key in one basis: whole bits, and the phase error it assumed."""

    length_bit: int
    phase_error: float


class Proof(Protocol):
    """Security proof of the protocol, plugged in from above: ``basis`` is the key's, the other one tests it.

    ``error_pattern_told`` says that an eavesdropper knows which of Bob's bits were wrong; else ``leaked_bit`` counts what Bob said of them.
    """

    def __call__(self, counts: BasisCounts, *, basis: int, leaked_bit: int, error_pattern_told: bool) -> ProvenLength: ...


def no_objection(_: NDArray[np.int64]) -> str | None:
    """Takes all counts as they come."""
    return None


@dataclass(frozen=True)
class Settings:
    """What both ends agreed on before any light was sent.

    ``objection`` says of the sifted counts (bases, intensities) why no honest channel gives them, or None. ``agreement`` is whatever else
    both ends must have in common: it heads the transcript, so that the tags of two ends that differ in it do not match.
    ``epsilon_secrecy`` and ``epsilon_correctness`` are for the whole block. Unless the authentication pool is full, a quarter of the key,
    within ``replenish_limits_bit``, goes there before any is handed out. Of each basis ``sample_fraction`` is told to learn the error rate,
    within ``sample_limits_bit``. ``round_trip_s`` [s] is how long an answer takes; an end that would wait more than ``patience_s`` [s] in
    all for the answers of Cascade takes LDPC codes.
    """

    proof: Proof
    objection: Callable[[NDArray[np.int64]], str | None] = no_objection
    agreement: bytes = b""
    epsilon_secrecy: float = 1e-9
    epsilon_correctness: float = 1e-15
    qber_limit: float = 0.11
    sample_fraction: float = 0.01
    sample_limits_bit: tuple[int, int] = (300, 10_000)
    intensities: int = 3
    replenish_limits_bit: tuple[int, int] = (2 * BLOCK_KEY_BIT, 8 * BLOCK_KEY_BIT)
    round_trip_s: float = 0.0
    patience_s: float = 10.0

    @property
    def intensity_planes(self) -> int:
        """Binary digits of an intensity."""
        return max(1, (self.intensities - 1).bit_length())


class Party:
    """One end of the distillation of one block: give it each message of the peer, send what it answers.

    ``outcome`` is None while it runs, then the key block or the error for which the block was destroyed.
    """

    TRANSITIONS: ClassVar[dict[tuple[State, type[Message]], Callable[[Any, Any], Message | None]]] = {}

    def __init__(self, events: int, settings: Settings, authentication: Authentication) -> None:
        self.settings = settings
        self.state = State.IDLE
        self.ledger = Ledger(
            epsilon_secrecy=settings.epsilon_secrecy,
            epsilon_correctness=settings.epsilon_correctness,
            authentication_strength=authentication.strength,
        )
        self.outcome: KeyBlock | DistillationAborted | None = None
        self._authentication = authentication
        self._transcript: list[Data] = [settings.agreement]
        self._tags: list[Data] = []
        self._said_byte = len(settings.agreement) + LENGTH_BYTE
        self._most_said_byte = LEAST_SAID_BYTE + SAID_BYTE_PER_EVENT * events
        self._keys: list[SiftedKey] = []
        self._secret = b""
        self._replenish_bit = 0
        self._tags_at_stake = False
        self._peer_told = False

    @property
    def transcript(self) -> tuple[Data, ...]:
        """The agreement, then every message of both ends in order, the tags last. Nothing of it is secret."""
        return (*self._transcript, *self._tags)

    def receive(self, data: Data) -> bytes | None:
        """The answer to a message, or None when there is nothing left to say."""
        if self.outcome is not None:
            return self._repeat_abort(data)
        try:
            return self._answer(data)
        except DistillationAborted as error:
            return self._abort(error)
        except KeysExhausted as error:
            return self._abort(DistillationAborted(str(error)))
        except Exception as error:
            # A fault of ours. Close this end before anybody hears of it.
            self._abort(DistillationAborted(f"internal error ({type(error).__name__})"))
            raise

    def abandon(self, reason: str) -> bytes | None:
        """Destroy a block of which nothing more will be heard; what to tell the peer, if it can be told."""
        return self._abort(DistillationAborted(reason)) if self.outcome is None else None

    def _answer(self, data: Data) -> bytes | None:
        if self._said_byte + len(data) > self._most_said_byte:
            raise ProtocolViolation("the peer says more than a block can need")
        message = messages.decode(data)
        if isinstance(message, messages.Abort):
            raise PeerAborted("".join(sign if sign.isprintable() else "?" for sign in message.reason))
        handler = self.TRANSITIONS.get((self.state, type(message)))
        if handler is None:
            raise ProtocolViolation(f"{type(message).__name__} is not allowed while {self.state.value}")
        self._note(message, data)
        reply = handler(self, message)
        return None if reply is None else self._say(reply)

    def _say(self, message: Message) -> bytes:
        data = messages.encode(message)
        self._note(message, data)
        return data

    def _note(self, message: Message, data: Data) -> None:
        """Tags are kept apart: they are tags of the transcript."""
        if isinstance(message, messages.Confirmation | messages.Acknowledgement):
            self._tags.append(data)
            self._tags_at_stake = True
        else:
            self._transcript.append(data)
            self._said_byte += len(data) + LENGTH_BYTE

    def _abort(self, error: DistillationAborted) -> bytes | None:
        """Destroy the block. The last message tells the peer, unless it was the peer who gave up."""
        self._account_for_tags()
        self._destroy()
        # Its traceback would keep alive what the functions on the way held of the key.
        error.__traceback__ = error.__context__ = error.__cause__ = None
        self.state, self.outcome = State.ABORTED, error
        self._peer_told = not isinstance(error, QberTooHigh)
        return None if isinstance(error, PeerAborted) else messages.encode(messages.Abort(str(error)[:200]))

    def _account_for_tags(self) -> None:
        """Enter what authentication has spent and risked; a block in which no tag was made or checked risked nothing."""
        self.ledger.authentication_spent_bit = self._authentication.spent_bit
        self.ledger.epsilon_authentication = self._authentication.epsilon(self._said_byte) if self._tags_at_stake else 0.0

    def _repeat_abort(self, data: Data) -> bytes | None:
        """A peer that goes on although this end has given up is told so, once."""
        if self._peer_told or not isinstance(self.outcome, DistillationAborted):
            return None
        self._peer_told = True
        try:
            if isinstance(messages.decode(data), messages.Abort):
                return None
        except ProtocolViolation:
            pass
        return messages.encode(messages.Abort(str(self.outcome)[:200]))

    def _destroy(self) -> None:
        """Overwrite and forget everything from which the key could be told."""
        for key in self._keys:
            key.wipe()
        self._keys.clear()
        self._secret = b""

    def _sift(self, bases: Words, columns: Words, count: int) -> None:
        """Sort ``count`` matched events by basis; ``columns`` (1 + digits, words) are bits and digits of intensities.

        Raises ProtocolViolation for an intensity that does not exist, ImplausibleStatistics for counts that no honest channel gives.
        """
        events = everything(count)
        self._keys = [SiftedKey.of_basis(chosen, columns, count) for chosen in (~bases & events, bases & events)]
        counts = [key.counts(self.settings.intensities) for key in self._keys]
        if any(in_basis[-1] for in_basis in counts):
            raise ProtocolViolation("an intensity is told that does not exist")
        self.ledger.signal_sifted = sum(in_basis[0] for in_basis in counts)
        for name, key in zip(BASIS_NAMES, self._keys, strict=True):
            self.ledger.sifted[name] = key.size
        if (objection := self.settings.objection(np.array(counts)[:, :-1])) is not None:
            raise ImplausibleStatistics(objection)

    def _judge_samples(self, samples: Sequence[BitArray], others: Sequence[BitArray]) -> None:
        """Enter the error rates of the samples of both ends; raise QberTooHigh when either basis is above the limit."""
        for name, sample, other in zip(BASIS_NAMES, samples, others, strict=True):
            self.ledger.sampled[name] = sample.size
            self.ledger.sample_qber[name] = float((sample ^ other).mean()) if sample.size else 0.5
        worst = max(self.ledger.sample_qber.values())
        if worst > self.settings.qber_limit:
            raise QberTooHigh(worst, self.settings.qber_limit)

    def _count_parities(self, basis: int, parities: int) -> None:
        """Enter what Alice tells of the key of a basis, failed attempts included. Raises ProtocolViolation when it is more than the key."""
        name = BASIS_NAMES[basis]
        self.ledger.parities_leaked_bit[name] += parities
        if self.ledger.parities_leaked_bit[name] > self._keys[basis].size:
            raise ProtocolViolation("more parities are asked for than the key has bits")

    def _count_hashes(self, basis: int, hashes: int) -> None:
        """Enter hashes that Alice tells of the key of a basis; the verdict on each is Bob's, a bit."""
        self.ledger.verification_leaked_bit[BASIS_NAMES[basis]] += hashes * HASH_BIT
        self.ledger.bob_told_bit[BASIS_NAMES[basis]] += hashes

    def _lengths(self, errors: tuple[tuple[int, ...], ...]) -> list[int]:
        """Proven length of the key in each basis. Raises NoSecretKey for a block too long for its hashes."""
        counts = [key.counts(self.settings.intensities)[:-1] for key in self._keys]
        known = BasisCounts(np.asarray(counts), np.asarray(errors))
        self.ledger.signal_qber = float(known.errors[:, 0].sum()) / max(1.0, float(known.counts[:, 0].sum()))
        lengths = []
        for basis, name in enumerate(BASIS_NAMES):
            size = self._keys[basis].size
            # Bob's counts of errors are numbers from 0 to that of the bits.
            self.ledger.bob_told_bit[name] += BOB_SILENCE_BIT + sum(count.bit_length() for count in counts[basis])
            proven = self.settings.proof(
                known, basis=basis, leaked_bit=self.ledger.leaked_bit(name), error_pattern_told=self.ledger.error_pattern_told
            )
            lengths.append(max(0, min(proven.length_bit, size)))
            self.ledger.errors[name] = sum(errors[basis])
            self.ledger.phase_error[name] = proven.phase_error
            if forgery_probability(size) * 8 > self.settings.epsilon_correctness:
                raise NoSecretKey("the block is too long for its hashes to keep the epsilon of correctness")
        return lengths

    def _replenish_with(self, replenish_bit: int, lengths: list[int]) -> None:
        """Set this much of the key aside for the authentication pool. Raises NoSecretKey when nothing would be left."""
        if sum(lengths) < replenish_bit + BIT_PER_BYTE:
            raise NoSecretKey(f"the proof covers {sum(lengths)} bit, of which authentication takes {replenish_bit}")
        self._replenish_bit = replenish_bit

    def _seed_bits(self, lengths: list[int]) -> list[int]:
        return [toeplitz_seed_bit(key.size, length) if length else 0 for key, length in zip(self._keys, lengths, strict=True)]

    def _amplify(self, lengths: list[int], seeds: tuple[bytes, ...]) -> bytes:
        """The secret key of both bases in one string of whole bytes."""
        parts = [
            toeplitz_hash_packed(key.words, key.size, words_from(seed, seed_bit), seed_bit, length)
            for key, length, seed_bit, seed in zip(self._keys, lengths, self._seed_bits(lengths), seeds, strict=True)
        ]
        secret = np.concatenate(parts)
        return np.packbits(secret[: secret.size // BIT_PER_BYTE * BIT_PER_BYTE], bitorder="little").tobytes()

    def _finish(self, block_id: UUID, lengths: list[int]) -> None:
        """Replenish the authentication pool first; what is left is the key block."""
        replenish_byte = byte_from_bit(self._replenish_bit)
        fresh, key = self._secret[:replenish_byte], self._secret[replenish_byte:]
        self._authentication.replenish(block_id, fresh)
        self.ledger.authentication_replenished_bit = replenish_byte * BIT_PER_BYTE
        for name, length in zip(BASIS_NAMES, lengths, strict=True):
            self.ledger.secret_bit[name] = length
        self._account_for_tags()
        self._destroy()
        self.state, self.outcome = State.FINISHED, KeyBlock(block_id, key)


def unpacked(packed: bytes, count: int) -> BitArray:
    """``count`` bits from a message, shape (count,). Raises ProtocolViolation when it has another number."""
    try:
        return unpack(packed, count)
    except ValueError as error:
        raise ProtocolViolation(f"a bit string has the wrong length: {error}") from None


def pieces_of(bits: BitArray) -> list[BitArray]:
    """A key (n,) cut into pieces of PIECE_BIT bits; these are views."""
    return [bits[start : start + PIECE_BIT] for start in range(0, bits.size, PIECE_BIT)]


def bases_wanted(wanted: tuple[bool, bool]) -> list[int]:
    """The bases of which the peer wants something. Raises ProtocolViolation when it wants nothing of either."""
    if not any(wanted):
        raise ProtocolViolation("nothing is asked of either basis")
    return [basis for basis, is_wanted in enumerate(wanted) if is_wanted]


def replenishes(replenish_bit: int, settings: Settings) -> bool:
    """Whether this is nothing, or a whole number of blocks' worth that the two ends may give their pool."""
    least, most = settings.replenish_limits_bit
    return replenish_bit == 0 or (least <= replenish_bit <= most and replenish_bit % BLOCK_KEY_BIT == 0)
