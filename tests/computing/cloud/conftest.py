"""Both stores for the tests that every store must pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.computing.cloud.stores import OpenDatabase, sqlite
from tests.kms.postgres import postgres_server
from tiandi.computing.cloud.database import Database
from tiandi.computing.cloud.postgres_database import PostgresDatabase

_numbers = count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[str], str]]:
    with postgres_server() as create:
        yield create


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> OpenDatabase:
    """Opens one store, as often as it is asked."""
    if request.param == "sqlite":
        return sqlite(tmp_path)
    dsn = request.getfixturevalue("postgres")(f"cloud-{next(_numbers)}")

    async def open_postgres() -> Database:
        database = PostgresDatabase(dsn)
        await database.open()
        return database

    return open_postgres
