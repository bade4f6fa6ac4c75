"""Resonator spectroscopy: each resonator's dip on its feed line, near where the designer wants it (model: Probst et al.,
doi 10.1063/1.4907935). A window without a dip is a qubit without a resonator: nobody can hear it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.experiments.gates import LISTENING_AMPLITUDE
from tiandi.computing.control.experiments.node import HOUR_S, Node, column, known, verdicts
from tiandi.computing.control.fitting import fit_resonator
from tiandi.computing.control.knowledge import Flag, Knowledge
from tiandi.computing.instruments.program import IntArray, Measure, Program, Reading

SPAN_HZ, POINTS, SHOTS = 44e6, 221, 400
"""Half the span is less than half the distance of resonators on a line, and more than fabrication and the qubits' push scatter them."""
SHALLOWEST = 0.1
"""Of the tone that passes beside the dip."""
CLEAR = 6.0


@dataclass(frozen=True)
class ResonatorSpectroscopy(Node):
    """resonator_hz (qubit in its ground state) and resonator_width_hz."""

    name: str = "resonator-spectroscopy"
    title: str = "Resonator spectroscopy"
    valid_s: float = 168.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        electronics = knowledge.electronics
        middle = known(knowledge, "resonator_hz", targets, electronics.design_resonator_hz[targets])
        frequency = column(middle) + np.linspace(-SPAN_HZ / 2, SPAN_HZ / 2, POINTS)
        measure = Measure(
            targets, frequency, LISTENING_AMPLITUDE * electronics.readout_amplitude_limit, knowledge.settings.readout_duration_ns
        )
        reading: Reading = yield Program(len(targets), POINTS, (), (measure,), SHOTS, "mean", wait_ns=10_000.0)
        assert reading.iq is not None
        fit = fit_resonator(frequency, reading.iq[0])
        none = ~fit.good | (fit["depth"] < SHALLOWEST) | (fit["depth"] * fit["gain"] < CLEAR * fit.noise)
        edge = ~none & (np.abs(fit["centre"] - middle) > 0.48 * SPAN_HZ)
        reason = f"no dip within {SPAN_HZ / 2e6:.0f} MHz of the design: no resonator"
        return Findings(
            {"resonator_hz": fit["centre"], "resonator_width_hz": fit["width"]},
            {"resonator_hz": fit.uncertainties["centre"], "resonator_width_hz": fit.uncertainties["width"]},
            verdicts(len(targets), (none, reason), (edge, "the dip lies at the edge of the window: move it")),
            [Flag("qubit", int(index), "no resonator", reason) for index in targets[none]],
            Curves(frequency / 1e9, fit.y, fit.model, "frequency (GHz)", "size of the answer (V)"),
        )
