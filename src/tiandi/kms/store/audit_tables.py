"""What an audit compares: the sum of the journal with the keys that are in the tables, stock by stock and reservation by reservation."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from uuid import UUID

import msgspec

from tiandi.kms.keys import PREFIX_BYTE, key_identifier
from tiandi.kms.states import LIVING, SUPPLY_KEY, State
from tiandi.kms.store.database import Row, Transaction
from tiandi.kms.store.ledger import link_stock, supply_stock
from tiandi.kms.store.moves import Entry
from tiandi.kms.store.sealing import NONCE_BYTE, NUMBER_BYTE
from tiandi.units import BIT_PER_BYTE, byte_from_bit

PORTION = 1000
SEAL_BYTE = NUMBER_BYTE + NONCE_BYTE + 16
"""What a seal adds."""
_COLUMNS = "prefix, first_index, role, slave, master, size_bit, key_count, left_count, state, delivered, length(sealed)"
_RELAY = "relay"


class Finding(msgspec.Struct, frozen=True):
    """Something amiss: which check found it, where, and what."""

    check: str
    where: str
    text: str


class Fold:
    """The sum of a journal: bits by account, and for every reservation what came and what was delivered."""

    def __init__(self) -> None:
        self.balance: Counter[tuple[str, str]] = Counter()
        self.came: Counter[tuple[str, bytes]] = Counter()
        """Bits that ever entered, by stock and prefix of the identifiers."""
        self.delivered: Counter[tuple[str, bytes]] = Counter()
        self.blocks: set[UUID] = set()

    def add(self, line: Entry) -> None:
        """One more entry, a note or a good step in the life of a key."""
        if not line.bit:
            return
        if line.before:
            self.balance[line.stock, line.before] -= line.bit
        self.balance[line.stock, line.after] += line.bit
        kind, *words = line.stock.split(" ")
        named = _identifier(line.what)
        if named is None:
            return
        if kind == "link" and not line.before:
            self.blocks.add(named)
        elif kind == "supply" and words[2] != _RELAY:
            place = line.stock, named.bytes[:PREFIX_BYTE]
            if not line.before:
                self.came[place] += line.bit
            elif line.after == State.DELIVERED:
                self.delivered[place] += line.bit

    def total(self, stock: str) -> int:
        """Every bit of a stock that ever came."""
        return sum(self.balance[stock, state] for state in State)


async def compare_link_key(transaction: Transaction, fold: Fold) -> list[Finding]:
    """Link key: bytes in the table by stock and state, and every block that ever came."""
    findings = []
    held: Counter[tuple[str, str]] = Counter()
    for peer, own, stored, length in await transaction.rows(
        "SELECT peer, own, stored, sum(length) FROM link_key GROUP BY peer, own, stored ORDER BY peer, own, stored"
    ):
        state = State.STORED if stored else State.RECEIVED
        held[link_stock(peer, own=bool(own)), state.value] += int(length) * BIT_PER_BYTE
    told = {place for place in fold.balance if place[0].startswith("link ") and place[1] in LIVING}
    for stock, name in sorted(told | held.keys()):
        if held[stock, name] != fold.balance[stock, name]:
            text = f"{held[stock, name]} bit in the table, by the journal {fold.balance[stock, name]}"
            findings.append(Finding("link key", f"{stock}, {name}", text))
    known: set[UUID] = set()
    for block_id, seen in await transaction.rows(
        "SELECT b.block_id, (SELECT count(*) FROM link_key k WHERE k.block_id = b.block_id AND (k.peer <> b.peer"
        " OR k.start < 0 OR k.start + k.length > b.length OR b.state NOT IN ('received', 'stored'))) FROM link_block b"
    ):
        known.add(UUID(bytes=block_id))
        if seen:
            findings.append(Finding("link key", f"block {UUID(bytes=block_id)}", f"{seen} pieces that do not belong to it"))
    findings += [Finding("link key", f"block {missing}", "came by the journal, and has no row") for missing in sorted(fold.blocks - known)]
    findings += [Finding("link key", f"block {extra}", "has a row, and never came by the journal") for extra in sorted(known - fold.blocks)]
    return findings


async def compare_reservations(transaction: Transaction, fold: Fold) -> tuple[int, list[Finding]]:
    """Supply keys: every row, its identifiers and its bytes; how many rows, and what is amiss."""
    comparison = _Reservations(fold)
    last: Row = ()
    count = 0
    while True:
        after = "WHERE (prefix, first_index, role, slave) > ($1, $2, $3, $4)" if last else ""
        # Only constants are inserted.
        query = f"SELECT {_COLUMNS} FROM reservation {after} ORDER BY prefix, first_index, role, slave LIMIT {PORTION}"  # noqa: S608
        rows = await transaction.rows(query, *last)
        for row in rows:
            comparison.add(row)
        count += len(rows)
        if len(rows) < PORTION:
            return count, comparison.finish()
        last = rows[-1][:4]


class _Reservations:
    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._findings: list[Finding] = []
        self._held: Counter[tuple[str, str]] = Counter()
        self._total: Counter[str] = Counter()
        self._came: Counter[tuple[str, bytes]] = Counter()
        self._delivered: Counter[tuple[str, bytes]] = Counter()
        self._ranges: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self._prefix = b""

    def add(self, row: Row) -> None:
        """One row; rows come in the order of their prefix."""
        prefix, first_index, role, slave, master, size_bit, key_count, left_count, state, delivered, sealed_byte = row
        if prefix != self._prefix:
            self._end_prefix()
            self._prefix = prefix
        self._ranges.setdefault((role, slave), []).append((first_index, first_index + key_count))
        marks = int.from_bytes(delivered, "little")
        stock = supply_stock(master, slave, role, size_bit)
        self._total[stock] += key_count * size_bit
        self._came[stock, prefix] += key_count * size_bit
        self._delivered[stock, prefix] += marks.bit_count() * size_bit
        if state in LIVING:
            self._held[stock, state] += left_count * size_bit
        if marks.bit_count() + left_count != key_count or marks >> key_count:
            self._tell(row, f"of {key_count} keys {left_count} are left, and {marks.bit_count()} marked as delivered")
        wanted = left_count * byte_from_bit(size_bit) + SEAL_BYTE if state in LIVING else None
        if sealed_byte != wanted:
            self._tell(row, f"{sealed_byte or 0} bytes are sealed, {wanted or 0} must be")

    def finish(self) -> list[Finding]:
        """Everything that is amiss."""
        self._end_prefix()
        fold = self._fold
        stocks = {stock for stock, _ in fold.balance if stock.startswith("supply ") and stock.split(" ")[3] != _RELAY} | self._total.keys()
        for stock in sorted(stocks):
            for state in sorted(SUPPLY_KEY):
                held, says = self._held[stock, state.value], fold.balance[stock, state.value]
                if held != says:
                    self._findings.append(Finding("supply keys", f"{stock}, {state}", f"{held} bit in the table, by the journal {says}"))
            if self._total[stock] != fold.total(stock):
                text = f"rows for {self._total[stock]} bit that ever came, by the journal {fold.total(stock)}"
                self._findings.append(Finding("supply keys", stock, text))
        for stock, prefix in sorted(fold.came.keys() | self._came.keys()):
            self._compare_one(stock, prefix)
        return self._findings

    def _compare_one(self, stock: str, prefix: bytes) -> None:
        """One reservation of one side: how many keys it has, and how many were delivered."""
        size_bit, where = int(stock.split(" ")[4]), f"{stock}, reservation {key_identifier(prefix, 0)}"
        pairs = ((self._came, self._fold.came, "came"), (self._delivered, self._fold.delivered, "delivered"))
        (rows, came, _), (marked, given, _) = pairs
        if rows[stock, prefix] != came[stock, prefix]:
            text = f"rows for {rows[stock, prefix] // size_bit} keys, by the journal {came[stock, prefix] // size_bit} came"
            self._findings.append(Finding("reservation", where, text))
        elif marked[stock, prefix] != given[stock, prefix]:
            text = (
                f"{marked[stock, prefix] // size_bit} keys are marked as delivered, by the journal {given[stock, prefix] // size_bit} were"
            )
            again = ": some twice, or their row was put back" if given[stock, prefix] > marked[stock, prefix] else ""
            self._findings.append(Finding("reservation", where, text + again))

    def _end_prefix(self) -> None:
        """Whether two rows of one side hold the same identifier."""
        for (role, slave), ranges in self._ranges.items():
            for (_, end), (start, _) in pairwise(sorted(ranges)):
                if start < end:
                    where = f"{role}'s side of {slave}, key {key_identifier(self._prefix, start)}"
                    self._findings.append(Finding("reservation", where, "stands in two rows: it could be delivered twice"))
        self._ranges = {}

    def _tell(self, row: Row, text: str) -> None:
        self._findings.append(Finding("reservation", f"{row[2]}'s side of {row[3]}, reservation {key_identifier(row[0], row[1])}", text))


def _identifier(what: str) -> UUID | None:
    """The identifier that an entry names first, if it names one."""
    try:
        return UUID(what[:36])
    except ValueError:
        return None
