"""The 11,520 Cliffords of two qubits out of CZ and one-qubit Cliffords, and random sequences of them.

Four classes (Corcoles et al., doi 10.1103/PhysRevA.87.030301): local ones, and those like CNOT, iSWAP and SWAP, with one, two and three CZ.
In front of the CZ each qubit has one of three turns that cycle the axes; behind it any of the 24. On average 1.5 CZ.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.experiments.cliffords import PULSES, group
from tiandi.computing.control.experiments.pair_layers import CZ, layer, orders, rotation
from tiandi.computing.instruments.program import ComplexArray
from tiandi.random import twin_generator

SIZES = (576, 5_184, 5_184, 576)
"""Elements of the classes with 0 to 3 CZ."""
Y_HALF = 1
_GATE = np.diag([1.0, 1.0, 1.0, -1.0]).astype(np.complex128)


@dataclass(frozen=True, eq=False)
class PairGroup:
    """``unitary`` (11520, 4, 4); ``place``: key of a unitary -> its number; rows of the table for each by `rows`."""

    unitary: ComplexArray
    place: dict[bytes, int]

    def inverse(self, unitary: ComplexArray) -> int:
        """Number of the Clifford that undoes ``unitary`` (4, 4), up to a phase."""
        return self.place[keys(unitary.conj().T[None])[0]]


def rows(number: int) -> list[int]:
    """Rows of pair_layers.table for a Clifford, in time."""
    pulses = group().pulses
    gates, pre, post = _parts(number)
    found: list[int] = []
    if gates in {1, 2}:
        found += layer(pulses[_cycles()[pre // 3]], pulses[_cycles()[pre % 3]])
    for place in range(gates):
        found += [CZ] if place == 0 else [*layer((Y_HALF,), (Y_HALF,)), CZ]
    return found + layer(pulses[post // 24], pulses[post % 24])


@cache
def pair_group() -> PairGroup:
    """All of them, once."""
    singles = np.array([_unitary(pulses) for pulses in group().pulses])
    local = np.einsum("aij,bkl->abikjl", singles, singles).reshape(576, 4, 4)
    cycles = singles[list(_cycles())]
    before = np.einsum("aij,bkl->abikjl", cycles, cycles).reshape(9, 4, 4)
    half = np.kron(_unitary((Y_HALF,)), _unitary((Y_HALF,)))
    cores = (np.eye(4), _GATE, _GATE @ half @ _GATE, _GATE @ half @ _GATE @ half @ _GATE)
    parts = []
    for gates, core in enumerate(cores):
        front = core @ before if gates in {1, 2} else core[None]
        parts.append(np.einsum("pij,ajk->paik", local, front).swapaxes(0, 1).reshape(-1, 4, 4))
    unitary = np.concatenate(parts)
    return PairGroup(unitary, {key: number for number, key in enumerate(keys(unitary))})


def keys(unitary: ComplexArray) -> list[bytes]:
    """Of unitaries (N, 4, 4): the same for those that differ by a phase."""
    flat = unitary.reshape(len(unitary), 16)
    first = (np.abs(flat) > 0.3).argmax(axis=1)
    lead = flat[np.arange(len(flat)), first]
    turned = flat * (lead.conj() / np.abs(lead))[:, None]
    whole = np.rint(8.0 * np.concatenate([turned.real, turned.imag], axis=1)).astype(np.int8)
    return [row.tobytes() for row in whole]


def sequences(lengths: NDArray[np.int64], *, interleaved: bool, name: str) -> NDArray[np.int16]:
    """(1, len(lengths), longest): rows of the table for so many random Cliffords and the one that undoes them; -1 behind.

    ``interleaved``: a CZ after each. The same ``name``, the same sequences.
    """
    every, generator = pair_group(), twin_generator(0, "control", name)
    found: list[list[int]] = []
    for length in lengths.tolist():
        state, sequence = np.eye(4, dtype=np.complex128), list[int]()
        for number in generator.integers(0, sum(SIZES), length).tolist():
            state = every.unitary[number] @ state
            sequence += rows(number)
            if interleaved:
                state = _GATE @ state
                sequence.append(CZ)
        found.append(sequence + rows(every.inverse(state)))
    return orders(found)


def _parts(number: int) -> tuple[int, int, int]:
    """CZ of a Clifford, the turns in front of them (0 to 8), and the local one behind (0 to 575)."""
    gates = 0
    while number >= SIZES[gates]:
        number -= SIZES[gates]
        gates += 1
    return gates, number // 576, number % 576


@cache
def _cycles() -> tuple[int, int, int]:
    """Numbers of the identity and the two turns that cycle x, y and z."""
    once = (0, 1)
    return 0, group().number(*once), group().number(*once, *once)


def _unitary(pulses: tuple[int, ...]) -> ComplexArray:
    product = np.eye(2, dtype=np.complex128)
    for pulse in pulses:
        product = rotation(*PULSES[pulse]) @ product
    return product
