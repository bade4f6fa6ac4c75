"""KMEs in one process, joined by a post that can be made to fail, and a check that their ledgers say what their tables hold."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid4

import msgspec
import pytest

from tiandi.distill.records import KeyBlock
from tiandi.errors import RelayFailed, RemoteRefused, TiandiError
from tiandi.kms.directory import Directory, PairPolicy, Sae
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.keys import Half, SupplyKey
from tiandi.kms.relay import exchange, patience
from tiandi.kms.relay.hand_over import HandOver
from tiandi.kms.relay.relay_messages import Announcement, Confirmation, Place, RelayMessage
from tiandi.kms.relay.relaying import Relaying
from tiandi.kms.states import LIVING, State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Database, Row, Transaction
from tiandi.kms.store.ledger import FIRST_DIGEST, link_stock, page_digest, supply_stock
from tiandi.kms.store.link_keys import BlockOffer, LinkKeys
from tiandi.kms.store.master_keys import create_master_key_file, open_master_key
from tiandi.kms.store.moves import Entry
from tiandi.kms.store.schema import create_tables
from tiandi.kms.store.sealing import NONCE_BYTE, NUMBER_BYTE, Sealer, open_sealer
from tiandi.kms.store.sqlite_database import SqliteDatabase
from tiandi.kms.store.supply_keys import SupplyKeys

SEAL_BYTE = NUMBER_BYTE + NONCE_BYTE + 16
IN_MEMORY = Path(":memory:")
LAPSED_MS = patience.CLAIM_MS + 1000
"""After so long somebody else may take over."""
PATIENCE_MS = 4 * LAPSED_MS

Fate = Literal["deliver", "lose request", "lose answer", "repeat", "delay", "corrupt request", "corrupt answer"]
FATES: tuple[Fate, ...] = ("deliver", "lose request", "lose answer", "repeat", "delay", "corrupt request", "corrupt answer")
Choose = Callable[[str, str, str], Fate]
"""(sender, receiver, path) -> what becomes of a message."""
Change = Callable[[str, str, str, bytes], bytes]
"""(sender, receiver, path, body) -> the body that arrives."""

_KINDS: dict[str, Any] = {
    exchange.RELAY_PATH: list[RelayMessage],
    exchange.ANNOUNCE_PATH: list[Announcement],
    exchange.CONFIRM_PATH: list[Confirmation],
    exchange.VOID_PATH: list[Place],
    exchange.FAILED_PATH: list[tuple[Place, str]],
    exchange.COMPARE_PATH: list[BlockOffer],
    exchange.HAND_OVER_PATH: list[HandOver],
    exchange.KEM_PATH: list[bytes],
}


# One KME's store.


class Store:
    """What one KME keeps, without a KME around it."""

    def __init__(self, database: Database, sealer: Sealer, kme_id: str) -> None:
        self.database = database
        self.link_keys = LinkKeys(sealer)
        self.supply_keys = SupplyKeys(sealer)
        self.relaying = Relaying(kme_id, sealer, self.link_keys, self.supply_keys)
        self.run = database.run

    async def rows(self, query: str, *values: Any) -> list[Row]:
        return await self.run(read_rows, query, *values)

    async def accounts(self) -> dict[str, dict[str, int]]:
        return await self.run(ledger.accounts)

    async def put_block(self, peer: str, block_id: UUID, key: bytes, half: Half) -> None:
        """Store a block as if the peer's copy had been found equal."""
        assert await self.run(self.link_keys.receive, peer, block_id, key, half)
        await self.run(self.link_keys.settle, peer, block_id, "equal")


async def open_store(database: Database, folder: Path, kme_id: str = "kme-a") -> Store:
    await create_tables(database, kme_id)
    return Store(database, await open_sealer(database, open_master_key(f"file:{master_key_file(folder)}"), kme_id), kme_id)


@asynccontextmanager
async def sqlite_store(folder: Path, kme_id: str = "kme-a", path: Path = IN_MEMORY) -> AsyncIterator[Store]:
    """A store that is checked for balance at its end."""
    store = await open_store(SqliteDatabase(path), folder, kme_id)
    try:
        yield store
        await store.run(assert_balanced)
    finally:
        await store.database.close()


def master_key_file(folder: Path) -> Path:
    path = folder / "master.key"
    if not path.exists():
        create_master_key_file(path)
    return path


