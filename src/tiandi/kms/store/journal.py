"""The journal of a KME for people: its last lines, of every chain."""

from __future__ import annotations

import msgspec

from tiandi.kms.store.database import Transaction
from tiandi.kms.store.moves import Entry

LARGEST_LIMIT = 1000


class JournalEntry(msgspec.Struct, frozen=True):
    """One line of the journal; those of operators move no bits."""

    chain: str
    page: int
    time_ms: int
    stock: str
    before: str
    after: str
    bit: int
    what: str


async def read_journal(transaction: Transaction, limit: int) -> list[JournalEntry]:
    """The last ``limit`` lines of the journal, the newest first."""
    found: list[JournalEntry] = []
    chain = ""
    # From chain to chain along the primary key: there may be very many pages of each.
    while rows := await transaction.rows("SELECT min(chain) FROM journal WHERE chain > $1", chain):
        if rows[0][0] is None:
            break
        chain = rows[0][0]
        query = "SELECT number, entries FROM journal WHERE chain = $1 ORDER BY number DESC LIMIT $2"
        lines = [
            JournalEntry(chain, number, line.time_ms, line.stock, line.before, line.after, line.bit, line.what)
            for number, entries in await transaction.rows(query, chain, limit)
            for line in reversed(msgspec.json.decode(entries, type=list[Entry]))
        ]
        found = sorted([*found, *lines[:limit]], key=lambda line: -line.time_ms)[:limit]
    return found
