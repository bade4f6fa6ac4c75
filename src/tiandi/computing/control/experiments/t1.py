"""Relaxation: a turn, a wait, a look. T1 changes in time as defects drift (doi 10.1103/PhysRevLett.121.090502): it is that of its moment.

Shots. With contrast A, an unknown decay, amplitude and offset, and a third of the points near 0, a third near 1.1 T1 and a third beyond
4 T1, the Cramer-Rao bound (computed for a contrast of 0.92) is 2.8 / sqrt(N M) of T1 for N points of M shots: 1.3 %
for 24 x 2,000. Shots begin after a rest of many T1: what is left of one shot would be turned by the next one's pulse.

What excites 0 to 1 excites 1 to 2 twice as fast, and 2 is not 0 either: a qubit with a thermal population of 1 % seems to relax
0.7 % slower than it does. That is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.linalg import expm

from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.experiments.gates import counting, excited, gates, in_parts
from tiandi.computing.control.experiments.node import HOUR_S, Node, column, known, verdicts
from tiandi.computing.control.fitting import fit_decay, shot_noise
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import IntArray, Wait

NS = 1e-9
GUESS_S = 30e-6
FIRST = np.concatenate([[0.0], np.geomspace(0.03, 6.0, 15)])
"""Delays of the first pass, in units of the guess."""
SECOND = np.concatenate([np.linspace(0.0, 0.12, 7), np.linspace(0.7, 1.6, 10), np.linspace(3.5, 5.0, 7)])
"""Delays of the second pass, in units of what the first found."""
FIRST_SHOTS, SECOND_SHOTS = 400, 2_000
REST = 7.0
"""Of a shot, in T1."""
PARTS = 4
HOT_SPOT = 0.5
"""Of the chip's median: a shorter T1 is put down to a defect at the qubit's frequency, which the next frequency allocation avoids."""
DEFECT_WIDTH_HZ = 2e6
DULL = 0.3
"""Of those just turned that are called excited."""
SHORTEST_S, LONGEST_S = 0.2e-6, 1e-3


@cache
def longer_by_thermal() -> float:
    """By what share T1 seems longer, for each unit of thermal population: fitted to the exact decay of three levels of a warm ladder."""
    up = 0.01
    down = 1.0 - up
    rates = np.array([[-up, down, 0.0], [up, -down - 2.0 * up, 2.0 * down], [0.0, 2.0 * up, -2.0 * down]])
    left = 1.0 - (expm(rates * SECOND[:, None, None]) @ np.array([up, down, 0.0]))[:, 0]
    found = fit_decay(SECOND[None], left[None], np.full((1, len(SECOND)), 0.01))
    return float(found["time"][0] - 1.0) / up


@dataclass(frozen=True)
class Relaxation(Node):
    """t1_s; and defect_hz, the frequency of a defect, for those that relax much sooner than the others."""

    name: str = "t1"
    title: str = "Relaxation time T1"
    after: tuple[str, ...] = ("fine-amplitude",)
    valid_s: float = 0.5 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        guess = known(knowledge, "t1_s", targets, GUESS_S)
        for pattern, shots in ((FIRST, FIRST_SHOTS), (SECOND, SECOND_SHOTS)):
            delay = column(guess) * pattern
            steps = ((gates(knowledge, targets).turn(),), (Wait(delay / NS),))
            program = counting(knowledge, targets, len(pattern), steps, shots)
            program = replace(program, wait_ns=REST * float(guess.max()) / NS)
            reading = yield from in_parts(program, PARTS)
            signal = excited(reading)
            fit = fit_decay(delay, signal, shot_noise(signal, shots))
            # Weights out of the data favour what fell low by chance; those out of the fit do not.
            fit = fit_decay(delay, signal, shot_noise(np.clip(np.where(fit.good[:, None], fit.model, signal), 0.0, 1.0), shots))
            guess = np.where(fit.good & (fit["time"] > 0), np.clip(fit["time"], 0.1 * guess, 8.0 * guess), guess)
            guess = np.clip(guess, SHORTEST_S, LONGEST_S)
        first, last = signal[:, :3].mean(axis=1), signal[:, -3:].mean(axis=1)
        dull = first < DULL
        short = ~dull & ((last > 0.6 * first) | (fit["time"] > delay[:, -1]))
        flat = ~fit.good | (fit["amplitude"] < 0.2)
        time = fit["time"] / (1.0 + longer_by_thermal() * np.clip(known(knowledge, "thermal_population", targets, 0.0), 0.0, 0.1))
        usual = np.nanmedian(np.append(known(knowledge, "t1_s", knowledge.sound("qubit"), np.nan), time))
        defect = np.where(time < HOT_SPOT * usual, knowledge["frequency_hz"][targets], np.nan)
        return Findings(
            {"t1_s": time, "defect_hz": defect},
            {"t1_s": fit.uncertainties["time"], "defect_hz": np.full(len(targets), DEFECT_WIDTH_HZ)},
            verdicts(
                len(targets),
                (dull, f"a turn excites less than {DULL:.0%}: frequency, amplitude or readout are no longer what they were"),
                (short, "the scan is too short for this decay"),
                (flat, "no decay from an excited state"),
            ),
            curves=Curves(delay * 1e6, signal, fit.model, "delay (us)", "population not 0"),
            repairs={"ramsey": targets[dull]},
            reported=frozenset({"t1_s", "defect_hz"}),
        )
