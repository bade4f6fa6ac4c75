"""Faults between KMEs: whatever is lost, late, repeated or changed, both ends come to the same."""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kms.network import FATES, LAPSED_MS, Blocks, Choose, Fate, Network, assert_balanced, chain, fan, read_rows
from tiandi.distill.records import KeyBlock
from tiandi.errors import KeysExhausted, NoRoute, RelayFailed, TiandiError
from tiandi.kms.directory import PairPolicy, Sae
from tiandi.kms.keys import Segment, SupplyKey
from tiandi.kms.relay import exchange, patience
from tiandi.kms.relay.neighbours import WHOLE_TIMEOUT_S
from tiandi.kms.relay.relay_messages import Confirmation, Place, RelayMessage
from tiandi.kms.store.sqlite_database import SqliteDatabase
from tiandi.kms.store.supply_keys import Reservation
from tiandi.tags import one_time_tag

NAMES = ["kme-0", "kme-1", "kme-2"]
BIT = 256


async def reserve(network: Network, count: int = 4) -> Reservation:
    return await network.entities[network.directory.home("alice")].reserve("alice", ["bob"], size_bit=BIT, count=count)


async def attempt(network: Network, count: int = 4) -> bool:
    """Whether keys became ready at once."""
    try:
        await reserve(network, count)
    except (RelayFailed, KeysExhausted, NoRoute):
        return False
    return True


async def take_one(network: Network, delivered: list[tuple[str, str, SupplyKey]]) -> None:
    """Deliver a ready key to alice, if there is one."""
    home = network.entities[network.directory.home("alice")]
    try:
        [key] = await home.database.run(home.supply_keys.deliver_to_master, "alice", "bob", size_bit=BIT, number=1)
    except KeysExhausted:
        return
    delivered.append(("alice", "bob", key))


def once(path: str, fate: Fate, times: int = 1) -> tuple[list[int], Choose]:
    """The first messages to a path meet this fate."""
    left = [times]

    def choose(_sender: str, _receiver: str, to: str) -> Fate:
        if to != path or not left[0]:
            return "deliver"
        left[0] -= 1
        return fate

    return left, choose


def scripted(fates: Sequence[Fate]) -> Choose:
    """Each message meets the next of these fates; when they are used up, all are delivered."""
    script = iter(fates)

    def choose(*_: str) -> Fate:
        return next(script, "deliver")

    return choose


# Scripts of faults.


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fates=st.lists(st.sampled_from(FATES), max_size=40),
    steps=st.lists(st.sampled_from(["reserve", "sweep", "pass time", "take"]), min_size=1, max_size=8),
)
def test_after_any_faults_both_ends_have_the_same_keys_or_none(key_folder: Path, fates: list[Fate], steps: list[str]) -> None:
    async def run() -> None:
        async with chain(key_folder, NAMES) as network:
            network.choose = scripted(fates)
            delivered: list[tuple[str, str, SupplyKey]] = []
            for step in ["reserve", *steps]:
                if step == "reserve":
                    await attempt(network)
                elif step == "sweep":
                    await network.sweep()
                elif step == "pass time":
                    network.clock.advance(LAPSED_MS)
                else:
                    await take_one(network, delivered)
            await network.settle_down()
            await network.assert_settled(delivered)
            assert await attempt(network), "a healed network makes keys"

    asyncio.run(run())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fates=st.lists(st.sampled_from(FATES), max_size=60), threshold=st.sampled_from([2, 3]))
def test_after_any_faults_on_several_paths_both_ends_have_the_same_keys_or_none(
    key_folder: Path, fates: list[Fate], threshold: int
) -> None:
    async def run() -> None:
        async with fan(key_folder, paths=3, threshold=threshold) as network:
            network.choose = scripted(fates)
            delivered: list[tuple[str, str, SupplyKey]] = []
            for _ in range(2):
                await attempt(network)
                await take_one(network, delivered)
                network.clock.advance(LAPSED_MS)
                await network.sweep()
            await network.settle_down()
            await network.assert_settled(delivered)

    asyncio.run(run())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fates=st.lists(st.sampled_from(FATES), max_size=12))
