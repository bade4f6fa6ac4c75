"""Bringing up: everything due once, stopped and gone on with, repairs as diagnosed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.computing.control.bench import Bench, Node, electronics, rabi, succeed
from tiandi.computing.control.bringup import bring_up, calibrate, open_session
from tiandi.computing.control.experiment import Findings, Measurement
from tiandi.computing.control.graph import Graph
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.control.store import Store
from tiandi.computing.instruments.program import IntArray
from tiandi.errors import InputError

EVERY = np.arange(12)


def needs_amplitude(knowledge: Knowledge, targets: IntArray) -> Measurement:
    """Fails where the amplitude is wrong by more than 5 %, and blames it."""
    truth = 1.0 / np.linspace(0.8, 1.2, 12)[targets]
    wrong = np.abs(knowledge["pi_amplitude"][targets] / truth - 1.0) > 0.05
    verdicts = np.where(wrong, "turns are wrong", "").astype(object)
    return Findings({}, {}, verdicts, repairs={"rabi": targets[wrong]})
    yield


GRAPH = Graph(
    [Node("rabi", does=rabi), Node("drag", ("rabi",)), Node("fine", ("drag",), does=needs_amplitude), Node("cz", ("fine",), "coupler")]
)


def test_a_cold_chip_comes_up_and_is_left_alone_after(tmp_path: Path) -> None:
    bench = Bench.of(electronics())
    session = open_session(bench, GRAPH, store=Store(tmp_path))
    walk = bring_up(session)
    assert walk.measured == {"rabi": 12, "drag": 12, "fine": 12, "cz": 17}
    assert all(count["good"] == sum(count.values()) for count in walk.counts.values())
    again = open_session(bench, GRAPH, store=Store(tmp_path))
    assert bring_up(again).measured == {}
    assert np.allclose(again.knowledge["pi_amplitude"], session.knowledge["pi_amplitude"], rtol=1e-3)
    assert len(Store(tmp_path).history()) == 1
    assert bring_up(open_session(bench, GRAPH, store=Store(tmp_path), cold=True), ["drag"]).measured == {"rabi": 12, "drag": 12}


def test_a_bring_up_that_was_stopped_goes_on(tmp_path: Path) -> None:
    bench = Bench.of(electronics())

    def stops(knowledge: Knowledge, targets: IntArray) -> Measurement:
        bench.lost = True
        return rabi(knowledge, targets)

    session = open_session(bench, GRAPH.with_experiment(Node("fine", ("drag",), does=stops)), store=Store(tmp_path))
    with pytest.raises(ConnectionResetError):
        bring_up(session)
    bench.lost = False
    assert bring_up(open_session(bench, GRAPH, store=Store(tmp_path))).measured == {"fine": 12, "cz": 17}


def test_a_diagnosis_sends_back_to_what_it_blames() -> None:
    bench = Bench.of(electronics())
    session = open_session(bench, GRAPH)
    bring_up(session, ["drag"])
    session.knowledge.parameters["pi_amplitude"].value[[2, 7]] *= 1.3
    walk = bring_up(session)
    assert walk.repaired == {"rabi": 2}
    assert walk.measured == {"fine": 14, "rabi": 2, "drag": 2, "cz": 17}
    assert session.knowledge["pi_amplitude"] == pytest.approx(1.0 / bench.gain, rel=0.03)
    assert walk.counts["fine"]["good"] == 12


def test_repairs_that_do_not_help_end() -> None:
    def blames(_: Knowledge, targets: IntArray) -> Measurement:
        return Findings({}, {}, np.full(len(targets), "never good", object), repairs={"rabi": targets, "unknown": targets})
        yield

    session = open_session(Bench.of(electronics()), GRAPH.with_experiment(Node("fine", ("drag",), does=blames)))
    walk = bring_up(session)
    assert walk.measured["fine"] == 36
    assert walk.measured["rabi"] == 36
    assert walk.counts["fine"]["failed"] == 12
    assert "cz" not in walk.measured


def test_calibrating_one_node_makes_stale_what_follows_from_a_moved_value() -> None:
    bench = Bench.of(electronics())
    session = open_session(bench, GRAPH)
    bring_up(session)
    bench.gain[3] *= 1.2
    outcome = calibrate(session, "rabi", np.array([2, 3]))
    assert outcome.targets.tolist() == [2, 3]
    walk = bring_up(session, ["drag"])
    assert walk.measured == {"drag": 1}
    with pytest.raises(InputError, match="experiment"):
        calibrate(session, "nothing")
    session.knowledge.flag("qubit", 3, "dead", "gone")
    with pytest.raises(InputError, match="flagged"):
        calibrate(session, "drag", np.array([3]))


def test_the_state_of_another_chip_is_refused(tmp_path: Path) -> None:
    bring_up(open_session(Bench.of(electronics()), GRAPH, store=Store(tmp_path)), ["rabi"])
    with pytest.raises(InputError, match="another state folder"):
        open_session(Bench.of(electronics(4, 4)), GRAPH, store=Store(tmp_path))
    with pytest.raises(InputError, match="other couplers"):
        open_session(Bench.of(electronics(4, 3)), GRAPH, store=Store(tmp_path))


def test_settings_of_the_state_reach_the_instrument(tmp_path: Path) -> None:
    session = open_session(Bench.of(electronics()), GRAPH, store=Store(tmp_path))
    session.knowledge.settings.flux_bias_v[4] = 0.25
    session.save()
    bench = Bench.of(electronics())
    open_session(bench, GRAPH, store=Store(tmp_path))
    assert bench.settings is not None
    assert bench.settings.flux_bias_v[4] == 0.25


def test_a_disk_that_is_full_for_a_while_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be written at first; who makes room before the end finds everything."""
    state = tmp_path / "state"
    bench, store = Bench.of(electronics()), Store(state)
    monkeypatch.setattr("tiandi.computing.control.bringup.SAVED_EVERY_S", 0.0)

    def fills(knowledge: Knowledge, targets: IntArray) -> Measurement:
        state.rename(tmp_path / "away")
        return (yield from rabi(knowledge, targets))

    def frees(knowledge: Knowledge, targets: IntArray) -> Measurement:
        (tmp_path / "away").rename(state)
        return (yield from rabi(knowledge, targets))

    bring_up(open_session(bench, Graph([Node("fills", does=fills), Node("frees", ("fills",), does=frees)]), store=store))
    assert np.isfinite(store.load().knowledge["pi_amplitude"]).all()


def test_users_add_experiments() -> None:
    mine = Node("mine", ("rabi",), does=lambda knowledge, targets: succeed(targets, turn_per_volt=1.0 / knowledge["pi_amplitude"][targets]))
    session = open_session(Bench.of(electronics()), GRAPH.with_experiment(mine))
    bring_up(session, ["mine"])
    assert session.knowledge["turn_per_volt"] == pytest.approx(np.linspace(0.8, 1.2, 12), rel=0.03)
