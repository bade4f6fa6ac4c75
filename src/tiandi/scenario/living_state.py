"""The folder of a living network: who runs it, and what is remembered from one run to the next.

Keys, certificates and master keys lie in it as each KME keeps them, durable by themselves. Beside them stand simulated time, alarms, what
was done to links and stations, and totals: written once a second, whole or not at all. A run that was killed loses what these were told
in its last second, and no key.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tiandi.errors import StateError
from tiandi.scenario.view import AlarmLine, Totals

LIVING_VERSION = 1
LOCK, REMEMBERED = "running.json", "living.json"
POLL_S = 0.05


class Remembered(msgspec.Struct, kw_only=True):
    """What a run leaves to the next one."""

    version: int = LIVING_VERSION
    scenario: str
    time: str
    speed: float = 1.0
    alarms: list[AlarmLine] = []
    next_alarm: int = 1
    next_event: int = 1
    cut: list[str] = []
    eavesdropped: list[str] = []
    clouded: list[str] = []
    compromised: list[str] = []
    totals: Totals = Totals()


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """Who runs a network: its process, since when, and where its doors are."""

    process: int
    scenario: str
    started: str
    page: str = ""
    doors: dict[str, str] = {}
    """Addresses of KMEs, by node."""


def default_folder() -> Path:
    """Where networks live that were given no folder: $XDG_STATE_HOME/tiandi, one folder for each scenario."""
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "tiandi"


def read_remembered(folder: Path, scenario: str) -> Remembered | None:
    """What the last run left, or None in a new folder. Raises StateError when it is another's or cannot be read."""
    path = folder / REMEMBERED
    if not path.exists():
        if folder.exists() and any(entry.name != LOCK for entry in folder.iterdir()):
            raise StateError("state", str(folder), "is not empty and not a living network's; name another folder")
        return None
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Remembered)
    except (OSError, msgspec.DecodeError) as error:
        raise StateError("state", str(path), f"cannot be read: {error}") from None
    if found.version != LIVING_VERSION:
        raise StateError("state", str(folder), f"holds state of version {found.version}, this tiandi writes version {LIVING_VERSION}")
    if found.scenario != scenario:
        raise StateError("state", str(folder), f"holds the network '{found.scenario}', not '{scenario}'; name another folder")
    return found


def remember(folder: Path, state: Remembered) -> None:
    """Write what the next run is to know, whole or not at all."""
    partial = folder / f".{REMEMBERED}.partial"
    partial.write_bytes(msgspec.json.encode(state))
    partial.replace(folder / REMEMBERED)


class StateLock:
    """A context manager: inside it nobody else runs a network in ``folder``. Raises StateError when somebody does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError("state", str(folder), f"cannot be made or opened: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise StateError("state", str(folder), "is in use by a running network; `tiandi status` tells of it") from None

    def tell(self, running: Running) -> None:
        """Write who runs the network, for `find_running`."""
        content = msgspec.json.encode(running)
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))

    def __enter__(self) -> StateLock:
        return self

    def __exit__(self, *_: object) -> None:
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def find_running(folder: Path) -> Running | None:
    """Who runs the network in ``folder`` now, or None when nobody does. What a killed run wrote is not believed: its lock is gone."""
    with contextlib.suppress(OSError, msgspec.DecodeError), _opened(folder) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return msgspec.json.decode(os.pread(descriptor, 1 << 20, 0), type=Running)
    return None


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def stop_running(folder: Path, *, timeout_s: float = 30.0) -> Running:
    """Ask the network in ``folder`` to stop, and wait until it has. Raises StateError when none runs, or it does not stop."""
    running = find_running(folder)
    if running is None:
        raise StateError("state", str(folder), "no network is running in it")
    os.kill(running.process, signal.SIGTERM)
    until_s = time.monotonic() + timeout_s
    while find_running(folder) is not None:
        if time.monotonic() > until_s:
            raise StateError("state", str(folder), f"process {running.process} has not stopped within {timeout_s:g} s")
        time.sleep(POLL_S)
    return running
