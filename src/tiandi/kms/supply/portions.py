"""How many keys are made in one reservation, and what they take of link key."""

from __future__ import annotations

from tiandi.kms.relay.relay_messages import OVERHEAD_BIT
from tiandi.units import byte_from_bit

LARGEST_BYTE = 32 * 1024
SMALL_COUNT, LARGE_COUNT = 256, 1024
MANY = 4096


def portion_size(count: int, size_bit: int) -> int:
    """Keys in each reservation when ``count`` are wanted.

    Who takes a key out of a reservation seals all others anew, so there are few in it, unless so many are wanted that making them counts.
    """
    return max(1, min(LARGE_COUNT if count > MANY else SMALL_COUNT, LARGEST_BYTE // byte_from_bit(size_bit)))


def cost_bit(count: int, size_bit: int, portion: int) -> int:
    """Link key that ``count`` keys take on every hop, ``portion`` in each reservation."""
    return count * size_bit + -(-count // portion) * OVERHEAD_BIT


def affordable_count(bit: int, size_bit: int, portion: int) -> int:
    """Keys that ``bit`` bits of link key pay for, ``portion`` in each reservation."""
    whole, rest = divmod(bit, portion * size_bit + OVERHEAD_BIT)
    return whole * portion + max(0, (rest - OVERHEAD_BIT) // size_bit)
