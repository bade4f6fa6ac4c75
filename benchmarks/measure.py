"""What a benchmark reports."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tiandi.compiling import target_features

SLOWDOWN_LIMIT = 10.0


@dataclass(frozen=True)
class Figure:
    """A figure and the goal it must stay under; ``peer`` says how a peer did on the same work in the same run."""

    name: str
    value: float
    goal: float
    unit: str
    peer: str = "no peer does this"
    met: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "met", self.value < self.goal)

    def line(self) -> str:
        """The figure as a line of a table."""
        verdict = "met" if self.met else "MISSED"
        return f"{self.name:<72} {self.value:9.3f} {self.unit:<4} goal < {self.goal:g} {self.unit:<4} {verdict:<7} {self.peer}"


def run_peer(script: str, *arguments: str) -> str | None:
    """What a script of ``peers/`` prints under the Python of the peers' environment; None where that is not installed."""
    here = Path(__file__).parent
    python = here.parent / ".venv-peers" / "bin" / "python"
    if not python.exists():
        return None
    return subprocess.run([python, here / "peers" / script, *arguments], capture_output=True, text=True, check=True).stdout


def slowdown_without_avx512(name: str, script: str, nanoseconds: float) -> Figure:
    """How much longer a bit takes this processor without its widest vectors than ``nanoseconds``; ``script`` prints what it takes."""
    kept = {feature: has and not feature.startswith("avx512") for feature, has in target_features().items()}
    features = ",".join(f"{'+' if has else '-'}{feature}" for feature, has in kept.items())
    command = [sys.executable, script]
    done = subprocess.run(command, env={**os.environ, "NUMBA_CPU_FEATURES": features}, capture_output=True, text=True, check=True)
    slow = float(done.stdout)
    return Figure(f"{name} without AVX-512 ({1e3 / slow:.0f} Mbit/s): time over that with it", slow / nanoseconds, SLOWDOWN_LIMIT, "")
