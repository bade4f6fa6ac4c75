"""An authentication pool in a file: killed at any instant, its process has lost no key that it still may use and uses none again.

Keys lie in the file in clear, as in any key file; it is for its owner's eyes only. What was spent is overwritten in the file before it is
used, but what an SSD or a file system keeps of overwritten blocks and of a truncated journal, or a backup of the file, is out of reach. A
pool is never put back from a backup: both ends get new files instead, for an old one would spend its key again.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from uuid import UUID

import apsw
import msgspec

from tiandi.distill.authentication import BLOCK_KEY_BYTE, AuthenticationPool, Origin, Segment, Stage
from tiandi.distill.ledger import Ledger, LifeLedger
from tiandi.errors import InputError, StateError
from tiandi.limits import require_within
from tiandi.quantum.agreement import LONGEST_NAME
from tiandi.random import secret_bytes

MOST_BLOCKS = 100_000
APPLICATION_ID = 0x7469616E
VERSION = 1
CHECK_BYTE = 4

# Keys have a table of their own, whose rows are never removed nor change their length, but are overwritten and serve again. SQLite would
# move the rows of a table that shrinks from page to page, and secure_delete does not reach the copies that stay behind.
_SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
CREATE TABLE pool (content BLOB NOT NULL) STRICT;
CREATE TABLE segment (
    number INTEGER PRIMARY KEY, block_id TEXT NOT NULL UNIQUE, start INTEGER NOT NULL, cell INTEGER NOT NULL UNIQUE
) STRICT;
CREATE TABLE cell (cell INTEGER PRIMARY KEY, content BLOB NOT NULL) STRICT;
"""


class _State(msgspec.Struct):
    """All that the file knows beside key."""

    name: str
    identifier: str
    origin: Origin
    stage: Stage
    life: LifeLedger


class PoolFile(AuthenticationPool):
    """The pool in the file at ``path``, for this process alone until it is closed.

    What a method spends or adds is on disk when it returns; when it raises, no key was handed out and the pool is as it was. Raises
    StateError when the file cannot be opened, is in use, is damaged, is no pool, or when others than its owner may read it.
    """

    identifier: str
    _life: LifeLedger

    def __init__(self, path: Path) -> None:
        self._path, self._process = Path(path), os.getpid()
        _require_private(self._path)
        try:
            self._database = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                self._prepare()
                self._load()
            except BaseException:
                self._database.close()
                raise
        except apsw.BusyError:
            raise self._error("is in use by another process") from None
        except (apsw.Error, ValueError) as error:
            raise self._error(f"cannot be read, or is damaged: {error}") from None

    @classmethod
    def create(cls, path: Path, name: str, pre_shared: bytes | None, identifier: str = "") -> PoolFile:
        """A new file with ``pre_shared`` key, or with none, to be begun by signatures. It is there whole, or not at all.

        ``identifier`` is public and the same at both ends, so that two pools of one name are told apart before key is spent.

        Raises StateError when ``path`` is taken or cannot be written, InputError when ``pre_shared`` holds nothing.
        """
        pool, path = AuthenticationPool(name, pre_shared), Path(path)
        beside = path.with_name(f".{path.name}.{secret_bytes(8).hex()}")
        try:
            descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                _fill(beside, pool, identifier)
                os.fsync(descriptor)
                os.link(beside, path)
            finally:
                os.close(descriptor)
                beside.unlink()
            _sync_folder(path.parent)
        except FileExistsError:
            raise StateError("authentication pool", str(path), "is taken: no pool is written over") from None
        except OSError as error:
            raise StateError("authentication pool", str(path), f"cannot be written: {error.strerror}") from None
        except apsw.Error as error:
            raise StateError("authentication pool", str(path), f"cannot be written: {error}") from None
        return cls(path)

    def __enter__(self) -> PoolFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go, and overwrite the key in memory."""
        with self._lock:
            for segment in self._segments:
                segment.key[:] = bytes(len(segment.key))
            self._segments.clear()
            self._database.close()

    def record(self, ledger: Ledger, delivered: bool) -> None:
        """Enter a block in the life account. Called before its key is handed out, the account never has less than was handed out."""
        with self._lock:
            life = self._life.with_block(ledger, delivered)
            with self._transaction():
                self._keep_state(self.stage, life)
            self._life = life

    def life(self) -> LifeLedger:
        """The account of every block of this link that was recorded."""
        return self._life

    def _prepare(self) -> None:
        """See that the file is a pool, take it for this process alone, and set how it is to be written."""
        self._database.execute("PRAGMA trusted_schema = OFF")
        if self._value("PRAGMA application_id") != APPLICATION_ID:
            raise self._error("is no authentication pool")
        if self._value("PRAGMA user_version") != VERSION:
            raise self._error(f"must be an authentication pool of version {VERSION}")
        for statement in ("PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE", "COMMIT"):
            self._database.execute(statement)
        # Truncated, for a journal that is kept has the key that was there before; EXTRA, for one that came back would bring the key back.
        for pragma in ("journal_mode = TRUNCATE", "synchronous = EXTRA", "secure_delete = ON"):
            self._database.execute(f"PRAGMA {pragma}")
        if self._value("PRAGMA integrity_check") != "ok":
            raise ValueError("its pages do not hold together")

    def _value(self, query: str) -> object:
        return next(iter(self._database.execute(query)))[0]

    def _load(self) -> None:
        (row,) = self._database.execute("SELECT content FROM pool")
        state = msgspec.json.decode(_opened(row[0]), type=_State)
        super().__init__(state.name)
        self.identifier, self.origin, self.stage, self._life = state.identifier, state.origin, state.stage, state.life
        query = "SELECT block_id, number, start, content FROM segment LEFT JOIN cell USING (cell) ORDER BY number"
        for block_id, number, start, content in self._database.execute(query):
            key = _opened(content or b"", _label(UUID(block_id), number, start))
            self._segments.append(Segment(UUID(block_id), number, bytearray(key), start))
            self._last_number = number

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One durable change: all of it is on disk when this returns, or none of it. Raises StateError when the disk fails."""
        if os.getpid() != self._process:
            raise self._error("belongs to the process that opened it, not to its child")
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
                raise self._error(f"cannot be written: {error}") from None

    def _error(self, why: str) -> StateError:
        return StateError("authentication pool", str(self._path), why)

    def _keep_spending(self, segment: Segment, end: int, gone: Sequence[Segment]) -> None:
        with self._transaction():
            for other in gone:
                query = "UPDATE cell SET content = zeroblob(length(content)) WHERE cell = (SELECT cell FROM segment WHERE number = ?)"
                self._database.execute(query, (other.number,))
                self._database.execute("DELETE FROM segment WHERE number = ?", (other.number,))
            if segment not in gone:
                content = _checked(bytes(end) + segment.key[end:], _label(segment.block_id, segment.number, end))
                query = "UPDATE cell SET content = ? WHERE cell = (SELECT cell FROM segment WHERE number = ?)"
                self._database.execute(query, (content, segment.number))
                self._database.execute("UPDATE segment SET start = ? WHERE number = ?", (end, segment.number))
            if self.stage != "confirmed":
                self._keep_state("confirmed", self._life)

    def _keep_segment(self, segment: Segment, stage: Stage) -> None:
        with self._transaction():
            _insert(self._database, segment)
            self._keep_state(stage, self._life)

    def _keep_state(self, stage: Stage, life: LifeLedger) -> None:
        content = msgspec.json.encode(_State(self.name, self.identifier, self.origin, stage, life))
        self._database.execute("UPDATE pool SET content = ?", (_checked(content),))


