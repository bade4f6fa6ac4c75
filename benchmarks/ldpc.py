"""Reconciliation by low-density parity-check codes: what a sifted bit costs Bob, and what Alice tells beyond the Shannon limit."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cascade import SLOWDOWN_QBER
from measure import Figure, run_peer, slowdown_without_avx512
from tiandi.distill.ldpc import LdpcCorrector, LdpcPlan, LdpcTeller
from tiandi.distill.ldpc_codes import CodeName, build_code
from tiandi.distill.ldpc_decoder import entropy_bit, find_errors, worst_evolution

GOALS = ((0.02, 1.20, 50e6), (0.05, 1.22, 35e6))
"""QBER, the most that may be told in units of the Shannon limit, and the rate [bit/s] on one core."""
KEY_BIT = 4_000_000
ROUNDS = 5
PEER_FRAMES = 3
NANOSECOND = 1e9


def benchmark_ldpc() -> list[Figure]:
    """Medians of five keys of 4 million bits after one that compiles, in seconds of one core; all increments are among them."""
    return [*(figure for goal in GOALS for figure in _reconciliation(*goal)), _preparation()]


def _preparation() -> Figure:
    """A code never seen before, and the tables of its decoder."""
    plan = LdpcPlan.for_key(KEY_BIT, GOALS[0][0], seed=ROUNDS + 1)
    start = time.thread_time()
    build_code(plan.code)
    worst_evolution(plan.code)
    return Figure("LDPC: build a code and the tables of its decoder", time.thread_time() - start, 1.0, "s")


def _measure(plan: LdpcPlan, qber: float) -> tuple[float, int, int]:
    """Nanoseconds of Bob for a bit, and of all keys the bits told and the frames asked again."""
    seconds, leaked, repeated = [], 0, 0
    for seed in range(ROUNDS + 1):
        generator = np.random.default_rng(seed)
        alice_bits = generator.integers(0, 2, KEY_BIT, dtype=np.uint8)
        bob_bits = alice_bits ^ (generator.random(KEY_BIT) < qber).astype(np.uint8)
        alice, bob = LdpcTeller(plan, alice_bits), LdpcCorrector(plan, bob_bits)
        spent = 0.0
        while bob.query is not None:
            told = alice.tell(bob.query)
            start = time.thread_time()
            bob.absorb(told)
            spent += time.thread_time() - start
        assert np.array_equal(bob.corrected, alice_bits)
        seconds.append(spent)
        leaked, repeated = leaked + bob.leaked_bit, repeated + bob.repeated_frames
    return NANOSECOND * float(np.median(seconds[1:])) / KEY_BIT, leaked, repeated


def _reconciliation(qber: float, efficiency: float, goal_bit_per_s: float) -> list[Figure]:
    plan = LdpcPlan.for_key(KEY_BIT, qber)
    nanoseconds, leaked, repeated = _measure(plan, qber)
    told = leaked / ((ROUNDS + 1) * KEY_BIT * entropy_bit(qber))
    frames = (ROUNDS + 1) * plan.frames
    figures = [
        Figure(
            f"LDPC: a sifted bit at {100 * qber:.0f} % QBER ({1e3 / nanoseconds:.0f} Mbit/s)",
            nanoseconds,
            NANOSECOND / goal_bit_per_s,
            "ns",
            _peer(plan.code, qber, nanoseconds),
        ),
        Figure(f"LDPC: told at {100 * qber:.0f} % QBER ({repeated} of {frames} frames asked again)", told, efficiency, "h(Q)"),
    ]
    return [*figures, slowdown_without_avx512("LDPC", __file__, nanoseconds)] if qber == SLOWDOWN_QBER else figures


def _peer(name: CodeName, qber: float, nanoseconds: float) -> str:
    """The package ldpc (belief propagation in C++) on the same code, with the same errors as one of our frames."""
    errors = (np.random.default_rng(0).random((PEER_FRAMES, name.code_bit)) < qber).astype(np.uint8)
    assert all(find_errors(name, build_code(name).syndrome(frame), name.code_bit) is not None for frame in errors)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.npz"
        checks, bits = _ones(name)
        np.savez(path, checks=checks, bits=bits, qber=qber, errors=errors)
        try:
            answer = run_peer("ldpc_belief_propagation.py", str(path))
        except subprocess.CalledProcessError:
            answer = None
    if answer is None:
        return "ldpc not run: make bench installs it"
    peer = json.loads(answer)
    peer_nanoseconds = NANOSECOND * peer["seconds"] / name.code_bit
    speed = f"{peer_nanoseconds / nanoseconds:,.0f} times as fast as ldpc ({1e3 / peer_nanoseconds:.2f} Mbit/s)"
    return f"{speed}, which found {peer['right']} of {PEER_FRAMES} frames"


def _ones(name: CodeName) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Checks and bits of the ones of the parity-check matrix."""
    code = build_code(name)
    inside = np.arange(code.circulant)
    rows = np.repeat(np.arange(code.row_starts.size - 1), np.diff(code.row_starts))
    checks = rows[:, None] * code.circulant + inside
    bits = code.edge_columns[:, None] * code.circulant + (inside + code.edge_shifts[:, None]) % code.circulant
    return checks.ravel(), bits.ravel()


if __name__ == "__main__":
    print(_measure(LdpcPlan.for_key(KEY_BIT, SLOWDOWN_QBER), SLOWDOWN_QBER)[0])
