"""Backups of a KME's store: whatever it must never forget, and no key.

A key that comes back out of a backup may have been used since, so a backup holds none: identifiers and tombstones, the journal, SAEs
and settings. It is text, one JSON array a line, and the same for SQLite and PostgreSQL. It is read in portions while the KME goes on
working; what is missing of its last moments cannot be told from what happened after it. `tiandi.kms.store.restoring` puts it back.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tiandi.errors import InputError, StateError
from tiandi.kms.store import ledger, schema
from tiandi.kms.store.database import Database, Row, Transaction

FORMAT = 1
PORTION = 500
SECRET_COLUMNS = {"sealed", "wrapped"}
SECRET_MESSAGES = {
    ("relay", "message"), ("announcement", "message"), ("hand_over", "message"), ("confirmation", "ciphertexts"), ("incoming", "mark"),
}  # fmt: skip
"""Ciphertexts under link key on their way, and what was sealed under another name."""
LEFT_OUT = {"store", "sealing_store", "account"}
"""Whose store it is stands in the first line, and accounts are the sum of the journal."""

_TABLE = re.compile(r"CREATE TABLE (\w+) \((.*?)\) STRICT", re.DOTALL)


class Head(msgspec.Struct, frozen=True, array_like=True):
    """The first line."""

    format: int
    version: int
    kme: str
    made_ms: int


@dataclass(frozen=True)
class Table:
    """A table as its CREATE statement tells: columns, which of them are BLOBs, primary key."""

    name: str
    columns: tuple[str, ...]
    blobs: frozenset[str]
    primary_key: tuple[str, ...]
    secret: frozenset[str]
    """Columns that are left empty."""


def tables_of(texts: Iterable[str]) -> list[Table]:
    """The tables in SQL texts that a backup takes: all but those of which nothing is left without their secrets."""
    found = []
    for name, body in _TABLE.findall("\n".join(texts)):
        parts = [part.strip() for part in re.split(r",(?![^(]*\))", body)]
        keys = [part for part in parts if part.startswith("PRIMARY KEY")]
        columns = [part.split() for part in parts if not part.startswith("PRIMARY KEY")]
        secret = {words[0] for words in columns if words[0] in SECRET_COLUMNS or (name, words[0]) in SECRET_MESSAGES}
        if name in LEFT_OUT or any(words[0] in secret and "NOT NULL" in " ".join(words) for words in columns):
            continue
        key = tuple(re.findall(r"\w+", keys[0])[2:]) if keys else tuple(words[0] for words in columns if "PRIMARY" in words)
        blobs = frozenset(words[0] for words in columns if words[1] == "BLOB")
        found.append(Table(name, tuple(words[0] for words in columns), blobs, key, frozenset(secret)))
    # The journal first: of whatever it tells the other tables know at least as much.
    return sorted(found, key=lambda table: table.name != "journal")


async def dump(database: Database, kme_id: str, more_tables: Sequence[str] = ()) -> AsyncIterator[bytes]:
    """The lines of a backup. Raises StateError when the database cannot be read."""
    yield _line(Head(FORMAT, schema.VERSION, kme_id, ledger.now_ms()))
    heads = dict(await database.run(_heads))
    count = 0
    for table in tables_of([*schema.TABLES, *more_tables]):
        last: Row = ()
        while rows := await database.run(_portion, table, last):
            last = tuple(rows[-1][table.columns.index(name)] for name in table.primary_key)
            for row in rows:
                if table.name == "journal" and row[1] > heads.get(row[0], 0):
                    continue
                count += 1
                yield _line(
                    [table.name, *(None if name in table.secret else value for name, value in zip(table.columns, row, strict=True))]
                )
    yield _line(["end", count])


async def _heads(transaction: Transaction) -> list[Row]:
    return await transaction.rows("SELECT chain, max(number) FROM journal GROUP BY chain")


async def _portion(transaction: Transaction, table: Table, last: Row) -> list[Row]:
    """The rows next to ``last`` in the order of the primary key."""
    key, marks = ", ".join(table.primary_key), ", ".join(f"${place + 1}" for place in range(len(last)))
    after = f"WHERE ({key}) > ({marks})" if last else ""
    # Secrets are not even read.
    columns = ", ".join("NULL" if name in table.secret else name for name in table.columns)
    # Names of tables and columns are constants of the program.
    return await transaction.rows(f"SELECT {columns} FROM {table.name} {after} ORDER BY {key} LIMIT {PORTION}", *last)  # noqa: S608


def _line(value: Any) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def read_lines(lines: Iterable[bytes], kme_id: str, more_tables: Sequence[str] = ()) -> Iterable[tuple[Table, Row]]:
    """Tables and rows of a backup. Raises InputError for one that is cut short, another KME's, or none."""
    tables = {table.name: table for table in tables_of([*schema.TABLES, *more_tables])}
    source = iter(lines)
    head = _decode(next(source, b""), Head)
    if (head.format, head.version, head.kme) != (FORMAT, schema.VERSION, kme_id):
        told = f"version {head.version} of {head.kme}"
        raise InputError("backup", told, f"must be version {schema.VERSION} of {kme_id}")
    count = 0
    for line in source:
        name, *values = _decode(line, list[Any])
        if name == "end":
            if values != [count] or next(source, b""):
                raise InputError("backup", count, f"must have {values[0]} rows, and end with them")
            return
        table = tables.get(name)
        if table is None or len(values) != len(table.columns):
            raise InputError("backup", str(name)[:64], "is no table of this version")
        count += 1
        yield table, tuple(_value(table, column, value) for column, value in zip(table.columns, values, strict=True))
    raise InputError("backup", count, "is cut short: its last line is missing")


def _decode(line: bytes, kind: Any) -> Any:
    try:
        value = msgspec.json.decode(line, type=kind)
    except msgspec.DecodeError:
        value = None
    if not value:
        raise InputError("backup", line[:32], "is no line of a backup")
    return value


def _value(table: Table, column: str, value: Any) -> Any:
    if column not in table.blobs or value is None:
        return value
    try:
        return msgspec.convert(value, bytes)
    except msgspec.ValidationError:
        raise InputError(f"backup.{table.name}.{column}", str(value)[:32], "must be base64") from None


def require_whole(pages: dict[str, tuple[int, bytes]], chain: str, number: int, entries: bytes, digest: bytes) -> None:
    """Note a page of the journal in ``pages``. Raises StateError when it does not follow the page before."""
    last, previous = pages.get(chain, (0, ledger.FIRST_DIGEST))
    if number != last + 1 or ledger.page_digest(previous, chain, number, entries) != digest:
        raise StateError("journal", f"page {number} of chain {chain}", "does not follow the page before: it was changed")
    pages[chain] = number, digest
