import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.kms.network import Network, chain
from tiandi.errors import KeysExhausted, RelayFailed, TiandiError
from tiandi.kms.relay import exchange

STATIONS = ["kme-a", "satellite", "kme-b"]


async def stock_bit(network: Network, own: str, peer: str) -> int:
    return await network.entities[own].stock_bit(peer)


def over_satellite(tmp_path: Path) -> Any:
    """Two stations that share key with a satellite, and none with each other."""
    return chain(tmp_path, STATIONS, length_byte=4000)


def allow(network: Network) -> None:
    network.directory.hand_overs.add(("satellite", "kme-a", "kme-b"))


def test_two_stations_share_what_a_satellite_shared_with_each(tmp_path: Path) -> None:
    async def run() -> None:
        async with over_satellite(tmp_path) as network:
            allow(network)
            await network.entities["satellite"].exchange.hand_over("kme-a", "kme-b", 1032)
            await network.rest()
            assert await stock_bit(network, "kme-a", "kme-b") == await stock_bit(network, "kme-b", "kme-a") == 500 * 8
            network.directory.find_routes = lambda *_: [["kme-a", "kme-b"]]
            await network.entities["kme-a"].reserve("alice", ["bob"], size_bit=256, count=4)
            assert await network.assert_settled() == 4

    asyncio.run(run())


@pytest.mark.parametrize("fate", ["lose request", "lose answer", "repeat", "corrupt request", "corrupt answer"])
@pytest.mark.parametrize("station", ["kme-a", "kme-b"])
def test_a_fault_never_leaves_key_that_only_one_station_would_use(tmp_path: Path, fate: Any, station: str) -> None:
    async def run() -> None:
        async with over_satellite(tmp_path) as network:
            allow(network)
            network.choose = lambda _s, to, path: fate if (to, path) == (station, exchange.HAND_OVER_PATH) else "deliver"
            try:
                await network.entities["satellite"].exchange.hand_over("kme-a", "kme-b", 1032)
            except TiandiError:
                assert fate != "repeat"
            await network.settle_down()
            assert await stock_bit(network, "kme-a", "kme-b") == await stock_bit(network, "kme-b", "kme-a")
            await network.assert_settled()

    asyncio.run(run())


def test_a_hand_over_that_nobody_approved_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with over_satellite(tmp_path) as network:
            with pytest.raises(RelayFailed):
                await network.entities["satellite"].exchange.hand_over("kme-a", "kme-b", 1032)
            await network.settle_down()
            assert await stock_bit(network, "kme-a", "kme-b") == 0
            await network.assert_settled()

    asyncio.run(run())


def test_a_satellite_that_shares_too_little_hands_nothing_over(tmp_path: Path) -> None:
    async def run() -> None:
        async with over_satellite(tmp_path) as network:
            allow(network)
            before = await network.entities["satellite"].account()
            with pytest.raises(KeysExhausted):
                await network.entities["satellite"].exchange.hand_over("kme-a", "kme-b", 3000)
            assert await network.entities["satellite"].account() == before

    asyncio.run(run())


def test_a_hand_over_played_back_changes_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with over_satellite(tmp_path) as network:
            allow(network)
            letters: list[tuple[str, str, str, bytes]] = []

            def record(sender: str, receiver: str, path: str, body: bytes) -> bytes:
                letters.append((sender, receiver, path, body))
                return body

            network.change = record
            await network.entities["satellite"].exchange.hand_over("kme-a", "kme-b", 1032)
            await network.rest()
            before = [await entity.account() for entity in network.entities.values()]
            for letter in list(letters):
                await network.handle(*letter)
            await network.rest()
            assert [await entity.account() for entity in network.entities.values()] == before

    asyncio.run(run())


def test_a_changed_hand_over_is_refused_by_its_tag(tmp_path: Path) -> None:
    async def run() -> None:
        async with over_satellite(tmp_path) as network:
            allow(network)
            network.change = lambda _s, _r, path, body: (
                body[:-3] + bytes([body[-3] ^ 1]) + body[-2:] if path == exchange.HAND_OVER_PATH else body
            )
            with pytest.raises(RelayFailed, match="tag"):
                await network.entities["satellite"].exchange.hand_over("kme-a", "kme-b", 1032)
            network.change = None
            await network.settle_down()
            assert await stock_bit(network, "kme-b", "kme-a") == 0

    asyncio.run(run())
