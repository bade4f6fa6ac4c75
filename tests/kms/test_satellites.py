"""A satellite as a node on the way: it takes keys from the station it sees and gives them to the one it sees hours later."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kms.network import LAPSED_MS, Fate, Network, chain, read_rows
from tests.kms.test_exchange import attempt
from tiandi.errors import KeysExhausted, TiandiError
from tiandi.kms.directory import PairPolicy
from tiandi.kms.etsi014 import KeyRequest
from tiandi.kms.relay import exchange
from tiandi.kms.store.sqlite_database import SqliteDatabase

WEST, SATELLITE, EAST = STATIONS = ["kme-west", "satellite", "kme-east"]
HOUR_MS = 3_600_000
BIT = 256


@dataclass
class Pass:
    """Over whom the satellite is; to anybody else it is dead, and so are they to it."""

    network: Network
    over: str = ""

    def choose(self, sender: str, receiver: str, _path: str) -> Fate:
        if SATELLITE in (sender, receiver) and self.over not in (sender, receiver):
            return "lose request"
        return "deliver"

    async def go(self, over: str, hours: float) -> None:
        """Time passes, then the satellite is over another station, where everybody looks what waits."""
        self.over = over
        self.network.clock.advance(int(hours * HOUR_MS))
        for _ in range(3):
            await self.network.sweep()
            self.network.clock.advance(LAPSED_MS)


@asynccontextmanager
async def orbit(folder: Path) -> AsyncIterator[tuple[Network, Pass]]:
    """Two stations and a satellite whose store is a file, over the west; link key was made in earlier passes."""
    async with chain(folder, STATIONS[:1]) as network:
        network.directory.satellites.add(SATELLITE)
        network.directory.satellite_patience_s = 24 * 3600.0
        network.directory.find_routes = lambda source, _target, *_: [STATIONS if source == WEST else STATIONS[::-1]]
        network.directory.saes["bob"] = type(network.directory.saes["alice"])(EAST)
        await network.open(SATELLITE, SqliteDatabase(folder / "satellite.sqlite"))
        await network.open(EAST)
        await network.link(WEST, SATELLITE)
        await network.link(SATELLITE, EAST)
        flight = Pass(network, WEST)
        network.choose = flight.choose
        yield network, flight


async def restart_aboard(network: Network, folder: Path) -> None:
    await network.entities[SATELLITE].close()
    await network.open(SATELLITE, SqliteDatabase(folder / "satellite.sqlite"))


async def states(network: Network, station: str) -> set[str]:
    rows = await network.entities[station].database.run(read_rows, "SELECT state FROM reservation")
    return {state for (state,) in rows}


@pytest.mark.parametrize("relay_form", ["hop-by-hop", "announced"])
def test_keys_aboard_arrive_hours_later_and_survive_a_restart_aboard(tmp_path: Path, relay_form: str) -> None:
    async def run() -> None:
        async with orbit(tmp_path) as (network, flight):
            network.directory.default_policy = PairPolicy(relay_form=relay_form)  # type: ignore[arg-type]
            assert not await attempt(network)
            assert await states(network, WEST) == {"reserved"}
            await flight.go("", 5)
            await restart_aboard(network, tmp_path)
            assert await states(network, WEST) == {"reserved"}
            await flight.go(EAST, 5)
            await network.sweep()
            assert await states(network, WEST) == {"ready"}
            assert await network.assert_settled() == 4

    asyncio.run(run())


def test_keys_that_never_come_down_are_voided_at_both_ends(tmp_path: Path) -> None:
    async def run() -> None:
        async with orbit(tmp_path) as (network, flight):
            assert not await attempt(network)
            await flight.go("", 23)
            assert await states(network, WEST) == {"reserved"}
            await flight.go("", 2)
            assert await states(network, WEST) == {"voided"}
            await flight.go(EAST, 1)
            assert await states(network, EAST) == set()
            assert await network.entities[EAST].database.run(read_rows, "SELECT 1 FROM relay WHERE sealed IS NOT NULL") == []
            assert await network.entities[SATELLITE].database.run(read_rows, "SELECT 1 FROM relay WHERE message IS NOT NULL") == []
            assert await network.assert_settled() == 0

    asyncio.run(run())


def test_the_ground_is_not_asked_every_second_for_a_day(tmp_path: Path) -> None:
    async def run() -> None:
        async with orbit(tmp_path) as (network, flight):
            assert not await attempt(network)
            before = len(network.messages)
            for _ in range(60 * 60):
                network.clock.advance(1000)
                await network.sweep()
            asked = [path for _, _, path in network.messages[before:]].count(exchange.CONFIRM_PATH)
            assert 100 < asked < 250
            assert flight.over == WEST

    asyncio.run(run())


def test_get_key_answers_from_stock_or_at_once_and_pours_nothing_into_the_satellites_queue(tmp_path: Path) -> None:
    async def run() -> None:
        async with orbit(tmp_path) as (network, flight):
            network.directory.default_policy = PairPolicy(ahead_count=8)
            home = network.entities[WEST]
            one = KeyRequest(number=1, size=BIT)
            for _ in range(4):
                begun_s = time.monotonic()
                with pytest.raises(KeysExhausted):
                    await home.get_keys("alice", "bob", one)
                assert time.monotonic() - begun_s < 3
            aboard = (await home.account())["supply alice bob master 256"]["reserved"]
            assert aboard <= 10 * BIT
            spent = (await home.account())[f"link {SATELLITE} own"]["spent"]
            assert spent < 2 * (aboard + 10 * 384)
            await flight.go(EAST, 6)
            await network.sweep()
            [key] = await home.get_keys("alice", "bob", one)
            await network.rest()
            assert await network.entities[EAST].get_keys_with_ids("bob", "alice", [key.key_id]) == [key]

    asyncio.run(run())


# Hand-over.


async def equal_stock(network: Network) -> int:
    both = await network.entities[WEST].stock_bit(EAST), await network.entities[EAST].stock_bit(WEST)
    assert both[0] == both[1]
    return both[0]


def test_a_hand_over_is_told_to_each_station_when_the_satellite_is_over_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with orbit(tmp_path) as (network, flight):
            network.directory.hand_overs.add((SATELLITE, WEST, EAST))
            with pytest.raises(TiandiError):
                await network.entities[SATELLITE].exchange.hand_over(WEST, EAST, 1032)
            assert await equal_stock(network) == 0
            await restart_aboard(network, tmp_path)
            await flight.go(EAST, 6)
            await flight.go("", 1)
            assert await equal_stock(network) == 500 * 8
            rows = await network.entities[SATELLITE].database.run(read_rows, "SELECT state, message FROM hand_over")
            assert rows == [("sent", None)] * 2
            await network.settle_down()
            await network.assert_settled()

    asyncio.run(run())


def test_a_hand_over_that_was_killed_before_anybody_was_told_is_told_after_the_restart(tmp_path: Path) -> None:
    async def run() -> None:
        async with orbit(tmp_path) as (network, flight):
            network.directory.hand_overs.add((SATELLITE, WEST, EAST))
            network.choose = lambda sender, *_: "lose request" if sender == SATELLITE else "deliver"
            with pytest.raises(TiandiError):
                await network.entities[SATELLITE].exchange.hand_over(WEST, EAST, 1032)
            await restart_aboard(network, tmp_path)
            network.choose = flight.choose
            await flight.go(WEST, 1)
            await flight.go(EAST, 1)
            await flight.go("", 1)
            assert await equal_stock(network) == 500 * 8
            await network.settle_down()
            await network.assert_settled()

    asyncio.run(run())
