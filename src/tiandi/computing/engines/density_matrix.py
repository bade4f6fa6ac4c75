"""Exact evolution of a density matrix through every channel, for few qubits."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.circuits.noise import Measurement, NoisyCircuit, Step
from tiandi.computing.engines.amplitudes import Amplitudes
from tiandi.computing.engines.channels import PROJECTORS, kraus_operators
from tiandi.computing.engines.preparing import BitTable, Block, Prepared, embedded, fuse, qubits_of
from tiandi.computing.engines.state_vector import pauli_masks

FUSED = 2
"""Qubits a block: the matrix of a block's channel has 4**FUSED rows."""


def channel_matrix(block: Block) -> NDArray[np.complex128]:
    """The channel of a block as a matrix (4**k, 4**k) on the density matrix's entries, row index before column index."""
    size = 1 << len(block.qubits)
    product = np.eye(size * size, dtype=complex)
    for step in block.steps:
        whole = [embedded(kraus, qubits_of(step), block.qubits) for kraus in kraus_operators(step)]
        product = np.sum([np.kron(kraus, kraus.conj()) for kraus in whole], axis=0) @ product
    return product


def _apply_block(entries: Amplitudes, block: Block, count: int) -> None:
    entries.apply(channel_matrix(block), (*block.qubits, *(count + qubit for qubit in block.qubits)))


def final_density_matrix(noisy: NoisyCircuit) -> NDArray[np.complex128]:
    """The density matrix (2**n, 2**n) after ``noisy``, qubit 0 most significant; measurements dephase, since nobody looks."""
    count = noisy.qubit_count
    entries = Amplitudes(2 * count, np.float64)
    for block in fuse(noisy.steps, FUSED):
        _apply_block(entries, block, count)
    real, imaginary = entries.parts
    return np.asarray((real + 1j * imaginary).reshape(1 << count, 1 << count))


def expectation_values(density: NDArray[np.complex128], words: Iterable[str]) -> NDArray[np.float64]:
    """tr(P rho) of each Pauli word (letter k acts on qubit k) in ``density`` (2**n, 2**n).

    Raises InputError for a word of another length or with another letter.
    """
    numbers = np.arange(len(density))
    values = []
    for word in words:
        flips, signs, turns = pauli_masks(word, len(density).bit_length() - 1)
        entries = density[numbers, numbers ^ flips]
        values.append(float((1j**turns * np.sum(np.where(np.bitwise_count(numbers & signs) & 1, -entries, entries))).real))
    return np.array(values)


def sample(prepared: Prepared, shots: int, generator: np.random.Generator) -> BitTable:
    """True bits (shots, measured). A measurement inside the circuit splits the shots by what it found."""
    bits = np.zeros((shots, len(prepared.measurements)), np.uint8)
    count = prepared.qubit_count
    blocks = fuse(prepared.body, FUSED)
    columns = _measurement_columns(blocks, prepared)
    waiting = [(Amplitudes(2 * count, np.float64), np.arange(shots), 0)]
    while waiting:
        entries, rows, start = waiting.pop()
        for number in range(start, len(blocks)):
            block = blocks[number]
            if number not in columns:
                _apply_block(entries, block, count)
                continue
            ones = generator.random(rows.size) < _population(entries, block.qubits[0], count)
            bits[rows[ones], columns[number]] = 1
            groups = [(value, group) for value, group in ((0, rows[~ones]), (1, rows[ones])) if group.size]
            for value, group in groups:
                split = entries.copy() if len(groups) > 1 and value == 0 else entries
                waiting.append((_projected(split, block.qubits[0], value, count), group, number + 1))
            break
        else:
            _read_final(bits, rows, entries, prepared, generator)
    return bits


def _measurement_columns(blocks: list[Block], prepared: Prepared) -> dict[int, int]:
    """The column of the result that each block fills which is a measurement, by the block's number.

    Fusing may move a block past measurements of other qubits, so measurements are told apart by identity, in the body's order.
    """
    column_of = dict(zip((id(step) for step in _measured(prepared.body)), prepared.body_columns, strict=True))
    return {number: column_of[id(block.steps[0])] for number, block in enumerate(blocks) if isinstance(block.steps[0], Measurement)}


def _measured(steps: Iterable[Step]) -> list[Step]:
    return [step for step in steps if isinstance(step, Measurement)]


def _diagonal(entries: Amplitudes, count: int) -> NDArray[np.float64]:
    return np.maximum(entries.parts[0].reshape(1 << count, 1 << count).diagonal(), 0.0).astype(float)


def _population(entries: Amplitudes, qubit: int, count: int) -> float:
    diagonal = _diagonal(entries, count).reshape(1 << qubit, 2, -1).sum(axis=(0, 2))
    return float(diagonal[1] / diagonal.sum())


def _projected(entries: Amplitudes, qubit: int, value: int, count: int) -> Amplitudes:
    projector = PROJECTORS[value]
    entries.apply(np.kron(projector, projector), (qubit, count + qubit))
    entries.scale(1 / _diagonal(entries, count).sum())
    return entries


def _read_final(bits: BitTable, rows: NDArray[np.int64], entries: Amplitudes, prepared: Prepared, generator: np.random.Generator) -> None:
    diagonal = _diagonal(entries, prepared.qubit_count)
    numbers = generator.choice(diagonal.size, rows.size, p=diagonal / diagonal.sum())
    for qubit, column in zip(prepared.final_qubits, prepared.final_columns, strict=True):
        bits[rows, column] = numbers >> (prepared.qubit_count - 1 - qubit) & 1
