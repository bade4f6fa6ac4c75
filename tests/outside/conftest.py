"""Two KMEs as an operator runs them: processes, from files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.outside.programs import OutsidePair


@pytest.fixture(scope="package")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OutsidePair]:
    with OutsidePair(tmp_path_factory.mktemp("outside")) as running:
        running.serve(blocks=2)
        yield running
        running.finish()
