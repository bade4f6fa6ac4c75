"""Approximate samplers of Gaussian boson sampling against the exact moments of the ideal state, and their speed on one core.

With a folder of the public data in TIANDI_JIUZHANG_DATA the settings are those of Jiuzhang 1.0 and 2.0 as published, without it synthetic
stand-ins, and said to be so. Errors of cumulants and marginals are relative to their root mean square, from the product of two halves'
deviations, so that the samples' own noise is not in them; what is below that noise is given as zero. At the size of Jiuzhang 4.0 a pair's
correlation is a twentieth of the noise of 20,000 samples: there are slopes over many pairs, and the same light in a 32nd of the modes,
where correlations are so much stronger that errors and three modes are seen too. Orders four to six are cumulants of
the clustered 12-mode marginals' subsets (computed from exact pattern probabilities); the divergence is that of those marginals, sum of
f ln(f / p) of frequencies f from exact p, less its bias of (cells - 1) / (2 samples). The peer of speed is the same light the plain
way: NumPy in double precision, all amplitudes at once. `python gbs_samplers.py NAME ...` takes other settings; `python gbs_samplers.py
--file` times ten million samples to a file, `--large` is Jiuzhang 3.0 and 4.0 alone.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from measure import Figure
from tiandi.computing.photonics.exact.clicks import click_moments, pattern_probabilities
from tiandi.computing.photonics.gaussian import Detectors, Machine
from tiandi.computing.photonics.machines import build_machine, find_machine, haar_columns
from tiandi.computing.photonics.samplers import best_sampler
from tiandi.computing.photonics.samplers.corrected import CorrectedSampler
from tiandi.computing.photonics.samplers.interface import Sampler, write_packed
from tiandi.computing.photonics.samplers.latent_fit import Exact
from tiandi.computing.photonics.samplers.pair_share import strongest_triples
from tiandi.computing.photonics.samplers.phase_space import PhaseSpaceSampler
from tiandi.computing.photonics.samplers.short_memory import ShortMemorySampler
from tiandi.computing.photonics.samplers.wide import WideSampler
from tiandi.computing.photonics.validation import validate
from tiandi.computing.photonics.validation.estimates import Estimate

FloatArray = NDArray[np.float64]
SAMPLES = 2_000_000
SUBSETS = 12
SUBSET_MODES = 12
ORDERS = (4, 5, 6)
LARGE_SAMPLES, LARGE_MODES, BLOCKS = 20_000, 1500, 10
PART, PART_SAMPLES, TRIPLE_MODES, TRIPLE_SAMPLES = 32, 600_000, 120, 200_000
FILE_SAMPLES = 10_000_000


@dataclass(frozen=True)
class Quality:
    """Differences from the ideal state, samples' noise taken off where it can be."""

    rate: float
    """Root mean square of mode rates' errors, samples' noise included."""
    pairs: float
    """Relative error of two-mode cumulants."""
    strong: float
    """Slope of three-mode cumulants of the 2,000 triples that are correlated most."""
    random: float
    """Relative error of 12-mode marginals, random modes."""
    clustered: float
    """The same of modes that are correlated most."""
    divergence: float
    """Of those marginals from the exact ones, in nats."""
    slopes: FloatArray
    """(3,): of cumulants of orders four, five and six over the exact ones, modes that are correlated most."""
    errors: FloatArray
    """(3,): their relative errors."""


def benchmark_gbs_samplers() -> list[Figure]:
    """Speed and quality at Jiuzhang 2.0's 1.65 W, and speed at the sizes of 3.0 and 4.0."""
    return [*_setting("jiuzhang-2.0-1.65w"), *_pseudo_number(), *_part(), *_large()]


