"""Exact Gaussian boson sampling: samples by the chain rule, probabilities of many clicks and photons, low-order moments.

On the public calibration where the environment variable TIANDI_JIUZHANG_DATA names its folder; else on the synthetic machines. The largest
number of clicks in ten minutes: ``python benchmarks/gbs_exact.py 600``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import piquasso as pq
import thewalrus

from measure import Figure
from tiandi.computing.photonics.exact.chain_rule import pure_with_noise, sample_state
from tiandi.computing.photonics.exact.clicks import click_moments
from tiandi.computing.photonics.exact.double_double import all_click_precisely
from tiandi.computing.photonics.exact.kernels import all_click
from tiandi.computing.photonics.exact.light import subset_moments
from tiandi.computing.photonics.exact.photon_numbers import loop_hafnian
from tiandi.computing.photonics.exact.subsets import single_photon_moments
from tiandi.computing.photonics.gaussian import FloatArray, GaussianState, Machine
from tiandi.computing.photonics.machines import build_machine

WORKERS = 2
MILLISECOND = 1e3
PEER_SHOTS = 5
PEER_LIMIT_S = 60
PEER_CUTOFF = 8
POWERS_OF_COLUMN = 7


def benchmark_gbs_exact() -> list[Figure]:
    """Samples of Jiuzhang 2.0 at 0.15 W and 0.3 W, probabilities beside libraries, triples, and the largest sample in ten seconds."""
    figures = [_samples("jiuzhang-2.0-0.15w", 1500, 20.0), _samples("jiuzhang-2.0-0.3w", 150, 250.0)]
    figures += [_torontonian(), _hafnian(), _triples()]
    clicks = largest_clicks(10.0)
    figures.append(Figure(f"{clicks} clicks: largest exact sample in 10 s, over 30", 30 / clicks, 1.0, ""))
    return figures


def largest_clicks(seconds: float, modes: int = 144) -> int:
    """The largest number of clicks of which one sample by the chain rule takes at most ``seconds`` on one thread.

    Each step is timed with as many photons; the clicks of a sample come evenly spread over the modes.
    """
    quadratic = pure_with_noise(_machine("jiuzhang-2.0-1.65w").state()).quadratic
    loops, column, out = np.full(modes, 0.3 + 0.1j), np.ascontiguousarray(quadratic[0]), np.zeros(POWERS_OF_COLUMN, complex)
    single_photon_moments(quadratic[:4, :4], loops[:4], column[:4], out)
    total, clicks = 0.0, 0
    while True:
        step = _seconds(lambda size=clicks: single_photon_moments(quadratic[:size, :size], loops[:size], column[:size], out))
        total += step
        if total * modes / (clicks + 1) > seconds:
            return clicks - 1
        clicks += 1


def _samples(name: str, number: int, goal_ms: float) -> Figure:
    machine = _machine(name)
    state = machine.state()
    sample_state(state, 4, np.random.default_rng(1), threshold=True)
    wall = _seconds(lambda: sample_state(state, number, np.random.default_rng(2), threshold=True, workers=WORKERS)) / number
    peer = f"{1 / wall:.0f}/s; Piquasso {_piquasso(name)}"
    return Figure(f"{machine.name}: an exact sample, {WORKERS} threads", wall * MILLISECOND, goal_ms, "ms", peer)


def _piquasso(name: str) -> str:
    """How long a sample takes Piquasso, in a process of its own that is not waited for longer than a minute."""
    try:
        done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True, timeout=PEER_LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"had not {PEER_SHOTS} samples in {PEER_LIMIT_S} s"
    return f"{float(done.stdout) * MILLISECOND:.0f} ms on one thread"


def _piquasso_samples(covariance: FloatArray, shots: int) -> None:
    """Threshold samples through photon numbers, the faster of its two ways; its vacuum is hbar times one."""
    modes = len(covariance) // 2
    config = pq.Config(hbar=2, measurement_cutoff=PEER_CUTOFF, seed_sequence=1)
    with pq.Program() as program:
        pq.Q() | pq.Vacuum()
        pq.Q() | pq.Covariance(2 * covariance)
        pq.Q() | pq.ThresholdMeasurement()
    pq.GaussianSimulator(d=modes, config=config).execute(program, shots=shots)


def _torontonian() -> Figure:
    matrices, means = subset_moments(_state_of(20), np.arange(20)[None])
    matrix = matrices[0]
    all_click_precisely(matrix[:4, :4], 1.0)
    all_click(matrix[:4, :4], means[0, :4], 1.0)
    ours = _seconds(lambda: all_click_precisely(matrix, 1.0))
    fast = _seconds(lambda: all_click(matrix, means[0], 1.0))
    lost = abs(all_click(matrix, means[0], 1.0)[0] / all_click_precisely(matrix, 1.0)[0] - 1)
    order = np.concatenate([np.arange(0, 40, 2), np.arange(1, 40, 2)])
    reduced = np.eye(40) - np.linalg.inv(matrix)[np.ix_(order, order)]
    thewalrus.rec_torontonian(np.eye(8) - np.linalg.inv(matrix[:8, :8]))
    theirs = _seconds(lambda: thewalrus.rec_torontonian(reduced))
    peer = f"thewalrus {theirs:.1f} s, doubles; ours in doubles {fast:.3f} s, wrong by {lost:.0e}"
    return Figure("probability of 20 clicks, twice the digits of a double", ours, 2.0, "s", peer)


def _hafnian() -> Figure:
    generator = np.random.default_rng(3)
    matrix = generator.standard_normal((30, 30)) + 1j * generator.standard_normal((30, 30))
    matrix = matrix + matrix.T
    ones = np.ones(30, int)
    loop_hafnian(matrix, matrix.diagonal(), ones)
    ours = _seconds(lambda: loop_hafnian(matrix, matrix.diagonal().copy(), ones))
    thewalrus.hafnian(matrix, method="recursive")
    theirs = _seconds(lambda: thewalrus.hafnian(matrix, method="recursive"))
    loops = _seconds(lambda: thewalrus.hafnian(matrix, loop=True))
    peer = f"thewalrus {loops * MILLISECOND:.0f} ms; without loops, recursive, {theirs * MILLISECOND:.0f} ms"
    return Figure("loop hafnian of 30 rows", ours * MILLISECOND, 500.0, "ms", peer)


def _triples() -> Figure:
    state = _machine("jiuzhang-2.0-1.65w").state()
    click_moments(state, 3, np.array([[0, 1, 2]]))
    pairs = _seconds(lambda: click_moments(state, 2))
    return Figure(
        "all 487,344 triples of 144 modes", _seconds(lambda: click_moments(state, 3)), 5.0, "s", f"all pairs {pairs * MILLISECOND:.0f} ms"
    )


def _state_of(modes: int) -> GaussianState:
    return _machine("jiuzhang-2.0-1.65w").state().part(np.arange(modes))


def _machine(name: str) -> Machine:
    folder = os.environ.get("TIANDI_JIUZHANG_DATA")
    return build_machine(name, data=Path(folder) if folder else None)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith("jiuzhang"):
        covariance = _machine(sys.argv[1]).state().covariance
        _piquasso_samples(covariance, 1)
        print(_seconds(lambda: _piquasso_samples(covariance, PEER_SHOTS)) / PEER_SHOTS)
    elif len(sys.argv) > 1:
        print(f"{largest_clicks(float(sys.argv[1]))} clicks in {sys.argv[1]} s on one thread")
    else:
        for figure in benchmark_gbs_exact():
            print(figure.line())
