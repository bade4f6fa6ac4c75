"""Straight lines, parabolas, and the lines of spectroscopy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tiandi.computing.control.fits.engine import Fit, Solution, levenberg_marquardt, linear_solve, table
from tiandi.computing.instruments.program import ComplexArray, FloatArray


def fit_line(x: ArrayLike, y: ArrayLike, sigma: ArrayLike | None = None, *, level: ArrayLike = 0.0) -> Fit:
    """y = offset + slope x. Values: "slope", "offset" (at x = 0), and "crossing", the x at which y is ``level`` (a number or (targets,)).

    x: (points,) or (targets, points); y: (targets, points).
    """
    x, y, weight = table(x, y, sigma)
    solution, middle, scale = _polynomial(x, y, weight, 1, weighted=sigma is not None)
    height, slope = solution.parameters.T
    slope_error = solution.error(1)
    with np.errstate(all="ignore"):
        ratio = (np.asarray(level, float) - height) / slope
        spread = _propagated(solution.covariance, np.stack([-1.0 / slope, -ratio / slope], axis=1))
        back = middle / scale
        values = {"slope": slope / scale, "offset": height - slope * back, "crossing": middle + scale * ratio}
        errors = {
            "slope": slope_error / scale,
            "offset": _propagated(solution.covariance, np.stack([np.ones_like(back), -back], axis=1)),
            "crossing": scale * spread,
        }
    return solution.fit(x, y, values, errors)


def fit_parabola(x: ArrayLike, y: ArrayLike, sigma: ArrayLike | None = None) -> Fit:
    """y = height + curvature (x - extremum)^2. Values: "extremum", "height" (there) and "curvature"; positive for a minimum.

    x: (points,) or (targets, points); y: (targets, points).
    """
    x, y, weight = table(x, y, sigma)
    solution, middle, scale = _polynomial(x, y, weight, 2, weighted=sigma is not None)
    height, slope, bend = solution.parameters.T
    with np.errstate(all="ignore"):
        place = -slope / (2.0 * bend)
        values = {"extremum": middle + scale * place, "height": height + slope * place / 2.0, "curvature": bend / scale**2}
        errors = {
            "extremum": scale * _propagated(solution.covariance, np.stack([0 * bend, -0.5 / bend, -place / bend], axis=1)),
            "height": _propagated(solution.covariance, np.stack([np.ones_like(bend), place, place**2], axis=1)),
            "curvature": solution.error(2) / scale**2,
        }
    return solution.fit(x, y, values, errors)


def _polynomial(
    x: FloatArray, y: FloatArray, weight: FloatArray, degree: int, *, weighted: bool
) -> tuple[Solution, FloatArray, FloatArray]:
    """Coefficients in (x - middle) / scale, lowest power first, with middle and scale (targets,)."""
    middle = (x.min(axis=1) + x.max(axis=1)) / 2.0
    scale = np.maximum(np.ptp(x, axis=1) / 2.0, 1e-300)

    def model(places: FloatArray, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        powers = places[..., None] ** np.arange(degree + 1)
        return (powers @ parameters[..., None])[..., 0], powers

    inner = (x - middle[:, None]) / scale[:, None]
    start, _ = linear_solve(inner[..., None] ** np.arange(degree + 1), y, weight)
    return levenberg_marquardt(model, inner, y, weight, start=start, weighted=weighted), middle, scale


def _propagated(covariance: FloatArray, derivative: FloatArray) -> FloatArray:
    """(targets,): standard deviation of what has these derivatives (targets, parameters)."""
    return np.sqrt(np.einsum("ti,tij,tj->t", derivative, covariance, derivative))


def fit_lorentzian(x: ArrayLike, y: ArrayLike, sigma: ArrayLike | None = None, *, sign: int = 0) -> Fit:
    """y = offset + height / (1 + (2 (x - centre) / width)^2). ``sign``: 1 for a peak, -1 for a dip, 0 for whichever is stronger.

    Values: "centre", "width" (full, at half height; positive), "height" (negative for a dip), "offset".
    x: (points,) or (targets, points), y: (targets, points). The centre may not leave the scan.
    """
    x, y, weight = table(x, y, sigma)
    span, first = np.ptp(x, axis=1), x.min(axis=1)
    spacing = span / max(x.shape[1] - 1, 1)
    inner = (x - first[:, None]) / span[:, None]
    best, start = np.full(len(y), np.inf), np.zeros((len(y), 4))
    for width in _widths(x.shape[1]):
        centre = inner[np.arange(len(y)), _matched(inner, y, weight, width, sign)]
        basis = np.stack([np.ones_like(y), 1.0 / (1.0 + (2.0 * (inner - centre[:, None]) / width) ** 2)], axis=2)
        found, cost = linear_solve(basis, y, weight)
        better = (cost < best) & ((sign == 0) | (np.sign(found[:, 1]) == sign))
        best = np.where(better, cost, best)
        start[better] = np.column_stack([centre, np.full(len(y), width), found])[better]

    def model(places: FloatArray, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        centre, width, offset, height = (parameters[:, column, None] for column in range(4))
        away = 2.0 * (places - centre) / width
        bell = 1.0 / (1.0 + away**2)
        slope = 2.0 * height * away * bell**2
        return offset + height * bell, np.stack([slope * 2.0 / width, slope * away / width, np.ones_like(bell), bell], axis=2)

    lower = np.stack([np.zeros(len(y)), 0.2 * spacing / span, *np.full((2, len(y)), -np.inf)], axis=1)
    upper = np.array([1.0, 3.0, np.inf, np.inf])
    start[:, 1] = np.where(start[:, 1] > 0, start[:, 1], np.nan)
    solution = levenberg_marquardt(model, inner, y, weight, start=start, lower=lower, upper=upper, weighted=sigma is not None)
    centre, width, offset, height = solution.parameters.T
    values = {"centre": first + span * centre, "width": span * width, "offset": offset, "height": height}
    errors = {
        "centre": span * solution.error(0),
        "width": span * solution.error(1),
        "offset": solution.error(2),
        "height": solution.error(3),
    }
    return solution.fit(x, y, values, errors)


def _widths(points: int) -> FloatArray:
    """Widths to try, as shares of the scan: from two points to half of it."""
    return np.geomspace(min(2.0 / points, 0.5), 0.5, 6)


def _matched(inner: FloatArray, y: FloatArray, weight: FloatArray, width: float, sign: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(targets,): the point at which a bell of this width answers most to the data less their median."""
    points = y.shape[1]
    mean = np.median(y, axis=1, keepdims=True)
    data = (y - mean) * weight**2
    even = np.linspace(0.0, 1.0, points)
    bell = 1.0 / (1.0 + (2.0 * (even[:, None] - even[None, :]) / width) ** 2)
    answer = data @ bell / np.sqrt((weight**2) @ bell**2 + 1e-300)
    return np.asarray((np.abs(answer) if sign == 0 else sign * answer).argmax(axis=1))


