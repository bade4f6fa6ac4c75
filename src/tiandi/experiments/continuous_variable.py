"""Continuous-variable QKD over long fibre."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tiandi.experiments.experiment import Curve, DataFile, Experiment, Figures, Parameters, Plot
from tiandi.protocols.continuous_variable import GaussianProtocol, asymptotic_key_rate
from tiandi.protocols.information import plob_bound
from tiandi.units import transmittance_from_loss


def _protocol(parameters: Parameters) -> GaussianProtocol:
    return GaussianProtocol(
        modulation_variance=parameters["modulation_variance"],
        excess_noise=parameters["excess_noise"],
        detector_efficiency=parameters["detector_efficiency"],
        electronic_noise=parameters["electronic_noise"],
        reconciliation_efficiency=parameters["reconciliation_efficiency"],
    )


def _continuous_variable(parameters: Parameters, data: DataFile) -> Figures:
    key = asymptotic_key_rate(_protocol(parameters), transmittance_from_loss(parameters["loss_db"]))
    rate_bps = parameters["symbol_rate_hz"] * float(key)
    return {"rate_bps": rate_bps, "limit_bps": rate_bps}


def _draw(parameters: Parameters, data: DataFile) -> Sequence[Plot]:
    loss_db = np.linspace(0.0, 36.0, 73)
    transmittance = transmittance_from_loss(loss_db)
    key = asymptotic_key_rate(_protocol(parameters), transmittance)
    return [
        Plot(
            "Continuous variables, asymptotic",
            "loss [dB]",
            "secret key [bit/s]",
            [
                Curve("model", loss_db, parameters["symbol_rate_hz"] * key),
                Curve("PLOB bound", loss_db[1:], parameters["symbol_rate_hz"] * plob_bound(transmittance[1:])),
                Curve("published", [parameters["loss_db"]], [data.published["rate_bps"].value], points=True),
            ],
            logarithmic=True,
        )
    ]


CONTINUOUS_VARIABLE = Experiment("continuous-variable-2020", _continuous_variable, _draw)