async def read_rows(transaction: Transaction, query: str, *values: Any) -> list[Row]:
    return await transaction.rows(query, *values)


async def assert_balanced(transaction: Transaction) -> None:
    """For every stock and living state the account holds what the tables do, and the journal tells how it came there."""
    held: dict[tuple[str, str], int] = {}
    query = (
        "SELECT link_key.peer, own, state, sum(link_key.length), sum(length(sealed)), count(*) FROM link_key"
        " JOIN link_block ON link_block.block_id = link_key.block_id GROUP BY link_key.peer, own, state"
    )
    for peer, own, state, length, sealed_length, count in await transaction.rows(query):
        assert sealed_length == length + count * SEAL_BYTE
        held[link_stock(peer, own=bool(own)), state] = int(length) * 8
    query = (
        "SELECT master, slave, role, size_bit, state, sum(left_count), sum(length(sealed)), count(*), count(sealed)"
        " FROM reservation GROUP BY master, slave, role, size_bit, state"
    )
    for master, slave, role, size_bit, state, left, sealed_length, count, sealed_count in await transaction.rows(query):
        if state in LIVING:
            assert sealed_count == count
            assert sealed_length == left * size_bit // 8 + count * SEAL_BYTE
            held[supply_stock(master, slave, role, size_bit), state] = int(left) * size_bit
        else:
            assert not sealed_count, f"keys are kept that are {state}"
    accounts = {(stock, state): bit for stock, states in (await ledger.accounts(transaction)).items() for state, bit in states.items()}
    assert {place: bit for place, bit in accounts.items() if place[1] in LIVING} == held
    assert await _folded_journal(transaction) == accounts


async def _folded_journal(transaction: Transaction) -> dict[tuple[str, str], int]:
    """What the journal comes to; every chain of it must be whole."""
    balance: dict[tuple[str, str], int] = {}
    last: dict[str, tuple[int, bytes]] = {}
    for chain, number, entries, digest in await transaction.rows(
        "SELECT chain, number, entries, digest FROM journal ORDER BY chain, number"
    ):
        before, before_digest = last.get(chain, (0, FIRST_DIGEST))
        assert number == before + 1
        assert digest == page_digest(before_digest, chain, number, entries)
        last[chain] = number, digest
        for entry in msgspec.json.decode(entries, type=list[Entry]):
            if entry.before:
                balance[entry.stock, entry.before] = balance.get((entry.stock, entry.before), 0) - entry.bit
            balance[entry.stock, entry.after] = balance.get((entry.stock, entry.after), 0) + entry.bit
    return {place: bit for place, bit in balance.items() if bit}


# Time.


@dataclass
class Clock:
    """The machine's time, and how far the KMEs' clock is ahead of it [ms]."""

    ahead_ms: int = 0

    def advance(self, duration_ms: int) -> None:
        self.ahead_ms += duration_ms


@contextmanager
def own_clock() -> Iterator[Clock]:
    """KMEs that ask quickly and briefly, by a clock that the test moves."""
    clock, now_ms = Clock(), ledger.now_ms
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "now_ms", lambda: now_ms() + clock.ahead_ms)
        patch.setattr(patience, "FIRST_PAUSE_S", 0.0)
        patch.setattr(patience, "LONGEST_PAUSE_S", 0.001)
        patch.setattr(patience, "ASKING_MS", 5)
        patch.setattr(patience, "PATIENCE_S", PATIENCE_MS / 1000)
        yield clock


# The network.


@dataclass
class Blocks:
    """A key source that has made these blocks."""

    peer: str
    own_half: Half
    blocks: list[KeyBlock]
    name: str = "blocks"

    async def take_blocks(self) -> list[KeyBlock]:
        return self.blocks

    async def acknowledge(self, block_ids: Collection[UUID]) -> None:
        self.blocks = [block for block in self.blocks if block.block_id not in block_ids]


def deliver_all(*_: str) -> Fate:
    return "deliver"


