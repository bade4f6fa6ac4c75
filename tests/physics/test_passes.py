import pickle
from datetime import datetime, timedelta

import numpy as np
import pytest
from skyfield.api import EarthSatellite, load, wgs84

from tests.physics.test_orbit import MICIUS, XINGLONG
from tiandi.clock import julian_dates, parse_utc
from tiandi.errors import ElementsError, InputError
from tiandi.physics import pass_search
from tiandi.physics.constellation import designed_orbit, walker_constellation
from tiandi.physics.orbit import Elements, Station, look_angles, propagate
from tiandi.physics.pass_search import PassSearch
from tiandi.physics.passes import PassTable, SatellitePass, Visibility, find_passes, tabulate_passes
from tiandi.physics.sun import sun_elevation_deg

# skyfield 1.55 sets a dtype in place, which NumPy 2.5 deprecates; it is the oracle here and not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the dtype:DeprecationWarning")
NIGHT = Visibility(elevation_cutoff_deg=10, culmination_deg=10, sun_elevation_limit_deg=0)


def passes(start: str, end: str, visibility: Visibility = NIGHT) -> list[SatellitePass]:
    return find_passes(Elements("Micius", *MICIUS), XINGLONG, start=parse_utc(start), end=parse_utc(end), visibility=visibility)


def test_the_published_pass_is_found_by_propagation() -> None:
    """Liao et al. 2017 (doi:10.1038/nature23655): 2016-12-19, closest 645 km; the moment and elevation are SGP4's by skyfield."""
    (found,) = passes("2016-12-19", "2016-12-20")
    assert found.closest_km == pytest.approx(645, abs=1)
    assert abs(found.culmination - parse_utc("2016-12-19T16:52:14")) < timedelta(seconds=1)
    assert found.culmination_deg == pytest.approx(47.83, abs=0.05)


def test_skyfield_finds_the_same_passes_in_a_week() -> None:
    """It stops searching at half a second."""
    timescale = load.timescale(builtin=True)
    satellite = EarthSatellite(*MICIUS, "Micius", timescale)
    station = wgs84.latlon(XINGLONG.latitude_deg, XINGLONG.longitude_deg, XINGLONG.altitude_m)
    start, end = timescale.utc(2016, 12, 19), timescale.utc(2016, 12, 26)
    times, events = satellite.find_events(station, start, end, altitude_degrees=10.0)
    ours = passes("2016-12-19", "2016-12-26", Visibility(10, 10, 90))
    for number, name in enumerate(("start", "culmination", "end")):
        theirs = [time.utc_datetime() for time, event in zip(times, events, strict=True) if event == number]
        assert [getattr(our, name).timestamp() for our in ours] == pytest.approx([their.timestamp() for their in theirs], abs=0.5)


def test_passes_begin_culminate_and_end_to_a_tenth_of_a_second_by_skyfields_positions() -> None:
    """By its elevations at our moments; UT1, 0.4 s behind UTC that week, makes up 0.05 s of it."""
    satellite = EarthSatellite(*MICIUS, "Micius", load.timescale(builtin=True))
    site = wgs84.latlon(XINGLONG.latitude_deg, XINGLONG.longitude_deg, XINGLONG.altitude_m)
    ours = passes("2016-12-19", "2016-12-26", Visibility(10, 10, 90))

    def elevation_deg(name: str, later_s: float) -> np.ndarray:
        moments = load.timescale(builtin=True).from_datetimes([getattr(our, name) + timedelta(seconds=later_s) for our in ours])
        return (satellite - site).at(moments).altaz()[0].degrees

    for name in ("start", "end"):
        rate = elevation_deg(name, 0.5) - elevation_deg(name, -0.5)
        assert (elevation_deg(name, 0.0) - 10.0) / rate == pytest.approx(np.zeros(len(ours)), abs=0.1)
    top = [elevation_deg("culmination", later_s) for later_s in (-2.0, 0.0, 2.0)]
    assert (top[2] - top[0]) / (top[2] - 2 * top[1] + top[0]) == pytest.approx(np.zeros(len(ours)), abs=0.1)
    assert top[1] == pytest.approx([our.culmination_deg for our in ours], abs=0.02)


def test_a_pass_begins_and_ends_at_the_cutoff() -> None:
    (found,) = passes("2016-12-19", "2016-12-20")
    _, look = found.track(1.0)
    assert look.elevation_deg[[0, -1]] == pytest.approx(10.0, abs=0.2)
    assert look.elevation_deg.min() > 9.9
    assert look.range_km.size == int(found.duration_s)


