"""Sweeps: a study again and again with other parameters, over a grid or by an optimiser, every run a row that is never computed twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from scipy.optimize import differential_evolution

from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.planning.contacts import ContactTable, tabulate_contacts
from tiandi.planning.inputs import StudyInputs
from tiandi.planning.parameters import Value, has_whole_values, hash_of, inputs_hash, with_parameter
from tiandi.planning.results import StudyResult
from tiandi.planning.scheduling import run_tasks
from tiandi.planning.study import MOST_SEEDS, checked_window, run_study
from tiandi.planning.sweep_store import Row, SweepStore

Progress = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and how much there is."""
Goal = Literal["key_bit_per_day", "least_availability", "key_bit_per_day_and_cost"]

MOST_RUNS = 1_000_000
POPULATION = 8
"""Of the optimiser: points per parameter in a generation."""


@dataclass(frozen=True)
class Axis:
    """A parameter and the values that it takes in turn, or for an optimiser the least and the greatest."""

    parameter: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise InputError("vary", self.parameter, "needs at least one value")
        for value in self.values:
            if isinstance(value, float) and not np.isfinite(value):
                raise InputError(self.parameter, value, "must be a finite number")


@dataclass(frozen=True)
class SweepOutcome:
    """What a sweep did: runs computed now, runs that were there already, and for an optimiser the best row."""

    computed: int
    found: int
    best: Row | None = None


@dataclass(frozen=True)
class _Shared:
    inputs: StudyInputs
    start: datetime
    end: datetime


@dataclass(frozen=True)
class _Run:
    """One run: the values of the parameters, the hash of the inputs that they make, and the seed."""

    values: tuple[tuple[str, Value], ...]
    inputs_hash: str
    seed: int