@dataclass
class Network:
    """KMEs by their names. Nobody keeps house: what was left is taken up when the test says `sweep`."""

    folder: Path
    clock: Clock
    directory: Directory = field(default_factory=Directory)
    entities: dict[str, KeyManagementEntity] = field(default_factory=dict)
    choose: Choose = deliver_all
    change: Change | None = None
    messages: list[tuple[str, str, str]] = field(default_factory=list)
    _delayed: list[Callable[[], Awaitable[bytes]]] = field(default_factory=list)

    async def open(self, name: str, database: Database | None = None) -> KeyManagementEntity:
        async def post(kme: str, path: str, body: bytes) -> bytes:
            return await self._post(name, kme, path, body)

        self.directory.kme_addresses[name] = f"https://{name}"
        opened = await KeyManagementEntity.open(
            name, database or SqliteDatabase(IN_MEMORY), open_master_key(f"file:{master_key_file(self.folder)}"),
            directory=self.directory, post=post,
        )  # fmt: skip
        self.entities[name] = opened
        return opened

    async def link(self, first: str, second: str, length_byte: int = 40_000) -> UUID:
        """Give two KMEs a block of key; with a post that delivers they find it equal."""
        key, block_id = os.urandom(length_byte), uuid4()
        await self.entities[second].collect(Blocks(first, "second", [KeyBlock(block_id, key)]))
        await self.entities[first].collect(Blocks(second, "first", [KeyBlock(block_id, key)]))
        await self.rest()
        return block_id

    async def rest(self) -> None:
        """Wait until nobody is at work."""
        while tasks := [task for kme in self.entities.values() for task in kme.exchange._tasks]:
            await asyncio.gather(*tasks, return_exceptions=True)

    async def sweep(self) -> None:
        for kme in self.entities.values():
            await kme.exchange.sweep()
        await self.rest()

    async def settle_down(self) -> None:
        """The network heals: what was late arrives, then everybody takes up what was left until nothing is."""
        self.choose, self.change = deliver_all, None
        for late in self._delayed:
            with suppress(TiandiError):  # Nobody waits for the answer any more.
                await late()
        await self.rest()
        for duration_ms in (LAPSED_MS, LAPSED_MS, PATIENCE_MS, PATIENCE_MS, PATIENCE_MS):
            self.clock.advance(duration_ms)
            await self.sweep()

    async def _post(self, sender: str, receiver: str, path: str, body: bytes) -> bytes:
        self.messages.append((sender, receiver, path))
        fate = self.choose(sender, receiver, path)
        if self.change is not None:
            body = self.change(sender, receiver, path, body)
        if fate == "corrupt request":
            body = corrupted(body)
        if fate == "delay":
            self._delayed.append(lambda: self.handle(sender, receiver, path, body))
        if fate in {"lose request", "delay"}:
            raise RelayFailed(receiver, "no answer")
        answer = await self.handle(sender, receiver, path, body)
        if fate == "repeat":
            answer = await self.handle(sender, receiver, path, body)
        if fate == "lose answer":
            raise RelayFailed(receiver, "no answer")
        return corrupted(answer) if fate == "corrupt answer" else answer

    async def handle(self, sender: str, receiver: str, path: str, body: bytes) -> bytes:
        """What the KME's door for neighbours does."""
        if receiver not in self.entities:
            raise RelayFailed(receiver, "nobody listens")
        door = self.entities[receiver].exchange
        try:
            messages = msgspec.msgpack.decode(body, type=_KINDS[path])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise RemoteRefused(400, "cannot be read") from None
        if path == exchange.KEM_PATH:
            return msgspec.msgpack.encode(door.receive_kem_requests(len(messages)))
        receive: Any = {
            exchange.RELAY_PATH: door.receive_relays,
            exchange.ANNOUNCE_PATH: door.receive_announcements,
            exchange.CONFIRM_PATH: door.receive_confirmations,
            exchange.VOID_PATH: door.receive_voids,
            exchange.FAILED_PATH: door.receive_failures,
            exchange.COMPARE_PATH: door.receive_offers,
            exchange.HAND_OVER_PATH: door.receive_hand_overs,
        }[path]
        try:
            return msgspec.msgpack.encode(await receive(sender, messages))
        except TiandiError as error:
            raise RemoteRefused(403, str(error)) from None

    # What must hold once it has settled down.

    async def assert_settled(self, delivered: Iterable[tuple[str, str, SupplyKey]] = ()) -> int:
        """Every reservation is ready at both ends with equal keys, or voided at both; the number of keys that are left.

        ``delivered`` are (master, slave, key) that masters were given before: their slaves must get the same.
        """
        for kme in self.entities.values():
            await kme.database.run(assert_balanced)
        await self._assert_same_states()
        left = 0
        given = list(delivered)
        for master, slave, size_bit, count in await self._ready():
            home = self.entities[self.directory.home(master)]
            keys = await home.database.run(home.supply_keys.deliver_to_master, master, slave, size_bit=size_bit, number=count)
            given += [(master, slave, key) for key in keys]
            left += len(keys)
        for master, slave, key in given:
            home = self.entities[self.directory.home(slave)]
            assert await home.get_keys_with_ids(slave, master, [key.key_id]) == [key]
        assert len({key.key_id for _, _, key in given}) == len(given), "a key was delivered twice"
        return left

    async def _ready(self) -> list[tuple[str, str, int, int]]:
        query = "SELECT master, slave, size_bit, sum(left_count) FROM reservation WHERE role = 'master' AND state = 'ready'"
        found = [await kme.database.run(read_rows, f"{query} GROUP BY master, slave, size_bit") for kme in self.entities.values()]
        return [(row[0], row[1], row[2], int(row[3])) for rows in found for row in rows]

    async def _assert_same_states(self) -> None:
        masters: dict[tuple[bytes, int], str] = {}
        slaves: dict[tuple[bytes, int], set[str]] = {}
        for kme in self.entities.values():
            for prefix, first_index, role, state in await kme.database.run(
                read_rows, "SELECT prefix, first_index, role, state FROM reservation"
            ):
                if role == "master":
                    masters[prefix, first_index] = state
                else:
                    slaves.setdefault((prefix, first_index), set()).add(state)
            assert not await kme.database.run(read_rows, "SELECT 1 FROM relay WHERE state = 'waiting'")
        usable = {State.READY.value, State.DELIVERED.value}
        for place in masters.keys() | slaves.keys():
            assert masters.get(place) in {*usable, State.VOIDED.value}, f"the master's is {masters.get(place)}"
            if masters[place] in usable:
                assert place in slaves, "the slave's KME has none"
                assert slaves[place] <= usable, f"the slave's are {slaves[place]}"
            else:
                assert slaves.get(place, set()) <= {State.VOIDED.value}, f"voided, but the slave's are {slaves[place]}"


