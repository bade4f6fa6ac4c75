"""All amplitudes of a circuit without noise, and samples and expectation values from them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.circuits.noise import Measurement, NoisyCircuit, Unitary
from tiandi.computing.engines.amplitudes import Amplitudes
from tiandi.computing.engines.preparing import BitTable, Block, Prepared, embedded, fuse
from tiandi.errors import InputError

FUSED = 3


def block_matrix(block: Block) -> NDArray[np.complex128]:
    """The product of a block of gates."""
    product = np.eye(1 << len(block.qubits), dtype=complex)
    for step in block.steps:
        assert isinstance(step, Unitary)
        product = embedded(step.matrix, step.qubits, block.qubits) @ product
    return product


def evolve(state: Amplitudes, gates: Iterable[Unitary]) -> None:
    """Apply ``gates`` to ``state`` in place."""
    for block in fuse(gates, FUSED):
        state.apply(block_matrix(block), block.qubits)


def sample(prepared: Prepared, shots: int, generator: np.random.Generator) -> BitTable:
    """True bits (shots, measured) of a circuit with nothing but gates before its last measurements; amplitudes in single precision."""
    state = Amplitudes(prepared.qubit_count)
    evolve(state, (step for step in prepared.body if isinstance(step, Unitary)))
    bits = np.zeros((shots, len(prepared.measurements)), np.uint8)
    bits[:, list(prepared.final_columns)] = state.sample(shots, generator)[:, list(prepared.final_qubits)]
    return bits


def final_state(noisy: NoisyCircuit) -> NDArray[np.complex128]:
    """The amplitudes (2**n,) after a circuit of gates, qubit 0 most significant; measurements at the end are not made.

    Raises InputError where a circuit has noise, a reset or a measurement before its end.
    """
    steps = list(noisy.steps)
    while steps and isinstance(steps[-1], Measurement):
        steps.pop()
    gates = [step for step in steps if isinstance(step, Unitary)]
    if len(gates) < len(steps):
        other = next(step for step in steps if not isinstance(step, Unitary))
        raise InputError("circuit", type(other).__name__, "a final state exists for gates only, with measurements at the end")
    state = Amplitudes(noisy.qubit_count, np.float64)
    evolve(state, gates)
    real, imaginary = state.parts
    return np.asarray(real + 1j * imaginary)


def expectation_values(state: NDArray[np.complex128], words: Iterable[str]) -> NDArray[np.float64]:
    """The mean of each Pauli word (letters I, X, Y, Z; letter k acts on qubit k) in ``state`` (2**n,), one number a word.

    Raises InputError for a word of another length or with another letter.
    """
    bits = state.size.bit_length() - 1
    numbers = np.arange(state.size)
    values = []
    for word in words:
        flips, signs, turns = pauli_masks(word, bits)
        # <s| P |s> = sum over k of conj(s[k ^ flips]) * i**turns * (-1)**|k & signs| * s[k].
        parity = np.bitwise_count(numbers & signs) & 1
        values.append(float(((1j**turns) * np.sum(np.conj(state[numbers ^ flips]) * np.where(parity, -state, state))).real))
    return np.array(values)


def pauli_masks(word: str, bits: int) -> tuple[int, int, int]:
    """Which bits a Pauli word flips, of which it takes the sign, and how many Y it holds.

    Raises InputError for a word of another length than ``bits`` or with another letter.
    """
    if len(word) != bits or set(word) - set("IXYZ"):
        raise InputError("Pauli word", word, f"must be {bits} letters I, X, Y or Z, the first for qubit 0")
    flips = sum(1 << (bits - 1 - qubit) for qubit, letter in enumerate(word) if letter in "XY")
    signs = sum(1 << (bits - 1 - qubit) for qubit, letter in enumerate(word) if letter in "YZ")
    return flips, signs, word.count("Y")