def _setting(name: str) -> list[Figure]:
    folder = os.environ.get("TIANDI_JIUZHANG_DATA")
    machine = build_machine(name, data=Path(folder) if folder else None)
    label = name if folder else f"{name} (synthetic)"
    kind = best_sampler(machine)
    weak = kind == "short-memory"
    sampler, fit_s, fit = _weak(machine) if weak else _strong(machine)
    asked = 5_000 if weak else 60_000
    rate = _samples_per_second(sampler, 100_000 if weak else 200_000)
    peer = 50_000 / _plain_seconds(machine, 50_000)
    ideal = Ideal(machine)
    quality, projected = ideal.quality(sampler), ideal.quality(PhaseSpaceSampler(machine, "squeezed"))
    squashed = ideal.quality(PhaseSpaceSampler(machine, "squashed"))
    slopes = _every_triple(machine, [sampler, PhaseSpaceSampler(machine, "squeezed"), PhaseSpaceSampler(machine, "squashed")])
    own, *others = (f"{slope.value:.3f} ± {slope.error:.3f}" for slope in slopes)
    every = f"{own}; positive-P {others[0]}, squashed {others[1]}"

    def beside(field: str, scale: float = 1.0) -> str:
        return f"positive-P {scale * getattr(projected, field):.4g}, squashed {scale * getattr(squashed, field):.4g}"

    def orders(field: str, order: int) -> str:
        own = getattr(quality, field)[order - 4]
        return f"{own:.3f}; positive-P {getattr(projected, field)[order - 4]:.4g}, squashed {getattr(squashed, field)[order - 4]:.4g}"

    return [
        Figure(f"{label}, {kind}: time of {asked:,} samples, one core", asked / rate, 1.0, "s", f"{rate / peer:.1f} times plain NumPy"),
        Figure(f"{label}, {kind}: {fit}, one core", fit_s, 15.0, "s"),
        Figure(f"{label}: mode rates, root mean square error", 1e3 * quality.rate, 1.0, "1e-3", beside("rate", 1e3)),
        Figure(f"{label}: two-mode cumulants, relative error", 100 * quality.pairs, 1.2, "%", beside("pairs", 100)),
        Figure(f"{label}: three-mode cumulants, all, 1 - slope", abs(1 - slopes[0].value), 0.04, "", every),
        Figure(
            f"{label}: three-mode cumulants, strongest, 1 - slope",
            abs(1 - quality.strong),
            0.04,
            "",
            f"{quality.strong:.3f}; {beside('strong')}",
        ),
        Figure(f"{label}: 12-mode marginals, random, relative error", 100 * quality.random, 0.6, "%", beside("random", 100)),
        Figure(f"{label}: 12-mode marginals, clustered, relative error", 100 * quality.clustered, 1.1, "%", beside("clustered", 100)),
        Figure(f"{label}: 12-mode marginals, clustered, divergence", 1e3 * quality.divergence, 2.0, "1e-3", beside("divergence", 1e3)),
        *(
            Figure(f"{label}: cumulants of order {order}, 1 - slope", abs(1 - quality.slopes[order - 4]), goal, "", orders("slopes", order))
            for order, goal in ((4, 0.1), (5, 0.2), (6, 0.3))
        ),
        *(
            Figure(f"{label}: cumulants of order {order}, relative error", quality.errors[order - 4], goal, "", orders("errors", order))
            for order, goal in ((4, 0.2), (5, 0.4), (6, 0.6))
        ),
    ]


def _pseudo_number() -> list[Figure]:
    machine = build_machine("jiuzhang-3.0")
    sampler, _ = _fitted(machine)
    rate = _samples_per_second(sampler, 100_000)
    samples = np.concatenate(list(sampler.batches(500_000, np.random.default_rng(4)))).astype(np.float32)
    bins, modes = machine.detectors.bins, machine.modes
    dark_counts = Detectors(dark_count_probability=machine.detectors.dark_count_probability)
    thin = machine.transfer / np.sqrt(bins)
    one_bin, split = (replace(machine, transfer=rows, detectors=dark_counts) for rows in (thin, np.repeat(thin, 2, axis=0)))
    first, second = np.triu_indices(modes, 1)
    one, pairs = click_moments(one_bin, 1), click_moments(one_bin, 2)
    same = click_moments(split, 2, 2 * np.arange(modes)[:, None] + [0, 1])
    exact = bins**2 * (pairs - one[first] * one[second])
    variance = bins * one + bins * (bins - 1) * same - (bins * one) ** 2
    halves = [np.cov(part.T)[first, second] - exact for part in np.split(samples, 2)]
    spread, totals = samples.var(axis=0, dtype=np.float64), samples.sum(axis=1, dtype=np.float64)
    covariance = np.zeros((modes, modes))
    covariance[first, second] = covariance[second, first] = exact / bins**2
    triples = strongest_triples(one_bin, Exact(one, covariance))
    slope = _slope([_third(samples[:TRIPLE_SAMPLES], triples.rows)], bins**3 * triples.cumulants)
    deviation = float(np.sqrt(variance.sum() + 2 * exact.sum()))
    label = "jiuzhang-3.0 (synthetic)"
    return [
        Figure(f"{label}, corrected: time of 5,000 samples, one core", 5000 / rate, 1.0, "s", f"{rate:,.0f} samples/s"),
        Figure(f"{label}: mean counts, root mean square error", 1e3 * _rms(samples.mean(axis=0, dtype=float) - bins * one), 5.0, "1e-3"),
        Figure(f"{label}: two-mode covariances of counts, relative error", 100 * _root(halves, exact), 3.0, "%"),
        Figure(f"{label}: variances of counts, relative error", 100 * float(np.abs(spread / variance - 1).mean()), 1.0, "%"),
        Figure(f"{label}: three-mode cumulants of counts, strongest, 1 - slope", abs(1 - slope), 0.05, "", f"{slope:.3f}"),
        Figure(
            f"{label}: standard deviation of the total, error",
            100 * abs(float(totals.std()) / deviation - 1),
            0.5,
            "%",
            f"{totals.std():.2f}, exact {deviation:.2f}; mean {totals.mean():.2f}, largest of {len(totals):,} {totals.max():.0f}",
        ),
    ]


