"""Cascade keeps up with the fastest links on one core, and tells little more parities than Shannon's limit."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace

import numpy as np

from measure import Figure, run_peer
from tiandi.distill.cascade import CascadeAnswerer, CascadeCorrector
from tiandi.distill.cascade_plan import BATCH_FRAMES, FRAME_BIT, CascadePlan, block_levels, last_subsets
from tiandi.protocols.information import binary_entropy

GOALS = {0.01: (100.0, 1.03), 0.02: (80.0, 1.04), 0.05: (50.0, 1.065)}
"""QBER: sifted Mbit/s of Bob, who has the more to do, and leak over Shannon's limit, in frames of 65,536 bits."""

SMALL_FRAME_LEAKS = {4096: 1.09, 16_384: 1.05}
SMALL_FRAME_QBER = 0.02
BATCHES = 2
ROUNDS = 6
PEER_FRAMES, PEER_QBER = 10, 0.02
NANOSECOND, MEGABIT = 1e9, 1e6


@dataclass(frozen=True)
class Round:
    """Processor time of either end and parities told, of one key."""

    alice_s: float
    bob_s: float
    leak: float
    wrong_frames: int


def benchmark_cascade() -> list[Figure]:
    """Best of six rounds of 128 frames, of which the first compiles. SeQUeNCe takes smaller frames."""
    figures = []
    for qber, (goal_mbps, leak_goal) in GOALS.items():
        rounds = [_reconcile(FRAME_BIT, qber, seed) for seed in range(ROUNDS)]
        key_bit = BATCHES * BATCH_FRAMES * FRAME_BIT
        bob_s, alice_s = min(each.bob_s for each in rounds), min(each.alice_s for each in rounds)
        rates = f"Bob {key_bit / bob_s / MEGABIT:.0f} Mbit/s, Alice {key_bit / alice_s / MEGABIT:.0f}"
        peer = _peer(key_bit / (alice_s + bob_s)) if qber == PEER_QBER else "no peer does this"
        figures.append(
            Figure(f"Bob corrects a bit at QBER {qber:.0%} ({rates})", NANOSECOND * bob_s / key_bit, 1e3 / goal_mbps, "ns", peer)
        )
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


def _peer(rate: float) -> str:
    answer = run_peer("sequence_cascade.py", str(PEER_FRAMES), str(PEER_QBER))
    if answer is None:
        return "SeQUeNCe not run: make bench installs it"
    peer = json.loads(answer)
    peer_rate = peer["bits"] / peer["seconds"]
    leak = peer["told"] / (peer["bits"] * float(binary_entropy(PEER_QBER)))
    return f"both ends: {rate / peer_rate:,.0f} times SeQUeNCe's bits per second ({peer_rate:,.0f}), which leaks {leak:.2f} times the limit"
