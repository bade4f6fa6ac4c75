"""Keys between networks: from SAE to SAE over their borders, whatever is lost, whoever dies and whoever lies."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.kms.border import Blocks, World, three_networks, two_networks
from tests.kms.doors import application
from tiandi.distill.records import KeyBlock
from tiandi.errors import InputError, KeyNotFound, KeysExhausted, NotAuthorised, TiandiError
from tiandi.kms.directory import Directory, PairPolicy, Partner, Sae
from tiandi.kms.doors import etsi020
from tiandi.kms.etsi014 import KeyRequest
from tiandi.kms.etsi020 import ACK_PATH, KEYS_PATH, VOID_PATH
from tiandi.kms.interworking import border_kme as interworking
from tiandi.kms.interworking import errands
from tiandi.kms.interworking.border_kme import Interworking
from tiandi.kms.interworking.partners import Partners, partner_credentials
from tiandi.kms.keys import SupplyKey
from tiandi.kms.relay import patience
from tiandi.kms.server import KmeHost, KmeServer, listen
from tiandi.kms.store.master_keys import create_master_key_file, open_master_key
from tiandi.kms.store.sqlite_database import SqliteDatabase
from tiandi.kms.tls.calling import client
from tiandi.kms.tls.contexts import ServerTls
from tiandi.kms.tls.pki import CertificateAuthority, Credentials

CALLBACK = "https://a2" + ACK_PATH


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds in service takes tenths here."""
    for module in (patience, errands):
        monkeypatch.setattr(module, "SWEEP_PAUSE_S", 0.05)
    monkeypatch.setattr(patience, "CLAIM_MS", 1000)
    monkeypatch.setattr(patience, "PATIENCE_S", 1.5)
    monkeypatch.setattr(patience, "ASKING_MS", 800)
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(errands, "RETRY_MS", 50)
    monkeypatch.setattr(errands, "LONGEST_RETRY_MS", 200)
    monkeypatch.setattr(errands, "ANSWER_MS", 200)
    monkeypatch.setattr(errands, "LOOK_AGAIN_MS", 50)
    monkeypatch.setattr(interworking, "LOOK_AGAIN_MS", 50)
    monkeypatch.setattr(interworking, "SYNCHRONOUS_PATIENCE_S", 1.0)


