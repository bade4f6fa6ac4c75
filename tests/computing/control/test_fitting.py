"""Batched fits: the same answers as scipy.optimize.curve_fit on the same data, and uncertainties that mean what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from tiandi.computing.control.fitting import (
    Fit,
    arc_bias,
    arc_frequency,
    fit_arc,
    fit_benchmarking,
    fit_damped_cosine,
    fit_decay,
    fit_line,
    fit_lorentzian,
    fit_parabola,
    fit_resonator,
    fit_step_response,
    levenberg_marquardt,
    shot_noise,
    table,
)
from tiandi.errors import InputError

TARGETS, POINTS = 120, 61
X = np.linspace(0.0, 3.0, POINTS)


def drawn(*names: str) -> np.random.Generator:
    return np.random.default_rng(sum(map(ord, "".join(names))))


def cosine(x: Any, frequency: Any, phase: Any, amplitude: Any, offset: Any, rate: Any) -> Any:  # noqa: PLR0917 - as curve_fit calls it.
    return offset + amplitude * np.exp(-rate * x) * np.cos(2 * np.pi * frequency * x + phase)


def decay(x: Any, time: Any, amplitude: Any, offset: Any) -> Any:
    return offset + amplitude * np.exp(-x / time)


def lorentzian(x: Any, centre: Any, width: Any, height: Any, offset: Any) -> Any:
    return offset + height / (1.0 + (2.0 * (x - centre) / width) ** 2)


def parabola(x: Any, extremum: Any, height: Any, curvature: Any) -> Any:
    return height + curvature * (x - extremum) ** 2


def line(x: Any, slope: Any, offset: Any) -> Any:
    return offset + slope * x


def benchmarking(x: Any, decay: Any, amplitude: Any, offset: Any) -> Any:
    return offset + amplitude * decay**x


CASES: dict[str, tuple[Callable[..., Fit], Callable[..., Any], dict[str, tuple[float, float]], float]] = {
    "cosine": (
        fit_damped_cosine, cosine,
        {"frequency": (0.6, 8.0), "phase": (-3.0, 3.0), "amplitude": (0.3, 0.5), "offset": (0.4, 0.6), "rate": (0.1, 0.8)}, 0.02,
    ),
    "decay": (fit_decay, decay, {"time": (0.3, 2.0), "amplitude": (0.6, 0.9), "offset": (0.0, 0.2)}, 0.02),
    "lorentzian": (
        fit_lorentzian, lorentzian, {"centre": (0.6, 2.4), "width": (0.15, 0.6), "height": (-0.9, -0.4), "offset": (0.8, 1.0)}, 0.03,
    ),
    "parabola": (fit_parabola, parabola, {"extremum": (0.5, 2.5), "height": (-1.0, 1.0), "curvature": (0.5, 2.0)}, 0.1),
    "line": (fit_line, line, {"slope": (-2.0, 2.0), "offset": (-1.0, 1.0)}, 0.1),
    "benchmarking": (fit_benchmarking, benchmarking, {"decay": (0.3, 0.8), "amplitude": (0.3, 0.5), "offset": (0.45, 0.55)}, 0.01),
}  # fmt: skip


def data(case: str) -> tuple[Fit, dict[str, np.ndarray], np.ndarray]:
    fit, model, ranges, sigma = CASES[case]
    random = drawn(case)
    truth = {name: random.uniform(low, high, TARGETS) for name, (low, high) in ranges.items()}
    y = model(X, **{name: values[:, None] for name, values in truth.items()}) + random.normal(0.0, sigma, (TARGETS, POINTS))
    return fit(X, y, sigma), truth, y


@pytest.mark.parametrize("case", CASES)
def test_fits_agree_with_scipy(case: str) -> None:
    _, model, ranges, sigma = CASES[case]
    found, truth, y = data(case)
    for target in range(0, TARGETS, 8):
        start = [truth[name][target] for name in ranges]
        best, covariance = curve_fit(model, X, y[target], p0=start, sigma=np.full(POINTS, sigma), absolute_sigma=True)
        errors = np.sqrt(np.diag(covariance))
        growth = max(1.0, np.sqrt(found.chi_square[target]))
        for name, value, error in zip(ranges, best, errors, strict=True):
            ours = found[name][target]
            away = np.angle(np.exp(1j * (ours - value))) if name == "phase" else ours - value
            assert abs(away) < 0.02 * error, name
            assert found.uncertainties[name][target] == pytest.approx(error * growth, rel=0.02), name


@pytest.mark.parametrize("case", CASES)
def test_uncertainties_cover_the_truth(case: str) -> None:
    found, truth, _ = data(case)
    assert found.good.mean() > 0.98
    for name, values in truth.items():
        pull = (found[name] - values)[found.good]
        pull = (np.angle(np.exp(1j * pull)) if name == "phase" else pull) / found.uncertainties[name][found.good]
        # A standard deviation from 120 draws is known to 6.5 %; inflation of the errors by chi square costs a few percent of coverage.
        assert 0.75 < pull.std() < 1.2, name
        assert np.abs(pull).max() < 4.5, name
    assert np.nanmean(found.chi_square) == pytest.approx(1.0, abs=0.1)


def test_crossing_of_a_line_covers_the_truth() -> None:
    random = drawn("crossing")
    slope, place = random.uniform(1.0, 2.0, TARGETS), random.uniform(1.0, 2.0, TARGETS)
    y = 0.5 + slope[:, None] * (X - place[:, None]) + random.normal(0.0, 0.1, (TARGETS, POINTS))
    found = fit_line(X, y, 0.1, level=0.5)
    assert 0.75 < ((found["crossing"] - place) / found.uncertainties["crossing"]).std() < 1.2


def test_resonators_are_found_with_delay_mismatch_and_noise() -> None:
    random = drawn("resonator")
    centre, width, depth = random.uniform(0.8, 2.2, TARGETS), random.uniform(0.1, 0.5, TARGETS), random.uniform(0.3, 0.9, TARGETS)
    angle, delay, gain = random.uniform(-0.5, 0.5, TARGETS), random.uniform(-0.2, 0.2, TARGETS), np.exp(1j * random.uniform(0, 6, TARGETS))
    dip = 1.0 - (depth * np.exp(1j * angle))[:, None] / (1.0 + 2j * (X - centre[:, None]) / width[:, None])
    z = np.exp(2j * np.pi * delay[:, None] * (X - 1.5)) * gain[:, None] * dip
    z = z + 0.03 * (random.normal(size=z.shape) + 1j * random.normal(size=z.shape))
    found = fit_resonator(X, z, 0.03)
    assert found.good.all()
    for name, truth in {"centre": centre, "width": width, "depth": depth, "angle": angle, "delay": delay}.items():
        pull = (found[name] - truth) / found.uncertainties[name]
        assert 0.75 < pull.std() < 1.25, name
    assert np.nanmean(found.chi_square) == pytest.approx(1.0, abs=0.05)


def test_step_responses_of_two_times_are_told_apart() -> None:
    random = drawn("steps")
    x = np.geomspace(1.0, 2_000.0, 80)
    first, second = random.uniform(0.02, 0.06, TARGETS), random.uniform(-0.05, -0.02, TARGETS)
    long, short = random.uniform(400, 900, TARGETS), random.uniform(10, 40, TARGETS)
    y = 1.0 + first[:, None] * np.exp(-x / long[:, None]) + second[:, None] * np.exp(-x / short[:, None])
    y = y + random.normal(0.0, 0.0005, y.shape)
    found = fit_step_response(x, y, 0.0005, terms=2)
    assert found.good.mean() > 0.98
    for name, truth in {"amplitude_1": first, "time_1": long, "amplitude_2": second, "time_2": short}.items():
        assert np.nanstd((found[name] - truth) / found.uncertainties[name]) < 1.2, name
    known = fit_step_response(x, y, 0.0005, terms=2, known_gain=1.0)
    assert np.nanmedian(known.uncertainties["time_1"] / found.uncertainties["time_1"]) < 0.8
    assert (known["gain"] == 1.0).all()


def test_arcs_are_found_with_points_missing() -> None:
    random = drawn("arcs")
    bias = np.linspace(-0.4, 0.4, 15)
    truth = {
        "top_hz": random.normal(5e9, 1e8, TARGETS), "offset_v": random.uniform(-0.2, 0.2, TARGETS),
        "period_v": random.uniform(0.85, 1.15, TARGETS), "asymmetry": random.uniform(0.2, 0.5, TARGETS),
    }  # fmt: skip
    clean = arc_frequency(bias, anharmonicity_hz=-2.5e8, **{name: values[:, None] for name, values in truth.items()})
    y = clean + random.normal(0.0, 5e5, clean.shape)
    y[random.random(y.shape) < 0.15] = np.nan
    found = fit_arc(bias, y, 5e5, anharmonicity_hz=-2.5e8, period_v=1.0)
    assert found.good.mean() > 0.97
    for name, values in truth.items():
        assert np.nanstd((found[name] - values) / found.uncertainties[name]) < 1.25, name


@given(st.floats(0.01, 0.49), st.floats(0.0, 0.8))
@settings(max_examples=50, deadline=None)
def test_bias_undoes_the_arc(flux: float, asymmetry: float) -> None:
    arc = {"top_hz": 5e9, "offset_v": 0.1, "period_v": 1.3, "asymmetry": asymmetry, "anharmonicity_hz": -2.4e8}
    frequency = arc_frequency(0.1 + 1.3 * flux, **arc)
    assert arc_bias(frequency, **arc) == pytest.approx(0.1 + 1.3 * flux, abs=1e-5)
    assert np.isnan(arc_bias(5.1e9, **arc))


def test_known_parts_are_held_and_carry_no_uncertainty() -> None:
    found, truth, y = data("decay")
    known = fit_decay(X, y, 0.02, offset=truth["offset"])
    assert np.array_equal(known["offset"], truth["offset"])
    assert (known.uncertainties["offset"] == 0.0).all()
    assert (known.uncertainties["time"] < found.uncertainties["time"]).all()
    rabi = 0.5 - 0.4 * np.cos(2 * np.pi * 0.9 * X) * np.ones((5, 1))
    fit = fit_damped_cosine(X, rabi + drawn("rabi").normal(0, 0.01, rabi.shape), 0.01, envelope="none", phase=np.pi)
    assert fit["frequency"] == pytest.approx(0.9, abs=0.01)
    assert fit["amplitude"] == pytest.approx(0.4, abs=0.01)
    assert (fit["rate"] == 0.0).all()


def test_missing_points_are_left_out_and_missing_targets_are_nan() -> None:
    found, _, y = data("cosine")
    y[:, ::7] = np.nan
    y[3] = np.nan
    thinned = fit_damped_cosine(X, y, 0.02)
    assert not thinned.good[3]
    assert np.isnan(thinned["frequency"][3])
    assert np.isnan(thinned.y[:, ::7]).all()
    rest = thinned.good
    assert rest.sum() == TARGETS - 1
    assert (np.abs(thinned["frequency"] - found["frequency"])[rest] < 5 * thinned.uncertainties["frequency"][rest]).all()


def test_without_sigma_the_residuals_give_the_uncertainties() -> None:
    found, _, y = data("lorentzian")
    bare = fit_lorentzian(X, y)
    assert np.isnan(bare.chi_square).all()
    assert bare["centre"] == pytest.approx(found["centre"], abs=1e-3)
    assert np.median(bare.uncertainties["centre"] / found.uncertainties["centre"]) == pytest.approx(1.0, abs=0.1)


def test_own_models_are_fitted() -> None:
    random = drawn("own")
    truth = random.uniform(0.5, 2.0, (TARGETS, 1))
    x, y, weight = table(X, np.sinh(truth * X) + random.normal(0, 0.01, (TARGETS, POINTS)), 0.01)
    found = levenberg_marquardt(
        lambda places, p: (np.sinh(p * places), (places * np.cosh(p * places))[..., None]), x, y, weight, start=np.ones((TARGETS, 1)),
        weighted=True,
    )  # fmt: skip
    assert ((found.parameters - truth)[:, 0] / found.error(0)).std() == pytest.approx(1.0, abs=0.2)


def test_shot_noise_is_the_scatter_of_shares() -> None:
    random = drawn("shots")
    for share in (0.0, 0.02, 0.5, 0.97):
        counted = random.binomial(500, share, 4_000) / 500
        expected = np.sqrt(share * (1 - share) / 500)
        assert np.median(shot_noise(counted, 500)) == pytest.approx(max(expected, 1 / 500), rel=0.2)


@pytest.mark.parametrize(("x", "y", "sigma"), [(X, X, None), (X[:-1], np.zeros((2, POINTS)), None), (X, np.zeros((2, POINTS)), np.ones(3))])
def test_shapes_that_do_not_fit_are_refused(x: Any, y: Any, sigma: Any) -> None:
    with pytest.raises(InputError):
        fit_decay(x, y, sigma)


def test_terms_out_of_bounds_are_refused() -> None:
    with pytest.raises(InputError, match="terms"):
        fit_step_response(X, np.zeros((2, POINTS)), terms=4)
