"""Studies: how much key do these pairs get, from these satellites, stations and fibres, through the clouds of so many possible courses?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from tiandi.constants import SECONDS_PER_DAY
from tiandi.control.cuts import full_cut
from tiandi.control.flow import KeyDemand
from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.planning.contacts import ContactTable, tabulate_contacts
from tiandi.planning.inputs import Prices, StudyInputs
from tiandi.planning.results import FullCut, StudyResult, Way
from tiandi.planning.scheduling import default_workers, run_tasks
from tiandi.planning.seasons import Course, Ground, Window, climates_of

Progress = Callable[[str, float], None]
"""Is told what is being done and which share of it is done, in [0, 1]."""

OPTIMAL_DAYS = 7
"""Studies of at most so many days plan their contacts by mixed-integer programming, longer ones greedily."""
MOST_SEEDS = 10_000
MOST_DAYS = 3660
WAYS_KEPT = 8
"""Of a pair, those that carry most."""
CUTS_SHOWN = 20
DAYS_PER_YEAR = 365.25

SKY_NOTES = (
    "Key of a contact: expected finite-key length (Lim et al. 2014) of the whole pass under a clear sky, extinction in proportion to air"
    " mass. The model's largest known difference from a published experiment: for Micius over Xinglong in 2016 it sifts from 5 % less to"
    " 81 % more than published, as 8 to 3 dB of extinction at 1,200 km are assumed; for Jinan-1 it finds 29 % less key in a pass than"
    " published (tiandi reproduce micius-2017 jinan1-2025).",
    "Clouds are an on-off process drawn from monthly means; a cloud takes all light away, thin cirrus is left out.",
    "A part of a pass, or one cut by cloud, proves less than its share of the key, by a law that the key of the whole pass alone decides.",
    "Contacts are planned when a day of the study begins, without regard to the priority of pairs; over more than a week at prices that"
    " favour pairs that want much, so that those that want little may go without.",
)
MODEL_NOTES = (
    "Time goes by in days: demands are constant and lapse at the day's end, and link key is shared out once a day by the fast local rule,"
    " which is not the global optimum.",
    "Links that work all the time never fail; their stores hold what they made in the last hour.",
)


@dataclass(frozen=True)
class _Shared:
    """What every seed of a study needs."""

    inputs: StudyInputs
    window: Window
    table: ContactTable
    method: Literal["greedy", "optimal"]
    candidates: int


def run_study(
    inputs: StudyInputs,
    *,
    start: datetime,
    end: datetime,
    seeds: int = 1,
    first_seed: int = 1,
    workers: int | None = None,
    progress: Progress | None = None,
    scheduler: str | None = None,
    table: ContactTable | None = None,
) -> StudyResult:
    """Study ``inputs`` from ``start`` to ``end`` (UTC) under the weather of ``seeds`` seeds, ``first_seed`` the first of them.

    Contacts are tabulated once (or given as ``table``), then each seed is a task of `tiandi.planning.scheduling.run_tasks`, whose
    ``workers`` and ``scheduler`` these are. The same arguments give the same numbers, wherever they are computed, unless the optimal
    plan of a day takes longer than its deadline. Raises InputError when the window is empty or too long, there are no demands, a climate is
    unknown, and as `tabulate_contacts` does.
    """
    tell = progress or (lambda what, done: None)
    began = time.perf_counter()
    window = checked_window(start, end)
    require_within("seeds", seeds, 1, MOST_SEEDS)
    require_within("first_seed", first_seed, 0, 2**32)
    if not inputs.demands:
        raise InputError("demands", [], "a study needs at least one pair that wants key")
    climates_of(inputs)
    if table is None:
        tell("contacts", 0.0)
        local = 1 if len(inputs.satellites) < 2 else min(workers or default_workers(), len(inputs.satellites))
        table = tabulate_contacts(inputs, start=window.start, end=window.end, workers=local, progress=lambda share: tell("contacts", share))
    tabulated = time.perf_counter()
    method: Literal["greedy", "optimal"] = "optimal" if window.days <= OPTIMAL_DAYS else "greedy"
    shared = _Shared(inputs, window, table, method, relay_candidates(inputs))
    numbers = tuple(range(first_seed, first_seed + seeds))
    courses: dict[int, Course] = {}
    tell("seeds", 0.0)
    for number, course in run_tasks(_follow, shared, numbers, workers=workers, scheduler=scheduler):
        courses[number] = course
        tell("seeds", len(courses) / seeds)
    result = _assemble(shared, numbers, [courses[number] for number in range(seeds)])
    result.elapsed_s.update(contacts=tabulated - began, seeds=time.perf_counter() - tabulated)
    return result


def checked_window(start: datetime, end: datetime) -> Window:
    """The time of a study. Raises InputError when it is empty, has no zone, or is longer than ten years."""
    for name, moment in (("from", start), ("to", end)):
        if moment.tzinfo is None:
            raise InputError(name, moment.isoformat(), "must have a time zone, such as UTC")
    if end <= start:
        raise InputError("to", end.isoformat(), f"must be later than from = {start.isoformat()}")
    days = (end - start).total_seconds() / SECONDS_PER_DAY
    if days > MOST_DAYS:
        raise InputError("to", end.isoformat(), f"must be within {MOST_DAYS} days of from = {start.isoformat()}")
    return Window(start.astimezone(UTC), end.astimezone(UTC))


def relay_candidates(inputs: StudyInputs) -> int:
    """Ways that the local rule knows of each pair: by ground, and by some satellites each."""
    return 4 + min(len(inputs.satellites), 12)


_latest: list[tuple[_Shared, Ground]] = []


def _follow(shared: _Shared, seed: int) -> Course:
    """A task: one seed."""
    return _ground(shared).follow(seed, shared.method)


def _ground(shared: _Shared) -> Ground:
    """What all seeds stand on; made once in a process."""
    for known, ground in _latest:
        if known is shared:
            return ground
    ground = Ground(shared.inputs, shared.window, shared.table, candidates=shared.candidates)
    _latest[:] = [(shared, ground)]
    return ground


def _assemble(shared: _Shared, seeds: tuple[int, ...], courses: Sequence[Course]) -> StudyResult:
    inputs, window = shared.inputs, shared.window
    carried = np.stack([course.carried_bit for course in courses])
    wanted = np.outer(window.day_length_s(), [demand.rate_bps for demand in inputs.demands])
    return StudyResult(
        inputs=inputs,
        start=window.start,
        end=window.end,
        seeds=seeds,
        links=tuple(inputs.topology.links),
        wanted_bit=wanted,
        carried_bit=carried,
        key_age_s=np.stack([course.key_age_s for course in courses]),
        age_bit=np.stack([course.age_bit for course in courses]),
        bottleneck=np.stack([course.bottleneck for course in courses]),
        made_bit=np.stack([course.made_bit for course in courses]),
        used_bit=np.stack([course.used_bit for course in courses]),
        contacts_planned=np.stack([course.contacts_planned for course in courses]),
        contacts_lost=np.stack([course.contacts_lost for course in courses]),
        satellite_contact_s=np.stack([course.satellite_contact_s for course in courses]),
        satellite_bit=np.stack([course.satellite_bit for course in courses]),
        plan_method=shared.method,
        plan_value_bit=np.array([course.plan_value_bit for course in courses]),
        plan_bound_bit=np.array([course.plan_bound_bit for course in courses]),
        contacts=courses[0].contacts,
        ways=_ways(inputs, courses),
        full_cuts=_full_cuts(inputs, window, wanted.sum(axis=0), carried.sum(axis=1).mean(axis=0), courses),
        cost=total_cost(inputs, window),
        notes=(*inputs.notes, *(SKY_NOTES if inputs.satellites else ()), *MODEL_NOTES),
    )


def _ways(inputs: StudyInputs, courses: Sequence[Course]) -> tuple[tuple[Way, ...], ...]:
    """The ways that carried most of each pair's key, over all courses."""
    names = tuple(inputs.topology.links)
    carried: list[dict[tuple[int, ...], float]] = [{} for _ in inputs.demands]
    for course in courses:
        pair_of = np.repeat(np.arange(len(inputs.demands)), np.diff(course.ways.of_pair))
        for way in np.flatnonzero(course.way_bit > 0.0):
            links = tuple(course.ways.link[course.ways.of_way[way] : course.ways.of_way[way + 1]].tolist())
            of_pair = carried[pair_of[way]]
            of_pair[links] = of_pair.get(links, 0.0) + float(course.way_bit[way]) / len(courses)
    return tuple(
        tuple(
            Way(nodes, over, bit)
            for links, bit in sorted(of_pair.items(), key=lambda item: (-item[1], item[0]))[:WAYS_KEPT]
            for nodes, over in separate_routes(inputs, demand.ends, [names[link] for link in links])
        )
        for demand, of_pair in zip(inputs.demands, carried, strict=True)
    )


