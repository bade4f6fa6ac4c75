"""Where the tests find the public Jiuzhang data, which is no part of this project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[4] / "shared" / "reference" / "jiuzhang"


def jiuzhang_data() -> Path:
    """The folder with the public data; skips the test where it is not here."""
    folder = Path(os.environ.get("TIANDI_JIUZHANG_DATA", BESIDE))
    if not folder.is_dir():
        pytest.skip("the public Jiuzhang data is not here")
    return folder
