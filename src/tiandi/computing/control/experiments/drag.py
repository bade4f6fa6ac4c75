"""DRAG: the weight of the derivative in a pulse's quadrature (Motzoi et al., doi 10.1103/PhysRevLett.103.110501) that leaves no phase
error.

A pulse with a phase error turns about an axis that is tilted out of the equator. Pairs of a turn forwards and a turn backwards add the
tilts up as a rotation about the axis across (Lucero et al., doi 10.1103/PhysRevA.82.042339); begun on the equator, its sine is read.
Short trains over a wide scan find the zero, long ones over a narrow scan make it exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.experiments.gates import counting, excited, gates
from tiandi.computing.control.experiments.node import HOUR_S, Node, column, known, verdicts
from tiandi.computing.control.fitting import fit_line
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import FloatArray, IntArray, Program, Reading, Train

PASSES = ((3, 1.2, 21), (12, 0.25, 21))
"""Pairs in the train, half width of the scan in units of 1 / (2 pi |anharmonicity|), points."""
SHOTS = 1_500
CLEAR = 5.0


def unit_ns(knowledge: Knowledge, targets: IntArray) -> FloatArray:
    """1 / (2 pi |anharmonicity|)."""
    anharmonicity = known(knowledge, "anharmonicity_hz", targets, knowledge.electronics.design_anharmonicity_hz[targets])
    return 1e9 / (2.0 * np.pi * np.abs(anharmonicity))


@dataclass(frozen=True)
class Drag(Node):
    """drag_ns."""

    name: str = "drag"
    title: str = "DRAG weight"
    after: tuple[str, ...] = ("ramsey",)
    valid_s: float = 24.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        middle = known(knowledge, "drag_ns", targets, 0.0)
        scale = unit_ns(knowledge, targets)
        for pairs, width, points in PASSES:
            weight = column(middle) + width * column(scale) * np.linspace(-1.0, 1.0, points)
            reading: Reading = yield self._program(knowledge, targets, weight, pairs)
            forwards, backwards = np.split(excited(reading), 2, axis=1)
            signal = forwards - backwards
            inside = np.abs(weight - column(_zero(weight, signal))) <= 0.6 * width * column(scale)
            fit = fit_line(weight, np.where(inside, signal, np.nan))
            middle = np.clip(np.where(fit.good, fit["crossing"], middle), weight[:, 0], weight[:, -1])
        flat = ~fit.good | (np.abs(fit["slope"]) < CLEAR * fit.uncertainties["slope"])
        outside = (fit["crossing"] < weight[:, 0]) | (fit["crossing"] > weight[:, -1])
        return Findings(
            {"drag_ns": fit["crossing"]},
            {"drag_ns": fit.uncertainties["crossing"]},
            verdicts(
                len(targets),
                (flat, "the weight of the derivative changes nothing: too weak a pulse or too much decay within the train"),
                (outside, "the phase error does not vanish within the scanned weights"),
            ),
            curves=Curves(weight, signal, fit.model, "weight of the derivative (ns)", "difference of populations"),
        )

    def _program(self, knowledge: Knowledge, targets: IntArray, weight: FloatArray, pairs: int) -> Program:
        gate = gates(knowledge, targets)
        points = weight.shape[1]
        twice = np.concatenate([weight, weight], axis=1)
        across = np.repeat([0.5 * np.pi, 1.5 * np.pi], points)[None, :]
        order = np.tile(np.array([0, 1], np.int16), (1, 2 * points, pairs))
        train = Train(((gate.turn(0.0, drag_ns=twice),), (gate.turn(np.pi, drag_ns=twice),)), order)
        return counting(knowledge, targets, 2 * points, ((gate.half(across),), train), SHOTS)


def _zero(weight: FloatArray, signal: FloatArray) -> FloatArray:
    """(targets,): where the signal, smoothed by threes, changes sign first on the way out from the middle of the scan."""
    smooth = signal.copy()
    smooth[:, 1:-1] = (signal[:, :-2] + signal[:, 1:-1] + signal[:, 2:]) / 3.0
    change = np.signbit(smooth[:, 1:]) != np.signbit(smooth[:, :-1])
    distance = np.abs(np.arange(weight.shape[1] - 1) - (weight.shape[1] - 2) / 2.0)
    nearest = np.where(change, distance, np.inf).argmin(axis=1)
    rows = np.arange(len(weight))
    return 0.5 * (weight[rows, nearest] + weight[rows, nearest + 1])
