from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiandi.kms.relay.link_reports import FORGET_S, FURTHEST_AHEAD_MS, RENEW_S, LinkReport, LinkReports

KNOWN = {"a", "b", "c", "d"}
NOON_MS = 1_800_000_000_000
LAST = (1 << 62) - 1
"""The highest number that can be sent."""


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def is_link(kme: str, neighbour: str) -> bool:
    return {kme, neighbour} <= KNOWN and kme != neighbour


def table(kme: str, clock: Clock | None = None, now_ms: int = NOON_MS) -> LinkReports:
    return LinkReports(kme, is_link=is_link, clock=clock or Clock(), now_ms=lambda: now_ms)


def sent(reports: list[LinkReport]) -> list[LinkReport]:
    """As they arrive at another KME."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(reports), type=list[LinkReport])


def report(origin: str, neighbour: str, sequence: int = 0, stock_bit: int = 1000, **more: object) -> LinkReport:
    return LinkReport(origin=origin, neighbour=neighbour, sequence=sequence, stock_bit=stock_bit, **more)  # type: ignore[arg-type]


def test_of_two_reports_the_higher_number_counts_whichever_comes_first() -> None:
    for order in ([1, 2], [2, 1]):
        reports = table("a")
        for sequence in order:
            reports.receive("b", [report("b", "c", sequence, stock_bit=sequence)])
        assert [kept.stock_bit for kept in reports] == [2]


def test_the_same_report_is_news_once_and_never_told_to_who_told_it() -> None:
    reports = table("a")
    assert reports.receive("b", [report("b", "c", 1)])
    assert reports.receive("c", [report("b", "c", 1)]) == []
    assert [kept.link for kept in reports.since(0, reader="c")] == [("b", "c")]
    assert reports.since(0, reader="b") == []
    assert reports.since(reports.turn, reader="c") == []


def test_nobody_plants_links_that_are_not_there_nor_what_is_too_old() -> None:
    planted = [report("b", "x", 1), report("x", "b", 1), report("b", "b", 1), report("b", "c", 1, age_s=FORGET_S + 1)]
    reports = table("a")
    assert reports.receive("b", planted) == []
    assert len(reports) == 0


def test_links_that_are_there_no_more_are_forgotten_but_of_its_own_a_kme_goes_on_telling() -> None:
    links = {("a", "b"), ("b", "c")}
    reports = LinkReports("a", is_link=lambda *link: link in links)
    reports.report_own([report("a", "b")])
    reports.receive("b", [report("b", "c", 1)])
    links.clear()
    assert [old.link for old in reports.forget_old()] == [("b", "c")]
    assert [gone.in_service for gone in reports.report_own([])] == [False]
    assert [kept.link for kept in reports] == [("a", "b")]


@pytest.mark.parametrize("field", ["rate_bps", "demand_bps", "qber", "age_s"])
@pytest.mark.parametrize("figure", [math.nan, math.inf, -math.inf, -1.0])
def test_figures_that_are_none_do_not_arrive(field: str, figure: float) -> None:
    odd: dict[str, Any] = {field: figure}
    with pytest.raises(msgspec.ValidationError):
        sent([report("b", "c", 1, **odd)])


def test_of_its_own_links_a_kme_believes_nobody_and_outnumbers_what_others_say() -> None:
    victim, other = table("a"), table("b")
    own = report("a", "b", stock_bit=1000)
    other.receive("a", victim.report_own([own]))
    forged = [report("a", "b", NOON_MS + FURTHEST_AHEAD_MS - 1, stock_bit=0, in_service=False)]
    assert other.receive("c", forged)
    assert victim.receive("b", forged) == []
    assert [(kept.stock_bit, kept.in_service) for kept in victim] == [(1000, True)]
    assert other.receive("a", sent(victim.report_own([own])))
    assert [(kept.stock_bit, kept.in_service) for kept in other] == [(1000, True)]
    assert victim.report_own([own]) == []


def test_no_number_is_so_high_that_none_comes_after_it() -> None:
    victim, other = table("a"), table("b")
    for reports in (victim, other):
        assert reports.receive("c", [report("a", "b", LAST, in_service=False)]) == []
    assert other.receive("a", sent(victim.report_own([report("a", "b")])))


def test_of_two_processes_of_a_node_whichever_spoke_last_is_heard_and_both_come_to_rest() -> None:
    clock, now_ms = Clock(), [NOON_MS]
    first, second, other = (LinkReports(kme, is_link=is_link, clock=clock, now_ms=lambda: now_ms[0]) for kme in ("a", "a", "b"))
    own = report("a", "b")
    for process in (first, second):  # The second is the younger one, and dies.
        now_ms[0] += 1000
        assert other.receive("a", process.report_own([own]))
    clock.now_s += RENEW_S + 1
    now_ms[0] += 31_000
    assert other.receive("a", first.report_own([own]))
    for _ in range(3):
        said = other.since(-1, reader="")
        assert [process.receive("d", said) for process in (first, second)] == [[], []]
    assert first.report_own([own]) == []


def test_a_rate_that_fades_away_is_no_news() -> None:
    reports = table("a")
    reports.report_own([report("a", "b", rate_bps=1.0)])
    assert reports.report_own([report("a", "b", rate_bps=0.5)]) == []


def test_own_reports_are_news_when_something_changed_or_after_a_while() -> None:
    clock = Clock()
    reports = table("a", clock)
    first = reports.report_own([report("a", "b", stock_bit=1000)])
    assert len(first) == 1
    assert reports.report_own([report("a", "b", stock_bit=1050)]) == []
    (poorer,) = reports.report_own([report("a", "b", stock_bit=500)])
    assert poorer.sequence > first[0].sequence
    assert reports.report_own([report("a", "b", stock_bit=500, in_service=False, note="alarm")])
    clock.now_s += RENEW_S + 1
    assert reports.report_own([report("a", "b", stock_bit=500, in_service=False, note="alarm")])


def test_a_link_that_is_taken_away_is_reported_out_of_service_once() -> None:
    reports = table("a")
    reports.report_own([report("a", "b"), report("a", "c")])
    (gone,) = reports.report_own([report("a", "b")])
    assert (gone.link, gone.in_service) == (("a", "c"), False)
    assert reports.report_own([report("a", "b")]) == []


def test_what_a_kme_said_before_its_clock_was_set_back_is_outnumbered() -> None:
    reports, other = table("a"), table("b")
    (old,) = other.receive("a", [report("a", "b", NOON_MS + 3_600_000, stock_bit=7)])
    reports.report_own([report("a", "b", stock_bit=1000)])
    reports.receive("b", [old])
    (again,) = reports.report_own([report("a", "b", stock_bit=1000)])
    assert again.sequence > old.sequence
    assert other.receive("a", [again])


def test_what_is_not_renewed_is_forgotten_with_the_age_it_had_on_the_way() -> None:
    clock = Clock()
    reports = table("a", clock)
    reports.receive("b", [report("b", "c", 1, age_s=50.0)])
    clock.now_s += 30.0
    assert reports.forget_old() == []
    assert reports.since(0, reader="d")[0].age_s == 80.0
    clock.now_s += 15.0
    assert [old.link for old in reports.forget_old()] == [("b", "c")]
    assert len(reports) == 0


@given(st.lists(st.tuples(st.sampled_from("bcd"), st.sampled_from("bcd"), st.integers(0, 9)), max_size=30), st.randoms())
def test_everybody_ends_with_the_same_reports_in_whatever_order_they_come(said: list[tuple[str, str, int]], random: object) -> None:
    reports = [report(origin, neighbour, sequence, stock_bit=sequence) for origin, neighbour, sequence in said]
    shuffled = list(reports)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    here, there = table("a"), table("a")
    here.receive("b", reports)
    for one in shuffled:
        there.receive("b", [one])
    assert {kept.link: kept.sequence for kept in here} == {kept.link: kept.sequence for kept in there}
