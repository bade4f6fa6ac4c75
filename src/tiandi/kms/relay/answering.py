"""The slave's end of a relay: shares that came are kept until the master's KME confirms them, and its word decides what becomes of them.

A slave's KME supplies nothing that was not confirmed: the master's KME tells it a tag, Poly1305 under (r, s), where s travelled with
the keys and r is told only now, so that no relay could choose other keys to fit it (Bernstein 2005, doi:10.1007/11502760_3).
"""

# ruff: noqa: S608 - what is put into statements is constant.

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Protocol

import msgspec

from tiandi.bits import exclusive_or
from tiandi.errors import AuthenticationFailed, InputError, KeyNotFound
from tiandi.kms.relay import sharing
from tiandi.kms.relay.hybrid import Context, KemKeys, Mask, decapsulate
from tiandi.kms.relay.relay_messages import PAD_BYTE, Announcement, Answer, Confirmation, confirmed, share_context, share_place
from tiandi.kms.states import State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.link_keys import LinkKeys
from tiandi.kms.store.sealing import Sealer
from tiandi.kms.store.supply_keys import Reservation, SupplyKeys
from tiandi.tags import verify_one_time_tag

MOST_ATTEMPTS = 64

SCHEMA = """
CREATE TABLE arrival (
    prefix BLOB NOT NULL, first_index INTEGER NOT NULL, origin TEXT NOT NULL, state TEXT NOT NULL, created_ms INTEGER NOT NULL,
    PRIMARY KEY (prefix, first_index, origin)
) STRICT;
CREATE INDEX arrival_age ON arrival (created_ms);
"""


class Beyond(Protocol):
    """Takes keys on beyond this network. Every method is part of the caller's transaction."""

    def is_beyond(self, slave: str) -> bool:
        """Whether that SAE is of another network."""
        ...

    async def hold(self, transaction: Transaction, reservation: Reservation, origin: str) -> None:
        """Send on a reservation of ``origin`` that is held here for the slaves of other networks among its own."""
        ...

    def wake(self) -> None:
        """Something was held, or is to be voided: begin, once that is committed."""
        ...

    async def void(self, transaction: Transaction, prefix: bytes, first_index: int) -> Answer:
        """Have a reservation voided by whoever took it on: "unknown" as long as not everybody has answered."""
        ...


