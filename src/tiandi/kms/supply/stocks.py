"""Which stocks of supply keys a KME looks after: a pair's sizes, how fast it takes them, and who waits.

An SAE may ask for any size at any time; only a few sizes that it asks for again and again are kept ready. What nobody asks for any more
is forgotten, so that this table stays as small as what is in use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tiandi.errors import TiandiError
from tiandi.kms.directory import Directory
from tiandi.kms.keys import SupplyKey
from tiandi.kms.relay.gathering import Gatherer
from tiandi.kms.supply.rates import RateMeter

AHEAD_S = 4.0
RATE_MEMORY_S = 10.0
IDLE_S = 300.0
"""A stock of which nobody asked anything for so long is no longer topped up."""
MOST_REMEMBERED = 4
"""Sizes of a pair that are made as they are asked for, and remembered in case they are asked for again."""
MOST_STOCKS = 16_384

Pair = tuple[str, str]


@dataclass(eq=False)
class Stock:
    """What one pair takes of one size."""

    pair: Pair
    size_bit: int
    taken: RateMeter = field(default_factory=lambda: RateMeter(memory_s=RATE_MEMORY_S))
    asked_s: float = 0.0
    """When it was last asked for."""
    times_asked: int = 0
    is_usual: bool = False
    """Whether keys of it are kept ready."""
    asked_for: int = 0
    """Keys that requests wait for."""
    under_way: int = 0
    error: TiandiError | None = None
    """Why the last keys could not be made."""
    deliveries: Gatherer[int, list[SupplyKey]] | None = None
    """Requests of the same moment take their keys in one go."""

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for its keys or makes some."""
        return bool(self.asked_for or self.under_way)


class Stocks:
    """The stocks of one KME's masters. ``key_size_bit`` is the size that every pair may have kept ready."""

    def __init__(self, directory: Directory, key_size_bit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory, self._key_size_bit, self._clock = directory, key_size_bit, clock
        self._by_pair: dict[Pair, dict[int, Stock]] = {}
        self._count = 0

    def __iter__(self) -> Iterator[Stock]:
        return (stock for sizes in list(self._by_pair.values()) for stock in list(sizes.values()))

    def __len__(self) -> int:
        return self._count

    def knows(self, master: str, slave: str, size_bit: int) -> bool:
        """Whether somebody asked for it of late."""
        return size_bit in self._by_pair.get((master, slave), ())

    def ask(self, master: str, slave: str, size_bit: int) -> Stock:
        """The stock, noted as asked for now."""
        stock = self.find(master, slave, size_bit)
        stock.times_asked += 1
        if not stock.is_usual:
            self._make_usual(stock)
        return stock

    def find(self, master: str, slave: str, size_bit: int) -> Stock:
        """The stock, for somebody who has asked already and waits."""
        pair = (master, slave)
        stock = self._by_pair.get(pair, {}).get(size_bit)
        if stock is None:
            self._make_room(pair)
            stock = Stock(pair, size_bit)
            self._by_pair.setdefault(pair, {})[size_bit] = stock
            self._count += 1
        stock.asked_s = self._clock()
        return stock

    def ahead_count(self, stock: Stock) -> int:
        """Keys to keep ready at least: of large keys fewer, so that a pair's stocks hold about the same amount of key each."""
        if not stock.is_usual or self._is_idle(stock):
            return 0
        count = self._directory.policy(*stock.pair).ahead_count
        return max(1, count * self._key_size_bit // max(stock.size_bit, self._key_size_bit)) if count else 0

    def forget_idle(self) -> None:
        """Forget stocks that nobody asked for of late."""
        for stock in self:
            if self._is_idle(stock) and not stock.is_busy:
                self._forget(stock)

    def _is_idle(self, stock: Stock) -> bool:
        return self._clock() - stock.asked_s > IDLE_S

    def _make_usual(self, stock: Stock) -> None:
        if stock.size_bit == self._key_size_bit:
            stock.is_usual = True
            return
        if stock.times_asked < 2:
            return  # Most sizes that are asked for once are never asked for again.
        usual = [one for one in self._by_pair[stock.pair].values() if one.is_usual and one.size_bit != self._key_size_bit]
        if len(usual) >= self._directory.policy(*stock.pair).ahead_sizes - 1:
            if not (idle := [one for one in usual if self._is_idle(one)]):
                return
            idle[0].is_usual = False
        stock.is_usual = True

    def _make_room(self, pair: Pair) -> None:
        """Forget what was asked for longest ago of a pair's other sizes, and somebody else's stock when there are very many."""
        others = [stock for stock in self._by_pair.get(pair, {}).values() if not stock.is_usual and not stock.is_busy]
        for stock in sorted(others, key=lambda stock: stock.asked_s)[: max(0, len(others) - MOST_REMEMBERED + 1)]:
            self._forget(stock)
        if self._count >= MOST_STOCKS and (found := next((stock for stock in self if not stock.is_busy), None)):
            self._forget(found)

    def _forget(self, stock: Stock) -> None:
        sizes = self._by_pair[stock.pair]
        del sizes[stock.size_bit]
        if not sizes:
            del self._by_pair[stock.pair]
        self._count -= 1
