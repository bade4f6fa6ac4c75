"""Keys on their way to another network: what this KME, at the border, has passed on and what the partner has said of each.

A reservation that arrives for SAEs of another network is held here. It is passed on, again and again until the partner has answered,
and destroyed here when the partner has acknowledged every key for every target; only then is the master's KME told that it is ready.
What may be at the partner and is not wanted any more is voided there, until the partner has answered that. Nothing is ever used
for another purpose: a row stays as the tombstone of its identifiers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import msgspec

from tiandi.errors import KeyNotFound
from tiandi.kms.directory import Directory
from tiandi.kms.etsi020 import AckContainer, AckStatus
from tiandi.kms.keys import SupplyKey, key_identifier, split_identifier
from tiandi.kms.relay.relay_messages import Answer
from tiandi.kms.relay.relaying import Relaying
from tiandi.kms.states import State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Row, Transaction
from tiandi.kms.store.supply_keys import Reservation, SupplyKeys
from tiandi.units import BIT_PER_BYTE

SCHEMA = """
CREATE TABLE outgoing (
    prefix BLOB NOT NULL, first_index INTEGER NOT NULL, partner TEXT NOT NULL, origin TEXT NOT NULL, master TEXT NOT NULL,
    slaves TEXT NOT NULL, size_bit INTEGER NOT NULL, key_count INTEGER NOT NULL, extension BLOB NOT NULL, state TEXT NOT NULL,
    answers BLOB NOT NULL, attempts INTEGER NOT NULL, claimed_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL,
    PRIMARY KEY (prefix, first_index, partner)
) STRICT;
CREATE INDEX outgoing_open ON outgoing (claimed_ms) WHERE state = 'held' OR state = 'voiding';
CREATE INDEX outgoing_pair ON outgoing (partner, master, slaves);
"""
_COLUMNS = "prefix, first_index, partner, origin, master, slaves, size_bit, key_count, extension, state, answers, attempts"
_RELAYED, _FAILED, _VOIDED, _UNDONE = 1, 2, 3, 4
"""What a partner said of a key for one target; 0 is nothing yet."""


@dataclass(frozen=True, repr=False)
class Transfer:
    """Keys of one reservation for the SAEs behind one partner. ``state``: held, relayed, voiding, voided, or undone (not voided)."""

    prefix: bytes
    first_index: int
    partner: str
    origin: str
    master: str
    slave_names: str
    size_bit: int
    key_count: int
    extension: bytes
    state: str
    answers: bytes
    attempts: int
    keys: tuple[SupplyKey, ...] = ()

    @property
    def slaves(self) -> list[str]:
        return msgspec.json.decode(self.slave_names, type=list[str])

    @property
    def place(self) -> tuple[bytes, int]:
        return self.prefix, self.first_index

    def key_ids(self) -> list[UUID]:
        """Those of which the partner has not said all yet."""
        width = len(self.slaves)
        open_places = [i for i in range(self.key_count) if 0 in self.answers[i * width : (i + 1) * width]]
        return [key_identifier(self.prefix, self.first_index + i) for i in open_places]


def slave_names(slaves: Collection[str]) -> str:
    """Slaves as they stand in a row, in one order."""
    return msgspec.json.encode(sorted(slaves)).decode()


class Outgoing:
    """What one KME passes on; `tiandi.kms.relay.relaying.Beyond`. Every method is part of the caller's transaction."""

    def __init__(self, directory: Directory, relaying: Relaying, supply_keys: SupplyKeys, wake: Callable[[], None]) -> None:
        self.wake = wake
        self._directory = directory
        self._relaying = relaying
        self._supply_keys = supply_keys

    # For `Relaying`.

    def is_beyond(self, slave: str) -> bool:
        return bool(self._directory.beyond(slave))

    async def hold(self, transaction: Transaction, reservation: Reservation, origin: str) -> None:
        """See `tiandi.kms.relay.answering.Beyond`."""
        by_partner: dict[str, list[str]] = {}
        for slave in reservation.slaves:
            if partner := self._directory.beyond(slave):
                by_partner.setdefault(partner, []).append(slave)
        for partner, slaves in by_partner.items():
            await transaction.rows(
                f"INSERT INTO outgoing ({_COLUMNS}, claimed_ms, created_ms)"  # noqa: S608 - constants.
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'held', $10, 0, 0, $11)",
                reservation.prefix,
                reservation.first_index,
                partner,
                origin,
                reservation.master,
                slave_names(slaves),
                reservation.size_bit,
                reservation.count,
                reservation.extension,
                bytes(reservation.count * len(slaves)),
                ledger.now_ms(),
            )

    async def void(self, transaction: Transaction, prefix: bytes, first_index: int) -> Answer:
        """See `tiandi.kms.relay.answering.Beyond`."""
        states = set()
        for transfer in await self._rows(transaction, "prefix = $1 AND first_index = $2", prefix, first_index):
            state = transfer.state
            if state in {"held", "relayed"}:
                state = await self._begin_to_void(transaction, transfer)
            states.add(state)
        return "unknown" if "voiding" in states else "delivered" if "undone" in states else "voided"

    async def _begin_to_void(self, transaction: Transaction, transfer: Transfer) -> str:
        """A partner that was never asked, or has refused every key, has nothing to void."""
        answers = bytes(_VOIDED if answer == _FAILED else 0 for answer in transfer.answers)
        state = "voiding" if transfer.attempts and 0 in answers else "voided"
        await self._update(transaction, transfer, state, answers)
        return state

    # Sending.

    async def claim(self, transaction: Transaction, *, now_ms: int, claim_ms: int, most: int) -> list[Transfer]:
        """Transfers that nobody is at work on, to be sent or voided by the caller until ``claim_ms``; noted before anything is sent."""
        found = await self._rows(
            transaction, f"(state = 'held' OR state = 'voiding') AND claimed_ms < $1 ORDER BY claimed_ms LIMIT {most:d}", now_ms, skip=True
        )
        claimed = []
        for transfer in found:
            await transaction.rows(
                "UPDATE outgoing SET claimed_ms = $4, attempts = attempts + 1 WHERE prefix = $1 AND first_index = $2 AND partner = $3",
                *transfer.place,
                transfer.partner,
                claim_ms,
            )
            try:
                keys = await self._keys(transaction, transfer) if transfer.state == "held" else ()
            except KeyNotFound:  # An operator has voided them.
                await self._give_up(transaction, transfer)
                continue
            claimed.append(replace(transfer, keys=keys))
        return claimed

    async def _keys(self, transaction: Transaction, transfer: Transfer) -> tuple[SupplyKey, ...]:
        material = await self._supply_keys.held(transaction, *transfer.place, transfer.slaves[0])
        size = transfer.size_bit // BIT_PER_BYTE
        wanted = set(transfer.key_ids())
        every = [
            SupplyKey(key_identifier(transfer.prefix, transfer.first_index + i), material[i * size : (i + 1) * size])
            for i in range(transfer.key_count)
        ]
        return tuple(key for key in every if key.key_id in wanted)

    async def postpone(self, transaction: Transaction, transfers: Sequence[Transfer], until_ms: int) -> None:
        """Let these be until then."""
        for transfer in transfers:
            await transaction.rows(
                "UPDATE outgoing SET claimed_ms = $4 WHERE prefix = $1 AND first_index = $2 AND partner = $3",
                *transfer.place,
                transfer.partner,
                until_ms,
            )

    async def refused(self, transaction: Transaction, transfers: Sequence[Transfer]) -> None:
        """The partner refused, so it keeps nothing of this request; of an earlier one that was not answered it may keep something."""
        for claimed in transfers:
            for transfer in await self._rows(
                transaction, "prefix = $1 AND first_index = $2 AND partner = $3 AND state = 'held'", *claimed.place, claimed.partner
            ):
                answers = bytes([_FAILED]) * len(transfer.answers) if transfer.attempts == 1 else transfer.answers
                await self._update(transaction, transfer, "held", answers)
                await self._give_up(transaction, transfer)

    async def _give_up(self, transaction: Transaction, transfer: Transfer) -> None:
        await self._relaying.void_everywhere(transaction, transfer.origin, *transfer.place)

    # What the partner says.

    async def acknowledge_all(self, transaction: Transaction, partner: str, acks: Sequence[AckContainer]) -> list[UUID]:
        """As `acknowledge`, for several."""
        return [key_id for ack in acks for key_id in await self.acknowledge(transaction, partner, ack)]

    async def acknowledge(self, transaction: Transaction, partner: str, ack: AckContainer) -> list[UUID]:
        """Note an acknowledgement; returns the keys in it that were never passed to that partner. One that comes again does nothing."""
        unknown = []
        touched: dict[tuple[bytes, int], Transfer] = {}
        for item in ack.key_id_container:
            transfer = await self._find(transaction, partner, UUID(item.key_id))
            if transfer is None or transfer.master != ack.initiator_sae_id or not set(ack.target_sae_ids) <= set(transfer.slaves):
                unknown.append(UUID(item.key_id))
                continue
            touched[transfer.place] = await self._note(transaction, transfer, UUID(item.key_id), ack)
        for transfer in touched.values():
            await self._conclude(transaction, transfer)
        return unknown

    async def _note(self, transaction: Transaction, transfer: Transfer, key_id: UUID, ack: AckContainer) -> Transfer:
        code = _code(transfer.state, ack.ack_status)
        if code is None:
            return transfer
        answers = bytearray(transfer.answers)
        slaves = transfer.slaves
        index = split_identifier(key_id)[1] - transfer.first_index
        for target in ack.target_sae_ids:
            answers[index * len(slaves) + slaves.index(target)] = code
        return await self._update(transaction, transfer, transfer.state, bytes(answers))

    async def _conclude(self, transaction: Transaction, transfer: Transfer) -> None:
        answers = set(transfer.answers)
        if transfer.state == "held" and _FAILED in answers:
            await self._give_up(transaction, transfer)
        elif transfer.state == "held" and answers == {_RELAYED}:
            await self._update(transaction, transfer, "relayed", transfer.answers)
            others = await self._rows(transaction, "prefix = $1 AND first_index = $2", *transfer.place)
            if all(other.state == "relayed" for other in others):
                await self._supply_keys.change(transaction, *transfer.place, [State.HELD], State.RELAYED, role="slave")
                await self._relaying.passed_on(transaction, transfer.origin, *transfer.place)
        elif transfer.state == "voiding" and 0 not in answers:
            await self._update(transaction, transfer, "undone" if _UNDONE in answers else "voided", transfer.answers)

    async def void_by_partner(self, transaction: Transaction, partner: str, pair: tuple[str, str], key_id: UUID) -> AckStatus | None:
        """A partner will not have a key any more that was passed to it; None when it never was.

        What is not all acknowledged yet is given up. After that the initiator may have the key.
        """
        transfer = await self._find(transaction, partner, key_id)
        if transfer is None or (transfer.master, transfer.slave_names) != pair:
            return None
        if transfer.state == "relayed":
            return "failed to void"
        if transfer.state == "held":
            answers = bytearray(transfer.answers)
            width = len(transfer.slaves)
            index = split_identifier(key_id)[1] - transfer.first_index
            answers[index * width : (index + 1) * width] = bytes([_FAILED]) * width
            await self._conclude(transaction, await self._update(transaction, transfer, "held", bytes(answers)))
        return "voided"

    async def passed(self, transaction: Transaction, partner: str, pair: tuple[str, str], *, most: int) -> list[UUID]:
        """Keys of a pair (initiator, targets) that were passed to a partner and can still be voided."""
        query = f"partner = $1 AND master = $2 AND slaves = $3 AND state = 'held' LIMIT {most:d}"
        return [key_id for transfer in await self._rows(transaction, query, partner, *pair) for key_id in transfer.key_ids()]

    async def _find(self, transaction: Transaction, partner: str, key_id: UUID) -> Transfer | None:
        prefix, index = split_identifier(key_id)
        query = "prefix = $1 AND partner = $2 AND first_index <= $3 AND first_index + key_count > $3"
        rows = await self._rows(transaction, query, prefix, partner, index)
        return rows[0] if rows else None

    async def _update(self, transaction: Transaction, transfer: Transfer, state: str, answers: bytes) -> Transfer:
        """Write what changed; a transfer whose state changes is to be taken up at once."""
        await transaction.rows(
            "UPDATE outgoing SET claimed_ms = CASE WHEN state = $4 THEN claimed_ms ELSE 0 END, state = $4, answers = $5"
            " WHERE prefix = $1 AND first_index = $2 AND partner = $3",
            *transfer.place,
            transfer.partner,
            state,
            answers,
        )
        return replace(transfer, state=state, answers=answers)

    async def _rows(self, transaction: Transaction, conditions: str, *values: object, skip: bool = False) -> list[Transfer]:
        lock = "FOR UPDATE SKIP LOCKED" if skip else "FOR UPDATE"
        rows: list[Row] = await transaction.rows(f"SELECT {_COLUMNS} FROM outgoing WHERE {conditions} {lock}", *values)  # noqa: S608
        return [Transfer(*row) for row in rows]


def _code(state: str, status: AckStatus) -> int | None:
    """What an acknowledgement means for a transfer in that state; nothing when it comes too late, or too early."""
    if state == "held":
        return {"relayed": _RELAYED, "failed to void": None}.get(status, _FAILED)
    if state == "voiding":
        return {"relayed": None, "failed to void": _UNDONE}.get(status, _VOIDED)
    return None
