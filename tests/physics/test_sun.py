import numpy as np
import pytest

from tiandi.clock import julian_dates, parse_utc
from tiandi.physics.orbit import Station
from tiandi.physics.sun import sun_elevation_deg


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
