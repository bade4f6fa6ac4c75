"""Running experiments: who may be measured together, whose fault stops whom, what is learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.computing.control.bench import Bench, Node, check, cold, electronics, programme, rabi, succeed
from tiandi.computing.control.curves import CurveKeeper
from tiandi.computing.control.experiment import Curves, Findings, Look, Measurement
from tiandi.computing.control.graph import DONE, FAILED, Graph
from tiandi.computing.control.grouping import batches
from tiandi.computing.control.knowledge import Flag, Knowledge
from tiandi.computing.control.running import Runner, Step
from tiandi.computing.instruments.instrument import Spectrum
from tiandi.computing.instruments.program import IntArray
from tiandi.errors import InputError

EVERY = np.arange(12)


def runner(*nodes: Node, bench: Bench | None = None, folder: Path | None = None) -> Runner:
    bench = bench or Bench.of(electronics())
    return Runner(bench, Graph(nodes), cold(bench.electronics), curves=CurveKeeper(folder))


def neighbours(knowledge: Knowledge) -> IntArray:
    return knowledge.electronics.couplers


def test_a_parameter_is_learnt_with_its_uncertainty(tmp_path: Path) -> None:
    run = runner(Node("rabi", does=rabi), folder=tmp_path)
    steps: list[Step] = []
    run.progress = steps.append
    outcome = run.run("rabi", EVERY)
    assert outcome.good.all()
    assert not outcome.moved.any()
    truth = 1.0 / run.instrument.gain
    known = run.knowledge.parameters["pi_amplitude"]
    assert np.abs((known.value - truth) / known.uncertainty).max() < 4.0
    assert known.measured_s == pytest.approx(0.5)
    assert (run.condition.progress["rabi"].state == DONE).all()
    assert [(step.done, step.total, step.good) for step in steps] == [(0, 12, 0), (12, 12, 12)]
    curve = CurveKeeper(tmp_path).of("rabi", 7)
    assert curve is not None
    assert curve.y.shape == (1, 41)
    assert curve.x_name == "amplitude"
    assert curve.model is not None
    assert np.abs(curve.y - curve.model).max() < 0.15


def test_excluded_pairs_are_never_measured_together() -> None:
    run = runner(Node("rabi", does=rabi, pairs=neighbours))
    run.run("rabi", EVERY)
    together = [set(program.measures[0].lines.tolist()) for program in run.instrument.programs]
    assert len(together) == 2
    assert not any({int(first), int(second)} <= one for first, second in run.knowledge.electronics.couplers for one in together)
    assert sorted(qubit for one in together for qubit in one) == EVERY.tolist()


def test_feed_lines_carry_no_more_tones_than_they_can() -> None:
    run = runner(Node("rabi", does=rabi), bench=Bench.of(electronics(multiplexing=3)))
    run.run("rabi", EVERY)
    for program in run.instrument.programs:
        assert np.bincount(run.knowledge.electronics.feed_line[program.measures[0].lines]).max() <= 3
    assert len(run.instrument.programs) == 2


@given(st.integers(1, 4), st.sets(st.integers(0, 16)), st.booleans())
@settings(max_examples=60, deadline=None)
def test_batches_hold_every_target_once(multiplexing: int, chosen: set[int], couplers: bool) -> None:
    chip = cold(electronics(multiplexing=max(multiplexing, 2 if couplers else 1)))
    node = Node("x", element="coupler", pairs=lambda _: np.array([[0, 1], [2, 3], [3, 4]])) if couplers else Node("x", pairs=neighbours)
    targets = np.array(sorted(one for one in chosen if one < chip.elements(node.element)), np.int64)
    found = batches(chip, node, targets)
    assert sorted(np.concatenate([np.zeros(0, int), *found]).tolist()) == targets.tolist()
    for one in found:
        lines = chip.electronics.couplers[one] if couplers else one
        assert np.bincount(chip.electronics.feed_line[lines].ravel()).max() <= chip.electronics.multiplexing


def test_one_broken_line_fails_alone() -> None:
    run = runner(Node("rabi", does=rabi), bench=Bench.of(electronics(), refuses=frozenset({5, 9})))
    outcome = run.run("rabi", EVERY)
    assert sorted(outcome.targets[~outcome.good].tolist()) == [5, 9]
    assert "is broken" in run.condition.progress["rabi"].reason[5]
    assert sorted(outcome.targets.tolist()) == EVERY.tolist()


def test_an_experiment_with_a_fault_fails_with_its_words() -> None:
    def wrong(_: Knowledge, targets: IntArray) -> Measurement:
        yield Look(targets)
        raise ZeroDivisionError("of mine")

    run = runner(Node("mine", does=wrong))
    outcome = run.run("mine", EVERY)
    assert all("ZeroDivisionError('of mine')" in verdict for verdict in outcome.verdicts)
    assert (run.condition.progress["mine"].state == FAILED).all()


def test_a_lost_instrument_is_not_an_experiment_that_failed() -> None:
    bench = Bench.of(electronics())
    bench.lost = True
    with pytest.raises(ConnectionResetError):
        runner(Node("rabi", does=rabi), bench=bench).run("rabi", EVERY)


def test_settings_are_taken_and_given_back_by_who_breaks_off() -> None:
    def sets(value: float, error: bool) -> object:
        def does(knowledge: Knowledge, targets: IntArray) -> Measurement:
            changed = Knowledge(knowledge.electronics, cold(knowledge.electronics).settings).settings
            changed.flux_bias_v[targets] = value
            yield changed
            if error:
                raise InputError("fault", 1, "mine")
            spectrum: Spectrum = yield Look(targets)
            return Findings({"seen": spectrum.leakage_dbc}, {}, np.full(len(targets), "", object))

        return does

    run = runner(Node("good", does=sets(0.3, False)), Node("bad", does=sets(0.7, True)))
    run.run("good", EVERY)
    assert (run.knowledge.settings.flux_bias_v == 0.3).all()
    assert (run.knowledge["seen"] == -60.0).all()
    run.run("bad", EVERY)
    assert (run.instrument.settings.flux_bias_v == 0.3).all()
    assert run.instrument.settings is run.knowledge.settings


def test_pulses_out_of_a_line_s_band_fail_alone() -> None:
    def far(knowledge: Knowledge, targets: IntArray) -> Measurement:
        program = programme(knowledge, targets, np.ones((len(targets), 1)))
        drive = program.steps[0][0]
        drive.frequency_hz[targets == 4] += 3e8
        yield program
        return Findings({}, {}, np.full(len(targets), "", object))

    outcome = runner(Node("far", does=far)).run("far", EVERY)
    assert outcome.targets[~outcome.good].tolist() == [4]
    assert "300 MHz from the line's oscillator, the band reaches 200 MHz" in outcome.verdicts[~outcome.good][0]


def test_a_program_of_some_of_the_targets_fails_those_alone() -> None:
    """An experiment that plays its second half only, of which the pulse for qubit 9 is out of band."""

    def half(knowledge: Knowledge, targets: IntArray) -> Measurement:
        some = targets[targets >= 6]
        program = programme(knowledge, some, np.ones((len(some), 1)))
        program.steps[0][0].frequency_hz[some == 9] += 3e8
        yield program
        return Findings({}, {}, np.full(len(targets), "", object))

    outcome = runner(Node("half", does=half)).run("half", EVERY)
    assert outcome.targets[~outcome.good].tolist() == [9]
    assert "from the line's oscillator" in outcome.verdicts[~outcome.good][0]
    assert sorted(outcome.targets.tolist()) == EVERY.tolist()


@pytest.mark.parametrize("wrong", ["line", "call", "exclusion"])
def test_what_users_get_wrong_does_not_end_a_bring_up(wrong: str) -> None:
    """A line that does not exist; a function that is no generator and fails at once; an exclusion that fails."""

    def played(knowledge: Knowledge, targets: IntArray) -> Measurement:
        program = programme(knowledge, targets, np.ones((len(targets), 1)))
        yield replace(program, steps=((replace(program.steps[0][0], lines=targets + 999),),))
        return Findings({}, {}, np.full(len(targets), "", object))

    def called(knowledge: Knowledge, targets: IntArray) -> Measurement:
        raise KeyError("t1_s")

    def excluded(knowledge: Knowledge) -> IntArray:
        raise KeyError("t1_s")

    node = {"line": Node("x", does=played), "call": Node("x", does=called), "exclusion": Node("x", does=rabi, pairs=excluded)}[wrong]
    outcome = runner(node).run("x", np.arange(4))
    assert sorted(outcome.targets.tolist()) == [0, 1, 2, 3]
    if wrong == "exclusion":
        assert outcome.good.all()
    else:
        words = "its Program cannot be played" if wrong == "line" else "KeyError('t1_s')"
        assert all(words in verdict for verdict in outcome.verdicts)


def test_flags_are_kept_and_bad_values_are_not() -> None:
    def finds(_: Knowledge, targets: IntArray) -> Measurement:
        verdicts = np.where(targets == 2, "no signal", "").astype(object)
        values = np.where(targets == 3, np.nan, targets.astype(float))
        return Findings({"x": values}, {}, verdicts, [Flag("qubit", 2, "dead", "nothing")])
        yield

    run = runner(Node("x", does=finds))
    run.run("x", EVERY)
    assert run.knowledge.flagged("qubit", 2, "dead")
    assert np.flatnonzero(np.isnan(run.knowledge["x"])).tolist() == [2, 3]


def test_a_value_that_moved_is_told() -> None:
    bench = Bench.of(electronics())
    run = runner(Node("rabi", does=rabi), bench=bench)
    run.run("rabi", EVERY)
    bench.gain[3] *= 1.1
    assert run.run("rabi", EVERY).moved.nonzero()[0].tolist() == [3]


def measuring(**values: tuple[float, float]) -> Node:
    """An experiment that finds these (value, uncertainty) for all its targets."""

    def does(_: Knowledge, targets: IntArray) -> Measurement:
        found, errors = ({name: np.full(len(targets), pair[one]) for name, pair in values.items()} for one in (0, 1))
        return Findings(found, errors, np.full(len(targets), "", object), reported=frozenset({"seen"}))
        yield

    return Node("x", does=does)


def test_a_coarser_value_that_agrees_takes_nobody_s_place() -> None:
    """A line to 1 MHz does not replace fringes to 1 kHz; 20 MHz away it does, for then the qubit has moved."""
    run = runner(measuring(f=(5e9, 1e3)))
    run.run("x", EVERY)
    run.graph = Graph([measuring(f=(5.001e9, 1e6))])
    assert not run.run("x", EVERY).moved.any()
    assert (run.knowledge["f"] == 5e9).all()
    assert (run.knowledge.parameters["f"].uncertainty == 1e3).all()
    run.graph = Graph([measuring(f=(5.02e9, 1e6))])
    assert run.run("x", EVERY).moved.all()
    assert (run.knowledge["f"] == 5.02e9).all()
    run.graph = Graph([measuring(f=(5.0201e9, 1e3))])
    run.run("x", EVERY)
    assert (run.knowledge["f"] == 5.0201e9).all()


def test_what_is_only_reported_may_move() -> None:
    run = runner(measuring(seen=(0.1, 1e-3)))
    run.run("x", EVERY)
    run.graph = Graph([measuring(seen=(0.2, 1e-3))])
    assert not run.run("x", EVERY).moved.any()
    assert (run.knowledge["seen"] == 0.2).all()


def test_a_check_is_observed_without_being_learnt() -> None:
    bench = Bench.of(electronics())
    run = runner(Node("rabi", does=rabi), bench=bench)
    run.run("rabi", EVERY)
    bench.gain[3] *= 1.1
    elements, findings = run.observe(Node("check", does=check), EVERY)
    assert elements[findings.verdicts != ""].tolist() == [3]
    assert "check" not in run.condition.progress


@pytest.mark.parametrize("wrong", ["shape", "request", "nothing"])
def test_what_an_experiment_may_not_do_is_its_verdict(wrong: str) -> None:
    def does(_: Knowledge, targets: IntArray) -> Measurement:
        if wrong == "request":
            yield "please"  # type: ignore[misc]
        if wrong == "nothing":
            return None  # type: ignore[return-value]
        return Findings({"x": np.zeros((len(targets), 2))}, {}, np.full(len(targets), "", object))

    outcome = runner(Node("x", does=does)).run("x", np.arange(5))
    words = {"shape": "must have one for each of", "request": "must be a Program, Settings or a Look", "nothing": "returned NoneType"}[
        wrong
    ]
    assert all(words in verdict for verdict in outcome.verdicts)


def test_no_targets_no_programs() -> None:
    run = runner(Node("x", does=lambda _, targets: succeed(targets)))
    assert not len(run.run("x", np.zeros(0, np.int64)).verdicts)


def test_curves_are_thinned_and_replaced(tmp_path: Path) -> None:
    keeper = CurveKeeper(tmp_path)
    x, y = np.linspace(0, 1, 1_000), np.arange(4_000.0).reshape(4, 1_000)
    keeper.take("long", np.arange(4), Curves(x, y, None, "x", "y"))
    keeper.flush("long")
    keeper.take("long", np.array([2]), Curves(x, -y[:1] - 1.0, None, "x", "y"))
    keeper.flush("long")
    new, old = keeper.of("long", 2), keeper.of("long", 3)
    assert new is not None
    assert old is not None
    assert new.y.shape == (1, 200)
    assert new.y[0, 0] == -1.0
    assert old.y[0, 0] == 3_000.0
    assert old.x.shape == (1, 200)
    assert keeper.of("long", 9) is None
    assert keeper.elements("long").tolist() == [0, 1, 2, 3]
    surface = Curves(x[:50], np.zeros((4, 100, 50)), np.zeros((4, 100, 50)), "x", "y", np.arange(100.0), "rows")
    keeper.take("wide", np.arange(4), surface)
    wide = keeper.of("wide", 1)
    assert wide is not None
    assert wide.y.shape == (1, 50, 50)
    assert wide.rows is not None
    assert wide.rows[1] == 2.0
