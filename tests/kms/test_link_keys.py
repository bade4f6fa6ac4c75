import asyncio
import os
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest

from tests.kms.conftest import OpenStore
from tests.kms.network import sqlite_store
from tiandi.errors import InputError, KeysExhausted
from tiandi.kms.keys import Segment
from tiandi.kms.store.link_keys import CHUNK_BYTE, LEAST_BLOCK_BYTE, BlockOffer
from tiandi.tags import TAG_KEY_BYTE


def test_both_ends_spend_the_same_bytes_each_its_own_half(tmp_path: Path) -> None:
    key, block_id = os.urandom(TAG_KEY_BYTE + 9001), uuid4()

    async def run() -> None:
        async with sqlite_store(tmp_path) as here, sqlite_store(tmp_path, "kme-b") as there:
            await here.put_block("kme-b", block_id, key, "first")
            await there.put_block("kme-a", block_id, key, "second")
            seen: set[int] = set()
            for sender, receiver, peers in ((here, there, ("kme-b", "kme-a")), (there, here, ("kme-a", "kme-b"))) * 11:
                spent, segments = await sender.run(sender.link_keys.spend, peers[0], 400, what="")
                assert await receiver.run(receiver.link_keys.spend_named, peers[1], segments, what="") == spent
                for segment in segments:
                    places = set(range(segment.start, segment.start + segment.length))
                    assert not places & seen
                    seen |= places
            assert len(seen) == 22 * 400
            assert await here.run(here.link_keys.stock_bit, "kme-b") == 8 * 100

    asyncio.run(run())


def test_comparing_tells_equal_blocks_from_differing_ones_and_gives_the_same_answer_again(tmp_path: Path) -> None:
    key = os.urandom(1000)
    other = key[:-1] + bytes([key[-1] ^ 1])

    async def run() -> None:
        for theirs, answer in ((key, "equal"), (other, "different"), (key[:-1], "different"), (os.urandom(1000), "different")):
            async with sqlite_store(tmp_path) as here, sqlite_store(tmp_path, "kme-b") as there:
                block_id = uuid4()
                await here.run(here.link_keys.receive, "kme-b", block_id, key, "first")
                await there.run(there.link_keys.receive, "kme-a", block_id, theirs, "second")
                assert await here.run(here.link_keys.peers_to_compare) == ["kme-b"]
                assert await there.run(there.link_keys.peers_to_compare) == []
                [offer] = await here.run(here.link_keys.offers, "kme-b", 64)
                for _ in range(2):
                    assert await there.run(there.link_keys.compare, "kme-a", offer) == answer
                    await here.run(here.link_keys.settle, "kme-b", block_id, answer)
                for store, peer in ((here, "kme-b"), (there, "kme-a")):
                    assert bool(await store.run(store.link_keys.stock_bit, peer)) == (answer == "equal")
                    assert bool(await store.rows("SELECT 1 FROM link_key")) == (answer == "equal")
                assert await here.run(here.link_keys.peers_to_compare) == []

    asyncio.run(run())


def test_nothing_is_spent_before_it_was_found_equal(open_kme_store: OpenStore) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            await store.run(store.link_keys.receive, "kme-b", uuid4(), os.urandom(1000), "first")
            with pytest.raises(KeysExhausted):
                await store.run(store.link_keys.spend, "kme-b", 1, what="")

    asyncio.run(run())


def test_a_block_that_is_voided_or_expired_is_never_called_equal_again(open_kme_store: OpenStore) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            for destroy in ("void", "expire"):
                block_id = uuid4()
                await store.run(store.link_keys.receive, "kme-b", block_id, os.urandom(1000), "second")
                [(length, tag)] = await store.rows("SELECT length, tag FROM link_block WHERE block_id = $1", block_id.bytes)
                if destroy == "void":
                    await store.run(store.link_keys.void, "kme-b", block_id)
                else:
                    await store.run(store.link_keys.expire, 2**50)
                offer = BlockOffer(block_id, length, tag)
                assert await store.run(store.link_keys.compare, "kme-b", offer) == "different"
                assert not await store.run(store.link_keys.receive, "kme-b", block_id, os.urandom(1000), "second")

    asyncio.run(run())


