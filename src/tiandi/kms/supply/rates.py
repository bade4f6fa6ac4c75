"""How fast something has flowed of late."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

MEMORY_S = 60.0


class RateMeter:
    """A rate that forgets: what came ``memory_s`` [s] ago counts 1/e of what comes now."""

    def __init__(self, *, memory_s: float = MEMORY_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._memory_s, self._clock = memory_s, clock
        self._sum, self._as_of_s = 0.0, clock()

    def add(self, count: int) -> None:
        """Note that ``count`` (bits, keys) came."""
        self._sum = self._now() + count
        self._as_of_s = self._clock()

    @property
    def rate(self) -> float:
        """How many came a second."""
        return self._now() / self._memory_s

    def _now(self) -> float:
        return self._sum * math.exp(-max(0.0, self._clock() - self._as_of_s) / self._memory_s)
