"""Audits: a store that was used is in order, and whatever is changed in it afterwards is found and named."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from tests.kms.network import master_key_file
from tests.kms.operated import OPERATOR, operated
from tests.kms.postgres import postgres_server
from tiandi.errors import StateError
from tiandi.kms.store import audit, ledger
from tiandi.kms.store.audit import Heads, Report
from tiandi.kms.store.database import Database
from tiandi.kms.store.master_keys import create_master_key_file, open_master_key
from tiandi.kms.store.postgres_database import PostgresDatabase
from tiandi.kms.store.sealed_columns import SEALED_COLUMNS
from tiandi.kms.store.sealing import retire
from tiandi.kms.store.sqlite_database import SqliteDatabase

Tamper = Callable[[apsw.Connection], object]


async def use(folder: Path, databases: dict[str, Database], *, void_all: bool = False) -> None:
    """A life with everything in it: keys made, delivered, voided, link key compared, relayed, voided; operators' notes."""
    async with operated(folder, "kme-a", "kme-b", "kme-c", databases=databases) as network:
        for number in range(4):
            keys = await network.keys(5, 256 + 8 * number)
            await network.fetched(keys[:3])
        spare = await network.entities["kme-a"].reserve("alice", ["bob"], size_bit=512, count=3)
        await network.void("kme-a", key_ids=[str(spare.key_ids[0])])
        await network.ask("kme-a", "PUT", "/admin/v1/pairs/alice/bob", json={"maximum_bps": 10**9})
        await network.link("kme-a", "kme-b")
        await network.void("kme-c", link="kme-b")
        if void_all:
            await network.void("kme-a", pair=["alice", "bob"])
        await network.entities["kme-c"].exchange.load_kem_keys(network.entities["kme-c"].sealer)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of kme-a's and kme-c's files, and of their master key."""
    folder = tmp_path_factory.mktemp("used")

    async def run() -> None:
        await use(folder, {name: SqliteDatabase(folder / f"{name}.sqlite") for name in ("kme-a", "kme-b", "kme-c")})

    asyncio.run(run())
    return folder


@pytest.fixture
def store(used: Path, tmp_path: Path) -> Path:
    """A copy of kme-a's file."""
    return Path(shutil.copy(used / "kme-a.sqlite", tmp_path))


def audited(path: Path | str, key: Path | None = None, known: Heads | None = None) -> Report:
    async def run() -> Report:
        database = await audit.open_store(str(path))
        try:
            return await audit.verify(database, master_key=None if key is None else open_master_key(f"file:{key}"), known=known)
        finally:
            await database.close()

    return asyncio.run(run())


def tampered(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement)
        assert connection.changes(), f"{statement}: nothing was changed"
    connection.close()


def found(path: Path, key: Path | None = None) -> str:
    """Everything that is amiss, in lines."""
    report = audited(path, key)
    assert not report.good
    return "\n".join(f"{finding.check}: {finding.where}: {finding.text}" for finding in report.findings)


@pytest.mark.parametrize("kme", ["kme-a", "kme-b", "kme-c"])
def test_a_store_that_was_used_is_in_order(used: Path, kme: str) -> None:
    report = audited(used / f"{kme}.sqlite", master_key_file(used))
    assert report.findings == []
    assert report.kme == kme
    assert report.opened
    assert report.pages == report.heads.chains["sqlite"].number
    assert report.accounts


def test_an_audit_changes_nothing(used: Path, store: Path) -> None:
    before = store.read_bytes()
    audited(store, master_key_file(used))
    assert store.read_bytes() == before


# The journal.


def test_a_changed_page_is_named(store: Path) -> None:
    change = """CAST(replace(CAST(entries AS TEXT), '"bit":', '"bit":1') AS BLOB)"""
    tampered(store, f"UPDATE journal SET entries = {change} WHERE number = 3")
    assert "journal: chain sqlite, page 3: does not follow from the page before it" in found(store)


