"""CZ chevron: where |11> meets |20>, and how strong a coupler pulse brings it there and back once.

The moved qubit's pulse is scanned with a coupler pulse of moderate size: what has gone to |20>, which leaves the lower qubit in 0, is
symmetric about the resonance, for the exchange does not ask for the sign of the detuning. On the resonance the coupler's pulse is scanned
up to the first return of |11>. Where it does not return, or stays behind its return for long (so near to the qubits the coupler's level no
longer follows its flux), the coupling is weaker than designed: the gate is made longer there. After Barends et al.
(doi 10.1103/PhysRevLett.123.210501) and Foxen et al. (doi 10.1103/PhysRevLett.125.120504).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.experiment import Curves, Findings, Measurement, Request
from tiandi.computing.control.experiments.node import HOUR_S, column, known, verdicts
from tiandi.computing.control.experiments.pairing import (
    MOST_LIMIT,
    PairNode,
    Pairs,
    counting_pairs,
    coupler_volt,
    cz_moment,
    designed_cz_ns,
    exchanged,
    pairs_of,
    resonant_volt,
)
from tiandi.computing.control.experiments.timing import dip
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import FloatArray, IntArray

OFFSETS_HZ = np.linspace(-42e6, 42e6, 15)
"""Around the resonance that the arcs let expect."""
STEPS = np.linspace(-0.019, 0.081, 25)
"""Coupler pulses beside the one known as strong, in flux quanta of the design; steps small enough that the return is seen."""
LONGEST = 2.0
"""Of the designed length."""
BEHIND, LEAVES = 0.35, 0.3
"""Behind the return, by this share of the voltage from the whole population in |20> to it, so much must be in |20> again: it is half."""
LONGER, MOST_TIMES, MANY = 1.25, 2, 0.25
"""How much longer a gate is made, and how often; and the share of the couplers played at once that makes it so for all of them."""
SHOTS = 1_500
SHALLOW = 0.15
WHOLE, RETURN = 0.5, 0.65
"""The population of |20> that is reached at least, and the share of it below which a minimum is a return."""


@dataclass(frozen=True)
class CzChevron(PairNode):
    """cz_amplitude_v and cz_offset_hz to some per cent and megahertz, cz_duration_ns, and cz_swing_v: the coupler's pulse at the return of
    |11> less that where all is in |20>.
    """

    name: str = "cz-chevron"
    title: str = "Chevron of 11 and 20"
    after: tuple[str, ...] = ("coupler-timing", "ramsey", "fine-amplitude", "predistortion")
    valid_s: float = 24.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        pair = pairs_of(knowledge, targets)
        both = (pair.first_gates.turn(), pair.second_gates.turn())
        strong = column(knowledge["coupler_strong_v"][targets])
        length_ns = _first_length(knowledge, targets)
        volt = resonant_volt(knowledge, pair, OFFSETS_HZ[None, :])
        steps = (both, cz_moment(knowledge, pair, strong, volt, length_ns))
        line = exchanged(pair, (yield from counting_pairs(knowledge, pair, len(OFFSETS_HZ), steps, SHOTS)))
        offset, _, depth, _ = dip(OFFSETS_HZ, -line)
        trials, signal = yield from self._swing(knowledge, pair, offset, strong, length_ns)
        amplitude, swing, returns = _return(trials, signal)
        for _ in range(MOST_TIMES):
            meets = depth >= SHALLOW
            stays = meets & (~returns | (_between(trials, signal, amplitude + BEHIND * swing) < LEAVES))
            # Where it is many, it is the design.
            some = np.flatnonzero(meets if stays.sum() > MANY * meets.sum() else stays)
            if not len(some):
                break
            length_ns[some] = np.ceil(LONGER * length_ns[some])
            some_pairs = pairs_of(knowledge, targets[some])
            trials[some], signal[some] = yield from self._swing(knowledge, some_pairs, offset[some], strong[some], length_ns[some])
            amplitude, swing, returns = _return(trials, signal)
        flat = depth < SHALLOW
        count = len(targets)
        return Findings(
            {"cz_amplitude_v": amplitude, "cz_offset_hz": offset, "cz_duration_ns": length_ns, "cz_swing_v": swing},
            {
                "cz_amplitude_v": np.full(count, 3e-3),
                "cz_offset_hz": np.full(count, 2e6),
                "cz_duration_ns": np.zeros(count),
                "cz_swing_v": np.full(count, 7e-3),
            },
            verdicts(
                count,
                (flat, f"11 meets 20 nowhere within {OFFSETS_HZ[-1] / 1e6:.0f} MHz of where the arcs let expect it"),
                (~returns, "11 does not return from 20 within the coupler's reach: the coupling is too weak for the gate's duration"),
            ),
            curves=Curves(trials, signal, None, "coupler pulse (V)", "population of the lower qubit in 0"),
        )

    def _swing(
        self, knowledge: Knowledge, pair: Pairs, offset_hz: FloatArray, strong_v: FloatArray, length_ns: FloatArray
    ) -> Generator[Request, Any, tuple[FloatArray, FloatArray]]:
        """(targets, steps) each: coupler pulses, and what has gone to |20> on the resonance."""
        most = MOST_LIMIT * knowledge.electronics.flux_limit_v - column(knowledge.settings.coupler_bias_v[pair.coupler])
        trials = np.minimum(strong_v + coupler_volt(knowledge, pair.coupler, STEPS), most)
        moment = cz_moment(knowledge, pair, trials, resonant_volt(knowledge, pair, column(offset_hz)), length_ns)
        both = (pair.first_gates.turn(), pair.second_gates.turn())
        return trials, exchanged(pair, (yield from counting_pairs(knowledge, pair, len(STEPS), (both, moment), SHOTS)))


def _first_length(knowledge: Knowledge, couplers: IntArray) -> FloatArray:
    """(couplers,): length of the gate to begin with: as designed, or as it was; longer if no phase was ever found for what it was."""
    before = known(knowledge, "cz_duration_ns", couplers, np.nan)
    longer = np.where(np.isfinite(known(knowledge, "cz_phase_first_rad", couplers, np.nan)), before, np.ceil(LONGER * before))
    designed = designed_cz_ns(knowledge)
    return np.where(np.isfinite(before), np.minimum(longer, np.ceil(LONGEST * designed)), designed)


def _return(volt: FloatArray, population: FloatArray) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """(targets,): voltage of the first minimum behind the first maximum, by a parabola, less that of the maximum, and whether there is one.

    Not smoothed: behind the first return the population swings faster than the scan follows.
    """
    rows, places = np.arange(len(population)), np.arange(population.shape[1])
    most = population.max(axis=1, keepdims=True)
    first = (population > 0.7 * most).argmax(axis=1)
    low = (population < RETURN * most) & (places > first[:, None]) & (most > WHOLE)
    begin = low.argmax(axis=1)
    # From where it is low to the bottom, which lies where it grows again.
    rising = np.concatenate([np.diff(population, axis=1) > 0, np.ones((len(rows), 1), bool)], axis=1) & (places >= begin[:, None])
    bottom = np.clip(rising.argmax(axis=1), 1, population.shape[1] - 2)
    left, middle, right = (population[rows, bottom + step] for step in (-1, 0, 1))
    bend = left - 2.0 * middle + right
    shift = np.where(bend > 0, 0.5 * (left - right) / np.where(bend > 0, bend, 1.0), 0.0)
    found = volt[rows, bottom] + np.clip(shift, -1.0, 1.0) * (volt[:, 1] - volt[:, 0])
    crest = np.where(places < begin[:, None], population, -1.0).argmax(axis=1)
    return found, found - volt[rows, crest], low.any(axis=1)


def _between(x: FloatArray, y: FloatArray, places: FloatArray) -> FloatArray:
    """(targets,): y (targets, points) at one place of each evenly spaced x, by a line between two points; the last one beyond them."""
    where = np.clip((places - x[:, 0]) / (x[:, 1] - x[:, 0]), 0.0, x.shape[1] - 1.001)
    low, rows = where.astype(np.int64), np.arange(len(x))
    return np.asarray(y[rows, low] + (where - low) * (y[rows, low + 1] - y[rows, low]))
