"""Probabilities of photon numbers and of clicked bins, exactly.

The hafnian of a pattern of n photons is summed in O(2^n) subsets of pairs (`subsets`), or term by term where modes hold many photons
(`amplitudes`). Hamilton et al., Phys. Rev. Lett. 119, 170501 (2017), doi:10.1103/PhysRevLett.119.170501; with displacement Quesada, J.
Chem. Phys. 150, 164113 (2019), doi:10.1063/1.5086387.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np

from tiandi.computing.photonics.exact.amplitudes import photon_moments
from tiandi.computing.photonics.exact.clicks import no_click_probabilities
from tiandi.computing.photonics.exact.light import IntArray, dark_probability, require_subsets, subset_moments
from tiandi.computing.photonics.exact.subsets import single_photon_moments
from tiandi.computing.photonics.exact.totals import total_photon_distribution
from tiandi.computing.photonics.gaussian import ComplexArray, FloatArray, GaussianState, Machine
from tiandi.errors import InputError
from tiandi.limits import require_within

LARGEST_HAFNIAN = 40
SUBSETS_FROM = 1 << 14
LARGEST_BIN_CELLS = 1 << 16
PURE = 1e-9


def photon_probability(state: GaussianState, counts: Sequence[int] | IntArray) -> float:
    """Probability that mode i holds ``counts[i]`` photons, for all modes: |lhaf B|^2 of pure, lhaf A of mixed states, over the factorials.

    Raises InputError where the hafnian has more than 40 rows: 40 photons of a pure state, 20 of a mixed one (half a minute).
    """
    numbers = np.asarray(counts)
    if numbers.shape != (state.modes,) or numbers.dtype.kind not in "iu" or (numbers < 0).any():
        raise InputError("counts", numbers.tolist(), f"must be {state.modes} whole numbers from 0")
    numbers = numbers.astype(np.int64)
    husimi, amplitude = _husimi(state)
    inverse = np.linalg.inv(husimi)
    modes = state.modes
    vacuum = math.exp(-float((amplitude.conj() @ inverse @ amplitude).real) / 2) / math.sqrt(np.linalg.det(husimi).real)
    rest = np.eye(2 * modes) - inverse
    quadratic = np.concatenate([rest[modes:], rest[:modes]])
    linear = amplitude.conj() @ inverse
    factorials = math.prod(math.factorial(int(n)) for n in numbers)
    if np.abs(quadratic[:modes, modes:]).max() < PURE:
        return vacuum * abs(loop_hafnian(quadratic[:modes, :modes], linear[:modes], numbers)) ** 2 / factorials
    hafnian = loop_hafnian(quadratic, linear, np.concatenate([numbers, numbers]))
    return max(0.0, vacuum * hafnian.real / factorials)


def loop_hafnian(matrix: ComplexArray, loops: ComplexArray, counts: IntArray) -> complex:
    """The loop hafnian of ``matrix`` (k, k) with ``loops`` (k,) on its diagonal, row i repeated ``counts[i]`` times.

    Couplings between copies of a row are ``matrix[i, i]``. Raises InputError above 40 rows.
    """
    rows = np.repeat(np.arange(len(counts)), counts)
    if len(rows) > LARGEST_HAFNIAN:
        raise InputError("rows of the hafnian", len(rows), f"must be at most {LARGEST_HAFNIAN}")
    out = np.zeros(1, complex)
    if float(np.prod(counts + 1.0)) < SUBSETS_FROM:
        kept = np.flatnonzero(counts)
        kept = kept[np.argsort(counts[kept] % 2 == 0, kind="stable")]
        sub = np.ascontiguousarray(matrix[np.ix_(kept, kept)], complex)
        photon_moments(sub, counts[kept].astype(np.int64), loops[kept].astype(complex), np.zeros(len(kept), complex), 0, out)
    else:
        sub = np.ascontiguousarray(matrix[np.ix_(rows, rows)], complex)
        single_photon_moments(sub, loops[rows].astype(complex), np.zeros(len(rows), complex), out)
    return complex(out[0])


def number_distribution(state: GaussianState, mode: int, largest: int) -> FloatArray:
    """Probability (largest + 1,) of each number of photons in one mode, the others not looked at."""
    require_subsets(np.array([[mode]]), state.modes)
    return total_photon_distribution(state.part(np.array([mode])), largest)


def bin_distribution(light: GaussianState | Machine, modes: Sequence[int] | IntArray, bins: int) -> FloatArray:
    """Joint probability (bins + 1, ..) of the number of clicked bins of each of ``modes``, its light spread evenly over ``bins`` detectors.

    k given bins of b stay dark with E[(1 - k/b)^n], the vacuum's probability behind a transmission of k/b; the rest is inclusion and
    exclusion. A machine's dark counts are those of each bin. Raises InputError above 65,536 outcomes.
    """
    chosen = require_subsets(np.asarray(modes, np.int64)[None, :], light.modes)[0]
    require_within("bins", bins, 1, 32)
    cells = (bins + 1) ** len(chosen)
    if not len(chosen) or cells > LARGEST_BIN_CELLS:
        raise InputError("modes", len(chosen), f"must be at least 1 and have at most {LARGEST_BIN_CELLS:,} joint outcomes of {bins} bins")
    dark_bins = np.array(list(product(range(bins + 1), repeat=len(chosen))))
    silent = 1 - (light.detectors.dark_count_probability if isinstance(light, Machine) else 0.0)
    table = (_vacuum_behind(light, chosen, dark_bins / bins) * silent ** dark_bins.sum(axis=1)).reshape((bins + 1,) * len(chosen))
    change = _dark_to_clicked(bins)
    for axis in range(len(chosen)):
        table = np.moveaxis(np.tensordot(change, table, axes=(1, axis)), 0, axis)
    return np.clip(table, 0.0, 1.0)


def _dark_to_clicked(bins: int) -> FloatArray:
    """(clicked, dark): P(k clicked) = C(b, k) sum_i (-1)^i C(k, i) P(b - k + i given bins dark)."""
    change = np.zeros((bins + 1, bins + 1))
    for clicked in range(bins + 1):
        for i in range(clicked + 1):
            change[clicked, bins - clicked + i] = math.comb(bins, clicked) * (-1) ** i * math.comb(clicked, i)
    return change


class _SideBySide(Machine):
    """Rows of several machines of the same sources one under another, none of which is asked for together with another's."""

    def __post_init__(self) -> None:
        """No interferometer has all of these rows at once: there is nothing to check."""


