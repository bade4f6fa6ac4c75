"""States of little entanglement as a chain of tensors: wide, shallow circuits; what was cut off is reported.

The chain is kept in canonical form about a centre [Schollwoeck, Annals of Physics 326, 96 (2011), doi:10.1016/j.aop.2010.09.012], so that a
singular value's square is the weight that is lost with it. Qubits are put in line so that partners of gates stand near each other.
"""

from __future__ import annotations

from functools import lru_cache
from math import inf, log2

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.circuits.gates import GATES
from tiandi.computing.circuits.noise import Step, Unitary
from tiandi.computing.engines.preparing import BitTable, Prepared, qubits_of
from tiandi.computing.engines.trajectories import Trajectories, shots_at_once

MOST_BOND = 256
FUSED = 2
NEGLIGIBLE = 1e-14
"""Of a state's weight; singular values that add up to less are dropped in any case."""
_SAMPLED_AT_ONCE = 4096
_SWAP = GATES["swap"].unitary()


class MatrixProductState:
    """|0...0> at first; ``places`` (n,) is each qubit's place in the chain, ``most_bond`` where bonds are cut."""

    def __init__(self, places: NDArray[np.int64], most_bond: int = MOST_BOND) -> None:
        self._places, self._most_bond = places, most_bond
        self._tensors = [np.array([1, 0], complex).reshape(1, 2, 1) for _ in places]
        self._centre = 0
        self._kept = 1.0

    @property
    def truncation_error(self) -> float:
        """1 minus the product of the weights that were kept at each cut: about 1 minus the fidelity."""
        return 1 - self._kept

    @property
    def bonds(self) -> tuple[int, ...]:
        """The dimension of each bond, from the chain's first to its last."""
        return tuple(tensor.shape[2] for tensor in self._tensors[:-1])

    def copy(self) -> MatrixProductState:
        """The same state, to go another way."""
        other = MatrixProductState(self._places, self._most_bond)
        other._tensors, other._centre, other._kept = list(self._tensors), self._centre, self._kept
        return other

    def apply(self, matrix: NDArray[np.complex128], qubits: tuple[int, ...]) -> None:
        """Multiply ``matrix`` (2**k, 2**k), unitary or not, onto 1 or 2 ``qubits``."""
        places = [int(self._places[qubit]) for qubit in qubits]
        if len(places) == 1:
            self._move_centre(places[0])
            self._tensors[places[0]] = np.einsum("ij,ajb->aib", matrix, self._tensors[places[0]])
            return
        first, second = places
        if first > second:
            matrix = _SWAP @ matrix @ _SWAP
            first, second = second, first
        # The nearer qubit is brought beside its partner and back.
        for place in range(first, second - 1):
            self._apply_neighbours(_SWAP, place)
        self._apply_neighbours(matrix, second - 1)
        for place in range(second - 2, first - 1, -1):
            self._apply_neighbours(_SWAP, place)

    def _move_centre(self, place: int) -> None:
        while self._centre < place:
            tensor = self._tensors[self._centre]
            left, right = np.linalg.qr(tensor.reshape(-1, tensor.shape[2]))
            self._tensors[self._centre] = left.reshape(tensor.shape[0], 2, -1)
            self._centre += 1
            self._tensors[self._centre] = np.tensordot(right, self._tensors[self._centre], (1, 0))
        while self._centre > place:
            tensor = self._tensors[self._centre]
            right, left = np.linalg.qr(tensor.reshape(tensor.shape[0], -1).T)
            self._tensors[self._centre] = right.T.reshape(-1, 2, tensor.shape[2])
            self._centre -= 1
            self._tensors[self._centre] = np.tensordot(self._tensors[self._centre], left, (2, 1))

    def _apply_neighbours(self, matrix: NDArray[np.complex128], place: int) -> None:
        self._move_centre(place if self._centre <= place else place + 1)
        left, right = self._tensors[place], self._tensors[place + 1]
        pair = np.tensordot(left, right, (2, 0))
        pair = np.tensordot(matrix.reshape(2, 2, 2, 2), pair, ((2, 3), (1, 2))).transpose(2, 0, 1, 3)
        u, values, v = np.linalg.svd(pair.reshape(2 * left.shape[0], 2 * right.shape[2]), full_matrices=False)
        weights = values**2
        beyond = np.cumsum(weights[::-1])[::-1]
        bond = max(1, min(self._most_bond, int(np.count_nonzero(beyond > NEGLIGIBLE * beyond[0]))))
        kept = weights[:bond].sum()
        self._kept *= float(kept / beyond[0])
        scale = np.sqrt(beyond[0] / kept)
        self._tensors[place] = u[:, :bond].reshape(left.shape[0], 2, bond)
        self._tensors[place + 1] = (scale * values[:bond, None] * v[:bond]).reshape(bond, 2, right.shape[2])
        self._centre = place + 1

    def populations(self, qubit: int) -> NDArray[np.float64]:
        """The squared norms (2,) of the parts with ``qubit`` in |0> and in |1>."""
        self._move_centre(int(self._places[qubit]))
        tensor = self._tensors[self._centre]
        return np.asarray((tensor.real**2 + tensor.imag**2).sum(axis=(0, 2)))

    def sample(self, shots: int, generator: np.random.Generator) -> BitTable:
        """Bits (shots, qubits) drawn by the squared amplitudes."""
        self._move_centre(0)
        bits = np.empty((shots, len(self._tensors)), np.uint8)
        for begin in range(0, shots, _SAMPLED_AT_ONCE):
            self._sample_into(bits[begin : begin + _SAMPLED_AT_ONCE], generator)
        return bits[:, self._places]

    def _sample_into(self, bits: BitTable, generator: np.random.Generator) -> None:
        left = np.ones((len(bits), 1), complex)
        for place, tensor in enumerate(self._tensors):
            both = np.tensordot(left, tensor, (1, 0))
            weights = (both.real**2 + both.imag**2).sum(axis=2)
            ones = generator.random(len(bits)) * weights.sum(axis=1) >= weights[:, 0]
            bits[:, place] = ones
            chosen = ones.astype(np.intp)
            rows = np.arange(len(bits))
            left = both[rows, chosen] / np.sqrt(weights[rows, chosen])[:, None]


