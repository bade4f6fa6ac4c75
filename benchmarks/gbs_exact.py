"""Exact Gaussian boson sampling: samples by the chain rule, probabilities of many clicks and photons, low-order moments.

On the public calibration where the environment variable TIANDI_JIUZHANG_DATA names its folder; else on the synthetic machines. The largest
number of clicks in ten minutes: ``python benchmarks/gbs_exact.py 600``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import piquasso as pq
import thewalrus

from measure import Figure
from tiandi.computing.photonics.exact.chain_rule import pure_with_noise, sample_state
from tiandi.computing.photonics.exact.clicks import click_moments, click_probability, click_probability_with_error
from tiandi.computing.photonics.exact.photon_numbers import loop_hafnian
from tiandi.computing.photonics.exact.subsets import single_photon_moments
from tiandi.computing.photonics.gaussian import FloatArray, Machine
from tiandi.computing.photonics.machines import build_machine
from tiandi.computing.photonics.samplers import SAMPLERS

WORKERS = 2
MILLISECOND = 1e3
PEER_SHOTS = 5
PEER_LIMIT_S = 60
PEER_CUTOFF = 8
POWERS_OF_COLUMN = 7


def benchmark_gbs_exact() -> list[Figure]:
    """Samples of Jiuzhang 2.0 at 0.15 W and 0.3 W, probabilities beside libraries, triples, and the largest sample in ten seconds."""
    figures = [_samples("jiuzhang-2.0-0.15w", 1500, 20.0), _samples("jiuzhang-2.0-0.3w", 150, 250.0)]
    figures += [*(_whole_pattern(clicks) for clicks in (10, 15, 20)), _hafnian(), _triples()]
    clicks = largest_clicks(10.0)
    figures.append(Figure(f"{clicks} clicks: largest exact sample in 10 s, over 30", 30 / clicks, 1.0, ""))
    return figures


def largest_clicks(seconds: float, modes: int = 144) -> int:
    """The largest number of clicks of which one sample by the chain rule takes at most ``seconds`` of processor time on one thread.

    Each step is timed with as many photons; the clicks of a sample come evenly spread over the modes. Photons are worked on in pairs, so
    that 2p - 1 take as long as 2p.
    """
    quadratic = pure_with_noise(_machine("jiuzhang-2.0-1.65w").state()).quadratic
    loops, column, out = np.full(modes, 0.3 + 0.1j), np.ascontiguousarray(quadratic[0]), np.zeros(POWERS_OF_COLUMN, complex)
    single_photon_moments(quadratic[:4, :4], loops[:4], column[:4], out)
    total = step = 0.0
    for pairs in range(1, modes // 2):
        size = 2 * pairs
        # The next step is no shorter than the last: with that alone it may be too much.
        if (total + step) * modes / size > seconds:
            return size - 2
        began = time.process_time()
        single_photon_moments(quadratic[:size, :size], loops[:size], column[:size], out)
        step = time.process_time() - began
        for clicks in (size - 1, size):
            total += step
            if total * modes / (clicks + 1) > seconds:
                return clicks - 1
    return modes


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
    """Threshold samples through photon numbers, the faster of its two ways."""
    config = pq.Config(measurement_cutoff=PEER_CUTOFF, seed_sequence=1)
    with _piquasso_program(covariance) as program:
        pq.Q() | pq.ThresholdMeasurement()
    pq.GaussianSimulator(d=len(covariance) // 2, config=config).execute(program, shots=shots)


@contextmanager
def _piquasso_program(covariance: FloatArray) -> Iterator[pq.Program]:
    """A program that begins with the state: Piquasso wants a mode's quadratures side by side, in units of the vacuum's."""
    order = np.arange(len(covariance)).reshape(2, -1).T.ravel()
    with pq.Program() as program:
        pq.Q() | pq.Vacuum()
        pq.Q() | pq.Covariance(covariance[np.ix_(order, order)])
        yield program


def _whole_pattern(clicks: int) -> Figure:
    """A pattern of all modes, drawn by positive-P sampling until one has so many clicks."""
    machine = _machine("jiuzhang-2.0-0.3w")
    state = machine.state()
    drawn = SAMPLERS["positive-P"](machine, np.random.default_rng(1)).sample(20_000, np.random.default_rng(1))
    pattern = drawn[drawn.sum(axis=1) == clicks][0].astype(np.int64)
    few = drawn[drawn.sum(axis=1) == 2][0].astype(np.int64)
    click_probability(state, few)
    began = time.process_time()
    found = click_probability_with_error(state, pattern)
    ours = time.process_time() - began
    told = [f"relative error below {found.relative_error:.0e}"]
    with _piquasso_program(state.covariance) as program:
        pass
    light = pq.GaussianSimulator(d=state.modes).execute(program).state
    libraries = {
        "thewalrus": lambda row: float(thewalrus.threshold_detection_prob(state.mean, state.covariance, row).real),
        "Piquasso": lambda row: float(light.get_threshold_detection_probability(row)),
    }
    for name, probability in libraries.items():
        probability(few)
        began = time.process_time()
        theirs = probability(pattern)
        told.append(f"{name} {time.process_time() - began:.3g} s, off by {abs(theirs / found.value - 1):.0e}")
    return Figure(f"{machine.name}: p of a whole pattern of {state.modes} modes, {clicks} clicks", ours, 2.0, "s", "; ".join(told))


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
