"""Blocks drawn from other makers' boxes, equal at both ends: one end draws and offers, the other draws the same and accepts.

The initiator draws new key from its box, writes it down, and offers its identifiers to the other end. The responder draws the same key
from its box by the identifiers, writes it down, and only then accepts. The key of an offer is one block, under an identifier that both
ends derive from those of the offer. What is written down is sealed, and the answer to an offer is the same for ever, so that a crash
at any moment leaves a block with both ends, with neither, or with an initiator that asks again:

    initiator   (nothing) -> offered -> ready -> stored, or offered -> void
    responder   (nothing) -> fetching -> ready -> stored, or fetching -> void

Key that came to one end only is void at both. Of a block that is stored or void, its identifier stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from hashlib import sha256
from typing import Protocol
from uuid import UUID

from tiandi.distill.records import KeyBlock
from tiandi.errors import ProtocolViolation, TiandiError
from tiandi.kms.keys import Half
from tiandi.kms.store.database import Database, Row, Transaction
from tiandi.kms.store.sealing import SealedColumn, Sealer

BLOCKS_AT_ONCE = 16
IDENTIFIER_BYTE = 16
SCHEMA = """
CREATE TABLE box_block (
    source TEXT NOT NULL, block_id BLOB NOT NULL, state TEXT NOT NULL, key_ids BLOB, sealed BLOB, PRIMARY KEY (source, block_id)
) STRICT;
"""

_BEGIN = (
    "INSERT INTO box_block (source, block_id, state, key_ids, sealed) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING state"
)
_STATE = "SELECT state FROM box_block WHERE source = $1 AND block_id = $2"
_OFFERED = "SELECT block_id, key_ids FROM box_block WHERE source = $1 AND state = 'offered' ORDER BY block_id LIMIT $2"
_READY = "SELECT block_id, sealed FROM box_block WHERE source = $1 AND state = 'ready' ORDER BY block_id LIMIT $2"
_ACCEPT = "UPDATE box_block SET state = 'ready' WHERE source = $1 AND block_id = $2 AND state = 'offered' RETURNING 1"
_KEEP = "UPDATE box_block SET state = 'ready', sealed = $3 WHERE source = $1 AND block_id = $2 AND state = 'fetching' RETURNING 1"
_FORGET = "DELETE FROM box_block WHERE source = $1 AND block_id = $2 AND state = 'fetching' RETURNING 1"
_STORED = "UPDATE box_block SET state = 'stored', key_ids = NULL, sealed = NULL WHERE source = $1 AND block_id = $2 AND state = 'ready'"
_VOID = (
    "UPDATE box_block SET state = 'void', key_ids = NULL, sealed = NULL"
    " WHERE source = $1 AND block_id = $2 AND state IN ('offered', 'fetching') RETURNING 1"
)

Offer = Callable[[Sequence[UUID]], Awaitable[bool]]
"""Calls `Responder.receive_offer` at the other end and returns its answer; raises a TiandiError when there is none."""


class Box(Protocol):
    """A box as its KME calls it. Every method raises a TiandiError when it does not answer as it should."""

    async def join(self) -> None:
        """Do what the box asks of both ends before it gives key to either; it may be done already."""
        ...

    async def draw(self) -> tuple[list[UUID], bytes] | None:
        """New key and its identifiers; None when the box has none now. Key whose answer was lost is never drawn again."""
        ...

    async def draw_named(self, key_ids: Sequence[UUID]) -> bytes | None:
        """The key that the other box gave under these identifiers; None when it will never be had.

        Raises InputError for identifiers that cannot be this box's. Whatever else it raises, the box has delivered nothing.
        """
        ...


class _End:
    """What both ends have: the box, and the table of blocks, shared by all sources of a store."""

    def __init__(self, box: Box, database: Database, sealer: Sealer, *, name: str, peer: str) -> None:
        self.name, self.peer = name, peer
        self._box, self._database, self._sealer = box, database, sealer
        self._busy = asyncio.Lock()

    async def acknowledge(self, block_ids: Collection[UUID]) -> None:
        """The KME has these blocks: destroy the sealed copies."""

        async def destroy(transaction: Transaction) -> None:
            await transaction.execute_many(_STORED, [(self.name, block_id.bytes) for block_id in block_ids])

        await self._database.run(destroy)

    async def _ready(self) -> list[KeyBlock]:
        async def read(transaction: Transaction) -> list[KeyBlock]:
            rows = await transaction.rows(_READY, self.name, BLOCKS_AT_ONCE)
            await self._sealer.ensure(transaction, [sealed for _, sealed in rows])
            return [KeyBlock(UUID(bytes=block_id), self._sealer.open(sealed, self._context(block_id))) for block_id, sealed in rows]

        return await self._database.run(read)

    async def _begin(self, key_ids: Sequence[UUID], state: str, key: bytes | None) -> str | None:
        """Enter a block in its first state; if it is there already, change nothing and return its state."""
        place = self.name, block_identifier(key_ids).bytes
        sealed = None if key is None else self._sealer.seal(key, self._context(place[1]))

        async def enter(transaction: Transaction) -> str | None:
            if await transaction.rows(_BEGIN, *place, state, b"".join(key_id.bytes for key_id in key_ids), sealed):
                return None
            return str((await transaction.rows(_STATE, *place))[0][0])

        return await self._database.run(enter)

    async def _change(self, query: str, block_id: UUID, *values: bytes) -> bool:
        """Change a block's state; false, and nothing changed, when it is in another state than the change begins from."""

        async def change(transaction: Transaction) -> bool:
            return bool(await transaction.rows(query, self.name, block_id.bytes, *values))

        return await self._database.run(change)

    def _context(self, block_id: bytes) -> bytes:
        return sealing_context(self.name, block_id)


