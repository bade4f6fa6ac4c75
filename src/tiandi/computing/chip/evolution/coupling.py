"""What a tunable coupler does to two transmons at rest: effective exchange, and ZZ by diagonalisation.

Yan et al., Phys. Rev. Applied 10, 054062 (2018), doi 10.1103/PhysRevApplied.10.054062: two transmons, coupled directly (g12) and each
to a third between them (g1, g2), exchange excitations at g = g12 + g1 g2 (1/D1 + 1/D2 - 1/S1 - 1/S2) / 2, with D_j = w_j - w_c and
S_j = w_j + w_c.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from tiandi.compiling import kernel
from tiandi.computing.chip.evolution.batches import on_all_cores
from tiandi.computing.instruments.program import FloatArray
from tiandi.errors import InputError


def effective_exchange(
    first_rad_s: ArrayLike,
    second_rad_s: ArrayLike,
    coupler_rad_s: ArrayLike,
    *,
    first_coupling_rad_s: ArrayLike,
    second_coupling_rad_s: ArrayLike,
    direct_coupling_rad_s: ArrayLike,
    counter_rotating: bool = True,
) -> FloatArray:
    """g [rad/s] of two transmons at these angular frequencies through a coupler; arguments broadcast.

    Second order in the couplings: valid where the coupler is many couplings away from both. InputError where it is on a transmon.
    """
    first, second, coupler = (np.asarray(each, float) for each in (first_rad_s, second_rad_s, coupler_rad_s))
    if (first == coupler).any() or (second == coupler).any():
        raise InputError("coupler_rad_s", "a transmon's frequency", "must differ from both")
    inverse = 1.0 / (first - coupler) + 1.0 / (second - coupler)
    if counter_rotating:
        inverse = inverse - 1.0 / (first + coupler) - 1.0 / (second + coupler)
    product = np.multiply(first_coupling_rad_s, second_coupling_rad_s)
    return np.asarray(direct_coupling_rad_s + 0.5 * product * inverse)


@kernel
def _jacobi(matrix, vectors):  # type: ignore[no-untyped-def]
    """Diagonalise a symmetric ``matrix`` in place; the columns of ``vectors`` become its eigenvectors."""
    size = matrix.shape[0]
    vectors[:] = np.eye(size)
    for _ in range(30):
        largest, scale = 0.0, 0.0
        for row in range(size):
            scale = max(scale, abs(matrix[row, row]))
            for column in range(row):
                largest = max(largest, abs(matrix[row, column]))
        if largest <= 1e-15 * scale:
            return
        for row in range(size):
            for column in range(row):
                if matrix[row, column] == 0.0:
                    continue
                angle = 0.5 * math.atan2(2.0 * matrix[row, column], matrix[column, column] - matrix[row, row])
                if abs(angle) > 0.25 * math.pi:
                    angle -= math.copysign(0.5 * math.pi, angle)
                cosine, sine = math.cos(angle), math.sin(angle)
                for other in range(size):
                    x, y = matrix[row, other], matrix[column, other]
                    matrix[row, other], matrix[column, other] = cosine * x - sine * y, sine * x + cosine * y
                for other in range(size):
                    x, y = matrix[other, row], matrix[other, column]
                    matrix[other, row], matrix[other, column] = cosine * x - sine * y, sine * x + cosine * y
                    x, y = vectors[other, row], vectors[other, column]
                    vectors[other, row], vectors[other, column] = cosine * x - sine * y, sine * x + cosine * y


@kernel
def _dressed(block, vectors, bare):  # type: ignore[no-untyped-def]
    """Eigenvalue of the eigenvector that is most of the level ``bare``."""
    _jacobi(block, vectors)
    best = 0
    for column in range(block.shape[0]):
        if abs(vectors[bare, column]) > abs(vectors[bare, best]):
            best = column
    return block[best, best]


@kernel
def _shifts(begin, end, frequencies, anharmonicities, couplings, results):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """``results`` (B, 3): shifts of 10 and 01, and the ZZ. Arrays (B, 3) as `dressed_shifts` takes them."""
    root = math.sqrt(2.0)
    one, vectors_one, two, vectors_two = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((6, 6)), np.zeros((6, 6))
    for entry in range(begin, end):
        # Energies against those of the bare transmons, so that small shifts are not lost in large frequencies.
        a, c, b = 0.0, frequencies[entry, 1] - frequencies[entry, 0], frequencies[entry, 2] - frequencies[entry, 0]
        g, h, k = couplings[entry, 0], couplings[entry, 1], couplings[entry, 2]
        one[:] = 0.0
        one[0, 0], one[1, 1], one[2, 2] = a, c, b
        one[0, 1] = one[1, 0] = g
        one[1, 2] = one[2, 1] = h
        one[0, 2] = one[2, 0] = k
        first = _dressed(one.copy(), vectors_one, 0)
        second = _dressed(one, vectors_one, 2)
        # Levels: 101, 200, 020, 002, 110, 011 (first, coupler, second).
        two[:] = 0.0
        two[0, 0], two[1, 1] = a + b, 2.0 * a + anharmonicities[entry, 0]
        two[2, 2], two[3, 3] = 2.0 * c + anharmonicities[entry, 1], 2.0 * b + anharmonicities[entry, 2]
        two[4, 4], two[5, 5] = a + c, b + c
        two[1, 0], two[3, 0], two[4, 0], two[5, 0] = root * k, root * k, h, g
        two[4, 1], two[4, 2], two[5, 2], two[5, 3], two[5, 4] = root * g, root * g, root * h, root * h, k
        for row in range(6):
            for column in range(row):
                two[column, row] = two[row, column]
        both = _dressed(two, vectors_two, 0)
        results[entry, 0], results[entry, 1], results[entry, 2] = first - a, second - b, both - first - second


def dressed_shifts(frequencies_rad_s: FloatArray, anharmonicities_rad_s: FloatArray, couplings_rad_s: FloatArray) -> FloatArray:
    """(B, 3): shifts of the first's and the second's 0-1 transitions, and static ZZ = E11 - E10 - E01 + E00, all [rad/s].

    Arrays (B, 3): first, coupler, second; couplings: first to coupler, coupler to second, first to second. The Hamiltonian of up to two
    excitations of three ladders that exchange them (rotating-wave approximation) is diagonalised (Jacobi). A state is the one that is
    most of its bare level, so that near a crossing of levels the ZZ jumps, as labels do. Rounding leaves an error of about 1e-5 rad/s.
    """
    arrays = [np.ascontiguousarray(each, float) for each in (frequencies_rad_s, anharmonicities_rad_s, couplings_rad_s)]
    if len({each.shape for each in arrays}) > 1 or arrays[0].shape[1:] != (3,):
        raise InputError("frequencies_rad_s", [each.shape for each in arrays], "and the other two must be (B, 3)")
    results = np.empty_like(arrays[0])
    on_all_cores(_shifts, len(results), *arrays, results)
    return results
