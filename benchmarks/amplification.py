"""Privacy amplification keeps up with the fastest links: time per bit of sifted key, with a fresh seed each time, on one core."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from measure import Figure, run_peer
from tiandi.distill.amplification import rounded_middle_product, toeplitz_hash, toeplitz_seed_bit
from tiandi.distill.binary_polynomial import middle_product
from tiandi.distill.vectors import Lanes, lanes_available

GOALS_NS = {1_000_000: 1 / 0.7, 10_000_000: 1 / 0.7, 100_000_000: 1 / 0.25}
"""For each bit of sifted key, by their number: 700 Mbit/s and, for the longest, 250 Mbit/s."""
ROUNDS = {1_000_000: 50, 10_000_000: 10, 100_000_000: 3}
OUTPUT_PER_INPUT = 0.3
SMALL = 1_000_000
PEER_BIT = 2048
"""qkdpy writes its matrix out, so that its rate falls with the length: a longer key would only flatter ours."""
NANOSECOND = 1e9
INSTRUCTIONS = {4: "no AVX-512", 2: "no AVX-512 nor VPCLMULQDQ", 1: "no carry-less products"}


def benchmark_amplification() -> list[Figure]:
    """Medians after a first call, which compiles unless that was done before.

    The peers: SciPy's Fourier transform in double precision, as `rounded_middle_product` uses it, and qkdpy's Toeplitz hash.
    """
    generator = np.random.default_rng(1)
    small, seed = _block(SMALL, generator)
    peer_s = _median_seconds(lambda: rounded_middle_product(small, seed), 3)
    figures = []
    for size, goal_ns in GOALS_NS.items():
        seconds = _amplify(*_block(size, generator), ROUNDS[size])
        peer = f"{peer_s / seconds:.0f} times double precision, {_peer(size / seconds)}" if size == SMALL else "no peer does this"
        figures.append(_figure("", seconds, size, goal_ns, peer))
    for lanes in lanes_available()[1:]:
        seconds = _multiply(small, seed, lanes)
        goal = 10 * GOALS_NS[SMALL] if len(lanes) > 1 else NANOSECOND * peer_s / SMALL
        figures.append(_figure(f", {INSTRUCTIONS[len(lanes)]}", seconds, SMALL, goal, f"{peer_s / seconds:.0f} times double precision"))
    return figures


def _block(size: int, generator: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    seed_bit = toeplitz_seed_bit(size, round(OUTPUT_PER_INPUT * size))
    return generator.integers(0, 2, size, dtype=np.uint8), generator.integers(0, 2, seed_bit, dtype=np.uint8)


def _amplify(bits: NDArray[np.uint8], seed: NDArray[np.uint8], rounds: int) -> float:
    return _median_seconds(lambda: toeplitz_hash(bits, seed, seed.size - bits.size + 1), rounds)


def _multiply(bits: NDArray[np.uint8], seed: NDArray[np.uint8], lanes: Lanes) -> float:
    return _median_seconds(lambda: middle_product(bits, seed, lanes), 5)


def _figure(how: str, seconds: float, size: int, goal_ns: float, peer: str) -> Figure:
    name = f"amplify {size:.0e} bit{how} ({size / seconds / 1e6:,.0f} Mbit/s)"
    return Figure(name, NANOSECOND * seconds / size, goal_ns, "ns", peer)


def _peer(rate: float) -> str:
    answer = run_peer("qkdpy_toeplitz.py", str(PEER_BIT), str(round(OUTPUT_PER_INPUT * PEER_BIT)))
    if answer is None:
        return "qkdpy not run: make bench installs it"
    peer = json.loads(answer)
    peer_rate = peer["bits"] / peer["seconds"]
    return f"{rate / peer_rate:,.0f} times qkdpy on {PEER_BIT:,} bits ({peer_rate / 1e3:.2g} kbit/s)"


def _median_seconds(work: Callable[[], object], rounds: int) -> float:
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))
