"""Keys that no node on the way forms: nodes announce differences of pads, and the slave's KME takes the chain off."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kms.network import FATES, LAPSED_MS, Fate, Network, chain, fan, read_rows
from tests.kms.test_exchange import NAMES, attempt, once, reserve, scripted, take_one
from tiandi.bits import exclusive_or
from tiandi.errors import InputError
from tiandi.kms.directory import PairPolicy
from tiandi.kms.keys import SupplyKey
from tiandi.kms.relay import exchange, patience
from tiandi.kms.relay.relay_messages import PAD_BYTE, Announcement
from tiandi.kms.store.sqlite_database import SqliteDatabase

LONG = [*NAMES, "kme-3"]
BIT = 256


def announce(network: Network, **others: Any) -> None:
    before = network.directory.default_policy
    policy = {"paths": before.paths, "threshold": before.threshold, **others}
    network.directory.default_policy = PairPolicy(relay_form="announced", **policy)


def recorded(network: Network) -> list[tuple[str, str, str, bytes]]:
    letters: list[tuple[str, str, str, bytes]] = []

    def record(sender: str, receiver: str, path: str, body: bytes) -> bytes:
        letters.append((sender, receiver, path, body))
        return body

    network.change = record
    return letters


@pytest.mark.parametrize("names", [LONG[:2], LONG[:3], LONG], ids=["1 hop", "2 hops", "3 hops"])
@pytest.mark.parametrize("post_quantum", [False, True])
def test_announced_keys_are_equal_at_both_ends_and_cost_their_length_on_every_hop(
    tmp_path: Path, names: list[str], post_quantum: bool
) -> None:
    async def run() -> None:
        async with chain(tmp_path, names) as network:
            announce(network, post_quantum=post_quantum)
            patience.ASKING_MS = 2000  # Until the network is closed.
            r = await reserve(network)
            await network.rest()
            cost_bit = 8 * (r.length_byte + PAD_BYTE)
            for name, behind in pairwise(names):
                assert (await network.entities[name].account())[f"link {behind} own"]["spent"] == cost_bit
            assert await network.assert_settled() == 4

    asyncio.run(run())


def test_no_node_on_the_way_is_sent_or_keeps_a_key_even_under_a_pad(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, LONG) as network:
            announce(network)
            letters = recorded(network)
            patience.ASKING_MS = 2000
            await reserve(network)
            await network.rest()
            for _, receiver, path, body in letters:
                if path == exchange.RELAY_PATH:
                    assert receiver not in {LONG[0]}
                    for message in msgspec.msgpack.decode(body):
                        assert message["ciphertext"] == b""
                        assert message["segments"]
            assert {(sender, receiver) for sender, receiver, path, _ in letters if path == exchange.ANNOUNCE_PATH} == {
                ("kme-1", "kme-3"), ("kme-2", "kme-3")
            }  # fmt: skip
            for name in LONG[1:-1]:
                assert not any("relay" in stock for stock in await network.entities[name].account())
            [message] = [msgspec.msgpack.decode(body)[0] for *_, path, body in letters if path == exchange.CONFIRM_PATH][:1]
            home = network.entities["kme-0"]
            keys = await home.database.run(home.supply_keys.deliver_to_master, "alice", "bob", size_bit=BIT, number=4)
            assert message["ciphertexts"][0][: 4 * 32] != b"".join(key.key for key in keys)
            assert await home.database.run(read_rows, "SELECT 1 FROM confirmation WHERE ciphertexts IS NOT NULL") == []
            slave = network.entities[LONG[-1]]
            assert await slave.database.run(read_rows, "SELECT 1 FROM announcement WHERE message IS NOT NULL") == []

    asyncio.run(run())


@pytest.mark.parametrize("path", [exchange.RELAY_PATH, exchange.ANNOUNCE_PATH, exchange.CONFIRM_PATH])
@pytest.mark.parametrize("fate", ["lose request", "lose answer", "repeat", "delay", "corrupt answer"])
def test_a_single_fault_costs_no_announced_key(tmp_path: Path, path: str, fate: Fate) -> None:
    async def run() -> None:
        async with chain(tmp_path, LONG) as network:
            announce(network)
            left, network.choose = once(path, fate)
            await attempt(network)
            await network.rest()
            assert left == [0]
            for _ in range(2):
                network.clock.advance(LAPSED_MS)
                await network.sweep()
            await network.settle_down()
            assert await network.assert_settled() == 4

    asyncio.run(run())


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fates=st.lists(st.sampled_from(FATES), max_size=60), paths=st.sampled_from([1, 2, 3]), threshold=st.sampled_from([1, 2, 3]))
def test_after_any_faults_both_ends_have_the_same_announced_keys_or_none(
    key_folder: Path, fates: list[Fate], paths: int, threshold: int
) -> None:
    async def run() -> None:
        async with fan(key_folder, paths=paths, threshold=min(paths, max(threshold, min(2, paths)))) as network:
            announce(network)
            network.choose = scripted(fates)
            delivered: list[tuple[str, str, SupplyKey]] = []
            for _ in range(2):
                await attempt(network)
                await take_one(network, delivered)
                network.clock.advance(LAPSED_MS)
                await network.sweep()
            await network.settle_down()
            await network.assert_settled(delivered)
            assert await attempt(network), "a healed network makes keys"

    asyncio.run(run())


@pytest.mark.parametrize(("paths", "threshold", "survives"), [(1, 1, False), (3, 3, False), (3, 2, True)])
def test_a_wrong_announcement_is_voided_unless_other_shares_are_enough(tmp_path: Path, paths: int, threshold: int, survives: bool) -> None:
    async def run() -> None:
        async with fan(tmp_path, paths=paths, threshold=threshold) as network:
            announce(network)

            def lie(sender: str, _receiver: str, path: str, body: bytes) -> bytes:
                if path != exchange.ANNOUNCE_PATH or sender != "relay-0":
                    return body
                said = msgspec.msgpack.decode(body, type=list[Announcement])
                return msgspec.msgpack.encode(
                    [msgspec.structs.replace(one, difference=bytes([one.difference[0] ^ 1]) + one.difference[1:]) for one in said]
                )

            network.change = lie
            assert await attempt(network) == survives
            await network.settle_down()
            assert await network.assert_settled() == (4 if survives else 0)

    asyncio.run(run())


def test_an_announcement_from_off_the_route_or_of_another_length_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, LONG) as network:
            announce(network)
            letters = recorded(network)
            patience.ASKING_MS = 2000
            await reserve(network)
            slave = network.entities[LONG[-1]].exchange
            bodies = [body for sender, _, path, body in letters if (sender, path) == ("kme-1", exchange.ANNOUNCE_PATH)]
            true = msgspec.msgpack.decode(bodies[0], type=list[Announcement])
            for sender in ("kme-0", "kme-3", "stranger"):
                [refusal] = await slave.receive_announcements(sender, true)
                assert "way" in refusal
            short = msgspec.structs.replace(true[0], difference=b"short")
            [refusal] = await slave.receive_announcements("kme-1", [short])
            assert "difference" in refusal
            [refusal] = await network.entities["kme-2"].exchange.receive_announcements("kme-1", true)
            assert "does not follow" in refusal
            before = await network.entities[LONG[-1]].database.run(read_rows, "SELECT * FROM announcement ORDER BY sender")
            assert await slave.receive_announcements("kme-1", true) == [""]
            assert await network.entities[LONG[-1]].database.run(read_rows, "SELECT * FROM announcement ORDER BY sender") == before
            assert await network.assert_settled() == 4

    asyncio.run(run())


def test_a_node_on_the_way_that_dies_goes_on_where_it_was(tmp_path: Path) -> None:
    """Between taking its pads and announcing their difference."""

    async def run() -> None:
        async with chain(tmp_path, LONG[:2]) as network:
            for name in LONG[2:]:
                await network.open(name)
            await network.entities.pop("kme-1").close()
            await network.open("kme-1", SqliteDatabase(tmp_path / "node.sqlite"))
            for own, peer in pairwise(LONG):
                await network.link(own, peer)
            network.directory.find_routes = lambda *_: [LONG]
            network.directory.saes["bob"] = type(network.directory.saes["bob"])(LONG[-1])
            announce(network)
            # Blocks of the row that was there before its second node was replaced are only at the first.
            await network.entities["kme-0"].database.run(lambda t: network.entities["kme-0"].link_keys.void_link(t, "kme-1", what="gone"))
            await network.link("kme-0", "kme-1")
            network.choose = lambda sender, *_: "lose request" if sender == "kme-1" else "deliver"
            assert not await attempt(network)
            await network.entities["kme-1"].close()
            await network.open("kme-1", SqliteDatabase(tmp_path / "node.sqlite"))
            network.choose = lambda *_: "deliver"
            for _ in range(2):
                network.clock.advance(LAPSED_MS)
                await network.sweep()
            assert await network.assert_settled() == 4

    asyncio.run(run())


def test_more_announced_keys_than_a_door_takes_in_one_list_are_refused_before_any_link_key_is_spent(tmp_path: Path) -> None:
    async def run() -> None:
        async with fan(tmp_path, paths=3, threshold=3) as network:
            announce(network)
            home = network.entities["kme-a"]
            before = await home.account()
            with pytest.raises(InputError, match="announced"):
                await home.reserve("alice", ["bob"], size_bit=8 * 1024, count=250)
            assert await home.account() == before

    asyncio.run(run())


def test_the_chain_of_differences_under_the_last_pad_is_what_hides_the_key() -> None:
    """As `passing` says: whoever has one node and every announcement computes the share."""
    share, pads = b"\x5a" * 8, [bytes([n]) * 8 for n in (1, 2, 3)]
    said, differences = exclusive_or(share, pads[0]), [exclusive_or(pads[0], pads[1]), exclusive_or(pads[1], pads[2])]
    at_second_node = exclusive_or(exclusive_or(said, differences[0]), pads[1])
    assert at_second_node == share
