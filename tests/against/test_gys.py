"""The experiment of Gobby, Yuan, Shields 2004 in the model of Ma et al. 2005 (doi:10.1103/PhysRevA.72.012326)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

from tiandi.physics.fibre import fibre_transmittance
from tiandi.protocols.asymptotic_decoy import DecoyLink
from tiandi.protocols.information import binary_entropy
from tiandi.protocols.optimiser import maximise

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())["ma2005_gys"]
GYS = DecoyLink(background_yield=1.7e-6, misalignment=0.033, error_correction_efficiency=1.22)
DETECTION = 0.045
SIGNAL, DECOY = 0.48, 0.05


def transmittance(length_km: float) -> float:
    return fibre_transmittance(length_km, attenuation_db_per_km=0.21) * DETECTION


@pytest.mark.parametrize("row", VECTORS["rows"], ids=lambda row: f"{row['L_km']} km")
def test_every_figure_of_the_rate(row: dict[str, Any]) -> None:
    eta = transmittance(row["L_km"])
    gain, qber = GYS.gain_and_qber(SIGNAL, eta)
    single_yield, single_error = GYS.single_photon(eta)
    assert [eta, gain, qber, single_yield, single_error] == pytest.approx(
        [row["eta"], *(row["infinite"][name] for name in ("Q", "E", "Y1", "e1"))], rel=1e-9
    )
    yield_low, error_high = GYS.vacuum_and_weak_bounds(SIGNAL, DECOY, eta)
    weak = row["vac_weak_nu0.05"]
    assert [yield_low, error_high] == pytest.approx([weak["Y1L"], weak["e1U"]], rel=1e-9)
    assert GYS.infinite_decoy_rate(SIGNAL, eta) == pytest.approx(max(0.0, row["infinite"]["R"]), rel=1e-9)
    assert GYS.vacuum_and_weak_rate(SIGNAL, DECOY, eta) == pytest.approx(max(0.0, weak["R"]), rel=1e-9)


def test_greatest_distances_are_those_published() -> None:
    published = VECTORS["max_distance_km"]
    for rate, figures in (
        (lambda eta: GYS.infinite_decoy_rate(SIGNAL, eta), published["infinite_decoy_mu0.48"]),
        (lambda eta: GYS.vacuum_and_weak_rate(SIGNAL, DECOY, eta), published["vacuum_weak_nu0.05"]),
    ):
        greatest_km = brentq(lambda length_km, rate=rate: float(rate(transmittance(length_km)) > 0) - 0.5, 100.0, 200.0, xtol=1e-4)
        assert greatest_km == pytest.approx(figures["own"], abs=0.01)
        assert greatest_km == pytest.approx(figures["published"], abs=VECTORS["tol_km"])


@pytest.mark.parametrize(("efficiency", "expected"), [(1.22, 0.4789), (1.0, 0.5441)])
def test_the_optimiser_finds_the_best_intensity(efficiency: float, expected: float) -> None:
    """Where (1 - mu) exp(-mu) = f h(e) / (1 - h(e)), equation 12, when the background does not count."""
    link = DecoyLink(background_yield=0.0, misalignment=0.033, error_correction_efficiency=efficiency)
    best, rate = maximise(lambda candidates: link.infinite_decoy_rate(candidates[0], 1e-6), [(0.01, 1.5)])
    assert best[0] == pytest.approx(expected, abs=2e-4)
    assert rate == pytest.approx(float(link.infinite_decoy_rate(expected, 1e-6)), rel=1e-6)
    entropy = float(binary_entropy(0.033))
    assert (1 - best[0]) * np.exp(-best[0]) == pytest.approx(efficiency * entropy / (1 - entropy), rel=1e-3)
