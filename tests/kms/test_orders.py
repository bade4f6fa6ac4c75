"""Wishes, quotas and deadlines of Get key."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kms.network import Network, chain, fan
from tiandi.errors import KeysExhausted, NotAuthorised, RequestRefused, StateError, TiandiError
from tiandi.kms import etsi014
from tiandi.kms.directory import PairPolicy, Sae
from tiandi.kms.etsi014 import KeyRequest
from tiandi.kms.keys import SupplyKey
from tiandi.kms.relay import patience
from tiandi.kms.supply import forgetting
from tiandi.kms.supply import stock_keeping as supply
from tiandi.kms.supply.forgetting import FORGOTTEN_S, Forgetting

NAMES = ["kme-0", "kme-1"]


@asynccontextmanager
async def side_by_side(folder: Path, policy: PairPolicy | None = None) -> AsyncIterator[Network]:
    """alice at kme-a, bob at kme-b; keys go straight, or over relay-0, or over relay-1, which is a satellite."""
    async with fan(folder, paths=2, threshold=2) as network:
        routes = [["kme-a", "kme-b"], ["kme-a", "relay-0", "kme-b"], ["kme-a", "relay-1", "kme-b"]]
        network.directory.find_routes = lambda _, __, ___, number: routes[:number]
        network.directory.default_policy = policy or PairPolicy(ahead_count=8)
        network.directory.satellites = {"relay-1"}
        await network.link("kme-a", "kme-b")
        yield network


async def kind(network: Network, key: SupplyKey) -> tuple[str, int]:
    """Over what kind of route, and over how many paths, alice's key came."""
    query = "SELECT route_type, paths FROM reservation WHERE role = 'master' AND prefix = $1"

    async def read(transaction: Any) -> Any:
        return await transaction.rows(query, key.key_id.bytes[:14])

    [row] = await network.entities["kme-a"].database.run(read)
    return row[0], row[1]


async def get(network: Network, kme: str = "kme-a", number: int = 1, **wishes: dict[str, Any]) -> list[SupplyKey]:
    extensions: dict[str, Any] = {f"extension_{name}": [wish] for name, wish in wishes.items()}
    return await network.entities[kme].get_keys("alice", "bob", KeyRequest(number=number, **extensions))


async def soon_refused(work: Any) -> None:
    began_s = time.monotonic()
    with pytest.raises(RequestRefused, match=etsi014.EXTENSION_NOT_MET):
        await work
    assert time.monotonic() - began_s < supply.WAIT_FOR_KEYS_S / 4


@pytest.mark.parametrize("manner", ["mandatory", "optional"])
def test_where_only_stale_keys_are_ready_fresh_ones_are_made_for_the_request(tmp_path: Path, manner: str) -> None:
    async def run() -> None:
        async with side_by_side(tmp_path) as network:
            stale = await get(network)
            await network.entities["kme-a"].supply.close()
            ready = await network.entities["kme-a"].supply.ready_count("alice", "bob", 256)
            network.clock.advance(60_000)
            wishes: dict[str, Any] = {manner: {"tiandi_max_age_s": 30}}
            fresh = await get(network, number=3, **wishes)
            await network.entities["kme-a"].supply.close()
            assert await network.entities["kme-a"].supply.ready_count("alice", "bob", 256) >= ready, "the stock is untouched"
            assert not {key.key_id.bytes[:14] for key in fresh} & {stale[0].key_id.bytes[:14]}
            await network.assert_settled([("alice", "bob", key) for key in stale + fresh])

    asyncio.run(run())


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"tiandi_min_disjoint_paths": 2}, ("relayed", 2)),
        ({"tiandi_min_disjoint_paths": 3}, ("satellite", 3)),
        ({"tiandi_route_type": "relayed"}, ("relayed", 1)),
        ({"tiandi_route_type": "satellite"}, ("satellite", 1)),
        ({"tiandi_route_type": "direct"}, ("direct", 1)),
    ],
)
@pytest.mark.parametrize("manner", ["mandatory", "optional"])
def test_keys_are_made_over_the_routes_that_are_wished_for(tmp_path: Path, wish: dict[str, Any], expected: Any, manner: str) -> None:
    async def run() -> None:
        async with side_by_side(tmp_path) as network:
            plain = await get(network)
            assert await kind(network, plain[0]) == ("direct", 1)
            wishes: dict[str, Any] = {manner: wish}
            keys = await get(network, number=2, **wishes)
            assert await kind(network, keys[0]) == expected
            await network.entities["kme-a"].supply.close()
            await network.assert_settled([("alice", "bob", key) for key in plain + keys])

    asyncio.run(run())


