"""A cloud as a process of its own, as `tiandi cloud serve` runs it, that may be killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.computing.cloud import toys
from tiandi.computing.cloud import users
from tiandi.computing.cloud.schema import create_tables
from tiandi.computing.cloud.sqlite_database import SqliteDatabase

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60.0
PROGRAM = "from tiandi.cli.cloud import app; app(exit_on_error=False)"


def make_user(store: Path, name: str) -> str:
    """An account's API key."""

    async def make() -> str:
        database = SqliteDatabase(store)
        try:
            await create_tables(database)
            await database.run(users.add_user, name, users.Quotas(most_waiting=100_000, shots_a_day=10**12))
            return await database.run(users.add_key, name)
        finally:
            await database.close()

    return asyncio.run(make())


@dataclass
class Served:
    """A cloud over ``store`` (a file, or the address of a PostgreSQL)."""

    store: str
    log: Path
    words: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    address: str = ""
    catalogue: str = toys.CATALOGUE
    pids: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Returns when it serves."""
        before = self.log.stat().st_size if self.log.exists() else 0
        words = ("serve", "--store", self.store, "--port", "0", "--machines", self.catalogue, *self.words)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stdout=log, stderr=log, cwd=ROOT)
        end_s = time.monotonic() + PATIENCE_S
        while b"serves http" not in (said := self.log.read_bytes()[before:]):
            assert self.process.poll() is None, said.decode()
            assert time.monotonic() < end_s
            time.sleep(0.02)
        self.address = said.decode().split("serves ")[1].split()[0]

    def workers(self) -> list[int]:
        """The processes that the server started."""
        assert self.process is not None
        children = []
        for folder in Path("/proc").iterdir():
            with suppress(OSError, ValueError, IndexError):
                if folder.name.isdigit() and int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    children.append(int(folder.name))
        return children

    def kill(self) -> None:
        """As kill -9 does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def client(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.address, headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE_S, trust_env=False)


@contextmanager
def served(store: Path | str, folder: Path, *words: str, catalogue: str = toys.CATALOGUE) -> Iterator[Served]:
    """A running cloud; none is left behind."""
    running = Served(str(store), folder / "cloud.log", words, catalogue=catalogue)
    running.start()
    try:
        yield running
    finally:
        if running.process is not None and running.process.poll() is None:
            running.stop()


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
