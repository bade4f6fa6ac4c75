"""Forgetting what was said between KMEs of keys that are long settled. Tombstones of identifiers stay for ever (`supply_keys`)."""

# ruff: noqa: S608 - what is put into statements is constant.

from __future__ import annotations

from tiandi.kms.store.database import Transaction

PORTION = 500

_SHARE = "prefix, first_index, origin, share, target, sender"
_LIVING = "SELECT 1 FROM reservation AS r WHERE r.prefix = old.prefix AND r.first_index = old.first_index AND r.left_count > 0"
_OLD = {
    # A share that never became a key goes with its message: its pads are spent, so that it cannot come again.
    "relay": (_SHARE, "1 = 1"),
    "announcement": (_SHARE, "1 = 1"),
    "hand_over": ("block_id, station", "1 = 1"),
    # Whoever has living keys must still be able to say, and to hear, that they are voided.
    "arrival": ("prefix, first_index, origin", f"NOT EXISTS ({_LIVING} AND r.state IN ('ready', 'held', 'reserved', 'uncertain'))"),
    "confirmation": (
        "prefix, first_index, target",
        f"old.state IN ('ready', 'voided') AND NOT EXISTS ({_LIVING} AND r.state IN ('ready', 'held', 'reserved', 'uncertain'))",
    ),
}


async def prune(transaction: Transaction, before_ms: int) -> int:
    """Forget a portion of what was begun before that time; how many rows."""
    count = 0
    for table, (columns, condition) in _OLD.items():
        gone = await transaction.rows(
            f"DELETE FROM {table} WHERE ({columns}) IN (SELECT {columns} FROM {table} AS old"
            f" WHERE created_ms < $1 AND {condition} ORDER BY created_ms LIMIT {PORTION}) RETURNING 1",
            before_ms,
        )
        count += len(gone)
    return count
