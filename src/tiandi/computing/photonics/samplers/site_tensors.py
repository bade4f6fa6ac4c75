"""The tensors of a pure Gaussian state's matrix product form, one site at a time, without hafnians.

Bond l keeps the heaviest products of thermal weights of the normal modes of modes 1..l (Schmidt vectors; Oh et al., arXiv 2306.03709). The
tensor of site l is <alpha; n| U_{l-1}^dagger U_l |beta>, an amplitude of a Gaussian unitary between Fock states. Such amplitudes obey the
recurrence of Miatto and Quesada, Quantum 4, 366 (2020), doi 10.22331/q-2020-11-30-366: with generating function c exp(x^t A x / 2),

    sqrt(k_i + 1) T(k + e_i) = sum_j A_ij sqrt(k_j) T(k - e_j),

and as the kept sets are closed downwards, each entry takes a few earlier ones. Liu, Jin, Xiang and Tu, arXiv 2512.10643, build such states
without hafnians too.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from tiandi.compiling import kernel
from tiandi.computing.photonics.gaussian import ComplexArray, FloatArray
from tiandi.computing.photonics.samplers.lossy_decomposition import symplectic_form, williamson

IntArray = NDArray[np.int64]
Complex64Array = NDArray[np.complex64]
SMALLEST_WEIGHT = 1e-10
"""Of a normal mode's thermal weight lambda = (nu - 1) / (nu + 1), below which it is taken as empty."""


@dataclass(frozen=True, eq=False)
class Occupations:
    """A downward closed set of occupations, heaviest first, as rows of a sparse table."""

    starts: IntArray
    """(occupations + 1,): where each one's entries begin."""
    columns: IntArray
    """(entries,): which normal mode is occupied."""
    roots: FloatArray
    """(entries,): square root of its occupation."""
    parents: IntArray
    """(entries,): the occupation with one quantum less there."""
    used: IntArray
    """(columns,): the normal modes that are ever occupied."""
    weight: float
    """Sum of the kept Schmidt weights."""

    def __len__(self) -> int:
        return len(self.starts) - 1


@dataclass(frozen=True, eq=False)
class Bond:
    """The cut after the first l modes."""

    symplectic: FloatArray
    """(2l, 2l): S of the reduced state."""
    occupations: Occupations


def heaviest_occupations(thermal: FloatArray, largest: int) -> Occupations:
    """The at most ``largest`` heaviest of the weights prod (1 - lambda_k) lambda_k^n_k; ``thermal`` (normal modes,) is falling, below 1."""
    active = int(np.count_nonzero(thermal > SMALLEST_WEIGHT))
    costs = -np.log(np.maximum(thermal[:active], 1e-300))
    found: list[tuple[int, ...]] = []
    index: dict[tuple[int, ...], int] = {}
    heap: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    total = 0.0
    while heap and len(found) < largest:
        cost, quanta = heappop(heap)
        index[quanta] = len(found)
        found.append(quanta)
        total += np.exp(-cost)
        last = quanta[-1] if quanta else 0
        if active:
            heappush(heap, (cost + costs[last], (*quanta, last)))
        if quanta and last + 1 < active:
            heappush(heap, (cost - costs[last] + costs[last + 1], (*quanta[:-1], last + 1)))
    used = sorted({mode for quanta in found for mode in quanta})
    position = {mode: i for i, mode in enumerate(used)}
    starts, columns, roots, parents = [0], [], [], []
    for quanta in found:
        for mode in sorted(set(quanta)):
            at = quanta.index(mode)
            columns.append(position[mode])
            roots.append(np.sqrt(quanta.count(mode)))
            parents.append(index[quanta[:at] + quanta[at + 1 :]])
        starts.append(len(columns))
    weight = total * float(np.prod(1 - thermal))
    integers = [np.array(numbers, np.int64) for numbers in (starts, columns, parents, used)]
    return Occupations(integers[0], integers[1], np.array(roots, float), integers[2], integers[3], weight)


def cut(covariance: FloatArray, length: int, largest: int) -> Bond:
    """The bond of a pure state after its first ``length`` modes, of dimension at most ``largest``."""
    modes = len(covariance) // 2
    rows = np.concatenate([np.arange(length), modes + np.arange(length)])
    nu, symplectic = williamson(covariance[np.ix_(rows, rows)])
    thermal = np.zeros(length) if length == modes else np.maximum((nu - 1) / (nu + 1), 0.0)
    return Bond(symplectic, heaviest_occupations(thermal, largest))