def test_a_changed_page_whose_hash_was_made_to_fit_is_named_by_the_page_behind_it(store: Path) -> None:
    connection = apsw.Connection(str(store))
    (previous,) = connection.execute("SELECT digest FROM journal WHERE number = 2").fetchall()
    (page,) = connection.execute("SELECT entries FROM journal WHERE number = 3").fetchall()
    entries = page[0].replace(b"alice", b"malla")
    digest = ledger.page_digest(previous[0], "sqlite", 3, entries)
    connection.execute("UPDATE journal SET entries = ?, digest = ? WHERE number = 3", (entries, digest))
    connection.close()
    told = found(store)
    assert "journal: chain sqlite, page 4: does not follow from the page before it" in told
    assert "page 3:" not in told


def test_a_removed_page_is_named(store: Path) -> None:
    tampered(store, "DELETE FROM journal WHERE number = 4")
    told = found(store)
    assert "journal: chain sqlite, page 5: page 4 before it: missing" in told
    assert "account: " in told


def test_a_removed_page_is_named_though_those_behind_it_were_renumbered(store: Path) -> None:
    tampered(store, "DELETE FROM journal WHERE number = 4", "UPDATE journal SET number = -number + 1 WHERE number > 4")
    tampered(store, "UPDATE journal SET number = -number WHERE number < 0")
    assert "journal: chain sqlite, page 4: does not follow" in found(store)


def test_two_pages_that_changed_places_are_named(store: Path) -> None:
    tampered(
        store,
        "UPDATE journal SET number = 0 WHERE number = 3",
        "UPDATE journal SET number = 3 WHERE number = 4",
        "UPDATE journal SET number = 4 WHERE number = 0",
    )
    told = found(store)
    assert "page 3: does not follow" in told
    assert "page 4: does not follow" in told


def test_a_page_that_cannot_be_read_is_named(store: Path) -> None:
    tampered(store, "UPDATE journal SET entries = x'ff' WHERE number = 2")
    assert "chain sqlite, page 2: cannot be read" in found(store)


@pytest.mark.parametrize(
    ("stock", "before", "after", "bit", "told"),
    [
        ("link kme-b own", "spent", "stored", 8, "link kme-b own: spent to stored is no step in the life of a key"),
        ("supply alice bob master 256", "delivered", "ready", 256, "delivered to ready is no step in the life of a key"),
        ("supply alice bob master 256", "", "delivered", 256, "nothing to delivered is no step"),
        ("link kme-b own", "", "received", -8, "-8 bit of link kme-b own: there is no such amount"),
        ("gold", "", "received", 8, "gold: nothing to received is no step in the life of a key"),
        ("operator olga", "", "ready", 8, "a note of operator olga moves bits"),
    ],
)
def test_a_step_that_no_key_can_take_is_named(store: Path, *, stock: str, before: str, after: str, bit: int, told: str) -> None:
    connection = apsw.Connection(str(store))
    [(number, previous)] = connection.execute("SELECT number, digest FROM journal ORDER BY number DESC LIMIT 1").fetchall()
    line = f'[{{"time_ms":1,"stock":"{stock}","before":"{before}","after":"{after}","bit":{bit}}}]'.encode()
    digest = ledger.page_digest(previous, "sqlite", number + 1, line)
    connection.execute("INSERT INTO journal VALUES ('sqlite', ?, ?, ?)", (number + 1, line, digest))
    connection.close()
    assert f"page {number + 1}: " in found(store)
    assert told in found(store)


# Accounts and tables.


def test_a_changed_account_is_named(store: Path) -> None:
    tampered(store, "UPDATE account SET bit = bit + 8 WHERE stock = 'link kme-b own' AND state = 'spent'")
    assert found(store).startswith("account: link kme-b own, spent: holds ")
    assert len(audited(store).findings) == 1


def test_a_removed_account_is_named(store: Path) -> None:
    tampered(store, "DELETE FROM account WHERE stock = 'supply alice bob master 256' AND state = 'delivered'")
    assert found(store).startswith("account: supply alice bob master 256, delivered: holds 0 bit, by the journal ")