def run(world: World, test: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        await world.open_all()
        await world.link_all()
        try:
            await test(world)
        finally:
            await world.close_all()

    asyncio.run(whole())


def bits(keys: list[SupplyKey]) -> list[bytes]:
    return [key.key for key in keys]


async def require_settled(world: World, *borders: str) -> None:
    """Nothing is on its way, and no key is left at a border."""
    await world.quiet()
    for name in world.entities:
        assert not {"reserved", "held", "uncertain"} & (await world.accounts(name)).keys(), name
    for name in borders or ("a2", "b2"):
        assert await world.keys_kept(name) == 0, name
        assert set(await world.accounts(name)) <= {"relayed", "voided", "delivered"}, name


async def require_agreement(world: World) -> None:
    """Whatever alice can be given now, bob has as well."""
    keys = await world.get("a1", "alice", "bob")
    assert bits(await world.fetch("b1", "bob", "alice", keys)) == bits(keys)


@pytest.mark.parametrize("synchronous", [False, True])
def test_keys_reach_an_sae_of_another_network_and_come_from_it(tmp_path: Path, synchronous: bool) -> None:
    async def both_ways(world: World) -> None:
        keys = await world.get("a1", "alice", "bob", number=5, size=512)
        assert bits(await world.fetch("b1", "bob", "alice", keys)) == bits(keys)
        back = await world.get("b1", "bob", "alice", number=2)
        assert bits(await world.fetch("a1", "alice", "bob", back)) == bits(back)
        await require_settled(world)
        assert await world.accounts("a1") == {"delivered": 5 * 512 + 2 * 256}
        assert await world.accounts("a2") == {"relayed": 5 * 512 + 2 * 256}
        assert await world.accounts("b2") == {"relayed": 5 * 512 + 2 * 256}

    run(two_networks(tmp_path, synchronous=synchronous), both_ways)


def test_saes_at_the_borders_themselves_share_keys(tmp_path: Path) -> None:
    async def at_the_borders(world: World) -> None:
        keys = await world.get("a2", "ann", "ben", number=2)
        assert bits(await world.fetch("b2", "ben", "ann", keys)) == bits(keys)
        await require_settled(world)

    run(two_networks(tmp_path), at_the_borders)


def test_one_key_for_saes_of_both_networks(tmp_path: Path) -> None:
    async def several(world: World) -> None:
        keys = await world.get("a1", "alice", "bob", number=2, additional_slave_SAE_IDs=["ben", "ann"])
        for kme, sae in (("b1", "bob"), ("b2", "ben"), ("a2", "ann")):
            assert bits(await world.fetch(kme, sae, "alice", keys)) == bits(keys)
        await require_settled(world)

    run(two_networks(tmp_path), several)


@pytest.mark.parametrize("synchronous", [False, True])
def test_a_network_between_two_others_passes_keys_on(tmp_path: Path, synchronous: bool) -> None:
    async def through(world: World) -> None:
        keys = await world.get("a1", "alice", "carol", number=3)
        assert bits(await world.fetch("c1", "carol", "alice", keys)) == bits(keys)
        await require_settled(world, "a2", "t1", "t2", "c2")
        assert await world.accounts("t1") == {"relayed": 768}

    run(three_networks(tmp_path, synchronous=synchronous), through)


@pytest.mark.parametrize("lost", [False, True])
def test_one_key_for_saes_of_two_other_networks_is_given_to_all_or_none(tmp_path: Path, lost: bool) -> None:
    world = three_networks(tmp_path)
    world.fault = lambda me, *_: "400" if lost and me == "t2" else ""

    async def both(world: World) -> None:
        asking = world.get("t1", "tom", "alice", additional_slave_SAE_IDs=["carol"])
        if lost:
            with pytest.raises(TiandiError):
                await asking
            await require_settled(world, "t1", "t2")
            assert await world.accounts("a1") in ({}, {"voided": 256})
        else:
            keys = await asking
            for kme, sae in (("a1", "alice"), ("c1", "carol")):
                assert bits(await world.fetch(kme, sae, "tom", keys)) == bits(keys)
            await require_settled(world, "t1", "t2")

    run(world, both)


def test_an_sae_of_another_network_is_given_nothing_at_the_border(tmp_path: Path) -> None:
    async def at_the_border(world: World) -> None:
        keys = await world.get("a1", "alice", "bob")
        with pytest.raises(NotAuthorised):
            await world.fetch("a2", "bob", "alice", keys)
        with pytest.raises(NotAuthorised):
            await world.get("a2", "bob", "alice")
        with pytest.raises(NotAuthorised):
            await world.get("b2", "alice", "bob")

    run(two_networks(tmp_path), at_the_border)


# What is lost.


@pytest.mark.parametrize("path", [KEYS_PATH, ACK_PATH])
@pytest.mark.parametrize("what", ["lose request", "lose answer", "503", "408"])
@pytest.mark.parametrize("synchronous", [False, True])
def test_what_is_lost_once_is_sent_again(tmp_path: Path, path: str, what: str, synchronous: bool) -> None:
    faults = [what]
    world = two_networks(tmp_path, synchronous=synchronous)
    world.fault = lambda _, asked, __: faults.pop() if asked == path and faults else ""

    async def lost(world: World) -> None:
        keys = await world.get("a1", "alice", "bob", number=2)
        assert bits(await world.fetch("b1", "bob", "alice", keys)) == bits(keys)
        await require_settled(world)
        assert await world.accounts("b1") == {"delivered": 512}

    run(world, lost)


@pytest.mark.parametrize("status", ["400", "401"])
def test_a_refusal_voids_the_keys_at_once_and_asks_for_no_more(tmp_path: Path, status: str) -> None:
    world = two_networks(tmp_path)
    world.fault = lambda *_: status

    async def refused(world: World) -> None:
        with pytest.raises(KeysExhausted):
            await world.get("a1", "alice", "bob", number=2)
        await require_settled(world)
        assert await world.accounts("a1") == {"voided": 512}
        assert await world.accounts("a2") == {"voided": 512}

    run(world, refused)


def test_a_refusal_after_a_lost_answer_is_followed_by_a_void(tmp_path: Path) -> None:
    faults = ["400", "lose answer"]
    world = two_networks(tmp_path)
    world.fault = lambda me, path, _: faults.pop() if (me, path) == ("a2", KEYS_PATH) and faults else ""

    async def refused(world: World) -> None:
        world.borders["b2"].incoming.notices.add = _never  # type: ignore[method-assign]
        with pytest.raises(TiandiError):
            await world.get("a1", "alice", "bob")
        del world.borders["b2"].incoming.notices.add
        await asyncio.sleep(0.3)
        await require_settled(world)
        assert (await world.accounts("b1"))["voided"] == 256

    run(world, refused)


async def _never(*_: Any, **__: Any) -> None:
    return


@pytest.mark.parametrize(("border", "path", "what"), [("a2", KEYS_PATH, "lose request"), ("a2", KEYS_PATH, "503"), ("b2", ACK_PATH, "503")])
def test_a_partner_that_does_not_answer_in_time_costs_keys_and_gives_none(tmp_path: Path, border: str, path: str, what: str) -> None:
    world = two_networks(tmp_path)
    world.fault = lambda *call: what if call[:2] == (border, path) else ""

    async def silent(world: World) -> None:
        with pytest.raises(KeysExhausted):
            await world.get("a1", "alice", "bob", number=2)
        await asyncio.sleep(2)
        assert "ready" not in await world.accounts("a1")
        world.fault = lambda *_: ""
        await require_settled(world)
        assert await world.accounts("a1") == {"voided": 512}
        assert set(await world.accounts("b1")) <= {"voided"}
        await require_agreement(world)

    run(world, silent)


# Who dies.


async def kill_and_look(world: World, border: str, deaths: range) -> None:
    """Kill a border before each of its next transactions, start it again, and see that both networks agree."""
    finished = 0
    for left in deaths:
        asking = asyncio.create_task(world.get("a1", "alice", "bob", number=2))
        world.entities[border].database.left = left  # type: ignore[attr-defined]
        await asyncio.wait([asking], timeout=0.25)
        await world.close(border)
        await world.open(border)
        try:
            keys = await asking
        except TiandiError:
            keys = []
        await require_settled(world)
        if keys:
            finished += 1
            assert bits(await world.fetch("b1", "bob", "alice", keys)) == bits(keys)
        await require_agreement(world)
    assert finished


@pytest.mark.parametrize("border", ["a2", "b2"])
def test_a_killed_border_goes_on_where_it_was(tmp_path: Path, border: str) -> None:
    run(two_networks(tmp_path), lambda world: kill_and_look(world, border, range(1, 40, 9)))


@pytest.mark.slow
@pytest.mark.parametrize("border", ["a2", "b2"])
@pytest.mark.parametrize("synchronous", [False, True])
def test_a_border_killed_before_any_commit_goes_on_where_it_was(tmp_path: Path, border: str, synchronous: bool) -> None:
    run(two_networks(tmp_path, synchronous=synchronous), lambda world: kill_and_look(world, border, range(40)))


# A partner by hand: what it may say, and what it may not.


def sent(*keys: tuple[UUID, bytes], **changes: Any) -> dict[str, Any]:
    """A request to pass keys from alice on to bob."""
    items = [{"key_id": str(key_id), "value": base64.b64encode(key).decode()} for key_id, key in keys]
    request = {"keys": items, "initiator_sae_id": "alice", "target_sae_ids": ["bob"], "ack_callback_url": CALLBACK} | changes
    return {name: value for name, value in request.items() if value is not None}


class Hand:
    """The partner's border a2, played by the test: b2 hears and tells nobody else."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.told: list[dict[str, Any]] = []
        self.answer = "200"
        world.fault = self._hear

    def _hear(self, me: str, path: str, body: bytes) -> str:
        if path == ACK_PATH and self.answer == "200":
            self.told += json.loads(body)
        return self.answer

    async def say(self, path: str, body: Any, *, kme: str = "a2") -> tuple[int, Any]:
        response = await self.world.ask("b2", "POST", path, kme=kme, content=json.dumps(body))
        return response.status_code, json.loads(response.content) if response.content else None

    async def hear(self, count: int) -> list[tuple[str, list[str]]]:
        """Status and keys of the next acknowledgements."""
        async with asyncio.timeout(5):
            while len(self.told) < count:
                await asyncio.sleep(0.01)
        heard = [(ack["ack_status"], [item["key_id"] for item in ack["key_id_container"]]) for ack in self.told]
        self.told.clear()
        return heard

    async def taken(self, key_id: UUID) -> bytes:
        """The key, as bob gets it."""
        [key] = await self.world.entities["b1"].get_keys_with_ids("bob", "alice", [key_id])
        return key.key


def by_hand(tmp_path: Path, test: Callable[[Hand], Coroutine[Any, Any, None]]) -> None:
    async def whole(world: World) -> None:
        await test(Hand(world))
        await world.quiet()
        assert await world.keys_kept("b2") == 0

    run(two_networks(tmp_path), whole)


def a_key() -> tuple[UUID, bytes]:
    return uuid4(), os.urandom(32)


def test_a_key_that_comes_again_is_acknowledged_again_and_another_under_its_name_is_refused(tmp_path: Path) -> None:
    async def again(hand: Hand) -> None:
        key_id, key = a_key()
        for _ in range(3):
            assert await hand.say(KEYS_PATH, sent((key_id, key))) == (202, None)
            assert await hand.hear(1) == [("relayed", [str(key_id)])]
        status, problem = await hand.say(KEYS_PATH, sent((key_id, os.urandom(32))))
        assert (status, problem["details"].keys()) == (400, {"key_id"})
        status, _ = await hand.say(KEYS_PATH, sent((key_id, key), target_sae_ids=["ben"]))
        assert status == 400
        status, acks = await hand.say(KEYS_PATH, sent((key_id, key), ack_callback_url=None))
        assert (status, [ack["ack_status"] for ack in acks]) == (200, ["relayed"])
        assert await hand.taken(key_id) == key
        with pytest.raises(KeyNotFound):
            await hand.taken(key_id)
        assert await hand.world.accounts("b1") == {"delivered": 256}

    by_hand(tmp_path, again)


def test_a_request_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    async def whole_or_not(hand: Hand) -> None:
        first, second = a_key(), a_key()
        await hand.say(KEYS_PATH, sent(first))
        await hand.hear(1)
        assert (await hand.say(KEYS_PATH, sent(second, (first[0], os.urandom(32)))))[0] == 400
        assert await hand.world.accounts("b2") == {"relayed": 256}
        with pytest.raises(KeyNotFound):
            await hand.taken(second[0])

    by_hand(tmp_path, whole_or_not)


def test_an_identifier_that_a_key_of_this_network_has_is_refused(tmp_path: Path) -> None:
    async def stolen(hand: Hand) -> None:
        hand.world.fault = lambda *_: ""
        keys = await hand.world.get("b2", "ben", "bob")
        status, problem = await hand.say(KEYS_PATH, sent((keys[0].key_id, os.urandom(32))))
        assert (status, problem["details"].keys()) == (400, {"key_id"})
        assert bits(await hand.world.fetch("b1", "bob", "ben", keys)) == bits(keys)

    by_hand(tmp_path, stolen)


@pytest.mark.parametrize(
    ("changes", "status", "kind", "detail"),
    [
        ({"initiator_sae_id": "mallory"}, 400, "key-routing-error", "initiator_sae_id_not_recognized"),
        ({"initiator_sae_id": "ben"}, 401, "unauthorized", "unauthorized"),
        ({"target_sae_ids": ["mallory"]}, 400, "key-routing-error", "target_sae_id_not_recognized"),
        ({"target_sae_ids": ["bob", "ann"]}, 400, "key-routing-error", "invalid_routing"),
        ({"target_sae_ids": ["bob", "bob"]}, 400, "invalid-parameter", "target_sae_ids"),
        ({"target_sae_ids": ["alice"]}, 400, "invalid-parameter", "target_sae_ids"),
        ({"ack_callback_url": "http://a2/kmapi/v1/ext_keys/ack"}, 400, "invalid-parameter", "ack_callback_url"),
        ({"ack_callback_url": "https://elsewhere/kmapi/v1/ext_keys/ack"}, 400, "invalid-parameter", "ack_callback_url"),
        ({"ack_callback_url": "https://a2:8443/ack"}, 400, "invalid-parameter", "ack_callback_url"),
        ({"ack_callback_url": "https://a2@elsewhere/ack"}, 400, "invalid-parameter", "ack_callback_url"),
        ({"ack_callback_url": "https://elsewhere@a2/ack"}, 400, "invalid-parameter", "ack_callback_url"),
        ({"ack_callback_url": "https://a2\\@elsewhere/ack"}, 400, "invalid-parameter", "ack_callback_url"),
        ({"ack_callback_url": "https://a2.elsewhere/ack"}, 400, "invalid-parameter", "ack_callback_url"),
        ({"extension_mandatory": {"E32473_ext1": 1}}, 503, "unsupported-mandatory-extension", "unsupported_mandatory_extension"),
    ],
)
def test_what_a_partner_may_not_ask_leaves_nothing_behind(
    tmp_path: Path, changes: dict[str, Any], status: int, kind: str, detail: str
) -> None:
    async def refused(hand: Hand) -> None:
        answered, problem = await hand.say(KEYS_PATH, sent(a_key(), **changes))
        assert (answered, problem["type"].rpartition("/")[2], set(problem["details"])) == (status, kind, {detail})
        assert await hand.world.accounts("b2") == {}
        assert hand.told == []

    by_hand(tmp_path, refused)


def test_a_kme_that_is_no_partner_and_an_sae_are_refused(tmp_path: Path) -> None:
    async def refused(hand: Hand) -> None:
        key = a_key()
        for kme in ("b1", "a1", ""):
            for path in (KEYS_PATH, ACK_PATH, VOID_PATH):
                assert (await hand.say(path, sent(key), kme=kme))[0] == 401
        response = await hand.world.ask("b2", "POST", KEYS_PATH, sae="alice", content=json.dumps(sent(key)))
        assert response.status_code == 401
        assert await hand.world.accounts("b2") == {}

    by_hand(tmp_path, refused)


def test_link_key_that_is_short_is_told_and_nothing_is_kept(tmp_path: Path) -> None:
    async def short(hand: Hand) -> None:
        many = [(uuid4(), os.urandom(2048)) for _ in range(60)]
        status, problem = await hand.say(KEYS_PATH, sent(*many))
        assert (status, problem["type"].rpartition("/")[2]) == (503, "insufficient-key-material")
        assert await hand.world.accounts("b2") == {}

    by_hand(tmp_path, short)


def voiding(*key_ids: UUID, **changes: Any) -> dict[str, Any]:
    request = {
        "key_ids": [str(key_id) for key_id in key_ids],
        "initiator_sae_id": "alice",
        "target_sae_ids": ["bob"],
        "ack_callback_url": CALLBACK,
    } | changes
    return {name: value for name, value in request.items() if value is not None}


@pytest.mark.parametrize("synchronous", [False, True])
def test_a_voided_key_is_never_handed_out_and_a_delivered_one_is_told(tmp_path: Path, synchronous: bool) -> None:
    async def void(hand: Hand) -> None:
        (first, key), (second, _), (third, _) = a_key(), a_key(), a_key()
        await hand.say(KEYS_PATH, sent((first, key), (second, key), ack_callback_url=None))
        assert await hand.taken(first) == key
        status, acks = await hand.say(VOID_PATH, voiding(first, second, third, ack_callback_url=None if synchronous else CALLBACK))
        if synchronous:
            assert status == 200
            heard = [(ack["ack_status"], [item["key_id"] for item in ack["key_id_container"]]) for ack in acks]
        else:
            assert (status, acks) == (202, None)
            heard = await hand.hear(3)
        assert sorted(heard) == sorted([("failed to void", [str(first)]), ("voided", [str(second)]), ("key not present", [str(third)])])
        with pytest.raises(KeyNotFound):
            await hand.taken(second)
        # What was voided before it came is not taken when it comes.
        await hand.say(KEYS_PATH, sent((third, key)))
        assert await hand.hear(1) == [("voided", [str(third)])]
        with pytest.raises(KeyNotFound):
            await hand.taken(third)

    by_hand(tmp_path, void)


def test_all_keys_of_a_pair_are_voided_only_when_that_is_confirmed(tmp_path: Path) -> None:
    async def void_all(hand: Hand) -> None:
        keys = [a_key() for _ in range(5)]
        await hand.say(KEYS_PATH, sent(*keys, ack_callback_url=None))
        status, problem = await hand.say(VOID_PATH, voiding())
        assert (status, problem["type"].rpartition("/")[2], set(problem["details"])) == (
            400,
            "no-key-ids-or-confirmation",
            {"no_all_confirmation"},
        )
        assert (await hand.say(VOID_PATH, voiding(all_confirmation=False)))[0] == 400
        status, acks = await hand.say(VOID_PATH, voiding(all_confirmation=True, ack_callback_url=None))
        assert (status, len(acks), acks[0]["ack_status"], len(acks[0]["key_id_container"])) == (200, 1, "voided", 5)
        assert await hand.world.accounts("b1") == {"voided": 5 * 256}

    by_hand(tmp_path, void_all)


def test_keys_of_others_are_not_there_for_a_partner_to_void(tmp_path: Path) -> None:
    async def others(hand: Hand) -> None:
        hand.world.fault = lambda *_: ""
        own = await hand.world.get("b2", "ben", "bob")
        status, _ = await hand.say(VOID_PATH, voiding(own[0].key_id, initiator_sae_id="ben", ack_callback_url=None))
        assert status == 401
        status, acks = await hand.say(VOID_PATH, voiding(own[0].key_id, ack_callback_url=None))
        assert (status, acks[0]["ack_status"]) == (200, "key not present")
        assert bits(await hand.world.fetch("b1", "bob", "ben", own)) == bits(own)

    by_hand(tmp_path, others)


def test_a_partner_that_never_hears_of_a_relayed_key_finds_it_voided(tmp_path: Path) -> None:
    async def refuse(hand: Hand) -> None:
        key_id, key = a_key()
        hand.answer = "400"
        await hand.say(KEYS_PATH, sent((key_id, key)))
        await asyncio.sleep(0.5)
        hand.answer = "200"
        await hand.world.quiet()
        with pytest.raises(KeyNotFound):
            await hand.taken(key_id)
        assert await hand.world.accounts("b1") == {"voided": 256}

    by_hand(tmp_path, refuse)


def test_acknowledgements_of_keys_that_were_never_passed_are_refused(tmp_path: Path) -> None:
    async def unknown(hand: Hand) -> None:
        ack = {
            "key_id_container": [{"key_id": str(uuid4())}],
            "ack_status": "relayed",
            "initiator_sae_id": "bob",
            "target_sae_ids": ["alice"],
        }
        status, problem = await hand.say(ACK_PATH, [ack])
        assert (status, problem["type"].rpartition("/")[2]) == (400, "key-not-present")
        assert await hand.say(ACK_PATH, []) == (200, None)

    by_hand(tmp_path, unknown)


def test_acknowledgements_may_come_key_by_key_and_one_failure_voids_all(tmp_path: Path) -> None:
    async def one_by_one(hand: Hand) -> None:
        passed: list[str] = []

        def hear(me: str, path: str, body: bytes) -> str:
            if (me, path) == ("b2", KEYS_PATH):
                passed.extend(item["key_id"] for item in json.loads(body)["keys"])
            return "202"

        def ack(key_id: str, status: str) -> list[dict[str, Any]]:
            return [
                {"key_id_container": [{"key_id": key_id}], "ack_status": status, "initiator_sae_id": "bob", "target_sae_ids": ["alice"]}
            ]

        hand.world.fault = hear
        for last in ("relayed", "failed"):
            passed.clear()
            asking = asyncio.create_task(hand.world.get("b1", "bob", "alice", number=2))
            while len(passed) < 2:
                await asyncio.sleep(0.01)
            assert (await hand.say(ACK_PATH, ack(passed[0], "relayed")))[0] == 200
            await asyncio.sleep(0.1)
            assert not asking.done()
            assert (await hand.say(ACK_PATH, ack(passed[1], last)))[0] == 200
            if last == "relayed":
                assert sorted(str(key.key_id) for key in await asking) == sorted(passed[:2])
        with pytest.raises(KeysExhausted):
            await asking
        assert (await hand.say(ACK_PATH, ack(passed[0], "voided")))[0] == 200
        assert await hand.world.accounts("b1") == {"delivered": 512, "voided": 512}

    by_hand(tmp_path, one_by_one)


def test_a_partner_may_void_what_it_has_not_acknowledged(tmp_path: Path) -> None:
    async def reverse(hand: Hand) -> None:
        passed: list[str] = []

        def hear(me: str, path: str, body: bytes) -> str:
            if (me, path) == ("b2", KEYS_PATH):
                passed.extend(item["key_id"] for item in json.loads(body)["keys"])
            return "202"

        hand.world.fault = hear
        asking = asyncio.create_task(hand.world.get("b1", "bob", "alice"))
        while not passed:
            await asyncio.sleep(0.01)
        pair = {"initiator_sae_id": "bob", "target_sae_ids": ["alice"], "ack_callback_url": None}
        status, acks = await hand.say(VOID_PATH, voiding(UUID(passed[0]), **pair))
        assert (status, acks[0]["ack_status"]) == (200, "voided")
        with pytest.raises(KeysExhausted):
            await asking
        assert await hand.world.accounts("b1") == {"voided": 256}

    by_hand(tmp_path, reverse)


def test_extensions_reach_the_next_network_unchanged(tmp_path: Path) -> None:
    optional = '{"E32473_a": {"x": 1.50, "y": [null, "\\u00e9"]}}'
    own = '{"E32473_b":  12345678901234567890123}'

    async def extended(world: World) -> None:
        key_id, key = a_key()
        body = json.dumps(sent((key_id, key), ack_callback_url="https://a2" + ACK_PATH, target_sae_ids=["carol"]))
        body = body.replace('"value"', f'"extension": {own}, "value"')[:-1] + f', "extension_optional": {optional}}}'
        assert (await world.ask("t1", "POST", KEYS_PATH, kme="a2", content=body)).status_code == 202
        world.fault = lambda me, *_: "200" if me == "t1" else ""
        await world.quiet()
        [passed] = [body for me, path, body, _ in world.calls if (me, path) == ("t2", KEYS_PATH)]
        assert b'{"x": 1.50, "y": [null, "\\u00e9"]}' in passed
        assert b"12345678901234567890123" in passed
        [got] = await world.entities["c1"].get_keys_with_ids("carol", "alice", [key_id])
        assert got.key == key

    run(three_networks(tmp_path), extended)


def test_a_network_between_tells_when_a_key_was_delivered_beyond_it(tmp_path: Path) -> None:
    async def beyond(world: World) -> None:
        (first, key), (second, other) = a_key(), a_key()
        request = json.dumps(sent((first, key), (second, other), ack_callback_url=None, target_sae_ids=["carol"]))
        response = await world.ask("t1", "POST", KEYS_PATH, kme="a2", content=request)
        assert response.status_code == 200
        await world.entities["c1"].get_keys_with_ids("carol", "alice", [first])
        request = json.dumps(voiding(first, second, target_sae_ids=["carol"], ack_callback_url=None))
        response = await world.ask("t1", "POST", VOID_PATH, kme="a2", content=request)
        assert response.status_code == 200
        told = {item["key_id"]: ack["ack_status"] for ack in response.json() for item in ack["key_id_container"]}
        assert told == {str(first): "failed to void", str(second): "voided"}
        with pytest.raises(KeyNotFound):
            await world.entities["c1"].get_keys_with_ids("carol", "alice", [second])
        await require_settled(world, "t1", "t2", "c2")

    run(three_networks(tmp_path), beyond)


def test_an_unknown_partner_and_an_sae_of_nobody_are_told(tmp_path: Path) -> None:
    async def unknown(world: World) -> None:
        with pytest.raises(InputError):
            await world.get("a1", "alice", "nobody")
        world.entities["a2"].directory.partners.clear()
        with pytest.raises(KeysExhausted):
            await world.get("a1", "alice", "bob")

    run(two_networks(tmp_path), unknown)


# Over TLS, between two authorities.


class TlsNetwork:
    """KMEs kme-0 and kme-1, the border, under an authority of its own; both networks name theirs alike."""

    def __init__(self, folder: Path, sae: str, other: str) -> None:
        self.folder, self.sae = folder, sae
        self.authority = CertificateAuthority(folder / "pki")
        self.directory = Directory(default_policy=PairPolicy(ahead_count=0))
        self.directory.find_routes = lambda source, target, *_: [[source, target]]
        self.directory.saes = {sae: Sae("kme-0"), other: Sae("kme-1", beyond="partner")}
        self.host = KmeHost(self.directory)
        self.own = {name: self.authority.issue("kme", name) for name in ("kme-0", "kme-1")}
        for name, credentials in self.own.items():
            create_master_key_file(folder / f"{name}.key")
            master_key = open_master_key(f"file:{folder / name}.key")
            database = SqliteDatabase(folder / f"{name}.sqlite")
            self.host.add(name, database, master_key, credentials=credentials, listener=listen(0, "port"))
        self.listener = listen(0, "port")
        self.address = f"https://127.0.0.1:{self.listener.getsockname()[1]}"

    def trust(self, other: TlsNetwork) -> None:
        self.directory.partners["partner"] = Partner("kme-1", "kme-1", other.address, self.address)
        roots = sorted((other.folder / "pki").glob("authority*.crt"))
        self.credentials = partner_credentials(
            self.own["kme-1"],
            [other.authority.certificate, *(root for root in roots if "cross" not in root.name)],
            revocations=other.authority.revocations,
        )

    async def serve(self) -> None:
        self.calls = Partners({"kme-1": self.credentials})
        border = Interworking(self.host.entities["kme-1"], self.calls)
        self.server = KmeServer(border, application(etsi020.routes(border, ["partner"])), ServerTls(self.credentials), self.listener)
        await self.server.start()
        key, number = os.urandom(100_000), uuid4()
        await self.host.entities["kme-1"].collect(Blocks("kme-0", "second", KeyBlock(number, key)))
        await self.host.entities["kme-0"].collect(Blocks("kme-1", "first", KeyBlock(number, key)))

    async def stop(self) -> None:
        await self.server.stop()
        await self.calls.close()


def status_of(credentials: Credentials, address: str, path: str = "/kmapi/versions") -> int | None:
    """What a caller is answered, or None when TLS lets nothing through."""
    try:
        with client(credentials, timeout_s=5, post_quantum_only=True) as calls:
            return calls.get(address + path, extensions={"sni_hostname": "kme-1"}).status_code
    except httpx.TransportError:
        return None


def test_two_authorities_vouch_each_for_its_own_network_only(tmp_path: Path) -> None:
    (tmp_path / "west").mkdir()
    (tmp_path / "east").mkdir()
    west, east = TlsNetwork(tmp_path / "west", "alice", "bob"), TlsNetwork(tmp_path / "east", "bob", "alice")
    west.trust(east)
    east.trust(west)
    with west.host, east.host:
        for network in (west, east):
            network.host.call(network.serve())
        for here, there in ((west, east), (east, west)):
            keys = here.host.call(here.host.entities["kme-0"].get_keys(here.sae, there.sae, KeyRequest(number=2)))
            ids = [key.key_id for key in keys]
            got = there.host.call(there.host.entities["kme-0"].get_keys_with_ids(there.sae, here.sae, ids))
            assert bits(got) == bits(keys)
        assert status_of(east.credentials, west.address) == 200
        # Others of the partner's network, KMEs of our own, and the partner at our other doors.
        other = partner_credentials(east.own["kme-0"], [west.authority.certificate])
        assert status_of(other, west.address) == 401
        assert status_of(west.own["kme-1"], west.address) is None
        west_port = west.directory.kme_addresses["kme-1"]
        assert isinstance(west_port, str)
        assert status_of(west.own["kme-0"], west_port, "/kx/v1/relay") is not None
        assert status_of(east.credentials, west_port, "/kx/v1/relay") is None
        for network in (west, east):
            network.host.call(network.stop())