@pytest.mark.parametrize("wish", [{"tiandi_min_disjoint_paths": 4}, {"tiandi_route_type": "satellite"}])
def test_a_wish_that_no_route_meets_is_refused_at_once_or_passed_over(tmp_path: Path, wish: dict[str, Any]) -> None:
    async def run() -> None:
        async with side_by_side(tmp_path) as network:
            network.directory.satellites = set()
            await soon_refused(get(network, mandatory=wish))
            assert len(await get(network, optional=wish)) == 1
            network.directory.saes["neighbour"] = Sae("kme-a")
            request = KeyRequest(extension_mandatory=[wish])
            await soon_refused(network.entities["kme-a"].get_keys("alice", "neighbour", request))

    asyncio.run(run())


def test_a_wish_for_which_there_is_no_link_key_is_refused_at_once_or_passed_over(tmp_path: Path) -> None:
    async def run() -> None:
        async with side_by_side(tmp_path) as network:
            home = network.entities["kme-a"]
            for peer in ("relay-0", "relay-1"):
                await home.database.run(home.link_keys.void_link, peer, what="")
            await soon_refused(get(network, mandatory={"tiandi_min_disjoint_paths": 2}))
            keys = await get(network, optional={"tiandi_min_disjoint_paths": 2})
            assert await kind(network, keys[0]) == ("direct", 1)
            for slaves in (["carol"], None):
                network.directory.saes["carol"] = Sae("kme-b")
                wish = KeyRequest(additional_slave_SAE_IDs=slaves, extension_mandatory=[{"tiandi_route_type": "relayed"}])
                await soon_refused(home.get_keys("alice", "bob", wish))

    asyncio.run(run())


def test_several_slaves_may_wish_for_a_kind_of_route(tmp_path: Path) -> None:
    async def run() -> None:
        async with side_by_side(tmp_path) as network:
            network.directory.saes["carol"] = Sae("kme-b")
            request = KeyRequest(additional_slave_SAE_IDs=["carol"], extension_mandatory=[{"tiandi_route_type": "relayed"}])
            keys = await network.entities["kme-a"].get_keys("alice", "bob", request)
            assert (await kind(network, keys[0]))[0] == "relayed"
            assert await network.entities["kme-b"].get_keys_with_ids("carol", "alice", [keys[0].key_id]) == keys

    asyncio.run(run())


def test_what_is_made_for_a_request_that_ends_before_is_voided_at_both_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supply, "WAIT_FOR_KEYS_S", 0.1)

    async def run() -> None:
        async with side_by_side(tmp_path) as network:
            network.choose = lambda _, __, path: "lose answer" if path.endswith("confirm") else "deliver"
            began_s = time.monotonic()
            with pytest.raises(TiandiError):
                await get(network, mandatory={"tiandi_route_type": "relayed"})
            assert time.monotonic() - began_s < 2
            await network.settle_down()
            assert await network.assert_settled() == 0

    asyncio.run(run())


# Quota and deadline.


