"""Turbulence against Recommendation ITU-R P.1622, textbook figures and numerical integrals made here.

Statistical tests allow five standard deviations or p > 1e-6: one false alarm in a million runs. All generators are seeded, so a test
that passes once passes always.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import integrate, special, stats

from tiandi.errors import InputError
from tiandi.physics.turbulence import (
    TurbulenceProfile,
    WindProfile,
    aperture_averaging,
    coherence_time_s,
    fading_series,
    fried_parameter_from_space_m,
    fried_parameter_m,
    gamma_gamma_density,
    greenwood_frequency_hz,
    isoplanatic_angle_urad,
    lognormal_density,
    rytov_variance,
    sample_gamma_gamma,
    sample_lognormal,
    scintillation_index,
    structure_constant,
    weak_scintillation_index,
)

VECTORS = json.loads((Path(__file__).parents[1] / "against" / "vectors.json").read_text())
SIGMAS = 5.0
FALSE_ALARM = 1e-6
NGARI = TurbulenceProfile(station_altitude_m=5057.0, ground_altitude_m=5047.0)
HEIGHTS_M = np.concatenate([[0.0], np.geomspace(0.01, 20000.0, 40001)])


def over_heights(values: NDArray[np.float64]) -> float:
    return float(np.trapezoid(values, HEIGHTS_M))


def test_hv_5_7_has_5_cm_and_7_microradian() -> None:
    known = VECTORS["hv57"]
    assert float(fried_parameter_m(500.0, elevation_deg=90.0)) == pytest.approx(known["r0_500nm_zenith_m"], rel=1e-5)
    assert float(isoplanatic_angle_urad(500.0, elevation_deg=90.0)) == pytest.approx(known["theta0_500nm_urad"], rel=1e-5)


@pytest.mark.parametrize("high_wind", ["21", "30"])
def test_rytov_variance_is_that_of_itu_r_p_1622_table_2(high_wind: str) -> None:
    table = VECTORS["itu_p1622_table2"]
    wavelengths = list(table["published"][high_wind])
    air = TurbulenceProfile(high_wind_m_per_s=float(high_wind), station_altitude_m=5.5)
    ours = rytov_variance([float(nm) for nm in wavelengths], elevation_deg=75.0, air=air)
    assert np.abs(ours - [table["published"][high_wind][nm] for nm in wavelengths]).max() < table["tol"]
    assert ours == pytest.approx([table["own"][high_wind][nm] for nm in wavelengths], rel=2e-4)


@pytest.mark.parametrize("air", [TurbulenceProfile(), TurbulenceProfile(ground_strength=1e-13, station_altitude_m=30.0), NGARI])
def test_integrals_over_heights_are_exact_from_any_station(air: TurbulenceProfile) -> None:
    def moment(power: float) -> float:
        def weighted(height: float) -> float:
            return float(structure_constant(air.station_altitude_m + height, air=air)) * height**power

        top = 20000.0 - air.station_altitude_m
        return integrate.quad(weighted, 0.0, top, points=[10, 100, 1000, 5000, 10000], limit=300, epsrel=1e-10)[0]

    wave_number = 2 * np.pi / 850e-9
    assert float(fried_parameter_m(850.0, elevation_deg=90.0, air=air)) == pytest.approx(
        (0.423 * wave_number**2 * moment(0)) ** -0.6, rel=1e-6
    )
    variance = 2.25 * wave_number ** (7 / 6) * moment(5 / 6)
    assert float(rytov_variance(850.0, elevation_deg=90.0, air=air)) == pytest.approx(variance, rel=1e-6)


def test_the_layer_at_the_ground_stands_on_the_terrain() -> None:
    """Ngari at 5 km has the ground layer of a coast; its seeing is better for the air that is not above it, not for want of a ground."""
    on_a_tower = TurbulenceProfile(station_altitude_m=5057.0)
    at_sea = float(fried_parameter_m(850.0, elevation_deg=90.0))
    on_terrain, without = (float(fried_parameter_m(850.0, elevation_deg=90.0, air=air)) for air in (NGARI, on_a_tower))
    assert at_sea < on_terrain < 0.5 * without
    assert float(structure_constant(5047.0, air=NGARI)) == pytest.approx(1.7e-14, rel=0.01)


def test_figures_scale_with_wavelength_and_elevation_as_the_theory_says() -> None:
    wavelength_nm, elevation_deg = np.array([[500.0], [1550.0]]), np.array([90.0, 30.0])
    longer, slant = 3.1, 2.0
    for figure, wavelength_power, slant_power in (
        (fried_parameter_m, 6 / 5, -3 / 5),
        (isoplanatic_angle_urad, 6 / 5, -8 / 5),
        (rytov_variance, -7 / 6, 11 / 6),
        (greenwood_frequency_hz, -6 / 5, 3 / 5),
        (coherence_time_s, 6 / 5, -3 / 5),
    ):
        values = figure(wavelength_nm, elevation_deg=elevation_deg)
        assert values.shape == (2, 2)
        assert values[1] / values[0] == pytest.approx(longer**wavelength_power, rel=1e-9)
        assert values[:, 1] / values[:, 0] == pytest.approx(slant**slant_power, rel=1e-9)


def test_the_fried_parameter_from_space_is_the_weighted_integral() -> None:
    range_km, elevation_deg = 800.0, 40.0
    secant = 1 / np.sin(np.radians(elevation_deg))
    weight = (HEIGHTS_M * secant / (range_km * 1000)) ** (5 / 3)
    expected = (0.423 * (2 * np.pi / 850e-9) ** 2 * secant * over_heights(structure_constant(HEIGHTS_M) * weight)) ** -0.6
    ours = float(fried_parameter_from_space_m(range_km, wavelength_nm=850.0, elevation_deg=elevation_deg))
    assert ours == pytest.approx(expected, rel=1e-5)
    assert ours > 10.0


@pytest.mark.parametrize("ground_m_per_s", [2.3, 2.8, 5.0, 8.0])
def test_buftons_wind_has_the_root_mean_square_that_the_itu_prints(ground_m_per_s: float) -> None:
    """Recommendation ITU-R P.1621: sqrt(v^2 + 30.69 v + 348.91) m/s between 5 and 20 km; 21 m/s, the wind of HV 5/7, for 2.8 m/s here."""
    heights = np.linspace(5000.0, 20000.0, 20001)
    speed = ground_m_per_s + 30.0 * np.exp(-(((heights - 9400.0) / 4800.0) ** 2))
    itu = np.sqrt(ground_m_per_s**2 + 30.69 * ground_m_per_s + 348.91)
    assert np.sqrt(np.mean(speed**2)) == pytest.approx(itu, rel=1e-3)
    if ground_m_per_s == WindProfile().ground_m_per_s:
        assert itu == pytest.approx(21.0, abs=0.1)


def test_the_greenwood_frequency_is_the_other_published_form() -> None:
    """2.31 wavelength^(-6/5) (Int Cn2 v^(5/3) dh)^(3/5), over a profile summed here; 72 Hz at 500 nm with a ground wind of 5 m/s."""
    speed = 5.0 + 30.0 * np.exp(-(((HEIGHTS_M - 9400.0) / 4800.0) ** 2))
    expected = 2.31 * 500e-9 ** (-6 / 5) * over_heights(structure_constant(HEIGHTS_M) * speed ** (5 / 3)) ** 0.6
    ours = float(greenwood_frequency_hz(500.0, elevation_deg=90.0, wind=WindProfile(ground_m_per_s=5.0)))
    assert ours == pytest.approx(expected, rel=2e-3)
    assert ours == pytest.approx(71.9, abs=0.2)


def test_in_an_even_wind_the_coherence_time_is_0_314_fried_parameters_over_the_speed() -> None:
    wind = WindProfile(ground_m_per_s=10.0, jet_m_per_s=0.0)
    times = coherence_time_s(850.0, elevation_deg=np.array([90.0, 30.0]), wind=wind)
    assert times == pytest.approx(0.314 * fried_parameter_m(850.0, elevation_deg=np.array([90.0, 30.0])) / 10.0, rel=2e-3)


def test_following_a_satellite_shortens_the_coherence_time_like_a_wind_that_grows_with_the_way() -> None:
    still, slewing = (coherence_time_s(850.0, elevation_deg=[90.0, 30.0], wind=WindProfile(slew_rad_per_s=rate)) for rate in (0.0, 0.015))
    assert (slewing < still).all()
    speed = 2.8 + 30.0 * np.exp(-(((HEIGHTS_M - 9400.0) / 4800.0) ** 2)) + 0.015 * HEIGHTS_M * 2.0
    inner = 2.914 * (2 * np.pi / 850e-9) ** 2 * 2.0 * over_heights(structure_constant(HEIGHTS_M) * speed ** (5 / 3))
    assert slewing[1] == pytest.approx(inner**-0.6, rel=1e-4)


def index_in_aperture(aperture_m: float, *, wavelength_m: float, secant: float) -> float:
    """Weak-turbulence variance of a plane wave's irradiance in an aperture: the double integral over heights and eddies, as printed.

    8 pi^2 k^2 sec z Int Cn2 Int kappa 0.033 kappa^(-11/3) (1 - cos(kappa^2 z / k)) (2 J1(kappa D / 2) / (kappa D / 2))^2.
    """
    wave_number = 2 * np.pi / wavelength_m
    heights, eddies = np.geomspace(1.0, 20000.0, 300), np.geomspace(1e-2, 3e3, 20001)
    x = eddies * aperture_m / 2
    filtered = 0.033 * eddies ** (-5 / 3) * ((2 * special.j1(x) / x) ** 2 if aperture_m else 1.0)
    inner = [np.trapezoid(filtered * (1 - np.cos(eddies**2 * z * secant / wave_number)), np.log(eddies)) for z in heights]
    outer = np.trapezoid(structure_constant(heights) * np.array(inner) * heights, np.log(heights))
    return float(8 * np.pi**2 * wave_number**2 * secant * outer)


@pytest.mark.parametrize(("aperture_m", "elevation_deg"), [(0.05, 90.0), (0.28, 30.0), (1.2, 60.0)])
def test_aperture_averaging_is_the_double_integral(aperture_m: float, elevation_deg: float) -> None:
    secant = 1 / np.sin(np.radians(elevation_deg))
    expected = index_in_aperture(aperture_m, wavelength_m=850e-9, secant=secant)
    point = rytov_variance(850.0, elevation_deg=elevation_deg)
    ours = float(point * aperture_averaging(aperture_m, wavelength_nm=850.0, elevation_deg=elevation_deg))
    assert ours == pytest.approx(expected, rel=5e-3)
    # The same integral at a point is the Rytov variance.
    assert index_in_aperture(0.0, wavelength_m=850e-9, secant=secant) == pytest.approx(float(point), rel=0.01)


def test_the_widest_telescopes_see_the_astronomers_scintillation() -> None:
    """17.34 D^(-7/3) sec^3 z Int Cn2 h^2 dh, whatever the wavelength (Roddier 1981; recalled); approached as D^(-2/3), 5 % at 4 m."""
    apertures_m = np.array([4.0, 20.0, 100.0])
    expected = 17.34 * apertures_m ** (-7 / 3) * 2.0**3 * over_heights(structure_constant(HEIGHTS_M) * HEIGHTS_M**2)
    for wavelength_nm in (500.0, 1550.0):
        averaged = aperture_averaging(apertures_m, wavelength_nm=wavelength_nm, elevation_deg=30.0)
        share = averaged * rytov_variance(wavelength_nm, elevation_deg=30.0) / expected
        assert (np.diff(share) > 0).all()
        assert share[0] > 0.93
        assert share[-1] == pytest.approx(1.0, abs=0.015)


def test_the_itus_formula_of_aperture_averaging_is_above_the_integral_and_meets_it_for_wide_telescopes() -> None:
    """Recommendation ITU-R P.1622: 1 / (1 + 1.1 (D^2 / (wavelength z0))^(7/6)) with the height z0 that the profile gives."""
    strength = structure_constant(HEIGHTS_M)
    height_m = (over_heights(strength * HEIGHTS_M**2) / over_heights(strength * HEIGHTS_M ** (5 / 6))) ** (6 / 7)
    apertures_m = np.array([0.1, 0.3, 1.0, 4.0])
    itu = 1 / (1 + 1.1 * (apertures_m**2 / (850e-9 * height_m)) ** (7 / 6))
    excess = itu / aperture_averaging(apertures_m, wavelength_nm=850.0, elevation_deg=90.0)
    assert (np.diff(excess) < 0).all()
    assert excess == pytest.approx([1.37, 1.28, 1.15, 1.03], abs=0.05)


@given(aperture_m=st.floats(1e-3, 10.0), elevation_deg=st.floats(5.0, 90.0))
def test_a_wider_telescope_sees_less_scintillation(aperture_m: float, elevation_deg: float) -> None:
    narrow, wide = aperture_averaging([aperture_m, 1.5 * aperture_m], wavelength_nm=850.0, elevation_deg=elevation_deg)
    assert 0.0 < wide < narrow <= 1.0


def test_the_scintillation_index_is_the_rytov_variance_when_weak_and_saturates_near_1_when_strong() -> None:
    weak, strong = np.array([1e-3, 1e-2]), np.array([100.0, 1000.0])
    assert scintillation_index(weak) == pytest.approx(weak, rel=2e-3)
    assert weak_scintillation_index(weak) == pytest.approx(weak, rel=6e-3)
    assert ((scintillation_index(strong) > 1.0) & (scintillation_index(strong) < 1.2)).all()
    assert float(scintillation_index(1000.0)) < float(scintillation_index(100.0)) < float(scintillation_index(5.0))
    # The textbook's limit: exp(0.51 / 0.69^(5/6)) - 1 from the small eddies alone.
    assert float(scintillation_index(1000.0)) == pytest.approx(np.exp(0.51 / 0.69 ** (5 / 6)) - 1, abs=0.07)


@pytest.mark.parametrize("variance", [1e-3, 0.03, 0.3, 1.0, 4.0])
def test_the_lognormal_density_has_mean_1_and_the_scintillation_index(variance: float) -> None:
    moments = _moments(lambda irradiance: lognormal_density(irradiance, log_variance=variance), np.sqrt(variance))
    assert moments[:2] == pytest.approx([1.0, 1.0], rel=1e-7)
    assert moments[2] - 1 == pytest.approx(float(weak_scintillation_index(variance)), rel=1e-5)


@pytest.mark.parametrize("rytov", [1e-3, 0.03, 0.3, 1.0, 4.0, 100.0])
def test_the_gamma_gamma_density_has_mean_1_and_the_scintillation_index(rytov: float) -> None:
    moments = _moments(lambda irradiance: gamma_gamma_density(irradiance, rytov=rytov), max(np.sqrt(min(rytov, 1.0)), 0.03))
    assert moments[:2] == pytest.approx([1.0, 1.0], rel=1e-7)
    assert moments[2] - 1 == pytest.approx(float(scintillation_index(rytov)), rel=1e-5)


def _moments(density, width: float) -> list[float]:  # type: ignore[no-untyped-def]
    """Zeroth to second moment of a density, summed over the logarithm of the irradiance."""
    logarithms = np.linspace(-60 * width, 16 * width, 400_001) if width > 0.5 else np.linspace(-12 * width, 12 * width, 400_001)
    irradiance = np.exp(logarithms)
    weights = density(irradiance) * irradiance
    return [float(np.trapezoid(weights * irradiance**power, logarithms)) for power in range(3)]


def test_there_is_no_negative_light() -> None:
    for density in (lognormal_density([-1.0, 0.0], log_variance=0.1), gamma_gamma_density([-1.0, 0.0], rytov=0.1)):
        assert (density == 0.0).all()


def test_the_gamma_gamma_density_is_a_product_of_two_gamma_densities() -> None:
    """The large eddies' gamma distribution mixed with the small eddies', as the model is made; it stays finite where Bessel's overflows."""
    large, small = (
        1 / np.expm1(0.49 * 0.5 / (1 + 1.11 * 0.5**1.2) ** (7 / 6)),
        1 / np.expm1(0.51 * 0.5 / (1 + 0.69 * 0.5**1.2) ** (5 / 6)),
    )
    logarithms = np.linspace(-25.0, 8.0, 200_001)
    x = np.exp(logarithms)
    for irradiance in (1e-3, 0.2, 1.0, 4.0):
        mixed = stats.gamma.pdf(x, large, scale=1 / large) * stats.gamma.pdf(irradiance / x, small, scale=1 / small)
        assert float(gamma_gamma_density(irradiance, rytov=0.5)) == pytest.approx(np.trapezoid(mixed, logarithms), rel=1e-6)
    deep = gamma_gamma_density(np.geomspace(1e-300, 1e-20, 30), rytov=0.01)
    assert np.isfinite(deep).all()
    assert deep.max() < 1e-100