def separate_routes(inputs: StudyInputs, ends: tuple[str, str], links: Sequence[str]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The nodes and links of each route, from end to end, of the node-disjoint ones whose links these are."""
    left = list(links)
    routes = []
    while left:
        nodes, names = [ends[0]], []
        while nodes[-1] != ends[1]:
            name = next(name for name in left if nodes[-1] in inputs.topology.links[name].ends)
            left.remove(name)
            one, other = inputs.topology.links[name].ends
            nodes.append(other if nodes[-1] == one else one)
            names.append(name)
        routes.append((tuple(nodes), tuple(names)))
    return routes


def _full_cuts(
    inputs: StudyInputs,
    window: Window,
    wanted_bit: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    carried_bit: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    courses: Sequence[Course],
) -> tuple[FullCut, ...]:
    """Why pairs go without: the worst served first. Capacities are means over the study, of all that the links made."""
    made_bit = np.mean([course.made_bit for course in courses], axis=0)
    used_bit = np.mean([course.used_bit for course in courses], axis=0)
    short = np.flatnonzero(carried_bit < 0.999 * wanted_bit)
    worst = short[np.argsort(carried_bit[short] / wanted_bit[short], kind="stable")][:CUTS_SHOWN]
    asked = [KeyDemand(demand.ends, bit) for demand, bit in zip(inputs.demands, wanted_bit.tolist(), strict=True)]
    cuts = []
    for pair in worst:
        demand = inputs.demands[pair]
        cut = full_cut(
            inputs.topology, made_bit, *demand.ends, demands=asked, used_bit=np.minimum(used_bit, made_bit), least_trust=demand.least_trust
        )
        if cut.capacity_bit < cut.demand_bit:
            cuts.append(FullCut(demand.name, cut.demand_bit / window.length_s, cut.capacity_bit / window.length_s, cut.links))
    return tuple(cuts)


def total_cost(inputs: StudyInputs, window: Window) -> float | None:
    """What everything costs over the study, in the currency of its prices; None where nothing has a price. Apertures cost by the metre."""
    prices = inputs.prices
    if prices is None or prices == Prices(currency=prices.currency, source=prices.source):
        return None
    relays = sum(node.kind == "trusted node" for node in inputs.topology.nodes.values())
    fibre_km = sum(link.length_km for link in inputs.topology.links.values() if link.kind == "fibre")
    aperture_m = sum(station.receiver.aperture_m or 0.0 for station in inputs.stations)
    parts = (
        (prices.satellite, len(inputs.satellites)),
        (prices.station, len(inputs.stations)),
        (prices.aperture_per_metre, aperture_m),
        (prices.relay, relays),
        (prices.fibre_per_km_year, fibre_km * window.length_s / SECONDS_PER_DAY / DAYS_PER_YEAR),
    )
    return float(sum(price * count for price, count in parts if price is not None))
