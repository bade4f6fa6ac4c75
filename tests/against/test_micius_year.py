"""Micius over its stations for a year, pass by pass, against skyfield; and the published pass over Xinglong of 19 December 2016."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from skyfield.api import EarthSatellite, load, wgs84

from tests.physics.test_orbit import MICIUS_OMM
from tiandi.clock import parse_utc
from tiandi.physics.orbit import Elements, Station
from tiandi.physics.passes import PassTable, Visibility, tabulate_passes
from tiandi.physics.spacecraft import load_spacecraft

# skyfield 1.55 sets a dtype in place, which NumPy 2.5 deprecates; it is the oracle here and not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the dtype:DeprecationWarning")

STATIONS = [
    Station("Xinglong", 40.395867, 117.577458, 890),
    Station("Nanshan", 43.475461, 87.176686, 2028),
    Station("Delingha", 37.379008, 97.726947, 3153),
    Station("Lijiang", 26.693931, 100.029319, 3233),
    Station("Ngari", 32.325019, 80.026161, 5047),
    Station("Graz", 47.0671, 15.4933, 490),
]
START = parse_utc("2016-12-19")
CUTOFF_DEG = 10.0


def ours(days: float) -> PassTable:
    """All passes of the elements of December 2016, carried on for as long as asked: the same orbit is given to skyfield."""
    elements = Elements.from_omm(MICIUS_OMM, age_limit_days=400)
    visibility = Visibility(CUTOFF_DEG, CUTOFF_DEG, 90.0)
    return tabulate_passes([elements], STATIONS, start=START, end=START + timedelta(days=days), visibility=visibility)


def theirs(station: Station, end: datetime) -> np.ndarray:
    """Rise, highest point and set [s after START], and the elevation at the highest [deg], of each of skyfield's passes, shape (n, 4)."""
    timescale = load.timescale(builtin=True)
    satellite = EarthSatellite.from_satrec(Elements.from_omm(MICIUS_OMM).satellite, timescale)
    site = wgs84.latlon(station.latitude_deg, station.longitude_deg, station.altitude_m)
    around = timescale.from_datetime(START - timedelta(hours=1)), timescale.from_datetime(end + timedelta(hours=1))
    times, events = satellite.find_events(site, *around, altitude_degrees=CUTOFF_DEG)
    offsets_s = np.array([(time.utc_datetime() - START).total_seconds() for time in times])
    tops = np.flatnonzero(events == 1)
    assert (events[tops - 1] == 0).all()
    assert (events[tops + 1] == 2).all()
    elevation_deg = (satellite - site).at(times[tops]).altaz()[0].degrees
    found = np.stack([offsets_s[tops - 1], offsets_s[tops], offsets_s[tops + 1], elevation_deg], axis=1)
    return found[(found[:, 1] >= 0.0) & (found[:, 1] <= (end - START).total_seconds())]


def compare(days: float) -> int:
    """How many passes there are, each within a second and a tenth of a degree of skyfield's."""
    table, count = ours(days), 0
    for number, station in enumerate(STATIONS):
        rows = table.rows[table.rows["station"] == number]
        expected = theirs(station, START + timedelta(days=days))
        assert rows.size == len(expected)
        for column, name in enumerate(("start_s", "culmination_s", "end_s")):
            assert rows[name] == pytest.approx(expected[:, column], abs=1.0), (station.name, name)
        assert rows["culmination_deg"] == pytest.approx(expected[:, 3], abs=0.1)
        count += rows.size
    return count


def test_two_weeks_of_micius_are_skyfields() -> None:
    assert compare(14) > 250


def test_a_year_of_micius_is_skyfields() -> None:
    assert compare(365) > 6_500


def test_the_published_pass_over_xinglong() -> None:
    """Liao et al. 2017, doi:10.1038/nature23655: 645 km at the closest. SGP4 by skyfield: 645.37 km, 16:52:13.8.

    It knows UT1, which was 0.4 s behind UTC: that is 0.1 km.
    """
    micius = load_spacecraft()["micius"].archived_elements(START)
    night = Visibility(10.0, 10.0, -6.0)
    table = tabulate_passes([micius], STATIONS[:1], start=START, end=START + timedelta(days=1), visibility=night)
    assert table.rows["closest_km"] == pytest.approx([645.37], abs=0.1)
    assert table.rows["closest_km"] == pytest.approx([645.0], abs=1.0)
    assert abs(table.passes()[0].culmination - parse_utc("2016-12-19T16:52:13.8")) < timedelta(seconds=2)
