"""Two KMEs between boxes that speak ETSI GS QKD 004, over mutual TLS: every chunk is a block at both ends, or at neither."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.kms.test_streams import TlsNetwork, over_tls
from tiandi.errors import InputError, RemoteRefused
from tiandi.kms.conversation import KeysUncertain
from tiandi.kms.sources.etsi004_box import STREAM_SCHEMA, Etsi004Box
from tiandi.kms.sources.offers import BLOCKS_AT_ONCE, SCHEMA, Initiator, Responder
from tiandi.kms.store import sealing
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.master_keys import create_master_key_file, open_master_key
from tiandi.kms.store.sealing import open_sealer
from tiandi.kms.store.sqlite_database import SqliteDatabase
from tiandi.kms.streams import associations as streams
from tiandi.kms.streams.client import StreamClient
from tiandi.kms.streams.etsi004 import GetKeyResponse, Qos
from tiandi.kms.tls.pki import Credentials

QOS = Qos(chunk_byte=64, timeout_ms=20, ttl_s=60)
KSID = UUID("6a3d3b9c-9d0f-4c53-8c0c-5f3d5b2d7c11")


@dataclass
class Ends:
    here: Initiator
    there: Responder
    clients: list[StreamClient]


class Site:
    """The boxes, and the KMEs beside them: alice's draws, bob's is told."""

    def __init__(self, tls: TlsNetwork, folder: Path) -> None:
        self.network, self._folder = tls.network, folder
        self._tls = tls
        self._credentials: dict[str, Credentials] = {sae: tls.authority.issue("sae", sae) for sae in ("alice", "bob")}
        for sae in self._credentials:
            create_master_key_file(folder / f"{sae}.key")

    @asynccontextmanager
    async def processes(self, ksid: UUID = KSID) -> AsyncIterator[Ends]:
        """Both ends from their start to their death."""
        async with AsyncExitStack() as running:
            parts, clients = [], []
            for own, far in (("alice", "bob"), ("bob", "alice")):
                database = SqliteDatabase(self._folder / f"{own}.sqlite")
                running.push_async_callback(database.close)
                await database.run(_create)
                home = self.network.homes[own]
                client = StreamClient("127.0.0.1", home, self._credentials[own], port=self._tls.ports[home], timeout_s=5)
                running.enter_context(client)
                clients.append(client)
                sealer = await open_sealer(database, open_master_key(f"file:{self._folder / own}.key"), own)
                parts.append((Etsi004Box(client, database, ksid, own_sae=own, far_sae=far, qos=QOS), database, sealer))
            there = Responder(*parts[1], name="boxes", peer="kme-alice")

            async def offer(key_ids: Sequence[UUID]) -> bool:
                return await there.receive_offer(key_ids)

            yield Ends(Initiator(*parts[0], name="boxes", peer="kme-bob", offer=offer), there, clients)


async def _create(transaction: Transaction) -> None:
    if not await transaction.rows("SELECT 1 FROM sqlite_master WHERE name = 'box_block'"):
        for statement in filter(str.strip, (SCHEMA + STREAM_SCHEMA + sealing.SCHEMA).split(";")):
            await transaction.rows(statement)


def play(folder: Path, life: Callable[[Site], Awaitable[None]]) -> None:
    """Let the boxes run while ``life`` does."""

    async def living(site: Site) -> None:
        await life(site)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "PATIENCE_S", 0.3)
        patch.setattr(streams, "PAUSE_S", 0.01)
        over_tls(folder, lambda tls: asyncio.run(living(Site(tls, folder))))


async def joined(ends: Ends) -> None:
    """Until both have joined, the boxes give nothing."""
    assert await ends.here.take_blocks() == []
    assert await ends.there.take_blocks() == []


def losing(client: StreamClient, times: int) -> None:
    """Let answers with key get lost on their way to ``client``."""
    get_key, left = client.get_key, [None] * times

    def lost(ksid: UUID, index: int, *, metadata_byte: int = 4096) -> GetKeyResponse:
        answer = get_key(ksid, index, metadata_byte=metadata_byte)
        if left:
            left.pop()
            raise KeysUncertain("box", "lost")
        return answer

    client.get_key = lost  # type: ignore[method-assign]


def test_chunks_are_equal_blocks_at_both_ends_and_go_on_after_a_restart(tmp_path: Path) -> None:
    async def life(site: Site) -> None:
        seen = []
        async with site.processes() as ends:
            await joined(ends)
        for _ in range(2):
            async with site.processes() as ends:
                blocks = await ends.here.take_blocks()
                assert await ends.there.take_blocks() == blocks
                assert [len(block.key) for block in blocks] == [64] * BLOCKS_AT_ONCE
                for end in (ends.here, ends.there):
                    await end.acknowledge([block.block_id for block in blocks])
                seen += blocks
        assert len({block.block_id for block in seen}) == len({block.key for block in seen}) == 2 * BLOCKS_AT_ONCE

    play(tmp_path, life)


def test_too_little_key_costs_no_chunk(tmp_path: Path) -> None:
    async def life(site: Site) -> None:
        async with site.processes() as ends:
            await joined(ends)
            before, site.network.key_bit = site.network.key_bit, 0
            assert await ends.here.take_blocks() == []
            site.network.key_bit = before
            assert len(await ends.here.take_blocks()) == BLOCKS_AT_ONCE
            assert not any(node.chunks for node in site.network.nodes.values())

    play(tmp_path, life)


@pytest.mark.parametrize("end", [0, 1])
def test_a_chunk_that_one_end_lost_is_passed_over_by_both(tmp_path: Path, end: int) -> None:
    async def life(site: Site) -> None:
        async with site.processes() as ends:
            await joined(ends)
            losing(ends.clients[end], 1)
            if end == 0:
                with pytest.raises(KeysUncertain):
                    await ends.here.take_blocks()
            blocks = await ends.here.take_blocks()
            assert sorted(blocks, key=lambda block: block.key) == sorted(await ends.there.take_blocks(), key=lambda block: block.key)
            assert len(blocks) == BLOCKS_AT_ONCE - end

    play(tmp_path, life)


def test_another_stream_or_another_shape_is_not_drawn_from(tmp_path: Path) -> None:
    async def life(site: Site) -> None:
        async with site.processes() as ends:
            assert not await ends.there.receive_offer([uuid4(), UUID(int=0)])
            for key_ids in ([], [KSID], [KSID, UUID(int=2**32)]):
                with pytest.raises(InputError, match="key_IDs"):
                    await ends.there.receive_offer(key_ids)

    play(tmp_path, life)


def test_an_ended_stream_is_told_of_and_another_ksid_goes_on(tmp_path: Path) -> None:
    async def life(site: Site) -> None:
        async with site.processes() as ends:
            await joined(ends)
            for client in ends.clients:
                client.close(KSID)
            with pytest.raises(RemoteRefused):
                await ends.here.take_blocks()
        async with site.processes(uuid4()) as ends:
            await joined(ends)
            assert len(await ends.here.take_blocks()) == BLOCKS_AT_ONCE

    play(tmp_path, life)