def test_another_peers_block_is_not_told_of(open_kme_store: OpenStore) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            block_id = uuid4()
            await store.run(store.link_keys.receive, "kme-b", block_id, os.urandom(1000), "second")
            [(length, tag)] = await store.rows("SELECT length, tag FROM link_block")
            assert await store.run(store.link_keys.compare, "kme-c", BlockOffer(block_id, length, tag)) == "different"
            assert await store.rows("SELECT state FROM link_block") == [("received",)]
            await store.run(store.link_keys.settle, "kme-c", block_id, "different")
            assert await store.rows("SELECT state FROM link_block") == [("received",)]

    asyncio.run(run())


def test_the_oldest_is_spent_first_and_ranges_that_meet_are_named_as_one(open_kme_store: OpenStore) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            ids = [uuid4() for _ in range(3)]
            for age, block_id in enumerate(ids):
                await store.put_block("kme-b", block_id, os.urandom(TAG_KEY_BYTE + 6 * CHUNK_BYTE), "first")
                await store.rows("UPDATE link_key SET created_ms = $1 WHERE block_id = $2", age, block_id.bytes)
            _, segments = await store.run(store.link_keys.spend, "kme-b", 4 * CHUNK_BYTE, what="")
            assert segments == [Segment(ids[0], 0, 3 * CHUNK_BYTE), Segment(ids[1], 0, CHUNK_BYTE)]

    asyncio.run(run())


def test_voiding_a_link_leaves_no_byte_of_it_and_nothing_else_gone(open_kme_store: OpenStore) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            for peer in ("kme-b", "kme-b", "kme-c"):
                await store.put_block(peer, uuid4(), os.urandom(TAG_KEY_BYTE + 100), "first")
            assert await store.run(store.link_keys.void_link, "kme-b", what="an operator") == 2 * 800
            assert await store.run(store.link_keys.stock_bit, "kme-b") == 0
            assert await store.run(store.link_keys.stock_bit, "kme-c") == 400

    asyncio.run(run())


def test_a_block_too_short_to_be_compared_is_refused(open_kme_store: OpenStore) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            with pytest.raises(InputError, match="block length"):
                await store.run(store.link_keys.receive, "kme-b", uuid4(), bytes(LEAST_BLOCK_BYTE - 1), "first")
            await store.put_block("kme-b", uuid4(), bytes(LEAST_BLOCK_BYTE), "first")
            assert len((await store.run(store.link_keys.spend, "kme-b", 1, what=""))[0]) == 1

    asyncio.run(run())


def test_spent_bytes_are_nowhere_in_the_store(open_kme_store: OpenStore) -> None:
    """What is left of a chunk is sealed anew, so that opening every seal shows none of the bytes that were spent."""

    async def run() -> None:
        async with open_kme_store() as store:
            await store.put_block("kme-b", uuid4(), os.urandom(TAG_KEY_BYTE + 2000), "first")
            before = {sealed for (sealed,) in await store.rows("SELECT sealed FROM link_key WHERE own = 1")}
            await store.run(store.link_keys.spend, "kme-b", 10, what="")
            after = await store.rows("SELECT start, length, sealed FROM link_key WHERE own = 1 ORDER BY start")
            assert not before & {sealed for _, _, sealed in after}
            assert [(start, length) for start, length, _ in after] == [(10, 990)]

    asyncio.run(run())


def test_pieces_of_a_chunk_never_overlap(open_kme_store: OpenStore) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            block_id = uuid4()
            await store.put_block("kme-b", block_id, os.urandom(TAG_KEY_BYTE + 4000), "first")
            for start in (2500, 2010, 3999, 2000, 3000):
                await store.run(store.link_keys.spend_named, "kme-b", [Segment(block_id, start, 1)], what="")
            pieces = await store.rows("SELECT start, length FROM link_key WHERE own = 0 ORDER BY start")
            assert all(start + length <= following for (start, length), (following, _) in pairwise(pieces))
            assert sum(length for _, length in pieces) == 1995

    asyncio.run(run())
