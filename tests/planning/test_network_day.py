"""A day of requests: conservation of bits, queueing theory, and what must be refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.control.topology import Link, Node, Topology
from tiandi.errors import InputError
from tiandi.planning.inputs import Demand, StudyInputs
from tiandi.planning.network_day import DayRules, NetworkDay, simulate_day

STEADY = (1.0,) * 24
PLAIN = DayRules(batch_keys=1.0, ahead_keys=0, patience_s=86_400.0, hop_s=0.0, hourly=STEADY)


def pair(rate_bps: float, link_bps: float, length_km: float = 0.0) -> StudyInputs:
    topology = Topology.of([Node("A"), Node("B")], [Link("AB", ("A", "B"), rate_bps=link_bps, length_km=length_km)])
    return StudyInputs("pair", "A pair", topology, demands=(Demand(("A", "B"), rate_bps),))


def mesh(seed: int, load: float) -> StudyInputs:
    generator = np.random.default_rng(seed)
    size = 10
    ends = [(number, (number + 1) % size) for number in range(size)] + [tuple(generator.choice(size, 2, replace=False)) for _ in range(4)]
    links = [Link(str(number), (str(a), str(b)), rate_bps=float(generator.uniform(0, 2000))) for number, (a, b) in enumerate(ends)]
    pairs = [generator.choice(size, 2, replace=False) for _ in range(20)]
    rates = generator.uniform(0.0, 100.0 * load, len(pairs))
    demands = tuple(Demand((str(a), str(b)), float(rate), paths=1 + (rate < load)) for (a, b), rate in zip(pairs, rates, strict=True))
    return StudyInputs("mesh", "A mesh", Topology.of([Node(str(number)) for number in range(size)], links), demands=demands)


def check_books(day: NetworkDay, stock_bit: int) -> None:
    assert (day.made_bit + stock_bit == day.spent_bit + day.spilled_bit + day.stock_bit).all()
    assert day.spent_bit.sum() == day.spent_for_bit.sum()
    assert (day.relayed_bit == day.handed_bit + day.ready_bit).all()
    assert (day.asked_bit == day.handed_bit + day.refused_bit + day.waiting_bit).all()
    for count in (day.waiting_bit, day.stock_bit, day.spilled_bit, day.ready_bit, day.refused_bit):
        assert (count >= 0).all()


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 10.0]), st.sampled_from([0, 8, 100]))
def test_no_bit_is_lost_or_spent_twice(seed: int, load: float, ahead_keys: int) -> None:
    inputs = mesh(seed, load)
    rules = DayRules(ahead_keys=ahead_keys, buffer_bit=1e6, scarce_bit=1e3)
    day = simulate_day(inputs, seed=seed, rules=rules, stock_bit=5000.0)
    check_books(day, 5000)
    rates = np.array([link.rate_bps for link in inputs.topology.links.values()])
    assert day.made_bit == pytest.approx(rates * 86_400, abs=1)
    assert (day.stock_bit <= 1e6).all()
    assert (day.ready_bit <= ahead_keys * 256).all()


def test_waiting_for_a_key_that_is_made_one_at_a_time_is_that_of_m_d_1() -> None:
    """With room for one key a link is a server of constant time D that starts when a key is taken: the mean wait is rho D / (2 (1 - rho)).

    A. K. Erlang (1917); for example L. Kleinrock, Queueing Systems, volume 1 (1975), section 5.6. A key at hand needs no wait: 1 - rho.
    """
    rules = DayRules(batch_keys=1.0, ahead_keys=0, patience_s=86_400.0, hop_s=0.0, buffer_bit=256, hourly=STEADY, candidates=1)
    for load in (0.5, 0.8):
        day = simulate_day(pair(load * 1280.0, 1280.0), rules=rules)
        assert day.latency_s[0] == pytest.approx(load * 0.2 / (2 * (1 - load)), rel=0.05)
        assert day.latency_count[0] / day.latency_count.sum() == pytest.approx(1 - load, abs=0.01)


def test_with_key_enough_a_relay_takes_its_hops_and_the_light_its_way() -> None:
    rules = DayRules(batch_keys=1.0, ahead_keys=0, hop_s=0.02, hourly=STEADY)
    day = simulate_day(pair(100.0, 1e5, length_km=1000.0), rules=rules, stock_bit=1e6)
    assert day.served == 1.0
    assert day.latency_s[0] == pytest.approx(0.02 + 1000.0 / 2e5, rel=0.03)
    assert 0.0 <= day.latency_quantile_s(0.99) - day.latency_s[0] <= 0.13 * day.latency_s[0]


def test_key_kept_ready_makes_requests_instant() -> None:
    rules = DayRules(batch_keys=1.0, ahead_keys=64, hop_s=0.02, hourly=STEADY)
    day = simulate_day(pair(100.0, 1e5), rules=rules, stock_bit=1e6)
    assert day.latency_s[0] == 0.0
    assert day.ready_bit[0] == 64 * 256


def test_an_overloaded_link_hands_out_all_it_makes_and_refuses_the_rest() -> None:
    rules = DayRules(batch_keys=1.0, ahead_keys=0, patience_s=10.0, hop_s=0.0, hourly=STEADY)
    day = simulate_day(pair(500.0, 250.0), rules=rules)
    check_books(day, 0)
    assert day.handed_bit[0] == pytest.approx(21_600_000, rel=0.001)
    assert day.refused_bit[0] == pytest.approx(21_600_000, rel=0.03)
    assert day.latency_s[0] <= 10.0


def test_requests_follow_the_hours_and_the_seed() -> None:
    night = DayRules(batch_keys=1.0, ahead_keys=0, patience_s=0.0, hop_s=0.0, hourly=(2.0,) * 12 + (0.0,) * 12)
    made = np.zeros((24, 1))
    made[12:] = 1e9
    day = simulate_day(pair(256.0, 0.0), rules=night, link_bit=made)
    assert day.asked_bit[0] == pytest.approx(256 * 86_400, rel=0.02)
    assert day.refused_bit[0] == day.asked_bit[0]
    assert simulate_day(pair(256.0, 1e3), rules=PLAIN, seed=3).asked_bit == simulate_day(pair(256.0, 1e3), rules=PLAIN, seed=3).asked_bit
    assert simulate_day(pair(256.0, 1e3), rules=PLAIN, seed=3).asked_bit != simulate_day(pair(256.0, 1e3), rules=PLAIN, seed=4).asked_bit


def test_pairs_share_a_link_and_wait_in_line_for_it() -> None:
    """Two pairs over the same full link: each gets about half, as who came first is served first."""
    topology = Topology.of([Node(name) for name in "ABC"], [Link("AB", ("A", "B"), rate_bps=250.0), Link("BC", ("B", "C"), rate_bps=1e6)])
    demands = (Demand(("A", "B"), 250.0), Demand(("A", "C"), 250.0))
    rules = DayRules(batch_keys=1.0, ahead_keys=0, patience_s=30.0, hourly=STEADY)
    day = simulate_day(StudyInputs("line", "A line", topology, demands=demands), rules=rules)
    check_books(day, 0)
    assert day.handed_bit.sum() == pytest.approx(21_600_000, rel=0.001)
    assert day.handed_bit[0] == pytest.approx(day.handed_bit[1], rel=0.03)


def test_progress_is_told_and_a_day_of_no_demand_is_quiet() -> None:
    heard: list[float] = []
    quiet = simulate_day(StudyInputs("none", "None", pair(1.0, 1.0).topology), progress=heard.append)
    assert heard[-1] == 1.0
    assert quiet.stock_bit.tolist() == [86_400]
    with pytest.raises(InputError, match="no request got a key"):
        quiet.latency_quantile_s(0.5)


def test_bad_input_names_field_value_and_limit() -> None:
    with pytest.raises(InputError, match="hourly"):
        DayRules(hourly=(1.0,) * 23)
    with pytest.raises(InputError, match="batch_keys = 0"):
        DayRules(batch_keys=0)
    with pytest.raises(InputError, match=r"link_bit = \(3, 2\): must have 1 to 86,400 rows and 1 columns"):
        simulate_day(pair(1.0, 1.0), link_bit=np.ones((3, 2)))
    with pytest.raises(InputError, match="stock_bit"):
        simulate_day(pair(1.0, 1.0), stock_bit=-1.0)
    with pytest.raises(InputError, match="requests of the day"):
        simulate_day(pair(1e12, 1.0))
