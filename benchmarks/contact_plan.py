"""Contact plans for ten satellites and twenty stations: three days by mixed-integer programming, a month and a year greedily."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from measure import Figure
from tiandi.control.contact_model import ROW_FIELDS, PairDemands, SatelliteLimits, StationLimits
from tiandi.control.contact_plan import ContactPlan, plan_contacts
from tiandi.physics.constellation import sun_synchronous_inclination_deg, walker_constellation
from tiandi.physics.orbit import Station
from tiandi.physics.passes import Visibility, tabulate_passes

START = datetime(2025, 1, 1, tzinfo=UTC)
SATELLITES = 10
PAIRS = 40
CLOSE_ENOUGH = 0.02
ROW = np.dtype([(name, np.int64 if name in ("satellite", "station") else np.float64) for name in ROW_FIELDS])
STATIONS = [
    Station(name, latitude_deg, longitude_deg, 100.0)
    for name, latitude_deg, longitude_deg in (
        ("Xinglong", 40.40, 117.58),
        ("Nanshan", 43.48, 87.18),
        ("Delingha", 37.38, 97.73),
        ("Lijiang", 26.69, 100.03),
        ("Ngari", 32.33, 80.03),
        ("Hefei", 31.82, 117.13),
        ("Wuhan", 30.51, 114.40),
        ("Shanghai", 31.13, 121.55),
        ("Jinan", 36.67, 117.00),
        ("Guangzhou", 23.13, 113.26),
        ("Graz", 47.07, 15.49),
        ("Matera", 40.65, 16.70),
        ("Tenerife", 28.30, -16.51),
        ("Madrid", 40.42, -3.70),
        ("Paris", 48.85, 2.35),
        ("Berlin", 52.52, 13.40),
        ("Athens", 37.98, 23.73),
        ("Riga", 56.95, 24.11),
        ("Stellenbosch", -33.93, 18.86),
        ("Moscow", 55.70, 36.75),
    )
]


def benchmark_contact_plan() -> list[Figure]:
    """Processor time after a short plan that warms up; the peer of the greedy choice is the relaxed programme, solved by HiGHS."""
    _plan(2, method="optimal", deadline_s=1.0)
    start = time.monotonic()
    days = _plan(3, method="optimal", close_enough=CLOSE_ENOUGH)
    days_s = time.monotonic() - start
    greedy_days, month = _plan(3), _plan(30)
    sky = _sky(365)
    start = time.process_time()
    year = plan_contacts(**sky, bounded=False)
    year_s = time.process_time() - start
    assert days.gap is not None
    assert month.gap is not None
    return [
        Figure(
            f"contact plan of 3 days by HiGHS ({days.contacts.size} contacts)",
            days_s,
            10.0,
            "s",
            f"HiGHS, stopped within {CLOSE_ENOUGH:.0%} of its bound",
        ),
        Figure(
            "the same: gap to its bound",
            100 * days.gap,
            100 * CLOSE_ENOUGH + 0.1,
            "%",
            f"greedy: {100 * (1 - greedy_days.value_bit / days.value_bit):.1f} % less",
        ),
        Figure(
            f"contact plan of 30 days, greedy ({month.contacts.size:,} contacts): gap",
            100 * month.gap,
            5.0,
            "%",
            "to HiGHS's relaxed optimum",
        ),
        Figure(f"contact plan of a year, greedy, {len(sky['rows']):,} passes ({year.contacts.size:,} contacts)", year_s, 2.0, "s"),
    ]


def _plan(days: int, **options: Any) -> ContactPlan:
    return plan_contacts(**_sky(days), **options)


def _sky(days: int) -> dict[str, Any]:
    """Passes by night, a key that falls with the range, cloud drawn for each pass, and pairs that want about what the sky gives."""
    satellites = walker_constellation(
        SATELLITES, 5, 1, altitude_km=500.0, inclination_deg=sun_synchronous_inclination_deg(500.0), epoch=START, name="Design"
    )
    table = tabulate_passes(
        satellites, STATIONS, start=START, end=START + timedelta(days=days), visibility=Visibility(10.0, 20.0, -6.0)
    ).rows
    rows = np.zeros(table.size, ROW)
    for name in ROW_FIELDS[:-1]:
        rows[name] = table[name]
    rows["secret_bit"] = 4e5 * (500.0 / rows["closest_km"]) ** 2.5 * (rows["end_s"] - rows["start_s"]) / 300.0
    generator = np.random.default_rng(1)
    pairs = np.array([(near, far) for far in range(len(STATIONS)) for near in range(far)])
    pairs = generator.choice(pairs, PAIRS, replace=False)
    wanted_bit = 4e5 * days * generator.uniform(0.5, 2.0, PAIRS)
    return {
        "rows": rows,
        "satellites": SatelliteLimits(np.full(SATELLITES, 86_400.0)),
        "stations": StationLimits(np.ones(len(STATIONS))),
        "demands": PairDemands(pairs, wanted_bit, generator.uniform(0.5, 2.0, PAIRS)),
        "clear_probability": generator.uniform(0.2, 0.9, rows.size),
    }
