"""Alarms of a KME: what an operator must know, until somebody has looked.

`raise_alarm` is called where it happens, in the transaction of what happened. A condition that comes again while its alarm is open is
counted there, so that nobody can fill the store with alarms.
"""

from __future__ import annotations

import logging
from typing import Literal, get_args
from uuid import uuid4

import msgspec

from tiandi.errors import InputError
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Transaction

Severity = Literal["critical", "major", "minor"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
Kind = Literal[
    "block-differs", "clock-jump", "link-key-low", "pair-not-voided", "relay-tag", "revocations-stale", "source-silent", "store-failed"
]
SEVERITY: dict[Kind, Severity] = {
    "block-differs": "critical",
    "clock-jump": "major",
    "link-key-low": "minor",
    "pair-not-voided": "critical",
    "relay-tag": "critical",
    "revocations-stale": "critical",
    "source-silent": "major",
    "store-failed": "critical",
}
MOST_LISTED = 1000
LONGEST_TEXT = 500

SCHEMA = """
CREATE TABLE alarm (
    alarm_id TEXT PRIMARY KEY, raised_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, times INTEGER NOT NULL, severity TEXT NOT NULL,
    kind TEXT NOT NULL, source TEXT NOT NULL, text TEXT NOT NULL, acknowledged_ms INTEGER NOT NULL, acknowledged_by TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX alarm_open ON alarm (kind, source) WHERE acknowledged_ms = 0;
CREATE INDEX alarm_age ON alarm (raised_ms);
"""
_COLUMNS = "alarm_id, raised_ms, last_ms, times, severity, kind, source, text, acknowledged_ms, acknowledged_by"
# Only constants are inserted.
_SELECT = f"SELECT {_COLUMNS} FROM alarm"  # noqa: S608
_INSERT = (
    f"INSERT INTO alarm ({_COLUMNS}) VALUES ($1, $2, $2, 1, $3, $4, $5, $6, 0, '')"  # noqa: S608
    " ON CONFLICT (kind, source) WHERE acknowledged_ms = 0"
    " DO UPDATE SET last_ms = excluded.last_ms, times = alarm.times + 1, text = excluded.text"
)
_ACKNOWLEDGE = (
    "UPDATE alarm SET acknowledged_ms = $2, acknowledged_by = $3"  # noqa: S608
    f" WHERE alarm_id = $1 AND acknowledged_ms = 0 RETURNING {_COLUMNS}"
)
_log = logging.getLogger("tiandi.kms")


class Alarm(msgspec.Struct, frozen=True):
    """One alarm. ``source`` is a peer, a source of link key or the KME itself; times are ms since 1970, 0 while not acknowledged."""

    alarm_id: str
    raised_ms: int
    last_ms: int
    times: int
    severity: Severity
    kind: Kind
    source: str
    text: str
    acknowledged_ms: int
    acknowledged_by: str


async def raise_alarm(transaction: Transaction, kind: Kind, source: str, text: str) -> None:
    """Enter that something happened at ``source``; ``text`` tells people what, and holds no key."""
    _log.warning("alarm %s of %s: %s", kind, source, text)
    now_ms = ledger.now_ms()
    await transaction.rows(_INSERT, str(uuid4()), now_ms, SEVERITY[kind], kind, source, text[:LONGEST_TEXT])


async def acknowledge(transaction: Transaction, alarm_id: str, who: str) -> Alarm | None:
    """Note that an operator has looked, and give the alarm; None when there is none. Who acknowledged first stays."""
    rows = await transaction.rows(_ACKNOWLEDGE, alarm_id, ledger.now_ms(), who)
    if rows:
        ledger.note(transaction, who, f"acknowledged alarm {alarm_id}")
    else:
        rows = await transaction.rows(f"{_SELECT} WHERE alarm_id = $1", alarm_id)
    return Alarm(*rows[0]) if rows else None


async def read_alarms(transaction: Transaction, *, limit: int = MOST_LISTED, also_acknowledged: bool = False) -> list[Alarm]:
    """The newest alarms, those that are open or all. Raises InputError unless ``limit`` lies in [1, `MOST_LISTED`]."""
    if not 1 <= limit <= MOST_LISTED:
        raise InputError("limit", limit, f"must lie in [1, {MOST_LISTED}]")
    which = "" if also_acknowledged else "WHERE acknowledged_ms = 0"
    return [Alarm(*row) for row in await transaction.rows(f"{_SELECT} {which} ORDER BY raised_ms DESC, alarm_id LIMIT $1", limit)]


async def open_counts(transaction: Transaction) -> dict[str, int]:
    """Open alarms by severity, those without any included."""
    rows = await transaction.rows("SELECT severity, count(*) FROM alarm WHERE acknowledged_ms = 0 GROUP BY severity")
    return dict.fromkeys(SEVERITIES, 0) | {severity: int(count) for severity, count in rows}
