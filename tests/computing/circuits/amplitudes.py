"""Amplitudes of a circuit by plain NumPy, apart from the engines; circuits drawn by Hypothesis."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiandi.computing.circuits.circuit import MEASURE, Circuit, Operation
from tiandi.computing.circuits.gates import GATES

ANGLES = st.floats(-20, 20, allow_nan=False)


def final_amplitudes(circuit: Circuit, beginning: NDArray[np.complex128] | None = None) -> NDArray[np.complex128]:
    """Shape (2**n,), qubit 0 most significant; ``beginning`` likewise (all qubits 0 unless given). Only gates act."""
    count = circuit.qubit_count
    state = np.eye(1, 2**count, dtype=complex)[0] if beginning is None else beginning
    state = state.reshape((2,) * count)
    for operation in circuit.operations:
        if operation.name in GATES:
            size = len(operation.qubits)
            matrix = GATES[operation.name].unitary(*operation.parameters).reshape((2,) * (2 * size))
            state = np.moveaxis(np.tensordot(matrix, state, (range(size, 2 * size), operation.qubits)), range(size), operation.qubits)
    return state.ravel()


def overlap(first: NDArray[np.complex128], second: NDArray[np.complex128]) -> float:
    """|<first|second>|: 1 where they differ by a global phase alone."""
    return float(abs(np.vdot(first, second)))


def some_amplitudes(count: int, seed: int) -> NDArray[np.complex128]:
    """A random state, so that every column of a unitary counts."""
    draw = np.random.default_rng(seed)
    state = draw.normal(size=2**count) + 1j * draw.normal(size=2**count)
    return state / np.linalg.norm(state)


@st.composite
def operations(draw: st.DrawFn, count: int, names: list[str]) -> Operation:
    """One gate of ``names`` on some of ``count`` qubits."""
    name = draw(st.sampled_from(names))
    qubits = draw(st.permutations(range(count)))[: GATES[name].qubit_count]
    return Operation(name, tuple(qubits), tuple(draw(ANGLES) for _ in range(GATES[name].parameter_count)))


@st.composite
def circuits(draw: st.DrawFn, names: list[str] | None = None, most: int = 12, measured: bool = True) -> Circuit:
    """A few gates on two to five qubits, then measurements of some of them in any order."""
    count = draw(st.integers(2, 5))
    gates = draw(st.lists(operations(count, names or list(GATES)), min_size=1, max_size=most))
    read = draw(st.permutations(range(count)))[: draw(st.integers(0, count))] if measured else []
    return Circuit(count, (*gates, *(Operation(MEASURE, (qubit,)) for qubit in read)))


def random_circuit(count: int, length: int, seed: int, names: list[str] | None = None) -> Circuit:
    """``length`` gates drawn evenly."""
    draw = np.random.default_rng(seed)
    gates = []
    for name in draw.choice(names or list(GATES), length):
        gate = GATES[str(name)]
        qubits = tuple(int(qubit) for qubit in draw.permutation(count)[: gate.qubit_count])
        gates.append(Operation(str(name), qubits, tuple(float(angle) for angle in draw.uniform(-7, 7, gate.parameter_count))))
    return Circuit(count, tuple(gates))
