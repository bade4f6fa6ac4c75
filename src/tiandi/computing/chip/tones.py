"""Which tones reach which qubit while drive lines play: their own, those of other lines by crosstalk, and the images that mixers leave.

A tone counts when the turn that it could make by itself is above `THRESHOLD_RAD`: that of its spectrum, R T / (2 + 4 |D T|^3) of a smooth
pulse and R T / (1 + pi |D T|) of one with steep edges, plus R^2 T / 2|D| of the shift by its light, with the Rabi frequency R, the
detuning D and the length T. Weaker ones are left out: what each of them could do to a population is below the square of a half of the
threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tiandi.computing.chip.bench import Bench
from tiandi.computing.chip.checks import grid
from tiandi.computing.chip.parameters import ComplexArray, FloatArray, IntArray
from tiandi.computing.instruments.instrument import Electronics, Settings
from tiandi.computing.instruments.program import Drive, Program, Shape

THRESHOLD_RAD = 6e-3


@dataclass(frozen=True, eq=False)
class Sources:
    """Everything that drive lines play in one moment: one source for each operation and target. (S, P), or (S, 1) without a sweep."""

    line: IntArray
    target: IntArray
    shape: IntArray
    """(S,): index of ``shapes``."""
    shapes: tuple[Shape, ...]
    amplitude: FloatArray
    """As the digital-to-analogue converter has it, in whole steps."""
    frequency_hz: FloatArray
    phase_rad: FloatArray
    """With the virtual turns before it."""
    drag_ns: FloatArray
    duration_ns: FloatArray
    start_ns: FloatArray


@dataclass(frozen=True, eq=False)
class Heard:
    """What entries hear: ``entry``, ``source``, Rabi frequency ``reach_hz`` at amplitude 1 with its phase, and whether it is an image."""

    entry: IntArray
    source: IntArray
    reach_hz: ComplexArray
    image: np.ndarray
    strength_rad: FloatArray


def narrow(values: FloatArray) -> FloatArray:
    """(T, P) -> (T, 1) where the points are all alike by construction."""
    return values[:, :1] if values.shape[1] > 1 and values.strides[1] == 0 else values


def sources_of(program: Program, drives: Sequence[Drive], virtual_rad: FloatArray, electronics: Electronics) -> Sources:
    """The sources of one moment; ``virtual_rad`` (lines, P or 1): the turns of virtual phases so far."""
    step = 2.0 ** (electronics.drive_bit - 1)
    shapes = tuple(dict.fromkeys(drive.shape for drive in drives))

    def field(name: str) -> FloatArray:
        parts = [narrow(grid(getattr(drive, name), program.targets, program.points, name)) for drive in drives]
        width = max(part.shape[1] for part in parts)
        return np.concatenate([np.broadcast_to(part, (program.targets, width)) for part in parts])

    lines = np.concatenate([np.asarray(drive.lines, np.int64) for drive in drives])
    return Sources(
        line=lines,
        target=np.tile(np.arange(program.targets), len(drives)),
        shape=np.repeat([shapes.index(drive.shape) for drive in drives], program.targets),
        shapes=shapes,
        amplitude=np.round(field("amplitude") * step) / step,
        frequency_hz=field("frequency_hz"),
        phase_rad=field("phase_rad") + virtual_rad[lines],
        drag_ns=field("drag_ns"),
        duration_ns=field("duration_ns"),
        start_ns=field("start_ns"),
    )


def heard(bench: Bench, sources: Sources, qubits: IntArray, *, own_target: IntArray | None = None) -> Heard:
    """What the entries, ``qubits`` (E,), hear of ``sources`` above the threshold; with ``own_target`` (E,) of those of that target only."""
    hidden, settings, now = bench.hidden, bench.settings, bench.now
    part = now.drive[qubits].tocoo()
    order = np.argsort(sources.line, kind="stable")
    begin = np.searchsorted(sources.line[order], part.col, "left")
    count = np.searchsorted(sources.line[order], part.col, "right") - begin
    pick = np.repeat(np.arange(len(part.col)), count)
    within = np.arange(len(pick)) - np.repeat(np.cumsum(count) - count, count)
    source = order[begin[pick] + within]
    entry, reach = part.row[pick].astype(np.int64), part.data[pick]
    if own_target is not None:
        kept = sources.target[source] == own_target[entry]
        entry, source, reach = entry[kept], source[kept], reach[kept]
    left = (hidden.imbalance - settings.drive_imbalance)[sources.line[source]]
    entry, source = np.tile(entry, 2), np.tile(source, 2)
    image = np.repeat([False, True], len(left))
    reach = np.concatenate([reach, reach * left])
    away = np.abs(frequency_of(settings, sources, source, image) - now.frequency_hz[qubits[entry], None]).min(axis=1)
    strength = _strength(sources, source, np.abs(reach), away)
    strong = strength > THRESHOLD_RAD
    return Heard(entry[strong], source[strong], reach[strong], image[strong], strength[strong])


def frequency_of(settings: Settings, sources: Sources, source: IntArray, image: np.ndarray) -> FloatArray:
    """(R, P or 1): of a tone, or of its image on the other side of the local oscillator."""
    frequency = sources.frequency_hz[source]
    if not image.any():
        return frequency
    return np.where(image[:, None], 2 * settings.oscillator_hz[sources.line[source], None] - frequency, frequency)


def _strength(sources: Sources, source: IntArray, reach_hz: FloatArray, away: FloatArray) -> FloatArray:
    """(R,): the turn [rad] that a tone of the Rabi frequency ``reach_hz`` at amplitude 1, ``away`` [Hz] from the qubit, could make."""
    rabi = 2 * np.pi * reach_hz * np.abs(sources.amplitude).max(axis=1)[source]
    time = sources.duration_ns.max(axis=1)[source] * 1e-9
    steep = np.array([shape.kind in {"square", "flattop"} for shape in sources.shapes])[sources.shape[source]]
    cycles = away * time
    spectrum = rabi * time / np.where(steep, 1 + np.pi * cycles, 2 + 4 * cycles**3)
    light = rabi**2 * time / (2 * np.hypot(2 * np.pi * away, 1 / np.maximum(time, 1e-12)))
    return spectrum + light
