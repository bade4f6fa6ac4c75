"""Idle biases of couplers against the hidden chip."""

from __future__ import annotations

import numpy as np

from tests.computing.control.experiments.known_chip import BROKEN, QUBITS, known_chip, pairs_up_to, runner, verdict_of
from tiandi.computing.control.experiments.coupler_bias import CouplerBias


def test_coupling_at_idle_is_a_tenth_of_what_it_was() -> None:
    twin, knowledge = pairs_up_to("coupler-bias")
    good = knowledge.sound("coupler")
    left = np.abs(twin.conditions().coupling_hz[good])
    assert np.median(left) < 0.1e6
    assert left.max() < 0.35e6
    assert np.abs(knowledge.settings.coupler_bias_v[good] - knowledge["idle_coupler_bias"][good]).max() == 0.0


def test_a_broken_coupler_is_flagged_with_a_reason_and_no_other() -> None:
    _, knowledge = pairs_up_to("coupler-bias")
    (flag,) = knowledge.flags
    assert (flag.element, flag.index, flag.fault) == ("coupler", BROKEN, "coupler broken")
    assert "no voltage changes its ZZ phase" in flag.reason


def test_a_qubit_that_is_not_turned_gives_no_fringes_and_no_flag() -> None:
    twin, knowledge = known_chip(4)
    knowledge.parameters["half_pi_amplitude"].value[0] = 0.0
    couplers = knowledge.electronics.couplers
    outcome = runner(twin, knowledge, CouplerBias()).run("coupler-bias", np.arange(len(couplers)))
    assert "no fringes" in verdict_of(outcome, int(np.flatnonzero(couplers[:, 0] == 0)[0]))
    assert not knowledge.flags


def test_a_broken_coupler_is_flagged_though_its_zz_is_large() -> None:
    """Two qubits that its direct coupling shifts by 450 kHz: a phase of 0.34 rad, the same at all voltages."""
    twin, knowledge = known_chip(QUBITS, broken=(BROKEN,))
    twin.hidden.couplers.direct_hz[BROKEN] += 2e6
    outcome = runner(twin, knowledge, CouplerBias()).run("coupler-bias", np.array([BROKEN]))
    assert "no voltage changes its ZZ phase" in verdict_of(outcome, BROKEN)
    assert [flag.index for flag in knowledge.flags] == [BROKEN]
