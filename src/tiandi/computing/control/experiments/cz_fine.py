"""CZ, fine: the phases of one gate, its lines at rest before it, with many shots.

By Ramsey across the gate, of either qubit with the other one in 0 and in 1, the moved qubit's pulse is corrected by what the conditional
phase is beside pi, and then the virtual phases by what each qubit has turned alone (after Foxen et al.,
doi 10.1103/PhysRevLett.125.120504). A train would amplify these errors, but what is left of the step response of flux lines adds up from
gate to gate: phases that are right in the middle of a train are wrong, by up to 0.2 rad, for a gate by itself. The coupler's voltage, which
sets what stays in 2, was found by `cz_phase` at the bottom of its valley, where leakage is flat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiment import Findings, Measurement
from tiandi.computing.control.experiments.cz_phase import both_phases
from tiandi.computing.control.experiments.node import HOUR_S, column, verdicts
from tiandi.computing.control.experiments.pairing import PairNode, cz_moment, pairs_of, with_phases
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import IntArray

SHOTS = 8_000
"""Make a phase known to 0.01 rad: an error of 1e-3 takes 0.07 rad of a single phase."""
FAINT = 0.05
WORST_RAD = 0.05
"""Of the conditional phase of one gate, after its correction."""


@dataclass(frozen=True)
class CzFine(PairNode):
    """cz_qubit_amplitude_v and both virtual phases, anew; cz_phase_error_rad, what is left of the conditional phase beside pi."""

    name: str = "cz-fine"
    title: str = "Phases of the CZ, fine"
    after: tuple[str, ...] = ("cz-phase",)
    valid_s: float = 4.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        pair = pairs_of(knowledge, targets)
        volt = knowledge["cz_amplitude_v"][targets]
        qubit_volt = knowledge["cz_qubit_amplitude_v"][targets].copy()
        first, second = (knowledge[f"cz_phase_{which}_rad"][targets].copy() for which in ("first", "second"))
        for corrects in ("pulse", "phases"):
            moment = with_phases(pair, cz_moment(knowledge, pair, column(volt), column(qubit_volt)), first, second)
            one, other, conditional, contrast = yield from both_phases(knowledge, pair, (moment,), SHOTS)
            left = np.angle(-np.exp(1j * conditional))
            if corrects == "pulse":
                # Single phases follow the qubit's pulse much faster: they are found anew behind it.
                step = np.clip(left / knowledge["cz_rad_per_v"][targets], -0.1 * np.abs(qubit_volt), 0.1 * np.abs(qubit_volt))
                qubit_volt = qubit_volt - step
            else:
                first, second = first + one, second + other
        noise = np.sqrt(2.0 / 3.0 / SHOTS) * 0.25 / np.maximum(contrast, 0.02)
        return Findings(
            {
                "cz_qubit_amplitude_v": qubit_volt, "cz_phase_first_rad": _turned(first), "cz_phase_second_rad": _turned(second),
                "cz_phase_error_rad": left,
            },
            {
                "cz_qubit_amplitude_v": noise / np.abs(knowledge["cz_rad_per_v"][targets]), "cz_phase_first_rad": noise,
                "cz_phase_second_rad": noise, "cz_phase_error_rad": noise,
            },
            verdicts(
                len(targets),
                (contrast < FAINT, "no fringes across the gate: a phase decays within it"),
                (np.abs(left) > WORST_RAD, "the conditional phase does not settle at pi"),
            ),
        )  # fmt: skip


def _turned(angle_rad: np.ndarray) -> np.ndarray:
    """Within half a turn."""
    return np.asarray(np.angle(np.exp(1j * angle_rad)))
