"""Putting a backup back: a store that knows every identifier and holds no key, and neighbours that know of it.

Whatever key was alive when the backup was made is voided, in the ledger too. What other KMEs share with this one is worth nothing any
more: `Restoration` tells each of them, once, and each destroys the link key it shares with this one and gives up the supply keys that
it keeps ready for SAEs here. Keys that a master SAE here was given stay with the slave's KME, where the slave may still collect them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tiandi.errors import StateError, TiandiError
from tiandi.kms.entity import KeyManagementEntity
from tiandi.kms.states import LIVING, State
from tiandi.kms.store import ledger, schema
from tiandi.kms.store.backup import PORTION, Table, read_lines, require_whole
from tiandi.kms.store.database import Database, Row, Transaction
from tiandi.kms.store.moves import Entry
from tiandi.random import secret_bytes

RESTORED_PATH = "/kx/v1/restored"
MARK_BYTE = 16
SCHEMA = """
CREATE TABLE restoration (mark BLOB NOT NULL, kme TEXT NOT NULL, PRIMARY KEY (mark, kme)) STRICT;
"""
"""This KME's own name stands beside the mark of each restoration it went through, another's when it was told of it or told of its own."""

_UNUSED = ("journal", "reservation", "link_block", "sealing_key")
_VOIDED = (
    "UPDATE link_block SET state = 'voided' WHERE state IN ('received', 'stored')",
    # A master's KME that asks again is told that nothing is there.
    "UPDATE arrival SET state = 'voided' WHERE state IN ('unknown', 'held') OR EXISTS (SELECT 1 FROM reservation"
    " WHERE reservation.prefix = arrival.prefix AND reservation.first_index = arrival.first_index AND reservation.role = 'slave'"
    " AND reservation.state IN ('reserved', 'held', 'uncertain', 'ready'))",
    # A partner that was, or may have been, told that an SAE here has a key is told that it is void.
    "UPDATE incoming SET state = 'voiding', claimed_ms = 0 WHERE state = 'carrying' OR state = 'relayed' AND EXISTS"
    " (SELECT 1 FROM reservation WHERE reservation.prefix = incoming.prefix AND reservation.first_index = incoming.first_index"
    " AND reservation.role = 'slave' AND reservation.state IN ('reserved', 'held', 'uncertain', 'ready'))",
    "DELETE FROM notice WHERE kind = 'relayed' AND EXISTS (SELECT 1 FROM incoming WHERE incoming.prefix = notice.prefix"
    " AND incoming.first_index = notice.first_index AND incoming.partner = notice.partner AND incoming.state = 'voiding')",
    "UPDATE reservation SET state = 'voided' WHERE state IN ('reserved', 'held', 'uncertain', 'ready')",
    "UPDATE relay SET state = 'refused' WHERE state IN ('new', 'waiting')",
    "UPDATE relay SET state = 'done' WHERE state = 'held'",
    "UPDATE announcement SET state = 'done', message = NULL",
    "UPDATE hand_over SET state = 'refused' WHERE state = 'waiting'",
    # What was on its way is given up: whoever sweeps has the slaves' KMEs void it.
    "UPDATE confirmation SET state = 'voiding', claimed_ms = 0 WHERE state <> 'ready' AND state <> 'voided'",
    "UPDATE stream SET state = 'ended' WHERE state IN ('open', 'closing')",
    "UPDATE box_block SET state = 'void', key_ids = NULL WHERE state <> 'stored'",
)


async def restore(database: Database, kme_id: str, lines: Iterable[bytes], more_tables: Sequence[str]) -> int:
    """Fill a new database from a backup, all or nothing; how many rows. ``more_tables`` must be those of `service.MORE_TABLES`.

    Raises InputError for a backup that is not whole or another KME's, StateError for a database that is in use or a changed journal.
    """
    await schema.create_tables(database, kme_id, *more_tables)
    return await database.run(_fill, kme_id, lines, more_tables)


async def _fill(transaction: Transaction, kme_id: str, lines: Iterable[bytes], more_tables: Sequence[str]) -> int:
    for name in _UNUSED:
        if await transaction.rows(f"SELECT 1 FROM {name} LIMIT 1"):  # noqa: S608 - a constant.
            raise StateError("key store", kme_id, "has been in use: a backup goes into a new one")
    balance: dict[tuple[str, str], int] = {}
    pages: dict[str, tuple[int, bytes]] = {}
    count = 0
    waiting: list[Row] = []
    of: Table | None = None
    for table, row in read_lines(lines, kme_id, more_tables):
        if of is not None and (table is not of or len(waiting) == PORTION):
            await _insert(transaction, of, waiting)
            waiting = []
        of = table
        if table.name == "journal":
            require_whole(pages, *row)
            _add(balance, row[2])
        waiting.append(row)
        count += 1
    if of is not None:
        await _insert(transaction, of, waiting)
    await _void(transaction, balance)
    await transaction.rows("INSERT INTO restoration (mark, kme) VALUES ($1, $2)", secret_bytes(MARK_BYTE), kme_id)
    return count


async def _insert(transaction: Transaction, table: Table, rows: Sequence[Row]) -> None:
    marks = ", ".join(f"${place + 1}" for place in range(len(table.columns)))
    # Names of tables and columns are constants of the program.
    await transaction.execute_many(f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({marks})", rows)  # noqa: S608


def _add(balance: dict[tuple[str, str], int], entries: bytes) -> None:
    """Add a page of the journal to the accounts."""
    for entry in msgspec.json.decode(entries, type=list[Entry]):
        for state, bit in ((entry.before, -entry.bit), (entry.after, entry.bit)):
            if state and bit:
                balance[entry.stock, state] = balance.get((entry.stock, state), 0) + bit


async def _void(transaction: Transaction, balance: dict[tuple[str, str], int]) -> None:
    """Whatever was alive is voided, in the ledger and in the tables."""
    accounts = [(stock, state, bit) for (stock, state), bit in balance.items() if bit]
    await transaction.execute_many("INSERT INTO account (stock, state, bit) VALUES ($1, $2, $3)", accounts)
    for stock, state, bit in sorted(accounts):
        if state in LIVING:
            await ledger.move(transaction, stock, State(state), State.VOIDED, bit, what="restored from a backup")
    for query in _VOIDED:
        await transaction.rows(query)
    await _void_beyond(transaction)


async def _void_beyond(transaction: Transaction) -> None:
    """What was held for a partner is voided there: whether it was passed on after the backup was taken, nobody knows here."""
    rows = await transaction.rows("SELECT prefix, first_index, partner, answers FROM outgoing WHERE state = 'held'")
    await transaction.execute_many(
        "UPDATE outgoing SET state = 'voiding', answers = $4, claimed_ms = 0 WHERE prefix = $1 AND first_index = $2 AND partner = $3",
        [(*place, bytes(len(answers))) for *place, answers in rows],
    )


class Restoration:
    """What a KME says and hears of restorations."""

    def __init__(self, entity: KeyManagementEntity) -> None:
        self._entity = entity

    async def tell(self, peers: Iterable[str]) -> None:
        """Tell every peer that has not heard of this KME's restorations yet; who gives no answer is told another time."""
        for peer in peers:
            for (mark,) in await self._entity.database.run(_untold, self._entity.kme_id, peer):
                try:
                    await self._entity.exchange.ask(peer, RESTORED_PATH, mark, str)
                except TiandiError:
                    break
                await self._entity.database.run(_note, mark, peer)

    async def receive(self, sender: str, marks: Sequence[bytes]) -> list[str]:
        """A KME that was restored has none of the key any more that it shared with this one."""
        for mark in marks:
            await self._entity.database.run(self._give_up, sender, mark)
        return [""] * len(marks)

    async def _give_up(self, transaction: Transaction, sender: str, mark: bytes) -> None:
        if not await _note(transaction, mark, sender):
            return
        await self._entity.link_keys.void_link(transaction, sender, what=f"{sender} was restored from a backup")
        rows = await transaction.rows(
            "SELECT DISTINCT confirmation.prefix, confirmation.first_index FROM confirmation JOIN reservation"
            " ON confirmation.prefix = reservation.prefix AND confirmation.first_index = reservation.first_index"
            " WHERE confirmation.target = $1 AND reservation.role = 'master' AND reservation.state IN ('reserved', 'uncertain', 'ready')",
            sender,
        )
        for prefix, first_index in rows:
            await self._entity.relaying.give_up(transaction, prefix, first_index, even_ready=True)
            # Whoever had it in hand is done with it long since.
            await transaction.rows("UPDATE confirmation SET claimed_ms = 0 WHERE prefix = $1 AND first_index = $2", prefix, first_index)


async def _untold(transaction: Transaction, own: str, peer: str) -> list[Row]:
    query = "SELECT mark FROM restoration WHERE kme = $1 AND mark NOT IN (SELECT mark FROM restoration WHERE kme = $2)"
    return await transaction.rows(query, own, peer)


async def _note(transaction: Transaction, mark: bytes, kme: str) -> bool:
    """Enter a KME beside a mark; false when it stands there already."""
    query = "INSERT INTO restoration (mark, kme) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1"
    return bool(await transaction.rows(query, mark, kme))
