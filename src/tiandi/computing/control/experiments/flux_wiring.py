"""Flux wiring: does a qubit's flux line move it, and if not, whose does?

A qubit is excited by a pulse at its frequency while flux pulses of several sizes are played, each line's at random points of its own. A
qubit that its line reaches is excited where that line rests, and out of resonance where it plays; one that no line or another one reaches
does not follow that pattern. Those that do not follow their own line's try each other's.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiandi.computing.control.experiment import Curves, Findings, Measurement, Request
from tiandi.computing.control.experiments.gates import COSINE, averaging, designed_turn
from tiandi.computing.control.experiments.node import HOUR_S, Node, column, verdicts
from tiandi.computing.control.experiments.qubit_spectroscopy import WIDE_NS
from tiandi.computing.control.experiments.wiring import rounds, swapped, taken
from tiandi.computing.control.knowledge import Flag, Knowledge
from tiandi.computing.instruments.program import Drive, FloatArray, Flux, IntArray, Reading, Shape
from tiandi.random import twin_generator

PERIODS = np.concatenate([np.zeros(18), np.linspace(0.09, 0.14, 9), -np.linspace(0.09, 0.14, 9)])
"""Sizes of the pulses in flux quanta of the design: half of them none. Each line has them in an order of its own."""
SHOTS = 1_500
AROUND_NS = 50.0
"""A flux pulse begins so much before the drive and ends so much behind."""
STAYS, FOLLOWS = 0.38, 0.6
"""Excitation where the line rests less that where it plays, of the whole: below the first a line is doubted, above the second one is found.

A pattern that has nothing to do with a qubit gives 0 +- 0.12; crosstalk of neighbours leaves of 1 some 0.5 where a slope is steep.
"""
FLAT = Shape("flattop", 2.0)


@dataclass(frozen=True)
class FluxWiring(Node):
    """flux_line, the number of the line that reaches each qubit; flags broken and swapped flux lines."""

    name: str = "flux-wiring"
    title: str = "Flux wiring"
    after: tuple[str, ...] = ("qubit-spectroscopy", "drive-wiring")
    valid_s: float = 720.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        moves, left = yield from self._moves(knowledge, targets, knowledge.flux_line[targets])
        stays = moves < STAYS
        candidates = targets[stays]
        reached = np.full(len(candidates), -1, np.int64)
        for lines in rounds(candidates):
            moves, _ = yield from self._moves(knowledge, candidates, lines)
            reached = taken(reached, lines, moves > FOLLOWS)
        flags = swapped(candidates, reached, "flux") + [
            Flag("qubit", int(qubit), "flux line broken", "no flux line moves it") for qubit in candidates[reached < 0]
        ]
        knowledge.flux_line[candidates] = np.where(reached >= 0, reached, candidates)
        why = {flag.index: f"{flag.fault}: {flag.reason}" for flag in flags}
        result = verdicts(len(targets))
        result[stays] = [why[int(qubit)] for qubit in candidates]
        return Findings(
            {"flux_line": knowledge.flux_line[targets].astype(float)},
            {"flux_line": np.zeros(len(targets))},
            result,
            flags,
            Curves(np.arange(left.shape[1], dtype=float), left, None, "flux pulse", "share of the excitation left"),
        )

    def _moves(self, knowledge: Knowledge, qubits: IntArray, lines: IntArray) -> Generator[Request, Any, tuple[FloatArray, FloatArray]]:
        """(qubits,): how far a qubit follows the pattern of ``lines``; and (qubits, pulses): excitation left, none played first."""
        size = twin_generator(0, "control", self.name).permuted(np.tile(PERIODS, (knowledge.electronics.qubits, 1)), axis=1)[lines]
        volt = column(knowledge.electronics.design_volt_per_flux_quantum[lines]) * size
        nothing = np.zeros((len(qubits), 2))
        flux = Flux(lines, np.concatenate([nothing, volt], axis=1), WIDE_NS + 2.0 * AROUND_NS, FLAT)
        drive_lines = knowledge.drive_line[qubits]
        amplitude = np.repeat(designed_turn(knowledge, drive_lines, WIDE_NS), 2 + volt.shape[1], axis=1)
        amplitude[:, 0] = 0.0
        frequency = column(knowledge["frequency_hz"][qubits])
        drive = Drive(drive_lines, amplitude, WIDE_NS, frequency, shape=COSINE, start_ns=AROUND_NS)
        reading: Reading = yield averaging(knowledge, qubits, amplitude.shape[1], ((flux, drive),), SHOTS)
        assert reading.iq is not None
        rest, turned, moved = reading.iq[0][:, :1], reading.iq[0][:, 1:2], reading.iq[0][:, 2:]
        left = np.real((moved - rest) / (turned - rest))
        plays = size != 0.0
        follows = (left * ~plays).sum(axis=1) / (~plays).sum(axis=1) - (left * plays).sum(axis=1) / plays.sum(axis=1)
        return follows, np.take_along_axis(left, np.argsort(plays, axis=1, kind="stable"), axis=1)
