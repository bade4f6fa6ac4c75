import json
from pathlib import Path

import numpy as np
import pytest

from tiandi.errors import InputError
from tiandi.physics.atmosphere import air_mass, extinction_transmittance, zenith_scattering_loss_db

VECTORS = json.loads((Path(__file__).parents[1] / "against" / "vectors.json").read_text())
DB_PER_NEPER = 10 / np.log(10)


@pytest.mark.parametrize("row", VECTORS["airmass"])
def test_air_mass_is_the_plain_secant_high_up_and_kasten_and_youngs_below(row: dict[str, float]) -> None:
    expected = row["sec"] if row["el"] > 20 else row["kasten_young"]
    assert float(air_mass(row["el"])) == pytest.approx(expected, rel=1e-12)


def test_air_mass_at_the_horizon_is_38_and_never_falls_on_the_way_down() -> None:
    masses = air_mass(np.linspace(90.0, 0.0, 9001))
    assert masses[-1] == pytest.approx(38.0, abs=0.2)
    # Where the secant hands over to Kasten and Young at 20 degrees they differ by 0.7 %.
    assert np.diff(masses).min() > -0.021


def test_extinction_at_30_degrees_is_twice_that_at_the_zenith() -> None:
    passed = extinction_transmittance(np.array([90.0, 30.0]), zenith_extinction_db=2.5)
    assert -10 * np.log10(passed) == pytest.approx([2.5, 5.0])
    assert float(extinction_transmittance(30.0, zenith_extinction_db=0.0)) == 1.0


@pytest.mark.parametrize(("wavelength_nm", "optical_depth"), [(500, 0.144), (870, 0.0152), (1020, 0.0079)])
def test_pure_air_scatters_as_aeronet_says(wavelength_nm: float, optical_depth: float) -> None:
    """Rayleigh optical depths that AERONET's stations at sea level subtract; recalled."""
    loss_db = float(zenith_scattering_loss_db(wavelength_nm, turbidity=0.0))
    assert loss_db / DB_PER_NEPER == pytest.approx(optical_depth, rel=0.02)


@pytest.mark.parametrize("wavelength_nm", [850.0, 1064.0, 1550.0])
def test_the_itus_air_lies_between_the_clearest_and_haze(wavelength_nm: float) -> None:
    """Recommendation ITU-R P.1622, annex 1: scattering at sea level by a polynomial of the wavelength in micrometres; 0.6 to 0.8 dB."""
    length = wavelength_nm / 1000
    itu_db = DB_PER_NEPER * (-0.228 * length**3 + 0.922 * length**2 - 1.26 * length + 0.719)
    clearest, haze = zenith_scattering_loss_db(wavelength_nm, turbidity=np.array([0.01, 0.5]))
    assert clearest < itu_db < haze


def test_scattering_falls_with_wavelength_and_with_the_stations_altitude() -> None:
    by_wavelength = zenith_scattering_loss_db(np.array([532.0, 785.0, 850.0, 1064.0, 1550.0]), turbidity=0.05)
    assert (np.diff(by_wavelength) < 0).all()
    low, high = (float(zenith_scattering_loss_db(532.0, turbidity=0.0, station_altitude_m=altitude)) for altitude in (0.0, 5047.0))
    assert high / low == pytest.approx(0.55, abs=0.02)  # The pressure at Ngari over that at sea level.


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: air_mass(-1.0), "elevation_deg"),
        (lambda: air_mass([45.0, 91.0]), "elevation_deg"),
        (lambda: extinction_transmittance(45.0, zenith_extinction_db=-1.0), "zenith_extinction_db"),
        (lambda: zenith_scattering_loss_db(8.5e-7, turbidity=0.1), "wavelength_nm"),
        (lambda: zenith_scattering_loss_db(850.0, turbidity=-0.1), "turbidity"),
        (lambda: zenith_scattering_loss_db(850.0, turbidity=0.1, angstrom_exponent=9.0), "angstrom_exponent"),
        (lambda: zenith_scattering_loss_db(850.0, turbidity=0.1, station_altitude_m=9e4), "station_altitude_m"),
    ],
)
def test_bad_input_is_named(call, field: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.field == field
