"""Random noisy circuits, and how far two tables of results are apart."""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2

from tiandi.computing.circuits.gates import GATES
from tiandi.computing.circuits.noise import Damping, Leakage, Measurement, NoisyCircuit, PauliNoise, Reset, Step, Unitary

CLIFFORD = ("h", "s", "sx", "sy", "x", "sydg")
GENERAL = ("h", "t", "sx", "ry", "u", "sdg")
FALSE_ALARM = 1e-6
"""How often a chi-square test of two tables from the same distribution would fail, each."""


def unitary(name: str, qubits: tuple[int, ...], *parameters: float) -> Unitary:
    """A gate by name."""
    return Unitary(GATES[name].unitary(*parameters), qubits, name, parameters)


def pauli_noise(generator: np.random.Generator, qubits: tuple[int, ...], total: float) -> PauliNoise:
    """Uneven Pauli noise that strikes with probability ``total``."""
    words = generator.random(4 ** len(qubits))
    words[0] = 0
    words *= total / words.sum()
    words[0] = 1 - total
    return PauliNoise(words, qubits)


def random_circuit(
    seed: int, qubits: int, steps: int, *, clifford: bool = False, damping: bool = True, looking: bool = True
) -> NoisyCircuit:
    """Gates, every kind of noise, resets and measurements if ``looking``; all qubits read at the end, the last first."""
    generator = np.random.default_rng(seed)
    found: list[Step] = []
    for _ in range(steps):
        first, second = (int(qubit) for qubit in generator.permutation(qubits)[:2])
        kind = generator.integers(8)
        if kind < 3:
            name = str(generator.choice(CLIFFORD if clifford else GENERAL))
            found.append(unitary(name, (first,), *generator.uniform(0, 3, GATES[name].parameter_count)))
        elif kind < 5:
            found.append(unitary(str(generator.choice(("cx", "cz", "iswap"))), (first, second)))
        elif kind == 5:
            found.append(pauli_noise(generator, (first, second), 0.2))
        elif kind == 6:
            found.append(Leakage(0.1, second))
            if damping:
                found.append(Damping(float(generator.uniform(0, 0.3)), 0.1, first))
        elif looking:
            found.append(Reset(first) if generator.integers(2) else Measurement(first, 0.02, 0.07))
    found += [Measurement(qubit, 0.02, 0.05) for qubit in reversed(range(qubits))]
    return NoisyCircuit(qubits, tuple(found))


def counts(bits: np.ndarray) -> np.ndarray:
    """How often each result (its first bit least significant) occurs."""
    return np.bincount(bits.astype(np.int64) @ (1 << np.arange(bits.shape[1])), minlength=1 << bits.shape[1])


def look_alike(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two tables (shots, bits) of equal length may come from one distribution, at `FALSE_ALARM`; rare results are put together."""
    a, b = counts(first), counts(second)
    rare = a + b < 20
    a, b = np.append(a[~rare], a[rare].sum()), np.append(b[~rare], b[rare].sum())
    filled = a + b > 0
    distance = ((a - b)[filled] ** 2 / (a + b)[filled]).sum()
    return bool(filled.sum() < 2 or chi2.sf(distance, filled.sum() - 1) > FALSE_ALARM)


def agrees(bits: np.ndarray, probabilities: np.ndarray) -> bool:
    """Whether a table (shots, bits) may come from ``probabilities`` of its results (first bit least significant), at `FALSE_ALARM`."""
    found, expected = counts(bits), probabilities * len(bits)
    rare = expected < 10
    found = np.append(found[~rare], found[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    filled = expected > 1e-3
    distance = ((found - expected)[filled] ** 2 / expected[filled]).sum()
    return bool(found[~filled].sum() == 0 and (filled.sum() < 2 or chi2.sf(distance, filled.sum() - 1) > FALSE_ALARM))
