"""How the hidden amplitudes of many weakly correlated modes are scaled, and what is left for a latent Gaussian.

With X and Y as in `light`, a detector stays dark with a probability f(X_j, Y_j), of which the positive-P sampler takes the real part and
clips it to [0, 1]. Modes hang together through their amplitudes alone, and f is even, so that where two modes' amplitudes have small
covariances C_jk cumulants are products around a ring: to leading order, with H_j the mean second derivatives of f by X_j, alike by Y_j,

    kappa_jk = tr(H_j C_jk H_k C_kj) / 2, the sum of both,   kappa_jkl from tr(H_j C_jk H_k C_kl H_l C_lj), and so on

(Mehler's formula). Three parameters a mode, in alpha beta = (g^2 X.X - h^2 Y.Y) / 4 + i g h X.Y / 2 + offset, make the means of f, f X.X
and f Y.Y those of f without clipping: the rate, and the traces of H. Then clipping costs no order anything, as far as a mode is alike in
all directions. What pairs lack is the product of the imaginary parts, of either sign. To leading order it is known for each pair: the exact
kappa_jk is that formula with C_X - C_Y in place of either and H exact. A latent Gaussian, as in `corrected`, makes up for it, to first
order in its correlation by R_jk E[phi_j] E[phi_k]. No draws are needed. We know of no publication of this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.special import ndtri
from scipy.stats.qmc import Sobol

from tiandi.compiling import kernel
from tiandi.computing.photonics.gaussian import FloatArray
from tiandi.computing.photonics.samplers.light import Float32Array, RandomField
from tiandi.computing.photonics.samplers.normal import normal_density

POINTS = 1024
"""Of the average over a mode's own four random numbers, evenly spread (Sobol), each in four orientations."""
STEPS = 40
TOLERANCE = 1e-7
SMALLEST_STRENGTH, LARGEST_STRENGTH = 0.2, 3.0
LARGEST_OFFSET = 1.0
LARGEST_STEP = 0.2
THINNEST = 1e-6
"""Share of a mode's light that is added in all directions, so that light of one quadrature alone has no singular covariance."""
LEVELS = 2048
BLOCK = 512
LARGEST_CORRELATION = 0.5
SHRINKING = 0.5


@dataclass(frozen=True, eq=False)
class ModeFit:
    """What the hidden amplitudes of each mode are multiplied by, what is added to alpha beta, and what the mode is then to others."""

    classical: FloatArray
    """(modes,): g, of X."""
    quantum: FloatArray
    """(modes,): h, of Y."""
    offset: FloatArray
    """(modes,)."""
    residual: FloatArray
    """(modes, 3): errors left in the means of f, f X.X and f Y.Y, over the last two's means of X.X and Y.Y."""
    curvature: FloatArray
    """(2, modes, 2, 2): H of X and of Y, of the clipped f."""
    density: FloatArray
    """(modes,): mean of phi(Phi^-1(f))."""


def fit_modes(light: RandomField, dark_count_probability: float) -> ModeFit:
    """The parameters of threshold detectors' modes; ``light`` is the state's own, and interferes wholly."""
    covariances = np.stack([own_covariance(light.positive), own_covariance(light.negative)])
    traces = np.trace(covariances, axis1=2, axis2=3)
    roots = np.linalg.cholesky(covariances + (THINNEST * traces + 1e-12)[:, :, None, None] * np.eye(2))
    silent = 1 - dark_count_probability
    density = normal_density(ndtri(np.linspace(0, 1, LEVELS + 1)).clip(-8, 8).astype(np.float32)).astype(float)
    parameters, residual, change = np.empty((light.modes, 3)), np.empty((light.modes, 3)), np.empty((light.modes, 8))
    _solve(_points(), (roots[0], roots[1]), silent, density, (parameters, residual, change))
    moved = np.stack([change[:, [0, 1, 1, 2]], change[:, [3, 4, 4, 5]]]).reshape(2, -1, 2, 2) - change[:, 6, None, None] * np.eye(2)
    inverse = np.linalg.inv(roots)
    dark, inner = dark_and_inverse(covariances, silent)
    curvature = dark[:, None, None] / 2 * np.stack([-inner, inner]) + inverse.swapaxes(2, 3) @ moved @ inverse
    return ModeFit(parameters[:, 0], parameters[:, 1], parameters[:, 2], residual, curvature, change[:, 7])


def dark_and_inverse(covariances: FloatArray, silent: float) -> tuple[FloatArray, FloatArray]:
    """Probability (modes,) that a detector stays dark, and (1 + (C_X - C_Y) / 2)^-1 (modes, 2, 2): the exact H of X is -dark / 2 of it."""
    inverse = np.linalg.inv(np.eye(2) + (covariances[0] - covariances[1]) / 2)
    return silent * np.sqrt(np.linalg.det(inverse)), inverse


