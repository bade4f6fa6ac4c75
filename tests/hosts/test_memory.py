"""Memory that a process keeps for its next block; it holds for the whole process, so that one of its own tries it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tiandi.hosts.memory import keep_freed_memory

def block():
    return sum(int(np.ones(48 << 20, np.uint8)[-1]) for _ in range(2))

if sys.argv[1] == "kept":
    keep_freed_memory()
with ThreadPoolExecutor(1) as worker:
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        worker.submit(block).result()
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc's allocator is told")
def test_an_array_as_large_as_one_before_takes_no_fresh_pages() -> None:
    said = subprocess.run([sys.executable, "-c", PROGRAM, "kept"], capture_output=True, text=True, check=True).stdout
    assert int(said) < 8
