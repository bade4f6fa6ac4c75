"""Twin-field QKD where the bit is whether light was sent: Wang, Yu, Hu 2018 (doi:10.1103/PhysRevA.98.062323).

In signal windows each sender emits a pulse of random phase, or nothing, and a click of one detector makes a bit: Alice's is whether she
sent, Bob's whether he did not. The bit needs no interference, so misalignment does not touch it; it is wrong when both or neither sent.
Decoy windows tell how many bits came from one photon, and how well two weak pulses of nearly equal or opposite phase interfere tells
their phase errors. Wrong bits are many unless light is seldom sent, and actively odd-parity pairing (AOPP; Xu, Yu, Jiang, Hu, Wang 2020,
doi:10.1103/PhysRevA.101.042330) is rid of them: Bob pairs his zeros with his ones, the pairs of which Alice's bits differ too are kept,
and each gives one bit.

Transmittances are those of one arm each, detectors included. Both senders use the same intensities and probabilities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.limits import require_distribution, require_each_within, require_within
from tiandi.protocols.events import EventTable
from tiandi.protocols.information import binary_entropy
from tiandi.protocols.twin_field import CentralStation, both_arms, known_phase_clicks, random_phase_gain

Array = NDArray[np.float64]

SLICE_NODES = 16
"""Nodes of the Gauss-Legendre rule over a slice of phases: exact to double precision for mean photon numbers up to 4."""


class Window(IntEnum):
    """What a sender does in one window: the two of a signal window, then the decoys."""

    SENT = 0
    NOT_SENT = 1
    STRONG = 2
    WEAK = 3
    VACUUM = 4


SIGNAL_WINDOWS = slice(Window.SENT, Window.NOT_SENT + 1)
"""The windows that make bits, as a slice of an axis of windows."""


class Result(IntEnum):
    """What one click says of a window: only two weak decoys whose phases nearly agree or oppose have a right and a wrong port."""

    HERALDED = 0
    RIGHT = 1
    WRONG = 2


@dataclass(frozen=True)
class SendingSource:
    """Either sender. Decoys are strong, weak and vacuum; ``decoy_probabilities`` are those among the decoys, in this order.

    ``slice_half_width_rad``: two weak decoys are compared when their phases differ by no more than that from 0 or pi. The strong decoy may
    be as strong as the signal (three intensities) or not (four). Raises InputError on a field out of its range.
    """

    signal_mean_photon_number: float
    sending_probability: float
    signal_probability: float
    decoy_mean_photon_numbers: tuple[float, float]
    decoy_probabilities: tuple[float, float, float]
    slice_half_width_rad: float

    def __post_init__(self) -> None:
        strong, weak = self.decoy_mean_photon_numbers
        require_within("signal_mean_photon_number", self.signal_mean_photon_number, 1e-4, 2.0)
        require_within("sending_probability", self.sending_probability, 1e-4, 0.9999)
        require_within("signal_probability", self.signal_probability, 1e-3, 0.9999)
        require_within("decoy_mean_photon_numbers[strong]", strong, 1e-3, 2.0)
        require_within("decoy_mean_photon_numbers[weak]", weak, 1e-4, 0.95 * strong)
        require_within("slice_half_width_rad", self.slice_half_width_rad, 1e-3, math.pi / 2)
        require_each_within("decoy_probabilities", self.decoy_probabilities, 1e-4, 0.9998)
        require_distribution("decoy_probabilities", self.decoy_probabilities)

    @property
    def mean_photon_numbers(self) -> Array:
        """Mean photon number of each `Window`, shape (5,)."""
        return np.array([self.signal_mean_photon_number, 0.0, *self.decoy_mean_photon_numbers, 0.0])

    @property
    def probabilities(self) -> Array:
        """Probability of each `Window`, shape (5,)."""
        sent = self.signal_probability * self.sending_probability
        decoys = (1.0 - self.signal_probability) * np.array(self.decoy_probabilities)
        return np.array([sent, self.signal_probability - sent, *decoys])

    @property
    def slice_share(self) -> float:
        """Share of all phases that are near enough to be compared."""
        return 2.0 * self.slice_half_width_rad / math.pi


def slice_clicks(mean_photons: tuple[ArrayLike, ArrayLike], station: CentralStation, slice_half_width_rad: float) -> tuple[Array, Array]:
    """Probabilities of a click at the right, and at the wrong port, averaged over the phases of one slice; shape as broadcast.

    ``mean_photons`` are those that arrive from Alice and from Bob.
    """
    nodes, weights = np.polynomial.legendre.leggauss(SLICE_NODES)
    alice, bob = (np.asarray(photons, float)[..., None] for photons in mean_photons)
    right, wrong = known_phase_clicks(alice, bob, station, np.cos(nodes * slice_half_width_rad))
    return right @ weights / 2.0, wrong @ weights / 2.0


def event_table(
    station: CentralStation, source: SendingSource, alice_transmittance: ArrayLike, bob_transmittance: ArrayLike, *, dead_pulses: int = 0
) -> EventTable:
    """Probability per pulse of each (Alice's `Window`, Bob's `Window`, `Result`) with one click, from transmittances (steps,)."""
    photons = source.mean_photon_numbers
    arms = (np.atleast_1d(arm)[:, None, None] for arm in both_arms(alice_transmittance, bob_transmittance))
    a, b = (arm * light for arm, light in zip(arms, (photons[:, None], photons), strict=True))
    gains = random_phase_gain(a, b, station)
    heralded = np.zeros((*gains.shape, len(Result)))
    heralded[..., Result.HERALDED] = gains
    near = slice_clicks((a[:, Window.WEAK, 0], b[:, 0, Window.WEAK]), station, source.slice_half_width_rad)
    right, wrong = (source.slice_share * part for part in near)
    rest = np.maximum(gains[:, Window.WEAK, Window.WEAK] - right - wrong, 0.0)
    heralded[:, Window.WEAK, Window.WEAK] = np.stack([rest, right, wrong], axis=-1)
    return EventTable(np.multiply.outer(source.probabilities, source.probabilities)[..., None] * heralded, dead_pulses)


def single_photon_yields(
    alice_transmittance: ArrayLike, bob_transmittance: ArrayLike, station: CentralStation, *, slice_half_width_rad: float = 0.0
) -> tuple[Array, Array, Array]:
    """Probability of one click for one photon of Alice, and of Bob, and the phase error of such clicks; shape as broadcast.

    The phase error is that of a photon in equal superposition of both arms, averaged over a slice of phases.
    """
    a, b = both_arms(alice_transmittance, bob_transmittance)
    noise = station.dark_count_probability
    of_alice, of_bob = ((1.0 - noise) * (t + 2.0 * noise * (1.0 - t)) for t in (a, b))
    arrives = 0.5 * (a + b)
    wrong_port = 0.5 * arrives - 0.5 * station.contrast * np.sinc(slice_half_width_rad / np.pi) * np.sqrt(a * b)
    wrong = (1.0 - noise) * (wrong_port + noise * (1.0 - arrives))
    with np.errstate(divide="ignore", invalid="ignore"):
        return of_alice, of_bob, np.where(of_alice + of_bob > 0.0, 2.0 * wrong / (of_alice + of_bob), 0.5)


def code_gains(
    alice_transmittance: ArrayLike,
    bob_transmittance: ArrayLike,
    station: CentralStation,
    *,
    signal_mean_photon_number: ArrayLike,
    sending_probability: ArrayLike,
) -> Array:
    """Probability of a click with (Alice, Bob) `Window.SENT` or `Window.NOT_SENT`, per pair of signal windows; shape (..., 2, 2)."""
    require_each_within("signal_mean_photon_number", signal_mean_photon_number, 0.0, 4.0)
    require_each_within("sending_probability", sending_probability, 0.0, 1.0)
    a, b, mu, sent = np.broadcast_arrays(*both_arms(alice_transmittance, bob_transmittance), signal_mean_photon_number, sending_probability)
    light, choice = np.array([1.0, 0.0]), np.stack([sent, 1.0 - sent], axis=-1)
    gains = random_phase_gain((a * mu)[..., None, None] * light[:, None], (b * mu)[..., None, None] * light, station)
    return choice[..., :, None] * choice[..., None, :] * gains


@dataclass(frozen=True)
class SendingRate:
    """Secret bits per pair of signal windows, and what they rest on, each of shape (...).

    ``gain`` and ``bit_error`` are those of the bits that errors are corrected in, ``single_photon`` is the part that came from one photon
    (with pairing: from one photon each), ``phase_error`` its phase error.
    """

    bit_per_pulse: Array
    gain: Array
    bit_error: Array
    single_photon: Array
    phase_error: Array


def asymptotic_key_rate(
    alice_transmittance: ArrayLike,
    bob_transmittance: ArrayLike,
    station: CentralStation,
    *,
    signal_mean_photon_number: ArrayLike,
    sending_probability: ArrayLike,
    error_correction_efficiency: float,
    pairing: bool = False,
) -> SendingRate:
    """Rate with infinitely many pulses and decoys and the thinnest slice, with or without pairing; shape as broadcast.

    Without pairing: Wang, Yu, Hu 2018 (doi:10.1103/PhysRevA.98.062323). With it: Xu et al. 2020 (recalled), where the phase error e
    becomes 2 e (1 - e); for unequal arms we take it larger by (u + v)^2 / (4 u v), u and v the single photons of either sender. Bob makes
    the pairs; he has more of them when his is the darker arm. Raises InputError on probabilities or photon numbers out of range.
    """
    require_within("error_correction_efficiency", error_correction_efficiency, 1.0, 10.0)
    of_alice, of_bob, error = single_photon_yields(alice_transmittance, bob_transmittance, station)
    mu, sent = np.asarray(signal_mean_photon_number, float), np.asarray(sending_probability, float)
    code = code_gains(alice_transmittance, bob_transmittance, station, signal_mean_photon_number=mu, sending_probability=sent)
    single = sent * (1.0 - sent) * mu * np.exp(-mu)
    with np.errstate(divide="ignore", invalid="ignore"):
        if pairing:
            gain, wrong = paired_counts(code)
            untagged = single**2 * of_alice * of_bob / np.maximum(*_bob_bits(code))
            phase_error = error * (1.0 - error) * (of_alice + of_bob) ** 2 / (2.0 * of_alice * of_bob)
        else:
            gain, wrong = code.sum(axis=(-2, -1)), code[..., 0, 0] + code[..., 1, 1]
            untagged, phase_error = single * (of_alice + of_bob), error
        bit_error = np.where(gain > 0.0, wrong / gain, 0.5)
        phase_error, untagged = np.where(phase_error < 0.5, phase_error, 0.5), np.where(gain > 0.0, untagged, 0.0)
    secret = untagged * (1.0 - binary_entropy(phase_error)) - error_correction_efficiency * gain * binary_entropy(bit_error)
    return SendingRate(np.maximum(0.0, secret), gain, bit_error, untagged, phase_error)


def _bob_bits(code: Array) -> tuple[Array, Array]:
    """Bob's zeros (he sent) and ones, from counts or gains (..., 2, 2) by (Alice, Bob)."""
    return code[..., :, Window.SENT].sum(axis=-1), code[..., :, Window.NOT_SENT].sum(axis=-1)


