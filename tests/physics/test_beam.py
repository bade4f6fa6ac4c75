"""Beams against published figures, numerical diffraction and photons followed one by one.

Statistical tests allow five standard deviations or p > 1e-6: one false alarm in a million runs. All generators are seeded, so a test
that passes once passes always.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, special, stats

from tiandi.errors import InputError
from tiandi.physics.beam import (
    beam_radius_m,
    beam_wander_urad,
    diffraction_divergence_urad,
    diffraction_gain,
    gain_efficiency,
    gaussian_collection,
    mean_pointing_factor,
    pointing_cumulative,
    pointing_density,
    sample_pointing_factors,
    top_hat_collection,
    truncated_fraction,
    turbulent_divergence_urad,
)
from tiandi.units import loss_from_transmittance

VECTORS = json.loads((Path(__file__).parents[1] / "against" / "vectors.json").read_text())
SIGMAS = 5.0
FALSE_ALARM = 1e-6
POINTINGS = [(1.2, 0.0), (0.4, 0.0), (3.0, 0.0), (1.2, 2.0), (0.5, 4.0)]
"""Jitter per axis and constant offset [microradian] of a beam of 10 microradian full angle; with 3.0 the density grows without limit."""


@pytest.mark.parametrize("row", VECTORS["gauss_collect"])
def test_gaussian_collection(row: dict[str, float]) -> None:
    collected = gaussian_collection(
        row["range_m"] / 1000, divergence_full_angle_urad=2e6 * row["theta_half_rad"], aperture_m=2 * row["a_m"]
    )
    assert float(collected) == pytest.approx(row["eta"], rel=1e-12)
    assert float(loss_from_transmittance(collected)) == pytest.approx(row["loss_dB"], rel=1e-12)


def test_a_small_aperture_collects_twice_as_much_of_a_gaussian_beam_as_of_a_top_hat() -> None:
    ranges_km = np.array([300.0, 1200.0, 36000.0])
    gaussian, top_hat = (
        collect(ranges_km, divergence_full_angle_urad=10.0, aperture_m=0.01) for collect in (gaussian_collection, top_hat_collection)
    )
    assert gaussian / top_hat == pytest.approx(2.0, rel=1e-4)


def test_the_conventions_differ_by_3_db_on_the_micius_downlink() -> None:
    """Liao et al. 2017 count 22 dB for 10 microradian at 1,200 km, and about 10 dB at the diffraction limit of their 0.3 m telescope."""
    top_hat = top_hat_collection(1200.0, divergence_full_angle_urad=10.0, aperture_m=1.0)
    gaussian = gaussian_collection(1200.0, divergence_full_angle_urad=10.0, aperture_m=1.0)
    assert float(loss_from_transmittance(top_hat)) == pytest.approx(22.0, abs=0.5)
    assert float(loss_from_transmittance(gaussian)) == pytest.approx(18.6, abs=0.05)
    limit_urad = diffraction_divergence_urad(0.15, wavelength_nm=848.6)
    limited = gaussian_collection(1200.0, divergence_full_angle_urad=limit_urad, aperture_m=1.0, waist_m=0.15)
    assert float(loss_from_transmittance(limited)) == pytest.approx(10.0, abs=0.3)


def test_gaussian_collection_is_the_share_of_photons_that_land_in_the_aperture() -> None:
    radius_m, photons = float(beam_radius_m(0.2, divergence_full_angle_urad=5000.0, waist_m=0.3)), 1_000_000
    landed = np.random.default_rng(1).normal(0.0, radius_m / 2, (photons, 2))
    expected = float(gaussian_collection(0.2, divergence_full_angle_urad=5000.0, waist_m=0.3, aperture_m=0.8))
    assert abs(np.mean(np.hypot(*landed.T) < 0.4) - expected) < SIGMAS * np.sqrt(expected * (1 - expected) / photons)


def test_the_radius_grows_by_the_root_of_two_over_the_rayleigh_length() -> None:
    waist_m, wavelength_m = 0.02, 1550e-9
    rayleigh_km = np.pi * waist_m**2 / wavelength_m / 1000
    divergence_urad = diffraction_divergence_urad(waist_m, wavelength_nm=1550.0)
    assert float(beam_radius_m(rayleigh_km, divergence_full_angle_urad=divergence_urad, waist_m=waist_m)) == pytest.approx(
        waist_m * np.sqrt(2), rel=1e-12
    )


def best_truncation(obscuration: float) -> tuple[float, float]:
    found = optimize.minimize_scalar(lambda truncation: -float(gain_efficiency(truncation, obscuration=obscuration)), bounds=(0.3, 3.0))
    return float(found.x), -float(found.fun)


def test_the_best_truncation_is_the_textbooks() -> None:
    """1.12 and 0.8145 without obscuration."""
    truncation, efficiency = best_truncation(0.0)
    assert truncation == pytest.approx(1.12, abs=0.005)
    assert efficiency == pytest.approx(0.8145, abs=1e-4)


@pytest.mark.parametrize("obscuration", [0.1, 0.2, 0.3, 0.4])
def test_the_best_truncation_under_an_obscuration_is_klein_and_degnans(obscuration: float) -> None:
    """Their approximation 1.12 - 1.30 g^2 + 2.12 g^4 (recalled), good to about 1 %."""
    assert best_truncation(obscuration)[0] == pytest.approx(1.12 - 1.30 * obscuration**2 + 2.12 * obscuration**4, rel=0.011)


@pytest.mark.parametrize(("truncation", "obscuration"), [(0.5, 0.0), (1.12, 0.3), (2.5, 0.5)])
def test_gain_efficiency_is_fraunhofers_integral_over_the_annulus(truncation: float, obscuration: float) -> None:
    """On the axis the far field is the plain sum of the aperture's field; an even field of the same power is the reference."""

    def field(r: float) -> float:
        return np.exp(-((truncation * r) ** 2))

    amplitude = integrate.quad(lambda r: field(r) * 2 * np.pi * r, obscuration, 1.0)[0]
    power = integrate.quad(lambda r: field(r) ** 2 * 2 * np.pi * r, 0.0, np.inf)[0]
    assert float(gain_efficiency(truncation, obscuration=obscuration)) == pytest.approx(amplitude**2 / (np.pi * power), rel=1e-9)
    passed = integrate.quad(lambda r: field(r) ** 2 * 2 * np.pi * r, obscuration, 1.0)[0]
    assert float(truncated_fraction(truncation, obscuration=obscuration)) == pytest.approx(passed / power, rel=1e-9)


