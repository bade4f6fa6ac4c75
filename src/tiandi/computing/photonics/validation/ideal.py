"""The yardstick: everything exact that samples are held against, worked out once for a machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tiandi.computing.photonics.exact.clicks import click_moments, pattern_probabilities
from tiandi.computing.photonics.exact.light import dark_probability, is_pure_light, seen_state
from tiandi.computing.photonics.gaussian import Detectors, FloatArray, Machine
from tiandi.computing.photonics.validation.grouped import ideal_totals
from tiandi.computing.photonics.validation.moments import pair_cumulants, triple_cumulants
from tiandi.computing.photonics.validation.tally import DEFAULT_EXTENT, Extent, IntArray, Plan, close_modes, make_plan
from tiandi.computing.photonics.validation.totals import Distribution

Progress = Callable[[str, int, int], None]
LEAST_PROBABILITY = 1e-18
"""Below this a pattern's probability is what rounding left of it."""


@dataclass(frozen=True, eq=False)
class CountMoments:
    """Exact moments of detectors that count."""

    rates: FloatArray
    """(modes,): mean counts."""
    pairs: FloatArray
    """(close, close): covariance of counts, on the diagonal the variances."""
    triples: FloatArray
    """(anchors, close, close): third cumulants of an anchor with two others; entries with a mode twice are not used."""


@dataclass(frozen=True, eq=False)
class Ideal:
    """What exact samples of a machine would show, for everything that a plan counts."""

    machine: Machine
    plan: Plan
    rates: FloatArray
    """(modes,): probabilities of a click (of any count)."""
    pairs: FloatArray
    """Two-mode cumulants of ``plan.close``."""
    triples: FloatArray
    patterns: Mapping[str, FloatArray]
    """(sets, 2**size), by name as the plan's subsets."""
    counts: CountMoments | None
    """Of detectors that count; None for threshold detectors."""
    total_mean: float
    total_deviation: float | None
    """Standard deviation of the total; None where the machine is too large."""
    totals: Distribution | None
    """Of clicks, or counts, in all; None where the machine is too large."""
    grouped: tuple[Distribution, ...]
    """Of the clicks in both parts of each partition; empty where the machine is too large."""


def count_moments(machine: Machine, close: IntArray, anchors: IntArray) -> CountMoments:
    """Exact moments of counts: of pseudo-number detectors from clicks of single bins, of number detectors from the Gaussian state.

    A bin sees 1/bins of its mode's light. Joint factorial cumulants of photon numbers are, with W = (V - 1)/2 and its 2 x 2 blocks W_ij,
    tr(W_ij W_ji)/2 of two modes and tr(W_ij W_jk W_ki) of three: from the generating function det(1 + W L)^(-1/2), L = diag(1 - z).
    """
    part = replace(machine, transfer=machine.transfer[close])
    bins, dark = machine.detectors.bins, machine.detectors.dark_count_probability
    size = len(close)
    if machine.detectors.kind == "number":
        photons = np.abs(machine.transfer) ** 2 @ np.sinh(machine.squeezing_r) ** 2
        state, seen = seen_state(part)
        excess = (state.covariance - np.eye(2 * state.modes)) / 2
        fold = np.zeros((size, 2 * state.modes))
        fold[np.tile(seen, 2), np.arange(2 * state.modes)] = 1
        pairs = fold @ excess**2 @ fold.T / 2 + np.diag(photons[close] + dark * (1 - dark))
        triples = np.array([fold @ ((excess * fold[anchor]) @ excess * excess) @ fold.T for anchor in anchors])
        return CountMoments(photons + dark, pairs, triples.reshape(len(anchors), size, size))
    bin_of = replace(machine, transfer=machine.transfer / math.sqrt(bins), detectors=Detectors("threshold", 1, dark))
    rates = click_moments(bin_of, 1)
    of_close = replace(bin_of, transfer=bin_of.transfer[close])
    twice = replace(bin_of, transfer=np.repeat(bin_of.transfer[close], 2, axis=0))
    own = click_moments(twice, 2, np.arange(2 * size).reshape(-1, 2)) - rates[close] ** 2
    pairs = np.diag(bins * rates[close] * (1 - rates[close]) + bins * (bins - 1) * own)
    first, second = np.triu_indices(size, 1)
    joint = np.zeros((size, size))
    joint[first, second] = click_moments(of_close, 2)
    joint += joint.T
    near = rates[close]
    pairs += bins**2 * (joint - np.outer(near, near)) * (1 - np.eye(size))
    triples = np.zeros((len(anchors), size, size))
    for number, anchor in enumerate(anchors):
        others = (first != anchor) & (second != anchor)
        j, k = first[others], second[others]
        product = click_moments(of_close, 3, np.stack([np.full(len(j), anchor), j, k], axis=1))
        a, b, c = near[anchor], near[j], near[k]
        third = product - joint[anchor, j] * c - joint[anchor, k] * b - joint[j, k] * a + 2 * a * b * c
        triples[number, j, k] = triples[number, k, j] = bins**3 * third
    return CountMoments(bins * rates, pairs, triples)


def make_ideal(
    machine: Machine,
    generator: np.random.Generator,
    *,
    extent: Extent = DEFAULT_EXTENT,
    phase_space_samples: int = 60_000,
    progress: Progress = lambda what, done, total: None,
) -> Ideal:
    """All of the machine's exact figures for a plan drawn with ``generator``.

    ``phase_space_samples`` go into the distributions of totals, whose own error is told with them.
    """
    close = close_modes(machine, generator)
    rates = click_moments(machine, 1)
    part = replace(machine, transfer=machine.transfer[close])
    progress("exact pairs and triples", 0, 4)
    # Where a covariance says everything, reading it is quicker than making it anew for each set of modes.
    light = part.state() if is_pure_light(part) and not dark_probability(part) else part
    products = click_moments(light, 2)
    pairs = pair_cumulants(rates[close], products)
    triples = triple_cumulants(rates[close], products, click_moments(light, 3))
    spread = np.sqrt(rates[close] * (1 - rates[close]))
    closeness = np.zeros((len(close), len(close)))
    closeness[np.triu_indices(len(close), 1)] = pairs
    closeness = (closeness + closeness.T) / np.maximum(np.outer(spread, spread), 1e-12)
    plan = make_plan(machine, close, closeness, generator, extent)
    progress("exact patterns", 1, 4)
    patterns = {
        name: np.maximum([pattern_probabilities(machine, modes) for modes in sets], LEAST_PROBABILITY)
        for name, sets in plan.subsets.items()
    }
    counts = count_moments(machine, close, plan.anchors) if plan.largest_count > 1 else None
    progress("distributions of totals", 2, 4)
    totals, grouped = ideal_totals(machine, plan, generator, phase_space_samples)
    mean = float(rates.sum() if counts is None else counts.rates.sum())
    if machine.modes > len(close):
        deviation = None if totals is None else _deviation(totals.probabilities)
    else:
        variance = float((rates * (1 - rates)).sum() + 2 * pairs.sum()) if counts is None else float(counts.pairs.sum())
        deviation = math.sqrt(variance)
    progress("ideal", 4, 4)
    return Ideal(machine, plan, rates, pairs, triples, patterns, counts, mean, deviation, totals, grouped)


def _deviation(probabilities: FloatArray) -> float:
    values = np.arange(len(probabilities))
    mean = float(probabilities @ values)
    return math.sqrt(float(probabilities @ (values - mean) ** 2))