def paired_counts(code: ArrayLike) -> tuple[Array, Array]:
    """Mean number of bits that pairing leaves, and of wrong ones, from counts (..., 2, 2) by (Alice, Bob) sent or not; shape (...).

    A pair survives when both of its bits are right, or both wrong.
    """
    counts = np.asarray(code, float)
    zeros, ones = _bob_bits(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        wrong_zeros = np.where(zeros > 0.0, counts[..., Window.SENT, Window.SENT] / zeros, 0.5)
        wrong_ones = np.where(ones > 0.0, counts[..., Window.NOT_SENT, Window.NOT_SENT] / ones, 0.5)
    pairs = np.minimum(zeros, ones)
    errors = pairs * wrong_zeros * wrong_ones
    return pairs * (1.0 - wrong_zeros) * (1.0 - wrong_ones) + errors, errors


def pair_bits(
    alice_bits: NDArray[np.uint8], bob_bits: NDArray[np.uint8], generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Alice's and Bob's bits after actively odd-parity pairing of theirs (n,): each pair's earlier bit, where Alice's pair is odd too."""
    zeros, ones = (generator.permutation(np.flatnonzero(bob_bits == value)) for value in (0, 1))
    pairs = min(zeros.size, ones.size)
    # Told in order of time, a pair does not say which of its bits is the zero.
    earlier, later = np.minimum(zeros[:pairs], ones[:pairs]), np.maximum(zeros[:pairs], ones[:pairs])
    odd = alice_bits[earlier] != alice_bits[later]
    return alice_bits[earlier[odd]], bob_bits[earlier[odd]]
