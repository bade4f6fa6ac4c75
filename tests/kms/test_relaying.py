import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from tests.kms.network import Store, sqlite_store
from tiandi.errors import AuthenticationFailed, InputError, KeyNotFound, KeysExhausted
from tiandi.kms.keys import LARGEST_COUNT, Segment, new_prefix
from tiandi.kms.relay.relay_messages import LARGEST_RESERVATION_BYTE, Confirmation, RelayMessage, Way, require_reservation
from tiandi.kms.states import State
from tiandi.kms.store.supply_keys import Reservation

FAR_MS = 2**50
PAD_AND_TAG_BYTE = 16 + 32


def reservation(**others: Any) -> Reservation:
    named: dict[str, Any] = {"prefix": new_prefix(), "master": "alice", "slaves": ["bob"], "size_bit": 256, "count": 4, **others}
    return Reservation(**named)


async def depart(store: Store, r: Reservation, route: list[str]) -> tuple[RelayMessage, Confirmation]:
    way = {route[-1]: Way([route], 1)}
    departure = await store.run(store.relaying.depart, r, {"bob": route[-1]}, way, claim_ms=0, deadline_ms=FAR_MS)
    [(_, message)], [(_, question)] = departure.relays, departure.confirmations
    return message, question


@asynccontextmanager
async def row(folder: Path, length_byte: int = 4000) -> AsyncIterator[list[Store]]:
    """kme-a, kme-b and kme-c, with link key from each to the next."""
    async with sqlite_store(folder, "kme-a") as a, sqlite_store(folder, "kme-b") as b, sqlite_store(folder, "kme-c") as c:
        for (sender, name), (receiver, peer) in (((a, "kme-a"), (b, "kme-b")), ((b, "kme-b"), (c, "kme-c"))):
            block_id, key = uuid4(), os.urandom(length_byte)
            await sender.put_block(peer, block_id, key, "first")
            await receiver.put_block(name, block_id, key, "second")
        yield [a, b, c]


ROUTE = ["kme-a", "kme-b", "kme-c"]


def test_keys_arrive_over_two_hops_and_every_hop_pays_for_them(tmp_path: Path) -> None:
    r = reservation()

    async def run() -> None:
        async with row(tmp_path) as (a, b, c):
            message, question = await depart(a, r, ROUTE)
            onward = await b.run(b.relaying.accept, "kme-a", message, claim_ms=0)
            [(receiver, second)] = onward
            assert isinstance(second, RelayMessage)
            assert receiver == "kme-c"
            assert second.ciphertext != message.ciphertext
            assert await c.run(c.relaying.confirm, "kme-a", question, {}) == "unknown"
            assert await c.run(c.relaying.accept, "kme-b", second, claim_ms=0) == []
            for _ in range(2):
                assert await c.run(c.relaying.confirm, "kme-a", question, {}) == "ready"
            assert await a.run(a.relaying.answered, r, "kme-c", "ready") == State.READY
            given = await a.run(a.supply_keys.deliver_to_master, "alice", "bob", size_bit=256, number=4)
            assert await c.run(c.supply_keys.deliver_to_slave, "alice", "bob", r.key_ids) == given
            cost_bit = 8 * (r.length_byte + PAD_AND_TAG_BYTE)
            for store, stock in ((a, "link kme-b own"), (b, "link kme-a peer"), (b, "link kme-c own"), (c, "link kme-b peer")):
                assert (await store.accounts())[stock]["spent"] == cost_bit
            assert (await b.accounts())["supply alice bob relay 256"] == {"relayed": 4 * 256}

    asyncio.run(run())


def test_no_key_is_in_the_clear_in_anything_that_is_sent(tmp_path: Path) -> None:
    r = reservation()

    async def run() -> None:
        async with row(tmp_path) as (a, b, _):
            message, question = await depart(a, r, ROUTE)
            onward = await b.run(b.relaying.accept, "kme-a", message, claim_ms=0)
            await a.run(a.supply_keys.change, r.prefix, 0, [State.RESERVED], State.READY)
            keys = await a.run(a.supply_keys.deliver_to_master, "alice", "bob", size_bit=256, number=4)
            sent = msgspec.msgpack.encode([message, onward[0][1], question])
            assert not any(key.key in sent for key in keys)

    asyncio.run(run())


