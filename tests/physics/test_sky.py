import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiandi.errors import InputError
from tiandi.physics.sky import (
    BRIGHT_DAY,
    CLEAR_NIGHT,
    CLOUDY_DAY_OR_DUSK,
    DARKEST_NIGHT,
    FULL_MOON,
    background_rate_hz,
    moon_illuminance_lux,
    sky_radiance,
    sun_illuminance_lux,
)

VECTORS = json.loads((Path(__file__).parents[1] / "against" / "vectors.json").read_text())
RECEIVER = {
    "field_of_view_half_angle_urad": 50.0,
    "aperture_m": 1.0,
    "bandwidth_nm": 3.0,
    "wavelength_nm": 850.0,
    "efficiency": 0.08,
}


@pytest.mark.parametrize("row", VECTORS["background_rate"])
def test_background_rate(row: dict[str, float]) -> None:
    rate = background_rate_hz(
        row["H_W_m2_sr_um"],
        field_of_view_half_angle_urad=1e6 * row["fov_half_rad"],
        aperture_m=row["D"],
        bandwidth_nm=row["dlam_nm"],
        wavelength_nm=row["lam_nm"],
        efficiency=row["eta"],
        detectors=1,
    )
    assert float(rate) == pytest.approx(row["rate_cps"], rel=1e-8)


def test_an_obscured_aperture_sees_less_sky_by_its_area() -> None:
    clear, obscured = (float(background_rate_hz(CLEAR_NIGHT, obscuration=ratio, **RECEIVER)) for ratio in (0.0, 0.4))
    assert obscured / clear == pytest.approx(1 - 0.16)


@given(factor=st.floats(0.1, 10.0))
def test_counts_go_with_bandwidth_and_with_the_squares_of_aperture_and_field(factor: float) -> None:
    before = float(background_rate_hz(FULL_MOON, **RECEIVER))
    for name, power in (("bandwidth_nm", 1), ("aperture_m", 2), ("field_of_view_half_angle_urad", 2)):
        after = float(background_rate_hz(FULL_MOON, **{**RECEIVER, name: factor * RECEIVER[name]}))
        assert after / before == pytest.approx(factor**power, rel=1e-9)


@pytest.mark.parametrize(
    ("sun_elevation_deg", "low_lux", "high_lux"), [(0, 410, 585), (-6, 2.0, 3.5), (-12, 0.008, 0.008), (-18, 6e-4, 6e-4)]
)
def test_twilight_is_as_bright_as_the_glossary_of_meteorology_says(sun_elevation_deg: float, low_lux: float, high_lux: float) -> None:
    """Illuminance of level ground on a clear evening, American Meteorological Society, entries civil and astronomical twilight."""
    lux = float(sun_illuminance_lux(sun_elevation_deg))
    assert low_lux / 1.3 < lux < high_lux * 1.3


def test_noon_and_full_moon_are_textbook_bright() -> None:
    """Above 100,000 lux under a high sun, a quarter of a lux under a high full moon; a half moon is some ten times dimmer."""
    assert 1e5 < float(sun_illuminance_lux(80.0)) < 1.5e5
    full, half = moon_illuminance_lux(80.0, illuminated_fraction=np.array([1.0, 0.5]))
    assert 0.2 < full < 0.3
    assert 6.0 < full / half < 12.0


@pytest.mark.parametrize("illuminance", [sun_illuminance_lux, lambda elevation: moon_illuminance_lux(elevation, illuminated_fraction=1.0)])
def test_illuminance_rises_with_elevation_and_its_pieces_meet(illuminance) -> None:  # type: ignore[no-untyped-def]
    logarithms = np.log(illuminance(np.linspace(-30.0, 90.0, 120_001)))
    assert np.diff(logarithms).min() > -0.015
    assert np.abs(np.diff(logarithms)).max() < 0.03


def test_the_named_skies_lie_where_the_interpolation_says() -> None:
    assert float(sky_radiance(-40.0)) == pytest.approx(CLEAR_NIGHT, rel=1e-3)
    assert float(sky_radiance(-40.0, darkness=DARKEST_NIGHT)) == pytest.approx(DARKEST_NIGHT, rel=1e-2)
    full_moon = sky_radiance(-40.0, moon_elevation_deg=90.0, illuminated_fraction=1.0)
    assert float(full_moon) == pytest.approx(FULL_MOON + CLEAR_NIGHT, rel=1e-3)
    assert float(sky_radiance(3.0)) == pytest.approx(CLOUDY_DAY_OR_DUSK, rel=0.1)
    assert float(sky_radiance(19.0)) < BRIGHT_DAY
    assert (sky_radiance([20.0, 45.0, 90.0]) == BRIGHT_DAY).all()


def test_astronomical_twilight_costs_more_than_a_magnitude_and_its_end_is_night() -> None:
    """Patat (Paranal): more than one magnitude between a sun at -12 and at -18 degrees, and no sun left beyond."""
    nautical, astronomical, night = sky_radiance([-12.0, -18.0, -30.0])
    assert 2.5 * np.log10(nautical / astronomical) > 1.0
    assert astronomical / night < 1.3


def test_a_new_moon_or_one_below_the_horizon_does_not_matter() -> None:
    dark = float(sky_radiance(-40.0))
    assert float(sky_radiance(-40.0, moon_elevation_deg=60.0, illuminated_fraction=0.0)) == pytest.approx(dark, rel=0.03)
    assert float(sky_radiance(-40.0, moon_elevation_deg=-10.0, illuminated_fraction=1.0)) == pytest.approx(dark, rel=0.01)


@given(low=st.floats(-90.0, 90.0), high=st.floats(-90.0, 90.0), lit=st.floats(0.0, 1.0))
def test_the_sky_brightens_with_the_sun_and_with_the_lit_moon(low: float, high: float, lit: float) -> None:
    low, high = sorted((low, high))
    darker, brighter = sky_radiance(np.array([low, high]))
    assert darker <= 1.01 * brighter <= 1.01 * BRIGHT_DAY
    dimmer, fuller = sky_radiance(-40.0, moon_elevation_deg=45.0, illuminated_fraction=np.array([0.5 * lit, lit]))
    assert CLEAR_NIGHT <= dimmer <= fuller


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: sky_radiance(91.0), "sun_elevation_deg"),
        (lambda: sky_radiance([0.0, np.nan]), "sun_elevation_deg"),
        (lambda: sky_radiance(0.0, moon_elevation_deg=-91.0), "moon_elevation_deg"),
        (lambda: sky_radiance(0.0, illuminated_fraction=1.1), "illuminated_fraction"),
        (lambda: sky_radiance(0.0, darkness=-1.0), "darkness"),
        (lambda: background_rate_hz(-1.0, **RECEIVER), "radiance_w_per_m2_sr_um"),
        (lambda: background_rate_hz(1.0, **{**RECEIVER, "efficiency": 1.1}), "efficiency"),
        (lambda: background_rate_hz(1.0, **{**RECEIVER, "aperture_m": 0.0}), "aperture_m"),
        (lambda: background_rate_hz(1.0, obscuration=1.0, **RECEIVER), "obscuration"),
        (lambda: background_rate_hz(1.0, **{**RECEIVER, "wavelength_nm": 8.5e-7}), "wavelength_nm"),
    ],
)
def test_bad_input_is_named(call, field: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.field == field
