"""Entangled photons from Micius, and keys that rest on a Bell violation alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tiandi.experiments.experiment import Curve, DataFile, Experiment, Figures, Parameters, Plot
from tiandi.physics.sources import ContinuousPairSource
from tiandi.protocols.bbm92 import Bound, asymptotic_key_rate, proven_key
from tiandi.protocols.continuous_pairs import TaggingReceiver, continuous_rates
from tiandi.protocols.device_independent import asymptotic_key_rate as device_independent_rate
from tiandi.protocols.device_independent import chsh_from_visibility, fidelity_from_visibility, visibility_from_qber
from tiandi.protocols.information import binary_entropy
from tiandi.units import transmittance_from_loss


def _separation_km(data: DataFile, here: str, there: str) -> float:
    """Straight distance, through the Earth, as published."""
    return float(np.linalg.norm(data.station(here).position_km() - data.station(there).position_km()))


# Entanglement over 1,203 km.


def _entanglement(parameters: Parameters, data: DataFile) -> Figures:
    seen = visibility_from_qber(parameters["published_qber"])
    source = ContinuousPairSource(parameters["pair_rate_hz"], (4.0 * parameters["source_fidelity"] - 1.0) / 3.0)
    station = TaggingReceiver((0.0,), (1.0,), noise_rate_hz=parameters["noise_rate_hz"])
    efficiency = np.sqrt(parameters["published_rate_hz"] / parameters["pair_rate_hz"])
    rates = continuous_rates(source, station, station, efficiency, efficiency, window_s=parameters["window_s"])
    near_km, far_km = parameters["near_range_km"], parameters["far_range_km"]
    along = np.linspace(0.0, 1.0, 1001)
    range_km = np.sqrt(near_km**2 + (far_km**2 - near_km**2) * along**2)
    loss_db = np.interp(range_km, [near_km, far_km], [parameters["near_loss_db"], parameters["far_loss_db"]])
    return {
        "separation_km": _separation_km(data, "Delingha", "Lijiang"),
        "chsh_from_qber": float(chsh_from_visibility(seen)),
        "chsh_from_source": float(chsh_from_visibility(rates.visibility)),
        "fidelity": float(fidelity_from_visibility(seen)),
        "rate_hz": parameters["pair_rate_hz"] * float(transmittance_from_loss(loss_db).mean()),
    }


def _draw_entanglement(parameters: Parameters, data: DataFile) -> Sequence[Plot]:
    source = ContinuousPairSource(parameters["pair_rate_hz"], (4.0 * parameters["source_fidelity"] - 1.0) / 3.0)
    station = TaggingReceiver((0.0,), (1.0,), noise_rate_hz=parameters["noise_rate_hz"])
    loss_db = np.linspace(parameters["near_loss_db"], parameters["far_loss_db"], 91)
    efficiency = np.sqrt(transmittance_from_loss(loss_db))
    rates = continuous_rates(source, station, station, efficiency, efficiency, window_s=parameters["window_s"])
    published = data.published["chsh_from_source"].value
    return [
        Plot(
            "Bell violation against loss",
            "two-photon loss [dB]",
            "S",
            [
                Curve("model", loss_db, chsh_from_visibility(rates.visibility)),
                Curve("published mean", loss_db, np.full(loss_db.size, published)),
                Curve("classical limit", loss_db, np.full(loss_db.size, 2.0)),
            ],
        ),
        Plot("QBER against loss", "two-photon loss [dB]", "QBER [%]", [Curve("model", loss_db, 100 * rates.qber)]),
    ]


ENTANGLEMENT = Experiment("entanglement-2017", _entanglement, _draw_entanglement)


# Key over 1,120 km.


def _entanglement_key(parameters: Parameters, data: DataFile) -> Figures:
    qber = parameters["errors"] / parameters["sifted_bit"]
    basis_bit = 0.5 * parameters["sifted_bit"]
    leaked = parameters["error_correction_efficiency"] * basis_bit * float(binary_entropy(qber))

    def key_bit(bound: Bound) -> float:
        proven = proven_key(
            [basis_bit, basis_bit],
            [qber * basis_bit, qber * basis_bit],
            leaked,
            # Six equal shares: four to secrecy and two to correctness, over two bases.
            epsilon_secrecy=parameters["epsilon"] * 2.0 / 3.0,
            epsilon_correctness=parameters["epsilon"] / 3.0,
            bound=bound,
        )
        return float(proven.length_bit)

    rate = asymptotic_key_rate(
        parameters["sifted_bit"] / parameters["duration_s"],
        qber,
        qber,
        sifting=1.0,
        error_correction_efficiency=parameters["error_correction_efficiency"],
    )
    return {
        "separation_km": _separation_km(data, "Delingha", "Nanshan"),
        "chsh": float(chsh_from_visibility(visibility_from_qber(qber))),
        "asymptotic_rate_bps": float(rate),
        "key_bit": key_bit("small_block"),
        "serfling_key_bit": key_bit("serfling"),
        "exact_key_bit": key_bit("exact"),
    }


ENTANGLEMENT_KEY = Experiment("entanglement-key-2020", _entanglement_key)


# Device-independent.


def _device_independent(parameters: Parameters, data: DataFile) -> Figures:
    return {
        f"{name}_rate": float(device_independent_rate(parameters[f"{name}_chsh"], parameters[f"{name}_qber"])) for name in ("atoms", "ions")
    }


DEVICE_INDEPENDENT = Experiment("device-independent-2022", _device_independent)
