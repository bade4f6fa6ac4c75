"""Anharmonicity: the line from state 1 to 2, found from state 1, and the amplitude that turns by pi there.

The line 1-2 turns sqrt(2) times as fast as 0-1 (Koch et al., doi 10.1103/PhysRevA.76.042319). A qubit turned back from 1 by a last pulse
would hide nothing here: state 2 has a cloud of its own, so that the mean of the IQ plane moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.experiments.gates import GATE_NS, Gates, along_axis, averaging, gates
from tiandi.computing.control.experiments.node import HOUR_S, Node, column, verdicts
from tiandi.computing.control.fitting import fit_lorentzian
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import Drive, FloatArray, IntArray, Moment, Reading

SPAN_HZ, POINTS, SHOTS = 60e6, 61, 1_000
LONG = 3.0
"""A pulse so many times longer and weaker than a gate: its line is narrow."""
CLEAR = 5.0


def second_turn(gate: Gates, frequency_hz: FloatArray, longer: float = 1.0) -> Drive:
    """From 1 to 2; frequency_hz: (targets, 1 or points)."""
    amplitude = column(gate.pi_amplitude) / np.sqrt(2.0) / longer
    return gate.pulse(amplitude, frequency_hz=frequency_hz, duration_ns=longer * GATE_NS, drag_ns=0.0)


@dataclass(frozen=True)
class Anharmonicity(Node):
    """anharmonicity_hz, negative."""

    name: str = "anharmonicity"
    title: str = "Line from state 1 to 2"
    after: tuple[str, ...] = ("readout-optimisation",)
    valid_s: float = 720.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        gate = gates(knowledge, targets)
        shift = column(knowledge.electronics.design_anharmonicity_hz[targets]) + np.linspace(-SPAN_HZ / 2, SPAN_HZ / 2, POINTS)
        steps: tuple[Moment, ...] = ((gate.turn(),), (second_turn(gate, column(gate.frequency_hz) + shift, LONG),))
        reading: Reading = yield averaging(knowledge, targets, POINTS, steps, SHOTS)
        signal = along_axis(reading)
        fit = fit_lorentzian(shift, signal)
        still = ~fit.good | (np.abs(fit["height"]) < CLEAR * fit.noise)
        return Findings(
            {"anharmonicity_hz": fit["centre"]},
            {"anharmonicity_hz": fit.uncertainties["centre"]},
            verdicts(len(targets), (still, f"no line from 1 to 2 within {SPAN_HZ / 2e6:.0f} MHz of the design")),
            curves=Curves(shift / 1e6, signal, fit.model, "frequency less that of 0-1 (MHz)", "signal (V)"),
        )