def own_covariance(rows: Float32Array) -> FloatArray:
    """(modes, 2, 2): covariance of each mode's own two quadratures."""
    x, p = np.split(rows.astype(float), 2, axis=1)
    cross = (x * p).sum(axis=0)
    return np.stack([np.square(x).sum(axis=0), cross, cross, np.square(p).sum(axis=0)], axis=1).reshape(-1, 2, 2)


def _points() -> FloatArray:
    """(4 `POINTS`, 4): two normal numbers of X and two of Y, of covariance one; turned and mirrored, so that no direction is preferred."""
    x, p, y, q = ndtri(Sobol(4, rng=np.random.default_rng(1)).random(POINTS)).T
    points = np.concatenate([np.stack(part, axis=1) for part in ((x, p, y, q), (-p, x, -q, y), (x, -p, y, -q), (p, x, q, y))])
    points[:, :2] /= np.sqrt(np.mean(points[:, :2] ** 2))
    points[:, 2:] /= np.sqrt(np.mean(points[:, 2:] ** 2))
    return points


@kernel
def _moments(points, local, parameters, found, slopes):  # type: ignore[no-untyped-def]
    """Means (3,) of f, f X.X and f Y.Y, f clipped or not, and their derivatives (3, 3) by g, h and offset."""
    x_root, y_root, silent, clipped = local
    g, h, offset = parameters
    found[:] = 0
    slopes[:] = 0
    weights, steps = np.ones(3), np.empty(3)
    for i in range(len(points)):
        x = x_root[0, 0] * points[i, 0]
        p = x_root[1, 0] * points[i, 0] + x_root[1, 1] * points[i, 1]
        y = y_root[0, 0] * points[i, 2]
        q = y_root[1, 0] * points[i, 2] + y_root[1, 1] * points[i, 3]
        weights[1], weights[2], product = x * x + p * p, y * y + q * q, x * y + p * q
        size = silent * np.exp((h * h * weights[2] - g * g * weights[1]) / 4 - offset)
        angle = g * h * product / 2
        dark = size * np.cos(angle)
        if clipped and dark <= 0:
            continue
        if clipped and dark >= 1:
            for j in range(3):
                found[j] += weights[j]
            continue
        across = size * np.sin(angle) * product / 2
        steps[0] = -g * weights[1] / 2 * dark - across * h
        steps[1] = h * weights[2] / 2 * dark - across * g
        steps[2] = -dark
        for j in range(3):
            found[j] += weights[j] * dark
            for k in range(3):
                slopes[j, k] += weights[j] * steps[k]
    found /= len(points)
    slopes /= len(points)


@kernel
def _change(points, local, parameters, density, change):  # type: ignore[no-untyped-def]
    """Means (8,): what f with the parameters, clipped, is more than f without, times u u, u v, v v of X's normal numbers, the same of Y's
    and alone; last phi(Phi^-1(f))."""
    x_root, y_root, silent, _ = local
    g, h, offset = parameters
    change[:] = 0
    for i in range(len(points)):
        x = x_root[0, 0] * points[i, 0]
        p = x_root[1, 0] * points[i, 0] + x_root[1, 1] * points[i, 1]
        y = y_root[0, 0] * points[i, 2]
        q = y_root[1, 0] * points[i, 2] + y_root[1, 1] * points[i, 3]
        size = silent * np.exp((h * h * (y * y + q * q) - g * g * (x * x + p * p)) / 4 - offset)
        dark = min(max(size * np.cos(g * h * (x * y + p * q) / 2), 0.0), 1.0)
        place = dark * (len(density) - 1)
        level = min(int(place), len(density) - 2)
        more = dark - silent * np.exp((y * y + q * q - x * x - p * p) / 4) * np.cos((x * y + p * q) / 2)
        change[0] += more * points[i, 0] ** 2
        change[1] += more * points[i, 0] * points[i, 1]
        change[2] += more * points[i, 1] ** 2
        change[3] += more * points[i, 2] ** 2
        change[4] += more * points[i, 2] * points[i, 3]
        change[5] += more * points[i, 3] ** 2
        change[6] += more
        change[7] += density[level] + (place - level) * (density[level + 1] - density[level])
    change /= len(points)


