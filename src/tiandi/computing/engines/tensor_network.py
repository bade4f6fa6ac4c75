"""Amplitudes and noisy samples of shallow circuits on many qubits, by contraction of tensor networks.

Sampling. In each run the errors are drawn anew (`circuit_network`), some qubits' bits are drawn evenly ("closed"), and the network is
contracted with the others open. The sum of what comes out, times 2**closed, is the weight of the draw: by how much these bits are
likelier, given these errors, than an even draw. The run is kept with probability weight / envelope, and then the open bits are drawn
from what came out. That is rejection sampling, and exact where no weight exceeds the envelope (Markov et al., arXiv:1807.10749).
Weights of a deep random circuit scatter by 2**(-open/2); the envelope is set above them after a pilot, and the part of the weight that
was cut off, which bounds the distance in total variation, is in the result. Circuits far from even (few layers, or structured ones)
would hardly ever be kept: they are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.circuits.circuit import Circuit
from tiandi.computing.circuits.noise import Measurement, NoisyCircuit, Unitary, without_noise
from tiandi.computing.engines.circuit_network import BitArray, CircuitNetwork
from tiandi.computing.engines.contraction import Contraction, Indices
from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.random import twin_generator

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

OPEN_QUBITS = 8
LARGEST_BATCH, BATCH_BYTE = 64, 2**28
SHORTEST_PILOT, PILOT = 32, 128
"""Draws that only set the envelope: a quarter of the samples, within these limits."""
ENVELOPE_DEVIATIONS = 3.5
"""How far above the mean weight the envelope lies: an even gamma distribution has 2e-5 of its weight beyond."""
LARGEST_ENVELOPE = 8.0
"""Above it more than seven of eight contractions would be thrown away."""
CONTRACTION_FLOP_PER_S = 5e9
"""Of one core at these small matrices (label: measured)."""
MOST_SHOTS = 10**8

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Sampled:
    """``bits`` (shots, measured). ``proposals`` contractions were made; ``cut`` bounds the distance to the exact distribution.

    ``cut`` is the mean weight beyond ``envelope``: an estimate of the total variation between what was drawn and the noise model.
    """

    bits: BitArray
    proposals: int
    envelope: float
    cut: float


def estimate(noisy: NoisyCircuit, *, open_qubits: int = OPEN_QUBITS) -> tuple[float, int]:
    """Real operations of one draw's contraction (of one amplitude: none open), and bytes. The first call for a circuit finds its path."""
    parts = _Parts(CircuitNetwork(noisy), open_qubits)
    return sum(part.contraction.flop for part in parts.each), max(part.contraction.memory_byte for part in parts.each)


def amplitudes(circuit: Circuit | NoisyCircuit, bits: BitArray, *, progress: Progress | None = None) -> ComplexArray:
    """<x|C|0> for each row x of ``bits`` (shots, measured), shape (shots,), to about 1e-6 of its size (single precision).

    Raises InputError where noise or an unmeasured qubit is in the circuit: then no single amplitude belongs to the bits.
    """
    network, rows = _asked(circuit, bits)
    found = np.ones(len(rows), complex)
    for begin, outs in _contracted(network, rows, progress):
        for out in outs:
            found[begin : begin + len(out)] *= out
    return found


def scaled_probabilities(circuit: Circuit | NoisyCircuit, bits: BitArray, *, progress: Progress | None = None) -> FloatArray:
    """2**n |<x|C|0>|**2 for each group of n qubits that gates join and each row x of ``bits``, shape (groups, shots); as `amplitudes`."""
    network, rows = _asked(circuit, bits)
    groups = network.components()
    found = np.empty((len(groups), len(rows)))
    for begin, outs in _contracted(network, rows, progress):
        for group, qubits, out in zip(found, groups, outs, strict=True):
            group[begin : begin + len(out)] = 2.0 ** len(qubits) * np.abs(out).astype(float) ** 2
    return found


