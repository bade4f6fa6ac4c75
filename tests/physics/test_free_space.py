import json
from pathlib import Path

import numpy as np
import pytest

from tiandi.physics.free_space import air_mass, downlink_transmittance, top_hat_collection
from tiandi.scenario.scenario import load_scenario
from tiandi.units import loss_from_transmittance

VECTORS = json.loads((Path(__file__).parents[1] / "against" / "vectors.json").read_text())

# Link loss without detectors of Liao et al. 2017 (doi:10.1038/nature23655), figure 3, digitised: range [km], loss [dB].
DIGITISED = [(645, 29.75), (700, 30.54), (800, 30.94), (900, 32.28), (1000, 34.42), (1100, 36.05)]


@pytest.mark.parametrize("row", VECTORS["gauss_collect"])
def test_top_hat_collection(row: dict[str, float]) -> None:
    collected = top_hat_collection(
        np.array([row["range_m"] / 1000]), divergence_full_angle_urad=2e6 * row["theta_half_rad"], aperture_m=2 * row["a_m"]
    )
    assert loss_from_transmittance(collected)[0] == pytest.approx(row["tophat_dB"], rel=1e-9)


def test_no_telescope_collects_more_than_everything() -> None:
    assert top_hat_collection(np.array([1.0]), divergence_full_angle_urad=1.0, aperture_m=10.0)[0] == 1.0


@pytest.mark.parametrize("row", VECTORS["airmass"])
def test_air_mass(row: dict[str, float]) -> None:
    expected = row["sec"] if row["el"] > 20 else row["kasten_young"]
    assert air_mass(np.array([row["el"]]))[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("range_km", "published_db"), DIGITISED)
def test_loss_of_the_micius_downlink_as_digitised(range_km: float, published_db: float) -> None:
    """Within 1.5 dB from 645 to 1,100 km with the figures of the packaged scenario."""
    file = load_scenario("shanghai-vienna").file
    transmitter, receiver = file.equipment.transmitters["micius"], file.equipment.receivers["xinglong"]
    assert transmitter.divergence_full_angle_urad is not None
    assert receiver.aperture_m is not None
    elevation_deg = np.degrees(np.arcsin(_sine_of_elevation(range_km)))
    transmittance = downlink_transmittance(
        np.array([float(range_km)]),
        np.array([elevation_deg]),
        divergence_full_angle_urad=transmitter.divergence_full_angle_urad,
        aperture_m=receiver.aperture_m,
        zenith_extinction_db=file.topology.downlinks[0].zenith_extinction_db,
        pointing_loss_db=transmitter.pointing_loss_db,
    )
    loss_db = loss_from_transmittance(transmittance * receiver.optics_efficiency)[0]
    assert abs(loss_db - published_db) < 1.5


def _sine_of_elevation(range_km: float, radius_km: float = 6371.0, height_km: float = 498.0) -> float:
    return (height_km**2 + 2 * radius_km * height_km - range_km**2) / (2 * radius_km * range_km)
