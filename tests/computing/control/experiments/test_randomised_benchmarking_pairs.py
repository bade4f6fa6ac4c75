"""Survival of random Cliffords of pairs."""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from tests.computing.control.experiments.known_chip import pairs_up_to, runner
from tiandi.computing.control.experiments.randomised_benchmarking_pairs import RandomisedBenchmarkingPairs


def test_interleaved_gates_err_less_than_cliffords_and_more_than_nothing() -> None:
    _, knowledge = pairs_up_to("randomised-benchmarking-pairs")
    good = knowledge.sound("coupler")
    gate, clifford = knowledge["cz_error_interleaved"][good], knowledge["clifford_pair_error"][good]
    assert 1e-3 < np.median(gate) < 8e-3
    assert 5e-3 < np.median(clifford) < 25e-3
    assert (gate < clifford).all()


def test_gates_that_are_others_are_told() -> None:
    twin, knowledge = deepcopy(pairs_up_to("cz-fine"))
    knowledge.parameters["cz_phase_first_rad"].value[:] += 2.0
    outcome = runner(twin, knowledge, RandomisedBenchmarkingPairs()).run("randomised-benchmarking-pairs", np.arange(3))
    assert not outcome.good.any()
