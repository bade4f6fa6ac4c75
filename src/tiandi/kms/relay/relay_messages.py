"""What KMEs say to each other to relay supply keys, and what of it can stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import msgspec

from tiandi.errors import InputError
from tiandi.kms.keys import LARGEST_COUNT, PREFIX_BYTE, Segment
from tiandi.kms.store.supply_keys import Reservation
from tiandi.tags import TAG_KEY_BYTE
from tiandi.units import BIT_PER_BYTE

PAD_BYTE = 16
"""s, half of the confirmation's tag key, which travels with the keys."""
OVERHEAD_BIT = (PAD_BYTE + TAG_KEY_BYTE) * BIT_PER_BYTE
"""Link key that a reservation takes on every hop beside its keys [bit]; announced keys take no tag's key."""
LARGEST_RESERVATION_BYTE = 256 * 1024
LARGEST_ANNOUNCED_BYTE = 640 * 1024
"""All shares of announced keys together: a list of questions has to fit the door of the slave's KME."""
LARGEST_ROUTE = 64
LARGEST_EXTENSION_BYTE = 64 * 1024
MOST_SHARES = 16
MOST_SEGMENTS = 4096

Answer = Literal["ready", "unknown", "voided", "delivered"]
"""Of a slave's KME; "delivered" to one that is to void keys which a slave has taken already."""
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Route: TypeAlias = Annotated[list[Name], msgspec.Meta(min_length=2, max_length=LARGEST_ROUTE)]
ShareNumber: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=MOST_SHARES)]


class Place(msgspec.Struct, frozen=True):
    """A reservation by its identifier."""

    prefix: Annotated[bytes, msgspec.Meta(min_length=PREFIX_BYTE, max_length=PREFIX_BYTE)]
    first_index: Annotated[int, msgspec.Meta(ge=0, lt=LARGEST_COUNT)]


class RelayMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One share of a reservation's keys on one hop; ``route`` lists every KME from the master's to the slave's.

    When the keys are ``announced`` it only names the ranges that are spent on this hop: ciphertext and tag are empty.
    """

    reservation: Reservation
    share: ShareNumber
    route: Route
    segments: Annotated[list[Segment], msgspec.Meta(max_length=MOST_SEGMENTS)]
    ciphertext: bytes
    tag: bytes
    announced: bool = False

    @property
    def target(self) -> str:
        """The KME at the end of the route."""
        return self.route[-1]


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """A node on the way tells the slave's KME the exclusive or of its pads with the node before and with the node behind."""

    reservation: Reservation
    share: ShareNumber
    route: Route
    difference: bytes

    @property
    def target(self) -> str:
        """The KME at the end of the route."""
        return self.route[-1]


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """The master's KME asks the slave's whether it holds these keys; ``nonce`` and the pad that travelled with them make the tag's key."""

    reservation: Reservation
    threshold: Annotated[int, msgspec.Meta(ge=1, le=MOST_SHARES)]
    last_hops: Annotated[list[Name], msgspec.Meta(min_length=1, max_length=MOST_SHARES)]
    """From whom each share comes to the slave's KME."""
    nonce: bytes
    tag: bytes
    kem_public: bytes = b""
    kem_ciphertext: bytes = b""
    ciphertexts: Annotated[list[bytes], msgspec.Meta(max_length=MOST_SHARES)] = []
    """Of announced keys: each share under the pad of its first hop."""


Parcel: TypeAlias = RelayMessage | Announcement
"""What a node sends to another until it is answered."""


@dataclass(frozen=True)
class Way:
    """How keys reach one KME: node-disjoint routes, how many of them are enough, the KME's ML-KEM key if it is to be used, and whether
    the nodes on the way announce differences of pads instead of passing the keys on."""

    routes: Sequence[Sequence[str]]
    threshold: int
    kem_public: bytes = b""
    announced: bool = False


@dataclass(frozen=True)
class Departure:
    """What is to be sent once the transaction that made it is committed."""

    relays: list[tuple[str, RelayMessage]]
    confirmations: list[tuple[str, Confirmation]]


def relay_cost_bit(reservation: Reservation) -> int:
    """Link key that a reservation takes on every hop of every route, at most [bit]."""
    return reservation.length_byte * BIT_PER_BYTE + OVERHEAD_BIT


def require_reservation(r: Reservation) -> None:
    """Raise InputError unless what a peer says of a reservation can stand."""
    if not 1 <= r.count <= LARGEST_COUNT or not 0 <= r.first_index <= LARGEST_COUNT - r.count:
        raise InputError("count", r.count, f"must be 1 to {LARGEST_COUNT} with its first index")
    if r.size_bit < BIT_PER_BYTE or r.size_bit % BIT_PER_BYTE or r.length_byte > LARGEST_RESERVATION_BYTE:
        raise InputError("size_bit", r.size_bit, f"must be whole bytes, and all keys at most {LARGEST_RESERVATION_BYTE} bytes")
    if len(r.prefix) != PREFIX_BYTE:
        raise InputError("prefix", r.prefix.hex(), f"must be {PREFIX_BYTE} bytes")
    if not 1 <= r.paths <= MOST_SHARES or not 0 <= r.hops <= LARGEST_ROUTE or len(r.extension) > LARGEST_EXTENSION_BYTE:
        raise InputError("paths, hops, extension", [r.paths, r.hops, len(r.extension)], "must fit a route of this network")
    if not r.slaves or len(set(r.slaves)) < len(r.slaves):
        raise InputError("slaves", r.slaves, "must be at least one, each once")


def said_on_hop(sender: str, receiver: str, message: RelayMessage) -> list[bytes]:
    """What a hop's tag covers: both names and every field but the tag itself."""
    return [sender.encode(), receiver.encode(), msgspec.msgpack.encode(msgspec.structs.replace(message, tag=b""))]


def confirmed(r: Reservation, keys: bytes) -> list[bytes]:
    """What the confirmation's tag covers."""
    return [msgspec.msgpack.encode(r), keys]


def share_context(r: Reservation, share: int) -> bytes:
    """What a share is sealed as: it opens nowhere else."""
    return b"share " + r.prefix + r.first_index.to_bytes(2, "big") + share.to_bytes(1, "big")


def share_place(parcel: Parcel) -> tuple[bytes, int, str, int, str]:
    """By what a share is found: prefix, first index, origin, number, target."""
    r = parcel.reservation
    return r.prefix, r.first_index, parcel.route[0], parcel.share, parcel.target
