"""Contact plans against every possible plan of small skies, and limits that no plan may break."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from tiandi.control.contact_model import (
    CONTACT,
    ROW_FIELDS,
    STORED_SHARE,
    SURPLUS_SHARE,
    PairDemands,
    SatelliteLimits,
    StationLimits,
    list_choices,
    part_bit,
)
from tiandi.control.contact_plan import ContactPlan, plan_contacts
from tiandi.errors import InputError

ROW = np.dtype([(name, np.int64 if name in ("satellite", "station") else np.float64) for name in ROW_FIELDS])


def passes(*rows: tuple[int, int, float, float, float]) -> np.ndarray:
    """Rows from satellite, station, start [s], end [s] and key [bit]; each culminates in its middle, 600 km away."""
    return np.array([(satellite, station, start, end, (start + end) / 2, 600.0, bit) for satellite, station, start, end, bit in rows], ROW)


def random_sky(seed: int, *, passes_count: int, satellites: int, stations: int, span_s: float) -> np.ndarray:
    generator = np.random.default_rng(seed)
    rows = np.zeros(passes_count, ROW)
    rows["satellite"], rows["station"] = generator.integers(satellites, size=passes_count), generator.integers(stations, size=passes_count)
    rows["start_s"] = generator.uniform(0.0, span_s, passes_count)
    rows["end_s"] = rows["start_s"] + generator.uniform(100.0, 400.0, passes_count)
    rows["culmination_s"] = (rows["start_s"] + rows["end_s"]) / 2
    rows["closest_km"], rows["secret_bit"] = generator.uniform(500.0, 1500.0, passes_count), generator.uniform(1e4, 1e6, passes_count)
    return rows


def random_demands(seed: int, stations: int, wanted_bit: float) -> PairDemands:
    generator = np.random.default_rng(seed + 1)
    pairs = np.array([(near, far) for far in range(stations) for near in range(far)])
    return PairDemands(pairs, generator.uniform(0.2, 2.0, len(pairs)) * wanted_bit, generator.uniform(0.5, 2.0, len(pairs)))


def broken_limits(contacts: np.ndarray, satellites: SatelliteLimits, stations: StationLimits) -> list[str]:
    """The limits that a plan breaks, each looked at by itself."""
    broken = []
    for name, limits in (("satellite", satellites), ("station", stations)):
        slew_s, telescopes = np.asarray(limits.slew_s), np.asarray(limits.telescopes)
        for number in range(telescopes.size):
            mine = contacts[contacts[name] == number]
            for moment in mine["start_s"]:
                crowd = np.sum((mine["start_s"] <= moment) & (moment < mine["end_s"] + slew_s[number]))
                if crowd > telescopes[number]:
                    broken.append(f"{name} {number} serves {crowd} at {moment}")
    used_s: dict[tuple[int, int], float] = {}
    for contact in contacts:
        day = int(contact["satellite"]), int(contact["start_s"] // 86400)
        used_s[day] = used_s.get(day, 0.0) + float(contact["end_s"] - contact["start_s"])
    limit_s = np.asarray(satellites.contact_limit_s)
    broken += [f"satellite {number} points {spent} s" for (number, _), spent in used_s.items() if spent > limit_s[number] + 1e-3]
    if np.unique(contacts["row"]).size != contacts.size:
        broken.append("a pass is served twice")
    return broken


def worth(contacts: np.ndarray, demands: PairDemands, satellites: int, stations: int) -> float:
    """The worth of contacts as defined in words: hand-overs of each satellite and pair, wanted or surplus, and what stays aboard."""
    stock = np.zeros((satellites, stations))
    np.add.at(stock, (contacts["satellite"], contacts["station"]), contacts["expected_bit"])
    pairs, weight, wanted = np.asarray(demands.stations), np.asarray(demands.weight), np.asarray(demands.wanted_bit)
    stored = np.array(
        [max([STORED_SHARE * w for w, pair in zip(weight, pairs, strict=True) if s in pair], default=0.0) for s in range(stations)]
    )
    count = len(pairs)
    # Variables: for every satellite and pair the bits handed over as wanted ones, then those as surplus.
    gain = np.concatenate([np.tile(share * weight - stored[pairs].sum(axis=1), satellites) for share in (1.0, SURPLUS_SHARE)])
    matrix, limits = [], []
    for satellite, station in product(range(satellites), range(stations)):
        takes = np.zeros((2, satellites, count))
        takes[:, satellite, (pairs == station).any(axis=1)] = 1.0
        matrix.append(takes.ravel())
        limits.append(stock[satellite, station])
    for pair in range(count):
        takes = np.zeros((2, satellites, count))
        takes[0, :, pair] = 1.0
        matrix.append(takes.ravel())
        limits.append(wanted[pair])
    scale = 1e5
    return float((stock * stored).sum() - scale * linprog(-gain, A_ub=np.array(matrix), b_ub=np.array(limits) / scale).fun)


def best_by_brute_force(rows: np.ndarray, satellites: SatelliteLimits, stations: StationLimits, demands: PairDemands, parts: int) -> float:
    """The worth of the best of all plans: of each pass nothing, or any one of its parts."""
    contacts = list_choices(rows, clear_probability=1.0, satellites=satellites, stations=stations, demands=demands, parts=parts).contacts
    options = [[-1, *np.flatnonzero(contacts["row"] == row)] for row in range(rows.size)]
    best = 0.0
    for choice in product(*options):
        chosen = contacts[[number for number in choice if number >= 0]]
        if not broken_limits(chosen, satellites, stations):
            best = max(best, worth(chosen, demands, np.size(satellites.telescopes), np.size(stations.telescopes)))
    return best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("parts", "count", "telescopes"), [(1, 7, 1), (2, 4, 1), (1, 7, 2)])
def test_the_optimum_is_that_of_all_plans(seed: int, parts: int, count: int, telescopes: int) -> None:
    rows = random_sky(seed, passes_count=count, satellites=2, stations=3, span_s=900.0)
    satellites, stations = SatelliteLimits([600.0, 900.0], telescopes=telescopes), StationLimits([1, 1, telescopes], slew_s=30.0)
    demands = random_demands(seed, 3, 3e5)
    plan = plan_contacts(rows, satellites=satellites, stations=stations, demands=demands, method="optimal", parts=parts)
    best = best_by_brute_force(rows, satellites, stations, demands, parts)
    assert plan.value_bit == pytest.approx(best, rel=2e-4)
    assert plan.bound_bit is not None
    assert plan.bound_bit >= best * (1 - 1e-6)
    assert plan.gap == pytest.approx(0.0, abs=2e-4)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 60),
    limit_s=st.sampled_from([0.0, 300.0, 1500.0, 86400.0]),
    slew_s=st.sampled_from([0.0, 60.0, 200.0]),
    telescopes=st.integers(1, 3),
    parts=st.integers(1, 4),
)
def test_a_greedy_plan_keeps_every_limit(*, seed: int, count: int, limit_s: float, slew_s: float, telescopes: int, parts: int) -> None:
    rows = random_sky(seed, passes_count=count, satellites=3, stations=4, span_s=5000.0)
    satellites = SatelliteLimits([limit_s] * 3, slew_s=slew_s, telescopes=[1, 1, telescopes])
    stations = StationLimits([1, 1, 2, telescopes], slew_s=slew_s)
    demands = random_demands(seed, 4, 1e6)
    plan = plan_contacts(rows, satellites=satellites, stations=stations, demands=demands, parts=parts)
    assert broken_limits(plan.contacts, satellites, stations) == []
    assert plan.value_bit == pytest.approx(worth(plan.contacts, demands, 3, 4), rel=1e-6, abs=1.0)
    assert plan.bound_bit is not None
    assert plan.bound_bit >= plan.value_bit


@pytest.mark.parametrize("limit_s", [900.0, 86400.0])
def test_the_gap_of_the_greedy_plan_is_small_and_true(limit_s: float) -> None:
    gaps = []
    for seed in range(3):
        rows = random_sky(seed, passes_count=40, satellites=3, stations=6, span_s=30_000.0)
        sky: dict[str, Any] = {"satellites": SatelliteLimits([limit_s] * 3), "stations": StationLimits([1] * 6)}
        sky["demands"] = random_demands(seed, 6, 4e5)
        greedy = plan_contacts(rows, **sky)
        optimal = plan_contacts(rows, **sky, method="optimal", deadline_s=0.5)
        assert broken_limits(optimal.contacts, sky["satellites"], sky["stations"]) == []
        assert greedy.bound_bit is not None
        assert optimal.bound_bit is not None
        assert greedy.value_bit <= optimal.value_bit <= greedy.bound_bit * (1 + 1e-6)
        gaps.append(1 - greedy.value_bit / optimal.bound_bit)
    assert np.mean(gaps) < 0.15


def test_without_pairs_every_bit_counts_and_weighted_intervals_are_optimal() -> None:
    rows = random_sky(3, passes_count=40, satellites=1, stations=40, span_s=8000.0)
    rows["station"] = np.arange(40)
    plan = plan_contacts(rows, satellites=SatelliteLimits([86400.0]), stations=StationLimits(np.ones(40)), method="optimal", parts=1)
    # Weighted interval scheduling by dynamic programming over the passes by their end.
    order = np.argsort(rows["end_s"])
    best = [0.0]
    for place, number in enumerate(order):
        before = np.searchsorted(rows["end_s"][order[:place]] + 60.0, rows["start_s"][number], side="right")
        best.append(max(best[-1], best[before] + rows["secret_bit"][number]))
    assert plan.value_bit == pytest.approx(best[-1], rel=1e-6)


def test_key_of_one_station_alone_is_worth_little_and_pairs_are_served_together() -> None:
    """Three passes of one satellite; its day lets it serve two. The third station brings more key, but nobody wants that."""
    rows = passes((0, 0, 0, 300, 1e5), (0, 1, 1000, 1300, 1e5), (0, 2, 2000, 2300, 9e5))
    plan = plan_contacts(
        rows,
        satellites=SatelliteLimits([600.0]),
        stations=StationLimits([1, 1, 1]),
        demands=PairDemands([(0, 1)], [1e5]),
        method="optimal",
        parts=1,
    )
    assert plan.contacts["row"].tolist() == [0, 1]
    assert plan.value_bit == pytest.approx(1e5)


def test_clouds_decide_between_two_stations() -> None:
    rows = passes((0, 0, 0, 300, 1e5), (0, 1, 10, 310, 9e4))
    sky: dict[str, Any] = {"satellites": SatelliteLimits([86400.0]), "stations": StationLimits([1, 1]), "parts": 1}
    assert plan_contacts(rows, **sky).contacts["station"].tolist() == [0]
    assert plan_contacts(rows, **sky, clear_probability=[0.3, 0.8]).contacts["station"].tolist() == [1]
    assert plan_contacts(rows, **sky, clear_probability=0.0).contacts.size == 0


def test_a_long_pass_is_shared_by_two_stations() -> None:
    rows = passes((0, 0, 0, 600, 1e6), (0, 1, 300, 900, 1e6))
    plan = plan_contacts(
        rows, satellites=SatelliteLimits([86400.0]), stations=StationLimits([1, 1]), demands=PairDemands([(0, 1)], [1e6]), method="optimal"
    )
    assert plan.contacts["station"].tolist() == [0, 1]
    assert plan.contacts["start_s"][1] >= plan.contacts["end_s"][0] + 60.0


def test_parts_of_a_pass_prove_less_than_the_whole() -> None:
    assert part_bit(1.0, 1e5) == pytest.approx(1e5)
    assert part_bit(0.0, 1e5) == 0.0
    assert 2 * part_bit(0.5, 1e5) < 1e5
    assert part_bit(0.5, 5e3) == 0.0
    assert part_bit(0.6, part_bit(0.7, 1e6)) == pytest.approx(float(part_bit(0.42, 1e6)))
    # Light along a straight line: of a pass from -45 to 45 degrees off the nearest point, the middle third of the time.
    rows = np.array([(0, 0, 0.0, 160.0, 80.0, 600.0, 1e6), (0, 1, 0.0, 160.0, 80.0, 600.0, 1e6)], ROW)
    contacts = list_choices(
        rows, clear_probability=1.0, satellites=SatelliteLimits([86400.0], speed_km_s=7.5), stations=StationLimits([1, 1]), parts=4
    ).contacts
    middle = contacts[(contacts["start_s"] == 40.0) & (contacts["end_s"] == 120.0)]
    assert middle["expected_bit"] == pytest.approx(float(part_bit(2 * np.arctan(0.5) / (np.pi / 2), 1e6)))


def test_what_is_kept_stays_and_what_is_past_is_not_planned() -> None:
    rows = passes((0, 0, 0, 300, 1e3), (0, 1, 100, 400, 1e6), (0, 1, 6000, 6300, 1e6), (0, 0, 12000, 12300, 1e6))
    kept = np.array([(0, 0, 0, 0.0, 300.0, 1e3)], CONTACT)
    for method in ("greedy", "optimal"):
        plan = plan_contacts(
            rows, satellites=SatelliteLimits([86400.0]), stations=StationLimits([1, 1]), kept=kept, now_s=7000.0, method=method, parts=1
        )
        assert plan.contacts["row"].tolist() == [0, 3]


def test_stock_aboard_makes_its_other_station_worth_serving() -> None:
    rows = passes((0, 1, 0, 300, 1e5), (0, 2, 100, 400, 1.1e5))
    sky: dict[str, Any] = {"satellites": SatelliteLimits([86400.0]), "stations": StationLimits([1] * 3), "parts": 1}
    plan = plan_contacts(rows, **sky, demands=PairDemands([(0, 1), (0, 2)], [2e5, 0.0]), stock_bit=[[2e5, 0.0, 0.0]], method="optimal")
    assert plan.contacts["station"].tolist() == [1]


def test_a_solver_without_time_returns_the_greedy_plan_and_its_gap() -> None:
    rows = random_sky(5, passes_count=150, satellites=4, stations=8, span_s=20_000.0)
    sky: dict[str, Any] = {"satellites": SatelliteLimits([86400.0] * 4), "stations": StationLimits([1] * 8)}
    sky["demands"] = random_demands(5, 8, 4e5)
    hurried, greedy = plan_contacts(rows, **sky, method="optimal", deadline_s=0.0), plan_contacts(rows, **sky)
    assert hurried.value_bit >= greedy.value_bit
    assert hurried.bound_bit is not None
    assert hurried.bound_bit >= hurried.value_bit
    assert hurried.gap is not None
    assert plan_contacts(rows, **sky, bounded=False).gap is None


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ((0, 0, 300.0, 0.0, 1e5), "rows.end_s"),
        ((0, 0, float("nan"), 300.0, 1e5), "rows.start_s"),
        ((0, 0, 0.0, float("nan"), 1e5), "rows.end_s"),
        ((3, 0, 0.0, 300.0, 1e5), "rows.satellite"),
        ((0, -1, 0.0, 300.0, 1e5), "rows.station"),
        ((0, 0, 0.0, 300.0, -1.0), "rows.secret_bit"),
        ((0, 0, 0.0, 300.0, float("nan")), "rows.secret_bit"),
    ],
)
def test_bad_rows_are_named(row: tuple[int, int, float, float, float], field: str) -> None:
    with pytest.raises(InputError) as caught:
        plan_contacts(passes(row), satellites=SatelliteLimits([86400.0]), stations=StationLimits([1]))
    assert caught.value.field == field


def test_bad_limits_demands_and_options_are_named() -> None:
    rows = passes((0, 0, 0.0, 300.0, 1e5))
    sky: dict[str, Any] = {"satellites": SatelliteLimits([86400.0]), "stations": StationLimits([1])}
    kept = np.array([(0, 0, 0, 0.0, 300.0, 1.0), (1, 0, 0, 100.0, 400.0, 1.0)], CONTACT)
    bad: list[tuple[str, Any]] = [
        ("satellites.contact_limit_s", lambda: SatelliteLimits([-1.0])),
        ("satellites.slew_s", lambda: SatelliteLimits([1.0], slew_s=float("nan"))),
        ("satellites.slew_s", lambda: SatelliteLimits([1.0, 1.0, 1.0], slew_s=[1.0, 2.0])),
        ("stations.telescopes", lambda: StationLimits([0])),
        ("stations.telescopes", lambda: StationLimits([1.5])),
        ("demands.stations", lambda: PairDemands([(0, 0)], [1.0])),
        ("demands.stations", lambda: PairDemands([0, 1, 2], [1.0])),
        ("demands.stations", lambda: plan_contacts(rows, **sky, demands=PairDemands([(0, 7)], [1.0]))),
        ("demands.wanted_bit", lambda: PairDemands([(0, 1)], [-1.0])),
        ("demands.wanted_bit", lambda: PairDemands([(0, 1)], [1.0, 2.0])),
        ("clear_probability", lambda: plan_contacts(rows, **sky, clear_probability=1.2)),
        ("clear_probability", lambda: plan_contacts(rows, **sky, clear_probability=[0.5, 0.5])),
        ("method", lambda: plan_contacts(rows, **sky, method="best")),  # type: ignore[arg-type]
        ("deadline_s", lambda: plan_contacts(rows, **sky, deadline_s=-1.0)),
        ("parts", lambda: plan_contacts(rows, **sky, parts=0)),
        ("kept", lambda: plan_contacts(rows, **sky, kept=kept)),
        ("rows", lambda: plan_contacts(np.zeros(1, CONTACT), **sky)),
    ]
    for field, attempt in bad:
        with pytest.raises(InputError) as caught:
            attempt()
        assert caught.value.field == field


def test_no_passes_make_an_empty_plan() -> None:
    plan: ContactPlan = plan_contacts(passes(), satellites=SatelliteLimits([86400.0]), stations=StationLimits([1]), method="optimal")
    assert (plan.contacts.size, plan.value_bit, plan.gap) == (0, 0.0, 0.0)