def test_after_any_faults_blocks_are_stored_at_both_ends_or_voided_at_both(key_folder: Path, fates: list[Fate]) -> None:
    async def run() -> None:
        async with chain(key_folder, NAMES[:2], length_byte=100) as network:
            network.choose = scripted(fates)
            for _ in range(3):
                await network.link("kme-0", "kme-1", 1000)
            await network.settle_down()
            states = [
                await entity.database.run(lambda t: t.rows("SELECT block_id, state FROM link_block ORDER BY block_id"))
                for entity in network.entities.values()
            ]
            assert states[0] == states[1]
            assert {state for _, state in states[0]} <= {"stored", "voided"}
            await network.assert_settled()

    asyncio.run(run())


@pytest.mark.parametrize("path", [exchange.RELAY_PATH, exchange.CONFIRM_PATH])
@pytest.mark.parametrize("fate", ["lose request", "lose answer", "repeat", "delay", "corrupt answer"])
def test_a_single_fault_costs_no_key(tmp_path: Path, path: str, fate: Fate) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            left, network.choose = once(path, fate)
            await attempt(network)
            assert left == [0]
            network.clock.advance(LAPSED_MS)
            await network.sweep()
            await network.settle_down()
            assert await network.assert_settled() == 4

    asyncio.run(run())


def test_an_answer_that_cannot_be_read_leaves_nobody_waiting(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES[:2]) as network:
            network.choose = lambda *_: "corrupt answer"
            with pytest.raises(TiandiError):
                await asyncio.wait_for(reserve(network), 5)
            await asyncio.wait_for(network.link("kme-0", "kme-1", 1000), 5)
            await network.settle_down()
            await network.assert_settled()

    asyncio.run(run())


@pytest.mark.parametrize("path", [exchange.RELAY_PATH, exchange.CONFIRM_PATH, exchange.COMPARE_PATH])
def test_a_door_that_refuses_is_asked_again_and_nothing_is_parted(tmp_path: Path, path: str) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            network.change = lambda _s, _r, to, body: b"\xc1" if to == path else body
            if path == exchange.COMPARE_PATH:
                await network.link("kme-0", "kme-1", 1032)
            else:
                with pytest.raises(RelayFailed, match="400"):
                    await network.entities["kme-0"].exchange.ask("kme-1", path, None, str)
                assert not await attempt(network)
            await network.settle_down()
            assert await network.assert_settled() == (0 if path == exchange.COMPARE_PATH else 4)
            assert await attempt(network)

    asyncio.run(run())


def test_keys_that_were_handed_out_are_not_voided_by_a_late_refusal(tmp_path: Path) -> None:
    async def run() -> None:
        async with fan(tmp_path, paths=3, threshold=2) as network:
            network.choose = lambda sender, receiver, _: "lose request" if (sender, receiver) == ("kme-a", "relay-2") else "deliver"
            reservation = await reserve(network)
            delivered: list[tuple[str, str, SupplyKey]] = []
            await take_one(network, delivered)
            for sender in ("relay-2", "relay-0"):
                door = network.entities["kme-a"].exchange
                await door.receive_failures(sender, [(Place(reservation.prefix, reservation.first_index), "too late")])
            await network.settle_down()
            assert delivered
            assert await network.assert_settled(delivered) == 3

    asyncio.run(run())


def test_two_who_ask_at_once_do_not_void_what_one_of_them_found_ready(tmp_path: Path) -> None:
    """A lost answer, then the deadline, while somebody else was answered and handed keys out."""

    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            home = network.entities["kme-0"]
            reservation = await reserve(network)
            delivered: list[tuple[str, str, SupplyKey]] = []
            await take_one(network, delivered)
            await home.database.run(home.relaying.give_up, reservation.prefix, reservation.first_index)
            await network.settle_down()
            assert await network.assert_settled(delivered) == 3

    asyncio.run(run())