class Initiator(_End):
    """The `KeySource` of the end that draws new key. ``offer`` reaches the responder; ``name`` is the same at both ends."""

    own_half: Half = "first"

    def __init__(self, box: Box, database: Database, sealer: Sealer, *, name: str, peer: str, offer: Offer) -> None:
        super().__init__(box, database, sealer, name=name, peer=peer)
        self._offer = offer

    async def take_blocks(self) -> list[KeyBlock]:
        """Blocks that the other end has too. First what was offered before is offered again, then new key is drawn.

        Raises a TiandiError when the box or the other end fails and no block is ready; while an offer has no answer, no new key is
        drawn.
        """
        async with self._busy:
            try:
                await self._offer_again()
                await self._draw()
            except TiandiError:
                # What is ready is handed over first; what failed fails again at the next call.
                if not (blocks := await self._ready()):
                    raise
                return blocks
            return await self._ready()

    async def _offer_again(self) -> None:
        async def read(transaction: Transaction) -> list[Row]:
            return await transaction.rows(_OFFERED, self.name, BLOCKS_AT_ONCE)

        while rows := await self._database.run(read):
            for _, key_ids in rows:
                await self._settle([UUID(bytes=key_ids[at : at + IDENTIFIER_BYTE]) for at in range(0, len(key_ids), IDENTIFIER_BYTE)])

    async def _draw(self) -> None:
        """Draw and offer blocks until the box has no more, or enough wait for the KME."""
        for _ in range(BLOCKS_AT_ONCE - len(await self._ready())):
            drawn = await self._box.draw()
            if drawn is None:
                return
            key_ids, key = drawn
            if await self._begin(key_ids, "offered", key) is not None:
                raise ProtocolViolation(f"{self.name} gave the same key twice; it is discarded")
            await self._settle(key_ids)

    async def _settle(self, key_ids: Sequence[UUID]) -> None:
        accepted = await self._offer(key_ids)
        await self._change(_ACCEPT if accepted else _VOID, block_identifier(key_ids))


class Responder(_End):
    """The `KeySource` of the end that is told what to draw."""

    own_half: Half = "second"

    async def take_blocks(self) -> list[KeyBlock]:
        """Blocks that were offered and drawn. Raises a TiandiError when there is none and the box cannot be joined."""
        blocks = await self._ready()
        if not blocks:
            await self._box.join()
        return blocks

    async def receive_offer(self, key_ids: Sequence[UUID]) -> bool:
        """Draw this key and write it down; true when it is there, false when it never will be. Who asks again hears the same.

        The caller has made sure that it is ``peer`` who asks. Raises InputError for identifiers that cannot be the box's, another
        TiandiError when the box delivered nothing and may later.
        """
        async with self._busy:
            block_id = block_identifier(key_ids)
            state = await self._begin(key_ids, "fetching", None)
            if state == "fetching":
                # A crash, or another process: who was fetching may have lost the key.
                return not await self._change(_VOID, block_id) and await self._begin(key_ids, "void", None) in {"ready", "stored"}
            if state is not None:
                return state != "void"
            try:
                key = await self._box.draw_named(key_ids)
            except TiandiError:
                await self._change(_FORGET, block_id)
                raise
            if key is None:
                await self._change(_VOID, block_id)
                return False
            return await self._change(_KEEP, block_id, self._sealer.seal(key, self._context(block_id.bytes)))


def block_identifier(key_ids: Sequence[UUID]) -> UUID:
    """The identifier of the block that these keys make in this order: version 8, from their SHA-256."""
    digest = bytearray(sha256(b"tiandi block of keys\0" + b"".join(key_id.bytes for key_id in key_ids)).digest()[:IDENTIFIER_BYTE])
    digest[6] = 0x80 | digest[6] & 0x0F
    digest[8] = 0x80 | digest[8] & 0x3F
    return UUID(bytes=bytes(digest))


def sealing_context(source: str, block_id: bytes) -> bytes:
    """What a block's ``sealed`` opens as."""
    return b"box block " + block_id + source.encode()


SEALED = SealedColumn("box_block", "sealed", ("source", "block_id"), ("source", "block_id"), sealing_context)
"""For `sealing.retire`."""