def _vacuum_behind(light: GaussianState | Machine, modes: IntArray, transmissions: FloatArray) -> FloatArray:
    """Probability (n,) that no light is left behind the ``transmissions`` (n, k) of ``modes`` (k,)."""
    count, size = transmissions.shape
    if isinstance(light, Machine):
        transfer = (np.sqrt(transmissions)[:, :, None] * light.transfer[modes]).reshape(count * size, -1)
        behind = _SideBySide(light.name, light.squeezing_r, transfer, light.indistinguishability)
        assert dark_probability(behind) == 0
        return no_click_probabilities(behind, np.arange(count * size).reshape(count, size))
    matrices, means = subset_moments(light, modes[None])
    roots = np.repeat(np.sqrt(transmissions), 2, axis=1)
    behind_matrices = np.eye(2 * size) + roots[:, :, None] * (matrices[0] - np.eye(2 * size)) * roots[:, None, :]
    lower = np.linalg.cholesky(behind_matrices)
    moved = np.linalg.solve(lower, (roots * means)[:, :, None])[:, :, 0]
    return np.exp(-(moved**2).sum(axis=1) / 4) / np.prod(np.diagonal(lower, axis1=1, axis2=2), axis=1)


def _husimi(state: GaussianState) -> tuple[ComplexArray, ComplexArray]:
    """Covariance (2 modes, 2 modes) of Husimi's function and mean (2 modes,) for (a, a^t)."""
    unit = np.eye(state.modes)
    change: ComplexArray = np.asarray(np.block([[unit, 1j * unit], [unit, -1j * unit]]) / 2, complex)
    return change @ state.covariance @ change.conj().T + np.eye(2 * state.modes) / 2, change @ state.mean
