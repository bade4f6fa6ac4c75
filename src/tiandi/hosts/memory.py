"""Memory of a process that does nothing but distil, block after block."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
"""Settings of the C library's allocator, by their numbers in glibc's malloc.h."""


def keep_freed_memory() -> None:
    """Let this process keep what memory it frees: the arrays of a block are as large as those of the one before.

    What is given back to the system comes again as pages that have to be filled with zeros first, which took an end a tenth or more of its
    processor time. Called before there are threads, for only one of them at a time has large arrays. Where the C library is not glibc,
    nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        # One heap for all threads, which large arrays lie in too, and which does not shrink.
        for setting, value in ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)):
            mallopt(setting, value)
