"""The amplitudes of a pure state (or the entries of a density matrix), and small matrices multiplied onto them.

Which bit of an amplitude's number is which qubit changes as it goes: matrices are multiplied on the higher bits only, where that is
quick (see `kernels`), and a qubit that stands too low is first exchanged, with its neighbours, for qubits that were used a moment ago
and will hardly be used next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.engines.preparing import BitTable

LEAST_BITS = 12
"""Smaller states are filled up with bits that stay 0: there are always enough bits to exchange with, at no cost that can be seen."""
_LINE_BYTE = 64
_CHUNK = 1024


class Amplitudes:
    """|0...0> of ``qubit_count`` qubits at first; need not stay normalised. float32 or float64."""

    truncation_error = 0.0

    def __init__(self, qubit_count: int, precision: type[np.floating[Any]] = np.float32) -> None:
        bits = max(qubit_count, LEAST_BITS)
        self._count = qubit_count
        self._parts = _aligned(1 << bits, precision)
        self._parts[:] = 0
        self._parts[0, 0] = 1
        self._lane_bits = (_LINE_BYTE // self._parts.itemsize).bit_length() - 1
        # Bits that fill up stand lowest: they are never used, and need not be exchanged.
        self._places = [bits - 1 - qubit for qubit in range(bits)]
        self._used = list(range(qubit_count, bits))

    @property
    def parts(self) -> NDArray[np.floating[Any]]:
        """Real and imaginary parts (2, 2**n), qubit 0 the most significant bit: a copy or a view, not to be written to."""
        bits = len(self._places)
        axes = [bits - 1 - place for place in self._places]
        table = self._parts.reshape(2, *[2] * bits).transpose(0, *(1 + axis for axis in axes))
        return np.asarray(table.reshape(2, 1 << self._count, -1)[:, :, 0])

    @parts.setter
    def parts(self, values: NDArray[np.floating[Any]]) -> None:
        """Begin anew from other amplitudes."""
        bits = len(self._places)
        self._places = [bits - 1 - qubit for qubit in range(bits)]
        self._parts[:] = 0
        self._parts.reshape(2, 1 << self._count, -1)[:, :, 0] = values

    def copy(self) -> Amplitudes:
        """The same state, to go another way."""
        other = Amplitudes.__new__(Amplitudes)
        other._count, other._lane_bits = self._count, self._lane_bits
        other._places, other._used = list(self._places), list(self._used)
        other._parts = _aligned(self._parts.shape[1], self._parts.dtype)
        other._parts[:] = self._parts
        return other

    def apply(self, matrix: NDArray[np.complex128], qubits: tuple[int, ...]) -> None:
        """Multiply ``matrix`` (2**k, 2**k), unitary or not, first qubit most significant, onto ``qubits`` (1 to 4 of them), in place."""
        from tiandi.computing.engines import kernels  # noqa: PLC0415 - numba takes half a second to load

        self._bring_up(qubits)
        places = [self._places[qubit] for qubit in qubits]
        entries = np.ascontiguousarray(matrix, np.complex128).view(np.float64).astype(self._parts.dtype).reshape(-1)
        kernels.multiply(*self._parts, entries, _strides(places[::-1]), tuple(sorted(places)), 1 << self._lane_bits)
        self._used = [*qubits, *(qubit for qubit in self._used if qubit not in qubits)]

    def _bring_up(self, qubits: tuple[int, ...]) -> None:
        """Exchange the lanes for other qubits where one of ``qubits`` is among them."""
        from tiandi.computing.engines import kernels  # noqa: PLC0415

        if all(self._places[qubit] >= self._lane_bits for qubit in qubits):
            return
        others = [qubit for qubit in self._used if qubit not in qubits]
        others += [qubit for qubit in range(len(self._places)) if qubit not in self._used and qubit not in qubits]
        chosen = [qubit for qubit in others if self._places[qubit] >= self._lane_bits][: self._lane_bits]
        places = [self._places[qubit] for qubit in chosen]
        kernels.exchange(*self._parts, _strides(places), tuple(sorted(places)))
        below = [self._places.index(place) for place in range(self._lane_bits)]
        for lane, (qubit, place) in enumerate(zip(chosen, places, strict=True)):
            self._places[qubit], self._places[below[lane]] = lane, place

    def scale(self, factor: float) -> None:
        """Multiply all amplitudes by ``factor``."""
        self._parts *= self._parts.dtype.type(factor)

    def populations(self, qubit: int) -> NDArray[np.float64]:
        """The squared norms (2,) of the parts with ``qubit`` in |0> and in |1>."""
        from tiandi.computing.engines import kernels  # noqa: PLC0415

        self._bring_up((qubit,))
        sums: NDArray[np.float64] = kernels.squared_norms(self._parts.reshape(2, -1, 2, 1 << self._places[qubit]))
        return sums

    def sample(self, shots: int, generator: np.random.Generator) -> BitTable:
        """Bits (shots, qubits) drawn by the squared amplitudes."""
        from tiandi.computing.engines import kernels  # noqa: PLC0415

        table = self._parts.reshape(2, -1, _CHUNK)
        ends = np.cumsum(np.einsum("kij,kij->i", table, table), dtype=np.float64)
        drawn = generator.random(shots) * ends[-1]
        chunks = np.minimum(np.searchsorted(ends, drawn, side="right"), ends.size - 1)
        left = drawn - np.where(chunks, ends[chunks - 1], 0.0)
        numbers = kernels.walk(table[0], table[1], chunks, left)
        bits: BitTable = (numbers[:, None] >> np.array(self._places[: self._count]) & 1).astype(np.uint8)
        return bits


def state_byte(qubit_count: int, precision: type[np.floating[Any]] = np.float32) -> float:
    """What a state takes in memory."""
    return 2.0 * np.dtype(precision).itemsize * 2.0 ** max(qubit_count, LEAST_BITS)


def _aligned(size: int, precision: Any) -> NDArray[Any]:
    """An array (2, size) that begins where a line of the cache does, so that no vector lies across two."""
    item = np.dtype(precision).itemsize
    raw = np.empty(2 * size + _LINE_BYTE // item, precision)
    begin = -raw.ctypes.data % _LINE_BYTE // item
    return raw[begin : begin + 2 * size].reshape(2, size)


def _strides(places: Sequence[int]) -> tuple[int, ...]:
    """What each combination of the bits at ``places`` (the first least significant) adds to a number."""
    strides = [0]
    for place in places:
        strides += [stride + (1 << place) for stride in strides]
    return tuple(strides)
