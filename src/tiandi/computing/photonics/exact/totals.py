"""Distributions of total and grouped counts.

Photons: exactly, by Fourier transform of E[x^n] = det M^-1/2 exp(-(1 - x) mu^T M^-1 mu / 4), M = ((1 - x) V + 1 + x)/2. Clicks: a mean over
positive-P amplitudes of the distributions that each of them gives, with its standard error, as in Drummond, Opanchuk, Dellios and Reid,
Phys. Rev. A 105, 012427 (2022), doi:10.1103/PhysRevA.105.012427; of at most 14 modes also exactly, by enumeration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.compiling import kernel
from tiandi.computing.photonics.exact.clicks import pattern_probabilities
from tiandi.computing.photonics.exact.light import IntArray
from tiandi.computing.photonics.gaussian import ComplexArray, FloatArray, GaussianState, Machine
from tiandi.errors import InputError
from tiandi.limits import require_within

LARGEST_CELLS = 2_000_000
CHUNK_NUMBERS = 1 << 22
DEFAULT_DRAWS = 20_000
ALIASING_DEVIATIONS = 40


@dataclass(frozen=True, eq=False)
class Estimate:
    """A distribution by phase-space draws, with the standard error of each entry."""

    values: FloatArray
    errors: FloatArray
    draws: int


def total_photon_distribution(state: GaussianState, largest: int | None = None) -> FloatArray:
    """Probability (largest + 1,) of each total number of photons, exactly.

    The Fourier transform has so many points, at least 40 standard deviations above the mean, that what is folded back is below 1e-12 for
    all but the strongest squeezing. Without ``largest`` the array ends there.
    """
    eigenvalues, vectors = np.linalg.eigh(state.covariance)
    moved = (vectors.T @ state.mean) ** 2
    mean = float(state.mean_photon_numbers.sum())
    excess = eigenvalues - 1
    variance = mean + float((excess**2).sum() / 8 + (excess * moved).sum() / 4)
    deviation = math.sqrt(max(variance, 0.0))
    points = 1 << max(6, math.ceil(math.log2(mean + ALIASING_DEVIATIONS * deviation + (largest or 0) + 16)))
    roots = np.exp(-2j * np.pi * np.arange(points) / points)
    half = (1 - roots)[:, None] / 2
    logarithm = np.zeros(points, complex)
    for part in np.array_split(np.arange(len(eigenvalues)), max(1, points * len(eigenvalues) // CHUNK_NUMBERS)):
        factors = 1 + half * excess[part]
        logarithm -= np.log(factors).sum(axis=1) / 2 + (half * moved[part] / factors).sum(axis=1) / 2
    distribution = np.clip(np.fft.ifft(np.exp(logarithm)).real, 0.0, 1.0)
    return distribution if largest is None else distribution[: largest + 1]


def positive_p_intensities(light: GaussianState | Machine, draws: int, generator: np.random.Generator) -> ComplexArray:
    """Complex intensities (draws, modes) alpha beta of the positive P function, whose normally ordered means are the state's.

    Quadratures are drawn with the covariance V - 1, imaginary where that is negative. Of a machine, from its inputs; light that does not
    interfere adds (1 - s) |T|^2 times each input's intensity.
    """
    if isinstance(light, GaussianState):
        values, vectors = np.linalg.eigh(light.covariance - np.eye(2 * light.modes))
        scaled = vectors * np.sqrt(values.astype(complex))
        drawn = light.mean + generator.standard_normal((draws, 2 * light.modes)) @ scaled.T
        return (drawn[:, : light.modes] ** 2 + drawn[:, light.modes :] ** 2) / 4
    normal = generator.standard_normal((2, draws, len(light.squeezing_r)))
    x = normal[0] * np.sqrt(np.expm1(2 * light.squeezing_r).astype(complex))
    p = normal[1] * np.sqrt(np.expm1(-2 * light.squeezing_r).astype(complex))
    alpha, beta = (x + 1j * p) / 2, (x - 1j * p) / 2
    interfering = (alpha @ light.transfer.T) * (beta @ light.transfer.conj().T)
    share = light.indistinguishability
    if share == 1:
        return interfering
    return share * interfering + (1 - share) * (alpha * beta) @ (np.abs(light.transfer) ** 2).T


def total_click_distribution(light: GaussianState | Machine, *, generator: np.random.Generator, draws: int = DEFAULT_DRAWS) -> Estimate:
    """Distribution (modes + 1,) of the number of clicks; of pseudo-number detectors, of bins that click (modes bins + 1,)."""
    return grouped_click_distribution(light, [np.arange(light.modes)], generator=generator, draws=draws)


def grouped_click_distribution(
    light: GaussianState | Machine, groups: Sequence[IntArray], *, generator: np.random.Generator, draws: int = DEFAULT_DRAWS
) -> Estimate:
    """Joint distribution (clicks of the first group + 1, of the second + 1, ..) of clicks in ``groups`` of modes, which share none."""
    chosen = [np.asarray(group, np.int64) for group in groups]
    flat = np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
    if not len(flat) or len(np.unique(flat)) != len(flat) or flat.min() < 0 or flat.max() >= light.modes:
        raise InputError("groups", [group.tolist() for group in chosen], f"must name modes 0 to {light.modes - 1}, each at most once")
    require_within("draws", draws, 2, 100_000_000)
    bins = light.detectors.bins if isinstance(light, Machine) and light.detectors.kind == "pseudo-number" else 1
    dark = light.detectors.dark_count_probability if isinstance(light, Machine) else 0.0
    shape = [bins * len(group) + 1 for group in chosen]
    cells = math.prod(shape)
    if cells > LARGEST_CELLS:
        raise InputError("groups", shape, f"have {cells:,} joint outcomes; at most {LARGEST_CELLS:,}")
    total, squares = np.zeros(cells), np.zeros(cells)
    step = max(1, CHUNK_NUMBERS // max(cells, 4 * light.modes))
    for start in range(0, draws, step):
        intensities = positive_p_intensities(light, min(step, draws - start), generator)
        silent = np.repeat(np.exp(-intensities / bins) * (1 - dark), bins, axis=1)
        joint = np.ones((len(silent), 1), complex)
        for group in chosen:
            columns = (group[:, None] * bins + np.arange(bins)).ravel()
            each = np.zeros((len(silent), len(columns) + 1), complex)
            _count_distributions(np.ascontiguousarray(silent[:, columns]), each)
            joint = (joint[:, :, None] * each[:, None, :]).reshape(len(silent), -1)
        total += joint.real.sum(axis=0)
        squares += (joint.real**2).sum(axis=0)
    mean = total / draws
    errors = np.sqrt(np.clip(squares / draws - mean**2, 0, None) / (draws - 1))
    return Estimate(mean.reshape(shape), errors.reshape(shape), draws)


def exact_click_distribution(light: GaussianState | Machine, modes: Sequence[int] | IntArray) -> FloatArray:
    """Distribution (k + 1,) of the number of clicks on at most 14 ``modes``, by adding up all patterns."""
    patterns = pattern_probabilities(light, modes)
    count: NDArray[np.int64] = np.bitwise_count(np.arange(len(patterns), dtype=np.uint64)).astype(np.int64)
    return np.bincount(count, patterns).astype(float)


@kernel
def _count_distributions(silent, out):  # type: ignore[no-untyped-def]
    """Distributions ``out`` (draws, k + 1) of the number of clicks of k independent detectors, silent with (complex) ``silent``."""
    for draw in range(len(silent)):
        out[draw, 0] = 1.0
        for mode in range(silent.shape[1]):
            q = silent[draw, mode]
            click = 1 - q
            for count in range(mode + 1, 0, -1):
                out[draw, count] = out[draw, count] * q + out[draw, count - 1] * click
            out[draw, 0] *= q