def corrupted(body: bytes) -> bytes:
    """The body with a bit of its middle changed."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :] if body else b"\x01"


@asynccontextmanager
async def chain(folder: Path, names: Sequence[str], *, length_byte: int = 40_000) -> AsyncIterator[Network]:
    """KMEs in a row with link key on each hop, "alice" at the first and "bob" at the last; keys take the whole row."""
    async with _opened(folder, names) as network:
        network.directory.find_routes = lambda source, target, *_: [_between(list(names), source, target)]
        network.directory.saes |= {"alice": Sae(names[0]), "bob": Sae(names[-1])}
        for first, second in pairwise(names):
            await network.link(first, second, length_byte)
        yield network


@asynccontextmanager
async def fan(folder: Path, *, paths: int, threshold: int, length_byte: int = 40_000) -> AsyncIterator[Network]:
    """kme-a with "alice" and kme-b with "bob", and between them the nodes relay-0, relay-1, ... side by side."""
    relays = [f"relay-{number}" for number in range(paths)]
    async with _opened(folder, ["kme-a", *relays, "kme-b"]) as network:
        routes = [["kme-a", relay, "kme-b"] for relay in relays]
        network.directory.find_routes = lambda *_: routes
        network.directory.saes |= {"alice": Sae("kme-a"), "bob": Sae("kme-b")}
        network.directory.default_policy = PairPolicy(paths=paths, threshold=threshold)
        for relay in relays:
            await network.link("kme-a", relay, length_byte)
            await network.link(relay, "kme-b", length_byte)
        yield network


@asynccontextmanager
async def _opened(folder: Path, names: Sequence[str]) -> AsyncIterator[Network]:
    with own_clock() as clock:
        network = Network(folder, clock)
        try:
            for name in names:
                await network.open(name)
            yield network
        finally:
            for kme in network.entities.values():
                await kme.close()


def _between(names: list[str], source: str, target: str) -> list[str]:
    here, there = names.index(source), names.index(target)
    return names[here : there + 1] if here < there else names[there : here + 1][::-1]
