"""Attacks on the receiver's detectors, which the security proof takes to be what their data sheet says.

Here the counts look honest, decoys and errors included, and the proof promises key that the eavesdropper knows. Only watching the
detectors helps: when the light arrives, how much of it there is, how often two of them click at once; or a protocol that trusts no
detector (measurement-device-independent, twin-field). Attacks that the proof covers are in `eavesdroppers`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiandi.limits import require_within
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.protocols.decoy_bb84 import Outcome, outcome_probabilities, photons_at_detectors, squash
from tiandi.protocols.eavesdroppers import Eavesdropping, sifted_share, with_knowledge
from tiandi.protocols.information import binary_entropy

Array = NDArray[np.float64]


def time_shift(
    transmitter: Transmitter,
    receiver: Receiver,
    transmittance: Array,
    *,
    favoured_efficiency: float = 1.0,
    other_efficiency: float = 0.05,
) -> Eavesdropping:
    """Pulses are sent early or late at random, where one bit's detectors are more efficient than the other's.

    At one edge of the gate the detectors of one bit keep ``favoured_efficiency`` of their efficiency and those of the other
    ``other_efficiency``, at the other edge the reverse; the defaults illustrate, they are no measured device. She measures nothing and
    makes the channel better by as much as the detectors got worse, as far as there is loss to remove, so that the mean number of
    detected photons stays as it was (the share of double clicks changes a little). No error is made and every intensity clicks
    as before. Who clicked is the favoured bit with probability p, and she knows 1 - h(p), with p = 1 / (1 + ratio of the efficiencies)
    where noise does not matter (Qi, Fung, Lo, Ma 2007, Quantum Information and Computation 7, 73, recalled). A mild ratio alone tells her
    less than the proof grants her anyway; left out: that she keeps the light she does not need. What notices: when within
    the gate the light arrives; what helps: swapping at random which detector stands for which bit (Fung et al. 2009,
    doi:10.26421/QIC9.1-2-8). Raises InputError on an efficiency out of range.
    """
    require_within("favoured_efficiency", favoured_efficiency, 1e-6, 1.0)
    require_within("other_efficiency", other_efficiency, 0.0, favoured_efficiency)
    mean_efficiency = 0.5 * (favoured_efficiency + other_efficiency)
    better = np.minimum(np.asarray(transmittance, float) / mean_efficiency, 1.0)
    received = better[:, None] * receiver.efficiency * np.asarray(transmitter.mean_photon_numbers)
    # Which detector of the other basis is favoured does not matter: its two see the same light.
    edge = np.array([favoured_efficiency, other_efficiency] * 2)
    light = photons_at_detectors(received, receiver)
    favoured, hindered = squash(light * edge, receiver), squash(light * edge[::-1], receiver)
    outcomes = 0.5 * (favoured + hindered)
    sifted = sifted_share(outcomes)
    guess = np.divide(0.5 * sifted_share(favoured), sifted, out=np.full(sifted.shape, 0.5), where=sifted > 0.0)
    return with_knowledge(outcomes, sifted * (1.0 - binary_entropy(guess)))


def detector_blinding(
    transmitter: Transmitter, receiver: Receiver, transmittance: Array, *, never_click_power_share: float = 0.75
) -> Eavesdropping:
    """Bright light turns the detectors into power meters that click as the eavesdropper wants, and she repeats to them what she measured.

    Blinded, a detector clicks at the power she sends and never below ``never_click_power_share`` of it, between the two ever more often
    (linearly, ours). She measures with a copy of the receiver at the transmitter's door, tuned to see as much as the receiver
    would have, and sends each of her clicks on as a bright pulse of that basis and bit. A receiver with passive, even basis choice obeys
    every time: in the other basis each detector gets half of the power. One with active choice obeys where it chose her basis: she
    picks bases evenly, needs twice the clicks, 3 dB of loss to remove, and has them where there is light for it. With a share above
    1/2 every outcome is as it was, and she knows the receiver's bit each time, hence after error correction the transmitter's
    (Lydersen et al. 2010, doi:10.1038/nphoton.2010.214). A passive choice that is uneven disobeys in its rarer basis, with errors. What
    notices: milliwatts of light and their photocurrent where picowatts are due, no double clicks, and no dark counts but
    those that she feigns. Raises InputError on a share out of range.
    """
    require_within("never_click_power_share", never_click_power_share, 0.0, 0.999)
    active = receiver.basis_choice == "active"
    hers = replace(receiver, x_basis_probability=0.5) if active else receiver
    obeyed = _bright_pulse_outcomes(receiver, never_click_power_share)

    honest = outcome_probabilities(transmitter, hers, transmittance)[..., 1:]
    honest_gain = honest[:, 0].sum(axis=-1).mean(axis=-1)
    caught = -np.expm1(-transmitter.mean_photon_numbers[0])
    most = np.divide(caught, honest_gain, out=np.full(honest_gain.shape, np.inf), where=honest_gain > 0.0)
    needed = 1.0 / (1.0 - obeyed[:, Outcome.NOTHING]).mean()
    seen_right, seen_wrong, seen_other = np.moveaxis(np.minimum(needed, most)[:, None, None, None] * honest, -1, 0)

    same, crossed = obeyed, obeyed[::-1]
    random = 0.5 * seen_other * crossed[:, Outcome.OTHER_BASIS]
    right = seen_right * same[:, Outcome.RIGHT] + seen_wrong * same[:, Outcome.WRONG] + random
    wrong = seen_right * same[:, Outcome.WRONG] + seen_wrong * same[:, Outcome.RIGHT] + random
    other = (seen_right + seen_wrong) * same[:, Outcome.OTHER_BASIS] + seen_other * sifted_share(crossed)
    # The wrong detector clicks only beside the right one, and the bit is then random: as often as that she does not know it.
    known = (seen_right + seen_wrong) * (same[:, Outcome.RIGHT] - same[:, Outcome.WRONG])
    return with_knowledge(np.stack([1.0 - right - wrong - other, right, wrong, other], axis=-1), known)


def _bright_pulse_outcomes(receiver: Receiver, never_click_power_share: float) -> Array:
    """Outcomes (bases, 4) at a blinded receiver, relative to a bright pulse just strong enough for the detector it is meant for."""
    power = photons_at_detectors(np.ones((1, 1)), receiver)
    strength = power / power[..., :1]
    clicks = np.clip((strength - never_click_power_share) / (1.0 - never_click_power_share), 0.0, 1.0 - 1e-15)
    # Blinded detectors have no dark counts: what squash adds of them is taken out beforehand.
    return squash(np.log1p(-receiver.noise_probability) - np.log1p(-clicks), receiver)[0, 0]
