"""Residual ZZ: by how much a qubit's frequency depends on its neighbour, at idle (Ramsey of one qubit with the other one in 0 or 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiment import Findings, Measurement
from tiandi.computing.control.experiments.node import HOUR_S, verdicts
from tiandi.computing.control.experiments.pairing import QUADRATURES, PairNode, fringe_steps, only, pairs_of, phasors
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import IntArray, Reading, Wait

WAIT_NS, SHOTS = 3_000.0, 5_000
"""Within a microsecond or three a qubit keeps its phase, and 100 kHz do not yet turn it by more than half a turn."""
NS = 1e-9
FAINT = 0.05


@dataclass(frozen=True)
class ResidualZz(PairNode):
    """zz_hz: E11 - E10 - E01 + E00."""

    name: str = "residual-zz"
    title: str = "Residual ZZ at idle"
    after: tuple[str, ...] = ("coupler-bias", "ramsey", "fine-amplitude")
    valid_s: float = 24.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        pair = pairs_of(knowledge, targets)
        control = np.repeat([0.0, 1.0], len(QUADRATURES))
        steps = fringe_steps(pair, 0, control, np.tile(QUADRATURES, 2)[None, :], ((Wait(WAIT_NS),),))
        reading: Reading = yield only(knowledge, pair.first, len(control), steps, SHOTS)
        assert reading.populations is not None
        both = phasors(reading.populations)
        contrast = np.abs(both).min(axis=1)
        # A frequency higher by f loses the phase 2 pi f t.
        found = -np.angle(both[:, 1] * both[:, 0].conj()) / (2.0 * np.pi * WAIT_NS * NS)
        noise = np.sqrt(2.0 / 3.0 / SHOTS) * 0.25 * np.sqrt(2.0) / np.maximum(contrast, 0.02) / (2.0 * np.pi * WAIT_NS * NS)
        return Findings(
            {"zz_hz": found},
            {"zz_hz": noise},
            verdicts(len(targets), (contrast < FAINT, f"no fringes after {WAIT_NS / 1e3:.0f} us: the first qubit's phase has decayed"))
        )  # fmt: skip
