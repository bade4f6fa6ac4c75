"""How link key is shared among pairs of SAEs that want more than there is, and how fast a pair may take it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tiandi.errors import InputError
from tiandi.units import BIT_PER_BYTE, byte_from_bit


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What a pair (master SAE, slave SAE) wants of one interval's link key [bit], and what it was promised.

    ``priority`` 0 goes first. ``minimum_bit`` and ``maximum_bit`` are its minimum and maximum rate times the interval. Raises InputError
    when a figure is negative, or when the minimum is above the maximum.
    """

    pair: tuple[str, str]
    wanted_bit: int
    priority: int
    minimum_bit: int
    maximum_bit: int

    def __post_init__(self) -> None:
        for name in ("wanted_bit", "priority", "minimum_bit", "maximum_bit"):
            if getattr(self, name) < 0:
                raise InputError(name, getattr(self, name), "must not be negative")
        if self.minimum_bit > self.maximum_bit:
            raise InputError("minimum_bit", self.minimum_bit, f"must not be above maximum_bit = {self.maximum_bit}")

    @property
    def ceiling_byte(self) -> int:
        """The most that this demand is given: what is wanted or the maximum, in whole bytes."""
        return min(self.wanted_bit, self.maximum_bit) // BIT_PER_BYTE

    @property
    def floor_byte(self) -> int:
        """What this demand is given before anyone is given more: its minimum, rounded up to bytes, as far as it is wanted."""
        return min(byte_from_bit(self.minimum_bit), self.ceiling_byte)


def allocate(available_bit: int, demands: Sequence[Demand]) -> list[int]:
    """Link key [bit], in whole bytes, for each of ``demands``; nothing is left over while someone wants more.

    Minimum rates come first, whatever the priority; when they do not all fit, those of the highest priority do, and inside the class that
    does not fit every demand gets the same part of its minimum. What is left goes to one class of priority after the other; inside a class
    the least that anyone has, minimum included, is made as large as can be (max-min fair). Bytes that cannot be divided go to the first in
    ``demands``. Raises InputError when ``available_bit`` is negative.
    """
    if available_bit < 0:
        raise InputError("available_bit", available_bit, "must not be negative")
    left = available_bit // BIT_PER_BYTE
    floors, ceilings = [demand.floor_byte for demand in demands], [demand.ceiling_byte for demand in demands]
    classes: dict[int, list[int]] = {}
    for index, demand in enumerate(demands):
        classes.setdefault(demand.priority, []).append(index)
    given = [0] * len(demands)
    in_order = [members for _, members in sorted(classes.items())]
    for members in in_order:
        _give(given, members, _in_proportion(left, [floors[index] for index in members]))
        left -= sum(given[index] for index in members)
    for members in in_order:
        start = sum(given[index] for index in members)
        _give(given, members, _fill(left + start, [(given[index], ceilings[index]) for index in members]))
        left -= sum(given[index] for index in members) - start
    return [share * BIT_PER_BYTE for share in given]


def _give(given: list[int], members: Sequence[int], shares: Sequence[int]) -> None:
    for index, share in zip(members, shares, strict=True):
        given[index] = share


def _in_proportion(available: int, floors: Sequence[int]) -> list[int]:
    """Every floor when they fit; else the same part of each, rounded to give all away: up for those that rounding down hurts most."""
    total = sum(floors)
    if total <= available:
        return list(floors)
    shares = [available * floor // total for floor in floors]
    hurt = sorted(range(len(floors)), key=lambda index: -(available * floors[index] % total))
    for index in hurt[: available - sum(shares)]:
        shares[index] += 1
    return shares


def _fill(available: int, bounds: Sequence[tuple[int, int]]) -> list[int]:
    """Max-min fair shares of ``available`` between ``bounds``: those of a common water level where it lies between them."""
    level = _water_level(available - sum(low for low, _ in bounds), bounds)
    shares = [min(max(level, low), high) for low, high in bounds]
    rest = available - sum(shares)
    for index in [index for index, (low, high) in enumerate(bounds) if low <= level < high][:rest]:
        shares[index] += 1
    return shares


def _water_level(spare: int, bounds: Sequence[tuple[int, int]]) -> int:
    """How high water rises when ``spare`` is poured over basins that begin and end at ``bounds``, in whole units."""
    level, rising = 0, 0
    for point, change in sorted([*((low, 1) for low, _ in bounds), *((high, -1) for _, high in bounds)]):
        if rising * (point - level) > spare:
            return level + spare // rising
        spare -= rising * (point - level)
        level, rising = point, rising + change
    return level


class TokenBucket:
    """Lets through ``rate_bps`` [bit/s] in the long run and ``burst_bit`` at once: in t seconds at most ``burst_bit`` + t ``rate_bps``.

    ``clock`` tells the time [s]; when it is set back, nothing flows in until it has caught up. The bucket is full at first. Raises
    InputError when a figure is negative.
    """

    def __init__(self, *, rate_bps: float, burst_bit: int, clock: Callable[[], float]) -> None:
        for name, value in (("rate_bps", rate_bps), ("burst_bit", burst_bit)):
            if not 0 <= value < float("inf"):
                raise InputError(name, value, "must be finite and not negative")
        self._rate_bps, self._burst_bit, self._clock = rate_bps, burst_bit, clock
        self._level_bit, self._as_of_s = float(burst_bit), clock()

    @property
    def burst_bit(self) -> int:
        """The most that may ever be taken at once [bit]."""
        return self._burst_bit

    @property
    def available(self) -> int:
        """What may be taken now [bit]."""
        return int(self._level_now(self._clock()))

    def give_back(self, bit: int) -> None:
        """Put back what was taken in vain; the bucket holds no more than its burst."""
        now_s = self._clock()
        self._level_bit, self._as_of_s = min(self._burst_bit, self._level_now(now_s) + bit), max(now_s, self._as_of_s)

    def take(self, bit: int) -> bool:
        """Whether ``bit`` could be taken; if not, nothing was. Raises InputError when ``bit`` is negative."""
        if bit < 0:
            raise InputError("bit", bit, "must not be negative")
        now_s = self._clock()
        level_bit = self._level_now(now_s)
        if bit > level_bit:
            return False
        # The level is written only when something was taken, so that asking often does not round away what flows in.
        self._level_bit, self._as_of_s = level_bit - bit, max(now_s, self._as_of_s)
        return True

    def _level_now(self, now_s: float) -> float:
        return min(self._burst_bit, self._level_bit + self._rate_bps * max(0.0, now_s - self._as_of_s))