def fit_resonator(x: ArrayLike, z: ComplexArray, sigma: ArrayLike | None = None) -> Fit:
    """A resonator on a feed line: z = exp(2 pi i delay (x - middle)) (gain + dip / (1 + 2 i (x - centre) / width)), gain and dip complex.

    x: frequencies, (points,) or (targets, points); z: (targets, points), complex; sigma: of its real part and of its imaginary part, each.
    Values: "centre", "width" (loaded linewidth), "depth" (|dip| / |gain|, 1 for a resonator that takes all), "angle" (rad, of -dip / gain,
    0 for one without impedance mismatch), "gain" (its absolute value), "delay" (one over the unit of x). In the fit returned y is |z|.
    """
    shape = np.shape(z)
    x, _, _ = table(x, np.abs(z), None)
    span, middle = np.ptp(x, axis=1), (x.min(axis=1) + x.max(axis=1)) / 2.0
    inner = (x - middle[:, None]) / span[:, None]
    there = np.isfinite(z)
    data = np.where(there, z, 0.0)
    turns = np.angle(data[:, 1:] * data[:, :-1].conj())
    turn = turns.mean(axis=1) / (2.0 * np.pi * np.median(np.diff(inner, axis=1), axis=1))
    size = np.broadcast_to(np.nan if sigma is None else np.asarray(sigma, float), shape)
    weight = np.where(there, 1.0 if sigma is None else 1.0 / size, 0.0)
    both = np.concatenate([data.real, data.imag], axis=1)
    weights, twice = np.concatenate([weight, weight], axis=1), np.concatenate([inner, inner], axis=1)
    start = _resonator_start(inner, data, weights, both, turn)
    lower = np.array([-0.5, 0.3 / shape[1], -np.inf, *[-np.inf] * 4])
    upper = np.array([0.5, 2.0, np.inf, *[np.inf] * 4])
    solution = levenberg_marquardt(_resonator, twice, both, weights, start=start, lower=lower, upper=upper, weighted=sigma is not None)
    centre, width, delay = solution.parameters[:, :3].T
    gain, dip = solution.parameters[:, 3] + 1j * solution.parameters[:, 4], solution.parameters[:, 5] + 1j * solution.parameters[:, 6]
    with np.errstate(all="ignore"):
        ratio = -dip / gain
        slopes = np.stack([ratio / gain * -1.0, ratio / gain * -1j, -1.0 / gain, -1j / gain], axis=1)
        along = slopes * (ratio.conj() / np.abs(ratio))[:, None]
        block = solution.covariance[:, 3:, 3:]
        unit = gain / np.abs(gain)
        values = {
            "centre": middle + span * centre, "width": span * width, "delay": delay / span,
            "depth": np.abs(ratio), "angle": np.angle(ratio), "gain": np.abs(gain),
        }  # fmt: skip
        errors = {
            "centre": span * solution.error(0), "width": span * solution.error(1), "delay": solution.error(2) / span,
            "depth": _propagated(block, along.real), "angle": _propagated(block, along.imag) / np.abs(ratio),
            "gain": _propagated(block[:, :2, :2], np.stack([unit.real, unit.imag], axis=1)),
        }  # fmt: skip
    fit = solution.fit(x, np.where(there, np.abs(data), np.nan), values, errors)
    absolute = np.hypot(fit.model[:, : shape[1]], fit.model[:, shape[1] :])
    return Fit(fit.x, fit.y, absolute, fit.values, fit.uncertainties, fit.chi_square, fit.noise, fit.good)


