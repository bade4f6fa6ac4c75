"""From populations to what the digitisers report: means, shots one by one, or shares of what discriminators called; and the reset."""

from __future__ import annotations

import numpy as np

from tiandi.computing.chip.bench import Bench
from tiandi.computing.chip.checks import grid
from tiandi.computing.chip.ensemble import decay_of_entries
from tiandi.computing.chip.evolution.decay import idle_superoperators
from tiandi.computing.chip.parameters import ComplexArray, FloatArray, IntArray
from tiandi.computing.chip.pulsing import Played, maps_of
from tiandi.computing.chip.readout import Signals, assignment, draw_shots, jump_shares, moments, signals
from tiandi.computing.chip.tones import narrow
from tiandi.computing.instruments.program import Measure, Program, Shape

RAW_BATCH = 4_000_000


def measure_program(
    bench: Bench, program: Program, populations: FloatArray, generator: np.random.Generator
) -> tuple[FloatArray | None, ComplexArray | None]:
    """(populations, iq) of a Reading from true populations: (T, P, 3) of one measure, (T, P, 3, 3) of two."""
    reads = [_signals(bench, program, measure) for measure in program.measures]
    if program.outcome == "shots":
        return None, _raw(reads, populations, program, generator)
    if program.outcome == "mean":
        each = [populations] if len(reads) == 1 else [populations.sum(axis=3), populations.sum(axis=2)]
        return None, np.stack([_means(*read, share, program, generator) for read, share in zip(reads, each, strict=True)])
    called = populations
    for number, ((read, width), measure) in enumerate(zip(reads, program.measures, strict=True)):
        chances = _chances(bench, read, np.repeat(measure.lines, width)).reshape(program.targets, width, 3, 3)
        chances = np.broadcast_to(chances, (*called.shape[:2], 3, 3))
        # The first measure's axis of true states becomes the last one, of calls: after two measures the order is as it was.
        called = np.einsum("tps...,tpsk->tp...k", called, chances) if number == 0 or len(reads) == 2 else called
    shape = called.shape
    return counted(called.reshape(*shape[:2], -1), program.shots, generator).reshape(shape), None


def counted(chances: FloatArray, shots: int, generator: np.random.Generator) -> FloatArray:
    """Shares of so many shots, drawn from the multinomial distribution of ``chances`` (..., K)."""
    clean = np.clip(chances, 0.0, None)
    clean = clean / clean.sum(axis=-1, keepdims=True)
    return generator.multinomial(shots, clean) / shots


def _signals(bench: Bench, program: Program, measure: Measure) -> tuple[Signals, int]:
    """What a measure can bring, for T x width entries, and the width: P, or 1 where no point differs."""
    parts = [
        narrow(grid(getattr(measure, name), program.targets, program.points, name)) for name in ("frequency_hz", "amplitude", "duration_ns")
    ]
    width = max(part.shape[1] for part in parts)
    frequency, amplitude, duration = (np.broadcast_to(part, (program.targets, width)).ravel() for part in parts)
    qubits = np.repeat(np.asarray(measure.lines, np.int64), width)
    return signals(bench.hidden, bench.now, qubits, frequency_hz=frequency, amplitude=amplitude, duration_ns=duration), width


def _chances(bench: Bench, read: Signals, lines: IntArray) -> FloatArray:
    return assignment(read, bench.settings.discriminator[lines], bench.settings.threshold[lines])


def _means(read: Signals, width: int, share: FloatArray, program: Program, generator: np.random.Generator) -> ComplexArray:
    """(T, P): mean of the shots, drawn with the mean and the covariance of the mixture of states and jumps."""
    shape = (program.targets, width, 3)
    mean, in_phase, quadrature, crossed = (part.reshape(shape) for part in moments(read))
    noise = np.square(read.noise).reshape(program.targets, width)
    centre = (share * mean).sum(axis=2)
    away = mean - centre[:, :, None]
    var_i = (share * (in_phase + away.real**2)).sum(axis=2) + noise
    var_q = (share * (quadrature + away.imag**2)).sum(axis=2) + noise
    both = (share * (crossed + away.real * away.imag)).sum(axis=2)
    first, second = generator.standard_normal((2, *centre.shape))
    spread_i = np.sqrt(var_i)
    part = both / spread_i
    rest = np.sqrt(np.maximum(var_q - part**2, 0.0))
    return centre + (spread_i * first + 1j * (part * first + rest * second)) / np.sqrt(program.shots)