def test_the_sun_must_be_down() -> None:
    """Micius passes Xinglong around local midnight and noon: no pass may be by day."""
    assert {item.start.hour for item in passes("2016-12-19", "2016-12-26")} <= {15, 16, 17, 18}
    assert all(item.sun_elevation_deg < 0 for item in passes("2016-12-19", "2016-12-26"))


def test_low_passes_can_be_left_out() -> None:
    low, high = passes("2016-12-19", "2016-12-26"), passes("2016-12-19", "2016-12-26", Visibility(10, 45, 0))
    assert [item for item in low if item.culmination_deg >= 45] == high
    assert 0 < len(high) < len(low)


@pytest.mark.parametrize(
    ("name", "value"),
    [("elevation_cutoff_deg", -1), ("elevation_cutoff_deg", 90), ("culmination_deg", 95), ("sun_elevation_limit_deg", 95)],
)
def test_visibility_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        Visibility(**{name: value})


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(InputError, match="must be later"):
        passes("2016-12-20", "2016-12-19")


def test_elements_of_another_year_are_refused() -> None:
    with pytest.raises(ElementsError, match="must lie within 30 days"):
        passes("2020-12-19", "2020-12-20")


WORLD = [Station("Ngari", 32.325, 80.026, 5047), Station("Quito", -0.2, -78.5, 2850), Station("South Pole", -90.0, 0.0, 2835)]
SPRING = parse_utc("2023-03-01")
ANY_LIGHT = Visibility(10, 10, 90)


def design(altitude_km: float, inclination_deg: float, **more: float) -> Elements:
    return designed_orbit("Design", epoch=SPRING, altitude_km=altitude_km, inclination_deg=inclination_deg, **more)


ORBITS = {
    "low": design(500.0, 97.4, node_deg=30.0),
    "very low": design(180.0, 45.0),
    "Galileo": design(23222.0, 56.0),
    "Molniya": design(20180.0, 63.4, eccentricity=0.737, argument_of_perigee_deg=270.0, node_deg=100.0),
    "inclined geosynchronous": design(35786.0, 55.0, node_deg=270.0),
}


def seen_by_looking_every_few_seconds(
    elements: Elements, station: Station, end: datetime, cutoff_deg: float, step_s: float
) -> list[tuple[float, float, float]]:
    """Rise, culmination and set [s] of every pass that has all three in the window, to the step."""
    offsets_s = np.arange(0.0, (end - SPRING).total_seconds(), step_s)
    elevation_deg = look_angles(station, propagate(elements, julian_dates(SPRING, offsets_s))).elevation_deg
    above = elevation_deg > cutoff_deg
    edges = np.flatnonzero(above[1:] != above[:-1]) + 1
    edges = edges[1:] if above[0] else edges
    return [
        (offsets_s[rise], offsets_s[rise + elevation_deg[rise:set_].argmax()], offsets_s[set_])
        for rise, set_ in zip(edges[::2], edges[1::2], strict=False)
    ]


@pytest.mark.parametrize("station", WORLD, ids=lambda station: station.name)
@pytest.mark.parametrize("cutoff_deg", [0.0, 10.0, 70.0])
@pytest.mark.parametrize("orbit", ORBITS)
def test_no_pass_of_any_orbit_is_missed_or_made_up(orbit: str, cutoff_deg: float, station: Station) -> None:
    step_s, end = (2.0, SPRING + timedelta(days=2)) if "low" in orbit else (20.0, SPRING + timedelta(days=6))
    seen = seen_by_looking_every_few_seconds(ORBITS[orbit], station, end, cutoff_deg, step_s)
    found = find_passes(ORBITS[orbit], station, start=SPRING, end=end, visibility=Visibility(cutoff_deg, cutoff_deg, 90))
    inside = [item for item in found if item.start >= SPRING and item.end <= end - timedelta(seconds=step_s)]
    # A pass shorter than a step may be found and not seen.
    inside = [item for item in inside if item.duration_s > step_s]
    seen = [item for item in seen if item[2] - item[0] > step_s]
    ours = np.array([[(moment - SPRING).total_seconds() for moment in (item.start, item.culmination, item.end)] for item in inside])
    assert len(inside) == len(seen)
    if seen:
        assert np.abs(ours - np.array(seen))[:, [0, 2]].max() <= step_s
        # A high orbit may linger near its highest point: the elevation is compared, not the moment.
        tops = look_angles(station, propagate(ORBITS[orbit], julian_dates(SPRING, np.array(seen)[:, 1]))).elevation_deg
        assert [item.culmination_deg for item in inside] == pytest.approx(tops, abs=0.02 if "low" not in orbit else 1.5)


