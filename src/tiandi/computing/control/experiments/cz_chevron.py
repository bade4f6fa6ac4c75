"""CZ chevron: where |11> meets |20>, and how strong a coupler pulse brings it there and back once.

The moved qubit's pulse is scanned with a coupler pulse of moderate size: what has gone to |20>, which leaves the lower qubit in 0, is
symmetric about the resonance, for the exchange does not ask for the sign of the detuning. On the resonance the coupler's pulse is scanned
up to the first return of |11>. After Barends et al. (doi 10.1103/PhysRevLett.123.210501) and Foxen et al.
(doi 10.1103/PhysRevLett.125.120504).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.experiments.node import HOUR_S, column, verdicts
from tiandi.computing.control.experiments.pairing import CZ_NS, PairNode, counting_pairs, cz_moment, exchanged, pairs_of, resonant_volt
from tiandi.computing.control.experiments.timing import dip
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import FloatArray, IntArray

OFFSETS_HZ = np.linspace(-42e6, 42e6, 15)
"""Around the resonance that the arcs let expect."""
STEPS_V = np.linspace(-0.03, 0.13, 25)
"""Coupler pulses beside the one known as strong; steps small enough that the return is seen, some 15 mV wide."""
SHOTS = 1_500
SHALLOW = 0.15
RETURN = 0.65
"""Of the highest population of |20>: a minimum that goes lower is a return."""


@dataclass(frozen=True)
class CzChevron(PairNode):
    """cz_amplitude_v and cz_offset_hz to some per cent and megahertz, and cz_duration_ns."""

    name: str = "cz-chevron"
    title: str = "Chevron of 11 and 20"
    after: tuple[str, ...] = ("coupler-timing", "ramsey", "fine-amplitude", "predistortion")
    valid_s: float = 24.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        pair = pairs_of(knowledge, targets)
        both = (pair.first_gates.turn(), pair.second_gates.turn())
        strong = column(knowledge["coupler_strong_v"][targets])
        volt = resonant_volt(knowledge, pair, OFFSETS_HZ[None, :])
        steps = (both, cz_moment(knowledge, pair, strong, volt))
        line = exchanged(pair, (yield from counting_pairs(knowledge, pair, len(OFFSETS_HZ), steps, SHOTS)))
        offset, _, depth, _ = dip(OFFSETS_HZ, -line)
        volt = resonant_volt(knowledge, pair, column(offset))
        trials = strong + STEPS_V
        steps = (both, cz_moment(knowledge, pair, trials, volt))
        swing = exchanged(pair, (yield from counting_pairs(knowledge, pair, len(STEPS_V), steps, SHOTS)))
        amplitude, returns = _return(trials, swing)
        flat = depth < SHALLOW
        count = len(targets)
        return Findings(
            {"cz_amplitude_v": amplitude, "cz_offset_hz": offset, "cz_duration_ns": np.full(count, CZ_NS)},
            {
                "cz_amplitude_v": np.full(count, 3e-3),
                "cz_offset_hz": np.full(count, 2e6),
                "cz_duration_ns": np.zeros(count),
            },
            verdicts(
                count,
                (flat, f"11 meets 20 nowhere within {OFFSETS_HZ[-1] / 1e6:.0f} MHz of where the arcs let expect it"),
                (~returns, "11 does not return from 20 within the coupler's reach: the coupling is too weak for the gate's duration"),
            ),
            curves=Curves(trials, swing, None, "coupler pulse (V)", "population of the lower qubit in 0"),
        )


def _return(volt: FloatArray, population: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(targets,): voltage of the first minimum behind the first maximum, by a parabola, and whether there is one.

    Not smoothed: behind the first return the population swings faster than the scan follows.
    """
    rows, places = np.arange(len(population)), np.arange(population.shape[1])
    most = population.max(axis=1, keepdims=True)
    first = (population > 0.7 * most).argmax(axis=1)
    low = (population < RETURN * most) & (places > first[:, None])
    begin = low.argmax(axis=1)
    # From where it is low to the bottom, which lies where it grows again.
    rising = np.concatenate([np.diff(population, axis=1) > 0, np.ones((len(rows), 1), bool)], axis=1) & (places >= begin[:, None])
    bottom = np.clip(rising.argmax(axis=1), 1, population.shape[1] - 2)
    left, middle, right = (population[rows, bottom + step] for step in (-1, 0, 1))
    bend = left - 2.0 * middle + right
    shift = np.where(bend > 0, 0.5 * (left - right) / np.where(bend > 0, bend, 1.0), 0.0)
    return volt[rows, bottom] + np.clip(shift, -1.0, 1.0) * (volt[:, 1] - volt[:, 0]), low.any(axis=1)