def test_a_clock_that_is_set_back_an_hour_stops_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            network.choose = lambda *_: "lose request"
            assert not await attempt(network)
            network.clock.advance(-3_600_000)
            await network.settle_down()
            assert await network.assert_settled() == 4

    asyncio.run(run())


def test_a_clock_that_is_set_forward_an_hour_voids_at_both_ends_what_was_on_its_way(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            network.choose = lambda _s, _r, path: "lose request" if path == exchange.CONFIRM_PATH else "deliver"
            assert not await attempt(network)
            network.clock.advance(3_600_000)
            await network.settle_down()
            assert await network.assert_settled() == 0
            assert await attempt(network)

    asyncio.run(run())


def test_a_new_process_takes_up_what_the_old_one_left(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES[:1]) as network:
            network.directory.find_routes = lambda *_: [["kme-0", "kme-1"]]
            network.directory.saes["bob"] = Sae("kme-1")
            await network.entities.pop("kme-0").close()
            await network.open("kme-0", SqliteDatabase(tmp_path / "first.sqlite"))
            await network.open("kme-1")
            await network.link("kme-0", "kme-1")
            network.choose = lambda *_: "lose answer"
            assert not await attempt(network)
            network.choose = lambda *_: "deliver"
            await network.entities["kme-0"].close()
            await network.open("kme-0", SqliteDatabase(tmp_path / "first.sqlite"))
            network.clock.advance(LAPSED_MS)
            await network.sweep()
            await network.sweep()
            assert await network.assert_settled() == 4

    asyncio.run(run())


# Time.


def test_the_times_of_kmes_fit_each_other() -> None:
    assert patience.ASKING_MS + 1000 * WHOLE_TIMEOUT_S < patience.CLAIM_MS
    assert patience.PATIENCE_S > WHOLE_TIMEOUT_S
    assert 1000 * patience.SWEEP_PAUSE_S < patience.CLAIM_MS


def test_whoever_began_sends_again_what_was_lost_before_anybody_takes_over(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            patience.ASKING_MS = 5000  # Until the network is closed.
            for path in (exchange.RELAY_PATH, exchange.CONFIRM_PATH):
                left, network.choose = once(path, "lose request", 3)
                assert await attempt(network)
                assert left == [0]
            assert await network.assert_settled() == 8

    asyncio.run(run())


def test_what_was_let_go_is_taken_up_a_second_later_by_anybody(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            network.choose = lambda *_: "lose request"
            assert not await attempt(network)
            network.choose = lambda *_: "deliver"
            for _ in range(2):
                network.clock.advance(1500)
                await network.sweep()
            assert await network.assert_settled() == 4

    asyncio.run(run())


def test_a_dead_path_holds_up_no_keys_for_which_other_shares_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "HEAD_START_S", 60.0)

    async def run() -> None:
        async with fan(tmp_path, paths=3, threshold=2) as network:
            post, hangs = network._post, asyncio.Event()

            async def hang(sender: str, receiver: str, path: str, body: bytes) -> bytes:
                if receiver == "relay-1":
                    await hangs.wait()
                return await post(sender, receiver, path, body)

            network._post = hang  # type: ignore[method-assign]
            patience.ASKING_MS = 5000
            assert await asyncio.wait_for(attempt(network), 5)
            hangs.set()
            await network.rest()
            [(count,)] = await network.entities["kme-b"].database.run(read_rows, "SELECT count(*) FROM relay WHERE sealed IS NOT NULL")
            assert count == 0, "a share that comes when all is settled is not kept"
            assert await network.assert_settled() == 4

    asyncio.run(run())


def test_a_peers_post_quantum_key_is_asked_for_anew_after_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            home = network.entities["kme-0"].exchange
            for _ in range(2):
                await home.kem_public(NAMES[-1])
            assert [path for *_, path in network.messages].count(exchange.KEM_PATH) == 1
            monkeypatch.setattr(patience, "KEM_MEMORY_S", -1.0)
            await home.kem_public(NAMES[-1])
            assert [path for *_, path in network.messages].count(exchange.KEM_PATH) == 2

    asyncio.run(run())


def test_what_is_long_settled_is_forgotten_but_for_tombstones_and_living_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PRUNE_EVERY_S", -1.0)
    tables = ("relay", "arrival", "confirmation")

    async def counts(network: Network, name: str) -> list[int]:
        run = network.entities[name].database.run
        return [(await run(read_rows, f"SELECT count(*) FROM {table}"))[0][0] for table in tables]

    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            living = await reserve(network)
            network.choose = lambda _s, _r, path: "lose request" if path == exchange.CONFIRM_PATH else "deliver"
            assert not await attempt(network)
            network.choose = lambda *_: "deliver"
            home, slave = network.entities[NAMES[0]], network.entities[NAMES[-1]]
            await home.database.run(home.relaying.give_up, living.prefix, 5)  # Nobody's: nothing changes.
            network.clock.advance(3_600_000)
            await network.sweep()
            assert await counts(network, NAMES[0]) == [2, 0, 2]
            assert await counts(network, NAMES[-1]) == [2, 2, 0]
            network.clock.advance(31 * 86_400_000)
            await network.sweep()
            # Those of keys that are ready stay: an operator may void them yet.
            assert await counts(network, NAMES[0]) == [0, 0, 1]
            assert await counts(network, NAMES[1]) == [0, 0, 0]
            assert await counts(network, NAMES[-1]) == [0, 1, 0]
            await home.database.run(home.relaying.give_up, living.prefix, 0, even_ready=True)
            network.clock.advance(LAPSED_MS)
            await network.sweep()
            rows = await slave.database.run(read_rows, "SELECT state FROM reservation")
            assert rows == [("voided",)]
            assert await network.assert_settled() == 0

    asyncio.run(run())


# Bad relays and strangers.


def changing(network: Network, sender: str, change: Callable[[RelayMessage, bytes], tuple[RelayMessage, bytes]]) -> None:
    """Whatever share a node sends on has been changed by it, under a tag that is good."""
    node = network.entities[sender]
    send_on = node.relaying._send_on

    async def send(transaction: Any, message: RelayMessage, share: bytes, receiver: str, **named: Any) -> RelayMessage:
        message, share = change(message, share)
        return await send_on(transaction, message, share, receiver, **named)

    node.relaying._send_on = send  # type: ignore[method-assign]


def flip(message: RelayMessage, share: bytes) -> tuple[RelayMessage, bytes]:
    return message, bytes([share[0] ^ 1]) + share[1:]


@pytest.mark.parametrize(("paths", "threshold", "survives"), [(1, 1, False), (2, 2, False), (3, 3, False), (3, 2, True)])
def test_a_changed_share_costs_keys_only_where_every_share_is_needed(tmp_path: Path, paths: int, threshold: int, survives: bool) -> None:
    async def run() -> None:
        async with fan(tmp_path, paths=paths, threshold=threshold) as network:
            changing(network, "relay-0", flip)
            assert await attempt(network) == survives
            await network.settle_down()
            assert await network.assert_settled() == (4 if survives else 0)

    asyncio.run(run())


@pytest.mark.parametrize(
    "change",
    [
        lambda message, share: (msgspec.structs.replace(message, share=1 - message.share), share),
        lambda message, share: (message, share[:-1]),
        lambda message, share: (message, share + b"\0"),
        lambda message, share: (
            msgspec.structs.replace(message, reservation=msgspec.structs.replace(message.reservation, count=1)),
            share[: BIT // 8 + 16],
        ),
    ],
    ids=["another number", "too short", "too long", "another count"],
)
@pytest.mark.parametrize("threshold", [2, 3])
def test_a_relay_that_misbehaves_on_one_path_of_three_never_parts_the_ends(tmp_path: Path, change: Any, threshold: int) -> None:
    async def run() -> None:
        async with fan(tmp_path, paths=3, threshold=threshold) as network:
            relay = network.entities["relay-0"]
            keep = relay.relaying._send_on
            changing(network, "relay-0", change)
            await attempt(network)
            await network.settle_down()
            relay.relaying._send_on = keep  # type: ignore[method-assign]
            assert await network_left(network) == (4 if threshold == 2 else 0)

    asyncio.run(run())


async def network_left(network: Network) -> int:
    """Keys left once settled, but for what the bad node never got rid of itself."""
    await network.entities["relay-0"].database.run(lambda t: t.rows("DELETE FROM relay WHERE state = 'waiting'"))
    return await network.assert_settled()


def test_a_route_that_nobody_approved_is_refused_and_its_link_key_destroyed(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            network.directory.routes = set()
            assert not await attempt(network)
            await network.settle_down()
            assert await network.assert_settled() == 0
            own, peer = [await network.entities[name].account() for name in NAMES[:2]]
            assert own["link kme-1 own"]["stored"] == peer["link kme-0 peer"]["stored"]

    asyncio.run(run())


def test_messages_that_are_played_back_change_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            bodies: list[tuple[str, str, str, bytes]] = []

            def record(sender: str, receiver: str, path: str, body: bytes) -> bytes:
                bodies.append((sender, receiver, path, body))
                return body

            network.change = record
            assert await attempt(network)
            before = [await entity.account() for entity in network.entities.values()]
            for _ in range(2):
                for letter in bodies:
                    await network.handle(*letter)
                await network.rest()
            assert [await entity.account() for entity in network.entities.values()] == before
            assert await network.assert_settled() == 4

    asyncio.run(run())


async def with_stranger(network: Network) -> None:
    """A KME with an SAE of its own, which knows the keys' prefix."""
    await network.open("kme-x")
    network.directory.saes["xavier"] = Sae("kme-x")
    await network.link("kme-x", NAMES[-1])


def test_a_stranger_cannot_void_what_is_ready_nor_what_is_on_its_way(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            await with_stranger(network)
            slave = network.entities[NAMES[-1]].exchange
            reservation = await reserve(network)
            await slave.receive_voids("kme-x", [Place(reservation.prefix, 0)])
            network.choose = lambda _s, _r, path: "lose request" if path == exchange.CONFIRM_PATH else "deliver"
            assert not await attempt(network)
            query = "SELECT DISTINCT prefix FROM relay WHERE state = 'held'"
            [(prefix,)] = await network.entities[NAMES[-1]].database.run(lambda t: t.rows(query))
            await slave.receive_voids("kme-x", [Place(prefix, 0)])
            network.choose = lambda *_: "deliver"
            await network.entities["kme-0"].database.run(lambda t: t.rows("UPDATE confirmation SET claimed_ms = 0"))
            await network.sweep()
            assert await network.assert_settled() == 8

    asyncio.run(run())


def test_a_stranger_cannot_take_the_identifiers_of_anothers_keys(tmp_path: Path) -> None:
    """It sends keys of its own under a prefix it has seen, and has them confirmed, before the master's KME asks."""

    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            await with_stranger(network)
            network.choose = lambda _s, _r, path: "lose request" if path == exchange.CONFIRM_PATH else "deliver"
            assert not await attempt(network)
            query = "SELECT DISTINCT prefix FROM relay WHERE state = 'held'"
            [(prefix,)] = await network.entities[NAMES[-1]].database.run(lambda t: t.rows(query))
            network.choose = lambda *_: "deliver"
            network.directory.find_routes = lambda source, target, *_: [[source, target] if source == "kme-x" else NAMES]
            await network.entities["kme-x"].reserve("xavier", ["bob"], size_bit=BIT, count=4, prefix=prefix)
            await network.settle_down()
            assert (await network.entities["kme-0"].account())["supply alice bob master 256"] == {"voided": 4 * BIT}
            for name in NAMES:
                await network.entities[name].database.run(assert_balanced)

    asyncio.run(run())


def test_a_stranger_who_asks_about_anothers_keys_learns_and_changes_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            await with_stranger(network)
            slave = network.entities[NAMES[-1]].exchange
            reservation = await reserve(network)
            question = Confirmation(
                reservation=reservation, threshold=1, last_hops=["kme-1"], nonce=bytes(16), tag=one_time_tag(bytes(32), [b""])
            )
            bad = [
                question,
                msgspec.structs.replace(question, reservation=msgspec.structs.replace(reservation, master="xavier")),
                msgspec.structs.replace(question, reservation=msgspec.structs.replace(reservation, slaves=["nobody"])),
                msgspec.structs.replace(question, reservation=msgspec.structs.replace(reservation, prefix=b"short")),
                msgspec.structs.replace(question, threshold=9),
            ]
            assert set(await slave.receive_confirmations("kme-x", bad)) <= {"unknown", "voided"}
            assert await network.assert_settled() == 4

    asyncio.run(run())


def test_one_bad_question_does_not_spoil_the_others_of_its_list(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            network.directory.saes["gone"] = network.directory.saes["bob"]
            reservation = await reserve(network)
            query = "SELECT message FROM confirmation"
            [(message,)] = await network.entities["kme-0"].database.run(lambda t: t.rows(query))
            good = msgspec.msgpack.decode(message, type=Confirmation)
            bad = msgspec.structs.replace(good, reservation=msgspec.structs.replace(reservation, slaves=["nobody"]))
            slave = network.entities[NAMES[-1]].exchange
            assert await slave.receive_confirmations("kme-0", [bad, good]) == ["unknown", "ready"]

    asyncio.run(run())


def test_a_peer_without_a_post_quantum_key_is_sent_no_keys_that_need_one(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES) as network:
            network.directory.default_policy = PairPolicy(post_quantum=True)
            slave = network.entities[NAMES[-1]].exchange
            kem_keys, slave.kem_keys = slave.kem_keys, {}
            with pytest.raises(RelayFailed, match="ML-KEM"):
                await reserve(network)
            slave.kem_keys = kem_keys
            await reserve(network)
            assert await network.assert_settled() == 4

    asyncio.run(run())


# Link key.


def test_two_ends_that_both_send_under_the_first_half_never_use_the_block(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES[:2], length_byte=100) as network:
            block = KeyBlock(uuid4(), os.urandom(1000))
            for name, peer in (NAMES[:2], NAMES[1::-1]):
                await network.entities[name].collect(Blocks(peer, "first", [block]))
            await network.settle_down()
            query = "SELECT state FROM link_block WHERE block_id = $1"
            for kme in network.entities.values():
                assert await kme.database.run(read_rows, query, block.block_id.bytes) == [("voided",)]

    asyncio.run(run())


def test_blocks_that_the_peer_never_gets_do_not_keep_others_waiting(tmp_path: Path) -> None:
    async def run() -> None:
        async with chain(tmp_path, NAMES[:2], length_byte=100) as network:
            first = network.entities["kme-0"]
            before = await first.stock_bit("kme-1")
            await first.collect(Blocks("kme-1", "first", [KeyBlock(uuid4(), os.urandom(100)) for _ in range(exchange.LARGEST_BATCH)]))
            await network.rest()
            await network.link("kme-0", "kme-1", 1032)
            for _ in range(40):
                await network.sweep()
            assert await first.stock_bit("kme-1") == before + 500 * 8

    asyncio.run(run())


def test_more_ranges_than_any_honest_message_names_are_refused_unread() -> None:
    message = RelayMessage(
        reservation=Reservation(prefix=bytes(14), master="alice", slaves=["bob"], size_bit=8, count=1),
        share=0, route=["a", "b"], segments=[Segment(uuid4(), 0, 1)] * 5000, ciphertext=b"", tag=b"",
    )  # fmt: skip
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=RelayMessage)
