"""The Beijing-Shanghai line with 31 hops, and two satellites, as a living network: how fast, at what cost, and how soon there is key.

The line is that of the scenario shanghai-vienna, with its branches: one pair of 40 MHz modules on every hop. The peer is SeQUeNCe 0.8.5,
which in the same run simulates the light of one such fibre: it is neither sifted nor reconciled, amplified or stored.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from measure import Figure, run_peer
from tiandi.scenario.living import LivingNetwork
from tiandi.scenario.scenario import Scenario, load_scenario
from tiandi.web import WindowServer

SCENARIO, CLOCK_HZ = "shanghai-vienna", 40e6
SECOND_SATELLITE = """
[[topology.nodes]]
name = "Nanshan"
kind = "ground station"
latitude_deg = 43.475
longitude_deg = 87.1764
altitude_m = 2080
source = "published, to a minute of arc"

[[topology.nodes]]
name = "Jinan-1"
kind = "satellite"
source = "published (Li et al. 2025, arXiv:2408.10994)"

[[topology.satellites]]
name = "Jinan-1"
sheet = "jinan-1"
orbit = { node_deg = 77.9 }
source = "data sheet; node assumed"

[[topology.downlink_groups]]
satellites = ["Jinan-1"]
stations = ["Xinglong", "Nanshan"]
receiver = "xinglong"
zenith_extinction_db = 2.5
maximum_range_km = 1500.0
source = "assumed"

[[topology.hand_overs]]
satellite = "Jinan-1"
stations = ["Xinglong", "Nanshan"]
"""
SPEED = 10.0
PASS = "2016-12-19T17:30:25Z"
"""Shortly before Jinan-1 passes over Nanshan under a clear sky; weather repeats."""
SETTLE_S, PASS_S, AT_ONE_S, IDLE_S, REST_S = 25.0, 42.0, 20.0, 20.0, 3.0
"""Real time: until every link makes blocks of full length, of the three measurements, and until all comes to rest before the last."""
CORES, ISSUE_CORES = len(os.sched_getaffinity(0)), 2.0
SLOWEST, MOST_EXPECTED, MOST_AT_ONE = 1.02, 0.5, 0.5
START_GOAL_S, IDLE_GOAL = 15.0, 0.05
PEER_PULSES = 200_000
FIRST_KEY = """
import sys, time
from pathlib import Path
from tiandi.scenario.living import LivingNetwork
from tiandi.scenario.scenario import load_scenario
with LivingNetwork(load_scenario(sys.argv[1]), Path(sys.argv[2])) as living:
    while not living.totals_now().secret_bit:
        time.sleep(0.02)
    print(time.time())
"""
READER = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
connection.request("GET", "/api/v1/events", headers={"Cookie": f"tiandi-{sys.argv[1]}={sys.argv[2]}"})
answer = connection.getresponse()
while answer.read1(1 << 16):
    pass
"""


def benchmark_living() -> list[Figure]:
    """At ten times real time through a pass, at real time, and standing still with a page open; then start to first key."""
    with tempfile.TemporaryDirectory() as folder:
        scenario = line_with_two_satellites(Path(folder))
        with LivingNetwork(scenario, Path(folder) / "state", speed=SPEED) as living:
            time.sleep(SETTLE_S)
            living.call(living.jump(PASS))
            fast = _measured(living, PASS_S)
            links = list(living.workers.links.values())
            needed_cores = SPEED * sum(link.cost_s for link in links)
            secret_bps = statistics.mean(link.full_forecast.secret_bit / link.full_s for link in links)
            passes, load = sum(bool(link.blocks) for link in living.sky_links.values()), os.getloadavg()[0]
            living.call(living.set_speed(1.0))
            time.sleep(SETTLE_S)
            slow = _measured(living, AT_ONE_S)
            idle_cores = _idle_cores(living)
    hops = f"{len(links)} fibre links, {len(scenario.file.topology.satellites)} satellites"
    beside = f"process: {fast.cores:.2f} of {CORES} cores, load of the machine {load:.1f}; passes with light: {passes}"
    key_s, cpu_s = _first_key()
    peer = _peer(needed_cores / SPEED / len(links), secret_bps)
    return [
        Figure(f"{hops} at {SPEED:g} times real time: wanted over reached ({fast.speed:.1f})", SPEED / fast.speed, SLOWEST, "", beside),
        Figure("the same: share of links at expected rates, on average", fast.expected, MOST_EXPECTED, ""),
        Figure("the same: cores for every event of every link, without KMEs", needed_cores, ISSUE_CORES, "", peer),
        Figure(f"the same at real time ({slow.expected:.0%} at expected rates): process, KMEs included", slow.cores, MOST_AT_ONE, "core"),
        Figure("the same standing still, a page open", idle_cores, IDLE_GOAL, "core"),
        Figure(
            "tiandi up: start to first key at real time, loops compiled before", key_s, START_GOAL_S, "s", f"processor time {cpu_s:.1f} s"
        ),
    ]