def _raw(reads: list[tuple[Signals, int]], populations: FloatArray, program: Program, generator: np.random.Generator) -> ComplexArray:
    """(measures, T, P, shots): the state of each shot is drawn once for all measures."""
    entries = program.targets * program.points
    bounds = np.cumsum(populations.reshape(entries, -1), axis=1)
    out = np.empty((len(reads), entries, program.shots), np.complex128)
    rows = max(1, RAW_BATCH // program.shots)
    for first in range(0, entries, rows):
        chosen = slice(first, min(first + rows, entries))
        drawn = generator.random((chosen.stop - first, program.shots))
        state = (drawn[:, :, None] > bounds[chosen, None, :-1]).sum(axis=2)
        states = (state,) if len(reads) == 1 else (state // 3, state % 3)
        for number, ((read, width), own) in enumerate(zip(reads, states, strict=True)):
            place = np.repeat(np.arange(program.targets) * width, program.points)
            place = (place + (np.tile(np.arange(program.points), program.targets) if width > 1 else 0))[chosen]
            out[number, chosen] = draw_shots(generator, Signals(read.centre[place], read.noise[place], read.jump[place]), own)
    return out.reshape(len(reads), program.targets, program.points, program.shots)


def reset_populations(bench: Bench, program: Program, final: FloatArray, qubits: IntArray) -> FloatArray:
    """(E, P, 3): populations when the next shot begins, after ``final`` (E, P, 3)."""
    decay = decay_of_entries(bench.now, qubits)
    if program.reset == "wait":
        waited = idle_superoperators(np.full(len(qubits), program.wait_ns * 1e-9), decay)[:, :3, :3]
        return final @ waited.swapaxes(1, 2)
    settings = bench.settings
    read = signals(
        bench.hidden,
        bench.now,
        qubits,
        frequency_hz=settings.readout_frequency_hz[qubits],
        amplitude=settings.readout_amplitude[qubits],
        duration_ns=np.full(len(qubits), settings.readout_duration_ns),
    )
    called = _chances(bench, read, qubits)
    stay, share, _ = jump_shares(read.jump)
    after = share + stay[:, :, None] * np.eye(3)
    turned = _reset_pulse(bench, qubits)
    # A shot of state s is called 1 with a chance, and then turned; what the measurement did to it is taken as independent of the call.
    kept = np.einsum("es,esk->esk", 1 - called[:, :, 1], after)
    flipped = np.einsum("es,esk,ejk->esj", called[:, :, 1], after, turned)
    return final @ (kept + flipped)


def _reset_pulse(bench: Bench, qubits: IntArray) -> FloatArray:
    """(E, 3, 3): populations after the reset pulse (row) from populations before it (column)."""
    settings, now = bench.settings, bench.now
    count = len(qubits)
    reach = np.abs(np.asarray(now.drive[qubits, settings.reset_line[qubits]])).ravel()
    tones = Played(
        rabi_rad_s=(2 * np.pi * reach * settings.reset_amplitude[qubits])[:, None],
        frequency_hz=settings.reset_frequency_hz[qubits][:, None],
        phase_rad=np.zeros((count, 1)),
        drag_ns=np.zeros((count, 1)),
        duration_ns=np.full((count, 1), settings.reset_duration_ns),
        start_ns=np.zeros((count, 1)),
        shape=np.zeros((count, 1), np.int64),
        clock_ns=np.zeros(count),
        qubit_hz=now.frequency_hz[qubits],
        anharmonicity_hz=bench.hidden.anharmonicity_hz[qubits],
    )
    return maps_of(tones, (Shape("cosine"),), decay_of_entries(now, qubits))[:, :3, :3]
