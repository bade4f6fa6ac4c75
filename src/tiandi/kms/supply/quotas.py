"""The quotas of pairs: how much supply key each may take, in the long run and at once."""

from __future__ import annotations

import time
from collections.abc import Callable

from tiandi.errors import KeysExhausted, RequestRefused
from tiandi.kms.supply.allocation import TokenBucket

BURST_S = 10
"""A pair may take this many seconds of its quota at once."""
LOOK_COUNT = 1024
"""From so many pairs on, those that owe nothing are forgotten."""


class Quotas:
    """A bucket of tokens for each pair (master SAE, slave SAE) that took something of late."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str, int], TokenBucket] = {}
        self._look_count = LOOK_COUNT

    def take(self, pair: tuple[str, str], rate_bps: int, bit: int, *, least_bit: int) -> None:
        """Take ``bit`` of a pair's quota of ``rate_bps``, which lets through at least ``least_bit`` at once.

        Raises RequestRefused for more than can ever be taken at once, KeysExhausted for more than can be now.
        """
        bucket = self._bucket(pair, rate_bps, max(BURST_S * rate_bps, least_bit))
        if bit > bucket.burst_bit:
            text = f"number * size = {bit} bit: this pair's quota of {rate_bps} bit/s allows {bucket.burst_bit} bit a request"
            raise RequestRefused(text)
        if not bucket.take(bit):
            raise KeysExhausted(f"the quota of {' and '.join(pair)} ({rate_bps} bit/s)", bucket.available, bit)

    def give_back(self, pair: tuple[str, str], rate_bps: int, bit: int) -> None:
        """Put back what was taken for keys that were not delivered."""
        if (*pair, rate_bps) in self._buckets:
            self._buckets[*pair, rate_bps].give_back(bit)

    def _bucket(self, pair: tuple[str, str], rate_bps: int, burst_bit: int) -> TokenBucket:
        place = (*pair, rate_bps)
        if place not in self._buckets:
            if len(self._buckets) >= self._look_count:
                self._buckets = {place: bucket for place, bucket in self._buckets.items() if bucket.available < bucket.burst_bit}
                self._look_count = max(LOOK_COUNT, 2 * len(self._buckets))
            self._buckets[place] = TokenBucket(rate_bps=rate_bps, burst_bit=burst_bit, clock=self._clock)
        return self._buckets[place]
