"""A day of a network, request by request: keys handed out, refused and waited for, and the stocks of links, by the fast local rule.

Requests of a pair come as a Poisson process whose rate follows the hour of the day, each for a batch of keys of geometric size. Links make
key evenly within a slice of the day. A relay takes the way of fewest hops on which every link holds enough, scarce links counting double.
Pairs keep some key ready ahead. Who finds none waits in line at the link that lacks key, first come first served, and then gives up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tiandi.constants import LIGHT_SPEED_IN_FIBRE_KM_PER_S, SECONDS_PER_DAY
from tiandi.control.topology import Topology
from tiandi.control.way_search import Floats, Ints, WayFinder, Ways
from tiandi.errors import InputError
from tiandi.limits import require_each_within, require_within
from tiandi.planning.day_loop import BINS, BINS_PER_DECADE, LEAST_LATENCY_S, Book, Day, Line, Rules, Stocks, run_slice
from tiandi.planning.inputs import Demand, StudyInputs
from tiandi.planning.relay_flow import lit_fraction
from tiandi.random import twin_generator

OFFICE_DAY = (0.3, 0.25, 0.2, 0.2, 0.2, 0.25, 0.4, 0.7, 1.2, 1.8, 2.0, 2.0, 1.6, 1.6, 1.9, 2.0, 1.9, 1.6, 1.1, 0.8, 0.7, 0.5, 0.4, 0.4)
"""Requests of each hour over those of the mean one [assumed]: busy from nine to five."""
MOST_REQUESTS = 2e8
MOST_BIT = 1e15


@dataclass(frozen=True)
class DayRules:
    """How the day goes; all figures are assumed, none is of a network in service.

    Keys have ``key_bit``; a request is for ``batch_keys`` of them on average, and gives up after ``patience_s``. A pair keeps
    ``ahead_keys`` ready. Each hop takes ``hop_s`` besides the light's time. A link holds ``buffer_bit`` at most and is scarce below
    ``scarce_bit``. Pairs choose among ``candidates`` ways. ``hourly`` are the requests of each hour over those of the mean one.
    """

    key_bit: int = 256
    batch_keys: float = 8.0
    ahead_keys: int = 16
    patience_s: float = 60.0
    hop_s: float = 0.005
    buffer_bit: float = 1e9
    scarce_bit: float = 1e5
    candidates: int = 4
    hourly: tuple[float, ...] = OFFICE_DAY

    def __post_init__(self) -> None:
        require_within("key_bit", self.key_bit, 1, 1_000_000)
        require_within("batch_keys", self.batch_keys, 1.0, 10_000.0)
        require_within("ahead_keys", self.ahead_keys, 0, 1_000_000)
        require_within("patience_s", self.patience_s, 0.0, SECONDS_PER_DAY)
        require_within("hop_s", self.hop_s, 0.0, 60.0)
        require_within("buffer_bit", self.buffer_bit, 1.0, MOST_BIT)
        require_within("scarce_bit", self.scarce_bit, 0.0, MOST_BIT)
        require_within("candidates", self.candidates, 1, 64)
        hours = require_each_within("hourly", self.hourly, 0.0, 24.0)
        if hours.size != 24 or hours.sum() == 0.0:
            raise InputError("hourly", self.hourly, "must be 24 numbers, not all 0")


@dataclass(frozen=True)
class NetworkDay:
    """What a day came to. Arrays of pairs and of links are in the order of the demands and of the topology; all key in whole bits.

    Pairs: key ``asked_bit``, ``handed_bit``, ``refused_bit``, in line at midnight ``waiting_bit``, relayed to their ends ``relayed_bit``,
    spent for it on all links ``spent_for_bit``, and ``ready_bit`` at midnight; ``latency_s`` from request to key, the mean (NaN where
    nothing was handed out). Of a pair with several disjoint routes a relay takes as long as the mean of them.
    Links: ``made_bit``, ``spent_bit``, ``spilled_bit`` for want of room, and ``stock_bit`` at midnight. ``latency_count`` are the requests
    by latency between ``latency_edges_s``.
    """

    pairs: tuple[str, ...]
    links: tuple[str, ...]
    asked_bit: Ints
    handed_bit: Ints
    refused_bit: Ints
    waiting_bit: Ints
    relayed_bit: Ints
    spent_for_bit: Ints
    ready_bit: Ints
    latency_s: Floats
    latency_count: Ints
    latency_edges_s: Floats
    made_bit: Ints
    spent_bit: Ints
    spilled_bit: Ints
    stock_bit: Ints

    @property
    def served(self) -> float:
        """The key that was handed out over the key that was asked for."""
        return float(self.handed_bit.sum() / max(self.asked_bit.sum(), 1))

    def latency_quantile_s(self, quantile: float) -> float:
        """The latency [s] that this part of the requests with a key did not exceed, to a bin (12 %). Raises InputError."""
        require_within("quantile", quantile, 0.0, 1.0)
        if self.latency_count.sum() == 0:
            raise InputError("quantile", quantile, "no request got a key that day")
        below = np.cumsum(self.latency_count) / self.latency_count.sum()
        return float(self.latency_edges_s[int(np.searchsorted(below, quantile - 1e-12)) + 1])


def simulate_day(
    inputs: StudyInputs,
    *,
    seed: int = 1,
    rules: DayRules | None = None,
    link_bit: ArrayLike | None = None,
    stock_bit: ArrayLike = 0.0,
    progress: Callable[[float], None] | None = None,
) -> NetworkDay:
    """A day from midnight to midnight with all demands of ``inputs``, whose rates are means of the day.

    ``link_bit`` (slices, links) is the key that links make in each slice of the day; without it they make their ``rate_bps`` all day
    (those on a switch take turns, downlinks make nothing: contacts are not known here), in slices of five minutes. Links begin with
    ``stock_bit`` (links,). ``progress`` hears the part that is done. Raises InputError.
    """
    rules = rules or DayRules()
    topology = inputs.topology
    made = _slices(topology, link_bit)
    stock = np.broadcast_to(require_each_within("stock_bit", stock_bit, 0.0, rules.buffer_bit), made.shape[1:]).astype(np.int64)
    wanted = 86_400.0 * sum(demand.rate_bps for demand in inputs.demands) / (rules.batch_keys * rules.key_bit)
    require_within("requests of the day (demands.rate_bps over batches)", wanted, 0.0, MOST_REQUESTS)
    day = _morning(topology, inputs.demands, rules, stock)
    length_s = SECONDS_PER_DAY / made.shape[0]
    generator = twin_generator(seed, "network day", "requests")
    for number, bits in enumerate(made):
        day.stocks.slice[:], day.stocks.rate[:], day.stocks.counted[:] = bits, bits / length_s, 0
        span = Rules(number * length_s, length_s, rules.patience_s, rules.ahead_keys * rules.key_bit, int(rules.scarce_bit))
        arrival_s, pair, bit = _requests(generator, inputs.demands, rules, span)
        day = day._replace(rules=span, line=_with_room(day.line, arrival_s.size))
        run_slice(day, arrival_s, pair, bit)
        if progress:
            progress((number + 1) / made.shape[0])
    return _evening(inputs, day)


def _slices(topology: Topology, link_bit: ArrayLike | None) -> Ints:
    """Whole bits that links make in each slice; fractions are carried on."""
    if link_bit is None:
        steady = [0.0 if link.kind == "downlink" else link.rate_bps for link in topology.links.values()]
        link_bit = np.tile(np.array(steady) * lit_fraction(topology) * 300.0, (288, 1))
    made = require_each_within("link_bit", link_bit, 0.0, MOST_BIT)
    if made.ndim != 2 or made.shape[1] != len(topology.links) or not 1 <= made.shape[0] <= 86_400:
        raise InputError("link_bit", made.shape, f"must have 1 to 86,400 rows and {len(topology.links)} columns")
    return np.diff(np.floor(np.cumsum(made, axis=0) + 1e-6), axis=0, prepend=0.0).astype(np.int64)


def _morning(topology: Topology, demands: Sequence[Demand], rules: DayRules, stock: Ints) -> Day:
    """The state at midnight: all books are empty."""
    finder = WayFinder(topology)
    pairs = finder.pairs([item.ends for item in demands], [item.least_trust for item in demands], [item.paths for item in demands])
    links, count = stock.size, len(demands)
    ways = finder.several(pairs, np.ones(links), rules.candidates)
    light_s = np.array([link.length_km for link in topology.links.values()]) / LIGHT_SPEED_IN_FIBRE_KM_PER_S
    shares = np.repeat(pairs.shares, np.diff(ways.of_pair))
    latency_s = _sums(ways, light_s + rules.hop_s) / shares
    none = np.zeros(0, np.int64)
    room, made, spent, spilled, sliced, counted = (np.full(links, value, np.int64) for value in (int(rules.buffer_bit), 0, 0, 0, 0, 0))
    stocks = Stocks(stock, room, made, spent, spilled, sliced, np.zeros(links), counted)
    ready, asked, handed, refused, relayed, hops, served = np.zeros((7, count), np.int64)
    book = Book(ready, asked, handed, refused, relayed, hops, served, np.zeros(count), np.zeros(BINS, np.int64))
    line = Line(np.full(links, -1), np.full(links, -1), none, none, np.zeros(0), none, np.full(1, -1))
    return Day(ways, latency_s, stocks, book, line, Rules(0.0, 1.0, 0.0, 0, 0))


def _sums(ways: Ways, per_link: Floats) -> Floats:
    """What the links of each way come to."""
    return np.diff(np.concatenate([[0.0], np.cumsum(per_link[ways.link])])[ways.of_way])


def _requests(generator: np.random.Generator, demands: Sequence[Demand], rules: DayRules, span: Rules) -> tuple[Floats, Ints, Ints]:
    """When requests of a slice come, of which pair, for how many bits, in order of time; the hour is that of the slice's middle."""
    hourly = np.array(rules.hourly) / np.mean(rules.hourly)
    busy = hourly[int((span.start_s + span.length_s / 2.0) / 3600.0)]
    rates_bps = np.array([demand.rate_bps for demand in demands])
    counts = generator.poisson(rates_bps * busy * span.length_s / (rules.batch_keys * rules.key_bit))
    arrival_s = span.start_s + span.length_s * generator.random(int(counts.sum()))
    pair = np.repeat(np.arange(counts.size), counts)
    keys = generator.geometric(1.0 / rules.batch_keys, pair.size)
    order = np.argsort(arrival_s)
    return arrival_s[order], pair[order], keys[order] * rules.key_bit


