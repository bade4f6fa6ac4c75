"""Changes of the state of key bits, as a transaction gathers them before they are entered in the ledger."""

from __future__ import annotations

import msgspec


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the journal: ``bit`` bits of ``stock`` went from ``before`` ("" where they entered the KME) to ``after``."""

    time_ms: int
    stock: str
    before: str
    after: str
    bit: int
    what: str = ""


class Moves:
    """Lines that wait to be entered, and what they come to for each account (stock, state) [bit]."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.balance: dict[tuple[str, str], int] = {}

    def add(self, entry: Entry) -> None:
        """One more line."""
        self.entries.append(entry)
        self._count(entry, entry.bit)

    def undo(self, length: int) -> None:
        """Take back all but the first ``length`` lines."""
        for entry in self.entries[length:]:
            self._count(entry, -entry.bit)
        del self.entries[length:]

    def clear(self) -> None:
        """They are entered, or nobody wants them any more."""
        self.entries.clear()
        self.balance.clear()

    def _count(self, entry: Entry, bit: int) -> None:
        if entry.before:
            self.balance[entry.stock, entry.before] = self.balance.get((entry.stock, entry.before), 0) - bit
        self.balance[entry.stock, entry.after] = self.balance.get((entry.stock, entry.after), 0) + bit
