"""Whoever has a good certificate asks for what is not its own: SAEs for others' keys, KMEs for others' reservations and blocks."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.security.fortress import PAIR, Fortress
from tiandi.kms.directory import PairPolicy
from tiandi.kms.keys import split_identifier
from tiandi.kms.relay import exchange, listening
from tiandi.kms.store.database import Transaction


def reservation(key_id: UUID, **changed: Any) -> dict[str, Any]:
    prefix, index = split_identifier(key_id)
    return {"prefix": prefix, "first_index": index, "master": "alice", "slaves": ["bob"], "size_bit": 256, "count": 1} | changed


def test_a_slave_fetches_no_keys_of_others(fortress: Fortress) -> None:
    ids = list(fortress.keys(2))
    for who, master, kme in (
        (fortress.mallory, "alice", "kme-2"),  # She is no party to them.
        (fortress.bob, "mallory", "kme-2"),  # He names another master.
        (fortress.alice, "bob", "kme-0"),  # She is their master, not their slave.
        (fortress.alice, "alice", "kme-0"),
        (fortress.eve, "alice", "kme-0"),
        (fortress.bob, "alice", "kme-0"),  # He is served elsewhere.
        (fortress.bob, "alice", "kme-1"),
    ):
        assert fortress.fetch(ids, who=who, master=master, kme=kme)[0] == 401
    assert fortress.fetch(ids)[0] == 200


def test_one_key_of_others_among_ones_own_delivers_none(fortress: Fortress) -> None:
    own = list(fortress.keys())
    fortress.host.directory.saes.setdefault("trent", fortress.host.directory.saes["bob"])
    status, body = fortress.ask(fortress.alice, "/api/v1/keys/mallory/enc_keys")
    assert status == 200
    foreign = UUID(str(body.split(b'"key_ID":"')[1][:36], "ascii"))
    assert fortress.fetch([*own, foreign])[0] == 401
    assert fortress.fetch(own)[0] == 200


def test_a_master_is_served_at_its_own_kme_only(fortress: Fortress) -> None:
    for who, kme in ((fortress.alice, "kme-1"), (fortress.alice, "kme-2"), (fortress.bob, "kme-0")):
        assert fortress.ask(who, "/api/v1/keys/mallory/enc_keys", kme=kme)[0] == 401
        assert fortress.ask(who, "/api/v1/keys/mallory/status", kme=kme)[0] == 401


def test_a_pair_that_may_share_no_keys_gets_none(fortress: Fortress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fortress.host.directory, "pairs", {("alice", "bob")})
    assert fortress.ask(fortress.eve, PAIR + "/enc_keys")[0] == 401
    more = {"additional_slave_SAE_IDs": ["mallory"]}
    assert fortress.ask(fortress.alice, PAIR + "/enc_keys", more)[0] == 401


def test_a_key_is_delivered_once_to_each_side(fortress: Fortress) -> None:
    ids = list(fortress.keys())
    assert [fortress.fetch(ids)[0] for _ in range(3)] == [200, 400, 400]


def test_what_nobody_knows_and_what_is_others_tell_the_encryptor_the_same(fortress: Fortress) -> None:
    """SKIP's door: the standard's own has different words for the two."""
    [key_id] = fortress.keys()
    answers = {fortress.ask(fortress.mallory, f"/key/{each.hex}?remoteSystemID=a", kme="kme-2") for each in (key_id, uuid4())}
    assert {status for status, _ in answers} == {400}
    assert len({body.replace(key_id.hex.encode(), b"") for _, body in answers}) == 1


def test_ever_new_sizes_use_up_little_more_link_key_than_is_delivered(fortress: Fortress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fortress.host.directory.policies, ("eve", "mallory"), PairPolicy(ahead_count=16))
    entity = fortress.entity("kme-0")
    before, taken, sizes = fortress.host.call(entity.stock_bit("kme-1")), 0, range(128, 128 + 8 * 40, 8)
    for size in sizes:
        status, _ = fortress.ask(fortress.eve, "/api/v1/keys/mallory/enc_keys", {"size": size})
        assert status == 200
        taken += size
    used = before - fortress.host.call(entity.stock_bit("kme-1"))
    # Eight sizes are kept ready, sixteen keys of each; every reservation costs 384 bit beside its keys.
    assert used < 8 * (17 * max(sizes) + 2 * 384) + taken + 40 * 384 * 2
    assert len([stock for stock in entity.supply._stocks if stock.pair == ("eve", "mallory")]) <= 10


# KMEs.


@pytest.mark.parametrize("who", ["kme-1", "stranger"])
def test_another_kme_neither_confirms_nor_voids_nor_fails_what_is_not_its_own(fortress: Fortress, who: str) -> None:
    other = fortress.stranger if who == "stranger" else fortress.credentials_of(who)
    [key_id] = fortress.keys()
    prefix, index = split_identifier(key_id)
    place = {"prefix": prefix, "first_index": index}
    question = {"reservation": reservation(key_id), "threshold": 1, "last_hops": ["kme-1"], "nonce": bytes(16), "tag": bytes(16)}
    assert fortress.call(other, exchange.CONFIRM_PATH, [question], kme="kme-2") == (200, ["unknown"])
    assert fortress.call(other, exchange.VOID_PATH, [place], kme="kme-2") == (
        200,
        ["voided"],
    )  # Its own of that name, of which there is none.
    for why in ("no more", listening.VOIDED):
        assert fortress.call(other, exchange.FAILED_PATH, [(place, why)], kme="kme-0")[0] == 200
    status, body = fortress.fetch([key_id])
    assert status == 200, body


def test_a_confirmation_for_ones_own_sae_takes_no_keys_of_others(fortress: Fortress) -> None:
    """A KME says that the keys which bob waits for are of a master of its own."""
    fortress.host.directory.saes["insider"] = fortress.host.directory.saes["alice"].__class__("kme-1")
    [key_id] = fortress.keys()
    forged = reservation(key_id, master="insider")
    question = {"reservation": forged, "threshold": 1, "last_hops": ["kme-1"], "nonce": bytes(16), "tag": bytes(16)}
    answer = fortress.call(fortress.credentials_of("kme-1"), exchange.CONFIRM_PATH, [question], kme="kme-2")
    assert answer == (200, ["voided"])
    assert fortress.fetch([key_id], master="insider")[0] == 401
    assert fortress.fetch([key_id])[0] == 200


def relay(route: list[str], **changed: Any) -> dict[str, Any]:
    segments = [{"block_id": uuid4(), "start": 0, "length": 80}]
    made = reservation(uuid4(), first_index=0)
    return {"reservation": made, "share": 0, "route": route, "segments": segments, "ciphertext": bytes(48), "tag": bytes(16)} | changed


@pytest.mark.parametrize(
    "message",
    [
        relay(["kme-0", "kme-stranger", "kme-2"]),
        relay(["kme-0", "kme-2"]),
        relay(["kme-stranger", "kme-2"]),
        relay(["kme-1", "kme-stranger", "kme-2"]),
        relay(["kme-0", "kme-0", "kme-stranger", "kme-2"]),
        relay(["kme-0", "kme-1", "kme-2"]),
    ],
)
def test_a_stranger_relays_nothing(fortress: Fortress, message: dict[str, Any]) -> None:
    status, [why] = fortress.call(fortress.stranger, exchange.RELAY_PATH, [message], kme="kme-2")
    assert status == 200
    assert "no such route" in why or "does not follow" in why


@pytest.mark.parametrize(
    "changed",
    [
        {"segments": [{"block_id": uuid4(), "start": 0, "length": 10**9}]},
        {"segments": [{"block_id": uuid4(), "start": 2**40, "length": 2**40}]},
        {"segments": []},
        {"ciphertext": b""},
        {"ciphertext": bytes(10**6)},
        {"reservation": reservation(uuid4(), first_index=0, count=2**16)},
        {"reservation": reservation(uuid4(), first_index=0, count=0)},
        {"reservation": reservation(uuid4(), first_index=0, count=-1)},
        {"reservation": reservation(uuid4(), first_index=0, size_bit=10**9 * 8)},
        {"reservation": reservation(uuid4(), first_index=0, size_bit=-8)},
        {"reservation": reservation(uuid4(), first_index=0, size_bit=2**63)},
        {"reservation": reservation(uuid4(), first_index=-1)},
        {"reservation": reservation(uuid4(), first_index=0, paths=2**63)},
        {"reservation": reservation(uuid4(), first_index=0, hops=2**63)},
        {"reservation": reservation(uuid4(), first_index=0, extension=bytes(10**6))},
        {"reservation": reservation(uuid4(), first_index=0, slaves=[])},
        {"reservation": reservation(uuid4(), first_index=0, slaves=["bob"] * 10_000)},
        {"reservation": reservation(uuid4(), first_index=0, slaves=["no\0body"])},
        {"reservation": reservation(uuid4(), first_index=0, prefix=b"")},
        {"tag": b""},
    ],
)
def test_a_relay_of_numbers_that_cannot_be_is_refused_in_words(fortress: Fortress, changed: dict[str, Any]) -> None:
    relayed = relay(["kme-0", "kme-1", "kme-2"]) | changed
    accounts = fortress.host.call(fortress.entity("kme-2").account())
    status, [why] = fortress.call(fortress.credentials_of("kme-1"), exchange.RELAY_PATH, [relayed], kme="kme-2")
    assert status == 200
    assert why
    assert fortress.host.call(fortress.entity("kme-2").account()) == accounts


@pytest.mark.parametrize(
    "changed",
    [
        {"segments": [{"block_id": uuid4(), "start": -1, "length": 80}]},
        {"segments": [{"block_id": uuid4(), "start": 0, "length": 0}]},
        {"segments": [{"block_id": uuid4(), "start": 0, "length": 2**64 - 1}]},
        {"segments": [{"block_id": uuid4(), "start": 0, "length": 1}] * 5000},
        {"share": 255},
        {"share": -1},
        {"route": []},
        {"route": ["kme-0"] * 1000},
        {"route": ["k" * 65, "kme-2"]},
        {"reservation": None},
    ],
)
def test_a_relay_of_numbers_that_no_format_has_is_refused_whole(fortress: Fortress, changed: dict[str, Any]) -> None:
    relayed = relay(["kme-0", "kme-1", "kme-2"]) | changed
    assert fortress.call(fortress.credentials_of("kme-1"), exchange.RELAY_PATH, [relayed], kme="kme-2")[0] == 400


def test_blocks_of_others_are_neither_compared_nor_destroyed(fortress: Fortress) -> None:
    async def blocks(transaction: Transaction) -> list[tuple[Any, ...]]:
        return await transaction.rows("SELECT block_id, state FROM link_block WHERE peer = 'kme-1' ORDER BY block_id")

    database = fortress.entity("kme-0").database
    before = fortress.host.call(database.run(blocks))
    assert before
    for block_id, _ in before:
        offer = {"block_id": UUID(bytes=block_id), "length": 1, "tag": b""}
        assert fortress.call(fortress.stranger, exchange.COMPARE_PATH, [offer]) == (200, ["different"])
    assert fortress.host.call(database.run(blocks)) == before


def test_who_is_no_satellite_hands_nothing_over(fortress: Fortress) -> None:
    segments = [{"block_id": uuid4(), "start": 0, "length": 64}]
    message = {
        "block_id": uuid4(), "peer": "kme-2", "own_segments": segments, "announcement": b"", "tag_segments": segments, "tag": bytes(16)
    }  # fmt: skip
    for who in (fortress.stranger, fortress.credentials_of("kme-1")):
        assert fortress.call(who, exchange.HAND_OVER_PATH, [message])[0] == 401
