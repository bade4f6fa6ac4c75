"""A study of a year: 10 satellites, 20 stations, night and cloud, key per pass by finite-key analysis, planned and relayed."""

from __future__ import annotations

import resource
import sys
import time
from datetime import timedelta
from pathlib import Path

from measure import Figure

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.planning.networks import START, sky

from tiandi.planning.study import run_study

YEAR = timedelta(days=365)


def benchmark_study() -> list[Figure]:
    """Wall time of the whole study on 2 processors with one seed, and the largest of its processes."""
    inputs = sky(20, 10, cloud=0.5, wanted_bps=20.0)
    run_study(sky(3, 2, cloud=0.5), start=START, end=START + timedelta(days=9), workers=1)
    began = time.perf_counter()
    result = run_study(inputs, start=START, end=START + YEAR, workers=2)
    elapsed_s = time.perf_counter() - began
    largest_gib = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 2**20
    planned = int(result.contacts_planned.sum())
    return [
        Figure(f"a year of 10 satellites and 20 stations, {planned:,} contacts planned", elapsed_s, 30.0, "s"),
        Figure("the same: memory of its largest process", largest_gib, 1.0, "GiB"),
    ]


if __name__ == "__main__":
    for figure in benchmark_study():
        print(figure.line())
