"""Errors of cycles as decay, turns and gates make them."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest

from tests.computing.control.experiments.known_chip import pairs_up_to, runner
from tiandi.computing.control.experiments.cross_entropy_benchmarking import CrossEntropyBenchmarking


@pytest.mark.slow
def test_a_cycle_errs_as_decay_lets_expect() -> None:
    twin, knowledge = pairs_up_to("cross-entropy-benchmarking")
    good, now = knowledge.sound("coupler"), twin.conditions()
    # Of two qubits for a time t, averaged over states: t / 5 (2 / T2 + 1 / T1) each, to first order.
    rate = 0.4 * (0.5 / now.t1_s + now.white_dephasing_hz) + 0.2 / now.t1_s
    floor = 82e-9 * rate[knowledge.electronics.couplers[good]].sum(axis=1)
    cycle = knowledge["cycle_error"][good]
    assert np.median(cycle / floor) > 0.7
    assert np.median(cycle / floor) < 2.0
    assert np.median(knowledge["cycle_purity_error"][good]) < 1.2 * np.median(cycle)


def test_another_gate_is_told() -> None:
    twin, knowledge = deepcopy(pairs_up_to("cz-fine"))
    knowledge.parameters["cz_phase_first_rad"].value[:] += 2.0
    outcome = runner(twin, knowledge, CrossEntropyBenchmarking()).run("cross-entropy-benchmarking", np.arange(3))
    assert all("another gate" in verdict for verdict in outcome.verdicts)
