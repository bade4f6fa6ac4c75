"""The analyses of experiments on data made of closed formulas, without any instrument."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from tiandi.computing.control.experiments.arcs import Arcs
from tiandi.computing.control.experiments.cliffords import PULSES, X_HALF, group, sequences
from tiandi.computing.control.experiments.drive_crosstalk import turning_rate
from tiandi.computing.control.experiments.fine_amplitude import CONTRAST, train_error, trains
from tiandi.computing.control.experiments.flux_crosstalk import PHASES, fringe
from tiandi.computing.control.experiments.frequency_allocation import allocate, next_nearest
from tiandi.computing.control.experiments.fringe_fit import fit_fringes
from tiandi.computing.control.experiments.gates import FULL_SCALE
from tiandi.computing.control.experiments.node import neighbours
from tiandi.computing.control.experiments.qubit_spectroscopy import Scan, shuffled, steady, strongest, unshuffled
from tiandi.computing.control.experiments.t1 import SECOND, longer_by_thermal
from tiandi.computing.control.experiments.timing import dip
from tiandi.computing.control.experiments.wiring import rounds, swapped, taken
from tiandi.computing.control.fitting import fit_decay, shot_noise

SEED = 20240425


def pauli_turn(angle: float, phase: float) -> np.ndarray:
    x, y = np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]])
    return np.cos(angle / 2) * np.eye(2) - 1j * np.sin(angle / 2) * (np.cos(phase) * x + np.sin(phase) * y)


def test_there_are_24_cliffords_of_1_875_pulses_on_average() -> None:
    """The number of Barends et al. (doi 10.1038/nature13171), who count a rest for the identity, which has no pulse here."""
    cliffords = group()
    assert len(cliffords.pulses) == 24
    assert np.mean([max(1, len(pulses)) for pulses in cliffords.pulses]) == pytest.approx(1.875)
    assert (np.sort(cliffords.product, axis=1) == np.arange(24)).all()
    assert (cliffords.product[np.arange(24), cliffords.inverse] == 0).all()


@pytest.mark.parametrize("interleaved", [None, X_HALF])
def test_a_sequence_of_cliffords_ends_where_it_began(interleaved: int | None) -> None:
    """As products of the 2 x 2 matrices of its pulses, whatever signs they pick up."""
    between = None if interleaved is None else group().number(interleaved)
    order = sequences(np.array([0, 1, 7, 30]), between, name="test")
    for row in order[0]:
        state = np.array([1, 0], complex)
        for pulse in row[row >= 0]:
            angle, phase = PULSES[pulse]
            state = pauli_turn(angle * np.pi, phase * np.pi) @ state
        assert abs(state[0]) == pytest.approx(1.0)


def test_fringes_with_fast_and_slow_noise_give_frequency_and_the_time_of_1_over_e() -> None:
    generator = np.random.default_rng(SEED)
    time, shots = np.array([6e-6, 10e-6, 25e-6]), 4_000
    fast, slow = 0.4 / time, 0.6 / time**2
    delay = (1.6 * time)[:, None] * np.linspace(0, 1, 81)
    frequency = 12 / delay[:, -1] + np.array([3e4, -2e4, 5e3])
    wave = np.exp(-fast[:, None] * delay - slow[:, None] * delay**2) * np.cos(2 * np.pi * frequency[:, None] * delay)
    signal = generator.binomial(shots, 0.5 + 0.45 * wave) / shots
    fit = fit_fringes(delay, signal, shot_noise(signal, shots), highest_hz=24 / delay[:, -1])
    assert np.abs(fit.frequency_hz - frequency).max() < 1e3
    assert np.abs(fit.time_s / time - 1).max() < 0.04
    assert (np.abs(fit.time_s - time) < 4 * fit.time_error_s).all()


def test_trains_find_an_error_of_a_thousandth_of_a_turn() -> None:
    count = np.arange(0, 36, 2) + np.arange(18) % 2
    sign = np.where(count % 2 == 0, 1, -1)
    error, first = np.array([0.003, -0.002, 0.0]), 0.01
    signal = 0.52 + 2e-4 * count + 0.5 * CONTRAST * sign * np.sin(first + error[:, None] * count)
    found = train_error(count, sign, signal, 100_000)
    assert np.abs(found.error_rad - error).max() < 2e-4
    assert ((trains(count) == 0).sum(axis=2) == count).all()


def test_a_fringe_has_the_phase_of_its_precession() -> None:
    """In the IQ plane, for states on any line through it; a qubit above its pulses' frequency runs towards lower phases."""
    angle = np.array([[0.3, 1.1, -2.0], [0.0, 2.5, 0.7]])
    population = 0.5 + 0.4 * np.cos(-angle[..., None] - PHASES)
    iq = (1 + 2j) + np.exp(1j * np.array([0.4, 2.0]))[:, None, None] * population
    found = fringe(iq)
    turned = found[:, 1:] * found[:, :1].conj()
    assert np.angle(turned * np.exp(-1j * (angle[:, 1:] - angle[:, :1]))) == pytest.approx(0.0, abs=1e-9)


