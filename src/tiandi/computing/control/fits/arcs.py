"""The arc of a transmon's frequency over its flux."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tiandi.computing.control.fits.engine import Fit, levenberg_marquardt, table
from tiandi.computing.instruments.program import FloatArray


def arc_frequency(
    bias_v: ArrayLike, *, top_hz: ArrayLike, offset_v: ArrayLike, period_v: ArrayLike, asymmetry: ArrayLike, anharmonicity_hz: ArrayLike
) -> FloatArray:
    """Frequency at a bias: (top + E)(cos^2 + d^2 sin^2)^(1/4) - E of pi (bias - offset) / period, where E is -anharmonicity.

    The transmon's levels to first order in E_C / E_J, with E_C = -anharmonicity (doi 10.1103/PhysRevA.76.042319, eqs. 2.18 and 3.1).
    All broadcast against each other.
    """
    angle = np.pi * (np.asarray(bias_v, float) - np.asarray(offset_v, float)) / np.asarray(period_v, float)
    charge = -np.asarray(anharmonicity_hz, float)
    junction = np.cos(angle) ** 2 + (np.asarray(asymmetry) * np.sin(angle)) ** 2
    return np.asarray((np.asarray(top_hz) + charge) * junction**0.25 - charge, float)


def arc_bias(
    frequency_hz: ArrayLike,
    *,
    top_hz: ArrayLike,
    offset_v: ArrayLike,
    period_v: ArrayLike,
    asymmetry: ArrayLike,
    anharmonicity_hz: ArrayLike,
) -> FloatArray:
    """The bias at or above ``offset_v`` at which the arc has a frequency: between two sweet spots; NaN where the arc does not reach it."""
    charge = -np.asarray(anharmonicity_hz, float)
    junction = ((np.asarray(frequency_hz, float) + charge) / (np.asarray(top_hz, float) + charge)) ** 4
    least = np.asarray(asymmetry) ** 2
    with np.errstate(all="ignore"):
        square = (1.0 - junction) / (1.0 - least)
        share = np.where((square >= -1e-12) & (square <= 1.0), np.clip(square, 0.0, 1.0), np.nan)
    return np.asarray(np.asarray(offset_v) + np.asarray(period_v) / np.pi * np.arcsin(np.sqrt(share)), float)


def fit_arc(
    bias_v: ArrayLike,
    frequency_hz: ArrayLike,
    sigma_hz: ArrayLike | None = None,
    *,
    anharmonicity_hz: ArrayLike,
    period_v: ArrayLike,
    asymmetry: float | None = None,
) -> Fit:
    """Fit `arc_frequency` to frequencies found at several biases; points not found are NaN.

    bias_v: (points,) or (targets, points); frequency_hz: (targets, points); anharmonicity_hz and period_v (a first guess, within 30 %):
    numbers or (targets,); ``asymmetry`` where it is known: a scan that stays near the upper sweet spot does not tell it.
    Values: "top_hz", "offset_v" (nearest to 0 V), "period_v", "asymmetry" (where not given).
    """
    x, y, weight = table(bias_v, frequency_hz, sigma_hz)
    scale = np.where(weight > 0, y, 0.0).max(axis=1)
    scale = np.where(scale > 0, scale, 1.0)
    charge = -np.broadcast_to(np.asarray(anharmonicity_hz, float), scale.shape) / scale
    guess = np.broadcast_to(np.asarray(period_v, float), scale.shape)
    inner, data, weights = x / guess[:, None], y / scale[:, None], weight * scale[:, None]

    def model(places: FloatArray, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        top, offset, period, squared = parameters[:, :1], parameters[:, 1:2], parameters[:, 2:3], parameters[:, 3:4]
        e, places = places[:, :1], places[:, 1:]
        angle = np.pi * (places - offset) / period
        cosine, sine = np.cos(angle), np.sin(angle)
        junction = np.maximum(cosine**2 + squared * sine**2, 1e-12)
        root = junction**0.25
        slope = (top + e) * 0.25 * root / junction
        turned = slope * 2.0 * (squared - 1.0) * sine * cosine
        columns = [root, -turned * np.pi / period, -turned * angle / period, slope * sine**2]
        return (top + e) * root - e, np.stack(columns, axis=2)

    places = np.concatenate([charge[:, None], inner], axis=1)
    start = _start(places, data, weights, 0.25 if asymmetry is None else asymmetry**2)
    held = None if asymmetry is None else asymmetry**2
    lower, upper = np.array([0.5, -1.5, 0.6, 0.0 if held is None else held]), np.array([2.0, 1.5, 1.6, 0.95 if held is None else held])
    solution = levenberg_marquardt(model, places, data, weights, start=start, lower=lower, upper=upper, weighted=sigma_hz is not None)
    top, offset, period, _ = solution.parameters.T
    nearest = offset - np.round(offset / period) * period
    values = {"top_hz": top * scale, "offset_v": nearest * guess, "period_v": period * guess}
    errors = {"top_hz": solution.error(0) * scale, "offset_v": solution.error(1) * guess, "period_v": solution.error(2) * guess}
    if asymmetry is None:
        root = np.sqrt(np.maximum(solution.parameters[:, 3], 1e-12))
        values["asymmetry"], errors["asymmetry"] = root, solution.error(3) / (2.0 * root)
    fit = solution.fit(x, np.where(weight > 0, y, np.nan), values, errors)
    return Fit(fit.x, fit.y, fit.model * scale[:, None], fit.values, fit.uncertainties, fit.chi_square, fit.noise * scale, fit.good)


def _start(places: FloatArray, data: FloatArray, weights: FloatArray, squared: float) -> FloatArray:
    """Best of a grid of offsets and periods."""
    best, start = np.full(len(data), np.inf), np.zeros((len(data), 4))
    top = data.max(axis=1)
    for offset in np.linspace(-0.5, 0.5, 25)[:-1]:
        for period in (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35):
            trial = np.column_stack([top, np.full(len(data), offset), np.full(len(data), period), np.full(len(data), squared)])
            value = _values(places, trial)
            cost = (((data - value) * weights) ** 2).sum(axis=1)
            better = cost < best
            best = np.where(better, cost, best)
            start[better] = trial[better]
    return start


def _values(places: FloatArray, parameters: FloatArray) -> FloatArray:
    top, offset, period, squared = (parameters[:, column, None] for column in range(4))
    charge, inner = places[:, :1], places[:, 1:]
    angle = np.pi * (inner - offset) / period
    return np.asarray((top + charge) * (np.cos(angle) ** 2 + squared * np.sin(angle) ** 2) ** 0.25 - charge)
