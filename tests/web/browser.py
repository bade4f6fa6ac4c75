"""A browser in front of the page: the machine's chromium, driven by playwright; and a network that plays a sample of the API.

The sample was written for the page: its figures are of the right kind, and no measurement.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from tiandi.errors import NoRoute
from tiandi.scenario.living import LivingNetwork
from tiandi.scenario.view import (
    AlarmLine,
    AuditLine,
    AuditView,
    EventView,
    LinkLine,
    LinkView,
    MessageView,
    NetworkView,
    NodePoint,
    NodeView,
    PairView,
)
from tiandi.web import WindowServer

SAMPLE = Path(__file__).parent / "sample"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A software renderer, and no request of the browser's own.
FLAGS = (
    "--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
    "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
Mood = Literal["busy", "alarms", "empty"]


def find_chromium(playwrights_own: str = "") -> str | None:
    """Where this machine's chromium is, else the one that playwright has downloaded, or None; `tests/web/bring_browser.sh` brings one."""
    found = next((found for name in CHROMIUM_NAMES if (found := shutil.which(name))), None)
    return found or (playwrights_own if Path(playwrights_own).is_file() else None)


def read_sample(name: str, kind: Any) -> Any:
    """One answer of the API, from the sample."""
    return msgspec.json.decode((SAMPLE / f"{name}.json").read_bytes(), type=kind)


