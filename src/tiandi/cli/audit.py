"""`tiandi audit`: does a KME's journal hold together, and is in its store what the journal says?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from tiandi.cli.terminal import print_json, standard_output
from tiandi.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from tiandi.kms.store.audit import Heads, Report
    from tiandi.kms.store.journal import JournalEntry

# Modules are imported by the command that needs them, so that --help answers at once.

EXIT_FAILED = 1
PLAIN_WIDTH = 140
"""Columns when the output is not a terminal."""
DEFAULT_LIMIT = 20

app = App(name="audit", help="Audit the store of a KME: every bit of key accounted for, every page of its journal in place.")

Store = Annotated[str, Parameter(help="The KME's file of SQLite, which must not be in use, or postgresql://...")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of tables.")]


@app.command
def verify(
    store: Store,
    /,
    *,
    master_key: Annotated[
        str | None, Parameter(help="file:PATH, environment:NAME, command:... or pkcs11:...: also open whatever is sealed.")
    ] = None,
    head: Annotated[
        Path | None,
        Parameter(help="File that remembers the journal's last pages from audit to audit. Keep it where the KME cannot write."),
    ] = None,
    json: Json = False,
) -> None:
    """Verify a store, off line: chains of hashes, steps of every key's life, accounts, tables. Exit status 1 when something is amiss."""
    known = _read_heads(head) if head is not None else None
    report = asyncio.run(_verify(store, master_key, known))
    if head is not None and report.good:
        _write_heads(head, report.heads)
    if json:
        print_json(report)
    else:
        _show_report(report)
    if not report.good:
        raise SystemExit(EXIT_FAILED)


@app.command
def show(
    store: Store,
    /,
    *,
    limit: Annotated[int, Parameter(help="How many lines of the journal, the newest first.")] = DEFAULT_LIMIT,
    json: Json = False,
) -> None:
    """Show a store's accounts and the end of its journal. Nothing is verified."""
    from tiandi.kms.store.journal import LARGEST_LIMIT

    if not 1 <= limit <= LARGEST_LIMIT:
        raise InputError("limit", limit, f"must lie in [1, {LARGEST_LIMIT}]")
    kme, accounts, entries = asyncio.run(_read(store, limit))
    if json:
        print_json({"kme": kme, "accounts": accounts, "journal": entries})
    else:
        _show_accounts(kme, accounts)
        _show_journal(entries)


async def _verify(store: str, master_key: str | None, known: Heads | None) -> Report:
    from tiandi.kms.store.audit import open_store, verify
    from tiandi.kms.store.master_keys import open_master_key

    key = None if master_key is None else open_master_key(master_key)
    database = await open_store(store)
    try:
        return await verify(database, master_key=key, known=known)
    finally:
        await database.close()


async def _read(store: str, limit: int) -> tuple[str, dict[str, dict[str, int]], list[JournalEntry]]:
    from tiandi.kms.store.audit import begin_reading, open_store
    from tiandi.kms.store.database import Transaction
    from tiandi.kms.store.journal import read_journal
    from tiandi.kms.store.ledger import accounts

    async def read(transaction: Transaction) -> tuple[str, dict[str, dict[str, int]], list[JournalEntry]]:
        kme, _ = await begin_reading(transaction)
        return kme, await accounts(transaction), await read_journal(transaction, limit)

    database = await open_store(store)
    try:
        return await database.run(read)
    finally:
        await database.close()


def _read_heads(path: Path) -> Heads | None:
    """The heads in a file; None when there is none yet."""
    import msgspec

    from tiandi.kms.store.audit import Heads

    try:
        return msgspec.json.decode(path.read_bytes(), type=Heads)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError("head", str(path), f"cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError("head", str(path), f"must be a file that this command has written: {error}") from None


def _write_heads(path: Path, heads: Heads) -> None:
    """The file is there as a whole or not at all."""
    import msgspec

    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(heads), indent=2) + b"\n")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError("head", str(path), f"cannot be written: {error.strerror}") from None


def _show_report(report: Report) -> None:
    console, table = standard_output(), _table("where", "what is amiss", "found by")
    for finding in report.findings:
        _add(table, finding.where, finding.text, finding.check)
    if report.findings:
        console.print(table)
    opened = "without the master key nothing sealed was opened" if report.opened is None else f"{report.opened} sealed secrets opened"
    summary = f"{report.kme}: {report.pages} pages, {report.entries} entries, {report.rows} reservations; {opened}."
    console.print(summary, highlight=False, markup=False)
    for chain, head in report.heads.chains.items():
        console.print(f"head of chain {chain}: page {head.number}, {head.digest}", highlight=False, markup=False, soft_wrap=True)
    verdict = "Nothing is amiss." if report.good else f"{len(report.findings)} findings."
    console.print(verdict, highlight=False)


def _show_accounts(kme: str, accounts: dict[str, dict[str, int]]) -> None:
    table = _table(f"stock of {kme}", "state", "bit")
    for stock, states in accounts.items():
        for number, (state, bit) in enumerate(states.items()):
            _add(table, "" if number else stock, state, f"{bit:,}")
    standard_output().print(table)


def _show_journal(entries: list[JournalEntry]) -> None:
    from datetime import UTC, datetime

    from tiandi.clock import format_utc

    table = _table("time", "stock", "step", "bit", "what")
    for line in entries:
        time = format_utc(datetime.fromtimestamp(line.time_ms / 1000, UTC))
        _add(table, time, line.stock, f"{line.before or '-'} > {line.after or '-'}", f"{line.bit:,}", line.what)
    standard_output().print(table)


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name == "bit" else "left", overflow="fold")
    return table


def _add(table: Table, *cells: str) -> None:
    """A row whose cells are taken as they are: a store that was tampered with may hold anything."""
    from rich.text import Text

    table.add_row(*(Text(cell) for cell in cells))
