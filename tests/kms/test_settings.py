"""What operators change survives a restart and reaches every process of a node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kms.network import master_key_file
from tests.kms.operated import Operated, operated
from tests.kms.postgres import postgres_server
from tiandi.errors import InputError, KeysExhausted
from tiandi.kms.directory import Directory, PairPolicy, Partner, Sae
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.operating.operations import TABLES
from tiandi.kms.operating.settings import PairSetting, SaeSetting, Settings
from tiandi.kms.store.master_keys import open_master_key
from tiandi.kms.store.postgres_database import PostgresDatabase
from tiandi.kms.store.sqlite_database import SqliteDatabase


def directory(**more: Any) -> Directory:
    """What a configuration file would say."""
    saes = {"alice": Sae("kme-a"), "bob": Sae("kme-b"), "probe": Sae("kme-a", may_pair_with_itself=True)}
    return Directory(kme_addresses={"kme-b": "https://kme-b"}, saes=saes, **more)


async def process(folder: Path, database: Any, known: Directory) -> tuple[KeyManagementEntity, Settings]:
    """One process of kme-a."""

    async def post(*_: object) -> bytes:
        raise AssertionError("nobody is asked")

    key = open_master_key(f"file:{master_key_file(folder)}")
    entity = await KeyManagementEntity.open("kme-a", database, key, directory=known, post=post, tables=TABLES)
    settings = Settings(entity)
    await settings.refresh()
    return entity, settings


def test_settings_survive_a_restart_and_stand_above_the_configuration_file(tmp_path: Path) -> None:
    async def run() -> Directory:
        entity, settings = await process(tmp_path, SqliteDatabase(tmp_path / "store"), directory())
        assert await settings.put_sae("olga", "carol", SaeSetting("kme-b", system_id="KP_Carol"))
        assert await settings.put_sae("olga", "alice", SaeSetting("kme-a", system_id="KP_Alice"))
        assert await settings.delete_sae("olga", "bob")
        assert await settings.put_pair("olga", "alice", "carol", PairSetting(maximum_bps=1000, paths=3, threshold=2))
        assert await settings.drain("olga", draining=True)
        await entity.close()
        known = directory()
        entity, _ = await process(tmp_path, SqliteDatabase(tmp_path / "store"), known)
        assert entity.draining
        await entity.close()
        return known

    known = asyncio.run(run())
    assert known.saes.keys() == {"alice", "carol", "probe"}
    assert (known.saes["carol"], known.saes["alice"].system_id) == (Sae("kme-b", "KP_Carol"), "KP_Alice")
    assert known.policies == {("alice", "carol"): PairPolicy(maximum_bps=1000, paths=3, threshold=2)}


def test_a_file_that_is_read_anew_does_not_undo_what_operators_changed(tmp_path: Path) -> None:
    async def run() -> None:
        known = directory()
        entity, settings = await process(tmp_path, SqliteDatabase(tmp_path / "store"), known)
        await settings.put_sae("olga", "carol", SaeSetting("kme-b"))
        await settings.delete_sae("olga", "bob")
        known.saes = directory().saes
        await settings.refresh_all()
        assert known.saes.keys() == {"alice", "carol", "probe"}
        await entity.close()

    asyncio.run(run())


def test_what_is_so_already_is_no_change(tmp_path: Path) -> None:
    async def run() -> None:
        entity, settings = await process(tmp_path, SqliteDatabase(tmp_path / "store"), directory())
        assert not await settings.put_sae("olga", "alice", SaeSetting("kme-a"))
        assert await settings.put_pair("olga", "alice", "bob", PairSetting())
        assert not await settings.put_pair("olga", "alice", "bob", PairSetting())
        assert await settings.delete_pair("olga", "alice", "bob")
        assert not await settings.delete_pair("olga", "alice", "bob")
        assert not await settings.delete_sae("olga", "nobody")
        assert not await settings.drain("olga", draining=False)
        assert await settings.delete_sae("olga", "bob")
        assert not await settings.delete_sae("olga", "bob")
        assert await settings.put_sae("olga", "bob", SaeSetting("kme-b"))
        await entity.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("sae", "setting", "field"),
    [
        ("", SaeSetting("kme-a"), "SAE_ID"),
        ("a b", SaeSetting("kme-a"), "SAE_ID"),
        ("a" * 65, SaeSetting("kme-a"), "SAE_ID"),
        ("carol", SaeSetting("kme-z"), "home"),
        ("carol", SaeSetting("kme-a", system_id="KP Carol"), "names.carol"),
        ("carol", SaeSetting("kme-a", system_id="KP_Taken"), "names"),
        ("carol", SaeSetting("kme-b", beyond="nowhere"), "beyond"),
    ],
)
def test_an_sae_that_cannot_stand_is_refused(tmp_path: Path, sae: str, setting: SaeSetting, field: str) -> None:
    async def run() -> None:
        known = directory(partners={"there": Partner})
        known.saes["taken"] = Sae("kme-a", "KP_Taken")
        entity, settings = await process(tmp_path, SqliteDatabase(tmp_path / "store"), known)
        with pytest.raises(InputError) as caught:
            await settings.put_sae("olga", sae, setting)
        assert caught.value.field == field
        assert sae not in known.saes
        await entity.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("master", "slave", "setting", "field"),
    [
        ("alice", "alice", PairSetting(), "slave_SAE_ID"),
        ("alice", "nobody", PairSetting(), "SAE_ID"),
        ("nobody", "bob", PairSetting(), "SAE_ID"),
        ("alice", "bob", PairSetting(minimum_bps=2, maximum_bps=1), "maximum_bps"),
        ("alice", "bob", PairSetting(paths=2, threshold=3), "threshold"),
        ("alice", "bob", PairSetting(paths=4, threshold=2), "threshold"),
    ],
)
def test_a_pair_that_cannot_stand_is_refused(tmp_path: Path, master: str, slave: str, setting: PairSetting, field: str) -> None:
    async def run() -> None:
        entity, settings = await process(tmp_path, SqliteDatabase(tmp_path / "store"), directory())
        with pytest.raises(InputError) as caught:
            await settings.put_pair("olga", master, slave, setting)
        assert caught.value.field == field
        assert await settings.put_pair("olga", "probe", "probe", PairSetting())
        await entity.close()

    asyncio.run(run())


def test_where_only_named_pairs_may_share_keys_a_setting_names_them_and_takes_the_name_away(tmp_path: Path) -> None:
    async def run() -> None:
        known = directory(pairs={("bob", "alice")}, policies={("bob", "alice"): PairPolicy()})
        entity, settings = await process(tmp_path, SqliteDatabase(tmp_path / "store"), known)
        await settings.put_pair("olga", "alice", "bob", PairSetting(priority=0))
        await settings.delete_pair("olga", "bob", "alice")
        assert known.pairs == {("alice", "bob")}
        assert known.policies == {("alice", "bob"): PairPolicy(priority=0)}
        await entity.close()

    asyncio.run(run())


def test_a_node_that_is_drained_gives_its_keys_out_again_afterwards(tmp_path: Path) -> None:
    async def run(network: Operated) -> None:
        await network.keys()
        settings = network.operations["kme-a"].settings
        await settings.drain("olga", draining=True)
        with pytest.raises(KeysExhausted, match="drained"):
            await network.keys()
        await settings.drain("olga", draining=False)
        await network.keys()

    async def opened() -> None:
        async with operated(tmp_path, "kme-a", "kme-b") as network:
            await run(network)

    asyncio.run(opened())


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    with postgres_server() as create:
        yield create("settings")


def test_every_process_of_a_node_takes_over_what_one_was_told(dsn: str, tmp_path: Path) -> None:
    async def opened(known: Directory) -> tuple[KeyManagementEntity, Settings]:
        database = PostgresDatabase(dsn)
        await database.open()
        return await process(tmp_path, database, known)

    async def run() -> None:
        (one, ones), (other, others) = await opened(directory()), await opened(directory())
        await ones.put_sae("olga", "carol", SaeSetting("kme-b"))
        await ones.drain("olga", draining=True)
        assert "carol" not in other.directory.saes
        await others.refresh()
        assert (other.directory.saes["carol"], other.draining) == (Sae("kme-b"), True)
        # One that has not heard yet is not told that all is so already.
        await ones.delete_sae("olga", "carol")
        assert await others.put_sae("otto", "carol", SaeSetting("kme-b"))
        await asyncio.gather(
            *(settings.put_sae("olga", f"sae-{number}", SaeSetting("kme-b")) for number in range(8) for settings in (ones, others))
        )
        await ones.refresh()
        await others.refresh()
        assert one.directory.saes == other.directory.saes
        assert len(one.directory.saes) == 4 + 8
        for entity in (one, other):
            await entity.close()

    asyncio.run(run())