def test_an_untruncated_beam_has_the_gain_that_its_divergence_says() -> None:
    """Gain times area over 4 pi R^2 is what `gaussian_collection` gives, once the aperture is far wider than the beam."""
    aperture_m, truncation, range_m, receiver_m = 0.3, 6.0, 1e6, 0.1
    gain = diffraction_gain(aperture_m, wavelength_nm=850.0) * gain_efficiency(truncation)
    by_gain = gain * np.pi * receiver_m**2 / 4 / (4 * np.pi * range_m**2)
    divergence_urad = diffraction_divergence_urad(aperture_m / 2 / truncation, wavelength_nm=850.0)
    by_beam = gaussian_collection(range_m / 1000, divergence_full_angle_urad=divergence_urad, aperture_m=receiver_m)
    assert float(by_gain) == pytest.approx(float(by_beam), rel=1e-4)


def test_an_evenly_lit_aperture_has_the_full_gain_of_its_light() -> None:
    assert float(gain_efficiency(0.01) / truncated_fraction(0.01)) == pytest.approx(1.0, rel=1e-4)
    assert float(10 * np.log10(diffraction_gain(0.3, wavelength_nm=850.0))) == pytest.approx(120.9, abs=0.05)


@pytest.mark.parametrize("row", VECTORS["pointing_mean"])
def test_mean_pointing_factor(row: dict[str, float]) -> None:
    mean = mean_pointing_factor(row["sigma_per_axis_urad"], divergence_full_angle_urad=2 * row["theta_half_urad"])
    assert float(mean) == pytest.approx(row["mean"], rel=1e-12)
    assert float(loss_from_transmittance(mean)) == pytest.approx(row["loss_dB"], rel=1e-12)


def test_a_steady_beam_loses_what_its_offset_says() -> None:
    factor = mean_pointing_factor(0.0, divergence_full_angle_urad=10.0, boresight_urad=np.array([0.0, 5.0]))
    assert factor == pytest.approx([1.0, np.exp(-2.0)])


@pytest.mark.parametrize(("jitter_urad", "boresight_urad"), POINTINGS)
def test_the_pointing_density_integrates_to_1_and_has_the_mean(jitter_urad: float, boresight_urad: float) -> None:
    def at_depth(depth: float, power: int) -> float:
        """Density over the natural logarithm of the loss, times the factor to a power."""
        factor = np.exp(-depth)
        density = pointing_density(factor, jitter_urad=jitter_urad, divergence_full_angle_urad=10.0, boresight_urad=boresight_urad)
        return float(density * factor ** (1 + power))

    zeroth, first = (integrate.quad(at_depth, 0.0, 80.0, args=(power,), limit=400, points=[0.1, 1, 5, 20])[0] for power in (0, 1))
    assert zeroth == pytest.approx(1.0, abs=1e-8)
    mean = mean_pointing_factor(jitter_urad, divergence_full_angle_urad=10.0, boresight_urad=boresight_urad)
    assert first == pytest.approx(float(mean), rel=1e-7)


