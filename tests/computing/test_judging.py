"""The judge: the truth itself scores full marks, and whatever is falsified is found."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import expm

from tiandi.computing.chip.evolution.pair import PairUnitaries
from tiandi.computing.chip.readout import assignment, signals
from tiandi.computing.chip.truth import pi_amplitude
from tiandi.computing.chip.twin import ChipTwin, chip_twin
from tiandi.computing.control.experiments.gates import COSINE, GATE_NS
from tiandi.computing.control.knowledge import Flag, Knowledge
from tiandi.computing.instruments.instrument import idle
from tiandi.computing.judging.criteria import Criterion, mark_of
from tiandi.computing.judging.pairs import gate_errors
from tiandi.computing.judging.score import judge, judge_flags
from tiandi.errors import InputError

QUBITS, AT_S = 20, 500.0


@pytest.fixture(scope="module")
def twin() -> ChipTwin:
    return chip_twin(QUBITS, seed=3, faults=True)


@pytest.fixture
def perfect(told: Knowledge) -> Knowledge:
    """A copy for each test to spoil."""
    return deepcopy(told)


@pytest.fixture(scope="module")
def told(twin: ChipTwin) -> Knowledge:
    """What a control system that errs in nothing would know of single qubits."""
    settings = idle(twin.electronics)
    settings.flux_bias_v[:] = 0.02
    settings.readout_amplitude[:] = 0.4
    chip = Knowledge(twin.electronics, settings)
    truth = twin.truth(AT_S, settings)
    settings.readout_frequency_hz[:] = truth.resonator_hz + 0.5 * truth.dispersive_shift_hz
    qubits = np.arange(QUBITS)
    chip.drive_line = np.where(truth.drive_line >= 0, truth.drive_line, qubits)
    drag = np.full(QUBITS, 0.3)
    amplitude = pi_amplitude(
        twin.hidden, twin.conditions(AT_S, settings), qubits, chip.drive_line, shape=COSINE, duration_ns=GATE_NS, drag_ns=drag,
        frequency_hz=truth.frequency_hz,
    )  # fmt: skip
    known = {
        "frequency_hz": truth.frequency_hz, "t1_s": truth.t1_s, "t2_ramsey_s": truth.t2_ramsey_s, "t2_echo_s": truth.t2_echo_s,
        "drag_ns": drag, "pi_amplitude": amplitude, "readout_duration_ns": np.full(QUBITS, 1_000.0),
        "assignment_error": np.full(QUBITS, 0.02),
    }  # fmt: skip
    for name, values in known.items():
        chip.learn("qubit", name, qubits, values, 0.0, measured_s=AT_S)
    readout = {
        "frequency_hz": settings.readout_frequency_hz,
        "amplitude": settings.readout_amplitude,
        "duration_ns": np.full(QUBITS, 1_000.0),
    }
    read = signals(twin.hidden, twin.conditions(AT_S, settings), qubits, **readout)
    settings.discriminator[:] = read.centre
    # The best threshold is found by the test itself, on a grid.
    two = np.where(np.arange(3) < 2, read.centre, np.nan)
    trials = np.linspace(-0.2, 0.2, 41)[:, None] * np.abs(read.centre[:, 1] - read.centre[:, 0])
    chances = np.stack([assignment(read, two, threshold) for threshold in trials])
    errors = chances[:, :, 0, 1] + chances[:, :, 1, 0]
    settings.threshold[:] = trials[np.argmin(errors, axis=0), qubits]
    for fault in twin.truth().faults:
        if fault.fault != "collision":
            chip.flag(fault.element, fault.index, fault.fault, "told by the test")
    return chip


def test_the_truth_has_full_marks(twin: ChipTwin, perfect: Knowledge) -> None:
    score = judge(twin, perfect)
    assert score.met
    assert score.good_qubits < QUBITS
    for mark in score.marks:
        assert mark.share == 1.0, mark
        assert mark.measured == mark.judged == score.good_qubits
    assert len(score.flags.found) == sum(fault.fault != "collision" for fault in twin.truth().faults)
    answer = score.as_json()
    assert answer["criteria"][0]["name"] == "frequency"
    assert answer["met"] is True


@pytest.mark.parametrize(
    ("name", "wrong", "criterion"),
    [
        ("frequency_hz", lambda value: value + 6e3, "frequency"),
        ("t1_s", lambda value: 1.06 * value, "t1"),
        ("t2_ramsey_s", lambda value: 0.94 * value, "t2"),
        ("t2_echo_s", lambda value: 1.06 * value, "t2_echo"),
        ("pi_amplitude", lambda value: 1.0015 * value, "pi_amplitude"),
        ("frequency_hz", lambda value: np.nan * value, "frequency"),
    ],
)
def test_one_falsified_qubit_is_named(twin: ChipTwin, perfect: Knowledge, name: str, wrong: object, criterion: str) -> None:
    good = next(qubit for qubit in range(QUBITS) if not perfect.flagged("qubit", qubit))
    value = perfect.parameters[name].value
    value[good] = wrong(value[good])  # type: ignore[operator]
    mark = judge(twin, perfect).mark(criterion)
    assert not mark.met
    assert mark.share == pytest.approx(1.0 - 1.0 / mark.judged)
    assert good in [index for index, _ in mark.worst]


def test_a_shifted_threshold_costs(twin: ChipTwin, perfect: Knowledge) -> None:
    good = next(qubit for qubit in range(QUBITS) if not perfect.flagged("qubit", qubit))
    centres = perfect.settings.discriminator
    perfect.settings.threshold[good] += 0.4 * abs(centres[good, 1] - centres[good, 0])
    mark = judge(twin, perfect).mark("readout")
    assert mark.worst[0][0] == good
    assert mark.worst[0][1] > 0.02


def test_a_value_is_held_against_the_truth_of_its_time(twin: ChipTwin, perfect: Knowledge) -> None:
    # Two-level systems move and frequencies drift: yesterday's truth is today's error.
    for name in ("frequency_hz", "t1_s", "pi_amplitude"):
        perfect.parameters[name].measured_s[:] = AT_S + 86_400.0
    score = judge(twin, perfect)
    assert max(score.mark(name).within_99 for name in ("t1", "pi_amplitude")) > 5e-3
    assert score.mark("t2").share == 1.0


def test_flags_that_are_missed_misnamed_or_made_up(twin: ChipTwin, perfect: Knowledge) -> None:
    faults = [flag for flag in perfect.flags if flag.element == "qubit"]
    good = next(qubit for qubit in range(QUBITS) if not perfect.flagged("qubit", qubit))
    perfect.flags.remove(faults[0])
    place = perfect.flags.index(faults[1])
    perfect.flags[place] = replace(faults[1], fault="something else")
    perfect.flag("qubit", good, "dead", "made up")
    marks = judge_flags(twin, perfect)
    assert [(flag.index, flag.fault) for flag in marks.missed] == [(faults[0].index, faults[0].fault)]
    assert [(flag.index, flag.fault) for flag in marks.misnamed] == [(faults[1].index, faults[1].fault)]
    assert [flag.index for flag in marks.false] == [good]
    assert not marks.met


def test_a_collision_may_be_flagged_and_need_not(twin: ChipTwin, perfect: Knowledge) -> None:
    collided = [fault for fault in twin.truth().faults if fault.fault == "collision"]
    assert collided
    perfect.flags.append(Flag("qubit", collided[0].index, "collision", "no place for it"))
    assert judge_flags(twin, perfect).met


def test_knowledge_of_another_chip_is_refused(twin: ChipTwin) -> None:
    other = chip_twin(12, seed=3, faults=False)
    with pytest.raises(InputError, match="of the twin that judges"):
        judge(twin, Knowledge(other.electronics, idle(other.electronics)))


def test_what_was_not_measured_is_outside_and_in_no_quantile() -> None:
    mark = mark_of(Criterion("x", "x", "qubit", "Hz", 1.0, 0.99), np.arange(4), np.array([0.5, -2.0, np.nan, 0.25]))
    assert (mark.judged, mark.measured, mark.share, mark.median) == (4, 3, 0.5, 0.5)
    assert mark.worst[0][0] == 2
    assert mark.worst[1] == (1, -2.0)
    assert mark_of(Criterion("x", "x", "qubit", "Hz", 1.0, 0.99), np.zeros(0, np.int64), np.zeros(0)).met


def _gate(generator: np.ndarray) -> PairUnitaries:
    """exp(-i generator) of the levels 01, 10, 11, 20, 02, which may mix within their blocks."""
    single, double = expm(-1j * generator[:2, :2]), expm(-1j * generator[2:, 2:])
    return PairUnitaries(single, double)


def test_gate_errors_are_those_of_an_average_over_random_states() -> None:
    random = np.random.default_rng(4)
    part = 0.03 * (random.standard_normal((5, 5)) + 1j * random.standard_normal((5, 5)))
    generator = part + part.conj().T
    generator[2, 2] += np.pi
    gate = _gate(generator)
    phases = 0.02, -0.03
    # All nine levels; average over Haar-random states of the four by brute force.
    whole = gate.full()
    states = random.standard_normal((100_000, 4)) + 1j * random.standard_normal((100_000, 4))
    states /= np.linalg.norm(states, axis=1, keepdims=True)
    four = [0, 1, 3, 4]
    ideal = np.diag([1.0, np.exp(1j * phases[1]), np.exp(1j * phases[0]), -np.exp(1j * sum(phases))])
    out = states @ whole[np.ix_(range(9), four)].T
    overlap = np.abs((out[:, four] * (states @ ideal.T).conj()).sum(axis=1)) ** 2
    error = float(gate_errors(gate, np.array(phases[0]), np.array(phases[1])))
    assert error == pytest.approx(1.0 - overlap.mean(), abs=5 * overlap.std() / np.sqrt(len(overlap)))
    assert error > 1e-3


def test_the_phases_that_are_taken_off_are_the_best() -> None:
    generator = np.diag([0.3, -0.8, np.pi - 0.5 + 0.06, 0.0, 0.0]).astype(complex)
    gate = _gate(generator)
    best = float(gate_errors(gate))
    grid = np.linspace(-0.1, 0.1, 41)
    tried = [
        float(gate_errors(gate, np.array(0.8 + one), np.array(-0.3 + other)))
        for one in grid
        for other in grid
    ]  # fmt: skip
    assert best == pytest.approx(min(tried), abs=2e-6)
    # A CZ whose conditional phase is off by a: 3 a^2 / 20 to second order, a^2 / 20 where the qubits' own phases share it.
    assert float(gate_errors(gate, np.array(0.8), np.array(-0.3))) == pytest.approx(0.15 * 0.06**2, rel=0.02)
    assert best == pytest.approx(0.05 * 0.06**2, rel=0.02)
