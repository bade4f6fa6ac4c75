from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.control.networks import filled, line
from tiandi.control.link_states import LinkStates
from tiandi.control.quotas import Quota
from tiandi.control.reservations import Booking, Reservations
from tiandi.control.routing import Route, RoutePolicy, Router
from tiandi.control.topology import Link, Node, Topology
from tiandi.errors import InputError, KeysExhausted, NoRoute, RequestRefused
from tiandi.kms.relay.link_reports import LinkReport

RING = ("a", "b", "c", "d", "a")
ALL = (1.0,)


def desk(states: LinkStates, *, class_shares: tuple[float, ...] = ALL, **quotas: Quota) -> Reservations:
    """Reservations where quotas are given by the two letters of a pair."""
    return Reservations(Router(states), {(pair[0], pair[1]): quota for pair, quota in quotas.items()}, class_shares=class_shares)


def ask(reservations: Reservations, pair: str = "ac", bit: int = 100, now_s: float = 0.0, **more: Any) -> Booking:
    return reservations.request((pair[0], pair[1]), bit=bit, now_s=now_s, **({"until_s": now_s + 60.0} | more))


def test_a_booking_holds_key_on_every_link_of_its_way() -> None:
    states = line("a", "b", "c")
    reservations = desk(states)
    booking = ask(reservations, bit=600)
    assert booking.links == ("a - b", "b - c")
    assert states.free_bit().tolist() == [400.0, 400.0]
    with pytest.raises(NoRoute, match="1000 bit of key, 600 of them booked, 401 bit are wanted"):
        ask(reservations, bit=401)
    reservations.release(booking.number)
    assert states.free_bit().tolist() == [1000.0, 1000.0]


def test_a_booking_that_fails_on_one_link_holds_nothing_on_the_others() -> None:
    states = line("a", "b", "c")
    reservations = desk(states)
    (route,) = Router(states).find_routes("a", "c", wanted_bit=500)
    ask(reservations, "bc", 600)
    with pytest.raises(KeysExhausted, match="b - c holds 400 bit of key, 500 bit are wanted"):
        reservations.book(route, bit=500, pair=("a", "c"), now_s=0.0, until_s=1.0)
    assert states.free_bit().tolist() == [1000.0, 400.0]
    states.update("b - c", in_service=False, note="alarm")
    with pytest.raises(NoRoute, match=r"b - c is out of service \(alarm\)"):
        reservations.book(route, bit=5, pair=("a", "c"), now_s=0.0, until_s=1.0)


def test_several_ways_are_booked_together() -> None:
    states = line(*RING)
    booking = ask(desk(states), paths=2)
    assert sorted(booking.links) == ["a - b", "b - c", "c - d", "d - a"]
    assert (states.booked_bit == 100.0).all()


def test_a_request_goes_round_what_is_booked() -> None:
    reservations = desk(line(*RING))
    first, second = ask(reservations, bit=900), ask(reservations, bit=900)
    assert not set(first.links) & set(second.links)
    with pytest.raises(NoRoute):
        ask(reservations, bit=900)


def test_what_is_spent_counts_until_both_ends_report_it() -> None:
    states = line("a", "b")
    reservations = desk(states)
    reservations.spend(ask(reservations, "ab", 700).number, now_s=5.0)
    assert (states.booked_bit[0], states.free_bit()[0]) == (0.0, 300.0)
    for origin, neighbour, age_s in (("a", "b", 2.0), ("b", "a", 0.0)):
        states.receive(LinkReport(origin=origin, neighbour=neighbour, sequence=1, stock_bit=1000, age_s=age_s), now_s=6.0)
    assert states.free_bit()[0] == 300.0
    states.receive(LinkReport(origin="a", neighbour="b", sequence=2, stock_bit=300), now_s=6.0)
    assert states.free_bit()[0] == 300.0


