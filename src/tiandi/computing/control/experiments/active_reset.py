"""Active reset: measure, and turn back whoever is found excited (Riste et al., doi 10.1103/PhysRevLett.109.240502).

The settings take the pulse and the tone; then a qubit is turned, and reset at the start of the next shot in place of a rest. What is still
excited is the reset's error, next to what a rest of many T1 leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tiandi.computing.control.experiment import Findings, Measurement
from tiandi.computing.control.experiments.gates import GATE_NS, counting, excited, gates
from tiandi.computing.control.experiments.node import HOUR_S, Node, column, verdicts
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.instrument import copied
from tiandi.computing.instruments.program import IntArray, Reading

SHOTS = 4_000
WORST = 0.15


@dataclass(frozen=True)
class ActiveReset(Node):
    """reset_error: excited after a reset, readout error included, less that after a rest."""

    name: str = "active-reset"
    title: str = "Active reset"
    after: tuple[str, ...] = ("fine-amplitude",)
    valid_s: float = 24.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        gate = gates(knowledge, targets)
        settings = copied(knowledge.settings)
        settings.reset_amplitude[targets] = gate.pi_amplitude
        settings.reset_frequency_hz[targets] = gate.frequency_hz
        settings.reset_line[targets] = gate.line
        settings.reset_duration_ns = GATE_NS
        yield settings
        turned = gate.pulse(column(gate.pi_amplitude) * np.array([0.0, 1.0]))
        program = counting(knowledge, targets, 2, ((turned,),), SHOTS)
        rested: Reading = yield program
        reset: Reading = yield replace(program, reset="active")
        error = excited(reset)[:, 0] - excited(rested)[:, 0]
        contrast = excited(reset)[:, 1] - excited(reset)[:, 0]
        return Findings(
            {"reset_error": error},
            {"reset_error": np.full(len(targets), np.sqrt(2.0 * 0.02 / SHOTS))},
            verdicts(
                len(targets),
                (error > WORST, "a reset leaves more excited than it should: the pulse or the discriminator is off"),
                (contrast < 0.35, "after a reset a turn no longer excites: states beyond 1 pile up"),
            ),
        )
