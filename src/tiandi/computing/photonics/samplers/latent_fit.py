"""How shifts, scales and correlations of the latent Gaussian are found: what clipping took away, measured on the same draws.

Without clipping the moments of positive-P amplitudes are exact on average, so that no exact moment need be known, and the difference of
the two kinds of moments on the same draws has little noise. With the count's cumulative probability F_m given the amplitudes, a count
above m is seen where Phi(g z - s) > F_m, that is z > t_m = (Phi^-1(F_m) + s) / g, and averages over z are known in closed form. To second
order in the correlation R_ij of two modes' z (Mehler's formula)

    deficit_ij = R_ij E[f_i f_j] + R_ij^2 / 2 E[h_i h_j],   f = sum_m phi(t_m),   h = sum_m t_m phi(t_m).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.photonics.gaussian import Detectors, FloatArray
from tiandi.computing.photonics.samplers.detection import cumulative
from tiandi.computing.photonics.samplers.light import Float32Array, RandomField
from tiandi.computing.photonics.samplers.normal import normal_density, normal_probability, normal_quantile

ROUNDS = (0.1, 0.15, 0.75)
"""Shares of the draws: two rounds for shifts and scales alone, one for the correlations."""
BLOCK_NUMBERS = 1 << 19
SMALLEST_EIGENVALUE = 1e-3
EDGE = 1e-6
"""Probabilities nearer to 0 and 1 are taken as this near, as uniform numbers in single precision cannot tell."""
LARGEST_CORRELATION = 0.95
SCALES = (0.2, 5.0)
LARGEST_SHIFT = 5.0


@dataclass(frozen=True)
class Fit:
    """How a fit went."""

    draws: int
    smallest_eigenvalue: float
    """Of the wanted correlations; below zero there are none such, and the nearest are used."""
    repaired: float
    """Root mean square change of the correlations by that, over their own root mean square; 0 where none was needed."""
    residual_mean: float
    """Root mean square error of the modes' means before the last step, which was found with the most draws."""


@dataclass(eq=False)
class Latent:
    """The latent Gaussian of a machine's modes."""

    shift: FloatArray
    """(modes,): s."""
    scale: FloatArray
    """(modes,): g; ones for threshold detectors."""
    mixing: Float32Array | None = None
    """(modes, modes): normals times this are z; None where z is independent."""
    largest: int = 1
    """Highest count."""


@dataclass(eq=False)
class _Sums:
    """Sums over blocks of averages: of deficits, and of how much each changes with shift, scale and correlation."""

    vectors: dict[str, FloatArray] = field(default_factory=dict)
    matrices: dict[str, FloatArray] = field(default_factory=dict)
    blocks: int = 0

    def add_mean(self, name: str, values: NDArray[np.float32]) -> None:
        mean = values.mean(axis=0, dtype=np.float64)
        self.vectors[name] = self.vectors.get(name, 0.0) + mean

    def add_products(self, name: str, values: NDArray[np.float32], sign: int = 1) -> None:
        products = (values.T @ values).astype(np.float64) * (sign / len(values))
        self.matrices[name] = self.matrices.get(name, 0.0) + products

    def mean(self, name: str) -> FloatArray:
        return (self.vectors | self.matrices)[name] / self.blocks


