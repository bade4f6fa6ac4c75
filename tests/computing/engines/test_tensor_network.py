"""Amplitudes against state vectors, samples against density matrices: both computed here, by nothing but products of matrices."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chi2

from tiandi.computing.circuits.circuit import Circuit, Operation, measure_all
from tiandi.computing.circuits.gates import GATES
from tiandi.computing.circuits.noise import Damping, Leakage, Measurement, NoisyCircuit, PauliNoise, Reset, Step, Unitary, without_noise
from tiandi.computing.engines.circuit_network import CircuitNetwork
from tiandi.computing.engines.contraction import Contraction, Stacked
from tiandi.computing.engines.tensor_network import amplitudes, draw, estimate, ideal_cross_entropy, sample
from tiandi.computing.machines.lattice import rotated_square
from tiandi.computing.sampling.random_circuits import random_circuit
from tiandi.errors import InputError

pytest.importorskip("cotengra")

PAULIS = [GATES[name].unitary() for name in ("id", "x", "y", "z")]
ComplexArray = NDArray[np.complex128]


def all_strings(count: int) -> NDArray[np.uint8]:
    return (np.arange(2**count)[:, None] >> np.arange(count)[::-1] & 1).astype(np.uint8)


def state_vector(circuit: Circuit) -> ComplexArray:
    state = np.zeros((2,) * circuit.qubit_count, complex)
    state[(0,) * circuit.qubit_count] = 1.0
    for step in without_noise(circuit).steps:
        if isinstance(step, Unitary):
            state = _applied(state, step.matrix, step.qubits)
    return state.ravel()


def _applied(tensor: ComplexArray, matrix: ComplexArray, axes: tuple[int, ...]) -> ComplexArray:
    count = len(axes)
    return np.moveaxis(np.tensordot(matrix.reshape((2,) * 2 * count), tensor, (range(count, 2 * count), axes)), range(count), axes)


def exact_distribution(noisy: NoisyCircuit) -> NDArray[np.float64]:
    """By the density matrix; every qubit is measured, in order."""
    count = noisy.qubit_count
    state = np.zeros((2,) * 2 * count, complex)
    state[(0,) * 2 * count] = 1.0
    for step in noisy.steps:
        for operators, qubits in _channels(step):
            state = sum(_applied(_applied(state, one, qubits), one.conj(), tuple(count + qubit for qubit in qubits)) for one in operators)
    chances = np.diagonal(state.reshape(2**count, -1)).real.reshape((2,) * count)
    for qubit, read in enumerate(noisy.measurements):
        confusion = np.array([[1 - read.one_for_zero, read.zero_for_one], [read.one_for_zero, 1 - read.zero_for_one]])
        chances = np.moveaxis(np.tensordot(confusion, chances, (1, qubit)), 0, qubit)
    return chances.ravel()


def _channels(step: Step) -> list[tuple[list[ComplexArray], tuple[int, ...]]]:
    if isinstance(step, Unitary):
        return [([step.matrix], step.qubits)]
    if isinstance(step, PauliNoise):
        words = PAULIS if len(step.qubits) == 1 else [np.kron(first, second) for first, second in itertools.product(PAULIS, PAULIS)]
        return [([math.sqrt(chance) * word for chance, word in zip(step.probabilities, words, strict=True)], step.qubits)]
    if isinstance(step, Damping):
        decay = [np.diag([1, math.sqrt(1 - step.amplitude)]), np.array([[0, math.sqrt(step.amplitude)], [0, 0]])]
        dephasing = [math.sqrt(1 - step.phase) * PAULIS[0], math.sqrt(step.phase) * PAULIS[3]]
        return [(decay, (step.qubit,)), (dephasing, (step.qubit,))]
    if isinstance(step, Leakage):
        each = math.sqrt(step.probability / 4)
        return [([math.sqrt(1 - 0.75 * step.probability) * PAULIS[0], *(each * word for word in PAULIS[1:])], (step.qubit,))]
    if isinstance(step, Reset):
        return [([np.diag([1.0, 0.0]), np.array([[0.0, 1.0], [0.0, 0.0]])], (step.qubit,))]
    return []


def noisy_random_circuit(rows: int, columns: int, cycles: int) -> NoisyCircuit:
    circuit = random_circuit(rotated_square(rows, columns), range(rows * columns), cycles, seed=2)
    steps: list[Step] = []
    for step in without_noise(circuit).steps:
        if isinstance(step, Measurement):
            steps.append(Measurement(step.qubit, 0.02, 0.05))
        elif isinstance(step, Unitary):
            steps.append(step)
            if len(step.qubits) == 2:
                steps.append(PauliNoise(np.array([0.98, *[0.02 / 15] * 15]), step.qubits))
                steps += [noise for qubit in step.qubits for noise in (Damping(0.05, 0.01, qubit), Leakage(0.005, qubit))]
    return NoisyCircuit(circuit.qubit_count, tuple(steps))


def p_value(bits: NDArray[np.uint8], distribution: NDArray[np.float64]) -> float:
    """Of Pearson's test; what hardly ever happens is taken together."""
    found = np.bincount(bits @ (1 << np.arange(bits.shape[1])[::-1]), minlength=len(distribution))
    wanted = distribution * len(bits)
    rare = wanted < 5
    if rare.any():
        found, wanted = np.append(found[~rare], found[rare].sum()), np.append(wanted[~rare], wanted[rare].sum())
    return float(chi2.sf(((found - wanted) ** 2 / wanted).sum(), len(wanted) - 1))


