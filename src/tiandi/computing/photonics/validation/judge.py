"""The judge: samples and the experiment against the ideal machine, figure by figure, and in order."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiandi.computing.photonics.gaussian import CountArray, FloatArray, Machine
from tiandi.computing.photonics.public_data import Published
from tiandi.computing.photonics.samplers.phase_space import PhaseSpaceSampler
from tiandi.computing.photonics.validation.bayesian import Odds, Trial, make_trial, odds
from tiandi.computing.photonics.validation.counts import count_agreement
from tiandi.computing.photonics.validation.estimates import Estimate
from tiandi.computing.photonics.validation.ideal import Ideal, Progress, make_ideal
from tiandi.computing.photonics.validation.moments import (
    Agreement,
    click_agreement,
    pair_cumulants,
    published_click_agreement,
    published_rates,
    rate_error,
    triple_cumulants,
)
from tiandi.computing.photonics.validation.ranking import Place, failures, rank
from tiandi.computing.photonics.validation.subsets import high_orders, set_scores
from tiandi.computing.photonics.validation.tally import DEFAULT_EXTENT, Extent, Tally, tally
from tiandi.computing.photonics.validation.totals import Fit, TotalScores, counted_fit, published_fit, published_total_scores, total_scores
from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.random import twin_generator

EXPERIMENT = "experiment"
MOST_MODES = 16_384
SHOTS = 4_000
"""Of positive-P samples, that say how much the experiment's moments scatter together: to a few per cent of the error bars."""
HANGING_TOGETHER = 2.5
"""Times the error of the mean total may be that of independent samples, before it is told: with 20 blocks no chance goes so far."""
Samples = CountArray | Iterable[CountArray]


@dataclass(frozen=True, eq=False)
class Score:
    """Everything that is said of one participant."""

    name: str
    samples: int
    figures: dict[str, Estimate]
    """By key of `ranking.CRITERIA`."""
    odds: tuple[Odds, ...]
    """Against each mock-up; empty for the experiment, whose samples are not public."""
    failures: tuple[str, ...]
    """Where it departs from the ideal, in words."""
    histogram: FloatArray
    """Shares of the total."""
    pairs: FloatArray
    """Measured two-mode cumulants, in the order of the ideal's; empty where they are not public."""
    triples: FloatArray


@dataclass(frozen=True, eq=False)
class Verdict:
    """All scores, who is closest, and what they were held against."""

    machine: str
    ideal: Ideal
    scores: tuple[Score, ...]
    ranking: tuple[Place, ...]
    seed: int

    def as_json(self) -> dict[str, Any]:
        """As plain values: every figure with its error, its ideal, and the method of the error."""
        return {
            "machine": self.machine,
            "modes": self.ideal.machine.modes,
            "detectors": self.ideal.machine.detectors.kind,
            "seed": self.seed,
            "ideal": {
                "total_mean": self.ideal.total_mean,
                "total_deviation": self.ideal.total_deviation,
                "totals": None if self.ideal.totals is None else self.ideal.totals.probabilities.tolist(),
                "totals_errors": None if self.ideal.totals is None else self.ideal.totals.errors.tolist(),
                "totals_source": None if self.ideal.totals is None else self.ideal.totals.source,
            },
            "ranking": [dataclasses.asdict(place) for place in self.ranking],
            "scores": [
                {
                    "name": score.name,
                    "samples": score.samples,
                    "figures": {key: _plain(estimate) for key, estimate in score.figures.items()},
                    "odds": [
                        {
                            **dataclasses.asdict(item),
                            "small_sets": _plain(item.small_sets),
                            "wide": item.wide and _plain(item.wide),
                            "whole": item.whole and _plain(item.whole),
                        }
                        for item in score.odds
                    ],
                    "failures": list(score.failures),
                    "histogram": score.histogram.tolist(),
                }
                for score in self.scores
            ],
        }


def validate(
    machine: Machine,
    samples: Mapping[str, Samples],
    published: Published | None = None,
    *,
    seed: int = 1,
    extent: Extent = DEFAULT_EXTENT,
    phase_space_samples: int = 60_000,
    progress: Progress = lambda what, done, total: None,
) -> Verdict:
    """Judge each of ``samples``, whole or in batches, and the experiment where ``published``, against the ideal ``machine``.

    Samples are (number, modes), at least 1,000, in no order that matters to who drew them. Raises InputError for samples that no such
    machine gives. Memory: some 0.6 GiB beside the batch, whatever the number of samples.
    """
    if not samples and published is None:
        raise InputError("samples", 0, "must hold at least one set, or name the experiment's statistics")
    if EXPERIMENT in samples:
        raise InputError("samples", EXPERIMENT, "is the name of the published statistics; choose another")
    if published is not None and (published.modes != machine.modes or machine.detectors.kind != "threshold"):
        raise InputError("published", published.modes, f"must be of {machine.modes} modes with threshold detectors, as the machine")
    require_within("modes", machine.modes, 3, MOST_MODES)
    generator = twin_generator(seed, "photonics", "judge")
    ideal = make_ideal(machine, generator, extent=extent, phase_space_samples=phase_space_samples, progress=progress)
    trial = make_trial(ideal, generator)
    scores = []
    for number, (name, given) in enumerate(samples.items()):
        progress(name, number, len(samples))
        scores.append(score_samples(name, tally(ideal.plan, given), ideal, trial))
    if published is not None:
        scores.append(score_published(published, ideal, generator))
    return Verdict(machine.name, ideal, tuple(scores), rank({score.name: score.figures for score in scores}), seed)


