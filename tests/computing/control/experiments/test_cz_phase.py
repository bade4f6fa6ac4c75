"""The calibrated CZ against the hidden pair: its unitary without decay."""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from tests.computing.control.experiments.known_chip import gate_errors, pairs_up_to, runner
from tiandi.computing.control.experiments.cz_phase import CzPhase


def test_gates_are_within_one_in_a_thousand_of_the_best_that_these_pulses_can_do() -> None:
    twin, knowledge = pairs_up_to("cz-phase")
    good = knowledge.sound("coupler")
    error, least = gate_errors(twin, knowledge, good)
    assert np.quantile(error - least, 0.95) < 1e-3
    assert error.max() < 4e-3


def test_a_resonance_far_off_is_told() -> None:
    twin, knowledge = deepcopy(pairs_up_to("cz-chevron"))
    knowledge.parameters["cz_offset_hz"].value[:] += 45e6
    outcome = runner(twin, knowledge, CzPhase()).run("cz-phase", knowledge.sound("coupler"))
    assert not outcome.good.any()
    assert all("valley" in verdict or "stay in 2" in verdict or "fringes" in verdict for verdict in outcome.verdicts)
