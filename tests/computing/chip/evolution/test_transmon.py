"""Single transmons against QuTiP, the method's order, and what must hold of any map of density matrices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qutip
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.computing.chip.evolution.decay import Decay, decay_of, idle_superoperators
from tiandi.computing.chip.evolution.hermitian import (
    level_vector,
    phase_superoperators,
    to_matrices,
    to_vectors,
    unitary_superoperators,
)
from tiandi.computing.chip.evolution.transmon import (
    Pulses,
    Tones,
    density_matrices,
    samples_needed,
    superoperators,
    unitaries,
)
from tiandi.errors import InputError

TURN = 2.0 * np.pi
DURATION = 25e-9


def cosine(time: np.ndarray, duration: float = DURATION) -> np.ndarray:
    return 0.5 * (1.0 - np.cos(TURN * time / duration))


def slope(time: np.ndarray, duration: float = DURATION) -> np.ndarray:
    return 0.5 * TURN / duration * np.sin(TURN * time / duration)


def dip(time: np.ndarray) -> np.ndarray:
    return np.exp(-(((time - 0.6 * DURATION) / 6e-9) ** 2))


def some_pulses(count: int, samples: int = 101, *, seed: int = 1) -> Pulses:
    """DRAG pulses off resonance, with a tone from another line and a flux pulse."""
    random = np.random.default_rng(seed)
    time = np.linspace(0.0, DURATION, samples)
    anharmonicity = -TURN * random.normal(0.25e9, 0.02e9, count)
    rabi = np.pi / (0.5 * DURATION) * random.uniform(0.3, 1.5, count) * np.exp(1j * random.uniform(0.0, TURN, count))
    zeros = np.zeros(count)
    return Pulses(
        shapes=np.stack([cosine(time), slope(time)]).astype(complex),
        shape=np.zeros(count, np.int64),
        scale_rad_s=rabi,
        duration_s=np.full(count, DURATION),
        detuning_rad_s=TURN * random.normal(0.0, 10e6, count),
        anharmonicity_rad_s=anharmonicity,
        flux_shapes=dip(time)[None],
        flux_shape=np.zeros(count, np.int64),
        flux_rad_s=TURN * np.stack([random.normal(0.0, 20e6, count), random.normal(0.0, 10e6, count)], axis=1),
        tones=Tones(
            shape=np.tile([1, 0], (count, 1)),
            scale_rad_s=np.stack([-0.5j * rabi / anharmonicity, 0.2 * rabi * np.exp(2j)], axis=1),
            detuning_rad_s=TURN * np.stack([zeros, random.normal(0.0, 60e6, count)], axis=1),
            start_s=np.stack([zeros, np.full(count, 3e-9)], axis=1),
        ),
    )


def by_qutip(pulses: Pulses, entry: int, decay: Decay | None, initial: qutip.Qobj, levels: int) -> qutip.Qobj:
    """The same physics, put together from its formulas, solved by QuTiP."""
    destroy, number = qutip.destroy(levels), qutip.num(levels)
    tones, scale = pulses.tones, pulses.scale_rad_s[entry]

    def drive(time: float) -> complex:
        shapes = [cosine(time), slope(time)]
        total = scale * shapes[0]
        for tone in range(2):
            turn = np.exp(-1j * tones.detuning_rad_s[entry, tone] * (time + tones.start_s[entry, tone]))
            total += tones.scale_rad_s[entry, tone] * shapes[tones.shape[entry, tone]] * turn
        return 0.5 * total

    def flux(time: float) -> float:
        return pulses.flux_rad_s[entry, 0] * dip(time) + pulses.flux_rad_s[entry, 1] * dip(time) ** 2

    rest = pulses.detuning_rad_s[entry] * number + 0.5 * pulses.anharmonicity_rad_s[entry] * number * (number - 1)
    hamiltonian = [
        rest,
        [destroy.dag(), drive],
        [destroy, lambda t: np.conj(drive(t))],
        [number, flux],
    ]
    options = {"atol": 1e-10, "rtol": 1e-9, "nsteps": 100_000, "max_step": 0.5e-9}
    if decay is None:
        return qutip.sesolve(hamiltonian, initial, [0.0, DURATION], options=options).final_state
    jumps = [
        np.sqrt(decay.down_per_s) * destroy,
        np.sqrt(decay.up_per_s) * destroy.dag(),
        np.sqrt(2.0 * decay.dephasing_per_s) * number,
    ]
    return qutip.mesolve(hamiltonian, initial, [0.0, DURATION], jumps, options=options).final_state


@pytest.mark.parametrize("levels", [3, 4])
def test_unitaries_agree_with_qutip(levels: int) -> None:
    pulses = some_pulses(4)
    found = unitaries(pulses, levels=levels)
    for entry in range(4):
        expected = by_qutip(pulses, entry, None, qutip.qeye(levels), levels).full()
        assert np.abs(found[entry] - expected).max() < 1e-4
        assert 1.0 - abs(np.trace(found[entry] @ expected.conj().T)) / levels < 1e-6


@pytest.mark.parametrize("levels", [3, 4])
def test_density_matrices_with_decay_agree_with_qutip(levels: int) -> None:
    """Decay a hundred times as fast as that of today's qubits, so that it is seen."""
    pulses, decay = some_pulses(3, seed=2), decay_of(400e-9, 300e-9, 0.1)
    state = (qutip.basis(levels, 0) + 1j * qutip.basis(levels, 1) + 0.3 * qutip.basis(levels, 2)).unit()
    initial = qutip.ket2dm(state)
    found = to_matrices(density_matrices(pulses, decay, to_vectors(initial.full())[None])[:, 0])
    for entry in range(3):
        expected = by_qutip(pulses, entry, decay, initial, levels)
        assert np.abs(found[entry] - expected.full()).max() < 5e-5
        assert qutip.fidelity(qutip.Qobj(found[entry]), expected) > 1.0 - 1e-5


