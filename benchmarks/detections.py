"""Sampling detections costs nothing for pulses that nobody detects, and little for those that somebody does."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from measure import Figure, run_peer
from tiandi.protocols.decoy_bb84 import outcome_probabilities, sample_detections
from tiandi.quantum.channel import FibreChannel
from tiandi.quantum.link import QkdLink
from tiandi.scenario.scenario import load_scenario

PULSES = 1_000_000_000
BUSY_PULSES = 10_000_000_000
ROUNDS = 5
PEER_PULSES = 100_000
NANOSECOND = 1e9


def benchmark_detections() -> list[Figure]:
    """Medians of five rounds after one that compiles; both ends' whole records are made, as distillation takes them.

    SeQUeNCe simulates BB84 with the clock, loss and detectors of the first figure.
    """
    scenario = load_scenario("shanghai-vienna")
    trunk, downlink = scenario.link("Jinan - Tai'an"), scenario.downlinks()[0]
    fibre = FibreChannel(50.0).steps(1.0).transmittance
    hop_s, clicks = _time(trunk, fibre, np.array([PULSES]))
    quick = replace(trunk.receiver, detector=replace(trunk.receiver.detector, dead_time_s=50e-9, after_pulse_lifetime_s=50e-9))
    busy = QkdLink("Here", "There", transmitter=trunk.transmitter, receiver=quick, channel=trunk.channel)
    busy_s, busy_clicks = _time(busy, fibre, np.array([BUSY_PULSES]))
    steps = downlink.link.channel.steps(downlink.duration_s)
    pass_pulses = np.floor(steps.duration_s * downlink.link.transmitter.clock_hz).astype(np.int64)
    pass_s, pass_clicks = _time(downlink.link, steps.transmittance, pass_pulses)
    rate = busy_clicks / busy_s
    return [
        Figure(f"sample 1e9 pulses of a 50 km hop ({clicks:,} clicks)", hop_s, 1.0, "s", _peer(hop_s)),
        Figure(f"a click with dead time and after-pulses ({rate / 1e6:.0f} million/s)", NANOSECOND * busy_s / busy_clicks, 50.0, "ns"),
        Figure(f"sample the Micius pass, {pass_pulses.sum():.1e} pulses ({pass_clicks:,} clicks)", pass_s, 2.0, "s"),
    ]


def _time(link: QkdLink, transmittance: NDArray[np.float64], pulses: NDArray[np.int64]) -> tuple[float, int]:
    """Median seconds, and the clicks of the last round."""
    outcomes = outcome_probabilities(link.transmitter, link.receiver, transmittance)

    def sample(seed: int) -> int:
        return int(sample_detections(link.transmitter, link.receiver, outcomes, pulses, np.random.default_rng(seed))[0].slots.size)

    return median_seconds(sample)


def median_seconds(work: Callable[[int], int]) -> tuple[float, int]:
    """Median time of ``work`` over `ROUNDS` rounds after a first one, and what it returned last."""
    seconds, result = [], 0
    for seed in range(ROUNDS + 1):
        start = time.perf_counter()
        result = work(seed)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:]), result


def _peer(seconds: float) -> str:
    answer = run_peer("sequence_bb84.py", str(PEER_PULSES))
    if answer is None:
        return "SeQUeNCe not run: make bench installs it"
    peer_rate = PEER_PULSES / json.loads(answer)["seconds"]
    return f"{PULSES / seconds / peer_rate:,.0f} times SeQUeNCe's pulses per second ({peer_rate:,.0f})"
