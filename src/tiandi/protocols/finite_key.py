"""Finite-key security of decoy-state BB84: two decoys by Lim et al. 2014 (doi:10.1103/PhysRevA.89.022307), one by Rusca et al. 2018
(doi:10.1063/1.5023340). How many intensities the counts have says which.

What the proof assumes and where we stand. Its leak is what Alice says about her key, one way. Two-way error correction says more: Bob's
questions tell which bits were wrong. Tupkary and Luetkenhaus 2023 (arXiv:2307.00576) ask that the whole error pattern be given to an
eavesdropper then, and Alice's parities counted beside it; ``error_pattern_told`` does so. A single photon's phase error commutes with its
bit error, so once squashing makes a qubit of what the receiver measures, the pattern tells nothing of the phase errors and the single
photons keep their length: let each pair pass a controlled-not, and the pattern is the target's outcome while the uncertainty relation holds
for the control. Of an empty pulse the pattern tells everything, since whoever sent the light in its place knows the bit that clicked: the
vacuum's share of the key is dropped. That argument, short as it is, is ours; the paper computes its examples numerically.

The length of a block varies with the light. The papers fix it; Tupkary et al. 2024 (arXiv:2408.17349) prove, by the same relation, a length
that is chosen by what was seen, with another sharing of the epsilons. We keep the papers' sharing.

The receiver's detectors are taken to have no memory, and equal efficiency and noise in both bases. After-pulses break the first: one
carries the bit of an earlier click, and with a passive choice its basis, so that clicks fall on the bases in clusters and not as a random
sample. They are sampled, and counted as noise, but the proof as written does not cover them. Detectors must be blanked together after a
click, and a double click be given a random bit; where a beam splitter chooses the basis it must be even, for else bright pulses choose it.
Of recorded events this is the receiver's duty.

Counts, mean photon numbers and probabilities are arrays (..., intensities), the brightest first; every function works on any number of
links at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.protocols.concentration import EPSILON_LIMITS, chernoff_mean, exact_rate_bound, hoeffding_mean, sampling_deviation
from tiandi.protocols.information import binary_entropy

Bound = Literal["hoeffding", "chernoff", "asymptotic"]
Sampling = Literal["exact", "printed"]
Array = NDArray[np.float64]

EPSILON_SHARES = {3: 21, 2: 19}
"""Into how many parts the proofs for two decoys and for one split the secrecy parameter, by the number of intensities."""


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
    """What the decoys tell about one basis; ``counts`` and ``errors`` have shape (..., intensities), three intensities or two.

    Three: equations 2 to 4 of Lim et al. 2014. Two: Rusca et al. 2018, in which the errors bound the vacuum from above. Raises InputError
    for any other number of intensities.
    """
    require_within("epsilon_secrecy", epsilon_secrecy, *EPSILON_LIMITS)
    if bound not in get_args(Bound):
        raise InputError("bound", bound, f"must be one of {', '.join(get_args(Bound))}")
    counts, errors = np.asarray(counts, float), np.asarray(errors, float)
    mu, p = np.asarray(mean_photon_numbers, float), np.asarray(probabilities, float)
    if counts.shape[-1] not in EPSILON_SHARES:
        raise InputError("intensities", counts.shape[-1], "must be 3 (two decoys) or 2 (one decoy)")
    if not ((mu[..., :-1] > mu[..., 1:]).all() and (mu[..., -1] >= 0).all() and (mu[..., 0] > mu[..., 1:].sum(axis=-1)).all()):
        raise InputError("mean_photon_numbers", mu.tolist(), "must fall to no less than 0, the first above the sum of the others")
    # Expected counts may be off by rounding.
    if not (np.isfinite(counts) & (errors >= 0) & (errors <= counts * (1 + 1e-9))).all():
        raise InputError("counts", counts.tolist(), "must be finite and no fewer than the errors, which must not be negative")
    tau0, tau1 = photon_number_probability(0, mu, p), photon_number_probability(1, mu, p)
    weight = np.exp(mu) / p
    failure = epsilon_secrecy / EPSILON_SHARES[counts.shape[-1]]
    low, high = (weight * side for side in _bounds(counts, failure, bound))
    errors_low, errors_high = (weight * side for side in _bounds(errors, failure, bound))
    total = counts.sum(axis=-1)
    brightest, dim, dimmest = mu[..., 0], mu[..., 1], mu[..., -1]

    vacuum = tau0 * (mu[..., -2] * low[..., -1] - dimmest * high[..., -2]) / (mu[..., -2] - dimmest)
    # Counts that no honest channel gives could push a bound past all there is.
    vacuum = np.clip(vacuum, 0.0, total)
    if counts.shape[-1] == 2:
        deviation = 0.0 if bound == "asymptotic" else np.sqrt(0.5 * total * np.log(1.0 / failure))
        vacuum_above = np.min(2.0 * (tau0[..., None] * errors_high + np.asarray(deviation)[..., None]), axis=-1)
        excess = low[..., 1] - (dim / brightest) ** 2 * high[..., 0] - (1.0 - (dim / brightest) ** 2) * vacuum_above / tau0
        single = tau1 * brightest / (dim * (brightest - dim)) * excess
    else:
        seen = low[..., 1] - high[..., 2] - (dim**2 - dimmest**2) / brightest**2 * (high[..., 0] - vacuum / tau0)
        single = tau1 * brightest * seen / (brightest * (dim - dimmest) - dim**2 + dimmest**2)
    single_errors = tau1 * (errors_high[..., -2] - errors_low[..., -1]) / (mu[..., -2] - dimmest)
    return SinglePhotonBounds(
        vacuum=vacuum,
        single_photon=np.clip(single, 0.0, total - vacuum),
        # Lim et al. bound the errors by all that were seen as well; Rusca et al. do not, and neither do we there.
        single_photon_errors=np.clip(single_errors, 0.0, np.inf if counts.shape[-1] == 2 else errors.sum(axis=-1)),
    )


def _phase_error(test: SinglePhotonBounds, key: SinglePhotonBounds, failure: float, bound: Bound, sampling: Sampling) -> Array:
    """Upper bound on the phase error rate of the key's single photons, 1/2 where there is nothing to compare."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = test.single_photon_errors / test.single_photon
        if bound != "asymptotic" and sampling == "printed":
            rate = rate + sampling_deviation(rate, test.single_photon, key.single_photon, failure)
        elif bound != "asymptotic":
            errors, tested, kept = np.ceil(test.single_photon_errors), np.floor(test.single_photon), np.floor(key.single_photon)
            rate = exact_rate_bound(np.minimum(errors, tested), tested, kept, failure**2)
        return np.where(np.isfinite(rate), np.minimum(rate, 0.5), 0.5)


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
    error_pattern_told: bool = False,
    bound: Bound = "hoeffding",
    sampling: Sampling = "exact",
) -> ProvenKey:
    """Secret length of the key in one basis, with the phase error from the other: equation 1 of Lim et al. 2014, and Rusca's like it.

    Counts and errors have shape (..., intensities), signal first. ``leaked_bit`` (...) is every parity and hash that Alice told of the
    key; the proof's last term, log2(2 / epsilon_correctness), pays for one hash once more. A block too small to say anything has length 0.
    ``error_pattern_told`` gives an eavesdropper the positions of all errors, as two-way error correction does; it costs the vacuum's share.
    ``sampling`` "exact" bounds the phase errors by the exact tail of sampling without replacement, failing with the square of their
    share, since smoothing is measured in purified distance and its epsilon is the root of a probability; it costs some 0.1 % of the key.
    "printed" is gamma as the papers print it, to compare with. Raises InputError on counts or intensities that no light gives.
    """
    require_within("epsilon_correctness", epsilon_correctness, *EPSILON_LIMITS)
    if sampling not in get_args(Sampling):
        raise InputError("sampling", sampling, f"must be one of {', '.join(get_args(Sampling))}")
    common = {
        "mean_photon_numbers": mean_photon_numbers,
        "probabilities": probabilities,
        "epsilon_secrecy": epsilon_secrecy,
        "bound": bound,
    }
    key = decoy_bounds(key_counts, key_errors, **common)  # type: ignore[arg-type]
    test = decoy_bounds(test_counts, test_errors, **common)  # type: ignore[arg-type]
    shares = EPSILON_SHARES[np.shape(key_counts)[-1]]
    phase_error = _phase_error(test, key, epsilon_secrecy / shares, bound, sampling)
    overhead = 0.0 if bound == "asymptotic" else 6 * np.log2(shares / epsilon_secrecy) + np.log2(2.0 / epsilon_correctness)
    vacuum = 0.0 if error_pattern_told else key.vacuum
    length = vacuum + key.single_photon * (1.0 - binary_entropy(phase_error)) - np.asarray(leaked_bit, float) - overhead
    return ProvenKey(length_bit=np.maximum(0.0, length), key_basis=key, test_basis=test, phase_error=np.asarray(phase_error))


