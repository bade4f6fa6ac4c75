"""A lossy Gaussian state as a pure one of few photons, displaced at random: V = V_p + W (Oh et al., arXiv 2306.03709).

Of all pure V_p with V - V_p >= 0 the one with the fewest photons is wanted: minimise tr V_p so that V_p + i Omega >= 0 and V - V_p >= 0.
That semidefinite programme is solved by the alternating direction method of multipliers (Boyd et al., Found. Trends Mach. Learn. 3, 1
(2011), doi 10.1561/2200000016), whose every step is an eigenvalue problem; no solver is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh

from tiandi.computing.photonics.gaussian import ComplexArray, FloatArray
from tiandi.errors import InputError

OVER_RELAXATION = 1.6
STEPS_BETWEEN_CHANGES = 20
UNPHYSICAL = 1e-6


@dataclass(frozen=True, eq=False)
class LossyDecomposition:
    """A pure covariance and the covariance of random displacements."""

    pure: FloatArray
    """(2 modes, 2 modes)."""
    displacement: FloatArray
    """(2 modes, 2 modes), positive semidefinite."""
    pure_photons: float
    """Mean photon number of the pure state."""
    error: float
    """Largest difference of an element of V and V_p + W, of which V_p + W was cut to be a state."""


def symplectic_form(modes: int) -> FloatArray:
    """Omega of x_1..x_M, p_1..p_M."""
    return np.kron(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.eye(modes))


def decompose(covariance: FloatArray, *, steps: int = 400, tolerance: float = 1e-5) -> LossyDecomposition:
    """Split ``covariance`` after at most ``steps`` steps, or when both residuals are below ``tolerance`` a mode.

    Raises InputError where it is no state's covariance.
    """
    modes = len(covariance) // 2
    form: ComplexArray = symplectic_form(modes).astype(np.complex128) * 1j
    lowest = float(np.linalg.eigvalsh(covariance + form)[0])
    if lowest < -UNPHYSICAL:
        raise InputError("covariance", lowest, "must be a quantum state's: V + i Omega must not be negative")
    guess = _fewest_photons(covariance, form, steps, tolerance * modes)
    _, symplectic = williamson(guess)
    pure = symplectic @ symplectic.T
    displacement = _positive(covariance - pure).real
    error = float(np.abs(pure + displacement - covariance).max())
    return LossyDecomposition(pure, displacement, float(np.trace(pure)) / 4 - modes / 2, error)


def _fewest_photons(covariance: FloatArray, form: ComplexArray, steps: int, tolerance: float) -> FloatArray:
    """X with X + form = Z >= 0 and covariance - X = Y >= 0 in the limit; U and T are the scaled multipliers of the two."""
    x, rho, identity = covariance.copy(), 0.5, np.eye(len(covariance))
    z, y = _positive(x + form), np.zeros_like(x)
    u, t = np.zeros_like(z), np.zeros_like(y)
    for step in range(1, steps + 1):
        x = ((z - u).real + covariance - y + t) / 2 - identity / (2 * rho)
        x = (x + x.T) / 2
        first, second = x + form, covariance - x
        old_z, old_y = z, y
        relaxed_first = OVER_RELAXATION * first + (1 - OVER_RELAXATION) * z
        relaxed_second = OVER_RELAXATION * second + (1 - OVER_RELAXATION) * y
        z, y = _positive(relaxed_first + u), _positive(relaxed_second + t)
        u, t = u + relaxed_first - z, t + relaxed_second - y
        primal = np.hypot(np.linalg.norm(first - z), np.linalg.norm(second - y))
        dual = rho * np.hypot(np.linalg.norm(z - old_z), np.linalg.norm(y - old_y))
        if max(primal, dual) < tolerance:
            break
        if step % STEPS_BETWEEN_CHANGES == 0:
            change = 1.5 if primal > 5 * dual else 1 / 1.5 if dual > 5 * primal else 1.0
            rho, u, t = rho * change, u / change, t / change
    return x


def _positive(matrix: Any) -> Any:
    """The nearest positive semidefinite matrix to a Hermitian one."""
    values, vectors = eigh(matrix, driver="evd", check_finite=False)
    kept = vectors[:, values > 0]
    return (kept * values[values > 0]) @ kept.conj().T


def williamson(covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Symplectic eigenvalues (modes,), falling, and S with V = S diag(nu, nu) S^t, by one real and one Hermitian eigenvalue problem.

    Williamson, Am. J. Math. 58, 141 (1936), doi 10.2307/2371062: with K = V^1/2 Omega V^1/2, the eigenvectors of iK in conjugate pairs are
    the rotation that turns V^1/2 into S.
    """
    modes = len(covariance) // 2
    form = symplectic_form(modes)
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    root = (vectors * np.sqrt(np.maximum(values, 1e-12))) @ vectors.T
    pairs = root @ form @ root
    eigenvalues, eigenvectors = np.linalg.eigh(0.5j * (pairs - pairs.T))
    nu, half = eigenvalues[: modes - 1 : -1], eigenvectors[:, : modes - 1 : -1]
    rotation = np.sqrt(2) * np.concatenate([half.real, -half.imag], axis=1)
    symplectic = root @ rotation / np.sqrt(np.tile(nu, 2))
    if symplectic[:, 0] @ form @ symplectic[:, modes] < 0:
        symplectic[:, modes:] *= -1
    return nu, symplectic
