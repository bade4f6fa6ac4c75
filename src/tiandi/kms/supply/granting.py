"""How many keys each stock may make now, when pairs want more link key with a neighbour than there is.

`allocation` shares what there is at one moment. Here it is done again and again: a pair's minimum and maximum are rates over time, what
was too little for a whole key is saved for the one it was given to, and while key is short it is shared out a few times a second only,
since every reservation costs link key beside its keys.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tiandi.kms.directory import PairPolicy
from tiandi.kms.supply.allocation import Demand, allocate
from tiandi.kms.supply.portions import affordable_count, cost_bit, portion_size
from tiandi.kms.supply.quotas import BURST_S, LOOK_COUNT

SHORT_PAUSE_S = 0.25
CREDIT_S = 2.0
"""A pair that took nothing for a while may have so much of its minimum at once."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Want:
    """A stock that wants ``count`` keys, for ``asked_for`` of which requests wait."""

    pair: Pair
    size_bit: int
    count: int
    asked_for: int
    policy: PairPolicy

    @property
    def portion(self) -> int:
        """The most keys of one reservation."""
        return portion_size(self.count, self.size_bit)

    def cost_bit(self, count: int) -> int:
        """Link key that so many keys take."""
        return cost_bit(count, self.size_bit, self.portion)

    def affordable_count(self, bit: int) -> int:
        """How many keys so much link key pays for."""
        return min(self.count, affordable_count(bit, self.size_bit, self.portion))


@dataclass
class _Allowance:
    """What a pair may claim of supply key by its minimum, and what its maximum leaves it [bit]."""

    as_of_s: float
    minimum_bit: float
    maximum_bit: float


@dataclass
class _Link:
    """What is remembered of a neighbour."""

    short_s: float = float("-inf")
    saved: dict[tuple[Pair, int], int] = field(default_factory=dict)


class Granting:
    """Shares out the link key of one KME, neighbour by neighbour."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._allowances: dict[Pair, _Allowance] = {}
        self._links: dict[str, _Link] = {}

    def is_pausing(self, neighbour: str) -> bool:
        """Whether key was short so lately that what came since is gathered."""
        return neighbour in self._links and self._clock() - self._links[neighbour].short_s < SHORT_PAUSE_S

    def grant(self, neighbour: str, available_bit: int, wants: Sequence[Want]) -> list[int]:
        """Keys that each of ``wants`` may make of ``available_bit`` bits of link key with a neighbour."""
        link = self._links.setdefault(neighbour, _Link())
        self._let_flow_in(wants)
        saved = [link.saved.get((want.pair, want.size_bit), 0) for want in wants]
        if sum(saved) > available_bit:  # It was spent on something else meanwhile.
            saved = [0] * len(wants)
        demands = self._demands(wants, saved)
        shares = [bit + more for bit, more in zip(saved, allocate(available_bit - sum(saved), demands), strict=True)]
        granted = [want.affordable_count(share) for want, share in zip(wants, shares, strict=True)]
        link.saved = {}
        for want, share, count in zip(wants, shares, granted, strict=True):
            allowance = self._allowances[want.pair]
            allowance.minimum_bit = max(0.0, allowance.minimum_bit - count * want.size_bit)
            allowance.maximum_bit = max(0.0, allowance.maximum_bit - count * want.size_bit)
            if count < want.count:
                link.saved[want.pair, want.size_bit] = min(share - want.cost_bit(count), want.cost_bit(1))
        if sum(shares) < sum(saved) + sum(demand.wanted_bit for demand in demands):
            link.short_s = self._clock()
        return granted

    def _let_flow_in(self, wants: Sequence[Want]) -> None:
        """What pairs may claim by their rates grows with time, up to a burst or one key."""
        now_s = self._clock()
        if len(self._allowances) >= LOOK_COUNT:
            self._allowances = {pair: one for pair, one in self._allowances.items() if now_s - one.as_of_s < BURST_S}
        largest: dict[Pair, Want] = {}
        for want in wants:
            if want.pair not in largest or want.size_bit > largest[want.pair].size_bit:
                largest[want.pair] = want
        for pair, want in largest.items():
            old = self._allowances.get(pair, _Allowance(now_s - BURST_S, 0.0, 0.0))
            rate_bps, most_bps, flowed_s = want.policy.minimum_bps, want.policy.maximum_bps, now_s - old.as_of_s
            minimum = min(old.minimum_bit + rate_bps * flowed_s, max(rate_bps * CREDIT_S, want.size_bit)) if rate_bps else 0.0
            maximum = float("inf")
            if most_bps is not None:
                maximum = min(old.maximum_bit + most_bps * flowed_s, max(most_bps * BURST_S, want.size_bit))
            self._allowances[pair] = _Allowance(now_s, minimum, maximum)

    def _demands(self, wants: Sequence[Want], saved: Sequence[int]) -> list[Demand]:
        """What each wants beyond what is saved for it."""
        demands = []
        claimed: dict[Pair, tuple[int, int]] = {}
        for want, saved_bit in zip(wants, saved, strict=True):
            allowance, (least_bit, most_bit) = self._allowances[want.pair], claimed.get(want.pair, (0, 0))
            least = min(want.count, max(0, int((allowance.minimum_bit - least_bit) // want.size_bit)))
            most = want.count
            if want.policy.maximum_bps is not None:
                # Requests that wait were let through by the quota.
                most = min(most, max(want.asked_for, int((allowance.maximum_bit - most_bit) // want.size_bit)))
            claimed[want.pair] = (least_bit + least * want.size_bit, most_bit + most * want.size_bit)
            maximum = max(0, want.cost_bit(most) - saved_bit)
            minimum = min(max(0, want.cost_bit(least) - saved_bit), maximum)
            demands.append(
                Demand(pair=want.pair, wanted_bit=maximum, priority=want.policy.priority, minimum_bit=minimum, maximum_bit=maximum)
            )
        return demands
