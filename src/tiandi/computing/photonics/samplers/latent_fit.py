"""How shifts, scales and correlations of the latent Gaussian are found: what clipping took away, measured on the same draws.

Without clipping the moments of positive-P amplitudes are exact on average, so that no exact moment need be known, and the difference of
the two kinds of moments on the same draws has little noise; where exact moments are known nevertheless, the draws' own error is taken off
with the weight that leaves least noise (control variates). With the count's cumulative probability F_m given the amplitudes, a count
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
from tiandi.computing.photonics.samplers.pair_clicks import PairClicks

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
    correlations: FloatArray | None = None
    """(modes, modes): R as wanted; None where z is independent."""
    deficit: FloatArray | None = None
    """(modes, modes): the covariances that R has to make up for."""
    mixing: Float32Array | None = None
    """(modes, modes): normals times this are z; None where z is independent."""
    largest: int = 1
    """Highest count."""
    pairs: PairClicks | None = None
    """Clicks that come beside those of the latent Gaussian; of threshold detectors only."""


@dataclass(frozen=True, eq=False)
class Exact:
    """Exact moments of clicks."""

    rates: FloatArray
    """(modes,)."""
    covariance: FloatArray
    """(modes, modes)."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be put right."""

    light: RandomField
    """With the state's own noise."""
    detectors: Detectors
    noise: float
    """Strength of the quantum part that samples are drawn with, over the state's own."""
    pairs: bool
    """Whether covariances are put right as well as means."""
    exact: Exact | None = None
    """Where known, less is left to the draws."""


@dataclass(eq=False)
class _Sums:
    """Sums over blocks of averages: of what is wanted, of what is there, and of how that changes with shift, scale and correlation."""

    sums: dict[str, FloatArray] = field(default_factory=dict)
    last: dict[str, FloatArray] = field(default_factory=dict)
    blocks: int = 0
    common: float = 0.0
    own: float = 0.0

    def add_mean(self, name: str, values: NDArray[np.float32]) -> None:
        self._add(name, values.mean(axis=0, dtype=np.float64))

    def add_products(self, name: str, values: NDArray[np.float32], other: NDArray[np.float32] | None = None) -> FloatArray:
        """Add the products of ``values``, less those of ``other``."""
        products = values.T @ values
        if other is not None:
            products -= other.T @ other
        mean = products.astype(np.float64) / len(values)
        self._add(name, mean)
        return mean

    def compare(self, free: FloatArray, dark: FloatArray) -> None:
        """Note how pairs' products change together from block to block: the change of either without the mean, which is not known."""
        if self.last:
            first, second = free - self.last["free"], dark - self.last["dark"]
            np.fill_diagonal(first, 0.0)
            self.common += float(np.vdot(first, second))
            self.own += float(np.vdot(first, first))
        self.last = {"free": free, "dark": dark}

    @property
    def weight(self) -> float:
        """Of the free draws' own error, with which least noise is left."""
        return self.common / self.own if self.own else 1.0

    def mean(self, name: str) -> FloatArray:
        return self.sums[name] / self.blocks

    def _add(self, name: str, mean: FloatArray) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + mean


def fit_latent(task: Task, latent: Latent, generator: np.random.Generator, draws: int) -> Fit:
    """Fill ``latent`` so that means, for counts variances, and with ``pairs`` all covariances are those of the light without clipping."""
    block = max(64, min(1024, BLOCK_NUMBERS // (len(latent.shift) * latent.largest)))
    residual, found = 0.0, _Sums()
    for share in ROUNDS:
        found = _measure(task, latent, generator, blocks=max(2, round(share * draws / block)), block=block)
        residual = float(np.sqrt(np.mean(found.mean("mean") ** 2)))
        _adjust(latent, found)
    if not task.pairs:
        return Fit(draws, 1.0, 0.0, residual)
    latent.correlations = _correlations(latent, found, task.exact)
    latent.mixing, smallest, repaired = _mixing(latent.correlations)
    return Fit(draws, smallest, repaired, residual)


def largest_count(detectors: Detectors, brightest: float) -> int:
    """Of counts that matter: all bins; of photons, so many that single-mode squeezed light has more with a probability of about 1e-6."""
    if detectors.kind == "number":
        return min(255, max(8, math.ceil(math.log(1e-6) / math.log((2 * brightest + 0.05) / (2 * brightest + 1.05)))))
    return detectors.bins if detectors.kind == "pseudo-number" else 1


def _measure(task: Task, latent: Latent, generator: np.random.Generator, *, blocks: int, block: int) -> _Sums:
    sums = _Sums(blocks=blocks)
    odd = (2 * np.arange(latent.largest) + 1).astype(np.float32)[:, None, None]
    scale = latent.scale.astype(np.float32)
    alone = np.float32(1) if latent.pairs is None else latent.pairs.dark.astype(np.float32)
    for _ in range(blocks):
        classical, quantum, cross = task.light.all_parts(block, generator)
        free, free_imaginary, free_square = unclipped(classical - quantum, cross, task.detectors)
        thresholds = latent_thresholds(task, latent, (classical, quantum, cross))
        above = normal_probability(-thresholds)
        density = normal_density(thresholds)
        leaning = thresholds * density
        count, slope, curvature = above.sum(axis=0), density.sum(axis=0), leaning.sum(axis=0)
        sums.add_mean("mean", free - count if latent.pairs is None else free - 1 + alone * (1 - count))
        sums.add_mean("mean by shift", -slope * alone / scale)
        if latent.largest > 1:
            sums.add_mean("square", free_square - (odd * above).sum(axis=0))
            sums.add_mean("mean by scale", curvature / scale)
            sums.add_mean("square by shift", (-odd * density).sum(axis=0) / scale)
            sums.add_mean("square by scale", (odd * leaning).sum(axis=0) / scale)
        if task.pairs:
            np.subtract(1, count, out=count)
            np.subtract(1, free, out=free)
            sums.add_mean("free", free)
            sums.add_mean("dark", count)
            sums.compare(sums.add_products("free pair", free, free_imaginary), sums.add_products("dark pair", count))
            sums.add_products("first order", slope)
            sums.add_products("second order", curvature)
    return sums


def latent_thresholds(task: Task, latent: Latent, parts: tuple[Float32Array, Float32Array, Float32Array]) -> Float32Array:
    """What z is compared with, (largest, draws, modes), given X.X / 4, Y.Y / 4 and X.Y / 2."""
    classical, quantum, cross = parts
    strength = np.float32(task.noise)
    levels = cumulative(classical - strength**2 * quantum, strength * cross, task.detectors, latent.largest)
    np.clip(levels, EDGE, 1 - EDGE, out=levels)
    thresholds = normal_quantile(levels)
    thresholds += latent.shift.astype(np.float32)
    thresholds /= latent.scale.astype(np.float32)
    return thresholds


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


def _correlations(latent: Latent, found: _Sums, exact: Exact | None) -> FloatArray:
    """(modes, modes): the root of the second-order equation that goes to the first-order one's where R is small."""
    free, dark = found.mean("free"), found.mean("dark")
    wanted = found.mean("free pair") - np.outer(free, free)
    if exact is not None:
        wanted = exact.covariance + found.weight * (wanted - exact.covariance)
    gain: FloatArray | float = 1.0
    if latent.pairs is not None:
        dark = dark * latent.pairs.dark
        gain = np.outer(latent.pairs.dark, latent.pairs.dark) * latent.pairs.gain
    deficit = latent.deficit = wanted - gain * found.mean("dark pair") + np.outer(dark, dark)
    first, second = gain * found.mean("first order"), gain * found.mean("second order")
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
