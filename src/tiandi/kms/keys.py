"""Keys as they are handed about: supply keys under their identifiers, ranges of link key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from tiandi.random import secret_bytes
from tiandi.units import BIT_PER_BYTE
from tiandi.unshown import Unshown

LARGEST_POSITION = 2**40
PREFIX_BYTE = 14
LARGEST_COUNT = 2**16

Half = Literal["first", "second"]
Role = Literal["master", "slave"]


class Segment(msgspec.Struct, frozen=True):
    """A range of link key that both ends know by this name; positions in bytes."""

    block_id: UUID
    start: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_POSITION)]
    length: Annotated[int, msgspec.Meta(ge=1, le=LARGEST_POSITION)]


class SupplyKey(Unshown, frozen=True, gc=False):
    """A key for a pair of SAEs. Its repr shows identifier and length only."""

    key_id: UUID
    key: bytes

    def __repr__(self) -> str:
        return f"SupplyKey({self.key_id}, {len(self.key) * BIT_PER_BYTE} bit)"


def new_prefix() -> bytes:
    """The first 14 bytes of the identifiers of a new reservation."""
    return marked_prefix(secret_bytes(PREFIX_BYTE))


def marked_prefix(random: bytes) -> bytes:
    """The first 14 bytes of ``random`` with the marks of a UUID of version 8 (RFC 9562)."""
    prefix = bytearray(random[:PREFIX_BYTE])
    prefix[6] = 0x80 | prefix[6] & 0x0F
    prefix[8] = 0x80 | prefix[8] & 0x3F
    return bytes(prefix)


def new_block_identifier() -> UUID:
    """An identifier for a block that nobody named yet."""
    return UUID(bytes=secret_bytes(16), version=4)


def key_identifier(prefix: bytes, index: int) -> UUID:
    """The identifier of key ``index`` of a reservation."""
    return UUID(bytes=prefix + index.to_bytes(2, "big"))


def key_identifiers(prefix: bytes, indices: Iterable[int]) -> list[UUID]:
    """As `key_identifier`, for many keys at a tenth of the time."""
    return msgspec.convert([prefix + index.to_bytes(2, "big") for index in indices], list[UUID])


def split_identifier(key_id: UUID) -> tuple[bytes, int]:
    """Prefix of the reservation, and the key's index in it."""
    return key_id.bytes[:PREFIX_BYTE], int.from_bytes(key_id.bytes[PREFIX_BYTE:], "big")