def _resonator_start(inner: FloatArray, data: ComplexArray, weights: FloatArray, both: FloatArray, turn: FloatArray) -> FloatArray:
    straight = data * np.exp(-2j * np.pi * turn[:, None] * inner)
    points = data.shape[1]
    rough = np.median(straight.real, axis=1) + 1j * np.median(straight.imag, axis=1)
    away = np.abs(straight - rough[:, None])
    best, start = np.full(len(data), np.inf), np.zeros((len(data), 7))
    for width in _widths(points):
        centre = inner[np.arange(len(data)), _matched(inner, away, weights[:, :points], width, 1)]
        parameters = np.zeros((len(data), 7))
        parameters[:, 0], parameters[:, 1], parameters[:, 2] = centre, width, turn
        basis = _resonator(np.concatenate([inner, inner], axis=1), parameters)[1][..., 3:]
        found, cost = linear_solve(basis, both, weights)
        better = cost < best
        best = np.where(better, cost, best)
        parameters[:, 3:] = found
        start[better] = parameters[better]
    return start


def _resonator(twice: FloatArray, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
    places = twice[:, : twice.shape[1] // 2]
    centre, width, delay = (parameters[:, column, None] for column in range(3))
    gain, dip = (parameters[:, 3] + 1j * parameters[:, 4])[:, None], (parameters[:, 5] + 1j * parameters[:, 6])[:, None]
    turned = np.exp(2j * np.pi * delay * places)
    line = 1.0 / (1.0 + 2j * (places - centre) / width)
    value = turned * (gain + dip * line)
    slope = turned * dip * line**2 * 2j / width
    columns = [
        slope, slope * (places - centre) / width, 2j * np.pi * places * value, turned, 1j * turned, turned * line, 1j * turned * line,
    ]  # fmt: skip
    derivative = np.stack(columns, axis=2)
    return np.concatenate([value.real, value.imag], axis=1), np.concatenate([derivative.real, derivative.imag], axis=1)
