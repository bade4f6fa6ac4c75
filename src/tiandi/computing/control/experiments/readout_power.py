"""Readout power: how strong a tone a resonator bears before its answer stops to be linear.

At low power the answer is proportional to the tone. More photons shift the resonator and throw the qubit out of its lowest states (Reed
et al., doi 10.1103/PhysRevLett.105.173601): the answer per tone leaves its first value. Readout starts at half the amplitude where it
does; the best is found later, when there are two states to tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.experiments.node import HOUR_S, Node, column, verdicts
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import IntArray, Measure, Program, Reading

POINTS, SHOTS = 31, 2_000
WEAKEST = 0.05
"""Of the readout's limit, as is the strongest, 1."""
FIRST = 4
"""Points that set the linear answer."""
BENT = 0.12
"""Change of the answer, in units of the tone beside the dip, that counts as bent."""
SHARE = 0.7
"""Of the amplitude at which the answer bends."""


@dataclass(frozen=True)
class ReadoutPower(Node):
    """readout_amplitude, a first value."""

    name: str = "readout-power"
    title: str = "Readout power"
    after: tuple[str, ...] = ("resonator-spectroscopy",)
    valid_s: float = 720.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        limit = knowledge.electronics.readout_amplitude_limit
        amplitude = limit * np.linspace(WEAKEST, 1.0, POINTS)[None, :]
        width = knowledge["resonator_width_hz"][targets]
        resonator = knowledge["resonator_hz"][targets]
        answers = []
        for aside in (0.0, 8.0):
            measure = Measure(targets, column(resonator + aside * width), amplitude, knowledge.settings.readout_duration_ns)
            reading: Reading = yield Program(len(targets), POINTS, (), (measure,), SHOTS, "mean", wait_ns=10_000.0)
            assert reading.iq is not None
            answers.append(reading.iq[0] / amplitude)
        first = (answers[0][:, :FIRST] * amplitude[:, :FIRST]).sum(axis=1) / amplitude[:, :FIRST].sum()
        size = np.abs(answers[1].mean(axis=1))
        change = np.abs(answers[0] - first[:, None]) / size[:, None]
        smooth = np.minimum.accumulate(np.where(change > BENT, 1.0, 0.0)[:, ::-1], axis=1)[:, ::-1]
        bends = smooth.any(axis=1)
        place = np.where(bends, smooth.argmax(axis=1), POINTS - 1)
        chosen = SHARE * amplitude[0, place]
        early = bends & (place < 2)
        return Findings(
            {"readout_amplitude": chosen},
            # Where the answer bends is known better; the best readout may need half of it, or twice as much.
            {"readout_amplitude": 0.5 * chosen},
            verdicts(len(targets), (early, "the answer bends at the weakest tones: no linear readout")),
            curves=Curves(amplitude, change, None, "amplitude of the tone", "change of the answer per tone"),
        )
