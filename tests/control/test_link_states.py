from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.control.networks import filled, line
from tiandi.control.link_states import SATELLITE_WAIT_S, LinkStates
from tiandi.control.topology import Link, Node, Switch, Topology
from tiandi.errors import InputError
from tiandi.kms.relay.link_reports import LinkReport

SPEED_OF_LIGHT_KM_PER_S = 299_792.458


def report(origin: str, neighbour: str, sequence: int = 1, **said: Any) -> LinkReport:
    return LinkReport(origin=origin, neighbour=neighbour, sequence=sequence, **({"stock_bit": 100} | said))


def unreported(*links: Link, switches: tuple[Switch, ...] = ()) -> LinkStates:
    return LinkStates(Topology.of(map(Node, sorted({end for link in links for end in link.ends})), links, switches))


def test_a_link_holds_what_both_ends_hold() -> None:
    states = unreported(Link("ab", ("a", "b"), rate_bps=50.0))
    assert (states.stock_bit[0], states.rate_bps[0]) == (0.0, 50.0)
    assert states.receive(report("a", "b", stock_bit=300, rate_bps=20.0, qber=0.01, demand_bps=3.0), now_s=0.0)
    assert (states.stock_bit[0], states.rate_bps[0]) == (0.0, 20.0)
    assert states.receive(report("b", "a", stock_bit=200, rate_bps=30.0, qber=0.02, demand_bps=4.0), now_s=0.0)
    assert (states.stock_bit[0], states.rate_bps[0], states.qber[0], states.demand_bps[0]) == (200.0, 20.0, 0.02, 7.0)


def test_an_older_report_is_ignored() -> None:
    states = line("a", "b")
    assert states.receive(report("a", "b", 7, stock_bit=500), now_s=0.0)
    assert not states.receive(report("a", "b", 6, stock_bit=900), now_s=1.0)
    assert not states.receive(report("a", "b", 7, stock_bit=900), now_s=1.0)
    assert states.stock_bit[0] == 500.0


@given(st.permutations(range(6)))
def test_reports_in_any_order_end_in_the_newest(order: list[int]) -> None:
    states = line("a", "b")
    for sequence in order:
        states.receive(report("a", "b", sequence, stock_bit=100 + sequence), now_s=0.0)
    assert states.stock_bit[0] == 105.0


def test_one_end_takes_the_link_out_of_service_and_says_why() -> None:
    states = line("a", "b")
    states.receive(report("b", "a", 1, in_service=False, note="QBER 0.25"), now_s=0.0)
    assert not states.in_service[0]
    assert states.obstacle("a - b", 10) == "a - b is out of service (QBER 0.25)"
    states.receive(report("b", "a", 2), now_s=1.0)
    assert states.obstacle("a - b", 10) is None


def test_a_report_that_was_forgotten_comes_again_as_out_of_service() -> None:
    states = line("a", "b")
    states.receive(report("a", "b", 5), now_s=0.0)
    assert states.receive(report("a", "b", 5, in_service=False, note="no report for too long", age_s=91.0), now_s=91.0)
    assert not states.in_service[0]


def test_a_silent_link_ages_out_once_and_comes_back_with_a_report() -> None:
    states = line("a", "b", "c")
    for origin, neighbour in (("a", "b"), ("b", "a")):
        states.receive(report(origin, neighbour), now_s=0.0)
    states.receive(report("b", "a", 2), now_s=50.0)
    assert states.age(90.0) == []
    assert states.age(91.0) == ["a - b"]
    assert states.age(92.0) == []
    assert states.obstacle("a - b", 10) == "a - b is out of service (no report for too long)"
    assert states.in_service[states.number["b - c"]]
    states.receive(report("a", "b", 2), now_s=100.0)
    assert states.in_service[0]


def test_what_was_sent_counts_until_both_ends_report_later() -> None:
    states = line("a", "b")
    states.spend("a - b", 300, time_s=10.0)
    assert states.stock_bit[0] == 700.0
    states.receive(report("a", "b", 1, stock_bit=1000, age_s=3.0), now_s=12.0)
    assert states.stock_bit[0] == 700.0
    states.receive(report("a", "b", 2, stock_bit=720), now_s=12.0)
    assert states.stock_bit[0] == 700.0
    states.receive(report("b", "a", 1, stock_bit=730), now_s=12.0)
    assert states.stock_bit[0] == 720.0
    states.spend("a - b", 900, time_s=13.0)
    assert states.stock_bit[0] == 0.0