@pytest.mark.parametrize("variance", [0.01, 0.5, 2.0])
def test_lognormal_samples_follow_their_density(variance: float) -> None:
    drawn = sample_lognormal(200_000, log_variance=variance, generator=np.random.default_rng(4))
    assert stats.kstest(np.log(drawn), stats.norm(-variance / 2, np.sqrt(variance)).cdf).pvalue > FALSE_ALARM
    _check_moments(drawn, float(weak_scintillation_index(variance)))


@pytest.mark.parametrize("rytov", [0.01, 0.5, 4.0, 100.0])
def test_gamma_gamma_samples_follow_their_density(rytov: float) -> None:
    drawn = sample_gamma_gamma(200_000, rytov=rytov, generator=np.random.default_rng(5))
    logarithms = np.linspace(np.log(drawn.min()) - 5, np.log(drawn.max()) + 1, 200_001)
    weights = gamma_gamma_density(np.exp(logarithms), rytov=rytov) * np.exp(logarithms)
    cumulative = integrate.cumulative_trapezoid(weights, logarithms, initial=0.0)
    assert stats.kstest(np.log(drawn), lambda value: np.interp(value, logarithms, cumulative)).pvalue > FALSE_ALARM
    _check_moments(drawn, float(scintillation_index(rytov)))


