"""Cascade keeps up with the fastest links on one core, and tells little more parities than Shannon's limit.

Peers do the same work in the same run: frames of 65,536 bits (SeQUeNCe: of 10,240, the length it is made for), the processor time of both
ends together. cascade-cpp (brunorijsman/cascade-cpp) is run where the environment variable CASCADE_CPP names its program
``run_experiments``, built by whoever wants the comparison; `peers/cascade_cpp.py` says how it is called.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from measure import Figure, run_peer, slowdown_without_avx512
from tiandi.distill.cascade import CascadeAnswerer, CascadeCorrector
from tiandi.distill.cascade_plan import BATCH_FRAMES, FRAME_BIT, CascadePlan, block_levels, last_subsets
from tiandi.protocols.information import binary_entropy

GOALS = {0.01: (100.0, 1.03), 0.02: (80.0, 1.04), 0.05: (50.0, 1.065)}
"""QBER: sifted Mbit/s of Bob, who has the more to do, and leak over Shannon's limit, in frames of 65,536 bits."""

SMALL_FRAME_LEAKS = {4096: 1.09, 16_384: 1.05}
SMALL_FRAME_QBER = 0.02
BATCHES = 2
ROUNDS = 6
PEER_KEYS = {"cascade-cpp": "20", "SeQUeNCe": "10", "qkdpy": "2"}
SLOWDOWN_QBER = 0.02
NANOSECOND, MEGABIT = 1e9, 1e6


@dataclass(frozen=True)
class Round:
    """Processor time of either end and parities told, of one key."""

    alice_s: float
    bob_s: float
    leak: float
    wrong_frames: int


@dataclass(frozen=True)
class PeerRun:
    """What a peer told, and its processor time at both ends, for ``keys`` of ``bits`` together; ``wrong`` of them stayed so."""

    keys: int
    bits: int
    seconds: float
    told: float
    wrong: int

    def beside(self, rate: float, qber: float) -> str:
        """How many times the peer's rate ``rate`` [bit/s] is, and what the peer has to show for its time."""
        own = self.bits / self.seconds
        leak = self.told / (self.bits * float(binary_entropy(qber)))
        return f"{rate / own:,.0f} times ({own / MEGABIT:.3g} Mbit/s, leak {leak:.2f}, {self.wrong} of {self.keys} keys wrong)"


def benchmark_cascade() -> list[Figure]:
    """Best of six rounds of two full batches, of which the first compiles."""
    figures = []
    for qber, (goal_mbps, leak_goal) in GOALS.items():
        rounds = [_reconcile(FRAME_BIT, qber, seed) for seed in range(ROUNDS)]
        key_bit = BATCHES * BATCH_FRAMES * FRAME_BIT
        bob_s, alice_s = _best(rounds)
        rates = f"Bob {key_bit / bob_s / MEGABIT:.0f} Mbit/s, Alice {key_bit / alice_s / MEGABIT:.0f}"
        peers = _peers(qber, key_bit / (alice_s + bob_s))
        nanoseconds = NANOSECOND * bob_s / key_bit
        figures.append(Figure(f"Bob corrects a bit at QBER {qber:.0%} ({rates})", nanoseconds, 1e3 / goal_mbps, "ns", peers))
        if qber == SLOWDOWN_QBER:
            figures.append(slowdown_without_avx512("Cascade", __file__, nanoseconds))
        figures.append(Figure(f"leak over Shannon's limit at QBER {qber:.0%}", _mean_leak(rounds), leak_goal, ""))
    for frame_bit, leak_goal in SMALL_FRAME_LEAKS.items():
        rounds = [_reconcile(frame_bit, SMALL_FRAME_QBER, seed) for seed in range(ROUNDS)]
        figures.append(Figure(f"the same in frames of {frame_bit:,} at {SMALL_FRAME_QBER:.0%}", _mean_leak(rounds), leak_goal, ""))
    return figures


def _mean_leak(rounds: list[Round]) -> float:
    """Raises AssertionError when a frame stayed wrong: what leaks little and corrects nothing is worth nothing."""
    assert not any(each.wrong_frames for each in rounds)
    return sum(each.leak for each in rounds) / len(rounds)


def _reconcile(frame_bit: int, qber: float, seed: int) -> Round:
    generator = np.random.default_rng(seed)
    frames = BATCHES * BATCH_FRAMES
    alice_bits = generator.integers(0, 2, frames * frame_bit, dtype=np.uint8)
    errors = generator.random(alice_bits.size) < qber
    levels = block_levels(qber, frame_bit)
    plan = CascadePlan.checked(key_bit=errors.size, frames=frames, levels=levels, subsets=last_subsets(frames), seed=generator.bytes(16))
    bob_bits = alice_bits ^ errors
    seconds = [0.0, 0.0]
    start = time.process_time()

    def charge(end: int) -> None:
        nonlocal start
        now = time.process_time()
        seconds[end] += now - start
        start = now

    alice = CascadeAnswerer(plan, alice_bits)
    charge(0)
    bob = CascadeCorrector(replace(plan), bob_bits)
    while bob.questions:
        charge(1)
        answer = alice.answer(bob.questions)
        charge(0)
        bob.absorb(answer)
    corrected = bob.corrected
    charge(1)
    limit = float(binary_entropy(errors.mean())) * errors.size
    return Round(seconds[0], seconds[1], alice.told / limit, int((corrected != alice_bits).reshape(frames, -1).any(axis=1).sum()))


def _best(rounds: list[Round]) -> tuple[float, float]:
    """The least seconds of Bob and of Alice."""
    return min(each.bob_s for each in rounds), min(each.alice_s for each in rounds)


def _peers(qber: float, rate: float) -> str:
    """What every peer that is there did at ``qber``, beside our ``rate`` [bit/s] of both ends together."""
    runs = [f"{name} {run.beside(rate, qber)}" if run else f"{name} not run" for name, run in _peer_runs(str(qber))]
    return f"both ends at {rate / MEGABIT:.0f} Mbit/s: " + ", ".join(runs)


def _peer_runs(qber: str) -> Iterator[tuple[str, PeerRun | None]]:
    """Name of each peer, and its run; None where it is not installed."""
    program = os.environ.get("CASCADE_CPP")
    answer = run_peer("cascade_cpp.py", program, str(FRAME_BIT), qber, PEER_KEYS["cascade-cpp"]) if program else None
    for variant, run in json.loads(answer or '{"(CASCADE_CPP names it)": null}').items():
        yield f"cascade-cpp {variant}", PeerRun(**run) if run else None
    for name, *command in (
        ("SeQUeNCe", "sequence_cascade.py", PEER_KEYS["SeQUeNCe"], qber),
        ("qkdpy", "qkdpy_cascade.py", str(FRAME_BIT), qber, PEER_KEYS["qkdpy"]),
    ):
        answer = run_peer(*command)
        yield name, PeerRun(**json.loads(answer)) if answer else None


if __name__ == "__main__":
    best_s, _ = _best([_reconcile(FRAME_BIT, SLOWDOWN_QBER, seed) for seed in range(ROUNDS)])
    print(NANOSECOND * best_s / (BATCHES * BATCH_FRAMES * FRAME_BIT))
