import pickle
import tomllib
from datetime import timedelta
from importlib.resources import files

import numpy as np
import pytest

from tests.physics.test_orbit import MICIUS, XINGLONG
from tiandi.clock import julian_dates, parse_utc
from tiandi.errors import ElementsError, InputError
from tiandi.physics import spacecraft
from tiandi.physics.beam import diffraction_divergence_urad
from tiandi.physics.constellation import sun_synchronous_inclination_deg
from tiandi.physics.detectors import SILICON
from tiandi.physics.equipment import Receiver
from tiandi.physics.ground_track import geodetic
from tiandi.physics.orbit import propagate
from tiandi.physics.passes import Visibility, find_passes
from tiandi.physics.spacecraft import LABELS, load_spacecraft
from tiandi.quantum.channel import DownlinkChannel
from tiandi.quantum.link import QkdLink

SHEETS = load_spacecraft()
EPOCH = parse_utc("2027-03-01")


def test_the_satellites_of_the_field_are_there() -> None:
    assert list(SHEETS) == ["micius", "jinan-1", "microsatellite", "eagle-1", "qeyssat", "dawn-meo", "dawn-geo"]
    assert [name for name, sheet in SHEETS.items() if sheet.receiver is not None] == ["qeyssat"]
    assert [name for name, sheet in SHEETS.items() if sheet.transmitter is None] == ["qeyssat"]


@pytest.mark.parametrize("name", SHEETS)
def test_every_field_has_a_label_and_a_source(name: str) -> None:
    sheet = SHEETS[name]
    assert set(sheet.labels) == set(sheet.sources)
    assert set(sheet.labels.values()) <= set(LABELS)
    assert all(len(source) > 3 for source in sheet.sources.values())
    for field in ("altitude_km", "inclination_deg", "wavelength_nm", "buffer_bit", "contact_limit_s", "slew_s", "sunlit_allowed"):
        assert field in sheet.labels
    part = "clock_hz" if sheet.transmitter is not None else "aperture_m"
    assert part in sheet.labels


@pytest.mark.parametrize("name", ["jinan-1", "eagle-1", "qeyssat"])
def test_inclinations_called_sun_synchronous_are(name: str) -> None:
    sheet = SHEETS[name]
    assert sheet.inclination_deg == pytest.approx(sun_synchronous_inclination_deg(sheet.altitude_km), abs=0.05)


def test_a_designed_orbit_keeps_its_altitude_for_years() -> None:
    elements = SHEETS["eagle-1"].elements(EPOCH, node_deg=30.0, mean_anomaly_deg=90.0)
    later = EPOCH + timedelta(days=700)
    elements.require_age(later)
    height_km = geodetic(propagate(elements, julian_dates(later, range(0, 6000, 60)))).altitude_km
    assert 475.0 < height_km.min() < height_km.max() < 540.0
    assert elements.name == "eagle-1"
    assert SHEETS["microsatellite"].elements(EPOCH, "Second of four").name == "Second of four"


def test_a_geostationary_satellite_stands_still() -> None:
    elements = SHEETS["dawn-geo"].elements(EPOCH, node_deg=250.0)
    place = geodetic(propagate(elements, julian_dates(EPOCH, range(0, 86_400, 600))))
    assert np.ptp(place.longitude_deg) < 0.2
    assert place.altitude_km == pytest.approx(35_786.0, abs=20.0)


def test_archived_elements_are_those_nearest_to_the_moment() -> None:
    micius = SHEETS["micius"]
    assert micius.archived_elements(parse_utc("2016-12-19")).source == MICIUS
    assert micius.archived_elements(parse_utc("2024-01-01"), "QSS").name == "QSS"
    assert len(micius.lines) == 4
    with pytest.raises(ElementsError, match="must lie within 30 days"):
        micius.archived_elements(parse_utc("2020-01-01"))
    with pytest.raises(ElementsError, match="no two-line elements"):
        SHEETS["dawn-geo"].archived_elements(EPOCH)


def test_the_divergence_of_eagle_1_is_the_diffraction_that_its_source_says() -> None:
    sheet = SHEETS["eagle-1"]
    assert sheet.transmitter is not None
    limit = diffraction_divergence_urad(0.035, wavelength_nm=sheet.wavelength_nm)
    assert sheet.transmitter.divergence_full_angle_urad == pytest.approx(limit, rel=0.01)


def test_the_sheet_of_jinan_1_gives_the_published_key_of_a_pass_within_a_factor_of_two() -> None:
    """Li et al. 2025, doi:10.1038/s41586-025-08739-z: up to 1.07 Mbit a pass to a portable station of 28 cm; its optics are assumed."""
    sheet = SHEETS["jinan-1"]
    assert sheet.transmitter is not None
    portable = Receiver(0.3, SILICON, 1e-9, 0.01, background_rate_hz=10.0, aperture_m=0.28)
    found = find_passes(
        sheet.elements(EPOCH), XINGLONG, start=EPOCH, end=EPOCH + timedelta(days=20), visibility=Visibility(10.0, 75.0, 90.0)
    )
    for item in found:
        channel = DownlinkChannel(sheet.transmitter, portable, item, 2.5)
        secret_bit = QkdLink("a", "b", transmitter=sheet.transmitter, receiver=portable, channel=channel).forecast(1e4).secret_bit
        assert 0.5 < secret_bit / 1.07e6 < 2.0
    assert len(found) > 1


def test_data_sheets_pickle() -> None:
    assert pickle.loads(pickle.dumps(SHEETS)) == SHEETS


def test_a_label_that_is_none_is_refused() -> None:
    text = files("tiandi.physics").joinpath("data/satellites.toml").read_text(encoding="utf-8")
    sheet = tomllib.loads(text)["micius"]
    sheet["light"]["wavelength_nm"]["label"] = "guessed"
    with pytest.raises(InputError, match=r"wavelength_nm\.label = 'guessed'"):
        spacecraft._spacecraft("micius", sheet)
