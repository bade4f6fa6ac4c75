"""Two transmons with a tunable coupler, under pulses on the qubits' frequencies and on the coupling.

In a frame that turns with one frequency for both, H = sum over both of w_i(t) n_i + a_i n_i (n_i - 1) / 2, and
g(t) (a1^dagger a2 + a1 a2^dagger)  [rad/s], with g the effective exchange (see `coupling`). The number of excitations is conserved: the six
levels 00; 01, 10; 11, 20, 02 fall into three blocks. A step is that of `transmon`, of fourth order. Levels 12, 21 and 22, which are
filled only by the square of a small leakage, rest as they are. |mn> has m excitations in the first transmon.

Vectors of two transmons (of three levels each) are products of those of `hermitian`: 81 numbers, element 9 i + j belongs to element i of
the first and element j of the second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.chip.evolution.batches import blocks_of, on_all_cores
from tiandi.computing.chip.evolution.decay import Decay, idle_blocks
from tiandi.computing.chip.evolution.hermitian import basis_of
from tiandi.computing.chip.evolution.pair_loops import evolve_pair_density_matrices, evolve_pairs
from tiandi.computing.instruments.program import ComplexArray, FloatArray, IntArray
from tiandi.errors import InputError
from tiandi.limits import require_each_within

CHUNKS = 16
"""Parts of a pulse between which decay is put: of a CZ of 40 ns with T1 of 30 us this leaves errors of 3e-5 in elements."""


@dataclass(frozen=True, eq=False)
class PairPulses:
    """A batch of B pulses, each on a pair. A quantity is a polynomial of its shape: sum over p of coefficient[:, p] s(t)^p, p from 0."""

    shapes: FloatArray
    """(S, T): sampled evenly over the pulse, its begin and its end among the samples; T is odd."""
    duration_s: FloatArray
    """(B,)."""
    first_shape: IntArray
    second_shape: IntArray
    coupling_shape: IntArray
    """(B,): rows of ``shapes``."""
    first_rad_s: FloatArray
    second_rad_s: FloatArray
    """(B, P): 0-1 transitions minus the frequency of the frame, with P of their own."""
    coupling_rad_s: FloatArray
    """(B, P): g."""
    first_anharmonicity_rad_s: FloatArray
    second_anharmonicity_rad_s: FloatArray
    """(B,): negative for transmons."""
    samples: IntArray | None = None
    """(B,): how many samples of its rows an entry uses (odd); None for all T."""


@dataclass(frozen=True, eq=False)
class PairUnitaries:
    """What pulses do to the six levels; level 00 keeps its phase."""

    single: ComplexArray
    """(..., 2, 2) of the levels 01, 10."""
    double: ComplexArray
    """(..., 3, 3) of the levels 11, 20, 02."""

    @property
    def conditional_phase_rad(self) -> FloatArray:
        """(...): phase of 11 beyond those of 01 and 10; pi for a CZ."""
        alone = self.single[..., 0, 0] * self.single[..., 1, 1]
        return np.angle(self.double[..., 0, 0] * alone.conj())

    @property
    def leakage(self) -> FloatArray:
        """(...): population that leaves 11 for 20 and 02."""
        return (np.abs(self.double[..., 1:, 0]) ** 2).sum(axis=-1)

    @property
    def swapped(self) -> FloatArray:
        """(...): population that goes from 01 to 10."""
        return np.abs(self.single[..., 1, 0]) ** 2

    def seen_from(self, first_rad_s: FloatArray, second_rad_s: FloatArray, begin_s: FloatArray, end_s: FloatArray) -> PairUnitaries:
        """In frames of their own, which turn with the given frequencies in the common frame and agreed with it at time 0; all (...)."""

        def turned(part: ComplexArray, frequencies: list[FloatArray]) -> ComplexArray:
            each = np.stack(np.broadcast_arrays(*frequencies), axis=-1)
            after, before = (np.exp(1j * each * np.asarray(time)[..., None]) for time in (end_s, begin_s))
            return after[..., :, None] * part * before.conj()[..., None, :]

        single = turned(self.single, [second_rad_s, first_rad_s])
        return PairUnitaries(single, turned(self.double, [first_rad_s + second_rad_s, 2.0 * first_rad_s, 2.0 * second_rad_s]))

    def full(self) -> ComplexArray:
        """(..., 9, 9): all levels, |mn> at 3 m + n; 12, 21 and 22 rest."""
        result = np.zeros((*self.single.shape[:-2], 9, 9), np.complex128)
        result[...] = np.eye(9)
        result[..., [[1], [3]], [1, 3]] = self.single
        result[..., [[4], [6], [2]], [4, 6, 2]] = self.double
        return result


def pair_unitaries(pulses: PairPulses, *, chunks: int = 1) -> PairUnitaries:
    """What each pulse does without decay, in the common frame; with ``chunks`` > 1, what each of so many parts does: (B, chunks, ...)."""
    prepared, samples = _prepared(pulses)
    if chunks < 1 or (chunks > (samples - 1) // 2).any():
        raise InputError("chunks", chunks, f"must be from 1 to {int((samples.min() - 1) // 2)}, the steps of the pulse")
    count = len(samples)
    single, double = np.empty((count, chunks, 2, 2), np.complex128), np.empty((count, chunks, 3, 3), np.complex128)
    on_all_cores(evolve_pairs, blocks_of(count), *prepared, single, double)
    return PairUnitaries(single, double) if chunks > 1 else PairUnitaries(single[:, 0], double[:, 0])


def pair_density_matrices(pulses: PairPulses, first: Decay, second: Decay, initial: FloatArray, *, chunks: int = CHUNKS) -> FloatArray:
    """Vectors of two transmons after each pulse with decay, from ``initial`` (R, 81), the same for all, or (B, R, 81): (B, R, 81).

    Decay stands half before and half after each of ``chunks`` parts; the pulse's samples must be a multiple of 2 ``chunks``, and 1.
    """
    count = len(pulses.duration_s)
    if initial.shape[-1] != 81 or initial.ndim not in {2, 3} or (initial.ndim == 3 and len(initial) not in {1, count}):
        raise InputError("initial", initial.shape, "must be (R, 81) or (B, R, 81)")
    steps = (np.full(count, pulses.shapes.shape[1]) if pulses.samples is None else np.asarray(pulses.samples)) // 2
    if (steps % chunks).any():
        raise InputError("samples", 2 * int(steps[steps % chunks > 0][0]) + 1, f"must be a multiple of {2 * chunks}, and 1")
    parts = pair_unitaries(pulses, chunks=chunks)
    elements = _elements()
    given = np.ascontiguousarray((initial if initial.ndim == 3 else initial[None]) @ elements)
    results = np.empty((count, initial.shape[-2], 81), np.complex128)
    decay = np.empty((2, 2, count, 14))
    for own, rates in zip(decay, (first, second), strict=True):
        for share, kind in zip((0.5, 1.0), own, strict=True):
            blocks = idle_blocks(np.broadcast_to(share / chunks * pulses.duration_s, count), rates, np.zeros((1, 3)))
            parts_of = [blocks[:, apart, : 3 - apart, : 3 - apart].real.reshape(count, -1) for apart in range(3)]
            kind[...] = np.concatenate(parts_of, axis=1)
    single, double = (each.reshape(count, chunks, *each.shape[-2:]) for each in (parts.single, parts.double))
    on_all_cores(evolve_pair_density_matrices, blocks_of(count), single, double, decay, given, results)
    # One large product instead of many small ones, between which threads would wait.
    return np.ascontiguousarray((results.reshape(-1, 81) @ np.linalg.inv(elements)).real.reshape(results.shape))


def pair_superoperators(pulses: PairPulses, first: Decay, second: Decay, *, chunks: int = CHUNKS) -> FloatArray:
    """(B, 81, 81): what each pulse does to vectors of two transmons, decay included."""
    return np.ascontiguousarray(np.swapaxes(pair_density_matrices(pulses, first, second, np.eye(81), chunks=chunks), 1, 2))


def pair_populations(vectors: FloatArray) -> FloatArray:
    """(..., 81) -> (..., 3, 3): populations of the levels of both."""
    return vectors.reshape(*vectors.shape[:-1], 9, 9)[..., :3, :3]


def _elements() -> ComplexArray:
    """(81, 81): density matrices (flat: <3 m1 + m2| rho |3 n1 + n2>) of the unit vectors."""
    basis = basis_of(3)
    return np.ascontiguousarray(np.einsum("iac,jbd->ijabcd", basis, basis).reshape(81, 81))


def _prepared(pulses: PairPulses) -> tuple[tuple[object, ...], IntArray]:
    """What the loop takes, with a bound of the norm of a step, and the samples of each entry."""
    count, (rows, width) = len(pulses.duration_s), pulses.shapes.shape
    duration = require_each_within("duration_s", pulses.duration_s, 0.0, 1.0)
    samples = np.full(count, width) if pulses.samples is None else np.array(pulses.samples, np.int64)
    if ((samples % 2 == 0) | (samples < 3) | (samples > width)).any():
        raise InputError("samples", samples.tolist(), f"must be odd and from 3 to {width}")
    places = np.stack([np.asarray(each, np.int64) for each in (pulses.first_shape, pulses.second_shape, pulses.coupling_shape)])
    if places.size and not 0 <= places.min() <= places.max() < rows:
        raise InputError("shape", [int(places.min()), int(places.max())], f"must number the {rows} rows of the shapes")
    shapes = np.ascontiguousarray(pulses.shapes, float)
    peak = np.abs(shapes).max(axis=1)
    given = [np.asarray(each, float) for each in (pulses.first_rad_s, pulses.second_rad_s, pulses.coupling_rad_s)]
    terms = max(each.shape[1] for each in given)
    polynomials = np.zeros((3, count, terms))
    for each, to in zip(given, polynomials, strict=True):
        to[:, : each.shape[1]] = each
    anharmonicity = np.stack(
        [np.broadcast_to(each, count) for each in (pulses.first_anharmonicity_rad_s, pulses.second_anharmonicity_rad_s)]
    )
    step = 2.0 * duration / (samples - 1)
    # Only differences of levels matter: constants that both frequencies share are taken out.
    apart = np.abs(polynomials[0, :, 0] - polynomials[1, :, 0])
    powers = peak[places][..., None] ** np.arange(terms)
    largest = (np.abs(polynomials) * powers).sum(axis=-1)
    moved = (np.abs(polynomials) * powers)[:2, :, 1:].sum(axis=(0, 2))
    spread = apart + moved + np.abs(anharmonicity).max(axis=0)
    norms = step * (spread + (2.0 + 0.4 * step * spread) * largest[2])
    return (shapes.ravel(), places * width, samples, step, polynomials, np.ascontiguousarray(anharmonicity, float), norms), samples