def test_amplitudes_of_20_qubits_are_those_of_a_state_vector() -> None:
    circuit = random_circuit(rotated_square(5, 4), range(20), 10, seed=3)
    bits = np.random.default_rng(1).integers(0, 2, (128, 20), np.uint8)
    wanted = state_vector(circuit)[bits.astype(int) @ (1 << np.arange(20)[::-1])]
    assert np.abs(amplitudes(circuit, bits) - wanted).max() < 1e-7


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_amplitudes_of_any_circuit_are_those_of_a_state_vector(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 5))
    names = st.sampled_from([name for name, gate in GATES.items() if gate.qubit_count <= count])
    operations = []
    for name in data.draw(st.lists(names, max_size=14)):
        qubits = data.draw(st.permutations(range(count)))[: GATES[name].qubit_count]
        angles = [data.draw(st.floats(-3, 3)) for _ in range(GATES[name].parameter_count)]
        operations.append(Operation(name, tuple(qubits), tuple(angles)))
    circuit = Circuit(count, tuple(operations))
    found = amplitudes(measure_all(circuit), all_strings(count))
    assert np.allclose(found, state_vector(circuit), atol=1e-5)


def test_bits_stand_in_the_order_of_the_measurements() -> None:
    circuit = Circuit(3, (Operation("x", (2,)), Operation("measure", (2,)), Operation("measure", (0,)), Operation("measure", (1,))))
    assert abs(amplitudes(circuit, np.array([[1, 0, 0]], np.uint8))[0]) == pytest.approx(1.0)
    assert sample(without_noise(circuit), 3, seed=1).tolist() == [[1, 0, 0]] * 3


def test_a_sliced_contraction_gives_the_same() -> None:
    network = CircuitNetwork(without_noise(random_circuit(rotated_square(4, 3), range(12), 8, seed=1)))
    numbers, inputs, output, sizes = network.legs(network.qubits, ())
    tensors: list[Stacked] = network.stacked(numbers, np.ones((3, 12), np.uint8), [{}] * 3, ())
    whole, sliced = Contraction(inputs, output, sizes), Contraction(inputs, output, sizes, largest_entries=32)
    assert sliced.slices > 1
    assert np.allclose(whole(tensors), sliced(tensors), rtol=1e-4)


