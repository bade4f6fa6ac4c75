"""Rabi oscillation against amplitude (Rabi, doi 10.1103/PhysRev.51.652): the amplitude that turns by pi, to about a percent.

First over the line's whole scale, for the rate may be off by much; then over one turn and a bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.diagnosing import Diagnosis, diagnose, explained
from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.experiments.gates import COSINE, FULL_SCALE, GATE_NS, along_axis, averaging
from tiandi.computing.control.experiments.node import HOUR_S, Node, column, known
from tiandi.computing.control.fitting import fit_damped_cosine
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import Drive, FloatArray, IntArray, Program

POINTS = 49
SHOTS = 1_000
ONE_TURN_AND_A_BIT = 2.6
SYSTEMATIC = 0.01
"""Of the amplitude: the frequency is known to a megahertz, and no derivative keeps the pulse off state 2."""
CLEAR = 4.0
"""An oscillation must be so many times larger than the scatter of the points about it."""


@dataclass(frozen=True)
class Rabi(Node):
    """pi_amplitude, of the AWG's full scale, for a cosine of 30 ns."""

    name: str = "rabi"
    title: str = "Rabi oscillation against amplitude"
    after: tuple[str, ...] = ("qubit-spectroscopy",)
    valid_s: float = 720.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        wide = np.broadcast_to(np.linspace(0.0, FULL_SCALE, POINTS), (len(targets), POINTS))
        reading = yield self._program(knowledge, targets, wide)
        coarse = fit_damped_cosine(wide, along_axis(reading), phase=np.pi, lowest=0.4, highest=12.0)
        first = np.where(coarse.good, 0.5 / coarse["frequency"], 0.5)
        span = np.minimum(ONE_TURN_AND_A_BIT * first, FULL_SCALE)
        narrow = column(span) * np.linspace(0.0, 1.0, POINTS)
        reading = yield self._program(knowledge, targets, narrow)
        signal = along_axis(reading)
        fit = fit_damped_cosine(narrow, signal, phase=np.pi, lowest=0.25 / span, highest=2.5 / span)
        turn = 0.5 / fit["frequency"]
        error = turn * np.hypot(fit.uncertainties["frequency"] / fit["frequency"], SYSTEMATIC)
        still = ~fit.good | (fit.swing < CLEAR * fit.noise)
        found = Diagnosis.clean(len(targets))
        found.blame(~still & (turn > FULL_SCALE), "half a turn needs more than the line's full scale")
        why = explained(still, diagnose(fit, "oscillation"), "the signal scatters as much as it oscillates")
        found.blame(still, "the drive does not turn this qubit at the frequency it is thought to have: {why}", why=why)
        return Findings(
            {"pi_amplitude": turn},
            {"pi_amplitude": error},
            found.verdicts,
            repairs={name: targets[~found.good] for name in self.after if name == "idle-spectroscopy"},
            curves=Curves(narrow, signal, fit.model, "drive amplitude (of full scale)", "signal (V)"),
        )

    def _program(self, knowledge: Knowledge, targets: IntArray, amplitude: FloatArray) -> Program:
        drive = Drive(
            knowledge.drive_line[targets],
            amplitude,
            GATE_NS,
            column(knowledge["frequency_hz"][targets]),
            drag_ns=column(known(knowledge, "drag_ns", targets, 0.0)),
            shape=COSINE,
        )
        return averaging(knowledge, targets, amplitude.shape[1], ((drive,),), SHOTS)
