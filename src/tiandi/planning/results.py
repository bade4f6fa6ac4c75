"""What a study found: plain arrays over seeds, days and pairs, the figures drawn from them, and the tables behind those figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from tiandi.constants import SECONDS_PER_DAY
from tiandi.planning.inputs import StudyInputs

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

AGE_EDGES_S: FloatArray = np.concatenate(([0.0], 60.0 * 2.0 ** np.arange(0, 17)))
"""Edges [s] of the bins of key age, shape (18,): 0, a minute, and doubling from there to 45 days. Older key is in the last bin."""

CONTACT_OUTCOME = np.dtype(
    [
        ("satellite", np.int64),
        ("station", np.int64),
        ("start_s", np.float64),
        ("end_s", np.float64),
        ("planned_bit", np.float64),
        ("clear_fraction", np.float64),
        ("made_bit", np.float64),
    ]
)
"""A contact that was planned, and what came of it: numbers of satellite and station, seconds after the start, bits."""


@dataclass(frozen=True)
class Way:
    """One way by which key of a pair was relayed: its nodes from end to end, its links, and the mean over the seeds of what it carried."""

    nodes: tuple[str, ...]
    links: tuple[str, ...]
    carried_bit: float


@dataclass(frozen=True)
class FullCut:
    """Why a pair goes without: the links that stand between its ends and, all together, make too little [bit/s]."""

    pair: str
    wanted_bps: float
    capacity_bps: float
    links: tuple[str, ...]


@dataclass(frozen=True)
class MarginalValue:
    """What one more of something buys: the mean difference over seeds of all key carried, and the standard error of that mean.

    ``error_bit_per_day`` is NaN with one seed. ``cost`` is in the currency of the study's prices; None where they do not say.
    """

    kind: str
    what: str
    gained_bit_per_day: float
    error_bit_per_day: float
    cost: float | None = None

    @property
    def bit_per_day_and_cost(self) -> float | None:
        """Key gained for each unit of the currency [bit/day]; None without a price."""
        return self.gained_bit_per_day / self.cost if self.cost else None


@dataclass(frozen=True)
class StudyResult:
    """A study, with ``inputs`` as they were asked. Days are counted from ``start``; the last may be short.

    Shapes: s seeds, d days, p pairs (those of ``inputs.demands``), l links (``links``), a satellites, g stations, m months, b bins of age.

    - ``wanted_bit`` (d, p), ``carried_bit`` (s, d, p);
    - ``key_age_s`` (s, d, p): mean age of the key that a pair used that day, from making to use; NaN on a day without key;
    - ``age_bit`` (s, p, b): key used in each bin of `AGE_EDGES_S`;
    - ``bottleneck`` (s, d, p): number of the link that limited the pair that day, -1 where nothing did;
    - ``made_bit``, ``used_bit`` (s, l): key over the whole study; what was made and not used is in store, or went as a store was full;
      what a satellite has no room for is not made;
    - ``contacts_planned``, ``contacts_lost`` (s, m, g): by month and station; lost are those that cloud left without key;
    - ``satellite_contact_s`` (s, a): time in contact; ``satellite_bit`` (s, a): key made;
    - ``plan_value_bit``, ``plan_bound_bit`` (s,): what the contact plans promised, a greedy one all key of its contacts under the forecast,
      an optimal one its worth (`tiandi.control.contact_plan.ContactPlan`), and the limit that no plan beats (NaN: unknown);
    - ``contacts``: the planned contacts of the first seed, an array of `CONTACT_OUTCOME`.
    """

    inputs: StudyInputs
    start: datetime
    end: datetime
    seeds: tuple[int, ...]
    links: tuple[str, ...]
    wanted_bit: FloatArray
    carried_bit: FloatArray
    key_age_s: FloatArray
    age_bit: FloatArray
    bottleneck: IntArray
    made_bit: FloatArray
    used_bit: FloatArray
    contacts_planned: IntArray
    contacts_lost: IntArray
    satellite_contact_s: FloatArray
    satellite_bit: FloatArray
    plan_method: str
    plan_value_bit: FloatArray
    plan_bound_bit: FloatArray
    contacts: NDArray[np.void]
    ways: tuple[tuple[Way, ...], ...] = ()
    full_cuts: tuple[FullCut, ...] = ()
    values: tuple[MarginalValue, ...] = ()
    cost: float | None = None
    notes: tuple[str, ...] = ()
    elapsed_s: dict[str, float] = field(default_factory=dict)

    @property
    def pairs(self) -> tuple[str, ...]:
        """Names of the pairs."""
        return tuple(demand.name for demand in self.inputs.demands)

    @property
    def satellites(self) -> tuple[str, ...]:
        """Names of the satellites."""
        return tuple(satellite.name for satellite in self.inputs.satellites)

    @property
    def stations(self) -> tuple[str, ...]:
        """Names of the stations."""
        return tuple(station.name for station in self.inputs.stations)

    @property
    def days(self) -> tuple[datetime, ...]:
        """When each day begins."""
        return tuple(self.start + timedelta(days=day) for day in range(self.wanted_bit.shape[0]))

    @property
    def length_days(self) -> float:
        """How long the study is [day]."""
        return (self.end - self.start).total_seconds() / SECONDS_PER_DAY

    @property
    def months(self) -> tuple[str, ...]:
        """Calendar months that the study touches, as "2026-01"."""
        return month_names(self.days)

    @property
    def month_of_day(self) -> IntArray:
        """Number in `months` of the month in which each day begins, shape (d,)."""
        return month_numbers(self.days)

    def key_per_day_bit(self) -> FloatArray:
        """Mean key per day of each pair, seed by seed, shape (s, p)."""
        return self.carried_bit.sum(axis=1) / self.length_days

    def met(self) -> NDArray[np.bool_]:
        """On which days a pair had all it wanted, shape (s, d, p); a bit in a million may be missing, as relays round."""
        return self.carried_bit >= (1.0 - 1e-6) * self.wanted_bit

    def availability(self) -> FloatArray:
        """Share of the days of each month on which a pair had all it wanted, over all seeds, shape (m, p)."""
        month_of_day, met = self.month_of_day, self.met()
        return np.array([met[:, month_of_day == month].mean(axis=(0, 1)) for month in range(len(self.months))])

    def outage_days(self) -> IntArray:
        """Days on which a pair had less than it wanted, shape (s, p)."""
        return np.asarray((~self.met()).sum(axis=1), np.int64)

    def longest_outage_days(self) -> IntArray:
        """The longest run of such days, shape (s, p)."""
        return longest_runs(~self.met())

    def mean_key_age_s(self) -> FloatArray:
        """Mean age of all key that a pair used, weighted by bits, shape (p,); NaN for a pair that had none."""
        used = np.where(np.isnan(self.key_age_s), 0.0, self.carried_bit)
        total = used.sum(axis=(0, 1))
        return np.divide((used * np.nan_to_num(self.key_age_s)).sum(axis=(0, 1)), total, out=np.full(total.shape, np.nan), where=total > 0)

    def bottleneck_shares(self, pair: int) -> list[tuple[str, float]]:
        """Links that limited a pair and the share of its days on which each did, the greatest first."""
        numbers, counts = np.unique(self.bottleneck[:, :, pair], return_counts=True)
        total = self.bottleneck[:, :, pair].size
        found = [(self.links[number], float(count / total)) for number, count in zip(numbers, counts, strict=True) if number >= 0]
        return sorted(found, key=lambda item: (-item[1], item[0]))


def month_names(days: Sequence[datetime]) -> tuple[str, ...]:
    """The months of these days in order, each once, as "2026-01"."""
    return tuple(dict.fromkeys(f"{day:%Y-%m}" for day in days))


def month_numbers(days: Sequence[datetime]) -> IntArray:
    """Number in `month_names` of the month of each day, shape (days,)."""
    numbers = {name: number for number, name in enumerate(month_names(days))}
    return np.array([numbers[f"{day:%Y-%m}"] for day in days], np.int64)


def longest_runs(flags: NDArray[np.bool_]) -> IntArray:
    """Length of the longest run of True along axis 1, shape of ``flags`` without it."""
    longest = run = np.zeros((flags.shape[0], *flags.shape[2:]), np.int64)
    for place in range(flags.shape[1]):
        run = np.where(flags[:, place], run + 1, 0)
        longest = np.maximum(longest, run)
    return longest
