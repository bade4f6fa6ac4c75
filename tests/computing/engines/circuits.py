"""Random noisy circuits, and how far two tables of results are apart."""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2

from tiandi.computing.circuits.gates import GATES
from tiandi.computing.circuits.noise import Damping, Leakage, Measurement, NoisyCircuit, PauliNoise, Reset, Step, Unitary

CLIFFORD = ("h", "s", "sx", "sy", "x", "sydg")
GENERAL = ("h", "t", "sx", "ry", "u", "sdg")
FALSE_ALARM = 1e-6
"""How often a chi-square test of two tables from the same distribution would fail, each."""


def unitary(name: str, qubits: tuple[int, ...], *parameters: float) -> Unitary:
    """A gate by name."""
    return Unitary(GATES[name].unitary(*parameters), qubits, name, parameters)


def pauli_noise(generator: np.random.Generator, qubits: tuple[int, ...], total: float) -> PauliNoise:
    """Uneven Pauli noise that strikes with probability ``total``."""
    words = generator.random(4 ** len(qubits))
    words[0] = 0
    words *= total / words.sum()
    words[0] = 1 - total
    return PauliNoise(words, qubits)


def random_circuit(
    seed: int, qubits: int, steps: int, *, clifford: bool = False, damping: bool = True, looking: bool = True
) -> NoisyCircuit:
    """Gates, every kind of noise, resets and measurements if ``looking``; all qubits read at the end, the last first."""
    generator = np.random.default_rng(seed)
    found: list[Step] = []
    for _ in range(steps):
        first, second = (int(qubit) for qubit in generator.permutation(qubits)[:2])
        kind = generator.integers(8)
        if kind < 3:
            name = str(generator.choice(CLIFFORD if clifford else GENERAL))
            found.append(unitary(name, (first,), *generator.uniform(0, 3, GATES[name].parameter_count)))
        elif kind < 5:
            found.append(unitary(str(generator.choice(("cx", "cz", "iswap"))), (first, second)))
        elif kind == 5:
            found.append(pauli_noise(generator, (first, second), 0.2))
        elif kind == 6:
            found.append(Leakage(0.1, second))
            if damping:
                found.append(Damping(float(generator.uniform(0, 0.3)), 0.1, first))
        elif looking:
            found.append(Reset(first) if generator.integers(2) else Measurement(first, 0.02, 0.07))
    found += [Measurement(qubit, 0.02, 0.05) for qubit in reversed(range(qubits))]
    return NoisyCircuit(qubits, tuple(found))


def counts(bits: np.ndarray) -> np.ndarray:
    """How often each result (its first bit least significant) occurs."""
    return np.bincount(bits.astype(np.int64) @ (1 << np.arange(bits.shape[1])), minlength=1 << bits.shape[1])


def exact_probabilities(noisy: NoisyCircuit) -> np.ndarray:
    """How likely each result is (its first bit least significant): a density matrix for each record of measurements, in plain NumPy."""
    count = noisy.qubit_count
    state = np.zeros((1, *(2,) * (2 * count)), complex)
    state[(0,) * (2 * count + 1)] = 1
    for step in noisy.steps:
        if isinstance(step, Measurement):
            projected = [_undergone(state, np.diag([1.0 - value, value]), (step.qubit,)) for value in (0, 1)]
            state = np.concatenate(projected)
        else:
            qubits = step.qubits if isinstance(step, Unitary | PauliNoise) else (step.qubit,)
            for operators in _channels(step):
                state = sum(_undergone(state, operator, qubits) for operator in operators)
    found = np.einsum("kii->k", state.reshape(len(state), 1 << count, 1 << count)).real
    for place, step in enumerate(noisy.measurements):
        zeros, ones = np.moveaxis(found.reshape(-1, 2, 1 << place), 1, 0)
        wrong, right = step.one_for_zero, 1 - step.zero_for_one
        found = np.stack([zeros * (1 - wrong) + ones * (1 - right), zeros * wrong + ones * right], axis=1).reshape(-1)
    return np.asarray(found)


def _undergone(state: np.ndarray, operator: np.ndarray, qubits: tuple[int, ...]) -> np.ndarray:
    touched, count = len(qubits), (state.ndim - 1) // 2
    for matrix, first in ((operator, 1), (operator.conj(), 1 + count)):
        axes = [first + qubit for qubit in qubits]
        table = np.asarray(matrix, complex).reshape((2,) * (2 * touched))
        state = np.moveaxis(np.tensordot(table, state, (range(touched, 2 * touched), axes)), range(touched), axes)
    return state


def _channels(step: Step) -> list[list[np.ndarray]]:
    """The Kraus operators of one or two channels, as the docstrings of `circuits.noise` have them."""
    letters = [np.eye(2), np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])]
    moves = [np.outer(np.eye(2)[to], np.eye(2)[of]) for to in (0, 1) for of in (0, 1)]
    if isinstance(step, Unitary):
        return [[step.matrix]]
    if isinstance(step, PauliNoise):
        words = letters if len(step.qubits) == 1 else [np.kron(first, second) for first in letters for second in letters]
        return [[np.sqrt(chance) * word for chance, word in zip(step.probabilities, words, strict=True)]]
    if isinstance(step, Damping):
        decay = [np.diag([1, np.sqrt(1 - step.amplitude)]), np.sqrt(step.amplitude) * moves[1]]
        return [decay, [np.sqrt(1 - step.phase) * letters[0], np.sqrt(step.phase) * letters[3]]]
    if isinstance(step, Leakage):
        return [[np.sqrt(1 - step.probability) * letters[0], *(np.sqrt(step.probability / 2) * move for move in moves)]]
    return [moves[:2]]


def agrees(bits: np.ndarray, probabilities: np.ndarray) -> bool:
    """Whether a table (shots, bits) may come from ``probabilities`` of its results (first bit least significant), at `FALSE_ALARM`."""
    found, expected = counts(bits), probabilities * len(bits)
    rare = expected < 10
    found = np.append(found[~rare], found[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    filled = expected > 1e-3
    distance = ((found - expected)[filled] ** 2 / expected[filled]).sum()
    return bool(found[~filled].sum() == 0 and (filled.sum() < 2 or chi2.sf(distance, filled.sum() - 1) > FALSE_ALARM))
