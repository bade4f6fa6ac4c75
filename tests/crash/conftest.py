"""Processes for the crash tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.nursery import Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where KME processes come from."""
    nursery = Nursery()
    try:
        yield nursery
    finally:
        nursery.close()
