"""A backup holds no key, and what comes back out of it hands out none that was ever handed out."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.kms.kme_processes import PATIENCE_S, Pair
from tests.kms.network import assert_balanced
from tests.kms.postgres import postgres_server
from tiandi.control.controller import controlled
from tiandi.errors import InputError, KeyNotFound, StateError, TiandiError
from tiandi.kms.etsi014 import KeyRequest
from tiandi.kms.keys import SupplyKey
from tiandi.kms.operating.configuration import read_configuration
from tiandi.kms.operating.service import MORE_TABLES, Service
from tiandi.kms.states import LIVING
from tiandi.kms.store import backup, ledger, restoring, schema
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.postgres_database import PostgresDatabase
from tiandi.kms.store.sqlite_database import SqliteDatabase

BackedUp = tuple[Pair, dict[str, list[bytes]], list[SupplyKey]]
EMPTY_BY_DESIGN = {"store", "sealing_store", "sealing_key", "account", "link_key", "kem_key"}
"""Tables that a backup leaves out: keys, what seals them, and what follows from the journal."""


@asynccontextmanager
async def serving(pair: Pair, kme: str) -> AsyncIterator[Service]:
    """One KME of a pair in this process."""
    service = Service(read_configuration(pair.processes[kme].config), controlled)
    await service.open()
    try:
        await service.start()
        yield service
    finally:
        await service.close()


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            if found := await condition():
                return found
        except TiandiError:
            pass
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def get(a: Service, number: int = 3) -> list[SupplyKey]:
    return await until(lambda: a.entity.get_keys("alice", "bob", KeyRequest(number=number)))


async def lines_of(service: Service) -> list[bytes]:
    return [line async for line in backup.dump(service.database, service.configuration.kme.id, MORE_TABLES)]


async def living_bit(transaction: Transaction, prefix: str = "") -> int:
    accounts = await ledger.accounts(transaction)
    return sum(bit for stock, states in accounts.items() for state, bit in states.items() if state in LIVING and stock.startswith(prefix))


async def numbers_of_data_keys(transaction: Transaction) -> list[bytes]:
    return [number.to_bytes(4) for (number,) in await transaction.rows("SELECT number FROM sealing_key")]


def restore(path: Path, kme: str, lines: Iterable[bytes]) -> None:
    async def put_back() -> None:
        database = SqliteDatabase(path)
        try:
            await restoring.restore(database, kme, lines, MORE_TABLES)
            await database.run(assert_balanced)
            assert await database.run(living_bit) == 0
        finally:
            await database.close()

    path.touch(0o600)
    asyncio.run(put_back())


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> BackedUp:
    """Two KMEs that have given keys, the backup of each, and the keys; one of these was not collected before."""
    pair = Pair(tmp_path_factory.mktemp("backups"))
    pair.feed()

    async def work() -> tuple[dict[str, list[bytes]], list[SupplyKey]]:
        async with serving(pair, "kme-a") as a, serving(pair, "kme-b") as b:
            keys = await get(a)
            await b.entity.get_keys_with_ids("bob", "alice", [key.key_id for key in keys[1:]])
            lines = {"kme-a": await lines_of(a), "kme-b": await lines_of(b)}
            for service in (a, b):
                blobs = [blob for line in lines[service.configuration.kme.id] for blob in _blobs(line)]
                for number in await service.database.run(numbers_of_data_keys):
                    assert not any(blob.startswith(number) for blob in blobs), "something sealed is in the backup"
            return lines, keys

    return pair, *asyncio.run(work())


def _blobs(line: bytes) -> list[bytes]:
    """What a line may hold in base64."""
    found = []
    for value in msgspec.json.decode(line):
        with suppress(ValueError, TypeError):
            found.append(base64.b64decode(value, validate=True))
    return found


def test_no_key_is_in_a_backup(backed_up: BackedUp) -> None:
    _, lines, keys = backed_up
    text = b"".join(line for each in lines.values() for line in each)
    for key in keys:
        assert key.key.hex().encode() not in text
        assert base64.b64encode(key.key)[:40] not in text


def test_a_backup_has_every_table_that_is_not_left_out_by_design() -> None:
    texts = [*schema.TABLES, *MORE_TABLES]
    declared = {name for text in texts for name in re.findall(r"CREATE TABLE (\w+)", text)} | {"store"}
    assert {table.name for table in backup.tables_of(texts)} == declared - EMPTY_BY_DESIGN


def test_a_restored_store_is_balanced_and_empty_and_delivers_nothing_again(backed_up: BackedUp, tmp_path: Path) -> None:
    pair, lines, keys = backed_up
    (pair.folder / "kme-b.sqlite").rename(tmp_path / "lost.sqlite")
    restore(pair.folder / "kme-b.sqlite", "kme-b", lines["kme-b"])

    async def work() -> None:
        async with serving(pair, "kme-a") as a:
            before_bit = await a.database.run(living_bit, "supply")
            assert before_bit > 0
            async with serving(pair, "kme-b") as b:
                for key in keys:
                    with pytest.raises(KeyNotFound):
                        await b.entity.get_keys_with_ids("bob", "alice", [key.key_id])

                async def a_has_heard() -> bool:
                    return await a.database.run(living_bit) == 0

                await until(a_has_heard)
                pair.feed()
                fresh = await get(a)
                got = await b.entity.get_keys_with_ids("bob", "alice", [key.key_id for key in fresh])
                assert [key.key for key in got] == [key.key for key in fresh]
                assert not {key.key_id for key in fresh} & {key.key_id for key in keys}
                for service in (a, b):
                    await service.database.run(assert_balanced)
                # Told once: a restart destroys nothing again.
                await b.restoration.tell(["kme-a"])
                assert await a.entity.stock_bit("kme-b") > 0

    asyncio.run(work())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: lines[:-1], "cut short"),
        (lambda lines: [*lines[:3], *lines[4:]], "."),
        (lambda lines: [*lines, b"[]\n"], "end with them"),
        (lambda lines: [], "no line"),
        (lambda lines: [b"\x00" * 50, *lines[1:]], "no line"),
        (lambda lines: [lines[0].replace(b"kme-a", b"kme-z"), *lines[1:]], "must be version"),
        (lambda lines: [lines[0], b'["relays",1]\n', *lines[1:]], "no table"),
        (lambda lines: [lines[0], lines[1].replace(b'"sqlite",1,"W', b'"sqlite",1,"X'), *lines[2:]], "was changed"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "was changed"),
    ],
)
def test_a_backup_that_is_not_whole_changes_nothing(
    backed_up: BackedUp, change: Callable[[list[bytes]], list[bytes]], words: str, tmp_path: Path
) -> None:
    _, lines, _ = backed_up

    async def work() -> None:
        database = SqliteDatabase(tmp_path / "new.sqlite")
        try:
            with pytest.raises(InputError, match=words):
                await restoring.restore(database, "kme-a", change(lines["kme-a"]), MORE_TABLES)
            assert await restoring.restore(database, "kme-a", lines["kme-a"], MORE_TABLES) == len(lines["kme-a"]) - 2
            with pytest.raises(StateError, match="a new one"):
                await restoring.restore(database, "kme-a", lines["kme-a"], MORE_TABLES)
        finally:
            await database.close()

    asyncio.run(work())


def test_a_backup_of_sqlite_goes_into_postgresql_and_back(backed_up: BackedUp, tmp_path: Path) -> None:
    _, lines, _ = backed_up

    async def work(dsn: str) -> list[bytes]:
        database = PostgresDatabase(dsn)
        await database.open()
        try:
            await restoring.restore(database, "kme-a", lines["kme-a"], MORE_TABLES)
            await database.run(assert_balanced)
            assert await database.run(living_bit) == 0
            return [line async for line in backup.dump(database, "kme-a", MORE_TABLES)]
        finally:
            await database.close()

    with postgres_server() as create:
        again = asyncio.run(work(create("kme-a")))
    restore(tmp_path / "again.sqlite", "kme-a", again)
