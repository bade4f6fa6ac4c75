"""Exponential decays, decays over sequence lengths, and step responses of lines."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from tiandi.computing.control.fits.engine import Fit, levenberg_marquardt, linear_solve, table
from tiandi.computing.instruments.program import FloatArray
from tiandi.limits import require_within

_TRIALS = 24
"""Rates to try for a first guess."""


def fit_decay(x: ArrayLike, y: ArrayLike, sigma: ArrayLike | None = None, *, offset: ArrayLike | None = None) -> Fit:
    """y = offset + amplitude exp(-x / time). ``offset``: a number or (targets,) where it is known.

    x: (points,) or (targets, points), from about 0; y: (targets, points). Values: "time", "rate" (one over it), "amplitude", "offset".
    """
    x, y, weight = table(x, y, sigma)
    span = np.ptp(x, axis=1)
    inner = x / span[:, None]
    held = np.broadcast_to(np.nan if offset is None else np.asarray(offset, float), span.shape)
    known = np.isfinite(held)
    base = np.where(known, held, 0.0)
    rates = np.geomspace(0.02, 0.7 * x.shape[1], _TRIALS)
    start, best = np.zeros((len(y), 3)), np.full(len(y), np.inf)
    for rate in rates:
        basis = np.stack([np.exp(-rate * inner), np.where(known[:, None], 0.0, 1.0) * np.ones_like(inner)], axis=2)
        found, cost = linear_solve(basis, np.where(weight > 0, y - base[:, None], 0.0), weight)
        better = cost < best
        best = np.where(better, cost, best)
        start[better] = np.column_stack([np.full(len(y), rate), found[:, 0], np.where(known, base, found[:, 1])])[better]

    def model(places: FloatArray, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        decay = np.exp(-parameters[:, 0, None] * places)
        amplitude = parameters[:, 1, None]
        columns = [-amplitude * places * decay, decay, np.ones_like(decay)]
        return amplitude * decay + parameters[:, 2, None], np.stack(columns, axis=2)

    free = np.full(len(y), np.inf)
    lower = np.column_stack([np.full(len(y), -0.5), -free, np.where(known, base, -free)])
    upper = np.column_stack([np.full(len(y), 3.0 * x.shape[1]), free, np.where(known, base, free)])
    solution = levenberg_marquardt(model, inner, y, weight, start=start, lower=lower, upper=upper, weighted=sigma is not None)
    rate, error = solution.parameters[:, 0] / span, solution.error(0) / span
    with np.errstate(all="ignore"):
        values = {"time": 1.0 / rate, "rate": rate, "amplitude": solution.parameters[:, 1], "offset": solution.parameters[:, 2]}
        errors = {"time": error / rate**2, "rate": error, "amplitude": solution.error(1), "offset": solution.error(2)}
    return solution.fit(x, y, values, errors)


def fit_benchmarking(lengths: ArrayLike, y: ArrayLike, sigma: ArrayLike | None = None, *, offset: ArrayLike | None = None) -> Fit:
    """y = amplitude decay^length + offset, the zeroth-order model of randomised benchmarking (doi 10.1103/PhysRevLett.106.180504).

    lengths: (points,) or (targets, points); y: (targets, points), means over sequences; ``offset``: where it is known.
    Values: "decay" (per length), "amplitude", "offset". The error of a gate is (1 - decay)(1 - 1/dimension), over the gates per length.
    """
    fit = fit_decay(lengths, y, sigma, offset=offset)
    decay = np.exp(-fit["rate"])
    values = {"decay": decay, "amplitude": fit["amplitude"], "offset": fit["offset"]}
    errors = {"decay": decay * fit.uncertainties["rate"]} | {name: fit.uncertainties[name] for name in ("amplitude", "offset")}
    return Fit(fit.x, fit.y, fit.model, values, errors, fit.chi_square, fit.noise, fit.good)


def fit_step_response(
    x: ArrayLike, y: ArrayLike, sigma: ArrayLike | None = None, *, terms: int = 2, known_gain: float | None = None
) -> Fit:
    """y = gain (1 + sum over k of amplitude_k exp(-x / time_k)): what a line makes of a step at x = 0.

    x: (points,) or (targets, points), above 0; y: (targets, points). ``terms``: 1 to 3. ``known_gain``: the gain where it is known, as 1.
    Values: "gain", "amplitude_1", "time_1" and so on, longest time first.
    """
    require_within("terms", terms, 1, 3)
    x, y, weight = table(x, y, sigma)
    unit = x.max(axis=1)
    inner = x / unit[:, None]
    start, smallest = _step_start(inner, y, weight, terms, known_gain)

    def model(places: FloatArray, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Parameters: logarithms of rates, amplitudes times gain, gain."""
        rates, amplitudes = np.exp(parameters[:, None, :terms]), parameters[:, None, terms : 2 * terms]
        decay = np.exp(-rates * places[..., None])
        part = amplitudes * decay
        columns = [-part * rates * places[..., None], decay, np.ones_like(decay[..., :1])]
        return part.sum(axis=2) + parameters[:, 2 * terms, None], np.concatenate(columns, axis=2)

    free = [np.inf] * terms
    gain_bound = np.inf if known_gain is None else known_gain
    # What is slower than twice the window cannot be told from the gain.
    lower = np.array([*[np.log(0.5)] * terms, *(-one for one in free), -gain_bound if known_gain is None else gain_bound])
    upper = np.array([*[np.log(5.0 / smallest)] * terms, *free, gain_bound])
    solution = levenberg_marquardt(model, inner, y, weight, start=start, lower=lower, upper=upper, weighted=sigma is not None)
    gain = solution.parameters[:, 2 * terms]
    values, errors = {"gain": gain}, {"gain": solution.error(2 * terms)}
    order, rows = np.argsort(solution.parameters[:, :terms], axis=1), np.arange(len(y))
    for number in range(terms):
        column = order[:, number]
        logarithm, amplitude = solution.parameters[rows, column], solution.parameters[rows, terms + column]
        slope = np.zeros((len(y), 2 * terms + 1))
        slope[rows, terms + column], slope[:, 2 * terms] = 1.0 / gain, -amplitude / gain**2
        time = unit * np.exp(-logarithm)
        values |= {f"amplitude_{number + 1}": amplitude / gain, f"time_{number + 1}": time}
        errors |= {
            f"amplitude_{number + 1}": np.sqrt(np.einsum("ti,tij,tj->t", slope, solution.covariance, slope)),
            f"time_{number + 1}": time * np.sqrt(solution.covariance[rows, column, column]),
        }
    return solution.fit(x, y, values, errors)


