"""Secrets at rest: sealed under AES-256-GCM, bound to what they are, under data keys which a master key wraps.

With random nonces of 96 bits a key may seal at most 2^32 messages (NIST SP 800-38D, section 8.3). So each process begins a data key of
its own, and another one well before 2^30 seals or a week; no two processes ever seal under the same. A sealed secret is the number of
its data key (4 bytes), the nonce (12), the ciphertext, as long as the secret, and the tag (16).

What this does not do: CPython cannot wipe a secret that was ever a ``bytes`` or ``str``, so whoever reads this process's memory reads
secrets that were handed out a while ago, and every data key in use. A data key that was destroyed lives on, wrapped, in backups:
what they hold is out of reach only when the master key it was wrapped under is destroyed as well.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tiandi.errors import StateError
from tiandi.kms.store.database import Database, Row, Transaction
from tiandi.kms.store.master_keys import MasterKey
from tiandi.random import secret_bytes

SCHEMA = """
CREATE TABLE sealing_store (number INTEGER PRIMARY KEY, store TEXT NOT NULL) STRICT;
CREATE TABLE sealing_key (
    number INTEGER PRIMARY KEY, wrapped BLOB NOT NULL, master_key TEXT NOT NULL, created_ms INTEGER NOT NULL
) STRICT;
"""

DATA_KEY_BYTE = 32
NUMBER_BYTE = 4
NONCE_BYTE = 12
SEALS_PER_DATA_KEY = 2**30
DATA_KEY_LIFE_S = 7 * 86_400.0
RETIREMENT_AGE_S = 30 * 86_400.0
"""Far above the life of a data key, so that nobody still seals under one that is destroyed, though clocks be two weeks apart."""
PORTION = 500

_HEAD_BYTE = NUMBER_BYTE + NONCE_BYTE
_MILLISECOND_PER_SECOND = 1000


class Sealer:
    """Seals and opens the secrets of one store. Begin with `open_sealer`; call `renew_when_due` at least once an hour."""

    def __init__(self, database: Database, master_key: MasterKey, store_name: str) -> None:
        self._database, self._master_key, self._store = database, master_key, store_name
        self._ciphers: dict[bytes, AESGCM] = {}
        self._number = b""
        self._began_s = 0.0
        self._seals = SEALS_PER_DATA_KEY

    @property
    def number(self) -> int:
        """The number of the data key under which this process seals."""
        return int.from_bytes(self._number)

    def seal(self, secret: bytes, context: bytes) -> bytes:
        """``secret`` encrypted, which opens only under the same ``context``: what it is and whose, never a secret itself.

        Raises StateError when this data key's seals or its week are used up, because nobody called `renew_when_due`.
        """
        if self._seals >= SEALS_PER_DATA_KEY or abs(time.time() - self._began_s) > DATA_KEY_LIFE_S:
            raise StateError("data key", self.number, "is used up: a new one was not made in time")
        self._seals += 1
        nonce = secret_bytes(NONCE_BYTE)
        return self._number + nonce + self._cipher.encrypt(nonce, secret, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """The secret in ``sealed``.

        Raises StateError when it was altered, moved, or sealed under a data key that this process does not have; see `ensure`.
        """
        cipher = self._ciphers.get(sealed[:NUMBER_BYTE])
        if cipher is None:
            raise StateError("data key", int.from_bytes(sealed[:NUMBER_BYTE]), f"is not a data key of the store {self._store!r}")
        try:
            return cipher.decrypt(sealed[NUMBER_BYTE:_HEAD_BYTE], sealed[_HEAD_BYTE:], context)
        except (InvalidTag, ValueError):
            raise StateError("sealed secret", context, "was altered, moved, or belongs to another store") from None

    async def ensure(self, transaction: Transaction, sealed: Iterable[bytes]) -> None:
        """Fetch the data keys with which other processes of this store have sealed what ``transaction`` has read.

        Without any that is new it asks the database nothing. Raises StateError when one is wrapped under another master key.
        """
        for number in {value[:NUMBER_BYTE] for value in sealed} - self._ciphers.keys():
            query = "SELECT number, wrapped, master_key FROM sealing_key WHERE number = $1"
            self._learn(await transaction.rows(query, int.from_bytes(number)))

    async def renew_when_due(self) -> None:
        """Begin a new data key when half of this one's seals or of its life have gone; else nothing. Raises StateError as `open_sealer`."""
        if self._seals >= SEALS_PER_DATA_KEY // 2 or abs(time.time() - self._began_s) > DATA_KEY_LIFE_S / 2:
            await self._renew()

    async def _load(self) -> None:
        self._learn(await self._database.run(_data_keys))
        await self._renew()

    async def _renew(self) -> None:
        """Seal under a new data key from now on, which is on disk before anything is sealed under it."""
        number, data_key, began_s = secret_bytes(NUMBER_BYTE), secret_bytes(DATA_KEY_BYTE), time.time()
        # A token may take its time; the number is random, so that no two processes meet.
        wrapped = await asyncio.to_thread(self._master_key.wrap, data_key, _context(self._store, int.from_bytes(number)))

        async def add(transaction: Transaction) -> None:
            await transaction.rows("INSERT INTO sealing_store (number, store) VALUES (1, $1) ON CONFLICT (number) DO NOTHING", self._store)
            store = await _locked_store(transaction)
            if store != self._store:
                raise StateError("store", self._store, f"this database belongs to the store {store!r}")
            query = "SELECT master_key FROM sealing_key WHERE master_key <> $1 LIMIT 1"
            for (other,) in await transaction.rows(query, self._master_key.name):
                raise _other_master_key(self._master_key, other)
            query = "INSERT INTO sealing_key (number, wrapped, master_key, created_ms) VALUES ($1, $2, $3, $4)"
            created_ms = int(began_s * _MILLISECOND_PER_SECOND)
            await transaction.rows(query, int.from_bytes(number), wrapped, self._master_key.name, created_ms)

        await self._database.run(add)
        self._cipher = self._ciphers[number] = AESGCM(data_key)
        self._number, self._began_s, self._seals = number, began_s, 0

    def _learn(self, rows: Iterable[Row]) -> None:
        for number, wrapped, name in rows:
            data_key = _unwrapped(self._master_key, self._store, (number, wrapped, name))
            self._ciphers[number.to_bytes(NUMBER_BYTE)] = AESGCM(data_key)

    def _forget(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._ciphers.pop(number.to_bytes(NUMBER_BYTE), None)


async def open_sealer(database: Database, master_key: MasterKey, store_name: str) -> Sealer:
    """The sealer of the store in ``database``, with a new data key. The tables of `SCHEMA` must be there.

    Raises StateError when the database belongs to another store, or its data keys to another master key.
    """
    sealer = Sealer(database, master_key, store_name)
    await sealer._load()
    return sealer


async def rotate_master_key(database: Database, old: MasterKey, new: MasterKey) -> int:
    """Wrap every data key under ``new`` instead of ``old``, all or none; how many there are.

    To repeat it does no harm. A process that runs on with ``old`` keeps the data keys it has, but makes and learns no new one: it must be
    started anew with ``new``. Raises StateError when a data key belongs to neither, or there is none to wrap.
    """

    async def wrap_anew(transaction: Transaction) -> int:
        store = await _locked_store(transaction)
        rows = await _data_keys(transaction)
        for number, wrapped, name in rows:
            data_key = _unwrapped(new if name == new.name else old, store, (number, wrapped, name))
            anew = new.wrap(data_key, _context(store, number))
            if new.unwrap(anew, _context(store, number)) != data_key:
                raise StateError("master key", new.name, "does not give back what it has wrapped; nothing was changed")
            await transaction.rows("UPDATE sealing_key SET wrapped = $1, master_key = $2 WHERE number = $3", anew, new.name, number)
        return len(rows)

    return await database.run(wrap_anew)


@dataclass(frozen=True)
class SealedColumn:
    """A column of sealed secrets: ``context`` gives what a row's secret is bound to, from the values of its ``context_columns``."""

    table: str
    column: str
    primary_key: tuple[str, ...]
    context_columns: tuple[str, ...]
    context: Callable[..., bytes]


async def retire(database: Database, sealer: Sealer, columns: Iterable[SealedColumn], *, minimum_age_s: float = RETIREMENT_AGE_S) -> int:
    """Re-seal, in portions, what is sealed under data keys of at least ``minimum_age_s`` [s]; then destroy those keys. How many they were.

    ``columns`` must be all that hold what was sealed: the rest is lost. Less than the default age only where no other process serves the
    store, because it might still seal under its data key. It may stop anywhere and begin again. Raises StateError as `Sealer.open`.
    """
    latest_ms = int((time.time() - minimum_age_s) * _MILLISECOND_PER_SECOND)

    async def old_data_keys(transaction: Transaction) -> list[Row]:
        query = "SELECT number FROM sealing_key WHERE created_ms <= $1 AND number <> $2"
        return await transaction.rows(query, latest_ms, sealer.number)

    async def destroy(transaction: Transaction) -> None:
        await transaction.execute_many("DELETE FROM sealing_key WHERE number = $1", [(number,) for number in numbers])

    numbers = {number for (number,) in await database.run(old_data_keys)}
    if not numbers:
        return 0
    for column in columns:
        while await _resealed_count(database, sealer, column, numbers):
            pass  # Until a pass over the whole table finds nothing.
    await database.run(destroy)
    sealer._forget(numbers)
    return len(numbers)


async def _resealed_count(database: Database, sealer: Sealer, column: SealedColumn, numbers: set[int]) -> int:
    """One pass over a table, re-sealing what is sealed under ``numbers``; how many rows that was."""
    last: Row = ()
    count = 0
    while True:
        found, resealed = await database.run(partial(_reseal_portion, sealer=sealer, column=column, numbers=numbers, last=last))
        count += resealed
        if len(found) < PORTION:
            return count
        last = found[-1]


async def _reseal_portion(
    transaction: Transaction, *, sealer: Sealer, column: SealedColumn, numbers: set[int], last: Row
) -> tuple[list[Row], int]:
    """The primary keys of the rows next to ``last``, and how many of these rows were re-sealed."""
    key_count = len(column.primary_key)
    key, marks = ", ".join(column.primary_key), ", ".join(f"${place}" for place in range(1, key_count + 1))
    wanted = ", ".join((*column.primary_key, column.column, *column.context_columns))
    after = f"WHERE ({key}) > ({marks})" if last else ""
    # Names of tables and columns are constants of the program.
    query = f"SELECT {wanted} FROM {column.table} {after} ORDER BY {key} LIMIT {PORTION}"  # noqa: S608
    rows = [(row[:key_count], row[key_count], row[key_count + 1 :]) for row in await transaction.rows(query, *last)]
    old = [row for row in rows if row[1] is not None and int.from_bytes(row[1][:NUMBER_BYTE]) in numbers]
    await sealer.ensure(transaction, (sealed for _, sealed, _ in old))
    anew = [(*place, sealed, _resealed(sealer, sealed, column.context(*values))) for place, sealed, values in old]
    # A row that was deleted or written meanwhile stays as it is.
    where = f"WHERE ({key}) = ({marks}) AND {column.column} = ${key_count + 1}"
    await transaction.execute_many(f"UPDATE {column.table} SET {column.column} = ${key_count + 2} {where}", anew)  # noqa: S608
    return [place for place, _, _ in rows], len(old)


def _resealed(sealer: Sealer, sealed: bytes, context: bytes) -> bytes:
    return sealer.seal(sealer.open(sealed, context), context)


async def _locked_store(transaction: Transaction) -> str:
    """The store's name, from the row that whoever makes or wraps data keys writes: so they take turns, at any level of isolation."""
    for (store,) in await transaction.rows("UPDATE sealing_store SET store = store WHERE number = 1 RETURNING store"):
        return str(store)
    raise StateError("sealing_store", "empty", "this database has no data keys yet; start its KME with the new master key")


async def _data_keys(transaction: Transaction) -> list[Row]:
    return await transaction.rows("SELECT number, wrapped, master_key FROM sealing_key")


def _unwrapped(master_key: MasterKey, store: str, row: Row) -> bytes:
    number, wrapped, name = row
    if name != master_key.name:
        raise _other_master_key(master_key, name)
    return master_key.unwrap(wrapped, _context(store, number))


def _other_master_key(master_key: MasterKey, name: str) -> StateError:
    return StateError("master key", master_key.name, f"the data keys of this store are wrapped under {name!r}")


def _context(store: str, number: int) -> bytes:
    """What a wrapped data key is bound to."""
    return b"tiandi data key\0" + store.encode() + b"\0" + number.to_bytes(NUMBER_BYTE)
