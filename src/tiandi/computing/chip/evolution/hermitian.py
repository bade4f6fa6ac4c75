"""Density matrices as vectors of real numbers, so that maps between them are real matrices.

Of L levels the vector has L^2 elements: first the L populations, then of each pair m < n, in the order 01, 02, 12, 03, 13, 23, the real and
the imaginary part of the element <m| rho |n>. Three levels are the first nine of four in this order but for the populations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tiandi.computing.instruments.program import ComplexArray, FloatArray
from tiandi.limits import require_within


def pairs_of(levels: int) -> list[tuple[int, int]]:
    """The pairs m < n in the order of the vector."""
    return [(low, high) for high in range(levels) for low in range(high)]


def to_vectors(matrices: ArrayLike) -> FloatArray:
    """(..., L, L) Hermitian -> (..., L^2)."""
    given = np.asarray(matrices, np.complex128)
    levels = given.shape[-1]
    vectors = np.empty((*given.shape[:-2], levels * levels))
    vectors[..., :levels] = np.diagonal(given, axis1=-2, axis2=-1).real
    for number, (low, high) in enumerate(pairs_of(levels)):
        vectors[..., levels + 2 * number] = given[..., low, high].real
        vectors[..., levels + 2 * number + 1] = given[..., low, high].imag
    return vectors


def to_matrices(vectors: ArrayLike) -> ComplexArray:
    """(..., L^2) -> (..., L, L)."""
    given = np.asarray(vectors, float)
    levels = round(given.shape[-1] ** 0.5)
    matrices = np.zeros((*given.shape[:-1], levels, levels), np.complex128)
    for level in range(levels):
        matrices[..., level, level] = given[..., level]
    for number, (low, high) in enumerate(pairs_of(levels)):
        element = given[..., levels + 2 * number] + 1j * given[..., levels + 2 * number + 1]
        matrices[..., low, high], matrices[..., high, low] = element, element.conj()
    return matrices


def level_vector(level: int, levels: int = 3) -> FloatArray:
    """(L^2,): the vector of the pure state ``level``."""
    require_within("level", level, 0, levels - 1)
    vector = np.zeros(levels * levels)
    vector[level] = 1.0
    return vector


def basis_of(levels: int) -> ComplexArray:
    """(L^2, L, L): the matrices whose vectors are the unit vectors."""
    return to_matrices(np.eye(levels * levels))


def phase_superoperators(angles_rad: ArrayLike, levels: int = 3) -> FloatArray:
    """(..., L^2, L^2): rho -> V rho V^dagger, V = exp(-i angle n); with `angle` after and -`angle` before, drives turn by -angle."""
    turns = np.exp(-1j * np.asarray(angles_rad, float)[..., None] * np.arange(levels))
    return unitary_superoperators(turns[..., :, None] * np.eye(levels))


def unitary_superoperators(unitaries: ArrayLike) -> FloatArray:
    """(..., L, L) -> (..., L^2, L^2): rho -> U rho U^dagger."""
    given = np.asarray(unitaries, np.complex128)
    turned = np.einsum("...ij,kjl,...ml->...kim", given, basis_of(given.shape[-1]), given.conj(), optimize=True)
    return np.swapaxes(to_vectors(turned), -1, -2)
