"""The compiled loop of a simulated day: requests arrive, links make key, the local rule relays, and who finds no key waits in line.

Bits are whole numbers and none is lost: of each link, what was there and what was made is what was spent, spilled over and is left.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np

from tiandi.compiling import kernel
from tiandi.control.way_search import Floats, Ints, Ways

BINS_PER_DECADE = 20
LEAST_LATENCY_S = 1e-4
BINS = 9 * BINS_PER_DECADE + 1
"""Bins of latency: the first below 0.1 ms, the others up to 1e5 s."""


class Stocks(NamedTuple):
    """Links: key [bit] they hold, may hold, have made, spent and spilled; what they make in this slice, how fast [bit/s], and so far."""

    bit: Ints
    buffer: Ints
    made: Ints
    spent: Ints
    spilled: Ints
    slice: Ints
    rate: Floats
    counted: Ints


class Book(NamedTuple):
    """Pairs: key [bit] ready for them, asked for, handed out, refused, relayed, and spent on all hops; requests served, their latency."""

    ready: Ints
    asked: Ints
    handed: Ints
    refused: Ints
    relayed: Ints
    hops: Ints
    requests: Ints
    latency_s: Floats
    bins: Ints


class Line(NamedTuple):
    """Requests in line at each link, in order: the first and the last of each link (-1: none); of each request pair, bits, arrival, and who
    is next. Places that are free are linked in the same way; ``free`` is the first.
    """

    first: Ints
    last: Ints
    pair: Ints
    bit: Ints
    arrival_s: Floats
    after: Ints
    free: Ints


class Rules(NamedTuple):
    """Start and length of the slice [s], how long a request waits [s], key kept ready [bit], and below how much a link is scarce [bit]."""

    start_s: float
    length_s: float
    patience_s: float
    ahead_bit: int
    scarce_bit: int


class Day(NamedTuple):
    """Everything the loop works on; ``way_latency_s`` is how long a relay takes over each way."""

    ways: Ways
    way_latency_s: Floats
    stocks: Stocks
    book: Book
    line: Line
    rules: Rules


@kernel
def _fill_up(stocks, link, elapsed_s):  # type: ignore[no-untyped-def]
    """Enter what a link has made since the slice began."""
    made = min(int(elapsed_s * stocks.rate[link] + 1e-6), stocks.slice[link])
    stocks.bit[link] += made - stocks.counted[link]
    stocks.made[link] += made - stocks.counted[link]
    stocks.counted[link] = made
    over = stocks.bit[link] - stocks.buffer[link]
    if over > 0:
        stocks.bit[link] -= over
        stocks.spilled[link] += over


@kernel
def _wait_s(stocks, link, bit, elapsed_s):  # type: ignore[no-untyped-def]
    """How long until a link, filled up to now, holds so much."""
    missing = bit - stocks.bit[link]
    if missing <= 0:
        return 0.0
    if stocks.rate[link] == 0.0 or bit > stocks.buffer[link]:
        return np.inf
    return max((stocks.counted[link] + missing) / stocks.rate[link] - elapsed_s, 1e-6)


@kernel
def _way_now(day, pair, bit, is_next):  # type: ignore[no-untyped-def]
    """The way of least hops, scarce ones counting up to double, that can carry so much now; -1 where none can.

    Whoever is not next in line keeps off links where others wait.
    """
    best, least = -1, np.inf
    for way in range(day.ways.of_pair[pair], day.ways.of_pair[pair + 1]):
        cost = 0.0
        for link in day.ways.link[day.ways.of_way[way] : day.ways.of_way[way + 1]]:
            stock = day.stocks.bit[link]
            if stock < bit or (not is_next and day.line.first[link] >= 0):
                cost = np.inf
                break
            cost += 1.0 + day.rules.scarce_bit / (day.rules.scarce_bit + stock)
        if cost < least:
            best, least = way, cost
    return best


@kernel
def _where_to_wait(day, pair, bit, elapsed_s):  # type: ignore[no-untyped-def]
    """The link to wait at: the last to be ready on the way that is ready first. -1 where no way will ever hold so much."""
    best, least = -1, np.inf
    for way in range(day.ways.of_pair[pair], day.ways.of_pair[pair + 1]):
        link_to_wait, longest_s = -1, -1.0
        for link in day.ways.link[day.ways.of_way[way] : day.ways.of_way[way + 1]]:
            if bit > day.stocks.buffer[link]:
                link_to_wait = -1
                break
            wait_s = _wait_s(day.stocks, link, bit, elapsed_s)
            if wait_s > longest_s or (wait_s == longest_s and day.line.first[link_to_wait] < 0):
                link_to_wait, longest_s = link, wait_s
        if link_to_wait >= 0 and (best < 0 or longest_s < least):
            best, least = link_to_wait, longest_s
    return best


@kernel
def _relay(day, pair, way, bit):  # type: ignore[no-untyped-def]
    """Spend so much of every link on a way."""
    for link in day.ways.link[day.ways.of_way[way] : day.ways.of_way[way + 1]]:
        day.stocks.bit[link] -= bit
        day.stocks.spent[link] += bit
    day.book.relayed[pair] += bit
    day.book.hops[pair] += bit * (day.ways.of_way[way + 1] - day.ways.of_way[way])


@kernel
def _hand_out(book, pair, bit, latency_s):  # type: ignore[no-untyped-def]
    """Enter a request that got its key."""
    book.handed[pair] += bit
    book.requests[pair] += 1
    book.latency_s[pair] += latency_s
    place = 0
    if latency_s >= LEAST_LATENCY_S:
        place = min(1 + int(np.log10(latency_s / LEAST_LATENCY_S) * BINS_PER_DECADE), BINS - 1)
    book.bins[place] += 1


@kernel
def _join(line, link, place):  # type: ignore[no-untyped-def]
    """Put a request at the end of a link's line."""
    line.after[place] = -1
    if line.first[link] < 0:
        line.first[link] = place
    else:
        line.after[line.last[link]] = place
    line.last[link] = place


