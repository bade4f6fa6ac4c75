"""A network of three cities that lives in memory, and a client of its page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from tiandi.errors import InputError, NoRoute
from tiandi.scenario.view import (
    AlarmLine,
    AuditLine,
    AuditView,
    EventView,
    Funnel,
    LinkLine,
    LinkView,
    MessageView,
    NetworkView,
    NodePoint,
    NodeView,
    PairLine,
    PairView,
    SatellitePoint,
    SunPoint,
    Totals,
)
from tiandi.web import WindowServer
from tiandi.web.sessions import Role

CITIES = {"Beijing": (39.9, 116.4), "Jinan": (36.7, 117.0), "中 国/a": (31.2, 121.5)}
LINKS = {"Beijing-Jinan": ("Beijing", "Jinan"), "Jinan-中": ("Jinan", "中 国/a")}
NOON = "2026-03-20T12:00:00Z"


@dataclass
class SmallNetwork:
    """Keeps what was done to it; `tell` lets something happen."""

    done: list[tuple[Any, ...]] = field(default_factory=list)
    eavesdropped: set[str] = field(default_factory=set)
    views: int = 0
    time: str = NOON
    padding: int = 0
    _queues: list[asyncio.Queue[EventView]] = field(default_factory=list)
    _told: int = 0

    def view(self) -> NetworkView:
        self.views += 1
        nodes = [
            NodePoint(name, "station", *place, altitude_m=0.0, trust="trusted", alarms=0, cloudy=False, compromised=False)
            for name, place in CITIES.items()
        ]
        links = [self._line(name) for name in LINKS]
        track = [(float(number), 0.5, 500.0) for number in range(90)]
        satellites = [SatellitePoint("Micius", 1.0, 2.0, 500.0, True, 2500.0, track)]
        pairs = [PairLine(("Beijing", "Jinan"), 100.0, 90.0, 1.5, "served")]
        alarms = [AlarmLine(7, NOON, "critical", "Beijing-Jinan", "QBER", False)]
        title = "Three cities" + " " * self.padding
        return NetworkView(
            "small", title, self.time, 1.0, 1.0, False, "events", NOON, str(self.views),
            nodes, links, satellites, [], pairs, alarms, Totals(), SunPoint(0.0, 0.0),
        )  # fmt: skip

    def _line(self, name: str) -> LinkLine:
        state = "eavesdropped" if name in self.eavesdropped else "up"
        return LinkLine(name, LINKS[name], "fibre", 1000.0, 4096, 0.02, state, "events")  # type: ignore[arg-type]

    def link(self, name: str) -> LinkView:
        line = msgspec.structs.asdict(self._line(name))
        return LinkView(**line, length_km=50.0, loss_db=10.0, funnel=Funnel(), epsilon_spent=1e-9, blocks=[], history=[])

    def node(self, name: str) -> NodeView:
        point = next(node for node in self.view().nodes if node.name == name)
        return NodeView(
            **msgspec.structs.asdict(point),
            kme_id=name,
            address="",
            stocks=[],
            saes=[],
            relays_in_flight=0,
            alarm_lines=[],
            what_it_learns=[],
        )

    def pair(self, one: str, other: str, /) -> PairView:
        return PairView((one, other), [one, other], [[one, other]], [], 1.0, 2.0, 3.0, "")

    async def subscribe(self) -> AsyncIterator[EventView]:
        queue: asyncio.Queue[EventView] = asyncio.Queue()
        self._queues.append(queue)
        while True:
            yield await queue.get()

    def tell(self, what: str = "A block was distilled.", **more: Any) -> None:
        self._told += 1
        for queue in self._queues:
            queue.put_nowait(EventView(self._told, self.time, more.pop("kind", "block"), what, **more))

    async def audit(self, **wanted: Any) -> AuditView:
        self.done.append(("audit", wanted))
        if wanted.get("kind") == "nonsense":
            raise InputError("kind", "nonsense", "must be one of link, supply, operator")
        line = AuditLine("Beijing", "link", 7, f"{NOON[:-1]}.000Z", "link", "link Jinan", "stored", "spent", 256, "", "ab" * 32)
        return AuditView([line], False, "", 1, [])

    async def send_message(self, sender: str, recipient: str, text: str) -> MessageView:
        if recipient == "nobody":
            raise NoRoute(sender, recipient, "no such city")
        self.done.append(("message", sender, recipient, text))
        return MessageView(sender, recipient, ["id"], "00", text, [sender, recipient], "one-time pad")

    async def eavesdrop(self, link: str, on: bool) -> None:
        self.done.append(("eavesdrop", link, on))
        (self.eavesdropped.add if on else self.eavesdropped.discard)(link)

    async def cut(self, link: str, on: bool) -> None:
        self.done.append(("cut", link, on))

    async def cloud(self, station: str, on: bool) -> None:
        self.done.append(("cloud", station, on))

    async def compromise(self, node: str, on: bool) -> None:
        self.done.append(("compromise", node, on))

    async def acknowledge(self, alarm_id: int, /) -> None:
        self.done.append(("acknowledge", alarm_id))

    async def set_speed(self, speed: float, /) -> None:
        self.done.append(("speed", speed))

    async def pause(self, on: bool) -> None:
        self.done.append(("pause", on))

    async def jump(self, to: str) -> None:
        if to == "2000-01-01T00:00:00Z":
            raise InputError("to", to, "must be after now")
        self.done.append(("jump", to))


@dataclass
class Window:
    """A page that is served, and what a browser or a program does with it."""

    network: SmallNetwork
    server: WindowServer

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        role: Role | None = "operator",
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """One request of our own page, with a session of ``role``, over a connection of its own."""
        given = {"Origin": self.server.address, "X-Tiandi": "1"} | self.cookie(role) | (headers or {})
        if body is not None:
            more["json"] = body
        async with httpx.AsyncClient(base_url=self.server.address, trust_env=False, verify=False) as client:
            return await client.request(method, path, headers={name: value for name, value in given.items() if value != "-"}, **more)

    def cookie(self, role: Role | None) -> dict[str, str]:
        if role is None:
            return {}
        session, _ = self.server.app.sessions.log_in(self.server.app.sessions.offer(role))
        return {"Cookie": f"other=1; tiandi-{self.server.address.rpartition(':')[2]}={session}"}

    @asynccontextmanager
    async def follow(self, role: Role = "viewer", **headers: str) -> AsyncIterator[Told]:
        """What the stream tells a browser."""
        async with (
            httpx.AsyncClient(base_url=self.server.address, trust_env=False, verify=False, timeout=10) as client,
            client.stream("GET", "/api/v1/events", headers=self.cookie(role) | headers) as answer,
        ):
            yield Told(answer, answer.aiter_lines())


@dataclass
class Told:
    """Server-sent events as a browser reads them."""

    answer: httpx.Response
    lines: AsyncIterator[str]

    async def next(self, name: str = "") -> tuple[str, str, Any]:
        """Kind, identifier and data of the next event, or of the next that is called ``name``."""
        kind = identifier = data = ""
        async with asyncio.timeout(5):
            async for line in self.lines:
                before, _, value = line.partition(": ")
                if before == "event":
                    kind = value
                elif before == "id":
                    identifier = value
                elif before == "data":
                    data = value
                elif not line and data:
                    if name in ("", kind):
                        return kind, identifier, json.loads(data)
                    kind = identifier = data = ""
        raise EOFError("the stream ended")


def run(work: Callable[[Window], Awaitable[None]], **more: Any) -> None:
    """Serve a small network, and let ``work`` look at it."""

    async def served() -> None:
        network = SmallNetwork(**more)
        server = WindowServer(network)
        await server.start()
        try:
            await work(Window(network, server))
        finally:
            await server.stop()

    asyncio.run(served())
