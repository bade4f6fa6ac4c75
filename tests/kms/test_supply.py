import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.kms.network import chain
from tiandi.errors import KeysExhausted, NoRoute
from tiandi.kms.directory import PairPolicy, Sae
from tiandi.kms.etsi014 import KeyRequest
from tiandi.kms.supply import stock_keeping as supply

NAMES = ["kme-0", "kme-1"]


def test_a_pair_is_given_keys_at_its_first_request_and_more_are_kept_ready(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            network.directory.default_policy = PairPolicy(ahead_count=20)
            home = network.entities["kme-0"]
            keys = await home.get_keys("alice", "bob", KeyRequest(number=3))
            assert len({key.key_id for key in keys}) == 3
            async with asyncio.timeout(5):
                while await home.supply.ready_count("alice", "bob", 256) < 10:
                    await asyncio.sleep(0.01)
            assert await network.assert_settled([("alice", "bob", key) for key in keys]) >= 10

    asyncio.run(run())


def test_many_who_ask_at_once_each_get_their_own_keys(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            home = network.entities["kme-0"]
            given = await asyncio.gather(*(home.get_keys("alice", "bob", KeyRequest(number=2)) for _ in range(30)))
            await home.supply.close()
            await network.assert_settled([("alice", "bob", key) for keys in given for key in keys])

    asyncio.run(run())


def test_without_link_key_a_request_is_told_so_soon(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES, length_byte=40) as network:
            with pytest.raises(KeysExhausted):
                await asyncio.wait_for(network.entities["kme-0"].get_keys("alice", "bob", KeyRequest()), supply.WAIT_FOR_KEYS_S / 2)

    asyncio.run(run())


@pytest.mark.parametrize("fault", ["no route", "no routes", "an SAE that is gone"])
def test_a_pair_that_cannot_be_served_does_not_keep_others_waiting(tmp_path: Path, fault: str) -> None:
    async def run() -> None:
        async with chain(tmp_path, [*NAMES, "kme-2"]) as network:
            network.directory.saes["carol"] = Sae("kme-2")
            find, home = network.directory.find_routes, network.entities["kme-0"]
            await home.get_keys("alice", "carol", KeyRequest())

            def find_routes(source: str, target: str, *others: Any) -> Any:
                if target != "kme-2" or fault == "an SAE that is gone":
                    return find(source, target, *others)
                if fault == "no routes":
                    return []
                raise NoRoute(source, target, "none")

            network.directory.find_routes = find_routes
            await home.supply.close()
            await home.database.run(lambda t: home.supply_keys.deliver_to_master(t, "alice", "carol", size_bit=256, number=1))
            ready = await home.supply.ready_count("alice", "carol", 256)
            await home.database.run(lambda t: home.supply_keys.deliver_to_master(t, "alice", "carol", size_bit=256, number=ready))
            if fault == "an SAE that is gone":
                del network.directory.saes["carol"]
            network.directory.saes["dora"] = Sae("kme-1")
            assert await asyncio.wait_for(home.get_keys("alice", "dora", KeyRequest()), 4)

    asyncio.run(run())


def test_keys_kept_apart_do_not_pass_for_a_stock(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            home = network.entities["kme-0"]
            await home.reserve("alice", ["bob"], size_bit=256, count=50, kept_apart=True)
            assert await home.supply.ready_count("alice", "bob", 256) == 0
            assert len(await asyncio.wait_for(home.get_keys("alice", "bob", KeyRequest(number=2)), 5)) == 2

    asyncio.run(run())
