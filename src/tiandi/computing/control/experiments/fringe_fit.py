"""Ramsey fringes whose envelope falls by fast noise, as exp(-a t), and by slow noise, as exp(-c t^2), at once.

Of such an envelope neither part is known well, for they look alike; the time at which it has fallen to 1/e is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.fitting import fit_damped_cosine, levenberg_marquardt
from tiandi.computing.instruments.program import FloatArray

TURN = 2.0 * np.pi


@dataclass(frozen=True, eq=False)
class Fringes:
    """(targets,) each; NaN where the fit is not good."""

    frequency_hz: FloatArray
    frequency_error_hz: FloatArray
    time_s: FloatArray
    """At which the envelope has fallen to 1/e."""
    time_error_s: FloatArray
    swing: FloatArray
    noise: FloatArray
    good: NDArray[np.bool_]
    model: FloatArray
    """(targets, points)."""


def fit_fringes(delay_s: FloatArray, signal: FloatArray, sigma: FloatArray, *, highest_hz: FloatArray) -> Fringes:
    """Fit offset + exp(-a t - c t^2) (C cos - S sin)(2 pi f t); arrays (targets, points), highest_hz (targets,): bound of the frequency."""
    first = fit_damped_cosine(delay_s, signal, sigma, lowest=0.0 * highest_hz, highest=highest_hz)
    span = delay_s[:, -1]
    inner = delay_s / span[:, None]
    rate = np.clip(first["rate"] * span, 0.05, 20.0)
    start = np.stack(
        [
            first["frequency"] * span,
            0.7 * rate,
            0.1 * rate**2,
            first["offset"],
            first["amplitude"] * np.cos(first["phase"]),
            first["amplitude"] * np.sin(first["phase"]),
        ],
        axis=1,
    )
    lower = np.array([-np.inf, 0.0, 0.0, -1.0, -2.0, -2.0])
    upper = np.array([np.inf, 40.0, 400.0, 2.0, 2.0, 2.0])
    solution = levenberg_marquardt(_model, inner, signal, 1.0 / sigma, start=start, lower=lower, upper=upper, weighted=True)
    fast, slow = solution.parameters[:, 1], solution.parameters[:, 2]
    root = np.sqrt(fast**2 + 4.0 * slow)
    good = solution.good & (root > 1e-6)
    root = np.where(good, root, 1.0)
    time = 2.0 / (fast + root)
    slope = np.stack([-(1.0 + fast / root), -2.0 / root], axis=1) * (0.5 * time**2)[:, None]
    error = np.sqrt(np.maximum(np.einsum("ti,tij,tj->t", slope, solution.covariance[:, 1:3, 1:3], slope), 0.0))
    kept = np.where(good, 1.0, np.nan)
    return Fringes(
        kept * solution.parameters[:, 0] / span,
        kept * solution.error(0) / span,
        kept * time * span,
        kept * error * span,
        np.ptp(solution.model, axis=1),
        solution.noise,
        good,
        solution.model,
    )


def _model(x: FloatArray, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
    frequency, fast, slow, offset, cosine, sine = (parameters[:, number, None] for number in range(6))
    decay, angle = np.exp(-fast * x - slow * x**2), TURN * frequency * x
    up, along = decay * np.cos(angle), decay * np.sin(angle)
    wave, turned = cosine * up - sine * along, -cosine * along - sine * up
    return offset + wave, np.stack([turned * TURN * x, -x * wave, -(x**2) * wave, np.ones_like(wave), up, -along], axis=2)
