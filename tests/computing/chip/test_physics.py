"""The twin's formulas against exact diagonalisation of the models that they approximate, and what a laboratory sees of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tiandi.computing.chip.bench import Bench
from tiandi.computing.chip.conditions import PURCELL_FILTER, decay_rate
from tiandi.computing.chip.evolution.transmon import Pulses, samples_needed, unitaries
from tiandi.computing.chip.playing import play
from tiandi.computing.chip.transmons import coupling_hz, resonator_shifts_hz, transmon_hz, zz_hz
from tiandi.computing.chip.truth import pi_amplitude
from tiandi.computing.chip.twin import ChipTwin, chip_twin
from tiandi.computing.instruments.program import Drive, Flux, Measure, Program, Shape
from tiandi.computing.instruments.waveforms import drive_envelope

QUBITS = 9
ALL = np.arange(QUBITS)


def charge_levels_hz(junction_hz: float, charging_hz: float) -> np.ndarray:
    """The lowest levels of 4 EC n^2 - EJ cos(phi) in the charge basis (Koch et al. 2007, doi 10.1103/PhysRevA.76.042319, eq. 2.1)."""
    number = np.arange(-20, 21)
    energy = np.diag(4 * charging_hz * number**2.0) - 0.5 * junction_hz * (np.eye(41, k=1) + np.eye(41, k=-1))
    return np.linalg.eigvalsh(energy)[:4]


@pytest.mark.parametrize("flux", [0.0, 0.1, 0.2, 0.3])
def test_frequency_and_anharmonicity_are_those_of_a_transmon(flux: float) -> None:
    maximum, asymmetry, charging = 5.05e9, 0.25, 0.24e9
    junction = (maximum + charging) ** 2 / (8 * charging) * np.sqrt(np.cos(np.pi * flux) ** 2 + asymmetry**2 * np.sin(np.pi * flux) ** 2)
    level = charge_levels_hz(junction, charging)
    # The formula is of first order in sqrt(EC / EJ); the next order is about EC^2 / 4 plasma.
    assert transmon_hz(flux, maximum, asymmetry, -charging) == pytest.approx(level[1] - level[0], rel=0.01)
    assert (level[2] - level[1]) - (level[1] - level[0]) == pytest.approx(-charging, rel=0.25)


def ladder(levels: int) -> np.ndarray:
    return np.diag(np.sqrt(np.arange(1.0, levels)), 1)


def test_dispersive_shifts_are_those_of_the_coupled_levels() -> None:
    qubit, anharmonicity, resonator, coupling = 5.0e9, -240e6, 6.4e9, 90e6
    a, b = np.kron(ladder(5), np.eye(4)), np.kron(np.eye(5), ladder(4))
    number = a.T @ a
    exact = qubit * number + 0.5 * anharmonicity * number @ (number - np.eye(20)) + resonator * b.T @ b + coupling * (a.T @ b + b.T @ a)
    value, vector = np.linalg.eigh(exact)

    def dressed(state: int, photons: int) -> float:
        return float(value[np.argmax(np.abs(vector[state * 4 + photons]))])

    shift = resonator_shifts_hz(np.array([qubit]), np.array([anharmonicity]), np.array([resonator]), np.array([coupling]))[0]
    for state in range(3):
        expected = dressed(state, 1) - dressed(state, 0) - resonator
        # Second order in g / D; the next is (g / D)^2, about 1 %.
        assert shift[state] == pytest.approx(expected, rel=0.06)
    assert shift[1] - shift[0] == pytest.approx(dressed(1, 1) - dressed(1, 0) - dressed(0, 1) + dressed(0, 0), rel=0.06)


def test_decay_through_the_resonator_is_that_of_the_coupled_modes() -> None:
    twin = chip_twin(4, seed=1, faults=False)
    hidden = replace(twin.hidden, defect_coupling_hz=0 * twin.hidden.defect_coupling_hz)
    frequency = twin.conditions().frequency_hz
    purcell = (decay_rate(hidden, hidden.defect_hz, frequency) - 1 / hidden.t1_s) / PURCELL_FILTER
    for qubit in range(4):
        coupling = hidden.resonator_coupling_hz[qubit]
        modes = np.array([[frequency[qubit], coupling], [coupling, hidden.resonator_hz[qubit] - 0.5j * hidden.linewidth_hz[qubit]]])
        slow = np.linalg.eigvals(modes)
        expected = -2 * 2 * np.pi * slow[np.argmin(slow.real)].imag
        assert purcell[qubit] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("coupler", [5.9e9, 6.2e9, 6.6e9])
def test_coupling_through_a_coupler_is_half_the_splitting_of_resonant_qubits(coupler: float) -> None:
    qubit, direct, arm = 4.95e9, 6e6, 88e6
    modes = np.array([[qubit, direct, arm], [direct, qubit, arm], [arm, arm, coupler]])
    value, vector = np.linalg.eigh(modes)
    odd = np.argmin(np.abs(vector[2]))
    even = next(place for place in range(2) if place != odd)
    found = coupling_hz(qubit, qubit, coupler, direct=direct, first=arm, second=arm)
    # The even mode lies g above the qubits' mean, the odd one g below.
    # The formula, kept finite where the coupler crosses a qubit, is good to 3 % of the part that goes by way of the coupler.
    assert found == pytest.approx(0.5 * (value[even] - value[odd]), abs=0.03 * abs(direct - float(found)))


def test_zz_is_that_of_the_coupled_levels() -> None:
    first, second, anharmonicity, g = 5.05e9, 4.93e9, -240e6, 3e6
    a, b = np.kron(ladder(4), np.eye(4)), np.kron(np.eye(4), ladder(4))

    def own(mode: np.ndarray, frequency: float) -> np.ndarray:
        number = mode.T @ mode
        return frequency * number + 0.5 * anharmonicity * number @ (number - np.eye(16))

    value, vector = np.linalg.eigh(own(a, first) + own(b, second) + g * (a.T @ b + b.T @ a))

    def level(one: int, other: int) -> float:
        return float(value[np.argmax(np.abs(vector[4 * one + other]))])

    expected = level(1, 1) - level(1, 0) - level(0, 1) + level(0, 0)
    assert zz_hz(first - second, g, anharmonicity, anharmonicity) == pytest.approx(expected, rel=0.02)


def alone(seed: int) -> ChipTwin:
    """A chip without faults, whose qubits are coupled to nothing but their own two-level system, which lies where they idle."""
    twin = chip_twin(QUBITS, seed=seed, faults=False)
    hidden = twin.hidden
    none = np.ones(len(hidden.couplers.volt))
    own = hidden.flux_row == hidden.flux_column
    twin._hidden = replace(
        hidden,
        couplers=replace(hidden.couplers, direct_hz=0 * none, first_hz=none, second_hz=none),
        flux_row=hidden.flux_row[own],
        flux_column=hidden.flux_column[own],
        flux_value=hidden.flux_value[own],
        leakage=0 * hidden.leakage,
    )
    idle_hz = twin.conditions().frequency_hz
    defect = np.full_like(hidden.defect_hz, 4.0e9)
    coupling = np.zeros_like(hidden.defect_coupling_hz)
    moved = twin.conditions().defect_hz - hidden.defect_hz
    defect[:, 0], coupling[:, 0] = idle_hz - moved[:, 0], 120e3
    twin._hidden = replace(twin._hidden, defect_hz=defect, defect_coupling_hz=coupling)
    return twin


@pytest.mark.parametrize("hold_ns", [4_000.0, 60_000.0, 400_000.0])
def test_t1_dips_at_a_two_level_system_and_a_flux_pulse_leaves_the_dip(hold_ns: float) -> None:
    """Barends et al. (2013), doi 10.1103/PhysRevLett.111.080502: held away from the dip a qubit lives as long as it would there."""
    twin = alone(3)
    now, hidden = twin.conditions(), twin.hidden
    volt = -0.12 - 0.2 * now.flux * hidden.volt
    away_hz = transmon_hz(now.flux + volt / hidden.volt, hidden.maximum_hz, hidden.asymmetry, hidden.anharmonicity_hz) - now.bare_hz
    elsewhere = 1 / decay_rate(hidden, now.defect_hz, now.frequency_hz + away_hz)
    assert (elsewhere > 2 * now.t1_s).all()
    excite = pi_amplitude(
        hidden, now, ALL, ALL, shape=Shape(), duration_ns=30.0, drag_ns=np.full(QUBITS, 0.33), frequency_hz=now.frequency_hz
    )
    drive = Drive(ALL, excite[:, None], 30.0, now.frequency_hz[:, None], 0.0, 0.33)
    pulse = Flux(ALL, volt[:, None] * np.array([0.0, 1.0]), hold_ns)
    program = Program(QUBITS, 2, ((drive,), (pulse,)), (Measure(ALL, 6.4e9, 0.1, 500.0),), 1)
    settings = twin.settings
    settings.oscillator_hz = now.frequency_hz - 80e6
    twin.configure(settings)
    start = np.zeros((QUBITS, 1, 3))
    start[..., 0] = 1.0
    found = play(Bench(hidden, twin.electronics, twin.settings, twin.conditions()), program, start, ALL, ALL)
    assert found.min() > -1e-9
    assert found.sum(axis=2) == pytest.approx(1.0, abs=1e-9)
    thermal = now.thermal[:, None]
    expected = thermal + (1 - thermal) * np.exp(-hold_ns * 1e-9 / np.stack([now.t1_s, elsewhere], axis=1))
    assert np.abs(found[..., 1] - expected).max() < 0.03


def left_of_three_levels(amplitude: float, duration_ns: float) -> float:
    """Largest difference in the populations of 0, 1 and 2 between three levels and four, after a cosine pulse with DRAG on state 0."""
    number = samples_needed(duration_ns * 1e-9, 4e9)
    time = np.linspace(0.0, duration_ns, number)
    pulse = Pulses(
        shapes=drive_envelope(Shape(), time, duration_ns, 0.33)[None],
        shape=np.zeros(1, np.int64),
        scale_rad_s=np.array([2 * np.pi * 60e6 * amplitude + 0j]),
        duration_s=np.array([duration_ns * 1e-9]),
        detuning_rad_s=np.zeros(1),
        anharmonicity_rad_s=np.array([-2 * np.pi * 240e6]),
    )
    three, four = (np.abs(unitaries(pulse, levels=levels)[0, :3, 0]) ** 2 for levels in (3, 4))
    return float(np.abs(three - four).max())


def test_three_levels_are_enough_for_the_pulses_of_gates() -> None:
    """What a fourth level would change: nothing for a half and a whole turn in 30 ns, 3e-4 at full scale up to 100 ns."""
    assert left_of_three_levels(0.28, 30.0) < 1e-6
    assert left_of_three_levels(0.55, 30.0) < 1e-5
    assert left_of_three_levels(1.0, 30.0) < 5e-4
    assert left_of_three_levels(1.0, 100.0) < 5e-4