class SampleNetwork:
    """Shows a network that was written down, and what an operator does to it: the page is tried on it, not the network."""

    def __init__(self, mood: Mood = "busy") -> None:
        self.now = read_sample("network", NetworkView)
        self.done: list[tuple[Any, ...]] = []
        self._queues: list[asyncio.Queue[EventView]] = []
        self._told = 0
        if mood == "empty":
            self.now = msgspec.structs.replace(self.now, nodes=[], links=[], satellites=[], contacts=[], pairs=[], alarms=[])
        if mood == "alarms":
            names = [link.name for link in self.now.links if link.kind == "fibre"]
            self._set_link(names[3], state="alarm", eavesdropped=True, qber=0.193, rate_bps=0.0)
            self._set_link(names[8], state="cut", rate_bps=0.0)
            self._alarm(names[3], "critical", self._too_many_errors(names[3]))
            self._alarm(names[8], "major", "no light arrives: the fibre is cut")

    def _set_link(self, name: str, **change: Any) -> None:
        self.now = msgspec.structs.replace(
            self.now, links=[msgspec.structs.replace(link, **change) if link.name == name else link for link in self.now.links]
        )

    def _set_node(self, name: str, **change: Any) -> None:
        self.now = msgspec.structs.replace(
            self.now, nodes=[msgspec.structs.replace(node, **change) if node.name == name else node for node in self.now.nodes]
        )

    def _alarm(self, link: str, severity: str, cause: str) -> None:
        line = AlarmLine(len(self.now.alarms) + 1, self.now.time, severity, link, cause, False)
        self.now = msgspec.structs.replace(self.now, alarms=[*self.now.alarms, line])
        for end in next(one.ends for one in self.now.links if one.name == link):
            self._set_node(end, alarms=1)

    def _too_many_errors(self, link: str) -> str:
        ends = next(one.ends for one in self.now.links if one.name == link)
        return "; ".join(f"{end}: QBER 0.193 is above the limit of 0.110" for end in ends)

    def _tell(self, kind: Any, what: str, **more: Any) -> None:
        self._told += 1
        for queue in self._queues:
            queue.put_nowait(EventView(self._told, self.now.time, kind, what, **more))

    def view(self) -> NetworkView:
        return self.now

    def link(self, name: str) -> LinkView:
        line: LinkLine = next(link for link in self.now.links if link.name == name)
        return msgspec.structs.replace(read_sample("link", LinkView), **msgspec.structs.asdict(line))

    def node(self, name: str) -> NodeView:
        point: NodePoint = next(node for node in self.now.nodes if node.name == name)
        view = msgspec.structs.replace(read_sample("node", NodeView), **msgspec.structs.asdict(point))
        lines = [alarm for alarm in self.now.alarms if name in next(link.ends for link in self.now.links if link.name == alarm.link)]
        return msgspec.structs.replace(view, alarm_lines=lines, what_it_learns=view.what_it_learns if point.compromised else [])

    def pair(self, one: str, other: str, /) -> PairView:
        return msgspec.structs.replace(read_sample("pair", PairView), ends=(one, other))

    async def subscribe(self) -> AsyncIterator[EventView]:
        queue: asyncio.Queue[EventView] = asyncio.Queue()
        self._queues.append(queue)
        for event in read_sample("events", list[dict[str, Any]]):
            self._told = event["id"]
            yield EventView(**event)
        while True:
            yield await queue.get()

    async def audit(self, **wanted: Any) -> AuditView:
        self.done.append(("audit", wanted))
        lines = [AuditLine(**line) for line in read_sample("audit", list[dict[str, Any]])]
        if wanted.get("kind"):
            lines = [line for line in lines if line.kind == wanted["kind"]]
        return AuditView(
            lines, True, "2026-03-20T08:00:00.000Z", 12, ["Jinan: chain link, page 3"] if wanted.get("text") == "broken" else []
        )

    async def send_message(self, sender: str, recipient: str, text: str) -> MessageView:
        self.done.append(("message", sender, recipient, text))
        if sender == recipient:
            raise NoRoute(sender, recipient, "both ends are the same")
        self._tell("message", f"A message went from {sender} to {recipient}.", pair=(sender, recipient))
        return msgspec.structs.replace(read_sample("message", MessageView), sender=sender, recipient=recipient, plaintext=text)

    async def eavesdrop(self, link: str, on: bool) -> None:
        self.done.append(("eavesdrop", link, on))
        self._set_link(link, state="alarm" if on else "up", eavesdropped=on, qber=0.193 if on else 0.021)
        if on:
            cause = self._too_many_errors(link)
            self._alarm(link, "critical", cause)
            self._tell("alarm", f"critical: {link}: {cause}", link=link)

    async def cut(self, link: str, on: bool) -> None:
        self.done.append(("cut", link, on))
        self._set_link(link, state="cut" if on else "up")

    async def cloud(self, station: str, on: bool) -> None:
        self.done.append(("cloud", station, on))
        self._set_node(station, cloudy=on)

    async def compromise(self, node: str, on: bool) -> None:
        self.done.append(("compromise", node, on))
        self._set_node(node, compromised=on)

    async def acknowledge(self, alarm_id: int, /) -> None:
        self.done.append(("acknowledge", alarm_id))
        alarms = [msgspec.structs.replace(alarm, acknowledged=alarm.acknowledged or alarm.id == alarm_id) for alarm in self.now.alarms]
        self.now = msgspec.structs.replace(self.now, alarms=alarms)

    async def set_speed(self, speed: float, /) -> None:
        self.done.append(("speed", speed))
        self.now = msgspec.structs.replace(self.now, speed=speed, wanted_speed=speed)

    async def pause(self, on: bool) -> None:
        self.done.append(("pause", on))
        self.now = msgspec.structs.replace(self.now, paused=on)

    async def jump(self, to: str) -> None:
        self.done.append(("jump", to))
        moment = min(contact.begins for contact in self.now.contacts if contact.state == "planned") if to == "next pass" else to
        self.now = msgspec.structs.replace(self.now, time=moment)


@contextmanager
def served(network: Any) -> Iterator[WindowServer]:
    """The page of a network, served on the network's own loop or from a thread while a test drives the browser."""
    if isinstance(network, LivingNetwork):
        living = WindowServer(network)
        network.call(living.start())
        try:
            yield living
        finally:
            network.call(living.stop())
        return
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> WindowServer:
        server = WindowServer(network)
        await server.start()
        return server

    async def end(server: WindowServer) -> None:
        await server.stop()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    try:
        server = asyncio.run_coroutine_threadsafe(begin(), loop).result(20)
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(end(server), loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