def _asked(circuit: Circuit | NoisyCircuit, bits: BitArray) -> tuple[CircuitNetwork, BitArray]:
    """The network, and ``bits`` in the order of its qubits."""
    noisy = without_noise(circuit) if isinstance(circuit, Circuit) else circuit
    if not all(isinstance(step, Unitary | Measurement) for step in noisy.steps):
        raise InputError("circuit", "noisy", "must hold nothing but gates and measurements for amplitudes")
    network = CircuitNetwork(noisy)
    measured = [measurement.qubit for measurement in noisy.measurements]
    bits = _checked_bits(bits, len(measured))
    if set(measured) != set(network.qubits):
        raise InputError("measured qubits", len(measured), f"must be all {len(network.qubits)} that the circuit touches")
    return network, bits[:, [measured.index(qubit) for qubit in network.qubits]]


def _contracted(network: CircuitNetwork, rows: BitArray, progress: Progress | None) -> Iterator[tuple[int, list[NDArray[np.complex64]]]]:
    """Amplitudes of each group of joined qubits, batch by batch, with the number of the batch's first row."""
    parts = _Parts(network, 0)
    for begin in range(0, len(rows), parts.batch):
        batch = rows[begin : begin + parts.batch]
        yield begin, parts.contract(batch, [{}] * len(batch))
        if progress is not None:
            progress(begin + len(batch), len(rows))


def sample(noisy: NoisyCircuit, shots: int, seed: int | None = None) -> BitArray:
    """Results of ``shots`` runs of ``noisy``, shape (shots, measured); column k is the k-th measurement."""
    return draw(noisy, shots, seed=seed).bits


def draw(
    noisy: NoisyCircuit, shots: int, *, seed: int | None = None, open_qubits: int = OPEN_QUBITS, progress: Progress | None = None
) -> Sampled:
    """Runs of ``noisy``, each with errors of its own, and how well they were drawn; ``progress`` hears of shots done and of all.

    Raises InputError for circuits without measurements, or whose results are far from even.
    """
    require_within("shots", shots, 1, MOST_SHOTS)
    require_within("open_qubits", open_qubits, 1, 20)
    if not noisy.measurements:
        raise InputError("measurements", 0, "must be at least 1")
    sampler = _Sampler(noisy, open_qubits, twin_generator(seed, "tensor network"))
    return sampler.run(shots, progress)


def ideal_cross_entropy(circuit: Circuit, *, draws: int = 128, seed: int | None = 1) -> tuple[float, float]:
    """2**n sum over x of p(x)**2, minus 1: what an ideal machine's samples give, and its standard error; 1 where circuits are deep.

    From ``draws`` contractions with even closed bits, each the amplitudes of 2**open strings of every group of n joined qubits; the
    product over the groups.
    """
    require_within("draws", draws, 2, 10**6)
    network = CircuitNetwork(without_noise(circuit))
    parts = _Parts(network, OPEN_QUBITS)
    generator = twin_generator(seed, "collisions")
    found: list[list[FloatArray]] = [[] for _ in parts.each]
    for count in _portions(draws, parts.batch):
        bits = generator.integers(0, 2, (count, len(network.qubits)), np.uint8)
        for part, out, own in zip(parts.each, parts.contract(bits, [{}] * count), found, strict=True):
            scaled = 2.0 ** len(part.qubits) * np.abs(out.reshape(count, -1)).astype(float) ** 2
            own.append((scaled**2).mean(axis=1))
    collisions = np.array([np.concatenate(own) for own in found])
    values, errors = collisions.mean(axis=1) - 1.0, collisions.std(axis=1, ddof=1) / math.sqrt(draws)
    others = [float(np.prod(np.delete(values, number))) for number in range(len(values))]
    return float(values.prod()), math.hypot(*(errors * others))


