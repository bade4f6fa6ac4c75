"""Clouds of shots in the IQ plane: where each state's centre is, how wide it is, where the boundary belongs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc

from tiandi.compiling import kernel
from tiandi.computing.instruments.program import ComplexArray, FloatArray
from tiandi.errors import InputError

_ROUNDS = 30
_BINS = 200


@dataclass(frozen=True, eq=False)
class Clouds:
    """Round Gaussian clouds, one for each state prepared, with the shares of shots that lie in each."""

    centres: ComplexArray
    """(targets, states)."""
    uncertainty: FloatArray
    """(targets, states): of the centres, along each axis."""
    width: FloatArray
    """(targets,): standard deviation along each axis, the same for all states."""
    share: FloatArray
    """(targets, prepared, states): where the shots of each preparation lie."""
    good: NDArray[np.bool_]
    """(targets,): all clouds were found, each in the place of its preparation."""

    @property
    def separation(self) -> FloatArray:
        """(targets,): distance of the centres of 0 and 1, in widths."""
        return np.abs(self.centres[:, 1] - self.centres[:, 0]) / self.width

    @property
    def overlap_error(self) -> FloatArray:
        """(targets,): share of a cloud on the wrong side of the middle between 0 and 1: the error that noise alone makes."""
        return np.asarray(0.5 * erfc(self.separation / (2.0 * np.sqrt(2.0))), float)


def fit_clouds(shots: ComplexArray) -> Clouds:
    """Centres and common width by expectation and maximisation over the shots of known preparations.

    shots: (targets, prepared, shots), complex; preparation k is meant to be state k, two or three of them. Shots of a preparation may lie
    in other clouds too (relaxation, thermal excitation): the shares say how many.
    """
    if shots.ndim != 3 or not 2 <= shots.shape[1] <= 3:
        raise InputError("shots", shots.shape, "must be (targets, 2 or 3 prepared states, shots)")
    targets, states, count = shots.shape
    there = np.atleast_1d(np.isfinite(shots).all(axis=(1, 2)))
    data = np.where(there[:, None, None], shots, 0.0)
    centres = np.median(data.real, axis=2) + 1j * np.median(data.imag, axis=2)
    away = data - centres[:, :, None]
    variance = np.maximum(_robust_variance(away), 1e-300)
    share = np.full((targets, states, states), 0.1 / max(states - 1, 1)) + np.eye(states) * (0.9 - 0.1 / max(states - 1, 1))
    maximise(data.real.copy(), data.imag.copy(), centres, variance, share, _ROUNDS)
    width = np.sqrt(variance)
    own = np.einsum("tkk->tk", share)
    good = there & (own > 0.5).all(axis=1) & (width > 1e-150)
    held = np.einsum("tpk->tk", share) * count
    centres = np.where(good[:, None], centres, np.nan)
    return Clouds(centres, np.where(good[:, None], width[:, None] / np.sqrt(held), np.nan), np.where(good, width, np.nan), share, good)


def _robust_variance(away: ComplexArray) -> FloatArray:
    """(targets,): variance along an axis of what lies around its medians, of the tighter half: tails of other states do not count."""
    square = np.abs(away) ** 2
    return np.asarray((np.median(square, axis=2) / (2.0 * np.log(2.0))).min(axis=1), float)


@kernel
def maximise(real: Any, imag: Any, centres: Any, variance: Any, share: Any, rounds: Any) -> None:  # noqa: PLR0917 - numba takes arguments by position.
    """Improve centres (targets, states), variance (targets,) and share (targets, prepared, states) in place, until they rest.

    real, imag: (targets, prepared, shots).
    """
    targets, prepared, count = real.shape
    states = centres.shape[1]
    chance = np.empty(states)
    for t in range(targets):
        for _ in range(rounds):
            held, up, along = np.zeros((prepared, states)), np.zeros(states), np.zeros(states)
            spread = 0.0
            for p in range(prepared):
                for n in range(count):
                    total = 0.0
                    for k in range(states):
                        square = (real[t, p, n] - centres[t, k].real) ** 2 + (imag[t, p, n] - centres[t, k].imag) ** 2
                        chance[k] = share[t, p, k] * np.exp(-square / (2.0 * variance[t])) + 1e-300
                        total += chance[k]
                    for k in range(states):
                        part = chance[k] / total
                        held[p, k] += part
                        up[k] += part * real[t, p, n]
                        along[k] += part * imag[t, p, n]
                        spread += part * ((real[t, p, n] - centres[t, k].real) ** 2 + (imag[t, p, n] - centres[t, k].imag) ** 2)
            moved = 0.0
            for k in range(states):
                weight = 1e-300
                for p in range(prepared):
                    weight += held[p, k]
                    share[t, p, k] = max(held[p, k] / count, 1e-9)
                place = complex(up[k] / weight, along[k] / weight)
                moved = max(moved, abs(place - centres[t, k]))
                spread -= weight * abs(place - centres[t, k]) ** 2
                centres[t, k] = place
            variance[t] = max(spread / (2.0 * prepared * count), 1e-300)
            if moved < 3e-3 * np.sqrt(variance[t]):
                break


def best_threshold(shots: ComplexArray, centres: ComplexArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Where the boundary between 0 and 1 belongs: shift from the middle of the centres towards 1, in the unit of the shots.

    shots: (targets, 2, shots), prepared in 0 and in 1; centres: (targets, at least 2). The sum of both errors over the place of the
    boundary is counted and smoothed by a parabola around its minimum. Returns three (targets,): shift, share read 1 of the shots prepared
    in 0, share read 0 of those prepared in 1; NaN where a centre is not known.
    """
    middle, axis = (centres[:, 0] + centres[:, 1]) / 2.0, centres[:, 1] - centres[:, 0]
    length = np.abs(axis)
    with np.errstate(all="ignore"):
        along = ((shots[:, :2] - middle[:, None, None]) * (axis / length).conj()[:, None, None]).real
        good = np.isfinite(length) & (length > 0) & np.isfinite(along).all(axis=(1, 2))
        places = (along / length[:, None, None] + 0.5) * _BINS
    bins = np.clip(np.where(good[:, None, None], places, 0.0), -1.0, float(_BINS)).astype(np.int64) + 1
    targets, count = len(shots), shots.shape[2]
    rows = np.arange(targets)
    flat = (rows[:, None, None] * 2 + np.arange(2)[:, None]) * (_BINS + 2) + bins
    counted = np.bincount(flat.ravel(), minlength=targets * 2 * (_BINS + 2)).reshape(targets, 2, _BINS + 2)
    below = np.cumsum(counted, axis=2)[:, :, : _BINS + 1] / count
    both = 1.0 - below[:, 0] + below[:, 1]
    grid = np.linspace(-0.5, 0.5, _BINS + 1)
    rough = both[:, _BINS // 10 : -_BINS // 10].argmin(axis=1) + _BINS // 10
    near = np.clip(rough[:, None] + np.arange(-_BINS // 8, _BINS // 8 + 1), 0, _BINS)
    x, y = grid[near] - grid[rough][:, None], both[rows[:, None], near]
    bend, slope, _ = _parabola(x, y)
    shift = np.where(bend > 0, np.clip(-slope / np.where(bend > 0, 2.0 * bend, 1.0), -0.12, 0.12), 0.0) + grid[rough]
    boundary = np.where(good, shift, 0.0) + 0.5
    column = np.clip(np.round(boundary * _BINS).astype(np.int64), 0, _BINS)
    one_for_zero, zero_for_one = 1.0 - below[rows, 0, column], below[rows, 1, column]
    kept = [np.where(good, found, np.nan) for found in (shift * length, one_for_zero, zero_for_one)]
    return kept[0], kept[1], kept[2]


def _parabola(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Coefficients (targets,) of a parabola, highest power first."""
    basis = np.stack([x**2, x, np.ones_like(x)], axis=2)
    normal = basis.transpose(0, 2, 1) @ basis + 1e-12 * np.eye(3)
    found = np.linalg.solve(normal, (basis.transpose(0, 2, 1) @ y[..., None]))[..., 0]
    return np.asarray(found[:, 0], float), np.asarray(found[:, 1], float), np.asarray(found[:, 2], float)
