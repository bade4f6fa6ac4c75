"""Decoy-state BB84 from satellites: Micius 2017, its relay of 2018, the integrated network of 2021, Jinan-1 of 2025."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from tiandi.constants import EARTH_GRAVITATIONAL_PARAMETER_KM3_S2, EARTH_MEAN_RADIUS_KM
from tiandi.experiments.experiment import Curve, DataFile, Experiment, Figures, Parameters, Plot
from tiandi.physics.atmosphere import air_mass
from tiandi.physics.beam import top_hat_collection
from tiandi.physics.detectors import Detector
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.physics.free_space import downlink_transmittance
from tiandi.physics.passes import SatellitePass, Visibility, find_passes
from tiandi.protocols.decoy_bb84 import ExpectedCounts, expected_counts, outcome_probabilities
from tiandi.protocols.finite_key import Bound, expected_secret_bit
from tiandi.units import loss_from_transmittance, transmittance_from_loss

Array = NDArray[np.float64]
STEP_S = 1.0


def transmitter_of(parameters: Parameters) -> Transmitter:
    """The transmitter of a satellite: signal, decoy, vacuum."""
    signal, decoy = parameters["signal_probability"], parameters["decoy_probability"]
    return Transmitter(
        clock_hz=parameters["clock_hz"],
        mean_photon_numbers=(parameters["signal"], parameters["decoy"], 0.0),
        probabilities=(signal, decoy, 1.0 - signal - decoy),
        x_basis_probability=parameters.get("x_basis_probability", 0.5),
    )


def receiver_of(parameters: Parameters) -> Receiver:
    """The receiver of a ground station; an active basis choice where its bias is given."""
    biased = "x_basis_probability" in parameters
    return Receiver(
        optics_efficiency=parameters["optics_efficiency"],
        detector=Detector(
            parameters["detector_efficiency"],
            parameters["dark_count_rate_hz"],
            dead_time_s=parameters.get("dead_time_s", 0.0),
            jitter_fwhm_s=parameters.get("jitter_fwhm_s", 0.0),
        ),
        gate_s=parameters["gate_s"],
        misalignment=parameters["misalignment"],
        background_rate_hz=parameters["background_rate_hz"],
        timing_sigma_s=parameters.get("synchronisation_sigma_s", 0.0),
        x_basis_probability=parameters.get("x_basis_probability", 0.5),
        basis_choice="active" if biased else "passive",
    )


def counts_of(parameters: Parameters, transmittance: Array) -> ExpectedCounts:
    """Mean counts of a pass in steps of `STEP_S`."""
    transmitter, receiver = transmitter_of(parameters), receiver_of(parameters)
    pulses = np.full(transmittance.size, int(parameters["clock_hz"] * STEP_S))
    return expected_counts(transmitter, receiver, outcome_probabilities(transmitter, receiver, transmittance), pulses)


def sifted_rate_bps(parameters: Parameters, transmittance: Array) -> Array:
    """Rate of signal clicks in the matching basis [bit/s] at each transmittance, without dead time; shape as ``transmittance``."""
    transmitter = transmitter_of(parameters)
    signal = outcome_probabilities(transmitter, receiver_of(parameters), transmittance)[:, 0]
    in_x, in_z = (signal[:, basis, 1:3].sum(axis=-1) for basis in (0, 1))
    x_basis = transmitter.x_basis_probability
    return np.asarray(parameters["clock_hz"] * parameters["signal_probability"] * (x_basis * in_x + (1.0 - x_basis) * in_z))


def secret_bit_of(parameters: Parameters, counts: ExpectedCounts, bound: Bound = "hoeffding") -> float:
    """Key of both bases of a pass."""
    transmitter = transmitter_of(parameters)
    return float(
        expected_secret_bit(
            counts.sifted,
            counts.errors,
            mean_photon_numbers=transmitter.mean_photon_numbers,
            probabilities=transmitter.probabilities,
            epsilon_secrecy=parameters["epsilon"],
            epsilon_correctness=parameters["epsilon"],
            error_correction_efficiency=parameters["error_correction_efficiency"],
            bound=bound,
        )
    )


def key_from_published(parameters: Parameters, detected: float, qber: float, bound: Bound = "hoeffding") -> float:
    """Key of both bases from the published number of clicks and QBER; clicks fall on the intensities as their light does."""
    transmitter = transmitter_of(parameters)
    light = np.multiply(transmitter.mean_photon_numbers, transmitter.probabilities)
    sifted = np.tile(0.25 * detected * light / light.sum(), (2, 1))
    return secret_bit_of(parameters, ExpectedCounts(np.asarray(detected), sifted, qber * sifted), bound)


# Micius, 2017.


def micius_pass(data: DataFile) -> SatellitePass:
    """The pass of 2016-12-19 over Xinglong."""
    (found,) = find_passes(
        data.satellite("Micius"),
        data.station("Xinglong"),
        start=datetime(2016, 12, 19, 16, 0, tzinfo=UTC),
        end=datetime(2016, 12, 19, 17, 30, tzinfo=UTC),
        visibility=Visibility(),
    )
    return found


def micius_loss_db(parameters: Parameters, data: DataFile, range_km: Array, elevation_deg: Array) -> Array:
    """Loss [dB] from the satellite's telescope to the detectors, without them, shape as ``range_km``."""
    track = micius_pass(data).track(STEP_S)[1]
    ends = [np.interp(reached, *_by_range(track.range_km, track.elevation_deg)) for reached in (0.0, parameters["maximum_range_km"])]
    air = np.interp(
        air_mass(elevation_deg), air_mass(np.array(ends)), [parameters["air_loss_closest_db"], parameters["air_loss_1200_km_db"]]
    )
    geometry = top_hat_collection(
        range_km, divergence_full_angle_urad=parameters["divergence_full_angle_urad"], aperture_m=parameters["aperture_m"]
    )
    return loss_from_transmittance(geometry * parameters["optics_efficiency"]) + air + parameters["pointing_loss_db"]


