"""What is counted of a set of samples, in one pass and bounded memory: the judge never needs all samples at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.photonics.gaussian import CountArray, FloatArray, Machine
from tiandi.computing.photonics.validation.kernels import WORDS_AT_ONCE, count_patterns, count_together, pack_clicks
from tiandi.errors import InputError
from tiandi.limits import require_within

IntArray = NDArray[np.int64]

BLOCKS = 20
"""An error bar from so many blocks is itself known to 16 %."""
LEAST_SAMPLES = 50 * BLOCKS
AT_ONCE_BYTE = 1 << 24
"""Of samples as bytes; their floats take four times as much."""
MOST_CLOSE = 160
"""Modes up to which all pairs and triples are taken; of a larger machine that many at random."""
ANCHORS = 4
MOST_TOTAL = 1 << 16
MOST_GROUPED = 512
"""Modes up to which partitions are looked at: the joint histograms of more would be most of the memory."""
KEPT = 400
"""Samples that are kept as they are, for likelihoods of many modes."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What is counted."""

    modes: int
    largest_count: int
    """Of one mode: 1 for threshold detectors."""
    close: IntArray
    """Modes among which all pairs and triples of clicks are taken, rising; where detectors count, the second moments of counts too."""
    anchors: IntArray
    """Places within ``close``: where detectors count, third moments are taken of each of them with all pairs of the others."""
    subsets: Mapping[str, IntArray]
    """Sets of modes whose patterns of clicks are counted, (number, size of a set), by name."""
    inside: NDArray[np.float32]
    """(modes, partitions): 1 where a mode is in the first part. The first partition is that of the two halves in order."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is looked at: sets of 8 and of 12 modes of each kind, and partitions in two parts beside that in order."""

    small: int = 40
    large: int = 12
    partitions: int = 3


DEFAULT_EXTENT = Extent()


def close_modes(machine: Machine, generator: np.random.Generator) -> IntArray:
    """Modes among which all pairs and triples are taken: all of them, or of a large machine 160 at random, rising."""
    return np.sort(generator.choice(machine.modes, min(machine.modes, MOST_CLOSE), replace=False))


