"""Key that is promised: booked on every link of a way, or on none; within the quota of its pair; moved when a link falls out.

Of every stock a class of priority may book a share only, so that something is left for the classes before it. A pair that has had less
than its guaranteed rate books from the whole stock, whatever its class. What is booked is no other's until it is spent, released or
expired; what is spent counts until both ends of the link have reported their stock since (`LinkStates.spend`). Bookings are made one after
another: not for several threads at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, pairwise

from tiandi.control.link_states import MOST_BIT
from tiandi.control.quotas import Quota, TokenBucket
from tiandi.control.routing import ANY_ROUTE, Route, RoutePolicy, Router
from tiandi.errors import InputError, KeysExhausted, NoRoute, RequestRefused
from tiandi.limits import require_within

Pair = tuple[str, str]

CLASS_SHARES = (1.0, 0.9, 0.8)
"""Of a stock, what priority 0, 1, and 2 and later may book (assumed)."""


@dataclass(frozen=True)
class Booking:
    """``bit`` of key for ``pair`` on every link of ``routes``, until ``until_s`` [s]. ``guaranteed`` counts against the guaranteed rate."""

    number: int
    pair: Pair
    routes: tuple[Route, ...]
    bit: int
    priority: int
    until_s: float
    policy: RoutePolicy
    guaranteed: bool

    @property
    def links(self) -> tuple[str, ...]:
        return tuple(name for route in self.routes for name in route.links)

    @property
    def hops(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Each link with the two nodes that it joins."""
        return ((name, frozenset(hop)) for route in self.routes for name, hop in zip(route.links, pairwise(route.nodes), strict=True))

    @property
    def order(self) -> tuple[bool, int, int]:
        """Who comes before whom: the guaranteed, then by priority, then who came first."""
        return not self.guaranteed, self.priority, self.number


@dataclass(frozen=True)
class Rerouting:
    """What became of the bookings that were touched: ``moved`` to other ways, or ``kept`` where they were, and why."""

    moved: tuple[Booking, ...]
    kept: tuple[tuple[Booking, str], ...]


