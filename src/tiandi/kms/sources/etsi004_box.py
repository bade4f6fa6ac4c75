"""Another maker's box behind ETSI GS QKD 004: both KMEs join one key stream, and a block is one of its chunks.

The KSID stands in the configuration of both ends; a stream that has ended at the boxes needs a new one. In an offer a chunk is named
by the KSID and its index, both written as UUIDs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from tiandi.errors import InputError, KmeUnreachable, ProtocolViolation, RemoteRefused
from tiandi.kms.conversation import KeysUncertain
from tiandi.kms.store.database import Database, Transaction
from tiandi.kms.streams.client import StreamClient
from tiandi.kms.streams.etsi004 import Qos, Status

STREAM_SCHEMA = """
CREATE TABLE box_stream (ksid BLOB PRIMARY KEY, next_index INTEGER NOT NULL) STRICT;
"""
LARGEST_INDEX = 2**32 - 1

# An index is claimed before it is asked for, so that no crash asks for it twice, and given back when nothing was delivered.
_CLAIM = (
    "INSERT INTO box_stream (ksid, next_index) VALUES ($1, 1)"
    " ON CONFLICT (ksid) DO UPDATE SET next_index = box_stream.next_index + 1 RETURNING next_index - 1"
)
_GIVE_BACK = "UPDATE box_stream SET next_index = $2 WHERE ksid = $1 AND next_index = $2 + 1"

Result = TypeVar("Result")


class Etsi004Box:
    """A `Box` of `tiandi.kms.sources.offers`. ``own_sae`` and ``far_sae`` are as whom the boxes know the two KMEs, as they write it.

    ``qos`` is the same at both ends and asks for chunks of at least 34 bytes, the least that a KME takes as a block.
    """

    def __init__(self, client: StreamClient, database: Database, ksid: UUID, *, own_sae: str, far_sae: str, qos: Qos) -> None:
        self._client, self._database, self._ksid = client, database, ksid
        self._ends, self._qos = (own_sae, far_sae), qos
        self._joined = self._in_use = False
        self._busy = threading.Lock()

    async def join(self) -> None:
        """OPEN_CONNECT, unless that was done. Raises as `StreamClient.open` does."""
        await self._ask(lambda: None)

    async def draw(self) -> tuple[list[UUID], bytes] | None:
        """The next chunk. Raises as `StreamClient` does; a chunk whose answer was lost is passed over by both ends."""
        index = await self._database.run(self._claim)
        try:
            key = await self._ask(lambda: self._client.get_key(self._ksid, index).key)
        except (RemoteRefused, KmeUnreachable) as error:
            await self._database.run(self._give_back, index)
            if isinstance(error, RemoteRefused) and self._may_come(error.status):
                return None
            raise
        return [self._ksid, UUID(int=index)], self._fitting(key)

    async def draw_named(self, key_ids: Sequence[UUID]) -> bytes | None:
        """The chunk of that index. Raises InputError for a name of another shape, KmeUnreachable, RemoteRefused."""
        if len(key_ids) != 2 or key_ids[1].int > LARGEST_INDEX:
            raise InputError("key_IDs", len(key_ids), "must be a KSID and an index")
        ksid, index = key_ids[0], key_ids[1].int
        if ksid != self._ksid:
            return None  # Of a stream that this end has given up.
        try:
            return self._fitting(await self._ask(lambda: self._client.get_key(ksid, index).key))
        except (KeysUncertain, ProtocolViolation):
            return None

    def _may_come(self, status: int) -> bool:
        """Whether there is key later. A stream that is known to the box and has no peer has ended."""
        return status == Status.INSUFFICIENT_KEY or (status == Status.GET_KEY_PEER_NOT_CONNECTED and not self._in_use)

    def _fitting(self, key: bytes) -> bytes:
        if len(key) != self._qos.chunk_byte:
            raise ProtocolViolation(f"a chunk of {len(key)} bytes where {self._qos.chunk_byte} were agreed; it is discarded")
        return key

    async def _ask(self, question: Callable[[], Result]) -> Result:
        """Ask on a thread, for the client waits; one question at a time, after joining the stream."""

        def asking() -> Result:
            with self._busy:
                if not self._joined:
                    self._join()
                try:
                    return question()
                except RemoteRefused as error:
                    # Anything else than too little key may mean that the box has forgotten us.
                    self._joined = error.status == Status.INSUFFICIENT_KEY
                    raise

        return await asyncio.to_thread(asking)

    def _join(self) -> None:
        try:
            self._client.open(*self._ends, self._qos, self._ksid)
            self._in_use = False
        except RemoteRefused as error:
            # So does a box speak of a stream that we have joined before, or that has ended.
            if error.status != Status.KSID_IN_USE:
                raise
            self._in_use = True
        self._joined = True

    async def _claim(self, transaction: Transaction) -> int:
        return int((await transaction.rows(_CLAIM, self._ksid.bytes))[0][0])

    async def _give_back(self, transaction: Transaction, index: int) -> None:
        await transaction.rows(_GIVE_BACK, self._ksid.bytes, index)