def _by_range(range_km: Array, values: Array) -> tuple[Array, Array]:
    order = np.argsort(range_km)
    return range_km[order], values[order]


def _micius(parameters: Parameters, data: DataFile) -> Figures:
    track = micius_pass(data).track(STEP_S)[1]
    loss_db = micius_loss_db(parameters, data, track.range_km, track.elevation_deg)
    reached = track.range_km <= parameters["maximum_range_km"]
    counts = counts_of(parameters, transmittance_from_loss(loss_db[reached]) / parameters["optics_efficiency"])
    signal = counts.sifted[:, 0].sum()
    sifted_bps = sifted_rate_bps(parameters, transmittance_from_loss(loss_db) / parameters["optics_efficiency"])
    figures = {
        "closest_km": micius_pass(data).closest_km,
        "sifted_closest_bps": float(sifted_bps.max()),
        "sifted_1200_km_bps": float(np.interp(parameters["maximum_range_km"], *_by_range(track.range_km, sifted_bps))),
        "sifted_bit": signal,
        "sifted_ratio": signal / float(counts.detected),
        "qber": counts.errors[:, 0].sum() / signal,
        "key_bit": key_from_published(parameters, parameters["published_detections"], parameters["published_qber"]),
    }
    setting = slice(int(np.argmin(track.range_km)), None)
    for range_km in data.digitised["loss_db"].x:
        figures[f"loss_{range_km:.0f}_km_db"] = float(np.interp(range_km, *_by_range(track.range_km[setting], loss_db[setting])))
    return figures


def _draw_micius(parameters: Parameters, data: DataFile) -> Sequence[Plot]:
    track = micius_pass(data).track(STEP_S)[1]
    # From the closest point on: the two halves of a pass differ by a tenth of a decibel.
    setting = (track.range_km <= parameters["maximum_range_km"]) & (np.arange(track.range_km.size) >= np.argmin(track.range_km))
    range_km, elevation_deg = track.range_km[setting], track.elevation_deg[setting]
    loss_db = micius_loss_db(parameters, data, range_km, elevation_deg)
    transmitter, receiver = transmitter_of(parameters), receiver_of(parameters)
    outcomes = outcome_probabilities(transmitter, receiver, transmittance_from_loss(loss_db) / parameters["optics_efficiency"])
    signal = outcomes[:, 0].mean(axis=1)
    sifted_bps = sifted_rate_bps(parameters, transmittance_from_loss(loss_db) / parameters["optics_efficiency"])
    errors = 100 * signal[:, 2] / signal[:, 1:3].sum(axis=1)
    published = {name: Curve("read off the publication", points.x, points.y, points=True) for name, points in data.digitised.items()}
    ends_km, mean_percent = [range_km.min(), range_km.max()], 100 * parameters["published_qber"]
    return [
        Plot("Loss of the downlink", "range [km]", "loss [dB]", [Curve("model", *_by_range(range_km, loss_db)), published["loss_db"]]),
        Plot(
            "Sifted key rate",
            "range [km]",
            "sifted key [bit/s]",
            [Curve("model", *_by_range(range_km, sifted_bps)), published["sifted_bps"]],
        ),
        Plot(
            "QBER of the signal",
            "range [km]",
            "QBER [%]",
            [Curve("model", *_by_range(range_km, errors)), Curve("published, mean of the pass", ends_km, [mean_percent, mean_percent])],
        ),
    ]


MICIUS = Experiment("micius-2017", _micius, _draw_micius)


# Micius as a relay, 2018.


