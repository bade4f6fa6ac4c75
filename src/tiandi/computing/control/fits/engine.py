"""Levenberg-Marquardt over all targets at once, and what comes of a fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.computing.instruments.program import FloatArray
from tiandi.errors import InputError

Model = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""(x (targets, points), parameters (targets, parameters)) -> values (targets, points), derivatives (targets, points, parameters)."""

_FIRST_DAMPING, _LAST_DAMPING = 1e-3, 1e9
_ENOUGH = 1e-5
"""A step that lowers chi square by less than this, in units of chi square per degree of freedom, moves no parameter by 1 % of its error."""
_SINGULAR = 1e-13
ITERATIONS = 60


@dataclass(frozen=True, eq=False)
class Fit:
    """A model fitted to each target's data. All is NaN for a target that could not be fitted; see `diagnosing` for reasons."""

    x: FloatArray
    """(targets, points)."""
    y: FloatArray
    model: FloatArray
    """(targets, points): the model at x with the values found."""
    values: dict[str, FloatArray]
    """Parameter -> (targets,)."""
    uncertainties: dict[str, FloatArray]
    """Parameter -> (targets,), one standard deviation. Where the residuals are larger than sigma explains, they grow with them."""
    chi_square: FloatArray
    """(targets,): per degree of freedom; NaN where no sigma was given."""
    noise: FloatArray
    """(targets,): standard deviation of the residuals."""
    good: NDArray[np.bool_]
    """(targets,): the fit converged to finite values with finite uncertainties."""

    @property
    def swing(self) -> FloatArray:
        """(targets,): how far the model moves within the scan."""
        return np.ptp(self.model, axis=1)

    def __getitem__(self, name: str) -> FloatArray:
        return self.values[name]


@dataclass(frozen=True, eq=False)
class Solution:
    """Parameters (targets, parameters) with their covariance, and how well they do."""

    parameters: FloatArray
    covariance: FloatArray
    model: FloatArray
    chi_square: FloatArray
    noise: FloatArray
    good: NDArray[np.bool_]
    there: NDArray[np.bool_]
    """(targets, points): data that counted."""

    def error(self, column: int) -> FloatArray:
        """(targets,): one standard deviation of a parameter."""
        return np.sqrt(self.covariance[:, column, column])

    def fit(self, x: FloatArray, y: FloatArray, values: dict[str, FloatArray], uncertainties: dict[str, FloatArray]) -> Fit:
        """The same as a `Fit`, with NaN where it is not good."""
        good = self.good.copy()
        for found in (*values.values(), *uncertainties.values()):
            good &= np.isfinite(found)

        def kept(found: FloatArray) -> FloatArray:
            return np.where(good, found, np.nan)

        return Fit(
            x,
            np.where(self.there[:, : y.shape[1]], y, np.nan),
            np.where(good[:, None], self.model, np.nan),
            {name: kept(found) for name, found in values.items()},
            {name: kept(found) for name, found in uncertainties.items()},
            self.chi_square,
            self.noise,
            good,
        )


def table(x: ArrayLike, y: ArrayLike, sigma: ArrayLike | None) -> tuple[FloatArray, FloatArray, FloatArray]:
    """x, y and weights 1/sigma as (targets, points); a point without a finite y has no weight. Weights are 1 where sigma is None."""
    data = np.asarray(y, float)
    if data.ndim != 2 or 0 in data.shape:
        raise InputError("y", data.shape, "must be (targets, points) with at least one of each")
    try:
        places = np.broadcast_to(np.asarray(x, float), data.shape)
        weight = np.ones(data.shape) if sigma is None else 1.0 / np.broadcast_to(np.asarray(sigma, float), data.shape)
    except ValueError:
        raise InputError("x", np.shape(x), f"must broadcast to {data.shape}, as must sigma") from None
    there = np.isfinite(data) & np.isfinite(weight) & (weight > 0)
    return places, np.where(there, data, 0.0), np.where(there, weight, 0.0)


def shot_noise(population: ArrayLike, shots: int) -> FloatArray:
    """Standard deviation of a share of ``shots`` counted, sqrt(p (1 - p) / shots), with p drawn from 0 and 1 by Laplace's rule."""
    share = (np.asarray(population, float) * shots + 1.0) / (shots + 2.0)
    return np.asarray(np.sqrt(share * (1.0 - share) / shots), float)


