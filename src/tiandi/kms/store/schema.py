"""The tables of a KME's store, and whose store it is."""

from __future__ import annotations

from typing import Any

from tiandi.errors import StateError
from tiandi.kms.interworking import incoming, notices, outgoing
from tiandi.kms.operating import alarms
from tiandi.kms.relay import answering, hand_over, kem_keys, passing, relaying
from tiandi.kms.store import ledger, link_keys, sealing, supply_keys
from tiandi.kms.store.database import Database, Transaction

VERSION = 2

_STORE = "CREATE TABLE IF NOT EXISTS store (version INTEGER NOT NULL, kme TEXT NOT NULL) STRICT"
TABLES = [
    ledger.SCHEMA, link_keys.SCHEMA, supply_keys.SCHEMA, passing.SCHEMA, answering.SCHEMA, relaying.SCHEMA, hand_over.SCHEMA,
    kem_keys.SCHEMA, sealing.SCHEMA, outgoing.SCHEMA, incoming.SCHEMA,
    notices.SCHEMA, alarms.SCHEMA,
]  # fmt: skip


async def create_tables(database: Database, kme_id: str, *more: str) -> None:
    """Create what is not there. Raises StateError when the database is another version's or another KME's."""

    async def create(transaction: Transaction) -> tuple[Any, ...]:
        await transaction.rows(_STORE)
        rows = await transaction.rows("SELECT version, kme FROM store FOR UPDATE")
        if rows:
            return rows[0]
        for text in [*TABLES, *more]:
            for statement in filter(str.strip, text.split(";")):
                await transaction.rows(statement)
        await transaction.rows("INSERT INTO store (version, kme) VALUES ($1, $2)", VERSION, kme_id)
        return VERSION, kme_id

    try:
        version, owner = await database.run(create)
    except StateError:
        # Processes of a cluster that start at once all find nothing, and all but one cannot make what is there by then: they look again.
        version, owner = await database.run(create)
    if (version, owner) != (VERSION, kme_id):
        raise StateError("key store", f"version {version} of {owner}", f"must be version {VERSION} of {kme_id}")
