"""The Beijing-Shanghai line with 31 hops, and Micius, as a living network: how much faster than real time, and how soon there is key."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import Figure
from tiandi.scenario.living import LivingNetwork
from tiandi.scenario.scenario import load_scenario

SCENARIO = "shanghai-vienna"
SPEED = 10.0
SETTLE_S, MEASURE_S = 15.0, 10.0
START_GOAL_S = 15.0
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


def benchmark_living() -> list[Figure]:
    """Seconds that a simulated second takes at ten times real time, the share of links without events then, and start to first key."""
    with tempfile.TemporaryDirectory() as folder, LivingNetwork(load_scenario(SCENARIO), Path(folder), speed=SPEED) as living:
        time.sleep(SETTLE_S)
        begun, begun_s = living.clock.now(), time.perf_counter()
        time.sleep(MEASURE_S)
        reached = (living.clock.now() - begun).total_seconds() / (time.perf_counter() - begun_s)
        links = living.workers.links.values()
        expected = sum(link.fidelity == "expected" for link in links) / len(links)
        needed_cores = sum(link.cost_s for link in links)
    with tempfile.TemporaryDirectory() as folder:
        start_s = time.time()
        command = [sys.executable, "-c", FIRST_KEY, SCENARIO, folder]
        done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True)
        first_key_s = float(done.stdout) - start_s
    cores = len(os.sched_getaffinity(0))
    return [
        Figure(
            f"{len(links)} fibre links and a satellite at {SPEED:g} times real time ({reached:.1f} reached): time", SPEED / reached, 1.1, ""
        ),
        Figure("the same: share of links that fell back on expected key", expected, 0.5, ""),
        Figure(f"the same: cores for every event of every link at {SPEED:g} times ({cores} here)", SPEED * needed_cores, 2.0, ""),
        Figure("tiandi up: start to first key at real time, loops compiled before", first_key_s, START_GOAL_S, "s"),
    ]


if __name__ == "__main__":
    for figure in benchmark_living():
        print(figure.line())
