"""Single transmons under sampled pulses: unitaries, density matrices and superoperators of whole batches.

In the frame that turns with the drive a transmon of L levels (Duffing oscillator) has
H = detuning n + anharmonicity n (n - 1) / 2 + (Omega(t) a^dagger + Omega(t)* a) / 2  [rad/s],
where Omega is the complex envelope in units of the angular Rabi rate of 0-1. A step is the Magnus series to fourth order with the
integrals by Simpson's rule: exp(-i G), G = h (H1 + 4 H2 + H3) / 6 + i h^2 [H1, H3] / 12 with H at the step's begin, middle and end (Blanes,
Casas, Oteo and Ros, Physics Reports 470, 151 (2009), section 5, doi 10.1016/j.physrep.2008.11.001). Of a ladder, G is tridiagonal; its
exponential is a polynomial in G (Cayley and Hamilton) out of a Taylor series. Decay stands half before and half after each step's unitary.

Angles of drives add up as the field has it: a pulse of phase phi has Omega exp(i phi) and turns about cos(phi) x + sin(phi) y.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from tiandi.computing.chip.evolution.batches import blocks_of, on_all_cores
from tiandi.computing.chip.evolution.decay import Decay, idle_blocks
from tiandi.computing.chip.evolution.transmon_loops import evolve_density_matrices, evolve_unitaries
from tiandi.computing.instruments.program import ComplexArray, FloatArray, IntArray
from tiandi.errors import InputError
from tiandi.limits import require_each_within

Levels = Literal[3, 4]


@dataclass(frozen=True, eq=False)
class Tones:
    """Further tones that reach each transmon (crosstalk, other sidebands, a derivative with a weight of its own): K for each entry."""

    shape: IntArray
    """(B, K): rows of the pulses' ``shapes``."""
    scale_rad_s: ComplexArray
    """(B, K): multiplies the shape; 0 for no tone."""
    detuning_rad_s: FloatArray
    """(B, K): the tone's frequency minus that of the frame; the envelope is turned by exp(-i detuning (t + start))."""
    start_s: FloatArray
    """(B, K): what the clock of that exponential shows when the pulse begins."""


@dataclass(frozen=True, eq=False)
class Pulses:
    """A batch of B pulses, each on one transmon. Memory goes as B + S T: shapes are shared."""

    shapes: ComplexArray
    """(S, T): envelopes, sampled evenly over the pulse, first sample at its begin and last at its end; see `samples_needed`. T is odd."""
    shape: IntArray
    """(B,): row of ``shapes``."""
    scale_rad_s: ComplexArray
    """(B,): multiplies the shape to Omega."""
    duration_s: FloatArray
    """(B,): the time that the samples span."""
    detuning_rad_s: FloatArray
    """(B,): 0-1 transition minus the frequency of the frame."""
    anharmonicity_rad_s: FloatArray
    """(B,): 1-2 transition minus 0-1 transition; negative for transmons."""
    samples: IntArray | None = None
    """(S,): how many samples of a row are used (odd); None for all T. Flux shapes and tones of an entry have as many as its shape."""
    flux_shapes: FloatArray = field(default_factory=lambda: np.zeros((1, 1)))
    """(F, T): shapes s(t) of flux pulses, sampled alike."""
    flux_shape: IntArray | None = None
    """(B,): row of ``flux_shapes``; None for no flux pulses."""
    flux_rad_s: FloatArray | None = None
    """(B, P): the detuning gets sum over p of flux_rad_s[:, p - 1] s(t)^p, p = 1 to P: so that arcs can be followed."""
    tones: Tones | None = None


def samples_needed(duration_s: ArrayLike, fastest_rad_s: ArrayLike = 2e9, *, error: float = 1e-6) -> int:
    """An odd number of samples for pulses up to ``duration_s`` long so that unitaries are exact to about ``error`` in their elements.

    ``fastest_rad_s`` is the fastest of anharmonicity, detunings of tones and flux pulses, and inverse rise time. The rule is measured
    on DRAG pulses and far-detuned tones: the error goes as the fourth power of the step; it is below 1e-6 at fastest times step of 0.55.
    """
    step = 0.55 * (error / 1e-6) ** 0.25
    return 2 * max(4, int(np.ceil(np.max(np.multiply(duration_s, fastest_rad_s)) / step))) + 1


def unitaries(pulses: Pulses, *, levels: Levels = 3) -> ComplexArray:
    """(B, L, L): what each pulse does without decay, in the frame of the drive."""
    prepared = _prepared(pulses, levels)
    results = np.empty((len(pulses.shape), levels, levels), np.complex128)
    on_all_cores(evolve_unitaries[levels], blocks_of(len(results)), *prepared, results)
    return results


