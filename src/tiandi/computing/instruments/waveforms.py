"""Envelopes of pulses: shape -> samples, and the derivative that DRAG adds in quadrature. All have peak 1 and vanish at both ends."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from tiandi.computing.instruments.program import ComplexArray, FloatArray, Shape
from tiandi.errors import InputError
from tiandi.limits import require_within

GAUSSIAN_WIDTHS = 5.0
"""A Gaussian is cut off where the pulse ends, at 2.5 standard deviations on each side, and lowered to 0 there."""
_SLEPIAN_POINTS = 4_001


def check_shape(shape: Shape) -> None:
    """Raise InputError for a shape that no pulse can have."""
    if shape.kind not in {"cosine", "flattop", "slepian", "gaussian", "square"}:
        raise InputError("kind of shape", shape.kind, "must be cosine, flattop, slepian, gaussian or square")
    require_within("edge_ns", shape.edge_ns, 0.0, 1e6)
    require_within("initial_angle_rad", shape.initial_angle_rad, 0.005, 1.0)
    require_within("final_angle_rad", shape.final_angle_rad, shape.initial_angle_rad + 0.01, 1.57)
    require_within("second_cosine", shape.second_cosine, -0.5, 0.5)
    require_within("third_cosine", shape.third_cosine, -0.5, 0.5)
    if shape.kind == "slepian" and _angle_share(shape).min() < -1e-12:
        weights = (shape.second_cosine, shape.third_cosine)
        raise InputError("second_cosine and third_cosine", weights, "must keep the angle above its first value")


def envelope(shape: Shape, time_ns: ArrayLike, duration_ns: ArrayLike) -> FloatArray:
    """Value at ``time_ns`` after the start of a pulse of ``duration_ns`` (they broadcast); 0 outside. A square is 1 at its ends, too."""
    time, duration = np.broadcast_arrays(np.asarray(time_ns, float), np.asarray(duration_ns, float))
    share = np.divide(time, duration, out=np.full(time.shape, -1.0), where=duration > 0)
    inside = (share >= 0) & (share <= 1)
    if shape.kind == "square":
        value = np.ones_like(share)
    elif shape.kind == "cosine":
        value = 0.5 - 0.5 * np.cos(2 * np.pi * share)
    elif shape.kind == "gaussian":
        foot = np.exp(-0.125 * GAUSSIAN_WIDTHS**2)
        value = (np.exp(-0.5 * (GAUSSIAN_WIDTHS * (share - 0.5)) ** 2) - foot) / (1 - foot)
    elif shape.kind == "slepian":
        value = np.interp(share, *slepian_table(shape))
    else:
        edge = np.clip(np.minimum(shape.edge_ns, 0.5 * duration), 1e-9, None)
        value = 0.5 - 0.5 * np.cos(np.pi * np.clip(np.minimum(time, duration - time) / edge, 0.0, 1.0))
    return np.where(inside, value, 0.0)


def slope_per_ns(shape: Shape, time_ns: ArrayLike, duration_ns: ArrayLike) -> FloatArray:
    """Derivative of `envelope` by the time; the jumps of a square are left out."""
    time, duration = np.broadcast_arrays(np.asarray(time_ns, float), np.asarray(duration_ns, float))
    length = np.where(duration > 0, duration, 1.0)
    share = np.where(duration > 0, time / length, -1.0)
    inside = (share >= 0) & (share <= 1)
    if shape.kind == "square":
        value = np.zeros_like(share)
    elif shape.kind == "cosine":
        value = np.pi / length * np.sin(2 * np.pi * share)
    elif shape.kind == "gaussian":
        foot = np.exp(-0.125 * GAUSSIAN_WIDTHS**2)
        value = -(GAUSSIAN_WIDTHS**2) * (share - 0.5) / length * np.exp(-0.5 * (GAUSSIAN_WIDTHS * (share - 0.5)) ** 2) / (1 - foot)
    elif shape.kind == "slepian":
        places, values = slepian_table(shape)
        value = np.interp(share, places, np.gradient(values, places)) / length
    else:
        edge = np.clip(np.minimum(shape.edge_ns, 0.5 * duration), 1e-9, None)
        near = np.minimum(time, duration - time) / edge
        value = np.where(near < 1, np.where(share < 0.5, 0.5, -0.5) * np.pi / edge * np.sin(np.pi * near), 0.0)
    return np.where(inside, value, 0.0)


def drive_envelope(shape: Shape, time_ns: ArrayLike, duration_ns: ArrayLike, drag_ns: ArrayLike) -> ComplexArray:
    """I + iQ of a drive pulse of amplitude 1 and phase 0: the envelope plus i times ``drag_ns`` times its derivative."""
    return envelope(shape, time_ns, duration_ns) + 1j * np.asarray(drag_ns, float) * slope_per_ns(shape, time_ns, duration_ns)


def samples(shape: Shape, duration_ns: float, rate_hz: float, drag_ns: float = 0.0) -> ComplexArray:
    """What an AWG of ``rate_hz`` plays for a pulse of amplitude 1: one sample in the middle of each of its periods."""
    check_shape(shape)
    require_within("duration_ns", duration_ns, 0.0, 1e7)
    count = round(duration_ns * rate_hz * 1e-9)
    return drive_envelope(shape, (np.arange(count) + 0.5) * 1e9 / rate_hz, duration_ns, drag_ns)


@lru_cache(maxsize=64)
def slepian_table(shape: Shape) -> tuple[FloatArray, FloatArray]:
    """Places in the pulse and values of the slow adiabatic wave of up to three cosines.

    Martinis and Geller, PRA 90, 022307 (2014), doi 10.1103/PhysRevA.90.022307, equations 16 to 22: the control vector's angle rises as a
    sum of 1 - cos in a time that runs at the rate of its sine, and the detuning is its cotangent.
    """
    first, final = shape.initial_angle_rad, shape.final_angle_rad
    angle = first + (final - first) * _angle_share(shape)
    rate = np.sin(angle)
    place = np.concatenate([[0.0], np.cumsum(0.5 * (rate[1:] + rate[:-1]))])
    value = (1 / np.tan(first) - 1 / np.tan(angle)) / (1 / np.tan(first) - 1 / np.tan(final))
    return place / place[-1], value


def _angle_share(shape: Shape) -> FloatArray:
    """How far the angle has risen, 0 to 1, at even steps of its own time."""
    along = 2 * np.pi * np.linspace(0.0, 1.0, _SLEPIAN_POINTS)
    weights = (1.0 - shape.third_cosine, shape.second_cosine, shape.third_cosine)
    total = sum(weight * (1 - np.cos(number * along)) for number, weight in enumerate(weights, 1))
    return np.asarray(total / np.max(total))
