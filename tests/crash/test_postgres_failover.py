"""A node of two processes on PostgreSQL, of which anything may die: a process, a backend, the server, the machine of the server."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from tests.crash.load import Applications, Journal, kill_and_start, under_load
from tests.crash.network import Network, row_of_kmes
from tests.crash.nursery import Nursery
from tests.crash.postgres import Cluster
from tests.crash.test_kill import PAIRS, assert_one_of_many_gets_it, play, settle
from tiandi.kms.states import State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.postgres_database import PostgresDatabase
from tiandi.kms.store.schema import create_tables

NODE = "kme-0"
Commit = Callable[[PostgresDatabase, Any, Any], Awaitable[Any]]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    try:
        cluster.create_database(NODE)
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def network(nursery: Nursery, cluster: Cluster) -> Iterator[Network]:
    """The first KME is two processes over one database that has a synchronous standby."""
    cluster.add_standby()
    with row_of_kmes(nursery, databases={NODE: cluster.dsn(NODE)}, processes={NODE: 2}) as network:
        yield network


async def _note_eight_bits(transaction: Transaction, runs: list[int]) -> int:
    runs.append(len(runs))
    await ledger.move(transaction, "link kme-b own", None, State.RECEIVED, 8)
    return 8


async def _bits_after(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, commit: Commit) -> tuple[int, int, int]:
    """Bits that one transaction says it noted, bits that the ledger holds then, and how often the work was run."""
    database, runs = PostgresDatabase(cluster.dsn(NODE)), list[int]()
    await database.open()
    try:
        await create_tables(database, NODE)
        with monkeypatch.context() as patch:
            patch.setattr(PostgresDatabase, "_commit", commit)
            noted = await database.run(_note_eight_bits, runs)
        return noted, await database.run(ledger.bits, "link kme-b own", State.RECEIVED), len(runs)
    finally:
        await database.close()


def test_a_commit_whose_answer_is_lost_is_looked_up(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async def commit(_: PostgresDatabase, transaction: Any, __: Any) -> None:
        await transaction.commit()
        raise asyncpg.ConnectionDoesNotExistError("the answer was lost")

    assert asyncio.run(_bits_after(cluster, monkeypatch, commit)) == (8, 8, 1)


def test_a_commit_that_was_lost_on_its_way_is_made_again(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[bool] = []

    async def commit(_: PostgresDatabase, transaction: Any, result: Any) -> Any:
        if not lost:
            lost.append(True)
            raise asyncpg.ConnectionDoesNotExistError("it was never sent")
        await transaction.commit()
        return result

    assert asyncio.run(_bits_after(cluster, monkeypatch, commit)) == (8, 8, 2)


def test_a_commit_is_made_once_though_the_server_dies_right_after(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async def commit(_: PostgresDatabase, transaction: Any, result: Any) -> Any:
        await transaction.commit()
        os.kill(transaction._connection.get_server_pid(), signal.SIGKILL)
        return result

    assert asyncio.run(_bits_after(cluster, monkeypatch, commit)) == (8, 8, 1)


class Disaster:
    """What may happen to a node on PostgreSQL."""

    def __init__(self, network: Network, cluster: Cluster, chance: random.Random) -> None:
        self._network, self._cluster, self._chance = network, cluster, chance
        self.kills = 0

    async def kme(self) -> None:
        await kill_and_start(self._chance.choice([process for process in self._network.processes if process.kme == NODE]), self._chance)
        self.kills += 1

    async def backend(self) -> None:
        backends = await asyncio.to_thread(self._cluster.primary.backends)
        with suppress(ProcessLookupError):
            os.kill(self._chance.choice(backends), signal.SIGKILL)
            self.kills += 1

    async def server(self) -> None:
        self._cluster.primary.kill()
        self.kills += 1
        await asyncio.sleep(self._chance.uniform(0.0, 0.5))
        await asyncio.to_thread(self._cluster.primary.start)

    async def machine(self) -> None:
        await asyncio.to_thread(self._cluster.fail_over)
        self.kills += 1


def endure(network: Network, cluster: Cluster, names: list[str], seed: int) -> None:
    """Let things happen under load, then see whether every key is accounted for."""
    chance = random.Random(seed)
    journal = Journal(network.folder / "applications.journal")
    disaster = Disaster(network, cluster, chance)

    async def disturb() -> None:
        for name in names:
            network.put_link_key()
            await asyncio.sleep(chance.uniform(0.3, 0.8))
            await getattr(disaster, name)()
        await asyncio.sleep(2.0)

    load = asyncio.run(under_load(network, journal, PAIRS, disturb, chance=chance))
    journal.close()
    applications = Applications(network)
    settle(network, applications)
    play(network, applications)
    settle(network, applications)
    account = applications.settle()
    applications.close()
    print(
        f"\n{disaster.kills} kills ({', '.join(names)}), seed {seed}: {load.served} requests served to both SAEs, {load.failed} failed;"
        f" {len(account.masters)} keys given, {len(account.uncertain)} uncertain at slaves"
    )
    assert load.served >= len(names), "hardly anything was served"


def test_of_many_who_ask_two_processes_for_one_key_at_once_exactly_one_gets_it(nursery: Nursery, cluster: Cluster) -> None:
    with row_of_kmes(nursery, databases={NODE: cluster.dsn(NODE)}, processes={NODE: 2}) as network:
        assert_one_of_many_gets_it(network, ("peggy", "oscar"))


def test_whatever_dies_of_a_node_on_postgresql_no_key_is_lost_or_repeated(network: Network, cluster: Cluster) -> None:
    endure(network, cluster, ["kme", "backend", "kme", "server", "kme", "machine"], random.randrange(2**32))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_many_disasters_of_a_node_on_postgresql_lose_and_repeat_no_key(network: Network, cluster: Cluster, number: int) -> None:
    chance = random.Random(number)
    names = [chance.choice(["kme", "kme", "backend", "server"]) for _ in range(20)]
    endure(network, cluster, [*names, "machine", "kme", "kme"], random.randrange(2**32))