def linear_solve(basis: FloatArray, y: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weighted least squares: basis (targets, points, terms) -> coefficients (targets, terms), chi square (targets,)."""
    weighted, target = basis * weight[..., None], y * weight
    normal = weighted.transpose(0, 2, 1) @ weighted
    size = np.einsum("tii->ti", normal)
    normal = normal + 1e-12 * (size.max(axis=1, initial=1e-300)[:, None, None] + 1e-300) * np.eye(basis.shape[2])
    right = (weighted.transpose(0, 2, 1) @ target[..., None])[..., 0]
    found = np.linalg.solve(normal, right[..., None])[..., 0]
    residual = target - (weighted @ found[..., None])[..., 0]
    return found, (residual**2).sum(axis=1)


def levenberg_marquardt(
    model: Model,
    x: FloatArray,
    y: FloatArray,
    weight: FloatArray,
    *,
    start: FloatArray,
    lower: ArrayLike = -np.inf,
    upper: ArrayLike = np.inf,
    weighted: bool,
) -> Solution:
    """Fit each target by itself, all in step. Shapes: x, y, weight (targets, points); start, lower, upper broadcast to (targets,
    parameters).

    ``weighted``: weights are 1/sigma, so that chi square means something; otherwise uncertainties come from the residuals alone.
    Marquardt's scaling (doi 10.1137/0111030); a step that leaves the bounds is cut back to them. A parameter whose bounds are equal is
    held there.
    """
    low, high = np.broadcast_to(lower, start.shape), np.broadcast_to(upper, start.shape)
    free = low < high
    parameters = np.clip(start, low, high)
    spare = (weight > 0).sum(axis=1) - free.sum(axis=1)
    degrees = np.maximum(spare, 1)
    possible = (spare > 0) & np.isfinite(parameters).all(axis=1)
    converged = np.zeros(len(y), bool)
    damping = np.full(len(y), _FIRST_DAMPING)
    active = np.flatnonzero(possible)
    cost, normal, gradient = _linearised(model, x[active], y[active], weight[active], parameters[active])
    for _ in range(ITERATIONS):
        if not len(active):
            break
        trial, predicted = _step(parameters[active], normal, gradient, damping[active], (low[active], high[active]))
        trial_cost, trial_normal, trial_gradient = _linearised(model, x[active], y[active], weight[active], trial)
        better = trial_cost < cost
        parameters[active[better]] = trial[better]
        enough = _ENOUGH * cost / degrees[active]
        done = (predicted < enough) | (better & (cost - trial_cost < enough)) | (damping[active] > _LAST_DAMPING)
        cost = np.where(better, trial_cost, cost)
        normal, gradient = np.where(better[:, None, None], trial_normal, normal), np.where(better[:, None], trial_gradient, gradient)
        damping[active] *= np.where(better, 0.2, 6.0)
        converged[active[done]] = True
        active, cost, normal, gradient = active[~done], cost[~done], normal[~done], gradient[~done]
    return _solution(model, (x, y, weight), parameters, free, converged & possible, weighted=weighted)


def _linearised(
    model: Model, x: FloatArray, y: FloatArray, weight: FloatArray, parameters: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Chi square, J^T J and J^T r of the weighted residuals; chi square is infinite where the model is not finite."""
    with np.errstate(all="ignore"):
        value, derivative = model(x, parameters)
        residual, derivative = (y - value) * weight, derivative * weight[..., None]
        cost = (residual**2).sum(axis=1)
        transposed = derivative.transpose(0, 2, 1)
        normal, gradient = transposed @ derivative, (transposed @ residual[..., None])[..., 0]
    sane = np.isfinite(cost) & np.isfinite(normal).all(axis=(1, 2))
    return np.where(sane, cost, np.inf), np.where(sane[:, None, None], normal, 0.0), np.where(sane[:, None], gradient, 0.0)


def _step(
    parameters: FloatArray, normal: FloatArray, gradient: FloatArray, damping: FloatArray, bounds: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """The next parameters, and how far the linearised chi square would fall."""
    low, high = bounds
    stuck = ((parameters <= low) & (gradient < 0)) | ((parameters >= high) & (gradient > 0))
    normal, gradient = _without(normal, stuck), np.where(stuck, 0.0, gradient)
    scaled, scale = _scaled(normal)
    scaled += (damping[:, None, None] + 1e-12) * np.eye(parameters.shape[1])
    move = np.linalg.solve(scaled, (gradient / scale)[..., None])[..., 0] / scale
    trial = np.clip(parameters + move, low, high)
    move = trial - parameters
    predicted = 2.0 * (gradient * move).sum(axis=1) - np.einsum("ti,tij,tj->t", move, normal, move)
    return trial, predicted


def _without(normal: FloatArray, held: NDArray[np.bool_]) -> FloatArray:
    """The normal matrix with rows and columns of what does not move emptied."""
    moves = ~held
    return normal * moves[:, :, None] * moves[:, None, :]


def _scaled(normal: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The normal matrix with 1 on its diagonal (0 where it is empty), and the scale of each parameter."""
    scale = np.sqrt(np.einsum("tii->ti", normal))
    scale = np.where(scale > 0, scale, 1.0)
    return normal / scale[:, :, None] / scale[:, None, :], scale


def _solution(
    model: Model, data: tuple[FloatArray, FloatArray, FloatArray], parameters: FloatArray, free: NDArray[np.bool_],
    converged: NDArray[np.bool_], *, weighted: bool,
) -> Solution:  # fmt: skip
    """Uncertainties and goodness; what is held has none of the former."""
    x, y, weight = data
    points = weight > 0
    degrees = np.maximum(points.sum(axis=1) - free.sum(axis=1), 1)
    cost, normal, _ = _linearised(model, x, y, weight, parameters)
    with np.errstate(all="ignore"):
        value = model(x, parameters)[0]
    scaled, scale = _scaled(_without(normal, ~free))
    filled = np.einsum("tii->ti", scaled) > 0
    good = converged & np.isfinite(cost) & (filled | ~free).all(axis=1)
    scaled[:, range(free.shape[1]), range(free.shape[1])] = 1.0
    good &= np.linalg.eigvalsh(scaled)[:, 0] > _SINGULAR
    scaled[~good] = np.eye(parameters.shape[1])
    chi_square = cost / degrees
    growth = np.maximum(chi_square, 1.0) if weighted else chi_square
    covariance = np.linalg.inv(scaled) / scale[:, :, None] / scale[:, None, :] * growth[:, None, None]
    noise = np.sqrt((np.where(points, y - value, 0.0) ** 2).sum(axis=1) / degrees)
    shown = chi_square if weighted else np.full(len(y), np.nan)
    return Solution(parameters, _without(covariance, ~free), value, shown, noise, good, points)
