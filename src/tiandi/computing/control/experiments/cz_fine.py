"""CZ, fine: trains of gates amplify what each of them leaves over.

After an odd number of CZ the conditional phase is pi and each qubit has turned by nothing, up to so many times the error of one gate
(error amplification as by Sheldon et al., doi 10.1103/PhysRevA.93.012301). The moved qubit's pulse and the virtual phases are corrected by
what is found. The coupler's voltage, which sets what stays in 2, was found by `cz_phase` at the bottom of its valley, where leakage is
flat.
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

TRAINS, SHOTS = (3, 1, 5), 4_000
"""Of the first train the conditional phase is used, of the others the single ones: one gate tells them whatever they are, five exactly."""
FAINT = 0.05
WORST_RAD = 0.05
"""Of the conditional phase of one gate, after its correction."""


@dataclass(frozen=True)
class CzFine(PairNode):
    """cz_qubit_amplitude_v and both virtual phases, anew; cz_phase_error_rad, what is left of the conditional phase beside pi."""

    name: str = "cz-fine"
    title: str = "CZ in trains"
    after: tuple[str, ...] = ("cz-phase",)
    valid_s: float = 4.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        pair = pairs_of(knowledge, targets)
        volt = knowledge["cz_amplitude_v"][targets]
        qubit_volt = knowledge["cz_qubit_amplitude_v"][targets].copy()
        first, second = (knowledge[f"cz_phase_{which}_rad"][targets].copy() for which in ("first", "second"))
        for gates in TRAINS:
            moment = with_phases(pair, cz_moment(knowledge, pair, column(volt), column(qubit_volt)), first, second)
            one, other, conditional, contrast = yield from both_phases(knowledge, pair, (moment,) * gates, SHOTS)
            left = np.angle(-np.exp(1j * conditional)) / gates
            if gates == TRAINS[0]:
                # Single phases follow the qubit's pulse much faster: the next trains find them.
                step = np.clip(left / knowledge["cz_rad_per_v"][targets], -0.1 * np.abs(qubit_volt), 0.1 * np.abs(qubit_volt))
                qubit_volt = qubit_volt - step
            else:
                first, second = first + one / gates, second + other / gates
        noise = np.sqrt(2.0 / 3.0 / SHOTS) * 0.25 / np.maximum(contrast, 0.02) / TRAINS[-1]
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
                (contrast < FAINT, f"no fringes across {TRAINS[-1]} gates: a phase decays within them"),
                (np.abs(left) > WORST_RAD, "the conditional phase does not settle at pi"),
            ),
        )  # fmt: skip


def _turned(angle_rad: np.ndarray) -> np.ndarray:
    """Within half a turn."""
    return np.asarray(np.angle(np.exp(1j * angle_rad)))
