"""A living network runs for a day of its own time, and takes no more memory at the end than after its first hours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import msgspec
import pytest

from tiandi.scenario.living_state import REMEMBERED, Remembered

SPEED = 60.0
HOURS = 24.0
"""Of simulated time; at `SPEED` 24 minutes."""
FIRST_HOURS = 4.0
"""By then every pair has drawn keys, every table has pages in memory, and the rings that keep the last events are full."""
MOST_GROWTH = 0.10
MOST_GROWTH_BYTE = 64 << 20
"""Of the resident set since then: a tenth, or this, whichever is more; what an allocator keeps in pieces comes and goes by as much."""
LOOKS = 60
S_PER_HOUR = 3600.0
START_S = 120.0

TOPOLOGY = """
format = 1
name = "islands"
title = "Two towns in the north and two in the south, joined by satellites"
[[topology.node_lists]]
kind = "ground station"
source = "synthetic"
[topology.node_lists.places]
North = [47.07, 15.49, 490]
South = [40.65, 16.70, 536]
[[topology.node_lists]]
kind = "trusted node"
source = "synthetic"
[topology.node_lists.places]
Hill = [47.1, 15.6]
Shore = [40.7, 16.9]
[[topology.fibres]]
ends = ["North", "Hill"]
length_km = 20
equipment = "town"
source = "synthetic"
[[topology.fibres]]
ends = ["South", "Shore"]
length_km = 25
equipment = "town"
source = "synthetic"
[[topology.constellations]]
name = "Sky"
sheet = "microsatellite"
total = 2
planes = 1
altitude_km = 500
first_node_deg = 80.0
source = "synthetic"
[[topology.downlink_groups]]
satellites = ["*"]
stations = ["*"]
receiver = "telescope"
zenith_extinction_db = 2.5
maximum_range_km = 1500
source = "synthetic"
[[topology.hand_overs]]
satellite = "Sky 1-1"
stations = ["North", "South"]
"""
PLAN = """
[run]
block_sifted_bit = 300_000
maximum_block_s = 60.0
[plan]
from = "2026-01-01T19:30:00Z"
to = "2026-01-03T00:00:00Z"
culmination_deg = 20.0
sun_elevation_limit_deg = -6.0
climate_file = "clear.toml"
[plan.climates]
"*" = "clear"
[[plan.demands]]
ends = ["North", "Hill"]
rate_bps = 2_000
source = "synthetic"
[[plan.demands]]
ends = ["South", "Shore"]
rate_bps = 2_000
source = "synthetic"
[[plan.demands]]
ends = ["Hill", "Shore"]
rate_bps = 3
source = "synthetic"
"""

CLEAR = f"""
[clear]
cloud_fraction = {[0.01] * 12}
persistence_h = 10.0
source = "synthetic"
label = "assumed"
"""


@dataclass(frozen=True)
class Look:
    """The resident set [byte], and keys delivered, at a time of the run [h]."""

    hours: float
    resident_byte: int
    keys: int

    def __str__(self) -> str:
        return f"{self.hours:6.2f} h  {self.resident_byte / (1 << 20):8.1f} MiB  {self.keys:9,} keys"


def resident_byte(process: int) -> int:
    """The resident set of a process, as the kernel counts it."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def write_islands(path: Path) -> str:
    """A scenario with the fibres of the packaged ring and the telescopes of the template for satellites; two passes in its first hours."""
    data = resources.files("tiandi.scenario").joinpath("data")
    ring = data.joinpath("ring.toml").read_text(encoding="utf-8")
    sky = data.joinpath("templates", "satellite.toml").read_text(encoding="utf-8")
    fibres = ring[ring.index("[equipment.transmitters.town]") : ring.index("[run]")]
    telescopes = sky[sky.index("[equipment.detectors.silicon]") : sky.index("[run]")]
    path.with_name("clear.toml").write_text(CLEAR, encoding="utf-8")
    path.write_text(TOPOLOGY + fibres + telescopes + PLAN, encoding="utf-8")
    return str(path)


def watch(folder: Path, hours: float) -> list[Look]:
    """Run `tiandi up --lite` for so many simulated hours, and look `LOOKS` times."""
    scenario = write_islands(folder / "islands.toml")
    state = folder / "state"
    command = [sys.executable, "-m", "tiandi", "up", scenario, "--lite", "--speed", str(SPEED), "--state", str(state)]
    looks: list[Look] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("`tiandi down`"):
                    break
            start_s = time.monotonic()
            for number in range(1, LOOKS + 1):
                hour = hours * number / LOOKS
                time.sleep(max(0.0, start_s + hour * S_PER_HOUR / SPEED - time.monotonic()))
                assert process.poll() is None, "it has stopped"
                told = msgspec.json.decode((state / REMEMBERED).read_bytes(), type=Remembered)
                looks.append(Look(hour, resident_byte(process.pid), told.totals.keys))
                print(looks[-1], flush=True)
            process.send_signal(signal.SIGTERM)
            assert process.wait(START_S) == 0
        finally:
            process.kill()
    return looks


@pytest.mark.slow
def test_a_day_at_sixty_times_real_time_takes_no_more_memory_than_its_first_hours(tmp_path: Path) -> None:
    looks = watch(tmp_path, HOURS)
    early = max(look.resident_byte for look in looks if look.hours <= FIRST_HOURS)
    late = max(look.resident_byte for look in looks[-3:])
    growth = late - early
    print(f"resident after {FIRST_HOURS:g} h: {early / (1 << 20):.1f} MiB, at the end {late / (1 << 20):.1f} MiB")
    assert looks[-1].keys > looks[len(looks) // 2].keys > looks[0].keys, "customers got keys all the time"
    assert growth <= max(MOST_GROWTH * early, MOST_GROWTH_BYTE)
