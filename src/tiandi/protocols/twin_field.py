"""Twin-field QKD: two senders' light meets half way, and one photon from either makes a bit of key for both.

The station in the middle need not be trusted. A bit costs one photon through one arm, so that the rate goes with the square root of the
whole channel's transmittance and passes what any repeaterless link can carry (`tiandi.protocols.information.plob_bound`, for the
product of both arms). Here are the station's click probabilities, which every twin-field protocol shares, and the protocol of Curty,
Azuma, Lo 2019 (doi:10.1038/s41534-019-0175-6): key from coherent states of phase 0 or pi, phase errors from decoys of random phase.

Transmittances are those of one arm each, the detectors' efficiency included. Both senders use the same intensities and probabilities;
arms may differ, at the cost of worse interference. Left out: after-pulses, intensity errors, light that is not in one mode.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import comb, gammaln, xlog1py, xlogy

from tiandi.limits import require_distribution, require_each_within, require_within
from tiandi.protocols.events import EventTable
from tiandi.protocols.information import binary_entropy
from tiandi.protocols.measurement_device_independent import bessel_i0_minus_1

Array = NDArray[np.float64]

HIGHEST_PHOTON_NUMBER = 12
"""Up to which the yields of photon numbers enter one by one; above, each is taken to be as bad as can be."""

SERIES_TERMS = 400
"""Terms after which the sums over all photon numbers are exact in double precision."""


@dataclass(frozen=True)
class CentralStation:
    """A balanced beam splitter and two threshold detectors; a round counts when exactly one of them clicks.

    ``dark_count_probability`` is per detector and pulse. A mismatch of phase takes cos(mismatch) of the interference of light whose phase
    is known, one of polarisation takes it from all interference. Raises InputError on a field out of its range.
    """

    dark_count_probability: float
    phase_mismatch_rad: float = 0.0
    polarisation_mismatch_rad: float = 0.0

    def __post_init__(self) -> None:
        require_within("dark_count_probability", self.dark_count_probability, 0.0, 0.1)
        require_within("phase_mismatch_rad", self.phase_mismatch_rad, 0.0, math.pi / 2)
        require_within("polarisation_mismatch_rad", self.polarisation_mismatch_rad, 0.0, math.pi / 2)

    @property
    def overlap(self) -> float:
        """How far the two senders' light is of one mode, from 0 to 1."""
        return math.cos(self.polarisation_mismatch_rad)

    @property
    def contrast(self) -> float:
        """Contrast of the interference of light whose phase is known, from 0 to 1."""
        return math.cos(self.phase_mismatch_rad) * self.overlap


def phase_mismatch_rad(misalignment: float) -> float:
    """Mismatch of phase [rad] at which the share ``misalignment`` of the photons leaves at the wrong port: cos = 1 - 2 misalignment."""
    require_within("misalignment", misalignment, 0.0, 0.5)
    return math.acos(1.0 - 2.0 * misalignment)


def both_arms(alice_transmittance: ArrayLike, bob_transmittance: ArrayLike) -> tuple[Array, Array]:
    """The arms' transmittances as arrays of one shape; raises InputError unless all lie in [0, 1]."""
    a, b = np.broadcast_arrays(np.asarray(alice_transmittance, float), np.asarray(bob_transmittance, float))
    require_each_within("alice_transmittance", a, 0.0, 1.0)
    require_each_within("bob_transmittance", b, 0.0, 1.0)
    return a, b


def known_phase_clicks(alice_photons: ArrayLike, bob_photons: ArrayLike, station: CentralStation, cosine: ArrayLike) -> tuple[Array, Array]:
    """Probabilities that only the bright, and only the dark port's detector clicks, at a known phase; shape as broadcast.

    ``alice_photons`` and ``bob_photons`` are the mean photon numbers that arrive, ``cosine`` that of the phase between them.
    """
    a, b = np.asarray(alice_photons, float), np.asarray(bob_photons, float)
    interference = station.contrast * np.sqrt(a * b) * np.asarray(cosine, float)
    bright, dark = 0.5 * (a + b) + interference, 0.5 * (a + b) - interference
    noise = station.dark_count_probability
    only_bright = (1.0 - noise) * np.exp(-dark) * (noise * np.exp(-bright) - np.expm1(-bright))
    only_dark = (1.0 - noise) * np.exp(-bright) * (noise * np.exp(-dark) - np.expm1(-dark))
    return only_bright, only_dark


