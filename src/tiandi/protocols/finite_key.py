"""Finite-key security of decoy-state BB84 with two decoys: Lim et al. 2014, PRA 89, 022307 (doi:10.1103/PhysRevA.89.022307).

What the proof assumes and where we stand. Its leak is what Alice says about her key; with two-way error correction Bob's questions
and his count of errors tell which bits were wrong as well, and Tupkary and Luetkenhaus 2023 (arXiv:2307.00576) ask that an
eavesdropper be given that pattern. We count every parity and hash that Alice tells and do not subtract anything for the pattern; nor
do we treat the length of the block, which varies with the light, as random. Neither is covered by the paper as written.

Counts are arrays (..., intensities) with the intensities in falling order; every function works on any number of links at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.protocols.concentration import chernoff_mean, fewest_trusted_errors, hoeffding_mean, sampling_deviation
from tiandi.protocols.information import binary_entropy

Bound = Literal["hoeffding", "chernoff", "asymptotic"]
Array = NDArray[np.float64]

EPSILON_SHARES = 21
"""Into how many parts Lim et al. split the secrecy parameter (their equation 1)."""


@dataclass(frozen=True)
class SinglePhotonBounds:
    """What decoys tell about one basis, each of shape (...): lower bounds on the counts, an upper bound on the errors."""

    vacuum: Array
    single_photon: Array
    single_photon_errors: Array


@dataclass(frozen=True)
class ProvenKey:
    """Length of the secret key [bit] with the bounds it rests on, each of shape (...)."""

    length_bit: Array
    key_basis: SinglePhotonBounds
    test_basis: SinglePhotonBounds
    phase_error: Array


def photon_number_probability(photons: int, mean_photon_numbers: Array, probabilities: Array) -> Array:
    """tau_n: probability that a pulse holds ``photons`` (0 or 1) photons, over all intensities."""
    return np.sum(probabilities * np.exp(-mean_photon_numbers) * mean_photon_numbers**photons, axis=-1)


def _bounds(counts: Array, failure: float, bound: Bound) -> tuple[Array, Array]:
    """Lower and upper bounds on the mean behind ``counts`` (..., intensities), failing with ``failure`` each."""
    if bound == "hoeffding":  # Lim et al. 2014, below equation 2.
        return hoeffding_mean(counts, counts.sum(axis=-1, keepdims=True), failure)
    return chernoff_mean(counts, failure) if bound == "chernoff" else (counts, counts)


def decoy_bounds(
    counts: ArrayLike,
    errors: ArrayLike,
    *,
    mean_photon_numbers: ArrayLike,
    probabilities: ArrayLike,
    epsilon_secrecy: float,
    bound: Bound = "hoeffding",
) -> SinglePhotonBounds:
    """Equations 2 to 4 of Lim et al. 2014 for one basis; ``counts`` and ``errors`` have shape (..., 3)."""
    counts, errors = np.asarray(counts, float), np.asarray(errors, float)
    mu, p = np.asarray(mean_photon_numbers, float), np.asarray(probabilities, float)
    mu1, mu2, mu3 = mu
    tau0, tau1 = photon_number_probability(0, mu, p), photon_number_probability(1, mu, p)
    weight = np.exp(mu) / p
    failure = epsilon_secrecy / EPSILON_SHARES
    low, high = (weight * side for side in _bounds(counts, failure, bound))
    errors_low, errors_high = (weight * side for side in _bounds(errors, failure, bound))

    # Counts that no honest channel gives could push a bound past all there is.
    total = counts.sum(axis=-1)
    vacuum = np.clip(tau0 * (mu2 * low[..., 2] - mu3 * high[..., 1]) / (mu2 - mu3), 0.0, total)
    single = (
        tau1
        * mu1
        * (low[..., 1] - high[..., 2] - (mu2**2 - mu3**2) / mu1**2 * (high[..., 0] - vacuum / tau0))
        / (mu1 * (mu2 - mu3) - mu2**2 + mu3**2)
    )
    single_errors = tau1 * (errors_high[..., 1] - errors_low[..., 2]) / (mu2 - mu3)
    return SinglePhotonBounds(
        vacuum=vacuum,
        single_photon=np.clip(single, 0.0, total - vacuum),
        single_photon_errors=np.clip(single_errors, 0.0, errors.sum(axis=-1)),
    )


def proven_key(
    *,
    key_counts: ArrayLike,
    key_errors: ArrayLike,
    test_counts: ArrayLike,
    test_errors: ArrayLike,
    mean_photon_numbers: ArrayLike,
    probabilities: ArrayLike,
    leaked_bit: ArrayLike,
    epsilon_secrecy: float,
    epsilon_correctness: float,
    bound: Bound = "hoeffding",
) -> ProvenKey:
    """Secret length of the key in one basis, with the phase error from the other: equation 1 of Lim et al. 2014.

    Counts and errors have shape (..., 3), signal first. ``leaked_bit`` (...) is every parity and hash that Alice told of the
    key; the proof's last term, log2(2 / epsilon_correctness), pays for one hash once more. A block too small to say anything has length 0.
    """
    common = {
        "mean_photon_numbers": mean_photon_numbers,
        "probabilities": probabilities,
        "epsilon_secrecy": epsilon_secrecy,
        "bound": bound,
    }
    key = decoy_bounds(key_counts, key_errors, **common)  # type: ignore[arg-type]
    test = decoy_bounds(test_counts, test_errors, **common)  # type: ignore[arg-type]
    failure = epsilon_secrecy / EPSILON_SHARES
    with np.errstate(divide="ignore", invalid="ignore"):
        fewest = fewest_trusted_errors(test.single_photon, key.single_photon, failure)
        rate = np.maximum(test.single_photon_errors, fewest) / test.single_photon
        gamma = 0.0 if bound == "asymptotic" else sampling_deviation(rate, test.single_photon, key.single_photon, failure)
        phase_error = np.where(np.isfinite(rate + gamma), np.minimum(rate + gamma, 0.5), 0.5)
    overhead = 0.0 if bound == "asymptotic" else 6 * np.log2(EPSILON_SHARES / epsilon_secrecy) + np.log2(2.0 / epsilon_correctness)
    length = key.vacuum + key.single_photon * (1.0 - binary_entropy(phase_error)) - np.asarray(leaked_bit, float) - overhead
    return ProvenKey(length_bit=np.maximum(0.0, length), key_basis=key, test_basis=test, phase_error=np.asarray(phase_error))