def test_a_booking_expires() -> None:
    states = line("a", "b", "c")
    reservations = desk(states)
    early, late = ask(reservations, until_s=10.0), ask(reservations, until_s=20.0)
    assert reservations.expire(9.9) == []
    assert reservations.expire(10.0) == [early]
    assert list(reservations.bookings.values()) == [late]
    assert (states.booked_bit == 100.0).all()


def test_lower_classes_leave_something_for_those_before_them() -> None:
    reservations = desk(line("a", "b"), class_shares=(1.0, 0.9, 0.8))
    ask(reservations, "ab", 800, priority=7)
    with pytest.raises(NoRoute, match="20% kept back"):
        ask(reservations, "ab", 1, priority=2)
    ask(reservations, "ab", 100, priority=1)
    with pytest.raises(NoRoute, match="10% kept back"):
        ask(reservations, "ab", 1, priority=1)
    ask(reservations, "ab", 100, priority=0)


def test_a_guaranteed_rate_is_served_from_the_whole_stock_and_no_more_than_that() -> None:
    reservations = desk(line("a", "b"), class_shares=(1.0, 0.5), ab=Quota(minimum_bps=10.0, burst_s=10.0))
    booking = ask(reservations, "ab", 500, priority=1)
    assert not booking.guaranteed
    assert ask(reservations, "ba", 100, priority=1).guaranteed
    with pytest.raises(NoRoute, match="50% kept back"):
        ask(reservations, "ab", 100, now_s=9.0)
    assert ask(reservations, "ab", 100, now_s=10.0).guaranteed


def test_a_pair_above_its_quota_is_refused_until_time_has_passed() -> None:
    reservations = desk(line("a", "b"), ab=Quota(maximum_bps=10.0, burst_s=30.0))
    booking = ask(reservations, "ab", 300)
    with pytest.raises(RequestRefused, match="a and b may have 0 bit now; 100 are wanted"):
        ask(reservations, "ab", 100)
    with pytest.raises(RequestRefused, match="and never more than 300; 301 are wanted"):
        ask(reservations, "ab", 301)
    ask(reservations, "ba", 100, now_s=10.0)
    reservations.release(booking.number)
    ask(reservations, "ab", 300, now_s=10.0)


def test_a_refused_booking_costs_no_quota() -> None:
    states = line("a", "b", stock_bit=50.0)
    reservations = desk(states, ab=Quota(minimum_bps=1.0, maximum_bps=1.0, burst_s=100.0))
    with pytest.raises(NoRoute):
        ask(reservations, "ab", 100)
    states.update("a - b", stock_bit=100.0)
    assert ask(reservations, "ab", 100).guaranteed


def test_a_booking_moves_when_a_link_falls_out() -> None:
    states = line(*RING)
    reservations = desk(states)
    booking = ask(reservations, bit=700)
    states.update(booking.links[0], in_service=False)
    assert reservations.touched() == [booking]
    done = reservations.reroute()
    (moved,) = done.moved
    assert done.kept == ()
    assert (moved.number, moved.bit, moved.until_s) == (booking.number, 700, booking.until_s)
    assert not set(moved.links) & set(booking.links)
    assert reservations.bookings == {booking.number: moved}
    assert {name: states.booked_bit[states.number[name]] for name in states.names} == {
        name: 700.0 if name in moved.links else 0.0 for name in states.names
    }
    assert reservations.touched() == []


def test_a_booking_without_another_way_is_kept_and_moves_later() -> None:
    states = line("a", "b", "c")
    reservations = desk(states)
    booking = ask(reservations)
    states.update("a - b", in_service=False, note="alarm")
    ((kept, why),) = reservations.reroute().kept
    assert kept == booking
    assert "a - b is out of service (alarm)" in why
    assert reservations.bookings == {booking.number: booking}
    assert (states.booked_bit == 100.0).all()
    states.update("a - b", in_service=True)
    assert reservations.touched() == []