class Sweep:
    """Studies of ``inputs`` from ``start`` to ``end`` with some ``parameters`` at other values, kept in ``to``.

    Runs that ``to`` has already, by the hash of their inputs and their seed, are not computed again; to go on with a sweep that was stopped
    is to start it again. ``workers`` and ``scheduler`` are those of `tiandi.planning.scheduling.run_tasks`. Raises InputError on a window,
    numbers of seeds and a place that cannot be.
    """

    def __init__(
        self,
        inputs: StudyInputs,
        parameters: Sequence[str],
        *,
        start: datetime,
        end: datetime,
        to: Path,
        seeds: int = 1,
        first_seed: int = 1,
        workers: int | None = None,
        scheduler: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        if not parameters:
            raise InputError("vary", [], "a sweep needs at least one parameter")
        if len(set(parameters)) < len(parameters):
            raise InputError("vary", list(parameters), "names a parameter twice")
        require_within("seeds", seeds, 1, MOST_SEEDS)
        require_within("first_seed", first_seed, 0, 2**32)
        window = checked_window(start, end)
        self._shared = _Shared(inputs, window.start, window.end)
        self._parameters = tuple(parameters)
        self._seeds = range(first_seed, first_seed + seeds)
        self._workers, self._scheduler = workers, scheduler
        self._tell = progress or (lambda what, done, total: None)
        self._to = to
        self._computed, self._found = 0, 0

    def over_grid(self, axes: Sequence[Axis]) -> SweepOutcome:
        """Every combination of the values of ``axes``, one for each parameter. Every one is checked before the first is computed."""
        size = int(np.prod([float(len(axis.values)) for axis in axes]) * len(self._seeds))
        require_within("vary: number of runs", size, 1, MOST_RUNS)
        runs = [run for values in product(*(axis.values for axis in axes)) for run in self._runs(values)]
        store = SweepStore(self._to, self._parameters)
        self._compute(store, runs)
        store.finish()
        return SweepOutcome(self._computed, self._found)

    def optimise(self, axes: Sequence[Axis], *, goal: Goal = "key_bit_per_day", generations: int = 20, seed: int = 1) -> SweepOutcome:
        """Look for the values, between the two of each of ``axes``, at which the mean of ``goal`` over the seeds is greatest.

        Differential evolution (R. Storn and K. Price, J. Global Optimization 11:341 (1997), DOI 10.1023/A:1008202821328; recalled) over
        ``generations``; the same ``seed`` asks for the same runs, which is how it goes on where it was stopped. Raises InputError.
        """
        if goal not in get_args(Goal):
            raise InputError("goal", goal, f"must be one of {', '.join(get_args(Goal))}")
        require_within("generations", generations, 1, 10_000)
        bounds = [_bounds(axis) for axis in axes]
        whole = [has_whole_values(self._shared.inputs, axis.parameter) or axis.parameter.endswith(".count") for axis in axes]
        store = SweepStore(self._to, self._parameters)
        asked: dict[tuple[str, int], Row] = {}

        def runs_at(point: np.ndarray[Any, Any]) -> list[_Run]:
            return self._runs([round(value) if is_whole else float(value) for value, is_whole in zip(point, whole, strict=True)])

        def loss(point: np.ndarray[Any, Any]) -> float:
            rows = [store.rows[run.inputs_hash, run.seed] for run in runs_at(point)]
            asked.update({(row["inputs_hash"], row["seed"]): row for row in rows})
            figures = [row[goal] for row in rows]
            if None in figures:
                raise InputError("goal", goal, "needs prices in the scenario")
            return -float(np.mean(figures))

        def evaluate(function: Callable[[Any], float], points: Any) -> list[float]:
            points = list(points)
            self._compute(store, [run for point in points for run in runs_at(point)])
            return [function(point) for point in points]

        found = differential_evolution(
            loss,
            bounds,
            integrality=whole,
            maxiter=generations,
            popsize=POPULATION,
            rng=seed,
            updating="deferred",
            workers=evaluate,
            polish=False,
            tol=1e-4,
        )
        best = runs_at(found.x)[0]
        store.finish()
        return SweepOutcome(self._computed, self._found, asked[best.inputs_hash, best.seed])

    def _runs(self, values: Sequence[Value]) -> list[_Run]:
        """The runs, one a seed, at these values of the parameters. Raises InputError on values that cannot be."""
        named = tuple(zip(self._parameters, values, strict=True))
        digest = inputs_hash(_varied(self._shared.inputs, named), self._shared.start, self._shared.end)
        return [_Run(named, digest, seed) for seed in self._seeds]

    def _compute(self, store: SweepStore, runs: Sequence[_Run]) -> None:
        """Have a row for each of ``runs``."""
        wanted = {(run.inputs_hash, run.seed): run for run in runs}
        missing = [run for key, run in wanted.items() if key not in store.rows]
        self._found += len(wanted) - len(missing)
        self._tell("runs", 0, len(missing))
        for done, (_, row) in enumerate(run_tasks(_run, self._shared, missing, workers=self._workers, scheduler=self._scheduler), 1):
            store.add(row)
            self._computed += 1
            self._tell("runs", done, len(missing))


def _bounds(axis: Axis) -> tuple[float, float]:
    numbers = [float(value) for value in axis.values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) != 2 or len(axis.values) != 2 or not numbers[0] < numbers[1]:
        raise InputError("vary", axis.parameter, "an optimiser needs two numbers, the least and the greatest: NAME=LEAST,GREATEST")
    return numbers[0], numbers[1]


def _varied(inputs: StudyInputs, values: Sequence[tuple[str, Value]]) -> StudyInputs:
    for parameter, value in values:
        inputs = with_parameter(inputs, parameter, value)
    return inputs


_latest_contacts: list[tuple[str, ContactTable]] = []


def _contacts_of(inputs: StudyInputs, shared: _Shared) -> ContactTable:
    """The contacts of these satellites and stations; those of the latest are kept, as most runs differ elsewhere or in their seed."""
    sky = (inputs.satellites, inputs.stations, [link.ends for link in inputs.topology.links.values() if link.kind == "downlink"])
    digest = hash_of([*sky, inputs.epsilon_secrecy, inputs.epsilon_correctness, shared.start.isoformat(), shared.end.isoformat()])
    for known, table in _latest_contacts:
        if known == digest:
            return table
    table = tabulate_contacts(inputs, start=shared.start, end=shared.end)
    _latest_contacts[:] = [(digest, table)]
    return table


def _run(shared: _Shared, run: _Run) -> Row:
    """A task: one study under one seed, as a row."""
    began = time.perf_counter()
    inputs = _varied(shared.inputs, run.values)
    result = run_study(inputs, start=shared.start, end=shared.end, first_seed=run.seed, workers=1, table=_contacts_of(inputs, shared))
    return {
        "inputs_hash": run.inputs_hash,
        "seed": run.seed,
        "scenario": inputs.name,
        "from": shared.start,
        "to": shared.end,
        "tiandi": version("tiandi"),
        **dict(run.values),
        **figures(result),
        "elapsed_s": time.perf_counter() - began,
    }


def figures(result: StudyResult) -> Mapping[str, Any]:
    """What a row says of a study: figures of all pairs together, and lists by pair."""
    key_per_day = result.key_per_day_bit().mean(axis=0)
    met = result.met().mean(axis=(0, 1))
    total = float(key_per_day.sum())
    return {
        "key_bit_per_day": total,
        "wanted_bit_per_day": float(result.wanted_bit.sum() / result.length_days),
        "least_availability": float(met.min()),
        "longest_outage_days": int(result.longest_outage_days().max()),
        "contacts_planned": int(result.contacts_planned.sum()),
        "contacts_lost": int(result.contacts_lost.sum()),
        "cost": result.cost,
        "key_bit_per_day_and_cost": total / result.cost if result.cost else None,
        "pairs": list(result.pairs),
        "pair_key_bit_per_day": key_per_day.tolist(),
        "pair_availability": met.tolist(),
        "pair_key_age_s": [None if np.isnan(age_s) else age_s for age_s in result.mean_key_age_s().tolist()],
    }
