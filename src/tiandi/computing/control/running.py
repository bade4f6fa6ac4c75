"""Running an experiment on many elements: programs that may be played together, answers to what it asks for, and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.curves import CurveKeeper
from tiandi.computing.control.diagnosing import amount
from tiandi.computing.control.experiment import Experiment, Findings, Look
from tiandi.computing.control.graph import Condition, Graph
from tiandi.computing.control.grouping import batches
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.instrument import Instrument, Settings
from tiandi.computing.instruments.program import Drive, FloatArray, IntArray, Program, Train
from tiandi.errors import InputError, StateError, TiandiError

_log = logging.getLogger("tiandi.computing.control")
_MOST_RETRIES = 40
"""Times that the targets of one experiment are halved to find who makes it break off."""
UNNOTICED: dict[str, float] = {"frequency_hz": 30e3, "resonator_hz": 50e3, "flux_bias_v": 1e-4}
"""How far a parameter may move before what was measured with it is stale. A pulse of 30 ns that is 30 kHz off turns wrongly by 3e-5."""
UNNOTICED_SHARE = 2e-3
"""The same for all others, as a share; and in any case MOVED_SIGMA standard deviations."""
MOVED_SIGMA = 5.0
"""Three would send one or two of 500 qubits through the graph again for each parameter, with nothing wrong."""
COARSER = 2.0
"""A value so many times less sure than what is known, and that agrees with it, confirms it and does not take its place."""


@dataclass(frozen=True)
class Step:
    """Where a run is: ``done`` of ``total`` elements of an experiment measured, ``good`` of them with a good verdict."""

    experiment: str
    title: str
    done: int
    total: int
    good: int


@dataclass(eq=False)
class Outcome:
    """What came of one experiment. Arrays: (targets,)."""

    experiment: str
    targets: IntArray
    verdicts: NDArray[np.object_]
    moved: NDArray[np.bool_]
    """A value is another than before, by more than what follows from it can bear."""
    repairs: dict[str, IntArray] = field(default_factory=dict)

    @property
    def good(self) -> NDArray[np.bool_]:
        """(targets,)."""
        return np.asarray(self.verdicts == "", bool)


class _BrokenOff(Exception):
    """An experiment raised an error of its own, or asked for what the instrument refuses."""


class _OutOfBand(Exception):
    """Some pulses lie outside what their drive lines can play."""

    def __init__(self, reason_of: dict[int, str]) -> None:
        """``reason_of``: qubits whose readout their program listens to, for it may play no more than some of the targets."""
        self.reason_of = reason_of
        super().__init__(next(iter(reason_of.values())))


@dataclass(eq=False)
class Runner:
    """An instrument, what is known of its chip, and how far its calibration has come."""

    instrument: Instrument
    graph: Graph
    knowledge: Knowledge
    condition: Condition = field(default_factory=Condition)
    curves: CurveKeeper = field(default_factory=CurveKeeper)
    progress: Callable[[Step], None] = lambda step: None

    def run(self, name: str, targets: IntArray) -> Outcome:
        """Measure elements with an experiment of the graph: values to the knowledge, verdicts to the condition, curves to their keeper.

        An element that makes the experiment break off gets that as its verdict; the others are measured all the same.
        """
        experiment = self.graph[name]
        targets = np.asarray(targets, np.int64)
        parts = []
        done = good = 0
        self.progress(Step(name, experiment.title, 0, len(targets), 0))
        for batch in self._batches(experiment, targets):
            for elements, findings, when_s in self._measured(experiment, batch, [_MOST_RETRIES]):
                outcome = self._merge(experiment, elements, findings, when_s)
                parts.append(outcome)
                done, good = done + len(elements), good + int(outcome.good.sum())
                self.progress(Step(name, experiment.title, done, len(targets), good))
        try:
            self.curves.flush(name)
        except StateError as error:  # what was measured counts for more than its picture.
            _log.warning("%s", error)
        return _joined(name, parts)

    def observe(self, experiment: Experiment, targets: IntArray) -> tuple[IntArray, Findings]:
        """Measure with an experiment that need not be in the graph, and take nothing of it: a check. Returns the elements as measured."""
        parts = [
            (elements, findings)
            for batch in self._batches(experiment, np.asarray(targets, np.int64))
            for elements, findings, _ in self._measured(experiment, batch, [_MOST_RETRIES])
        ]
        if not parts:
            return np.zeros(0, np.int64), Findings({}, {}, np.zeros(0, object))
        names = {name for _, findings in parts for name in findings.values}

        def column(name: str, kind: str) -> FloatArray:
            return np.concatenate([getattr(findings, kind).get(name, np.full(len(one), np.nan)) for one, findings in parts])

        return np.concatenate([elements for elements, _ in parts]), Findings(
            {name: column(name, "values") for name in names},
            {name: column(name, "uncertainties") for name in names},
            np.concatenate([findings.verdicts for _, findings in parts]),
            repairs=_united([findings.repairs for _, findings in parts]),
        )

    def _batches(self, experiment: Experiment, targets: IntArray) -> list[IntArray]:
        """Targets that may be played together; one by one where the experiment cannot say which."""
        try:
            return batches(self.knowledge, experiment, targets)
        except Exception:  # users write exclusions too.
            _log.warning("%s: its exclusion broke off; its targets are measured one by one", experiment.name, exc_info=True)
            return [np.array([one], np.int64) for one in np.unique(targets)]

    def _measured(self, experiment: Experiment, targets: IntArray, budget: list[int]) -> Iterator[tuple[IntArray, Findings, float]]:
        """Findings of all targets, in one part or, where some make it break off, in several."""
        before, began_s = self.knowledge.settings, self.instrument.now_s
        try:
            findings = self._drive(experiment, targets)
        except _OutOfBand as out:
            self._restore(before)
            reasons = self._reasons(experiment, targets, out.reason_of)
            where = np.asarray(reasons != "", bool)
            yield targets[where], _refused(reasons[where]), began_s
            if not where.all():
                yield from self._measured(experiment, targets[~where], budget)
        except _BrokenOff as broken:
            self._restore(before)
            if len(targets) == 1 or budget[0] <= 0:
                _log.warning("%s broke off on %d elements", experiment.name, len(targets), exc_info=broken)
                yield targets, _refused(np.full(len(targets), f"the experiment broke off: {broken}", object)), began_s
                return
            budget[0] -= 1
            for half in np.array_split(targets, 2):
                yield from self._measured(experiment, half, budget)
        else:
            yield targets, findings, 0.5 * (began_s + self.instrument.now_s)

    def _reasons(self, experiment: Experiment, targets: IntArray, reason_of: dict[int, str]) -> NDArray[np.object_]:
        """(targets,): the reason of each target's qubits, "" for none; that of all where the program listens to none of them."""
        qubits = targets[:, None] if experiment.element == "qubit" else self.knowledge.electronics.couplers[targets]
        reasons = np.array([next((reason_of[one] for one in row if one in reason_of), "") for row in qubits.tolist()], object)
        if not any(reasons):
            reasons[:] = next(iter(reason_of.values()))
        return reasons

    def _restore(self, settings: Settings) -> None:
        if self.knowledge.settings is not settings:
            self.instrument.configure(settings)
            self.knowledge.settings = settings

    def _drive(self, experiment: Experiment, targets: IntArray) -> Findings:
        """Answer what an experiment asks for until it returns its findings. Raises _BrokenOff; errors of the instrument pass through."""
        measurement: Any = None
        answer: Any = None
        findings: Findings | None = None
        while findings is None:
            try:
                measurement = experiment.measure(self.knowledge, targets) if measurement is None else measurement
                request = measurement.send(answer)
            except StopIteration as end:
                findings = end.value
                break
            except Exception as error:  # users write experiments: what breaks off one must not end the bring-up of a chip.
                raise _BrokenOff(str(error) if isinstance(error, TiandiError) else repr(error)) from error
            try:
                answer = self._answer(request)
            except InputError as error:
                measurement.close()
                raise _BrokenOff(str(error)) from error
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                measurement.close()
                raise _BrokenOff(f"its {type(request).__name__} cannot be played: {error!r}") from error
        if not isinstance(findings, Findings):
            raise _BrokenOff(f"it returned {type(findings).__name__} for Findings")
        for name, values in (*findings.values.items(), *findings.uncertainties.items(), ("verdicts", findings.verdicts)):
            if np.shape(values) != targets.shape:
                raise _BrokenOff(f"{name} has the shape {np.shape(values)}, and must have one for each of {len(targets)} targets")
        return findings

    def _answer(self, request: Any) -> Any:
        if isinstance(request, Program):
            _require_in_band(request, self.knowledge)
            return self.instrument.run(request)
        if isinstance(request, Look):
            return self.instrument.monitor(request.lines)
        if isinstance(request, Settings):
            self.instrument.configure(request)
            self.knowledge.settings = request
            return None
        raise InputError("request", type(request).__name__, "must be a Program, Settings or a Look")

    def _merge(self, experiment: Experiment, elements: IntArray, findings: Findings, when_s: float) -> Outcome:
        knowledge, good = self.knowledge, np.asarray(findings.verdicts == "", bool)
        moved = np.zeros(len(elements), bool)
        for name, values in findings.values.items():
            error = findings.uncertainties.get(name, np.full(len(elements), np.nan))
            take = good & np.isfinite(values)
            if name in knowledge.parameters:
                before, sure = knowledge[name][elements], knowledge.parameters[name].uncertainty[elements]
                other = take & _moved(name, before, values, sure, error)
                moved |= other & (name not in findings.reported)
                with np.errstate(invalid="ignore"):
                    take &= other | ~np.isfinite(before) | ~(error > COARSER * sure)
            knowledge.learn(experiment.element, name, elements[take], values[take], error[take], measured_s=when_s)
        for flag in findings.flags:
            knowledge.flag(flag.element, flag.index, flag.fault, flag.reason)
        self.condition.mark(experiment, knowledge, elements, findings.verdicts, when_s)
        if findings.curves is not None:
            self.curves.take(experiment.name, elements, findings.curves)
        return Outcome(experiment.name, elements, findings.verdicts, moved, dict(findings.repairs))


