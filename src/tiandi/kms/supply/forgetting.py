"""Keys of sizes that nobody asks for any more: voided at both ends, so that they do not lie in two stores for ever.

A stock counts as forgotten when for an hour no process of this node delivered anything of it. Whoever was given one of its keys has had
that hour to tell the other end; keys of the KME's own ``key_size`` stay.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tiandi.kms.states import State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.ledger import supply_stock

if TYPE_CHECKING:
    from tiandi.kms.entity import KeyManagementEntity

FORGOTTEN_S = 3600.0
LOOK_S = 60.0
PORTION = 50
"""Reservations voided in one transaction."""

Place = tuple[str, str, int]
"""Master, slave, size [bit]."""


class Forgetting:
    """Looks through the stocks of one KME's masters. Begin anew after a restart: then the hour does, too."""

    def __init__(self, entity: KeyManagementEntity, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._entity, self._clock = entity, clock
        self._looked_s = clock()
        self._seen: dict[Place, tuple[int, float]] = {}
        """How much of each stock was delivered in all [bit], and since when it was no more."""

    async def look_when_due(self) -> int:
        """Void what was forgotten; returns the bits voided. Other KMEs are told by the next sweep."""
        if self._clock() - self._looked_s < LOOK_S:
            return 0
        self._looked_s = self._clock()
        found = await self._entity.database.run(self._delivered)
        before, self._seen = self._seen, {}
        total_bit = 0
        for place, delivered_bit in found.items():
            bit, since_s = before.get(place, (-1, 0.0))
            self._seen[place] = (bit, since_s) if bit == delivered_bit else (delivered_bit, self._clock())
            if self._clock() - self._seen[place][1] >= FORGOTTEN_S:
                while bit := await self._entity.database.run(self._void_portion, *place):
                    total_bit += bit
        return total_bit

    async def _delivered(self, transaction: Transaction) -> dict[Place, int]:
        """Stocks that hold ready keys of other sizes than the usual, and what was delivered of each in all [bit]."""
        found: dict[Place, int] = {}
        place: Place = ("", "", 0)
        query = (
            "SELECT master, slave, size_bit FROM reservation WHERE state = 'ready' AND role = 'master' AND stream = 0"
            " AND (master, slave, size_bit) > ($1, $2, $3) ORDER BY master, slave, size_bit LIMIT 1"
        )
        while rows := await transaction.rows(query, *place):  # From stock to stock along the index: each may be many rows.
            place = (rows[0][0], rows[0][1], rows[0][2])
            if place[2] != self._entity.limits.key_size:
                found[place] = await ledger.bits(transaction, supply_stock(place[0], place[1], "master", place[2]), State.DELIVERED)
        return found

    async def _void_portion(self, transaction: Transaction, master: str, slave: str, size_bit: int) -> int:
        rows = await transaction.rows(
            "SELECT prefix, first_index, left_count FROM reservation WHERE state = 'ready' AND role = 'master' AND stream = 0"
            " AND master = $1 AND slave = $2 AND size_bit = $3 ORDER BY created_ms, prefix LIMIT $4",
            master,
            slave,
            size_bit,
            PORTION,
        )
        for prefix, first_index, _ in rows:
            await void(transaction, self._entity, prefix, first_index)
        return sum(left_count for _, _, left_count in rows) * size_bit


async def void(transaction: Transaction, entity: KeyManagementEntity, prefix: bytes, first_index: int) -> None:
    """Void a reservation that nobody wants, ready or not; other KMEs are told by the next sweep."""
    place = (prefix, first_index)
    if await transaction.rows("SELECT 1 FROM confirmation WHERE prefix = $1 AND first_index = $2 LIMIT 1", *place):
        await entity.relaying.give_up(transaction, *place, even_ready=True)
        # Whoever had it in hand is done with it.
        await transaction.rows("UPDATE confirmation SET claimed_ms = 0 WHERE prefix = $1 AND first_index = $2", *place)
    else:
        await entity.supply_keys.change(transaction, *place, [State.RESERVED, State.READY], State.VOIDED)