def random_phase_gain(alice_photons: ArrayLike, bob_photons: ArrayLike, station: CentralStation) -> Array:
    """Probability that exactly one detector clicks when the phase is random, for mean photon numbers that arrive; shape as broadcast.

    2 (1 - p) [exp(-s/2) I0(x) - (1 - p) exp(-s)] with s the sum of the photon numbers and x their geometric mean times the overlap,
    written without the difference of nearly equal numbers. Raises InputError above 4 photons, where its series ends.
    """
    a, b = np.asarray(alice_photons, float), np.asarray(bob_photons, float)
    require_each_within("alice_photons", a, 0.0, 4.0)
    require_each_within("bob_photons", b, 0.0, 4.0)
    half, noise = 0.5 * (a + b), station.dark_count_probability
    interference = bessel_i0_minus_1(station.overlap * np.sqrt(a * b))
    return np.asarray(2.0 * (1.0 - noise) * np.exp(-half) * (interference - np.expm1(-half) + noise * np.exp(-half)))


def fock_yields(alice_transmittance: ArrayLike, bob_transmittance: ArrayLike, station: CentralStation, highest: int) -> Array:
    """Probability that exactly one detector clicks when n and m photons are sent, shape (..., highest + 1, highest + 1).

    A port that absorbs a photon of mode i and j with amplitudes M_ij stays silent with the permanent of 1 - M over n! m!, which is a sum
    of min(n, m) + 1 positive terms (own derivation; checked against Fock-space algebra).
    """
    a, b = (arm[..., None, None] for arm in both_arms(alice_transmittance, bob_transmittance))
    n, m = np.arange(highest + 1.0)[:, None], np.arange(highest + 1.0)
    noise = station.dark_count_probability
    one_silent = xlog1py(n, -0.5 * a) + xlog1py(m, -0.5 * b)
    both_silent = xlog1py(n, -a) + xlog1py(m, -b)
    yields = -np.exp(one_silent) * np.expm1(both_silent - one_silent) + noise * np.exp(both_silent)
    exchange = 0.25 * a * b * station.overlap**2 / ((1.0 - 0.5 * a) * (1.0 - 0.5 * b))
    for k in range(1, highest + 1):
        yields += comb(n, k) * comb(m, k) * exchange**k * np.exp(one_silent)
    return np.asarray(2.0 * (1.0 - noise) * yields)


class Pulse(IntEnum):
    """What a sender prepares in one round of the protocol of Curty, Azuma, Lo."""

    KEY = 0
    STRONG = 1
    WEAK = 2
    VACUUM = 3


@dataclass(frozen=True)
class TwinFieldSource:
    """Either sender: coherent states of phase 0 or pi for the key; strong, weak and vacuum decoys of random phase.

    ``decoy_probabilities`` (strong, weak, vacuum) are those among the decoys. The vacuum must be one. Raises InputError on a field out
    of its range; the key's mean photon number must not exceed half the strong decoy's.
    """

    key_mean_photon_number: float
    decoy_mean_photon_numbers: tuple[float, float]
    key_probability: float
    decoy_probabilities: tuple[float, float, float]

    def __post_init__(self) -> None:
        strong, weak = self.decoy_mean_photon_numbers
        require_within("decoy_mean_photon_numbers[strong]", strong, 1e-3, 2.0)
        require_within("decoy_mean_photon_numbers[weak]", weak, 1e-4, 0.95 * strong)
        require_within("key_mean_photon_number", self.key_mean_photon_number, 1e-5, 0.5 * strong)
        require_within("key_probability", self.key_probability, 1e-3, 0.999)
        require_each_within("decoy_probabilities", self.decoy_probabilities, 1e-4, 0.9998)
        require_distribution("decoy_probabilities", self.decoy_probabilities)

    @property
    def mean_photon_numbers(self) -> Array:
        """Mean photon number of each `Pulse`, shape (4,)."""
        return np.array([self.key_mean_photon_number, *self.decoy_mean_photon_numbers, 0.0])

    @property
    def probabilities(self) -> Array:
        """Probability of each `Pulse`, shape (4,)."""
        return np.array([self.key_probability, *((1.0 - self.key_probability) * np.array(self.decoy_probabilities))])


def event_table(
    station: CentralStation, source: TwinFieldSource, alice_transmittance: ArrayLike, bob_transmittance: ArrayLike, *, dead_pulses: int = 0
) -> EventTable:
    """Probability per round of each (Alice's `Pulse`, Bob's `Pulse`, wrong) with one click, from transmittances (steps,).

    The last axis says whether two key pulses gave different bits; it is 0 for every other pair of pulses.
    """
    photons = source.mean_photon_numbers
    arms = (np.atleast_1d(arm)[:, None, None] for arm in both_arms(alice_transmittance, bob_transmittance))
    a, b = (arm * light for arm, light in zip(arms, (photons[:, None], photons), strict=True))
    gains = random_phase_gain(a, b, station)
    heralded = np.stack([gains, np.zeros_like(gains)], axis=-1)
    heralded[:, Pulse.KEY, Pulse.KEY] = np.stack(
        known_phase_clicks(a[:, Pulse.KEY, 0], b[:, 0, Pulse.KEY], station, 1.0), axis=-1
    )  # Phases 0 and pi trade the ports and nothing else.
    return EventTable(np.multiply.outer(source.probabilities, source.probabilities)[..., None] * heralded, dead_pulses)


