import asyncio
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.kms.network import Blocks, Clock, Network, chain
from tiandi.distill.records import KeyBlock
from tiandi.errors import InputError, KeyNotFound, NotAuthorised, StateError
from tiandi.kms.directory import Directory, PairPolicy, Sae
from tiandi.kms.etsi014 import KeyRequest
from tiandi.kms.keys import key_identifier, new_prefix
from tiandi.kms.relay import patience
from tiandi.kms.store import sqlite_database
from tiandi.kms.store.sqlite_database import SqliteDatabase, SqliteTransaction

NAMES = ["kme-0", "kme-1", "kme-2"]


def test_both_applications_get_the_same_keys_over_every_kind_of_way(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            network.directory.saes |= {"next door": Sae("kme-0"), "neighbour": Sae("kme-1")}
            network.directory.policies["alice", "neighbour"] = PairPolicy(post_quantum=True)
            home = network.entities["kme-0"]
            for slave in ("next door", "neighbour", "bob"):
                keys = await home.get_keys("alice", slave, KeyRequest(number=3, size=512))
                other = network.entities[network.directory.home(slave)]
                ids = [key.key_id for key in keys]
                assert await other.get_keys_with_ids(slave, "alice", ids[::-1]) == keys[::-1]
                with pytest.raises(KeyNotFound):
                    await other.get_keys_with_ids(slave, "alice", ids[:1])
            await home.supply.close()
            await network.rest()
            await network.assert_settled()

    asyncio.run(run())


def test_several_slaves_get_the_keys_of_one_request(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            network.directory.saes |= {"carol": Sae("kme-1"), "dora": Sae("kme-0")}
            request = KeyRequest(number=2, additional_slave_SAE_IDs=["carol", "dora"])
            keys = await network.entities["kme-0"].get_keys("alice", "bob", request)
            for slave in ("bob", "carol", "dora"):
                other = network.entities[network.directory.home(slave)]
                assert await other.get_keys_with_ids(slave, "alice", [key.key_id for key in keys]) == keys
            assert await network.assert_settled() == 0

    asyncio.run(run())


def test_a_key_of_several_slaves_travels_as_the_most_careful_of_them_asks(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            asked: list[str] = []
            find = network.directory.find_routes

            def find_routes(source: str, target: str, wanted_bit: int, paths: int, /, *, least_trust: str = "") -> Sequence[Sequence[str]]:
                asked.append(least_trust)
                return find(source, target, wanted_bit, paths)

            network.directory.find_routes = find_routes
            network.directory.saes |= {"carol": Sae("kme-1"), "dora": Sae("kme-2")}
            network.directory.policies["alice", "carol"] = PairPolicy(least_trust="own")
            network.directory.policies["alice", "dora"] = PairPolicy(least_trust="shared", post_quantum=True, relay_form="announced")
            home = network.entities["kme-0"]
            plan = await home.plan("alice", ["bob", "carol", "dora"], size_bit=256, count=1)
            assert asked == ["own", "own"]
            assert all(way.kem_public and way.announced for way in plan.ways.values())
            asked.clear()
            await home.plan("alice", ["bob", "dora"], size_bit=256, count=1)
            await home.plan("alice", ["bob"], size_bit=256, count=1)
            assert asked == ["shared", ""]

    asyncio.run(run())


def test_thresholds_of_several_pairs_are_as_high_as_the_highest() -> None:
    directory = Directory(saes={name: Sae("kme-0") for name in ("bob", "carol", "dora")})
    directory.policies = {("alice", "bob"): PairPolicy(paths=3, threshold=2), ("alice", "carol"): PairPolicy(paths=5, threshold=3)}
    policy = directory.strictest_policy("alice", ["bob", "carol"])
    assert (policy.paths, policy.threshold) == (5, 3)
    assert directory.strictest_policy("alice", ["bob", "carol", "dora"]).threshold is None
    assert directory.strictest_policy("alice", ["carol"]) is directory.policies["alice", "carol"]


def test_who_may_not_have_a_key_gets_none(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            network.directory.saes["eve"] = Sae("kme-2")
            first, last = network.entities["kme-0"], network.entities["kme-2"]
            [key] = await first.get_keys("alice", "bob", KeyRequest())
            for caller, error in (("eve", NotAuthorised), ("alice", NotAuthorised), ("nobody", NotAuthorised)):
                with pytest.raises(error):
                    await last.get_keys_with_ids(caller, "alice", [key.key_id])
            with pytest.raises(NotAuthorised):
                await last.get_keys_with_ids("bob", "eve", [key.key_id])
            with pytest.raises(KeyNotFound):
                await last.get_keys_with_ids("bob", "alice", [key_identifier(new_prefix(), 0)])
            with pytest.raises(InputError):
                await last.get_keys_with_ids("bob", "alice", [])
            assert await last.get_keys_with_ids("bob", "alice", [key.key_id]) == [key]

    asyncio.run(run())


def test_a_block_that_is_too_short_does_not_hold_the_others_up(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES[:2], length_byte=100) as network:
            blocks = [KeyBlock(uuid4(), os.urandom(length)) for length in (10, 1032)]
            before = await network.entities["kme-0"].stock_bit("kme-1")
            sources = [Blocks("kme-0", "second", blocks), Blocks("kme-1", "first", blocks)]
            assert await network.entities["kme-1"].collect(sources[0]) == 1032 * 8
            assert await network.entities["kme-0"].collect(sources[1]) == 1032 * 8
            await network.rest()
            assert [source.blocks for source in sources] == [[], []]
            assert await network.entities["kme-0"].stock_bit("kme-1") == before + 500 * 8

    asyncio.run(run())


def test_a_fault_nobody_thought_of_does_not_end_the_housekeeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SWEEP_PAUSE_S", 0.001)

    async def run() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with chain(tmp_path, NAMES[:1]) as network:
            home = network.entities["kme-0"]
            sweep, faults = home.exchange.sweep, iter([ZeroDivisionError("a fault of ours"), StateError("disk", "", "is full")])
            swept = asyncio.Event()

            async def failing() -> None:
                for fault in faults:
                    raise fault
                await sweep()
                swept.set()

            monkeypatch.setattr(home.exchange, "sweep", failing)
            home.start()
            await asyncio.wait_for(swept.wait(), 5)
            assert [type(context["exception"]) for context in told] == [ZeroDivisionError]

    asyncio.run(run())


def test_closing_in_the_middle_of_everything_ends_soon(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            network.choose = lambda *_: "lose request"
            asking = [asyncio.create_task(network.entities["kme-0"].get_keys("alice", "bob", KeyRequest())) for _ in range(3)]
            await asyncio.sleep(0.02)
            for kme in network.entities.values():
                await asyncio.wait_for(kme.close(), 5)
            outcomes = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 15)
            assert all(isinstance(outcome, BaseException) for outcome in outcomes)
            network.entities.clear()

    asyncio.run(run())


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Every statement that a SQLite store executes, as SQLite writes it, and how many parameters it has."""
    found: dict[str, int] = {}
    rows = SqliteTransaction.rows

    async def record(self: SqliteTransaction, query: str, *values: Any) -> Any:
        found[sqlite_database._dialect(query)] = len(values)
        return await rows(self, query, *values)

    monkeypatch.setattr(SqliteTransaction, "rows", record)
    return found


SMALL = {"store", "kem_key", "sealing_key", "sealing_store"}
"""Tables of a few rows."""


def test_no_statement_of_a_kmes_work_reads_a_whole_table(tmp_path: Path, statements: dict[str, int]) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            await exercise(network)
            database = network.entities["kme-0"].database
            assert isinstance(database, SqliteDatabase)
            scans = []
            for query, parameters in statements.items():
                if not query.startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
                    continue
                for *_, detail in database._connection.execute(f"EXPLAIN QUERY PLAN {query}", (None,) * parameters):
                    table = re.match(r"SCAN (\w+)$", detail)
                    if table and table[1] not in SMALL:
                        scans.append((query, detail))
            assert not scans

    asyncio.run(run())
    assert len(statements) > 40


async def exercise(network: Network) -> None:
    """Something of everything."""
    home, last = network.entities["kme-0"], network.entities["kme-2"]
    clock: Clock = network.clock
    keys = await home.get_keys("alice", "bob", KeyRequest(number=2, extension_mandatory=None))
    await last.get_keys_with_ids("bob", "alice", [keys[0].key_id])
    network.choose = lambda *_: "lose request"
    with pytest.raises(Exception, match="kme"):
        await home.reserve("alice", ["bob"], size_bit=256, count=4)
    await network.link("kme-0", "kme-1", 1000)
    await network.settle_down()
    for kme in (home, last):
        await kme.database.run(kme.link_keys.void_link, "kme-1", what="")
        await kme.database.run(kme.link_keys.expire, 2**50)
        await kme.database.run(kme.supply_keys.expire, 2**50, "master")
        await kme.database.run(kme.supply_keys.expire, 2**50, "slave")
    assert clock.ahead_ms > patience.CLAIM_MS