def line_with_two_satellites(folder: Path) -> Scenario:
    """The scenario with another satellite over two of its stations, written to ``folder``."""
    data = files("tiandi.scenario").joinpath("data")
    (folder / "postcard.png").write_bytes(data.joinpath("postcard.png").read_bytes())
    path = folder / "line.toml"
    path.write_text(data.joinpath(f"{SCENARIO}.toml").read_text(encoding="utf-8") + SECOND_SATELLITE, encoding="utf-8")
    return load_scenario(str(path))


@dataclass(frozen=True)
class Measured:
    """Simulated seconds a second, the process's cores, and the share of links at expected rates."""

    speed: float
    cores: float
    expected: float


def _measured(living: LivingNetwork, duration_s: float) -> Measured:
    links = living.workers.links.values()
    shares = []
    begun, begun_s, cpu_s = living.clock.now(), time.perf_counter(), time.process_time()
    while time.perf_counter() - begun_s < duration_s:
        time.sleep(0.5)
        shares.append(sum(link.fidelity == "expected" for link in links) / len(links))
    gone_s = time.perf_counter() - begun_s
    reached = (living.clock.now() - begun).total_seconds() / gone_s
    return Measured(reached, (time.process_time() - cpu_s) / gone_s, statistics.mean(shares))


def _idle_cores(living: LivingNetwork) -> float:
    """Cores of the process while time stands still and somebody follows its page."""

    async def serve() -> tuple[WindowServer, str]:
        server = WindowServer(living)
        await server.start()
        cookie, _ = server.app.sessions.log_in(server.app.sessions.offer("viewer"))
        return server, cookie

    living.call(living.pause(True))
    server, cookie = living.call(serve())
    reader = subprocess.Popen([sys.executable, "-c", READER, server.address.rpartition(":")[2], cookie])
    try:
        end_s = time.monotonic() + START_GOAL_S
        while not server.app.stream.readers:
            if time.monotonic() > end_s:
                raise TimeoutError("nobody follows the page")
            time.sleep(0.1)
        time.sleep(REST_S)
        return _measured(living, IDLE_S).cores
    finally:
        reader.terminate()
        reader.wait()
        living.call(server.stop())


def _first_key() -> tuple[float, float]:
    """Real time until there is key, and processor time of the process until it has stopped [s]."""
    with tempfile.TemporaryDirectory() as folder:
        before, start_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
        command = [sys.executable, "-c", FIRST_KEY, SCENARIO, folder]
        done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return float(done.stdout) - start_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _peer(cores: float, secret_bps: float) -> str:
    """SeQUeNCe's time for a simulated second of one link, and for what light our proof makes a secret bit of, over ours."""
    answer = run_peer("sequence_bb84.py", str(PEER_PULSES))
    if answer is None:
        return "SeQUeNCe not run: make bench installs it"
    peer_s = json.loads(answer)["seconds"] * CLOCK_HZ / PEER_PULSES
    return (
        f"a link's simulated second: {1e3 * cores:.1f} ms, SeQUeNCe {peer_s:,.0f} s ({peer_s / cores:,.0f} times);"
        f" a secret bit: {1e6 * cores / secret_bps:.2f} us, its light in SeQUeNCe {1e3 * peer_s / secret_bps:,.0f} ms"
    )


if __name__ == "__main__":
    for figure in benchmark_living():
        print(figure.line())