def fit_latent(
    light: RandomField, detectors: Detectors, latent: Latent, generator: np.random.Generator, *, draws: int, noise: float, pairs: bool
) -> Fit:
    """Fill ``latent`` so that means, for counts variances, and with ``pairs`` all covariances are those of the light without clipping."""
    block = max(64, min(1024, BLOCK_NUMBERS // (len(latent.shift) * latent.largest)))
    residual, found = 0.0, _Sums()
    for share in ROUNDS:
        found = _measure(
            light, detectors, latent, generator, blocks=max(1, round(share * draws / block)), block=block, noise=noise, pairs=pairs
        )
        residual = float(np.sqrt(np.mean(found.mean("mean") ** 2)))
        _adjust(latent, found)
    if not pairs:
        return Fit(draws, 1.0, 0.0, residual)
    latent.mixing, smallest, repaired = _mixing(_correlations(found))
    return Fit(draws, smallest, repaired, residual)


def largest_count(detectors: Detectors, brightest: float) -> int:
    """Of counts that matter: all bins; of photons, so many that single-mode squeezed light has more with a probability of about 1e-6."""
    if detectors.kind == "number":
        return min(255, max(8, math.ceil(math.log(1e-6) / math.log((2 * brightest + 0.05) / (2 * brightest + 1.05)))))
    return detectors.bins if detectors.kind == "pseudo-number" else 1


def _measure(
    light: RandomField,
    detectors: Detectors,
    latent: Latent,
    generator: np.random.Generator,
    *,
    blocks: int,
    block: int,
    noise: float,
    pairs: bool,
) -> _Sums:
    sums = _Sums(blocks=blocks)
    odd = (2 * np.arange(latent.largest) + 1).astype(np.float32)[:, None, None]
    shift, scale = latent.shift.astype(np.float32), latent.scale.astype(np.float32)
    strength = np.float32(noise)
    for _ in range(blocks):
        classical, quantum, cross = light.parts(block, generator)
        assert quantum is not None
        assert cross is not None
        free, free_imaginary, free_square = unclipped(classical - quantum, cross, detectors)
        levels = cumulative(classical - strength**2 * quantum, strength * cross, detectors, latent.largest)
        np.clip(levels, EDGE, 1 - EDGE, out=levels)
        thresholds = normal_quantile(levels)
        thresholds += shift
        thresholds /= scale
        above = normal_probability(-thresholds)
        density = normal_density(thresholds)
        leaning = thresholds * density
        count, slope, curvature = above.sum(axis=0), density.sum(axis=0), leaning.sum(axis=0)
        sums.add_mean("mean", free - count)
        sums.add_mean("mean by shift", -slope / scale)
        if latent.largest > 1:
            sums.add_mean("square", free_square - (odd * above).sum(axis=0))
            sums.add_mean("mean by scale", curvature / scale)
            sums.add_mean("square by shift", (-odd * density).sum(axis=0) / scale)
            sums.add_mean("square by scale", (odd * leaning).sum(axis=0) / scale)
        if pairs:
            sums.add_products("pair", free)
            sums.add_products("pair", free_imaginary, -1)
            sums.add_products("pair", count, -1)
            sums.add_products("first order", slope)
            sums.add_products("second order", curvature)
    return sums


def unclipped(real: Float32Array, imaginary: Float32Array, detectors: Detectors) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Real and imaginary part of a count given alpha beta, and real part of its square: their averages are the state's own."""
    dark = np.float32(detectors.dark_count_probability)
    if detectors.kind == "number":
        return real + dark, imaginary, real * real - imaginary * imaginary + (1 + 2 * dark) * real + dark
    bins = np.float32(detectors.bins if detectors.kind == "pseudo-number" else 1)
    size = np.exp(real / -bins)
    size *= (1 - dark) * bins
    clicks = bins - size * np.cos(imaginary / bins)
    other = size * np.sin(imaginary / bins)
    if bins == 1:
        return clicks, other, clicks
    return clicks, other, clicks + (1 - 1 / bins) * (clicks * clicks - other * other)


def _adjust(latent: Latent, found: _Sums) -> None:
    """One Newton step towards the right means, and for counts variances."""
    if latent.largest == 1:
        step = found.mean("mean") / found.mean("mean by shift")
    else:
        rows = [[found.mean("mean by shift"), found.mean("mean by scale")], [found.mean("square by shift"), found.mean("square by scale")]]
        jacobians = np.array(rows).transpose(2, 0, 1)
        deficits = np.stack([found.mean("mean"), found.mean("square")], axis=1)
        steps = np.linalg.solve(jacobians, deficits[:, :, None])[:, :, 0]
        latent.scale = np.clip(latent.scale + np.clip(steps[:, 1], -0.5, 0.5), *SCALES)
        step = steps[:, 0]
    latent.shift = np.clip(latent.shift + np.clip(step, -1, 1), -LARGEST_SHIFT, LARGEST_SHIFT)


def _correlations(found: _Sums) -> FloatArray:
    """(modes, modes): the root of the second-order equation that goes to the first-order one's where R is small."""
    deficit, first, second = found.mean("pair"), found.mean("first order"), found.mean("second order")
    root = np.sqrt(np.maximum(first**2 + 2 * second * deficit, 0.0))
    correlations = np.clip(2 * deficit / (first + root), -LARGEST_CORRELATION, LARGEST_CORRELATION)
    np.fill_diagonal(correlations, 1.0)
    return correlations


def _mixing(correlations: FloatArray) -> tuple[Float32Array, float, float]:
    """A root of the nearest matrix of correlations, the smallest eigenvalue wanted, and the relative change that was needed."""
    values, vectors = np.linalg.eigh(correlations)
    root = (vectors * np.sqrt(np.maximum(values, SMALLEST_EIGENVALUE))) @ vectors.T
    root /= np.linalg.norm(root, axis=0)
    repaired = 0.0
    if values[0] < SMALLEST_EIGENVALUE:
        off = ~np.eye(len(values), dtype=bool)
        change, wanted = (root.T @ root - correlations)[off], correlations[off]
        repaired = float(np.sqrt(np.mean(change**2) / np.mean(wanted**2)))
    return root.astype(np.float32), float(values[0]), repaired
