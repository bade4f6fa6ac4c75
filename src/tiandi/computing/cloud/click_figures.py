"""Totals and correlations of a photonic job's samples, beside the ideal ones of its light and, where that is public, the experiment's.

Runs in the process that reads for a server. The ideal figures of a light are worked out once; samples are looked at as the judge does
(`photonics.validation`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.cloud.clicks import ClickAgreement, ClickFigure, ClickFigures, ClickPairs, ClickTotals
from tiandi.computing.cloud.jobs import Outcome
from tiandi.computing.photonics.exact.clicks import click_cumulants, click_moments
from tiandi.computing.photonics.gaussian import Detectors, FloatArray, Machine
from tiandi.computing.photonics.public_data import Published
from tiandi.computing.photonics.samplers.phase_space import PhaseSpaceSampler
from tiandi.computing.photonics.validation.estimates import Estimate
from tiandi.computing.photonics.validation.grouped import ideal_totals
from tiandi.computing.photonics.validation.judge import SHOTS
from tiandi.computing.photonics.validation.moments import Agreement, agreement, pair_cumulants, published_click_agreement
from tiandi.computing.photonics.validation.tally import BLOCKS, LEAST_SAMPLES, MOST_CLOSE, Plan
from tiandi.computing.photonics.validation.totals import Distribution
from tiandi.random import twin_generator

MOST_PAIRS = 2_000
FIELDS, FIELDS_OF_BINS = 61_440, 20_480
"""Of phase-space sampling: the distribution of totals is then known to a few thousandths of its largest entry, of bins to a hundredth."""
LEAST_CUMULANT = 1e-12
"""Where all ideal ones are below, there is nothing to agree with."""
LEAST_SHARE = 1e-6
KEPT = 8


@dataclass(frozen=True, eq=False)
class IdealClicks:
    """What exact samples of some modes of a light would show, and the experiment did."""

    rates: FloatArray
    pairs: FloatArray
    """Two-mode cumulants of all pairs i < j."""
    totals: Distribution
    total_mean: float
    experiment: FloatArray | None
    """Its two-mode cumulants, where its moments are public."""
    experiment_agreement: ClickAgreement | None


_kept: dict[Hashable, IdealClicks] = {}
"""The last few lights of this process."""


def click_figures(
    outcome: Outcome, told: list[int], *, key: Hashable, build: Callable[[], Machine], published: Published | None = None
) -> ClickFigures:
    """Figures of ``outcome``, of the modes ``told`` or of their sum, and of the machine that ``build`` gives, known by ``key``.

    ``published`` are the experiment's statistics of the same light. Of more than 160 modes 160 are looked at; of their sum alone no ideal
    figures are worked out.
    """
    values = outcome.values()
    if outcome.qubits == [-1]:
        ideal = _ideal(key, build, told, published) if len(told) <= MOST_CLOSE else None
        return ClickFigures(modes=told, looked_at=told, totals=_totals(values[:, 0], ideal, told, published), pairs=None)
    columns = np.arange(len(told)) if len(told) <= MOST_CLOSE else np.linspace(0, len(told) - 1, MOST_CLOSE).round().astype(int)
    seen = [told[column] for column in columns]
    ideal = _ideal(key, build, seen, published)
    kept = values[:, columns]
    totals = _totals(kept.sum(axis=1, dtype=np.int64), ideal, seen, published)
    pairs = _pairs(kept, ideal, seen) if len(seen) > 1 and outcome.shots > 1 else None
    return ClickFigures(modes=told, looked_at=seen, totals=totals, pairs=pairs)


def _ideal(key: Hashable, build: Callable[[], Machine], modes: list[int], published: Published | None) -> IdealClicks:
    whole = (key, tuple(modes))
    if whole not in _kept:
        while len(_kept) >= KEPT:
            del _kept[next(iter(_kept))]
        machine = build()
        _kept[whole] = _worked_out(replace(machine, transfer=machine.transfer[modes]), modes, published)
    return _kept[whole]


def _worked_out(part: Machine, modes: list[int], published: Published | None) -> IdealClicks:
    generator = twin_generator(1, "cloud", "ideal clicks")
    size = part.modes
    halves = (np.arange(size) < size // 2).astype(np.float32)[:, None]
    plan = Plan(size, part.detectors.bins, np.arange(size), np.zeros(0, np.int64), {}, halves)
    totals, _ = ideal_totals(part, plan, generator, FIELDS if part.detectors.bins == 1 else FIELDS_OF_BINS)
    assert totals is not None  # There are at most 160 modes.
    rates, pairs = click_moments(part, 1), click_cumulants(part)[np.triu_indices(size, 1)]
    experiment, agrees = None, None
    if published is not None and published.pair_moments is not None and size > 1:
        own = _of_modes(published, published.pair_moments, modes)
        experiment = pair_cumulants(own.rates, np.asarray(own.pair_moments))
        shots = PhaseSpaceSampler(part, "squeezed").sample(SHOTS, generator)
        found, _ = published_click_agreement(own, (pairs, np.zeros(0)), shots, generator)
        agrees = None if found is None else _told(found)
    return IdealClicks(rates, pairs, totals, _total_mean(part, totals), experiment, agrees)


def _total_mean(part: Machine, totals: Distribution) -> float:
    """Exact: of bins from the rate of one, which sees its share of the light."""
    if part.detectors.kind == "number":
        return float(totals.probabilities @ np.arange(len(totals.probabilities)))
    bins, dark = part.detectors.bins, part.detectors.dark_count_probability
    one = replace(part, transfer=part.transfer / math.sqrt(bins), detectors=Detectors("threshold", 1, dark))
    return float(bins * click_moments(one, 1).sum())


def _of_modes(published: Published, moments: FloatArray, modes: list[int]) -> Published:
    """Rates and pair moments of some modes, in their order."""
    table = np.zeros((published.modes, published.modes))
    table[np.triu_indices(published.modes, 1)] = moments
    part = (table + table.T)[np.ix_(modes, modes)]
    return replace(published, rates=published.rates[modes], pair_moments=part[np.triu_indices(len(modes), 1)], triple_moments=None)


def _totals(sums: NDArray[np.integer], ideal: IdealClicks | None, modes: list[int], published: Published | None) -> ClickTotals:
    counts = np.bincount(sums)
    expected = None if ideal is None else ideal.totals
    seen = None if published is None or len(modes) < published.modes else published.total
    shares = [each for each in (None if expected is None else expected.probabilities, seen) if each is not None]
    length = max(len(counts), *map(_length, shares), 1)
    return ClickTotals(
        samples=_padded(counts, length).tolist(),
        ideal=None if expected is None else _padded(expected.probabilities, length).tolist(),
        ideal_errors=None if expected is None else _padded(expected.errors, length).tolist(),
        ideal_mean=None if ideal is None else ideal.total_mean,
        source=f"not worked out for the sum of more than {MOST_CLOSE} modes" if expected is None else expected.source,
        experiment=None if seen is None else _padded(seen, length).tolist(),
    )


def _length(shares: FloatArray) -> int:
    return int(np.flatnonzero(shares > LEAST_SHARE).max(initial=0)) + 1


def _padded(values: NDArray[np.generic], length: int) -> NDArray[np.generic]:
    return np.pad(values[:length], (0, max(length - len(values), 0)))


def _pairs(values: NDArray[np.integer], ideal: IdealClicks, modes: list[int]) -> ClickPairs:
    """Of ``values`` (samples, modes), of which any above 0 is a click."""
    first, second = np.triu_indices(len(modes), 1)
    clicks, products, samples = [], [], []
    for block in np.array_split(values, min(BLOCKS, len(values))):
        on = (block > 0).astype(np.float32)
        clicks.append(on.sum(axis=0, dtype=float))
        products.append((on.T @ on)[first, second].astype(float))
        samples.append(len(block))
    one, two, number = np.array(clicks), np.array(products), len(values)

    def cumulants(block: int | None) -> FloatArray:
        rest = number - (0 if block is None else samples[block])
        without = (0.0, 0.0) if block is None else (one[block], two[block])
        return pair_cumulants((one.sum(axis=0) - without[0]) / rest, (two.sum(axis=0) - without[1]) / rest, rest)

    found, exact = cumulants(None), ideal.pairs
    agrees = None
    if number >= LEAST_SAMPLES and np.abs(exact).max() > LEAST_CUMULANT:
        agrees = _told(agreement(found, cumulants, BLOCKS, exact))
    spread, tilt = ideal.rates * (1 - ideal.rates), 1 - 2 * ideal.rates
    noise = np.maximum(spread[first] * spread[second] + tilt[first] * tilt[second] * exact - exact**2, 0.0) / number
    chosen = chosen_pairs(exact)
    return ClickPairs(
        modes=[(modes[i], modes[j]) for i, j in zip(first[chosen].tolist(), second[chosen].tolist(), strict=True)],
        ideal=exact[chosen].tolist(),
        samples=found[chosen].tolist(),
        experiment=None if ideal.experiment is None else ideal.experiment[chosen].tolist(),
        all=len(exact),
        standard_error=float(np.sqrt(noise.mean())),
        agreement=agrees,
        experiment_agreement=ideal.experiment_agreement,
    )


def chosen_pairs(exact: FloatArray) -> NDArray[np.int64]:
    """Places, rising, of at most 2,000 of the cumulants ``exact``: the strongest half, and of the rest as many evenly spread."""
    if len(exact) <= MOST_PAIRS:
        return np.arange(len(exact))
    order = np.argsort(-np.abs(exact), kind="stable")
    strongest, rest = order[: MOST_PAIRS // 2], np.sort(order[MOST_PAIRS // 2 :])
    spread = rest[np.linspace(0, len(rest) - 1, MOST_PAIRS - len(strongest)).round().astype(int)]
    return np.sort(np.concatenate([strongest, spread]))


def _told(found: Agreement) -> ClickAgreement:
    return ClickAgreement(slope=_figure(found.slope), relative_error=_figure(found.relative_error))


def _figure(estimate: Estimate) -> ClickFigure:
    return ClickFigure(value=estimate.value, error=estimate.error)
