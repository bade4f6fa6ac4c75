"""Leakage of the CZ."""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from tests.computing.control.experiments.known_chip import pairs_up_to, runner
from tiandi.computing.control.experiments.leakage_pairs import LeakagePairs


def test_little_leaks_at_the_bottom_of_the_valley() -> None:
    _, knowledge = pairs_up_to("leakage-pairs")
    assert np.median(knowledge["cz_leakage"][knowledge.sound("coupler")]) < 1.5e-3


def test_a_gate_beside_the_return_leaks_and_is_told() -> None:
    twin, knowledge = deepcopy(pairs_up_to("cz-fine"))
    knowledge.parameters["cz_amplitude_v"].value[:] -= 0.04
    outcome = runner(twin, knowledge, LeakagePairs()).run("leakage-pairs", np.arange(4))
    assert all("leak in each gate" in verdict for verdict in outcome.verdicts), (outcome.verdicts, knowledge["cz_leakage"][:4])
