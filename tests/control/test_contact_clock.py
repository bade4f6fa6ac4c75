"""Contact plans carried out on a simulated clock: events in order, news, and a new plan that keeps what is promised."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.clock import SimulatedClock
from tiandi.control.contact_clock import ContactClock, ContactEvent
from tiandi.control.contact_model import ROW_FIELDS, PairDemands, SatelliteLimits, StationLimits
from tiandi.errors import InputError

START = datetime(2026, 3, 1, 18, tzinfo=UTC)
ROW = np.dtype([(name, np.int64 if name in ("satellite", "station") else np.float64) for name in ROW_FIELDS])


def passes(*rows: tuple[int, int, float, float]) -> np.ndarray:
    """Rows of 1e5 bit from satellite, station, start and duration [s]."""
    return np.array([(sat, station, start, start + length, start + length / 2, 600.0, 1e5) for sat, station, start, length in rows], ROW)


def running(rows: np.ndarray, *, limit_s: float = 86400.0, wanted_bit: float = 1e6, **options: Any) -> tuple[ContactClock, SimulatedClock]:
    """Two satellites and two stations, a pair."""
    clock = SimulatedClock(START)
    contacts = ContactClock(
        rows,
        satellites=SatelliteLimits([limit_s] * 2),
        stations=StationLimits([1, 1]),
        daily=PairDemands([(0, 1)], [wanted_bit]),
        clock=clock,
        start=START,
        **options,
    )
    return contacts, clock


def lived(contacts: ContactClock, clock: SimulatedClock, duration_s: float) -> list[ContactEvent]:
    clock.advance(duration_s)
    return contacts.events()


def test_contacts_begin_and_end_when_the_plan_says() -> None:
    contacts, clock = running(passes((0, 0, 100, 300), (0, 1, 1000, 300)))
    assert contacts.next_event() == START + timedelta(seconds=100)
    assert lived(contacts, clock, 99.0) == []
    assert [(event.kind, event.row) for event in lived(contacts, clock, 1.0)] == [("begins", 0)]
    assert contacts.under_way["row"].tolist() == [0]
    told = lived(contacts, clock, 2000.0)
    assert [(event.kind, event.row, (event.time - START).total_seconds()) for event in told] == [
        ("ends", 0, 400.0),
        ("begins", 1, 1000.0),
        ("ends", 1, 1300.0),
    ]
    assert contacts.stock_bit.tolist() == [[1e5, 1e5], [0.0, 0.0]]
    assert contacts.next_event() is None


def test_a_pass_lost_to_cloud_is_replaced_by_another_that_serves_the_demand() -> None:
    """A day allows two passes. The satellite has served one station; the other one's first pass is lost, so that its second is taken."""
    rows = passes((0, 0, 100, 300), (0, 1, 1000, 300), (0, 1, 7000, 290))
    contacts, clock = running(rows, limit_s=650.0, wanted_bit=1e5, clear_probability=[1.0, 1.0, 0.9])
    assert contacts.ahead["row"].tolist()[:2] == [0, 1]
    lived(contacts, clock, 500.0)
    contacts.lost(1)
    assert contacts.ahead["row"].tolist() == [2]
    told = lived(contacts, clock, 10_000.0)
    assert [(event.kind, event.row) for event in told] == [("begins", 2), ("ends", 2)]


def test_a_contact_under_way_that_is_lost_ends_now_and_frees_the_telescope_after_the_slew() -> None:
    rows = passes((0, 0, 0, 600), (0, 1, 30, 570))
    contacts, clock = running(rows, clear_probability=[1.0, 0.1])
    lived(contacts, clock, 20.0)
    first = int(contacts.under_way["row"][0])
    contacts.lost(first)
    told = contacts.events()
    assert [(event.kind, event.row, (event.time - START).total_seconds()) for event in told] == [("ends", first, 20.0)]
    assert contacts.stock_bit.sum() == 0.0
    assert contacts.ahead["row"].tolist() == [1 - first]
    assert contacts.ahead["start_s"][0] >= 80.0


def test_news_keeps_what_is_under_way_and_never_plans_it_again() -> None:
    contacts, clock = running(passes((0, 0, 0, 600), (0, 1, 3000, 300), (1, 0, 100, 600), (1, 1, 5000, 300)))
    lived(contacts, clock, 50.0)
    before = contacts.under_way
    contacts.forecast([0.0, 1.0, 1.0, 0.9])
    assert contacts.under_way.tolist() == before.tolist()
    assert not np.isin(contacts.ahead["row"], before["row"]).any()


