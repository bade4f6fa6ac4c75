"""Messages that only the two ends can have written: one-time Wegman-Carter tags and the pool of key that pays for them.

The tag is Poly1305 under a key that is used once and never again, which makes it an information-theoretic Wegman-Carter code: a
forger who has seen one message and its tag succeeds with probability at most 8 ceil(L/16) / 2^106 for messages of up to L bytes
(Bernstein 2005, doi:10.1007/11502760_3, theorem 3.3), whatever computer she has.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.poly1305 import Poly1305

from tiandi.errors import AuthenticationFailed, KeysExhausted, ProtocolViolation
from tiandi.units import BIT_PER_BYTE

TAG_KEY_BYTE = 32
TAG_BYTE = 16


def one_time_tag(key: bytes, messages: Iterable[bytes]) -> bytes:
    """Tag of a sequence of messages, each with its length in front, under a key of 32 bytes that is never used again."""
    return _absorbed(key, messages).finalize()


def verify_one_time_tag(key: bytes, messages: Iterable[bytes], tag: bytes) -> None:
    """Raise AuthenticationFailed unless ``tag`` is the tag of ``messages``; compares in constant time."""
    if len(key) != TAG_KEY_BYTE:
        raise AuthenticationFailed(f"a tag needs a key of {TAG_KEY_BYTE} bytes")
    try:
        _absorbed(key, messages).verify(tag)
    except InvalidSignature:
        raise AuthenticationFailed("a tag does not match what was received") from None


def _absorbed(key: bytes, messages: Iterable[bytes]) -> Poly1305:
    mac = Poly1305(key)
    for message in messages:
        mac.update(struct.pack("<Q", len(message)))
        mac.update(message)
    return mac


def forgery_probability(length_byte: int) -> float:
    """Bound on forging one tag, or on two different texts of ``length_byte`` bytes having one hash under a random key."""
    return 8.0 * -(-length_byte // 16) / 2.0**106


@dataclass(frozen=True)
class PoolPosition:
    """A place in an authentication pool: a segment, and bytes from its beginning."""

    segment: UUID
    start: int


class AuthenticationPool:
    """One end's copy of the key that authenticates a link: a pre-shared segment, then one from each block.

    Segments are named after the blocks they came from. When the last message of a block is lost, one end has a segment that the
    other lacks; because the receiver names the segment it spends from, and only ever one it has, the other end passes over what
    the receiver lacks and both stay together. What was taken is overwritten.
    """

    def __init__(self, name: str, pre_shared: bytes) -> None:
        self._name = name
        self._segments: dict[UUID, bytearray] = {UUID(int=0): bytearray(pre_shared)}
        self._spent_byte: dict[UUID, int] = {UUID(int=0): 0}

    def __repr__(self) -> str:
        return f"AuthenticationPool({self._name}, {self.available_bit} bit)"

    @property
    def available_bit(self) -> int:
        return BIT_PER_BYTE * sum(len(key) - self._spent_byte[segment] for segment, key in self._segments.items())

    def next_position(self, length_byte: int) -> PoolPosition:
        """Where the next ``length_byte`` bytes would come from. Raises KeysExhausted when no segment holds as many."""
        for segment, key in self._segments.items():
            if len(key) - self._spent_byte[segment] >= length_byte:
                return PoolPosition(segment, self._spent_byte[segment])
        raise KeysExhausted(f"authentication pool of {self._name}", self.available_bit, length_byte * BIT_PER_BYTE)

    def require(self, position: PoolPosition, length_byte: int) -> None:
        """Raise ProtocolViolation unless ``length_byte`` bytes at ``position`` are here and unspent. Nothing is spent."""
        key = self._segments.get(position.segment)
        if key is None or position.start < self._spent_byte[position.segment] or position.start + length_byte > len(key):
            raise ProtocolViolation("the authentication key named is spent or unknown")

    def take(self, position: PoolPosition, length_byte: int) -> bytes:
        """Spend ``length_byte`` bytes at ``position`` and whatever lies before it in its segment. Raises like `require`."""
        self.require(position, length_byte)
        key, end = self._segments[position.segment], position.start + length_byte
        taken = bytes(key[position.start : end])
        key[:end] = bytes(end)
        self._spent_byte[position.segment] = end
        return taken

    def replenish(self, block_id: UUID, key: bytes) -> None:
        """Add the segment of a block behind what is left."""
        self._segments[block_id] = bytearray(key)
        self._spent_byte[block_id] = 0
