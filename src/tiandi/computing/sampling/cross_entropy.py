"""Cross-entropy benchmarking: how much of the ideal distribution is left in a machine's samples, and what the noise lets us expect.

Arute et al., Nature 574, 505 (2019), doi:10.1038/s41586-019-1666-5, supplementary section IV. The figures hold for circuits whose ideal
probabilities follow Porter and Thomas, exp(-2**n p): those that are deep enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.computing.circuits.gates import GATES, Matrix
from tiandi.computing.circuits.noise import Damping, FloatArray, Leakage, Measurement, NoisyCircuit, PauliNoise, Unitary
from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.random import twin_generator

WALKS = 4000
_PAULIS = np.array([GATES[name].unitary() for name in ("id", "x", "y", "z")])
_DIAGONAL = (0, 3)

IntArray = NDArray[np.int64]
ByteArray = NDArray[np.uint8]
Place = tuple[int, tuple[int, ...], FloatArray]
"""A place of noise: before which step it is, its qubits, and the probabilities of its Pauli words."""


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """An estimate and its standard error over ``shots`` samples."""

    value: float
    error: float
    shots: int


def linear_cross_entropy(scaled_probabilities: ArrayLike) -> CrossEntropy:
    """<D p(x)> - 1 over the samples x, from D p(x) = 2**n |<x|C|0>|**2, shape (shots,): 1 for an ideal machine, 0 for even bits."""
    scaled = _checked(scaled_probabilities)
    return _mean(scaled - 1.0)


def logarithmic_cross_entropy(scaled_probabilities: ArrayLike) -> CrossEntropy:
    """<log(D p(x))> + Euler's constant: the same by logarithms, which few very likely samples move less."""
    scaled = _checked(scaled_probabilities)
    if (scaled <= 0).any():
        raise InputError("scaled probabilities", 0.0, "must be above 0 for a logarithm")
    return _mean(np.log(scaled) + np.euler_gamma)


def product_formula(noisy: NoisyCircuit) -> float:
    """Probability that nothing goes wrong anywhere: the product over all channels' entanglement fidelities and the readout's."""
    logarithm = sum(math.log1p(-_pauli_error(words)) for _, _, words in _places(noisy))
    return math.exp(logarithm) * _right_readout(noisy)


def predicted_cross_entropy(noisy: NoisyCircuit, *, walks: int = WALKS, seed: int | None = 1) -> tuple[float, float]:
    """The linear cross entropy to expect, and the standard error of its computation.

    The product formula counts every error as fatal. Those near the measurement may become mere phases of the bits, and those near the
    beginning may not change |0>: each of ``walks`` errors, drawn as often as it happens, is carried to both ends as Pauli words, of which
    every gate makes one at random with the square of its share (the second moment of a circuit whose one-qubit gates are drawn at random:
    Dalzell, Hunter-Jones, Brandao, arXiv:2111.14907). Those that end as I and Z alone are harmless. Errors are taken to act one by
    one; damping as its Pauli twirl.
    """
    require_within("walks", walks, 1, 10**7)
    places = _places(noisy)
    rates = np.array([_pauli_error(words) for _, _, words in places])
    logarithm = float(np.log1p(-rates).sum())
    if not len(rates) or rates.sum() == 0:
        return _right_readout(noisy), 0.0
    weights = -np.log1p(-rates)
    generator = twin_generator(seed, "Pauli walks")
    faults = _draw_faults(noisy.qubit_count, places, weights / weights.sum(), walks, generator)
    gates = [(number, step) for number, step in enumerate(noisy.steps) if isinstance(step, Unitary)]
    shares = {step.matrix.tobytes(): _word_shares(step.matrix) for _, step in gates}
    harmless = np.zeros(walks, bool)
    for way, order in ((0, gates), (1, gates[::-1])):
        letters = _walked(faults, [(at, step, shares[step.matrix.tobytes()][way]) for at, step in order], generator, backwards=way == 1)
        harmless |= np.isin(letters, _DIAGONAL).all(axis=1)
    share = float(harmless.mean())
    prediction = math.exp(logarithm * (1 - share)) * _right_readout(noisy)
    return prediction, -logarithm * prediction * math.sqrt(share * (1 - share) / walks)


