"""Cross-entropy benchmarking of pairs (Arute et al., doi 10.1038/s41586-019-1666-5, supplement, section VI).

Cycles of random half turns on both qubits and a CZ. With the ideal probabilities p of a sequence and the shares q that were counted, the
fidelity at a depth is the factor F of q - 1/4 = F (p - 1/4), by least squares over outcomes and sequences; it falls as the error of
a cycle says. Speckle purity needs no ideal probabilities: the variance of q against that of a pure state. What preparation and readout
spoil is the same at all depths. The error of the CZ is the cycle's less that of its half turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.experiments.cliffords import PULSES
from tiandi.computing.control.experiments.node import HOUR_S, known, verdicts
from tiandi.computing.control.experiments.pair_layers import HALF_TURNS, half_turns, orders, rotation
from tiandi.computing.control.experiments.pairing import PairNode, counting_pairs, pairs_of
from tiandi.computing.control.fitting import fit_benchmarking
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import FloatArray, IntArray, Train
from tiandi.random import twin_generator

DEPTHS = np.array([1, 6, 14, 26, 42])
SEQUENCES, SHOTS = 16, 2_000
LEAST_CONTRAST = 0.2


@dataclass(frozen=True)
class CrossEntropyBenchmarking(PairNode):
    """cz_error and cycle_error, averages over states, and cycle_purity_error, that part of it which is not coherent."""

    name: str = "cross-entropy-benchmarking"
    title: str = "Cross-entropy benchmarking of pairs"
    after: tuple[str, ...] = ("cz-fine",)
    valid_s: float = 4.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        pair = pairs_of(knowledge, targets)
        order, ideal = sequences(DEPTHS, SEQUENCES, name=self.name)
        train = Train(half_turns(knowledge, pair), order)
        populations = yield from counting_pairs(knowledge, pair, order.shape[1], (train,), SHOTS)
        counted = _among_four(populations).reshape(len(targets), len(DEPTHS), SEQUENCES, 4) - 0.25
        wanted = ideal.reshape(len(DEPTHS), SEQUENCES, 4) - 0.25
        fidelity = (counted * wanted).sum(axis=(2, 3)) / (wanted**2).sum(axis=(1, 2))
        sigma = 0.43 / np.sqrt(SHOTS * (wanted**2).sum(axis=(1, 2)))
        # Of q^2 the noise of counting is a part, q (1 - q) / shots.
        share = counted + 0.25
        speckle = ((counted**2 - share * (1.0 - share) / (SHOTS - 1)).sum(axis=(2, 3))) / (wanted**2).sum(axis=(1, 2))
        depth = DEPTHS.astype(float)
        fit = fit_benchmarking(depth, fidelity, np.broadcast_to(sigma, fidelity.shape), offset=0.0)
        purity = fit_benchmarking(depth, speckle, np.broadcast_to(2.0 * sigma, speckle.shape), offset=0.0)
        # Of four levels: an error of 1 - p of depolarising is an error of 3/4 of it, averaged over states.
        cycle = 0.75 * (1.0 - fit["decay"])
        pure = 0.75 * (1.0 - np.sqrt(np.clip(purity["decay"], 0.0, None)))
        halves = [known(knowledge, "half_pi_error", qubits, 0.0) for qubits in (pair.first, pair.second)]
        # Errors of one qubit count 6/5 in two: (1 - F) (d + 1) / d is what adds up.
        gate = cycle - 1.2 * (halves[0] + halves[1])
        lost = ~fit.good | (fit["amplitude"] < LEAST_CONTRAST)
        error = 0.75 * fit.uncertainties["decay"]
        return Findings(
            {"cz_error": gate, "cycle_error": cycle, "cycle_purity_error": pure},
            {"cz_error": error, "cycle_error": error, "cycle_purity_error": 0.375 * purity.uncertainties["decay"]},
            verdicts(len(targets), (lost, "the outcomes are not those of the sequences, even of short ones: another gate?")),
            curves=Curves(depth, fidelity, fit.model, "cycles", "cross-entropy fidelity"),
        )


def sequences(depths: IntArray, count: int, *, name: str) -> tuple[NDArray[np.int16], FloatArray]:
    """``count`` sequences of each depth, with never the same half turn twice in a row.

    Order of a train (1, sequences, longest), and ideal probabilities of 00, 01, 10, 11 (sequences, 4).
    The same ``name``, the same sequences.
    """
    generator = twin_generator(0, "control", name)
    turns = [rotation(*pulse) for pulse in PULSES[:HALF_TURNS]]
    gate = np.diag([1.0, 1.0, 1.0, -1.0])
    rows: list[list[int]] = []
    ideal: list[FloatArray] = []
    for depth in np.repeat(depths, count).tolist():
        chosen = generator.integers(0, HALF_TURNS, (2, 1))
        for _ in range(depth):
            chosen = np.concatenate([chosen, (chosen[:, -1:] + generator.integers(1, HALF_TURNS, (2, 1))) % HALF_TURNS], axis=1)
        state, row = np.array([1.0, 0.0, 0.0, 0.0], np.complex128), list[int]()
        for cycle, (first, second) in enumerate(chosen.T.tolist()):
            row.append(HALF_TURNS * first + second)
            state = np.kron(turns[first], turns[second]) @ state
            if cycle < depth:
                row.append(HALF_TURNS**2)
                state = gate @ state
        rows.append(row)
        ideal.append(np.abs(state) ** 2)
    return orders(rows), np.array(ideal)


def _among_four(populations: FloatArray) -> FloatArray:
    """(targets, points, 4) from (targets, points, 3, 3): shots with a 2 are shared out evenly, as those of a qubit that is lost."""
    known_outcomes = populations[:, :, :2, :2].reshape(*populations.shape[:2], 4)
    return np.asarray(known_outcomes + 0.25 * (1.0 - known_outcomes.sum(axis=2, keepdims=True)))
