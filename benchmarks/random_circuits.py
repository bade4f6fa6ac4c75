"""Random circuit sampling with a machine's full noise, every sample checked by its own amplitude, on one core.

The goals of 56, 66 and 105 qubits are met with the layers in the order ADCBCBAD, which is ours; with ABCDCDAB, as published, that of
56 qubits x 10 cycles is missed, and smaller or cut circuits are measured beside it. The longer run that decides whether samples have the
cross entropy they should: python random_circuits.py SHOTS. The peer is cotengra's own contraction of the same network, one bit string at a
time, along a path from the same search.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cotengra
import numpy as np

from measure import Figure
from tiandi.computing.circuits.circuit import Circuit
from tiandi.computing.circuits.noise import Unitary, without_noise
from tiandi.computing.engines.circuit_network import CircuitNetwork
from tiandi.computing.engines.contraction import LARGEST_ENTRIES
from tiandi.computing.engines.tensor_network import amplitudes, draw, estimate, ideal_cross_entropy, scaled_probabilities
from tiandi.computing.machines.lattice import PUBLISHED_SEQUENCE
from tiandi.computing.machines.prediction import predicted_cross_entropy
from tiandi.computing.machines.twin import Twin, build_twin
from tiandi.computing.sampling.cross_entropy import CrossEntropy, linear_cross_entropy, product_of_parts
from tiandi.computing.sampling.random_circuits import EASIER_SEQUENCE, patches_of, random_circuit

SHOTS = 2000
PEER_STRINGS = 4
PATCH_SHOTS = 1000
PUBLISHED_PATH_SEED = 78
"""Of 120 greedy searches for one amplitude of 56 qubits and 10 cycles of ABCDCDAB, the one with the cheapest path."""


@dataclass(frozen=True)
class Sampling:
    """Processor time of a sample with its amplitude, and the cross entropy over what was expected."""

    seconds: float
    found: CrossEntropy
    expected: float
    expected_error: float
    cut: float

    @property
    def deviations(self) -> float:
        """Distance from what was expected in standard errors of both."""
        return abs(self.found.value - self.expected) / np.hypot(self.found.error, self.expected_error)


def benchmark_random_circuits() -> list[Figure]:
    """Samples of 56, 66 and 105 qubits in 10 cycles, single amplitudes of 12 and 14 cycles, and the error of amplitudes at 20 qubits."""
    small, large = build_twin("zuchongzhi-2.1"), build_twin("zuchongzhi-3.0")
    circuit = _circuit(small, 56, 10)
    own = sampling(small, circuit, SHOTS)
    theirs = _peer_seconds(circuit)
    bits = np.zeros((64, 56), np.uint8)
    checking = _seconds(lambda: amplitudes(circuit, bits ^ np.random.default_rng(1).integers(0, 2, bits.shape, np.uint8))) / 64
    wide = sampling(small, _circuit(small, 66, 10), 200)
    widest = sampling(large, _circuit(large, 105, 10), 40)
    shallow = sampling(small, _circuit(small, 56, 6, PUBLISHED_SEQUENCE), 500)
    patch = sampling(small, _patch_circuit(small, 56, 10), PATCH_SHOTS)
    published_seconds, published_text = _published_amplitude(_circuit(small, 56, 10, PUBLISHED_SEQUENCE))
    easier, published = f" of {EASIER_SEQUENCE}", f" of {PUBLISHED_SEQUENCE}, as published"
    return [
        Figure(
            f"56 qubits x 10 cycles{easier}, our easier sequence, full noise: processor time of a sample and its amplitude",
            1e3 * own.seconds,
            100.0,
            "ms",
            f"an amplitude: {1e3 * checking:.1f} ms, cotengra alone {1e3 * theirs:.1f} ms, {theirs / checking:.1f} times as long",
        ),
        Figure(f"the same: {SHOTS} samples' cross entropy from what is expected, standard errors", own.deviations, 2.0, "", _text(own)),
        Figure("the same: part of the weight cut off by the envelope", own.cut, 0.005, ""),
        Figure(f"66 qubits x 10 cycles{easier}", 1e3 * wide.seconds, 200.0, "ms"),
        Figure(f"105 qubits x 10 cycles{easier}", widest.seconds, 1.0, "s"),
        Figure(f"56 qubits x 12 cycles{easier}: one amplitude", _spot_check(small, 56, 12), 10.0, "s"),
        Figure(f"56 qubits x 14 cycles{easier}: one amplitude", _spot_check(small, 56, 14), 60.0, "s"),
        Figure(f"56 qubits x 10 cycles{published}: one amplitude, and a sample takes more", published_seconds, 0.1, "s", published_text),
        Figure(f"56 qubits x 10 cycles{published}, two patches: a sample and its amplitude", 1e3 * patch.seconds, 100.0, "ms"),
        Figure(f"the same: {PATCH_SHOTS} samples' cross entropy, standard errors", patch.deviations, 2.0, "", _text(patch)),
        Figure(f"56 qubits x 6 cycles{published}: a sample and its amplitude", 1e3 * shallow.seconds, 100.0, "ms"),
        Figure("20 qubits x 14 cycles: largest error of 256 amplitudes, in 1e-7", 1e7 * _error(small), 1.0, ""),
    ]


def sampling(twin: Twin, circuit: Circuit, shots: int) -> Sampling:
    """Noisy samples of ``circuit`` and their ideal amplitudes; the paths are looked for before the clock starts."""
    noisy = twin.noisy(circuit)
    estimate(noisy)
    estimate(without_noise(circuit), open_qubits=0)
    begin = time.process_time()
    drawn = draw(noisy, shots, seed=1)
    scaled = scaled_probabilities(circuit, drawn.bits)
    seconds = (time.process_time() - begin) / shots
    left, left_error = predicted_cross_entropy(noisy)
    ideal, ideal_error = ideal_cross_entropy(circuit, draws=min(256, 2 * shots))
    found = product_of_parts([linear_cross_entropy(part) for part in scaled])
    return Sampling(seconds, found, ideal * left, float(np.hypot(ideal * left_error, ideal_error * left)), drawn.cut)


def _circuit(twin: Twin, qubits: int, cycles: int, sequence: str = EASIER_SEQUENCE) -> Circuit:
    return random_circuit(twin.lattice, twin.subset(qubits), cycles, sequence=sequence, seed=1)


def _patch_circuit(twin: Twin, qubits: int, cycles: int) -> Circuit:
    taken = twin.subset(qubits)
    return random_circuit(twin.lattice, taken, cycles, seed=1, patches=patches_of(twin.lattice, taken))


def _text(own: Sampling) -> str:
    return f"{own.found.value:.4f} +- {own.found.error:.4f}, expected {own.expected:.4f} +- {own.expected_error:.4f}"


def _seconds(work) -> float:  # type: ignore[no-untyped-def]
    work()
    begin = time.process_time()
    work()
    return time.process_time() - begin


def _spot_check(twin: Twin, qubits: int, cycles: int) -> float:
    circuit = _circuit(twin, qubits, cycles)
    estimate(without_noise(circuit), open_qubits=0)
    begin = time.process_time()
    amplitudes(circuit, np.zeros((1, qubits), np.uint8))
    return time.process_time() - begin


def _error(twin: Twin) -> float:
    """Largest difference from a state vector in double precision."""
    circuit = _circuit(twin, 20, 14)
    place = {qubit: number for number, qubit in enumerate(circuit.measured_qubits)}
    state = np.zeros((2,) * 20, complex)
    state[(0,) * 20] = 1.0
    for step in without_noise(circuit).steps:
        if isinstance(step, Unitary):
            count, axes = len(step.qubits), [place[qubit] for qubit in step.qubits]
            turned = np.tensordot(step.matrix.reshape((2,) * 2 * count), state, (range(count, 2 * count), axes))
            state = np.moveaxis(turned, range(count), axes)
    bits = np.random.default_rng(1).integers(0, 2, (256, 20), np.uint8)
    return float(np.abs(amplitudes(circuit, bits) - state[tuple(bits.T)]).max())


def _peer_seconds(circuit: Circuit) -> float:
    """Processor time of cotengra's own contraction of one amplitude, after one that warms up."""
    best, tensors = _peer(circuit, range(6), PEER_STRINGS + 1)
    best.contract(tensors[0])
    begin = time.process_time()
    for arrays in tensors[1:]:
        best.contract(arrays)
    return (time.process_time() - begin) / PEER_STRINGS


