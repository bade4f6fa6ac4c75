"""Messages that only the two ends can have written: one-time Wegman-Carter tags and the pool of key that pays for them.

The tag is Poly1305 under a key that is used once and never again, which makes it an information-theoretic Wegman-Carter code: a
forger who has seen one message and its tag succeeds with probability at most 8 ceil(L/16) / 2^106 for messages of up to L bytes
(Bernstein 2005, doi:10.1007/11502760_3, theorem 3.3), whatever computer she has.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.poly1305 import Poly1305

from tiandi.errors import AuthenticationFailed, KeysExhausted, ProtocolViolation
from tiandi.units import BIT_PER_BYTE

TAG_KEY_BYTE = 32
TAG_BYTE = 16


def one_time_tag(key: bytes, messages: Iterable[bytes]) -> bytes:
    """Tag of a sequence of messages, each with its length in front, under a key of 32 bytes that is never used again."""
    mac = Poly1305(key)
    for message in messages:
        mac.update(struct.pack("<Q", len(message)))
        mac.update(message)
    return mac.finalize()


def verify_one_time_tag(key: bytes, messages: Iterable[bytes], tag: bytes) -> None:
    """Raise AuthenticationFailed unless ``tag`` is the tag of ``messages``; compares in constant time."""
    mac = Poly1305(key)
    for message in messages:
        mac.update(struct.pack("<Q", len(message)))
        mac.update(message)
    try:
        mac.verify(tag)
    except InvalidSignature:
        raise AuthenticationFailed("a tag does not match what was received") from None


def forgery_probability(length_byte: int) -> float:
    """Bound on forging one tag, or on two different texts of ``length_byte`` bytes having one hash under a random key."""
    return 8.0 * -(-length_byte // 16) / 2.0**106


class AuthenticationPool:
    """One end's copy of the key that authenticates a link: pre-shared at first, then replenished from each block.

    Both ends spend the same ranges in the same order. What was taken is overwritten.
    """

    def __init__(self, name: str, pre_shared: bytes) -> None:
        self._name = name
        self._key = bytearray(pre_shared)
        self._spent_byte = 0

    def __repr__(self) -> str:
        return f"AuthenticationPool({self._name}, {self.available_bit} bit)"

    @property
    def position(self) -> int:
        """Bytes spent since the pool began: where both ends will take the next key."""
        return self._spent_byte

    @property
    def available_bit(self) -> int:
        return len(self._key) * BIT_PER_BYTE

    def take(self, position: int, length_byte: int) -> bytes:
        """Spend ``length_byte`` bytes at ``position``, burning whatever lies before it.

        Raises ProtocolViolation when that range is spent already and KeysExhausted when it reaches past the end.
        """
        if position < self._spent_byte:
            raise ProtocolViolation(f"authentication key at {position} is spent up to {self._spent_byte}")
        end = position - self._spent_byte + length_byte
        if end > len(self._key):
            raise KeysExhausted(f"authentication pool of {self._name}", self.available_bit, end * BIT_PER_BYTE)
        taken = bytes(self._key[end - length_byte : end])
        self._key[:end] = bytes(end)
        del self._key[:end]
        self._spent_byte += end
        return taken

    def replenish(self, key: bytes) -> None:
        """Add fresh key behind what is left."""
        self._key += key
