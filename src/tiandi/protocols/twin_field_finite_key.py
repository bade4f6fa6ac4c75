"""Finite keys of twin-field QKD, from counts, against coherent attacks: sending or not sending, and Curty, Azuma, Lo.

What is believed of the station in the middle: nothing. What is believed of the senders: their phases are uniform, their intensities
exact, their vacuum dark, and no pulse says anything of another. Errors are corrected in one direction, or the pattern of errors is of no
use: as in `finite_key`, what Bob's questions tell of it is not subtracted (arXiv:2307.00576). Counts come from expectation, samples or
hardware, shaped as the event tables of `sending_or_not_sending` and `twin_field`; every function works on any number of links at once.
``bound`` "asymptotic" takes counts for their means, which never fails.

The length is n [1 - h(phase errors / n)] - leak - log2(2 / epsilon_correctness) - 2 log2(1 / (2 epsilon_amplification)), with n a lower
bound on the bits that may be secret; all others an eavesdropper is given. It is secret to epsilon_amplification
+ 2 sqrt(probability of more phase errors) + probability of a smaller n: the root because the smoothing of an entropy is measured in
purified distance (Tomamichel, Lim, Gisin, Renner 2012, doi:10.1038/ncomms1631). Jiang, Yu, Hu, Wang 2019
(doi:10.1103/PhysRevApplied.12.024061, recalled) add that probability without the root: for the same epsilon their keys are longer, and
composition "sum" is there to compare with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import factorial

from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.protocols.concentration import EPSILON_LIMITS, Bound, mean_bounds, observed_bounds, require_bound
from tiandi.protocols.information import binary_entropy
from tiandi.protocols.sending_or_not_sending import SIGNAL_WINDOWS, Result, SendingSource, Window
from tiandi.protocols.twin_field import (
    HIGHEST_PHOTON_NUMBER,
    SERIES_TERMS,
    Pulse,
    TwinFieldSource,
    phase_error_gain,
    unknown_amplitude,
)

Array = NDArray[np.float64]
Composition = Literal["root", "sum"]
"""How the failure of the bound on phase errors enters epsilon_secrecy: twice its root, which is proven, or itself, as often published."""

DARK_WINDOWS = [Window.NOT_SENT, Window.VACUUM]
"""Windows without light, as indices into an axis of windows."""

TILTS = 2.0 ** np.arange(2, -31, -1)
"""Parameters of the bounds on events that depend on each other; each bound takes its best one, and all share its failure."""


@dataclass(frozen=True)
class TwinFieldKey:
    """Length of the secret key [bit], the bits that it is made of, and the upper bound on their phase error; each of shape (...).

    ``single_photon`` bits come from one photon (with pairing: from one photon each); of `twin_field_proven_key` all bits are taken.
    """

    length_bit: Array
    single_photon: Array
    phase_error: Array


@dataclass(frozen=True)
class FailureShares:
    """Failure probability of each inequality on counts and of each on phase errors, and the epsilon of the amplification."""

    count: float
    phase: float
    amplification: float


def failure_shares(epsilon_secrecy: float, *, counts: int, phases: int, composition: Composition = "root") -> FailureShares:
    """``epsilon_secrecy`` split: a quarter for ``counts`` inequalities, half for ``phases`` inequalities, a quarter for amplification."""
    require_within("epsilon_secrecy", epsilon_secrecy, *EPSILON_LIMITS)
    if composition not in ("root", "sum"):
        raise InputError("composition", composition, "must be root or sum")
    quarter = 0.25 * epsilon_secrecy
    return FailureShares(quarter / counts, (quarter**2 if composition == "root" else 2.0 * quarter) / phases, quarter)


@dataclass(frozen=True)
class SinglePhotonCounts:
    """Bits of signal windows that came from one photon of Alice, and of Bob, at least (..., 2); their phase errors, at most (...)."""

    bits: Array
    phase_errors: Array


def sending_proven_key(
    counts: ArrayLike,
    *,
    source: SendingSource,
    pulses: ArrayLike,
    leaked_bit: ArrayLike,
    epsilon_secrecy: float,
    epsilon_correctness: float,
    pairing: bool = True,
    bound: Bound = "chernoff",
    composition: Composition = "root",
) -> TwinFieldKey:
    """Secret length of sending or not sending, from counts (..., 5, 5, 3) of ``pulses`` (...), with or without pairing.

    ``leaked_bit`` (...) is every parity told to correct errors, with pairing those of the bits that it leaves. Of two signal windows
    only Bob's bits are used. Counts too few make length 0; raises InputError on malformed input.
    """
    counts, pulses = _checked(counts, pulses, (5, 5, 3))
    # Gains: two weak, two strong, both dark; two kinds of bits; pairs. Phase errors: both dark, wrong clicks, errors, singlets.
    shares = failure_shares(epsilon_secrecy, counts=8, phases=4, composition=composition)
    overhead_bit = _overhead_bit(shares, epsilon_correctness, bound)
    single = single_photon_counts(counts, source=source, pulses=pulses, shares=shares, bound=bound)
    if not pairing:
        return _key(single.bits.sum(axis=-1), single.phase_errors, leaked_bit, overhead_bit)
    bob_bits = counts[..., SIGNAL_WINDOWS, SIGNAL_WINDOWS, :].sum(axis=(-3, -1))
    bits, errors = paired_single_photons(single, bob_bits.max(axis=-1), shares=shares, bound=bound)
    return _key(bits, errors, leaked_bit, overhead_bit)


def single_photon_counts(
    counts: Array, *, source: SendingSource, pulses: Array, shares: FailureShares, bound: Bound = "chernoff"
) -> SinglePhotonCounts:
    """Bounds on single photons in signal windows and their phase errors, from counts (..., 5, 5, 3) of ``pulses`` (...).

    Given the photon numbers, a click does not know the intensities: labels are as if drawn independently afterwards, so Chernoff's
    bounds hold against coherent attacks. One photon in two weak decoys of one slice is the state of one in two signal windows, and
    its phase errors are theirs (Wang, Yu, Hu 2018, doi:10.1103/PhysRevA.98.062323); half of the clicks without a photon are errors.
    """
    windows, p, mu = counts.sum(axis=-1), source.probabilities, source.signal_mean_photon_number
    vacuum, one_photon = _yields(windows, source, pulses, shares, bound)
    emitted = (pulses * p[Window.SENT] * p[Window.NOT_SENT] * mu * np.exp(-mu))[..., None]
    # No more than Bob's bits: his ones for Alice's photons, his zeros for his own.
    code = windows[..., SIGNAL_WINDOWS, SIGNAL_WINDOWS].sum(axis=-2)[..., ::-1]
    weak = source.decoy_mean_photon_numbers[1]
    compared = pulses * p[Window.WEAK] ** 2 * source.slice_share * np.exp(-2.0 * weak)
    wrong = mean_bounds(counts[..., Window.WEAK, Window.WEAK, Result.WRONG], shares.phase, bound)[1]
    errors = np.maximum(wrong - 0.5 * compared * vacuum, 0.0) * emitted[..., 0] / (weak * compared)
    return SinglePhotonCounts(
        bits=np.minimum(observed_bounds(emitted * one_photon, shares.count, bound)[0], code),
        phase_errors=observed_bounds(errors, shares.phase, bound)[1],
    )


def _yields(windows: Array, source: SendingSource, pulses: Array, shares: FailureShares, bound: Bound) -> tuple[Array, Array]:
    """Lower bounds on the yield of no photon (...), and on those of one photon of Alice, and of Bob (..., 2).

    With gains S of one lit sender, e^mu S = s_0 + mu s_1 + mu^2 / 2 s_2 + ...: the strong decoy takes s_2 out and leaves less of all
    above, as in Jiang et al. 2019 (recalled). A decoy counts beside any window that is told to be dark.
    """
    p, (strong, weak) = source.probabilities, source.decoy_mean_photon_numbers
    # Counts of each window (...) of Alice, and of Bob, beside a dark one of the other.
    beside_dark = windows[..., DARK_WINDOWS].sum(axis=-1), windows[..., DARK_WINDOWS, :].sum(axis=-2)
    dark = p[DARK_WINDOWS].sum()
    both_dark = beside_dark[0][..., DARK_WINDOWS].sum(axis=-1) - windows[..., Window.NOT_SENT, Window.NOT_SENT]
    emitted = pulses * (dark**2 - p[Window.NOT_SENT] ** 2)
    vacuum_low = mean_bounds(both_dark, shares.phase, bound)[0] / emitted
    vacuum_high = mean_bounds(both_dark, shares.count, bound)[1] / emitted

    def gains(window: Window) -> list[Array]:
        lit = np.stack([counts[..., window] for counts in beside_dark], axis=-1)
        sent = (pulses * p[window] * dark)[..., None]
        return [side / sent for side in mean_bounds(lit, shares.count, bound)]

    (weak_low, _), (_, strong_high) = gains(Window.WEAK), gains(Window.STRONG)
    spread = strong**2 * np.exp(weak) * weak_low - weak**2 * np.exp(strong) * strong_high
    one_photon = (spread - (strong**2 - weak**2) * vacuum_high[..., None]) / (weak * strong * (strong - weak))
    return vacuum_low, np.maximum(one_photon, 0.0)


def paired_single_photons(
    single: SinglePhotonCounts, bob_majority: Array, *, shares: FailureShares, bound: Bound = "chernoff"
) -> tuple[Array, Array]:
    """Pairs of two single-photon bits, at least, and phase errors in them, at most, after actively odd-parity pairing; each (...).

    ``bob_majority`` (...) is N, how many bits of Bob's more frequent value there are. Random pairs hold u v / N of his u and v
    single-photon bits of either value on average, hypergeometrically. Of n = u + v qubits, k with a phase error, a pair is wrong when it is
    a singlet: the total spin J commutes with Bob's count of ones and is at least n / 2 - k. For random pairs across his values this
    makes the mean of C(singlets, r) at most k...(k - r + 1) (n - k + 1)...(n - k - r + 2) / [2^r r! N...(N - r + 1)], which is never
    above that of a Poisson distribution of mean k (n - k + 1) / (2 N), and Chernoff's bound is for its tail. More bits of either value
    than bounded only lower the share of wrong pairs, while k is less than u and v. Of many pairs it makes the 2 e (1 - e) of Xu et al.
    2020. Which bits make a pair is announced, not which of them is the zero: the number of pairings that fit Bob's bits depends on his
    numbers of zeros and ones alone, so the announcement is a measurement that leaves each pair coherent in its odd space, and every zero
    meets every one with chance 1 / N. Own derivation, for any state and without de Finetti's theorem; no publication that we know of
    states it. Checked by exact algebra for six qubits and by the exact distribution up to 160.
    """
    majority, errors = np.maximum(bob_majority, 1.0), single.phase_errors
    pairs = observed_bounds(single.bits.prod(axis=-1) / majority, shares.count, bound)[0]
    believed = errors < single.bits.min(axis=-1)
    singlets = np.where(believed, errors * (single.bits.sum(axis=-1) - errors + 1.0) / (2.0 * majority), 0.0)
    return pairs, np.where(believed, observed_bounds(singlets, shares.phase, bound)[1], np.inf)


def twin_field_proven_key(
    counts: ArrayLike,
    *,
    source: TwinFieldSource,
    pulses: ArrayLike,
    leaked_bit: ArrayLike,
    epsilon_secrecy: float,
    epsilon_correctness: float,
    bound: Bound = "chernoff",
) -> TwinFieldKey:
    """Secret length of the protocol of Curty, Azuma, Lo, from counts (..., 4, 4, 2) of ``pulses`` (...).

    The plan of Curras-Lorenzo et al. 2021 (doi:10.1038/s41534-020-00345-3): round by round, given all that was measured before, the
    Cauchy-Schwarz inequality bounds the chance of a phase error by those of decoys with n and m photons. Sums over the rounds and counts
    are tied by `dependent_mean` in place of Kato's inequality, and yields are bounded in closed form. ``leaked_bit`` (...) is every
    parity told. The rounds are an order in which to measure what the senders keep, so the station may answer when it likes; chances are
    conditional, and no bound here uses that yields stay below 1. Counts too few make length 0; raises InputError on malformed input.
    """
    counts, pulses = _checked(counts, pulses, (4, 4, 2))
    # Nine gains bounded from both sides, and the phase errors: all nineteen concern phase errors.
    shares = failure_shares(epsilon_secrecy, counts=1, phases=19)
    overhead_bit = _overhead_bit(shares, epsilon_correctness, bound)
    decoys, p = counts[..., Pulse.STRONG :, Pulse.STRONG :, :].sum(axis=-1), source.probabilities
    sent = pulses[..., None, None] * np.multiply.outer(p[Pulse.STRONG :], p[Pulse.STRONG :])
    low, high = (decoys, decoys) if bound == "asymptotic" else dependent_mean(decoys, shares.phase)
    yields, tail = highest_yields(low / sent, high / sent, source)
    errors = pulses * p[Pulse.KEY] ** 2 * phase_error_gain(yields, source.key_mean_photon_number, tail=tail)
    if bound == "chernoff":
        errors = dependent_count(errors, shares.phase)
    return _key(counts[..., Pulse.KEY, Pulse.KEY, :].sum(axis=-1), errors, leaked_bit, overhead_bit)


def highest_yields(low: Array, high: Array, source: TwinFieldSource) -> tuple[Array, Array]:
    """Upper bounds on the yields of n and m photons (..., n, m), and on what higher ones add (..., 2), from bounds on gains (..., 3, 3).

    Each of five combinations of one sender's intensities (vacuum; weak or strong less vacuum; the two so that n = 1 drops out; strong)
    weighs no photon number negatively. So does the product of two, one for each sender, and bounds each yield that it weighs.
    """
    strong, weak = source.decoy_mean_photon_numbers
    n = np.arange(HIGHEST_PHOTON_NUMBER + 1.0)
    lit = n >= 1.0
    growth = {mu: np.where(lit, mu ** np.maximum(n - 1.0, 0.0), 0.0) / factorial(n) for mu in (strong, weak)}
    weights = np.stack(
        [
            n == 0.0,
            growth[weak],
            growth[strong],
            np.where(n >= 2.0, growth[strong] - growth[weak], 0.0) / (strong - weak),
            strong**n / factorial(n),
        ]
    )
    curvature = np.array([1.0 / strong, -1.0 / weak, 1.0 / weak - 1.0 / strong]) / (strong - weak)
    lift = np.exp([strong, weak, 0.0])
    mixtures = np.array([[0, 0, 1], [0, 1 / weak, -1 / weak], [1 / strong, 0, -1 / strong], curvature, [1, 0, 0]]) * lift
    pairs = np.einsum("fa,gb->fgab", mixtures, mixtures)
    totals = np.einsum("fgab,...ab->...fg", np.maximum(pairs, 0.0), high) - np.einsum("fgab,...ab->...fg", np.maximum(-pairs, 0.0), low)
    with np.errstate(divide="ignore", invalid="ignore"):
        candidates = np.maximum(totals, 0.0)[..., None, None] / np.einsum("fn,gm->fgnm", weights, weights)
    yields = np.where(np.isnan(candidates), np.inf, candidates).min(axis=(-4, -3))
    ratio = source.key_mean_photon_number / strong
    series = unknown_amplitude(np.sqrt(ratio) ** np.arange(SERIES_TERMS + 1.0))
    scale = np.exp(strong - source.key_mean_photon_number) * np.sqrt(high[..., 0, 0])
    return yields, scale[..., None] * series


def dependent_mean(counts: ArrayLike, failure: float) -> tuple[Array, Array]:
    """Lower and upper bound on the sum over rounds of the chances that ``counts`` realised, each given all rounds before; shape as given.

    exp(x count - (e^x - 1) sum) is a supermartingale for every x, of mean 1 at most (as in Freedman 1975, doi:10.1214/aop/1176996452),
    and Markov's inequality bounds it. ``failure`` is that of either side, shared by all of `TILTS`.
    """
    seen, cost = np.asarray(counts, float)[..., None], np.log(TILTS.size / failure)
    low = ((TILTS * seen - cost) / np.expm1(TILTS)).max(axis=-1)
    return np.maximum(low, 0.0), ((TILTS * seen + cost) / -np.expm1(-TILTS)).min(axis=-1)


def dependent_count(mean: ArrayLike, failure: float) -> Array:
    """Upper bound on a count whose chances, each given all rounds before, add up to ``mean`` at most; the same inequality."""
    total, cost = np.asarray(mean, float)[..., None], np.log(TILTS.size / failure)
    return np.asarray(((np.expm1(TILTS) * total + cost) / TILTS).min(axis=-1))


def _key(bits: Array, errors: Array, leaked_bit: ArrayLike, overhead_bit: float) -> TwinFieldKey:
    """The key of ``bits`` with at most ``errors`` phase errors; length 0 where they say nothing."""
    phase_error = np.divide(errors, bits, out=np.full(bits.shape, 0.5), where=errors < 0.5 * bits)
    length = bits * (1.0 - binary_entropy(phase_error)) - np.asarray(leaked_bit, float) - overhead_bit
    return TwinFieldKey(np.maximum(0.0, length), bits, phase_error)


def _overhead_bit(shares: FailureShares, epsilon_correctness: float, bound: Bound) -> float:
    """Bits that verification and amplification cost."""
    require_within("epsilon_correctness", epsilon_correctness, *EPSILON_LIMITS)
    require_bound(bound)
    return 0.0 if bound == "asymptotic" else float(np.log2(2.0 / epsilon_correctness) - 2.0 * np.log2(2.0 * shares.amplification))


def _checked(counts: ArrayLike, pulses: ArrayLike, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Counts and pulses as arrays; raises InputError unless counts end in ``shape`` and none is negative, and there are pulses."""
    seen, sent = np.asarray(counts, float), np.asarray(pulses, float)
    if seen.shape[-len(shape) :] != shape or not (np.isfinite(seen) & (seen >= 0.0)).all():
        raise InputError("counts", seen.shape, f"must be counts of shape (..., {', '.join(map(str, shape))})")
    if not (np.isfinite(sent) & (sent >= 1.0)).all():
        raise InputError("pulses", pulses, "must be at least 1")
    return seen, np.broadcast_to(sent, seen.shape[: -len(shape)])
