"""By which ways each pair's key went, day by day."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tiandi.control.way_search import Ways
from tiandi.planning.relay_flow import Allocation, FluidRelay

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Carriers:
    """Notes what every way carries. A relay learns ways as it goes; a way keeps its place among those of its pair."""

    def __init__(self, relay: FluidRelay) -> None:
        self._relay = relay
        self._noted: list[tuple[IntArray, IntArray, FloatArray]] = []

    def note(self, allocation: Allocation) -> None:
        """One more day."""
        of_pair = self._relay.ways.of_pair
        bits = way_bits(self._relay.ways, allocation)
        busy = np.flatnonzero(bits > 0.0)
        pair = np.searchsorted(of_pair, busy, side="right") - 1
        self._noted.append((pair, busy - of_pair[pair], bits[busy]))

    def days(self) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
        """Of each day the pair, the links (-1 beyond a way's end) and the key [bit] of each way that carried some."""
        routes = padded_routes(self._relay.ways)
        for pair, place, bits in self._noted:
            yield pair, routes[self._relay.ways.of_pair[pair] + place], bits

    def total_bit(self) -> FloatArray:
        """What each of the relay's ways carried in all, shape (ways,)."""
        ways = self._relay.ways
        total = np.zeros(ways.of_way.size - 1)
        for pair, place, bits in self._noted:
            np.add.at(total, ways.of_pair[pair] + place, bits)
        return total


def way_bits(ways: Ways, allocation: Allocation) -> FloatArray:
    """What each way carried [bit], shape (ways,): a pair's key parts among its ways as the least used link of each allows (an estimate)."""
    routes = padded_routes(ways)
    open_bit = np.where(routes >= 0, allocation.used_bit[np.maximum(routes, 0)], np.inf).min(axis=1)
    pair = np.repeat(np.arange(ways.of_pair.size - 1), np.diff(ways.of_pair))
    # A way that waits for one before it takes what that one leaves: the estimate fills them in the order in which the relay tries them.
    ahead = np.cumsum(open_bit) - open_bit
    ahead -= ahead[np.minimum(ways.of_pair[:-1], ahead.size - 1)][pair] if ahead.size else 0.0
    carried = allocation.carried_bit[pair]
    bits = np.clip(carried - ahead, 0.0, open_bit)
    total = np.bincount(pair, bits, ways.of_pair.size - 1)
    scale = np.divide(allocation.carried_bit, total, out=np.zeros(total.shape), where=total > 0.0)
    return np.asarray(bits * scale[pair])


def padded_routes(ways: Ways) -> IntArray:
    """Numbers of the links of each way, shape (ways, hops), -1 beyond its end."""
    length = np.diff(ways.of_way)
    routes = np.full((length.size, max(length.max(initial=1), 1)), -1, np.int64)
    routes[np.arange(routes.shape[1]) < length[:, None]] = ways.link
    return routes
