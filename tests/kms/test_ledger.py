import asyncio

import pytest

from tests.kms.conftest import OpenStore
from tests.kms.network import Store, assert_balanced
from tiandi.errors import KeyNotFound, StateError
from tiandi.kms.states import State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.ledger import link_stock, move

STOCK = link_stock("kme-b", own=True)


async def receive(transaction: Transaction, bit: int) -> None:
    await move(transaction, STOCK, None, State.RECEIVED, bit, what="a block")


async def spend(transaction: Transaction, bit: int) -> None:
    await move(transaction, STOCK, State.RECEIVED, State.SPENT, bit)


async def pages(store: Store) -> list[tuple[int]]:
    return await store.rows("SELECT number FROM journal ORDER BY number")


def test_an_account_is_what_came_less_what_went(open_kme_store: OpenStore) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            await store.run(receive, 80)
            await store.run(spend, 24)
            assert await store.accounts() == {STOCK: {"received": 56, "spent": 24}}
            assert await store.run(ledger.bits, STOCK, State.RECEIVED) == 56
            await store.run(spend, 56)
            assert await store.accounts() == {STOCK: {"spent": 80}}

    asyncio.run(run())


def test_inside_a_transaction_what_it_moved_counts_already(open_kme_store: OpenStore) -> None:
    async def both(transaction: Transaction) -> int:
        await receive(transaction, 80)
        await spend(transaction, 8)
        return await ledger.bits(transaction, STOCK, State.RECEIVED, locked=True)

    async def run() -> None:
        async with open_kme_store() as store:
            assert await store.run(both) == 72
            await store.run(spend, 72)

    asyncio.run(run())


def test_no_bits_are_no_entry(open_kme_store: OpenStore) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            await store.run(receive, 0)
            assert await pages(store) == []

    asyncio.run(run())


def test_what_a_work_that_failed_had_moved_is_in_no_page(open_kme_store: OpenStore) -> None:
    async def fail(transaction: Transaction) -> None:
        await receive(transaction, 800)
        raise KeyNotFound("no")

    async def run() -> None:
        async with open_kme_store() as store:
            outcomes = await asyncio.gather(store.run(receive, 8), store.run(fail), store.run(receive, 16), return_exceptions=True)
            assert isinstance(outcomes[1], KeyNotFound)
            assert await store.accounts() == {STOCK: {"received": 24}}
            assert len(await pages(store)) == 1
            await store.run(spend, 24)

    asyncio.run(run())


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE journal SET entries = CAST(replace(entries, '80', '88') AS BLOB) WHERE number = 1",
        "UPDATE journal SET digest = zeroblob(32) WHERE number = 2",
        "DELETE FROM journal WHERE number = 2",
        "UPDATE journal SET number = CASE number WHEN 1 THEN 20 ELSE 10 END WHERE number < 3",
        "UPDATE account SET bit = bit + 8",
    ],
)
def test_whoever_changes_the_journal_or_an_account_is_found_out(open_kme_store: OpenStore, change: str) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            for _ in range(3):
                await store.run(receive, 80)
            await store.run(spend, 240)
            await store.run(assert_balanced)
            connection = store.database._connection  # type: ignore[attr-defined]
            connection.execute("CREATE TABLE before AS SELECT * FROM journal; CREATE TABLE held AS SELECT * FROM account")
            connection.execute(change)
            with pytest.raises(AssertionError):
                await store.run(assert_balanced)
            connection.execute("DELETE FROM journal; INSERT INTO journal SELECT * FROM before; DELETE FROM account")
            connection.execute("INSERT INTO account SELECT * FROM held")

    asyncio.run(run())


def test_an_overdraft_is_refused_though_others_moved_more_in_the_same_group(open_kme_store: OpenStore) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            await store.run(receive, 8)
            with pytest.raises(StateError, match="does not hold"):
                await store.run(spend, 16)
            assert await store.accounts() == {STOCK: {"received": 8}}
            await store.run(spend, 8)

    asyncio.run(run())


def test_one_overdraft_does_not_fail_those_who_came_at_the_same_moment(open_kme_store: OpenStore) -> None:
    async def run() -> None:
        async with open_kme_store() as store:
            await store.run(receive, 80)
            works = [store.run(spend, 8), store.run(spend, 800), store.run(receive, 16), store.run(spend, 800), store.run(spend, 24)]
            outcomes = await asyncio.gather(*works, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [type(None), StateError, type(None), StateError, type(None)]
            assert await store.accounts() == {STOCK: {"received": 64, "spent": 32}}
            await store.run(spend, 64)

    asyncio.run(run())
