"""Nights against the Jet Propulsion Laboratory's ephemeris through skyfield, the closed form of the hour angle, and the almanac."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from skyfield import almanac
from skyfield.api import load, wgs84

from tests.physics.test_sun import DELINGHA, jpl
from tiandi.errors import InputError
from tiandi.physics.orbit import Station
from tiandi.planning.climates import Climate
from tiandi.planning.nights import monthly_availability, tabulate_nights

# skyfield 1.55 sets a dtype in place, which NumPy 2.5 deprecates; it is the oracle here and not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the dtype:DeprecationWarning")
HALF_MINUTE_H = 0.5 / 60.0


def test_dark_and_moonless_hours_are_those_of_jpl() -> None:
    """Four nights of Delingha with a moon nearly full: skyfield's risings and twilights, by DE430."""
    start = datetime(2015, 2, 28, tzinfo=UTC)
    nights = tabulate_nights(DELINGHA, start=start, days=4, sun_limit_deg=-12.0)
    site = jpl()["earth"] + wgs84.latlon(DELINGHA.latitude_deg, DELINGHA.longitude_deg, DELINGHA.altitude_m)
    scale = load.timescale(builtin=True)
    noon = start + timedelta(hours=12.0 - DELINGHA.longitude_deg / 15.0)
    for day in range(4):
        ends = [scale.from_datetime(noon + timedelta(days=day + part)) for part in (0.0, 0.5, 1.0)]
        dusk = almanac.find_settings(site, jpl()["sun"], ends[0], ends[1], horizon_degrees=-12.0)[0][0].tt
        dawn = almanac.find_risings(site, jpl()["sun"], ends[1], ends[2], horizon_degrees=-12.0)[0][0].tt
        assert nights.dark_h[day] == pytest.approx((dawn - dusk) * 24.0, abs=HALF_MINUTE_H)
        up = np.linspace(dusk, dawn, 1_001)
        moon_deg = site.at(scale.tt_jd(up)).observe(jpl()["moon"]).apparent().altaz()[0].degrees
        assert nights.moonless_h[day] == pytest.approx((moon_deg < 0.0).mean() * (dawn - dusk) * 24.0, abs=0.05)
        assert nights.moon_highest_deg[day] == pytest.approx(moon_deg.max(), abs=0.5)
    assert list(nights.date) == [np.datetime64("2015-02-28") + day for day in range(4)]


@pytest.mark.parametrize("latitude_deg", [-34.0, 0.0, 28.0, 40.4, 55.0])
def test_the_length_of_a_night_follows_the_hour_angle_of_the_sun(latitude_deg: float) -> None:
    """cos H = (sin h - sin lat sin dec) / (cos lat cos dec) with the declination of the solstice, 23.44 degrees."""
    place = Station("place", latitude_deg, 15.0)
    for date, declination_deg in ((datetime(2025, 6, 20, tzinfo=UTC), 23.436), (datetime(2025, 12, 21, tzinfo=UTC), -23.436)):
        night_h = tabulate_nights(place, start=date, days=1, sun_limit_deg=-6.0).dark_h[0]
        latitude_rad, declination_rad, limit_rad = np.radians([latitude_deg, declination_deg, -6.0])
        cosine = (np.sin(limit_rad) - np.sin(latitude_rad) * np.sin(declination_rad)) / (np.cos(latitude_rad) * np.cos(declination_rad))
        assert night_h == pytest.approx(24.0 - 2.0 * np.degrees(np.arccos(cosine)) / 15.0, abs=HALF_MINUTE_H)


def test_greenwich_has_its_longest_and_shortest_day() -> None:
    """7 h 50 min and 16 h 38 min from sunrise to sunset (almanac, recalled), with the upper limb at the refracted horizon."""
    year = tabulate_nights(Station("Greenwich", 51.477, 0.0), start=datetime(2025, 1, 1, tzinfo=UTC), days=365, sun_limit_deg=-0.833)
    assert 24.0 - year.dark_h.max() == pytest.approx(7.0 + 50.0 / 60.0, abs=1.0 / 60.0)
    assert 24.0 - year.dark_h.min() == pytest.approx(16.0 + 38.0 / 60.0, abs=1.0 / 60.0)
    assert abs(year.date[year.dark_h.argmin()] - np.datetime64("2025-06-20")) <= np.timedelta64(1, "D")


def test_beyond_the_polar_circle_nights_are_endless_or_none() -> None:
    year = tabulate_nights(Station("Ny-Alesund", 78.9, 11.9), start=datetime(2025, 1, 1, tzinfo=UTC), days=365, sun_limit_deg=-6.0)
    assert year.dark_h[:15] == pytest.approx(24.0)
    assert (year.dark_h[130:220] == 0.0).all()
    assert np.isnan(year.moon_highest_deg[130:220]).all()
    assert (year.moonless_h <= year.dark_h + 1e-12).all()


def test_the_moon_is_full_and_new_when_the_almanac_says() -> None:
    """Full on 2025-01-13, 2025-03-14 and 2025-11-05, new on 2025-01-29, 2025-03-29 and 2025-11-20 (almanac)."""
    year = tabulate_nights(DELINGHA, start=datetime(2025, 1, 1, tzinfo=UTC), days=365)
    lit = dict(zip(year.date.astype(str), year.moon_illuminated, strict=True))
    assert min(lit[date] for date in ("2025-01-13", "2025-03-14", "2025-11-05")) > 0.98
    assert max(lit[date] for date in ("2025-01-29", "2025-03-29", "2025-11-20")) < 0.02


def test_a_year_is_dark_and_clear_as_often_as_night_and_cloud_say() -> None:
    """With no cloud the year's mean is the mean length of its nights; half the cloud, half the time."""
    place, clear = Station("place", 40.4, 117.6), Climate("none", (0.0,) * 12, (10.0,) * 12, "a test", "assumed")
    share = monthly_availability(place, clear, year=2025, sun_limit_deg=-12.0)
    nights = tabulate_nights(place, start=datetime(2025, 1, 1, tzinfo=UTC), days=365, sun_limit_deg=-12.0)
    month_days = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
    assert (share * month_days).sum() / 365 == pytest.approx(nights.dark_h.mean() / 24.0)
    half = monthly_availability(place, Climate("half", (0.5,) * 12, (10.0,) * 12, "a test", "assumed"), year=2025, sun_limit_deg=-12.0)
    assert half == pytest.approx(0.5 * share)
    assert share.argmax() == 11


def test_bad_input_names_field_value_and_limit() -> None:
    asked = {"start": datetime(2025, 1, 1, tzinfo=UTC), "days": 1}
    for changed, message in (({"days": 0}, r"days = 0: must lie in \[1, 7320\]"), ({"sun_limit_deg": -91.0}, "sun_limit_deg = -91.0")):
        with pytest.raises(InputError, match=message):
            tabulate_nights(DELINGHA, **asked | changed)
    with pytest.raises(InputError, match="year = 3000"):
        monthly_availability(DELINGHA, Climate("none", (0.0,) * 12, (10.0,) * 12, "a test", "assumed"), year=3000)
