"""Where an end puts its keys: a folder with a file of key and an account for each block, whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from tiandi.errors import InputError


class KeyFolder:
    """A folder of keys, `<block id>.key`, raw bytes that only the owner may read, with `<block id>.json` beside each.

    A file appears when it is whole and on disk, the key last. Nothing is written over. What a killed process leaves is named
    `.partial-...` and may hold key. Raises InputError for a folder that cannot be made or written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, exist_ok=True)
            descriptor, probe = tempfile.mkstemp(prefix=".partial-", dir=path)
            os.close(descriptor)
            os.unlink(probe)
        except OSError as error:
            raise InputError("keys", str(path), f"cannot be written to: {error.strerror}") from None

    def deliver(self, block_id: UUID, key: bytes, account: bytes, write_transcript: Callable[[Path], None] | None = None) -> None:
        """Put a block's key here, and before it its account and what ``write_transcript`` puts at `<block id>.transcript`.

        Raises InputError when a name is taken or the disk is full; then there is no key.
        """
        if write_transcript is not None:
            write_transcript(self.path / f"{block_id}.transcript")
        self._write(self.path / f"{block_id}.json", account)
        self._write(self.path / f"{block_id}.key", key)

    def _write(self, path: Path, content: bytes) -> None:
        partial = None
        try:
            descriptor, name = tempfile.mkstemp(prefix=".partial-", dir=self.path)
            partial = Path(name)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            # A link, unlike a rename, never takes the place of another file.
            os.link(partial, path)
            folder = os.open(self.path, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        except OSError as error:
            raise InputError("keys", str(path), f"cannot be written: {error.strerror}") from None
        finally:
            if partial is not None:
                partial.unlink(missing_ok=True)