@kernel
def _leave(line, link):  # type: ignore[no-untyped-def]
    """Take the first request out of a link's line; its place is not free yet."""
    place = line.first[link]
    line.first[link] = line.after[place]
    return place


@kernel
def _set_free(line, place):  # type: ignore[no-untyped-def]
    line.after[place] = line.free[0]
    line.free[0] = place


@kernel
def _fill_up_ways(day, pair, now_s):  # type: ignore[no-untyped-def]
    """Bring all links of a pair's ways up to date."""
    ways = day.ways
    for link in ways.link[ways.of_way[ways.of_pair[pair]] : ways.of_way[ways.of_pair[pair + 1]]]:
        _fill_up(day.stocks, link, now_s - day.rules.start_s)


@kernel
def _call_next(day, alarms, link, now_s):  # type: ignore[no-untyped-def]
    """Set the alarm of a link for when it has the key that the first in its line wants, if that is in this slice."""
    place = day.line.first[link]
    if place >= 0:
        wake_s = now_s + _wait_s(day.stocks, link, day.line.bit[place], now_s - day.rules.start_s)
        if wake_s < day.rules.start_s + day.rules.length_s:
            heapq.heappush(alarms, (wake_s, link))


@kernel
def _arrive(day, alarms, now_s, request):  # type: ignore[no-untyped-def]
    """A request for key: out of what is ready, else relayed at once, else in line; then what is ready is made up again."""
    pair, bit = request
    book = day.book
    book.asked[pair] += bit
    _fill_up_ways(day, pair, now_s)
    if book.ready[pair] >= bit:
        book.ready[pair] -= bit
        _hand_out(book, pair, bit, 0.0)
        _keep_ready(day, pair)
        return
    way = _way_now(day, pair, bit, False)
    if way >= 0:
        _relay(day, pair, way, bit)
        _hand_out(book, pair, bit, day.way_latency_s[way])
        _keep_ready(day, pair)
        return
    link = _where_to_wait(day, pair, bit, now_s - day.rules.start_s)
    if link < 0 or day.rules.patience_s == 0.0:
        book.refused[pair] += bit
        return
    line, place = day.line, day.line.free[0]
    line.free[0] = line.after[place]
    line.pair[place], line.bit[place], line.arrival_s[place] = pair, bit, now_s
    alone = line.first[link] < 0
    _join(line, link, place)
    if alone:
        _call_next(day, alarms, link, now_s)


@kernel
def _keep_ready(day, pair):  # type: ignore[no-untyped-def]
    """Relay ahead what a pair's ready key lacks, where links have more than they may want soon."""
    missing = day.rules.ahead_bit - day.book.ready[pair]
    way = _way_now(day, pair, missing + day.rules.scarce_bit, False) if missing > 0 else -1
    if way >= 0:
        _relay(day, pair, way, missing)
        day.book.ready[pair] += missing


@kernel
def _wake(day, alarms, now_s, link):  # type: ignore[no-untyped-def]
    """The first in a link's line is served, gives up, or goes to wait where key is missing now."""
    line, place = day.line, day.line.first[link]
    pair, bit = line.pair[place], line.bit[place]
    _fill_up(day.stocks, link, now_s - day.rules.start_s)
    _fill_up_ways(day, pair, now_s)
    waited_s = now_s - line.arrival_s[place]
    way = -1 if waited_s > day.rules.patience_s else _way_now(day, pair, bit, True)
    if waited_s > day.rules.patience_s or way >= 0:
        if way >= 0:
            _relay(day, pair, way, bit)
            _hand_out(day.book, pair, bit, waited_s + day.way_latency_s[way])
        else:
            day.book.refused[pair] += bit
        _set_free(line, _leave(line, link))
    else:
        other = _where_to_wait(day, pair, bit, now_s - day.rules.start_s)
        if other != link:
            _leave(line, link)
            alone = line.first[other] < 0
            _join(line, other, place)
            if alone:
                _call_next(day, alarms, other, now_s)
    _call_next(day, alarms, link, now_s)


@kernel
def run_slice(day, arrival_s, pair, bit):  # type: ignore[no-untyped-def]
    """A slice of the day, in which links make key evenly, with its requests in order of time: ``arrival_s``, ``pair`` and ``bit``."""
    alarms = [(0.0, 0) for _ in range(0)]
    end_s = day.rules.start_s + day.rules.length_s
    for link in range(day.line.first.size):
        while day.line.first[link] >= 0 and day.rules.start_s - day.line.arrival_s[day.line.first[link]] > day.rules.patience_s:
            place = _leave(day.line, link)
            day.book.refused[day.line.pair[place]] += day.line.bit[place]
            _set_free(day.line, place)
        _call_next(day, alarms, link, day.rules.start_s)
    pairs = day.book.ready.size
    for turn in range(pairs):
        _keep_ready(day, (turn + int(day.rules.start_s)) % pairs)
    for request in range(arrival_s.size + 1):
        until_s = arrival_s[request] if request < arrival_s.size else end_s
        while len(alarms) > 0 and alarms[0][0] <= until_s:
            now_s, link = heapq.heappop(alarms)
            _wake(day, alarms, now_s, link)
        if request < arrival_s.size:
            _arrive(day, alarms, until_s, (pair[request], bit[request]))
    for link in range(day.stocks.bit.size):
        _fill_up(day.stocks, link, day.rules.length_s + 1.0)