def score_samples(name: str, counted: Tally, ideal: Ideal, trial: Trial) -> Score:
    """All figures of one set of samples that was counted by the ideal's plan."""
    plan, samples = ideal.plan, counted.samples
    clicks = counted.clicks[:, plan.close]
    pairs, triples = click_agreement(clicks, counted.pairs, counted.triples, samples, (ideal.pairs, ideal.triples))
    totals = total_scores(counted.totals, samples, mean=ideal.total_mean, deviation=ideal.total_deviation, ideal=ideal.totals)
    figures = {"rate_error": rate_error(counted.clicks, samples, ideal.rates), **_total_figures(totals)}
    fits = [counted_fit(counted.grouped[:, part], samples, expected) for part, expected in enumerate(ideal.grouped)]
    figures |= _grouped_figures(fits)
    figures |= _agreement_figures("pair", pairs) | _agreement_figures("triple", triples)
    for order, found in high_orders(counted.patterns["random 8"], samples, ideal.patterns["random 8"]).items():
        figures |= _agreement_figures(f"order_{order}", found)
    for kind, counts in counted.patterns.items():
        scores = set_scores(counts, samples, ideal.patterns[kind])
        figures |= {
            f"{kind.replace(' ', '_')}_{field.name}": value
            for field in dataclasses.fields(scores)
            if isinstance(value := getattr(scores, field.name), Estimate)
        }
    if ideal.counts is not None:
        rates, two, three = count_agreement(counted, ideal.counts)
        figures |= {"count_rate_error": rates} | _agreement_figures("count_pair", two) | _agreement_figures("count_triple", three)
    tests = odds(trial, counted.patterns["clustered 12"], samples, np.concatenate(counted.kept))
    number = float(samples.sum())
    rates_of_close, products = clicks.sum(axis=0) / number, counted.pairs.sum(axis=0) / number
    return Score(
        name,
        int(number),
        figures,
        tests,
        (*failures(figures, tests), *_order(figures, number)),
        counted.totals.sum(axis=0) / number,
        pair_cumulants(rates_of_close, products),
        triple_cumulants(rates_of_close, products, counted.triples.sum(axis=0) / number),
    )


def score_published(published: Published, ideal: Ideal, generator: np.random.Generator) -> Score:
    """The experiment itself, as far as its statistics are public. Error bars are of sampling; the calibration's own is not known."""
    totals = published_total_scores(
        published.total, published.samples, mean=ideal.total_mean, deviation=ideal.total_deviation, ideal=ideal.totals
    )
    figures = {"rate_error": published_rates(published, ideal.rates), **_total_figures(totals)}
    if ideal.grouped:
        figures |= _grouped_figures([published_fit(published.halves, published.samples, ideal.grouped[0])])
    shots = PhaseSpaceSampler(ideal.machine, "squeezed").sample(SHOTS, generator)
    pairs, triples = published_click_agreement(published, (ideal.pairs, ideal.triples), shots, generator)
    measured = [np.empty(0), np.empty(0)]
    if pairs is not None and published.pair_moments is not None:
        figures |= _agreement_figures("pair", pairs)
        measured[0] = pair_cumulants(published.rates, published.pair_moments)
        if triples is not None and published.triple_moments is not None:
            figures |= _agreement_figures("triple", triples)
            measured[1] = triple_cumulants(published.rates, published.pair_moments, published.triple_moments)
    histogram = published.total / published.total.sum()
    return Score(EXPERIMENT, published.samples, figures, (), failures(figures), histogram, measured[0], measured[1])


def _order(figures: dict[str, Estimate], samples: float) -> tuple[str, ...]:
    """A word on samples that are sorted or repeat each other: their runs differ by more than chance."""
    wider = figures["total_mean"].error * math.sqrt(samples) / max(figures["total_deviation"].value, 1e-12)
    if wider < HANGING_TOGETHER:
        return ()
    return (
        f"samples next to each other are alike, as if sorted or repeated: error bars are {wider:.2g} times as wide as of independent ones",
    )


def _total_figures(scores: TotalScores) -> dict[str, Estimate]:
    figures = {"total_mean": scores.mean, "total_deviation": scores.deviation}
    if scores.fit is not None:
        figures |= {"total_distance": scores.fit.distance, "total_chi_square": scores.fit.chi_square}
    return figures


def _grouped_figures(fits: list[Fit]) -> dict[str, Estimate]:
    """Of the partition in order, and the worst chi-square and distance of the random ones."""
    if not fits:
        return {}
    figures = {"halves_distance": fits[0].distance, "halves_chi_square": fits[0].chi_square}
    if len(fits) > 1:
        figures["partitions_distance"] = max((fit.distance for fit in fits[1:]), key=lambda item: item.value)
        figures["partitions_chi_square"] = max((fit.chi_square for fit in fits[1:]), key=lambda item: item.value)
    return figures


def _agreement_figures(key: str, found: Agreement) -> dict[str, Estimate]:
    names = ("slope", "correlation", "residual", "relative_error")
    figures = {f"{key}_{name}": getattr(found, name) for name in names}
    return {name: estimate for name, estimate in figures.items() if estimate is not None}


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {name: _finite(value) if isinstance(value, float) else value for name, value in dataclasses.asdict(estimate).items()}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