def _draw_faults(
    qubit_count: int, places: list[Place], chances: FloatArray, walks: int, generator: np.random.Generator
) -> tuple[IntArray, ByteArray]:
    """``walks`` single errors in the order of time: before which step each happens (walks,), and its letters (walks, qubits)."""
    numbers = np.sort(generator.choice(len(places), walks, p=chances))
    letters = np.zeros((walks, qubit_count), np.uint8)
    for walk, number in enumerate(numbers):
        _, qubits, words = places[number]
        word = 1 + int(generator.choice(len(words) - 1, p=words[1:] / words[1:].sum()))
        for qubit in reversed(qubits):
            letters[walk, qubit] = word & 3
            word >>= 2
    return np.array([places[number][0] for number in numbers]), letters


def _walked(
    faults: tuple[IntArray, ByteArray], gates: list[tuple[int, Unitary, FloatArray]], generator: np.random.Generator, *, backwards: bool
) -> ByteArray:
    """The letters (walks, qubits) of each error after a random walk through the gates that lie on its way to one end."""
    at, letters = faults[0], faults[1].copy()
    for position, gate, shares in gates:
        # Errors stand in the order of time, so that those a gate concerns are a run from one end.
        met = slice(int(np.searchsorted(at, position)), None) if backwards else slice(0, int(np.searchsorted(at, position)))
        numbers = np.zeros(len(letters[met]), np.int64)
        for qubit in gate.qubits:
            numbers = 4 * numbers + letters[met, qubit]
        numbers = (shares[numbers] <= generator.random(len(numbers))[:, None]).sum(axis=1)
        for qubit in reversed(gate.qubits):
            letters[met, qubit] = numbers & 3
            numbers >>= 2
    return letters


def _word_shares(matrix: Matrix) -> tuple[FloatArray, FloatArray]:
    """Cumulated squares of the share of each Pauli word in what a gate makes of each, forwards and backwards; shape (words, words)."""
    words = _PAULIS if len(matrix) == 2 else np.einsum("aij,bkl->abikjl", _PAULIS, _PAULIS).reshape(16, 4, 4)
    square = (np.einsum("pij,jk,qkl,il->pq", words, matrix, words, matrix.conj()).real / len(matrix)) ** 2
    forwards, backwards = np.cumsum(square.T, axis=1), np.cumsum(square, axis=1)
    return forwards / forwards[:, -1:], backwards / backwards[:, -1:]


def _places(noisy: NoisyCircuit) -> list[Place]:
    """Every channel as Pauli words with probabilities: damping and leakage by their twirl, the diagonal of their Pauli chi matrix."""
    places: list[Place] = []
    for at, step in enumerate(noisy.steps):
        if isinstance(step, PauliNoise):
            places.append((at, step.qubits, step.probabilities))
        elif isinstance(step, Leakage):
            places.append((at, (step.qubit,), np.array([1 - 0.75 * step.probability, *3 * [step.probability / 4]])))
        elif isinstance(step, Damping):
            root = math.sqrt(1 - step.amplitude)
            none, phase = (1 + root) ** 2 / 4, (1 - root) ** 2 / 4
            flip = step.amplitude / 4
            kept, turned = none * (1 - step.phase) + phase * step.phase, phase * (1 - step.phase) + none * step.phase
            places.append((at, (step.qubit,), np.array([kept, flip, flip, turned])))
    return places


def _pauli_error(words: FloatArray) -> float:
    return float(words[1:].sum())


def _right_readout(noisy: NoisyCircuit) -> float:
    return math.prod(1 - (step.one_for_zero + step.zero_for_one) / 2 for step in noisy.steps if isinstance(step, Measurement))


def _checked(scaled_probabilities: ArrayLike) -> NDArray[np.float64]:
    scaled = np.asarray(scaled_probabilities, float)
    if scaled.ndim != 1 or len(scaled) < 2:
        raise InputError("samples", scaled.shape, "must be at least 2 in one row")
    if not (np.isfinite(scaled) & (scaled >= 0)).all():
        raise InputError(
            "scaled probabilities", float(scaled[~(np.isfinite(scaled) & (scaled >= 0))][0]), "must be finite and not negative"
        )
    return scaled


def _mean(values: NDArray[np.float64]) -> CrossEntropy:
    return CrossEntropy(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))), len(values))
