"""The weather against closed forms, brute force, and what its own table promises."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import multivariate_normal

from tiandi.errors import InputError
from tiandi.physics.orbit import Station
from tiandi.planning.climates import CloudRecord
from tiandi.planning.weather import STEP_S, Climate, Weather, both_below, climate_named, distances_km, load_climates, sample_weather

START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
YEAR_S = (END - START).total_seconds()
# So far apart that each is a sample of its own.
SCATTERED = [
    Station(f"place {number}", latitude, longitude)
    for number, (latitude, longitude) in enumerate(product(range(-72, 73, 16), range(-180, 180, 36)))
]
SEASONS = tuple(0.5 + 0.35 * np.cos(2 * np.pi * np.arange(12) / 12))


def climate(cloud_fraction: float | tuple[float, ...] = 0.5, persistence_h: float = 10.0) -> Climate:
    fractions = cloud_fraction if isinstance(cloud_fraction, tuple) else (cloud_fraction,) * 12
    return Climate("test", fractions, (persistence_h,) * 12, "a test", "assumed")


def year_of(kind: Climate, places: list[Station] = SCATTERED, *, seed: int = 1) -> Weather:
    return sample_weather([kind] * len(places), places, start=START, end=END, seed=seed)


def sky(weather: Weather) -> np.ndarray:
    """Clear or not in every step of the year, shape (stations, steps)."""
    return weather.clear(np.arange(len(weather.stations))[:, None], STEP_S * (np.arange(int(YEAR_S / STEP_S)) + 0.5))


def test_the_monthly_cloud_fraction_holds() -> None:
    weather = year_of(climate(SEASONS))
    for month, wanted in enumerate(SEASONS, start=1):
        edges_s = [(datetime(2025 + after // 12, after % 12 + 1, 1, tzinfo=UTC) - START).total_seconds() for after in (month - 1, month)]
        clear = weather.clear_fraction(np.arange(100), *(np.full(100, edge) for edge in edges_s))
        assert 1.0 - clear.mean() == pytest.approx(wanted, abs=4.0 * clear.std() / 10.0)


@pytest.mark.parametrize(("cloud_fraction", "persistence_h"), [(0.2, 10.0), (0.5, 6.0), (0.5, 20.0), (0.85, 10.0)])
def test_the_autocorrelation_of_the_sky_has_fallen_to_1_over_e_after_the_persistence(cloud_fraction: float, persistence_h: float) -> None:
    cloudy = 1.0 - sky(year_of(climate(cloud_fraction, persistence_h))) - cloud_fraction
    lag = int(persistence_h * 3600.0 / STEP_S)
    autocorrelation = (cloudy[:, lag:] * cloudy[:, :-lag]).mean() / (cloud_fraction * (1.0 - cloud_fraction))
    assert autocorrelation == pytest.approx(np.exp(-1.0), abs=0.03)


def test_the_sky_of_neighbours_is_alike_by_the_exponential_of_their_distance() -> None:
    """P(both cloudy) of two stations 300 km apart is that of a bivariate normal of correlation exp(-300/500)."""
    pairs = [
        Station(f"{place.name} {side}", place.latitude_deg + side * np.degrees(300.0 / 6371.0088), place.longitude_deg)
        for place in SCATTERED[10:60]
        for side in (0, 1)
    ]
    cloudy = ~sky(year_of(climate(0.4), pairs))
    limit = ndtri(0.4)
    expected = multivariate_normal([0, 0], [[1, np.exp(-0.6)], [np.exp(-0.6), 1]]).cdf([limit, limit])
    assert (cloudy[0::2] & cloudy[1::2]).mean() == pytest.approx(expected, abs=0.01)


def test_the_same_seed_gives_the_same_weather_whatever_the_window_and_whoever_comes_after() -> None:
    kinds = [climate(0.3), climate(0.6), climate(0.5)]
    year = sample_weather(kinds[:2], SCATTERED[:2], start=START, end=END, seed=7)
    july = sample_weather(kinds, SCATTERED[:3], start=START + timedelta(days=181.2), end=START + timedelta(days=212), seed=7)
    times_s = np.arange(0.0, 30 * 86_400.0, 700.0)
    for station in (0, 1):
        assert (year.clear(station, times_s + 181.2 * 86_400.0) == july.clear(station, times_s)).all()
    assert (sky(year_of(climate(), seed=7)) != sky(year_of(climate(), seed=8))).mean() == pytest.approx(0.5, abs=0.03)


def test_the_clear_fraction_of_an_interval_is_the_integral_of_its_sky() -> None:
    weather = year_of(climate(), SCATTERED[:5])
    generator = np.random.default_rng(3)
    station, start_s = generator.integers(0, 5, 300), generator.uniform(0.0, 3e7, 300)
    end_s = start_s + generator.choice([0.0, 1.0, 300.0, 2_000.0, 90_000.0], 300)
    found = weather.clear_fraction(station, start_s, end_s)
    for number in range(300):
        grid_s = np.linspace(start_s[number], end_s[number], 20_001)
        within = 2 * STEP_S / max(end_s[number] - start_s[number], STEP_S) * 1e-3
        assert found[number] == pytest.approx(weather.clear(station[number], grid_s).mean(), abs=max(within, 5e-4))


def test_a_forecast_of_probability_p_comes_true_in_a_share_p_of_cases() -> None:
    weather = year_of(climate(SEASONS))
    generator = np.random.default_rng(5)
    count = 400_000
    station, issued_s = generator.integers(0, 100, count), generator.uniform(0.0, YEAR_S - 3 * 86_400.0, count)
    time_s = issued_s + generator.uniform(0.0, 2 * 86_400.0, count)
    probability, clear = weather.forecast(station, issued_s, time_s), weather.clear(station, time_s)
    for low in np.arange(0.0, 1.0, 0.1):
        chosen = (probability >= low) & (probability < low + 0.1)
        # The sky of a year of 100 stations has some 20,000 independent samples; here each bin has thousands of correlated ones.
        assert clear[chosen].mean() == pytest.approx(probability[chosen].mean(), abs=0.02)
    soon = time_s - issued_s < 3 * 3600.0
    months = (np.datetime64("2025-01-01") + time_s.astype("timedelta64[s]")).astype("datetime64[M]").astype(int) % 12
    from_table = 1.0 - np.array(SEASONS)[months]
    assert np.mean((clear - probability)[soon] ** 2) < 0.65 * np.mean((clear - from_table)[soon] ** 2)


def test_a_forecast_is_sure_of_what_is_seen_and_ends_in_the_climate() -> None:
    weather = year_of(climate(0.3), SCATTERED[:1])
    times_s = np.arange(0.0, 20 * 86_400.0, 5_000.0)
    assert (weather.forecast(0, times_s, times_s) == weather.clear(0, times_s)).all()
    assert (weather.forecast(0, times_s + 86_400.0, times_s) == weather.clear(0, times_s)).all()
    assert weather.forecast(0, times_s, times_s + 30 * 86_400.0) == pytest.approx(0.7, abs=1e-6)
    always = year_of(climate(0.0), SCATTERED[:1])
    assert (always.forecast(0, times_s, times_s + 86_400.0) > 1.0 - 1e-9).all()


def test_the_bivariate_normal_is_that_of_scipy() -> None:
    generator = np.random.default_rng(2)
    first, second, correlation = generator.normal(size=60), generator.normal(size=60), generator.uniform(0.0, 0.999, 60)
    first[:3], second[:3] = (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)
    theirs = [multivariate_normal([0, 0], [[1, r], [r, 1]]).cdf([h, k]) for h, k, r in zip(first, second, correlation, strict=True)]
    assert both_below(first, second, correlation) == pytest.approx(theirs, abs=1e-9)


def test_distances_are_those_of_the_great_circle() -> None:
    """Beijing to Vienna, 7,460 km by any atlas; a quarter of the earth from the pole to the equator."""
    places = [Station("Beijing", 39.9, 116.4), Station("Vienna", 48.2, 16.4), Station("pole", 90.0, 0.0), Station("equator", 0.0, 50.0)]
    found = distances_km(places)
    assert found[0, 1] == pytest.approx(7_460.0, abs=20.0)
    assert found[2, 3] == pytest.approx(np.pi / 2 * 6371.0088)
    assert (np.diag(found) == 0.0).all()


def test_a_record_of_the_sky_takes_the_place_of_chance_where_there_is_one() -> None:
    hours_s = START.timestamp() + 3600.0 * np.arange(240)
    cloudy = (np.arange(240) % 5 < 2).astype(float)
    record = CloudRecord({"place 1": hours_s}, {"place 1": cloudy})
    asked = {"climates": [climate()] * 2, "places": SCATTERED[:2], "start": START, "end": END, "seed": 1}
    with_record, without = sample_weather(**asked, record=record), sample_weather(**asked)
    times_s = 3600.0 * np.arange(240) + 1_000.0
    assert (with_record.clear(1, times_s) == (cloudy == 0.0)).all()
    later_s = np.arange(240 * 3600.0 + 6 * 3600.0, 300 * 86_400.0, 3_000.0)
    assert (with_record.clear(1, later_s) == without.clear(1, later_s)).all()
    assert (sky(with_record)[0] == sky(without)[0]).all()


def test_a_year_of_a_hundred_stations_fits_in_a_megabyte_or_two() -> None:
    weather = year_of(climate())
    assert weather.clear_bits.nbytes + weather.clear_before.nbytes < 2_000_000


def test_bad_input_names_field_value_and_limit() -> None:
    asked = {"climates": [climate()], "places": SCATTERED[:1], "start": START, "end": END, "seed": 1}
    weather = sample_weather(**asked)
    for changed, message in (
        ({"end": START}, "to = .*must be later than from"),
        ({"end": START + timedelta(days=30_000)}, "by at most 18300 days"),
        ({"places": []}, "must be one for each place"),
        ({"climates": [climate()] * 2}, "there are 1 places"),
        ({"correlation_km": 0.0}, r"correlation_km = 0.0: must lie in \[1, 10000\]"),
        ({"record": CloudRecord({"Atlantis": np.zeros(1)}, {"Atlantis": np.zeros(1)})}, "record = 'Atlantis'"),
    ):
        with pytest.raises(InputError, match=message):
            sample_weather(**asked | changed)
    for bad_s in (-2 * 86_400.0, YEAR_S + 2 * 86_400.0, np.nan):
        with pytest.raises(InputError, match="time_s"):
            weather.clear(0, np.array([bad_s]))
    with pytest.raises(InputError, match="end_s"):
        weather.clear_fraction(0, np.array([5.0]), np.array([4.0]))
    with pytest.raises(InputError, match="try Beijing"):
        climate_named("Beijng", load_climates())
