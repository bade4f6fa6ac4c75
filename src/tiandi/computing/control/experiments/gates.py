"""Gates as pulses, for all targets at once: cosines of 30 ns with DRAG (doi 10.1103/PhysRevLett.103.110501) at the qubits' frequencies."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tiandi.computing.control.experiment import Request
from tiandi.computing.control.experiments.node import column, known
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import Drive, FloatArray, IntArray, Measure, Moment, Number, Program, Reading, Shape, Train

GATE_NS = 30.0
"""Active reset plays the same pulse (`Settings.reset_duration_ns`)."""
COSINE = Shape("cosine")
FULL_SCALE = 0.9
"""Of the AWG: the rest is for the mixers' corrections."""
MOST_OF_PI = 0.8
LISTENING_AMPLITUDE = 0.1
"""Share of the readout's limit that is heard well and spoils nothing, before any readout was calibrated."""


@dataclass(frozen=True, eq=False)
class Gates:
    """The calibrated pulses of some qubits. Arrays: (targets,)."""

    line: IntArray
    frequency_hz: FloatArray
    pi_amplitude: FloatArray
    half_amplitude: FloatArray
    drag_ns: FloatArray

    def pulse(self, amplitude: Number, phase_rad: Number = 0.0, **other: Number) -> Drive:
        """A gate's pulse of another amplitude; ``other`` overrides what a `Drive` takes, as frequency_hz, drag_ns, start_ns."""
        numbers: dict[str, Number] = {"frequency_hz": column(self.frequency_hz), "drag_ns": column(self.drag_ns), "duration_ns": GATE_NS}
        numbers |= other
        return Drive(self.line, amplitude=amplitude, phase_rad=phase_rad, shape=COSINE, **numbers)

    def turn(self, phase_rad: Number = 0.0, **other: Number) -> Drive:
        """By pi about the axis at ``phase_rad`` in the equator."""
        return self.pulse(column(self.pi_amplitude), phase_rad, **other)

    def half(self, phase_rad: Number = 0.0, **other: Number) -> Drive:
        """By pi/2 about the axis at ``phase_rad`` in the equator."""
        return self.pulse(column(self.half_amplitude), phase_rad, **other)


def gates(knowledge: Knowledge, targets: IntArray) -> Gates:
    """Pulses as far as they are calibrated; KeyError where frequency or pi amplitude was never measured."""
    turn = knowledge["pi_amplitude"][targets]
    return Gates(
        knowledge.drive_line[targets],
        knowledge["frequency_hz"][targets],
        turn,
        known(knowledge, "half_pi_amplitude", targets, 0.5 * turn),
        known(knowledge, "drag_ns", targets, 0.0),
    )


def designed_turn(knowledge: Knowledge, lines: IntArray, duration_ns: float) -> FloatArray:
    """(lines, 1): amplitude at which a cosine of this length turns by most of pi, if the design is right; no more than the full scale.

    By all of pi it would turn too far, and back to 0, where a line is twice as strong as designed.
    """
    return column(np.minimum(MOST_OF_PI * 1e9 / (knowledge.electronics.design_rabi_hz[lines] * duration_ns), FULL_SCALE))


def listening(knowledge: Knowledge, targets: IntArray) -> Measure:
    """The measurement of each target, as well as it is known."""
    electronics = knowledge.electronics
    frequency = known(knowledge, "resonator_hz", targets, electronics.design_resonator_hz[targets])
    return Measure(
        targets,
        column(known(knowledge, "readout_frequency_hz", targets, frequency)),
        column(known(knowledge, "readout_amplitude", targets, LISTENING_AMPLITUDE * electronics.readout_amplitude_limit)),
        column(known(knowledge, "readout_duration_ns", targets, knowledge.settings.readout_duration_ns)),
    )


def counting(knowledge: Knowledge, targets: IntArray, points: int, steps: tuple[Moment | Train, ...], shots: int) -> Program:
    """A program that counts states 0, 1, 2 with the calibrated discriminators."""
    return Program(len(targets), points, steps, (listening(knowledge, targets),), shots, "populations")


def averaging(knowledge: Knowledge, targets: IntArray, points: int, steps: tuple[Moment | Train, ...], shots: int) -> Program:
    """A program that averages the IQ plane, for qubits whose readout cannot tell states yet."""
    return Program(len(targets), points, steps, (listening(knowledge, targets),), shots, "mean")


def in_parts(program: Program, parts: int) -> Generator[Request, Any, Reading]:
    """Play a program in parts of fewer shots, one after another, and take their mean populations.

    What drifts meanwhile is then a mean over the whole time, whose middle is the time of the measurement.
    """
    readings: list[Reading] = []
    for _ in range(parts):
        readings.append((yield replace(program, shots=max(1, program.shots // parts))))
    populations = np.mean([reading.populations for reading in readings if reading.populations is not None], axis=0)
    return Reading(populations=populations, began_s=readings[0].began_s, ended_s=readings[-1].ended_s)


def excited(reading: Reading) -> FloatArray:
    """(targets, points): share of shots that were not called 0."""
    assert reading.populations is not None
    return 1.0 - reading.populations[:, :, 0]


def along_axis(reading: Reading) -> FloatArray:
    """(targets, points): mean IQ points along the axis of their largest scatter, from their mean, in volts; the sign is arbitrary.

    The axis of a set of complex numbers is half the angle of the mean of their squares.
    """
    assert reading.iq is not None
    centred = reading.iq[0] - reading.iq[0].mean(axis=1, keepdims=True)
    return np.real(centred * np.exp(-0.5j * np.angle((centred**2).sum(axis=1, keepdims=True))))