def _step_start(inner: FloatArray, y: FloatArray, weight: FloatArray, terms: int, known_gain: float | None) -> tuple[FloatArray, float]:
    """Best of a grid of combinations of rates, all that is linear solved for, and the smallest place."""
    free = known_gain is None
    base = 0.0 if known_gain is None else known_gain
    data = np.where(weight > 0, y - base, 0.0)
    smallest = max(float(np.median(inner[:, 0])), 1e-6)
    trials = 1.0 / np.geomspace(max(smallest, 1e-3) * 0.7, 2.0, 10)[::-1]
    start, best = np.zeros((len(y), 2 * terms + 1)), np.full(len(y), np.inf)
    decays = np.exp(-trials[:, None, None] * inner)
    for chosen in combinations(range(len(trials)), terms):
        basis = np.stack([*decays[list(chosen)], *([np.ones_like(inner)] if free else [])], axis=2)
        found, cost = linear_solve(basis, data, weight)
        better = cost < best
        best = np.where(better, cost, best)
        rates = np.broadcast_to(np.log(trials[list(chosen)]), (len(y), terms))
        gain = found[:, terms:] if free else np.full((len(y), 1), base)
        start[better] = np.concatenate([rates, found[:, :terms], gain], axis=1)[better]
    return start, smallest