def _large() -> list[Figure]:
    """Jiuzhang 4.0: speed, and what can be seen of its first two orders."""
    machine = build_machine("jiuzhang-4.0")
    sampler, fit_s = _wide(machine)
    begin = time.process_time()
    samples = sampler.sample(LARGE_SAMPLES, np.random.default_rng(2))
    rate = LARGE_SAMPLES / (time.process_time() - begin)
    exact, found = click_moments(machine, 1), samples.mean(axis=0)
    noise = float(np.mean(exact * (1 - exact))) / LARGE_SAMPLES
    chosen = np.sort(np.random.default_rng(7).choice(machine.modes, LARGE_MODES, replace=False))
    pairs = _pair_cumulants(replace(machine, transfer=machine.transfer[chosen]), exact[chosen])
    first, second = np.triu_indices(LARGE_MODES, 1)
    strong = np.argsort(-np.abs(pairs))[: len(pairs) // 100]

    def slopes(drawn: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
        """Of all pairs and of the strongest: means over blocks of samples and their standard errors."""
        tables = [np.cov(part.T.astype(np.float32))[first, second] for part in np.array_split(drawn[:, chosen], BLOCKS)]
        values = np.array([[_slope([table], pairs), _slope([table[strong]], pairs[strong])] for table in tables])
        return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(BLOCKS)

    (every, best), errors = slopes(samples)
    others, _ = slopes(PhaseSpaceSampler(machine, "squeezed").sample(LARGE_SAMPLES, np.random.default_rng(3)))
    rates = float(np.sqrt(max(float(np.mean((found - exact) ** 2)) - noise, 0.0)))
    label = "jiuzhang-4.0 size (synthetic)"
    peer = f"{every:.3f}, strongest {best:.3f}; positive-P {others[0]:.3f} and {others[1]:.3f}"
    return [
        Figure(f"{label}, corrected: time of 400 samples, one core", 400 / rate, 1.0, "s", f"{rate:,.0f} samples/s"),
        Figure(f"{label}, corrected: fit, one core", fit_s, 30.0, "s"),
        Figure(f"{label}: mean total clicks, error", 100 * abs(float(found.sum() / exact.sum()) - 1), 0.5, "%", f"{found.sum():.1f}"),
        Figure(f"{label}: mode rates, root mean square error", 1e3 * rates, 1.0, "1e-3", f"noise of {1e3 * np.sqrt(noise):.2g} taken off"),
        Figure(f"{label}: two-mode cumulants, 1 - slope, error {errors[0]:.2g}", abs(1 - every), max(0.02, 3 * errors[0]), "", peer),
        Figure(f"{label}: two-mode, strongest, 1 - slope, error {errors[1]:.2g}", abs(1 - best), max(0.02, 3 * errors[1]), "", peer),
    ]


def _part() -> list[Figure]:
    """The light of Jiuzhang 4.0 in a 32nd of its modes and sources: correlations of pairs are 32 times as strong."""
    sheet = find_machine("jiuzhang-4.0")
    modes, sources = int(sheet.need("modes")) // PART, int(sheet.need("sources")) // PART
    generator = np.random.default_rng(8)
    transfer = np.sqrt(sheet.need("transmission")) * haar_columns(modes, sources, generator)
    machine = Machine("part", generator.uniform(1.45, 1.8, sources), transfer)
    rates = click_moments(machine, 1)
    pairs = _pair_cumulants(machine, rates)
    first, second = np.triu_indices(modes, 1)
    few = replace(machine, transfer=machine.transfer[:TRIPLE_MODES])
    inside = second < TRIPLE_MODES
    covariance = np.zeros((TRIPLE_MODES, TRIPLE_MODES))
    covariance[first[inside], second[inside]] = covariance[second[inside], first[inside]] = pairs[inside]
    triples = strongest_triples(few, Exact(rates[:TRIPLE_MODES], covariance))

    def judged(sampler: Sampler) -> tuple[float, float, float]:
        samples = sampler.sample(PART_SAMPLES, np.random.default_rng(9)).astype(np.float32)
        halves = [np.cov(part.T)[first, second] - pairs for part in np.split(samples, 2)]
        error = float(np.sqrt(np.mean((samples.mean(axis=0, dtype=float) - rates) ** 2)))
        return error, _root(halves, pairs), _slope([_third(samples[:TRIPLE_SAMPLES], triples.rows)], triples.cumulants)

    own, projected = judged(_wide(machine)[0]), judged(PhaseSpaceSampler(machine, "squeezed"))
    label = f"a 32nd of jiuzhang-4.0 ({modes} modes, synthetic)"
    return [
        Figure(f"{label}: mode rates, root mean square error", 1e3 * own[0], 1.5, "1e-3", f"positive-P {1e3 * projected[0]:.2f}"),
        Figure(f"{label}: two-mode cumulants, relative error", 100 * own[1], 2.0, "%", f"positive-P {100 * projected[1]:.2g}"),
        Figure(
            f"{label}: three-mode cumulants, strongest, 1 - slope",
            abs(1 - own[2]),
            0.06,
            "",
            f"{own[2]:.3f}; positive-P {projected[2]:.3f}",
        ),
    ]


def _pair_cumulants(machine: Machine, rates: FloatArray) -> FloatArray:
    """Of all pairs in lexicographic order, by the covariance: much faster than mode by mode where there are many inputs."""
    first, second = np.triu_indices(machine.modes, 1)
    return click_moments(machine.state(), 2) - rates[first] * rates[second]


def _third(samples: NDArray[np.float32], rows: NDArray[np.int64]) -> FloatArray:
    """Third cumulants of different modes."""
    centred = np.ascontiguousarray((samples - samples.mean(axis=0)).T)
    return np.array([float(np.mean(centred[i] * centred[j] * centred[k], dtype=float)) for i, j, k in rows])


def _wide(machine: Machine) -> tuple[WideSampler, float]:
    """As `_fitted`, of the sampler of many modes."""
    WideSampler(Machine("warm", machine.squeezing_r[:2], machine.transfer[:3, :2])).sample(2, np.random.default_rng(1))
    begin = time.process_time()
    sampler = WideSampler(machine)
    return sampler, time.process_time() - begin


def _fitted(machine: Machine) -> tuple[CorrectedSampler, float]:
    """The sampler and the processor time of its fit; whatever has to be compiled is, before."""
    CorrectedSampler(
        Machine("warm", machine.squeezing_r[:2], machine.transfer[:3, :2], 1.0, machine.detectors), np.random.default_rng(1), draws=2000
    )
    begin = time.process_time()
    sampler = CorrectedSampler(machine, np.random.default_rng(1))
    return sampler, time.process_time() - begin


def _strong(machine: Machine) -> tuple[Sampler, float, str]:
    sampler, seconds = _fitted(machine)
    return sampler, seconds, f"fit of {sampler.fit.draws:,} draws"


def _weak(machine: Machine) -> tuple[Sampler, float, str]:
    """Of light of few photons. The rate goal of these settings is ours: quality comes first, where exact samples go at 50/s to 300/s."""
    begin = time.process_time()
    sampler = ShortMemorySampler(machine)
    return sampler, time.process_time() - begin, "split of the state"


def _every_triple(machine: Machine, samplers: list[Sampler]) -> list[Estimate]:
    """Slopes of all three-mode cumulants of each sampler, as the judge finds them, with their errors."""
    batches = {str(number): sampler.batches(SAMPLES, np.random.default_rng(3)) for number, sampler in enumerate(samplers)}
    scores = validate(machine, batches).scores
    return [score.figures["triple_slope"] for score in scores]


def _samples_per_second(sampler: Sampler, number: int) -> float:
    sampler.sample(1000, np.random.default_rng(2))
    begin = time.process_time()
    sampler.sample(number, np.random.default_rng(2))
    return number / (time.process_time() - begin)


def _plain_seconds(machine: Machine, number: int) -> float:
    """Projected positive-P samples by NumPy, one complex amplitude a mode and the uniform numbers at once."""
    begin = time.process_time()
    generator = np.random.default_rng(3)
    squeezing = machine.squeezing_r
    photons, pairs = np.sinh(squeezing) ** 2, np.sinh(2 * squeezing) / 2
    real = np.sqrt(((pairs + photons) / 2).astype(complex)) * generator.standard_normal((number, len(squeezing)))
    other = np.sqrt(((pairs - photons) / 2).astype(complex)) * generator.standard_normal((number, len(squeezing)))
    alpha, beta = (real + other) @ machine.transfer.T, (real - other) @ machine.transfer.conj().T
    clicks = generator.random(alpha.shape) > np.exp(-alpha * beta).real.clip(0, 1)
    assert clicks.shape == (number, machine.modes)
    return time.process_time() - begin


class Ideal:
    """Exact moments and marginals of a machine's clicks."""

    def __init__(self, machine: Machine) -> None:
        generator = np.random.default_rng(7)
        self.modes = machine.modes
        self.first, self.second = np.triu_indices(machine.modes, 1)
        self.rates = click_moments(machine, 1)
        products = np.diag(self.rates)
        products[self.first, self.second] = products[self.second, self.first] = click_moments(machine, 2)
        self.pairs = self._pairs(products, self.rates)
        self.rows = strongest_triples(machine, Exact(self.rates, products - np.outer(self.rates, self.rates))).rows
        self.triples = self._triples(click_moments(machine, 3, self.rows), products, self.rates)
        strength = np.abs(products - np.outer(self.rates, self.rates))
        sets = [generator.choice(machine.modes, SUBSET_MODES, replace=False) for _ in range(SUBSETS)]
        self.random = [(chosen, pattern_probabilities(machine, chosen)) for chosen in sets]
        self.clustered = [(chosen, pattern_probabilities(machine, chosen)) for chosen in (_cluster(strength, start[0]) for start in sets)]

    def _pairs(self, products: FloatArray, rates: FloatArray) -> FloatArray:
        return products[self.first, self.second] - rates[self.first] * rates[self.second]

    def _triples(self, moments: FloatArray, products: FloatArray, rates: FloatArray) -> FloatArray:
        i, j, k = self.rows.T
        lower = products[i, j] * rates[k] + products[i, k] * rates[j] + products[j, k] * rates[i]
        return moments - lower + 2 * rates[i] * rates[j] * rates[k]

    def quality(self, sampler: Sampler) -> Quality:
        """Two halves of `SAMPLES` samples against the exact values."""
        found = [self._half(sampler, seed) for seed in (1, 2)]
        rates, pairs, triples, random, clustered = zip(*found, strict=True)
        rate = [part - self.rates for part in rates]
        exact = np.stack([table for _, table in self.clustered])
        tables = [np.stack(part) + exact for part in clustered]
        high, wanted = [cumulants(table) for table in tables], cumulants(exact)
        return Quality(
            float(np.sqrt(np.mean((sum(rate) / 2) ** 2))),
            _root([part - self.pairs for part in pairs], self.pairs),
            _slope(list(triples), self.triples),
            _root([np.concatenate(part) for part in random], np.concatenate([exact for _, exact in self.random])),
            _root([np.concatenate(part) for part in clustered], exact.ravel()),
            _divergence(sum(tables) / 2, exact),
            np.array([_slope([part[order] for part in high], wanted[order]) for order in ORDERS]),
            np.array([_root([part[order] - wanted[order] for part in high], wanted[order]) for order in ORDERS]),
        )

    def _half(self, sampler: Sampler, seed: int) -> tuple[FloatArray, FloatArray, FloatArray, list[FloatArray], list[FloatArray]]:
        number = SAMPLES // 2
        products, moments = np.zeros((self.modes, self.modes)), np.zeros(len(self.rows))
        tables = [[np.zeros(1 << SUBSET_MODES) for _ in range(SUBSETS)] for _ in range(2)]
        for samples in sampler.batches(number, np.random.default_rng(seed)):
            values = samples.astype(np.float32)
            products += values.T @ values
            bits = np.packbits(np.ascontiguousarray(samples.T), axis=1)
            moments += [int(np.bitwise_count(bits[i] & bits[j] & bits[k]).sum()) for i, j, k in self.rows]
            for group, table in zip((self.random, self.clustered), tables, strict=True):
                for place, (chosen, _) in enumerate(group):
                    cells = sum(samples[:, mode].astype(np.int16) << bit for bit, mode in enumerate(chosen))
                    table[place] += np.bincount(cells, minlength=1 << SUBSET_MODES)
        products, rates = products / number, products.diagonal() / number
        random, clustered = (
            [counts / number - exact for counts, (_, exact) in zip(table, group, strict=True)]
            for table, group in zip(tables, (self.random, self.clustered), strict=True)
        )
        return rates, self._pairs(products, rates), self._triples(moments / number, products, rates), random, clustered


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _root(halves: list[FloatArray], exact: FloatArray) -> float:
    """Root mean square of what two independent halves have in common, over that of ``exact``; noise above it gives zero."""
    common = float(np.mean([np.mean(one * other) for one, other in combinations(halves, 2)]))
    return float(np.sqrt(max(common, 0.0) / np.mean(exact**2)))


def _slope(parts: list[FloatArray], exact: FloatArray) -> float:
    return float(np.mean([np.vdot(part, exact) for part in parts]) / np.vdot(exact, exact))


def _divergence(found: FloatArray, exact: FloatArray) -> float:
    """Mean over the sets of sum f ln(f / p), of `SAMPLES` samples, less its bias; patterns expected less than ten times are one."""
    values = []
    for frequencies, probabilities in zip(found, exact, strict=True):
        often = probabilities * SAMPLES > 10
        f = np.append(frequencies[often], frequencies[~often].sum())
        p = np.append(probabilities[often], probabilities[~often].sum())
        f, p = f[f > 0], p[f > 0]
        values.append(float(np.sum(f * np.log(f / p))) - (len(f) - 1) / (2 * SAMPLES))
    return float(np.mean(values))


def cumulants(tables: FloatArray) -> dict[int, FloatArray]:
    """Joint cumulants (sets, subsets) of orders four to six of pattern probabilities (sets, 2^k): k[S] = m[S] - sum k[T] m[S - T].

    The sum is over parts T of S that hold its first mode (McCullagh, Tensor Methods in Statistics, section 2.3, recalled).
    """
    moments = tables.copy()
    step = 1
    while step < tables.shape[1]:
        pairs = moments.reshape(len(tables), -1, 2, step)
        pairs[:, :, 0] += pairs[:, :, 1]
        step *= 2
    found, kept = np.zeros_like(moments), {order: [] for order in ORDERS}
    for whole in range(1, tables.shape[1]):
        order = whole.bit_count()
        if order > max(ORDERS):
            continue
        first = whole & -whole
        rest = whole ^ first
        value, part = moments[:, whole].copy(), (rest - 1) & rest
        while rest:
            value -= found[:, part | first] * moments[:, rest ^ part]
            if not part:
                break
            part = (part - 1) & rest
        found[:, whole] = value
        if order in kept:
            kept[order].append(whole)
    return {order: found[:, places] for order, places in kept.items()}


def _cluster(strength: FloatArray, start: int) -> NDArray[np.int64]:
    """Modes that are correlated most with those already taken."""
    chosen = [int(start)]
    while len(chosen) < SUBSET_MODES:
        wanted = strength[:, chosen].sum(axis=1)
        wanted[chosen] = -1
        chosen.append(int(wanted.argmax()))
    return np.array(chosen)


def _file() -> list[Figure]:
    """Ten million samples of 2.0 at 1.65 W, packed into a file by two threads."""
    folder = os.environ.get("TIANDI_JIUZHANG_DATA")
    machine = build_machine("jiuzhang-2.0-1.65w", data=Path(folder) if folder else None)
    sampler, _ = _fitted(machine)
    with tempfile.TemporaryDirectory() as directory:
        begin, busy = time.perf_counter(), time.process_time()
        write_packed(sampler, FILE_SAMPLES, np.random.Generator(np.random.SFC64(1)), Path(directory) / "samples", workers=2)
        elapsed, busy = time.perf_counter() - begin, time.process_time() - busy
        size = (Path(directory) / "samples").stat().st_size / 1e6
    return [
        Figure(
            f"ten million samples of 144 modes to a file of {size:.0f} MB, two cores", elapsed, 90.0, "s", f"{busy:.0f} s of processor time"
        )
    ]


if __name__ == "__main__":
    wanted = sys.argv[1:]
    if wanted == ["--file"]:
        figures = _file()
    elif wanted == ["--large"]:
        figures = [*_pseudo_number(), *_part(), *_large()]
    else:
        figures = [figure for name in wanted for figure in _setting(name)] or benchmark_gbs_samplers()
    for figure in figures:
        print(figure.line())