@dataclass(frozen=True)
class TwinFieldRate:
    """Secret bits per round with two key pulses, and what they rest on, each of shape (...); ``gain`` counts either detector."""

    bit_per_pulse: Array
    gain: Array
    bit_error: Array
    phase_error: Array


def asymptotic_key_rate(
    alice_transmittance: ArrayLike,
    bob_transmittance: ArrayLike,
    station: CentralStation,
    *,
    key_mean_photon_number: ArrayLike,
    error_correction_efficiency: float,
) -> TwinFieldRate:
    """Rate with infinitely many rounds and decoys: every yield known up to `HIGHEST_PHOTON_NUMBER`, and 1 above; shape as broadcast.

    Curty, Azuma, Lo 2019, doi:10.1038/s41534-019-0175-6: gain [1 - f h(bit error) - h(phase error)]. Raises InputError out of range.
    """
    require_within("error_correction_efficiency", error_correction_efficiency, 1.0, 10.0)
    require_each_within("key_mean_photon_number", key_mean_photon_number, 0.0, 4.0)
    a, b, photons = np.broadcast_arrays(*both_arms(alice_transmittance, bob_transmittance), np.asarray(key_mean_photon_number, float))
    right, wrong = known_phase_clicks(a * photons, b * photons, station, 1.0)
    gain = right + wrong
    yields = fock_yields(a, b, station, HIGHEST_PHOTON_NUMBER)
    errors = phase_error_gain(yields, photons, tail=unknown_amplitude(coherent_amplitudes(photons, SERIES_TERMS)))
    with np.errstate(divide="ignore", invalid="ignore"):
        bit_error, phase_error = (np.where(gain > 0.0, np.minimum(part / gain, 0.5), 0.5) for part in (wrong, errors))
    share = 1.0 - error_correction_efficiency * binary_entropy(bit_error) - binary_entropy(phase_error)
    return TwinFieldRate(np.maximum(0.0, gain * share), gain, bit_error, phase_error)


def coherent_amplitudes(mean_photon_number: ArrayLike, highest: int) -> Array:
    """Amplitudes of 0 to ``highest`` photons in a coherent state, shape (..., highest + 1)."""
    mean, n = np.asarray(mean_photon_number, float)[..., None], np.arange(highest + 1.0)
    return np.exp(0.5 * (xlogy(n, mean) - mean - gammaln(n + 1.0)))


def unknown_amplitude(sequence: Array) -> Array:
    """Sum of f_n f_m over pairs of equal parity of which one exceeds `HIGHEST_PHOTON_NUMBER`, for ``sequence`` f (..., n).

    Shape (..., 2): even, then odd numbers of photons.
    """
    known = sequence[..., : HIGHEST_PHOTON_NUMBER + 1]
    unknown = sequence[..., HIGHEST_PHOTON_NUMBER + 1 :]
    first = (HIGHEST_PHOTON_NUMBER + 1) % 2
    rest = np.stack([unknown[..., (parity + first) % 2 :: 2].sum(axis=-1) for parity in (0, 1)], axis=-1)
    head = np.stack([known[..., parity::2].sum(axis=-1) for parity in (0, 1)], axis=-1)
    return np.asarray(rest * (rest + 2.0 * head))


def phase_error_gain(yields: Array, key_mean_photon_number: ArrayLike, *, tail: Array) -> Array:
    """Upper bound on the probability of a click with a phase error, from (upper bounds on) the yields; shape (...).

    A phase error is a click of two key pulses both found in even, or both in odd numbers of photons. By the Cauchy-Schwarz inequality
    its probability is at most the square of sum c_n c_m sqrt(Y_nm), over either parity (Curty, Azuma, Lo 2019). ``tail`` (..., 2) is the
    sum for the photon numbers above those in ``yields`` (..., n, m).
    """
    amplitudes = coherent_amplitudes(key_mean_photon_number, yields.shape[-1] - 1)
    terms = amplitudes[..., :, None] * amplitudes[..., None, :] * np.sqrt(yields)
    sums = [terms[..., parity::2, parity::2].sum(axis=(-2, -1)) + tail[..., parity] for parity in (0, 1)]
    return np.asarray(sums[0] ** 2 + sums[1] ** 2)