@pytest.mark.parametrize("open_qubits", [2, 5])
def test_samples_have_the_distribution_of_the_density_matrix(open_qubits: int) -> None:
    noisy = noisy_random_circuit(3, 2, 8)
    drawn = draw(noisy, 8000, seed=4, open_qubits=open_qubits)
    assert p_value(drawn.bits, exact_distribution(noisy)) > 1e-3
    assert drawn.cut < 0.02


def test_decay_reset_and_separate_qubits_are_sampled_exactly() -> None:
    steps: list[Step] = [Unitary(GATES["h"].unitary(), (0,)), Unitary(GATES["cx"].unitary(), (0, 1)), Unitary(GATES["x"].unitary(), (2,))]
    steps += [
        Damping(0.3, 0.1, 0),
        Damping(0.4, 0.0, 2),
        Unitary(GATES["h"].unitary(), (0,)),
        Reset(1),
        Unitary(GATES["h"].unitary(), (1,)),
    ]
    noisy = NoisyCircuit(3, (*steps, *(Measurement(qubit) for qubit in range(3))))
    assert p_value(sample(noisy, 8000, seed=5), exact_distribution(noisy)) > 1e-3


def test_the_same_seed_gives_the_same_samples() -> None:
    noisy = noisy_random_circuit(3, 2, 4)
    assert (sample(noisy, 20, seed=7) == sample(noisy, 20, seed=7)).all()


def test_an_ideal_machines_cross_entropy_is_that_of_its_probabilities() -> None:
    circuit = random_circuit(rotated_square(4, 3), range(12), 12, seed=1)
    wanted = 2**12 * (np.abs(state_vector(circuit)) ** 4).sum() - 1
    found, error = ideal_cross_entropy(circuit, draws=512)
    assert abs(found - wanted) < 4 * error


def test_cost_grows_with_depth() -> None:
    shallow, deep = (without_noise(random_circuit(rotated_square(5, 4), range(20), cycles, seed=1)) for cycles in (4, 10))
    assert estimate(shallow)[0] < estimate(deep)[0]
    assert estimate(deep, open_qubits=0)[1] > 0


def _circuit(*operations: Operation) -> NoisyCircuit:
    return without_noise(Circuit(20, operations))


FLIP, READ = Operation("x", (0,)), Operation("measure", (0,))
# Twenty qubits that all agree: far from even bits.
CAT = (Operation("h", (0,)), *(Operation("cx", (qubit, qubit + 1)) for qubit in range(19)), READ)


@pytest.mark.parametrize(
    ("circuit", "field"),
    [
        (_circuit(READ, FLIP), "steps after a measurement of qubit"),
        (_circuit(FLIP), "measurements"),
        (_circuit(), "measurements"),
        (_circuit(*CAT), "scatter of the weights of results"),
        (NoisyCircuit(3, (Unitary(np.eye(8, dtype=complex), (0, 1, 2)), Measurement(0))), "qubits of a gate"),
    ],
)
def test_what_it_cannot_sample_is_refused(circuit: NoisyCircuit, field: str) -> None:
    with pytest.raises(InputError) as caught:
        draw(circuit, 10, seed=1)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("circuit", "bits", "field"),
    [
        (NoisyCircuit(1, (Damping(0.1, 0.0, 0), Measurement(0))), [[0]], "circuit"),
        (_circuit(Operation("h", (0,)), Operation("cx", (0, 1)), READ), [[0]], "measured qubits"),
        (_circuit(FLIP, READ), [[0, 1]], "shape of bits"),
        (_circuit(FLIP, READ), [[2]], "bits"),
        (_circuit(), np.zeros((1, 0)), "circuit"),
    ],
)
def test_amplitudes_that_nobody_could_give_are_refused(circuit: NoisyCircuit, bits: list[list[int]], field: str) -> None:
    with pytest.raises(InputError) as caught:
        amplitudes(circuit, np.array(bits))
    assert caught.value.field == field


@pytest.mark.parametrize("shots", [0, 10**9])
def test_shots_out_of_range_are_refused(shots: int) -> None:
    with pytest.raises(InputError, match="shots"):
        sample(_circuit(FLIP, READ), shots)
