"""Sampling detections costs nothing for pulses that nobody detects: 1e9 pulses of a 50 km hop."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np

from measure import Figure
from tiandi.protocols.decoy_bb84 import outcome_probabilities, sample_detections
from tiandi.quantum.channel import FibreChannel
from tiandi.scenario.scenario import load_scenario

PULSES = 1_000_000_000
ROUNDS = 5
PEER_PULSES = 100_000
PEERS_PYTHON = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"


def benchmark_detections() -> list[Figure]:
    """Median of five rounds after one that compiles; SeQUeNCe simulates BB84 with the same clock, loss and detectors."""
    link = load_scenario("shanghai-vienna").link("Jinan - Tai'an")
    outcomes = outcome_probabilities(link.transmitter, link.receiver, FibreChannel(50.0).steps(1.0).transmittance)
    seconds = []
    detected = 0
    for seed in range(ROUNDS + 1):
        start = time.perf_counter()
        alice, _ = sample_detections(link.transmitter, link.receiver, outcomes, np.array([PULSES]), np.random.default_rng(seed))
        seconds.append(time.perf_counter() - start)
        detected = alice.slots.size
    value = statistics.median(seconds[1:])
    name = f"sample 1e9 pulses of a 50 km hop ({detected:,} clicks)"
    return [Figure(name, value, 1.0, "s", _peer(value))]


def _peer(seconds: float) -> str:
    if not PEERS_PYTHON.exists():
        return "SeQUeNCe not run: make bench installs it"
    script = Path(__file__).parent / "peers" / "sequence_bb84.py"
    answer = subprocess.run([PEERS_PYTHON, script, str(PEER_PULSES)], capture_output=True, text=True, check=True)
    peer_rate = PEER_PULSES / json.loads(answer.stdout)["seconds"]
    return f"{PULSES / seconds / peer_rate:,.0f} times SeQUeNCe's pulses per second ({peer_rate:,.0f})"
