"""Short checks for the drift watch: a few points each, and a verdict whether the last calibration still holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.diagnosing import Diagnosis, amount
from tiandi.computing.control.experiment import Findings, Measurement
from tiandi.computing.control.experiments.gates import counting, excited, gates
from tiandi.computing.control.experiments.node import Node, QuietNeighbours, column, known
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import FloatArray, IntArray, Reading, Train, Wait

SHOTS = 1_000
_SURE = 4.0
"""A check fails where it is out of tolerance by what is more than so many standard deviations of its own."""


def _texts(values: FloatArray, unit: str) -> list[str]:
    return [amount(float(value), unit) for value in values]


@dataclass(frozen=True)
class FrequencyCheck(QuietNeighbours):
    """Four points of a Ramsey fringe: both quadratures of the phase after one delay.

    The phase does not tell whole turns: how far a frequency that fails is off is for `Ramsey` to find, whose short delays do.
    """

    name: str = "check-frequency"
    title: str = "Check of the qubits' frequencies"
    watches: str = "ramsey"
    tolerance_hz: float = 10e3
    delay_ns: float = 2_000.0

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        gate = gates(knowledge, targets)
        decay = known(knowledge, "t2_ramsey_s", targets, 4.0 * self.delay_ns * 1e-9)
        delay = np.minimum(self.delay_ns, 0.5e9 * decay)
        phase = np.array([0.0, 0.5, 1.0, 1.5]) * np.pi
        reading: Reading = yield counting(knowledge, targets, 4, ((gate.half(),), (Wait(column(delay)),), (gate.half(phase),)), SHOTS)
        signal = excited(reading)
        along, across = signal[:, 0] - signal[:, 2], signal[:, 1] - signal[:, 3]
        contrast = np.hypot(along, across)
        period_s = delay * 1e-9 + 1e-9 * 30.0
        detuning = np.arctan2(-across, along) / (2.0 * np.pi * period_s)
        error = np.sqrt(0.5 / SHOTS) / np.maximum(contrast, 1e-3) / (2.0 * np.pi * period_s)
        found = Diagnosis.clean(len(targets))
        found.blame(contrast < 0.15, "the fringe is gone: contrast {contrast:.2f}", "", contrast=contrast)
        found.blame(
            np.abs(detuning) > np.maximum(self.tolerance_hz, _SURE * error), "detuned by {detuning}", "", detuning=_texts(detuning, "Hz")
        )
        return Findings({"detuning_hz": detuning}, {"detuning_hz": error}, found.verdicts)


@dataclass(frozen=True)
class AmplitudeCheck(Node):
    """A half turn and 8 or 9 turns, which add up what each is wrong by with opposite signs; no pulse and one turn give the scale."""

    name: str = "check-amplitude"
    title: str = "Check of the pulses' amplitudes"
    watches: str = "fine-amplitude"
    tolerance: float = 5e-3
    """Of a turn, as a share of it."""

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        gate = gates(knowledge, targets)
        order = np.full((1, 4, 10), -1, np.int16)
        order[0, 1, 0] = 1
        order[0, 2, :9], order[0, 3, :10] = [0] + [1] * 8, [0] + [1] * 9
        train = Train(((gate.half(),), (gate.turn(),)), order)
        reading: Reading = yield counting(knowledge, targets, 4, (train,), SHOTS)
        signal = excited(reading)
        scale = signal[:, 1] - signal[:, 0]
        safe = np.maximum(scale, 0.05)
        share = np.arcsin(np.clip((signal[:, 2] - signal[:, 3]) / safe, -1.0, 1.0)) / (9.0 * np.pi)
        error = np.sqrt(0.5 / SHOTS) / safe / (9.0 * np.pi)
        found = Diagnosis.clean(len(targets))
        found.blame(scale < 0.5, "a turn changes the population by no more than {scale:.2f}", "", scale=scale)
        found.blame(np.abs(share) > np.maximum(self.tolerance, _SURE * error), "turns are wrong by {share:.1%}", "", share=share)
        return Findings({"amplitude_error": share}, {"amplitude_error": error}, found.verdicts)


@dataclass(frozen=True)
class ReadoutCheck(Node):
    """Nothing and one turn: whether 0 and 1 are taken for each other as seldom as when the readout was calibrated."""

    name: str = "check-readout"
    title: str = "Check of the readout"
    watches: str = "discrimination"
    tolerance: float = 0.02

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        gate = gates(knowledge, targets)
        turns = gate.pulse(column(gate.pi_amplitude) * np.array([0.0, 1.0]))
        reading: Reading = yield counting(knowledge, targets, 2, ((turns,),), SHOTS)
        assert reading.populations is not None
        wrong = 0.5 * (1.0 - reading.populations[:, 0, 0] + reading.populations[:, 1, 0])
        before = 0.5 * (known(knowledge, "one_for_zero", targets, 0.0) + known(knowledge, "zero_for_one", targets, 0.0))
        error = np.sqrt(np.maximum(wrong * (1.0 - wrong), 1e-4) / (2.0 * SHOTS))
        found = Diagnosis.clean(len(targets))
        found.blame(
            wrong - before > np.maximum(self.tolerance, _SURE * error), "{wrong:.1%} are read wrongly, {before:.1%} were", "",
            wrong=wrong, before=before,
        )  # fmt: skip
        return Findings({"assignment_error": wrong}, {"assignment_error": error}, found.verdicts)


@dataclass(frozen=True)
class RelaxationCheck(Node):
    """A turn, then nothing, or no time, or T1: the share that is left then should be exp(-1)."""

    name: str = "check-t1"
    title: str = "Check of T1"
    watches: str = "t1"
    tolerance: float = 0.25
    """Of the rate, as a share of it."""

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        gate = gates(knowledge, targets)
        turns = gate.pulse(column(gate.pi_amplitude) * np.array([0.0, 1.0, 1.0]))
        delay = column(knowledge["t1_s"][targets]) * 1e9 * np.array([0.0, 0.0, 1.0])
        reading: Reading = yield counting(knowledge, targets, 3, ((turns,), (Wait(delay),)), SHOTS)
        signal = excited(reading)
        scale = np.maximum(signal[:, 1] - signal[:, 0], 0.05)
        left = np.clip((signal[:, 2] - signal[:, 0]) / scale, 1e-3, 1.0)
        rate = -np.log(left)
        error = np.sqrt(0.75 / SHOTS) / scale / left
        found = Diagnosis.clean(len(targets))
        found.blame(
            np.abs(rate - 1.0) > np.maximum(self.tolerance, _SURE * error), "decays {rate:.2f} times as fast as before", "", rate=rate
        )
        return Findings({"rate_share": rate}, {"rate_share": error}, found.verdicts)


def standard_checks() -> tuple[FrequencyCheck, AmplitudeCheck, ReadoutCheck, RelaxationCheck]:
    """The checks of single qubits."""
    return FrequencyCheck(), AmplitudeCheck(), ReadoutCheck(), RelaxationCheck()
