"""The key store of one KME: SQLite, every change durable before it is acted upon, every secret sealed.

Two kinds of key. *Link key* is shared with a neighbouring KME and is spent in ranges: of each block one half is for what this end
sends, the other for what the peer sends, so that the two never reach for the same bits. *Supply keys* are for a pair of SAEs and are
handed out whole, once to each. What was spent or delivered is gone from the store; of a supply key its identifier stays for ever, so
that it cannot come back. Every method may be called from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import apsw
import msgspec

from tiandi.errors import KeyNotFound, KeysExhausted, NotAuthorised, StateError
from tiandi.kms.envelope import Envelope
from tiandi.units import BIT_PER_BYTE

STORE_VERSION = 1
CHUNK_BYTE = 4096
LARGEST_POSITION = 2**40

Half = Literal["first", "second"]
Role = Literal["master", "slave"]

_SCHEMA = """
CREATE TABLE store (version INTEGER NOT NULL, kme TEXT NOT NULL) STRICT;
CREATE TABLE link_key (
    block_id TEXT NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
    peer TEXT NOT NULL, own INTEGER NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY (block_id, start)
) STRICT;
CREATE INDEX link_key_peer ON link_key (peer);
CREATE TABLE supply_key (
    key_id TEXT PRIMARY KEY, master TEXT NOT NULL, slave TEXT NOT NULL, role TEXT NOT NULL, size_bit INTEGER NOT NULL, sealed BLOB
) STRICT;
CREATE INDEX supply_key_ready ON supply_key (master, slave) WHERE sealed IS NOT NULL;
CREATE TABLE account (stock TEXT NOT NULL, entry TEXT NOT NULL, bit INTEGER NOT NULL, PRIMARY KEY (stock, entry)) STRICT;
"""

_READY_FOR_MASTER = "WHERE master = ? AND slave = ? AND size_bit = ? AND role = 'master' AND sealed IS NOT NULL"


class Segment(msgspec.Struct, frozen=True):
    """A range of link key that both ends know by this name; positions in bytes."""

    block_id: UUID
    start: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_POSITION)]
    length: Annotated[int, msgspec.Meta(ge=1, le=LARGEST_POSITION)]


@dataclass(frozen=True, repr=False)
class SupplyKey:
    """A key for a pair of SAEs. Its repr shows identifier and length only."""

    key_id: UUID
    key: bytes

    def __repr__(self) -> str:
        return f"SupplyKey({self.key_id}, {len(self.key) * BIT_PER_BYTE} bit)"


class KeyStore:
    """Opens or creates the store of ``kme`` at ``path``. Raises StateError when the file is another version's or another KME's."""

    def __init__(self, path: Path, kme: str, master_key: bytes) -> None:
        self.kme = kme
        self._envelope = Envelope(master_key, kme)
        self._lock = threading.RLock()
        try:
            self._database = apsw.Connection(str(path))
            # Exclusive: a second process on the same store would spend the same key.
            for pragma in (
                "busy_timeout = 1000",
                "locking_mode = EXCLUSIVE",
                "journal_mode = WAL",
                "synchronous = FULL",
                "secure_delete = ON",
            ):
                self._database.execute(f"PRAGMA {pragma}")
        except apsw.Error as error:
            raise StateError("key store", str(path), f"cannot be opened: {error}") from None
        with self._transaction():
            if not self._rows("SELECT 1 FROM sqlite_master WHERE name = 'store'"):
                self._database.execute(_SCHEMA)
                self._database.execute("INSERT INTO store VALUES (?, ?)", (STORE_VERSION, kme))
            version, owner = self._rows("SELECT version, kme FROM store")[0]
        if (version, owner) != (STORE_VERSION, kme):
            self._database.close()
            raise StateError("key store", f"version {version} of {owner}", f"must be version {STORE_VERSION} of {kme}")
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file; what was deleted is truncated from the write-ahead log as well."""
        with self._lock:
            try:
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except apsw.Error:
                pass  # A full disk; the next opening truncates.
            finally:
                self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One durable change: all of it is on disk when this returns, or none of it. Raises StateError when the disk fails."""
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._database.execute("COMMIT")
                except BaseException:
                    if self._database.in_transaction:
                        self._database.execute("ROLLBACK")
                    raise
            except apsw.Error as error:
                raise StateError("key store", self.kme, f"cannot be written: {error}") from None

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return list(self._database.execute(query, values))
            except apsw.Error as error:
                raise StateError("key store", self.kme, f"cannot be read: {error}") from None

    def _enter(self, stock: str, entry: str, bit: int) -> None:
        self._database.execute(
            "INSERT INTO account VALUES (?, ?, ?) ON CONFLICT (stock, entry) DO UPDATE SET bit = bit + excluded.bit", (stock, entry, bit)
        )

    def account(self) -> dict[str, dict[str, int]]:
        """Sums of bits by stock (a peer, or a pair of SAEs) and entry (received, spent, stored, delivered)."""
        sums: dict[str, dict[str, int]] = {}
        for stock, entry, bit in self._rows("SELECT stock, entry, bit FROM account ORDER BY stock, entry"):
            sums.setdefault(stock, {})[entry] = bit
        return sums

    # Link key.

    def add_block(self, peer: str, block_id: UUID, key: bytes, own_half: Half) -> None:
        """Store a block shared with ``peer``; this end sends under ``own_half`` of it, the peer under the other.

        Raises StateError when its identifier was stored before.
        """
        middle = len(key) // 2
        with self._transaction():
            for low, high, half in ((0, middle, "first"), (middle, len(key), "second")):
                for start in range(low, high, CHUNK_BYTE):
                    self._put_chunk(peer, str(block_id), start, key[start : min(start + CHUNK_BYTE, high)], own=half == own_half)
            self._enter(peer, "received", len(key) * BIT_PER_BYTE)

    def _put_chunk(self, peer: str, block_id: str, start: int, key: bytes, *, own: bool) -> None:
        sealed = self._envelope.seal(key, f"link key {peer} {block_id} {start}")
        try:
            self._database.execute("INSERT INTO link_key VALUES (?, ?, ?, ?, ?, ?)", (block_id, start, len(key), peer, own, sealed))
        except apsw.ConstraintError:
            raise StateError("block_id", block_id, "this block is in the store already") from None

    def stock_bit(self, peer: str) -> int:
        """Link key under which this end can send to ``peer`` [bit]."""
        return int(self._rows("SELECT coalesce(sum(length), 0) FROM link_key WHERE peer = ? AND own", (peer,))[0][0]) * BIT_PER_BYTE

    def spend(self, *wanted: tuple[str, int]) -> list[tuple[bytes, list[Segment]]]:
        """Take link key of this end's halves, (peer, bytes) each; it is gone from the store when this returns.

        Returns key and ranges for each. Raises KeysExhausted when one stock is too small; then nothing is taken of any.
        """
        with self._transaction():
            return [self._spend(peer, length_byte) for peer, length_byte in wanted]

    def _spend(self, peer: str, length_byte: int) -> tuple[bytes, list[Segment]]:
        available = self.stock_bit(peer)
        if available < length_byte * BIT_PER_BYTE:
            raise KeysExhausted(f"{self.kme}: stock with {peer}", available, length_byte * BIT_PER_BYTE)
        segments: list[Segment] = []
        missing = length_byte
        query = "SELECT block_id, start, length FROM link_key WHERE peer = ? AND own ORDER BY block_id, start"
        for block_id, start, length in self._rows(query, (peer,)):
            if missing == 0:
                break
            segments.append(Segment(UUID(block_id), start, min(missing, length)))
            missing -= segments[-1].length
        return b"".join(self._cut(peer, segment) for segment in segments), segments

    def spend_segments(self, peer: str, segments: Sequence[Segment]) -> bytes:
        """Take exactly these ranges, which the peer named, of the peer's halves.

        Raises KeyNotFound when any of it is spent, unknown, or this end's own. What there is of the rest is destroyed even so: the
        peer may have used it.
        """
        with self._transaction():
            taken = [self._cut(peer, segment, own=False) for segment in segments]
        for segment, key in zip(segments, taken, strict=True):
            if len(key) != segment.length:
                end = segment.start + segment.length
                raise KeyNotFound(f"{self.kme}: bytes {segment.start} to {end} of block {segment.block_id} are not {peer}'s to spend")
        return b"".join(taken)

    def _cut(self, peer: str, segment: Segment, *, own: bool = True) -> bytes:
        """Remove a range and return what there was of it; the rest of its chunks is sealed anew, so that no spent byte stays."""
        end = segment.start + segment.length
        block_id = str(segment.block_id)
        rows = self._rows(
            "SELECT start, length, sealed FROM link_key"
            " WHERE block_id = ? AND peer = ? AND own = ? AND start < ? AND start + length > ? ORDER BY start",
            (block_id, peer, own, end, segment.start),
        )
        parts = []
        for start, length, sealed in rows:
            key = self._envelope.open(sealed, f"link key {peer} {block_id} {start}")
            low, high = max(segment.start, start) - start, min(end, start + length) - start
            parts.append(key[low:high])
            self._database.execute("DELETE FROM link_key WHERE block_id = ? AND start = ?", (block_id, start))
            for offset, rest in ((start, key[:low]), (start + high, key[high:])):
                if rest:
                    self._put_chunk(peer, block_id, offset, rest, own=own)
        taken = b"".join(parts)
        self._enter(peer, "spent", len(taken) * BIT_PER_BYTE)
        return taken

    # Supply keys.

    def add_supply_keys(self, master: str, slave: str, role: Role, keys: Sequence[SupplyKey]) -> None:
        """Store keys for a pair of SAEs, at the KME of its ``role``. Raises StateError when an identifier was used before."""
        with self._transaction():
            for item in keys:
                sealed = self._envelope.seal(item.key, f"supply key {master} {slave} {item.key_id}")
                try:
                    self._database.execute(
                        "INSERT INTO supply_key VALUES (?, ?, ?, ?, ?, ?)",
                        (str(item.key_id), master, slave, role, len(item.key) * BIT_PER_BYTE, sealed),
                    )
                except apsw.ConstraintError:
                    raise StateError("key_ID", str(item.key_id), "this identifier was used before") from None
                self._enter(f"{master} > {slave}", "stored", len(item.key) * BIT_PER_BYTE)

    def supply_count(self, master: str, slave: str, size_bit: int) -> int:
        """Keys of this size that the master of a pair can be given now."""
        query = f"SELECT count(*) FROM supply_key {_READY_FOR_MASTER}"
        return int(self._rows(query, (master, slave, size_bit))[0][0])

    def deliver_to_master(self, master: str, slave: str, number: int, size_bit: int) -> list[SupplyKey]:
        """The oldest ``number`` keys of a pair, committed as delivered. Raises KeysExhausted, and delivers none, when there are fewer."""
        with self._transaction():
            query = f"SELECT key_id, sealed FROM supply_key {_READY_FOR_MASTER} ORDER BY rowid LIMIT ?"
            rows = self._rows(query, (master, slave, size_bit, number))
            if len(rows) < number:
                raise KeysExhausted(f"{self.kme}: supply for {master} and {slave}", len(rows) * size_bit, number * size_bit)
            return [self._deliver(master, slave, key_id, sealed) for key_id, sealed in rows]

    def deliver_to_slave(self, master: str, slave: str, key_ids: Sequence[UUID]) -> list[SupplyKey]:
        """The keys of these identifiers, committed as delivered; all or none.

        Raises KeyNotFound when one is unknown or was delivered before, NotAuthorised when one is another pair's.
        """
        with self._transaction():
            rows = []
            for key_id in key_ids:
                query = "SELECT master, slave, role, sealed FROM supply_key WHERE key_id = ?"
                row = next(iter(self._rows(query, (str(key_id),))), None)
                if row is None:
                    raise KeyNotFound(str(key_id))
                if row[:3] != (master, slave, "slave"):
                    raise NotAuthorised(f"key {key_id} is not for {slave}")
                if row[3] is None:
                    raise KeyNotFound(f"{key_id} was delivered before")
                rows.append((str(key_id), row[3]))
            if len({key_id for key_id, _ in rows}) < len(rows):
                raise KeyNotFound("a key identifier is asked for twice")
            return [self._deliver(master, slave, key_id, sealed) for key_id, sealed in rows]

    def _deliver(self, master: str, slave: str, key_id: str, sealed: bytes) -> SupplyKey:
        key = self._envelope.open(sealed, f"supply key {master} {slave} {key_id}")
        self._database.execute("UPDATE supply_key SET sealed = NULL WHERE key_id = ?", (key_id,))
        self._enter(f"{master} > {slave}", "delivered", len(key) * BIT_PER_BYTE)
        return SupplyKey(UUID(key_id), key)
