"""State directories: whole or not there at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiandi.errors import StateError

STATE_VERSION = 1
MARKER = "tiandi-state.json"


@contextmanager
def state_folder(wanted: Path | None, scenario: str) -> Iterator[Path]:
    """A folder to work in, readable by its owner only.

    Without ``wanted`` it is gone afterwards. With ``wanted`` it is made beside it under a temporary name and takes its place only
    when everything went well, so that an error, Ctrl-C or a crash never leave half a state there; what a killed run left beside it
    is removed by the next one. Raises StateError when ``wanted``
    is taken: another version's, a finished run's, or somebody else's folder.
    """
    if wanted is None:
        with tempfile.TemporaryDirectory(prefix="tiandi-") as folder:
            yield Path(folder)
        return
    try:
        wanted = wanted.resolve()
        _require_free(wanted)
        made = [parent for parent in wanted.parents if not parent.exists()]
        wanted.parent.mkdir(parents=True, exist_ok=True)
        _sweep(wanted)
        partial = Path(tempfile.mkdtemp(prefix=f".{wanted.name}-partial-{os.getpid()}-", dir=wanted.parent))
    except (OSError, ValueError) as error:
        raise StateError("state", str(wanted), f"cannot be made there: {error}") from None
    try:
        yield partial
        (partial / MARKER).write_text(json.dumps({"version": STATE_VERSION, "scenario": scenario}) + "\n", encoding="utf-8")
        os.replace(partial, wanted)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        for parent in made:
            parent.rmdir()
        raise


def _sweep(wanted: Path) -> None:
    """Remove what runs for the same place left behind when they were killed: it holds keys, and nobody will finish it."""
    for left in wanted.parent.glob(f".{wanted.name}-partial-*"):
        owner = left.name.removeprefix(f".{wanted.name}-partial-").partition("-")[0]
        if owner.isdigit() and not _alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _require_free(wanted: Path) -> None:
    if not wanted.exists():
        return
    if not wanted.is_dir() or wanted == Path.cwd():
        raise StateError("state", str(wanted), "must be a folder, and not the one you stand in")
    marker = wanted / MARKER
    if marker.exists():
        try:
            version = json.loads(marker.read_text(encoding="utf-8"))["version"]
        except (ValueError, KeyError, TypeError):
            version = "unreadable"
        if version != STATE_VERSION:
            raise StateError(
                "state", str(wanted), f"holds state of version {version}, this tiandi writes version {STATE_VERSION}; name another folder"
            )
        raise StateError("state", str(wanted), "holds a finished run already; name another folder, or remove it")
    if any(wanted.iterdir()):
        raise StateError("state", str(wanted), "is not empty and not tiandi's; name another folder")
