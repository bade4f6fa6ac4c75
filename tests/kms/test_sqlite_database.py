import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from tiandi.errors import KeyNotFound, StateError
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.sqlite_database import SqliteDatabase


async def add(transaction: Transaction, number: int) -> int:
    await transaction.rows("INSERT INTO number (value) VALUES ($1)", number)
    return number


async def add_and_fail(transaction: Transaction, number: int) -> None:
    await add(transaction, number)
    raise KeyNotFound("no")


async def values(transaction: Transaction) -> list[int]:
    return [value for (value,) in await transaction.rows("SELECT value FROM number ORDER BY value")]


async def opened(path: Path) -> SqliteDatabase:
    database = SqliteDatabase(path)

    async def create(transaction: Transaction) -> None:
        await transaction.rows("CREATE TABLE IF NOT EXISTS number (value INTEGER PRIMARY KEY) STRICT")

    await database.run(create)
    return database


def test_what_returned_is_on_the_disk_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    program = f"""
import asyncio, os, signal
from pathlib import Path
from tests.kms.test_sqlite_database import add, opened
async def main():
    database = await opened(Path({str(path)!r}))
    await asyncio.gather(*(database.run(add, i) for i in range(50)))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    folder = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", program], cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, check=False)
    assert ended.returncode == -signal.SIGKILL

    async def run() -> None:
        database = await opened(path)
        assert await database.run(values) == list(range(50))
        await database.close()

    asyncio.run(run())


def test_one_work_that_fails_undoes_itself_and_nothing_else(tmp_path: Path) -> None:
    async def run() -> None:
        database = await opened(tmp_path / "store.sqlite")
        outcomes = await asyncio.gather(
            database.run(add, 1),
            database.run(add_and_fail, 2),
            database.run(add, 1),
            database.run(add, 3),
            return_exceptions=True,
        )
        assert outcomes[0] == 1
        assert outcomes[3] == 3
        assert isinstance(outcomes[1], KeyNotFound)
        assert isinstance(outcomes[2], apsw.ConstraintError)
        assert await database.run(values) == [1, 3]
        await database.close()

    asyncio.run(run())


def test_who_comes_while_a_group_is_committed_waits_for_the_next(tmp_path: Path) -> None:
    async def run() -> None:
        database = await opened(tmp_path / "store.sqlite")
        commits: list[int] = []

        def count() -> bool:
            commits.append(1)
            return False

        database._connection.set_commit_hook(count)
        assert await asyncio.gather(*(database.run(add, number) for number in range(200))) == list(range(200))
        assert len(commits) < 5, "200 at once are a few groups"
        await database.close()

    asyncio.run(run())


def test_a_disk_that_fails_in_the_commit_fails_the_whole_group_and_no_later_one(tmp_path: Path) -> None:
    async def run() -> None:
        database = await opened(tmp_path / "store.sqlite")
        database._connection.set_commit_hook(lambda: True)  # SQLite then undoes the transaction.
        outcomes = await asyncio.gather(database.run(add, 1), database.run(add, 2), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StateError, StateError]
        database._connection.set_commit_hook(None)
        assert await database.run(values) == []
        assert await database.run(add, 4) == 4
        await database.close()

    asyncio.run(run())


def test_a_full_disk_in_the_middle_of_a_group_fails_all_of_it(tmp_path: Path) -> None:
    async def fill(transaction: Transaction) -> None:
        await transaction.rows("CREATE TABLE big (value BLOB)")
        await transaction.rows("INSERT INTO big VALUES (zeroblob(1000000))")

    async def run() -> None:
        database = await opened(tmp_path / "store.sqlite")
        ((pages,),) = database._connection.execute("PRAGMA page_count")
        database._connection.execute(f"PRAGMA max_page_count = {pages + 3}")
        outcomes = await asyncio.gather(database.run(add, 1), database.run(fill), database.run(add, 2), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StateError] * 3
        assert await database.run(values) == []
        assert await database.run(add, 1) == 1
        await database.close()

    asyncio.run(run())


def test_whatever_goes_wrong_outside_a_work_is_told_to_those_who_wait(tmp_path: Path) -> None:
    async def run() -> None:
        database = await opened(tmp_path / "store.sqlite")
        database._disk.shutdown()
        with pytest.raises(StateError):
            await asyncio.wait_for(database.run(add, 1), 5)
        assert await database.run(values) == []
        await database.close()

    asyncio.run(run())


def test_a_caller_who_leaves_disturbs_nobody(tmp_path: Path) -> None:
    async def run() -> None:
        database = await opened(tmp_path / "store.sqlite")
        first, second = (asyncio.create_task(database.run(add, number)) for number in (1, 2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == 2
        assert 2 in await database.run(values)
        third = asyncio.create_task(database.run(add, 3))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        third.cancel()
        with pytest.raises(asyncio.CancelledError):
            await third
        assert await database.run(add, 4) == 4
        await database.close()

    asyncio.run(run())


def test_work_that_waits_for_anything_else_is_refused_and_undone(tmp_path: Path) -> None:
    async def wait(transaction: Transaction) -> None:
        await add(transaction, 1)
        await asyncio.sleep(0.001)

    async def run() -> None:
        database = await opened(tmp_path / "store.sqlite")
        outcomes = await asyncio.gather(database.run(wait), database.run(add, 2), return_exceptions=True)
        assert isinstance(outcomes[0], RuntimeError)
        assert await database.run(values) == [2]
        await database.close()

    asyncio.run(run())


def test_a_second_process_cannot_open_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        database = await opened(tmp_path / "store.sqlite")
        with pytest.raises(StateError, match="cannot be opened"):
            SqliteDatabase(tmp_path / "store.sqlite")
        await database.close()

    monkeypatch.setattr("tiandi.kms.store.sqlite_database.PRAGMAS", ("busy_timeout = 1", "locking_mode = EXCLUSIVE", "journal_mode = WAL"))
    asyncio.run(run())


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(StateError, match="cannot be opened"):
        SqliteDatabase(tmp_path / "store.sqlite")


def test_closing_waits_for_what_is_under_way_and_then_refuses(tmp_path: Path) -> None:
    async def run() -> None:
        database = await opened(tmp_path / "store.sqlite")
        under_way = [asyncio.create_task(database.run(add, number)) for number in range(5)]
        await asyncio.sleep(0)
        await database.close()
        assert await asyncio.gather(*under_way) == list(range(5))
        with pytest.raises(StateError, match="closed"):
            await asyncio.wait_for(database.run(add, 6), 5)

    asyncio.run(run())
