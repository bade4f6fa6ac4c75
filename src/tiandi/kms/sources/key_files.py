"""Link key from a folder of files, as `tiandi distill serve` and `connect` write them, or as they are carried there.

A block is a file `<block id>.key`: raw bytes, for its owner only, the same at both ends. What else lies there is left alone. Before a
block is handed over its file is renamed to `<block id>.taken`, so that nobody who looks for keys takes it too; once the KME has it,
the file is overwritten and removed. Overwriting reaches what the file system overwrites in place: not what an SSD or a file system
that copies on writing keeps, nor a backup.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

from tiandi.distill.records import KeyBlock
from tiandi.errors import InputError, StateError
from tiandi.kms.keys import Half

BLOCKS_AT_ONCE = 16
BLOCK_LIMIT_BYTE = 16 * 1024 * 1024


class KeyFiles:
    """A `KeySource` over ``folder``; one process at a time. A context manager.

    The ends agree on which of them takes the "first" half. Raises StateError for a folder that is not there or that another
    process reads.
    """

    def __init__(self, folder: Path, *, peer: str, own_half: Half, name: str = "") -> None:
        self.name = name or f"files of {folder}"
        self.peer = peer
        self.own_half: Half = own_half
        self._path = folder
        self._busy = threading.Lock()
        try:
            self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StateError("key folder", str(folder), f"cannot be read: {error.strerror}") from None
        try:
            fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._folder)
            raise StateError("key folder", str(folder), "is read by another process: a key must go to one KME only") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        with self._busy:
            os.close(self._folder)

    async def take_blocks(self) -> list[KeyBlock]:
        """The blocks taken and not acknowledged, and then the oldest new ones.

        Raises InputError, once no other block is left, for a key file that others may have read, that is empty or too large, or is
        none; it stays where it is. Raises StateError when the disk fails.
        """
        return await asyncio.to_thread(self._take)

    async def acknowledge(self, block_ids: Collection[UUID]) -> None:
        """Overwrite and remove the files of these blocks. Raises StateError when the disk fails."""
        await asyncio.to_thread(self._wipe, block_ids)

    def _take(self) -> list[KeyBlock]:
        blocks: list[KeyBlock] = []
        fault: InputError | None = None
        with self._busy:
            taken, new = list(self._named(".taken")), list(self._named(".key"))
            waiting = [(block_id, "taken") for block_id in taken] + [(block_id, "key") for block_id in new if block_id not in set(taken)]
            for block_id, suffix in waiting:
                if len(blocks) == BLOCKS_AT_ONCE:
                    break
                try:
                    blocks.append(KeyBlock(block_id, self._read(f"{block_id}.{suffix}")))
                except InputError as error:
                    fault = error
            self._mark({block.block_id for block in blocks} - set(taken))
        if fault is not None and not blocks:
            raise fault
        return blocks

    def _mark(self, block_ids: Collection[UUID]) -> None:
        try:
            for block_id in block_ids:
                os.rename(f"{block_id}.key", f"{block_id}.taken", src_dir_fd=self._folder, dst_dir_fd=self._folder)
            # Also where nothing was renamed now: an earlier call may have failed right here.
            os.fsync(self._folder)
        except OSError as error:
            raise StateError("key folder", str(self._path), f"cannot be written: {error.strerror}") from None

    def _named(self, suffix: str) -> Iterator[UUID]:
        """Identifiers of the files of a kind, oldest first."""
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                stem, _, ending = entry.name.rpartition(".")
                if f".{ending}" == suffix and _is_identifier(stem):
                    found.append((entry.stat(follow_symlinks=False).st_mtime_ns, stem))
        return (UUID(stem) for _, stem in sorted(found))

    def _read(self, name: str) -> bytes:
        shown = str(self._path / name)
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._folder)
        except OSError as error:
            raise InputError("key file", shown, f"cannot be read: {error.strerror}") from None
        try:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
                raise InputError("key file", shown, "must be a file of its own, without a second name")
            if state.st_mode & 0o077:
                raise InputError("key file", shown, "could be read by others than its owner; its key is not secret")
            if not 1 <= state.st_size <= BLOCK_LIMIT_BYTE:
                raise InputError("key file", shown, f"is {state.st_size} bytes long, must be 1 to {BLOCK_LIMIT_BYTE}")
            key = os.read(descriptor, state.st_size)
        finally:
            os.close(descriptor)
        if len(key) != state.st_size:
            raise InputError("key file", shown, "cannot be read as a whole")
        return key

    def _wipe(self, block_ids: Collection[UUID]) -> None:
        with self._busy:
            try:
                for block_id in block_ids:
                    self._wipe_one(f"{block_id}.taken")
                os.fsync(self._folder)
            except OSError as error:
                raise StateError("key folder", str(self._path), f"cannot be wiped: {error.strerror}") from None

    def _wipe_one(self, name: str) -> None:
        try:
            descriptor = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder)
        except FileNotFoundError:
            return
        with os.fdopen(descriptor, "wb") as file:
            file.write(bytes(os.fstat(descriptor).st_size))
            file.flush()
            os.fsync(descriptor)
        os.unlink(name, dir_fd=self._folder)


def _is_identifier(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
