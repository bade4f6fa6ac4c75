"""Randomised benchmarking of one qubit, reference and interleaved (Magesan et al., doi 10.1103/PhysRevLett.106.180504 and doi
10.1103/PhysRevLett.109.080505).

The survival after m random Cliffords and the one that undoes them is A p^m + B; an error per Clifford is (1 - p) / 2. With half turns
about x between, p falls, and the ratio is the half turn's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.experiments.cliffords import X_HALF, group, sequences, table
from tiandi.computing.control.experiments.gates import counting, gates
from tiandi.computing.control.experiments.node import HOUR_S, QuietNeighbours, verdicts
from tiandi.computing.control.fitting import Fit, fit_benchmarking
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import FloatArray, IntArray, Reading, Train

LENGTHS = np.array([1, 20, 60, 120, 220, 400])
SEQUENCES, SHOTS = 6, 1_000


@dataclass(frozen=True)
class RandomisedBenchmarking(QuietNeighbours):
    """clifford_error and half_pi_error, averages over states."""

    name: str = "randomised-benchmarking"
    title: str = "Randomised benchmarking of one qubit"
    after: tuple[str, ...] = ("fine-amplitude",)
    valid_s: float = 4.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        moments = table(gates(knowledge, targets))
        each = np.repeat(LENGTHS, SEQUENCES)
        fits: list[Fit] = []
        survivals: list[FloatArray] = []
        for between, name in ((None, "reference"), (group().number(X_HALF), "interleaved")):
            order = sequences(each, between, name=name)
            reading: Reading = yield counting(knowledge, targets, len(each), (Train(moments, order),), SHOTS)
            assert reading.populations is not None
            grouped = reading.populations[:, :, 0].reshape(len(targets), len(LENGTHS), SEQUENCES)
            scatter = np.maximum(grouped.std(axis=2, ddof=1), 0.5 / np.sqrt(SHOTS)) / np.sqrt(SEQUENCES)
            survivals.append(grouped.mean(axis=2))
            fits.append(fit_benchmarking(LENGTHS.astype(float), survivals[-1], scatter))
        reference, interleaved = fits
        ratio = interleaved["decay"] / reference["decay"]
        spread = ratio * np.hypot(*(fit.uncertainties["decay"] / fit["decay"] for fit in fits))
        lost = ~reference.good | (reference["amplitude"] < 0.2)
        return Findings(
            {"clifford_error": 0.5 * (1.0 - reference["decay"]), "half_pi_error": 0.5 * (1.0 - ratio)},
            {"clifford_error": 0.5 * reference.uncertainties["decay"], "half_pi_error": 0.5 * spread},
            verdicts(
                len(targets),
                (lost, "survival does not decay from near 1: the gates or the readout are off"),
                (~interleaved.good, "the interleaved sequences do not decay exponentially"),
            ),
            curves=Curves(
                LENGTHS.astype(float),
                np.stack(survivals, axis=1),
                np.stack([fit.model for fit in fits], axis=1),
                "Cliffords",
                "population of 0",
                np.array([0.0, 1.0]),
                "interleaved",
            ),
        )
