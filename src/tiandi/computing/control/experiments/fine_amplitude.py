"""Fine amplitude: trains of turns that add their errors up (Sheldon et al., doi 10.1103/PhysRevA.93.012301).

After a half turn, N turns leave a qubit on the equator but for the sum of their errors: the population is 1/2 + (-1)^N (a + N b) A / 2,
with b the error of one turn. Trains of odd numbers of half turns say the same of half turns. A half and a drift with N are fitted beside,
for readout and relaxation. At the zero the contrast A does not matter, so that the last of three rounds with longer and longer
trains, after the corrections of the first, is exact. Its Cramer-Rao bound for b (computed for a
contrast of 0.9 and N trains of up to 35 turns, M shots each) is 0.11 / sqrt(N M) rad: 5e-4 for 18 x 2,500, which is 1.6e-4 of the turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.experiments.gates import counting, excited, gates
from tiandi.computing.control.experiments.node import HOUR_S, Node, column, verdicts
from tiandi.computing.control.fits.engine import linear_solve
from tiandi.computing.control.fitting import shot_noise
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import FloatArray, IntArray, Reading, Train

TURN_TRAINS = (np.arange(0, 5), np.arange(0, 12), np.arange(0, 36, 2) + np.arange(18) % 2)
"""Numbers of turns in each round: even and odd."""
HALF_TRAINS = (np.arange(1, 10, 2), np.arange(1, 24, 2), np.arange(1, 72, 4) + 2 * (np.arange(18) % 2))
"""Numbers of half turns: odd, in both classes modulo 4."""
SHOTS = (800, 800, 2_500)
CONTRAST = 0.9
"""Assumed; only the first rounds' corrections depend on it."""
LARGEST_CORRECTION = 0.25
NOT_CLOSED_RAD = 0.03
"""An error that the last round may not find any more."""


@dataclass(frozen=True, eq=False)
class TrainError:
    """What trains say: error of one pulse (targets,) with its uncertainty, and population and model (targets, trains)."""

    error_rad: FloatArray
    uncertainty_rad: FloatArray
    signal: FloatArray
    model: FloatArray


def train_error(count: IntArray, sign: IntArray, signal: FloatArray, shots: int) -> TrainError:
    """Fit half + drift N + sign (first + N error) contrast / 2 to populations (targets, trains) after ``count`` pulses."""
    columns = np.stack([np.ones(len(count)), count, sign, sign * count], axis=1).astype(float)
    basis = np.broadcast_to(columns, (*signal.shape, 4))
    weight = 1.0 / shot_noise(signal, shots)
    found, _ = linear_solve(basis, signal, weight)
    covariance = np.linalg.inv(np.einsum("np,tn,nq->tpq", columns, weight**2, columns))
    scale = 2.0 / CONTRAST
    return TrainError(scale * found[:, 3], scale * np.sqrt(covariance[:, 3, 3]), signal, found @ columns.T)


@dataclass(frozen=True)
class FineAmplitude(Node):
    """pi_amplitude and half_pi_amplitude to some 3e-4."""

    name: str = "fine-amplitude"
    title: str = "Fine amplitude by trains"
    after: tuple[str, ...] = ("drag",)
    valid_s: float = 2.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        gate = gates(knowledge, targets)
        turn, half = gate.pi_amplitude.copy(), gate.half_amplitude.copy()
        for turns, halves, shots in zip(TURN_TRAINS, HALF_TRAINS, SHOTS, strict=True):
            # Half turns first: the trains of turns begin with one.
            order = trains(halves)
            reading: Reading = yield counting(knowledge, targets, len(halves), (Train(((gate.pulse(column(half)),),), order),), shots)
            by_half = train_error(halves, np.where(halves % 4 == 1, 1, -1), excited(reading), shots)
            half = half * (1.0 - np.clip(by_half.error_rad / (0.5 * np.pi), -LARGEST_CORRECTION, LARGEST_CORRECTION))
            train = Train(((gate.pulse(column(turn)),),), trains(turns))
            reading = yield counting(knowledge, targets, len(turns), ((gate.pulse(column(half)),), train), shots)
            by_turn = train_error(turns, np.where(turns % 2 == 0, 1, -1), excited(reading), shots)
            turn = turn * (1.0 - np.clip(by_turn.error_rad / np.pi, -LARGEST_CORRECTION, LARGEST_CORRECTION))
        lost = np.maximum(np.abs(by_turn.error_rad), np.abs(by_half.error_rad)) > NOT_CLOSED_RAD
        return Findings(
            {"pi_amplitude": turn, "half_pi_amplitude": half},
            {"pi_amplitude": turn * by_turn.uncertainty_rad / np.pi, "half_pi_amplitude": half * by_half.uncertainty_rad / (0.5 * np.pi)},
            verdicts(
                len(targets),
                (lost, "the last round still finds errors of degrees: the first amplitude was off by more than a train bears"),
            ),
            repairs={"rabi": targets[lost]},
            curves=Curves(np.asarray(turns, float), by_turn.signal, by_turn.model, "turns", "population not 0"),
        )


def trains(counts: IntArray) -> NDArray[np.int16]:
    """(1, trains, longest): the first row of a table so many times, then nothing."""
    return np.where(np.arange(counts.max()) < counts[:, None], 0, -1).astype(np.int16)[None]
