"""The key store of one KME: SQLite, every change durable before it is acted upon, every secret sealed.

Two kinds of key. *Link key* is shared with a neighbouring KME and is spent in ranges: the end of the QKD link with the transmitter
takes its ranges from the front of a block, the other end from the back, so that the two never reach for the same bits. *Supply keys*
are for a pair of SAEs and are handed out whole, once to each. What was spent or delivered is gone from the store; of a supply key its
identifier stays for ever, so that it cannot come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import UUID

import apsw
import msgspec

from tiandi.errors import KeyNotFound, KeysExhausted, NotAuthorised, StateError
from tiandi.kms.envelope import Envelope
from tiandi.units import BIT_PER_BYTE

STORE_VERSION = 1
CHUNK_BYTE = 4096

End = Literal["front", "back"]
Role = Literal["master", "slave"]

_SCHEMA = """
CREATE TABLE store (version INTEGER NOT NULL, kme TEXT NOT NULL) STRICT;
CREATE TABLE link_key (
    block_id TEXT NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
    peer TEXT NOT NULL, spend_from TEXT NOT NULL, sealed BLOB NOT NULL,
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
    start: int
    length: int


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
        self._database = apsw.Connection(str(path))
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "busy_timeout = 5000"):
            self._database.execute(f"PRAGMA {pragma}")
        with self._transaction():
            if not list(self._database.execute("SELECT 1 FROM sqlite_master WHERE name = 'store'")):
                self._database.execute(_SCHEMA)
                self._database.execute("INSERT INTO store VALUES (?, ?)", (STORE_VERSION, kme))
            version, owner = next(iter(self._database.execute("SELECT version, kme FROM store")))
        if (version, owner) != (STORE_VERSION, kme):
            self._database.close()
            raise StateError("key store", f"version {version} of {owner}", f"must be version {STORE_VERSION} of {kme}")

    def close(self) -> None:
        """Close the file; what was deleted is truncated from the write-ahead log as well."""
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _enter(self, stock: str, entry: str, bit: int) -> None:
        self._database.execute(
            "INSERT INTO account VALUES (?, ?, ?) ON CONFLICT (stock, entry) DO UPDATE SET bit = bit + excluded.bit", (stock, entry, bit)
        )

    def account(self) -> dict[str, dict[str, int]]:
        """Sums of bits by stock (a peer, or a pair of SAEs) and entry (received, spent, stored, delivered)."""
        sums: dict[str, dict[str, int]] = {}
        for stock, entry, bit in self._database.execute("SELECT stock, entry, bit FROM account ORDER BY stock, entry"):
            sums.setdefault(stock, {})[entry] = bit
        return sums

    # Link key.

    def add_block(self, peer: str, block_id: UUID, key: bytes, spend_from: End) -> None:
        """Store a block of key shared with ``peer``. Raises StateError when its identifier was stored before."""
        with self._transaction():
            try:
                for start in range(0, len(key), CHUNK_BYTE):
                    self._put_chunk(peer, str(block_id), start, key[start : start + CHUNK_BYTE], spend_from)
            except apsw.ConstraintError:
                raise StateError("block_id", str(block_id), "this block is in the store already") from None
            self._enter(peer, "received", len(key) * BIT_PER_BYTE)

    def _put_chunk(self, peer: str, block_id: str, start: int, key: bytes, spend_from: End) -> None:
        sealed = self._envelope.seal(key, f"link key {peer} {block_id} {start}")
        self._database.execute("INSERT INTO link_key VALUES (?, ?, ?, ?, ?, ?)", (block_id, start, len(key), peer, spend_from, sealed))

    def stock_bit(self, peer: str) -> int:
        """Link key shared with ``peer`` and not yet spent [bit]."""
        (total,) = next(iter(self._database.execute("SELECT coalesce(sum(length), 0) FROM link_key WHERE peer = ?", (peer,))))
        return int(total) * BIT_PER_BYTE

    def spend(self, peer: str, length_byte: int) -> tuple[bytes, list[Segment]]:
        """Take ``length_byte`` bytes of link key from this end; they are gone from the store when this returns.

        Raises KeysExhausted when the stock is smaller; then nothing is taken.
        """
        with self._transaction():
            available = self.stock_bit(peer)
            if available < length_byte * BIT_PER_BYTE:
                raise KeysExhausted(f"{self.kme}: stock with {peer}", available, length_byte * BIT_PER_BYTE)
            segments = []
            missing = length_byte
            query = (
                "SELECT block_id, start, length, spend_from FROM link_key WHERE peer = ?"
                " ORDER BY block_id, CASE spend_from WHEN 'front' THEN start ELSE -start END"
            )
            rows = list(self._database.execute(query, (peer,)))
            for block_id, start, length, spend_from in rows:
                if missing == 0:
                    break
                taken = min(missing, length)
                segments.append(Segment(UUID(block_id), start if spend_from == "front" else start + length - taken, taken))
                missing -= taken
            return b"".join(self._cut(peer, segment) for segment in segments), segments

    def spend_segments(self, peer: str, segments: Sequence[Segment]) -> bytes:
        """Take exactly these ranges, which the peer named. Raises KeyNotFound when any of it is spent or unknown; then nothing is taken."""
        with self._transaction():
            return b"".join(self._cut(peer, segment) for segment in segments)

    def _cut(self, peer: str, segment: Segment) -> bytes:
        """Remove one range; what is left of the chunks around it is sealed anew, so that the store keeps no spent byte."""
        if segment.start < 0 or segment.length <= 0:
            raise KeyNotFound("a range of link key must have a start and a length")
        end = segment.start + segment.length
        block_id = str(segment.block_id)
        rows = list(
            self._database.execute(
                "SELECT start, length, spend_from, sealed FROM link_key"
                " WHERE block_id = ? AND peer = ? AND start < ? AND start + length > ? ORDER BY start",
                (block_id, peer, end, segment.start),
            )
        )
        parts = []
        for start, length, spend_from, sealed in rows:
            key = self._envelope.open(sealed, f"link key {peer} {block_id} {start}")
            low, high = max(segment.start, start) - start, min(end, start + length) - start
            parts.append(key[low:high])
            self._database.execute("DELETE FROM link_key WHERE block_id = ? AND start = ?", (block_id, start))
            for offset, rest in ((start, key[:low]), (start + high, key[high:])):
                if rest:
                    self._put_chunk(peer, block_id, offset, rest, spend_from)
        taken = b"".join(parts)
        if len(taken) != segment.length:
            raise KeyNotFound(f"{self.kme}: bytes {segment.start} to {end} of block {block_id} are not in the stock with {peer}")
        self._enter(peer, "spent", segment.length * BIT_PER_BYTE)
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
        return int(next(iter(self._database.execute(query, (master, slave, size_bit))))[0])

    def deliver_to_master(self, master: str, slave: str, number: int, size_bit: int) -> list[SupplyKey]:
        """The oldest ``number`` keys of a pair, committed as delivered. Raises KeysExhausted, and delivers none, when there are fewer."""
        with self._transaction():
            query = f"SELECT key_id, sealed FROM supply_key {_READY_FOR_MASTER} ORDER BY rowid LIMIT ?"
            rows = list(self._database.execute(query, (master, slave, size_bit, number)))
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
                row = next(iter(self._database.execute(query, (str(key_id),))), None)
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
