"""What makes a network live on: its links, sky, customers and alarms on one clock, from one run to the next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from tiandi.clock import format_utc, parse_utc
from tiandi.errors import TiandiError
from tiandi.kms.etsi014 import KEY_SIZE_BIT
from tiandi.kms.server import KmeHost
from tiandi.kms.states import State
from tiandi.quantum.link import LinkBlock
from tiandi.scenario.checks import LINK_JOINT
from tiandi.scenario.contact_operations import SkyEvent
from tiandi.scenario.customers import CustomerBase
from tiandi.scenario.enrolment import Enrolments
from tiandi.scenario.happenings import Happenings
from tiandi.scenario.link_workers import LOOKED_AT_S, LinkWorkers, LivingLink
from tiandi.scenario.living_alarms import StandingAlarms
from tiandi.scenario.living_downlinks import SkyLink, epsilon_of, funnel_with
from tiandi.scenario.living_relays import RelayWatch
from tiandi.scenario.living_sky import LivingSky
from tiandi.scenario.living_state import Remembered, read_remembered, remember
from tiandi.scenario.network import RunningNetwork, kme_identity
from tiandi.scenario.scenario import Scenario
from tiandi.scenario.speed_clock import SpeedClock
from tiandi.scenario.view import AlarmLine, BlockLine, NetworkView, Totals

STOCK_LIMIT_BIT = 1 << 24
"""A link with this much key at both ends sends no light until some is used (assumed: no maker says how large its buffer is)."""
LOOK_EVERY_S = 1.0
BLOCK_TOLD_EVERY_S = 2.0
"""Real time between two blocks of a link that are told of; all of them are counted."""
SLOW, FAST_AGAIN = 0.8, 0.95
UNDER_WAY = (State.RESERVED, State.HELD, State.UNCERTAIN)

Result = TypeVar("Result")


class LivingCore:
    """A context manager: inside it the network of ``scenario`` lives, and goes on where the last run in ``folder`` stopped.

    A first run begins with the window of a scenario that has satellites, else now. Raises StateError when ``folder`` is another network's.
    """

    def __init__(self, scenario: Scenario, folder: Path, *, speed: float | None = None, stock_limit_bit: int = STOCK_LIMIT_BIT) -> None:
        self.scenario, self.folder = scenario, folder
        last = read_remembered(folder, scenario.name)
        self._last = last = last or Remembered(scenario=scenario.name, time=format_utc(_first_moment(scenario)))
        self.clock = SpeedClock(parse_utc(last.time), last.speed if speed is None else speed)
        self.clock.pause(True)  # Until everything stands.
        self.started = datetime.now(UTC)
        self.alarms = StandingAlarms(last.alarms, last.next_alarm)
        self.happenings = Happenings(self.clock, last.next_event)
        self.totals = last.totals
        self.compromised: dict[str, dict[tuple[str, str], int]] = {}
        """By node, how many keys of each pair had come by when it was compromised."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        remember(folder, last)
        self.network = RunningNetwork(scenario, folder, self.clock, serving=True)
        self.enrolments = Enrolments(self.network, folder)
        self.workers = LinkWorkers(scenario, self.clock, receive=self._receive, renewed=self._renewed, stock_limit_bit=stock_limit_bit)
        self.customers = CustomerBase(scenario, self.network, self.clock)
        self.sky = LivingSky(scenario, self.network, self.clock, self._sky_told, self._sky_ended)
        topology = scenario.file.topology
        self.sky_links = {entry.name: SkyLink(entry.name, entry.ends, "downlink") for entry in topology.downlinks}
        self.sky_links |= {entry.name: SkyLink(entry.name, entry.ends, "hand-over") for entry in topology.hand_overs}
        self.relays = RelayWatch(self.network, self.happenings)
        self.nodes = {node.name: node for node in topology.nodes}
        self.relays_in_flight: dict[str, int] = {}
        """Keys on their way, by node that somebody looks at."""
        self._nodes_looked_at: dict[str, float] = {}
        self._told_s: dict[str, float] = {}
        self._slow = False
        self._tasks: list[asyncio.Task[None]] = []
        self._view: tuple[float, int, NetworkView] | None = None

    # Life.

    @property
    def host(self) -> KmeHost:
        """Who runs the KMEs, and the loop on which views and actions are called."""
        return self.network.host

    def node_address(self, node: str) -> str:
        """Where the door of a node's KME is."""
        address = self.host.directory.kme_addresses[kme_identity(node)]
        return address if isinstance(address, str) else address[0]

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run ``work`` on the network's loop from another thread, and wait for it."""
        return self.host.call(work)

    def __enter__(self) -> Self:
        self.workers.warm_up()
        self.network.__enter__()
        try:
            self.call(self._start())
            self.sky.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.sky.close()
        self.call(self._stop())
        self.network.__exit__(kind, error, trace)

    async def _start(self) -> None:
        last = self._last
        for name in last.cut:
            self._set_cut(name, True)
        for name in last.eavesdropped:
            self.workers.links[name].eavesdropped = True
        for station in last.clouded:
            self.sky.cloud(station, True)
        for node in last.compromised:
            self.compromised[node] = {}
        for line in self.alarms.lines:
            self._put_out_of_service(line)
        await self._look()
        self.clock.pause(False)
        runners = (self.workers.run(), self.customers.run(), self._keep_looking())
        self._tasks = [asyncio.create_task(self._guarded(runner)) for runner in runners]

    @staticmethod
    async def _guarded(runner: Coroutine[Any, Any, None]) -> None:
        try:
            await runner
        except Exception as error:
            asyncio.get_running_loop().call_exception_handler({"message": "a living network stopped in part", "exception": error})

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.workers.close()
        await self.customers.close()
        self._remember()
        self.happenings.close()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self._look()
            self._tell_speed()
            if not self.clock.paused:
                await self.relays.look()
            self._remember()

    async def _look(self) -> None:
        """Take up who joined, and bring stocks up to date, for the controller and for who watches."""
        self.enrolments.take_up()
        for name, (own_bit, peers_bit) in (await self.network.look_async()).items():
            link = self.workers.links.get(name) or self.sky_links[name]
            link.own_bit, link.peers_bit = own_bit, peers_bit
        rates_bps = self.sky.rates_bps()
        for sky_link in self.sky_links.values():
            sky_link.rate_bps = rates_bps.get(sky_link.name, 0.0)
            if sky_link.kind == "downlink":
                here, there = sky_link.ends
                sky_link.own_bit, sky_link.peers_bit = await self.network.stocks_async(here, there)
        await self._look_at_nodes()
        self._take_alarms()
        moment = format_utc(self.clock.now())
        for link in self.workers.links.values():
            link.history.append((moment, link.rate_bps, link.qber, link.stock_bit))
        for sky_link in self.sky_links.values():
            sky_link.history.append((moment, sky_link.rate_bps, sky_link.qber, sky_link.stock_bit))

    async def _look_at_nodes(self) -> None:
        """Count the keys on their way through nodes at which somebody looked of late."""
        until_s = time.monotonic() - LOOKED_AT_S
        self._nodes_looked_at = {name: looked_s for name, looked_s in self._nodes_looked_at.items() if looked_s > until_s}
        for name in self._nodes_looked_at:
            account = await self.network.entity(name).account()
            bit = sum(states.get(state, 0) for states in account.values() for state in UNDER_WAY)
            self.relays_in_flight[name] = bit // KEY_SIZE_BIT

    def _remember(self) -> None:
        state = Remembered(
            scenario=self.scenario.name,
            time=self.clock.now().isoformat(),
            speed=self.clock.wanted_speed,
            alarms=self.alarms.lines,
            next_alarm=self.alarms.next_id,
            next_event=self.happenings.next_id,
            cut=[link.name for link in self.workers.links.values() if link.cut],
            eavesdropped=[link.name for link in self.workers.links.values() if link.eavesdropped],
            clouded=sorted(self.sky.clouded),
            compromised=list(self.compromised),
            totals=self.totals_now(),
        )
        remember(self.folder, state)

    def totals_now(self) -> Totals:
        """Totals of this and all runs before."""
        pairs = self.customers.pairs.values()
        return msgspec.structs.replace(
            self.totals,
            delivered_bit=self.totals.delivered_bit + sum(pair.delivered_bit for pair in pairs),
            keys=self.totals.keys + sum(pair.keys for pair in pairs),
        )

    def _tell_speed(self) -> None:
        share = self.clock.share
        if not self._slow and share < SLOW:
            self._slow = True
            self.happenings.tell(
                "speed", f"This machine reaches {self.clock.speed:.3g} times real time; {self.clock.wanted_speed:g} is wanted"
            )
        elif self._slow and share > FAST_AGAIN:
            self._slow = False
            self.happenings.tell("speed", f"The network keeps up with {self.clock.wanted_speed:g} times real time again")

    # What links and satellites bring.

    async def _receive(self, block: LinkBlock) -> None:
        link = self.workers.links[block.link]
        try:
            await self.network.receive_async(block)
        except TiandiError as error:
            self.happenings.tell("aborted", f"{link.name}: the KMEs did not take a block: {error}", link=link.name)
            return
        now = self.clock.now()
        ledger, aborted = block.ledger, block.aborted
        why = str(block.bob if isinstance(block.bob, Exception) else block.alice) if aborted else ""
        light_s = link.light_s(block)
        link.qber = ledger.qber if ledger.detected else None
        link.rate_bps = block.secret_bit / light_s
        link.epsilon_spent += epsilon_of(ledger)
        link.funnel = funnel_with(link.funnel, block.pulses, ledger, block.secret_bit, aborted=aborted)
        link.blocks.append(
            BlockLine(
                format_utc(now),
                round(light_s, 3),
                ledger.detected,
                link.qber,
                ledger.total_leaked_bit,
                block.secret_bit,
                why,
                link.fidelity,
            )
        )
        self.totals = msgspec.structs.replace(self.totals, secret_bit=self.totals.secret_bit + block.secret_bit)
        self._take_alarms()
        if aborted:
            self._tell_of_block("aborted", link, f"{link.name}: a block was destroyed: {why}")
            return
        for line in self.alarms.of(link.name):
            if line.severity != "critical" or line.acknowledged:
                self._clear(line)
        self._tell_of_block("block", link, f"{link.name}: {block.secret_bit} secret bits at QBER {ledger.qber:.2%} ({link.fidelity})")

    def _tell_of_block(self, kind: Any, link: LivingLink, what: str) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._told_s.get(kind + link.name, -BLOCK_TOLD_EVERY_S) >= BLOCK_TOLD_EVERY_S:
            self._told_s[kind + link.name] = now_s
            self.happenings.tell(kind, what, link=link.name)

    def _renewed(self, link: LivingLink) -> None:
        what = f"{link.name}: its authentication key was used up by blocks without key; a new pre-shared one was brought to both ends"
        self.happenings.tell("action", what, link=link.name)

    def _sky_told(self, events: list[SkyEvent]) -> None:
        self.host.call(self._take_sky_events(events))

    async def _take_sky_events(self, events: list[SkyEvent]) -> None:
        for event in events:
            link = self.sky_links.get(LINK_JOINT.join(event.who))
            if link is not None:
                self.totals = msgspec.structs.replace(self.totals, secret_bit=self.totals.secret_bit + link.take(event))
            what = str(event).partition(" ")[2]
            about: dict[str, Any] = {"link": link.name} if link else {"node": event.who[0]}
            if event.kind == "handed over":
                about["pair"] = event.who[1:]
            self.happenings.tell("contact", what, moment=event.time, **about)
        self._take_alarms()

    def _sky_ended(self, why: str) -> None:
        async def tell() -> None:
            self.happenings.tell("contact", why)

        self.host.call(tell())

    # Alarms.

    def _take_alarms(self) -> None:
        """Enter the alarms that the fault manager has."""
        found, self.network.faults.alarms[:] = list(self.network.faults.alarms), []
        for alarm in found:
            self._alarm(alarm.severity, alarm.link, alarm.cause)

    def _alarm(self, severity: str, link: str, cause: str) -> None:
        line = self.alarms.enter(self.clock.now(), severity, link, cause)
        if line is not None:
            self._put_out_of_service(line)
            self.happenings.tell("alarm", f"{severity}: {link}: {cause}", link=link)

    def _put_out_of_service(self, line: AlarmLine) -> None:
        if line.link in self.workers.links:
            self.workers.links[line.link].alarmed = True
        if line.severity == "critical":
            self._hinder(line.link, line.cause)

    def _hinder(self, link: str, why: str | None) -> None:
        """Let no key go over a link from now on, or let it again."""
        if why is None:
            self.network.obstacles.pop(link, None)
        else:
            self.network.obstacles[link] = why
        if link in self.network.controller.topology.links:
            self.network.controller.states.update(link, in_service=why is None, note=why or "")

    def _set_cut(self, name: str, on: bool) -> None:
        link = self.workers.links[name]
        link.cut = on
        if on:
            link.rate_bps = 0.0
            self._hinder(name, "the fibre is cut")
        else:
            self._hinder(name, None)
            self.workers.disturb(name)

    def _clear(self, line: AlarmLine) -> None:
        self.alarms.clear(line)
        self.network.faults.clear(line.link)
        if not self.alarms.of(line.link):
            if line.link in self.workers.links:
                self.workers.links[line.link].alarmed = False
            self._hinder(line.link, None)
        self.happenings.tell("cleared", f"{line.link} is in service again: {line.cause}", link=line.link)


def _first_moment(scenario: Scenario) -> datetime:
    return scenario.plan_window[0] if scenario.file.topology.satellites else datetime.now(UTC)
