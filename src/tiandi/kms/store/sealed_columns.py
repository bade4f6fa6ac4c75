"""Every column that holds something sealed: what `sealing.retire` seals anew, and what an audit opens."""

from __future__ import annotations

from tiandi.kms.interworking import incoming
from tiandi.kms.relay import kem_keys
from tiandi.kms.relay.relay_messages import share_context
from tiandi.kms.sources import offers
from tiandi.kms.store import link_keys, supply_keys
from tiandi.kms.store.sealing import SealedColumn


def _link_key(peer: str, block_id: bytes, start: int) -> bytes:
    return link_keys._context(peer, block_id, start)


def _supply_keys(prefix: bytes, first_index: int, role: str, slave: str) -> bytes:
    return supply_keys._context(prefix, first_index, "master" if role == "master" else "slave", slave)


def _share(prefix: bytes, first_index: int, share: int) -> bytes:
    nobodys = supply_keys.Reservation(prefix=prefix, master="", slaves=[], size_bit=0, count=0, first_index=first_index)
    return share_context(nobodys, share)


def _kem_key() -> bytes:
    return kem_keys._CONTEXT


_RESERVATION = ("prefix", "first_index", "role", "slave")
_RELAY = ("prefix", "first_index", "origin", "share", "target", "sender")

SEALED_COLUMNS = (
    SealedColumn("link_key", "sealed", ("block_id", "start"), ("peer", "block_id", "start"), _link_key),
    SealedColumn("reservation", "sealed", _RESERVATION, _RESERVATION, _supply_keys),
    SealedColumn("relay", "sealed", _RELAY, ("prefix", "first_index", "share"), _share),
    SealedColumn("kem_key", "sealed", ("public",), (), _kem_key),
    offers.SEALED,
    incoming.SEALED,
)