def _check_moments(drawn: NDArray[np.float64], index: float) -> None:
    """Mean 1 and the variance of the index, by the spread of their own estimates."""
    assert abs(drawn.mean() - 1.0) < SIGMAS * drawn.std() / np.sqrt(drawn.size)
    squares = (drawn - 1.0) ** 2
    assert abs(squares.mean() - index) < SIGMAS * squares.std() / np.sqrt(drawn.size)


def test_a_fading_series_has_the_lognormal_marginal() -> None:
    """Every fiftieth value of a series with a coherence time of five steps: independent but for e^-10."""
    series = fading_series(1_000_000, log_variance=0.4, step_s=1e-3, coherence_time_s=5e-3, generator=np.random.default_rng(6))
    thinned = series[::50]
    assert stats.kstest(np.log(thinned), stats.norm(-0.2, np.sqrt(0.4)).cdf).pvalue > FALSE_ALARM
    _check_moments(thinned, float(weak_scintillation_index(0.4)))


def test_a_fading_series_forgets_exponentially() -> None:
    """Autocorrelation of the logarithm, with Bartlett's variance of its estimate for such a series."""
    count, memory_steps = 1_000_000, 10.0
    series = fading_series(count, log_variance=0.3, step_s=1e-3, coherence_time_s=1e-2, generator=np.random.default_rng(7))
    logarithm = (np.log(series) + 0.15) / np.sqrt(0.3)
    memory = np.exp(-1 / memory_steps)
    for lag in (1, 5, 10, 30):
        seen = np.mean(logarithm[:-lag] * logarithm[lag:]) / np.mean(logarithm**2)
        bartlett = ((1 + memory**2) * (1 - memory ** (2 * lag)) / (1 - memory**2) - 2 * lag * memory ** (2 * lag)) / count
        assert abs(seen - np.exp(-lag / memory_steps)) < SIGMAS * np.sqrt(bartlett)


