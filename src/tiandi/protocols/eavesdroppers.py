"""Eavesdroppers on the light of decoy-state BB84: what the receiver then counts, and what they know.

Each attack stands in the place of `outcome_probabilities`: the same arguments, the same shape of outcomes. All of them lie within what
the security proof assumes, so that the proven key never exceeds what they leave unknown. They differ in who notices. The error rate
notices `intercept_resend`. The decoys notice it too, and `photon_number_splitting` and `unambiguous_discrimination`. Nobody notices
`beam_splitting`, and nobody need: the proof has given the eavesdropper every pulse of several photons to begin with.
Attacks that the proof does not cover are in `detector_attacks`.

Light without a common phase is a mixture of photon numbers, so that an attack by photon number is a table of what each number becomes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import betaincinv

from tiandi.limits import require_within
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.protocols.decoy_bb84 import Outcome, Probabilities, outcome_probabilities, photons_at_detectors, squash

Array = NDArray[np.float64]

MOST_PHOTONS = 30
"""Photons in a pulse that are told apart: a transmitter's brightest pulse, of mean 2, has more with probability 4e-26."""


@dataclass(frozen=True)
class Eavesdropping:
    """What an attack makes of a channel: its outcomes, shaped as those of `outcome_probabilities`, and what it is worth.

    ``known_share`` (steps, intensities, bases) is the information [bit] that the eavesdropper has on each sifted bit once the bases
    are announced, before error correction; 0 where no bit is sifted.
    """

    outcomes: Probabilities
    known_share: Array


def with_knowledge(outcomes: Probabilities, known: Array) -> Eavesdropping:
    """An attack from its outcomes and ``known`` (steps, intensities, bases), the known bits per pulse, sifted ones only."""
    sifted = sifted_share(outcomes)
    return Eavesdropping(outcomes, np.divide(known, sifted, out=np.zeros(sifted.shape), where=sifted > 0.0))


def sifted_share(outcomes: Probabilities) -> Array:
    """Probability of a click in the transmitter's basis, shape of ``outcomes`` without its last axis."""
    return outcomes[..., Outcome.RIGHT] + outcomes[..., Outcome.WRONG]


def intercept_resend(transmitter: Transmitter, receiver: Receiver, transmittance: Array, *, attacked_share: float = 1.0) -> Eavesdropping:
    """Every pulse, or a random ``attacked_share`` of them, is measured at the transmitter, and what was seen is sent on.

    She has perfect detectors and picks a basis at random, and a bit at random where both detectors click; she stays silent where
    she saw nothing, and where she saw light she resends a coherent pulse of the one strength that keeps the receiver's mean count as
    it was. She knows the bits she measured in the right basis. Errors betray her: in half of the sifted gates her basis was wrong and
    the bit is random, so while the resent pulses are weak at the receiver the error rate is 25 % plus half the honest one (Bennett and
    Brassard 1984, doi:10.1016/j.tcs.2014.05.025). Raises InputError on a share out of range.
    """
    require_within("attacked_share", attacked_share, 0.0, 1.0)
    mean_photons, probabilities = np.asarray(transmitter.mean_photon_numbers), np.asarray(transmitter.probabilities)
    caught = -np.expm1(-mean_photons)
    honest = -np.expm1(-np.asarray(transmittance, float)[:, None] * receiver.efficiency * mean_photons) @ probabilities
    resent = -np.log1p(-np.minimum(honest / (caught @ probabilities), 1.0 - 1e-12))

    right_basis = photons_at_detectors(resent[:, None], receiver)
    # In the wrong basis she resends a state of that basis: the detectors trade places. Which of its two bits does not matter here.
    wrong_basis = np.flip(right_basis, axis=2)[..., [2, 3, 0, 1]]
    seen_right, seen_wrong, unseen = (squash(light, receiver) for light in (right_basis, wrong_basis, np.zeros_like(right_basis)))
    share = caught[None, :, None, None]
    attacked = 0.5 * share * (seen_right + seen_wrong) + (1.0 - share) * unseen
    untouched = outcome_probabilities(transmitter, receiver, transmittance)
    known = attacked_share * 0.5 * caught[None, :, None] * sifted_share(seen_right)
    return with_knowledge(attacked_share * attacked + (1.0 - attacked_share) * untouched, known)


