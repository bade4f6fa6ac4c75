"""The audit journals of a living network's KMEs: hash-chained pages in their stores, read backwards, a little at a time.

Nothing of it is kept in memory, and no key is in it. Pages of a chain are in the order of time, so that a search ends at ``since`` and
begins at ``until`` without reading what lies outside; `tiandi audit verify` checks a whole store, this checks the pages that it reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import get_args

import msgspec

from tiandi.clock import parse_utc
from tiandi.errors import InputError
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.ledger import FIRST_DIGEST, page_digest
from tiandi.kms.store.moves import Entry
from tiandi.limits import require_within
from tiandi.scenario.checks import known
from tiandi.scenario.view import AuditKind, AuditLine, AuditView

MOST_LINES = 1000
MOST_PAGES = 20_000
"""Pages that one search reads at most, of all journals together; who wants more asks again."""
PORTION = 64
"""Pages read at once: the stores of all KMEs live on one thread, which must not be kept."""
LONGEST_TEXT = 200

LATEST_MS = 253_402_300_800_000
"""The end of the year 9999."""

_decoder = msgspec.json.Decoder(list[Entry])


def _entries_of(page: bytes) -> list[Entry]:
    """What stands on a page; nothing where it was changed into what no journal has."""
    try:
        entries = _decoder.decode(page)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    return entries if all(0 <= entry.time_ms < LATEST_MS for entry in entries) else []


@dataclass(frozen=True)
class Sought:
    """What lines are wanted; times in milliseconds since 1970."""

    kind: str
    text: str
    since_ms: float
    until_ms: float

    def wants(self, line: AuditLine, time_ms: int) -> bool:
        """Whether this is one of them."""
        if not self.since_ms <= time_ms <= self.until_ms or self.kind not in ("", line.kind):
            return False
        return not self.text or self.text in " ".join((line.node, line.stock, line.before, line.after, line.what)).casefold()


@dataclass(eq=False)
class _Chain:
    """One chain of a KME's journal, and how far back it was read; ``number`` is the next page, ``reached_ms`` the oldest time seen."""

    node: str
    entity: KeyManagementEntity
    name: str
    number: int
    reached_ms: float = math.inf
    lines: list[tuple[int, AuditLine]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    async def read(self, sought: Sought) -> int:
        """Read a portion further back; returns the pages read."""
        rows = await self.entity.database.run(_pages, self.name, self.number, PORTION)
        # The page before the portion is read only to look at what follows from it; without one this must be the first of all.
        befores = [*rows[1:], (0, b"", FIRST_DIGEST)]
        for (number, entries, digest), (before, _, previous) in zip(rows[:PORTION], befores, strict=False):
            if before != number - 1 or page_digest(previous, self.name, number, entries) != digest:
                self.broken.append(f"{self.node}: chain {self.name}, page {number}")
            self._take(sought, number, entries, digest.hex())
        if len(rows) <= PORTION or self.reached_ms < sought.since_ms:
            self.number = 0
        return min(len(rows), PORTION)

    def _take(self, sought: Sought, number: int, page: bytes, digest: str) -> None:
        self.number = number - 1
        for entry in reversed(_entries_of(page)):
            self.reached_ms = min(self.reached_ms, entry.time_ms)
            kind = entry.stock.partition(" ")[0]
            line = AuditLine(
                self.node, self.name, number, _text_of(entry.time_ms), kind, entry.stock, entry.before, entry.after, entry.bit, entry.what,
                digest,
            )  # fmt: skip
            if sought.wants(line, entry.time_ms):
                self.lines.append((entry.time_ms, line))


async def read_audit(
    entities: Mapping[str, KeyManagementEntity], *, node: str, kind: str, since: str, until: str, limit: int, text: str
) -> AuditView:
    """The newest ``limit`` lines of the journals of ``entities``, by node, that are wanted; see `LivingNetwork.audit`."""
    sought = _sought(kind, since, until, text)
    require_within("limit", limit, 1, MOST_LINES)
    if node:
        known("node", node, entities)
    chains = [chain for name, entity in entities.items() if node in ("", name) for chain in await _chains(name, entity, sought.until_ms)]
    pages, horizon_ms = 0, math.inf
    while open_chains := [chain for chain in chains if chain.number > 0]:
        horizon_ms = max(chain.reached_ms for chain in open_chains)
        if pages >= MOST_PAGES or sum(time_ms >= horizon_ms for chain in chains for time_ms, _ in chain.lines) >= limit:
            break
        # What was read least far is read on, so that all are read back to about the same time.
        pages += await max(open_chains, key=lambda chain: chain.reached_ms).read(sought)
    else:
        horizon_ms = -math.inf
    found = sorted(((time_ms, line) for chain in chains for time_ms, line in chain.lines), key=lambda item: -item[0])
    shown = [line for time_ms, line in found if time_ms >= horizon_ms][:limit]
    looked_back_to = "" if math.isinf(horizon_ms) else _text_of(int(horizon_ms))
    broken = [place for chain in chains for place in chain.broken]
    return AuditView(shown, bool(looked_back_to) or len(shown) < len(found), looked_back_to, pages, broken)


def _sought(kind: str, since: str, until: str, text: str) -> Sought:
    if kind not in ("", *get_args(AuditKind)):
        raise InputError("kind", kind, f"must be one of {', '.join(get_args(AuditKind))}, or empty for all")
    if len(text) > LONGEST_TEXT:
        raise InputError("text", len(text), f"must be {LONGEST_TEXT} characters at most")
    since_ms = parse_utc(since, "since").timestamp() * 1000.0 if since else -math.inf
    until_ms = parse_utc(until, "until").timestamp() * 1000.0 if until else math.inf
    if since_ms > until_ms:
        raise InputError("since", since, f"must not be later than until, {until}")
    return Sought(kind, text.casefold(), since_ms, until_ms)


async def _chains(node: str, entity: KeyManagementEntity, until_ms: float) -> list[_Chain]:
    """Every chain of a KME's journal, to be read from its last page that began by ``until_ms``."""
    lasts = await entity.database.run(_lasts)
    return [_Chain(node, entity, name, await entity.database.run(_last_by, name, last, until_ms)) for name, last in lasts]


async def _lasts(transaction: Transaction) -> list[tuple[str, int]]:
    """Name and last page of each chain, along the primary key."""
    found: list[tuple[str, int]] = []
    name = ""
    while (rows := await transaction.rows("SELECT min(chain) FROM journal WHERE chain > $1", name)) and rows[0][0] is not None:
        name = rows[0][0]
        [(last,)] = await transaction.rows("SELECT max(number) FROM journal WHERE chain = $1", name)
        found.append((name, last))
    return found


async def _last_by(transaction: Transaction, chain: str, last: int, until_ms: float) -> int:
    """The last page of a chain that began by then, by halves; 0 where there is none.

    One that was changed and says nothing is taken for such a page, which makes the search begin too late rather than too early.
    """
    if math.isinf(until_ms):
        return last
    low, high = 0, last
    while low < high:
        middle = (low + high + 1) // 2
        query = "SELECT entries FROM journal WHERE chain = $1 AND number <= $2 ORDER BY number DESC LIMIT 1"
        rows = await transaction.rows(query, chain, middle)
        entries = _entries_of(bytes(rows[0][0])) if rows else []
        if not entries or entries[0].time_ms <= until_ms:
            low = middle
        else:
            high = middle - 1
    return low


async def _pages(transaction: Transaction, chain: str, number: int, count: int) -> list[tuple[int, bytes, bytes]]:
    """That page of a chain and ``count`` before it: number, entries, digest."""
    query = "SELECT number, entries, digest FROM journal WHERE chain = $1 AND number <= $2 ORDER BY number DESC LIMIT $3"
    return [(page, bytes(entries), bytes(digest)) for page, entries, digest in await transaction.rows(query, chain, number, count + 1)]


def _text_of(time_ms: int) -> str:
    """Real time, ISO 8601 in UTC to a millisecond."""
    moment = datetime.fromtimestamp(time_ms / 1000.0, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"