def test_the_irradiance_of_a_fading_series_has_the_covariance_of_a_lognormal_process() -> None:
    """exp(s2 e^(-t/tau)) - 1 at one coherence time, against the scatter of a hundred independent series."""
    products = []
    for seed in range(100):
        series = fading_series(20_000, log_variance=0.3, step_s=2e-3, coherence_time_s=1e-2, generator=np.random.default_rng(seed))
        products.append(np.mean((series[:-5] - 1) * (series[5:] - 1)))
    expected = np.expm1(0.3 * np.exp(-1.0))
    assert abs(np.mean(products) - expected) < SIGMAS * np.std(products) / np.sqrt(len(products))


def test_a_fading_series_is_stationary_from_its_first_value_on() -> None:
    generator, runs = np.random.default_rng(8), 5_000
    ends = np.array(
        [fading_series(3, log_variance=1.0, step_s=1.0, coherence_time_s=2.0, generator=generator)[[0, 2]] for _ in range(runs)]
    )
    variances = np.log(ends).var(axis=0)
    assert np.abs(variances - 1.0).max() < SIGMAS * np.sqrt(2 / runs)


def test_a_fading_series_with_no_time_between_its_values_stands_still_and_one_without_turbulence_is_1() -> None:
    generator = np.random.default_rng(9)
    assert np.ptp(fading_series(100, log_variance=0.5, step_s=0.0, coherence_time_s=1.0, generator=generator)) < 1e-12
    assert (fading_series(100, log_variance=0.0, step_s=1.0, coherence_time_s=1.0, generator=generator) == 1.0).all()


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: TurbulenceProfile(high_wind_m_per_s=-1.0), "high_wind_m_per_s"),
        (lambda: TurbulenceProfile(ground_strength=1.0), "ground_strength"),
        (lambda: TurbulenceProfile(station_altitude_m=10.0, ground_altitude_m=20.0), "station_altitude_m"),
        (lambda: WindProfile(slew_rad_per_s=1.0), "slew_rad_per_s"),
        (lambda: structure_constant(-1.0), "altitude_m"),
        (lambda: fried_parameter_m(850.0, elevation_deg=0.0), "elevation_deg"),
        (lambda: fried_parameter_from_space_m(50.0, wavelength_nm=850.0, elevation_deg=45.0), "range_km"),
        (lambda: rytov_variance([850.0, 8.5e-7], elevation_deg=45.0), "wavelength_nm"),
        (lambda: aperture_averaging(0.0, wavelength_nm=850.0, elevation_deg=45.0), "aperture_m"),
        (lambda: scintillation_index(0.0), "rytov"),
        (lambda: weak_scintillation_index(-0.1), "log_variance"),
        (lambda: lognormal_density(1.0, log_variance=0.0), "log_variance"),
        (lambda: sample_lognormal(1, log_variance=-1.0, generator=np.random.default_rng(0)), "log_variance"),
        (lambda: sample_gamma_gamma(-1, rytov=0.1, generator=np.random.default_rng(0)), "count"),
        (
            lambda: fading_series(10, log_variance=0.1, step_s=1e-3, coherence_time_s=0.0, generator=np.random.default_rng(0)),
            "coherence_time_s",
        ),
    ],
)
def test_bad_input_is_named(call, field: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.field == field