def test_a_satellite_out_of_service_is_not_planned_until_it_is_back() -> None:
    contacts, clock = running(passes((0, 0, 0, 300), (0, 1, 3000, 300), (0, 0, 9000, 300), (1, 0, 4000, 300)))
    lived(contacts, clock, 10.0)
    contacts.out_of_service(START + timedelta(seconds=8000), satellite=0)
    assert contacts.under_way.size == 0
    assert contacts.ahead["row"].tolist() == [3, 2]
    contacts.out_of_service(START + timedelta(seconds=8000), station=0)
    assert contacts.ahead["row"].tolist() == [2]


def test_key_really_won_steers_what_comes() -> None:
    """The satellite may serve one pass more. Its first one brought nothing, so the station that now is short of key is served."""
    rows = passes((0, 0, 0, 300), (0, 1, 1000, 300), (0, 0, 7000, 300), (0, 1, 7000, 310))
    contacts, clock = running(rows, limit_s=86400.0, wanted_bit=2e5)
    lived(contacts, clock, 2000.0)
    contacts.won(0, 0.0)
    contacts.won(1, 2e5)
    assert contacts.stock_bit[0].tolist() == [0.0, 2e5]
    whole = contacts.ahead[np.argmax(contacts.ahead["expected_bit"])]
    assert whole["station"] == 0


def test_key_that_was_handed_over_is_not_wanted_again() -> None:
    contacts, clock = running(passes((0, 0, 0, 300), (0, 1, 1000, 300)))
    lived(contacts, clock, 2000.0)
    contacts.handed_over(0, 0, 6e4)
    assert contacts.stock_bit[0].tolist() == [4e4, 4e4]
    with pytest.raises(InputError):
        contacts.handed_over(0, 0, 5e4)


def test_the_horizon_rolls_on() -> None:
    rows = passes(*((0, number % 2, 43_200.0 * number + 100.0, 300.0) for number in range(20)))
    contacts, clock = running(rows, horizon_s=86_400.0)
    assert contacts.ahead["row"].max() <= 2
    told = lived(contacts, clock, 11 * 86_400.0)
    assert [event.row for event in told if event.kind == "begins"] == list(range(20))


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_whatever_the_news_nobody_serves_two_at_once(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = passes(*((*generator.integers(2, size=2), start, 300.0) for start in generator.uniform(0.0, 10_000.0, 24)))
    contacts, clock = running(rows, limit_s=2_500.0)
    told = contacts.events()
    for _ in range(6):
        told += lived(contacts, clock, float(generator.uniform(100.0, 2500.0)))
        news = generator.integers(3)
        if news == 0:
            contacts.lost(int(generator.integers(rows.size)))
        elif news == 1:
            contacts.forecast(generator.uniform(size=rows.size))
        else:
            contacts.out_of_service(clock.now() + timedelta(seconds=500), satellite=int(generator.integers(2)))
    told += lived(contacts, clock, 20_000.0)
    assert [event.time for event in told] == sorted(event.time for event in told)
    begun = [event for event in told if event.kind == "begins"]
    assert len({event.row for event in begun}) == len(begun)
    for name in ("satellite", "station"):
        for number in range(2):
            mine = [event for event in told if getattr(event, name) == number]
            assert [event.kind for event in mine] == ["begins", "ends"] * (len(mine) // 2)
            waits_s = [(later.time - earlier.time).total_seconds() for earlier, later in zip(mine[1::2], mine[2::2], strict=False)]
            assert min(waits_s, default=60.0) >= 60.0 - 1e-3
    midnight_s = 6 * 3600.0
    for number in range(2):
        mine = [event for event in told if event.satellite == number and (event.time - START).total_seconds() < midnight_s]
        spent_s = sum((end.time - begin.time).total_seconds() for begin, end in zip(mine[::2], mine[1::2], strict=False))
        assert spent_s <= 2_500.0 + 1e-3


def test_bad_news_is_named() -> None:
    contacts, _ = running(passes((0, 0, 0, 300)))
    for field, attempt in (
        ("row", lambda: contacts.lost(1)),
        ("row", lambda: contacts.won(0, 1.0)),
        ("satellite", lambda: contacts.out_of_service(START, satellite=2)),
        ("station", lambda: contacts.out_of_service(START, station=-1)),
        ("satellite", lambda: contacts.out_of_service(START)),
        ("pair", lambda: contacts.handed_over(1, 0, 1.0)),
        ("clear_probability", lambda: contacts.forecast(float("nan"))),
        ("horizon_s", lambda: running(passes((0, 0, 0, 300)), horizon_s=0.0)),
    ):
        with pytest.raises(InputError) as caught:
            attempt()
        assert caught.value.field == field
