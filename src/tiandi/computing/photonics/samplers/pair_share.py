"""How much of pairs' correlation comes from independent pairs, so that three modes at a time are right as well.

A latent Gaussian ties three rare clicks together too strongly, independent pairs not at all; both can give the same covariances. The share
of the pairs is found from three-mode cumulants of clicks. Those of the corrected sampler are averages over the hidden amplitudes and over
the correlated part of z: z = sqrt(1 - a) u + sqrt(a) v with v independent, a the smallest eigenvalue of R, so that clicks given amplitudes
and u are independent, dark with probability Phi((t - sqrt(1 - a) u) / sqrt(a)). That has far less noise than clicks themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tiandi.computing.photonics.exact.clicks import click_moments
from tiandi.computing.photonics.exact.light import IntArray
from tiandi.computing.photonics.gaussian import FloatArray, Machine
from tiandi.computing.photonics.samplers.latent_fit import Exact, Latent, Task, fit_latent, latent_thresholds
from tiandi.computing.photonics.samplers.light import Float32Array
from tiandi.computing.photonics.samplers.normal import normal_probability
from tiandi.computing.photonics.samplers.pair_clicks import PairClicks, log_ratios

SMALLEST_PART, LARGEST_PART = 0.01, 0.99
SMALLEST_EXCESS = 0.02
"""Of the slope of three-mode cumulants without pairs, below which there are none."""
SMALLEST_CUMULANT = 1e-8
"""Of three modes; where all are smaller, no fit would see them."""
TRIED_SHARE = 0.8
LARGEST_SHARE = 1.2
TRIPLES = 2000
DRAWS = 80_000
BLOCKS = 48
BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Triples:
    """Some sets of three modes, and what they have to be."""

    rows: IntArray
    """(n, 3)."""
    cumulants: FloatArray
    """(n,): exact, of clicks."""


def choose_pairs(machine: Machine, task: Task, generator: np.random.Generator, draws: int) -> PairClicks | None:
    """The pairs with which the slope of three-mode cumulants over the exact ones is one; None where they would not help.

    Pairs come at rates that are a share of what the hidden amplitudes' covariances lack. Two fits, without and with a share of 0.8, on at
    most 80,000 draws each; between them the slope is taken as linear.
    """
    if task.exact is None or machine.modes < 3:
        return None
    triples = strongest_triples(machine, task.exact)
    if np.abs(triples.cumulants).max() < SMALLEST_CUMULANT:
        return None
    without, slope = _tried(task, None, triples, generator, draws)
    if slope < 1 + SMALLEST_EXCESS:
        return None
    assert without.deficit is not None
    lacking = np.maximum(log_ratios(task.exact.rates, without.deficit), 0.0)
    _, lower = _tried(task, PairClicks(TRIED_SHARE * lacking), triples, generator, draws)
    if lower >= slope:
        return None
    return PairClicks(min(TRIED_SHARE * (slope - 1) / (slope - lower), LARGEST_SHARE) * lacking)


def _tried(task: Task, pairs: PairClicks | None, triples: Triples, generator: np.random.Generator, draws: int) -> tuple[Latent, float]:
    assert task.exact is not None
    latent = Latent(np.zeros(len(task.exact.rates)), np.ones(len(task.exact.rates)), pairs=pairs)
    fit_latent(task, latent, generator, min(draws, DRAWS))
    return latent, triple_slope(task, latent, triples, generator)


def strongest_triples(machine: Machine, exact: Exact) -> Triples:
    """Those sets of three modes whose pairs' cumulants have the 2,000 largest products, with their own: few triples have most of them."""
    modes, strength = machine.modes, np.abs(exact.covariance)
    rows = np.concatenate([_strongest_of(first, strength) for first in range(modes - 2)])
    i, j, k = rows.T
    kept = np.argsort(-strength[i, j] * strength[i, k] * strength[j, k], kind="stable")[:TRIPLES]
    rows = rows[kept]
    i, j, k = rows.T
    rates, covariance = exact.rates, exact.covariance
    lower = covariance[i, j] * rates[k] + covariance[i, k] * rates[j] + covariance[j, k] * rates[i] + rates[i] * rates[j] * rates[k]
    return Triples(rows, click_moments(machine, 3, rows) - lower)


def _strongest_of(first: int, strength: FloatArray) -> IntArray:
    """The 2,000 strongest sets (n, 3) whose lowest mode is ``first``."""
    second, third = np.triu_indices(len(strength) - first - 1, 1)
    second, third = second + first + 1, third + first + 1
    product = strength[first, second] * strength[first, third] * strength[second, third]
    kept = np.argsort(-product, kind="stable")[:TRIPLES]
    return np.stack([np.full(len(kept), first), second[kept], third[kept]], axis=1)


def triple_slope(task: Task, latent: Latent, triples: Triples, generator: np.random.Generator) -> float:
    """Slope of the fitted sampler's three-mode cumulants over the exact ones, without the noise of clicks."""
    assert latent.correlations is not None
    own, mixing = independent_part(latent.correlations)
    columns, sides = triples.rows.T, list(combinations(range(3), 2))
    ones, twos, threes = np.zeros(len(latent.shift)), np.zeros((3, len(triples.rows))), np.zeros(len(triples.rows))
    for _ in range(BLOCKS):
        thresholds = latent_thresholds(task, latent, task.light.all_parts(BLOCK, generator))[0]
        thresholds -= generator.standard_normal(thresholds.shape, np.float32) @ mixing
        thresholds *= np.float32(1 / np.sqrt(own))
        dark = np.ascontiguousarray(normal_probability(thresholds).T)
        ones += dark.mean(axis=1, dtype=float) / BLOCKS
        each = [dark[column] for column in columns]
        pairs = [each[a] * each[b] for a, b in sides]
        twos += np.stack([pair.mean(axis=1, dtype=float) for pair in pairs]) / BLOCKS
        threes += np.multiply(pairs[0], each[2], out=pairs[0]).mean(axis=1, dtype=float) / BLOCKS
    if latent.pairs is not None:
        gains = np.stack([latent.pairs.gain[columns[a], columns[b]] for a, b in sides])
        alone = latent.pairs.dark
        ones *= alone
        twos *= gains * np.stack([alone[columns[a]] * alone[columns[b]] for a, b in sides])
        threes *= gains.prod(axis=0) * alone[columns].prod(axis=0)
    x, y, z = ones[columns]
    cumulants = -(threes - twos[0] * z - twos[1] * y - twos[2] * x + 2 * x * y * z)
    return float(cumulants @ triples.cumulants / (triples.cumulants @ triples.cumulants))


def independent_part(correlations: FloatArray) -> tuple[float, Float32Array]:
    """a, and what normals have to be multiplied by to be sqrt(1 - a) u, of correlations R - a; a is at least 0.01."""
    values, vectors = np.linalg.eigh(correlations)
    own = min(max(float(values[0]), SMALLEST_PART), LARGEST_PART)
    return own, ((vectors * np.sqrt(np.maximum(values - own, 0.0))) @ vectors.T).astype(np.float32)