def test_a_change_of_topology_keeps_the_state_of_what_stays() -> None:
    states = line("a", "b", "c", "d")
    states.update("a - b", rate_bps=7.0, qber=0.03, wait_s=1.0)
    states.book("a - b", 40.0)
    states.book("c - d", 50.0)
    latency_ms = states.latency_ms[0]
    states.change(states.topology.with_changes(put=[Link("a - d", ("a", "d"), rate_bps=5.0)], remove=["c"]))
    assert states.names == ("a - b", "a - d")
    assert states.stock_bit.tolist() == [1000.0, 0.0]
    assert states.rate_bps.tolist() == [7.0, 5.0]
    assert states.booked_bit.tolist() == [40.0, 0.0]
    assert (states.qber[0], states.latency_ms[0]) == (0.03, latency_ms)
    states.change(states.topology.with_changes(put=[Node("c"), Link("c - d", ("c", "d")), Link("a - b", ("a", "c"))]))
    assert states.stock_bit.tolist() == [0.0, 0.0, 0.0]
    assert states.booked_bit.tolist() == [40.0, 0.0, 50.0]


def test_a_change_of_the_design_counts_where_nothing_was_reported() -> None:
    states = unreported(Link("ab", ("a", "b"), rate_bps=50.0))
    states.change(states.topology.with_changes(put=[Link("ab", ("a", "b"), rate_bps=80.0)]))
    assert states.rate_bps[0] == 80.0


def test_links_share_the_time_of_their_switch() -> None:
    links = [Link(f"a{end}", ("a", end), rate_bps=90.0, switch="s") for end in "bcd"]
    assert unreported(*links, switches=(Switch("s"),)).rate_bps.tolist() == [30.0] * 3
    assert unreported(*links, switches=(Switch("s", at_once=4),)).rate_bps.tolist() == [90.0] * 3


def test_parallel_links_have_one_stock_between_them() -> None:
    states = unreported(Link("one", ("a", "b")), Link("two", ("b", "a")))
    for origin, neighbour in (("a", "b"), ("b", "a")):
        states.receive(report(origin, neighbour, stock_bit=100), now_s=0.0)
    assert states.stock_bit.tolist() == [100.0, 0.0]


def test_latency_is_processing_light_and_waiting() -> None:
    links = [
        Link("fibre", ("a", "b"), length_km=100.0),
        Link("laser", ("a", "b"), "inter-satellite", length_km=3000.0),
        Link("down", ("a", "b"), "downlink"),
    ]
    fibre, laser, down = unreported(*links).latency_ms
    assert fibre == pytest.approx(1.0 + 1e3 * 100.0 * 1.468 / SPEED_OF_LIGHT_KM_PER_S)
    assert laser == pytest.approx(1.0 + 1e3 * 3000.0 / SPEED_OF_LIGHT_KM_PER_S)
    assert down == pytest.approx(1.0 + 1e3 * SATELLITE_WAIT_S)


def test_obstacles_count_what_is_booked() -> None:
    states = line("a", "b")
    states.book("a - b", 950.0)
    assert states.obstacle("a - b", 60) == "a - b holds 1000 bit of key, 950 of them booked, 60 bit are wanted"
    assert states.obstacle("a - b", 50) is None
    states.book("a - b", -950.0)
    assert states.free_bit(0.5).tolist() == [500.0]


@pytest.mark.parametrize("figure", ["stock_bit", "rate_bps", "qber", "demand_bps", "wait_s"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_figure_out_of_range_changes_nothing(figure: str, value: float) -> None:
    states = filled(line("a", "b").topology)
    with pytest.raises(InputError, match=figure):
        states.update("a - b", in_service=False, **{figure: value})
    assert states.in_service.all()
    assert np.isnan(states.qber).all()


def test_a_link_that_is_not_there_is_refused() -> None:
    states = line("a", "b")
    for act in (
        lambda: states.update("a - z", stock_bit=1.0),
        lambda: states.receive(report("a", "z"), now_s=0.0),
        lambda: states.spend("a - z", 1.0, time_s=0.0),
        lambda: states.obstacle("a - z", 1.0),
    ):
        with pytest.raises(InputError, match="there is no such link"):
            act()
