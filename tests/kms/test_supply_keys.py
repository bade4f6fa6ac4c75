import asyncio
import os
from typing import Any

import pytest

from tests.kms.conftest import OpenStore
from tests.kms.network import Store
from tiandi.errors import KeyNotFound, KeysExhausted, NotAuthorised
from tiandi.kms.keys import SupplyKey, key_identifier, new_prefix, split_identifier
from tiandi.kms.states import State
from tiandi.kms.store.supply_keys import Reservation


def reservation(count: int = 4, **others: Any) -> Reservation:
    named: dict[str, Any] = {"prefix": new_prefix(), "master": "alice", "slaves": ["bob"], "size_bit": 256, **others}
    return Reservation(count=count, **named)


async def add(store: Store, r: Reservation, state: State = State.READY) -> bytes:
    keys = os.urandom(r.length_byte)
    await store.run(store.supply_keys.add, r, "master", r.slaves[0], keys=keys, state=state)
    for slave in r.slaves:
        await store.run(store.supply_keys.add, r, "slave", slave, keys=keys, state=state)
    return keys


async def to_slave(store: Store, r: Reservation, index: int, slave: str = "bob") -> SupplyKey:
    [key] = await store.run(store.supply_keys.deliver_to_slave, r.master, slave, [key_identifier(r.prefix, index)])
    return key


def test_an_identifier_is_a_uuid_of_version_8_that_tells_prefix_and_index() -> None:
    for index in (0, 1, 65_535):
        prefix = new_prefix()
        key_id = key_identifier(prefix, index)
        assert key_id.version == 8
        assert split_identifier(key_id) == (prefix, index)


def test_a_keys_repr_does_not_show_it() -> None:
    key = os.urandom(32)
    shown = repr(SupplyKey(key_identifier(new_prefix(), 0), key))
    assert key.hex() not in shown
    assert repr(key) not in shown
    assert "256 bit" in shown


@pytest.mark.parametrize("state", [State.RESERVED, State.UNCERTAIN, State.VOIDED])
def test_what_is_not_ready_is_given_to_nobody(open_kme_store: OpenStore, state: State) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            r = reservation()
            await add(store, r, State.RESERVED)
            if state != State.RESERVED:
                await store.run(store.supply_keys.change, r.prefix, 0, [State.RESERVED], state)
            with pytest.raises(KeyNotFound):
                await to_slave(store, r, 0)
            with pytest.raises(KeysExhausted):
                await store.run(store.supply_keys.deliver_to_master, "alice", "bob", size_bit=256, number=1)
            with pytest.raises(KeyNotFound):
                await store.run(store.supply_keys.deliver_all, r.prefix, 0, 4)
            assert await store.run(store.supply_keys.ready_count, "alice", "bob", 256) == 0

    asyncio.run(run())


def test_several_slaves_each_get_every_key_once(open_kme_store: OpenStore) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            r = reservation(slaves=["bob", "carol"])
            keys = await add(store, r)
            for slave in r.slaves:
                for index in (3, 0, 2, 1):
                    assert (await to_slave(store, r, index, slave)).key == keys[32 * index : 32 * index + 32]
                with pytest.raises(KeyNotFound):
                    await to_slave(store, r, 0, slave)
            with pytest.raises(NotAuthorised):
                await to_slave(store, r, 0, "eve")

    asyncio.run(run())


def test_master_and_slave_at_one_kme_each_get_a_key_once(open_kme_store: OpenStore) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            r = reservation()
            await add(store, r)
            given = await store.run(store.supply_keys.deliver_to_master, "alice", "bob", size_bit=256, number=4)
            assert [await to_slave(store, r, index) for index in range(4)] == given
            assert await store.rows("SELECT DISTINCT state, sealed IS NULL FROM reservation") == [("delivered", 1)]

    asyncio.run(run())


def test_the_oldest_keys_go_first_and_a_large_request_takes_many_reservations(open_kme_store: OpenStore) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            made = [reservation(count=1) for _ in range(70)]
            for age, r in enumerate(made):
                await add(store, r)
                await store.rows("UPDATE reservation SET created_ms = $1 WHERE prefix = $2", age, r.prefix)
            given = await store.run(store.supply_keys.deliver_to_master, "alice", "bob", size_bit=256, number=69)
            assert [key.key_id for key in given] == [r.key_ids[0] for r in made[:69]]

    asyncio.run(run())


def test_a_key_of_a_stream_is_given_once_to_each_side(open_kme_store: OpenStore) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            r = reservation(stream=True, hops=2)
            keys = await add(store, r)
            for sae in ("bob", "alice"):
                key, age_ms, hops = await store.run(store.supply_keys.deliver_of, r.prefix, 2, sae)
                assert (key.key, hops) == (keys[64:96], 2)
                assert age_ms >= 0
                for index in (2, 4):
                    with pytest.raises(KeyNotFound):
                        await store.run(store.supply_keys.deliver_of, r.prefix, index, sae)

    asyncio.run(run())


def test_a_change_of_state_tells_the_bits_and_leaves_other_states_alone(open_kme_store: OpenStore) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            r = reservation()
            await add(store, r, State.RESERVED)
            change = store.supply_keys.change
            assert await store.run(change, r.prefix, 0, [State.READY], State.VOIDED) == 0
            assert await store.run(change, r.prefix, 0, [State.RESERVED], State.READY, role="slave") == 4 * 256
            await to_slave(store, r, 1)
            assert await store.run(change, r.prefix, 0, [State.READY], State.VOIDED) == 3 * 256
            assert sorted(await store.run(store.supply_keys.find, r.prefix, 0)) == [
                ("master", "bob", State.RESERVED),
                ("slave", "bob", State.VOIDED),
            ]

    asyncio.run(run())
