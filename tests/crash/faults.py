"""Faults from outside the product: a database connection that ends its process at a commit, and a disk that fails or tears a write."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from typing import Any, NoReturn

import apsw
import msgspec

from tiandi.kms.store.postgres_database import PostgresDatabase

VFS = "faulty"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong: at the ``at``-th commit or call of the disk from now on, and ``times`` in a row.

    "before", "after": killed before or after the commit reached the disk. "tear": killed when half of a write is done. "full",
    "broken": the disk has no space, or answers with an error; "short": it writes half and answers with an error.
    """

    kind: str
    at: int = 1
    times: int = 1


@dataclass
class Faults:
    """What this process has done, and what is to go wrong next."""

    fault: Fault | None = None
    commits: int = 0
    calls: int = 0

    def arm(self, fault: Fault | None) -> None:
        self.fault, self.commits, self.calls = fault, 0, 0

    def committing(self) -> None:
        self.commits += 1
        self._die_at("before", self.commits)

    def committed(self) -> None:
        self._die_at("after", self.commits)

    def _die_at(self, kind: str, count: int) -> None:
        if self.fault is not None and self.fault.kind == kind and self.fault.at == count:
            die()

    def disk_fault(self) -> str:
        """What is wrong with this call of the disk."""
        self.calls += 1
        fault = self.fault
        if fault is None or fault.kind in {"before", "after"} or not fault.at <= self.calls < fault.at + fault.times:
            return ""
        return fault.kind


FAULTS = Faults()


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a process outlived SIGKILL")


class Connection(apsw.Connection):
    """Commits that wait for the disk run in a thread of their own; those that changed nothing do not count."""

    def __init__(self, filename: str, **options: Any) -> None:
        super().__init__(filename, vfs=VFS, **options)

    def execute(self, statements: str, *values: Any, **options: Any) -> apsw.Cursor:
        if statements != "COMMIT" or threading.current_thread() is threading.main_thread():
            return super().execute(statements, *values, **options)
        FAULTS.committing()
        cursor = super().execute(statements, *values, **options)
        FAULTS.committed()
        return cursor


class File(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        kind = FAULTS.disk_fault()
        if kind in {"tear", "short"}:
            super().xWrite(bytes(data[: len(data) // 2]), offset)
        _fail(kind)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        _fail(FAULTS.disk_fault())
        super().xSync(flags)

    def xTruncate(self, size: int) -> None:
        _fail(FAULTS.disk_fault())
        super().xTruncate(size)


class Vfs(apsw.VFS):
    def __init__(self) -> None:
        super().__init__(VFS, "")

    def xOpen(self, name: Any, flags: list[int]) -> File:
        return File(name, flags)


def _fail(kind: str) -> None:
    if kind == "tear":
        die()
    if kind == "full":
        raise apsw.FullError("no space left on the disk")
    if kind in {"broken", "short"}:
        raise apsw.IOError("the disk answers with an error")


async def _commit(database: Any, transaction: Any, result: Any) -> Any:
    FAULTS.committing()
    result = await _commit_to_postgresql(database, transaction, result)
    FAULTS.committed()
    return result


_commit_to_postgresql = PostgresDatabase._commit


def install() -> Vfs:
    """From now on databases of this process obey `FAULTS`. Keep what is returned."""
    vfs = Vfs()
    setattr(apsw, "Connection", Connection)  # noqa: B010 - a class may not be assigned.
    setattr(PostgresDatabase, "_commit", _commit)  # noqa: B010
    return vfs
