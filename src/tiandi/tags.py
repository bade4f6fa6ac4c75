"""Tags that only somebody with the key can have made: one-time Wegman-Carter codes.

The tag is Poly1305 under a key that is used once and never again, which makes it an information-theoretic Wegman-Carter code: a
forger who has seen one message and its tag succeeds with probability at most 8 ceil(L/16) / 2^106 for messages of up to L bytes
(Bernstein 2005, doi:10.1007/11502760_3, theorem 3.3), whatever computer she has.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.poly1305 import Poly1305

from tiandi.bits import Data
from tiandi.errors import AuthenticationFailed

TAG_KEY_BYTE = 32
LENGTH = struct.Struct("<Q")
PIECE_BYTE, BLOCK_BYTE = 1 << 19, 16
"""Longer messages are absorbed in pieces that begin with whole blocks of Poly1305: where each begins within a block it takes three times as
long (26 MB, measured). No other thread runs during a piece, a tenth of a millisecond."""


def one_time_tag(key: bytes, messages: Iterable[Data]) -> bytes:
    """Tag of a sequence of messages, each with its length in front, under a key of 32 bytes that is never used again."""
    return _absorbed(key, messages).finalize()


def verify_one_time_tag(key: bytes, messages: Iterable[Data], tag: bytes) -> None:
    """Raise AuthenticationFailed unless ``tag`` is the tag of ``messages``; compares in constant time."""
    if len(key) != TAG_KEY_BYTE:
        raise AuthenticationFailed(f"a tag needs a key of {TAG_KEY_BYTE} bytes")
    try:
        _absorbed(key, messages).verify(tag)
    except InvalidSignature:
        raise AuthenticationFailed("a tag does not match what was received") from None


def _absorbed(key: bytes, messages: Iterable[Data]) -> Poly1305:
    mac, absorbed_byte = Poly1305(key), 0
    for message in messages:
        absorbed_byte += LENGTH.size
        mac.update(LENGTH.pack(len(message)))
        if len(message) <= PIECE_BYTE:
            mac.update(message)
        else:
            whole, begun = memoryview(message), -absorbed_byte % BLOCK_BYTE
            mac.update(whole[:begun])
            for start in range(begun, len(whole), PIECE_BYTE):
                mac.update(whole[start : start + PIECE_BYTE])
        absorbed_byte += len(message)
    return mac


def forgery_probability(length_byte: int) -> float:
    """Bound on forging one tag, or on two different texts of ``length_byte`` bytes having one hash under a random key."""
    return 8.0 * -(-length_byte // 16) / 2.0**106
