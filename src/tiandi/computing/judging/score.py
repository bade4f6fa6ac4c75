"""The score of a control system on a chip twin: each parameter beside the truth, at the idle bias that the control system chose and at the
laboratory time of its measurement.

Conventions. T1 is the decay time at that time, two-level systems where they were; T2 of Ramsey fringes and of the echo as `chip.truth`
defines them. The pi amplitude is the one at which the control system's own pulse (shape, length, DRAG, frequency) turns by pi without
noise. The error of a readout is what its discriminator and threshold err more than the best threshold would, at its own frequency, power
and length.

Judged are the elements that the truth calls good; one that was not measured, whatever the reason, is one outside the limit. Two neighbours
with one frequency ("collision") are good: flux can part them, so that they need no flag, but may have one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tiandi.computing.chip.conditions import Conditions
from tiandi.computing.chip.truth import assignment_errors, pi_amplitude, truth_of
from tiandi.computing.chip.twin import ChipTwin
from tiandi.computing.control.experiments.gates import COSINE, GATE_NS
from tiandi.computing.control.knowledge import Flag, Knowledge
from tiandi.computing.instruments.program import FloatArray, IntArray
from tiandi.computing.judging.criteria import BoolArray, Criterion, FlagMark, Mark, Score, mark_of
from tiandi.computing.judging.pairs import judge_couplers
from tiandi.errors import InputError

FREQUENCY = Criterion("frequency", "frequency", "qubit", "Hz", 5e3, 0.99)
T1 = Criterion("t1", "T1", "qubit", "relative", 0.05, 0.99)
T2 = Criterion("t2", "T2 of Ramsey fringes", "qubit", "relative", 0.05, 0.99)
ECHO = Criterion("t2_echo", "T2 of the echo", "qubit", "relative", 0.05, 0.99)
PI_AMPLITUDE = Criterion("pi_amplitude", "pi amplitude", "qubit", "relative", 1e-3, 0.99)
READOUT = Criterion("readout", "readout error beyond the best threshold's", "qubit", "share", 5e-3, 0.99)
SPARED = "collision"
"""The fault that needs no flag."""


def good_elements(twin: ChipTwin, knowledge: Knowledge) -> tuple[BoolArray, BoolArray]:
    """(qubits,) and (couplers,): whether the truth has no fault of them that would spoil them; a coupler needs good qubits."""
    qubits = np.ones(knowledge.electronics.qubits, bool)
    couplers = np.ones(len(knowledge.electronics.couplers), bool)
    for fault in twin.truth().faults:
        if fault.fault != SPARED:
            (qubits if fault.element == "qubit" else couplers)[fault.index] = False
    return qubits, couplers & qubits[knowledge.electronics.couplers].all(axis=1)


def judge_flags(twin: ChipTwin, knowledge: Knowledge) -> FlagMark:
    """What was flagged beside what is broken."""
    faults = twin.truth().faults
    found, missed, misnamed = [], [], []
    for fault in (one for one in faults if one.fault != SPARED):
        own = [flag for flag in knowledge.flags if (flag.element, flag.index) == (fault.element, fault.index)]
        named = next((flag for flag in own if flag.fault == fault.fault), None)
        if named is not None:
            found.append(named)
        elif own:
            misnamed.append(Flag(fault.element, fault.index, fault.fault, f"flagged as {', '.join(flag.fault for flag in own)}"))
        else:
            missed.append(Flag(fault.element, fault.index, fault.fault, "not flagged"))
    broken = {(fault.element, fault.index) for fault in faults}
    false = [flag for flag in knowledge.flags if (flag.element, flag.index) not in broken]
    return FlagMark(tuple(found), tuple(missed), tuple(misnamed), tuple(false))


def judge_qubits(twin: ChipTwin, knowledge: Knowledge) -> tuple[Mark, ...]:
    """The marks of single qubits."""
    good, _ = good_elements(twin, knowledge)
    qubits = np.flatnonzero(good)
    hidden = twin.hidden

    def truth(field: str) -> Callable[[Conditions, IntArray], FloatArray]:
        return lambda now, chosen: np.asarray(getattr(truth_of(hidden, now, (), 0.0), field))[chosen]

    def amplitude(now: Conditions, chosen: IntArray) -> FloatArray:
        drag = knowledge["drag_ns"][chosen] if "drag_ns" in knowledge.parameters else np.zeros(len(chosen))
        return pi_amplitude(
            hidden, now, chosen, knowledge.drive_line[chosen], shape=COSINE, duration_ns=GATE_NS, drag_ns=np.nan_to_num(drag),
            frequency_hz=knowledge["frequency_hz"][chosen],
        )  # fmt: skip

    def relative(name: str, function: Callable[[Conditions, IntArray], FloatArray]) -> FloatArray:
        true = _at_its_time(twin, knowledge, name, qubits, function)
        return _value(knowledge, name, qubits) / true - 1.0

    frequency = _value(knowledge, "frequency_hz", qubits) - _at_its_time(twin, knowledge, "frequency_hz", qubits, truth("frequency_hz"))
    return (
        mark_of(FREQUENCY, qubits, frequency),
        mark_of(T1, qubits, relative("t1_s", truth("t1_s"))),
        mark_of(T2, qubits, relative("t2_ramsey_s", truth("t2_ramsey_s"))),
        mark_of(ECHO, qubits, relative("t2_echo_s", truth("t2_echo_s"))),
        mark_of(PI_AMPLITUDE, qubits, relative("pi_amplitude", amplitude)),
        mark_of(READOUT, qubits, _readout_loss(twin, knowledge, qubits)),
    )


def judge(twin: ChipTwin, knowledge: Knowledge) -> Score:
    """The score of ``knowledge`` about ``twin``. Raises InputError for knowledge of another chip."""
    electronics = twin.electronics
    if knowledge.electronics.qubits != electronics.qubits or not np.array_equal(knowledge.electronics.couplers, electronics.couplers):
        raise InputError("knowledge: qubits", knowledge.electronics.qubits, f"must be of the twin that judges, {electronics.qubits} qubits")
    good, good_couplers = good_elements(twin, knowledge)
    marks = (*judge_qubits(twin, knowledge), *judge_couplers(twin, knowledge, np.flatnonzero(good_couplers)))
    return Score(marks, judge_flags(twin, knowledge), int(good.sum()), int(good_couplers.sum()))


def _value(knowledge: Knowledge, name: str, elements: IntArray) -> FloatArray:
    """(elements,): NaN for what is not known."""
    return knowledge[name][elements] if name in knowledge.parameters else np.full(len(elements), np.nan)


def _at_its_time(
    twin: ChipTwin, knowledge: Knowledge, name: str, elements: IntArray, function: Callable[[Conditions, IntArray], FloatArray]
) -> FloatArray:
    """(elements,): ``function`` of the chip as it was when each was measured; NaN for what was not."""
    result = np.full(len(elements), np.nan)
    if name not in knowledge.parameters:
        return result
    known = knowledge.parameters[name]
    when = np.where(np.isfinite(known.value[elements]), known.measured_s[elements], np.nan)
    for time in np.unique(when[np.isfinite(when)]):
        there = np.flatnonzero(when == time)
        result[there] = function(twin.conditions(float(time), knowledge.settings), elements[there])
    return result


def _readout_loss(twin: ChipTwin, knowledge: Knowledge, qubits: IntArray) -> FloatArray:
    """(qubits,): error with the control system's boundary less that with the best one; NaN without a discriminator."""
    settings = knowledge.settings

    def loss(now: Conditions, chosen: IntArray) -> FloatArray:
        duration = np.nan_to_num(_value(knowledge, "readout_duration_ns", chosen), nan=settings.readout_duration_ns)
        own, best = assignment_errors(
            twin.hidden, now, chosen, frequency_hz=settings.readout_frequency_hz[chosen], amplitude=settings.readout_amplitude[chosen],
            duration_ns=duration, discriminator=settings.discriminator[chosen], threshold=settings.threshold[chosen],
        )  # fmt: skip
        return own - best

    found = _at_its_time(twin, knowledge, "assignment_error", qubits, loss)
    return np.where(np.isfinite(settings.discriminator[qubits, :2]).all(axis=1), found, np.nan)
