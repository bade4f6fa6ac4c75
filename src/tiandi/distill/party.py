"""What Alice and Bob have in common: states, a transcript of everything said, an account, and one way to fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Protocol
from uuid import UUID

import numpy as np

from tiandi.bits import BitArray, unpack
from tiandi.distill import messages
from tiandi.distill.amplification import toeplitz_hash, toeplitz_seed_bit
from tiandi.distill.authentication import AuthenticationPool, PoolPosition
from tiandi.distill.ledger import BasisCounts, Ledger
from tiandi.distill.messages import Message
from tiandi.distill.records import BASIS_NAMES, KeyBlock
from tiandi.errors import DistillationAborted, NoSecretKey, PeerAborted, ProtocolViolation, QberTooHigh
from tiandi.tags import TAG_KEY_BYTE, forgery_probability
from tiandi.units import BIT_PER_BYTE, byte_from_bit

HASH_BIT = 128
VERIFICATION_ATTEMPTS = 4
LENGTH_BYTE = 8
MAXIMUM_MESSAGE_BYTE = 1 << 28


class State(Enum):
    """Where a party stands. The transitions of each role are the table `TRANSITIONS` of its class."""

    IDLE = "idle"
    SIFTING = "sifting"
    ESTIMATING = "estimating"
    RECONCILING = "reconciling"
    VERIFYING = "verifying"
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
    """Security proof of the protocol, plugged in from above: ``basis`` is the key's, the other one tests it."""

    def __call__(self, counts: BasisCounts, *, basis: int, leaked_bit: int) -> ProvenLength: ...


@dataclass(frozen=True)
class Settings:
    """What both ends agreed on before any light was sent.

    ``epsilon_secrecy`` and ``epsilon_correctness`` are for the whole block. ``replenish_bit`` of each block goes to the
    authentication pool before any key is handed out.
    """

    proof: Proof
    epsilon_secrecy: float = 1e-9
    epsilon_correctness: float = 1e-15
    qber_limit: float = 0.11
    sample_fraction: float = 0.01
    minimum_sample_bit: int = 300
    intensities: int = 3
    replenish_bit: int = 2 * 2 * TAG_KEY_BYTE * BIT_PER_BYTE