def test_a_dip_is_found_between_the_steps() -> None:
    x = np.arange(0.0, 60.0, 2.0)
    middle = np.array([23.3, 30.0, 36.9])
    y = 0.9 - 0.6 * np.exp(-(((x - middle[:, None]) / 7) ** 4)) + 0.01 * np.random.default_rng(SEED).standard_normal((3, 30))
    centre, error, depth, _ = dip(x, y)
    assert np.abs(centre - middle).max() < 0.2
    assert (error < 0.2).all()
    assert depth == pytest.approx(0.6, abs=0.05)


def test_slow_turning_by_crosstalk_is_told_from_its_start() -> None:
    length = np.array([0.0, 40, 80, 120, 160, 210]) - 4.0
    rate = np.array([0.5e-3, 2e-3, 6e-3])
    signal = 0.03 + 0.45 * (1 - np.cos(2 * np.pi * FULL_SCALE * rate[:, None] * np.maximum(length, 0)))
    found, error = turning_rate(np.maximum(length, 0.0), signal, 10_000)
    assert np.abs(found / rate - 1).max() < 0.1
    assert (error > 0).all()


def test_a_bias_is_that_nearer_to_where_the_line_stands() -> None:
    one = np.ones(2)
    arc = Arcs(5e9 * one, 0.1 * one, 1.6 * one, 0.2 * one, -240e6 * one)
    bias = arc.bias(np.array([4.9e9, 5.2e9]), np.array([0.0, 0.0]))
    assert bias[0] < 0.1
    assert np.isnan(bias[1])
    assert arc.frequency(bias)[0] == pytest.approx(4.9e9)
    assert arc.slope(bias)[0] > 0


def test_from_the_sweet_spot_biases_stay_on_one_side() -> None:
    """Both sides are equally near there, but for rounding, which must not choose anew at every frequency."""
    one = np.ones(1)
    arc = Arcs(5e9 * one, 0.137 * one, 1.613 * one, 0.21 * one, -237e6 * one)
    biases = np.array([arc.bias(np.array([frequency]), 0.137 * one)[0] for frequency in np.linspace(4.7e9, 4.99e9, 101)])
    assert (np.diff(np.abs(biases - 0.137)) < 0).all()
    assert (biases > 0.137).all()


def lattice(rows: int, columns: int) -> np.ndarray:
    number = np.arange(rows * columns).reshape(rows, columns)
    across = np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()], axis=1)
    down = np.stack([number[:-1].ravel(), number[1:].ravel()], axis=1)
    return np.concatenate([across, down])


def test_neighbours_of_a_lattice() -> None:
    couplers = lattice(3, 3)
    assert sorted(neighbours(couplers, 9)[4]) == [1, 3, 5, 7]
    assert {int(one) for one in next_nearest(couplers, 9)[0] if one >= 0} == {2, 4, 6}


def test_allocation_parts_qubits_that_were_made_alike() -> None:
    """60 qubits of one design frequency, which nobody could couple, all find a place, the same each time."""
    couplers, count = lattice(6, 10), 60
    top = 5e9 + 20e6 * np.random.default_rng(SEED).standard_normal(count)
    given = {"top_hz": top, "fixed_hz": top, "anharmonicity_hz": np.full(count, -240e6), "defects_hz": np.full((count, 1), np.nan)}
    plan = allocate(couplers, **given)
    first, second = couplers.T
    apart = np.abs(plan.frequency_hz[first] - plan.frequency_hz[second])
    assert len(plan.collisions) == 0
    assert apart.min() >= 25e6
    assert (plan.frequency_hz <= top + 1).all()
    assert (allocate(couplers, **given).frequency_hz == plan.frequency_hz).all()


