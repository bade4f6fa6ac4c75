"""Damped cosines: Ramsey fringes, Rabi oscillations, fringes of a phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tiandi.compiling import kernel
from tiandi.computing.control.fits.engine import Fit, levenberg_marquardt, linear_solve, table
from tiandi.computing.instruments.program import FloatArray

Envelope = Literal["exponential", "gaussian", "none"]
_FINER = 4
"""Grid of frequencies: so many within one over the window."""
_TURN = 2.0 * np.pi


def fit_damped_cosine(
    x: ArrayLike,
    y: ArrayLike,
    sigma: ArrayLike | None = None,
    *,
    envelope: Envelope = "exponential",
    lowest: ArrayLike | None = None,
    highest: ArrayLike | None = None,
    phase: float | None = None,
) -> Fit:
    """y = offset + amplitude exp(-rate x) cos(2 pi frequency x + phase); exp(-(rate x)^2) for a gaussian, 1 for none.

    x: (points,) or (targets, points), spaced as one likes; y: (targets, points); sigma as in `shot_noise`. ``lowest`` and ``highest``:
    bounds of the frequency, each a number or (targets,); without them from half a period in the window up to what the mean spacing
    resolves. ``phase``: the phase where it is known, as pi for a Rabi oscillation that begins in the ground state.

    Values: "frequency" (one over the unit of x), "phase" (rad, amplitude positive unless the phase was given), "amplitude", "offset",
    "rate" (one over the unit of x, 0 for none), and "time", one over the rate.
    """
    x, y, weight = table(x, y, sigma)
    span = np.ptp(x, axis=1)
    resolved = (x.shape[1] - 1) / (2.0 * span)
    low = np.broadcast_to(0.5 / span if lowest is None else np.asarray(lowest, float), span.shape)
    high = np.broadcast_to(resolved if highest is None else np.asarray(highest, float), span.shape)
    decays = envelope != "none"
    start = _start(x, y, weight, (low, high), rates=(0.2, 3.0) if decays else (0.0,), phase=phase)
    free, rest = np.full((len(y), 2), np.inf), np.zeros((len(y), 1))
    sine = np.full((len(y), 1), np.inf if phase is None else 0.0)
    lower = np.column_stack([np.maximum(low - 1.0 / span, 0.0), -0.3 / span if decays else rest, -free, -sine])
    upper = np.column_stack([high + 1.0 / span, 30.0 / span if decays else rest, free, sine])
    known = 0.0 if phase is None else phase

    def model(places: FloatArray, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        frequency, rate, offset, cosine, sine = (parameters[:, column, None] for column in range(5))
        gaussian = envelope == "gaussian"
        decay = np.exp(-((rate * places) ** 2 if gaussian else rate * places))
        angle = _TURN * frequency * places + known
        up, along = decay * np.cos(angle), decay * np.sin(angle)
        wave, turned = cosine * up - sine * along, -cosine * along - sine * up
        slope = 2.0 * rate * places**2 if gaussian else places
        return offset + wave, np.stack([turned * _TURN * places, -slope * wave, np.ones_like(wave), up, -along], axis=2)

    solution = levenberg_marquardt(model, x, y, weight, start=start, lower=lower, upper=upper, weighted=sigma is not None)
    frequency, rate, offset, cosine, sine_found = solution.parameters.T
    amplitude = np.maximum(np.hypot(cosine, sine_found), 1e-300)
    along, across = np.column_stack([cosine, sine_found]) / amplitude[:, None], np.column_stack([-sine_found, cosine]) / amplitude[:, None]
    block = solution.covariance[:, 3:, 3:]
    values = {"frequency": frequency, "offset": offset, "rate": rate}
    errors = {"frequency": solution.error(0), "offset": solution.error(2), "rate": solution.error(1)}
    if phase is None:
        values |= {"amplitude": amplitude, "phase": np.arctan2(sine_found, cosine)}
    else:
        values |= {"amplitude": cosine, "phase": np.full(len(y), phase)}
    errors |= {"amplitude": _along(block, along), "phase": _along(block, across) / amplitude}
    if decays:
        safe = np.where(np.abs(rate) < 1e-12 / span, 1e-12 / span, rate)
        values["time"], errors["time"] = 1.0 / safe, solution.error(1) / safe**2
    return solution.fit(x, y, values, errors)


def _along(block: FloatArray, direction: FloatArray) -> FloatArray:
    return np.sqrt(np.maximum(np.einsum("ti,tij,tj->t", direction, block, direction), 0.0))


def _start(
    x: FloatArray, y: FloatArray, weight: FloatArray, band: tuple[FloatArray, FloatArray], *, rates: Sequence[float], phase: float | None
) -> FloatArray:
    """Best of a grid of frequencies in the band, with each of the rates (over the window): for each, all that is linear is solved for.

    Returns (targets, [frequency, rate, offset, cosine, minus sine]).
    """
    low, high = band
    span = np.ptp(x, axis=1)
    count = int(np.clip(np.ceil((high - low) * span).max(initial=1.0) * _FINER, 8, 4_000)) + 1
    best, start = np.full(len(y), np.inf), np.zeros((len(y), 5))
    terms = 2 if phase is not None else 3
    for rate in rates:
        decay = np.exp(-rate * (x - x.min(axis=1, keepdims=True)) / span[:, None])
        chosen = low + (high - low) / (count - 1) * best_frequency(np.ascontiguousarray(x), y, weight**2, decay, low, high, count)
        angle = _TURN * chosen[:, None] * x + (0.0 if phase is None else phase)
        basis = np.stack([np.ones_like(x), decay * np.cos(angle), -decay * np.sin(angle)][:terms], axis=2)
        found, cost = linear_solve(basis, y, weight)
        better = cost < best
        best = np.where(better, cost, best)
        start[better, :2] = np.column_stack([chosen, rate / span])[better]
        start[better, 2 : 2 + terms] = found[better]
    return start


@kernel
def best_frequency(x: Any, y: Any, share: Any, decay: Any, low: Any, high: Any, count: Any) -> Any:  # noqa: PLR0917 - numba takes arguments by position.
    """(targets,): place in a grid of ``count`` frequencies whose cosine and sine, less their means, take away most of chi square.

    Lomb's and Scargle's periodogram with a floating mean (doi 10.1051/0004-6361:200811296) and a decay. Arrays: (targets, points).
    """
    targets, points = x.shape
    found = np.empty(targets)
    phasor, step = np.empty(points, np.complex128), np.empty(points, np.complex128)
    for t in range(targets):
        total, mean = 1e-300, 0.0
        for p in range(points):
            total += share[t, p]
            mean += share[t, p] * y[t, p]
            phasor[p] = decay[t, p] * np.exp(2j * np.pi * low[t] * x[t, p])
            step[p] = np.exp(2j * np.pi * (high[t] - low[t]) / (count - 1) * x[t, p])
        mean /= total
        most = -1.0
        for row in range(count):
            c = s = cc = ss = cs = yc = ys = 0.0
            for p in range(points):
                real, imag = phasor[p].real, phasor[p].imag
                w, data = share[t, p], share[t, p] * (y[t, p] - mean)
                c += w * real
                s += w * imag
                cc += w * real * real
                ss += w * imag * imag
                cs += w * real * imag
                yc += data * real
                ys += data * imag
                phasor[p] *= step[p]
            cc, ss, cs = cc - c * c / total, ss - s * s / total, cs - c * s / total
            determinant = cc * ss - cs * cs
            if determinant > 1e-6 * cc * ss:
                power = (ss * yc * yc - 2.0 * cs * yc * ys + cc * ys * ys) / determinant
            else:
                power = yc * yc / max(cc, 1e-300)
            if power > most:
                most, found[t] = power, row
    return found
