"""Leakage of the CZ: how population 2 grows with the number of gates between random half turns (Wood and Gambetta, doi
10.1103/PhysRevA.97.032306).

Without the random turns what leaks in one gate would interfere with what leaked in those before. What readout takes for 2 stands at no
gates already, and changes with what it takes 1 for as populations mix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.experiments.cross_entropy_benchmarking import sequences
from tiandi.computing.control.experiments.node import HOUR_S, column, known, verdicts
from tiandi.computing.control.experiments.pair_layers import half_turns
from tiandi.computing.control.experiments.pairing import PairNode, Pairs, counting_pairs, pairs_of
from tiandi.computing.control.fitting import fit_line
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import FloatArray, IntArray, Train

DEPTHS = np.array([0, 8, 16, 24, 32])
SEQUENCES, SHOTS = 8, 3_000
TOO_MUCH = 0.004
"""Of leakage per gate."""


@dataclass(frozen=True)
class LeakagePairs(PairNode):
    """cz_leakage: population that a gate brings to 2 in either qubit, the mean over states."""

    name: str = "leakage-pairs"
    title: str = "Leakage of the CZ"
    after: tuple[str, ...] = ("cz-fine",)
    valid_s: float = 12.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        pair = pairs_of(knowledge, targets)
        order, _ = sequences(DEPTHS, SEQUENCES, name=self.name)
        train = Train(half_turns(knowledge, pair), order)
        populations = yield from counting_pairs(knowledge, pair, order.shape[1], (train,), SHOTS)
        left, sigma = _in_two(knowledge, pair, populations)
        fit = fit_line(DEPTHS.astype(float), left, sigma)
        return Findings(
            {"cz_leakage": fit["slope"]},
            {"cz_leakage": fit.uncertainties["slope"]},
            verdicts(
                len(targets), (fit["slope"] > TOO_MUCH, f"more than {TOO_MUCH:.1%} leak in each gate: |11> does not come back from |20>")
            ),
            curves=Curves(DEPTHS.astype(float), left, fit.model, "gates", "population of 2"),
        )


def _in_two(knowledge: Knowledge, pair: Pairs, populations: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(targets, depths): population of 2 in the first or the second qubit, and its standard deviation."""
    total, variance = np.zeros((len(pair.coupler), len(DEPTHS))), np.zeros((len(pair.coupler), len(DEPTHS)))
    for qubits, axis in ((pair.first, 3), (pair.second, 2)):
        mean = populations.sum(axis=axis).reshape(len(qubits), len(DEPTHS), SEQUENCES, 3).mean(axis=2)
        wrong = [column(known(knowledge, f"two_for_{state}", qubits, 0.0)) for state in ("zero", "one")]
        heard = np.clip(column(known(knowledge, "two_for_two", qubits, 1.0)) - wrong[1], 0.2, 1.0)
        total = total + (mean[:, :, 2] - wrong[0] * mean[:, :, 0] - wrong[1] * mean[:, :, 1]) / heard
        share = np.maximum(mean[:, :, 2], 1.0 / SHOTS)
        variance = variance + share * (1.0 - share) / (SHOTS * SEQUENCES) / heard**2
    return total, np.sqrt(variance)