def test_a_qubit_that_cannot_be_placed_is_lost() -> None:
    """A neighbour that moves gives way to one that does not; two that do not collide, and one of them is given up."""
    couplers = np.array([[0, 1]])
    plan = allocate(
        couplers,
        top_hz=np.array([np.nan, 5.0e9]),
        fixed_hz=np.array([5.0e9, np.nan]),
        anharmonicity_hz=np.full(2, -240e6),
        defects_hz=np.full((2, 1), np.nan),
    )
    assert len(plan.collisions) == 0
    stuck = allocate(
        couplers,
        top_hz=np.full(2, np.nan),
        fixed_hz=np.array([5.0e9, 5.01e9]),
        anharmonicity_hz=np.full(2, -240e6),
        defects_hz=np.full((2, 1), np.nan),
    )
    assert stuck.collisions.tolist() == [[0, 1]]
    assert stuck.lost(np.array([0, 1])) == [1]
    assert stuck.lost(np.array([0])) == [0]


def test_a_neighbour_of_unknown_frequency_does_not_blind_the_plan() -> None:
    """Qubit 1 between one that nobody knows and one that does not move and lies 240 MHz, one anharmonicity, below its sweet spot."""
    plan = allocate(
        np.array([[0, 1], [1, 2]]),
        top_hz=np.array([np.nan, 5.0e9, np.nan]),
        fixed_hz=np.array([np.nan, np.nan, 4.76e9]),
        anharmonicity_hz=np.full(3, -240e6),
        defects_hz=np.full((3, 1), np.nan),
    )
    assert len(plan.collisions) == 0
    assert np.isnan(plan.frequency_hz[0])
    assert abs(plan.frequency_hz[1] - 4.76e9 - 240e6) >= 10e6


def test_allocation_keeps_away_from_a_defect() -> None:
    top = np.array([5.0e9])
    plan = allocate(
        np.zeros((0, 2), np.int64), top_hz=top, fixed_hz=top, anharmonicity_hz=np.array([-240e6]), defects_hz=np.array([[5.0e9]])
    )
    assert abs(plan.frequency_hz[0] - 5.0e9) >= 4e6


def test_swapped_lines_are_found_in_as_many_rounds_as_candidates() -> None:
    candidates, hidden = np.array([3, 8, 11, 20]), {3: 8, 8: 3}
    reached = np.full(4, -1)
    for lines in rounds(candidates):
        answers = np.array([hidden.get(int(one)) == line for one, line in zip(candidates, lines, strict=True)])
        reached = taken(reached, lines, answers)
    assert reached.tolist() == [8, 3, -1, -1]
    assert [(flag.index, flag.fault) for flag in swapped(candidates, reached, "drive")] == [
        (3, "drive cables swapped"),
        (8, "drive cables swapped"),
    ]


def test_what_answers_to_another_line_is_scattered_and_a_line_is_not() -> None:
    """Both seen in one scan: the qubit's own line at point 30, and a foreign one at point 12 of another's order."""
    lines, points = np.array([0, 5]), 80
    order = shuffled(lines, points)
    own = np.exp(-(((np.arange(points) - 30) / 2.0) ** 2))
    foreign = np.exp(-(((np.arange(points) - 12) / 1.0) ** 2))
    heard = np.stack([own[order[0]] + foreign[order[1]], own[order[1]]]) + 0j
    heard += 0.005 * np.random.default_rng(SEED).standard_normal((2, points))
    found = Scan(np.tile(np.arange(points) * 1e6, (2, 1)), unshuffled(heard, order))
    place, height, there = strongest(found)
    assert place[0] == pytest.approx(30e6, abs=2e6)
    assert there.all()
    assert height[0] < 1.2
    assert steady(np.array([[0.0, 0.0, 1.0, 0.0, 0.0]])).max() == 0.0


def test_t1_of_a_warm_qubit_is_freed_of_what_state_2_adds() -> None:
    """Rate equations of a ladder, integrated step by step: what is not in 0 decays slower by the share that is taken off."""
    up = 0.03
    flow = np.array([[-up, 1.0 - up, 0.0], [up, -1.0 - up, 2.0 - 2.0 * up], [0.0, 2.0 * up, -2.0 + 2.0 * up]])
    solved = solve_ivp(lambda _, state: flow @ state, (0.0, 5.0), [up, 1.0 - up, 0.0], t_eval=SECOND, rtol=1e-10, atol=1e-12)
    fit = fit_decay(SECOND[None], 1.0 - solved.y[:1], np.full((1, len(SECOND)), 0.01))
    assert fit["time"][0] > 1.015
    assert fit["time"][0] / (1.0 + up * longer_by_thermal()) == pytest.approx(1.0, abs=1e-3)