class Party:
    """One end of the distillation of one block: give it each message of the peer, send what it answers.

    ``outcome`` is None while it runs, then the key block or the error for which the block was destroyed.
    """

    TRANSITIONS: ClassVar[dict[tuple[State, type[Message]], Callable[[Any, Any], Message | None]]] = {}

    def __init__(self, settings: Settings, pool: AuthenticationPool) -> None:
        self.settings = settings
        self.state = State.IDLE
        self.ledger = Ledger(epsilon_secrecy=settings.epsilon_secrecy, epsilon_correctness=settings.epsilon_correctness)
        self.outcome: KeyBlock | DistillationAborted | None = None
        self._pool = pool
        self._transcript: list[bytes] = []
        self._said_byte = 0
        self._keys: list[BitArray] = []
        self._intensities: list[BitArray] = []
        self._secret = b""
        self._peer_told = False
        self._tag_position: PoolPosition | None = None

    def receive(self, data: bytes) -> bytes | None:
        """The answer to a message, or None when there is nothing left to say."""
        if self.outcome is not None:
            return self._repeat_abort(data)
        try:
            return self._answer(data)
        except DistillationAborted as error:
            return self._abort(error)
        except Exception as error:
            # A fault of ours. Close this end before anybody hears of it.
            self._abort(DistillationAborted(f"internal error ({type(error).__name__})"))
            raise

    def _answer(self, data: bytes) -> bytes | None:
        if self._said_byte + len(data) > MAXIMUM_MESSAGE_BYTE:
            raise ProtocolViolation("the peer says more than a block can need")
        message = messages.decode(data)
        if isinstance(message, messages.Abort):
            raise PeerAborted("".join(sign if sign.isprintable() else "?" for sign in message.reason))
        handler = self.TRANSITIONS.get((self.state, type(message)))
        if handler is None:
            raise ProtocolViolation(f"{type(message).__name__} is not allowed while {self.state.value}")
        if not isinstance(message, messages.Confirmation):
            self._note(data)
        reply = handler(self, message)
        return None if reply is None else self._say(reply)

    def _say(self, message: Message) -> bytes:
        data = messages.encode(message)
        if not isinstance(message, messages.Confirmation):
            self._note(data)
        return data

    def _note(self, data: bytes) -> None:
        self._transcript.append(data)
        self._said_byte += len(data) + LENGTH_BYTE

    def _abort(self, error: DistillationAborted) -> bytes | None:
        """Destroy the block. The last message tells the peer, unless it was the peer who gave up."""
        self._destroy()
        self.state, self.outcome = State.ABORTED, error
        self._peer_told = not isinstance(error, QberTooHigh)
        return None if isinstance(error, PeerAborted) else messages.encode(messages.Abort(str(error)[:200]))

    def _repeat_abort(self, data: bytes) -> bytes | None:
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
            key.fill(0)
        self._keys.clear()
        self._secret = b""

    def _sift(self, bases: BitArray, kinds: BitArray, bits: BitArray, sampled: BitArray) -> None:
        """Take the sample out of the sifted bits and keep the rest by basis; all of shape (n,)."""
        self.ledger.signal_sifted = int((kinds == 0).sum())
        for basis in range(len(BASIS_NAMES)):
            chosen = (sampled == 0) & (bases == basis)
            self._keys.append(bits[chosen])
            self._intensities.append(kinds[chosen])

    def _judge_sample(self, matched_bases: BitArray, sampled: BitArray, differences: BitArray) -> None:
        """Enter the error rates of the sample, shape (n,) over its bits; raise QberTooHigh when either basis is above the limit."""
        sampled_bases = matched_bases[sampled == 1]
        for basis, name in enumerate(BASIS_NAMES):
            in_basis = sampled_bases == basis
            self.ledger.sifted[name] = int((matched_bases == basis).sum())
            self.ledger.sampled[name] = int(in_basis.sum())
            self.ledger.sample_qber[name] = float(differences[in_basis].mean()) if in_basis.any() else 0.5
        worst = max(self.ledger.sample_qber.values())
        if worst > self.settings.qber_limit:
            raise QberTooHigh(worst, self.settings.qber_limit)

    def _count_parities(self, basis: int, parities: int) -> None:
        """Enter what Alice tells of the key of a basis, failed attempts included. Raises ProtocolViolation when it is more than the key."""
        name = BASIS_NAMES[basis]
        self.ledger.parities_leaked_bit[name] += parities
        if self.ledger.parities_leaked_bit[name] > self._keys[basis].size:
            raise ProtocolViolation("more parities are asked for than the key has bits")

    def _intensity_counts(self) -> list[list[int]]:
        return [np.bincount(kinds, minlength=self.settings.intensities).tolist() for kinds in self._intensities]

    def _lengths(self, errors: tuple[tuple[int, ...], ...]) -> list[int]:
        """Proven length of the key in each basis. Raises NoSecretKey when there is none beyond what authentication takes."""
        counts = BasisCounts(np.asarray(self._intensity_counts()), np.asarray(errors))
        self.ledger.signal_qber = float(counts.errors[:, 0].sum()) / max(1.0, float(counts.counts[:, 0].sum()))
        lengths = []
        for basis, name in enumerate(BASIS_NAMES):
            proven = self.settings.proof(counts, basis=basis, leaked_bit=self.ledger.leaked_bit(name))
            lengths.append(max(0, min(proven.length_bit, self._keys[basis].size)))
            self.ledger.errors[name] = int(sum(errors[basis]))
            self.ledger.phase_error[name] = proven.phase_error
            if forgery_probability(self._keys[basis].size) * 8 > self.settings.epsilon_correctness:
                raise NoSecretKey("the block is too long for its hashes to keep the epsilon of correctness")
        spare_bit = sum(lengths) - self.settings.replenish_bit
        if spare_bit < BIT_PER_BYTE:
            raise NoSecretKey(f"the proof covers {sum(lengths)} bit, of which authentication takes {self.settings.replenish_bit}")
        return lengths

    def _seed_bits(self, lengths: list[int]) -> list[int]:
        return [toeplitz_seed_bit(key.size, length) if length else 0 for key, length in zip(self._keys, lengths, strict=True)]

    def _amplify(self, lengths: list[int], seeds: tuple[bytes, ...]) -> bytes:
        """The secret key of both bases in one string of whole bytes."""
        parts = []
        for key, length, seed_bit, seed in zip(self._keys, lengths, self._seed_bits(lengths), seeds, strict=True):
            parts.append(toeplitz_hash(key, self._unpack(seed, seed_bit), length))
        secret = np.concatenate(parts)
        return np.packbits(secret[: secret.size // BIT_PER_BYTE * BIT_PER_BYTE], bitorder="little").tobytes()

    def _finish(self, block_id: UUID, lengths: list[int]) -> None:
        """Replenish the authentication pool first; what is left is the key block."""
        replenish_byte = byte_from_bit(self.settings.replenish_bit)
        authentication, key = self._secret[:replenish_byte], self._secret[replenish_byte:]
        self._pool.replenish(block_id, authentication)
        self.ledger.authentication_replenished_bit = replenish_byte * BIT_PER_BYTE
        for name, length in zip(BASIS_NAMES, lengths, strict=True):
            self.ledger.secret_bit[name] = length
        self.ledger.epsilon_authentication = 2 * forgery_probability(self._said_byte)
        self._destroy()
        self.state, self.outcome = State.FINISHED, KeyBlock(block_id, key)

    def _take_tag_keys(self) -> tuple[bytes, bytes]:
        """One-time keys of Bob's and of Alice's tag; spent only now, so that a block that never came so far costs none."""
        assert self._tag_position is not None
        both = self._pool.take(self._tag_position, 2 * TAG_KEY_BYTE)
        self.ledger.authentication_spent_bit = len(both) * BIT_PER_BYTE
        return both[:TAG_KEY_BYTE], both[TAG_KEY_BYTE:]

    @staticmethod
    def _unpack(packed: bytes, count: int) -> BitArray:
        try:
            return unpack(packed, count)
        except ValueError as error:
            raise ProtocolViolation(f"a bit string has the wrong length: {error}") from None
