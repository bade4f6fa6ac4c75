"""Pairs against QuTiP and against diagonalisation of more levels, and what must hold of any map."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
import qutip
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.computing.chip.evolution.coupling import dressed_shifts, effective_exchange
from tiandi.computing.chip.evolution.decay import Decay, decay_of, idle_superoperators
from tiandi.computing.chip.evolution.hermitian import to_vectors
from tiandi.computing.chip.evolution.pair import (
    PairPulses,
    pair_density_matrices,
    pair_populations,
    pair_superoperators,
    pair_unitaries,
)
from tiandi.errors import InputError

TURN = 2.0 * np.pi
DURATION = 40e-9
LEVELS = [0, 1, 3, 4, 6, 2]


def bump(time: np.ndarray, duration: float = DURATION) -> np.ndarray:
    return np.sin(np.pi * time / duration) ** 2


def plateau(time: np.ndarray, duration: float = DURATION) -> np.ndarray:
    """Smooth, flat in the middle."""
    return 1.0 - (1.0 - bump(time, duration)) ** 4


def some_pulses(count: int, samples: int = 193, *, seed: int = 1) -> PairPulses:
    """CZ-like pulses: the first transmon comes down to where 11 and 20 meet, while the coupling is on."""
    random = np.random.default_rng(seed)
    time = np.linspace(0.0, DURATION, samples)
    anharmonicity = -TURN * random.normal(0.25e9, 0.01e9, (2, count))
    apart = TURN * random.normal(0.4e9, 0.02e9, count)
    places = np.zeros(count, np.int64)
    zeros = np.zeros(count)
    return PairPulses(
        shapes=np.stack([plateau(time), bump(time)]),
        duration_s=np.full(count, DURATION),
        first_shape=places,
        second_shape=places + 1,
        coupling_shape=places + 1,
        first_rad_s=np.stack([apart, -(apart + anharmonicity[0]) * 0.9, -(apart + anharmonicity[0]) * 0.1], axis=1),
        second_rad_s=np.stack([zeros, TURN * random.normal(0.0, 3e6, count)], axis=1),
        coupling_rad_s=np.stack([np.full(count, TURN * 0.2e6), -TURN * random.uniform(8e6, 14e6, count)], axis=1),
        first_anharmonicity_rad_s=anharmonicity[0],
        second_anharmonicity_rad_s=anharmonicity[1],
    )


def by_qutip(pulses: PairPulses, entry: int, decays: tuple[Decay, Decay] | None, initial: qutip.Qobj) -> qutip.Qobj:
    first, second = qutip.tensor(qutip.destroy(3), qutip.qeye(3)), qutip.tensor(qutip.qeye(3), qutip.destroy(3))
    number, other = first.dag() * first, second.dag() * second

    def value(coefficients: np.ndarray, shape: float) -> float:
        return sum(coefficients[entry, power] * shape**power for power in range(coefficients.shape[1]))

    alpha, beta = pulses.first_anharmonicity_rad_s[entry], pulses.second_anharmonicity_rad_s[entry]
    hamiltonian = [
        0.5 * alpha * number * (number - 1) + 0.5 * beta * other * (other - 1),
        [number, lambda t: value(pulses.first_rad_s, plateau(t))],
        [other, lambda t: value(pulses.second_rad_s, bump(t))],
        [first.dag() * second + first * second.dag(), lambda t: value(pulses.coupling_rad_s, bump(t))],
    ]
    options = {"atol": 1e-10, "rtol": 1e-9, "nsteps": 100_000, "max_step": 0.5e-9}
    if decays is None:
        return qutip.sesolve(hamiltonian, initial, [0.0, DURATION], options=options).final_state
    jumps = [
        np.sqrt(rate) * operator
        for decay, lower, count in ((decays[0], first, number), (decays[1], second, other))
        for rate, operator in ((decay.down_per_s, lower), (decay.up_per_s, lower.dag()), (2.0 * decay.dephasing_per_s, count))
        if rate
    ]
    return qutip.mesolve(hamiltonian, initial, [0.0, DURATION], jumps, options=options).final_state


def vector_of(matrix: np.ndarray) -> np.ndarray:
    """The vector of a density matrix of two transmons, from its definition: coefficients of products of Hermitian matrices."""
    parts = matrix.reshape(3, 3, 3, 3).transpose(0, 2, 1, 3)
    second = to_vectors(0.5 * (parts + np.conj(np.swapaxes(parts, 2, 3)))) + 1j * to_vectors(
        -0.5j * (parts - np.conj(np.swapaxes(parts, 2, 3)))
    )
    columns = np.moveaxis(second, 2, 0)
    both = to_vectors(0.5 * (columns + np.conj(np.swapaxes(columns, 1, 2))))
    return both.T.reshape(81)


def test_unitaries_agree_with_qutip() -> None:
    pulses = some_pulses(1)
    found = pair_unitaries(pulses).full()
    within = np.ix_(LEVELS, LEVELS)
    for entry in range(1):
        expected = by_qutip(pulses, entry, None, qutip.tensor(qutip.qeye(3), qutip.qeye(3))).full()
        assert np.abs((found[entry] - expected)[within]).max() < 1e-4
        assert 1.0 - abs(np.trace((found[entry] @ expected.conj().T)[within])) / 6.0 < 1e-6


def test_a_pulse_with_decay_agrees_with_qutip() -> None:
    """Decay ten times as fast as that of today's qubits, and not the same for both."""
    pulses, decays = some_pulses(2, seed=2), (decay_of(3e-6, 2e-6), decay_of(5e-6, 4e-6, 0.01))
    plus = (qutip.basis(3, 0) + qutip.basis(3, 1)).unit()
    for state in (qutip.tensor(plus, plus), qutip.tensor(qutip.basis(3, 1), qutip.basis(3, 1))):
        initial = qutip.ket2dm(state)
        found = pair_density_matrices(pulses, *decays, vector_of(initial.full())[None], chunks=32)[:, 0]
        for entry in range(2):
            expected = by_qutip(pulses, entry, decays, initial).full()
            assert np.abs(found[entry] - vector_of(expected)).max() < 1e-4
            assert np.abs(pair_populations(found)[entry] - np.diag(expected).real.reshape(3, 3)).max() < 1e-4