class EndNode:
    """A KME as the end of routes. Every method is part of the caller's transaction."""

    def __init__(self, kme_id: str, sealer: Sealer, link_keys: LinkKeys, supply_keys: SupplyKeys) -> None:
        self._kme_id = kme_id
        self._sealer = sealer
        self._link_keys = link_keys
        self._supply_keys = supply_keys
        self.beyond: Beyond | None = None

    async def take_announcement(self, transaction: Transaction, sender: str, announcement: Announcement) -> None:
        """Keep what a node on the way announces; the first time counts. Raises InputError, or KeyNotFound for what was voided."""
        r = announcement.reservation
        if len(announcement.difference) != r.length_byte + PAD_BYTE:
            raise InputError("difference", len(announcement.difference), f"must be {r.length_byte + PAD_BYTE} bytes")
        state = await self._arrival(transaction, r.prefix, r.first_index, announcement.route[0])
        if state == "voided":
            raise KeyNotFound("this reservation was voided")
        await transaction.rows(
            "INSERT INTO announcement (prefix, first_index, origin, share, target, sender, state, claimed_ms, created_ms, message)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9) ON CONFLICT DO NOTHING",
            *share_place(announcement),
            sender,
            "held" if state == "unknown" else "done",
            ledger.now_ms(),
            announcement.difference if state == "unknown" else None,
        )

    async def confirm(self, transaction: Transaction, sender_kme: str, question: Confirmation, kem_keys: Mapping[bytes, KemKeys]) -> Answer:
        """Answer the master's KME. "ready" is said once the keys are in the store, and again whenever it is asked."""
        r = question.reservation
        state = await self._arrival(transaction, r.prefix, r.first_index, sender_kme)
        if state != "unknown":
            return "ready" if state == "ready" else "voided" if state == "voided" else "unknown"
        if any(role == "slave" for role, _, _ in await self._supply_keys.find(transaction, r.prefix, r.first_index)):
            await self.void(transaction, sender_kme, r.prefix, r.first_index)
            return "voided"  # Another KME has taken these identifiers.
        shares = await self._shares(transaction, sender_kme, question)
        if len(shares) < question.threshold:
            return "unknown"
        keys = self._join(sender_kme, question, shares, kem_keys)
        if keys is None:
            if len(shares) < len(question.last_hops):
                return "unknown"  # A share that is still on its way may replace one that was changed.
            await self.void(transaction, sender_kme, r.prefix, r.first_index)
            return "voided"
        return await self._keep(transaction, r, sender_kme, keys)

    async def _shares(self, transaction: Transaction, origin: str, question: Confirmation) -> dict[int, bytes]:
        """The shares that are here, by their numbers."""
        r = question.reservation
        rows = await transaction.rows(
            "SELECT share, sender, route, sealed FROM relay WHERE prefix = $1 AND first_index = $2 AND origin = $3 AND target = $4"
            " AND state = 'held' AND message = $5 ORDER BY share FOR UPDATE",
            r.prefix,
            r.first_index,
            origin,
            self._kme_id,
            msgspec.msgpack.encode(r),
        )
        await self._sealer.ensure(transaction, [sealed for *_, sealed in rows])
        shares: dict[int, bytes] = {}
        for share, sender, route, sealed in rows:
            if share >= len(question.last_hops) or question.last_hops[share] != sender:
                continue
            opened = self._sealer.open(sealed, share_context(r, share))
            if question.ciphertexts:
                links = await self._chain(transaction, r, share, origin, route)
                if links is not None and share < len(question.ciphertexts):
                    shares[share] = _joined([question.ciphertexts[share], *links, opened])
            elif not route:
                shares[share] = opened
        return shares

    async def _chain(self, transaction: Transaction, r: Reservation, share: int, origin: str, route: str) -> list[bytes] | None:
        """What the nodes on a share's way have announced; None as long as one has not, or when the share is none of announced keys."""
        if not route:
            return None
        rows = await transaction.rows(
            "SELECT sender, message FROM announcement WHERE prefix = $1 AND first_index = $2 AND origin = $3 AND share = $4"
            " AND target = $5 AND state = 'held'",
            r.prefix,
            r.first_index,
            origin,
            share,
            self._kme_id,
        )
        announced: dict[str, bytes] = dict(rows)
        nodes = msgspec.json.decode(route, type=list[str])[1:-1]
        return [announced[node] for node in nodes] if announced.keys() >= set(nodes) else None

    async def _keep(self, transaction: Transaction, r: Reservation, origin: str, keys: bytes) -> Answer:
        """Store what was confirmed; for SAEs of other networks it is held until those have it."""
        foreign = self._foreign(r.slaves)
        for slave in r.slaves:
            await self._supply_keys.add(transaction, r, "slave", slave, keys=keys, state=State.HELD if slave in foreign else State.READY)
        await self._forget(transaction, r.prefix, r.first_index, origin)
        if foreign:
            await self._hold(transaction, r, origin)
            return "unknown"
        await self._set_arrival(transaction, r.prefix, r.first_index, origin, "ready")
        return "ready"

    def _join(self, sender: str, question: Confirmation, shares: dict[int, bytes], kem_keys: Mapping[bytes, KemKeys]) -> bytes | None:
        """The keys, from shares that fit the tag; None when no shares do."""
        r = question.reservation
        mask: Mask | None = None
        if question.kem_public:
            if question.kem_public not in kem_keys:
                return None
            mask = decapsulate(kem_keys[question.kem_public], question.kem_ciphertext, kem_context(r, sender, self._kme_id))
        length = r.length_byte + PAD_BYTE
        good = {number: share for number, share in shares.items() if len(share) == length}
        for attempt in range(MOST_ATTEMPTS):
            if len(good) < question.threshold:
                break
            # A share that was changed spoils every choice it is in; any choice without one will do.
            chosen = random.sample(sorted(good), question.threshold) if attempt else sorted(good)[: question.threshold]
            part = {number: good[number] for number in chosen}
            material = sharing.join(part, threshold=question.threshold, share_count=len(question.last_hops))
            material = mask.over(material) if mask else material
            keys, pad = material[:-PAD_BYTE], material[-PAD_BYTE:]
            try:
                verify_one_time_tag(question.nonce + pad, confirmed(r, keys), question.tag)
            except AuthenticationFailed:
                if question.threshold == len(question.last_hops):
                    break
                continue
            return keys
        return None

    # Giving up.

    async def void(self, transaction: Transaction, origin: str, prefix: bytes, first_index: int) -> int:
        """Destroy a reservation of ``origin`` here, whatever of it has come or will come; returns the bits destroyed."""
        before = await self._arrival(transaction, prefix, first_index, origin)
        await self._set_arrival(transaction, prefix, first_index, origin, "voided")
        await self._forget(transaction, prefix, first_index, origin)
        if before not in {"ready", "held"}:
            return 0  # If these identifiers have keys here, they are another KME's.
        states = [State.RESERVED, State.UNCERTAIN, State.READY, State.HELD]
        return await self._supply_keys.change(transaction, prefix, first_index, states, State.VOIDED, role="slave")

    async def void_everywhere(self, transaction: Transaction, origin: str, prefix: bytes, first_index: int) -> Answer:
        """As `void`, also in the networks that the reservation was passed on to: "unknown" until they have answered."""
        before = await self._arrival(transaction, prefix, first_index, origin)
        await self.void(transaction, origin, prefix, first_index)
        if before == "unknown":
            return "voided"
        answer: Answer = "voided"
        if self.beyond is not None:
            answer = await self.beyond.void(transaction, prefix, first_index)
        taken = any(
            state == State.DELIVERED and role == "slave"
            for role, _, state in await self._supply_keys.find(transaction, prefix, first_index)
        )
        return "delivered" if taken and answer == "voided" else answer

    async def passed_on(self, transaction: Transaction, origin: str, prefix: bytes, first_index: int) -> None:
        """Everybody beyond this network has what was held here."""
        if await self._arrival(transaction, prefix, first_index, origin) == "held":
            await self._set_arrival(transaction, prefix, first_index, origin, "ready")

    def _foreign(self, slaves: Sequence[str]) -> list[str]:
        return [slave for slave in slaves if self.beyond is not None and self.beyond.is_beyond(slave)]

    async def _hold(self, transaction: Transaction, reservation: Reservation, origin: str) -> None:
        assert self.beyond is not None
        await self.beyond.hold(transaction, reservation, origin)
        await self._set_arrival(transaction, reservation.prefix, reservation.first_index, origin, "held")

    # How a reservation of a KME stands here.

    async def _arrival_state(self, transaction: Transaction, prefix: bytes, first_index: int, origin: str) -> str:
        query = "SELECT state FROM arrival WHERE prefix = $1 AND first_index = $2 AND origin = $3"
        rows = await transaction.rows(query, prefix, first_index, origin)
        return str(rows[0][0]) if rows else "unknown"

    async def _arrival(self, transaction: Transaction, prefix: bytes, first_index: int, origin: str) -> str:
        """As `_arrival_state`; shares that arrive, confirming and voiding wait for each other here."""
        rows = await transaction.rows(
            "INSERT INTO arrival (prefix, first_index, origin, state, created_ms) VALUES ($1, $2, $3, 'unknown', $4)"
            " ON CONFLICT (prefix, first_index, origin) DO UPDATE SET state = arrival.state RETURNING state",
            prefix,
            first_index,
            origin,
            ledger.now_ms(),
        )
        return str(rows[0][0])

    async def _set_arrival(self, transaction: Transaction, prefix: bytes, first_index: int, origin: str, state: str) -> None:
        query = "UPDATE arrival SET state = $4 WHERE prefix = $1 AND first_index = $2 AND origin = $3"
        await transaction.rows(query, prefix, first_index, origin, state)

    async def _forget(self, transaction: Transaction, prefix: bytes, first_index: int, origin: str) -> None:
        """Destroy shares and announcements; that they came is remembered."""
        place = (prefix, first_index, origin)
        which = "WHERE prefix = $1 AND first_index = $2 AND origin = $3 AND state = 'held'"
        await transaction.rows(f"UPDATE relay SET state = 'done', sealed = NULL, message = NULL {which}", *place)
        await transaction.rows(f"UPDATE announcement SET state = 'done', message = NULL {which}", *place)


def kem_context(r: Reservation, master_kme: str, slave_kme: str) -> Context:
    """What a mask of ML-KEM over a reservation's keys is bound to."""
    return Context(
        reservation_prefix=r.prefix, master_sae=r.master, slave_sae="\0".join(r.slaves), master_kme=master_kme, slave_kme=slave_kme
    )


def _joined(parts: Sequence[bytes]) -> bytes:
    """The exclusive or of all parts; nothing when they are not of one length."""
    return reduce(exclusive_or, parts) if len({len(part) for part in parts}) == 1 else b""