def test_of_two_on_a_stock_that_shrank_the_later_one_moves() -> None:
    states = line(*RING)
    reservations = desk(states)
    urgent, first, second = (ask(reservations, "ab", 300, priority=priority) for priority in (0, 1, 1))
    states.update("a - b", stock_bit=650.0)
    assert reservations.touched() == [second]
    done = reservations.reroute()
    assert [booking.number for booking in done.moved] == [second.number]
    assert done.moved[0].links != first.links == urgent.links


def test_the_urgent_move_first() -> None:
    states = line(*RING)
    reservations = desk(states)
    later, urgent = ask(reservations, "ab", 400, priority=1), ask(reservations, "ab", 400, priority=0)
    states.update("a - b", in_service=False)
    states.update("c - d", stock_bit=500.0)
    done = reservations.reroute()
    assert [booking.number for booking in done.moved] == [urgent.number]
    assert [booking for booking, _ in done.kept] == [later]


def test_a_change_of_topology_touches_what_it_takes_away() -> None:
    states = line(*RING)
    reservations = desk(states)
    booking = ask(reservations)
    middle = booking.routes[0].nodes[1]
    states.change(states.topology.with_changes(remove=[middle]))
    (moved,) = reservations.reroute().moved
    assert middle not in moved.routes[0].nodes
    states.change(states.topology.with_changes(remove=["a"]))
    ((_, why),) = reservations.reroute().kept
    assert "there is no such node" in why
    assert reservations.release(booking.number) == moved
    assert (states.booked_bit == 0.0).all()


def test_a_node_that_lost_its_trust_touches_those_who_ask_for_it() -> None:
    states = line(*RING)
    reservations = desk(states)
    booking = ask(reservations, policy=RoutePolicy(least_trust="own"))
    reservations.book(*booking.routes, bit=100, pair=booking.pair, now_s=0.0, until_s=60.0)
    middle = booking.routes[0].nodes[1]
    states.change(states.topology.with_changes(put=[Node(middle, trust="foreign")]))
    assert reservations.touched() == [booking]
    assert middle not in reservations.reroute().moved[0].routes[0].nodes


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"bit": 0}, "bit"),
        ({"until_s": 0.0}, "until_s"),
        ({"until_s": float("nan")}, "until_s"),
        ({"priority": -1}, "priority"),
        ({"pair": ("a", "b")}, "routes"),
        ({"pair": ("c", "a")}, "routes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_bookings_are_refused(wrong: dict[str, Any], field: str) -> None:
    states = line("a", "b", "c")
    (route,) = Router(states).find_routes("a", "c", wanted_bit=1)
    with pytest.raises(InputError, match=field):
        desk(states).book(route, **({"bit": 1, "pair": ("a", "c"), "now_s": 0.0, "until_s": 1.0} | wrong))
    with pytest.raises(InputError, match="must not share a link"):
        desk(states).book(route, route, bit=1, pair=("a", "c"), now_s=0.0, until_s=1.0)
    with pytest.raises(InputError, match="routes"):
        desk(states).book(bit=1, pair=("a", "c"), now_s=0.0, until_s=1.0)
    ghost = Route(("a", "c"), ("a - c",), 1.0, 1.0)
    with pytest.raises(InputError, match="there is no such link"):
        desk(states).book(ghost, bit=1, pair=("a", "c"), now_s=0.0, until_s=1.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: desk(line("a", "b"), class_shares=()),
        lambda: desk(line("a", "b"), class_shares=(1.1,)),
        lambda: desk(line("a", "b")).release(1),
        lambda: desk(line("a", "b")).spend(1, now_s=0.0),
    ],
    ids=["no shares", "share", "release", "spend"],
)
def test_bad_settings_and_unknown_bookings_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(InputError):
        make()


