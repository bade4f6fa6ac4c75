"""BB84 key rates against the package tno-quantum-communication-qkd-key-rate 2.0.4 (its BBM92 stands in test_entanglement).

Its conventions: two detectors, no sifting factor, error correction at the Shannon limit, rates per pulse.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tiandi.physics.detectors import Detector
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.protocols.concentration import sampling_deviation
from tiandi.protocols.decoy_bb84 import Outcome, outcome_probabilities
from tiandi.protocols.finite_key import decoy_bounds, photon_number_probability
from tiandi.protocols.information import binary_entropy

TNO = json.loads((Path(__file__).parent / "vectors.json").read_text())["tno"]
CLOCK_HZ = 1e6
DARK_PER_GATE = TNO["detector"]["dark_count_rate"]
RECEIVER = Receiver(
    optics_efficiency=1.0,
    detector=Detector(efficiency=TNO["detector"]["efficiency_party"], dark_count_rate_hz=-np.log1p(-DARK_PER_GATE) / 1e-9),
    gate_s=1e-9,
    misalignment=TNO["detector"]["error_detector"],
    basis_choice="active",
)


def gain_and_qber(mean_photon_number: float, attenuation_db: float) -> tuple[float, float]:
    transmitter = Transmitter(CLOCK_HZ, (mean_photon_number, 0.0), (0.5, 0.5))
    outcomes = outcome_probabilities(transmitter, RECEIVER, np.array([10 ** (-attenuation_db / 10)]))[0, 0, 0]
    in_basis = outcomes[[Outcome.RIGHT, Outcome.WRONG]] / 0.5
    return float(in_basis.sum()), float(in_basis[1] / in_basis.sum())


@pytest.mark.parametrize("row", TNO["bb84_fully_asymptotic"], ids=lambda row: f"{row['att_dB']} dB")
def test_endless_decoys(row: dict[str, Any]) -> None:
    """Gain and QBER of our detectors, and with them the rate: vacuum and single photons known exactly."""
    gain, qber = gain_and_qber(row["mu"], row["att_dB"])
    assert [gain, qber] == pytest.approx([row["gain"], row["qber"]], rel=1e-9)
    # The yield of n photons is the derivative of the gain: exp(mu) Q(mu) = sum of Y_n mu^n / n!.
    eta, dark = RECEIVER.efficiency * 10 ** (-row["att_dB"] / 10), DARK_PER_GATE
    vacuum = 1 - (1 - dark) ** 2
    single = 1 - (1 - dark) ** 2 * (1 - eta)
    single_error = 0.5 * (single - (1 - dark) * eta * (1 - 2 * RECEIVER.misalignment)) / single
    rate = np.exp(-row["mu"]) * (vacuum + row["mu"] * single * (1 - binary_entropy(single_error))) - gain * binary_entropy(qber)
    assert rate == pytest.approx(row["rate"], rel=1e-9)


def gains_and_qbers(means: list[float], attenuation_db: float) -> NDArray[np.float64]:
    return np.array([gain_and_qber(mean, attenuation_db) for mean in means])


@pytest.mark.parametrize("row", TNO["bb84_asymptotic_2decoy"], ids=lambda row: f"{row['att_dB']} dB")
def test_two_decoys_and_endless_pulses(row: dict[str, Any]) -> None:
    """They solve a linear programme over all yields, ours is analytic: never above theirs, and at most 3 % below."""
    gains, qbers = gains_and_qbers(row["mu"], row["att_dB"]).T
    bounds = decoy_bounds(
        gains, gains * qbers, mean_photon_numbers=row["mu"], probabilities=[1.0, 1.0, 1.0], epsilon_secrecy=1e-9, bound="asymptotic"
    )
    signal = row["mu"][0]
    vacuum, single = (
        np.exp(-signal) * share / photon_number_probability(photons, np.array(row["mu"]), np.ones(3))
        for photons, share in ((0, bounds.vacuum), (1, bounds.single_photon * signal))
    )
    phase_error = bounds.single_photon_errors / bounds.single_photon
    ours = vacuum + single * (1 - binary_entropy(phase_error)) - gains[0] * binary_entropy(qbers[0])
    assert 0.97 * row["rate"] < ours <= row["rate"] * (1 + 1e-9)


@pytest.mark.parametrize("row", TNO["bb84_finite"], ids=lambda row: f"{row['att_dB']} dB, {row['N']:g} pulses")
def test_two_decoys_and_a_block_of_pulses(row: dict[str, Any]) -> None:
    """Another proof (a linear programme with bounds of its own), rated per pulse of the X basis: ours is within 8 %."""
    gains, qbers = gains_and_qbers(row["mu"], row["att_dB"]).T
    key, test = (
        decoy_bounds(
            row["N"] * np.array(sent) * gains,
            row["N"] * np.array(sent) * gains * qbers,
            mean_photon_numbers=row["mu"],
            probabilities=np.array(sent) / sum(sent),
            epsilon_secrecy=1e-9,
            bound="chernoff",
        )
        for sent in (row["probs_X"], row["probs_Z"])
    )
    rate = test.single_photon_errors / test.single_photon
    phase_error = rate + sampling_deviation(rate, test.single_photon, key.single_photon, 1e-9 / 21)
    sent = np.array(row["probs_X"])
    leaked = row["N"] * (sent * gains).sum() * binary_entropy((sent * gains * qbers).sum() / (sent * gains).sum())
    ours = (key.vacuum + key.single_photon * (1 - binary_entropy(phase_error)) - leaked) / (row["N"] * sent.sum())
    assert ours == pytest.approx(row["rate"][0], rel=0.08)
