from datetime import UTC, datetime

import pytest

from tiandi.clock import SimulatedClock, format_utc, julian_date, julian_dates, parse_utc
from tiandi.errors import InputError


def test_time_without_offset_is_utc() -> None:
    assert parse_utc("2016-12-19T16:50:00") == datetime(2016, 12, 19, 16, 50, tzinfo=UTC)


def test_other_offsets_are_turned_into_utc() -> None:
    assert format_utc(parse_utc("2016-12-20T00:50:00+08:00")) == "2016-12-19T16:50:00Z"


def test_a_broken_time_names_its_field() -> None:
    with pytest.raises(InputError, match="--from = 'yesterday'"):
        parse_utc("yesterday", "--from")


def test_julian_date_of_j2000() -> None:
    # The J2000 epoch by definition; UTC and TT differ by a minute, which a Julian date in UTC does not see.
    assert julian_date(datetime(2000, 1, 1, 12, tzinfo=UTC)) == 2451545.0
    assert julian_dates(datetime(2000, 1, 1, 12, tzinfo=UTC), [0.0, 43200.0]).tolist() == [2451545.0, 2451545.5]


def test_a_simulated_clock_moves_only_forward() -> None:
    clock = SimulatedClock(datetime(2016, 12, 19, tzinfo=UTC))
    clock.advance(90.0)
    assert format_utc(clock.now()) == "2016-12-19T00:01:30Z"
    with pytest.raises(InputError, match="duration_s"):
        clock.advance(-1.0)
