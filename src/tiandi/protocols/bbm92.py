"""BBM92: entangled pairs from a pulsed source between two ends with threshold detectors, and the key from two bases.

Bennett, Brassard, Mermin 1992, doi:10.1103/PhysRevLett.68.557. Either end has two detectors behind a polarisation analyser; a click of both
is given a random bit. Which of its settings an end takes is drawn for every pulse. Bits are named so that equal angles give equal bits.
Pairs from a continuous pump are in `continuous_pairs`, Bell tests in `device_independent`.

What the finite key assumes and where we stand. Tomamichel, Lim, Gisin, Renner 2012 (doi:10.1038/ncomms1631) prove a key of fixed length
from one basis after a test at a fixed tolerance. Here either basis is tested by the other's errors, both give key, and the
length follows what was counted; that is common use, and not covered by the paper as written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.errors import InputError
from tiandi.limits import require_distribution, require_each_within, require_within
from tiandi.physics.sources import PulsedPairSource
from tiandi.protocols.concentration import EPSILON_LIMITS, exact_rate_bound, serfling_deviation, small_block_deviation
from tiandi.protocols.events import EventTable
from tiandi.protocols.information import binary_entropy

Array = NDArray[np.float64]
Bound = Literal["exact", "serfling", "small_block"]

BASES_RAD = (np.pi / 4.0, 0.0)
"""Angles of the analyser [rad] in the two bases of BBM92, by `Basis`: X (diagonal), then Z (rectilinear)."""
MOST_NOISE = 0.5
MOST_EVENTS = 1e15


@dataclass(frozen=True)
class PairClicks:
    """Coincidences of one pulse, both of shape (...,).

    ``gain`` is the probability [1] that both ends click, ``correlation`` the mean [1] of +1 for equal and -1 for unequal bits, and 0 for
    no coincidence.
    """

    gain: Array
    correlation: Array

    @property
    def qber(self) -> Array:
        """Share of coincidences with unequal bits [1], shape (...,); 1/2 where there are none."""
        return np.asarray(0.5 * (1.0 - self.correlation / np.where(self.gain > 0.0, self.gain, 1.0)))


def pair_clicks(
    source: PulsedPairSource,
    alice_efficiency: ArrayLike,
    bob_efficiency: ArrayLike,
    *,
    alice_noise_probability: ArrayLike = 0.0,
    bob_noise_probability: ArrayLike = 0.0,
    misalignment: float = 0.0,
    angle_rad: ArrayLike = 0.0,
) -> PairClicks:
    """Gain and correlation of one pulse when the analysers stand ``angle_rad`` apart; everything broadcasts.

    Efficiencies run from the source to the click. Noise is the probability of a click without light, per detector and pulse. Thermal:
    Ma, Fung, Lo 2007 (doi:10.1103/PhysRevA.76.012307) with lambda = mean_pairs / 2, carried on to any angle and rearranged into sums of
    positive terms, since the plain form loses its digits from 40 dB on. They let a dark count beside a photon's click pass unnoticed; here
    all four detectors count, which takes (1 - noise) at either end off the correlation. Poisson: the same in the limit of many modes.
    ``misalignment`` and visibility turn the bit of a coincidence, as their e_d = (1 - visibility (1 - 2 misalignment)) / 2 does. Left
    out: passive choice of basis, unequal detectors. Raises InputError on a figure out of its range.
    """
    eta_a = require_each_within("alice_efficiency", alice_efficiency, 0.0, 1.0)
    eta_b = require_each_within("bob_efficiency", bob_efficiency, 0.0, 1.0)
    noise_a = require_each_within("alice_noise_probability", alice_noise_probability, 0.0, MOST_NOISE)
    noise_b = require_each_within("bob_noise_probability", bob_noise_probability, 0.0, MOST_NOISE)
    require_within("misalignment", misalignment, 0.0, 0.5)
    light = _thermal_pairs if source.statistics == "thermal" else _poisson_pairs
    log_dark_a, log_dark_b, excess, correlation = light(0.5 * source.mean_pairs, eta_a, eta_b, np.cos(2.0 * np.asarray(angle_rad, float)))
    quiet = (1.0 - noise_a) * (1.0 - noise_b)
    clicked_a = -np.expm1(2.0 * np.log1p(-noise_a) + log_dark_a)
    clicked_b = -np.expm1(2.0 * np.log1p(-noise_b) + log_dark_b)
    quality = source.visibility * (1.0 - 2.0 * misalignment)
    gain, correlation = np.broadcast_arrays(clicked_a * clicked_b + quiet**2 * excess, quality * quiet * correlation)
    return PairClicks(gain, correlation)


def _thermal_pairs(half_mean: float, eta_a: Array, eta_b: Array, cosine: Array) -> tuple[Array, Array, Array, Array]:
    """Of the light alone: logarithm of the probability of no click at Alice, at Bob, excess of no click at both, correlation.

    The excess is over the product of the two. All from <X^n Y^n> = 1 / det(1 + half_mean (1 - X Y)) of the squeezed vacuum, with X and
    Y what each detector leaves.
    """
    product = eta_a * eta_b
    either, by_chance = 1.0 / (1.0 + half_mean * (eta_a + eta_b - product)), 1.0 / ((1.0 + half_mean * eta_a) * (1.0 + half_mean * eta_b))
    strength = half_mean * (1.0 + half_mean) * product
    aligned = 1.0 + half_mean * (eta_a + eta_b) + half_mean**2 * product
    equal, unequal = aligned - 0.5 * strength * (1.0 + cosine), aligned - 0.5 * strength * (1.0 - cosine)
    excess = strength * either * by_chance * (either + by_chance)
    return -2.0 * np.log1p(half_mean * eta_a), -2.0 * np.log1p(half_mean * eta_b), excess, 2.0 * strength * cosine / (equal * unequal)


def _poisson_pairs(half_mean: float, eta_a: Array, eta_b: Array, cosine: Array) -> tuple[Array, Array, Array, Array]:
    """The same when each pair meets the detectors on its own."""
    product, log_dark_a, log_dark_b = half_mean * eta_a * eta_b, -2.0 * half_mean * eta_a, -2.0 * half_mean * eta_b
    excess = np.exp(log_dark_a + log_dark_b) * np.expm1(2.0 * product)
    correlation = 4.0 * np.exp(0.5 * (log_dark_a + log_dark_b + product)) * np.sinh(0.5 * product * cosine)
    return log_dark_a, log_dark_b, excess, correlation


def event_table(clicks: PairClicks, alice_probabilities: ArrayLike, bob_probabilities: ArrayLike, *, dead_pulses: int = 0) -> EventTable:
    """Events on the axes (Alice's setting, Bob's setting, Alice's bit, Bob's bit), for ``clicks`` of shape (steps, settings, settings).

    `pair_clicks` has that shape for efficiencies (steps, 1, 1) and angles (settings, settings). The probabilities are those of
    the settings at either end. Raises InputError if they do not add up to 1 or make too many kinds of events.
    """
    alice = require_distribution("alice_probabilities", alice_probabilities)
    bob = require_distribution("bob_probabilities", bob_probabilities)
    signs = np.array([[1.0, -1.0], [-1.0, 1.0]])
    outcomes = 0.25 * (clicks.gain[..., None, None] + clicks.correlation[..., None, None] * signs)
    table = np.multiply.outer(alice, bob)[:, :, None, None] * outcomes
    return EventTable(np.maximum(table, 0.0), dead_pulses)


def sifted_counts(counts: ArrayLike) -> tuple[Array, Array]:
    """Coincidences in equal settings and the errors among them, both (..., settings), of ``counts`` (..., settings, settings, 2, 2)."""
    equal = np.einsum("...ssab->...sab", np.asarray(counts, float))
    return equal.sum(axis=(-2, -1)), equal[..., 0, 1] + equal[..., 1, 0]


def asymptotic_key_rate(
    gain: ArrayLike, bit_error: ArrayLike, phase_error: ArrayLike, *, sifting: ArrayLike, error_correction_efficiency: float
) -> Array:
    """Secret bits per pulse [1] (per second if ``gain`` is a rate [1/s]) of infinitely many pulses; broadcast, never negative.

    sifting gain (1 - h(phase error) - f h(bit error)): Koashi, Preskill 2003 (doi:10.1103/PhysRevLett.90.057902), who need nothing of
    the source but that it does not know the basis. ``sifting`` is the share of coincidences in equal bases, 1/2 when both ends choose
    evenly. Raises InputError on a figure out of its range.
    """
    require_within("error_correction_efficiency", error_correction_efficiency, 1.0, 10.0)
    phase = np.minimum(require_each_within("phase_error", phase_error, 0.0, 1.0), 0.5)
    bit = np.minimum(require_each_within("bit_error", bit_error, 0.0, 1.0), 0.5)
    events = require_each_within("sifting", sifting, 0.0, 1.0) * require_each_within("gain", gain, 0.0, MOST_EVENTS)
    return events * np.maximum(1.0 - binary_entropy(phase) - error_correction_efficiency * binary_entropy(bit), 0.0)


@dataclass(frozen=True)
class TwoBasisKey:
    """Length of the secret key [bit], shape (...,), and the bounds on the phase error rates [1] of the two bases' key, shape (..., 2)."""

    length_bit: Array
    phase_error: Array