def test_a_removed_piece_of_link_key_is_found_in_its_stock(store: Path) -> None:
    tampered(store, "DELETE FROM link_key WHERE rowid = (SELECT min(rowid) FROM link_key WHERE own = 0)")
    assert "link key: link kme-b peer, stored: " in found(store)


def test_a_removed_block_is_named(store: Path) -> None:
    connection = apsw.Connection(str(store))
    [(block_id,)] = connection.execute("SELECT block_id FROM link_block LIMIT 1").fetchall()
    connection.close()
    tampered(store, f"DELETE FROM link_block WHERE block_id = x'{block_id.hex()}'")
    assert f"block {audit._shown(block_id)}: came by the journal, and has no row" in found(store)


@pytest.mark.parametrize("state", ["delivered", "ready", "voided"])
def test_a_removed_reservation_is_named_even_a_tombstone(store: Path, state: str) -> None:
    tampered(store, f"DELETE FROM reservation WHERE rowid = (SELECT min(rowid) FROM reservation WHERE state = '{state}')")
    told = found(store)
    assert "reservation: supply alice bob master " in told
    assert "rows for 0 keys, by the journal " in told


def test_a_row_that_was_put_back_so_that_keys_go_out_twice_is_named(store: Path) -> None:
    tampered(store, "UPDATE reservation SET delivered = zeroblob(length(delivered)), left_count = key_count WHERE state = 'ready'")
    told = found(store)
    assert "0 keys are marked as delivered, by the journal 5 were: some twice, or their row was put back" in told


def test_an_identifier_in_two_rows_is_named(store: Path) -> None:
    columns = "role, slave, master, size_bit, key_count, left_count, state, stream, route_type, paths, hops, created_ms, delivered, sealed"
    tampered(store, f"INSERT INTO reservation SELECT prefix, first_index + 1, {columns} FROM reservation WHERE state = 'ready' LIMIT 1")
    assert "stands in two rows: it could be delivered twice" in found(store)


def test_marks_that_do_not_add_up_are_named(store: Path) -> None:
    tampered(store, "UPDATE reservation SET left_count = left_count - 1 WHERE state = 'ready'")
    assert "are left, and 5 marked as delivered" in found(store)


def test_keys_that_are_gone_but_should_be_there_are_named(store: Path) -> None:
    tampered(store, "UPDATE reservation SET sealed = NULL WHERE state = 'ready'")
    assert "reservation: master's side of bob, reservation " in found(store)
    assert ": 0 bytes are sealed, " in found(store)


# What is sealed.


def test_what_was_altered_under_its_seal_is_named(used: Path, store: Path) -> None:
    tampered(store, "UPDATE link_key SET sealed = CAST(substr(sealed, 1, 20) || x'00' || substr(sealed, 22) AS BLOB) WHERE own = 1")
    assert audited(store).good
    assert "sealed: link_key " in found(store, master_key_file(used))


def test_another_master_key_opens_nothing(store: Path, tmp_path: Path) -> None:
    create_master_key_file(tmp_path / "other.key")
    told = found(store, tmp_path / "other.key")
    assert "cannot be opened: the data keys of this store are wrapped under" in told


def test_the_columns_that_are_audited_are_all_that_are_sealed(used: Path, store: Path) -> None:
    """Retiring every data key seals all of them anew; nothing is left that cannot be opened."""

    async def run() -> int:
        async with operated(used, "kme-a", databases={"kme-a": SqliteDatabase(store)}) as network:
            columns = [column for column in SEALED_COLUMNS if column.table != "box_block"]
            return await retire(network.entities["kme-a"].database, network.entities["kme-a"].sealer, columns, minimum_age_s=0)

    assert asyncio.run(run())
    report = audited(store, master_key_file(used))
    assert report.good
    assert report.opened


# Heads.