class Contention(RuleBasedStateMachine):
    """Many ask, spend, let go and expire, links fail and come back, KMEs report late: no key is ever promised twice.

    ``real`` is the key that each link truly has; what is sent is taken from it at once, while reports lag behind.
    """

    def __init__(self) -> None:
        super().__init__()
        links = [Link(f"{a}{b}", (a, b)) for a, b in ("ab", "bc", "cd", "da", "ac")]
        self.states = filled(Topology.of(map(Node, "abcd"), links), 1000.0)
        self.reservations = desk(self.states, class_shares=(1.0, 0.8), ac=Quota(100.0, 400.0, 10.0))
        self.real = dict.fromkeys(self.states.names, 1000)
        self.now_s, self.sequence = 0.0, 0
        self.delayed: list[tuple[float, LinkReport]] = []
        self.accounted = 0
        self.asked = 0

    @rule(
        pair=st.sampled_from(["ac", "ab", "bd", "ca"]),
        bit=st.integers(1, 600),
        priority=st.integers(0, 2),
        paths=st.integers(1, 2),
        life_s=st.integers(1, 30),
    )
    def ask(self, pair: str, bit: int, priority: int, paths: int, life_s: int) -> None:
        try:
            ask(self.reservations, pair, bit, self.now_s, priority=priority, paths=paths, until_s=self.now_s + life_s)
        except (NoRoute, KeysExhausted, RequestRefused):
            return
        self.asked += 1

    @precondition(lambda self: self.reservations.bookings)
    @rule(data=st.data(), spent=st.booleans())
    def end(self, data: st.DataObject, spent: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.reservations.bookings)))
        touched = {booking.number for booking in self.reservations.touched()}
        if spent and number not in touched:
            booking = self.reservations.spend(number, now_s=self.now_s)
            for name in booking.links:
                self.real[name] -= booking.bit
                assert self.real[name] >= 0
        else:
            self.reservations.release(number)
        self.accounted += 1

    @rule(name=st.sampled_from(["ab", "bc", "cd", "da", "ac"]), end=st.booleans(), in_service=st.booleans())
    def measure(self, name: str, end: bool, in_service: bool) -> None:
        """An end of a link looks at its stock now; its report is on its way."""
        self.sequence += 1
        origin, neighbour = self.states.topology.links[name].ends[:: 1 if end else -1]
        made = LinkReport(origin=origin, neighbour=neighbour, sequence=self.sequence, stock_bit=self.real[name], in_service=in_service)
        self.delayed.append((self.now_s, made))

    @precondition(lambda self: self.delayed)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        made_s, report = self.delayed.pop(data.draw(st.integers(0, len(self.delayed) - 1)))
        aged = LinkReport(
            origin=report.origin,
            neighbour=report.neighbour,
            sequence=report.sequence,
            stock_bit=report.stock_bit,
            in_service=report.in_service,
            age_s=self.now_s - made_s,
        )
        self.states.receive(aged, now_s=self.now_s)

    @rule(name=st.sampled_from(["ab", "bc", "cd", "da", "ac"]), bit=st.integers(1, 500))
    def make_key(self, name: str, bit: int) -> None:
        self.real[name] += bit

    @rule(duration_s=st.integers(1, 20))
    def wait(self, duration_s: int) -> None:
        self.now_s += duration_s
        self.accounted += len(self.reservations.expire(self.now_s))

    @rule()
    def reroute(self) -> None:
        before = {number: booking.bit for number, booking in self.reservations.bookings.items()}
        touched = {booking.number for booking in self.reservations.touched()}
        done = self.reservations.reroute()
        assert {booking.number for booking in done.moved} | {booking.number for booking, _ in done.kept} == touched
        assert {number: booking.bit for number, booking in self.reservations.bookings.items()} == before

    @invariant()
    def nothing_is_promised_twice(self) -> None:
        promised = dict.fromkeys(self.real, 0)
        for booking in self.reservations.bookings.values():
            for name in booking.links:
                promised[name] += booking.bit
        assert {name: promised[name] for name in self.states.names} == dict(zip(self.states.names, self.states.booked_bit, strict=True))
        assert all(promised[name] <= self.real[name] for name in self.real)

    @invariant()
    def no_booking_is_lost(self) -> None:
        assert self.asked == self.accounted + len(self.reservations.bookings)


Contention.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestContention = Contention.TestCase