def density_matrices(pulses: Pulses, decay: Decay, initial: FloatArray) -> FloatArray:
    """Vectors of `hermitian` after each pulse with decay, from ``initial`` (R, L^2), the same for all, or (B, R, L^2): (B, R, L^2).

    The populations are the first L elements. Error of the splitting of decay: of the order of decay rate x duration x (Omega step)^2 / 24.
    """
    count, (rows, size) = len(pulses.shape), initial.shape[-2:]
    if size not in {9, 16} or initial.ndim not in {2, 3} or (initial.ndim == 3 and len(initial) != count):
        raise InputError("initial", initial.shape, "must be (R, L^2) or (B, R, L^2) with 3 or 4 levels")
    levels: Levels = 3 if size == 9 else 4
    prepared = _prepared(pulses, levels)
    steps = (pulses.shapes.shape[1] - 1) // 2 if pulses.samples is None else (pulses.samples[pulses.shape] - 1) // 2
    half = idle_blocks(np.broadcast_to(pulses.duration_s / steps, count), decay, np.zeros((1, levels))).real.copy()
    half_step = idle_blocks(np.broadcast_to(0.5 * pulses.duration_s / steps, count), decay, np.zeros((1, levels))).real.copy()
    results = np.empty((count, rows, size))
    given = np.ascontiguousarray(np.broadcast_to(initial, results.shape) if initial.ndim == 3 else initial[None], dtype=float)
    on_all_cores(evolve_density_matrices[levels], blocks_of(count), *prepared, half, half_step, given, results)
    return results


def superoperators(pulses: Pulses, decay: Decay, *, levels: Levels = 3) -> FloatArray:
    """(B, L^2, L^2): what each pulse does to vectors of `hermitian`."""
    return np.ascontiguousarray(np.swapaxes(density_matrices(pulses, decay, np.eye(levels * levels)), 1, 2))


def _prepared(pulses: Pulses, levels: int) -> tuple[object, ...]:
    """What the loops take: contiguous arrays of the right types, checked, with a bound of the norm of G of each entry."""
    count = len(pulses.shape)
    rows, width = pulses.shapes.shape
    samples = np.full(rows, width) if pulses.samples is None else np.asarray(pulses.samples)
    if ((samples % 2 == 0) | (samples < 3) | (samples > width)).any():
        raise InputError("samples", samples.tolist(), f"must be odd and from 3 to {width}")
    _require_rows("shape", pulses.shape, rows)
    own = samples[pulses.shape].astype(np.int64)
    duration = require_each_within("duration_s", np.broadcast_to(pulses.duration_s, count), 0.0, 1.0)
    detuning, anharmonicity = (
        np.array(np.broadcast_to(each, count), float) for each in (pulses.detuning_rad_s, pulses.anharmonicity_rad_s)
    )
    scale = np.array(np.broadcast_to(pulses.scale_rad_s, count), np.complex128)
    shapes = np.ascontiguousarray(pulses.shapes, np.complex128)
    if pulses.tones is None:
        tones = np.zeros((count, 0), np.int64), np.zeros((count, 0), np.complex128)
        tone_detuning = tone_start = np.zeros((count, 0))
    else:
        _require_rows("tone shape", pulses.tones.shape, rows)
        tones = np.ascontiguousarray(pulses.tones.shape, np.int64), np.ascontiguousarray(pulses.tones.scale_rad_s, np.complex128)
        tone_detuning, tone_start = (np.array(each, float) for each in (pulses.tones.detuning_rad_s, pulses.tones.start_s))
    flux_shapes = np.ascontiguousarray(pulses.flux_shapes, float)
    if pulses.flux_shape is None or pulses.flux_rad_s is None:
        flux_shape, flux = np.zeros(count, np.int64), np.zeros((count, 0))
    else:
        _require_rows("flux_shape", pulses.flux_shape, len(flux_shapes))
        flux_shape, flux = np.ascontiguousarray(pulses.flux_shape, np.int64), np.ascontiguousarray(pulses.flux_rad_s, float)
    step = 2.0 * duration / (own - 1)
    peak, flux_peak = np.abs(shapes).max(axis=1), np.abs(flux_shapes).max(axis=1)
    drive = np.abs(scale) * peak[pulses.shape] + (np.abs(tones[1]) * peak[tones[0]]).sum(axis=1)
    powers = flux_peak[flux_shape][:, None] ** np.arange(1, flux.shape[1] + 1)
    furthest = np.abs(detuning) + (np.abs(flux) * powers).sum(axis=1)
    spread = 0.5 * (levels - 1) * furthest + np.abs(anharmonicity) * (2.0 / 3.0 if levels == 3 else 2.0)
    wide = furthest + (levels - 2) * np.abs(anharmonicity)
    norms = step * (spread + (1.2 + 0.2 * step * wide) * drive + 0.1 * step * drive**2)
    # The loops read flat arrays from the first sample of a row on.
    pulse = shapes.ravel(), np.asarray(pulses.shape, np.int64) * width, scale, detuning, own
    flux_pulse = flux_shapes.ravel(), flux_shape * flux_shapes.shape[1], flux
    return pulse, flux_pulse, (tones[0] * width, tones[1]), step, anharmonicity, tone_detuning, tone_start, norms


def _require_rows(field: str, rows: ArrayLike, count: int) -> None:
    given = np.asarray(rows)
    if given.size and not 0 <= given.min() <= given.max() < count:
        raise InputError(field, [int(given.min()), int(given.max())], f"must number the {count} rows of the shapes")
