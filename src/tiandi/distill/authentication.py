"""The pool of key that pays for the tags of a link."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from tiandi.errors import KeysExhausted, ProtocolViolation
from tiandi.units import BIT_PER_BYTE


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

    def peek(self, position: PoolPosition, length_byte: int) -> bytes:
        """The bytes at ``position``, to check a tag by which the peer proves that it means this position. Raises like `require`."""
        self.require(position, length_byte)
        return bytes(self._segments[position.segment][position.start : position.start + length_byte])

    def take(self, position: PoolPosition, length_byte: int) -> bytes:
        """Spend ``length_byte`` bytes at ``position`` and all key older than that. Raises like `require`."""
        taken = self.peek(position, length_byte)
        for segment in list(self._segments):
            if segment == position.segment:
                break
            self._drop(segment)
        key, end = self._segments[position.segment], position.start + length_byte
        key[:end] = bytes(end)
        self._spent_byte[position.segment] = end
        if end == len(key):
            self._drop(position.segment)
        return taken

    def _drop(self, segment: UUID) -> None:
        key = self._segments.pop(segment)
        key[:] = bytes(len(key))
        del self._spent_byte[segment]

    def replenish(self, block_id: UUID, key: bytes) -> None:
        """Add the segment of a block behind what is left."""
        self._segments[block_id] = bytearray(key)
        self._spent_byte[block_id] = 0
