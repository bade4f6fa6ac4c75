"""One fortress for all attacks: whatever is tried against it, it must go on serving."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.fortress import Fortress


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortress]:
    fortress = Fortress(tmp_path_factory.mktemp("fortress"))
    with fortress.host:
        fortress.fill(400_000)
        yield fortress
        fortress.hang_up()


@pytest.fixture(scope="module")
def fortress(standing: Fortress) -> Iterator[Fortress]:
    """After a file of attacks alice still gets a key and bob the same."""
    yield standing
    keys = standing.keys()
    assert standing.fetch(list(keys))[0] == 200
