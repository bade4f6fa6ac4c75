"""`make run` after set-up: wall time and memory of the whole demonstration, first run with an empty compilation cache."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time

from measure import Figure

KIBIBYTE_PER_MEBIBYTE = 1024


def benchmark_main_job() -> list[Figure]:
    """Times a first run, which compiles, and a second, which finds everything compiled; memory is the larger peak."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        seconds = [_run(environment) for _ in range(2)]
    peak_mebibyte = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / KIBIBYTE_PER_MEBIBYTE
    return [
        Figure("demonstration, first run (compiles)", seconds[0], 60.0, "s"),
        Figure("demonstration, later runs", seconds[1], 60.0, "s"),
        Figure("demonstration, peak memory", peak_mebibyte, 1024.0, "MiB"),
    ]


def _run(environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "tiandi", "demo"], env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start
