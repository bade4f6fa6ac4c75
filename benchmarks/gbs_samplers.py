"""Approximate samplers of Gaussian boson sampling against the exact moments of the ideal state, and their speed on one core.

With a folder of the public data in TIANDI_JIUZHANG_DATA the settings are those of Jiuzhang 1.0 and 2.0 as published, without it synthetic
stand-ins, and said to be so. Errors of cumulants and marginals are relative to their root mean square, from the product of two halves'
deviations, so that the samples' own noise is not in them; what is below that noise is given as zero. Orders four to six are cumulants of
the clustered 12-mode marginals' subsets (computed from exact pattern probabilities); the divergence is that of those marginals, sum of
f ln(f / p) of frequencies f from exact p, less its bias of (cells - 1) / (2 samples). The peer of speed is the same light the plain
way: NumPy in double precision, all amplitudes at once. `python gbs_samplers.py NAME ...` takes other settings; `python gbs_samplers.py
--file` times ten million samples to a file.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from measure import Figure
from tiandi.computing.photonics.exact.clicks import click_moments, pattern_probabilities
from tiandi.computing.photonics.gaussian import Detectors, Machine
from tiandi.computing.photonics.machines import build_machine
from tiandi.computing.photonics.samplers.corrected import CorrectedSampler
from tiandi.computing.photonics.samplers.interface import Sampler, write_packed
from tiandi.computing.photonics.samplers.latent_fit import Exact
from tiandi.computing.photonics.samplers.pair_share import strongest_triples
from tiandi.computing.photonics.samplers.phase_space import PhaseSpaceSampler

FloatArray = NDArray[np.float64]
SAMPLES = 2_000_000
TRIPLES = 4000
SUBSETS = 12
SUBSET_MODES = 12
ORDERS = (4, 5, 6)
LARGE_SAMPLES = 4000
FILE_SAMPLES = 10_000_000


@dataclass(frozen=True)
class Quality:
    """Differences from the ideal state, samples' noise taken off where it can be."""

    rate: float
    """Root mean square of mode rates' errors, samples' noise included."""
    pairs: float
    """Relative error of two-mode cumulants."""
    triples: float
    """Slope of three-mode cumulants of random triples."""
    strong: float
    """The same of the 2,000 triples that are correlated most."""
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
    return [*_setting("jiuzhang-2.0-1.65w"), *_pseudo_number(), *_large()]


def _setting(name: str) -> list[Figure]:
    folder = os.environ.get("TIANDI_JIUZHANG_DATA")
    machine = build_machine(name, data=Path(folder) if folder else None)
    label = name if folder else f"{name} (synthetic)"
    sampler, fit_s = _fitted(machine)
    rate = _samples_per_second(sampler, 200_000)
    peer = 50_000 / _plain_seconds(machine, 50_000)
    ideal = Ideal(machine)
    quality, projected = ideal.quality(sampler), ideal.quality(PhaseSpaceSampler(machine, "squeezed"))
    squashed = ideal.quality(PhaseSpaceSampler(machine, "squashed"))

    def beside(field: str, scale: float = 1.0) -> str:
        return f"positive-P {scale * getattr(projected, field):.4g}, squashed {scale * getattr(squashed, field):.4g}"

    def orders(field: str, order: int) -> str:
        own = getattr(quality, field)[order - 4]
        return f"{own:.3f}; positive-P {getattr(projected, field)[order - 4]:.4g}, squashed {getattr(squashed, field)[order - 4]:.4g}"

    return [
        Figure(f"{label}, corrected: time of 60,000 samples, one core", 60_000 / rate, 1.0, "s", f"{rate / peer:.1f} times plain NumPy"),
        Figure(f"{label}, corrected: fit of {sampler.fit.draws:,} draws, one core", fit_s, 15.0, "s"),
        Figure(f"{label}: mode rates, root mean square error", 1e3 * quality.rate, 1.0, "1e-3", beside("rate", 1e3)),
        Figure(f"{label}: two-mode cumulants, relative error", 100 * quality.pairs, 1.2, "%", beside("pairs", 100)),
        Figure(
            f"{label}: three-mode cumulants, random, 1 - slope",
            abs(1 - quality.triples),
            0.04,
            "",
            f"{quality.triples:.3f}; {beside('triples')}",
        ),
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
    split = Machine(
        machine.name,
        machine.squeezing_r,
        np.repeat(machine.transfer, 2, axis=0) / np.sqrt(bins),
        machine.indistinguishability,
        Detectors(dark_count_probability=machine.detectors.dark_count_probability),
    )
    first, second = np.triu_indices(modes, 1)
    one = click_moments(split, 1)[::2]
    same = click_moments(split, 2, 2 * np.arange(modes)[:, None] + [0, 1])
    exact = bins**2 * (click_moments(split, 2, 2 * np.stack([first, second], axis=1)) - one[first] * one[second])
    variance = bins * one + bins * (bins - 1) * same - (bins * one) ** 2
    halves = [np.cov(part.T)[first, second] - exact for part in np.split(samples, 2)]
    spread = samples.var(axis=0, dtype=np.float64)
    return [
        Figure("jiuzhang-3.0 (synthetic), corrected: time of 5,000 samples, one core", 5000 / rate, 1.0, "s", f"{rate:,.0f} samples/s"),
        Figure("jiuzhang-3.0 (synthetic): two-mode covariances of counts, relative error", 100 * _root(halves, exact), 3.0, "%"),
        Figure(
            "jiuzhang-3.0 (synthetic): variances of counts, relative error", 100 * float(np.abs(spread / variance - 1).mean()), 1.0, "%"
        ),
    ]


def _large() -> list[Figure]:
    machine = build_machine("jiuzhang-4.0")
    sampler, _ = _fitted(machine)
    begin = time.process_time()
    samples = sampler.sample(LARGE_SAMPLES, np.random.default_rng(2))
    rate = LARGE_SAMPLES / (time.process_time() - begin)
    exact = click_moments(machine, 1)
    error = float(np.mean(samples.sum(axis=1)) / exact.sum() - 1)
    return [
        Figure("jiuzhang-4.0 size (synthetic), corrected: time of 400 samples, one core", 400 / rate, 1.0, "s", f"{rate:,.0f} samples/s"),
        Figure("jiuzhang-4.0 size (synthetic): mean total clicks, error", 100 * abs(error), 0.5, "%"),
    ]


def _fitted(machine: Machine) -> tuple[CorrectedSampler, float]:
    """The sampler and the processor time of its fit; whatever has to be compiled is, before."""
    CorrectedSampler(
        Machine("warm", machine.squeezing_r[:2], machine.transfer[:3, :2], 1.0, machine.detectors), np.random.default_rng(1), draws=2000
    )
    begin = time.process_time()
    sampler = CorrectedSampler(machine, np.random.default_rng(1))
    return sampler, time.process_time() - begin


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
        rows = generator.permuted(np.tile(np.arange(machine.modes), (TRIPLES, 1)), axis=1)[:, :3]
        chosen = strongest_triples(machine, Exact(self.rates, products - np.outer(self.rates, self.rates))).rows
        self.rows = np.concatenate([np.sort(rows, axis=1), chosen])
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
            _slope([part[:TRIPLES] for part in triples], self.triples[:TRIPLES]),
            _slope([part[TRIPLES:] for part in triples], self.triples[TRIPLES:]),
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
    figures = _file() if wanted == ["--file"] else [figure for name in wanted for figure in _setting(name)] or benchmark_gbs_samplers()
    for figure in figures:
        print(figure.line())
