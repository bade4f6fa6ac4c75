"""Ramsey across one CZ makes the phases exact."""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from tests.computing.control.experiments.known_chip import gate_errors, pairs_up_to, runner
from tiandi.computing.control.experiments.cz_fine import CzFine


def test_wrong_phases_are_found_and_corrected() -> None:
    twin, knowledge = deepcopy(pairs_up_to("cz-phase"))
    good = knowledge.sound("coupler")
    knowledge.parameters["cz_phase_first_rad"].value[good] += 0.15
    knowledge.parameters["cz_phase_second_rad"].value[good] -= 0.1
    knowledge.parameters["cz_qubit_amplitude_v"].value[good] += 0.2 / knowledge["cz_rad_per_v"][good]
    before, _ = gate_errors(twin, knowledge, good)
    outcome = runner(twin, knowledge, CzFine()).run("cz-fine", good)
    assert outcome.good.all()
    after, least = gate_errors(twin, knowledge, good)
    assert before.min() > 4e-3
    assert np.quantile(after - least, 0.9) < 1e-3
    assert np.abs(knowledge["cz_phase_error_rad"][good]).max() < 0.04


def test_a_gate_far_from_pi_is_told() -> None:
    twin, knowledge = deepcopy(pairs_up_to("cz-phase"))
    good = knowledge.sound("coupler")
    knowledge.parameters["cz_rad_per_v"].value[good] *= -1.0
    knowledge.parameters["cz_qubit_amplitude_v"].value[good] += 0.25 / knowledge["cz_rad_per_v"][good]
    outcome = runner(twin, knowledge, CzFine()).run("cz-fine", good)
    assert all("does not settle" in verdict or "no fringes" in verdict for verdict in outcome.verdicts)
