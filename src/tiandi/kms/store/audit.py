"""Auditing a store off line: does its journal hold together, and is in the tables what the journal says?

What is found is named by where it is: a page of a chain, an account, a reservation, a block. Whoever cuts pages off at the end of a chain
leaves nothing behind that could be found: the heads of the chains, kept elsewhere (`Heads`), show it at the next audit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import msgspec

from tiandi.errors import StateError
from tiandi.kms.states import FIRST, LIFE
from tiandi.kms.store import audit_tables, ledger, schema
from tiandi.kms.store.audit_tables import PORTION, Finding, Fold
from tiandi.kms.store.database import Database, Transaction
from tiandi.kms.store.master_keys import MasterKey
from tiandi.kms.store.moves import Entry
from tiandi.kms.store.postgres_database import PostgresDatabase
from tiandi.kms.store.sealed_columns import SEALED_COLUMNS
from tiandi.kms.store.sealing import SealedColumn, Sealer
from tiandi.kms.store.sqlite_database import SqliteDatabase, SqliteTransaction

MOST_FINDINGS = 1000

_STEPS = {
    *((kind, before.value, after.value) for kind, life in LIFE.items() for before, following in life.items() for after in following),
    *((kind, "", after.value) for kind, states in FIRST.items() for after in states),
}
"""(kind of stock, before, after) of every step that a key can take."""

_decode_entries = msgspec.json.Decoder(list[Entry])


class Head(msgspec.Struct, frozen=True):
    """The last page of a chain."""

    number: int
    digest: str


class Heads(msgspec.Struct, frozen=True):
    """The heads of every chain of one KME's journal, to be kept where nobody who can write the store can write."""

    kme: str
    chains: dict[str, Head]


class Report(msgspec.Struct, frozen=True):
    """What an audit has looked at, and what it has found; ``opened`` is None when no master key was given."""

    kme: str
    pages: int
    entries: int
    rows: int
    opened: int | None
    accounts: dict[str, dict[str, int]]
    findings: list[Finding]
    heads: Heads

    @property
    def good(self) -> bool:
        """Whether nothing is amiss."""
        return not self.findings


def is_dsn(store: str) -> bool:
    """Whether this names a database of PostgreSQL, and not a file."""
    return store.startswith(("postgresql://", "postgres://"))


async def open_store(store: str) -> Database:
    """The database in the file, or at the DSN, ``store``. Raises StateError when it cannot be opened, or another process has the file."""
    if is_dsn(store):
        database = PostgresDatabase(store)
        await database.open()
        return database
    if not Path(store).is_file():
        raise StateError("store", store, "must be a file of SQLite, or postgresql://...")
    return SqliteDatabase(Path(store))


async def verify(database: Database, *, master_key: MasterKey | None = None, known: Heads | None = None) -> Report:
    """Audit a store; ``known`` are heads of an audit before. PostgreSQL may be in use meanwhile. Raises StateError for what is no store."""
    return await database.run(_verify, database, master_key, known)


async def _verify(transaction: Transaction, database: Database, master_key: MasterKey | None, known: Heads | None) -> Report:
    kme, tables = await begin_reading(transaction)
    if known is not None and known.kme != kme:
        raise StateError("heads", known.kme, f"are another KME's: this store is {kme}'s")
    audit = _Audit()
    if transaction.chain == SqliteTransaction.chain:
        for (text,) in await transaction.rows("PRAGMA integrity_check(20)"):
            if text != "ok":
                audit.tell("file", "SQLite", text)
    await audit.read_journal(transaction)
    for chain, head in (known.chains if known else {}).items():
        audit.compare_head(chain, head)
    accounts = await ledger.accounts(transaction)
    audit.compare_accounts(accounts)
    audit.findings += await audit_tables.compare_link_key(transaction, audit.fold)
    rows, found = await audit_tables.compare_reservations(transaction, audit.fold)
    audit.findings += found
    opened = None if master_key is None else await audit.open_all(transaction, tables, Sealer(database, master_key, kme))
    heads = Heads(kme, {chain: Head(number, digest.hex()) for chain, (number, digest) in audit.heads.items()})
    return Report(kme, audit.pages, audit.entries, rows, opened, accounts, audit.findings[:MOST_FINDINGS], heads)