@pytest.mark.parametrize("levels", [3, 4])
def test_idle_superoperators_agree_with_qutip(levels: int) -> None:
    decay, detuning, anharmonicity, time = decay_of(20e-6, 9e-6, 0.03), TURN * 0.3e6, -TURN * 1e6, 7e-6
    destroy, number = qutip.destroy(levels), qutip.num(levels)
    jumps = [np.sqrt(decay.down_per_s) * destroy, np.sqrt(decay.up_per_s) * destroy.dag(), np.sqrt(2.0 * decay.dephasing_per_s) * number]
    generator = qutip.liouvillian(detuning * number + 0.5 * anharmonicity * number * (number - 1), jumps)
    state = qutip.rand_dm(levels, seed=3)
    expected = qutip.vector_to_operator((generator * time).expm() * qutip.operator_to_vector(state)).full()
    found = to_matrices(idle_superoperators(time, decay, detuning, anharmonicity, levels=levels)[0] @ to_vectors(state.full()))
    assert np.abs(found - expected).max() < 1e-9


@pytest.mark.parametrize("levels", [3, 4])
def test_the_step_is_of_fourth_order(levels: int) -> None:
    exact = unitaries(some_pulses(8, 1601), levels=levels)
    errors = [np.abs(unitaries(some_pulses(8, samples), levels=levels) - exact).max() for samples in (101, 201, 401)]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert (np.abs(orders - 4.0) < 0.3).all()


def test_splitting_of_decay_is_of_second_order() -> None:
    decay = decay_of(400e-9, 300e-9, 0.1)
    exact = superoperators(some_pulses(4, 1601), decay)
    errors = [np.abs(superoperators(some_pulses(4, samples), decay) - exact).max() for samples in (101, 201, 401)]
    assert (np.abs(np.log2(np.divide(errors[:-1], errors[1:])) - 2.0) < 0.3).all()


def test_samples_needed_keeps_its_promise() -> None:
    exact = unitaries(some_pulses(8, 1601))
    for error in (1e-4, 1e-6):
        samples = samples_needed(DURATION, 0.3 * TURN * 1e9, error=error)
        assert np.abs(unitaries(some_pulses(8, samples)) - exact).max() < error


def test_a_resonant_pulse_of_area_pi_inverts_a_harmonic_free_pair_of_levels() -> None:
    """With 2 beyond reach, rotations are those of a spin: pi about x, and pi / 2 about y twice."""
    samples = 2001
    time = np.linspace(0.0, DURATION, samples)
    pulses = Pulses(
        shapes=cosine(time)[None].astype(complex),
        shape=np.zeros(2, np.int64),
        scale_rad_s=np.array([np.pi, 0.5j * np.pi]) / (0.5 * DURATION),
        duration_s=np.full(2, DURATION),
        detuning_rad_s=np.zeros(2),
        anharmonicity_rad_s=np.full(2, -TURN * 50e9),
    )
    x, half_y = unitaries(pulses)[:, :2, :2]
    assert abs(x[1, 0]) > 1.0 - 1e-4
    assert np.abs(half_y - np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2.0)).max() < 2e-2
    assert abs((half_y @ half_y)[1, 0]) > 1.0 - 1e-4


def test_superoperators_without_decay_are_those_of_the_unitaries() -> None:
    pulses = some_pulses(11)
    expected = unitary_superoperators(unitaries(pulses))
    assert np.abs(superoperators(pulses, Decay(0.0, 0.0)) - expected).max() < 1e-12