def make_plan(
    machine: Machine, close: IntArray, closeness: FloatArray, generator: np.random.Generator, extent: Extent = DEFAULT_EXTENT
) -> Plan:
    """A plan for the machine; ``closeness`` (close, close) says which of the ``close`` modes belong together, for the clustered sets.

    A clustered set is a mode at random with those that its clicks hang together with most: where correlations are strong, samplers err.
    """
    modes, detectors = machine.modes, machine.detectors
    largest = {"threshold": 1, "pseudo-number": detectors.bins, "number": 255}[detectors.kind]
    anchors = generator.choice(len(close), min(len(close), ANCHORS), replace=False) if largest > 1 else np.empty(0, np.int64)
    strength = np.abs(closeness)
    np.fill_diagonal(strength, np.inf)
    nearest = close[np.argsort(-strength, axis=1)]
    subsets = {}
    for wanted, number in ((8, extent.small), (12, extent.large)):
        size = min(wanted, modes)
        subsets[f"random {wanted}"] = np.array([generator.choice(modes, size, replace=False) for _ in range(number)])
        first = generator.choice(len(close), min(number, len(close)), replace=False)
        subsets[f"clustered {wanted}"] = np.ascontiguousarray(nearest[first, :size])
    inside = np.zeros((modes, extent.partitions + 1), np.float32)
    inside[: modes // 2, 0] = 1
    for partition in range(1, extent.partitions + 1):
        inside[generator.choice(modes, modes // 2, replace=False), partition] = 1
    return Plan(modes, largest, close, anchors, subsets, inside)


@dataclass(eq=False)
class Tally:
    """Sums over the samples of each block. Each batch that is added is cut into as many runs as there are blocks.

    Where a batch has fewer samples than that, the next one begins with the block after.
    """

    plan: Plan
    blocks: int = BLOCKS
    samples: FloatArray = field(init=False)
    """(blocks,): samples of each."""
    clicks: FloatArray = field(init=False)
    """(blocks, modes)."""
    pairs: IntArray = field(init=False)
    """(blocks, pairs of ``plan.close``)."""
    triples: IntArray = field(init=False)
    patterns: dict[str, IntArray] = field(init=False)
    """(blocks, sets, 2**size) each."""
    totals: IntArray = field(init=False)
    """(blocks, largest total + 1): of all modes' counts."""
    grouped: IntArray = field(init=False)
    """(blocks, partitions, modes + 1, modes + 1): modes that clicked in the first part, and in the second."""
    counts: FloatArray = field(init=False)
    """(blocks, modes): sums of counts, and below of their products."""
    products: FloatArray = field(init=False)
    """(blocks, close, close); no rows for threshold detectors."""
    triple_products: FloatArray = field(init=False)
    """(blocks, anchors, close, close)."""
    first: int = field(init=False, default=0)
    """The block that the next batch begins with."""
    kept: list[CountArray] = field(init=False)
    """The first samples as they came."""

    def __post_init__(self) -> None:
        plan, blocks = self.plan, self.blocks
        close = len(plan.close)
        counted = close if plan.largest_count > 1 else 0
        part = plan.modes - plan.modes // 2 + 1
        self.samples = np.zeros(blocks)
        self.clicks, self.counts = np.zeros((blocks, plan.modes)), np.zeros((blocks, plan.modes))
        self.pairs = np.zeros((blocks, close * (close - 1) // 2), np.int64)
        self.triples = np.zeros((blocks, close * (close - 1) * (close - 2) // 6), np.int64)
        self.patterns = {name: np.zeros((blocks, len(sets), 1 << sets.shape[1]), np.int64) for name, sets in plan.subsets.items()}
        self.totals = np.zeros((blocks, min(plan.modes * plan.largest_count, MOST_TOTAL) + 1), np.int64)
        partitions = plan.inside.shape[1] if plan.modes <= MOST_GROUPED else 0
        self.grouped = np.zeros((blocks, partitions, part if partitions else 0, part if partitions else 0), np.int64)
        self.products = np.zeros((blocks, counted, counted))
        self.triple_products = np.zeros((blocks, len(plan.anchors), counted, counted))
        self.kept = []

    def add(self, samples: CountArray) -> None:
        """Count a batch, (number, modes); raises InputError for what no such machine gives."""
        _require_samples(samples, self.plan)
        missing = KEPT - sum(map(len, self.kept))
        if missing > 0:
            self.kept.append(samples[:missing].copy())
        for place, run in enumerate(np.array_split(samples, self.blocks)):
            block = (self.first + place) % self.blocks
            step = max(64, AT_ONCE_BYTE // self.plan.modes)
            for first in range(0, len(run), step):
                self._add(block, np.ascontiguousarray(run[first : first + step]))
        self.first = (self.first + len(samples)) % self.blocks

    def _add(self, block: int, samples: CountArray) -> None:
        plan = self.plan
        self.samples[block] += len(samples)
        clicks = samples if plan.largest_count == 1 else (samples > 0).astype(np.uint8)
        packed = np.zeros((-(-len(samples) // 64), plan.modes), np.uint64)
        pack_clicks(clicks, packed)
        by_mode = packed.T[plan.close]
        for first in range(0, by_mode.shape[1], WORDS_AT_ONCE):
            words = np.ascontiguousarray(by_mode[:, first : first + WORDS_AT_ONCE])
            count_together(words, self.pairs[block], self.triples[block])
        for name, sets in plan.subsets.items():
            count_patterns(clicks, sets, self.patterns[name][block])
        self._add_sums(block, samples, clicks)

    def _add_sums(self, block: int, samples: CountArray, clicks: CountArray) -> None:
        """Single precision holds whole numbers up to 2**24 exactly, which no sum here reaches."""
        plan = self.plan
        numbers = clicks.astype(np.float32)
        self.clicks[block] += np.ones(len(numbers), np.float32) @ numbers
        if len(self.grouped[block]):
            size = self.grouped.shape[-1]
            first = numbers @ plan.inside
            second = numbers.sum(axis=1)[:, None] - first
            place = (first * size + second).astype(np.int64)
            for partition in range(place.shape[1]):
                self.grouped[block, partition] += np.bincount(place[:, partition], minlength=size * size).reshape(size, size)
        totals = samples.sum(axis=1, dtype=np.int64)
        self.totals[block] += np.bincount(np.minimum(totals, self.totals.shape[1] - 1), minlength=self.totals.shape[1])
        self.counts[block] += samples.sum(axis=0, dtype=np.float64)
        if plan.largest_count > 1:
            # Products of three counts need double precision to stay whole.
            counts = samples[:, plan.close].astype(float)
            self.products[block] += counts.T @ counts
            for number, anchor in enumerate(plan.anchors):
                self.triple_products[block, number] += (counts * counts[:, anchor, None]).T @ counts


def tally(plan: Plan, samples: CountArray | Iterable[CountArray], *, blocks: int = BLOCKS) -> Tally:
    """Count samples, whole or batch by batch; raises InputError where they are too few for error bars."""
    counted = Tally(plan, blocks)
    for batch in [samples] if isinstance(samples, np.ndarray) else samples:
        counted.add(batch)
    require_within("samples", float(counted.samples.sum()), LEAST_SAMPLES, np.inf)
    return counted


def _require_samples(samples: CountArray, plan: Plan) -> None:
    if samples.ndim != 2 or samples.shape[1] != plan.modes:
        raise InputError("samples", list(samples.shape), f"must have the shape (number, {plan.modes})")
    if samples.dtype not in (np.uint8, np.bool_):
        raise InputError("samples", str(samples.dtype), "must be of type uint8")
    if samples.size and samples.max() > plan.largest_count:
        raise InputError(
            "samples", int(samples.max()), f"must hold counts of at most {plan.largest_count}, as the machine's detectors give"
        )
