"""Lags of couplers' lines against the hidden ones."""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from tests.computing.control.experiments.known_chip import pairs_up_to, runner
from tiandi.computing.control.experiments.coupler_timing import CouplerTiming


def test_lags_are_the_hidden_ones_within_a_nanosecond() -> None:
    twin, knowledge = pairs_up_to("coupler-timing")
    good = knowledge.sound("coupler")
    first = knowledge.electronics.couplers[good, 0]
    truth = twin.hidden.couplers.skew_ns[good] - twin.hidden.drive_skew_ns[first]
    assert np.abs(knowledge["coupler_lag_ns"][good] - truth).max() < 1.2
    assert np.allclose(knowledge.settings.coupler_delay_ns[good], -knowledge["coupler_lag_ns"][good])


def test_a_coupler_that_hardly_couples_is_told() -> None:
    twin, knowledge = deepcopy(pairs_up_to("coupler-bias"))
    knowledge.parameters["coupler_strong_v"].value[:] = -0.03
    outcome = runner(twin, knowledge, CouplerTiming()).run("coupler-timing", knowledge.sound("coupler"))
    assert all("not exchanged" in verdict or "more than 12 ns" in verdict for verdict in outcome.verdicts)
