"""The nodes on the way of a relay: each takes a share from the node before and has it on its way to the next before it answers.

On every hop a share is under a one-time pad and a one-time tag of link key; identifiers and names travel in the clear. Every node writes
down what it accepted, under the next hop's pad, before it answers, and sends it on until the next node has answered; a message that
comes twice is recognised.

Where a pair's policy says "announced", no node on the way forms the share. Each spends the pads of its two hops on it and tells the
slave's KME, over TLS, their exclusive or; only the ranges are named from hop to hop. The master's KME sends its share under the first
pad with its question, and the slave's takes the chain of differences off it, down to its own last pad. What that gains: no share is in
the memory of a node on the way, in its store or in what passes it, and a node that only reads what it is sent sees no key. What it does
not: every node knows a pad of the chain, so whoever has a node and hears the announcements as well, which TLS hides, computes the share.
A wrong announcement does not fit the confirmation's tag.
"""

# ruff: noqa: S608 - what is put into statements is constant.

from __future__ import annotations

import msgspec

from tiandi.bits import exclusive_or
from tiandi.errors import InputError, KeyNotFound
from tiandi.kms.keys import key_identifier
from tiandi.kms.relay import patience
from tiandi.kms.relay.answering import EndNode
from tiandi.kms.relay.relay_messages import PAD_BYTE, Announcement, Parcel, RelayMessage, said_on_hop, share_context, share_place
from tiandi.kms.states import State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.ledger import supply_stock
from tiandi.kms.store.supply_keys import Reservation
from tiandi.tags import TAG_KEY_BYTE, one_time_tag, verify_one_time_tag

MOST_CLAIMED = 64

SCHEMA = """
CREATE TABLE relay (
    prefix BLOB NOT NULL, first_index INTEGER NOT NULL, share INTEGER NOT NULL, target TEXT NOT NULL, state TEXT NOT NULL,
    receiver TEXT NOT NULL, claimed_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL, message BLOB, sealed BLOB,
    origin TEXT NOT NULL, sender TEXT NOT NULL, route TEXT NOT NULL,
    PRIMARY KEY (prefix, first_index, origin, share, target, sender)
) STRICT;
CREATE INDEX relay_waiting ON relay (claimed_ms) WHERE state = 'waiting';
CREATE INDEX relay_age ON relay (created_ms);
CREATE TABLE announcement (
    prefix BLOB NOT NULL, first_index INTEGER NOT NULL, origin TEXT NOT NULL, share INTEGER NOT NULL, target TEXT NOT NULL,
    sender TEXT NOT NULL, state TEXT NOT NULL, claimed_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL, message BLOB,
    PRIMARY KEY (prefix, first_index, origin, share, target, sender)
) STRICT;
CREATE INDEX announcement_waiting ON announcement (claimed_ms) WHERE state = 'waiting';
CREATE INDEX announcement_age ON announcement (created_ms);
"""
_OF_SHARE = "prefix = $1 AND first_index = $2 AND origin = $3 AND share = $4 AND target = $5"


