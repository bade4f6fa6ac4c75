"""Keeping keys ready: every pair's stock is topped up ahead of demand, so that Get key answers from this KME's own store.

A pair that asks the first time waits for its keys to be made; from then on as many are kept ready as it took in the last seconds, and
a few more, of the few sizes that `stocks` calls usual. When link key is short, pairs share it by `granting`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING

from tiandi.errors import KeysExhausted, NoRoute, TiandiError
from tiandi.kms.keys import SupplyKey
from tiandi.kms.relay.gathering import Gatherer
from tiandi.kms.relay.relay_messages import OVERHEAD_BIT
from tiandi.kms.states import State
from tiandi.kms.store import ledger
from tiandi.kms.store.database import Transaction
from tiandi.kms.store.ledger import supply_stock
from tiandi.kms.store.supply_keys import NO_WISH, Wanted
from tiandi.kms.supply.granting import SHORT_PAUSE_S, Granting, Want
from tiandi.kms.supply.portions import portion_size
from tiandi.kms.supply.stocks import AHEAD_S, Stock, Stocks

if TYPE_CHECKING:
    from tiandi.kms.entity import KeyManagementEntity

WAIT_FOR_KEYS_S = 8.0
LONGEST_PAUSE_S = 0.5
MOST_AT_ONCE = 16
"""Portions under way to one KME, so that one which does not answer keeps no other pair waiting."""
LEAST_INTERVAL_S = 0.02


class Supply:
    """The stocks of one KME's masters."""

    def __init__(self, entity: KeyManagementEntity) -> None:
        self._entity = entity
        self._stocks = Stocks(entity.directory, entity.limits.key_size)
        self._granting = Granting()
        self._wake = asyncio.Event()
        self._topped_up = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._portions: dict[str, set[asyncio.Task[None]]] = {}
        self._is_short = False

    async def close(self) -> None:
        """Stop topping up."""
        tasks = [task for task in (self._task, *chain.from_iterable(self._portions.values())) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for gatherer in [stock.deliveries for stock in self._stocks if stock.deliveries is not None]:
            gatherer.close()

    async def ready_count(self, master: str, slave: str, size_bit: int) -> int:
        """Keys that could be handed out now."""
        keys = self._entity.supply_keys
        return await self._entity.database.run(keys.ready_count, master, slave, size_bit)

    async def primed_count(self, master: str, slave: str, size_bit: int) -> int:
        """As `ready_count`; a pair that never asked before is given its first keys."""
        count = await self.ready_count(master, slave, size_bit)
        if count or self._stocks.knows(master, slave, size_bit):
            return count
        self._stocks.ask(master, slave, size_bit)
        end_s = time.monotonic() + WAIT_FOR_KEYS_S
        with suppress(KeysExhausted):
            while not count and time.monotonic() < end_s:
                await self._await_keys(self._stocks.find(master, slave, size_bit), 1)
                count = await self.ready_count(master, slave, size_bit)
        return count

    async def deliver(self, master: str, slave: str, *, size_bit: int, number: int, end_s: float) -> list[SupplyKey]:
        """Keys to the master; when too few are ready, waits until ``end_s`` for those that can be made. Raises KeysExhausted."""
        stock = self._stocks.ask(master, slave, size_bit)
        while True:
            try:
                taken = await self._taken(stock, number)
            except KeysExhausted:
                if time.monotonic() > end_s:
                    raise
                stock = self._stocks.find(master, slave, size_bit)
                await self._await_keys(stock, number)
                continue
            stock.taken.add(number)
            self._wake_up()
            return taken

    async def deliver_wanted(self, master: str, slave: str, *, size_bit: int, number: int, wanted: Wanted) -> list[SupplyKey]:
        """Keys of that kind to the master, if there are any now. Raises KeysExhausted."""
        stock = self._stocks.ask(master, slave, size_bit)
        taken = await self._run_delivery(stock, number, wanted)
        stock.taken.add(number)
        self._wake_up()
        return taken

    async def _taken(self, stock: Stock, number: int) -> list[SupplyKey]:
        stock.deliveries = stock.deliveries or Gatherer(partial(self._take_together, stock))
        return await stock.deliveries.ask(number)

    async def _take_together(self, stock: Stock, numbers: list[int]) -> list[list[SupplyKey] | BaseException]:
        try:
            keys = iter(await self._run_delivery(stock, sum(numbers)))
        except KeysExhausted as error:
            if len(numbers) == 1:
                return [error]
            return await asyncio.gather(*(self._run_delivery(stock, number) for number in numbers), return_exceptions=True)
        return [list(islice(keys, number)) for number in numbers]

    async def _run_delivery(self, stock: Stock, number: int, wanted: Wanted = NO_WISH) -> list[SupplyKey]:
        deliver = self._entity.supply_keys.deliver_to_master
        return await self._entity.database.run(deliver, *stock.pair, size_bit=stock.size_bit, number=number, wanted=wanted)

    async def _await_keys(self, stock: Stock, number: int) -> None:
        """Wait a while for more keys of a stock. Raises KeysExhausted when none can be made."""
        stock.asked_for += number
        stock.error = None
        self._wake_up()
        try:
            async with asyncio.timeout(LONGEST_PAUSE_S), self._topped_up:
                await self._topped_up.wait()
        except TimeoutError:
            pass  # Whoever waits looks again, in case it was told in between.
        finally:
            stock.asked_for -= number
        if not stock.under_way and (stock.error is not None or self._entity.is_by_satellite(*stock.pair)):
            why = stock.error or "its keys are aboard a satellite"
            raise KeysExhausted(f"supply for {' and '.join(stock.pair)} ({why})", 0, number * stock.size_bit)

    def look_again(self) -> None:
        """Link key may have come since it was last too short."""
        if self._is_short:
            self._wake_up()

    def _wake_up(self) -> None:
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while self._wake.is_set():
            self._wake.clear()
            began_s = time.monotonic()
            try:
                await self._top_up()
            except TiandiError as error:
                for stock in self._stocks:
                    stock.error = error
                await self._tell()
            # However many pairs there are, looking after them must leave time for the pairs themselves.
            await asyncio.sleep(min(max(LEAST_INTERVAL_S, 4 * (time.monotonic() - began_s)), LONGEST_PAUSE_S))
            if self._is_short and any(stock.asked_for for stock in self._stocks):
                await asyncio.sleep(SHORT_PAUSE_S)
                self._wake.set()

    async def _tell(self) -> None:
        """Wake whoever waits for keys."""
        async with self._topped_up:
            self._topped_up.notify_all()

    async def _missing(self, transaction: Transaction, stocks: Sequence[Stock]) -> list[tuple[Stock, int]]:
        """Stocks with too few keys, and how many to make of each, with those that requests wait for."""
        missing = []
        for stock in stocks:
            least = self._stocks.ahead_count(stock)
            ahead = max(least, int(stock.taken.rate * AHEAD_S)) if least else 0
            goal = min(ahead + stock.asked_for, self._entity.limits.max_key_count)
            if not goal:
                continue
            ready = await self._entity.supply_keys.ready_count(transaction, *stock.pair, stock.size_bit)
            # Also those that another process of this node, or one before a crash, has sent on their way.
            reserved_bit = await ledger.bits(transaction, supply_stock(*stock.pair, "master", stock.size_bit), State.RESERVED)
            have = ready + max(stock.under_way, reserved_bit // stock.size_bit)
            if have < min(goal, max(goal // 2, stock.asked_for + least // 2, 1)):
                missing.append((stock, goal - have))
        return missing

    async def _top_up(self) -> None:
        """Make what is missing, as far as link key goes round."""
        self._stocks.forget_idle()
        missing = await self._entity.database.run(self._missing, list(self._stocks))
        self._is_short = False
        by_neighbour: dict[str, list[tuple[Stock, int]]] = {}
        for stock, count in missing:
            try:
                by_neighbour.setdefault(self._first_hop(stock), []).append((stock, count))
            except TiandiError as error:  # No route, or an SAE that nobody knows any more: the other pairs go on.
                stock.error = error
        for neighbour, wants in by_neighbour.items():
            if self._granting.is_pausing(neighbour):
                self._is_short = True
            elif neighbour:
                await self._share_out(neighbour, wants)
            else:
                for stock, count in wants:
                    self._make(stock, count, portion_size(count, stock.size_bit))
        if any(stock.error for stock, _ in missing):
            await self._tell()

    async def _share_out(self, neighbour: str, missing: Sequence[tuple[Stock, int]]) -> None:
        available_bit = await self._entity.stock_bit(neighbour)
        policy = self._entity.directory.policy
        wants = [Want(stock.pair, stock.size_bit, count, stock.asked_for, policy(*stock.pair)) for stock, count in missing]
        for (stock, count), granted in zip(missing, self._granting.grant(neighbour, available_bit, wants), strict=True):
            self._is_short = self._is_short or granted < count
            if granted:
                self._make(stock, granted, portion_size(count, stock.size_bit))
            elif not stock.under_way:
                stock.error = KeysExhausted(f"link key with {neighbour}", available_bit, stock.size_bit + OVERHEAD_BIT)

    def _first_hop(self, stock: Stock) -> str:
        directory = self._entity.directory
        target = directory.home(stock.pair[1])
        if target == self._entity.kme_id:
            return ""
        routes = directory.routes_for(stock.pair[0], [stock.pair[1]], self._entity.kme_id, stock.size_bit + OVERHEAD_BIT, 1)
        if not routes:
            raise NoRoute(self._entity.kme_id, target, "the controller named none")
        return routes[0][1]

    def _make(self, stock: Stock, count: int, portion: int) -> None:
        portions = self._portions.setdefault(self._entity.directory.home(stock.pair[1]), set())
        for start in range(0, count, portion):
            if len(portions) >= MOST_AT_ONCE:
                break  # What is missing then is made when these are done.
            number = min(portion, count - start)
            stock.under_way += number
            task = asyncio.create_task(self._make_portion(stock, number))
            portions.add(task)
            task.add_done_callback(portions.discard)

    async def _make_portion(self, stock: Stock, number: int) -> None:
        try:
            master, slave = stock.pair
            await self._entity.reserve(master, [slave], size_bit=stock.size_bit, count=number)
            stock.error = None
        except TiandiError as error:
            stock.error = error
        finally:
            stock.under_way -= number
        await self._tell()
        if stock.error is None:
            self._wake_up()
