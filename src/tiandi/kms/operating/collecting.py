"""Collecting link key: the sources that a configuration names, each in a loop that outlives whatever fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from tiandi.errors import NotAuthorised, TiandiError
from tiandi.kms.client import AsyncKeyClient
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.operating.configuration_tables import BoxTable, Configuration, Etsi004Source, Etsi014Source, FilesSource, as_list
from tiandi.kms.source import KeySource
from tiandi.kms.sources import etsi004_box, offers
from tiandi.kms.sources.etsi004_box import Etsi004Box
from tiandi.kms.sources.etsi014_box import Etsi014Box
from tiandi.kms.sources.key_files import KeyFiles
from tiandi.kms.sources.offers import Box, Initiator, Offer, Responder
from tiandi.kms.store import ledger
from tiandi.kms.streams.client import StreamClient
from tiandi.kms.streams.etsi004 import Qos
from tiandi.kms.tls.pki import Credentials

OFFER_PATH = "/kx/v1/offer"
LONGEST_PAUSE_S = 60.0
TABLES = (offers.SCHEMA, etsi004_box.STREAM_SCHEMA)

_log = logging.getLogger(__name__)


class KeyOffer(msgspec.Struct, frozen=True):
    """An initiator has drawn key of these identifiers from the box that both ends call ``source``."""

    source: str
    key_ids: list[UUID]


@dataclass
class Collector:
    """A source and how it does."""

    source: KeySource
    interval_s: float
    close: Callable[[], Awaitable[None]]
    last_ms: int = 0
    """When a block came last [ms since 1970]; 0 before the first."""
    bit: int = 0
    """What has come since the start."""
    error: str = ""
    """Why it gives nothing now."""

    async def run(self, entity: KeyManagementEntity, source: KeySource) -> None:
        """Collect from ``source``, who is this one's or stands for it, for ever; at longer and longer intervals while it fails."""
        pause_s = self.interval_s
        while True:
            try:
                bit = await entity.collect(source)
            except TiandiError as error:
                self._tell(str(error))
                pause_s = min(2 * pause_s, max(LONGEST_PAUSE_S, self.interval_s))
            else:
                self._tell("")
                pause_s = self.interval_s
                if bit:
                    self.last_ms, self.bit = ledger.now_ms(), self.bit + bit
                    continue  # There may be more.
            await asyncio.sleep(pause_s)

    def _tell(self, error: str) -> None:
        if error != self.error:
            _log.log(logging.WARNING if error else logging.INFO, "%s: %s", self.source.name, error or "gives key again")
        self.error = error


class Collectors:
    """Every source of one KME."""

    def __init__(self, configuration: Configuration, entity: KeyManagementEntity, *, watched: Callable[[KeySource], KeySource]) -> None:
        self._configuration, self._entity, self._watched = configuration, entity, watched
        self._tasks: list[asyncio.Task[None]] = []
        self.each: list[Collector] = []

    def open(self) -> None:
        """Open what the configuration names. Raises InputError or StateError for what cannot be."""
        for table in self._configuration.sources:
            make = self._files if isinstance(table, FilesSource) else self._box
            self.each.append(make(table))  # type: ignore[arg-type]

    def start(self) -> None:
        """Begin to collect."""
        self._tasks = [asyncio.create_task(each.run(self._entity, self._watched(each.source))) for each in self.each]

    async def close(self) -> None:
        """Stop, and let go of everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for collector in self.each:
            await collector.close()
        self.each = []

    async def receive_offers(self, sender: str, messages: Sequence[KeyOffer]) -> list[bool]:
        """Offers of another KME's initiators: for each, whether this end has the same key now. Raises NotAuthorised for an odd one."""
        return [await self._responder(sender, message.source).receive_offer(message.key_ids) for message in messages]

    def _responder(self, sender: str, name: str) -> Responder:
        for collector in self.each:
            source = collector.source
            if isinstance(source, Responder) and (source.peer, source.name) == (sender, name):
                return source
        raise NotAuthorised(f"{sender} has no box {name} in common with this KME")

    def _files(self, table: FilesSource) -> Collector:
        folder, own = self._configuration.path(table.folder), self._configuration.kme.id
        half = table.own_half or ("first" if own < table.peer else "second")
        source = KeyFiles(folder, peer=table.peer, own_half=half, name=table.title)

        async def close() -> None:
            source.close()

        return Collector(source, table.interval_s, close)

    def _box(self, table: BoxTable) -> Collector:
        box, close = self._connected(table)
        database, sealer = self._entity.database, self._entity.sealer
        if table.role == "responder":
            return Collector(Responder(box, database, sealer, name=table.name, peer=table.peer), table.interval_s, close)
        source = Initiator(box, database, sealer, name=table.name, peer=table.peer, offer=self._offer(table))
        return Collector(source, table.interval_s, close)

    def _connected(self, table: BoxTable) -> tuple[Box, Callable[[], Awaitable[None]]]:
        path = self._configuration.path
        credentials = Credentials(table.sae, path(table.certificate), path(table.private_key), path(table.authority))
        if isinstance(table, Etsi014Source):
            client = AsyncKeyClient(as_list(table.address), table.box_kme, credentials)
            box = Etsi014Box(client, table.far_sae, key_size_bit=table.key_size_bit, keys_per_block=table.keys_per_block)
            return box, client.close
        assert isinstance(table, Etsi004Source)
        stream = StreamClient(table.host, table.box_kme, credentials, port=table.port)

        async def hang_up() -> None:
            await asyncio.to_thread(stream.hang_up)

        qos = Qos(chunk_byte=table.chunk_byte)
        return Etsi004Box(stream, self._entity.database, table.ksid, own_sae=table.sae, far_sae=table.far_sae, qos=qos), hang_up

    def _offer(self, table: BoxTable) -> Offer:
        async def offer(key_ids: Sequence[UUID]) -> bool:
            return await self._entity.exchange.ask(table.peer, OFFER_PATH, KeyOffer(table.name, list(key_ids)), bool)

        return offer
