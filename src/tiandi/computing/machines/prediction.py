"""What linear cross-entropy benchmarking of a circuit should give.

The ideal and the noisy cross entropy are sums over the strings of I and Z that are read at the end, of expectation values in the one run
times those in the other. Carried back to the start, a string becomes a sum over paths of Pauli words. In a circuit whose one-qubit gates
are drawn at random different paths add up to nothing on average, so that a path counts with the squares of its shares at the gates and,
on a noisy machine, with what each channel leaves of its word: Pauli paths as of Aharonov, Gao, Landau, Liu and Vazirani,
arXiv:2211.03999. The prediction is the mean of that product over paths. It knows of a Z before the measurement, of errors that follow
each other on a qubit, and of channels that spare some words; the product formula, which counts every error as fatal, knows none of it.

Words are drawn from both ends to the middle of the circuit, which they reach as even words where it is deep. In circuits of a few layers
they do not, and the prediction is rough; of circuits that are not random it says little.
"""

from __future__ import annotations

import math
from functools import cache, reduce
from itertools import pairwise

import numpy as np
import rustworkx
from numpy.typing import NDArray

from tiandi.computing.circuits.circuit import MEASURE
from tiandi.computing.circuits.gates import GATES, Matrix
from tiandi.computing.circuits.noise import Damping, FloatArray, Leakage, Measurement, NoisyCircuit, PauliNoise, Reset, Step, Unitary
from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.random import twin_generator

WALKS = 4000
_PAULIS = np.array([GATES[name].unitary() for name in ("id", "x", "y", "z")])
_SIGNS = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], float)
"""Whether I, X, Y and Z commute (1) with each other, or not (-1)."""
_Z = 3

ByteArray = NDArray[np.uint8]


def product_formula(noisy: NoisyCircuit) -> float:
    """Probability that nothing goes wrong anywhere: the product over all channels' entanglement fidelities and the readout's."""
    logarithm = 0.0
    for step in noisy.steps:
        if isinstance(step, Measurement):
            logarithm += math.log1p(-(step.one_for_zero + step.zero_for_one) / 2)
        elif (left := _left(step)) is not None:
            logarithm += math.log(float(left[1].mean()))
    return math.exp(logarithm)


def predicted_cross_entropy(noisy: NoisyCircuit, *, walks: int = WALKS, seed: int | None = 1) -> tuple[float, float]:
    """What the noise leaves of the ideal machine's linear cross entropy, and the standard error of that over ``walks`` paths.

    Of parts that no gate joins it is the product. Raises InputError for circuits with resets, or gates behind a measurement.
    """
    require_within("walks", walks, 2, 10**7)
    _require_read_last(noisy)
    generator = twin_generator(seed, "Pauli paths")
    middle = len(noisy.steps) // 2
    ends = (noisy.steps[:middle], False), (noisy.steps[middle:][::-1], True)
    left = [_walk(steps, _strings(noisy, walks, generator, read=back), generator, backwards=back) for steps, back in ends]
    means = [float(weights.mean()) for weights in left]
    prediction = math.prod(means)
    relative = math.hypot(*(float(weights.std()) / mean for weights, mean in zip(left, means, strict=True))) / math.sqrt(walks)
    return prediction, prediction * relative


def _require_read_last(noisy: NoisyCircuit) -> None:
    read: set[int] = set()
    for step in noisy.steps:
        if isinstance(step, Reset):
            raise InputError("circuit", "a reset", "must hold none, for a cross entropy to be predicted")
        if isinstance(step, Measurement):
            read.add(step.qubit)
        elif isinstance(step, Unitary) and not read.isdisjoint(step.qubits):
            raise InputError(
                "circuit", f"a gate after the {MEASURE} of its qubit", "must be measured last, for a cross entropy to be predicted"
            )


def _strings(noisy: NoisyCircuit, walks: int, generator: np.random.Generator, *, read: bool) -> ByteArray:
    """Even strings of I and Z, shape (qubits, walks), none of I alone on the qubits of a part; ``read``: on measured qubits only."""
    graph = rustworkx.PyGraph()
    graph.add_nodes_from(range(noisy.qubit_count))
    graph.add_edges_from_no_data([pair for step in noisy.steps if isinstance(step, Unitary) for pair in pairwise(step.qubits)])
    measured = {step.qubit for step in noisy.measurements}
    words = np.zeros((noisy.qubit_count, walks), np.uint8)
    for part in rustworkx.connected_components(graph):
        qubits = np.array(sorted(part & measured if read else part), np.int64)
        empty = np.arange(walks if qubits.size else 0)
        while empty.size:
            words[np.ix_(qubits, empty)] = _Z * generator.integers(0, 2, (len(qubits), len(empty)), np.uint8)
            empty = empty[~words[np.ix_(qubits, empty)].any(axis=0)]
    return words


def _walk(steps: tuple[Step, ...], words: ByteArray, generator: np.random.Generator, *, backwards: bool) -> FloatArray:
    """What the channels leave, shape (walks,), of words on their random way through ``steps``, which are in the order of the way."""
    weights = np.ones(words.shape[1])
    shares: dict[bytes, FloatArray] = {}
    for step in steps:
        if isinstance(step, Measurement):
            weights *= np.where(words[step.qubit] == _Z, 1 - step.one_for_zero - step.zero_for_one, 1.0)
        elif isinstance(step, Unitary):
            key = step.matrix.tobytes()
            if key not in shares:
                shares[key] = _word_shares(step.matrix, backwards=backwards)
            numbers = _numbers(words, step.qubits)
            numbers = (shares[key][numbers] <= generator.random(len(numbers))[:, None]).sum(axis=1)
            for qubit in reversed(step.qubits):
                words[qubit] = numbers & 3
                numbers >>= 2
        elif (left := _left(step)) is not None:
            weights *= left[1][_numbers(words, left[0])]
    return weights


def _numbers(words: ByteArray, qubits: tuple[int, ...]) -> NDArray[np.int64]:
    numbers = words[qubits[0]].astype(np.int64)
    for qubit in qubits[1:]:
        numbers = 4 * numbers + words[qubit]
    return numbers


def _word_shares(matrix: Matrix, *, backwards: bool) -> FloatArray:
    """Cumulated squares of the share of each Pauli word in what a gate makes of each, shape (words, words)."""
    words = _PAULIS
    while words.shape[-1] < len(matrix):
        words = np.einsum("aij,bkl->abikjl", words, _PAULIS).reshape(4 * len(words), 2 * words.shape[1], -1)
    square = (np.einsum("pij,jk,qkl,il->pq", words, matrix, words, matrix.conj(), optimize=True).real / len(matrix)) ** 2
    cumulated = np.cumsum(square if backwards else square.T, axis=1)
    return cumulated / cumulated[:, -1:]


@cache
def _signs(qubits: int) -> FloatArray:
    return reduce(np.kron, [_SIGNS] * qubits)


def _left(step: Step) -> tuple[tuple[int, ...], FloatArray] | None:
    """The qubits of a channel, and what it leaves of each Pauli word: its transfer matrix' diagonal. None for what is no channel.

    The diagonal's mean is the channel's entanglement fidelity.
    """
    if isinstance(step, PauliNoise):
        return step.qubits, _signs(len(step.qubits)) @ step.probabilities
    if isinstance(step, Damping):
        coherence = math.sqrt(1 - step.amplitude) * (1 - 2 * step.phase)
        return (step.qubit,), np.array([1.0, coherence, coherence, 1 - step.amplitude])
    if isinstance(step, Leakage):
        return (step.qubit,), np.array([1.0, *[1 - step.probability] * 3])
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