class Reservations:
    """Books key on the links of ``router``. ``quotas`` by pair, the same both ways; a pair without one may have what there is."""

    def __init__(
        self, router: Router, quotas: Mapping[Pair, Quota] | None = None, *, class_shares: tuple[float, ...] = CLASS_SHARES
    ) -> None:
        for share in class_shares:
            require_within("class_shares", share, 0.0, 1.0)
        if not class_shares:
            raise InputError("class_shares", class_shares, "one share at least is needed")
        self.bookings: dict[int, Booking] = {}
        self._router, self._states, self._class_shares = router, router.states, class_shares
        self._numbers = count(1)
        self._maximum: dict[frozenset[str], TokenBucket] = {}
        self._minimum: dict[frozenset[str], TokenBucket] = {}
        for pair, quota in (quotas or {}).items():
            self._minimum[frozenset(pair)] = TokenBucket(quota.minimum_bps, quota.minimum_bps * quota.burst_s)
            if quota.maximum_bps is not None:
                self._maximum[frozenset(pair)] = TokenBucket(quota.maximum_bps, quota.maximum_bps * quota.burst_s)

    def request(
        self,
        pair: Pair,
        *,
        bit: int,
        now_s: float,
        until_s: float,
        priority: int = 1,
        paths: int = 1,
        least_paths: int = 1,
        policy: RoutePolicy = ANY_ROUTE,
    ) -> Booking:
        """Find ways from ``pair[0]`` to ``pair[1]`` and book ``bit`` on each of them. Raises as `Router.find_routes` and `book` do."""
        share = self.stock_share(pair, bit=bit, priority=priority, now_s=now_s)
        limited = replace(policy, stock_share=min(share, policy.stock_share))
        routes = self._router.find_routes(*pair, wanted_bit=bit, paths=paths, least_paths=least_paths, policy=limited)
        return self.book(*routes, bit=bit, pair=pair, now_s=now_s, until_s=until_s, priority=priority, policy=policy)

    def book(
        self, *routes: Route, bit: int, pair: Pair, now_s: float, until_s: float, priority: int = 1, policy: RoutePolicy = ANY_ROUTE
    ) -> Booking:
        """Book ``bit`` on every link of all ``routes``, or on none.

        ``policy`` is kept for ways that may take their place. Raises InputError on figures, RequestRefused above the quota, NoRoute when a
        link is out of service or gone, KeysExhausted when one holds too little that is free.
        """
        _require(routes, bit, pair, now_s, until_s)
        share = self.stock_share(pair, bit=bit, priority=priority, now_s=now_s)
        maximum = self._maximum.get(frozenset(pair))
        if maximum and not maximum.holds(bit, now_s):
            ever = "" if bit <= maximum.capacity_bit else f", and never more than {maximum.capacity_bit:.0f}"
            raise RequestRefused(f"{pair[0]} and {pair[1]} may have {maximum.level_bit:.0f} bit now{ever}; {bit} are wanted")
        guaranteed = self._guarantees(pair, bit, now_s)
        booking = Booking(next(self._numbers), pair, routes, bit, priority, until_s, policy, guaranteed)
        self._place(booking, share)
        if maximum:
            maximum.take(bit)
        if guaranteed:
            self._minimum[frozenset(pair)].take(bit)
        return booking

    def stock_share(self, pair: Pair, *, bit: int, priority: int, now_s: float) -> float:
        """The share of a stock from which a pair may book ``bit`` now: all within its guaranteed rate, else that of its class."""
        require_within("priority", priority, 0, 255)
        return 1.0 if self._guarantees(pair, bit, now_s) else self._class_shares[min(priority, len(self._class_shares) - 1)]

    def spend(self, number: int, *, now_s: float) -> Booking:
        """The key of a booking has been sent: it is gone from the links. Raises InputError on an unknown number."""
        booking = self._take_out(number)
        for name in booking.links:
            if name in self._states.number:  # A link that is gone has taken its key with it.
                self._states.spend(name, booking.bit, time_s=now_s)
        return booking

    def release(self, number: int) -> Booking:
        """The key of a booking was not used: it is free again, and the pair's quota too. Raises InputError on an unknown number."""
        booking = self._take_out(number)
        pair = frozenset(booking.pair)
        if pair in self._maximum:
            self._maximum[pair].give_back(booking.bit)
        if booking.guaranteed:
            self._minimum[pair].give_back(booking.bit)
        return booking

    def expire(self, now_s: float) -> list[Booking]:
        """Take out bookings whose time is over. Their pairs' quotas stay used: nobody keeps key from others for nothing."""
        return [self._take_out(number) for number in [item.number for item in self.bookings.values() if item.until_s <= now_s]]

    def touched(self) -> list[Booking]:
        """Bookings that cannot be carried out where they are, in their order.

        A link of theirs is out of service, gone, or holds too little by now for all that is booked; or their policy forbids a node by now.
        """
        left_bit = self._states.stock_bit * self._states.in_service
        touched = []
        for booking in sorted(self.bookings.values(), key=lambda booking: booking.order):
            numbers = [self._number_of(name, hop) for name, hop in booking.hops]
            there = [number for number in numbers if number is not None]
            if len(there) < len(numbers) or self._forbids(booking) or (left_bit[there] < booking.bit).any():
                touched.append(booking)
            else:
                left_bit[there] -= booking.bit
        return touched

    def reroute(self) -> Rerouting:
        """Move every booking that is touched to other ways, as many as it had; one for which there are none stays where it is.

        A booking keeps its number, its time and its class; what it may take is what its class may.
        """
        moved, kept = [], []
        for booking in self.touched():
            share = 1.0 if booking.guaranteed else self._class_shares[min(booking.priority, len(self._class_shares) - 1)]
            policy = replace(booking.policy, stock_share=min(share, booking.policy.stock_share))
            paths = len(booking.routes)
            self._take_out(booking.number)
            try:
                routes = self._router.find_routes(*booking.pair, wanted_bit=booking.bit, paths=paths, least_paths=paths, policy=policy)
            except (NoRoute, InputError) as error:  # InputError: an end of the pair is no longer in the topology.
                self._put(booking)
                kept.append((booking, str(error)))
            else:
                moved.append(replace(booking, routes=tuple(routes)))
                self._place(moved[-1], share)
        return Rerouting(tuple(moved), tuple(kept))

    def _number_of(self, name: str, hop: frozenset[str]) -> int | None:
        """The number of a link, if it still joins these two nodes."""
        link = self._states.topology.links.get(name)
        return self._states.number[name] if link and frozenset(link.ends) == hop else None

    def _forbids(self, booking: Booking) -> bool:
        nodes = self._states.topology.nodes
        return any(booking.policy.forbids(nodes[name]) for route in booking.routes for name in route.nodes[1:-1])

    def _guarantees(self, pair: Pair, bit: int, now_s: float) -> bool:
        bucket = self._minimum.get(frozenset(pair))
        return bucket is not None and bucket.holds(bit, now_s)

    def _place(self, booking: Booking, share: float) -> None:
        """Count a booking on all its links, or raise and count it on none."""
        states = self._states
        for name in booking.links:
            why = states.obstacle(name, booking.bit, stock_share=share)
            if why and not states.in_service[states.number[name]]:
                raise NoRoute(*booking.pair, why)
            if why:
                raise KeysExhausted(name, max(0, int(states.free_bit(share)[states.number[name]])), booking.bit)
        self._put(booking)

    def _put(self, booking: Booking) -> None:
        self.bookings[booking.number] = booking
        for name in booking.links:
            self._states.book(name, booking.bit)

    def _take_out(self, number: int) -> Booking:
        if number not in self.bookings:
            raise InputError("booking", number, "there is no such booking")
        booking = self.bookings.pop(number)
        for name in booking.links:
            self._states.book(name, -booking.bit)
        return booking


def _require(routes: tuple[Route, ...], bit: int, pair: Pair, now_s: float, until_s: float) -> None:
    """Raise InputError unless these can stand in a booking."""
    require_within("bit", bit, 1, MOST_BIT)
    if not now_s < until_s:
        raise InputError("until_s", until_s, f"must be later than {now_s:g}")
    if not routes:
        raise InputError("routes", routes, "one at least is needed")
    for route in routes:
        if (route.nodes[0], route.nodes[-1]) != pair:
            raise InputError("routes", route.nodes, f"must lead from {pair[0]} to {pair[1]}")
    links = [name for route in routes for name in route.links]
    if len(set(links)) < len(links):
        raise InputError("routes", links, "must not share a link")
