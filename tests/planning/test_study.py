"""Studies against closed forms: fibres that are enough or not, skies that are always clear or never, and sums that must agree."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tests.planning.networks import START, chain, climate, sky
from tiandi.control.topology import Link, Node
from tiandi.errors import InputError
from tiandi.physics.constellation import designed_orbit
from tiandi.planning.contacts import CONTACT_ROW, ContactTable, tabulate_contacts
from tiandi.planning.inputs import Demand, Prices, StudyInputs
from tiandi.planning.seasons import passing_speed_km_s
from tiandi.planning.study import run_study
from tiandi.planning.value import changes, marginal_values

DAY = timedelta(days=1)
ELEVEN_DAYS = START + 11 * DAY


def test_fibres_that_make_more_than_is_wanted_carry_all_of_it() -> None:
    result = run_study(chain(1000.0, 400.0), start=START, end=START + 5 * DAY)
    np.testing.assert_allclose(result.carried_bit, 400.0 * 86_400.0)
    assert result.met().all()
    assert result.outage_days().tolist() == [[0]]
    assert [way.nodes for way in result.ways[0]] == [("A", "B", "C", "D")]
    assert result.mean_key_age_s()[0] <= 1000.0 / 400.0 * 3600.0 + 1.0
    assert result.full_cuts == ()


def test_fibres_that_make_less_carry_what_they_make_and_the_cut_is_named() -> None:
    result = run_study(chain(100.0, 400.0), start=START, end=START + 5 * DAY)
    np.testing.assert_allclose(result.carried_bit, 100.0 * 86_400.0)
    np.testing.assert_allclose(result.used_bit, result.made_bit)
    assert result.longest_outage_days().tolist() == [[5]]
    (cut,) = result.full_cuts
    assert (cut.wanted_bps, cut.capacity_bps) == (pytest.approx(400.0), pytest.approx(100.0))
    assert len(cut.links) == 1
    assert result.bottleneck_shares(0)[0][1] == 1.0


def test_a_last_day_that_is_short_counts_for_what_it_is() -> None:
    result = run_study(chain(), start=START, end=START + 1.5 * DAY)
    assert result.length_days == 1.5
    np.testing.assert_allclose(result.wanted_bit[:, 0], [400.0 * 86_400.0, 400.0 * 43_200.0])
    np.testing.assert_allclose(result.key_per_day_bit(), 400.0 * 86_400.0)


def test_clear_skies_make_what_the_table_of_contacts_promises_and_the_satellite_hands_it_over() -> None:
    inputs = sky(stations=2, satellites=1, cloud=0.0, wanted_bps=1e6)
    table = tabulate_contacts(inputs, start=START, end=ELEVEN_DAYS)
    result = run_study(inputs, start=START, end=ELEVEN_DAYS, table=table)
    by_station = np.array([table.rows["secret_bit"][table.rows["station"] == number].sum() for number in range(2)])
    assert result.made_bit.sum() == pytest.approx(by_station.sum(), rel=0.15)
    assert result.made_bit.sum() <= by_station.sum() * (1.0 + 1e-9)
    # Whatever is relayed spends one bit of each of the two downlinks.
    np.testing.assert_allclose(result.used_bit[0], result.carried_bit.sum())
    assert result.carried_bit.sum() == pytest.approx(result.made_bit[0].min(), rel=1e-6)
    assert result.contacts_lost.sum() == 0
    assert result.satellite_bit.sum() == pytest.approx(result.made_bit.sum())
    assert (result.contacts["made_bit"] <= result.contacts["planned_bit"] * (1.0 + 1e-9)).all()


def test_skies_that_are_always_grey_make_nothing() -> None:
    result = run_study(sky(cloud=1.0), start=START, end=ELEVEN_DAYS)
    assert result.carried_bit.sum() == 0.0
    assert np.isnan(result.mean_key_age_s()).all()
    assert result.ways == ((),)


def test_cloud_takes_about_its_share_and_seeds_differ() -> None:
    courses = {"start": START, "end": START + 40 * DAY, "workers": 1}
    clear = run_study(sky(cloud=0.0, wanted_bps=1e6), **courses)
    cloudy = run_study(sky(cloud=0.5, wanted_bps=1e6), seeds=4, **courses)
    assert 0.3 < cloudy.made_bit.sum(axis=1).mean() / clear.made_bit.sum() < 0.75
    assert np.unique(cloudy.made_bit.sum(axis=1)).size == 4


def test_key_is_never_used_before_it_is_made_and_no_stock_is_below_zero() -> None:
    result = run_study(sky(stations=4, satellites=3, cloud=0.4), start=START, end=ELEVEN_DAYS, seeds=2, workers=1)
    assert (result.used_bit <= result.made_bit + 1e-6).all()
    assert (result.carried_bit <= result.wanted_bit + 1e-6).all()
    assert (result.key_age_s[~np.isnan(result.key_age_s)] >= 0.0).all()
    np.testing.assert_allclose(result.age_bit.sum(axis=2), result.carried_bit.sum(axis=1), atol=1.0)
    carried = [sum(way.carried_bit for way in ways) for ways in result.ways]
    np.testing.assert_allclose(carried, result.carried_bit.sum(axis=1).mean(axis=0), atol=1.0)


def test_a_full_buffer_makes_no_more() -> None:
    inputs = sky(cloud=0.0, wanted_bps=1e-6)
    small = replace(inputs, satellites=tuple(replace(item, buffer_bit=5e4) for item in inputs.satellites))
    result = run_study(small, start=START, end=ELEVEN_DAYS)
    assert (result.made_bit - result.used_bit).sum() <= 5e4 * (1.0 + 1e-9)


def test_four_contacts_worked_out_by_hand_carry_the_key_and_have_the_ages_of_the_paper() -> None:
    # 200 kbit to North at noon of day 0, 100 kbit to West on day 1 at 6 h, 150 kbit to West on day 3 at noon, 50 kbit to North at 18 h.
    contacts = ((0, 0.5, 2e5), (1, 1.25, 1e5), (1, 3.5, 1.5e5), (0, 3.75, 5e4))
    rows = np.zeros(4, CONTACT_ROW)
    for row, (station, day, secret_bit) in zip(rows, contacts, strict=True):
        row["station"], row["start_s"], row["secret_bit"], row["closest_km"] = station, day * 86_400.0, secret_bit, 600.0
    rows["end_s"], rows["culmination_s"] = rows["start_s"] + 2.0, rows["start_s"] + 1.0
    table = ContactTable(("S0",), ("North", "West"), START, rows)
    result = run_study(sky(wanted_bps=1.0), start=START, end=START + 8 * DAY, table=table)
    assert result.carried_bit[0, :, 0].tolist() == pytest.approx([0.0, 86_400.0, 13_600.0, 86_400.0, 63_600.0, 0.0, 0.0, 0.0])
    assert result.used_bit.tolist() == [pytest.approx([250_000.0, 250_000.0])]
    # Quarters of a day's key are used at 3, 9, 15 and 21 h, though not before the later half is there; North's oldest bits go first.
    # Day 1: North's of day 0, from 6 h on. Day 3: the same, from 12 h on. Day 4: a quarter of that left, then West's of day 3.
    ages = [np.nan, (0.25 + 0.375 + 0.625 + 0.875) / 4 + 0.5, 2.0, 3.125, (3.625 + 0.875 + 1.125 + 1.375) / 4]
    np.testing.assert_allclose(result.key_age_s[0, :5, 0] / 86_400.0, ages, atol=1e-3)


def test_key_that_waits_for_its_other_half_does_not_keep_that_half_out_of_a_full_buffer() -> None:
    # It is clear over North every night and over West on few: North's key alone would fill the buffer before West's comes.
    inputs = sky(cloud=0.0, wanted_bps=1e3)
    stations = inputs.stations[0], replace(inputs.stations[1], climate="grey")
    flying = tuple(replace(item, buffer_bit=1e6) for item in inputs.satellites)
    rainy = replace(inputs, stations=stations, satellites=flying, climates=inputs.climates | {"grey": climate("grey", 0.7)})
    result = run_study(rainy, start=START, end=START + 60 * DAY)
    assert result.carried_bit[0, 40:, 0].sum() > 1e6
    assert (result.made_bit - result.used_bit).sum() <= 1e6 * (1.0 + 1e-9)


def test_a_fibre_that_is_little_used_makes_all_it_can_and_its_key_is_no_older_than_its_store_is_deep() -> None:
    result = run_study(chain(1000.0, 1.0), start=START, end=START + 20 * DAY)
    np.testing.assert_allclose(result.made_bit, 1000.0 * 86_400.0 * 20)
    np.testing.assert_allclose(result.used_bit, 1.0 * 86_400.0 * 20)
    assert result.mean_key_age_s()[0] <= 3600.0 + 1.0


def test_a_cut_counts_what_fibres_can_make_and_not_what_was_asked_of_them() -> None:
    # Short on a few days only: no link is full over the whole study, and the fibre least of all.
    result = run_study(replace(with_town(), demands=(Demand(("Town", "West"), 40.0),)), start=START, end=START + 40 * DAY)
    assert result.outage_days()[0, 0] > 0
    assert all("road" not in cut.links for cut in result.full_cuts)
    assert result.made_bit[0, result.links.index("road")] == pytest.approx(5000.0 * 86_400.0 * 40)


def test_a_greedy_plan_promises_the_key_of_its_contacts_in_bits() -> None:
    result = run_study(sky(stations=3, cloud=0.4, wanted_bps=20.0), start=START, end=ELEVEN_DAYS)
    assert result.plan_method == "greedy"
    assert result.plan_value_bit[0] == pytest.approx(result.contacts["planned_bit"].sum())


def test_a_low_satellite_passes_at_its_orbital_speed_and_a_geostationary_one_stands_still() -> None:
    low, high = (
        designed_orbit("S", epoch=START, altitude_km=altitude_km, inclination_deg=inclination_deg)
        for altitude_km, inclination_deg in ((500.0, 97.4), (35_786.0, 0.0))
    )
    assert passing_speed_km_s(low) == pytest.approx(7.62 + 0.07, abs=0.05)  # sqrt(mu / r), and the Earth turns the other way
    assert passing_speed_km_s(high) < 0.01


def test_one_more_station_costs_its_telescope_too() -> None:
    prices = Prices(station=1e6, aperture_per_metre=2e6)
    result = run_study(replace(with_town(), prices=prices), start=START, end=START + 3 * DAY)
    costs = {change.kind: change.cost for change in changes(result)}
    assert costs["station"] == pytest.approx(1e6 + 0.6 * 2e6)


def with_town() -> StudyInputs:
    """Two stations, and a town on fibre from one of them that wants key with the other."""
    inputs = sky(cloud=0.5)
    town = [Node("Town", latitude_deg=39.0, longitude_deg=117.0), Link("road", ("North", "Town"), rate_bps=5000.0)]
    return replace(inputs, topology=inputs.topology.with_changes(put=town), demands=(Demand(("Town", "West"), 1000.0),))


@pytest.mark.slow
def test_the_same_seeds_give_the_same_numbers_in_one_process_and_in_two() -> None:
    courses = {"start": START, "end": ELEVEN_DAYS, "seeds": 3}
    one, two = (run_study(sky(stations=3, satellites=2, cloud=0.5), workers=workers, **courses) for workers in (1, 2))
    np.testing.assert_array_equal(one.carried_bit, two.carried_bit)
    np.testing.assert_array_equal(one.age_bit, two.age_bit)


def test_short_studies_plan_optimally_and_report_the_bound() -> None:
    result = run_study(sky(stations=3, satellites=2), start=START, end=START + 2 * DAY)
    assert result.plan_method == "optimal"
    assert (result.plan_value_bit <= result.plan_bound_bit * (1.0 + 1e-6)).all()


def test_one_more_of_everything_is_tried_and_a_second_system_doubles_a_full_fibre() -> None:
    short = run_study(chain(100.0, 150.0), start=START, end=START + 3 * DAY)
    (value, *_) = marginal_values(short, workers=1)
    assert value.gained_bit_per_day >= 0.0
    flying = run_study(
        replace(sky(cloud=0.3, wanted_bps=1e3), prices=Prices(satellite=1e7, station=1e6)), start=START, end=ELEVEN_DAYS, seeds=2, workers=1
    )
    kinds = {change.kind: change for change in changes(flying)}
    assert {"satellite", "telescope", "aperture"} <= kinds.keys()
    assert kinds["satellite"].cost == 1e7
    assert flying.cost == 1e7 + 2e6
    values = {value.kind: value for value in marginal_values(flying, workers=1)}
    assert values["satellite"].gained_bit_per_day > 0.0
    assert values["aperture"].error_bit_per_day >= 0.0


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        (START, START, "to"),
        (START, START - DAY, "to"),
        (START, START + 5000 * DAY, "to"),
        (datetime(2026, 1, 1), START, "from"),
    ],
    ids=["empty", "backwards", "longer than ten years", "no zone"],
)
def test_a_window_that_cannot_be_is_one_clear_error(start: datetime, end: datetime, field: str) -> None:
    with pytest.raises(InputError) as caught:
        run_study(chain(), start=start, end=end)
    assert caught.value.field == field


def test_bad_studies_are_one_clear_error() -> None:
    with pytest.raises(InputError, match="at least one pair"):
        run_study(replace(chain(), demands=()), start=START, end=ELEVEN_DAYS)
    with pytest.raises(InputError, match="seeds = 0"):
        run_study(chain(), start=START, end=ELEVEN_DAYS, seeds=0)
    with pytest.raises(InputError, match="table of cloud"):
        run_study(replace(sky(), climates={"elsewhere": climate("elsewhere", 0.5)}), start=START, end=ELEVEN_DAYS)


def test_pairs_that_cannot_be_joined_get_nothing_and_the_cut_says_so() -> None:
    inputs = sky(stations=2)
    apart = replace(inputs, topology=inputs.topology.with_changes(remove=["S0/West"]), demands=(Demand(("North", "West"), 10.0),))
    result = run_study(apart, start=START, end=START.astimezone(UTC) + 9 * DAY)
    assert result.carried_bit.sum() == 0.0
    assert result.full_cuts[0].links == ()
