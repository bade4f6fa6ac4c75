"""What makes the two ends of a block each other's: one-time tags, paid from a pool of shared key, or signatures where there is none yet."""

from __future__ import annotations

import hashlib
import threading
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

from tiandi.bits import Data
from tiandi.distill.ledger import Strength
from tiandi.errors import AuthenticationFailed, InputError, KeysExhausted, ProtocolViolation
from tiandi.tags import TAG_KEY_BYTE, forgery_probability, one_time_tag, verify_one_time_tag
from tiandi.units import BIT_PER_BYTE

BLOCK_KEY_BYTE = 2 * TAG_KEY_BYTE  # The key of Bob's tag, then that of Alice's.
PRE_SHARED = UUID(int=0)  # Name of the segment that comes from no block.
BLOCK_KEY_BIT = BLOCK_KEY_BYTE * BIT_PER_BYTE
FULL_BIT = 64 * BLOCK_KEY_BIT
"""A pool with so much key is given no more."""
SEAL_CONTEXT, ANSWER_CONTEXT = b"tiandi distillation, Bob's seal", b"tiandi distillation, Alice's answer"

Origin = Literal["pre-shared", "signatures"]
Stage = Literal["unused", "unconfirmed", "confirmed"]
"""A pool that never held key; one of which the peer may lack all, since it may not have received the signed answer; and any other."""


@dataclass(frozen=True)
class PoolPosition:
    """A place in an authentication pool: a segment, and bytes from its beginning."""

    segment: UUID
    start: int


@dataclass(repr=False, eq=False)
class Segment:
    """Key of one block, which has this number among those that spent; bytes before ``start`` are spent, and zeros."""

    block_id: UUID
    number: int
    key: bytearray
    start: int = 0


class AuthenticationPool:
    """One end's copy of the key that authenticates a link: a pre-shared segment, then one from each block.

    Segments are named after the blocks they came from. When the last message of a block is lost, one end has a segment that the
    other lacks; because the receiver names the segment it spends from, and only ever one it has, the other end passes over what
    the receiver lacks and both stay together. Segments lie in the order in which their blocks spent, which is the same at both ends
    however many blocks are in flight and whichever finishes first. What was taken is overwritten. Every method may be called from any
    thread.

    Without ``pre_shared`` the pool is empty, and signatures must authenticate its first block. Its ``origin`` stays "signatures" for
    ever, for all its key descends from that block. Raises InputError when ``pre_shared`` holds nothing.
    """

    def __init__(self, name: str, pre_shared: bytes | None = None) -> None:
        if pre_shared is not None and not pre_shared:
            raise InputError("pre_shared", "0 bytes", "must hold key, or be left out for a pool that signatures begin")
        self.name = name
        self.origin: Origin = "signatures" if pre_shared is None else "pre-shared"
        self.stage: Stage = "unused" if pre_shared is None else "confirmed"
        self._segments = [] if pre_shared is None else [Segment(PRE_SHARED, 0, bytearray(pre_shared))]
        self._last_number = self._spending_from = 0
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}, {self.available_bit} bit)"

    @property
    def strength(self) -> Strength:
        return "information-theoretic" if self.origin == "pre-shared" else "computational"

    @property
    def unused(self) -> bool:
        """Whether this pool never held key."""
        return self.stage == "unused"

    @property
    def available_bit(self) -> int:
        return BIT_PER_BYTE * sum(len(segment.key) - segment.start for segment in tuple(self._segments))

    def next_position(self, length_byte: int) -> PoolPosition:
        """Where the next ``length_byte`` bytes would come from. Raises KeysExhausted when no segment holds as many."""
        with self._lock:
            for segment in self._segments:
                if len(segment.key) - segment.start >= length_byte:
                    return PoolPosition(segment.block_id, segment.start)
            raise KeysExhausted(f"authentication pool of {self.name}", self.available_bit, length_byte * BIT_PER_BYTE)

    def require(self, position: PoolPosition, length_byte: int) -> None:
        """Raise ProtocolViolation unless ``length_byte`` bytes at ``position`` are here and unspent. Nothing is spent."""
        self.peek(position, length_byte)

    def peek(self, position: PoolPosition, length_byte: int) -> bytes:
        """The bytes at ``position``, to check a tag by which the peer proves that it means this position. Raises like `require`."""
        with self._lock:
            return bytes(self._find(position, length_byte).key[position.start : position.start + length_byte])

    def take(self, position: PoolPosition, length_byte: int) -> bytes:
        """Spend ``length_byte`` bytes at ``position`` and all key older than that. Raises like `require`."""
        return self.spend(length_byte, position)[1]

    def spend(self, length_byte: int, position: PoolPosition | None = None) -> tuple[PoolPosition, bytes, int]:
        """Spend as `take` does, or at the next position (KeysExhausted); gives the position, the key and the number of the block."""
        with self._lock:
            position = position or self.next_position(length_byte)
            segment = self._find(position, length_byte)
            end = position.start + length_byte
            taken = bytes(segment.key[position.start : end])
            gone = [other for other in self._segments if other.number < segment.number or (other is segment and end == len(segment.key))]
            self._keep_spending(segment, end, gone)
            for other in gone:
                other.key[:] = bytes(len(other.key))
                self._segments.remove(other)
            segment.key[:end] = bytes(end)
            segment.start = end
            self.stage, self._spending_from = "confirmed", segment.number
            return position, taken, self.number_block()

    def _find(self, position: PoolPosition, length_byte: int) -> Segment:
        for segment in self._segments:
            if segment.block_id == position.segment and segment.start <= position.start <= len(segment.key) - length_byte:
                return segment
        raise ProtocolViolation("the authentication key named is spent or unknown")

    def number_block(self) -> int:
        """The number of the next block: 1 more than that of the last."""
        with self._lock:
            self._last_number += 1
            return self._last_number

    def replenish(self, block_id: UUID, key: bytes, *, number: int | None = None, confirmed: bool = True) -> None:
        """Add the segment of a block behind those of the blocks that spent before it (``number``; the last one where none is given).

        It is dropped when key of a later block has been spent already, because the peer has passed over it by then. Where not
        ``confirmed``, the peer may lack it. Raises ProtocolViolation when its name is taken.
        """
        with self._lock:
            number = self.number_block() if number is None else number
            if not key or number < self._spending_from:
                return
            if block_id == PRE_SHARED or any(segment.block_id == block_id for segment in self._segments):
                raise ProtocolViolation("a block has the name of another")
            segment = Segment(block_id, number, bytearray(key))
            stage: Stage = "confirmed" if confirmed or self.stage == "confirmed" else "unconfirmed"
            self._keep_segment(segment, stage)
            insort(self._segments, segment, key=lambda other: other.number)
            self.stage = stage

    # A pool that outlives its process makes each change durable here, before it happens in memory.

    def _keep_spending(self, segment: Segment, end: int, gone: Sequence[Segment]) -> None: ...
    def _keep_segment(self, segment: Segment, stage: Stage) -> None: ...