def _moved(name: str, before: FloatArray, after: FloatArray, before_error: FloatArray, after_error: FloatArray) -> NDArray[np.bool_]:
    """(targets,): whether a value moved by more than it may and more than its uncertainties explain; False where there was none before."""
    bearable = np.full(len(before), UNNOTICED[name]) if name in UNNOTICED else UNNOTICED_SHARE * np.abs(before)
    noise = MOVED_SIGMA * np.hypot(np.nan_to_num(before_error), np.nan_to_num(after_error))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(after - before) > np.maximum(bearable, noise), bool)


def _refused(reasons: NDArray[np.object_]) -> Findings:
    return Findings({}, {}, reasons)


def _joined(name: str, parts: list[Outcome]) -> Outcome:
    if not parts:
        return Outcome(name, np.zeros(0, np.int64), np.zeros(0, object), np.zeros(0, bool))
    return Outcome(
        name,
        np.concatenate([part.targets for part in parts]),
        np.concatenate([part.verdicts for part in parts]),
        np.concatenate([part.moved for part in parts]),
        _united([part.repairs for part in parts]),
    )


def _united(parts: list[dict[str, IntArray]]) -> dict[str, IntArray]:
    found: dict[str, IntArray] = {}
    for part in parts:
        for name, elements in part.items():
            found[name] = np.union1d(found.get(name, np.zeros(0, np.int64)), elements)
    return found


def _require_in_band(program: Program, knowledge: Knowledge) -> None:
    """Raise _OutOfBand where a pulse's frequency lies further from its line's oscillator than half the band."""
    half = 0.5 * knowledge.electronics.drive_band_hz
    reasons: dict[int, str] = {}
    drives = [one for step in program.steps for moment in (step.table if isinstance(step, Train) else (step,)) for one in moment]
    for drive in drives:
        if isinstance(drive, Drive):
            oscillator = knowledge.settings.oscillator_hz[drive.lines][:, None]
            away = np.abs(np.atleast_2d(drive.frequency_hz) - oscillator)
            furthest = np.where(np.isnan(away).any(axis=1), np.inf, away.max(axis=1))
            for row in np.flatnonzero(furthest > half).tolist():
                reason = f"its pulse lies {amount(furthest[row], 'Hz')} from the line's oscillator, the band reaches {amount(half, 'Hz')}"
                for measure in program.measures:
                    reasons.setdefault(int(measure.lines[row]), reason)
    if reasons:
        raise _OutOfBand(reasons)
