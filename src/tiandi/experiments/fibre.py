"""Decoy-state BB84 over fibre: the greatest distances of GYS, 421 km, and 115.8 Mbit/s."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq

from tiandi.experiments.experiment import Curve, DataFile, Experiment, Figures, Parameters, Plot
from tiandi.physics.detectors import Detector
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.physics.fibre import fibre_transmittance
from tiandi.protocols.asymptotic_decoy import DecoyLink
from tiandi.protocols.finite_key import Bound
from tiandi.protocols.optimiser import optimise_decoy_bb84
from tiandi.units import transmittance_from_loss

# GYS 2004 in the model of Ma et al. 2005.


def _gys_link(parameters: Parameters) -> DecoyLink:
    return DecoyLink(parameters["background_yield"], parameters["misalignment"], parameters["error_correction_efficiency"])


def _gys_rates(parameters: Parameters, length_km: float) -> tuple[float, float]:
    """Secret bits per pulse with infinitely many decoys, and with vacuum and one weak decoy."""
    link = _gys_link(parameters)
    eta = parameters["detection_efficiency"] * fibre_transmittance(length_km, attenuation_db_per_km=parameters["attenuation_db_per_km"])
    weak = link.vacuum_and_weak_rate(parameters["signal"], parameters["decoy"], eta)
    return float(link.infinite_decoy_rate(parameters["signal"], eta)), float(weak)


def _gys(parameters: Parameters, data: DataFile) -> Figures:
    reach = [brentq(lambda km, which=which: float(_gys_rates(parameters, km)[which] > 0) - 0.5, 50.0, 250.0, xtol=1e-4) for which in (0, 1)]
    return {"infinite_decoy_km": reach[0], "vacuum_weak_km": reach[1]}


def _draw_gys(parameters: Parameters, data: DataFile) -> Sequence[Plot]:
    lengths_km = np.linspace(0.0, 145.0, 146)
    endless, weak = np.array([_gys_rates(parameters, length_km) for length_km in lengths_km]).T
    reach = [data.published[key].value for key in ("infinite_decoy_km", "vacuum_weak_km")]
    return [
        Plot(
            "Key rate over fibre, published greatest distances dotted",
            "length [km]",
            "secret bits per pulse",
            [
                Curve("infinitely many decoys", lengths_km, endless),
                Curve("vacuum and one weak decoy", lengths_km, weak),
            ],
            logarithmic=True,
            marks=reach,
        )
    ]


GYS = Experiment("gys-2004", _gys, _draw_gys)


# One decoy and superconducting nanowires.


def optimised_rate_bps(parameters: Parameters, loss_db: float, acquisition_s: float, bound: Bound = "hoeffding") -> float:
    """Secret key rate [bit/s] with one decoy and the best settings for this loss and time."""
    transmitter = Transmitter(parameters["clock_hz"], (0.5, 0.2), (0.7, 0.3))
    receiver = Receiver(
        parameters["optics_efficiency"],
        Detector(parameters["detector_efficiency"], parameters["dark_count_rate_hz"]),
        gate_s=parameters["gate_s"],
        misalignment=parameters["misalignment"],
        basis_choice="active",
    )
    best = optimise_decoy_bb84(
        transmitter,
        receiver,
        np.array([transmittance_from_loss(loss_db)]),
        np.array([int(parameters["clock_hz"] * acquisition_s)]),
        epsilon_secrecy=parameters["epsilon"],
        epsilon_correctness=parameters["epsilon"],
        error_correction_efficiency=parameters["error_correction_efficiency"],
        bound=bound,
    )
    return best.secret_bit / acquisition_s


def _fibre_421km(parameters: Parameters, data: DataFile) -> Figures:
    figures = {
        f"rate_{length}_km_bps": optimised_rate_bps(
            parameters, parameters[f"loss_{length}_km_db"], parameters[f"acquisition_{length}_km_s"]
        )
        for length in (252, 405, 421)
    }
    return {**figures, "key_421_km_bit": figures["rate_421_km_bps"] * parameters["acquisition_421_km_s"]}


def _draw_fibre_421km(parameters: Parameters, data: DataFile) -> Sequence[Plot]:
    lengths_km = np.linspace(200.0, 450.0, 11)
    day_s = parameters["acquisition_421_km_s"]
    rates = [optimised_rate_bps(parameters, km * parameters["attenuation_db_per_km"], day_s) for km in lengths_km]
    published = {float(key.split("_")[1]): entry.value for key, entry in data.published.items() if key.startswith("rate_")}
    return [
        Plot(
            "Key rate over ultra-low-loss fibre",
            "length [km]",
            "secret key [bit/s]",
            [Curve("model, a day of light", lengths_km, rates), Curve("published", list(published), list(published.values()), points=True)],
            logarithmic=True,
        )
    ]


FIBRE_421KM = Experiment("fibre-421km-2018", _fibre_421km, _draw_fibre_421km)


def _fibre_10km(parameters: Parameters, data: DataFile) -> Figures:
    return {"rate_bps": optimised_rate_bps(parameters, parameters["loss_10_km_db"], 1.0, "asymptotic")}


FIBRE_10KM = Experiment("fibre-10km-2023", _fibre_10km)
