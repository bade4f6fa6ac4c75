"""Leakage out of the two states of a qubit: what of state 2 is left after long random sequences (Wood and Gambetta, doi
10.1103/PhysRevA.97.032306).

Population 2 grows with the sequences' length as L1 / (L1 + L2) (1 - exp(-(L1 + L2) m)). Over lengths short against its return, which is
T1 of state 2, the slope is the leakage per Clifford. What the readout calls 2 by mistake stands at m = 0 already and is not in the slope.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.experiments.cliffords import sequences, table
from tiandi.computing.control.experiments.gates import counting, gates
from tiandi.computing.control.experiments.node import HOUR_S, QuietNeighbours, column, known, verdicts
from tiandi.computing.control.fitting import fit_line
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import IntArray, Reading, Train

LENGTHS = np.array([0, 30, 60, 90, 120])
SEQUENCES, SHOTS = 4, 5_000
TOO_MUCH = 2e-3
"""Of leakage per Clifford: a pulse far too strong or too short."""


@dataclass(frozen=True)
class Leakage(QuietNeighbours):
    """leakage_per_clifford."""

    name: str = "leakage"
    title: str = "Leakage of one-qubit gates"
    after: tuple[str, ...] = ("randomised-benchmarking",)
    valid_s: float = 12.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        each = np.repeat(LENGTHS, SEQUENCES)
        train = Train(table(gates(knowledge, targets)), sequences(each, name="leakage"))
        reading: Reading = yield counting(knowledge, targets, len(each), (train,), SHOTS)
        assert reading.populations is not None
        zero, one, second = np.moveaxis(reading.populations.reshape(len(targets), len(LENGTHS), SEQUENCES, 3).mean(axis=2), 2, 0)
        # What the readout takes 0 and 1 for 2 changes with the length as 1 fills up; of what is in 2 it hears but a share.
        wrong = [column(known(knowledge, f"two_for_{state}", targets, 0.0)) for state in ("zero", "one")]
        heard = np.clip(column(known(knowledge, "two_for_two", targets, 1.0)) - wrong[1], 0.2, 1.0)
        second = (second - wrong[0] * zero - wrong[1] * one) / heard
        sigma = np.sqrt(np.maximum(reading.populations[:, :, 2].mean(axis=1, keepdims=True), 1.0 / SHOTS) / (SHOTS * SEQUENCES)) / heard
        fit = fit_line(LENGTHS.astype(float), second, sigma)
        rate = fit["slope"]
        return Findings(
            {"leakage_per_clifford": rate},
            {"leakage_per_clifford": fit.uncertainties["slope"]},
            verdicts(len(targets), (rate > TOO_MUCH, f"more than {TOO_MUCH:.0e} leaks in each Clifford: a longer pulse would serve")),
            curves=Curves(LENGTHS.astype(float), second, fit.model, "Cliffords", "population of 2"),
        )
