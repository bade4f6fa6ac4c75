"""Link key: what a QKD link made at this KME and at a neighbour's, spent in ranges, each bit once.

Of each block one half is for what this end sends, the other for what the peer sends, so that the two never reach for the same bits.
Before any of a block is used, its ends compare a one-time tag: 32 bytes of the block are the key of the tag over the rest, so that
the tag tells a listener nothing and differing blocks are found out but with probability 2**-100 or less (`tiandi.tags`).
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import msgspec

from tiandi.errors import InputError, KeyNotFound, KeysExhausted, StateError
from tiandi.kms.keys import Half, Segment
from tiandi.kms.operating.alarms import raise_alarm
from tiandi.kms.states import State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.ledger import link_stock
from tiandi.kms.store.sealing import Sealer
from tiandi.tags import TAG_KEY_BYTE, one_time_tag
from tiandi.units import BIT_PER_BYTE

CHUNK_BYTE = 4096
LEAST_BLOCK_BYTE = TAG_KEY_BYTE + 2

SCHEMA = """
CREATE TABLE link_block (
    block_id BLOB PRIMARY KEY, peer TEXT NOT NULL, length INTEGER NOT NULL, half TEXT NOT NULL, state TEXT NOT NULL,
    tag BLOB NOT NULL, created_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX link_block_received ON link_block (half, peer) WHERE state = 'received';
CREATE INDEX link_block_age ON link_block (created_ms, block_id) WHERE state IN ('received', 'stored');
CREATE TABLE link_key (
    block_id BLOB NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL, peer TEXT NOT NULL, own INTEGER NOT NULL,
    stored INTEGER NOT NULL, created_ms INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (block_id, start)
) STRICT;
CREATE INDEX link_key_peer ON link_key (peer, own, stored, created_ms, block_id, start);
"""

Comparison = Literal["equal", "unknown", "different"]


class BlockOffer(msgspec.Struct, frozen=True):
    """What one end tells the other to compare a block: its length without the tag's key [byte], and the tag."""

    block_id: UUID
    length: int
    tag: bytes


class LinkKeys:
    """The link key of one KME. Every method is part of the caller's transaction."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def receive(self, transaction: Transaction, peer: str, block_id: UUID, key: bytes, half: Half) -> bool:
        """Store a block whose ``half`` this end sends under; false when the store has or had it already.

        Raises InputError when it is too short to be compared.
        """
        if len(key) < LEAST_BLOCK_BYTE:
            raise InputError("block length", len(key), f"must be at least {LEAST_BLOCK_BYTE} bytes")
        body, created_ms = key[TAG_KEY_BYTE:], ledger.now_ms()
        new = await transaction.rows(
            "INSERT INTO link_block (block_id, peer, length, half, state, tag, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)"
            " ON CONFLICT (block_id) DO NOTHING RETURNING 1",
            block_id.bytes,
            peer,
            len(body),
            half,
            State.RECEIVED.value,
            one_time_tag(key[:TAG_KEY_BYTE], [body]),
            created_ms,
        )
        if not new:
            return False
        middle = len(body) // 2
        rows = []
        for low, high, is_first in ((0, middle, True), (middle, len(body), False)):
            own = is_first == (half == "first")
            stock = link_stock(peer, own=own)
            await ledger.move(transaction, stock, None, State.RECEIVED, (high - low) * BIT_PER_BYTE, what=str(block_id))
            for start in range(low, high, CHUNK_BYTE):
                chunk = body[start : min(start + CHUNK_BYTE, high)]
                sealed = self._sealer.seal(chunk, _context(peer, block_id.bytes, start))
                rows.append((block_id.bytes, start, len(chunk), peer, int(own), 0, created_ms, sealed))
        await transaction.execute_many(
            "INSERT INTO link_key (block_id, start, length, peer, own, stored, created_ms, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            rows,
        )
        return True

    async def knows(self, transaction: Transaction, block_id: UUID) -> bool:
        """Whether the store has or had this block."""
        return bool(await transaction.rows("SELECT 1 FROM link_block WHERE block_id = $1", block_id.bytes))

    # Comparing with the peer.

    async def peers_to_compare(self, transaction: Transaction) -> list[str]:
        """Peers with whom this end is to compare blocks."""
        query = "SELECT DISTINCT peer FROM link_block WHERE state = 'received' AND half = 'first'"
        return [peer for (peer,) in await transaction.rows(query)]

    async def offers(self, transaction: Transaction, peer: str, limit: int) -> list[BlockOffer]:
        """Some of the blocks that wait to be compared, of those whose first half is this end's: it is the one to ask.

        Which ones is left to chance, so that blocks which the peer never gets do not keep the others waiting.
        """
        rows = await transaction.rows(
            "SELECT block_id, length, tag FROM link_block WHERE peer = $1 AND state = 'received' AND half = 'first'"
            " ORDER BY random() LIMIT $2",
            peer,
            limit,
        )
        return [BlockOffer(UUID(bytes=block_id), length, tag) for block_id, length, tag in rows]

    async def compare(self, transaction: Transaction, peer: str, offer: BlockOffer) -> Comparison:
        """Answer the peer's offer: equal blocks become stored, differing ones are voided. The same offer gets the same answer again."""
        block_id = offer.block_id.bytes
        query = "SELECT peer, length, tag, state, half FROM link_block WHERE block_id = $1 FOR UPDATE"
        rows = await transaction.rows(query, block_id)
        if not rows:
            return "unknown"
        owner, length, tag, state, half = rows[0]
        if owner != peer or state in {State.VOIDED, State.EXPIRED}:
            return "different"
        # Both sending under the first half would use each bit of it twice.
        if half == "first" or length != offer.length or not hmac.compare_digest(tag, offer.tag):
            if offer.length:  # Otherwise the peer voids it, and says so by an offer that no block equals.
                await raise_alarm(transaction, "block-differs", peer, f"block {offer.block_id} differs from the peer's copy and was voided")
            await self.void(transaction, peer, offer.block_id, what="differs from the peer's")
            return "different"
        await self.settle(transaction, peer, offer.block_id, "equal")
        return "equal"

    async def settle(self, transaction: Transaction, peer: str, block_id: UUID, answer: Comparison) -> None:
        """Act on the answer that the peer gave to an offer."""
        if answer == "different":
            await raise_alarm(transaction, "block-differs", peer, f"block {block_id} differs from the peer's copy and was voided")
            await self.void(transaction, peer, block_id, what="differs from the peer's")
        if answer != "equal":
            return
        rows = await transaction.rows(
            "UPDATE link_block SET state = $3 WHERE block_id = $1 AND peer = $2 AND state = $4 RETURNING 1",
            block_id.bytes,
            peer,
            State.STORED.value,
            State.RECEIVED.value,
        )
        if rows:
            for own, bit in await self._lengths(transaction, block_id):
                await ledger.move(transaction, link_stock(peer, own=own), State.RECEIVED, State.STORED, bit, what=str(block_id))
            await transaction.rows("UPDATE link_key SET stored = 1 WHERE block_id = $1", block_id.bytes)

    async def _lengths(self, transaction: Transaction, block_id: UUID) -> list[tuple[bool, int]]:
        rows = await transaction.rows("SELECT own, sum(length) FROM link_key WHERE block_id = $1 GROUP BY own ORDER BY own", block_id.bytes)
        return [(bool(own), int(length) * BIT_PER_BYTE) for own, length in rows]

    async def void(
        self,
        transaction: Transaction,
        peer: str,
        block_id: UUID,
        *,
        what: str = "",
        end: State = State.VOIDED,
    ) -> int:
        """Destroy what is left of a block; its identifier stays. Returns the bits destroyed."""
        rows = await transaction.rows("SELECT state FROM link_block WHERE block_id = $1 AND peer = $2 FOR UPDATE", block_id.bytes, peer)
        if not rows or rows[0][0] in {State.VOIDED, State.EXPIRED}:
            return 0
        total = 0
        # Whoever is spending meanwhile makes the block shorter.
        for own in (False, True):
            await ledger.bits(transaction, link_stock(peer, own=own), State(rows[0][0]), locked=True)
        for own, bit in await self._lengths(transaction, block_id):
            await ledger.move(transaction, link_stock(peer, own=own), State(rows[0][0]), end, bit, what=f"{block_id} {what}".strip())
            total += bit
        await transaction.rows("DELETE FROM link_key WHERE block_id = $1", block_id.bytes)
        await transaction.rows("UPDATE link_block SET state = $2 WHERE block_id = $1", block_id.bytes, end.value)
        return total

    async def void_link(self, transaction: Transaction, peer: str, *, what: str) -> int:
        """Destroy every block shared with ``peer``. Returns the bits destroyed."""
        rows = await transaction.rows("SELECT DISTINCT block_id FROM link_key WHERE peer = $1 ORDER BY block_id", peer)
        return sum([await self.void(transaction, peer, UUID(bytes=block_id), what=what) for (block_id,) in rows])

    async def expire(self, transaction: Transaction, before_ms: int) -> int:
        """Destroy blocks received before that time. Returns the bits destroyed."""
        rows = await transaction.rows(
            "SELECT block_id, peer FROM link_block WHERE created_ms < $1 AND state IN ('received', 'stored')"
            " ORDER BY created_ms, block_id LIMIT 100",
            before_ms,
        )
        return sum([await self.void(transaction, peer, UUID(bytes=block_id), end=State.EXPIRED) for block_id, peer in rows])

    # Spending.

    async def stock_bit(self, transaction: Transaction, peer: str) -> int:
        """Link key under which this end can send to ``peer`` [bit]."""
        return await ledger.bits(transaction, link_stock(peer, own=True), State.STORED)

    async def spend(self, transaction: Transaction, peer: str, length_byte: int, *, what: str) -> tuple[bytes, list[Segment]]:
        """Take link key of this end's halves, oldest first: the key and its ranges. Raises KeysExhausted when the stock is too small."""
        available_bit = await ledger.bits(transaction, link_stock(peer, own=True), State.STORED, locked=True)
        if available_bit < length_byte * BIT_PER_BYTE:
            raise KeysExhausted(f"stock with {peer}", available_bit, length_byte * BIT_PER_BYTE)
        most = length_byte // CHUNK_BYTE + 2
        taken = bytearray()
        segments: list[Segment] = []
        while len(taken) < length_byte:
            rows = await transaction.rows(
                "SELECT block_id, start, length, sealed FROM link_key WHERE peer = $1 AND own = 1 AND stored = 1"
                " ORDER BY created_ms, block_id, start LIMIT $2 FOR UPDATE",
                peer,
                most,
            )
            if not rows:
                raise StateError("ledger", peer, "says more link key than the store holds")
            for block_id, start, length, sealed in rows:
                used = min(length_byte - len(taken), length)
                if not used:
                    break
                key = await self._opened(transaction, sealed, _context(peer, block_id, start))
                await self._shorten(transaction, (block_id, start), key, 0, used)
                taken += key[:used]
                segments.append(Segment(UUID(bytes=block_id), start, used))
        stock = link_stock(peer, own=True)
        await ledger.move(transaction, stock, State.STORED, State.SPENT, length_byte * BIT_PER_BYTE, what=what)
        return bytes(taken), _joined(segments)

    async def spend_named(self, transaction: Transaction, peer: str, segments: Sequence[Segment], *, what: str) -> bytes:
        """Take exactly these ranges, which the peer named, of the peer's halves.

        Raises KeyNotFound when any of it is spent, unknown, or this end's own; `destroy_named` then destroys what there is of it.
        """
        taken = bytearray()
        states = await self._lock_blocks(transaction, peer, segments)
        for segment in segments:
            before = len(taken)
            for place, key, low, high in await self._overlapping(transaction, peer, segment):
                await self._shorten(transaction, place, key, low, high)
                taken += key[low:high]
            if len(taken) - before != segment.length:
                end = segment.start + segment.length
                raise KeyNotFound(f"bytes {segment.start} to {end} of block {segment.block_id} are not {peer}'s to spend")
            stock, state = link_stock(peer, own=False), states[segment.block_id]
            await ledger.move(transaction, stock, state, State.SPENT, segment.length * BIT_PER_BYTE, what=what)
        return bytes(taken)

    async def destroy_named(self, transaction: Transaction, peer: str, segments: Sequence[Segment]) -> None:
        """Destroy what there is of ranges that the peer named in vain: it may have used them."""
        states = await self._lock_blocks(transaction, peer, segments)
        for segment in segments:
            for place, key, low, high in await self._overlapping(transaction, peer, segment):
                await self._shorten(transaction, place, key, low, high)
                stock, state = link_stock(peer, own=False), states[segment.block_id]
                await ledger.move(transaction, stock, state, State.VOIDED, (high - low) * BIT_PER_BYTE, what="named in vain")

    async def _lock_blocks(self, transaction: Transaction, peer: str, segments: Sequence[Segment]) -> dict[UUID, State]:
        """The state of each block that is named and is here, locked.

        Whoever cuts a chunk puts its rest back under another start, and whoever compares or voids a block counts its bits, so that only
        one may do so at a time; blocks are locked in order, before any account, so that nobody waits in a circle.
        """
        query = "SELECT state FROM link_block WHERE block_id = $1 AND peer = $2 FOR UPDATE"
        states = {}
        for block_id in sorted({segment.block_id for segment in segments}):
            for (state,) in await transaction.rows(query, block_id.bytes, peer):
                states[block_id] = State(state)
        return states

    async def _overlapping(self, transaction: Transaction, peer: str, segment: Segment) -> list[tuple[tuple[bytes, int], bytes, int, int]]:
        """Chunks of the peer's that meet a range: (block, start), key, and from where to where within the chunk."""
        end = segment.start + segment.length
        rows = await transaction.rows(
            "SELECT start, length, sealed FROM link_key"
            " WHERE block_id = $1 AND peer = $2 AND own = 0 AND start < $4 AND start + length > $3 ORDER BY start FOR UPDATE",
            segment.block_id.bytes,
            peer,
            segment.start,
            end,
        )
        block_id = segment.block_id.bytes
        return [
            (
                (block_id, start),
                await self._opened(transaction, sealed, _context(peer, block_id, start)),
                max(segment.start, start) - start,
                min(end, start + length) - start,
            )
            for start, length, sealed in rows
        ]

    async def _opened(self, transaction: Transaction, sealed: bytes, context: bytes) -> bytes:
        await self._sealer.ensure(transaction, [sealed])
        return self._sealer.open(sealed, context)

    async def _shorten(self, transaction: Transaction, place: tuple[bytes, int], key: bytes, low: int, high: int) -> None:
        """Take bytes ``low`` to ``high`` out of a chunk; the rest is sealed anew, so that no spent byte stays."""
        block_id, start = place
        row = await transaction.rows(
            "DELETE FROM link_key WHERE block_id = $1 AND start = $2 RETURNING peer, own, stored, created_ms", block_id, start
        )
        peer, own, stored, created_ms = row[0]
        for offset, rest in ((start, key[:low]), (start + high, key[high:])):
            if rest:
                sealed = self._sealer.seal(rest, _context(peer, block_id, offset))
                await transaction.rows(
                    "INSERT INTO link_key (block_id, start, length, peer, own, stored, created_ms, sealed)"
                    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                    block_id,
                    offset,
                    len(rest),
                    peer,
                    own,
                    stored,
                    created_ms,
                    sealed,
                )


def _context(peer: str, block_id: bytes, start: int) -> bytes:
    """What a chunk is sealed as: it opens nowhere else."""
    return b"link key " + block_id + start.to_bytes(8, "big") + peer.encode()


def _joined(segments: list[Segment]) -> list[Segment]:
    """Ranges with neighbours joined."""
    joined: list[Segment] = []
    for segment in segments:
        last = joined[-1] if joined else None
        if last and last.block_id == segment.block_id and last.start + last.length == segment.start:
            joined[-1] = Segment(last.block_id, last.start, last.length + segment.length)
        else:
            joined.append(segment)
    return joined