def site_tensor(left: Bond, right: Bond, levels: int) -> Complex64Array:
    """(right bond, levels, left bond) of the site between two cuts; ``levels`` photon numbers are kept."""
    length = len(right.symplectic) // 2
    quadratures, constant = _generating_function(left.symplectic, right.symplectic)
    rows = np.concatenate([left.occupations.used, [length - 1], length + right.occupations.used])
    matrix = np.ascontiguousarray(quadratures[np.ix_(rows, rows)])
    tensor = np.zeros((len(right.occupations), levels, len(left.occupations)), np.complex64)
    _fill(tensor, matrix, constant, _table(left.occupations), _table(right.occupations))
    return tensor


def _table(occupations: Occupations) -> tuple[IntArray, IntArray, FloatArray, IntArray]:
    return occupations.starts, occupations.columns, occupations.roots, occupations.parents


def _generating_function(left: FloatArray, right: FloatArray) -> tuple[ComplexArray, complex]:
    """A and c of U_left^dagger U_right, left acting on the first modes only: in a -> E a + F a^dagger the blocks of A are
    F E*^-1, E^-1 conjugate transposed, and -(E^-1 F)*."""
    length = len(right) // 2
    whole = np.eye(2 * length)
    if length > 1:
        rows = np.concatenate([np.arange(length - 1), length + np.arange(length - 1)])
        whole[np.ix_(rows, rows)] = left
    form = symplectic_form(length)
    step = -form @ whole.T @ form @ right
    xx, xp, px, pp = step[:length, :length], step[:length, length:], step[length:, :length], step[length:, length:]
    e, f = (xx + pp + 1j * (px - xp)) / 2, (xx - pp + 1j * (px + xp)) / 2
    inverse = np.linalg.inv(e)
    out, across, back = f @ inverse.conj(), inverse.conj().T, -(inverse @ f).conj()
    matrix = np.block([[out, across], [across.T, back]])
    return (matrix + matrix.T) / 2, complex(1 / np.sqrt(abs(np.linalg.det(e))))


@kernel
def _fill(tensor, matrix, constant, left, right):  # type: ignore[no-untyped-def]
    """The recurrence: first the row of the right vacuum, then row after row, each from rows with one or two quanta less."""
    rights, levels, lefts = tensor.shape
    left_starts, left_columns, left_roots, left_parents = left
    right_starts, right_columns, right_roots, right_parents = right
    site = matrix.shape[0] - 1
    if right_columns.size:
        site -= right_columns.max() + 1
    _fill_vacuum(tensor, matrix, constant, site, left)
    for b in range(1, rights):
        last = right_starts[b + 1] - 1
        parent, row = right_parents[last], site + 1 + right_columns[last]
        inverse = 1 / right_roots[last]
        for entry in range(right_starts[parent], right_starts[parent + 1]):
            factor = np.complex64(matrix[row, site + 1 + right_columns[entry]] * right_roots[entry] * inverse)
            tensor[b] += factor * tensor[right_parents[entry]]
        for n in range(1, levels):
            tensor[b, n] += np.complex64(matrix[row, site] * np.sqrt(n) * inverse) * tensor[parent, n - 1]
        for i in range(lefts):
            for entry in range(left_starts[i], left_starts[i + 1]):
                factor = np.complex64(matrix[row, left_columns[entry]] * left_roots[entry] * inverse)
                source = left_parents[entry]
                for n in range(levels):
                    tensor[b, n, i] += factor * tensor[parent, n, source]


@kernel
def _fill_vacuum(tensor, matrix, constant, site, left):  # type: ignore[no-untyped-def]
    """The row of the right vacuum: level after level."""
    levels, lefts = tensor.shape[1:]
    starts, columns, roots, parents = left
    tensor[0, 0, 0] = constant
    for i in range(1, lefts):
        last = starts[i + 1] - 1
        parent = parents[last]
        total = 0j
        for entry in range(starts[parent], starts[parent + 1]):
            total += matrix[columns[last], columns[entry]] * roots[entry] * tensor[0, 0, parents[entry]]
        tensor[0, 0, i] = total / roots[last]
    for n in range(1, levels):
        for i in range(lefts):
            total = 0j
            for entry in range(starts[i], starts[i + 1]):
                total += matrix[site, columns[entry]] * roots[entry] * tensor[0, n - 1, parents[entry]]
            if n > 1:
                total += matrix[site, site] * np.sqrt(n - 1.0) * tensor[0, n - 2, i]
            tensor[0, n, i] = total / np.sqrt(n)
