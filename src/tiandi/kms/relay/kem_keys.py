"""A node's own ML-KEM keys: sealed in its store, a new pair every day, so that yesterday's traffic stays secret from tomorrow's thief."""

from __future__ import annotations

from tiandi.kms.relay.hybrid import KemKeys
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.sealing import Sealer

SCHEMA = "CREATE TABLE kem_key (public BLOB PRIMARY KEY, created_ms INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT"
DAY_MS = 86_400_000
_CONTEXT = b"ML-KEM private key"


async def read_kem_keys(transaction: Transaction, sealer: Sealer) -> dict[bytes, KemKeys]:
    """Pairs by their public key, the newest last; makes a new one when that is a day old, and destroys those of two days."""
    now_ms = ledger.now_ms()
    await transaction.rows("DELETE FROM kem_key WHERE created_ms < $1", now_ms - 2 * DAY_MS)
    rows = await transaction.rows("SELECT public, created_ms, sealed FROM kem_key ORDER BY created_ms FOR UPDATE")
    await sealer.ensure(transaction, [sealed for _, _, sealed in rows])
    keys = {public: KemKeys(sealer.open(sealed, _CONTEXT)) for public, _, sealed in rows}
    if not rows or rows[-1][1] < now_ms - DAY_MS:
        new = KemKeys.generate()
        keys[new.public] = new
        sealed = sealer.seal(new.private, _CONTEXT)
        await transaction.rows("INSERT INTO kem_key (public, created_ms, sealed) VALUES ($1, $2, $3)", new.public, now_ms, sealed)
    return keys
