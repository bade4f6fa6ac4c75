"""Keys from another network: what this KME, at the border, has accepted from a partner, and what the partner is still to be told.

Every key becomes a reservation of its own under the partner's identifier, made and started on its way in the transaction that accepts
it. When the KMEs of all targets have it, this KME's copy is destroyed and the partner is told; a notice stays until the partner has
taken it. A row stays as the tombstone of its identifier, with a mark by which the same key is known again.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from tiandi.kms.etsi020 import AckStatus, Problem
from tiandi.kms.interworking.notices import Notice, Notices
from tiandi.kms.interworking.outgoing import slave_names
from tiandi.kms.keys import SupplyKey, key_identifier, split_identifier
from tiandi.kms.relay.relay_messages import Departure
from tiandi.kms.states import State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Row, Transaction
from tiandi.kms.store.sealing import SealedColumn, Sealer
from tiandi.random import secret_bytes

if TYPE_CHECKING:
    from tiandi.kms.entity import KeyManagementEntity, Plan

SCHEMA = """
CREATE TABLE incoming (
    prefix BLOB NOT NULL, first_index INTEGER NOT NULL, partner TEXT NOT NULL, master TEXT NOT NULL, slaves TEXT NOT NULL,
    state TEXT NOT NULL, callback TEXT NOT NULL, mark BLOB, claimed_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL,
    PRIMARY KEY (prefix, first_index, partner)
) STRICT;
CREATE INDEX incoming_open ON incoming (claimed_ms) WHERE state = 'carrying' OR state = 'voiding';
CREATE INDEX incoming_pair ON incoming (partner, master, slaves);
"""
MARK_BYTE = 16
_COLUMNS = "prefix, first_index, partner, master, slaves, state, callback, mark"
_TOLD: dict[str, AckStatus] = {"relayed": "relayed", "failed": "failed", "voided": "voided", "undone": "failed to void"}
"""How a settled state is told."""
VOID_NOTICE = "void"
"""The kind of a notice that is a void: the partner did not take it that a key is relayed."""


@dataclass(frozen=True)
class Arrival:
    """A key that a partner sent. ``state``: carrying, relayed, failed, voiding, voided, or undone (not voided)."""

    prefix: bytes
    first_index: int
    partner: str
    master: str
    slave_names: str
    state: str
    callback: str
    mark: bytes | None

    @property
    def place(self) -> tuple[bytes, int]:
        return self.prefix, self.first_index

    @property
    def key_id(self) -> UUID:
        return key_identifier(*self.place)

    @property
    def status(self) -> AckStatus | None:
        return _TOLD.get(self.state)


class Incoming:
    """What one KME takes in. Every method is part of the caller's transaction."""

    def __init__(self, entity: KeyManagementEntity, sealer: Sealer) -> None:
        self._entity = entity
        self._sealer = sealer
        self.notices = Notices()

    async def accept(
        self, transaction: Transaction, partner: str, plans: Sequence[tuple[SupplyKey, Plan]], *, callback: str, claim_ms: int
    ) -> list[tuple[Plan, Departure]]:
        """Start new keys on their ways and return what is to be sent; of those that came before, tell again what became of them.

        Raises Problem when an identifier stands for another key, KeysExhausted when link key is short; then nothing is kept.
        """
        started = []
        for key, plan in plans:
            arrival = await self._find(transaction, partner, key.key_id)
            if arrival is None:
                started.append((plan, await self._accept_new(transaction, partner, key, plan, callback=callback, claim_ms=claim_ms)))
            else:
                await self._accept_again(transaction, arrival, key, plan, callback=callback)
        return started

    async def _accept_new(
        self, transaction: Transaction, partner: str, key: SupplyKey, plan: Plan, *, callback: str, claim_ms: int
    ) -> Departure:
        r = plan.reservation
        if await self._entity.supply_keys.is_taken(transaction, r.prefix, r.first_index):
            raise Problem(400, "invalid-parameter", "key_id", f"{key.key_id} is the identifier of another key")
        departure = await self._entity.depart(transaction, plan, keys=key.key)
        mark = self._sealer.seal(_mark(key, secret_bytes(MARK_BYTE)), mark_context(r.prefix, r.first_index))
        pair = (r.master, slave_names(r.slaves))
        await self._insert(transaction, key.key_id, partner, pair, state="carrying", callback=callback, mark=mark, claim_ms=claim_ms)
        return departure

    async def _accept_again(self, transaction: Transaction, arrival: Arrival, key: SupplyKey, plan: Plan, *, callback: str) -> None:
        r = plan.reservation
        same = (arrival.master, arrival.slave_names) == (r.master, slave_names(r.slaves))
        if arrival.mark is not None:
            await self._sealer.ensure(transaction, [arrival.mark])
            mark = self._sealer.open(arrival.mark, mark_context(*arrival.place))
            same = same and hmac.compare_digest(mark, _mark(key, mark[:MARK_BYTE]))
        if not same:
            raise Problem(400, "invalid-parameter", "key_id", f"{key.key_id} is the identifier of another key")
        await self._set(transaction, arrival, arrival.state, callback=callback)

    async def _insert(
        self, transaction: Transaction, key_id: UUID, partner: str, pair: tuple[str, str], *, state: str, callback: str,
        mark: bytes | None = None, claim_ms: int = 0,
    ) -> None:  # fmt: skip
        await transaction.rows(
            f"INSERT INTO incoming ({_COLUMNS}, claimed_ms, created_ms)"  # noqa: S608 - constants.
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            *split_identifier(key_id),
            partner,
            *pair,
            state,
            callback,
            mark,
            claim_ms,
            ledger.now_ms(),
        )

    async def _set(self, transaction: Transaction, arrival: Arrival, state: str, *, callback: str | None = None) -> None:
        """Write how a key stands and where that is to be told; what is settled is told."""
        callback = arrival.callback if callback is None else callback
        await transaction.rows(
            "UPDATE incoming SET claimed_ms = CASE WHEN state = $4 THEN claimed_ms ELSE 0 END, state = $4, callback = $5"
            " WHERE prefix = $1 AND first_index = $2 AND partner = $3",
            *arrival.place,
            arrival.partner,
            state,
            callback,
        )
        if callback and state in _TOLD:
            pair = (arrival.master, arrival.slave_names)
            await self.notices.add(transaction, arrival.partner, arrival.key_id, pair, kind=_TOLD[state], callback=callback)

    # Carrying.

    async def claim(self, transaction: Transaction, *, now_ms: int, claim_ms: int) -> list[Arrival]:
        """Keys that are carried or voided and that nobody looks after, now the caller's until ``claim_ms``."""
        query = "(state = 'carrying' OR state = 'voiding') AND claimed_ms < $1 ORDER BY claimed_ms LIMIT 256"
        found = await self._rows(transaction, query, now_ms, skip=True)
        for arrival in found:
            await transaction.rows(
                "UPDATE incoming SET claimed_ms = $4 WHERE prefix = $1 AND first_index = $2 AND partner = $3",
                *arrival.place,
                arrival.partner,
                claim_ms,
            )
        return found

    async def conclude(self, transaction: Transaction, partner: str, key_id: UUID) -> AckStatus | None:
        """How a key stands: nothing as long as it is carried. This KME's copy of one that is relayed is destroyed."""
        arrival = await self._find(transaction, partner, key_id)
        if arrival is None or arrival.state != "carrying":
            return None if arrival is None else arrival.status
        sides = await self._entity.supply_keys.find(transaction, *arrival.place)
        state = next((state for role, _, state in sides if role == "master"), State.VOIDED)
        if state in {State.RESERVED, State.UNCERTAIN}:
            return None
        if state == State.READY:
            await self._entity.supply_keys.change(transaction, *arrival.place, [State.READY], State.RELAYED, role="master")
        after = "relayed" if state == State.READY else "failed"
        await self._set(transaction, arrival, after)
        return _TOLD[after]

    # Voiding.

    async def void(self, transaction: Transaction, partner: str, pair: tuple[str, str], key_id: UUID, *, callback: str) -> AckStatus | None:
        """Begin to void a key for the partner that sent it; how it stands already, or nothing while that is under way.

        One that never came from that partner for that pair (initiator, targets) is "key not present", and is not taken any more.
        """
        arrival = await self._find(transaction, partner, key_id)
        if arrival is None:
            await self._insert(transaction, key_id, partner, pair, state="voided", callback="")
            return "key not present"
        if (arrival.master, arrival.slave_names) != pair:
            return "key not present"
        if arrival.state in {"carrying", "relayed", "voiding"}:
            await self._begin_to_void(transaction, arrival, callback)
            return None
        return "voided" if arrival.state == "failed" else arrival.status

    async def _begin_to_void(self, transaction: Transaction, arrival: Arrival, callback: str) -> None:
        await self._entity.relaying.give_up(transaction, *arrival.place, even_ready=True)
        await self._set(transaction, arrival, "voiding", callback=callback)

    async def targets(self, transaction: Transaction, arrival: Arrival) -> list[str]:
        """The KMEs that are to void a key."""
        rows = await transaction.rows("SELECT target FROM confirmation WHERE prefix = $1 AND first_index = $2", *arrival.place)
        return [target for (target,) in rows]

    async def voided(self, transaction: Transaction, arrival: Arrival, *, delivered: bool) -> AckStatus | None:
        """Every KME has voided a key, or has ``delivered`` it before."""
        now = await self._find(transaction, arrival.partner, arrival.key_id)
        if now is None or now.state != "voiding":
            return None if now is None else now.status
        states = [State.RESERVED, State.READY, State.UNCERTAIN]
        await self._entity.supply_keys.change(transaction, *arrival.place, states, State.VOIDED)
        sides = await self._entity.supply_keys.find(transaction, *arrival.place)
        taken = delivered or any(role == "slave" and state == State.DELIVERED for role, _, state in sides)
        state = "undone" if taken else "voided"
        await self._set(transaction, now, state)
        return _TOLD[state]

    async def taken_in(self, transaction: Transaction, partner: str, pair: tuple[str, str], *, most: int) -> list[UUID]:
        """Keys of a pair that came from a partner and can still be voided."""
        query = f"partner = $1 AND master = $2 AND slaves = $3 AND (state = 'carrying' OR state = 'relayed') LIMIT {most:d}"
        return [arrival.key_id for arrival in await self._rows(transaction, query, partner, *pair)]

    async def is_known(self, transaction: Transaction, partner: str, key_id: UUID) -> bool:
        """Whether a partner ever sent, or voided, that key."""
        return await self._find(transaction, partner, key_id) is not None

    async def not_taken(self, transaction: Transaction, notice: Notice) -> None:
        """The partner refuses a notice for good: a key of which it will not hear that it is relayed is voided, here and there."""
        await self.notices.taken(transaction, [notice])
        arrival = await self._find(transaction, notice.partner, notice.key_id)
        if notice.kind != "relayed" or arrival is None or arrival.state != "relayed":
            return
        await self._begin_to_void(transaction, arrival, "")
        pair = (notice.master, notice.slave_names)
        await self.notices.add(transaction, notice.partner, notice.key_id, pair, kind=VOID_NOTICE, callback=notice.callback)

    async def _find(self, transaction: Transaction, partner: str, key_id: UUID) -> Arrival | None:
        query = "prefix = $1 AND first_index = $2 AND partner = $3"
        rows = await self._rows(transaction, query, *split_identifier(key_id), partner)
        return rows[0] if rows else None

    async def _rows(self, transaction: Transaction, conditions: str, *values: object, skip: bool = False) -> list[Arrival]:
        lock = "FOR UPDATE SKIP LOCKED" if skip else "FOR UPDATE"
        rows: list[Row] = await transaction.rows(f"SELECT {_COLUMNS} FROM incoming WHERE {conditions} {lock}", *values)  # noqa: S608
        return [Arrival(*row) for row in rows]


def mark_context(prefix: bytes, first_index: int) -> bytes:
    """What a mark is sealed as."""
    return b"incoming key " + prefix + first_index.to_bytes(2, "big")


SEALED = SealedColumn("incoming", "mark", ("prefix", "first_index", "partner"), ("prefix", "first_index"), mark_context)
"""For whoever seals anew."""


def _mark(key: SupplyKey, salt: bytes) -> bytes:
    """By which the same key is known again, without keeping it."""
    return salt + hmac.digest(salt, key.key, hashlib.sha256)[:MARK_BYTE]