class Seal(NamedTuple):
    """Bob's tag of a block, and the place in the pool that pays for it and for Alice's; signatures pay nothing and name no place."""

    segment: UUID
    start: int
    tag: bytes


class Authentication(Protocol):
    """What authenticates one block at one end: Bob's tag of the whole transcript of what was said, and Alice's of his confirmation.

    - Bob asks `require` before he speaks, which raises KeysExhausted when a block cannot be paid for. Nothing is kept back for it.
    - Bob's `seal` is his tag; what pays for it is spent, on disk where the pool is there, before the tag exists. Raises KeysExhausted.
    - Alice's `open` checks it and spends. Raises AuthenticationFailed or ProtocolViolation, and spends nothing, when it is not his.
    - Alice's `answer` is her tag of Bob's confirmation, in which his is: she has found it to be that of all she has heard and said, so hers
      need not go through that again. Bob's `open_answer` checks it. Raises AuthenticationFailed when it is not hers.
    - `replenish` puts key of this block into the pool: at Bob's end after `open_answer`, at Alice's before her answer leaves.
    - `full` says that the pool needs no more: Bob then asks for none.
    - `epsilon` bounds the probability that either tag is forged, of ``said_byte`` bytes or fewer; it is 0 where only `strength` can speak.
    """

    @property
    def strength(self) -> Strength: ...
    @property
    def spent_bit(self) -> int: ...
    @property
    def full(self) -> bool: ...
    def require(self) -> None: ...
    def seal(self, transcript: Sequence[Data]) -> Seal: ...
    def open(self, transcript: Sequence[Data], seal: Seal) -> None: ...
    def answer(self, confirmation: Data) -> bytes: ...
    def open_answer(self, confirmation: Data, tag: bytes) -> None: ...
    def epsilon(self, said_byte: int) -> float: ...
    def replenish(self, block_id: UUID, key: bytes) -> None: ...


