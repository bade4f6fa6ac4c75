"""ZZ at idle against the hidden one, with couplers at their best bias and without bias."""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from tests.computing.control.experiments.known_chip import known_chip, pairs_up_to, runner, verdict_of
from tiandi.computing.control.experiments.residual_zz import ResidualZz


def test_it_is_what_is_hidden() -> None:
    twin, knowledge = known_chip(12)
    couplers = np.arange(len(knowledge.electronics.couplers))
    assert runner(twin, knowledge, ResidualZz()).run("residual-zz", couplers).good.all()
    truth = twin.conditions().zz_hz
    assert np.abs(truth).max() > 20e3
    assert np.abs(knowledge["zz_hz"] / truth - 1.0).max() < 0.25


def test_idle_biases_leave_little() -> None:
    _, knowledge = pairs_up_to("residual-zz")
    assert np.abs(knowledge["zz_hz"][knowledge.sound("coupler")]).max() < 8e3


def test_a_qubit_without_fringes_is_told() -> None:
    twin, knowledge = deepcopy(pairs_up_to("coupler-bias"))
    knowledge.parameters["half_pi_amplitude"].value[0] = 0.0
    outcome = runner(twin, knowledge, ResidualZz()).run("residual-zz", np.array([0]))
    assert "no fringes" in verdict_of(outcome, 0)
