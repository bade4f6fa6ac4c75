"""The whole loop on the chip twin: brought up from cold, as the truth has it; then a drift that only the watch's few points find."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiandi.computing.chip.twin import chip_twin
from tiandi.computing.control.bringup import Session, bring_up, open_session
from tiandi.computing.control.checks import standard_checks
from tiandi.computing.control.experiments import single_qubit_experiments
from tiandi.computing.control.graph import Graph
from tiandi.computing.control.store import Store
from tiandi.computing.control.watching import watch

QUBITS = 8
CHOSEN = (
    "mixer", "resonator-spectroscopy", "readout-power", "qubit-spectroscopy", "rabi", "ramsey-coarse", "readout-optimisation",
    "anharmonicity", "discrimination", "ramsey", "drag", "fine-amplitude", "t1",
)  # fmt: skip


def short_graph() -> Graph:
    """From the resonators to T1, with no bias: flux and wiring left out."""
    known: dict[str, Any] = {experiment.name: experiment for experiment in single_qubit_experiments()}
    order = [known[name] for name in CHOSEN]
    return Graph([replace(one, after=CHOSEN[place - 1 : place] if place else ()) for place, one in enumerate(order)])


@pytest.fixture(scope="module")
def brought_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Session, Any, Path]:
    folder = tmp_path_factory.mktemp("state")
    twin = chip_twin(QUBITS, seed=3, faults=False)
    session = open_session(twin, short_graph(), store=Store(folder))
    walk = bring_up(session)
    assert walk.counts["t1"]["good"] == QUBITS, session.condition.progress
    return session, twin, folder


def test_what_it_knows_is_the_truth(brought_up: tuple[Session, Any, Path]) -> None:
    session, twin, _ = brought_up
    truth = twin.truth()
    knowledge = session.knowledge
    assert np.median(np.abs(knowledge["frequency_hz"] - truth.frequency_hz)) < 20e3
    assert np.median(np.abs(knowledge["t1_s"] / truth.t1_s - 1.0)) < 0.1


def test_state_and_curves_stand_in_the_folder(brought_up: tuple[Session, Any, Path]) -> None:
    session, _, folder = brought_up
    loaded = Store(folder).load()
    error = session.knowledge.parameters["frequency_hz"].uncertainty
    assert (np.abs(loaded.knowledge["frequency_hz"] - session.knowledge["frequency_hz"]) <= 0.051 * error).all()
    curve = session.runner.curves.of("ramsey", 3)
    assert curve is not None
    assert curve.model is not None
    assert np.sqrt(np.mean((curve.y - curve.model) ** 2)) < 0.1


def test_a_day_passes_and_only_what_drifted_is_measured_again() -> None:
    """27 hours in rounds of 9, past the ages at which mixers and error rates are measured again: nothing that was right is disturbed."""
    twin = chip_twin(12, seed=6, faults=False)
    session = open_session(twin, Graph(single_qubit_experiments()))
    bring_up(session)
    aged = {"mixer", "echo", "drag", "active-reset", "randomised-benchmarking", "leakage"}
    for one in watch(session, standard_checks(), period_s=9 * 3600.0, rounds=3):
        failed = {name: len(reasons) for name, reasons in one.failed.items()}
        assert set(one.walk.measured) <= aged | {name for name, count in failed.items() if count}, one
        for name, count in failed.items():
            assert one.walk.measured.get(name, 0) == count
        assert np.abs(session.knowledge["frequency_hz"] - twin.truth().frequency_hz).max() < 10e3
    assert np.median(np.abs(session.knowledge["frequency_hz"] - twin.truth().frequency_hz)) < 5e3


def test_the_watch_finds_who_was_detuned(brought_up: tuple[Session, Any, Path]) -> None:
    session, twin, _ = brought_up
    (quiet,) = watch(session, standard_checks(), period_s=1.0, rounds=1)
    assert not any(quiet.failed.values())
    assert not quiet.walk.measured
    moved, was = deepcopy(session.knowledge.settings), twin.truth().frequency_hz
    moved.flux_bias_v[2] += 0.01
    twin.configure(moved)
    session.knowledge.settings = moved
    # Flux crosstalk moves neighbours too, by less.
    shift = np.abs(twin.truth().frequency_hz - was)
    before = session.knowledge["frequency_hz"].copy()
    (found,) = watch(session, standard_checks(), period_s=1.0, rounds=1)
    failed = sorted(found.failed["ramsey"])
    assert 2 in failed
    assert (shift[failed] > 5e3).all()
    assert (np.delete(shift, failed) < 20e3).all()
    assert found.walk.measured["ramsey"] == len(failed)
    assert np.flatnonzero(session.knowledge["frequency_hz"] - before).tolist() == failed
    assert session.knowledge["frequency_hz"][2] == pytest.approx(twin.truth().frequency_hz[2], abs=100e3)
