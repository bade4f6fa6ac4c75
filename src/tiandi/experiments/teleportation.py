"""Teleportation from the ground to a satellite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tiandi.experiments.downlink import circular_pass
from tiandi.experiments.experiment import Array, Curve, DataFile, Experiment, Figures, Parameters, Plot
from tiandi.protocols.teleportation import (
    CLASSICAL_FIDELITY,
    INPUT_STATES,
    ErrorBudget,
    TeleportationSource,
    event_table,
    input_fidelities,
    mean_fidelity,
    uplink_loss_db,
)
from tiandi.units import loss_from_transmittance, transmittance_from_loss

PUMP_HZ = 80e6
"""Any rate far above that of the events gives the same counts."""


def _budget(parameters: Parameters) -> ErrorBudget:
    return ErrorBudget(*(parameters[name] for name in ("double_pair", "distinguishability", "polarisation", "background")))


def _loss_db(parameters: Parameters, range_km: Array, elevation_deg: Array) -> Array:
    """The uplink through its two known ends."""
    ends = np.array([[1.0, 1.0 / np.sin(np.radians(parameters[f"{end}_elevation_deg"]))] for end in ("near", "far")])
    known = [parameters[f"{end}_loss_db"] - 20.0 * np.log10(parameters[f"{end}_range_km"]) for end in ("near", "far")]
    far_field_loss_db, zenith_extinction_db = np.linalg.solve(ends, known)
    return uplink_loss_db(range_km, elevation_deg, far_field_loss_db=far_field_loss_db, zenith_extinction_db=zenith_extinction_db)


def _teleportation(parameters: Parameters, data: DataFile) -> Figures:
    track = circular_pass(parameters["altitude_km"], parameters["culmination_deg"], parameters["far_elevation_deg"])
    transmittance = transmittance_from_loss(_loss_db(parameters, *track))
    source = TeleportationSource(PUMP_HZ, parameters["fourfold_rate_hz"])
    weights = _budget(parameters).weights
    table = event_table(source, weights, transmittance)
    return {
        "fidelity": float(mean_fidelity(weights)),
        "events": float(table.expected_counts(source.pulses(np.full(transmittance.size, parameters["orbits"]))).sum()),
        "loss_db": float(loss_from_transmittance(transmittance.mean())),
    }


def _draw(parameters: Parameters, data: DataFile) -> Sequence[Plot]:
    range_km, elevation_deg = circular_pass(parameters["altitude_km"], parameters["culmination_deg"], parameters["far_elevation_deg"])
    ends_km = [parameters[f"{end}_range_km"] for end in ("near", "far")]
    order = np.argsort(range_km)
    states = np.arange(len(INPUT_STATES), dtype=float)
    published = data.published["fidelity"].value
    return [
        Plot(
            "Loss of the uplink",
            "range [km]",
            "loss [dB]",
            [
                Curve("model", range_km[order], _loss_db(parameters, range_km, elevation_deg)[order]),
                Curve("recalled ends", ends_km, [parameters["near_loss_db"], parameters["far_loss_db"]], points=True),
            ],
        ),
        Plot(
            "Fidelity of teleported states",
            "input state",
            "fidelity",
            [
                Curve("model", states, input_fidelities(_budget(parameters).weights), points=True),
                Curve("published mean", states, np.full(states.size, published)),
                Curve("classical limit", states, np.full(states.size, CLASSICAL_FIDELITY)),
            ],
            ticks=INPUT_STATES,
        ),
    ]


TELEPORTATION = Experiment("teleportation-2017", _teleportation, _draw)
