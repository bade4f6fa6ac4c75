"""Sweep points of pulse evolutions a second, against NumPy in batch and against Qibolab's emulator on the same physics."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np

from measure import Figure, run_peer
from tiandi.computing.chip.evolution.decay import Decay, decay_of
from tiandi.computing.chip.evolution.hermitian import level_vector
from tiandi.computing.chip.evolution.pair import PairPulses, pair_unitaries
from tiandi.computing.chip.evolution.transmon import Pulses, density_matrices, unitaries

QUBITS, POINTS, STEPS = 504, 51, 30
COUPLERS, AMPLITUDES, DURATIONS = 963, 41, 31
CHEVRON_GOAL_S = 10.0
"""Processor time of all cores. The chevrons are 98 million steps, each an exponential of 2 x 2 and one of 3 x 3, of fourth order: some 80
ns a step on a core of a server of 2023 that others used too. What prepares them is 5 % of it, so that 5 s, the first goal (of wall time),
would ask for a faster step; it is not reached."""
DURATION_S = 30e-9
PEER_POINTS, PEER_RABI_HZ = 5, 60e6
T1_S, T2_S = 30e-6, 20e-6


def benchmark_pulse_evolutions() -> list[Figure]:
    """A Rabi sweep of 504 qubits without and with decay, chevrons of 963 couplers, and one sweep as Qibolab's emulator does it."""
    pulses = rabi_pulses()
    count = QUBITS * POINTS
    decay = decay_of(np.full(count, T1_S), 1.0 / (1.0 / T2_S - 0.5 / T1_S))
    initial = level_vector(0)[None]
    alone, by_numpy = _seconds(lambda: unitaries(pulses)), _seconds(lambda: numpy_unitaries(pulses))
    decaying, decaying_by_numpy = (
        _seconds(lambda: density_matrices(pulses, decay, initial)),
        _seconds(lambda: numpy_populations(pulses, decay)),
    )
    error = np.abs(numpy_populations(pulses, decay) - density_matrices(pulses, decay, initial)[:, 0, :3]).max()
    chevrons = chevron_pulses()
    pairs = _seconds(lambda: pair_unitaries(chevrons), repeats=1)
    points = COUPLERS * AMPLITUDES * DURATIONS
    return [
        Figure(
            f"{count} pulses of {STEPS} steps, unitaries: {count / alone:,.0f} a second of one core; time over NumPy's",
            alone / by_numpy,
            0.2,
            "",
            f"NumPy in batch, second order, as many steps: {count / by_numpy:,.0f} a second",
        ),
        Figure(
            f"the same with decay: {count / decaying:,.0f} a second of one core; time over NumPy's",
            decaying / decaying_by_numpy,
            0.2,
            "",
            f"NumPy: {count / decaying_by_numpy:,.0f} a second, populations differ by {error:.0e}",
        ),
        Figure(
            f"CZ chevrons of {COUPLERS} couplers, {AMPLITUDES} x {DURATIONS} points: {points / pairs:,.0f} a second of one core",
            pairs,
            CHEVRON_GOAL_S,
            "s",
        ),
        _against_qibolab(count / decaying),
    ]


def rabi_pulses() -> Pulses:
    """A sweep of the amplitude of a DRAG pulse (cosine) for each qubit."""
    random = np.random.default_rng(1)
    count = QUBITS * POINTS
    phase = np.linspace(0.0, 2.0 * np.pi, 2 * STEPS + 1)
    anharmonicity = -2.0 * np.pi * 0.25e9
    slope = np.pi / DURATION_S * np.sin(phase)
    return Pulses(
        shapes=(0.5 * (1.0 - np.cos(phase)) - 0.5j * slope / anharmonicity)[None],
        shape=np.zeros(count, np.int64),
        scale_rad_s=np.tile(np.linspace(0.0, 2.0, POINTS), QUBITS) * np.pi / (0.5 * DURATION_S) + 0j,
        duration_s=np.full(count, DURATION_S),
        detuning_rad_s=np.repeat(2.0 * np.pi * random.normal(0.0, 1e6, QUBITS), POINTS),
        anharmonicity_rad_s=np.repeat(anharmonicity * random.normal(1.0, 0.04, QUBITS), POINTS),
    )


def chevron_pulses() -> PairPulses:
    """Amplitude of the flux pulse against its duration, 10 to 70 ns, two steps a nanosecond, for every coupler."""
    random = np.random.default_rng(2)
    durations = np.linspace(10e-9, 70e-9, DURATIONS)
    samples = 2 * np.round(durations * 2e9).astype(np.int64) + 1
    shapes = np.zeros((DURATIONS, samples.max()))
    for shape, number, duration in zip(shapes, samples, durations, strict=True):
        at = np.linspace(0.0, duration, number)
        edge = np.clip(np.minimum(at, duration - at) / 3e-9, 0.0, 1.0)
        shape[:number] = 0.5 * (1.0 - np.cos(np.pi * edge))
    count = COUPLERS * AMPLITUDES * DURATIONS
    place = np.tile(np.arange(DURATIONS), COUPLERS * AMPLITUDES)
    apart = 2.0 * np.pi * random.normal(0.4e9, 0.05e9, COUPLERS)
    swing = 2.0 * np.pi * np.linspace(0.05e9, 0.25e9, AMPLITUDES)
    first = np.stack([np.repeat(apart, AMPLITUDES * DURATIONS), -np.tile(np.repeat(swing, DURATIONS), COUPLERS)], axis=1)
    coupling = np.repeat(2.0 * np.pi * random.normal(10e6, 1e6, COUPLERS), AMPLITUDES * DURATIONS)
    anharmonicity = np.full(count, -2.0 * np.pi * 0.25e9)
    return PairPulses(
        shapes=shapes,
        duration_s=durations[place],
        first_shape=place,
        second_shape=place,
        coupling_shape=place,
        first_rad_s=first,
        second_rad_s=np.zeros((count, 1)),
        coupling_rad_s=np.stack([np.zeros(count), coupling], axis=1),
        first_anharmonicity_rad_s=anharmonicity,
        second_anharmonicity_rad_s=anharmonicity,
        samples=samples[place],
    )


