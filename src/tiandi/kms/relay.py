"""Carrying keys over a node that both sides trust: one-time pad and information-theoretic tag, every byte paid from link key.

*Relay*: the keys are encrypted with link key of one hop, and decrypted and encrypted again at every node on the way.
*Hand-over*: a satellite holds key K_A with one station and K_B with another. It tells B the exclusive or of the two, so that B
learns K_A and whoever overhears learns nothing (Liao et al. 2018, doi:10.1103/PhysRevLett.120.030501). A and B then share K_A.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec

from tiandi.bits import exclusive_or
from tiandi.errors import InputError
from tiandi.kms.etsi014 import KEY_SIZE_BIT, MAX_KEY_PER_REQUEST
from tiandi.kms.store import KeyStore, Segment
from tiandi.tags import TAG_KEY_BYTE, one_time_tag, verify_one_time_tag
from tiandi.units import byte_from_bit


class RelayRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Keys on one hop. Everything but the keys travels in the clear; ``route`` lists every KME from the master's to the slave's."""

    key_ids: Annotated[list[UUID], msgspec.Meta(min_length=1, max_length=MAX_KEY_PER_REQUEST)]
    master: str
    slave: str
    route: list[str]
    segments: list[Segment]
    ciphertext: bytes
    tag: bytes


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


def _said(sender: str, receiver: str, message: RelayRequest | HandOver) -> list[bytes]:
    """What a tag covers: both names and every field but the tag itself."""
    unsigned = msgspec.structs.replace(message, tag=b"")
    return [sender.encode(), receiver.encode(), msgspec.msgpack.encode(unsigned)]


def encrypt_hop(store: KeyStore, receiver: str, keys: bytes, request: RelayRequest) -> RelayRequest:
    """``request`` with ``keys`` for the next node, under link key spent with it. Raises KeysExhausted when there is too little."""
    [(spent, segments)] = store.spend((receiver, len(keys) + TAG_KEY_BYTE))
    request = msgspec.structs.replace(request, segments=segments, ciphertext=exclusive_or(keys, spent[: len(keys)]), tag=b"")
    return msgspec.structs.replace(request, tag=one_time_tag(spent[len(keys) :], _said(store.kme, receiver, request)))


def decrypt_hop(store: KeyStore, sender: str, request: RelayRequest) -> bytes:
    """Keys from the node before. The link key named is spent whatever comes of it.

    Raises InputError when lengths do not fit, KeyNotFound when the link key is spent or unknown, AuthenticationFailed when the tag
    does not fit.
    """
    length = len(request.ciphertext)
    named = sum(segment.length for segment in request.segments)
    if length != len(request.key_ids) * byte_from_bit(KEY_SIZE_BIT) or named != length + TAG_KEY_BYTE:
        raise InputError("ciphertext", length, f"must hold {len(request.key_ids)} keys, and segments {TAG_KEY_BYTE} bytes more")
    spent = store.spend_segments(sender, request.segments)
    verify_one_time_tag(spent[length:], _said(sender, store.kme, request), request.tag)
    return exclusive_or(request.ciphertext, spent[:length])


def prepare_hand_over(store: KeyStore, station_a: str, station_b: str, block_id: UUID, length_byte: int) -> tuple[HandOver, HandOver]:
    """What a satellite tells A and B. Raises KeysExhausted when its key with either is too short; then none is spent.

    The satellite's copies are gone from its store when this returns.
    """
    (key_a, segments_a), (tag_key_a, tag_segments_a), (key_b, segments_b), (tag_key_b, tag_segments_b) = store.spend(
        (station_a, length_byte), (station_a, TAG_KEY_BYTE), (station_b, length_byte), (station_b, TAG_KEY_BYTE)
    )
    to_a = HandOver(block_id=block_id, peer=station_b, own_segments=segments_a, announcement=b"", tag_segments=tag_segments_a, tag=b"")
    to_b = HandOver(
        block_id=block_id,
        peer=station_a,
        own_segments=segments_b,
        announcement=exclusive_or(key_a, key_b),
        tag_segments=tag_segments_b,
        tag=b"",
    )
    return (
        msgspec.structs.replace(to_a, tag=one_time_tag(tag_key_a, _said(store.kme, station_a, to_a))),
        msgspec.structs.replace(to_b, tag=one_time_tag(tag_key_b, _said(store.kme, station_b, to_b))),
    )


def accept_hand_over(store: KeyStore, satellite: str, message: HandOver, *, is_a: bool) -> None:
    """Store the block that a satellite made this station share with ``message.peer``; A sends under the first half, B under the second.

    Raises KeyNotFound when key named is spent or unknown, AuthenticationFailed when the tag does not fit, InputError when lengths
    do not fit; the key is spent even so.
    """
    tag_key = store.spend_segments(satellite, message.tag_segments)
    own_key = store.spend_segments(satellite, message.own_segments)
    verify_one_time_tag(tag_key, _said(satellite, store.kme, message), message.tag)
    if len(message.announcement) != (0 if is_a else len(own_key)):
        raise InputError("announcement", len(message.announcement), "must be as long as the key it hides, and empty for station A")
    block = own_key if is_a else exclusive_or(own_key, message.announcement)
    store.add_block(message.peer, message.block_id, block, "first" if is_a else "second")
