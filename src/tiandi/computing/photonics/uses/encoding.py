"""A graph in a Gaussian boson sampler: its adjacency matrix becomes squeezing and an interferometer.

A = U diag(l) U^t (Takagi) is programmed as squeezers tanh r_i = c l_i before the interferometer U, so that a pattern n of photons comes
with a probability proportional to |haf(c A_n)|^2 / n!: Bradler, Dallaire-Demers, Rebentrost, Su and Weedbrook, Phys. Rev. A 98, 032310
(2018), doi 10.1103/PhysRevA.98.032310. The factor c sets the mean number of photons.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from tiandi.computing.photonics.gaussian import ComplexArray, Detectors, FloatArray, GaussianState, Machine
from tiandi.errors import InputError
from tiandi.limits import require_within

BoolArray = NDArray[np.bool_]
LARGEST_VERTICES = 2048
ZERO, SMALL = 1e-13, 1e-4
"""Relative to the largest entry, and to the largest singular value."""
SYMMETRIC = 1e-9
NEAREST_TO_ONE = 1 - 1e-9


def require_graph(adjacency: ArrayLike) -> BoolArray:
    """``adjacency`` (n, n) as booleans; raises InputError unless it is that of a graph: symmetric, 0 and 1, no loops, at least one edge."""
    matrix = np.asarray(adjacency)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not 2 <= len(matrix) <= LARGEST_VERTICES:
        raise InputError("adjacency", list(matrix.shape), f"must be square, of 2 to {LARGEST_VERTICES} vertices")
    if not np.isin(matrix, (0, 1)).all():
        raise InputError("adjacency", "other entries", "must hold 0 and 1")
    graph = matrix.astype(bool)
    if (graph != graph.T).any() or graph.diagonal().any():
        raise InputError("adjacency", "not symmetric" if (graph != graph.T).any() else "loops", "must be symmetric with a zero diagonal")
    if not graph.any():
        raise InputError("adjacency", "no edge", "must have an edge")
    return graph


def takagi(matrix: ArrayLike) -> tuple[FloatArray, ComplexArray]:
    """Singular values l (n,), largest first, and a unitary U (n, n) with ``matrix`` = U diag(l) U^t.

    A conj(u) = l u is a real symmetric eigenproblem of twice the size for the real and imaginary parts of u, whose eigenvalues come as
    +l and -l: Autonne (1915) and Takagi (1925), see Horn and Johnson, Matrix Analysis, 2nd ed., corollary 4.4.4. Where l is small, these
    are too near to each other to be told apart, and the same is done again in the space that is left. Raises InputError unless the matrix
    is complex symmetric.
    """
    a = np.asarray(matrix, complex)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or not 1 <= len(a) <= LARGEST_VERTICES or not np.isfinite(a).all():
        raise InputError("matrix", list(a.shape), f"must be square and finite, of at most {LARGEST_VERTICES} rows")
    largest = float(np.abs(a).max())
    if np.abs(a - a.T).max() > SYMMETRIC * max(1.0, largest):
        raise InputError("matrix", "not symmetric", "must equal its transpose")
    return _takagi((a + a.T) / 2, ZERO * largest)


def _takagi(a: ComplexArray, zero: float) -> tuple[FloatArray, ComplexArray]:
    size = len(a)
    if np.abs(a).max() <= zero:
        return np.zeros(size), np.eye(size, dtype=complex)
    values, vectors = np.linalg.eigh(np.block([[a.real, a.imag], [a.imag, -a.real]]))
    values, vectors = values[::-1][:size], vectors[:, ::-1][:, :size]
    known = values > SMALL * values[0]
    columns = (vectors[:size] + 1j * vectors[size:])[:, known]
    if known.all():
        return values, columns
    rest = np.linalg.svd(columns)[0][:, columns.shape[1] :]
    below = rest.conj().T @ a @ rest.conj()
    smaller, unitary = _takagi((below + below.T) / 2, zero)
    return np.concatenate([values[known], smaller]), np.concatenate([columns, rest @ unitary], axis=1)


def scaling(values: ArrayLike, mean_photons: float) -> float:
    """The factor c with which squeezers tanh r_i = c ``values[i]`` have ``mean_photons`` in all: the sum of (c l)^2 / (1 - (c l)^2)."""
    singular = np.asarray(values, float)
    require_within("mean_photons", mean_photons, 1e-6, 1e4)
    largest = float(singular.max(initial=0.0))
    if largest <= 0:
        raise InputError("adjacency", "all zero", "must have an edge")

    def excess(share: float) -> float:
        squares = (share * singular / largest) ** 2
        return float((squares / (1 - squares)).sum()) - mean_photons

    if excess(NEAREST_TO_ONE) < 0:
        raise InputError("mean_photons", mean_photons, "needs more squeezing than can be reckoned with")
    return float(brentq(excess, 0.0, NEAREST_TO_ONE, xtol=1e-15, rtol=1e-14)) / largest


def encode_graph(
    adjacency: ArrayLike, *, mean_photons: float, detectors: Detectors | None = None, transmission: float = 1.0, name: str = "graph"
) -> Machine:
    """The machine of a graph or of any complex symmetric matrix (n, n), with ``mean_photons`` before a loss of 1 - ``transmission``.

    Detectors count photons unless told otherwise.
    """
    require_within("transmission", transmission, 0.0, 1.0)
    values, unitary = takagi(adjacency)
    squeezing_r = np.arctanh(scaling(values, mean_photons) * values)
    return Machine(name, squeezing_r, np.sqrt(transmission) * unitary, detectors=detectors or Detectors("number"))


def displaced(state: GaussianState, amplitude: float) -> GaussianState:
    """``state`` with every mode's mean moved by the same real coherent ``amplitude``: features also of odd numbers of photons."""
    require_within("amplitude", amplitude, -10.0, 10.0)
    mean = state.mean.copy()
    mean[: state.modes] += 2 * amplitude
    return replace(state, mean=mean)
