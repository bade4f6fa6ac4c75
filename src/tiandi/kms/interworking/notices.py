"""What partners are still to be told of keys that came from them; a notice stays until the partner has taken it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from tiandi.kms.keys import key_identifier, split_identifier
from tiandi.kms.store.database import Transaction

SCHEMA = """
CREATE TABLE notice (
    prefix BLOB NOT NULL, first_index INTEGER NOT NULL, partner TEXT NOT NULL, kind TEXT NOT NULL, callback TEXT NOT NULL,
    master TEXT NOT NULL, slaves TEXT NOT NULL, claimed_ms INTEGER NOT NULL, PRIMARY KEY (prefix, first_index, partner, kind)
) STRICT;
CREATE INDEX notice_waiting ON notice (claimed_ms);
"""


@dataclass(frozen=True)
class Notice:
    """What a partner is to be told of a key."""

    prefix: bytes
    first_index: int
    partner: str
    kind: str
    callback: str
    master: str
    slave_names: str

    @property
    def key_id(self) -> UUID:
        return key_identifier(self.prefix, self.first_index)


class Notices:
    """The notices of one KME. Every method is part of the caller's transaction."""

    async def add(self, transaction: Transaction, partner: str, key_id: UUID, pair: tuple[str, str], *, kind: str, callback: str) -> None:
        """Have a partner told of a key until it has taken that."""
        await transaction.rows(
            "INSERT INTO notice (prefix, first_index, partner, kind, callback, master, slaves, claimed_ms)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, 0) ON CONFLICT (prefix, first_index, partner, kind)"
            " DO UPDATE SET callback = excluded.callback, claimed_ms = 0",
            *split_identifier(key_id),
            partner,
            kind,
            callback,
            *pair,
        )

    async def claim(self, transaction: Transaction, *, now_ms: int, claim_ms: int) -> list[Notice]:
        """Notices that nobody is sending, now the caller's until ``claim_ms``."""
        query = (
            "SELECT prefix, first_index, partner, kind, callback, master, slaves FROM notice WHERE claimed_ms < $1"
            " ORDER BY claimed_ms LIMIT 1024 FOR UPDATE SKIP LOCKED"
        )
        found = [Notice(*row) for row in await transaction.rows(query, now_ms)]
        await self.postpone(transaction, found, claim_ms)
        return found

    async def postpone(self, transaction: Transaction, notices: Sequence[Notice], until_ms: int) -> None:
        """Let these be until then."""
        await transaction.execute_many(
            "UPDATE notice SET claimed_ms = $5 WHERE prefix = $1 AND first_index = $2 AND partner = $3 AND kind = $4",
            [(notice.prefix, notice.first_index, notice.partner, notice.kind, until_ms) for notice in notices],
        )

    async def taken(self, transaction: Transaction, notices: Sequence[Notice]) -> None:
        """The partner has taken these."""
        await transaction.execute_many(
            "DELETE FROM notice WHERE prefix = $1 AND first_index = $2 AND partner = $3 AND kind = $4",
            [(notice.prefix, notice.first_index, notice.partner, notice.kind) for notice in notices],
        )