def expected_secret_bit(
    sifted: ArrayLike,
    errors: ArrayLike,
    *,
    mean_photon_numbers: ArrayLike,
    probabilities: ArrayLike,
    epsilon_secrecy: float,
    epsilon_correctness: float,
    error_correction_efficiency: float,
    error_pattern_told: bool = False,
    bound: Bound = "hoeffding",
) -> Array:
    """Secret bits (...) of blocks whose counts (..., bases, intensities) are known, key being made in both bases.

    Each basis tests the other and has half of the epsilons; the leak is ``error_correction_efficiency`` times the Shannon limit.
    """
    require_within("error_correction_efficiency", error_correction_efficiency, 1.0, 10.0)
    sifted, errors = np.asarray(sifted, float), np.asarray(errors, float)
    total = sifted.sum(axis=-1)
    qber = np.divide(errors.sum(axis=-1), total, out=np.full(total.shape, 0.5), where=total > 0)
    leaked = error_correction_efficiency * binary_entropy(qber) * total
    # Mean photon numbers and probabilities are the same in both bases.
    proven = proven_key(
        key_counts=sifted,
        key_errors=errors,
        test_counts=sifted[..., ::-1, :],
        test_errors=errors[..., ::-1, :],
        mean_photon_numbers=np.asarray(mean_photon_numbers, float)[..., None, :],
        probabilities=np.asarray(probabilities, float)[..., None, :],
        leaked_bit=leaked,
        error_pattern_told=error_pattern_told,
        epsilon_secrecy=epsilon_secrecy / 2,
        epsilon_correctness=epsilon_correctness / 2,
        bound=bound,
    )
    return proven.length_bit.sum(axis=-1)
