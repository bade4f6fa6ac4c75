"""Envelopes against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiandi.computing.instruments.program import Shape
from tiandi.computing.instruments.waveforms import drive_envelope, envelope, samples, slope_per_ns
from tiandi.errors import InputError

SHAPES = [Shape("cosine"), Shape("flattop", 5.0), Shape("slepian"), Shape("gaussian"), Shape("square")]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.kind)
def test_peak_is_one_in_the_middle_and_nothing_lies_outside(shape: Shape) -> None:
    time = np.linspace(-10, 50, 6_001)
    value = envelope(shape, time, 40.0)
    assert value.max() == pytest.approx(1.0)
    assert envelope(shape, 20.0, 40.0) == pytest.approx(1.0, abs=1e-6)
    assert (value[(time < -1e-9) | (time > 40 + 1e-9)] == 0).all()
    assert (value >= 0).all()
    assert value[1000:5001] == pytest.approx(value[1000:5001][::-1], abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES[:4], ids=lambda shape: shape.kind)
def test_slope_adds_up_to_the_envelope(shape: Shape) -> None:
    time = np.linspace(0, 40, 8_001)
    slope = slope_per_ns(shape, time, 40.0)
    added = np.concatenate([[0], np.cumsum(0.5 * (slope[1:] + slope[:-1]) * np.diff(time))])
    assert np.abs(added - envelope(shape, time, 40.0)).max() < 2e-3


def test_a_slepian_follows_the_control_vector() -> None:
    """In the time whose rate is the sine of the angle, the angle is a cosine (Martinis and Geller 2014, equation 20)."""
    final, first = 0.85, 0.1
    time = np.linspace(0, 1, 20_001)
    cotangent = 1 / np.tan(first) - envelope(Shape("slepian", final_angle_rad=final), time, 1.0) * (1 / np.tan(first) - 1 / np.tan(final))
    angle = np.arctan(1 / cotangent)
    along = np.concatenate([[0], np.cumsum(0.5 * (1 / np.sin(angle[1:]) + 1 / np.sin(angle[:-1])))])
    along = along / along[-1]
    expected = first + (final - first) * (0.5 - 0.5 * np.cos(2 * np.pi * along))
    assert np.abs(angle - expected).max() < 2e-3


@given(st.floats(2.0, 500.0))
def test_samples_come_at_the_rate(duration: float) -> None:
    assert len(samples(Shape(), duration, 0.5e9)) == round(duration / 2)


def test_drag_is_the_derivative_in_quadrature() -> None:
    value = drive_envelope(Shape(), 10.0, 40.0, 0.5)
    assert value == pytest.approx(0.5 + 1j * 0.5 * np.pi / 40.0)


@pytest.mark.parametrize("shape", [Shape("triangle"), Shape(edge_ns=-1.0), Shape("slepian", final_angle_rad=2.0)])  # type: ignore[arg-type]
def test_shapes_that_cannot_be_are_refused(shape: Shape) -> None:
    with pytest.raises(InputError):
        samples(shape, 40.0, 1e9)
