"""What each step of a noisy circuit is in matrices: Kraus operators, and the outcomes that trajectories draw."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.circuits.noise import Damping, Leakage, Measurement, PauliNoise, Reset, Step, Unitary

ComplexArray = NDArray[np.complex128]
FloatArray = NDArray[np.float64]

PAULI = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
TO_ZERO = (np.array([[1, 0], [0, 0]], complex), np.array([[0, 1], [0, 0]], complex))
"""A reset's Kraus operators: found in |0>, found in |1>."""
PROJECTORS = (np.array([[1, 0], [0, 0]], complex), np.array([[0, 0], [0, 1]], complex))


@cache
def pauli_word(number: int, qubits: int) -> ComplexArray:
    """The matrix of Pauli word ``number`` on ``qubits`` qubits; its digits to base 4, first qubit first, are I, X, Y, Z."""
    word = np.eye(1, dtype=complex)
    for qubit in range(qubits):
        word = np.kron(word, PAULI[number >> 2 * (qubits - 1 - qubit) & 3])
    return word


def no_jump(amplitude: float) -> ComplexArray:
    """What a qubit undergoes that does not decay: diag(1, sqrt(1 - amplitude))."""
    return np.diag([1.0, np.sqrt(1 - amplitude)]).astype(complex)


def kraus_operators(step: Step) -> list[ComplexArray]:
    """The Kraus operators of ``step`` on its qubits; a measurement's are those of a reading that nobody looks at."""
    if isinstance(step, Unitary):
        return [step.matrix]
    if isinstance(step, PauliNoise):
        count = len(step.qubits)
        return [np.sqrt(chance) * pauli_word(number, count) for number, chance in enumerate(step.probabilities) if chance > 0]
    if isinstance(step, Leakage):
        return [np.sqrt(chance) * PAULI[number] for number, chance in enumerate(outcome_probabilities(step)) if chance > 0]
    if isinstance(step, Damping):
        decayed = [no_jump(step.amplitude), np.sqrt(step.amplitude) * TO_ZERO[1]]
        return [np.sqrt(chance) * PAULI[letter] @ kraus for letter, chance in ((0, 1 - step.phase), (3, step.phase)) for kraus in decayed]
    return list(TO_ZERO if isinstance(step, Reset) else PROJECTORS)


def outcome_probabilities(step: Step) -> FloatArray:
    """What may strike at ``step``, whatever the state: probability of nothing, then of each outcome.

    Pauli noise: the words. Leakage: X, Y, Z, since the maximally mixed state is that of a Pauli drawn evenly. Damping: 1 a chance to decay
    (taken with the population of |1>), 2 a Z, 3 both. A reset or a measurement looks at the state each time: outcome 1.
    """
    if isinstance(step, PauliNoise):
        return step.probabilities
    if isinstance(step, Leakage):
        return np.array([1 - 0.75 * step.probability, *([0.25 * step.probability] * 3)])
    if isinstance(step, Damping):
        decay, turn = step.amplitude, step.phase
        return np.array([(1 - decay) * (1 - turn), decay * (1 - turn), (1 - decay) * turn, decay * turn])
    return np.array([0.0, 1.0]) if isinstance(step, Reset | Measurement) else np.array([1.0])


def undisturbed(step: Step) -> ComplexArray:
    """The matrix of ``step`` where nothing strikes."""
    if isinstance(step, Unitary):
        return step.matrix
    if isinstance(step, Damping):
        return no_jump(step.amplitude)
    return np.eye(1 << (len(step.qubits) if isinstance(step, PauliNoise) else 1), dtype=complex)
