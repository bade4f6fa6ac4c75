"""Who is closest to the ideal, by criteria that are stated, and where each fails, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tiandi.computing.photonics.validation.bayesian import Odds
from tiandi.computing.photonics.validation.estimates import Estimate

CERTAIN = 5.0
"""Standard errors from which on a departure from the ideal is named: with errors from 20 blocks, chance does that once in 10,000 times."""
TIED = 2.0
"""Standard errors of the difference below which two are equally close."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """A figure, its name for people, and what to say where it is off; figures without words follow from those that have some.

    In ``words``: {value} with its error, {ideal}, {off} from it, {share} of it, {percent} the value, {way} one of ``ways``.
    """

    key: str
    title: str
    words: str = ""
    ways: tuple[str, str] = ("too low", "too high")
    ranked: bool = False


def _correlations(key: str, what: str) -> tuple[Criterion, ...]:
    return (
        Criterion(f"{key}_slope", f"{what}: slope", f"{what} are {{share}} {{way}} (slope {{value}})", ("too weak", "too strong")),
        Criterion(f"{key}_correlation", f"{what}: coefficient"),
        Criterion(f"{key}_residual", f"{what}: residual"),
        Criterion(f"{key}_relative_error", f"{what}: relative error", f"{what} are {{percent}} off in all", ranked=True),
    )


def _sets(kind: str, size: int) -> tuple[Criterion, ...]:
    key, what = f"{kind}_{size}", f"{size} modes, {kind}"
    words = f"patterns on {kind} sets of {size} modes are {{percent}} off"
    return (
        Criterion(f"{key}_total_variation", f"{what}: total variation"),
        Criterion(f"{key}_relative_error", f"{what}: relative error", words, ranked=True),
        Criterion(f"{key}_linear_cross_entropy", f"{what}: linear cross entropy"),
        Criterion(f"{key}_logarithmic_cross_entropy", f"{what}: logarithmic cross entropy [nat]"),
        Criterion(f"{key}_heavy_outputs", f"{what}: heavy outputs"),
    )


_NEAR = "{value} from the ideal (noise alone {ideal})"
_ORDERS = ((4, "four-mode correlations"), (5, "five-mode correlations"), (6, "six-mode correlations"))
CRITERIA: tuple[Criterion, ...] = (
    Criterion("rate_error", "mode rates: error (rms)", "mode rates are {value} off (rms)", ranked=True),
    Criterion("total_mean", "total: mean", "the mean total is {off} {way} ({value} against {ideal})"),
    Criterion(
        "total_deviation", "total: standard deviation", "the total scatters {way} ({value} against {ideal})", ("too little", "too much")
    ),
    Criterion("total_distance", "total: distance", f"the distribution of the total is {_NEAR}", ranked=True),
    Criterion("total_chi_square", "total: chi-square per bin"),
    Criterion("halves_distance", "two halves: distance", f"the joint distribution of two halves is {_NEAR}", ranked=True),
    Criterion("halves_chi_square", "two halves: chi-square per bin"),
    Criterion("partitions_distance", "random halves: distance", f"that of random halves is {_NEAR}", ranked=True),
    Criterion("partitions_chi_square", "random halves: chi-square per bin"),
    *_correlations("pair", "two-mode correlations"),
    *_correlations("triple", "three-mode correlations"),
    *(criterion for order, what in _ORDERS for criterion in _correlations(f"order_{order}", what)),
    *(criterion for size in (8, 12) for kind in ("random", "clustered") for criterion in _sets(kind, size)),
    Criterion("count_rate_error", "mean counts: error (rms)", "mean counts are {value} off (rms)", ranked=True),
    *_correlations("count_pair", "two-mode correlations of counts"),
    *_correlations("count_triple", "three-mode correlations of counts"),
)
BY_KEY = {criterion.key: criterion for criterion in CRITERIA}


@dataclass(frozen=True, slots=True)
class Place:
    """Of one participant among all."""

    name: str
    place: int
    """1 is closest to the ideal; equals share a place."""
    won: float
    """Share of comparisons won, a tie being half: each other participant on each ranked criterion that both have."""
    first_in: tuple[str, ...]
    """Ranked criteria on which it is closer than somebody, and nobody closer than it."""


def rank(figures: Mapping[str, Mapping[str, Estimate]]) -> tuple[Place, ...]:
    """Participants by name, closest first.

    On each ranked criterion each two are compared: the closer wins, within two standard errors of the difference both win half. No weights,
    no scale: a criterion that one does not have (the experiment: whatever its samples would be needed for) is left out of its comparisons.
    """
    ranked = [criterion.key for criterion in CRITERIA if criterion.ranked]
    won, first = {}, {}
    for name, own in figures.items():
        points: list[float] = []
        ahead: list[str] = []
        for key in ranked:
            rivals = [other[key] for rival, other in figures.items() if rival != name and key in other]
            if key not in own or not rivals:
                continue
            results = [_points(own[key], other) for other in rivals]
            points += results
            if min(results) > 0 and max(results) == 1:
                ahead.append(key)
        won[name] = sum(points) / len(points) if points else math.nan
        first[name] = tuple(ahead)
    order = sorted(won, key=lambda name: (-won[name] if not math.isnan(won[name]) else math.inf, name))
    return tuple(Place(name, 1 + sum(won[other] > won[name] for other in order), won[name], first[name]) for name in order)


def _points(own: Estimate, other: Estimate) -> float:
    gap = other.distance - own.distance
    if abs(gap) <= TIED * math.hypot(own.distance_error, other.distance_error):
        return 0.5
    return 1.0 if gap > 0 else 0.0


def failures(figures: Mapping[str, Estimate], odds: Sequence[Odds] = ()) -> tuple[str, ...]:
    """Where the figures depart from the ideal beyond doubt, a sentence each, and which mock-ups explain the samples better."""
    found, told = [], set[str]()
    for criterion in CRITERIA:
        estimate = figures.get(criterion.key)
        if estimate is None or not criterion.words or (group := criterion.key.removesuffix("_relative_error")) in told:
            continue
        if estimate.distance > 0 and abs(estimate.deviations) > CERTAIN:
            found.append(_sentence(criterion, estimate))
            # Correlations that are too weak need not also be called off.
            told.add(group.removesuffix("_slope"))
    for item in odds:
        against = [
            estimate
            for estimate in (item.small_sets, item.wide, item.whole)
            if estimate is not None and estimate.value < -CERTAIN * estimate.error
        ]
        if against:
            found.append(f"{item.mock_up} light explains the samples better than the ideal machine ({against[0].value:.2g} nats a sample)")
    return tuple(found)


def _sentence(criterion: Criterion, estimate: Estimate) -> str:
    ideal = estimate.ideal or 0.0
    off = estimate.value - ideal
    return criterion.words.format(
        value=shown(estimate),
        ideal=f"{ideal:.4g}",
        off=f"{abs(off):.3g}",
        share=f"{100 * abs(off) / (abs(ideal) or 1.0):.3g} %",
        percent=f"{100 * estimate.value:.3g} %",
        way=criterion.ways[off > 0],
    )


def shown(estimate: Estimate) -> str:
    """Value and error to as many places as the error's first two digits tell."""
    if not estimate.error > 0 or not math.isfinite(estimate.error):
        return f"{estimate.value:.5g}"
    places = min(max(1 - math.floor(math.log10(estimate.error)), 0), 9)
    return f"{estimate.value:.{places}f} ± {estimate.error:.{places}f}"
