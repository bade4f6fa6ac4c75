"""Finite-key lengths over arrays, and a pass optimised over all its settings."""

from __future__ import annotations

import json

import numpy as np

from detections import median_seconds
from measure import Figure, run_peer
from tiandi.protocols.decoy_bb84 import expected_counts, outcome_probabilities
from tiandi.protocols.finite_key import expected_secret_bit
from tiandi.quantum.link import QkdLink
from tiandi.scenario.scenario import load_scenario

EVALUATIONS = 20_000
PEER_EVALUATIONS = 20
MICROSECOND = 1e6


def benchmark_key_lengths() -> list[Figure]:
    """From the transmittance of a link to its proven key, expected counts included; both bases give key.

    TNO's package proves key from the same intensities, probabilities and number of pulses by linear programmes, qkdsec from the same
    light by a semidefinite one with a correction for finite size.
    """
    trunk = load_scenario("shanghai-vienna").link("Jinan - Tai'an")
    seconds, proven = median_seconds(lambda _: _evaluate(trunk))
    each = seconds / EVALUATIONS
    peer = "; ".join(_peer(name, script, each) for name, script in (("TNO's qkd-key-rate", "tno_bb84.py"), ("qkdsec", "qkdsec_bb84.py")))
    downlink = load_scenario("shanghai-vienna").downlinks()[0]
    optimum_s, secret_bit = median_seconds(
        lambda _: int(downlink.link.optimised(downlink.duration_s).forecast(downlink.duration_s).secret_bit)
    )
    return [
        Figure(f"a finite key ({1 / each:,.0f} links/s; {proven:,} of {EVALUATIONS:,} have one)", MICROSECOND * each, 10.0, "us", peer),
        Figure(f"a pass optimised over all settings ({secret_bit:,} bit)", optimum_s, 2.0, "s"),
    ]


def _peer(name: str, script: str, each_s: float) -> str:
    answer = run_peer(script, str(PEER_EVALUATIONS))
    if answer is None:
        return f"{name} not run: make bench installs it"
    peer_s = json.loads(answer)["seconds"] / PEER_EVALUATIONS
    return f"{peer_s / each_s:,.0f} times as fast as {name} ({MICROSECOND * peer_s:,.0f} us)"


def _evaluate(link: QkdLink) -> int:
    """How many of as many links of different loss have a key after a second."""
    transmittance = np.logspace(-4, 0, EVALUATIONS)
    outcomes = outcome_probabilities(link.transmitter, link.receiver, transmittance)
    counts = expected_counts(link.transmitter, link.receiver, outcomes[:, None], np.array([int(link.transmitter.clock_hz)]))
    secret = expected_secret_bit(
        counts.sifted,
        counts.errors,
        mean_photon_numbers=link.transmitter.mean_photon_numbers,
        probabilities=link.transmitter.probabilities,
        epsilon_secrecy=1e-9,
        epsilon_correctness=1e-15,
        error_correction_efficiency=1.06,
    )
    return int((secret > 0).sum())