def numpy_unitaries(pulses: Pulses, after: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
    """(B, 3, 3): levels and drive in turns (Strang), the drive's exponential in closed form, all entries at once in NumPy.

    With ``after``, what becomes of |0><0| under each step and ``after``.
    """
    steps = (pulses.shapes.shape[1] - 1) // 2
    time_s = pulses.duration_s / steps
    number = np.arange(3)
    energy = pulses.detuning_rad_s[:, None] * number + 0.5 * pulses.anharmonicity_rad_s[:, None] * number * (number - 1)
    half = np.exp(-0.5j * energy * time_s[:, None])[:, :, None]
    state = np.broadcast_to(np.eye(3, dtype=complex) if after is None else np.diag([1.0 + 0j, 0.0, 0.0]), (len(half), 3, 3))
    drive = np.zeros((len(half), 3, 3), complex)
    for middle in pulses.shapes[0, 1::2]:
        angle = 0.5 * pulses.scale_rad_s * middle * time_s
        drive[:, 1, 0], drive[:, 2, 1] = angle, np.sqrt(2.0) * angle
        drive[:, 0, 1], drive[:, 1, 2] = angle.conj(), np.sqrt(2.0) * angle.conj()
        size = np.sqrt(3.0) * np.abs(angle)[:, None, None]
        turn = np.eye(3) - 1j * np.sinc(size / np.pi) * drive - 0.5 * np.sinc(0.5 * size / np.pi) ** 2 * (drive @ drive)
        step = half * turn * np.swapaxes(half, 1, 2)
        state = step @ state if after is None else after(step @ state @ np.swapaxes(step.conj(), 1, 2))
    return state


def numpy_populations(pulses: Pulses, decay: Decay) -> np.ndarray:
    """(B, 3): the same with decay after each step."""
    time_s = pulses.duration_s / ((pulses.shapes.shape[1] - 1) // 2)
    level = np.arange(3)
    lost = 0.5 * np.asarray(decay.down_per_s)[..., None, None] * (level[:, None] + level)
    lost = lost + np.asarray(decay.dephasing_per_s)[..., None, None] * (level[:, None] - level) ** 2
    kept = np.exp(-lost * time_s[:, None, None])

    def after(state: np.ndarray) -> np.ndarray:
        result = kept * state
        result[:, 1, 1] += (1.0 - kept[:, 2, 2]) * state[:, 2, 2]
        result[:, 0, 0] += (1.0 - kept[:, 1, 1]) * state[:, 1, 1]
        return result

    return np.diagonal(numpy_unitaries(pulses, after), axis1=1, axis2=2).real


def _against_qibolab(rate: float) -> Figure:
    """Sweep points a second of Qibolab's emulator over ``rate``, and how far the populations of one sweep are apart."""
    name = f"Rabi sweep with decay: sweep points a second of Qibolab's emulator over ours on one core ({rate:,.0f})"
    printed = run_peer("qibolab_rabi.py", str(PEER_POINTS), f"{1e9 * DURATION_S:.0f}", str(PEER_RABI_HZ))
    if printed is None:
        return Figure(name, float("nan"), 1e-3, "", "Qibolab was not run")
    theirs = json.loads(printed)
    at = np.linspace(0.0, 1.0, 2 * STEPS + 1)
    pulses = Pulses(
        shapes=np.exp(-0.5 * ((at - 0.5) / 0.2) ** 2)[None].astype(complex),
        shape=np.zeros(PEER_POINTS, np.int64),
        scale_rad_s=2.0 * np.pi * PEER_RABI_HZ * np.linspace(0.0, 1.0, PEER_POINTS) + 0j,
        duration_s=np.full(PEER_POINTS, DURATION_S),
        detuning_rad_s=np.zeros(PEER_POINTS),
        anharmonicity_rad_s=np.full(PEER_POINTS, -2.0 * np.pi * 0.25e9),
    )
    own = density_matrices(pulses, decay_of(T1_S, 1.0 / (1.0 / T2_S - 0.5 / T1_S)), level_vector(0)[None])[:, 0, 1]
    apart = np.abs(own - theirs["populations"]).max()
    points = PEER_POINTS / theirs["seconds"]
    return Figure(name, points / rate, 1e-3, "", f"Qibolab: {points:.1f} a second; populations of state 1 differ by {apart:.3f} at most")


def _seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Least processor time of some calls, of all cores together, after one that warms up."""
    work()
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


if __name__ == "__main__":
    for figure in benchmark_pulse_evolutions():
        print(figure.line())