def test_some_of_those_orbits_do_pass() -> None:
    lengths = {
        name: len(tabulate_passes([elements], WORLD, start=SPRING, end=SPRING + timedelta(days=6), visibility=ANY_LIGHT))
        for name, elements in ORBITS.items()
    }
    assert all(length > 8 for length in lengths.values())


def test_the_closest_point_is_the_least_of_the_track() -> None:
    for item in find_passes(ORBITS["low"], WORLD[0], start=SPRING, end=SPRING + timedelta(days=4), visibility=ANY_LIGHT):
        _, look = item.track(0.1)
        assert item.closest_km == pytest.approx(look.range_km.min(), abs=0.01)
        # The way between two steps is known to a metre.
        assert item.closest_km <= look.range_km.min() + 1e-3
        assert item.culmination_deg == pytest.approx(look.elevation_deg.max(), abs=0.01)
        moment = julian_dates(item.culmination, [0.0])
        assert item.sun_elevation_deg == pytest.approx(sun_elevation_deg(WORLD[0], moment)[0], abs=1e-6)


def table(days: float, visibility: Visibility = ANY_LIGHT) -> PassTable:
    satellites = walker_constellation(4, 2, 1, altitude_km=500.0, inclination_deg=97.4, epoch=SPRING)
    return tabulate_passes(satellites, WORLD, start=SPRING, end=SPRING + timedelta(days=days), visibility=visibility)


def test_a_table_holds_what_each_pair_gives_alone() -> None:
    together = table(3.0, NIGHT)
    alone = [
        item
        for elements in together.satellites
        for station in together.stations
        for item in find_passes(elements, station, start=SPRING, end=SPRING + timedelta(days=3), visibility=NIGHT)
    ]
    assert len(together) == len(alone) > 25
    assert [(item.elements, item.station) for item in together.passes()] == [(item.elements, item.station) for item in alone]
    assert [item.culmination_deg for item in together.passes()] == pytest.approx([item.culmination_deg for item in alone], abs=1e-6)
    for name in ("start", "culmination", "end"):
        apart = [abs(getattr(left, name) - getattr(right, name)) for left, right in zip(together.passes(), alone, strict=True)]
        assert max(apart) < timedelta(milliseconds=1)


def test_the_size_of_a_chunk_changes_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = table(3.0).rows
    monkeypatch.setattr(pass_search, "STEPS_PER_CHUNK", 50)
    pieces = table(3.0).rows
    assert (whole["station"] == pieces["station"]).all()
    assert whole["culmination_s"] == pytest.approx(pieces["culmination_s"], abs=1e-3)


def test_windows_side_by_side_share_the_passes_out() -> None:
    """Also those under way when one window ends and the next begins, by where they culminate."""
    whole = table(2.0)
    middle = SPRING + timedelta(seconds=float(whole.rows["culmination_s"][7]) - 60.0)
    parts = [
        tabulate_passes(whole.satellites, WORLD, start=start, end=end, visibility=ANY_LIGHT)
        for start, end in ((SPRING, middle), (middle, SPRING + timedelta(days=2)))
    ]
    assert len(parts[0]) + len(parts[1]) == len(whole)
    assert min(len(part) for part in parts) > 0


def test_a_year_of_a_designed_orbit_can_be_searched() -> None:
    year = tabulate_passes([ORBITS["low"]], WORLD[:1], start=SPRING, end=SPRING + timedelta(days=365), visibility=ANY_LIGHT)
    month = tabulate_passes([ORBITS["low"]], WORLD[:1], start=SPRING, end=SPRING + timedelta(days=30), visibility=ANY_LIGHT)
    assert len(year) / 365 == pytest.approx(len(month) / 30, rel=0.1)
    assert (year.rows["start_s"] < year.rows["culmination_s"]).all()
    assert (year.rows["culmination_s"] < year.rows["end_s"]).all()
    assert (year.rows["end_s"][:-1] < year.rows["start_s"][1:]).all()


