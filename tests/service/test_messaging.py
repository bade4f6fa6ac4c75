from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from tests.conftest import KmeChain
from tiandi.bits import exclusive_or
from tiandi.errors import InputError, MessageRejected, RemoteRefused
from tiandi.kms.client import KeyClient
from tiandi.service.messaging import (
    FILE_LIMIT_BYTE,
    TEXT_LIMIT_BYTE,
    Correspondent,
    SealedFile,
    SealedText,
    keys_for_file,
    keys_for_text,
)
from tiandi.tags import one_time_tag

TEXT = "天地 - a text of more than one block, long enough for a few keys of pad."


@pytest.fixture
def pair(chain: KmeChain) -> Iterator[tuple[Correspondent, Correspondent]]:
    chain.host.call(chain.entity("kme-0").reserve("alice", ["bob"], size_bit=256, count=40))
    with (
        KeyClient(chain.address("kme-0"), "kme-0", chain.alice) as alice,
        KeyClient(chain.address("kme-2"), "kme-2", chain.bob) as bob,
    ):
        yield Correspondent("alice", alice), Correspondent("bob", bob)


def change(wire: bytes, kind: type[Any], **changes: Any) -> bytes:
    return msgspec.msgpack.encode(msgspec.structs.replace(msgspec.msgpack.decode(wire, type=kind), **changes))


@pytest.mark.parametrize("text", [TEXT, "x", "你" * 50])
def test_a_text_arrives(pair: tuple[Correspondent, Correspondent], text: str) -> None:
    alice, bob = pair
    wire = alice.seal_text("bob", text)
    assert len(text) < 8 or text.encode() not in wire
    assert bob.open(wire, "alice") == text


@pytest.mark.parametrize("size", [1, 1024, 1025, 5000])
def test_a_file_arrives(pair: tuple[Correspondent, Correspondent], size: int) -> None:
    alice, bob = pair
    data = bytes(range(256)) * 20
    wire = alice.seal_file("bob", data[:size])
    assert bob.open(wire, "alice") == data[:size]
    assert len(msgspec.msgpack.decode(wire, type=SealedFile).key_ids) == keys_for_file(data[:size])


def test_a_message_is_opened_once(pair: tuple[Correspondent, Correspondent]) -> None:
    alice, bob = pair
    wire = alice.seal_text("bob", TEXT)
    bob.open(wire, "alice")
    with pytest.raises(MessageRejected, match="gives no key"):
        bob.open(wire, "alice")


def test_a_changed_text_is_rejected(pair: tuple[Correspondent, Correspondent]) -> None:
    alice, bob = pair
    wire = alice.seal_text("bob", TEXT)
    sealed = msgspec.msgpack.decode(wire, type=SealedText)
    flipped = bytes([sealed.ciphertext[0] ^ 1]) + sealed.ciphertext[1:]
    with pytest.raises(MessageRejected, match="tag does not fit"):
        bob.open(change(wire, SealedText, ciphertext=flipped), "alice")


def test_swapped_blocks_of_a_file_are_rejected(pair: tuple[Correspondent, Correspondent]) -> None:
    alice, bob = pair
    wire = alice.seal_file("bob", bytes(3072))
    sealed = msgspec.msgpack.decode(wire, type=SealedFile)
    with pytest.raises(MessageRejected, match="tag of a block"):
        bob.open(change(wire, SealedFile, blocks=sealed.blocks[::-1]), "alice")


def test_a_cut_file_is_rejected(pair: tuple[Correspondent, Correspondent]) -> None:
    alice, bob = pair
    wire = alice.seal_file("bob", bytes(3000))
    sealed = msgspec.msgpack.decode(wire, type=SealedFile)
    with pytest.raises(MessageRejected):
        bob.open(change(wire, SealedFile, blocks=sealed.blocks[:-1], key_ids=sealed.key_ids[:-1]), "alice")


def test_an_empty_file_naming_a_key_costs_no_key(pair: tuple[Correspondent, Correspondent]) -> None:
    alice, bob = pair
    wire = alice.seal_text("bob", TEXT)
    key_ids = msgspec.msgpack.decode(wire, type=SealedText).key_ids
    with pytest.raises(MessageRejected, match="another number of keys"):
        bob.open(msgspec.msgpack.encode(SealedFile("alice", "bob", key_ids[:1], [])), "alice")
    assert bob.open(wire, "alice") == TEXT


