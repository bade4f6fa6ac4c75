import numpy as np
import pytest
from skyfield.api import wgs84
from skyfield.framelib import itrs

from tests.physics.test_sun import DELINGHA, angle_deg, jpl, jpl_week
from tiandi.clock import julian_dates, parse_utc
from tiandi.constants import EARTH_EQUATORIAL_RADIUS_KM
from tiandi.physics.moon import moon_elevation_deg, moon_illuminated_fraction, moon_positions
from tiandi.physics.sun import sun_positions

# skyfield 1.55 sets a dtype in place, which NumPy 2.5 deprecates; it is the oracle here and not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the dtype:DeprecationWarning")


def test_the_moon_is_where_jpl_puts_it() -> None:
    moments, times = jpl_week(3600.0)
    earth, moon = jpl()["earth"], jpl()["moon"]
    apparent = earth.at(times).observe(moon).apparent()
    theirs = apparent.frame_xyz(itrs).km.T
    assert angle_deg(moon_positions(moments), theirs).max() < 0.3
    assert np.linalg.norm(moon_positions(moments), axis=1) == pytest.approx(np.linalg.norm(theirs, axis=1), rel=3e-3)
    assert moon_illuminated_fraction(moments) == pytest.approx(apparent.fraction_illuminated(jpl()["sun"]), abs=3e-3)
    site = earth + wgs84.latlon(DELINGHA.latitude_deg, DELINGHA.longitude_deg, DELINGHA.altitude_m)
    elevation_deg = site.at(times).observe(moon).apparent().altaz()[0].degrees
    assert moon_elevation_deg(DELINGHA, moments) == pytest.approx(elevation_deg, abs=0.3)


@pytest.mark.parametrize(
    ("moment", "shadow_axis_in_earth_radii", "body"),
    [
        ("2017-08-21T18:25:32", 0.4367, "sun"),
        ("2019-07-02T19:22:58", 0.6466, "sun"),
        ("2024-04-08T18:17:18", 0.3431, "sun"),
        ("2018-01-31T13:29:51", 0.3014, "shadow"),
        ("2015-09-28T02:47:09", 0.3296, "shadow"),
    ],
)
def test_the_moon_is_before_the_sun_or_in_the_shadow_at_published_eclipses(
    moment: str, shadow_axis_in_earth_radii: float, body: str
) -> None:
    """Greatest eclipse and gamma, the least distance of the shadow's axis, of Espenak's catalogues (recalled)."""
    moments = julian_dates(parse_utc(moment), [0.0])
    moon, sun = moon_positions(moments), sun_positions(moments)
    apart_deg = angle_deg(moon, sun if body == "sun" else -sun)[0]
    # The axis passes the Earth's centre at gamma for a solar eclipse, the moon the axis for a lunar one.
    moon_distance_km = np.linalg.norm(moon)
    parallax_deg = np.degrees(EARTH_EQUATORIAL_RADIUS_KM * (1 / moon_distance_km - (body == "sun") / np.linalg.norm(sun)))
    assert apart_deg == pytest.approx(shadow_axis_in_earth_radii * parallax_deg, abs=0.2)
    assert moon_illuminated_fraction(moments)[0] == pytest.approx(0.0 if body == "sun" else 1.0, abs=1e-4)


def test_the_moon_of_meeuss_example_is_two_thirds_lit() -> None:
    """Astronomical Algorithms, examples 47.a and 48.a: 1992 April 12, 0 h of dynamical time, 59 s ahead of UTC."""
    moments = julian_dates(parse_utc("1992-04-11T23:59:01"), [0.0])
    assert moon_illuminated_fraction(moments)[0] == pytest.approx(0.6786, abs=3e-3)
    assert np.linalg.norm(moon_positions(moments)) == pytest.approx(368409.7, rel=3e-3)


def test_full_moons_are_as_far_apart_as_the_synodic_month() -> None:
    """29.530589 days on average; over 12 years the mean is good to what one full moon is off it, 0.6 day in 148."""
    offsets_s = np.arange(0.0, 12 * 365.25 * 86400, 3600.0)
    lit = moon_illuminated_fraction(julian_dates(parse_utc("2016-01-01"), offsets_s))
    full_s = offsets_s[1:-1][(lit[1:-1] > lit[:-2]) & (lit[1:-1] >= lit[2:])]
    assert np.diff(full_s).mean() / 86400 == pytest.approx(29.530589, abs=0.008)
    # 2016-12-14 00:05 UTC, almanac; the most lit moment is off the full moon in longitude by up to a few hours.
    published_s = (parse_utc("2016-12-14T00:05:00") - parse_utc("2016-01-01")).total_seconds()
    assert np.abs(full_s - published_s).min() < 3 * 3600