@pytest.mark.parametrize(
    "change",
    [
        lambda m: msgspec.structs.replace(m, ciphertext=bytes([m.ciphertext[0] ^ 1]) + m.ciphertext[1:]),
        lambda m: msgspec.structs.replace(m, ciphertext=m.ciphertext[:-1]),
        lambda m: msgspec.structs.replace(m, tag=bytes(16)),
        lambda m: msgspec.structs.replace(m, share=1),
        lambda m: msgspec.structs.replace(m, route=["kme-a", "kme-b", "kme-d"]),
        lambda m: msgspec.structs.replace(m, reservation=msgspec.structs.replace(m.reservation, master="mallory")),
        lambda m: msgspec.structs.replace(m, segments=[]),
        lambda m: msgspec.structs.replace(m, segments=[Segment(m.segments[0].block_id, 0, m.segments[0].length - 1)]),
    ],
)
def test_a_message_that_was_changed_is_refused_and_leaves_nothing(tmp_path: Path, change: Any) -> None:
    async def run() -> None:
        async with row(tmp_path) as (a, b, _):
            message, _ = await depart(a, reservation(), ROUTE)
            before = await b.accounts()
            with pytest.raises((AuthenticationFailed, InputError, KeyNotFound)):
                await b.run(b.relaying.accept, "kme-a", change(message), claim_ms=0)
            assert await b.accounts() == before
            assert await b.rows("SELECT 1 FROM relay") == []

    asyncio.run(run())


def test_a_node_without_link_key_onward_refuses_and_keeps_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with row(tmp_path) as (a, b, _):
            message, _ = await depart(a, reservation(), ROUTE)
            await b.run(b.link_keys.void_link, "kme-c", what="")
            with pytest.raises(KeysExhausted):
                await b.run(b.relaying.accept, "kme-a", message, claim_ms=0)
            assert await b.rows("SELECT 1 FROM relay") == []

    asyncio.run(run())


def test_too_little_link_key_for_a_first_hop_begins_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with row(tmp_path, length_byte=32 + 2 * 100) as (a, _, __):
            with pytest.raises(KeysExhausted):
                await depart(a, reservation(), ROUTE)
            assert await a.rows("SELECT 1 FROM reservation UNION ALL SELECT 1 FROM relay UNION ALL SELECT 1 FROM confirmation") == []

    asyncio.run(run())


def test_keys_that_do_not_fit_the_masters_tag_are_voided(tmp_path: Path) -> None:
    async def run() -> None:
        async with row(tmp_path) as (a, b, c):
            r = reservation()
            message, question = await depart(a, r, ROUTE)
            onward = await b.run(b.relaying.accept, "kme-a", message, claim_ms=0)
            await c.run(c.relaying.accept, "kme-b", onward[0][1], claim_ms=0)
            wrong = msgspec.structs.replace(question, tag=bytes(16))
            assert await c.run(c.relaying.confirm, "kme-a", wrong, {}) == "voided"
            assert await c.run(c.relaying.confirm, "kme-a", question, {}) == "voided"
            assert await a.run(a.relaying.answered, r, "kme-c", "voided") == State.VOIDED
            assert [state for _, _, state in await a.run(a.supply_keys.find, r.prefix, 0)] == [State.VOIDED]
            assert await c.rows("SELECT 1 FROM relay WHERE sealed IS NOT NULL") == []

    asyncio.run(run())


def test_an_operator_may_give_up_what_is_ready_and_then_it_is_voided_at_both_ends(tmp_path: Path) -> None:
    async def run() -> None:
        async with row(tmp_path) as (a, b, c):
            r = reservation()
            message, question = await depart(a, r, ROUTE)
            onward = await b.run(b.relaying.accept, "kme-a", message, claim_ms=0)
            await c.run(c.relaying.accept, "kme-b", onward[0][1], claim_ms=0)
            await c.run(c.relaying.confirm, "kme-a", question, {})
            await a.run(a.relaying.answered, r, "kme-c", "ready")
            await a.run(a.relaying.give_up, r.prefix, 0)
            assert not await a.run(a.relaying.is_voiding, r, "kme-c")
            await a.run(a.relaying.give_up, r.prefix, 0, even_ready=True)
            assert await a.run(a.relaying.is_voiding, r, "kme-c")
            assert await c.run(c.relaying.void, "kme-a", r.prefix, 0) == 4 * 256
            assert await a.run(a.relaying.answered, r, "kme-c", "voided") == State.VOIDED
            for store in (a, c):
                assert [state for _, _, state in await store.run(store.supply_keys.find, r.prefix, 0)] == [State.VOIDED]

    asyncio.run(run())


@pytest.mark.parametrize(
    "others",
    [
        {"count": 0},
        {"count": LARGEST_COUNT, "size_bit": 8, "first_index": 1},
        {"first_index": -1},
        {"size_bit": 7},
        {"size_bit": 0},
        {"size_bit": -8},
        {"size_bit": 8 * LARGEST_RESERVATION_BYTE},
        {"slaves": []},
        {"slaves": ["bob", "bob"]},
        {"prefix": bytes(13)},
        {"prefix": bytes(15)},
    ],
)
def test_a_reservation_that_cannot_stand_is_refused(others: dict[str, Any]) -> None:
    require_reservation(reservation())
    with pytest.raises(InputError):
        require_reservation(reservation(**others))
