"""The ledger of a KME: where every bit of key stands, and a journal of how it came there, each page bound to the one before by its hash.

An account is a stock ("link kme-b own", "supply sae-a sae-b master 256") and a state; it is the sum of what the journal says. Whoever
changes a page, or takes one out, breaks the chain of hashes from there on; `tiandi audit verify` finds the place.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable

import msgspec

from tiandi.errors import StateError
from tiandi.kms.states import FIRST, LIFE, State
from tiandi.kms.store.database import Row, Transaction
from tiandi.kms.store.moves import Entry

SCHEMA = """
CREATE TABLE account (stock TEXT NOT NULL, state TEXT NOT NULL, bit INTEGER NOT NULL, PRIMARY KEY (stock, state)) STRICT;
CREATE TABLE journal (
    chain TEXT NOT NULL, number INTEGER NOT NULL, entries BLOB NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (chain, number)
) STRICT;
"""
FIRST_DIGEST = bytes(32)
OPERATOR = "operator"
"""What the stock of a note begins with."""


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def link_stock(peer: str, *, own: bool) -> str:
    """The stock of link key with ``peer`` that this end (``own``) or the peer spends."""
    return f"link {peer} {'own' if own else 'peer'}"


def supply_stock(master: str, slave: str, role: str, size_bit: int) -> str:
    """The stock of supply keys of one size for a pair of SAEs, at the KME of its ``role``."""
    return f"supply {master} {slave} {role} {size_bit}"


async def move(transaction: Transaction, stock: str, before: State | None, after: State, bit: int, *, what: str = "") -> None:
    """Note that ``bit`` bits of a stock changed their state; None stands before key that enters the KME.

    It is entered before the transaction is committed (`enter`). Raises StateError when the life of a key knows no such change.
    """
    if not bit:
        return
    kind = stock.partition(" ")[0]
    if after not in (FIRST[kind] if before is None else LIFE[kind].get(before, ())):
        raise StateError("key state", f"{stock}: {before} to {after}", "is no step in the life of a key")
    transaction.moves.add(Entry(now_ms(), stock, before.value if before else "", after.value, bit, what))


def note(transaction: Transaction, who: str, what: str) -> None:
    """Note what an operator did, in the chain of what happened to the bits: such an entry moves none."""
    transaction.moves.add(Entry(now_ms(), f"{OPERATOR} {who}", "", "", 0, what))


async def enter(transaction: Transaction) -> int:
    """Enter what was noted: the accounts, and one page of the journal, whose number is returned; 0 when nothing was noted.

    Databases call this before every commit. Raises StateError when an account does not hold the bits that were taken from it.
    """
    moves = transaction.moves
    if not moves.entries:
        return 0
    # In one order everywhere, so that no two transactions wait for each other.
    for (stock, state), bit in sorted(moves.balance.items()):
        if bit:
            await _change(transaction, stock, state, bit)
    last = await transaction.rows("SELECT number, digest FROM journal WHERE chain = $1 ORDER BY number DESC LIMIT 1", transaction.chain)
    number, digest = (last[0][0] + 1, last[0][1]) if last else (1, FIRST_DIGEST)
    entries = msgspec.json.encode(moves.entries)
    await transaction.rows(
        "INSERT INTO journal (chain, number, entries, digest) VALUES ($1, $2, $3, $4)",
        transaction.chain,
        number,
        entries,
        page_digest(digest, transaction.chain, number, entries),
    )
    moves.clear()
    return int(number)


async def is_entered(transaction: Transaction, chain: str, number: int) -> bool:
    """Whether whoever wrote this page has committed it, after waiting for whoever is about to. When not, the caller must roll back."""
    query = "INSERT INTO journal (chain, number, entries, digest) VALUES ($1, $2, $3, $3) ON CONFLICT DO NOTHING RETURNING 1"
    return not await transaction.rows(query, chain, number, b"")


async def _change(transaction: Transaction, stock: str, state: str, bit: int) -> None:
    if bit > 0:
        await transaction.rows(
            "INSERT INTO account (stock, state, bit) VALUES ($1, $2, $3)"
            " ON CONFLICT (stock, state) DO UPDATE SET bit = account.bit + excluded.bit",
            stock,
            state,
            bit,
        )
        return
    query = "UPDATE account SET bit = bit - $3 WHERE stock = $1 AND state = $2 AND bit >= $3 RETURNING bit"
    if not await transaction.rows(query, stock, state, -bit):
        raise StateError("ledger", stock, f"does not hold {-bit} bit {state}")


def page_digest(previous: bytes, chain: str, number: int, entries: bytes) -> bytes:
    """SHA-256 over the digest of the page before, the page's place and its entries (JSON): 32 bytes."""
    name = chain.encode()
    return hashlib.sha256(previous + len(name).to_bytes(2, "big") + name + number.to_bytes(8, "big") + entries).digest()


async def bits(transaction: Transaction, stock: str, state: State, *, locked: bool = False) -> int:
    """Bits of a stock in a state; ``locked`` until the transaction ends, so that nobody else changes them."""
    query = "SELECT bit FROM account WHERE stock = $1 AND state = $2"
    rows = await transaction.rows(query + " FOR UPDATE" if locked else query, stock, state.value)
    return (int(rows[0][0]) if rows else 0) + transaction.moves.balance.get((stock, state.value), 0)


async def accounts(transaction: Transaction) -> dict[str, dict[str, int]]:
    """Bits by stock and state, ends of life included."""
    return sum_up(await transaction.rows("SELECT stock, state, bit FROM account WHERE bit > 0 ORDER BY stock, state"))


def sum_up(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """Rows of (stock, state, bit) as a table of tables."""
    table: dict[str, dict[str, int]] = {}
    for stock, state, bit in rows:
        table.setdefault(stock, {})[state] = int(bit)
    return table