def create_pair(first: Path, second: Path, name: str, blocks: int) -> None:
    """Make the files of both ends of the link ``name``, with the same fresh key, which pays for ``blocks`` blocks (1 to 100 000).

    Raises StateError, and leaves neither, when one cannot be written.
    """
    require_within("blocks", blocks, 1, MOST_BLOCKS)
    if not 0 < len(name) <= LONGEST_NAME:
        raise InputError("name", name, f"must have 1 to {LONGEST_NAME} characters")
    if Path(first).resolve() == Path(second).resolve():
        raise InputError("pools", str(first), "must be two files, one for each end")
    pre_shared, identifier = secret_bytes(blocks * BLOCK_KEY_BYTE), secret_bytes(16).hex()
    PoolFile.create(first, name, pre_shared, identifier).close()
    try:
        PoolFile.create(second, name, pre_shared, identifier).close()
    except BaseException:
        Path(first).unlink()
        raise


def _require_private(path: Path) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise StateError("authentication pool", str(path), f"cannot be opened: {error.strerror}; tiandi distill pair makes one") from None
    if status.st_mode & 0o077 or status.st_uid != os.geteuid():
        raise StateError("authentication pool", str(path), "must be its owner's, and readable by nobody else (chmod 600)")


def _fill(path: Path, pool: AuthenticationPool, identifier: str) -> None:
    """Write a new pool into the empty file at ``path``, which nobody knows yet: no journal."""
    database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        database.execute("PRAGMA journal_mode = OFF")
        with database:
            database.execute(_SCHEMA)
            state = msgspec.json.encode(_State(pool.name, identifier, pool.origin, pool.stage, LifeLedger(strength=pool.strength)))
            database.execute("INSERT INTO pool VALUES (?)", (_checked(state),))
            for segment in pool._segments:
                _insert(database, segment)
    finally:
        database.close()


def _insert(database: apsw.Connection, segment: Segment) -> None:
    """Write a segment over a cell of its length that is free, or into a new one."""
    content = _checked(bytes(segment.key), _label(segment.block_id, segment.number, segment.start))
    free = "SELECT cell FROM cell WHERE length(content) = ? AND cell NOT IN (SELECT cell FROM segment) LIMIT 1"
    found = next(iter(database.execute(free, (len(content),))), None)
    if found is None:
        database.execute("INSERT INTO cell (content) VALUES (?)", (content,))
        cell = database.last_insert_rowid()
    else:
        cell = found[0]
        database.execute("UPDATE cell SET content = ? WHERE cell = ?", (content, cell))
    row = (segment.number, str(segment.block_id), segment.start, cell)
    database.execute("INSERT INTO segment VALUES (?, ?, ?, ?)", row)


def _label(block_id: UUID, number: int, start: int) -> bytes:
    """What else is known of a key, for its checksum: with a damaged start, zeros would pass for key."""
    return b"%s %d %d" % (block_id.bytes, number, start)


def _checked(content: bytes, label: bytes = b"") -> bytes:
    """``content`` behind a checksum of it and of what its ``label`` says."""
    return zlib.crc32(content, zlib.crc32(label)).to_bytes(CHECK_BYTE) + content


def _opened(checked: bytes, label: bytes = b"") -> bytes:
    """The content of what `_checked` made. Raises ValueError when it is not that any more."""
    content = checked[CHECK_BYTE:]
    if _checked(content, label) != checked:
        raise ValueError("what is in it is not what was written")
    return content


def _sync_folder(folder: Path) -> None:
    """See the names in a folder safely to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
