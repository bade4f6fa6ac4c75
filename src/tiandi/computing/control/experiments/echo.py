"""Echo (Hahn, doi 10.1103/PhysRev.80.580): the decay of phase with what is slow taken out.

Each delay is played twice, with the last half turn forwards and backwards. The difference decays from the full contrast to nothing whatever
the readout's errors and the relaxation do to the mean, so that no offset is fitted. The Cramer-Rao bound of T2 with half the points near 0
and half near 1.3 T2 (computed for a contrast of 0.9) is 3.0 / sqrt(N M) for N delays of M shots each way: 1.3 % for 21 x 2,500.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.experiments.gates import counting, excited, gates, in_parts
from tiandi.computing.control.experiments.node import HOUR_S, QuietNeighbours, column, known, verdicts
from tiandi.computing.control.fitting import fit_decay, shot_noise
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import IntArray, Wait

NS = 1e-9
GUESS_S = 10e-6
FIRST = np.concatenate([[0.0], np.geomspace(0.05, 4.0, 12)])
SECOND = np.concatenate([np.linspace(0.0, 0.2, 8), np.linspace(0.7, 2.0, 13)])
FIRST_SHOTS, SECOND_SHOTS = 400, 2_500
PARTS = 3
SHORTEST_S, LONGEST_S = 0.1e-6, 1e-3


@dataclass(frozen=True)
class Echo(QuietNeighbours):
    """t2_echo_s."""

    name: str = "echo"
    title: str = "Echo"
    after: tuple[str, ...] = ("t1", "ramsey")
    valid_s: float = 1.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        gate = gates(knowledge, targets)
        guess = known(knowledge, "t2_echo_s", targets, known(knowledge, "t2_ramsey_s", targets, GUESS_S))
        for pattern, shots in ((FIRST, FIRST_SHOTS), (SECOND, SECOND_SHOTS)):
            delay = column(guess) * pattern
            twice = np.concatenate([delay, delay], axis=1)
            back = np.repeat([0.0, np.pi], len(pattern))[None, :]
            wait = Wait(0.5 * twice / NS)
            steps = ((gate.half(),), (wait,), (gate.turn(),), (wait,), (gate.half(back),))
            reading = yield from in_parts(counting(knowledge, targets, 2 * len(pattern), steps, shots), PARTS)
            forwards, backwards = np.split(excited(reading), 2, axis=1)
            signal = backwards - forwards
            fit = fit_decay(delay, signal, np.hypot(shot_noise(forwards, shots), shot_noise(backwards, shots)), offset=0.0)
            guess = np.where(fit.good & (fit["time"] > 0), np.clip(fit["time"], 0.1 * guess, 8.0 * guess), guess)
            guess = np.clip(guess, SHORTEST_S, LONGEST_S)
        flat = ~fit.good | (np.abs(fit["amplitude"]) < 0.2)
        return Findings(
            {"t2_echo_s": fit["time"]},
            {"t2_echo_s": fit.uncertainties["time"]},
            verdicts(
                len(targets),
                (flat, "no echo: the phase is gone within the shortest delay, or the gates are off"),
                (fit["time"] > 2.0 * delay[:, -1], "the scan is too short for this decay"),
            ),
            curves=Curves(delay * 1e6, signal, fit.model, "delay (us)", "contrast of the echo"),
            repairs={"ramsey": targets[flat]},
            reported=frozenset({"t2_echo_s"}),
        )