def proven_key(
    sifted: ArrayLike,
    errors: ArrayLike,
    leaked_bit: ArrayLike,
    *,
    epsilon_secrecy: float,
    epsilon_correctness: float,
    bound: Bound = "exact",
) -> TwoBasisKey:
    """Secret length of the key from both bases, the errors of each bounding the phase errors of the other.

    ``sifted``, ``errors`` and ``leaked_bit`` (every parity and hash told of that basis' key) have shape (..., 2). With
    e = epsilon_secrecy / 2 and c = epsilon_correctness / 2, a basis of n bits gives n (1 - h(phase error)) - leak - log2(2 / (e^2 c)), the
    form of Tomamichel et al. 2012 (recalled: their equation 2). The phase error rate is bounded

    - "exact": by the exact tail of sampling without replacement, failing with (e / 4)^2: the smoothing by its root counts twice for the
      eavesdropper's actual state, and amplification takes the other half of e;
    - "serfling": by their own mu for e, the same with a rougher tail;
    - "small_block": by the gamma of Yin et al. 2020 (doi:10.1038/s41598-020-71107-6), failing with e / 2 and not its square. So the key
      over 1,120 km of doi:10.1038/s41586-020-2401-y was computed (recalled): epsilon_secrecy = 2/3 and epsilon_correctness = 1/3 of a
      total make six equal shares. It promises more than that smoothing allows, and by the exact tail it fails more often than it says in
      long blocks: 1.3 times as often for 3,100 and 35 times for two million events with 11 % of errors. For comparison only.

    A block too small to say anything, or with more errors than events, has length 0. Raises InputError on an epsilon outside
    [1e-60, 0.5], an unknown bound or counts outside [0, 1e15].
    """
    require_within("epsilon_secrecy", epsilon_secrecy, *EPSILON_LIMITS)
    require_within("epsilon_correctness", epsilon_correctness, *EPSILON_LIMITS)
    if bound not in ("exact", "serfling", "small_block"):
        raise InputError("bound", bound, "must be exact, serfling or small_block")
    kept, wrong, leak = np.broadcast_arrays(
        require_each_within("sifted", sifted, 0.0, MOST_EVENTS),
        require_each_within("errors", errors, 0.0, MOST_EVENTS),
        require_each_within("leaked_bit", leaked_bit, 0.0, MOST_EVENTS),
    )
    tested, seen = kept[..., ::-1], wrong[..., ::-1]
    epsilon = 0.5 * epsilon_secrecy
    phase_error = _phase_error_bound(seen, tested, kept, epsilon, bound)
    phase_error = np.where(np.isfinite(phase_error) & (seen <= tested) & (wrong <= kept), np.clip(phase_error, 0.0, 0.5), 0.5)
    overhead = np.log2(2.0 / (0.5 * epsilon_correctness)) - 2.0 * np.log2(epsilon)
    length = kept * (1.0 - binary_entropy(phase_error)) - leak - overhead
    return TwoBasisKey(np.maximum(length, 0.0).sum(axis=-1), phase_error)


def _phase_error_bound(seen: Array, tested: Array, kept: Array, epsilon: float, bound: Bound) -> Array:
    """Upper bound on the phase error rate of each basis' key, as `proven_key` says; not finite where there is nothing to compare."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = seen / tested
        if bound == "exact":
            return exact_rate_bound(seen, tested, kept, (0.25 * epsilon) ** 2)
        if bound == "serfling":
            return rate + serfling_deviation(tested, kept, epsilon)
        return rate + small_block_deviation(rate, tested, kept, 0.5 * epsilon)
