"""Bringing up a cold chip: wall time, and each share of the judge beside its goal; with an argument also the cost from 66 to 2,000 qubits.

    python benchmarks/control_bringup.py            a chip of 504 qubits with all faults
    python benchmarks/control_bringup.py scaling    and chips of 66, 176, 504, 1,000 and 2,000 qubits

Each chip is brought up in a process of its own, twin and control system together on the cores there are: peak memory is that of both. Loops
are compiled before the clock starts. Goals of shares are those of issues: the figure is the share outside the limit.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import time
from typing import Any

from measure import Figure
from tiandi.computing.chip.twin import chip_twin
from tiandi.computing.control.bringup import bring_up, open_session
from tiandi.computing.control.standard import standard_graph
from tiandi.computing.judging.score import judge

QUBITS, SEED, WARM_QUBITS = 504, 1, 12
WALL_GOAL_S, MEMORY_GOAL_GIB = 180.0, 4.0
SIZES = (66, 176, 504, 1000, 2000)
EXPONENT_GOAL = 1.15
"""Of the processor time of all cores against the number of qubits, fitted: 1 is linear. Wall time is told beside it; it depends on what
else the machine does."""
NONE_WRONG = 0.5
"""Goal of counts that must be 0."""


def benchmark_control_bringup() -> list[Figure]:
    """The chip of the issue."""
    return figures(measured(QUBITS))


def measured(qubits: int) -> dict[str, Any]:
    """Bring a chip up in a process of its own: seconds, GiB, score, counts."""
    command = [sys.executable, __file__, "one", str(qubits)]
    # Other figures are those of one core, this one of all there are.
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def figures(found: dict[str, Any]) -> list[Figure]:
    """Wall time, memory and each criterion beside its goal."""
    chip = f"Control: cold chip of {found['qubits']} qubits, {found['couplers']} couplers"
    slowest = ", ".join(f"{name} {taken_s:.0f} s" for name, taken_s in found["slowest"])
    result = [
        Figure(f"{chip}, brought up", found["wall_s"], WALL_GOAL_S, "s", f"{found['laboratory_s']:.0f} s at the chip; {slowest}"),
        Figure("Control: peak memory of twin and control system", found["memory_gib"], MEMORY_GOAL_GIB, "GiB"),
    ]
    score = found["score"]
    for mark in score["criteria"]:
        outside = 100.0 * (1.0 - mark["share"])
        spread = (
            "nothing measured" if mark["median"] is None else f"median {mark['median']:.2g}, 99 % {mark['within_99']:.2g} {mark['unit']}"
        )
        name = f"Control: {mark['title']}: outside {mark['limit']:g} {mark['unit']}"
        told = f"{spread}; {mark['measured']} of {mark['judged']} measured"
        # A share that is just met counts as met.
        result.append(Figure(name, outside, 100.0 * (1.0 - mark["goal"]) + 1e-6, "%", told))
    flags = score["flags"]
    for name, title in (
        ("missed", "broken parts not flagged"),
        ("misnamed", "broken parts flagged as others"),
        ("false", "flags of sound parts"),
    ):
        told = ", ".join(f"{one['element']} {one['index']} {one['fault']}" for one in flags[name][:6])
        result.append(Figure(f"Control: {title} (of {len(flags['found'])} found)", len(flags[name]), NONE_WRONG, "", told or "none"))
    return result


def scaling() -> list[Figure]:
    """Cost against the number of qubits, and peak memory at the largest chip."""
    runs = [measured(qubits) for qubits in SIZES]
    sizes, times = ([math.log(run[name]) for run in runs] for name in ("qubits", "processor_s"))
    middle = sum(sizes) / len(sizes)
    exponent = sum((size - middle) * spent for size, spent in zip(sizes, times, strict=True)) / sum((size - middle) ** 2 for size in sizes)
    told = ", ".join(
        f"{run['qubits']}: {run['processor_s']:.0f} s ({run['wall_s']:.0f} s of wall), {run['memory_gib']:.2f} GiB" for run in runs
    )
    return [
        Figure(
            f"Control: power of the number of qubits that processor time grows with, {SIZES[0]} to {SIZES[-1]:,}",
            exponent,
            EXPONENT_GOAL,
            "",
            told,
        ),
        Figure(f"Control: peak memory with {SIZES[-1]:,} qubits", runs[-1]["memory_gib"], MEMORY_GOAL_GIB, "GiB"),
    ]


def _one(qubits: int) -> dict[str, Any]:
    warm = open_session(chip_twin(WARM_QUBITS, seed=SEED + 1, faults=False), standard_graph())
    bring_up(warm)
    twin = chip_twin(qubits, seed=SEED, faults=True)
    spent: dict[str, float] = {}
    last = [time.perf_counter()]

    def told(step: Any) -> None:
        now = time.perf_counter()
        spent[step.experiment] = spent.get(step.experiment, 0.0) + now - last[0]
        last[0] = now

    began, began_cpu = time.perf_counter(), time.process_time()
    session = open_session(twin, standard_graph(), progress=told)
    walk = bring_up(session)
    wall_s, processor_s = time.perf_counter() - began, time.process_time() - began_cpu
    memory_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "qubits": qubits,
        "couplers": len(twin.electronics.couplers),
        "wall_s": wall_s,
        "processor_s": processor_s,
        "memory_gib": memory_gib,
        "laboratory_s": walk.ended_s,
        "slowest": sorted(spent.items(), key=lambda item: -item[1])[:6],
        "counts": walk.counts,
        "score": judge(twin, session.knowledge).as_json(),
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(_one(int(sys.argv[2]))))
    else:
        for figure in benchmark_control_bringup() + (scaling() if sys.argv[1:2] == ["scaling"] else []):
            print(figure.line())
