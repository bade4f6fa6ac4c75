"""Finite-key security of measurement-device-independent QKD with decoys, three or four intensities, equal or unequal senders.

Counts are arrays (..., bases, Alice's intensities, Bob's intensities, outcomes) as `measurement_device_independent` makes them; every
function works on any number of links at once. Key is made of the pairs in Z in which both sent their strongest pulse. Both Bell states go
into one key, since Bob flips his bits as the announced state asks before anything is counted.

What is believed of the relay: nothing. A pair of pulses of m and n photons does not know which intensities it came from, so each count has
the mean sum over m, n of p(intensities | m, n) S_mn, whatever the relay did to make S_mn Bell states of such pairs. Every bound
below is a linear combination of such means that isolates m = n = 1 (or m = 0) with no more than it and less of all the rest, and holds
for any S_mn. One photon from either side, with random bits, looks the same in Z and in X: what X tells of such pairs holds in Z.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.protocols.concentration import EPSILON_LIMITS, Bound, mean_bounds, observed_bounds, require_bound
from tiandi.protocols.events import Basis
from tiandi.protocols.measurement_device_independent import DecoySource, Outcome

Array = NDArray[np.float64]

EPSILON_SHARES = 12
"""Into how many parts we split the secrecy parameter 2 (eps' + 2 eps_e + eps^) + eps_b + eps_0 + eps_1 + eps_PA of Curty et al. 2014."""

TANGENT_PHASE_ERRORS = np.geomspace(0.005, 0.4, 16)
"""Phase error rates at which n1 [1 - h(e1)] is replaced by its tangent; in between, next to nothing is lost."""


@dataclass(frozen=True)
class ProvenPairKey:
    """Length of the secret key [bit] and what it is made of, each of shape (...).

    ``vacuum`` and ``secret_single_photon_bit`` are lower bounds on the key's bits that came from no photon of their owner, and on the
    secret bits in those that came from one photon of either side. The last two say how many such there are at least, and what
    their phase error rate is at most. For information: the length rests on a bound on both together, which is the better one.
    """

    length_bit: Array
    vacuum: Array
    secret_single_photon_bit: Array
    single_photon_pairs: Array
    phase_error: Array


def proven_key(
    counts: ArrayLike,
    *,
    alice: DecoySource,
    bob: DecoySource,
    leaked_bit: ArrayLike,
    epsilon_secrecy: float,
    epsilon_correctness: float,
    bound: Bound = "chernoff",
) -> ProvenPairKey:
    """Secret length of the key from pairs of strongest pulses in Z, after Curty et al. 2014 (doi:10.1038/ncomms4732).

    Their length and their sum of epsilons, both recalled, with bounds of our own on what enters them. ``leaked_bit`` (...) is
    every parity told. Counts too few, or such as no relay gives, make length 0. Raises InputError on malformed input.
    """
    counts = _checked(counts, alice, bob)
    require_within("epsilon_secrecy", epsilon_secrecy, *EPSILON_LIMITS)
    require_within("epsilon_correctness", epsilon_correctness, *EPSILON_LIMITS)
    require_bound(bound)
    share = epsilon_secrecy / EPSILON_SHARES
    total = counts[..., Basis.Z, 0, 0, :].sum(axis=-1)
    single = np.minimum(single_photon_lower_bound(counts, alice=alice, bob=bob, failure=share, bound=bound), total)
    errors = phase_errors_upper_bound(counts, alice=alice, bob=bob, failure=share, bound=bound)
    phase_error = np.divide(errors, single, out=np.full_like(single, 0.5), where=errors < 0.5 * single)
    # Of a failure that the smoothing of an entropy hides, the epsilon is the root of the probability.
    secret = np.minimum(secret_single_photon_bits(counts, alice=alice, bob=bob, failure=share**2, bound=bound), total)
    vacuum = np.minimum(vacuum_lower_bound(counts, alice=alice, bob=bob, failure=share, bound=bound), total - secret)
    overhead = np.log2(8.0 / epsilon_correctness) + 2.0 * np.log2(2.0 / share**2) + 2.0 * np.log2(0.5 / share)
    length = vacuum + secret - np.asarray(leaked_bit, float) - (0.0 if bound == "asymptotic" else overhead)
    return ProvenPairKey(
        length_bit=np.maximum(0.0, length),
        vacuum=vacuum,
        secret_single_photon_bit=secret,
        single_photon_pairs=single,
        phase_error=phase_error,
    )


def single_photon_lower_bound(
    counts: ArrayLike, *, alice: DecoySource, bob: DecoySource, failure: float, bound: Bound = "chernoff"
) -> Array:
    """Lower bound on the key's bits from one photon of either side, wrong with probability ``failure`` at most; shape (...).

    The two-decoy bound of Xu, Curty, Qi, Lo 2013 (doi:10.1088/1367-2630/15/11/113007) from the three weakest intensities of a basis: the
    larger one, if both bases have three. Nothing is known, and the bound is 0, where neither has.
    """
    counts = _checked(counts, alice, bob)
    estimates = _pair_estimates(alice, bob)
    share = failure / (len(estimates) + 1)
    mean = np.max([np.zeros(counts.shape[:-4]), *(_lower_mean(estimate, counts, share, bound) for estimate in estimates)], axis=0)
    return observed_bounds(_key_share(alice, bob) * mean, share, bound)[0]


def phase_errors_upper_bound(
    counts: ArrayLike, *, alice: DecoySource, bob: DecoySource, failure: float, bound: Bound = "chernoff"
) -> Array:
    """Upper bound on the errors that the key's single-photon pairs would have had in X, wrong with probability ``failure`` at most.

    Shape (...); infinite where X has fewer than two intensities. From errors in X under the two weakest intensities, by
    Xu, Curty, Qi, Lo 2013. Nothing can depend on the bit of who sent true vacuum: of such pairs half of all counts stand for the errors.
    """
    counts = _checked(counts, alice, bob)
    estimate = _error_estimate(alice, bob)
    if estimate is None:
        return np.full(counts.shape[:-4], np.inf)
    mean = np.maximum(-_lower_mean(-estimate, counts, 0.5 * failure, bound), 0.0)
    return observed_bounds(_key_share(alice, bob) * mean, 0.5 * failure, bound)[1]


def secret_single_photon_bits(
    counts: ArrayLike, *, alice: DecoySource, bob: DecoySource, failure: float, bound: Bound = "chernoff"
) -> Array:
    """Lower bound on n1 [1 - h(e1)] of the key, wrong with probability ``failure`` at most; shape (...).

    Pairs and errors are estimated from the same counts with a vacuum decoy, which cannot be high for one and low for the other. So both are
    bounded together (recalled: Zhou, Yu, Wang 2016 do so by scanning over those counts): n1 [1 - h(w / n1)] is convex, and above its
    tangent n1 [1 + log2(1 - e)] - w log2[(1 - e) / e] for any e. That is linear in the counts, and the best e of a list is taken.
    """
    counts = _checked(counts, alice, bob)
    pair_estimates, error_estimate = _pair_estimates(alice, bob), _error_estimate(alice, bob)
    secret = np.zeros(counts.shape[:-4])
    if error_estimate is None:
        return secret
    share, kept = failure / (len(pair_estimates) * TANGENT_PHASE_ERRORS.size + 4), _key_share(alice, bob)
    errors = kept * np.maximum(-_lower_mean(-error_estimate, counts, share, bound), 0.0)
    more_errors = observed_bounds(errors, share, bound)[1] - errors
    # Of pairs without phase error the key has no more than it has bits, which bounds their mean and so how far they stray below it.
    right = mean_bounds(counts[..., Basis.Z, 0, 0, :].sum(axis=-1), share, bound)[1]
    fewer_right = right - observed_bounds(right, share, bound)[0]
    for estimate, error in product(pair_estimates, TANGENT_PHASE_ERRORS):
        per_pair, per_error = 1.0 + np.log2(1.0 - error), np.log2((1.0 - error) / error)
        mean = kept * _lower_mean(per_pair * estimate - per_error * error_estimate, counts, share, bound)
        secret = np.maximum(secret, mean - per_pair * fewer_right - (per_error - per_pair) * more_errors)
    return secret


def vacuum_lower_bound(counts: ArrayLike, *, alice: DecoySource, bob: DecoySource, failure: float, bound: Bound = "chernoff") -> Array:
    """Lower bound on the key's bits whose owner sent no photon, wrong with probability ``failure`` at most; shape (...).

    The owner is the party to whose key the other corrects, and the one with the larger bound is taken. Nobody knows such a bit. 0 for a
    party with fewer than two intensities in Z, as in the four-intensity protocol.
    """
    counts = _checked(counts, alice, bob)
    share = 0.25 * failure
    owners = (counts, alice, bob), (np.swapaxes(counts, -3, -2), bob, alice)
    bounds = [_owners_vacuum(counts_of, owner, other, share, bound) for counts_of, owner, other in owners]
    return np.maximum(*bounds)


def _owners_vacuum(counts: Array, owner: DecoySource, other: DecoySource, failure: float, bound: Bound) -> Array:
    """`vacuum_lower_bound` for the party whose intensities come first."""
    decoys = _weakest(owner, Basis.Z, 2)
    if len(decoys) < 2 or other.z_probabilities[0] == 0:
        return np.zeros(counts.shape[:-4])
    stronger, weaker = np.array(owner.mean_photon_numbers)[decoys]
    coefficients = np.zeros(counts.shape[-4:])
    coefficients[Basis.Z, decoys, 0] = (np.array([-weaker, stronger]) / (stronger - weaker))[:, None]
    coefficients[Basis.Z] *= _weights(owner, other, Basis.Z)[..., None]
    chance = owner.z_probabilities[0] * np.exp(-owner.mean_photon_numbers[0])
    chance *= other.z_probabilities[0] * np.exp(-other.mean_photon_numbers[0])
    return observed_bounds(chance * np.maximum(_lower_mean(coefficients, counts, failure, bound), 0.0), failure, bound)[0]


def _checked(counts: ArrayLike, alice: DecoySource, bob: DecoySource) -> Array:
    """``counts`` as floats; InputError unless their shape is that of the sources and all are finite, none negative."""
    checked = np.asarray(counts, float)
    shape = (len(Basis), len(alice.mean_photon_numbers), len(bob.mean_photon_numbers), len(Outcome))
    if checked.shape[-4:] != shape:
        raise InputError("counts", checked.shape, f"must have a shape that ends in {shape}")
    if not (np.isfinite(checked) & (checked >= 0)).all():
        raise InputError("counts", (float(np.min(checked)), float(np.max(checked))), "must be finite and not negative")
    return checked


def _weakest(source: DecoySource, basis: Basis, number: int) -> NDArray[np.int64]:
    """Indices of the ``number`` weakest intensities sent in ``basis``, or of fewer, strongest first."""
    return np.flatnonzero(source.probabilities[basis])[-number:]


def _weights(alice: DecoySource, bob: DecoySource, basis: Basis) -> Array:
    """What turns a mean count into the sum over m, n of a^m b^n / (m! n!) x_mn, with x_mn = S_mn / p(m, n); 0 where nothing is sent."""
    sent = np.multiply.outer(alice.probabilities[basis], bob.probabilities[basis])
    no_photon = np.exp(np.add.outer(alice.mean_photon_numbers, bob.mean_photon_numbers))
    return np.divide(no_photon, sent, out=np.zeros_like(sent), where=sent > 0)


def _pair_estimates(alice: DecoySource, bob: DecoySource) -> list[Array]:
    """For each basis with three intensities, what the counts are to be multiplied with so that their means add up to x_11 or less."""
    estimates = []
    for basis in Basis:
        triple, bob_triple = _weakest(alice, basis, 3), _weakest(bob, basis, 3)
        if len(triple) == len(bob_triple) == 3:
            estimate = np.zeros((len(Basis), len(alice.mean_photon_numbers), len(bob.mean_photon_numbers), len(Outcome)))
            estimate[basis] = (_isolating_single_photons(alice, bob, triple, bob_triple) * _weights(alice, bob, basis))[..., None]
            estimates.append(estimate)
    return estimates


def _error_estimate(alice: DecoySource, bob: DecoySource) -> Array | None:
    """What the counts are to be multiplied with so that their means add up to the errors in x_11 or more; None without decoys in X."""
    decoys, bob_decoys = _weakest(alice, Basis.X, 2), _weakest(bob, Basis.X, 2)
    if len(decoys) < 2 or len(bob_decoys) < 2:
        return None
    intensities, bob_intensities = np.array(alice.mean_photon_numbers), np.array(bob.mean_photon_numbers)
    slope = np.diff(intensities[decoys]) * np.diff(bob_intensities[bob_decoys])
    vacuum = np.logical_or.outer(intensities == 0, bob_intensities == 0)
    errors = np.where(vacuum[..., None], [0.5, 0.5], np.arange(len(Outcome)) == Outcome.WRONG)
    in_x = (_contrast(alice, bob, decoys, bob_decoys) / slope * _weights(alice, bob, Basis.X))[..., None] * errors
    return np.stack([in_x, np.zeros_like(in_x)])


def _key_share(alice: DecoySource, bob: DecoySource) -> float:
    """Share of x_11 that the key holds: how often both send their strongest pulse in Z and one photon each is in it."""
    a, b = alice.mean_photon_numbers[0], bob.mean_photon_numbers[0]
    return float(alice.z_probabilities[0] * bob.z_probabilities[0] * a * b * np.exp(-a - b))


def _contrast(alice: DecoySource, bob: DecoySource, pair: NDArray[np.int64], bob_pair: NDArray[np.int64]) -> Array:
    """Signs that leave of both parties' ``pair`` (stronger, weaker) what needs a photon from either: no x_m0, no x_0n."""
    contrast = np.zeros((len(alice.mean_photon_numbers), len(bob.mean_photon_numbers)))
    contrast[np.ix_(pair, bob_pair)] = [[1.0, -1.0], [-1.0, 1.0]]
    return contrast


def _isolating_single_photons(alice: DecoySource, bob: DecoySource, triple: NDArray[np.int64], bob_triple: NDArray[np.int64]) -> Array:
    """Coefficients on weighted counts (intensities, intensities) that leave x_11 once, and of every other x_mn nothing or less."""
    powers = []
    for source, indices in ((alice, triple), (bob, bob_triple)):
        strong, middle, weak = np.array(source.mean_photon_numbers)[indices]
        powers.append(np.array([[strong - weak, middle - weak], [strong**2 - weak**2, middle**2 - weak**2]]))
    (strong_a, middle_a), (strong_b, middle_b) = powers[0].T, powers[1].T
    # The ratio of middle to strong falls with the photon number, so of all pairs but (1, 1) it is largest for (1, 2) or (2, 1).
    ratio = max(
        middle_a[0] * middle_b[1] / (strong_a[0] * strong_b[1]),
        middle_a[1] * middle_b[0] / (strong_a[1] * strong_b[0]),
    )
    weak_contrast = _contrast(alice, bob, triple[1:], bob_triple[1:])
    strong_contrast = _contrast(alice, bob, triple[::2], bob_triple[::2])
    return (weak_contrast - ratio * strong_contrast) / (middle_a[0] * middle_b[0] - ratio * strong_a[0] * strong_b[0])


def _lower_mean(coefficients: Array, counts: Array, failure: float, bound: Bound) -> Array:
    """Lower bound on a linear combination of mean counts, wrong with probability ``failure`` at most; shape (...).

    Joint constraints of Yu, Zhou, Wang 2015 (doi:10.1103/PhysRevA.91.032318): counts enter in sums, those of the largest
    coefficients first, since a sum strays less than its parts.
    """
    flat = counts.reshape(*counts.shape[:-4], -1)
    if bound == "asymptotic":
        return flat @ coefficients.ravel()
    gained, gained_sums = _nested_sums(coefficients.ravel(), flat)
    lost, lost_sums = _nested_sums(-coefficients.ravel(), flat)
    share = failure / max(1, gained.size + lost.size)
    return mean_bounds(gained_sums, share, bound)[0] @ gained - mean_bounds(lost_sums, share, bound)[1] @ lost


def _nested_sums(coefficients: Array, counts: Array) -> tuple[Array, Array]:
    """The positive part of sum(coefficients counts) as steps (n,) times sums of counts (..., n) that hold one another."""
    order = np.argsort(-coefficients, kind="stable")[: int(np.sum(coefficients > 0))]
    steps = -np.diff(coefficients[order], append=0.0)
    distinct = np.flatnonzero(steps)
    return steps[distinct], np.cumsum(counts[..., order], axis=-1)[..., distinct]
