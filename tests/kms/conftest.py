"""What the tests of the key management layer share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.kms.network import Store, sqlite_store

OpenStore = Callable[[], AbstractAsyncContextManager[Store]]


@pytest.fixture
def open_kme_store(tmp_path: Path) -> OpenStore:
    """Opens a store of its own, in memory, of kme-a; it is checked for balance at its end."""
    return partial(sqlite_store, tmp_path)


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one master key, for tests that open many stores."""
    return tmp_path_factory.mktemp("keys")
