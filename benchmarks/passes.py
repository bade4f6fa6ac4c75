"""Passes in bulk: ten satellites over ten stations for a year, on one core."""

from __future__ import annotations

import time
import tracemalloc
from datetime import UTC, datetime, timedelta

from skyfield.api import EarthSatellite, load, wgs84

from measure import Figure
from tiandi.physics.constellation import sun_synchronous_inclination_deg, walker_constellation
from tiandi.physics.orbit import Elements, Station
from tiandi.physics.passes import PassTable, Visibility, tabulate_passes

START = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 365
PEER_DAYS = 30
CUTOFF_DEG = 10.0
STATIONS = [
    Station("Xinglong", 40.395867, 117.577458, 890),
    Station("Nanshan", 43.475461, 87.176686, 2028),
    Station("Delingha", 37.379008, 97.726947, 3153),
    Station("Lijiang", 26.693931, 100.029319, 3233),
    Station("Ngari", 32.325019, 80.026161, 5047),
    Station("Graz", 47.0671, 15.4933, 490),
    Station("Hefei", 31.82, 117.13, 40),
    Station("Wuhan", 30.51, 114.4, 40),
    Station("Shanghai", 31.13, 121.55, 10),
    Station("Stellenbosch", -33.93, 18.86, 130),
]


def benchmark_passes() -> list[Figure]:
    """Processor time of one search after a short one that warms up, and its memory; skyfield does one satellite, two stations, a month."""
    satellites = walker_constellation(
        10, 5, 1, altitude_km=500.0, inclination_deg=sun_synchronous_inclination_deg(500.0), epoch=START, name="Design"
    )
    _search(satellites, 1)
    tracemalloc.start()
    start = time.process_time()
    table = _search(satellites, DAYS)
    seconds = time.process_time() - start
    peak_byte = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    rate = len(table) / seconds
    theirs = peer_rate(satellites[0])
    peer = f"{rate / theirs:.1f} times skyfield's passes per second ({rate:,.0f} over {theirs:,.0f})"
    return [
        Figure(f"a year's passes, 10 satellites x 10 stations ({len(table):,})", seconds, 6.0, "s", peer),
        Figure("the same: most memory held at a time", peak_byte / 1e6, 100.0, "MB"),
    ]


def _search(satellites: list[Elements], days: int) -> PassTable:
    return tabulate_passes(
        satellites, STATIONS, start=START, end=START + timedelta(days=days), visibility=Visibility(CUTOFF_DEG, CUTOFF_DEG, 90.0)
    )


def peer_rate(elements: Elements) -> float:
    """Passes per second that skyfield finds, to half a second where we go to a millisecond; best of three rounds."""
    timescale = load.timescale(builtin=True)
    satellite = EarthSatellite.from_satrec(elements.satellite, timescale)
    window = timescale.from_datetime(START), timescale.from_datetime(START + timedelta(days=PEER_DAYS))
    rates = []
    for _ in range(3):
        start, found = time.process_time(), 0
        for station in STATIONS[:2]:
            site = wgs84.latlon(station.latitude_deg, station.longitude_deg, station.altitude_m)
            _, events = satellite.find_events(site, *window, altitude_degrees=CUTOFF_DEG)
            found += int((events == 1).sum())
        rates.append(found / (time.process_time() - start))
    return max(rates)