@pytest.mark.parametrize(("jitter_urad", "boresight_urad"), POINTINGS)
def test_the_pointing_cumulative_grows_by_the_density(jitter_urad: float, boresight_urad: float) -> None:
    pointing = {"jitter_urad": jitter_urad, "divergence_full_angle_urad": 10.0, "boresight_urad": boresight_urad}
    low, high = 0.3, 0.9
    area = integrate.quad(lambda factor: float(pointing_density(factor, **pointing)), low, high)[0]
    assert float(pointing_cumulative(high, **pointing) - pointing_cumulative(low, **pointing)) == pytest.approx(area, rel=1e-9)
    assert pointing_cumulative(np.array([-1.0, 0.0, 1.0, 2.0]), **pointing) == pytest.approx([0.0, 0.0, 1.0, 1.0])
    assert (pointing_density(np.array([-0.1, 0.0, 1.1]), **pointing) == 0.0).all()


def test_without_offset_the_pointing_loss_is_farid_and_hranilovics() -> None:
    factors, power = np.linspace(0.01, 1.0, 50), (5.0 / (2 * 1.2)) ** 2
    given_pointing = {"jitter_urad": 1.2, "divergence_full_angle_urad": 10.0}
    assert pointing_density(factors, **given_pointing) == pytest.approx(power * factors ** (power - 1), rel=1e-12)
    assert pointing_cumulative(factors, **given_pointing) == pytest.approx(factors**power, abs=1e-12)


@pytest.mark.parametrize(("jitter_urad", "boresight_urad"), POINTINGS)
def test_sampled_pointing_factors_follow_the_cumulative(jitter_urad: float, boresight_urad: float) -> None:
    pointing = {"jitter_urad": jitter_urad, "divergence_full_angle_urad": 10.0, "boresight_urad": boresight_urad}
    drawn = sample_pointing_factors(100_000, generator=np.random.default_rng(2), **pointing)
    assert stats.kstest(drawn, lambda factor: pointing_cumulative(factor, **pointing)).pvalue > FALSE_ALARM
    mean = float(mean_pointing_factor(jitter_urad, divergence_full_angle_urad=10.0, boresight_urad=boresight_urad))
    assert abs(drawn.mean() - mean) < SIGMAS * drawn.std() / np.sqrt(drawn.size)


def test_the_mean_pointing_factor_holds_within_1_percent_for_a_receiver_that_collects_1_percent() -> None:
    """Against the exact power through an offset aperture, a non-central chi-square, averaged over a million offsets."""
    theta_urad, jitter_urad, range_m = 5.0, 1.2, 1e6
    radius_m, aperture_m = theta_urad * 1e-6 * range_m, 0.7
    offsets_m = np.hypot(*np.random.default_rng(3).normal(0.0, jitter_urad * 1e-6 * range_m, (2, 1_000_000)))
    exact = special.chndtr((aperture_m / radius_m) ** 2, 2.0, (2 * offsets_m / radius_m) ** 2).mean()
    on_axis = float(gaussian_collection(range_m / 1000, divergence_full_angle_urad=2 * theta_urad, aperture_m=aperture_m))
    assert 0.009 < on_axis < 0.01
    assert on_axis * float(mean_pointing_factor(jitter_urad, divergence_full_angle_urad=2 * theta_urad)) == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("fried_parameter_m", [10.0, 0.5, 0.2, 0.1, 0.05, 0.02])
def test_a_spread_beam_has_up_to_0_35_db_less_on_its_axis_than_the_exact_integral(fried_parameter_m: float) -> None:
    """On-axis far field behind Kolmogorov turbulence: the beam's transfer function times exp(-3.44 (s / r0)^(5/3)), summed over s."""
    waist_m = 0.1
    divergence_urad = float(diffraction_divergence_urad(waist_m, wavelength_nm=850.0))

    def transfer(s: float) -> float:
        return s * np.exp(-0.5 * (s / waist_m) ** 2 - 3.44 * (s / fried_parameter_m) ** (5 / 3))

    exact = integrate.quad(transfer, 0.0, 1.0, points=[0.01, 0.05, 0.1, 0.3], limit=200)[0] / waist_m**2
    spread_urad = float(turbulent_divergence_urad(divergence_urad, wavelength_nm=850.0, fried_parameter_m=fried_parameter_m))
    assert 0.0 < 10 * np.log10(exact / (divergence_urad / spread_urad) ** 2) < 0.35


def test_calm_air_spreads_no_beam() -> None:
    assert float(turbulent_divergence_urad(10.0, wavelength_nm=850.0, fried_parameter_m=np.inf)) == 10.0
    assert float(beam_wander_urad(0.1, wavelength_nm=850.0, fried_parameter_m=np.inf)) == 0.0


