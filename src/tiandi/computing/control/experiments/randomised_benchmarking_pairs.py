"""Randomised benchmarking of pairs, reference and with a CZ between (Magesan et al., doi 10.1103/PhysRevLett.109.080505; of two qubits:
Corcoles et al., doi 10.1103/PhysRevA.87.030301).

The survival of 00 after m random Cliffords and the one that undoes them is A p^m + B; an error per Clifford is 3/4 (1 - p).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.experiments.node import HOUR_S, verdicts
from tiandi.computing.control.experiments.pair_cliffords import sequences
from tiandi.computing.control.experiments.pair_layers import table
from tiandi.computing.control.experiments.pairing import PairNode, counting_pairs, pairs_of
from tiandi.computing.control.fitting import Fit, fit_benchmarking
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import FloatArray, IntArray, Train

LENGTHS = np.array([1, 5, 12, 24])
SEQUENCES, SHOTS = 6, 1_500


@dataclass(frozen=True)
class RandomisedBenchmarkingPairs(PairNode):
    """clifford_pair_error and cz_error_interleaved, averages over states."""

    name: str = "randomised-benchmarking-pairs"
    title: str = "Randomised benchmarking of pairs"
    after: tuple[str, ...] = ("cz-fine",)
    valid_s: float = 12.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        pair = pairs_of(knowledge, targets)
        moments = table(knowledge, pair)
        each = np.repeat(LENGTHS, SEQUENCES)
        fits: list[Fit] = []
        survivals: list[FloatArray] = []
        for interleaved in (False, True):
            order = sequences(each, interleaved=interleaved, name=self.name)
            populations = yield from counting_pairs(knowledge, pair, len(each), (Train(moments, order),), SHOTS)
            grouped = populations[:, :, 0, 0].reshape(len(targets), len(LENGTHS), SEQUENCES)
            scatter = np.maximum(grouped.std(axis=2, ddof=1), 0.5 / np.sqrt(SHOTS)) / np.sqrt(SEQUENCES)
            survivals.append(grouped.mean(axis=2))
            # In the end all four outcomes are alike but for the readout's errors: a floor that few short sequences could not tell.
            fits.append(fit_benchmarking(LENGTHS.astype(float), survivals[-1], scatter, offset=0.25))
        reference, interleaved_fit = fits
        ratio = interleaved_fit["decay"] / reference["decay"]
        spread = ratio * np.hypot(*(fit.uncertainties["decay"] / fit["decay"] for fit in fits))
        lost = ~reference.good | (reference["amplitude"] < 0.2)
        return Findings(
            {"clifford_pair_error": 0.75 * (1.0 - reference["decay"]), "cz_error_interleaved": 0.75 * (1.0 - ratio)},
            {"clifford_pair_error": 0.75 * reference.uncertainties["decay"], "cz_error_interleaved": 0.75 * spread},
            verdicts(
                len(targets),
                (lost, "survival does not decay from near 1: the gates or the readout are off"),
                (~interleaved_fit.good, "the interleaved sequences do not decay exponentially"),
            ),
            curves=Curves(
                LENGTHS.astype(float),
                np.stack(survivals, axis=1),
                np.stack([fit.model for fit in fits], axis=1),
                "Cliffords",
                "population of 00",
                np.array([0.0, 1.0]),
                "interleaved",
            ),
        )