def test_entries_with_shapes_of_different_length_are_each_as_if_alone() -> None:
    pulses = some_pulses(11, 101)
    shapes = np.zeros((4, 101), complex)
    shapes[:2] = pulses.shapes
    time = np.linspace(0.0, DURATION, 61)
    shapes[2, :61], shapes[3, :61] = cosine(time), slope(time)
    flux = np.zeros((2, 101))
    flux[0], flux[1, :61] = pulses.flux_shapes[0], dip(time)
    short = np.arange(11) % 3 == 0
    mixed = replace(
        pulses,
        shapes=shapes,
        shape=np.where(short, 2, 0),
        samples=np.array([101, 101, 61, 61]),
        flux_shapes=flux,
        flux_shape=np.where(short, 1, 0),
        tones=replace(pulses.tones, shape=pulses.tones.shape + 2 * short[:, None]),
    )
    expected = np.where(short[:, None, None], unitaries(some_pulses(11, 61)), unitaries(pulses))
    assert np.abs(unitaries(mixed) - expected).max() < 1e-12
    decay = decay_of(20e-6, 10e-6)
    expected = np.where(short[:, None, None], superoperators(some_pulses(11, 61), decay), superoperators(pulses, decay))
    assert np.abs(superoperators(mixed, decay) - expected).max() < 1e-12


def test_far_detuned_and_coarsely_sampled_pulses_stay_unitary() -> None:
    """Norms of a step far above what the series holds for."""
    pulses = replace(some_pulses(9, 11), detuning_rad_s=TURN * np.linspace(-3e9, 3e9, 9))
    for levels in (3, 4):
        found = unitaries(pulses, levels=levels)
        assert np.abs(found @ np.swapaxes(found.conj(), 1, 2) - np.eye(levels)).max() < 1e-9


def test_turns_of_the_frame_undo_the_phase_of_a_drive() -> None:
    pulses = replace(some_pulses(3), tones=None)
    angle = 0.7
    turned = unitary_superoperators(unitaries(replace(pulses, scale_rad_s=pulses.scale_rad_s * np.exp(1j * angle))))
    there, back = phase_superoperators([-angle, angle])
    assert np.abs(there @ unitary_superoperators(unitaries(pulses)) @ back - turned).max() < 1e-12


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    t1=st.floats(1e-7, 1e-3),
    dephasing=st.floats(1e-7, 1e-3),
    thermal=st.floats(0.0, 0.5),
    levels=st.sampled_from([3, 4]),
)
def test_maps_keep_the_trace_and_positivity(seed: int, t1: float, dephasing: float, thermal: float, levels: int) -> None:
    random = np.random.default_rng(seed)
    root = random.normal(size=(levels, levels)) + 1j * random.normal(size=(levels, levels))
    state = root @ root.conj().T
    vector = to_vectors(state / np.trace(state).real)
    decay = decay_of(t1, dephasing, thermal)
    idle = idle_superoperators(1e-6, decay, 1e6, -1e9, levels=levels)[0] @ vector
    for after in (*density_matrices(some_pulses(3, 51, seed=seed), decay, vector[None])[:, 0], idle):
        assert abs(after[:levels].sum() - 1.0) < 1e-9
        assert np.linalg.eigvalsh(to_matrices(after)).min() > -1e-9


def test_thermal_population_is_what_a_long_rest_leaves() -> None:
    decay = decay_of(20e-6, 10e-6, 0.01)
    rested = idle_superoperators(1e-3, decay)[0] @ level_vector(1)
    assert rested[1] / rested[0] == pytest.approx(0.01 / 0.99, rel=1e-9)
    two = idle_superoperators(20e-6, decay_of(20e-6, np.inf))[0] @ level_vector(1)
    assert two[1] == pytest.approx(np.exp(-1.0), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"samples": np.array([100, 100])}, "samples"),
        ({"shape": np.array([0, 2, 0])}, "shape"),
        ({"flux_shape": np.array([0, -1, 0])}, "flux_shape"),
        ({"duration_s": np.array([1e-9, -1e-9, 1e-9])}, "duration_s"),
    ],
)
def test_bad_input_is_named(change: dict[str, np.ndarray], field: str) -> None:
    with pytest.raises(InputError, match=field):
        unitaries(replace(some_pulses(3), **change))


def test_bad_rates_and_vectors_are_named() -> None:
    with pytest.raises(InputError, match="t1_s"):
        decay_of(-1.0, 1.0)
    with pytest.raises(InputError, match="initial"):
        density_matrices(some_pulses(3), Decay(0.0, 0.0), np.zeros((1, 4)))
