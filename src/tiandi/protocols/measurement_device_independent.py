"""Measurement-device-independent QKD: two senders of decoy states, and an untrusted relay that announces Bell states.

Both send phase-randomised weak coherent pulses in one of two bases, Z (rectilinear; early or late in time-bin encoding) and X (diagonal;
the phase between the bins). The relay overlaps them on a 50:50 beam splitter, with a polarising beam splitter and two threshold detectors
behind either output. One click in H and one in V, and no third, is a Bell state: Psi+ behind the same output, Psi- behind different
ones. Time bins stand for H and V just as well, as long as a detector is awake again for the second bin.

The mean over the two random phases is a Bessel function, so expected counts are exact and come from closed forms. The beam splitter's
interference is perfect; what spoils it, and every other misalignment, is a probability for each basis that the bit comes out flipped.
Left out: after-pulses, and the dead time after clicks that make no Bell state.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import factorial

from tiandi.errors import InputError
from tiandi.limits import require_distribution, require_each_within, require_within
from tiandi.protocols.events import Basis, EventTable
from tiandi.protocols.information import binary_entropy

Array = NDArray[np.float64]

BESSEL_SERIES = 1.0 / factorial(np.arange(20, 0, -1)) ** 2
"""Coefficients of (x/2)^(2k - 2), highest first, in [I0(x) - 1] / (x/2)^2: exact to rounding up to x = 4."""


class Outcome(IntEnum):
    """What a Bell state makes of the two bits, after Bob has flipped his as the announced state and the basis ask."""

    RIGHT = 0
    WRONG = 1


@dataclass(frozen=True)
class DecoySource:
    """One party's phase-randomised source: falling mean photon numbers, and how often each is sent in which basis.

    ``x_probabilities`` and ``z_probabilities`` are the chances that a pulse has the intensity and the basis; together they add up to 1. A
    signal that is sent in Z alone and decoys in X alone are the four-intensity protocol of Zhou, Yu, Wang 2016
    (doi:10.1103/PhysRevA.93.042324). Raises InputError on a field out of its range.
    """

    mean_photon_numbers: tuple[float, ...]
    x_probabilities: tuple[float, ...]
    z_probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        intensities = self.mean_photon_numbers
        if not (intensities and len(intensities) == len(self.x_probabilities) == len(self.z_probabilities)):
            raise InputError("z_probabilities", self.z_probabilities, "both bases must name one probability for each mean photon number")
        require_each_within("mean_photon_numbers", intensities, 0.0, 2.0)
        if any(stronger <= weaker for stronger, weaker in pairwise(intensities)):
            raise InputError("mean_photon_numbers", intensities, "must fall")
        require_distribution("probabilities", self.x_probabilities + self.z_probabilities)

    @property
    def probabilities(self) -> Array:
        """Chance of each `Basis` and intensity, shape (bases, intensities)."""
        return np.array([self.x_probabilities, self.z_probabilities])


@dataclass(frozen=True)
class RelayLink:
    """Two senders, their ways to the relay, and the relay.

    The transmittances, of shape (steps,) each, are those of the two channels; ``detector_efficiency`` counts the relay's optics as well;
    ``dark_count_probability`` is per detector and gate. ``misalignment`` is the chance of a flipped bit in X and in Z. A relay
    whose detectors sleep through the second time bin announces one of the two Bell states, Psi-. After a Bell state
    ``dead_pulses`` pulses pass unseen; that Bell states of unequal bases make as many pass is left out. Raises InputError on a field out
    of its range.
    """

    alice: DecoySource
    bob: DecoySource
    alice_transmittance: Array
    bob_transmittance: Array
    detector_efficiency: float
    dark_count_probability: float
    misalignment: tuple[float, float]
    announced_bell_states: Literal[1, 2] = 2
    dead_pulses: int = 0

    def __post_init__(self) -> None:
        for field in ("alice_transmittance", "bob_transmittance"):
            transmittance = np.asarray(getattr(self, field), float)
            if transmittance.ndim != 1 or transmittance.size == 0:
                raise InputError(field, transmittance.shape, "must have the shape (steps,)")
            require_each_within(field, transmittance, 0.0, 1.0)
        if np.shape(self.alice_transmittance) != np.shape(self.bob_transmittance):
            raise InputError("bob_transmittance", np.shape(self.bob_transmittance), "must have as many steps as alice_transmittance")
        require_within("detector_efficiency", self.detector_efficiency, 0.0, 1.0)
        require_within("dark_count_probability", self.dark_count_probability, 0.0, 0.1)
        require_each_within("misalignment", self.misalignment, 0.0, 0.5)
        if self.announced_bell_states not in (1, 2):
            raise InputError("announced_bell_states", self.announced_bell_states, "must be 1 or 2")
        require_within("dead_pulses", self.dead_pulses, 0, 1e9)

    @property
    def efficiencies(self) -> tuple[Array, Array]:
        """Probability that a photon of Alice's, and of Bob's, makes a detector click, shape (steps,) each."""
        efficiency = self.detector_efficiency
        return np.asarray(self.alice_transmittance, float) * efficiency, np.asarray(self.bob_transmittance, float) * efficiency


@dataclass(frozen=True)
class SinglePhotonPairs:
    """What becomes of one photon from either side: chance of a Bell state (steps,), and its error rates (steps, bases)."""

    yields: Array
    error_rates: Array


def bell_gains(link: RelayLink) -> Array:
    """Probability of an announced Bell state, given what was sent; shape (steps, bases, intensities, intensities, outcomes).

    The intensities are Alice's, then Bob's. Ma and Razavi 2012 (doi:10.1103/PhysRevA.86.062319) for coherent pulses, written without
    the differences that would drown in rounding at long distance.
    """
    efficiency_alice, efficiency_bob = link.efficiencies
    alice = efficiency_alice[:, None, None] * np.array(link.alice.mean_photon_numbers)[:, None]
    bob = efficiency_bob[:, None, None] * np.array(link.bob.mean_photon_numbers)
    dark = link.dark_count_probability
    gains = np.stack([_diagonal_gains(alice, bob, dark), _rectilinear_gains(alice, bob, dark)], axis=1)
    return _misaligned(gains, link) * (link.announced_bell_states / 2)


def event_probabilities(link: RelayLink) -> Array:
    """Probability per pair of pulses of each recorded event; shape as `bell_gains`, with the senders' choices counted in.

    Pairs in different bases are sifted away and not recorded. Multiplied by a number of pulses, each step is a link for itself.
    """
    chosen = link.alice.probabilities[:, :, None] * link.bob.probabilities[:, None, :]
    return bell_gains(link) * chosen[..., None]


def event_table(link: RelayLink) -> EventTable:
    """Table of the recorded events, on the axes (bases, Alice's intensities, Bob's intensities, outcomes)."""
    return EventTable(event_probabilities(link), link.dead_pulses)


def single_photon_pairs(link: RelayLink) -> SinglePhotonPairs:
    """Yield and error rates when either side sends exactly one photon; Ma and Razavi 2012, but the error in Z, which is our own.

    In X two photons interfere, in Z only those of equal bits do, and these need a dark count to be taken for a Bell state.
    Where no Bell state is ever seen the error rates are 1/2.
    """
    alice, bob = link.efficiencies
    dark = link.dark_count_probability
    both, neither = alice * bob, (1.0 - alice) * (1.0 - bob)
    one = alice + bob - 2.0 * both
    by_chance = one * dark + 2.0 * neither * dark**2
    right = np.stack([0.5 * both * (1.0 + dark) + by_chance, 0.5 * both + by_chance], axis=1)
    wrong = np.stack([0.5 * both * dark + by_chance, both * dark + by_chance], axis=1)
    pairs = _misaligned((1.0 - dark) ** 2 * np.stack([right, wrong], axis=-1), link) * (link.announced_bell_states / 2)
    yields = pairs.sum(axis=-1)
    return SinglePhotonPairs(
        yields=yields[:, Basis.X],
        error_rates=np.divide(pairs[..., Outcome.WRONG], yields, out=np.full_like(yields, 0.5), where=yields > 0),
    )


def asymptotic_key_rate(link: RelayLink, error_correction_efficiency: float) -> Array:
    """Secret bits per pair of strongest pulses sent in Z, with infinitely many pulses and decoys; shape (steps,).

    Lo, Curty, Qi 2012 (doi:10.1103/PhysRevLett.108.130503). ``error_correction_efficiency`` is the leak over Shannon's limit, at
    least 1. How often both send such a pulse is not counted in.
    """
    require_within("error_correction_efficiency", error_correction_efficiency, 1.0, 10.0)
    alice, bob = link.alice.mean_photon_numbers[0], link.bob.mean_photon_numbers[0]
    pairs = single_photon_pairs(link)
    single = alice * bob * np.exp(-alice - bob) * pairs.yields
    signal = bell_gains(link)[:, Basis.Z, 0, 0]
    gain = signal.sum(axis=-1)
    error_rate = np.divide(signal[:, Outcome.WRONG], gain, out=np.full_like(gain, 0.5), where=gain > 0)
    leak = error_correction_efficiency * gain * binary_entropy(error_rate)
    return np.maximum(0.0, single * (1.0 - binary_entropy(pairs.error_rates[:, Basis.X])) - leak)


def _rectilinear_gains(alice: Array, bob: Array, dark: float) -> Array:
    """Right and wrong Bell states in Z when detectors would see ``alice`` and ``bob`` mean photons: Q_C and Q_E of Ma and Razavi."""
    quiet = 2.0 * (1.0 - dark) ** 2 * np.exp(-0.5 * (alice + bob))
    right = quiet * _click(0.5 * alice, dark) * _click(0.5 * bob, dark)
    wrong = quiet * dark * (bessel_i0_minus_1(np.sqrt(alice * bob)) + _click(0.5 * (alice + bob), dark))
    return np.stack([right, wrong], axis=-1)


def _diagonal_gains(alice: Array, bob: Array, dark: float) -> Array:
    """Right and wrong Bell states in X; either output's two detectors see the same light, which depends on the phase."""
    silent = 1.0 - _click(0.25 * (alice + bob), dark)
    interference = 0.5 * np.sqrt(alice * bob)
    wrong = 2.0 * silent**2 * (_click(0.25 * (alice + bob), dark) ** 2 - 2.0 * silent * bessel_i0_minus_1(interference))
    return np.stack([wrong + 2.0 * silent**2 * bessel_i0_minus_1(2.0 * interference), wrong], axis=-1)


def _misaligned(gains: Array, link: RelayLink) -> Array:
    """``gains`` (steps, bases, ..., outcomes) once some bits have come out flipped."""
    error = np.reshape(link.misalignment, (len(Basis),) + (1,) * (gains.ndim - 2))
    return (1.0 - error) * gains + error * gains[..., ::-1]


def _click(mean_photons: Array, dark: float) -> Array:
    """Probability that a threshold detector clicks."""
    return dark - (1.0 - dark) * np.expm1(-mean_photons)


def bessel_i0_minus_1(argument: ArrayLike) -> Array:
    """I0(x) - 1 to the last digits for small ``argument`` x, by its power series; exact to rounding up to 4, shape as given."""
    quarter_square = 0.25 * np.asarray(argument, float) ** 2
    return np.asarray(quarter_square * np.polyval(BESSEL_SERIES, quarter_square))