class _Sampler:
    def __init__(self, noisy: NoisyCircuit, open_qubits: int, generator: np.random.Generator) -> None:
        self._network = CircuitNetwork(noisy)
        self._parts = _Parts(self._network, open_qubits)
        self._generator = generator
        columns = [self._network.qubits.index(measurement.qubit) for measurement in noisy.measurements]
        self._columns = np.array(columns)
        self._wrong = np.array([[measurement.one_for_zero, measurement.zero_for_one] for measurement in noisy.measurements])

    def run(self, shots: int, progress: Progress | None) -> Sampled:
        pilot = min(PILOT, max(SHORTEST_PILOT, shots // 4))
        weights = np.concatenate([self._propose(count)[0] for count in _portions(pilot, self._parts.batch)])
        scatter = float(weights.std() / weights.mean()) if weights.mean() > 0 else math.inf
        envelope = 1.0 + ENVELOPE_DEVIATIONS * scatter + 1e-9
        if not envelope <= LARGEST_ENVELOPE:
            limit = "is too far from even bits for this engine"
            raise InputError("scatter of the weights of results", scatter, limit)
        kept: list[BitArray] = []
        done, proposals, beyond, total = 0, 0, 0.0, 0.0
        while done < shots:
            wanted = math.ceil((shots - done) * envelope) + 2
            weights, bits = self._propose(min(self._parts.batch, wanted))
            chosen = bits[self._generator.random(len(weights)) * envelope < weights]
            kept.append(chosen[: shots - done])
            done += len(kept[-1])
            proposals += len(weights)
            beyond += float(np.maximum(weights - envelope, 0).sum())
            total += float(weights.sum())
            if progress is not None:
                progress(done, shots)
        return Sampled(self._read(np.concatenate(kept)), proposals, envelope, beyond / total)

    def _propose(self, batch: int) -> tuple[FloatArray, BitArray]:
        """Weights (batch,) and bits (batch, qubits) of so many draws."""
        bits = self._generator.integers(0, 2, (batch, len(self._network.qubits)), np.uint8)
        events = self._network.draw_events(batch, self._generator)
        weights = np.ones(batch)
        for part, out in zip(self._parts.each, self._parts.contract(bits, events), strict=True):
            chances = np.cumsum((out.real.astype(float) ** 2 + out.imag.astype(float) ** 2).reshape(batch, -1), axis=1)
            weights *= chances[:, -1] * 2.0 ** (len(part.qubits) - len(part.open_qubits))
            aim = self._generator.random(batch) * chances[:, -1]
            number = np.minimum((chances <= aim[:, None]).sum(axis=1), chances.shape[1] - 1)
            for place, qubit in enumerate(part.open_qubits):
                bits[:, self._network.qubits.index(qubit)] = number >> (len(part.open_qubits) - 1 - place) & 1
        return weights, bits

    def _read(self, bits: BitArray) -> BitArray:
        """What the readout makes of the bits."""
        true = bits[:, self._columns]
        wrong = np.where(true == 1, self._wrong[:, 1], self._wrong[:, 0])
        return true ^ (self._generator.random(true.shape) < wrong).astype(np.uint8)


@dataclass(frozen=True)
class _Part:
    qubits: tuple[int, ...]
    open_qubits: tuple[int, ...]
    sites: tuple[int, ...]
    contraction: Contraction


class _Parts:
    """The groups of qubits that no gate joins to others, each with the contraction of its network."""

    def __init__(self, network: CircuitNetwork, open_qubits: int) -> None:
        self._network = network
        self.each = []
        for qubits in network.components():
            left_open = qubits[:open_qubits]
            numbers, inputs, output, sizes = network.legs(qubits, left_open)
            contraction = _contraction(tuple(inputs), output, tuple(sorted(sizes.items())))
            self.each.append(_Part(qubits, left_open, tuple(numbers), contraction))
        largest = max(part.contraction.memory_byte for part in self.each)
        self.batch = int(min(max(BATCH_BYTE // largest, 1), LARGEST_BATCH))

    def contract(self, bits: BitArray, events: Sequence[Mapping[int, int]]) -> list[NDArray[np.complex64]]:
        """What comes out of each part, shape (batch, 2, 2, ...) over its open qubits."""
        return [part.contraction(self._network.stacked(part.sites, bits, events, part.open_qubits)) for part in self.each]


@lru_cache(maxsize=64)
def _contraction(inputs: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[int, int], ...]) -> Contraction:
    """A path once found serves every circuit of the same shape."""
    return Contraction(inputs, output, dict(sizes))


def _portions(count: int, most: int) -> list[int]:
    return [min(most, count - begin) for begin in range(0, count, most)]


def _checked_bits(bits: BitArray, measured: int) -> BitArray:
    array = np.asarray(bits)
    if array.ndim != 2 or array.shape[1] != measured:
        raise InputError("shape of bits", array.shape, f"must be (shots, {measured})")
    if not np.isin(array, (0, 1)).all():
        raise InputError("bits", int(array[~np.isin(array, (0, 1))][0]), "must be 0 or 1")
    return array.astype(np.uint8)
