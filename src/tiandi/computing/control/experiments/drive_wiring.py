"""Drive wiring: why a qubit did not answer on its own drive line: cables swapped, the line broken, or the qubit dead.

Candidates are the qubits without a line in spectroscopy. They try each other's drive lines first, all at once; what looks like a line is
asked for again with nothing else played, for a swapped line also answers to what was meant for another. Whoever answers to none is called
through the neighbours' lines: their crosstalk, some 30 dB below, is enough for a long pulse at full scale. An answer then means that the
qubit lives and its own line is broken; silence, that it is dead.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiandi.computing.control.experiment import Findings, Measurement, Request
from tiandi.computing.control.experiments.gates import FULL_SCALE, designed_turn
from tiandi.computing.control.experiments.node import HOUR_S, Node, towards, verdicts
from tiandi.computing.control.experiments.qubit_spectroscopy import (
    ABOVE_HZ,
    BELOW_HZ,
    FAINT,
    WIDE_NS,
    WIDE_STEP_HZ,
    Scanning,
    fine_line,
    scan,
    stands,
    strongest,
)
from tiandi.computing.control.experiments.wiring import rounds, swapped, taken
from tiandi.computing.control.knowledge import Flag, Knowledge
from tiandi.computing.instruments.instrument import copied
from tiandi.computing.instruments.program import FloatArray, IntArray

CROSS_STEP_HZ, CROSS_NS = 1.2e6, 700.0
"""Pulses through crosstalk, at full scale."""
CROSS_FAINT = 0.1
"""A dead qubit gives no answer at all; that of a living one to faint crosstalk may be small."""


@dataclass(frozen=True)
class DriveWiring(Node):
    """drive_line, the number of the line that reaches each qubit; flags what is dead or miswired.

    It does not stand after spectroscopy, for it is about those that failed there; in the list it does.
    """

    name: str = "drive-wiring"
    title: str = "Drive wiring"
    after: tuple[str, ...] = ("readout-power", "mixer")
    valid_s: float = 720.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        silent = ~np.isfinite(knowledge["frequency_hz"][targets]) if "frequency_hz" in knowledge.parameters else np.ones(len(targets), bool)
        candidates = targets[silent]
        before = copied(knowledge.settings)
        reached = np.full(len(candidates), -1, np.int64)
        flags: list[Flag] = []
        if len(candidates):
            for lines in rounds(candidates):
                found = yield from self._call(knowledge, candidates, lines, WIDE_STEP_HZ, WIDE_NS)
                rough, height, there = strongest(found)
                likely = there & (height > FAINT * self._usual(knowledge, candidates)) & (reached < 0)
                for one in np.flatnonzero(likely):
                    likely[one] = yield from self._confirmed(knowledge, candidates[[one]], lines[[one]], rough[[one]])
                reached = taken(reached, lines, likely)
            flags += swapped(candidates, reached, "drive")
            rest = candidates[reached < 0]
            alive = np.zeros(len(rest), bool)
            for direction in ("up", "down", "left", "right") if len(rest) else ():
                beside = towards(knowledge.electronics, direction)[rest]
                asked = (beside >= 0) & ~alive
                if asked.any():
                    found = yield from self._call(knowledge, rest[asked], beside[asked], CROSS_STEP_HZ, CROSS_NS)
                    _, height, there = strongest(found)
                    alive[asked] |= there & (height > CROSS_FAINT * self._usual(knowledge, rest[asked]))
            flags += [_flag(int(qubit), lives=bool(lives)) for qubit, lives in zip(rest, alive, strict=True)]
            yield before
        knowledge.drive_line[candidates] = np.where(reached >= 0, reached, candidates)
        why = {flag.index: f"{flag.fault}: {flag.reason}" for flag in flags}
        found_line = knowledge.drive_line[targets].astype(float)
        result = verdicts(len(targets))
        result[silent] = [why[int(qubit)] for qubit in candidates]
        return Findings({"drive_line": found_line}, {"drive_line": np.zeros(len(targets))}, result, flags)

    def _call(self, knowledge: Knowledge, qubits: IntArray, lines: IntArray, step_hz: float, duration_ns: float) -> Scanning:
        design = knowledge.electronics.design_qubit_hz[qubits]
        found = yield from scan(
            knowledge, qubits, lines, low_hz=design - BELOW_HZ, high_hz=design + ABOVE_HZ,
            step_hz=step_hz, duration_ns=duration_ns,
            amplitude=FULL_SCALE if duration_ns == CROSS_NS else designed_turn(knowledge, lines, duration_ns),
        )  # fmt: skip
        return found

    def _confirmed(self, knowledge: Knowledge, qubit: IntArray, line: IntArray, frequency_hz: FloatArray) -> Generator[Request, Any, bool]:
        """Is the line of one qubit there when no other line plays?"""
        fit, found = yield from fine_line(knowledge, qubit, frequency_hz, line)
        return bool(stands(fit, found)[0] and fit["height"][0] > FAINT * self._usual(knowledge, qubit))

    def _usual(self, knowledge: Knowledge, qubits: IntArray) -> float:
        """Height of a good line in volts: that of spectroscopy on the whole chip, 0 where it never ran."""
        heights = knowledge["line_height_v"] if "line_height_v" in knowledge.parameters else np.zeros(1)
        known_heights = heights[np.isfinite(heights)]
        return float(np.median(known_heights)) if len(known_heights) else 0.0


def _flag(qubit: int, *, lives: bool) -> Flag:
    if lives:
        return Flag("qubit", qubit, "drive line broken", "it answers to its neighbours' drive lines, not to its own")
    return Flag("qubit", qubit, "dead", "its resonator is there, but no drive line finds a transition")