def test_the_step_is_of_fourth_order() -> None:
    exact = pair_unitaries(some_pulses(5, 2561)).full()
    errors = [np.abs(pair_unitaries(some_pulses(5, samples)).full() - exact).max() for samples in (161, 321, 641)]
    assert (np.abs(np.log2(np.divide(errors[:-1], errors[1:])) - 4.0) < 0.3).all()


def test_parts_of_a_pulse_make_the_whole() -> None:
    parts, whole = pair_unitaries(some_pulses(9), chunks=7).full(), pair_unitaries(some_pulses(9)).full()
    product = np.eye(9)
    for part in range(7):
        product = parts[:, part] @ product
    assert np.abs(product - whole).max() < 1e-12


def test_half_a_swap_and_a_conditional_phase_of_pi() -> None:
    """Two levels on resonance: |10> comes back to itself after pi / g, |11> against |20> after pi / (sqrt(2) g) with the sign turned."""
    coupling = TURN * 10e6
    flat = np.ones((1, 5))
    places, alpha = np.zeros(2, np.int64), np.full(2, -TURN * 0.25e9)
    pulses = PairPulses(
        shapes=flat,
        duration_s=np.array([np.pi / (2.0 * coupling), np.pi / (np.sqrt(2.0) * coupling)]),
        first_shape=places,
        second_shape=places,
        coupling_shape=places,
        first_rad_s=np.array([[0.0], [-alpha[1]]]),
        second_rad_s=np.zeros((2, 1)),
        coupling_rad_s=np.full((2, 1), coupling),
        first_anharmonicity_rad_s=alpha,
        second_anharmonicity_rad_s=alpha * 40.0,
    )
    found = pair_unitaries(pulses)
    assert found.swapped[0] == pytest.approx(1.0, abs=1e-8)
    assert found.leakage[1] < 1e-5
    seen = found.seen_from(-alpha * [0.0, 1.0], np.zeros(2), np.zeros(2), pulses.duration_s)
    assert abs(abs(seen.conditional_phase_rad[1]) - np.pi) < 0.2
    assert abs(found.conditional_phase_rad[1] - seen.conditional_phase_rad[1]) < 1e-9


def test_without_coupling_a_superoperator_is_that_of_both_at_rest() -> None:
    pulses = replace(some_pulses(2), coupling_rad_s=np.zeros((2, 1)))
    first, second = decay_of(20e-6, 10e-6, 0.02), decay_of(30e-6, 7e-6)
    found = pair_superoperators(pulses, first, second)[:, :, [0, 1, 9, 10]]
    rest = np.kron(idle_superoperators(DURATION, first)[0], idle_superoperators(DURATION, second)[0])
    assert np.abs(found - rest[:, [0, 1, 9, 10]]).max() < 1e-12


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), t1=st.floats(1e-6, 1e-4), thermal=st.floats(0.0, 0.3))
def test_a_pulse_keeps_trace_and_positivity(seed: int, t1: float, thermal: float) -> None:
    random = np.random.default_rng(seed)
    root = random.normal(size=(9, 9)) + 1j * random.normal(size=(9, 9))
    state = root @ root.conj().T / np.trace(root @ root.conj().T).real
    vector = vector_of(state)
    decays = decay_of(t1, 2.0 * t1, thermal), decay_of(3.0 * t1, t1)
    after = pair_density_matrices(some_pulses(1, 65, seed=seed), *decays, vector[None], chunks=8)[0, 0]
    units = np.array([vector_of(np.eye(81)[place].reshape(9, 9)) for place in range(81)])
    assert abs(pair_populations(after).sum() - 1.0) < 1e-9
    matrix = np.linalg.lstsq(units.T, after, rcond=None)[0].reshape(9, 9)
    assert np.linalg.eigvalsh(matrix + matrix.T).min() > -1e-9