def _relay(parameters: Parameters, data: DataFile) -> Figures:
    keys = {
        name.removesuffix("_sifted_bit"): key_from_published(
            parameters, sifted_bit / _sifted_share(parameters), parameters[name.replace("sifted_bit", "qber")], "chernoff"
        )
        for name, sifted_bit in parameters.items()
        if name.endswith("_sifted_bit")
    }
    here, there = (data.station(name).horizon_axes()[2] for name in ("Xinglong", "Graz"))
    return {
        "separation_km": EARTH_MEAN_RADIUS_KM * float(np.arccos(here @ there)),
        **{f"{name}_key_bit": key for name, key in keys.items()},
    }


def _sifted_share(parameters: Parameters) -> float:
    """Sifted signal clicks over all clicks when every click is light."""
    transmitter = transmitter_of(parameters)
    light = np.multiply(transmitter.mean_photon_numbers, transmitter.probabilities)
    return float(0.5 * light[0] / light.sum())


MICIUS_RELAY = Experiment("micius-relay-2018", _relay)


# Passes of a circular orbit: the network of 2021 and Jinan-1 of 2025.


def circular_pass(altitude_km: float, culmination_deg: float, cutoff_deg: float) -> tuple[Array, Array]:
    """Range [km] and elevation [deg], shape (n,), in the middle of each second of a pass above ``cutoff_deg``, over an Earth at rest."""
    radius_km = EARTH_MEAN_RADIUS_KM + altitude_km
    angular_rate = np.sqrt(EARTH_GRAVITATIONAL_PARAMETER_KM3_S2 / radius_km**3)

    def central_angle(elevation_rad: float) -> float:
        return float(np.arccos(EARTH_MEAN_RADIUS_KM / radius_km * np.cos(elevation_rad)) - elevation_rad)

    nearest, furthest = central_angle(np.radians(culmination_deg)), central_angle(np.radians(cutoff_deg))
    half_s = np.arccos(np.cos(furthest) / np.cos(nearest)) / angular_rate
    offsets_s = np.arange(-np.floor(half_s), np.floor(half_s)) + 0.5
    cosine = np.cos(nearest) * np.cos(angular_rate * offsets_s)
    range_km = np.sqrt(EARTH_MEAN_RADIUS_KM**2 + radius_km**2 - 2 * EARTH_MEAN_RADIUS_KM * radius_km * cosine)
    return range_km, np.degrees(np.arcsin((radius_km * cosine - EARTH_MEAN_RADIUS_KM) / range_km))


def circular_pass_key_bit(parameters: Parameters, bound: Bound) -> tuple[float, int]:
    """Key of a pass [bit] and its duration [s]."""
    range_km, elevation_deg = circular_pass(parameters["altitude_km"], parameters["culmination_deg"], parameters["cutoff_deg"])
    counts = counts_of(parameters, circular_pass_transmittance(parameters, range_km, elevation_deg))
    return secret_bit_of(parameters, counts, bound), range_km.size


def circular_pass_transmittance(parameters: Parameters, range_km: Array, elevation_deg: Array) -> Array:
    """Of the channel, shape as ``range_km``; what a better receiver gains is counted to it."""
    transmittance = downlink_transmittance(
        range_km,
        elevation_deg,
        divergence_full_angle_urad=parameters["divergence_full_angle_urad"],
        aperture_m=parameters["aperture_m"],
        zenith_extinction_db=parameters["zenith_extinction_db"],
        pointing_loss_db=parameters["pointing_loss_db"],
    )
    return transmittance * transmittance_from_loss(-parameters["receiver_gain_db"])


def _network(parameters: Parameters, data: DataFile) -> Figures:
    key_bit, duration_s = circular_pass_key_bit(parameters, "chernoff")
    return {"rate_bps": key_bit / duration_s}


def _jinan1(parameters: Parameters, data: DataFile) -> Figures:
    starved = {"x_basis_probability": 0.9, "signal": 0.5, "decoy": 0.1, "signal_probability": 0.72, "decoy_probability": 0.18}
    return {
        "key_bit": circular_pass_key_bit(parameters, "hoeffding")[0],
        "starved_key_bit": circular_pass_key_bit({**parameters, **starved}, "hoeffding")[0],
    }


def _draw_circular_pass(parameters: Parameters, data: DataFile) -> Sequence[Plot]:
    range_km, elevation_deg = circular_pass(parameters["altitude_km"], parameters["culmination_deg"], parameters["cutoff_deg"])
    transmittance = circular_pass_transmittance(parameters, range_km, elevation_deg)
    rising = slice(range_km.size // 2)
    loss_db = loss_from_transmittance(transmittance * parameters["optics_efficiency"])
    sifted_bps = sifted_rate_bps(parameters, transmittance)
    return [
        Plot("Loss of the downlink", "elevation [deg]", "loss [dB]", [Curve("model", elevation_deg[rising], loss_db[rising])]),
        Plot("Sifted key rate", "elevation [deg]", "sifted key [bit/s]", [Curve("model", elevation_deg[rising], sifted_bps[rising])]),
    ]


NETWORK = Experiment("network-2021", _network, _draw_circular_pass)
JINAN1 = Experiment("jinan1-2025", _jinan1, _draw_circular_pass)