class OneTimeTags:
    """One-time tags of one block, under key of the pool that is used once.

    They are as strong as the key: information-theoretic where the pool began with pre-shared key. The key of a pool that began with
    signatures is secure for ever if nobody could forge one during that first block; because nobody can prove that, it is "computational".
    """

    def __init__(self, pool: AuthenticationPool) -> None:
        self.strength = pool.strength
        self.spent_bit = 0
        self._pool = pool
        self._number: int | None = None
        self._answer_key = b""

    @property
    def full(self) -> bool:
        return self._pool.available_bit >= FULL_BIT

    def require(self) -> None:
        self._pool.next_position(BLOCK_KEY_BYTE)

    def seal(self, transcript: Sequence[Data]) -> Seal:
        """Bob's tag, under the next key of the pool."""
        position, key = self._spend()
        return Seal(position.segment, position.start, one_time_tag(key, transcript))

    def open(self, transcript: Sequence[Data], seal: Seal) -> None:
        """Check Bob's tag under the key that it names, and spend that."""
        position = PoolPosition(seal.segment, seal.start)
        verify_one_time_tag(self._pool.peek(position, BLOCK_KEY_BYTE)[:TAG_KEY_BYTE], transcript, seal.tag)
        self._spend(position)

    def _spend(self, position: PoolPosition | None = None) -> tuple[PoolPosition, bytes]:
        """The position and the key of Bob's tag; that of Alice's is kept until it is used."""
        position, key, self._number = self._pool.spend(BLOCK_KEY_BYTE, position)
        self.spent_bit, self._answer_key = len(key) * BIT_PER_BYTE, key[TAG_KEY_BYTE:]
        return position, key[:TAG_KEY_BYTE]

    def answer(self, confirmation: Data) -> bytes:
        return one_time_tag(self._key_of_answer(), [confirmation])

    def open_answer(self, confirmation: Data, tag: bytes) -> None:
        verify_one_time_tag(self._key_of_answer(), [confirmation], tag)

    def _key_of_answer(self) -> bytes:
        key, self._answer_key = self._answer_key, b""
        if not key:
            raise ProtocolViolation("there is no key for an answer, or it was used")
        return key

    def epsilon(self, said_byte: int) -> float:
        return 2 * forgery_probability(said_byte)

    def replenish(self, block_id: UUID, key: bytes) -> None:
        self._pool.replenish(block_id, key, number=self._number)


class Signatures:
    """Signatures (ML-DSA-65, FIPS 204) of one block of a pool that has no key yet, under keys that the two ends know to be each other's.

    Secure against whoever cannot forge them now: key that comes of it is not endangered by a forger who comes later. The context of a
    signature names the role, so that one end's is never taken for the other's. Raises InputError unless the pool is unused, or yet
    unconfirmed: when Alice's answer was lost she has key that Bob lacks, and the two begin again.
    """

    strength: Strength = "computational"
    spent_bit = 0
    full = False

    def __init__(self, pool: AuthenticationPool, own: MLDSA65PrivateKey, peer: MLDSA65PublicKey) -> None:
        if pool.stage == "confirmed":
            raise InputError("pool", pool.name, "must never have held key: signatures authenticate only the first block of a link")
        self._pool, self._own, self._peer = pool, own, peer
        self._number: int | None = None
        self._confirmed = False

    def require(self) -> None:
        """Signatures cost no key."""

    def seal(self, transcript: Sequence[Data]) -> Seal:
        """Bob's signature, which names no place in the pool."""
        self._number = self._pool.number_block()
        return Seal(PRE_SHARED, 0, self._own.sign(_digest(transcript), SEAL_CONTEXT))

    def open(self, transcript: Sequence[Data], seal: Seal) -> None:
        """Check Bob's signature."""
        self._verify(transcript, seal.tag, SEAL_CONTEXT)
        self._number = self._pool.number_block()

    def answer(self, confirmation: Data) -> bytes:
        return self._own.sign(_digest([confirmation]), ANSWER_CONTEXT)

    def open_answer(self, confirmation: Data, tag: bytes) -> None:
        """Check Alice's signature: she has this block."""
        self._verify([confirmation], tag, ANSWER_CONTEXT)
        self._confirmed = True

    def _verify(self, transcript: Sequence[Data], signature: bytes, context: bytes) -> None:
        try:
            self._peer.verify(signature, _digest(transcript), context)
        except InvalidSignature:
            raise AuthenticationFailed("a signature does not match what was received") from None

    def epsilon(self, said_byte: int) -> float:
        return 0.0

    def replenish(self, block_id: UUID, key: bytes) -> None:
        self._pool.replenish(block_id, key, number=self._number, confirmed=self._confirmed)


def _digest(transcript: Sequence[Data]) -> bytes:
    """SHA-512 of the SHA-512 of each message: digests have one length, so that nothing else need say where a message ends."""
    return hashlib.sha512(b"".join(hashlib.sha512(message).digest() for message in transcript)).digest()
