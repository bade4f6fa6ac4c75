"""Protocols that trust no relay: measurement-device-independent and twin-field QKD."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tiandi.experiments.experiment import Array, Curve, DataFile, Experiment, Figures, Parameters, Plot
from tiandi.physics.fibre import fibre_transmittance
from tiandi.protocols import sending_or_not_sending, twin_field
from tiandi.protocols.events import Basis
from tiandi.protocols.information import binary_entropy, plob_bound
from tiandi.protocols.mdi_finite_key import proven_key
from tiandi.protocols.measurement_device_independent import DecoySource, Outcome, RelayLink, event_probabilities
from tiandi.protocols.optimiser import maximise
from tiandi.protocols.sending_or_not_sending import SIGNAL_WINDOWS, SendingSource
from tiandi.protocols.twin_field import CentralStation, phase_mismatch_rad
from tiandi.protocols.twin_field_finite_key import sending_proven_key
from tiandi.units import transmittance_from_loss

# Measurement-device-independent, 404 km.


def _mdi_rates_bps(parameters: Parameters, lengths_km: Array) -> Array:
    """Secret key rate [bit/s] at ``lengths_km`` (n,), the relay in the middle."""
    sent = [parameters[f"{name}_probability"] for name in ("signal", "strong", "weak")]
    source = DecoySource(
        (parameters["signal"], parameters["strong_decoy"], parameters["weak_decoy"], 0.0),
        x_probabilities=(0.0, sent[1], sent[2], 1.0 - sum(sent)),
        z_probabilities=(sent[0], 0.0, 0.0, 0.0),
    )
    arm = np.array([fibre_transmittance(length / 2, attenuation_db_per_km=parameters["attenuation_db_per_km"]) for length in lengths_km])
    link = RelayLink(
        source,
        source,
        arm,
        arm,
        detector_efficiency=parameters["detector_efficiency"] * transmittance_from_loss(parameters["relay_loss_db"]),
        dark_count_probability=parameters["dark_count_rate_hz"] * parameters["gate_s"],
        misalignment=(parameters["x_error"], parameters["z_error"]),
        announced_bell_states=1,
    )
    counts = event_probabilities(link) * parameters["clock_hz"] * parameters["duration_s"]
    key = counts[:, Basis.Z, 0, 0]
    leaked = parameters["error_correction_efficiency"] * key.sum(axis=-1) * binary_entropy(key[:, Outcome.WRONG] / key.sum(axis=-1))
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


# Twin-field: two arms of half the loss meet in the middle.


def _sending_rate(parameters: Parameters) -> float:
    """Finite secret bits per pulse of sending or not sending with pairing, failures added up as published."""
    source = SendingSource(
        parameters["signal"],
        parameters["sending_probability"],
        parameters["signal_probability"],
        (parameters["strong_decoy"], parameters["weak_decoy"]),
        (1.0 - parameters["vacuum_share"] - parameters["weak_share"], parameters["weak_share"], parameters["vacuum_share"]),
        parameters["slice_half_width_rad"],
    )
    station = CentralStation(parameters["dark_count_probability"], phase_mismatch_rad(parameters["misalignment"]))
    arm = parameters["efficiency"] * transmittance_from_loss(0.5 * parameters["loss_db"])
    counts = parameters["pulses"] * sending_or_not_sending.event_table(station, source, arm, arm).probabilities[0]
    bits, errors = sending_or_not_sending.paired_counts(counts[SIGNAL_WINDOWS, SIGNAL_WINDOWS].sum(axis=-1))
    key = sending_proven_key(
        counts,
        source=source,
        pulses=parameters["pulses"],
        leaked_bit=parameters["error_correction_efficiency"] * bits * binary_entropy(errors / bits),
        epsilon_secrecy=parameters["epsilon"],
        epsilon_correctness=parameters["epsilon"],
        composition="sum",
    )
    return float(key.length_bit) / parameters["pulses"]


def _over_plob(parameters: Parameters, bit_per_pulse: float) -> float:
    return bit_per_pulse / float(plob_bound(transmittance_from_loss(parameters["loss_db"])))


def _twin_field_511km(parameters: Parameters, data: DataFile) -> Figures:
    rate = _sending_rate(parameters)
    return {"rate": rate, "over_plob": _over_plob(parameters, rate)}


def _best_sending_rate(parameters: Parameters, loss_db: float, *, pairing: bool) -> float:
    """Asymptotic secret bits per pulse at the best intensity and sending probability."""
    station = CentralStation(parameters["dark_count_probability"], phase_mismatch_rad(parameters["misalignment"]))
    arm = parameters["efficiency"] * transmittance_from_loss(0.5 * loss_db)

    def rate(candidates: Array) -> Array:
        return sending_or_not_sending.asymptotic_key_rate(
            arm,
            arm,
            station,
            signal_mean_photon_number=candidates[0],
            sending_probability=candidates[1],
            error_correction_efficiency=parameters["error_correction_efficiency"],
            pairing=pairing,
        ).bit_per_pulse

    # Differential evolution stops at once on a plain of small numbers, so the rate is taken in units of the arm's transmittance.
    return maximise(lambda candidates: rate(candidates) / arm, [(0.05, 1.0), (0.005, 0.5)])[1] * arm


def _twin_field_1002km(parameters: Parameters, data: DataFile) -> Figures:
    finite = _sending_rate(parameters)
    return {
        "paired_rate": _best_sending_rate(parameters, parameters["loss_db"], pairing=True),
        "finite_rate": finite,
        "over_plob": _over_plob(parameters, finite),
    }


def _draw_twin_field_1002km(parameters: Parameters, data: DataFile) -> Sequence[Plot]:
    loss_db = np.linspace(40.0, 160.0, 25)
    return [
        Plot(
            "Twin-field and the bound without a repeater",
            "total loss [dB]",
            "secret bits per pulse",
            [
                Curve("model, asymptotic", loss_db, [_best_sending_rate(parameters, loss, pairing=False) for loss in loss_db]),
                Curve("the same with pairing", loss_db, [_best_sending_rate(parameters, loss, pairing=True) for loss in loss_db]),
                Curve("PLOB bound", loss_db, plob_bound(transmittance_from_loss(loss_db))),
                Curve(
                    "published, asymptotic and finite",
                    [parameters["loss_db"]] * 2,
                    [data.published["paired_rate"].value, data.published["finite_rate"].value],
                    points=True,
                ),
            ],
            logarithmic=True,
        )
    ]


def _twin_field_833km(parameters: Parameters, data: DataFile) -> Figures:
    arm = parameters["efficiency"] * transmittance_from_loss(0.5 * parameters["loss_db"])
    rate = twin_field.asymptotic_key_rate(
        arm,
        arm,
        CentralStation(parameters["dark_count_probability"], phase_mismatch_rad(parameters["misalignment"])),
        key_mean_photon_number=parameters["key_mean_photon_number"],
        error_correction_efficiency=parameters["error_correction_efficiency"],
    ).bit_per_pulse
    return {"rate_bps": float(rate) * parameters["clock_hz"], "over_plob": _over_plob(parameters, float(rate))}


def _draw_twin_field_511km(parameters: Parameters, data: DataFile) -> Sequence[Plot]:
    loss_db = np.linspace(40.0, 100.0, 25)
    rates = [_sending_rate({**parameters, "loss_db": loss}) for loss in loss_db]
    return [_against_the_bound(loss_db, Curve("model, finite", loss_db, rates), parameters, data.published["rate"].value)]


def _draw_twin_field_833km(parameters: Parameters, data: DataFile) -> Sequence[Plot]:
    loss_db = np.linspace(40.0, 150.0, 23)
    rates = [_twin_field_833km({**parameters, "loss_db": loss}, data)["rate_bps"] / parameters["clock_hz"] for loss in loss_db]
    published = data.published["rate_bps"].value / parameters["clock_hz"]
    return [_against_the_bound(loss_db, Curve("model, asymptotic", loss_db, rates), parameters, published)]


def _against_the_bound(loss_db: Array, model: Curve, parameters: Parameters, published: float) -> Plot:
    return Plot(
        "Twin-field and the bound without a repeater",
        "total loss [dB]",
        "secret bits per pulse",
        [
            model,
            Curve("PLOB bound", loss_db, plob_bound(transmittance_from_loss(loss_db))),
            Curve("published", [parameters["loss_db"]], [published], points=True),
        ],
        logarithmic=True,
    )


TWIN_FIELD_511KM = Experiment("twin-field-511km-2021", _twin_field_511km, _draw_twin_field_511km)
TWIN_FIELD_833KM = Experiment("twin-field-833km-2022", _twin_field_833km, _draw_twin_field_833km)
TWIN_FIELD_1002KM = Experiment("twin-field-1002km-2023", _twin_field_1002km, _draw_twin_field_1002km)
