"""Splitting and joining key over disjoint paths, as much of it as one request carries: time per share on one core."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from measure import Figure
from tiandi.kms.relay.sharing import join, split
from tiandi.random import secret_bytes

SECRET_BYTE = 65536
GOAL_MS = 1.0
ROUNDS = 15
MILLISECOND = 1e3


def benchmark_sharing() -> list[Figure]:
    """Best of fifteen rounds. The limit beside splitting: drawing a share's worth of random bytes from the operating system."""
    figures = []
    secret = secret_bytes(SECRET_BYTE)
    random_ms = _best_ms(partial(secret_bytes, SECRET_BYTE))
    for threshold, count in ((3, 3), (2, 3), (3, 5)):
        shares = split(secret, threshold=threshold, shares=count)
        last = dict(list(enumerate(shares))[-threshold:])
        split_ms = _best_ms(partial(split, secret, threshold=threshold, shares=count)) / count
        join_ms = _best_ms(partial(join, last, threshold=threshold, share_count=count)) / threshold
        limit = f"{split_ms / random_ms:.1f} times drawing it at random"
        figures.append(Figure(f"split {SECRET_BYTE} bytes, {threshold} of {count}, a share", split_ms, GOAL_MS, "ms", limit))
        figures.append(Figure(f"join {SECRET_BYTE} bytes, {threshold} of {count}, a share", join_ms, GOAL_MS, "ms"))
    return figures


def _best_ms(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return MILLISECOND * min(seconds)
