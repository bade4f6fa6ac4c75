"""What linear cross-entropy benchmarking of a circuit should give: the share of runs in which nothing went wrong that its bits could show.

Every channel is taken as its Pauli words (decay and dephasing by their Pauli twirl), and a circuit that scrambles turns any word amid
it into bits that know nothing of the ideal distribution. So far that is the product of what is left of each gate. At the ends of a
circuit some words do nothing: a turn about its own axis on a qubit that has met no other yet, or a Z before its measurement. A word P
there counts as (1 + v.Pv)/2, with v the Bloch vector of the qubit's state, or of what its measurement reads carried back to P.
For circuits that do not scramble the result is the probability that nothing happened, a lower limit of the fidelity of their bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tiandi.computing.circuits.noise import Damping, FloatArray, Leakage, Measurement, NoisyCircuit, PauliNoise, Reset, Step, Unitary

_SIGNS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], float)
"""What I, X, Y and Z make of a Bloch vector."""
_PAULIS = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
_FELT = np.array([1.0, 0.0, 0.0, 0.0])
"""Weights of I, X, Y and Z where any of X, Y and Z is seen."""
_UNSEEN = np.ones(4)


def predicted_fidelity(noisy: NoisyCircuit) -> float:
    """Cross-entropy fidelity that is expected of ``noisy``'s bits, readout included."""
    at_end = _weights(noisy, backwards=True)
    at_start = _weights(noisy, backwards=False)
    logarithm = 0.0
    for number, step in enumerate(noisy.steps):
        if isinstance(step, Measurement):
            logarithm += math.log1p(-(step.one_for_zero + step.zero_for_one) / 2)
        elif (words := _words(step)) is not None:
            qubits, probabilities = words
            weights = [at_end.get((number, qubit), at_start.get((number, qubit), _FELT)) for qubit in qubits]
            logarithm += math.log(float(probabilities @ _product(weights)))
    return math.exp(logarithm)


def _words(step: Step) -> tuple[tuple[int, ...], FloatArray] | None:
    """The qubits of a channel and the probabilities of its Pauli words, or None where it is none."""
    if isinstance(step, PauliNoise):
        return step.qubits, step.probabilities
    if isinstance(step, Damping):
        return (step.qubit,), twirled(step)
    if isinstance(step, Leakage):
        return (step.qubit,), np.array([1 - 0.75 * step.probability, *[step.probability / 4] * 3])
    return None


def twirled(step: Damping) -> FloatArray:
    """Probabilities of I, X, Y and Z, shape (4,), of the Pauli twirl of decay and dephasing: |tr(P K)|^2/4 summed over Kraus operators K.

    The same for decay: Ghosh, Fowler and Geller, PRA 86, 062318 (2012), doi:10.1103/PhysRevA.86.062318.
    """
    root = math.sqrt(1 - step.amplitude)
    kept, turned = (1 + root) ** 2 / 4, (1 - root) ** 2 / 4
    flips = step.amplitude / 4
    return np.array(
        [kept * (1 - step.phase) + turned * step.phase, flips, flips, turned * (1 - step.phase) + kept * step.phase],
    )


def _product(weights: Sequence[FloatArray]) -> FloatArray:
    return weights[0] if len(weights) == 1 else np.outer(weights[0], weights[1]).ravel()


def _weights(noisy: NoisyCircuit, *, backwards: bool) -> dict[tuple[int, int], FloatArray]:
    """Weights of I, X, Y and Z at (step, qubit) for the steps that lie before a qubit's first gate with another, or behind its last.

    Backwards the vector is what the measurement reads: Z, turned by the gates in between; a qubit that is not read shows nothing.
    """
    vectors: dict[int, FloatArray | None] = {} if backwards else dict.fromkeys(range(noisy.qubit_count), np.array([0.0, 0.0, 1.0]))
    met: set[int] = set()
    found: dict[tuple[int, int], FloatArray] = {}
    numbers = range(len(noisy.steps))
    for number in reversed(numbers) if backwards else numbers:
        step = noisy.steps[number]
        if isinstance(step, Unitary):
            if len(step.qubits) > 1:
                met.update(step.qubits)
            elif step.qubits[0] not in met:
                vector = vectors.get(step.qubits[0])
                if vector is not None:
                    vectors[step.qubits[0]] = _turned(step, vector, backwards=backwards)
        elif isinstance(step, Measurement):
            if backwards and step.qubit not in met:
                vectors[step.qubit] = np.array([0.0, 0.0, 1.0])
        elif isinstance(step, Reset):
            if step.qubit not in met:
                vectors[step.qubit] = None if backwards else np.array([0.0, 0.0, 1.0])
        elif (words := _words(step)) is not None:
            for qubit in words[0]:
                if qubit not in met:
                    vector = vectors.get(qubit)
                    found[number, qubit] = _UNSEEN if vector is None else (1 + _SIGNS @ vector**2) / 2
    return found


def _turned(step: Unitary, vector: FloatArray, *, backwards: bool) -> FloatArray:
    """A Bloch vector after a gate; backwards: an observable's before it."""
    matrix = step.matrix.conj().T if backwards else step.matrix
    operator = matrix @ np.tensordot(vector, _PAULIS, 1) @ matrix.conj().T
    return np.real(np.einsum("kij,ji->k", _PAULIS, operator)) / 2
