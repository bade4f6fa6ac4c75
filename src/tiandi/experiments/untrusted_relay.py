"""Protocols that trust no relay: measurement-device-independent and twin-field QKD."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tiandi.experiments.experiment import Array, Curve, DataFile, Experiment, Figures, Parameters, Plot
from tiandi.physics.fibre import fibre_transmittance
from tiandi.protocols.information import binary_entropy, plob_bound
from tiandi.protocols.mdi_finite_key import proven_key
from tiandi.protocols.measurement_device_independent import DecoySource, RelayLink, event_probabilities
from tiandi.units import transmittance_from_loss

# Measurement-device-independent, 404 km.


def _mdi_rates_bps(parameters: Parameters, lengths_km: Array) -> Array:
    """Secret key rate [bit/s] at ``lengths_km`` (n,), the relay in the middle."""
    sent = [parameters[f"{name}_probability"] for name in ("signal", "strong", "weak")]
    source = DecoySource(
        (parameters["signal"], parameters["strong_decoy"], parameters["weak_decoy"], 0.0),
        z_probabilities=(sent[0], 0.0, 0.0, 0.0),
        x_probabilities=(0.0, sent[1], sent[2], 1.0 - sum(sent)),
    )
    arm = np.array([fibre_transmittance(length / 2, attenuation_db_per_km=parameters["attenuation_db_per_km"]) for length in lengths_km])
    link = RelayLink(
        source,
        source,
        arm,
        arm,
        detector_efficiency=parameters["detector_efficiency"] * transmittance_from_loss(parameters["relay_loss_db"]),
        dark_count_probability=parameters["dark_count_rate_hz"] * parameters["gate_s"],
        misalignment=(parameters["z_error"], parameters["x_error"]),
        announced_bell_states=1,
    )
    counts = event_probabilities(link) * parameters["clock_hz"] * parameters["duration_s"]
    key = counts[:, 0, 0, 0]
    leaked = parameters["reconciliation_efficiency"] * key.sum(axis=-1) * binary_entropy(key[:, 1] / key.sum(axis=-1))
    proven = proven_key(
        counts,
        alice=source,
        bob=source,
        leaked_bit=leaked,
        epsilon_secrecy=parameters["epsilon"],
        epsilon_correctness=parameters["epsilon"],
    )
    return np.asarray(proven.length_bit / parameters["duration_s"])


def _mdi(parameters: Parameters, data: DataFile) -> Figures:
    return {"rate_bps": float(_mdi_rates_bps(parameters, np.array([parameters["length_km"]]))[0])}


def _draw_mdi(parameters: Parameters, data: DataFile) -> Sequence[Plot]:
    lengths_km = np.linspace(200.0, 420.0, 45)
    channel = transmittance_from_loss(parameters["attenuation_db_per_km"] * lengths_km)
    return [
        Plot(
            "Key rate, relay in the middle",
            "length [km]",
            "secret key [bit/s]",
            [
                Curve("model", lengths_km, _mdi_rates_bps(parameters, lengths_km)),
                Curve("PLOB bound at this clock", lengths_km, parameters["clock_hz"] * plob_bound(channel)),
                Curve("published", [parameters["length_km"]], [data.published["rate_bps"].value], points=True),
            ],
            logarithmic=True,
        )
    ]


MDI_404KM = Experiment("mdi-404km-2016", _mdi, _draw_mdi)
