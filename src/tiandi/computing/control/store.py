"""The state of a calibration as text that people read and compare: one line for each element and parameter, rounded by its uncertainty.

A state folder holds ``calibration.toml``, the same of earlier moments under ``history``, and the curves of the last fits under ``curves``.
A file is written beside its place and moved there, so that whoever stops at any instant finds the old one or the new one, whole.
One process at a time works on a folder: two would write what they know over each other.
"""

from __future__ import annotations

import fcntl
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiandi.computing.control.graph import Condition
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.control.state_text import read_state, state_lines
from tiandi.computing.control.writing import write_whole
from tiandi.errors import StateError

FILE, HISTORY, CURVES, LOCK = "calibration.toml", "history", "curves", "lock"
KEPT = 200
"""Files of history; the oldest go first."""
LARGEST = 64_000_000
"""Bytes of a state file: 100 times that of 504 qubits."""
_locks: dict[str, int] = {}
"""Folders that this process works on, and the open files that say so to others, until it ends."""


@dataclass(frozen=True)
class Loaded:
    """What a state file says."""

    knowledge: Knowledge
    condition: Condition
    now_s: float
    """Laboratory time at which it was written."""


class Store:
    """A state folder. Several processes may read while one writes."""

    def __init__(self, folder: Path | str) -> None:
        """Raises StateError where the folder cannot be made."""
        self.folder = Path(folder)
        try:
            (self.folder / HISTORY).mkdir(parents=True, exist_ok=True)
            (self.folder / CURVES).mkdir(exist_ok=True)
        except OSError as error:
            raise StateError("state folder", str(self.folder), f"must be a folder that can be written to ({error.strerror})") from None

    def claim(self) -> None:
        """Work on this folder from now on; raises StateError where another process does. It lets go when it ends, however it ends."""
        place = str(self.folder.resolve())
        if place in _locks:
            return
        descriptor = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise StateError("state folder", str(self.folder), "is in use: another process calibrates or watches in it") from None
        _locks[place] = descriptor

    @property
    def file(self) -> Path:
        """Where the state stands."""
        return self.folder / FILE

    @property
    def curves(self) -> Path:
        """The folder of curves."""
        return self.folder / CURVES

    def save(self, knowledge: Knowledge, condition: Condition, now_s: float, *, keep: bool = False) -> None:
        """Write the state; ``keep`` adds it to the history.

        Raises StateError where it cannot be written, as on a full disk: what stood there before still stands.
        """
        text = "\n".join(state_lines(knowledge, condition, now_s)) + "\n"
        try:
            write_whole(self.file, text.encode())
            if keep:
                write_whole(self.folder / HISTORY / f"{round(now_s):012d}.toml", text.encode())
                for old in self.history()[:-KEPT]:
                    old.unlink(missing_ok=True)
        except OSError as error:
            raise StateError("state", str(self.file), f"cannot be written ({error.strerror}): the state before it is whole") from None

    def history(self) -> list[Path]:
        """Earlier states, oldest first; their names are laboratory times in seconds."""
        return sorted((self.folder / HISTORY).glob("*.toml"))

    def __contains__(self, name: str) -> bool:
        return (self.folder / name).exists()

    def load(self, file: Path | None = None) -> Loaded:
        """The state, or that of a file of the history. Raises StateError that names what cannot stand, and in which file."""
        path = file or self.file
        try:
            if path.stat().st_size > LARGEST:
                raise StateError("state", str(path), f"must be no larger than {LARGEST / 1e6:.0f} MB")
            raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StateError("state", str(path), "does not exist: bring the chip up first") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            raise StateError("state", str(path), f"cannot be read ({error})") from None
        knowledge, condition, now_s = read_state(raw, str(path))
        return Loaded(knowledge, condition, now_s)
