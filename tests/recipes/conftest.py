"""Two KMEs that run, for every recipe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kms.kme_processes import Pair


@pytest.fixture(scope="package")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with Pair(tmp_path_factory.mktemp("recipes")) as running:
        running.start()
        running.feed()
        running.exchange()
        yield running
