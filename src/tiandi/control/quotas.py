"""What pairs may have and what they are guaranteed, counted in token buckets: key comes in at a rate, up to a burst, and is taken out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tiandi.errors import InputError
from tiandi.limits import require_within

ROUNDING = 1e-9


@dataclass(frozen=True)
class Quota:
    """A pair may have ``maximum_bps`` [bit/s], or anything with None; up to ``minimum_bps`` it is served before all classes.

    Both are means: what a pair did not take, it may take later at once, up to the key of ``burst_s`` [s]. Raises InputError.
    """

    minimum_bps: float = 0.0
    maximum_bps: float | None = None
    burst_s: float = 60.0

    def __post_init__(self) -> None:
        require_within("quotas.minimum_bps", self.minimum_bps, 0.0, 1e12)
        require_within("quotas.burst_s", self.burst_s, 1e-3, 1e7)
        if self.maximum_bps is not None:
            require_within("quotas.maximum_bps", self.maximum_bps, 0.0, 1e12)
            if self.maximum_bps < self.minimum_bps:
                raise InputError("quotas.maximum_bps", self.maximum_bps, f"must be at least the minimum of {self.minimum_bps:g}")


@dataclass
class TokenBucket:
    """Key that may be taken: it grows by ``rate_bps`` up to ``capacity_bit``, with which it begins. Time may not run backwards."""

    rate_bps: float
    capacity_bit: float
    level_bit: float = field(init=False)
    filled_s: float = -math.inf

    def __post_init__(self) -> None:
        self.level_bit = self.capacity_bit

    def holds(self, bit: float, now_s: float) -> bool:
        """Whether ``bit`` may be taken at ``now_s`` [s]."""
        if now_s > self.filled_s > -math.inf:
            self.level_bit = min(self.capacity_bit, self.level_bit + self.rate_bps * (now_s - self.filled_s))
        self.filled_s = max(self.filled_s, now_s)
        return bit <= self.level_bit * (1.0 + ROUNDING)

    def take(self, bit: float) -> None:
        """Take ``bit`` out, after `holds`."""
        self.level_bit = max(0.0, self.level_bit - bit)

    def give_back(self, bit: float) -> None:
        """Put back what was taken and not used."""
        self.level_bit = min(self.capacity_bit, self.level_bit + bit)