def test_a_request_that_fails_does_not_count_towards_the_quota(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            network.directory.default_policy = PairPolicy(maximum_bps=256, ahead_count=4)
            home, run_in_store = network.entities["kme-0"], network.entities["kme-0"].database.run

            async def fail(*_: Any, **__: Any) -> Any:
                raise StateError("disk", "", "is full")

            for _ in range(3):
                home.database.run = fail  # type: ignore[method-assign]
                with pytest.raises(StateError):
                    await home.get_keys("alice", "bob", KeyRequest(number=10))
                home.database.run = run_in_store  # type: ignore[method-assign]
            assert len(await home.get_keys("alice", "bob", KeyRequest(number=10))) == 10
            with pytest.raises(KeysExhausted, match="quota"):
                await home.get_keys("alice", "bob", KeyRequest(number=5))

    asyncio.run(run())


def test_every_slaves_quota_counts_and_none_is_used_up_when_another_refuses(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            network.directory.saes["carol"] = Sae("kme-1")
            network.directory.policies["alice", "bob"] = network.directory.policies["alice", "carol"] = PairPolicy(maximum_bps=256)
            home = network.entities["kme-0"]
            await home.get_keys("alice", "carol", KeyRequest(number=8))
            both = KeyRequest(number=4, additional_slave_SAE_IDs=["carol"])
            with pytest.raises(KeysExhausted, match="carol"):
                await home.get_keys("alice", "bob", both)
            assert len(await home.get_keys("alice", "bob", KeyRequest(number=10))) == 10
            with pytest.raises(NotAuthorised):
                await home.get_keys("nobody", "bob", KeyRequest())

    asyncio.run(run())


@pytest.mark.parametrize("wish", [{}, {"optional": {"tiandi_max_age_s": 5}}, {"mandatory": {"tiandi_max_age_s": 5}}])
def test_a_request_waits_no_longer_than_its_one_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wish: Any) -> None:
    monkeypatch.setattr(supply, "WAIT_FOR_KEYS_S", 0.6)
    monkeypatch.setattr(supply, "LONGEST_PAUSE_S", 0.1)

    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            patience.ASKING_MS = 60_000  # Its clock puts back what was there before.
            network.choose = lambda *_: "lose request"
            began_s = time.monotonic()
            with pytest.raises(TiandiError):
                await asyncio.wait_for(get(network, "kme-0", **wish), 5)
            assert time.monotonic() - began_s < 2

    asyncio.run(run())


# Sizes.


def test_an_odd_size_is_made_exactly_as_it_is_asked_for(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            home = network.entities["kme-0"]
            keys = await home.get_keys("alice", "bob", KeyRequest(number=3, size=1000))
            await asyncio.sleep(3 * supply.LEAST_INTERVAL_S)
            assert await home.supply.ready_count("alice", "bob", 1000) == 0
            assert await network.assert_settled([("alice", "bob", key) for key in keys]) == 0

    asyncio.run(run())


def test_keys_of_a_forgotten_size_are_voided_at_both_ends_and_those_of_the_usual_size_stay(tmp_path: Path) -> None:
    now_s = [0.0]

    def later(forget: Forgetting, duration_s: float) -> Any:
        now_s[0] += duration_s
        return forget.look_when_due()

    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            network.directory.default_policy = PairPolicy(ahead_count=8)
            network.directory.saes["next door"] = Sae("kme-0")
            home = network.entities["kme-0"]
            for slave in ("bob", "next door"):
                for size in (256, 512):
                    await home.reserve("alice", [slave], size_bit=size, count=6)
            forget = Forgetting(home, clock=lambda: now_s[0])
            assert await later(forget, forgetting.LOOK_S) == 0
            deliver = home.supply_keys.deliver_to_master
            taken = await home.database.run(deliver, "alice", "bob", size_bit=512, number=2)
            assert await later(forget, FORGOTTEN_S - 1) == 0
            assert await later(forget, forgetting.LOOK_S) == 6 * 512, "the stock of next door; from bob's something was taken since"
            ids = [key.key_id for key in taken]
            assert await network.entities["kme-1"].get_keys_with_ids("bob", "alice", ids) == taken
            assert await later(forget, FORGOTTEN_S) == 4 * 512
            await network.settle_down()
            accounts = await home.account()
            assert accounts["supply alice bob master 512"] == {"delivered": 2 * 512, "voided": 4 * 512}
            assert accounts["supply alice next door slave 512"] == {"voided": 6 * 512}
            others = await network.entities["kme-1"].account()
            assert others["supply alice bob slave 512"] == {"delivered": 2 * 512, "voided": 4 * 512}
            assert accounts["supply alice bob master 256"] == {"ready": 6 * 256}
            assert await later(forget, 10 * FORGOTTEN_S) == 0

    asyncio.run(run())
