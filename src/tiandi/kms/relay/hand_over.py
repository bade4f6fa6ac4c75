"""Hand-over: a satellite makes two stations share key (Liao et al. 2018, doi:10.1103/PhysRevLett.120.030501).

The satellite holds key K_A with one station and K_B with another. It tells B the exclusive or of the two, so that B learns K_A and
whoever overhears learns nothing. A and B then share K_A, and compare it as they would a block of a QKD link between them.

What the satellite is to tell them is in its store with the transaction that takes the keys out of it, and is told until both stations
have answered, however long it takes until it sees them; a station knows a block that it has already.
"""

# ruff: noqa: S608 - what is put into statements is constant.

from __future__ import annotations

from uuid import UUID

import msgspec

from tiandi.bits import exclusive_or
from tiandi.errors import InputError
from tiandi.kms.keys import Segment
from tiandi.kms.relay import patience
from tiandi.kms.relay.passing import never_claimed_ms
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.link_keys import LinkKeys
from tiandi.tags import TAG_KEY_BYTE, one_time_tag, verify_one_time_tag

MOST_CLAIMED = 64

SCHEMA = """
CREATE TABLE hand_over (
    block_id BLOB NOT NULL, station TEXT NOT NULL, state TEXT NOT NULL, claimed_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL,
    message BLOB, PRIMARY KEY (block_id, station)
) STRICT;
CREATE INDEX hand_over_waiting ON hand_over (claimed_ms) WHERE state = 'waiting';
CREATE INDEX hand_over_age ON hand_over (created_ms);
"""


class HandOver(msgspec.Struct, frozen=True, kw_only=True):
    """From a satellite: the receiver and ``peer`` share a new block.

    Station A knows the block already: it is ``own_segments`` of its key with the satellite. To station B ``announcement`` is
    K_A xor K_B, and ``own_segments`` are the ranges of K_B. ``tag_segments`` pay for the tag.
    """

    block_id: UUID
    peer: str
    own_segments: list[Segment]
    announcement: bytes
    tag_segments: list[Segment]
    tag: bytes


def _said(satellite: str, station: str, message: HandOver) -> list[bytes]:
    """What a tag covers: both names and every field but the tag itself."""
    return [satellite.encode(), station.encode(), msgspec.msgpack.encode(msgspec.structs.replace(message, tag=b""))]


async def prepare_hand_over(
    transaction: Transaction, link_keys: LinkKeys, satellite: str, stations: tuple[str, str], *, block_id: UUID, length_byte: int,
    claim_ms: int,
) -> tuple[HandOver, HandOver]:  # fmt: skip
    """What a satellite tells stations A and B, the caller's to send until ``claim_ms``; its keys are gone from its store with the
    transaction, in which both messages wait to be sent.

    Raises KeysExhausted when its key with either is too short.
    """
    what = f"hand-over {block_id}"
    (key_a, segments_a), (key_b, segments_b) = [await link_keys.spend(transaction, station, length_byte, what=what) for station in stations]
    messages = []
    for station, peer, segments, announcement in (
        (stations[0], stations[1], segments_a, b""),
        (stations[1], stations[0], segments_b, exclusive_or(key_a, key_b)),
    ):
        tag_key, tag_segments = await link_keys.spend(transaction, station, TAG_KEY_BYTE, what=what)
        message = HandOver(
            block_id=block_id, peer=peer, own_segments=segments, announcement=announcement, tag_segments=tag_segments, tag=b""
        )
        message = msgspec.structs.replace(message, tag=one_time_tag(tag_key, _said(satellite, station, message)))
        messages.append(message)
        await transaction.rows(
            "INSERT INTO hand_over (block_id, station, state, claimed_ms, created_ms, message) VALUES ($1, $2, 'waiting', $3, $4, $5)",
            block_id.bytes,
            station,
            claim_ms,
            ledger.now_ms(),
            msgspec.msgpack.encode(message),
        )
    return messages[0], messages[1]


async def claim_hand_overs(transaction: Transaction, *, now_ms: int, claim_ms: int) -> list[tuple[str, HandOver]]:
    """What nobody is telling, now the caller's to tell until ``claim_ms``: station and message."""
    rows = await transaction.rows(
        "SELECT block_id, station, message FROM hand_over WHERE state = 'waiting' AND (claimed_ms < $1 OR claimed_ms > $2)"
        f" ORDER BY claimed_ms LIMIT {MOST_CLAIMED} FOR UPDATE SKIP LOCKED",
        now_ms,
        never_claimed_ms(now_ms, claim_ms),
    )
    for block_id, station, _ in rows:
        await transaction.rows("UPDATE hand_over SET claimed_ms = $3 WHERE block_id = $1 AND station = $2", block_id, station, claim_ms)
    return [(station, msgspec.msgpack.decode(message, type=HandOver)) for _, station, message in rows]


async def let_hand_over_go(transaction: Transaction, station: str, message: HandOver) -> None:
    """What a station did not answer is anybody's to tell it, after a while."""
    place, now_ms = (message.block_id.bytes, station), ledger.now_ms()
    for (created_ms,) in await transaction.rows("SELECT created_ms FROM hand_over WHERE block_id = $1 AND station = $2 FOR UPDATE", *place):
        rest_ms = patience.rest_ms(now_ms - created_ms)
        await transaction.rows("UPDATE hand_over SET claimed_ms = $3 WHERE block_id = $1 AND station = $2", *place, now_ms + rest_ms)


async def note_hand_over_sent(transaction: Transaction, station: str, message: HandOver, *, accepted: bool) -> None:
    """Note a station's answer: it is told no more."""
    await transaction.rows(
        "UPDATE hand_over SET state = $3, message = NULL WHERE block_id = $1 AND station = $2 AND state = 'waiting'",
        message.block_id.bytes,
        station,
        "sent" if accepted else "refused",
    )


async def accept_hand_over(
    transaction: Transaction, link_keys: LinkKeys, station: str, satellite: str, message: HandOver, *, is_a: bool
) -> None:
    """Store the block that a satellite made this station share with ``message.peer``; A sends under the first half, B under the second.

    Nothing is done for a block that is here already. Raises KeyNotFound when key named is spent or unknown, AuthenticationFailed when
    the tag does not fit, InputError when lengths do not fit.
    """
    if await link_keys.knows(transaction, message.block_id):
        return
    what = f"hand-over {message.block_id}"
    tag_key = await link_keys.spend_named(transaction, satellite, message.tag_segments, what=what)
    own_key = await link_keys.spend_named(transaction, satellite, message.own_segments, what=what)
    verify_one_time_tag(tag_key, _said(satellite, station, message), message.tag)
    if len(message.announcement) != (0 if is_a else len(own_key)):
        raise InputError("announcement", len(message.announcement), "must be as long as the key it hides, and empty for station A")
    block = own_key if is_a else exclusive_or(own_key, message.announcement)
    await link_keys.receive(transaction, message.peer, message.block_id, block, "first" if is_a else "second")
