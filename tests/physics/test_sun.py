from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import skyfield
from skyfield.api import load, wgs84
from skyfield.framelib import itrs
from skyfield.jpllib import SpiceKernel
from skyfield.timelib import Time

from tiandi.clock import julian_dates, parse_utc
from tiandi.physics.orbit import Station
from tiandi.physics.sun import sun_elevation_deg, sun_positions

# skyfield 1.55 sets a dtype in place, which NumPy 2.5 deprecates; it is the oracle here and not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the dtype:DeprecationWarning")
DELINGHA = Station("Delingha", 37.379008, 97.726947, 3153)
JPL_WEEK = ("2015-02-28", 6 * 86400.0)
"""A week for which skyfield's wheel holds an excerpt of the Jet Propulsion Laboratory's DE430: nothing to download."""


def jpl() -> SpiceKernel:
    return SpiceKernel(str(Path(skyfield.__file__).parent / "tests" / "data" / "de430-2015-03-02.bsp"))


def jpl_week(step_s: float) -> tuple[np.ndarray, Time]:
    """The week as Julian dates and as skyfield's times."""
    origin, offsets_s = parse_utc(JPL_WEEK[0]), np.arange(0.0, JPL_WEEK[1], step_s)
    times = load.timescale(builtin=True).from_datetimes([origin + timedelta(seconds=float(offset)) for offset in offsets_s])
    return julian_dates(origin, offsets_s), times


def angle_deg(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    cosine = (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def test_the_sun_is_where_jpl_puts_it() -> None:
    moments, times = jpl_week(3600.0)
    earth, sun = jpl()["earth"], jpl()["sun"]
    theirs = earth.at(times).observe(sun).apparent().frame_xyz(itrs).km.T
    assert angle_deg(sun_positions(moments), theirs).max() < 0.01
    assert np.linalg.norm(sun_positions(moments), axis=1) == pytest.approx(np.linalg.norm(theirs, axis=1), rel=1e-4)
    site = earth + wgs84.latlon(DELINGHA.latitude_deg, DELINGHA.longitude_deg, DELINGHA.altitude_m)
    elevation_deg = site.at(times).observe(sun).apparent().altaz()[0].degrees
    assert sun_elevation_deg(DELINGHA, moments) == pytest.approx(elevation_deg, abs=0.01)


@pytest.mark.parametrize(
    ("date", "declination_deg"),
    [("2016-06-20T22:34:00", 23.434), ("2016-12-21T10:44:00", -23.434), ("2016-09-22T14:21:00", 0.0), ("2016-03-20T04:30:00", 0.0)],
)
def test_sun_over_the_poles_at_solstice_and_equinox(date: str, declination_deg: float) -> None:
    """At the pole the sun stands as high as its declination; moments of the seasons of 2016 are from the almanac."""
    pole = Station("North Pole", 90.0, 0.0)
    assert sun_elevation_deg(pole, julian_dates(parse_utc(date), [0.0]))[0] == pytest.approx(declination_deg, abs=0.02)


def test_sun_is_highest_at_true_noon() -> None:
    # Equation of time on 2016-11-03 is +16.4 minutes (almanac): the sun is due south of Greenwich at 11:43:35 UTC.
    offsets_s = np.arange(-1800.0, 1800.0, 5.0)
    elevation = sun_elevation_deg(Station("Greenwich", 51.4779, 0.0), julian_dates(parse_utc("2016-11-03T11:43:35"), offsets_s))
    assert abs(offsets_s[elevation.argmax()]) < 30
