"""The key of ETSI GS QKD 004 streams: reservations whose identifiers both KMEs derive from the stream's own."""

from __future__ import annotations

import hashlib
from uuid import UUID

from tiandi.errors import KeysExhausted, KmeUnreachable, NoRoute, NotAuthorised, RelayFailed
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.keys import marked_prefix
from tiandi.kms.relay.exchange import STREAM_PATH
from tiandi.kms.states import State
from tiandi.kms.store.database import Transaction
from tiandi.kms.streams.associations import BATCH_CHUNKS, StreamMessage


class KeyStreamSupply:
    """A `tiandi.kms.streams.associations.StreamSupply` over one KME."""

    def __init__(self, entity: KeyManagementEntity) -> None:
        self._entity = entity
        self.kme_id = entity.kme_id

    def home(self, sae: str) -> str:
        """The KME of an SAE. Raises InputError for an unknown one, NotAuthorised for one of another network."""
        if self._entity.directory.beyond(sae):
            raise NotAuthorised(f"{sae} is of another network: key streams end at the border")
        return self._entity.directory.home(sae)

    def available_bps(self, master: str, slave: str) -> int:
        """What the pair's policy allows, and the first link on the way brings of late, whichever is less [bit/s]."""
        return self._entity.available_bps(master, slave)

    async def reserve_stream(self, ksid: UUID, batch: int, *, master: str, slave: str, size_bit: int, count: int) -> None:
        """Have one batch of chunks ready at both KMEs; nothing is done for one that is. Raises KeysExhausted or RelayFailed."""
        prefix = _prefix(ksid, batch)
        sides = await self._entity.database.run(self._entity.supply_keys.find, prefix, 0)
        if not sides:
            try:
                await self._entity.reserve(master, [slave], size_bit=size_bit, count=count, prefix=prefix, kept_apart=True)
            except NoRoute as error:
                raise KeysExhausted(f"stream {ksid} ({error})", 0, size_bit * count) from None
            return
        states = {state for role, _, state in sides if role == "master"}
        if states & {State.RESERVED, State.UNCERTAIN}:
            raise RelayFailed(self.kme_id, f"batch {batch} of stream {ksid} is on its way")
        if states & {State.VOIDED, State.EXPIRED}:
            raise KeysExhausted(f"batch {batch} of stream {ksid}, which was voided,", 0, size_bit * count)

    async def take_chunk(self, ksid: UUID, index: int, sae: str) -> tuple[bytes, int, int]:
        """A chunk, its age [ms] and hops, delivered to this end once. Raises KeyNotFound when it is not there."""
        batch, place = divmod(index, BATCH_CHUNKS)
        supply_keys = self._entity.supply_keys
        key, age_ms, hops = await self._entity.database.run(supply_keys.deliver_of, _prefix(ksid, batch), place, sae)
        return key.key, age_ms, hops

    async def void_stream(self, ksid: UUID) -> None:
        """Destroy what this KME holds of a stream's chunks."""
        await self._entity.database.run(self._void, ksid)

    async def _void(self, transaction: Transaction, ksid: UUID) -> None:
        rows = await transaction.rows("SELECT batches FROM stream WHERE ksid = $1", str(ksid))
        # One more than were counted: the process may have died between making a batch and counting it.
        for batch in range(rows[0][0] + 1 if rows else 0):
            await self._entity.supply_keys.change(transaction, _prefix(ksid, batch), 0, [State.READY], State.VOIDED)

    async def tell_stream(self, kme: str, message: StreamMessage) -> StreamMessage:
        """The answer of another KME. Raises KmeUnreachable when none came, RemoteRefused when it refuses."""
        try:
            return await self._entity.exchange.ask(kme, STREAM_PATH, message, StreamMessage)
        except RelayFailed as error:
            raise KmeUnreachable(f"{kme}: {error}") from None


def _prefix(ksid: UUID, batch: int) -> bytes:
    """The identifiers of a batch of chunks; whoever does not know the stream cannot tell them from others."""
    return marked_prefix(hashlib.sha256(b"tiandi key stream" + ksid.bytes + batch.to_bytes(8, "big")).digest())