@kernel
def _solve(points, roots, silent, density, out):  # type: ignore[no-untyped-def]
    """Newton's method for each mode, from the solution of the one before."""
    parameters, residual, change = out
    x_roots, y_roots = roots
    wanted, found, error, slopes = np.empty(3), np.empty(3), np.empty(3), np.empty((3, 3))
    here, without = np.array([1.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0])
    for mode in range(len(parameters)):
        _moments(points, (x_roots[mode], y_roots[mode], silent, False), without, wanted, slopes)
        local = (x_roots[mode], y_roots[mode], silent, True)
        scale = np.array([1.0, np.sum(x_roots[mode] ** 2), np.sum(y_roots[mode] ** 2)])
        for _ in range(STEPS):
            _moments(points, local, here, found, slopes)
            error[:] = (wanted - found) / scale
            if np.abs(error).max() < TOLERANCE:
                break
            for j in range(3):
                slopes[j] /= scale[j]
                slopes[j, j] -= 1e-9
            step = np.linalg.solve(slopes, error)
            here += np.minimum(np.maximum(step, -LARGEST_STEP), LARGEST_STEP)
            here[:2] = np.minimum(np.maximum(here[:2], SMALLEST_STRENGTH), LARGEST_STRENGTH)
            here[2] = min(max(here[2], -LARGEST_OFFSET), LARGEST_OFFSET)
        parameters[mode] = here
        residual[mode] = error
        _change(points, local, here, density, change[mode])


def missing_pairs(light: RandomField, fit: ModeFit, dark_count_probability: float) -> tuple[Float32Array, float]:
    """(modes, modes) in Fortran order: R of the latent Gaussian, its lower triangle; and the exact covariances' root mean square.

    Covariances of amplitudes are products of blocks of the light's rows; exact ones of clicks follow in closed form.
    """
    modes = light.modes
    fields = [field.reshape(-1, 2, modes).swapaxes(1, 2) for field in (light.positive, light.negative)]
    covariances = np.stack([own_covariance(light.positive), own_covariance(light.negative)])
    dark, inverse = dark_and_inverse(covariances, 1 - dark_count_probability)
    correlations = np.zeros((modes, modes), np.float32, order="F")
    known, squares = (inverse, dark, fit.curvature, fit.density), 0.0
    parts = [np.arange(start, min(start + BLOCK, modes)) for start in range(0, modes, BLOCK)]
    strips = [[np.ascontiguousarray(field[:, part]).reshape(len(field), -1) for field in fields] for part in parts]
    for second, columns in enumerate(parts):
        for first in range(second, len(parts)):
            rows = parts[first]
            crosses = [one.T @ other for one, other in zip(strips[first], strips[second], strict=True)]
            tables = (crosses[0].reshape(len(rows), 2, -1, 2), crosses[1].reshape(len(rows), 2, -1, 2))
            squares += _fill(tables, (rows[0], columns[0]), known, correlations)
    return correlations, float(np.sqrt(squares / max(1, modes * (modes - 1) // 2)))


@kernel
def _fill(tables, start, known, correlations):  # type: ignore[no-untyped-def]
    """R of a block's pairs, below the diagonal; returns the sum of squares of their exact covariances."""
    classical, quantum = tables
    inverse, dark, curvature, density = known
    squares = 0.0
    turned = np.empty((2, 2))
    for b in range(classical.shape[2]):
        k = start[1] + b
        for a in range(classical.shape[0]):
            j = start[0] + a
            if j == k:
                correlations[j, j] = 1.0
            if j <= k:
                continue
            between = (classical[a, :, b] - quantum[a, :, b]) / 2
            trace = _ring(inverse[j], between, inverse[k], turned)
            determinant = _determinant(between) * _determinant(turned)
            exact = dark[j] * dark[k] * (1 / np.sqrt(1 - trace + determinant) - 1)
            leading = dark[j] * dark[k] * trace / 2
            there = _ring(curvature[0, j], classical[a, :, b], curvature[0, k], turned) / 2
            there += _ring(curvature[1, j], quantum[a, :, b], curvature[1, k], turned) / 2
            squares += exact * exact
            wanted = (leading - there) / max(density[j] * density[k], 1e-12)
            correlations[j, k] = min(max(wanted, -LARGEST_CORRELATION), LARGEST_CORRELATION)
    return squares


@kernel
def _ring(left, middle, right, turned):  # type: ignore[no-untyped-def]
    """tr(left middle right middle^T) of two by two, left and right symmetric; ``turned`` becomes left middle right."""
    total = 0.0
    for u in range(2):
        for v in range(2):
            turned[u, v] = 0.0
            for s in range(2):
                for t in range(2):
                    turned[u, v] += left[u, s] * middle[s, t] * right[t, v]
            total += turned[u, v] * middle[u, v]
    return total


@kernel
def _determinant(matrix):  # type: ignore[no-untyped-def]
    return matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]


def lower_root(correlations: NDArray[np.float32]) -> tuple[Float32Array, float]:
    """L with L L^T = R, of R's lower triangle (modes, modes) in Fortran order, which is used up; and by how much R had to be shrunk.

    Where no Gaussian has such correlations, those between modes are halved until one has.
    """
    kept = 1.0
    while True:
        root, place = lapack.spotrf(correlations, lower=1, clean=1, overwrite_a=0)
        if place == 0:
            return root, 1 - kept
        kept *= SHRINKING
        diagonal = correlations.diagonal().copy()
        correlations *= np.float32(SHRINKING)
        np.fill_diagonal(correlations, diagonal)