async def begin_reading(transaction: Transaction) -> tuple[str, set[str]]:
    """Whose store this is, and its tables, all as of one moment. Raises StateError when it is none, or of another version."""
    if transaction.chain == SqliteTransaction.chain:
        found = await transaction.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
    else:
        await transaction.rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        found = await transaction.rows("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    tables = {name for (name,) in found}
    if "store" not in tables:
        raise StateError("key store", "without tables", "is not the store of a KME")
    [(version, kme)] = await transaction.rows("SELECT version, kme FROM store") or [(0, "")]
    if version != schema.VERSION:
        raise StateError("key store", f"version {version} of {kme}", f"must be version {schema.VERSION}")
    return str(kme), tables


class _Audit:
    """One audit: the journal read through, and what was found."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.heads: dict[str, tuple[int, bytes]] = {}
        self.fold = Fold()
        self.pages = self.entries = 0
        self._digests: dict[tuple[str, int], str] = {}

    def tell(self, check: str, where: str, text: str) -> None:
        """Note something amiss."""
        self.findings.append(Finding(check, where, text))

    # The journal.

    async def read_journal(self, transaction: Transaction) -> None:
        """Every page of every chain, in order."""
        last: tuple[str, int] = ("", 0)
        while True:
            rows = await transaction.rows(
                "SELECT chain, number, entries, digest FROM journal WHERE (chain, number) > ($1, $2) ORDER BY chain, number LIMIT $3",
                *last,
                PORTION,
            )
            for chain, number, entries, digest in rows:
                self._page(chain, number, entries, digest)
            if len(rows) < PORTION:
                return
            last = (rows[-1][0], rows[-1][1])

    def _page(self, chain: str, number: int, entries: bytes, digest: bytes) -> None:
        where = f"chain {chain}, page {number}"
        before, previous = self.heads.get(chain, (0, ledger.FIRST_DIGEST))
        if number != before + 1:
            missing = f"page {before + 1}" if number == before + 2 else f"pages {before + 1} to {number - 1}"
            self.tell("journal", where, f"{missing} before it: missing")
        elif ledger.page_digest(previous, chain, number, entries) != digest:
            self.tell("journal", where, "does not follow from the page before it: one of them was changed or moved")
        self.heads[chain] = (number, digest)
        self._digests[chain, number] = digest.hex()
        self.pages += 1
        try:
            lines = _decode_entries.decode(entries)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.tell("journal", where, "cannot be read")
            return
        for line in lines:
            self.entries += 1
            if problem := _problem(line):
                self.tell("journal", where, problem)
            else:
                self.fold.add(line)

    def compare_head(self, chain: str, head: Head) -> None:
        """Whether what a chain ended with at an audit before is still there."""
        where = f"chain {chain}, page {head.number}"
        digest = self._digests.get((chain, head.number))
        if digest is None:
            number = self.heads.get(chain, (0, b""))[0]
            self.tell("heads", where, f"was there at an audit before: the chain was cut off and ends with page {number}")
        elif digest != head.digest:
            self.tell("heads", where, "is another than at an audit before")

    # Accounts, and what is sealed.

    def compare_accounts(self, accounts: Mapping[str, Mapping[str, int]]) -> None:
        """Whether every account is the sum of what the journal says."""
        told = Counter({(stock, state): bit for stock, states in accounts.items() for state, bit in states.items()})
        for stock, state in sorted(told.keys() | self.fold.balance.keys()):
            says, holds = self.fold.balance[stock, state], told[stock, state]
            if says < 0:
                self.tell("account", f"{stock}, {state}", f"more left it than ever came: {says} bit by the journal")
            if says != holds:
                self.tell("account", f"{stock}, {state}", f"holds {holds} bit, by the journal {says}")

    async def open_all(self, transaction: Transaction, tables: set[str], sealer: Sealer) -> int:
        """Open whatever is sealed; how much that was."""
        return sum([await self._open_column(transaction, sealer, column) for column in SEALED_COLUMNS if column.table in tables])

    async def _open_column(self, transaction: Transaction, sealer: Sealer, column: SealedColumn) -> int:
        keys = column.primary_key
        marks = ", ".join(f"${place}" for place in range(1, len(keys) + 1))
        wanted, key = ", ".join((*keys, column.column, *column.context_columns)), ", ".join(keys)
        last: tuple[object, ...] = ()
        count = 0
        while True:
            after = f"AND ({key}) > ({marks})" if last else ""
            # Names of tables and columns are constants of the program.
            query = f"SELECT {wanted} FROM {column.table} WHERE {column.column} IS NOT NULL {after} ORDER BY {key} LIMIT {PORTION}"  # noqa: S608
            rows = await transaction.rows(query, *last)
            for row in rows:
                try:
                    await sealer.ensure(transaction, [row[len(keys)]])
                    sealer.open(row[len(keys)], column.context(*row[len(keys) + 1 :]))
                except StateError as error:
                    place = ", ".join(_shown(value) for value in row[: len(keys)])
                    self.tell("sealed", f"{column.table} {place}", f"cannot be opened: {error.limit}")
            count += len(rows)
            if len(rows) < PORTION:
                return count
            last = rows[-1][: len(keys)]


def _problem(line: Entry) -> str:
    """Why an entry cannot stand, or nothing."""
    kind = line.stock.partition(" ")[0]
    if kind == ledger.OPERATOR:
        return "" if (line.before, line.after, line.bit) == ("", "", 0) else f"a note of {line.stock} moves bits"
    if line.bit <= 0:
        return f"{line.bit} bit of {line.stock}: there is no such amount"
    if (kind, line.before, line.after) in _STEPS:
        return ""
    return f"{line.stock}: {line.before or 'nothing'} to {line.after or 'nothing'} is no step in the life of a key"


def _shown(value: object) -> str:
    """A part of a primary key for people."""
    if isinstance(value, bytes):
        return str(UUID(bytes=value)) if len(value) == 16 else value.hex()
    return str(value)
