"""A surface code of distance 11 kept for eleven cycles, a million times: sampled and decoded by two processes.

The peer is the shortest loop that anyone would write: stim's own circuit, its sampler and pymatching's decode_batch, in one process. To run
fewer shots: python correction.py SHOTS.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import resource
import sys
import time

import pymatching
import stim

from measure import Figure
from tiandi.computing.correction.decoding import Method
from tiandi.computing.correction.memory import memory_experiment
from tiandi.computing.correction.noise import CycleNoise, cycle_noise, enlarged, uniform_noise
from tiandi.computing.machines.twin import Twin, build_twin

SHOTS, DISTANCE, ERROR, WORKERS = 1_000_000, 11, 0.003, 2
GOAL_S = 180.0


def own_seconds(twin: Twin, noise: CycleNoise, shots: int, decoder: Method) -> tuple[float, float, float]:
    """Seconds of sampling and decoding, processor seconds of the processes, and the share of failures."""
    began, used = time.perf_counter(), _processor_s()
    error = memory_experiment(twin, DISTANCE, shots=shots, rounds=DISTANCE, basis="Z", decoder=decoder, noise=noise, workers=WORKERS)
    return time.perf_counter() - began, _processor_s() - used, error.per_shot


def _processor_s() -> float:
    """Processor seconds of this process and of all its processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + usage.ru_utime + usage.ru_stime


def peer_seconds(shots: int) -> tuple[float, float]:
    """The same of stim's circuit with the same errors at every place."""
    began = time.perf_counter()
    circuit = stim.Circuit.generated(
        "surface_code:rotated_memory_z",
        distance=DISTANCE,
        rounds=DISTANCE,
        after_clifford_depolarization=ERROR,
        before_measure_flip_probability=ERROR,
        after_reset_flip_probability=ERROR,
        before_round_data_depolarization=ERROR,
    )
    matching = pymatching.Matching.from_detector_error_model(circuit.detector_error_model(decompose_errors=True))
    sampler, failures, batch = circuit.compile_detector_sampler(), 0, 10_000
    for first in range(0, shots, batch):
        detectors, observables = sampler.sample(min(batch, shots - first), separate_observables=True)
        failures += int((matching.decode_batch(detectors) != observables).sum())
    return time.perf_counter() - began, failures / shots


def benchmark_correction(shots: int = SHOTS) -> list[Figure]:
    """Seconds for ``shots`` runs, scaled to a million: at a uniform error beside the peer, and with all of Willow's twin, leakage too."""
    twin = build_twin("google-willow")
    noise = cycle_noise(twin)
    lattice = enlarged(noise, DISTANCE, 1).lattice
    # Turns that err: stim's circuit has them on half of the ancillas only, so ours are faultless for equal work.
    uniform = uniform_noise(lattice, ERROR, rounds=DISTANCE).without("single-qubit gates")
    scale = SHOTS / shots
    own_s, own_cpu_s, own_share = own_seconds(twin, uniform, shots, "plain")
    peer_s, peer_share = peer_seconds(shots)
    full_s, full_cpu_s, full_share = own_seconds(twin, noise, shots, "correlated")
    ratio = f"bare stim + pymatching, one process {scale * peer_s:.0f} s, ratio {own_s / peer_s:.2f}"
    beside = f"{ratio}; {scale * own_cpu_s:.0f} s of processor; lost {own_share:.1e}, {peer_share:.1e}"
    name = f"d = {DISTANCE} memory, {SHOTS:,} shots"
    return [
        Figure(f"{name}, uniform error {ERROR:g}, plain matching, {WORKERS} processes", scale * own_s, GOAL_S, "s", beside),
        Figure(
            f"{name}, Willow's twin with leakage, correlated matching",
            scale * full_s,
            GOAL_S,
            "s",
            f"the peer has no leakage; {scale * full_cpu_s:.0f} s of processor; lost {full_share:.1e}",
        ),
    ]


if __name__ == "__main__":
    for figure in benchmark_correction(int(sys.argv[1]) if len(sys.argv) > 1 else SHOTS):
        print(figure.line())