def test_keys_out_of_order_or_twice_cost_no_key(pair: tuple[Correspondent, Correspondent]) -> None:
    alice, bob = pair
    wire = alice.seal_text("bob", TEXT)
    key_ids = msgspec.msgpack.decode(wire, type=SealedText).key_ids
    for changed in (key_ids[::-1], [key_ids[0], *key_ids[:-1]]):
        with pytest.raises(MessageRejected, match="in order"):
            bob.open(change(wire, SealedText, key_ids=changed), "alice")
    assert bob.open(wire, "alice") == TEXT


def test_a_known_text_does_not_help_to_forge_another(pair: tuple[Correspondent, Correspondent]) -> None:
    """Who knows the text knows the pad, and may try every pair of its halves as the key of a tag."""
    alice, bob = pair
    sealed = msgspec.msgpack.decode(alice.seal_text("bob", TEXT), type=SealedText)
    pad = exclusive_or(TEXT.encode(), sealed.ciphertext)
    forged = SealedText("alice", "bob", sealed.key_ids[:2], exclusive_or(b"forged", pad[:6]), b"")
    said = [msgspec.msgpack.encode(forged)]
    with pytest.raises(MessageRejected, match="tag does not fit"):
        bob.open(msgspec.msgpack.encode(msgspec.structs.replace(forged, tag=one_time_tag(pad[:32], said))), "alice")


@pytest.mark.parametrize("sender", ["bob", "eve", ""])
def test_a_message_from_another_than_expected_costs_no_key(pair: tuple[Correspondent, Correspondent], sender: str) -> None:
    alice, bob = pair
    wire = alice.seal_text("bob", TEXT)
    with pytest.raises(MessageRejected, match="not a message from"):
        bob.open(wire, sender)
    assert bob.open(wire, "alice") == TEXT


@pytest.mark.parametrize(
    "wire", [b"", b"\x00", b"\xff" * 50, msgspec.msgpack.encode({"type": "text"}), b"\x81\xa4type\xa4\xff\xff\xff\xff"]
)
def test_noise_is_rejected(pair: tuple[Correspondent, Correspondent], wire: bytes) -> None:
    with pytest.raises(MessageRejected, match="not a sealed message"):
        pair[1].open(wire, "alice")


def test_another_number_of_keys_than_needed_costs_no_key(pair: tuple[Correspondent, Correspondent]) -> None:
    alice, bob = pair
    wire = alice.seal_text("bob", TEXT)
    more = [*msgspec.msgpack.decode(wire, type=SealedText).key_ids, uuid4()]
    with pytest.raises(MessageRejected, match="another number of keys"):
        bob.open(change(wire, SealedText, key_ids=more), "alice")
    assert bob.open(wire, "alice") == TEXT


@pytest.mark.parametrize("text", ["", "x" * (TEXT_LIMIT_BYTE + 1), "\ud800"])
def test_a_text_that_cannot_be_sent_is_refused_before_keys_are_fetched(pair: tuple[Correspondent, Correspondent], text: str) -> None:
    with pytest.raises(InputError, match="message"):
        pair[0].seal_text("bob", text)
    assert pair[0]._client.status("bob").stored_key_count == 40


@pytest.mark.parametrize("size", [0, FILE_LIMIT_BYTE + 1])
def test_a_file_that_cannot_be_sent_is_refused(pair: tuple[Correspondent, Correspondent], size: int) -> None:
    with pytest.raises(InputError, match="file"):
        pair[0].seal_file("bob", bytes(size))


def test_more_text_than_keys_is_refused(pair: tuple[Correspondent, Correspondent]) -> None:
    with pytest.raises(RemoteRefused, match="503"):
        pair[0].seal_text("bob", "x" * 1000)


@pytest.mark.parametrize(("length", "keys"), [(1, 2), (32, 2), (33, 3), (160, 10)])
def test_keys_for_a_text(length: int, keys: int) -> None:
    assert keys_for_text("x" * length) == keys