def beam_splitting(transmitter: Transmitter, receiver: Receiver, transmittance: Array) -> Eavesdropping:
    """The channel is replaced by one without loss, and the light it would have lost is kept until the bases are announced.

    Coherent light that is split is two independent pulses, so the receiver sees what it saw before, and nothing at all betrays her.
    She knows the bits of which she kept a photon: 1 - e^(-(1 - transmittance) mu), which falls short of the share of several photons
    among the clicks that light made. Left out: a quantum memory with losses.
    """
    kept = np.multiply.outer(1.0 - np.asarray(transmittance, float), np.asarray(transmitter.mean_photon_numbers))
    outcomes = outcome_probabilities(transmitter, receiver, transmittance)
    return Eavesdropping(outcomes, np.broadcast_to(-np.expm1(-kept)[:, :, None], outcomes.shape[:3]).copy())


def photon_number_splitting(transmitter: Transmitter, receiver: Receiver, transmittance: Array) -> Eavesdropping:
    """One photon of every pulse of several is kept, the others reach the receiver without loss, and single photons are blocked.

    She counts photons without disturbing them (Brassard, Luetkenhaus, Mor, Sanders 2000, doi:10.1103/PhysRevLett.85.1330) and keeps the
    signal's gain as it was: where the channel was better than the pulses of several photons make good, she lets as many single
    photons through as it takes, and after that whole pulses; where it was worse she blocks pulses of several as well. She measures what
    she kept when the bases are announced, and so knows every bit of which she has a photon. She cannot restore the gains of the other
    intensities, nor how often two detectors click at once; Luetkenhaus and Jahma 2002 (doi:10.1088/1367-2630/4/1/344, recalled) show
    that more elaborate splitting restores the latter. The decoys betray her.
    """
    outcomes_of = fock_outcomes(receiver)
    photons = np.arange(MOST_PHOTONS + 1)
    nothing = np.zeros_like(photons)
    several = np.where(photons >= 2, photons - 1, 0)
    several_and_single = np.where(photons >= 2, photons - 1, photons)
    strategies = []
    for forwarded in (nothing, several, several_and_single, photons):
        outcomes = outcomes_of[forwarded]
        strategies.append((outcomes, sifted_share(outcomes) * (forwarded < photons)[:, None]))
    return _with_the_gain_kept(strategies, transmitter, receiver, transmittance)


def unambiguous_discrimination(
    transmitter: Transmitter, receiver: Receiver, transmittance: Array, *, resent_mean_photons: float = 0.3
) -> Eavesdropping:
    """Pulses of three photons or more are identified where that can be done without error, and sent anew; the others are blocked.

    No memory is needed: where she succeeds she knows basis and bit, and resends a pulse of ``resent_mean_photons`` as the detectors
    count them; brighter ones click more often but also in two detectors at once, which are errors (Dusek, Jahma, Luetkenhaus 2000,
    doi:10.1103/PhysRevA.62.022306). She keeps the signal's gain as it was: where the channel was better than that she lets pulses of
    one or two photons through without loss, and after that whole pulses. The decoys betray her. Raises InputError on a mean out of range.
    """
    require_within("resent_mean_photons", resent_mean_photons, 1e-6, 20.0)
    outcomes_of = fock_outcomes(receiver)
    photons = np.arange(MOST_PHOTONS + 1)
    silence = np.broadcast_to(outcomes_of[0], outcomes_of.shape)
    resent = squash(photons_at_detectors(np.array([[resent_mean_photons]]), receiver), receiver)[0, 0]
    identified = discrimination_probability(photons)[:, None]
    identified_only = identified[..., None] * resent + (1.0 - identified[..., None]) * silence
    few_as_well = np.where((photons <= 2)[:, None, None], outcomes_of, identified_only)
    known, unknown = identified * sifted_share(resent), np.zeros(outcomes_of.shape[:2])
    strategies = [(silence, unknown), (identified_only, known), (few_as_well, known), (outcomes_of, unknown)]
    return _with_the_gain_kept(strategies, transmitter, receiver, transmittance)