def three_bodies(frequencies: np.ndarray, anharmonicities: np.ndarray, couplings: np.ndarray, levels: int = 4) -> np.ndarray:
    """Shifts and ZZ from the whole Hamiltonian of three ladders of ``levels`` levels."""
    lower, unit = qutip.destroy(levels).full().real, np.eye(levels)
    a, c, b = (reduce(np.kron, [lower if place == other else unit for other in range(3)]) for place in range(3))
    hamiltonian = sum(w * m.T @ m + 0.5 * x * m.T @ m.T @ m @ m for w, x, m in zip(frequencies, anharmonicities, (a, c, b), strict=True))
    for strength, (one, other) in zip(couplings, ((a, c), (c, b), (a, b)), strict=True):
        hamiltonian = hamiltonian + strength * (one.T @ other + other.T @ one)
    energies, states = np.linalg.eigh(hamiltonian)
    first, second, both = (energies[np.argmax(np.abs(states[bare]))] for bare in (levels**2, 1, levels**2 + 1))
    return np.array([first - frequencies[0], second - frequencies[2], both - first - second])


def test_shifts_and_zz_agree_with_the_whole_hamiltonian() -> None:
    random = np.random.default_rng(5)
    frequencies = TURN * np.stack(
        [random.normal(4.1e9, 0.05e9, 20), random.uniform(4.9e9, 6.5e9, 20), random.normal(4.3e9, 0.05e9, 20)], axis=1
    )
    anharmonicities = TURN * np.tile([-0.25e9, -0.1e9, -0.24e9], (20, 1))
    couplings = TURN * np.stack([random.normal(80e6, 5e6, 20), random.normal(80e6, 5e6, 20), random.normal(6e6, 0.5e6, 20)], axis=1)
    found = dressed_shifts(frequencies, anharmonicities, couplings)
    for entry in range(0, 20, 4):
        expected = three_bodies(frequencies[entry], anharmonicities[entry], couplings[entry])
        assert np.abs(found[entry] - expected).max() < TURN * 1.0


def test_zz_crosses_zero_near_where_the_exchange_does() -> None:
    """With an exchange cancelled by the coupler the ZZ is far smaller than with the coupler close."""
    coupler = TURN * np.linspace(4.8e9, 7.5e9, 541)
    first, second = TURN * 4.1e9, TURN * 4.3e9
    strengths = {"first_coupling_rad_s": TURN * 80e6, "second_coupling_rad_s": TURN * 80e6, "direct_coupling_rad_s": TURN * 5e6}
    exchange = effective_exchange(first, second, coupler, **strengths, counter_rotating=False)
    places = np.flatnonzero(np.diff(np.sign(exchange)))
    assert len(places) == 1
    size = len(coupler)
    frequencies = np.stack([np.full(size, first), coupler, np.full(size, second)], axis=1)
    zz = dressed_shifts(
        frequencies, np.tile(TURN * np.array([-0.25e9, -0.1e9, -0.25e9]), (size, 1)), np.tile(TURN * np.array([80e6, 80e6, 5e6]), (size, 1))
    )
    off = abs(zz[places[0], 2]) / TURN
    assert off < 20e3
    assert abs(zz[0, 2]) / TURN > 300e3


def test_exchange_is_half_the_splitting_of_resonant_transmons() -> None:
    """Two transmons on resonance split by 2 g; second order in couplings, so the coupler stands far off."""
    frequency, coupler, strength, direct = TURN * 4.2e9, TURN * 6.2e9, TURN * 40e6, TURN * 3e6
    one = np.array([[frequency, strength, direct], [strength, coupler, strength], [direct, strength, frequency]])
    energies = np.linalg.eigvalsh(one)
    g = effective_exchange(
        frequency,
        frequency,
        coupler,
        first_coupling_rad_s=strength,
        second_coupling_rad_s=strength,
        direct_coupling_rad_s=direct,
        counter_rotating=False,
    )
    assert abs(g) == pytest.approx(0.5 * (energies[1] - energies[0]), rel=2e-3)


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="chunks"):
        pair_unitaries(some_pulses(2, 33), chunks=17)
    with pytest.raises(InputError, match="samples"):
        pair_superoperators(some_pulses(2, 35), Decay(0.0, 0.0), Decay(0.0, 0.0))
    with pytest.raises(InputError, match="shape"):
        pair_unitaries(replace(some_pulses(2), second_shape=np.array([0, 2])))
    with pytest.raises(InputError, match="initial"):
        pair_density_matrices(some_pulses(2), Decay(0.0, 0.0), Decay(0.0, 0.0), np.zeros((1, 9)))
    with pytest.raises(InputError, match="coupler"):
        effective_exchange(1.0, 2.0, 1.0, first_coupling_rad_s=1.0, second_coupling_rad_s=1.0, direct_coupling_rad_s=1.0)
    with pytest.raises(InputError, match="frequencies"):
        dressed_shifts(np.zeros((2, 2)), np.zeros((2, 3)), np.zeros((2, 3)))