def _with_room(line: Line, more: int) -> Line:
    """The line with room for ``more`` requests than wait in it, those moved together."""
    used = np.ones(line.pair.size, bool)
    free = int(line.free[0])
    while free >= 0:
        used[free] = False
        free = int(line.after[free])
    number = np.append(np.cumsum(used) - 1, -1)
    waiting = int(used.sum())
    room = np.zeros(more, np.int64)
    chain = np.append(np.arange(waiting + 1, waiting + more), -1) if more else room
    return Line(
        number[line.first],
        number[line.last],
        np.concatenate([line.pair[used], room]),
        np.concatenate([line.bit[used], room]),
        np.concatenate([line.arrival_s[used], np.zeros(more)]),
        np.concatenate([number[line.after[used]], chain]),
        np.array([waiting if more else -1]),
    )


def _evening(inputs: StudyInputs, day: Day) -> NetworkDay:
    book, stocks = day.book, day.stocks
    edges_s = np.concatenate([[0.0], LEAST_LATENCY_S * 10.0 ** (np.arange(BINS) / BINS_PER_DECADE)])
    with np.errstate(invalid="ignore"):
        mean_s = book.latency_s / book.requests
    return NetworkDay(
        pairs=tuple(demand.name for demand in inputs.demands),
        links=tuple(inputs.topology.links),
        asked_bit=book.asked,
        handed_bit=book.handed,
        refused_bit=book.refused,
        waiting_bit=book.asked - book.handed - book.refused,
        relayed_bit=book.relayed,
        spent_for_bit=book.hops,
        ready_bit=book.ready,
        latency_s=mean_s,
        latency_count=book.bins,
        latency_edges_s=edges_s,
        made_bit=stocks.made,
        spent_bit=stocks.spent,
        spilled_bit=stocks.spilled,
        stock_bit=stocks.bit,
    )
