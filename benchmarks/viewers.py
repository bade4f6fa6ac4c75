"""What it costs a network's process that 50 browsers look at it: CPU of the page's door alone, the viewers being a process of their own.

The picture is as large as that of Beijing-Shanghai with two satellites, changes every second, and 20 events happen in each; what the
network itself does is left out. The peer is the same picture encoded for each viewer by itself.
"""

from __future__ import annotations

import asyncio
import math
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from itertools import pairwise

import msgspec

from measure import Figure
from tiandi.scenario.scenario import load_scenario
from tiandi.scenario.view import (
    ContactLine,
    EventView,
    LinkLine,
    NetworkView,
    NodePoint,
    PairLine,
    SatellitePoint,
    SunPoint,
    Totals,
)
from tiandi.web import WindowServer

VIEWERS = 50
WARM_S, MEASURED_S = 2.0, 8.0
EVENTS_EVERY_S = 0.05
GOAL_CORE = 0.5
TRACK_POINTS = 90


class Pictured:
    """Pictures of a network of that size; its numbers stand for nothing but their length."""

    def __init__(self) -> None:
        topology = load_scenario("beijing-shanghai").file.topology
        self.nodes = [
            NodePoint(node.name, "relay", 40.0 - number / 7, 116.0 + number / 7, 50.0, "trusted", 0, False, False)
            for number, node in enumerate(topology.nodes)
        ]
        names = [node.name for node in topology.nodes]
        self.hops = list(pairwise(names))
        self.seen = 0

    def view(self) -> NetworkView:
        self.seen += 1
        phase = self.seen / 7
        links = [
            LinkLine(f"{a} - {b}", (a, b), "fibre", 20_000 + 500 * math.sin(phase + number), 1_000_000 + self.seen, 0.012, "up", "events")
            for number, (a, b) in enumerate(self.hops)
        ]
        track = [
            (math.degrees(math.sin(phase + point)), math.degrees(math.cos(phase + point)), 500.123456) for point in range(TRACK_POINTS)
        ]
        satellites = [SatellitePoint(name, 30.1234567, 110.1234567, 500.123456, True, 2400.12, track) for name in ("Micius", "Jinan-1")]
        moment = "2026-03-20T12:00:00Z"
        contacts = [ContactLine("Micius", self.nodes[0].name, 3000.5, 41.2, moment, moment, "planned") for _ in range(10)]
        pairs = [PairLine(ends, 2560.0, 2400.0, 1.25, "served") for ends in self.hops]
        return NetworkView(
            "beijing-shanghai", "Beijing to Shanghai", f"{self.seen}", 10.0, 10.0, False, "events", moment, f"{self.seen}",
            self.nodes, links, satellites, contacts, pairs, [], Totals(self.seen), SunPoint(0.1, 120.0),
        )  # fmt: skip

    async def subscribe(self) -> AsyncIterator[EventView]:
        number = 0
        while True:
            await asyncio.sleep(EVENTS_EVERY_S)
            number += 1
            what = "Beijing - Langfang: 123456 secret bits at QBER 1.23% (events)"
            yield EventView(number, "2026-03-20T12:00:00Z", "block", what, link="Beijing - Langfang")


def benchmark_viewers() -> list[Figure]:
    """CPU of the server with all viewers, as a share of one core."""
    return asyncio.run(_served())


async def _served() -> list[Figure]:
    network = Pictured()
    server = WindowServer(network)  # type: ignore[arg-type]
    await server.start()
    sessions = server.app.sessions
    cookie, _ = sessions.log_in(sessions.offer("viewer"))
    port = server.address.rpartition(":")[2]
    viewers = subprocess.Popen([sys.executable, __file__, port, cookie], stdout=subprocess.PIPE, text=True)
    try:
        while server.app.stream.readers < VIEWERS:
            await asyncio.sleep(0.05)
        await asyncio.sleep(WARM_S)
        began_s, cpu_s = time.perf_counter(), time.process_time()
        await asyncio.sleep(MEASURED_S)
        share = (time.process_time() - cpu_s) / (time.perf_counter() - began_s)
        dropped = VIEWERS - server.app.stream.readers
    finally:
        viewers.terminate()
        taken, _ = viewers.communicate()
        await server.stop()
    size = len(msgspec.json.encode(network.view()))
    began_s = time.process_time()
    for _ in range(VIEWERS):
        msgspec.json.encode(network.view())
    alone = time.process_time() - began_s
    name = f"{VIEWERS} viewers of a picture of {size / 1e3:.0f} kB a second and 20 events, {dropped} dropped"
    told = min(int(line) for line in taken.split())
    peer = f"each looking and encoding for itself: {alone:.3f} core more; every viewer took at least {told / 1e3:.0f} kB"
    return [Figure(name, share, GOAL_CORE, "core", peer)]


async def _view(port: int, cookie: str) -> None:
    """As many viewers as are wanted, until somebody stops them; then what each of them took [byte]."""
    taken = [0] * VIEWERS

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nCookie: tiandi-{port}={cookie}\r\n\r\n".encode())
        while data := await reader.read(1 << 16):
            taken[number] += len(data)

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    watching = [asyncio.create_task(one(number)) for number in range(VIEWERS)]
    await stopped.wait()
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    print(*taken, sep="\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(_view(int(sys.argv[1]), sys.argv[2]))
    else:
        for figure in benchmark_viewers():
            print(figure.line())