def test_a_journal_that_was_cut_off_is_found_by_the_heads_of_an_audit_before(store: Path) -> None:
    before = audited(store)
    last = before.heads.chains["sqlite"].number
    tampered(store, f"DELETE FROM journal WHERE number = {last}")
    undone = "account" in "".join(finding.check for finding in audited(store).findings)
    report = audited(store, known=before.heads)
    assert [finding.text for finding in report.findings if finding.check == "heads"] == [
        f"was there at an audit before: the chain was cut off and ends with page {last - 1}"
    ]
    assert undone or len(report.findings) == 1


def test_a_journal_that_was_written_anew_is_found_by_the_heads_of_an_audit_before(store: Path) -> None:
    before = audited(store)
    connection = apsw.Connection(str(store))
    digest = ledger.FIRST_DIGEST
    for number, found_entries in connection.execute("SELECT number, entries FROM journal ORDER BY number").fetchall():
        entries = found_entries.replace(OPERATOR.encode(), b"nobody")
        digest = ledger.page_digest(digest, "sqlite", number, entries)
        connection.execute("UPDATE journal SET entries = ?, digest = ? WHERE number = ?", (entries, digest, number))
    connection.close()
    assert audited(store).good
    assert [finding.text for finding in audited(store, known=before.heads).findings] == ["is another than at an audit before"]


def test_heads_of_a_store_that_went_on_are_still_there(used: Path, store: Path) -> None:
    before = audited(store)

    async def go_on() -> None:
        async with operated(used, "kme-a", databases={"kme-a": SqliteDatabase(store)}) as network:
            assert (await network.ask("kme-a", "POST", "/admin/v1/drain", json={"draining": True})).status_code == 200

    asyncio.run(go_on())
    after = audited(store, known=before.heads)
    assert after.good
    assert after.pages == before.pages + 1


def test_heads_of_another_kme_are_refused(used: Path, store: Path) -> None:
    with pytest.raises(StateError, match="another KME"):
        audited(store, known=audited(used / "kme-c.sqlite").heads)


# What is no store.


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="must be a file"):
        audited(tmp_path / "nothing.sqlite")
    assert not list(tmp_path.iterdir())
    apsw.Connection(str(tmp_path / "empty.sqlite")).execute("CREATE TABLE t (x)")
    with pytest.raises(StateError, match="not the store of a KME"):
        audited(tmp_path / "empty.sqlite")
    (tmp_path / "text").write_text("no database, but long enough to be taken for one" * 10)
    with pytest.raises(StateError, match="cannot be opened"):
        audited(tmp_path / "text")


def test_a_store_in_use_is_refused(store: Path) -> None:
    async def run() -> None:
        holder = SqliteDatabase(store)
        try:
            with pytest.raises(StateError, match="cannot be opened"):
                await audit.open_store(str(store))
        finally:
            await holder.close()

    asyncio.run(run())


# PostgreSQL.


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server() as create:
        yield create("audited")


def test_a_cluster_is_audited_while_it_runs_all_its_chains_together(server: str, tmp_path: Path) -> None:
    async def run() -> tuple[Report, Report]:
        database = PostgresDatabase(server)
        await database.open()
        await use(tmp_path, {"kme-a": database}, void_all=True)
        reader = await audit.open_store(server)
        try:
            good = await audit.verify(reader, master_key=open_master_key(f"file:{master_key_file(tmp_path)}"))
            await reader.run(_remove_a_chain)
            return good, await audit.verify(reader, known=good.heads)
        finally:
            await reader.close()

    good, bad = asyncio.run(run())
    assert good.findings == []
    assert good.opened
    assert len(good.heads.chains) >= 1
    assert {"heads", "account"} <= {finding.check for finding in bad.findings}


async def _remove_a_chain(transaction: object) -> None:
    rows = transaction.rows  # type: ignore[attr-defined]
    await rows("DELETE FROM journal WHERE chain = (SELECT chain FROM journal GROUP BY chain ORDER BY count(*) DESC LIMIT 1)")