def line_up(prepared: Prepared) -> NDArray[np.int64]:
    """Each qubit's place (n,) in a line that keeps partners of gates near each other, by the reverse Cuthill-McKee order."""
    from scipy.sparse import coo_array  # noqa: PLC0415
    from scipy.sparse.csgraph import reverse_cuthill_mckee  # noqa: PLC0415

    count = prepared.qubit_count
    pairs = {qubits_of(step) for step in prepared.body if len(qubits_of(step)) == 2}
    ends = np.array(sorted({*pairs, *((second, first) for first, second in pairs)}), np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count)).tocsr()
    places = np.empty(count, np.int64)
    places[reverse_cuthill_mckee(graph, symmetric_mode=True)] = np.arange(count)
    return places


def bond_bits(prepared: Prepared, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """An upper bound (n - 1,) of log2 of each bond: what the gates across it can make, and no more than the qubits on either side."""
    count = prepared.qubit_count
    bits = np.zeros(count - 1)
    for step in prepared.body:
        if isinstance(step, Unitary) and len(step.qubits) == 2:
            first, last = sorted(int(places[qubit]) for qubit in step.qubits)
            bits[first:last] += _schmidt_bits(step.matrix.tobytes())
    cuts = np.arange(1, count)
    return np.minimum(bits, np.minimum(cuts, count - cuts))


@lru_cache(maxsize=4096)
def _schmidt_bits(matrix: bytes) -> float:
    """log2 of how many products of one-qubit operators a two-qubit gate is a sum of."""
    paired = np.frombuffer(matrix, complex).reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(4, 4)
    return log2(int(np.linalg.matrix_rank(paired, tol=1e-9)))


def fits(steps: tuple[Step, ...]) -> bool:
    """Whether the chain can run ``steps``: none on more than two qubits."""
    return all(len(qubits_of(step)) <= 2 for step in steps)


def sample(prepared: Prepared, shots: int, generator: np.random.Generator, allowed_byte: float = inf) -> tuple[BitTable, float]:
    """True bits (shots, measured), each shot with noise of its own, and the mean truncation error."""
    places = line_up(prepared)
    at_once, _ = shots_at_once(prepared, shots, state_byte(prepared, places), allowed_byte)
    return Trajectories(prepared, generator, FUSED).sample(lambda: MatrixProductState(places), shots, at_once)


def state_byte(prepared: Prepared, places: NDArray[np.int64]) -> float:
    """What a chain takes in memory, at most."""
    bonds = np.minimum(2.0 ** bond_bits(prepared, places), MOST_BOND)
    return 16 * 2 * float((bonds**2).sum() + prepared.qubit_count)