class WayNode(EndNode):
    """A KME as a node on the way, too. Every method is part of the caller's transaction."""

    async def accept(self, transaction: Transaction, sender: str, message: RelayMessage, *, claim_ms: int) -> list[tuple[str, Parcel]]:
        """Take a share from the node before: keep it if it ends here; else returns what is to be sent on, and to whom.

        Nothing is done for one that came before. Raises KeyNotFound, AuthenticationFailed or InputError when the message is not good;
        the caller then destroys the link key that it named. Raises KeysExhausted when there is too little for the next hop.
        """
        r = message.reservation
        if not await self._note(transaction, message, sender):
            return []
        is_end = message.target == self._kme_id
        # Where it ends, whoever confirms or voids it at the same time must see the share, or this must see what they did.
        find = self._arrival if is_end else self._arrival_state
        state = await find(transaction, r.prefix, r.first_index, message.route[0])
        if state == "voided":
            raise KeyNotFound("this reservation was voided")
        share = await self._open(transaction, sender, message)
        if is_end:
            await self._keep_share(transaction, sender, message, share if state == "unknown" else None)
            return []
        receiver = message.route[message.route.index(self._kme_id) + 1]
        if message.announced:
            return await self._announce(transaction, sender, message, share, receiver, claim_ms=claim_ms)
        onward = await self._send_on(transaction, message, share, receiver, sender=sender, claim_ms=claim_ms)
        stock = supply_stock(r.master, r.slaves[0], "relay", r.size_bit)
        bit = r.count * r.size_bit
        await ledger.move(transaction, stock, None, State.HELD, bit, what=str(key_identifier(r.prefix, r.first_index)))
        await ledger.move(transaction, stock, State.HELD, State.RELAYED, bit, what=f"to {receiver}")
        return [(receiver, onward)]

    async def _open(self, transaction: Transaction, sender: str, message: RelayMessage) -> bytes:
        """The share; of announced keys the pad of this hop."""
        length = message.reservation.length_byte + PAD_BYTE
        named = sum(segment.length for segment in message.segments)
        fits = (0, length) if message.announced else (length, length + TAG_KEY_BYTE)
        if (len(message.ciphertext), named) != fits:
            raise InputError("ciphertext and its link key", [len(message.ciphertext), named], f"must have {fits[0]} and {fits[1]} bytes")
        pad = await self._link_keys.spend_named(transaction, sender, message.segments, what=_what(message.reservation))
        if message.announced:
            return pad
        verify_one_time_tag(pad[length:], said_on_hop(sender, self._kme_id, message), message.tag)
        return exclusive_or(message.ciphertext, pad[:length])

    async def _keep_share(self, transaction: Transaction, sender: str, message: RelayMessage, share: bytes | None) -> None:
        """Hold a share that ends here; one that comes when all is settled is not kept."""
        r = message.reservation
        await transaction.rows(
            f"UPDATE relay SET state = $7, sealed = $8, message = $9, route = $10 WHERE {_OF_SHARE} AND sender = $6",
            *share_place(message),
            sender,
            "done" if share is None else "held",
            None if share is None else self._sealer.seal(share, share_context(r, message.share)),
            None if share is None else msgspec.msgpack.encode(r),
            msgspec.json.encode(message.route).decode() if message.announced else "",
        )

    async def _send_on(
        self, transaction: Transaction, message: RelayMessage, share: bytes, receiver: str, *, claim_ms: int, sender: str = ""
    ) -> RelayMessage:
        """Encrypt a share for the next node and write it down as waiting to be sent."""
        spend, what = self._link_keys.spend, _what(message.reservation)
        pad, segments = await spend(transaction, receiver, len(share) + TAG_KEY_BYTE, what=what)
        message = msgspec.structs.replace(message, segments=segments, ciphertext=exclusive_or(share, pad[: len(share)]), tag=b"")
        message = msgspec.structs.replace(message, tag=one_time_tag(pad[len(share) :], said_on_hop(self._kme_id, receiver, message)))
        await self._let_wait(transaction, message, receiver, claim_ms=claim_ms, sender=sender)
        return message

    async def _name_on(
        self, transaction: Transaction, message: RelayMessage, receiver: str, *, claim_ms: int, sender: str = ""
    ) -> tuple[RelayMessage, bytes]:
        """Spend a pad with the next node on a share of announced keys; what names its ranges, written down as waiting, and the pad."""
        r = message.reservation
        pad, segments = await self._link_keys.spend(transaction, receiver, r.length_byte + PAD_BYTE, what=_what(r))
        message = msgspec.structs.replace(message, segments=segments)
        await self._let_wait(transaction, message, receiver, claim_ms=claim_ms, sender=sender)
        return message, pad

    async def _announce(
        self, transaction: Transaction, sender: str, message: RelayMessage, pad: bytes, receiver: str, *, claim_ms: int
    ) -> list[tuple[str, Parcel]]:
        onward, next_pad = await self._name_on(transaction, message, receiver, claim_ms=claim_ms, sender=sender)
        announcement = Announcement(
            reservation=message.reservation, share=message.share, route=message.route, difference=exclusive_or(pad, next_pad)
        )
        await transaction.rows(
            "INSERT INTO announcement (prefix, first_index, origin, share, target, sender, state, claimed_ms, created_ms, message)"
            " VALUES ($1, $2, $3, $4, $5, $6, 'waiting', $7, $8, $9)",
            *share_place(announcement),
            self._kme_id,
            claim_ms,
            ledger.now_ms(),
            msgspec.msgpack.encode(announcement),
        )
        return [(receiver, onward), (announcement.target, announcement)]

    # What waits to be sent.

    async def _note(self, transaction: Transaction, message: RelayMessage, sender: str) -> bool:
        """Write down that a share came; false when it came before."""
        return bool(
            await transaction.rows(
                "INSERT INTO relay (prefix, first_index, origin, share, target, sender, state, receiver, claimed_ms, created_ms, route)"
                " VALUES ($1, $2, $3, $4, $5, $6, 'new', '', 0, $7, '') ON CONFLICT DO NOTHING RETURNING 1",
                *share_place(message),
                sender,
                ledger.now_ms(),
            )
        )

    async def _let_wait(self, transaction: Transaction, message: RelayMessage, receiver: str, *, claim_ms: int, sender: str) -> None:
        await transaction.rows(
            f"UPDATE relay SET state = 'waiting', receiver = $7, claimed_ms = $8, message = $9 WHERE {_OF_SHARE} AND sender = $6",
            *share_place(message),
            sender,
            receiver,
            claim_ms,
            msgspec.msgpack.encode(message),
        )

    async def sent(self, transaction: Transaction, parcel: Parcel, *, accepted: bool) -> None:
        """Note the receiver's answer; what it refused is destroyed."""
        await transaction.rows(
            f"UPDATE {_table(parcel)} SET state = $6, message = NULL WHERE {_OF_SHARE} AND state = 'waiting'",
            *share_place(parcel),
            "sent" if accepted else "refused",
        )

    async def let_go(self, transaction: Transaction, parcel: Parcel) -> bool:
        """What was not answered is anybody's to send, after a while; false when it is to be sent no more."""
        query = f"SELECT created_ms FROM {_table(parcel)} WHERE {_OF_SHARE} AND state = 'waiting' FOR UPDATE"
        rows = await transaction.rows(query, *share_place(parcel))
        now_ms = ledger.now_ms()
        for (created_ms,) in rows:
            await transaction.rows(
                f"UPDATE {_table(parcel)} SET claimed_ms = $6 WHERE {_OF_SHARE} AND state = 'waiting'",
                *share_place(parcel),
                now_ms + patience.rest_ms(now_ms - created_ms),
            )
        return bool(rows)

    async def is_waiting(self, transaction: Transaction, parcel: Parcel) -> bool:
        """Whether it is still to be sent."""
        query = f"SELECT 1 FROM {_table(parcel)} WHERE {_OF_SHARE} AND state = 'waiting'"
        return bool(await transaction.rows(query, *share_place(parcel)))

    async def claim_waiting(self, transaction: Transaction, *, now_ms: int, claim_ms: int) -> list[tuple[str, Parcel]]:
        """What nobody is sending, now the caller's to send until ``claim_ms``: receiver and message."""
        found: list[tuple[str, Parcel]] = []
        kinds: list[tuple[str, str, type[Parcel]]] = [("relay", "receiver", RelayMessage), ("announcement", "target", Announcement)]
        for table, receiver_column, kind in kinds:
            rows = await transaction.rows(
                f"SELECT {receiver_column}, message FROM {table} WHERE state = 'waiting' AND (claimed_ms < $1 OR claimed_ms > $2)"
                f" ORDER BY claimed_ms LIMIT {MOST_CLAIMED} FOR UPDATE SKIP LOCKED",
                now_ms,
                never_claimed_ms(now_ms, claim_ms),
            )
            claimed = [(receiver, msgspec.msgpack.decode(message, type=kind)) for receiver, message in rows]
            for _, parcel in claimed:
                await transaction.rows(
                    f"UPDATE {table} SET claimed_ms = $6 WHERE {_OF_SHARE} AND state = 'waiting'", *share_place(parcel), claim_ms
                )
            found += claimed
        return found


def never_claimed_ms(now_ms: int, claim_ms: int) -> int:
    """Nobody claims so far ahead: a claim beyond was made before the clock was set back, and has lapsed."""
    return claim_ms + 2 * (claim_ms - now_ms)


def _table(parcel: Parcel) -> str:
    return "relay" if isinstance(parcel, RelayMessage) else "announcement"


def _what(r: Reservation) -> str:
    return f"relay {key_identifier(r.prefix, r.first_index)}"
