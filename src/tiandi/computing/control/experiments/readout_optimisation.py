"""Readout optimisation: frequency, amplitude and duration of the tone that tell 0 from 1 best.

The frequency is where the mean answers of 0 and 1 are furthest apart (Gambetta et al., doi 10.1103/PhysRevA.76.012325, for what sets the
distance). Amplitude and duration are weighed shot by shot: more photons and more time part the clouds, until the tone throws the qubit out
or it relaxes meanwhile (Walter et al., doi 10.1103/PhysRevApplied.7.054020).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiandi.computing.control.experiment import Curves, Findings, Measurement, Request
from tiandi.computing.control.experiments.gates import gates
from tiandi.computing.control.experiments.node import HOUR_S, Node, column, verdicts
from tiandi.computing.control.fitting import best_threshold
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import FloatArray, IntArray, Measure, Number, Program, Reading

OFFSETS = np.linspace(-1.6, 1.0, 27)
"""Frequencies to try, in linewidths from the resonator with its qubit in 0; state 1 lies below."""
AMPLITUDES = np.array([0.8, 1.2, 1.6, 2.0, 2.4, 2.9])
"""In units of the present amplitude."""
DURATIONS = np.array([0.6, 0.8, 1.0, 1.4])
"""In units of the electronics' usual duration."""
MEAN_SHOTS, SHOTS = 2_000, 600
WORST = 0.2


@dataclass(frozen=True)
class ReadoutOptimisation(Node):
    """readout_frequency_hz, readout_amplitude and readout_duration_ns."""

    name: str = "readout-optimisation"
    title: str = "Readout optimisation"
    after: tuple[str, ...] = ("ramsey-coarse",)
    valid_s: float = 168.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        limit = knowledge.electronics.readout_amplitude_limit
        usual = knowledge.settings.readout_duration_ns
        amplitude = knowledge["readout_amplitude"][targets]
        frequency = column(knowledge["resonator_hz"][targets]) + OFFSETS * column(knowledge["resonator_width_hz"][targets])
        reading: Reading = yield self._program(
            knowledge, targets, np.repeat(frequency, 2, axis=1), amplitude=column(amplitude), duration_ns=usual, shots=MEAN_SHOTS
        )
        assert reading.iq is not None
        apart = np.abs(reading.iq[0][:, 1::2] - reading.iq[0][:, ::2])
        best = _peak(frequency, apart)
        trials = np.minimum(column(amplitude) * AMPLITUDES, limit)
        errors = yield from self._errors(knowledge, targets, best, trials, usual)
        amplitude = _lowest(trials, errors)
        durations = np.broadcast_to(DURATIONS * usual, (len(targets), len(DURATIONS)))
        last = yield from self._errors(knowledge, targets, best, column(amplitude), durations)
        duration = _lowest(durations, last)
        blind = ~(last.min(axis=1) < WORST)
        return Findings(
            {"readout_frequency_hz": best, "readout_amplitude": amplitude, "readout_duration_ns": duration},
            {
                "readout_frequency_hz": np.ptp(frequency, axis=1) / len(OFFSETS),
                "readout_amplitude": 0.1 * amplitude,
                "readout_duration_ns": 0.2 * duration,
            },
            verdicts(len(targets), (blind, f"no tone tells 0 from 1 with less than {WORST:.0%} of errors")),
            curves=Curves(frequency / 1e9, apart, None, "frequency of the tone (GHz)", "distance of the mean answers to 0 and 1 (V)"),
        )

    def _program(
        self,
        knowledge: Knowledge,
        targets: IntArray,
        frequency_hz: FloatArray,
        *,
        amplitude: Number,
        duration_ns: Number,
        shots: int,
        each_shot: bool = False,
    ) -> Program:
        """Points in pairs: without and with a turn before the tone."""
        points = frequency_hz.shape[1]
        gate = gates(knowledge, targets)
        turn = gate.pulse(column(gate.pi_amplitude) * (np.arange(points) % 2))
        measure = Measure(targets, frequency_hz, amplitude, duration_ns)
        return Program(len(targets), points, ((turn,),), (measure,), shots, "shots" if each_shot else "mean")

    def _errors(
        self, knowledge: Knowledge, targets: IntArray, frequency_hz: FloatArray, amplitude: FloatArray, duration_ns: Number
    ) -> Generator[Request, Any, FloatArray]:
        """(targets, trials): mean of both assignment errors at the best boundary, counted."""
        amplitude, duration = np.broadcast_arrays(amplitude, duration_ns)
        count = amplitude.shape[1]
        errors = np.empty((len(targets), count))
        for trial in range(count):
            program = self._program(
                knowledge,
                targets,
                np.repeat(column(frequency_hz), 2, axis=1),
                amplitude=column(amplitude[:, trial]),
                duration_ns=column(duration[:, trial]),
                shots=SHOTS,
                each_shot=True,
            )
            reading: Reading = yield program
            assert reading.iq is not None
            shots = reading.iq[0]
            centres = np.median(shots.real, axis=2) + 1j * np.median(shots.imag, axis=2)
            _, one_for_zero, zero_for_one = best_threshold(shots, centres)
            errors[:, trial] = 0.5 * (one_for_zero + zero_for_one)
        return np.where(np.isfinite(errors), errors, 0.5)


def _peak(x: FloatArray, y: FloatArray) -> FloatArray:
    """(targets,): x of the highest y, refined by the parabola through its neighbours."""
    rows, best = np.arange(len(y)), np.clip(y.argmax(axis=1), 1, y.shape[1] - 2)
    left, middle, right = (y[rows, best + offset] for offset in (-1, 0, 1))
    bend = left - 2.0 * middle + right
    shift = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, -1.0), 0.0)
    return np.asarray(x[rows, best] + np.clip(shift, -1.0, 1.0) * (x[:, 1] - x[:, 0]))


def _lowest(x: FloatArray, errors: FloatArray) -> FloatArray:
    """(targets,): x at the bottom of the parabola through the errors, weighted towards the low ones, within the trials."""
    away = np.log(x / x[:, :1])
    weight = 1.0 / (errors + 0.01)
    basis = np.stack([np.ones_like(away), away, away**2], axis=2) * weight[..., None]
    normal = basis.transpose(0, 2, 1) @ basis + 1e-9 * np.eye(3)
    found = np.linalg.solve(normal, basis.transpose(0, 2, 1) @ (errors * weight)[..., None])[..., 0]
    bend, lowest = found[:, 2], errors.argmin(axis=1)
    place = np.where(bend > 0, -0.5 * found[:, 1] / np.where(bend > 0, bend, 1.0), away[np.arange(len(x)), lowest])
    return np.asarray(x[:, 0] * np.exp(np.clip(place, away.min(axis=1), away.max(axis=1))))