def _published_amplitude(circuit: Circuit) -> tuple[float, str]:
    """Processor time of one amplitude, extrapolated from one of its slices, and how it was found."""
    tree, tensors = _peer(circuit, (PUBLISHED_PATH_SEED,), 1)
    tree.slice_and_reconfigure_(target_size=LARGEST_ENTRIES, minimize="flops")
    begin = time.process_time()
    tree.contract_slice(tensors[0], 0)
    one = time.process_time() - begin
    return tree.multiplicity * one, f"one of {tree.multiplicity} slices: {one:.0f} s; {8 * tree.contraction_cost():.1e} operations in all"


def _peer(circuit: Circuit, seeds: Sequence[int], strings: int) -> tuple[Any, list[list[np.ndarray]]]:
    """cotengra's best tree of the searches ``seeds`` for one amplitude, and the tensors of some bit strings."""
    network = CircuitNetwork(without_noise(circuit))
    numbers, inputs, output, sizes = network.legs(network.qubits, ())
    symbols = {leg: cotengra.get_symbol(leg) for leg in sizes}
    names, ends = [tuple(symbols[leg] for leg in legs) for legs in inputs], tuple(symbols[leg] for leg in output)
    dimensions = {symbols[leg]: size for leg, size in sizes.items()}

    def searched(seed: int) -> Any:
        optimiser = cotengra.RandomGreedyOptimizer(max_repeats=64, seed=seed, accel="auto")
        tree = cotengra.array_contract_tree(names, ends, size_dict=dimensions, optimize=optimiser, canonicalize=False)
        return tree.subtree_reconfigure_(subtree_size=8, minimize="flops")

    drawn = np.random.default_rng(1).integers(0, 2, (strings, 1, len(network.qubits)), np.uint8)
    tensors = [[tensor.values[tensor.row[0]] for tensor in network.stacked(numbers, bits, [{}], ())] for bits in drawn]
    return min(map(searched, seeds), key=lambda tree: tree.contraction_cost()), tensors


if __name__ == "__main__":
    machine = build_twin("zuchongzhi-2.1")
    shots = int(sys.argv[1]) if len(sys.argv) > 1 else SHOTS
    long = sampling(machine, _circuit(machine, 56, 10), shots)
    print(f"{shots} samples, {1e3 * long.seconds:.1f} ms each: {_text(long)}, {long.deviations:.1f} standard errors; cut {long.cut:.1e}")
