"""The fibre links of a living network: block after block at their real rate, or as expected where the machine reaches no further.

A link's first blocks are short, so that there is key soon; each is four times as long as the one before, up to that of the scenario. A
fibre with several systems makes that many blocks in the time of one. Authentication keys live in memory: a new run begins with new
pre-shared ones.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import uuid4

import numpy as np

from tiandi.distill.ledger import Ledger
from tiandi.distill.records import BASIS_NAMES, KeyBlock
from tiandi.errors import KeysExhausted
from tiandi.quantum.link import Forecast, LinkBlock, QkdLink
from tiandi.random import secret_bytes
from tiandi.scenario.scenario import USEFUL_SECRET_BIT, Scenario
from tiandi.scenario.speed_clock import SpeedClock
from tiandi.scenario.view import BlockLine, Fidelity, Funnel
from tiandi.units import BIT_PER_BYTE, loss_from_transmittance

TICK_S = 0.05
PLAN_EVERY_S = 1.0
LOOKED_AT_S = 60.0
"""For how long somebody who asked for a link in detail counts as looking at it."""
CORE_SHARE = 0.7
"""Of the cores, for links; the rest is for keys on their way and who watches."""
EXPECTED_EVERY_S = 1.0
"""Real time between expected blocks of a link at least: at high speed each stands for more light."""
LISTENED_EVERY_S = 2.0
"""Real time between blocks of a link on which somebody listens: each costs authentication key and brings none."""
MOST_EXPECTED_AT_ONCE = 8
COST_PER_BLOCK_S, COST_PER_SIFTED_BIT_S = 0.02, 1e-7
"""Processor time of a block: what storing and comparing it takes, and distilling it before that was measured (on two cores of 2026)."""
LATE_S, MUCH_TOO_LATE_S, IN_TIME_S = 2.0, 8.0, 1.0
"""Real time by which blocks are late when fewer links may have events, when the clock must go slower, and when all is well again."""
SLOWER, FASTER, MORE_EVENTS, STILL_MORE_EVENTS, KNOWN_GOOD = 0.8, 1.5, 1.1, 1.02, 0.9
"""Every second; links get events back quickly up to this share of what was too much the last time, and slowly from there."""
FIRST_BLOCK_S, GROWTH = 2.0, 4.0
"""Real time of the light of a first block at least, and by how much the next ones are longer."""
LEAST_BLOCK_S = 2.0
FULL, NEARLY_FULL = 1.0, 0.9
BLOCKS_KEPT, HISTORY_KEPT = 20, 300

Receive = Callable[[LinkBlock], Awaitable[None]]
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class LivingLink:
    """One fibre link and how it does. Times ``_s`` are of the simulated clock, after the run began."""

    name: str
    ends: tuple[str, str]
    link: QkdLink
    full_s: float
    systems: int
    length_s: float = 0.0
    begun_s: float = 0.0
    due_s: float = 0.0
    busy: bool = False
    full: bool = False
    cut: bool = False
    eavesdropped: bool = False
    alarmed: bool = False
    fidelity: Fidelity = "events"
    looked_at_s: float = -np.inf
    """On the monotonic clock."""
    cost_s: float = 0.0
    """Processor time of a simulated second, with events."""
    own_bit: int = 0
    peers_bit: int = 0
    rate_bps: float = 0.0
    qber: float | None = None
    loss_db: float = 0.0
    funnel: Funnel = field(default_factory=Funnel)
    epsilon_spent: float = 0.0
    blocks: deque[BlockLine] = field(default_factory=lambda: deque(maxlen=BLOCKS_KEPT))
    history: deque[tuple[str, float, float | None, int]] = field(default_factory=lambda: deque(maxlen=HISTORY_KEPT))

    def __post_init__(self) -> None:
        self.loss_db = _loss_db(self.link)
        self.full_forecast = self.link.forecast(self.full_s)
        self.shortest_s = shortest_block_s(self.link, self.full_s)
        self.length_s = self.shortest_s
        sifted_bps = float(self.link.forecast(1.0).counts.sifted.sum())
        self.cost_s = self.systems * (COST_PER_BLOCK_S / self.full_s + COST_PER_SIFTED_BIT_S * sifted_bps)

    @property
    def stock_bit(self) -> int:
        """Key that both ends hold to send under."""
        return min(self.own_bit, self.peers_bit)

    @property
    def watched(self) -> bool:
        """Whether somebody looks at it, listens on it, or has to."""
        return self.eavesdropped or self.alarmed or time.monotonic() - self.looked_at_s < LOOKED_AT_S

    def begin(self, now_s: float, length_s: float) -> None:
        """Send light for a block from now on."""
        self.length_s = length_s
        self.begun_s, self.due_s = now_s, now_s + length_s / self.systems

    def light_s(self, block: LinkBlock) -> float:
        """How long this link, with all its systems, sends light for a block [s]."""
        return max(1e-9, block.pulses / (self.systems * self.link.transmitter.clock_hz))

    def expected(self, span_s: float, most_bit: float) -> LinkBlock:
        """What ``span_s`` of light are expected to give, in blocks of the scenario's length, or one that is shorter.

        Of more than ``most_bit`` of key the rest is not made: after years that nobody was awake for it would be more than memory holds.
        """
        if span_s * self.systems >= self.full_s:
            blocks = span_s * self.systems / self.full_s
            most = max(1.0, most_bit / max(self.full_forecast.secret_bit, 1))
            return expected_block(self.link, self.full_forecast, min(blocks, most))
        return expected_block(self.link, self.link.forecast(max(span_s, 1e-3) * self.systems), 1.0)

    def renew(self) -> None:
        """Begin with new pre-shared authentication keys."""
        old = self.link
        self.link = QkdLink(
            old.alice, old.bob, transmitter=old.transmitter, receiver=old.receiver, channel=old.channel, security=old.security
        )


def shortest_block_s(link: QkdLink, full_s: float) -> float:
    """How long a block must be, up to ``full_s`` [s], to give key worth having: half of it gave less than two useful blocks."""
    shortest_s = full_s
    while shortest_s > LEAST_BLOCK_S and link.forecast(shortest_s / 2).secret_bit >= 2 * USEFUL_SECRET_BIT:
        shortest_s /= 2
    return shortest_s


def expected_block(link: QkdLink, forecast: Forecast, blocks: float) -> LinkBlock:
    """As much key as ``blocks`` blocks of ``forecast`` are expected to give, random, for both ends; counts are those of the forecast."""
    sifted, errors = (np.asarray(counts).sum(axis=-1) * blocks for counts in (forecast.counts.sifted, forecast.counts.errors))
    key = secret_bytes(int(blocks * forecast.secret_bit) // BIT_PER_BYTE)
    ledger = Ledger(
        detected=int(blocks * np.sum(forecast.counts.detected)),
        sifted=dict(zip(BASIS_NAMES, map(int, sifted), strict=True)),
        errors=dict(zip(BASIS_NAMES, map(int, errors), strict=True)),
        secret_bit={BASIS_NAMES[0]: 0, BASIS_NAMES[1]: len(key) * BIT_PER_BYTE},
        epsilon_secrecy=blocks * link.security.epsilon_secrecy,
        epsilon_correctness=blocks * link.security.epsilon_correctness,
    )
    block = KeyBlock(uuid4(), key)
    return LinkBlock(
        link=link.name,
        ends=(link.alice, link.bob),
        duration_s=forecast.duration_s,
        length_km=link.channel.length_km,
        loss_db=_loss_db(link),
        pulses=int(blocks * forecast.duration_s * link.transmitter.clock_hz),
        ledger=ledger,
        alice=block,
        bob=block,
    )


def _loss_db(link: QkdLink) -> float:
    return float(loss_from_transmittance(link.channel.steps(1.0).transmittance.max() * link.receiver.optics_efficiency))


class LinkWorkers:
    """Lets every fibre link of ``scenario`` make its blocks on ``clock``, on the event loop that runs `run`.

    ``receive`` is given each block; ``renewed`` is told of a link whose authentication key was used up. Links stop at ``stock_limit_bit``.
    """

    def __init__(
        self, scenario: Scenario, clock: SpeedClock, *, receive: Receive, renewed: Callable[[LivingLink], None], stock_limit_bit: int
    ) -> None:
        self._clock, self._receive, self._renewed = clock, receive, renewed
        self._start: datetime = clock.now()
        self._stock_limit_bit = stock_limit_bit
        fibres = {entry.name: entry for entry in scenario.file.topology.fibres}
        self.links = {
            planned.link.name: LivingLink(
                planned.link.name,
                (planned.link.alice, planned.link.bob),
                planned.link,
                planned.duration_s,
                fibres[planned.link.name].systems,
            )
            for planned in scenario.fibre_links()
        }
        for number, link in enumerate(self.links.values()):  # Not all at once: cores are few.
            self._begin_short(link, 0.0, later=number / len(self.links))
        self.cores = len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self.cores, thread_name_prefix="qkd-link")
        self._reach, self._too_much, self._is_late = CORE_SHARE, np.inf, False
        self._expecting = asyncio.Semaphore(MOST_EXPECTED_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def now_s(self) -> float:
        """Simulated time [s] since this run began."""
        return (self._clock.now() - self._start).total_seconds()

    def moment(self, time_s: float) -> datetime:
        """That time as a moment."""
        return self._start + timedelta(seconds=time_s)

    def look_at(self, name: str) -> None:
        """Somebody wants to see this link with all its events."""
        self.links[name].looked_at_s = time.monotonic()

    def disturb(self, name: str) -> None:
        """Something was done to a link: the block under way is given up, and the next is short, so that it shows soon."""
        self._begin_short(self.links[name], self.now_s())

    def _begin_short(self, link: LivingLink, time_s: float, *, later: float = 0.0) -> None:
        wanted_s = max(link.shortest_s, FIRST_BLOCK_S * (1.0 + later) * self._clock.wanted_speed * link.systems)
        link.begin(time_s, min(link.full_s, wanted_s))

    def skip(self) -> None:
        """Time was jumped over: nobody sent light in it, and what was under way is given up."""
        for link in self.links.values():
            link.begin(self.now_s(), link.length_s)

    def warm_up(self) -> None:
        """Let the loops of distillation be compiled, or found, before the clock begins; on a link of its own, whose key is destroyed."""
        for link in list(self.links.values())[:1]:
            spare = QkdLink(
                link.link.alice, link.link.bob, transmitter=link.link.transmitter, receiver=link.link.receiver, channel=link.link.channel
            )
            spare.distil(link.shortest_s)

    async def run(self) -> None:
        """Make blocks as they are due, until cancelled."""
        planned_s = -np.inf
        while True:
            if time.monotonic() - planned_s > PLAN_EVERY_S:
                planned_s = time.monotonic()
                self._share_cores()
                self._keep_up()
            now_s = self.now_s()
            for link in self.links.values():
                self._watch_stock(link, now_s)
                if not (link.busy or link.cut or link.full) and link.due_s <= now_s:
                    link.busy = True
                    task = asyncio.create_task(self._make(link))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(TICK_S)

    async def close(self) -> None:
        """Let the blocks under way end, and store what they make; light that waits for a core is given up."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _watch_stock(self, link: LivingLink, now_s: float) -> None:
        if link.full and link.stock_bit < NEARLY_FULL * self._stock_limit_bit:
            link.full = False
            link.begin(now_s, link.full_s)
        elif not link.full and link.stock_bit >= FULL * self._stock_limit_bit:
            link.full = True

    async def _make(self, link: LivingLink) -> None:
        length_s, due_s = link.length_s, link.due_s
        try:
            if link.fidelity == "events":
                block, cost_s = await asyncio.get_running_loop().run_in_executor(self._pool, self._distil, link, length_s)
                measured = (cost_s + COST_PER_BLOCK_S) * link.systems / length_s
                link.cost_s += 0.5 * (measured - link.cost_s) if cost_s and length_s == link.full_s else 0.0
            else:
                async with self._expecting:
                    block = link.expected(due_s - link.begun_s, self._stock_limit_bit)
            if link.due_s == due_s and not link.cut:  # Else it was disturbed meanwhile, and its light is given up.
                await self._receive(block)
        except KeysExhausted:
            link.renew()
            self._renewed(link)
        except Exception:  # The link goes on with the next block; who listens is told of this one.
            _log.exception("%s: a block was lost", link.name)
        finally:
            link.busy = False
            if link.due_s == due_s:
                self._go_on(link, due_s)

    def _go_on(self, link: LivingLink, due_s: float) -> None:
        """Begin the next block where the last ended; of one that is shorter than a tick of the clock, now and then a longer one."""
        next_s = min(link.full_s, GROWTH * link.length_s)
        link.begin(due_s, link.shortest_s if link.eavesdropped else next_s)
        if link.eavesdropped:
            link.due_s = max(link.due_s, due_s + LISTENED_EVERY_S * self._clock.speed)
        elif link.fidelity == "expected":
            span_s = max(link.length_s / link.systems, EXPECTED_EVERY_S * self._clock.speed)
            link.due_s = max(link.begun_s + span_s, self.now_s())  # What is late is made up for in one.

    def _distil(self, link: LivingLink, length_s: float) -> tuple[LinkBlock, float]:
        if link.fidelity == "expected":  # Decided while it waited for a core.
            return link.expected(length_s / link.systems, self._stock_limit_bit), 0.0
        before_s = time.thread_time()
        block = link.link.distil(length_s, eavesdropper="intercept-resend" if link.eavesdropped else "none")
        return block, time.thread_time() - before_s

    def _share_cores(self) -> None:
        """Give each link events as long as there are cores for them: those first at which somebody looks, then those that had them."""
        free_s = self._reach * self.cores / self._clock.wanted_speed
        for link in sorted(self.links.values(), key=lambda link: (not link.watched, link.fidelity != "events", link.cost_s)):
            if link.full or link.cut:
                continue
            fidelity: Fidelity = "events" if link.cost_s <= free_s or link.eavesdropped else "expected"
            free_s -= link.cost_s if fidelity == "events" else 0.0
            if fidelity == "expected" or not link.busy:
                begins = fidelity == "events" != link.fidelity
                link.fidelity = fidelity
                if begins and self.now_s() < link.due_s:
                    link.begin(link.begun_s, link.length_s)

    def _keep_up(self) -> None:
        """While blocks are late give fewer links events, and if that is not enough let the clock go slower; else return to more of both."""
        if self._clock.paused:
            return
        now_s = self.now_s()
        late_s = max((now_s - link.due_s for link in self.links.values() if not (link.cut or link.full)), default=0.0)
        late_s /= max(self._clock.speed, 1e-9)
        if late_s > LATE_S:
            if not self._is_late:
                self._too_much = self._reach
            self._is_late = True
            self._reach *= SLOWER
            if late_s > MUCH_TOO_LATE_S:
                self._clock.keep_up(self._clock.share * SLOWER)
        elif late_s < IN_TIME_S:
            self._is_late = False
            more = MORE_EVENTS if self._reach < KNOWN_GOOD * self._too_much else STILL_MORE_EVENTS
            self._reach = min(CORE_SHARE, self._reach * more)
            if self._clock.share < 1.0:
                self._clock.keep_up(self._clock.share * FASTER)
