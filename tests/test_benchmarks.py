"""Benchmarks are run by hand; that they can be is seen here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_every_benchmark_is_found_and_a_wrong_name_is_told() -> None:
    done = subprocess.run([sys.executable, "run.py", "sifting", "none such"], cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("no such benchmark: none such\n")