def discrimination_probability(photons: ArrayLike) -> Array:
    """Largest probability of telling the four BB84 states of ``photons`` photons apart without error; shape as ``photons``.

    1 - 2^(-floor((n - 1) / 2)): 0 below three photons, 1/2 for three and four, 3/4 for five and six. It is the smallest eigenvalue of
    the states' Gram matrix (Chefles and Barnett 1998, Phys. Lett. A 250, 223, recalled, for symmetric states; for BB84 Dusek et al. 2000,
    doi:10.1103/PhysRevA.62.022306, recalled).
    """
    return np.maximum(0.0, 1.0 - 0.5 ** ((np.asarray(photons) - 1) // 2).astype(float))


def fock_outcomes(receiver: Receiver) -> Array:
    """Outcome probabilities when exactly 0, 1, ... `MOST_PHOTONS` photons reach the receiver, shape (photons, bases, outcomes).

    `squash` for photon numbers: the chance that some detectors all stay silent is (1 - their shares)^n instead of a product.
    """
    shares = photons_at_detectors(np.array([[receiver.efficiency]]), receiver)[0, 0]
    photons, noiseless = np.arange(MOST_PHOTONS + 1)[:, None], 1.0 - receiver.noise_probability

    def silent(*detectors: int) -> Array:
        missed = np.maximum(0.0, 1.0 - shares[:, list(detectors)].sum(axis=1))
        return np.asarray(noiseless ** len(detectors) * missed**photons)

    active = receiver.basis_choice == "active"
    chosen = np.array([receiver.x_basis_probability, 1.0 - receiver.x_basis_probability])

    def kept(*detectors: int) -> Array:
        """Probability that these stay silent and that a click of the transmitter's basis, were there one, would be taken."""
        return chosen * silent(*detectors) if active else 0.5 * (silent(*detectors) + silent(*detectors, 2, 3))

    in_other_basis = 1.0 - silent(2, 3)
    in_other_basis_alone = silent(0, 1) - silent(0, 1, 2, 3)
    other = (1.0 - chosen) * in_other_basis if active else np.maximum(0.0, 0.5 * (in_other_basis + in_other_basis_alone))
    # Differences of nearly equal terms may round to just below zero.
    right = np.maximum(0.0, 0.5 * (kept() + kept(1) - kept(0) - kept(0, 1)))
    wrong = np.maximum(0.0, 0.5 * (kept() + kept(0) - kept(1) - kept(0, 1)))
    return np.stack([1.0 - right - wrong - other, right, wrong, other], axis=-1)


def _with_the_gain_kept(
    strategies: list[tuple[Array, Array]], transmitter: Transmitter, receiver: Receiver, transmittance: Array
) -> Eavesdropping:
    """The mixture of two neighbours among ``strategies``, in order of their gain, under which the signal clicks as often as it did.

    A strategy is what each photon number becomes: outcomes (photons, bases, outcomes), and known sifted bits (photons, bases).
    """
    mean_photons = np.asarray(transmitter.mean_photon_numbers)[:, None]
    photons = stats.poisson.pmf(np.arange(MOST_PHOTONS + 1), mean_photons)
    outcomes = np.stack([np.tensordot(photons, outcomes, axes=1) for outcomes, _ in strategies])
    known = np.stack([np.tensordot(photons, known, axes=1) for _, known in strategies])
    gains = np.maximum.accumulate(1.0 - outcomes[:, 0, :, Outcome.NOTHING].mean(axis=-1))
    honest = 1.0 - outcome_probabilities(transmitter, receiver, transmittance)[:, 0, :, Outcome.NOTHING].mean(axis=-1)
    places = np.arange(len(strategies))
    weights = np.maximum(0.0, 1.0 - np.abs(np.interp(honest, gains, places)[:, None] - places))
    return with_knowledge(np.tensordot(weights, outcomes, axes=1), np.tensordot(weights, known, axes=1))


def smallest_noticed_share(
    tested: ArrayLike, *, honest_qber: float, attacked_qber: float, false_alarm: float = 1e-6, missed: float = 0.01
) -> Array:
    """Share of pulses from which on an attack is noticed by its errors among ``tested`` sifted bits; shape as ``tested``.

    The alarm goes off above as many errors as the honest link exceeds with probability ``false_alarm`` at most; an attack on the
    share returned escapes it with probability ``missed``. Exact binomial tails. inf where even an attack on every pulse may escape.
    A smaller share escapes notice, not the proof, which subtracts what any number of errors may mean. Raises InputError on a
    probability out of range.
    """
    require_within("honest_qber", honest_qber, 0.0, 0.5)
    require_within("attacked_qber", attacked_qber, honest_qber + 1e-9, 1.0)
    require_within("false_alarm", false_alarm, 1e-15, 0.5)
    require_within("missed", missed, 1e-15, 0.5)
    number = np.asarray(tested, float)
    allowed = np.minimum(stats.binom.isf(false_alarm, number, honest_qber), number)
    with np.errstate(invalid="ignore"):
        noticed_rate = betaincinv(allowed + 1.0, number - allowed, 1.0 - missed)
    share = (noticed_rate - honest_qber) / (attacked_qber - honest_qber)
    return np.where(share <= 1.0, np.maximum(share, 0.0), np.inf)
