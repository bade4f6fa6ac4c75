"""Contacts in bulk with their key: a constellation over many stations for a year, at night, key by finite-key analysis.

`python benchmarks/contacts.py --full` does all of the year of 100 satellites and 100 stations, which otherwise is scaled from a month.
"""

from __future__ import annotations

import resource
import sys
import time
from datetime import UTC, datetime, timedelta

from measure import Figure
from passes import STATIONS, peer_rate
from tiandi.control.topology import Link, Node, Topology
from tiandi.physics.constellation import sun_synchronous_inclination_deg, walker_constellation
from tiandi.physics.detectors import SILICON
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.physics.orbit import Station
from tiandi.physics.passes import Visibility, tabulate_passes
from tiandi.planning.contacts import ContactTable, tabulate_contacts
from tiandi.planning.inputs import PlannedSatellite, PlannedStation, StudyInputs

START = datetime(2025, 1, 1, tzinfo=UTC)
YEAR_DAYS, MONTH_DAYS = 365, 30
WORKERS = 2
TRANSMITTER = Transmitter(200e6, (0.6, 0.2, 0.0), (0.5, 0.25, 0.25), divergence_full_angle_urad=10.0, pointing_loss_db=1.5)
RECEIVER = Receiver(optics_efficiency=0.3, detector=SILICON, gate_s=2e-9, misalignment=0.01, background_rate_hz=10.0, aperture_m=1.0)
NIGHT = Visibility(10.0, 20.0, -6.0)


def benchmark_contacts() -> list[Figure]:
    """Processor time of one process, after a short run that warms up, and all of its memory."""
    _tabulate(_inputs(2, 2), 1, 1)
    year_s, table = _timed(_inputs(10, 20), YEAR_DAYS)
    peak_byte = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    inputs = _inputs(10, 20)
    begun = time.process_time()
    satellites = [satellite.elements for satellite in inputs.satellites]
    stations = [planned.station for planned in inputs.stations]
    passes = tabulate_passes(
        satellites, stations, start=START, end=START + timedelta(days=YEAR_DAYS), visibility=Visibility(10.0, 10.0, 90.0)
    )
    rate = len(passes) / (time.process_time() - begun)
    theirs = peer_rate(satellites[0])
    month_s, month = _timed(_inputs(100, 100), MONTH_DAYS)
    small_s, small = _timed(_inputs(10, 20), MONTH_DAYS)
    large_s, large = _timed(_inputs(10, 100), MONTH_DAYS)
    per_contact = (large_s / len(large)) / (small_s / len(small))
    return [
        Figure(f"a year's contacts with key, 10 satellites x 20 stations, one core ({len(table):,})", year_s, 30.0, "s"),
        Figure("the same: memory of the process at its peak", peak_byte / 2**30, 1.0, "GiB"),
        Figure(
            f"skyfield's passes per second over ours, 10 x 20, one core ({theirs:,.0f} over {rate:,.0f})",
            theirs / rate,
            0.1,
            "",
            f"we find {rate / theirs:.1f} times as many as skyfield",
        ),
        Figure(
            f"a year's contacts with key, 100 x 100, one core, scaled from {MONTH_DAYS} days ({len(month):,} in {month_s:.0f} s)",
            month_s * YEAR_DAYS / MONTH_DAYS,
            600.0,
            "s",
        ),
        Figure("time a contact with 100 stations over that with 20", per_contact, 1.5, ""),
    ]


def _inputs(satellites: int, stations: int) -> StudyInputs:
    """A Walker constellation and a ring of stations about the ten that exist, every satellite with a downlink to every station."""
    orbits = walker_constellation(
        satellites,
        2,
        1,
        altitude_km=500.0,
        inclination_deg=sun_synchronous_inclination_deg(500.0),
        epoch=START,
        name="Design",
    )
    sites = [
        Station(f"{site.name} {number}", site.latitude_deg - 0.5 * number, site.longitude_deg + 0.5 * number, site.altitude_m)
        for number in range(-(-stations // len(STATIONS)))
        for site in STATIONS
    ][:stations]
    nodes = [Node(elements.name, "satellite") for elements in orbits] + [Node(site.name, "ground station") for site in sites]
    links = [Link(f"{elements.name} - {site.name}", (elements.name, site.name), "downlink") for elements in orbits for site in sites]
    return StudyInputs(
        "benchmark",
        "Benchmark",
        Topology.of(nodes, links),
        tuple(PlannedSatellite(elements, TRANSMITTER) for elements in orbits),
        tuple(PlannedStation(site, RECEIVER, 1.5, "none", NIGHT) for site in sites),
    )


def _tabulate(inputs: StudyInputs, days: float, workers: int) -> ContactTable:
    return tabulate_contacts(inputs, start=START, end=START + timedelta(days=days), workers=workers)


def _timed(inputs: StudyInputs, days: float) -> tuple[float, ContactTable]:
    begun = time.process_time()
    table = _tabulate(inputs, days, 1)
    return time.process_time() - begun, table


def _full() -> None:
    begun = time.perf_counter()
    table = _tabulate(_inputs(100, 100), YEAR_DAYS, WORKERS)
    seconds = time.perf_counter() - begun
    print(Figure(f"a year's contacts with key, 100 x 100, {WORKERS} processes ({len(table):,})", seconds, 600.0, "s").line())


if __name__ == "__main__":
    if "--full" in sys.argv:
        _full()
    else:
        for line in benchmark_contacts():
            print(line.line())