def test_beam_wander_is_the_irradiance_weighted_gradient_of_kolmogorovs_phase() -> None:
    """Per axis: half of the integral of the phase's spectrum times kappa^2 times the beam's filter exp(-kappa^2 W0^2 / 4), over k^2."""
    waist_m, wavelength_m, fried_m = 0.1, 850e-9, 0.1
    spectrum = 0.033 / 0.423 * 2 * np.pi * fried_m ** (-5 / 3)  # Of the phase, per kappa^(-11/3), with Cn2 put as r0.
    moment = integrate.quad(lambda kappa: kappa ** (-2 / 3) * np.exp(-((kappa * waist_m) ** 2) / 4), 0.0, 200.0, limit=500)[0]
    variance = 0.5 * 2 * np.pi * spectrum * moment * (wavelength_m / (2 * np.pi)) ** 2
    wander_urad = float(beam_wander_urad(waist_m, wavelength_nm=850.0, fried_parameter_m=fried_m))
    assert wander_urad == pytest.approx(1e6 * np.sqrt(variance), rel=1e-3)


def test_beam_wander_is_that_of_a_telescope_two_waists_wide() -> None:
    """Textbook gradient tilt of an evenly lit aperture, one axis: 0.170 (wavelength / D)^2 (D / r0)^(5/3)."""
    waist_m, wavelength_m, fried_m = 0.1, 850e-9, 0.05
    tilt_urad = 1e6 * np.sqrt(0.170 * (wavelength_m / (2 * waist_m)) ** 2 * (2 * waist_m / fried_m) ** (5 / 3))
    assert float(beam_wander_urad(waist_m, wavelength_nm=850.0, fried_parameter_m=fried_m)) == pytest.approx(tilt_urad, rel=0.02)


@given(fried_m=st.floats(0.01, 10.0), waist_m=st.floats(0.01, 1.0))
def test_wander_is_a_part_of_the_spread(fried_m: float, waist_m: float) -> None:
    still_urad = diffraction_divergence_urad(waist_m, wavelength_nm=850.0)
    spread_urad = turbulent_divergence_urad(still_urad, wavelength_nm=850.0, fried_parameter_m=fried_m)
    wander_urad = beam_wander_urad(waist_m, wavelength_nm=850.0, fried_parameter_m=fried_m)
    assert spread_urad**2 - (4 * wander_urad) ** 2 > still_urad**2


@given(range_km=st.floats(1.0, 1e5), divergence_urad=st.floats(0.5, 1000.0), aperture_m=st.floats(0.01, 10.0))
def test_collection_is_a_share_that_falls_with_the_range(range_km: float, divergence_urad: float, aperture_m: float) -> None:
    for collect in (gaussian_collection, top_hat_collection):
        near, far = collect(np.array([range_km, 2 * range_km]), divergence_full_angle_urad=divergence_urad, aperture_m=aperture_m)
        assert 1.0 >= near >= far > 0.0


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: beam_radius_m(0.0, divergence_full_angle_urad=10.0), "range_km"),
        (lambda: beam_radius_m([1.0, np.nan], divergence_full_angle_urad=10.0), "range_km"),
        (lambda: beam_radius_m(1.0, divergence_full_angle_urad=-1.0), "divergence_full_angle_urad"),
        (lambda: beam_radius_m(1.0, divergence_full_angle_urad=1.0, waist_m=-1.0), "waist_m"),
        (lambda: top_hat_collection(1.0, divergence_full_angle_urad=1.0, aperture_m=0.0), "aperture_m"),
        (lambda: gaussian_collection(1.0, divergence_full_angle_urad=1.0, aperture_m=-0.1), "aperture_m"),
        (lambda: diffraction_divergence_urad(0.0, wavelength_nm=850.0), "waist_m"),
        (lambda: diffraction_divergence_urad(0.1, wavelength_nm=8.5e-7), "wavelength_nm"),
        (lambda: gain_efficiency(0.0), "truncation"),
        (lambda: truncated_fraction(1.0, obscuration=1.0), "obscuration"),
        (lambda: mean_pointing_factor(-1.0, divergence_full_angle_urad=10.0), "jitter_urad"),
        (lambda: pointing_density(0.5, jitter_urad=0.0, divergence_full_angle_urad=10.0), "jitter_urad"),
        (lambda: pointing_cumulative(0.5, jitter_urad=1.0, divergence_full_angle_urad=10.0, boresight_urad=-1.0), "boresight_urad"),
        (
            lambda: sample_pointing_factors(-1, jitter_urad=1.0, divergence_full_angle_urad=10.0, generator=np.random.default_rng(0)),
            "count",
        ),
        (lambda: turbulent_divergence_urad(10.0, wavelength_nm=850.0, fried_parameter_m=0.0), "fried_parameter_m"),
        (lambda: beam_wander_urad(0.1, wavelength_nm=850.0, fried_parameter_m=-1.0), "fried_parameter_m"),
    ],
)
def test_bad_input_is_named(call, field: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.field == field
