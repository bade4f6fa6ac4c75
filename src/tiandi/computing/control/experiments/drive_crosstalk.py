"""Drive crosstalk: how fast each neighbour's drive line turns a qubit, against its own.

A neighbour's line plays a long pulse at full scale at the qubit's frequency, of growing length. The oscillation's frequency over that of
the own line is the element of the matrix; what has not turned a tenth within the longest pulse is below the bound that this gives.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiandi.computing.control.experiment import Findings, Measurement, Request
from tiandi.computing.control.experiments.gates import FULL_SCALE, GATE_NS, counting, excited
from tiandi.computing.control.experiments.node import HOUR_S, Node, closer_than, column, towards, verdicts
from tiandi.computing.control.experiments.qubit_spectroscopy import ASIDE_HZ
from tiandi.computing.control.fitting import levenberg_marquardt, shot_noise
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.instrument import copied
from tiandi.computing.instruments.program import Drive, FloatArray, IntArray, Reading, Shape

NEAREST = ("up", "down", "left", "right")
"""Those further away are too faint for pulses of this length."""
LENGTHS_NS = np.array([0.0, 40.0, 80.0, 120.0, 160.0, 210.0])
SHOTS = 1_500
SQUARE = Shape("flattop", 4.0)
EDGE_NS = 4.0
RATES = np.geomspace(2e-5, 0.02, 70)
"""Trial Rabi frequencies in turns per nanosecond."""
LOUD = 0.12
"""Share of the own line's rate above which simultaneous gates would suffer badly: cables that touch."""


@dataclass(frozen=True)
class DriveCrosstalk(Node):
    """drive_crosstalk_<direction>: rate by that neighbour's line over the rate by the own line, in amplitude."""

    name: str = "drive-crosstalk"
    title: str = "Drive crosstalk"
    after: tuple[str, ...] = ("discrimination",)
    valid_s: float = 720.0 * HOUR_S

    def exclusion(self, knowledge: Knowledge) -> IntArray | None:
        """Of pulses meant for others a target hears only those at frequencies of its next-nearest neighbours."""
        return closer_than(knowledge.electronics, 2)

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        own = 1.0 / (knowledge["pi_amplitude"][targets] * GATE_NS)
        values: dict[str, FloatArray] = {}
        errors: dict[str, FloatArray] = {}
        loud = np.zeros(len(targets), bool)
        for direction in NEAREST:
            beside = towards(knowledge.electronics, direction)[targets]
            there = np.flatnonzero(beside >= 0)
            share, error = np.full(len(targets), np.nan), np.full(len(targets), np.nan)
            if len(there):
                rate, spread = yield from self._rate(knowledge, targets[there], beside[there])
                share[there], error[there] = rate / own[there], spread / own[there]
            values[f"drive_crosstalk_{direction}"], errors[f"drive_crosstalk_{direction}"] = share, error
            loud |= np.nan_to_num(share) > LOUD
        # Loud crosstalk is knowledge, not a failed measurement.
        values["drive_crosstalk_loud"], errors["drive_crosstalk_loud"] = loud.astype(float), np.zeros(len(targets))
        return Findings(values, errors, verdicts(len(targets)), reported=frozenset(values))

    def _rate(self, knowledge: Knowledge, qubits: IntArray, others: IntArray) -> Generator[Request, Any, tuple[FloatArray, FloatArray]]:
        """(qubits,): turns per nanosecond at amplitude 1 of the others' lines, and their uncertainty."""
        lines = knowledge.drive_line[others]
        frequency = knowledge["frequency_hz"][qubits]
        before = copied(knowledge.settings)
        tuned = copied(before)
        tuned.oscillator_hz[lines] = frequency - ASIDE_HZ
        yield tuned
        drive = Drive(lines, FULL_SCALE, LENGTHS_NS, column(frequency), shape=SQUARE)
        reading: Reading = yield counting(knowledge, qubits, len(LENGTHS_NS), ((drive,),), SHOTS)
        yield before
        signal = excited(reading)
        return turning_rate(np.maximum(LENGTHS_NS - EDGE_NS, 0.0), signal, SHOTS)


def turning_rate(length_ns: FloatArray, signal: FloatArray, shots: int) -> tuple[FloatArray, FloatArray]:
    """Fit offset + contrast (1 - cos(2 pi rate length)) / 2 to populations (targets, points): rate per nanosecond at amplitude 1, and its
    error.

    The contrast is held above 0.6 and below 1, for a slow start fixes only the product of contrast and rate squared.
    """
    places = np.broadcast_to(length_ns, signal.shape)
    floor = signal[:, 0]
    cost = np.stack(
        [((signal - floor[:, None] - 0.43 * (1 - np.cos(2 * np.pi * rate * places))) ** 2).sum(axis=1) for rate in RATES], axis=1
    )
    start = np.stack([RATES[cost.argmin(axis=1)], floor, np.full(len(signal), 0.86)], axis=1)

    def model(x: FloatArray, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        rate, offset, contrast = (parameters[:, number, None] for number in range(3))
        angle = 2 * np.pi * rate * x
        wave = 0.5 * (1 - np.cos(angle))
        return offset + contrast * wave, np.stack([contrast * np.pi * x * np.sin(angle), np.ones_like(x), wave], axis=2)

    solution = levenberg_marquardt(
        model, places, signal, 1.0 / shot_noise(signal, shots), start=start, lower=[0.0, 0.0, 0.6], upper=[0.1, 0.4, 1.0], weighted=True
    )
    rate = np.where(solution.good, solution.parameters[:, 0], np.nan)
    return rate / FULL_SCALE, solution.error(0) / FULL_SCALE
