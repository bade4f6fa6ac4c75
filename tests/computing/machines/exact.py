"""A density matrix run step by step through Kraus operators: slow, exact, and nothing of the engines in it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tiandi.computing.circuits.noise import Damping, Leakage, Measurement, NoisyCircuit, PauliNoise, Step, Unitary

PAULIS = [np.eye(2), np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])]


def kraus(step: Step) -> tuple[tuple[int, ...], list[np.ndarray]]:
    """The qubits of a step and its Kraus operators."""
    if isinstance(step, Unitary):
        return step.qubits, [step.matrix]
    if isinstance(step, PauliNoise):
        words = PAULIS if len(step.qubits) == 1 else [np.kron(first, second) for first in PAULIS for second in PAULIS]
        return step.qubits, [math.sqrt(chance) * word for chance, word in zip(step.probabilities, words, strict=True) if chance > 0]
    if isinstance(step, Damping):
        decay = [np.diag([1, math.sqrt(1 - step.amplitude)]), np.array([[0, math.sqrt(step.amplitude)], [0, 0]])]
        dephase = [math.sqrt(1 - step.phase) * PAULIS[0], math.sqrt(step.phase) * PAULIS[3]]
        return (step.qubit,), [after @ before for before in decay for after in dephase]
    assert isinstance(step, Leakage)
    shares = [1 - 0.75 * step.probability, *[step.probability / 4] * 3]
    return (step.qubit,), [math.sqrt(share) * word for share, word in zip(shares, PAULIS, strict=True)]


def entanglement_fidelity(steps: list[Step], qubits: tuple[int, ...]) -> float:
    """Of the channel that ``steps`` make on ``qubits`` together: sum over all products of Kraus operators of |tr K|^2/d^2."""
    dimension = 2 ** len(qubits)
    products = [np.eye(dimension)]
    for step in steps:
        own, operators = kraus(step)
        wide = [_embedded(operator, own, qubits) for operator in operators]
        products = [after @ before for before in products for after in wide]
    return sum(abs(np.trace(product)) ** 2 for product in products) / dimension**2


def _embedded(operator: np.ndarray, own: tuple[int, ...], qubits: tuple[int, ...]) -> np.ndarray:
    if own == qubits:
        return operator
    return np.kron(operator, PAULIS[0]) if own[0] == qubits[0] else np.kron(PAULIS[0], operator)


def distribution(noisy: NoisyCircuit) -> np.ndarray:
    """Probabilities of the bit strings of all qubits, shape (2**qubits,), misreadings included."""
    count = noisy.qubit_count
    state = np.zeros((2,) * (2 * count), complex)
    state[(0,) * (2 * count)] = 1
    for step in noisy.steps:
        if isinstance(step, Measurement):
            continue
        qubits, operators = kraus(step)
        channel = sum(np.einsum("ab,cd->acbd", operator, operator.conj()) for operator in operators).reshape((2,) * (4 * len(qubits)))
        axes = [*qubits, *(qubit + count for qubit in qubits)]
        inner = list(range(len(axes), 2 * len(axes)))
        state = np.moveaxis(np.tensordot(channel, state, (inner, axes)), list(range(len(axes))), axes)
    chances = np.real(np.diag(state.reshape(2**count, 2**count))).copy().reshape((2,) * count)
    for read in noisy.measurements:
        confusion = np.array([[1 - read.one_for_zero, read.zero_for_one], [read.one_for_zero, 1 - read.zero_for_one]])
        chances = np.moveaxis(np.tensordot(confusion, chances, (1, read.qubit)), 0, read.qubit)
    return chances.ravel()


def renumbered(noisy: NoisyCircuit, qubits: tuple[int, ...]) -> NoisyCircuit:
    """The same on as few qubits as ``qubits`` are."""
    place = {qubit: number for number, qubit in enumerate(qubits)}

    def moved(step: Step) -> Step:
        if isinstance(step, Unitary | PauliNoise):
            return replace(step, qubits=tuple(place[qubit] for qubit in step.qubits))
        return replace(step, qubit=place[step.qubit])

    return NoisyCircuit(len(qubits), tuple(moved(step) for step in noisy.steps))
