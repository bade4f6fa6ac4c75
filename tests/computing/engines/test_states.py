"""State vectors, density matrices and matrix product states against Qiskit's quantum_info and plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.quantum_info import DensityMatrix, Kraus, Operator, Pauli, Statevector

from tests.computing.engines.circuits import random_circuit, unitary
from tiandi.computing.circuits.noise import Measurement, NoisyCircuit, PauliNoise, Unitary
from tiandi.computing.engines import expectation_values, final_state
from tiandi.computing.engines.amplitudes import Amplitudes
from tiandi.computing.engines.channels import kraus_operators
from tiandi.computing.engines.density_matrix import expectation_values as density_expectation_values
from tiandi.computing.engines.density_matrix import final_density_matrix
from tiandi.computing.engines.matrix_product_state import MatrixProductState
from tiandi.computing.engines.preparing import fuse, qubits_of
from tiandi.errors import InputError

EXACT = 1e-12


def gates_of(noisy: NoisyCircuit) -> NoisyCircuit:
    return NoisyCircuit(noisy.qubit_count, tuple(step for step in noisy.steps if isinstance(step, Unitary)))


def qiskit_places(qubits: tuple[int, ...], count: int) -> list[int]:
    # Qiskit's least significant qubit is 0 and comes first in a gate's list.
    return [count - 1 - qubit for qubit in reversed(qubits)]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 9))
def test_final_state_is_that_of_qiskit(seed: int, qubits: int) -> None:
    noisy = gates_of(random_circuit(seed, qubits, 40))
    state = Statevector.from_int(0, 2**qubits)
    for step in noisy.steps:
        state = state.evolve(Operator(step.matrix), qiskit_places(step.qubits, qubits))
    assert np.abs(final_state(noisy) - state.data).max() < EXACT
    word = "".join(np.random.default_rng(seed).choice(list("IXYZ"), qubits))
    assert expectation_values(state.data, [word])[0] == pytest.approx(state.expectation_value(Pauli(word)).real, abs=EXACT)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 4))
def test_density_matrix_is_that_of_qiskits_kraus_channels(seed: int, qubits: int) -> None:
    noisy = random_circuit(seed, qubits, 30)
    state = DensityMatrix.from_int(0, 2**qubits)
    for step in noisy.steps:
        state = state.evolve(Kraus(kraus_operators(step)), qiskit_places(qubits_of(step), qubits))
    density = final_density_matrix(noisy)
    assert np.abs(density - state.data).max() < EXACT
    word = "".join(np.random.default_rng(seed).choice(list("IXYZ"), qubits))
    assert density_expectation_values(density, [word])[0] == pytest.approx(state.expectation_value(Pauli(word)).real, abs=EXACT)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 14), st.sampled_from([np.float32, np.float64]))
def test_amplitudes_take_any_matrices_on_any_qubits(seed: int, bits: int, precision: type[np.floating]) -> None:
    generator = np.random.default_rng(seed)
    state = Amplitudes(bits, precision)
    parts = generator.normal(size=(2, 2**bits)).astype(precision)
    state.parts = parts
    expected = (parts[0] + 1j * parts[1]).astype(complex).reshape((2,) * bits)
    for _ in range(6):
        touched = int(generator.integers(1, min(bits, 4) + 1))
        qubits = tuple(int(qubit) for qubit in generator.permutation(bits)[:touched])
        entries = generator.normal(size=(2, 2**touched, 2**touched)) / 2
        matrix = entries[0] + 1j * entries[1]
        expected = np.tensordot(matrix.reshape((2,) * (2 * touched)), expected, (range(touched, 2 * touched), qubits))
        expected = np.moveaxis(expected, range(touched), qubits)
        copied = state.copy()
        state.apply(matrix, qubits)
    scale = np.abs(expected).max()
    within = scale * (1e-12 if precision is np.float64 else 1e-5)
    assert np.abs(state.parts[0] + 1j * state.parts[1] - expected.reshape(-1)).max() < within
    copied.apply(matrix, qubits)
    assert (copied.parts == state.parts).all()
    for qubit in range(bits):
        sums = (np.moveaxis(np.abs(expected) ** 2, qubit, 0).reshape(2, -1)).sum(axis=1)
        assert state.populations(qubit) == pytest.approx(sums, rel=1e-4 if precision is np.float32 else 1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(2, 4))
def test_fusing_keeps_every_step_and_the_order_on_each_qubit(seed: int, qubits: int, most: int) -> None:
    steps = random_circuit(seed, qubits, 60).steps
    blocks = fuse(steps, most)
    fused = [step for block in blocks for step in block.steps]
    assert sorted(map(id, fused)) == sorted(map(id, steps))
    for qubit in range(qubits):
        assert [id(step) for step in fused if qubit in qubits_of(step)] == [id(step) for step in steps if qubit in qubits_of(step)]
    assert all(len(block.qubits) <= most for block in blocks)
    assert all(len(block.steps) == 1 for block in blocks if isinstance(block.steps[0], Measurement))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_matrix_product_state_has_the_amplitudes_of_the_state_vector(seed: int) -> None:
    noisy = gates_of(random_circuit(seed, 6, 40))
    generator = np.random.default_rng(seed)
    chain = MatrixProductState(generator.permutation(6))
    for step in noisy.steps:
        chain.apply(step.matrix, step.qubits)
    weights = np.abs(final_state(noisy).reshape((2,) * 6)) ** 2
    for qubit in range(6):
        expected = np.moveaxis(weights, qubit, 0).reshape(2, -1).sum(axis=1)
        assert np.abs(chain.populations(qubit) - expected).max() < EXACT
    bits = chain.sample(50, generator)
    assert (weights[tuple(bits.T)] > 1e-12).all()
    assert chain.truncation_error < EXACT


def test_cut_chain_reports_what_it_lost() -> None:
    # Two Bell pairs across the middle have four equal singular values there: a bond of 2 keeps half of the weight.
    chain = MatrixProductState(np.array([0, 1, 2, 3]), most_bond=2)
    for first, second in ((0, 2), (1, 3)):
        chain.apply(unitary("h", ()).matrix, (first,))
        chain.apply(unitary("cx", ()).matrix, (first, second))
    assert chain.bonds == (2, 2, 2)
    assert chain.truncation_error == pytest.approx(0.5)


def test_samples_follow_the_squared_amplitudes() -> None:
    parts = np.random.default_rng(1).normal(size=(2, 2**13))
    parts[:, ::3] = 0
    weights = (parts**2).sum(axis=0)
    state = Amplitudes(13)
    state.parts = parts
    # A matrix that does nothing, but moves its qubit up.
    state.apply(np.eye(2), (12,))
    numbers = state.sample(200_000, np.random.default_rng(2)) @ (1 << np.arange(12, -1, -1))
    assert not (numbers % 3 == 0).any()
    found = np.bincount(numbers >> 9, minlength=16) / numbers.size
    # Five standard deviations of a share of 1/16 among 200,000.
    assert np.abs(found - weights.reshape(16, -1).sum(axis=1) / weights.sum()).max() < 5 * np.sqrt(1 / 16 / numbers.size)


def test_final_state_refuses_noise() -> None:
    noise = PauliNoise(np.array([0.9, 0.1, 0, 0]), (0,))
    with pytest.raises(InputError, match="PauliNoise"):
        final_state(NoisyCircuit(1, (noise,)))
    assert np.abs(final_state(NoisyCircuit(1, (unitary("x", (0,)), Measurement(0)))) - [0, 1]).max() < EXACT


def test_pauli_words_of_wrong_length_or_letters_are_refused() -> None:
    for word in ("ZZ", "Q"):
        with pytest.raises(InputError, match="Pauli word"):
            expectation_values(np.array([1, 0], complex), [word])
