"""Logical errors of memory experiments, with error bars, and what a step in distance gains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from tiandi.computing.correction.conditions import conditions_of
from tiandi.computing.correction.decoding import Decoder, Method
from tiandi.computing.correction.extraction import Basis, Memory, memory
from tiandi.computing.correction.leakage import Sampler
from tiandi.computing.correction.noise import CycleNoise, cycle_noise, enlarged
from tiandi.computing.correction.patch import Patch, chosen, placements
from tiandi.computing.machines.twin import Twin
from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.random import twin_generator

BATCH = 4096
PART = 16 * BATCH
MOST_WORKERS = 256
MOST_SHOTS = 10**9
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class LogicalError:
    """Of codes of ``distance``: ``failures`` of ``shots`` runs of ``rounds`` cycles. ``leaked``: share of qubits leaked after the last.

    ``hypothetical``: on a lattice larger than the machine's. ``qubits``: those of one code; ``patches``: codes averaged over.
    """

    distance: int
    rounds: int
    shots: int
    failures: int
    leaked: float
    qubits: tuple[int, ...]
    patches: int
    hypothetical: bool

    @property
    def per_shot(self) -> float:
        """Share of runs whose logical state was lost."""
        return self.failures / self.shots

    @property
    def per_cycle(self) -> float:
        """(1 - (1 - 2f)^(1/R))/2: errors of R cycles that add up to the share f of failures; 1/2 where nothing is left."""
        return (1 - max(1 - 2 * self.per_shot, 0.0) ** (1 / self.rounds)) / 2

    @property
    def lost(self) -> bool:
        """Whether nothing that could be told from chance is left of the state at the end."""
        return 1 - 2 * self.per_shot < 3 / math.sqrt(self.shots)

    @property
    def uncertainty(self) -> float:
        """Standard error of ``per_cycle``: binomial, with at least one failure assumed."""
        share = max(self.failures, 1) / self.shots
        left = max(1 - 2 * share, 1 / self.shots)
        return math.sqrt(share * (1 - share) / self.shots) * left ** (1 / self.rounds - 1) / self.rounds


@dataclass(frozen=True)
class Suppression:
    """Lambda, the fall of the logical error for each step of two in distance, with its standard error."""

    value: float
    uncertainty: float


def suppression(errors: Sequence[LogicalError]) -> Suppression | None:
    """Lambda by a straight line through ln(error per cycle) against (d + 1)/2, all distances counting alike.

    None for fewer than two distances that have failures and whose state is not lost.
    As the experiments define it: error per cycle proportional to Lambda^(-(d + 1)/2).
    """
    usable = [error for error in errors if error.failures and not error.lost]
    if len({error.distance for error in usable}) < 2:
        return None
    steps = np.array([(error.distance + 1) / 2 for error in usable])
    logarithms = np.log([error.per_cycle for error in usable])
    weights = np.array([(error.per_cycle / error.uncertainty) ** 2 for error in usable])
    away = steps - steps.mean()
    slope = float(away @ logarithms / (away @ away))
    error = math.sqrt(float((away / (away @ away)) ** 2 @ (1 / weights)))
    return Suppression(math.exp(-slope), math.exp(-slope) * error)


def memory_experiment(
    twin: Twin,
    distance: int,
    *,
    shots: int = 20_000,
    rounds: int | None = None,
    basis: Basis | None = None,
    decoder: Method = "correlated",
    noise: CycleNoise | None = None,
    workers: int = 1,
    seed: int = 1,
    progress: Progress = lambda what, done, total: None,
) -> LogicalError:
    """Keep a logical state on the machine ``twin`` is of, with a code of ``distance``.

    ``basis`` None: half of the runs in Z, half in X. ``rounds`` None: those of the machine's published experiment. ``noise``: instead of
    the twin's. Where the lattice is too small the code lies on a larger one of the same kind (`noise.enlarged`), and the result says so.
    ``workers``: processes; the result does not depend on their number. Shots are spread over all codes of this distance inside the
    largest published one, as the experiments do. Raises InputError for what is out of range, and for lattices that hold no code at all.
    """
    require_within("shots", shots, 1, MOST_SHOTS)
    require_within("workers", workers, 1, MOST_WORKERS)
    own = cycle_noise(twin) if noise is None else noise
    patches, own = codes(twin, distance, own, seed)
    bases: tuple[Basis, ...] = ("Z", "X") if basis is None else (basis,)
    settings = [memory(patch, own, basis=each, rounds=rounds) for patch in patches for each in bases]
    parts = [
        Part(experiment, min(PART, own_shots - first), decoder, seed, (str(distance), str(number), str(first)))
        for number, experiment in enumerate(settings)
        if (own_shots := shots * (number + 1) // len(settings) - shots * number // len(settings))
        for first in range(0, own_shots, PART)
    ]
    failures, done, leaked = 0, 0, 0.0
    for part, (wrong, last) in zip(parts, _results(parts, workers), strict=True):
        failures, done, leaked = failures + wrong, done + part.shots, leaked + part.shots * last
        progress(f"distance {distance}", done, shots)
    return LogicalError(distance, settings[0].rounds, shots, failures, leaked / shots, patches[0].qubits, len(patches), own.hypothetical)


@dataclass(frozen=True)
class Part:
    """Runs that one process does at once; ``names``: of their stream of random numbers."""

    experiment: Memory
    shots: int
    decoder: Method
    seed: int
    names: tuple[str, ...]


def run(part: Part) -> tuple[int, float]:
    """Sample and decode: failures, and the share of qubits leaked in the last cycle."""
    matching, sampler = Decoder(part.experiment.circuit, part.decoder), Sampler(part.experiment)
    generator = twin_generator(part.seed, "correction", *part.names)
    failures, leaked = 0, 0.0
    for first in range(0, part.shots, BATCH):
        size = min(BATCH, part.shots - first)
        samples = sampler.sample(size, generator)
        failures += int((matching.decode(samples.detectors) != samples.observable).sum())
        leaked += size * float(samples.leaked[-1])
    return failures, leaked / part.shots


def _results(parts: Sequence[Part], workers: int) -> Iterator[tuple[int, float]]:
    """What `run` gives, in order; with several ``workers``, processes of their own do it."""
    if workers == 1 or len(parts) == 1:
        yield from map(run, parts)
        return
    with ProcessPoolExecutor(min(workers, len(parts)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(run, parts)


def codes(twin: Twin, distance: int, noise: CycleNoise, seed: int) -> tuple[list[Patch], CycleNoise]:
    """The codes of ``distance`` to average over, and the noise of the lattice that they lie on."""
    lattice, calibration = twin.lattice, twin.calibration
    works = {"qubit_works": calibration.qubit_works, "coupler_works": calibration.coupler_works}
    found = placements(lattice, distance, **works)
    if found:
        largest = max(conditions_of(twin.sheet.id).distances, default=0)
        wholes = placements(lattice, largest, **works) if largest > distance else []
        return chosen(found, lattice, chosen(wholes, lattice)[0] if wholes else None), noise
    if not placements(lattice, 3, **works):
        raise InputError("machine", twin.sheet.id, "its lattice holds no surface code, which needs a square grid of 17 qubits")
    larger = enlarged(noise, distance, seed)
    return chosen(placements(larger.lattice, distance), larger.lattice), larger