def test_a_satellite_that_never_sets_or_never_rises_has_no_pass() -> None:
    geostationary = design(35786.0, 0.0, node_deg=280.0)
    station = Station("Below", 0.0, float(np.degrees(np.arctan2(*propagate(geostationary, julian_dates(SPRING, [0.0]))[0][1::-1]))))
    for place in (station, Station("Opposite", 0.0, (station.longitude_deg + 360.0) % 360.0 - 180.0)):
        assert find_passes(geostationary, place, start=SPRING, end=SPRING + timedelta(days=3), visibility=ANY_LIGHT) == []


@pytest.mark.parametrize("missing", ["satellites", "stations"])
def test_a_search_for_nothing_is_refused(missing: str) -> None:
    given = {"satellites": [ORBITS["low"]], "stations": WORLD, missing: []}
    with pytest.raises(InputError, match=missing):
        tabulate_passes(**given, start=SPRING, end=SPRING + timedelta(days=1), visibility=ANY_LIGHT)


def test_each_station_may_have_limits_of_its_own() -> None:
    search = PassSearch(ORBITS["low"], WORLD, SPRING)
    end_s = 4 * 86_400.0
    together = search.passes(end_s, [0.0, 10.0, 40.0], culmination_deg=[0.0, 30.0, 0.0], sun_elevation_limit_deg=[90.0, -6.0, 90.0])
    for number, limits in enumerate((Visibility(0, 0, 90), Visibility(10, 30, -6), Visibility(40, 0, 90))):
        alone = tabulate_passes([ORBITS["low"]], [WORLD[number]], start=SPRING, end=SPRING + timedelta(seconds=end_s), visibility=limits)
        here = together[together["station"] == number]
        assert len(alone) == here.size
        for name in ("start_s", "culmination_s", "end_s", "closest_km", "sun_elevation_deg"):
            assert here[name] == pytest.approx(alone.rows[name], abs=1e-6)


@pytest.mark.parametrize("orbit", ORBITS)
def test_the_way_between_two_steps_is_sgp4s_to_some_metres(orbit: str) -> None:
    search = PassSearch(ORBITS[orbit], WORLD, SPRING)
    ((way, _),) = search.chunks(86_400.0, 10.0, culmination_deg=0.0, sun_elevation_limit_deg=90.0)
    times_s = np.linspace(0.0, 86_400.0, 2000)
    for number, station in enumerate(WORLD):
        sine, range_km = way.look(np.array([number]), times_s[None])
        look = look_angles(station, propagate(ORBITS[orbit], julian_dates(SPRING, times_s)))
        assert np.abs(range_km[0] - look.range_km).max() < (1e-3 if "low" in orbit else 0.03)
        assert sine[0] == pytest.approx(np.sin(np.radians(look.elevation_deg)), abs=1e-5)


def test_a_pass_is_within_reach_while_its_range_is() -> None:
    search = PassSearch(ORBITS["low"], WORLD, SPRING)
    ((way, rows),) = search.chunks(4 * 86_400.0, 5.0, culmination_deg=0.0, sun_elevation_limit_deg=90.0)
    reached = way.within_reach(rows, np.full(rows.size, 1200.0))
    never = rows["closest_km"] > 1200.0
    assert (np.isnan(reached).all(axis=1) == never).all()
    assert 0 < never.sum() < rows.size
    _, range_km = way.look(np.ascontiguousarray(rows["station"][~never]), reached[~never])
    assert range_km == pytest.approx(np.full(range_km.shape, 1200.0), abs=1e-3)
    assert (rows["start_s"] < reached[:, 0])[~never].all()
    whole = way.within_reach(rows, np.full(rows.size, 9000.0))
    assert (whole == np.stack([rows["start_s"], rows["end_s"]], axis=1)).all()


@pytest.mark.parametrize("elements", [Elements("Micius", *MICIUS), ORBITS["Molniya"]], ids=lambda item: item.name)
def test_elements_and_tables_pickle(elements: Elements) -> None:
    again = pickle.loads(pickle.dumps(elements))
    assert again == elements
    dates = np.array([elements.epoch_julian_date + 3.0])
    assert (propagate(again, dates) == propagate(elements, dates)).all()
    whole = table(1.0)
    copy = pickle.loads(pickle.dumps(whole))
    assert (copy.rows == whole.rows).all()
    assert (copy.satellites, copy.stations, copy.origin) == (whole.satellites, whole.stations, whole.origin)
