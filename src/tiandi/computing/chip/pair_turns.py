"""The turn of a pair's state by its ZZ: the one turn that is not of either qubit alone."""

from __future__ import annotations

from functools import cache

import numpy as np

from tiandi.computing.chip.evolution.hermitian import basis_of
from tiandi.computing.chip.parameters import ComplexArray, FloatArray

_LEVEL = np.arange(9)
_PRODUCT = (_LEVEL // 3) * (_LEVEL % 3)


def turn_pair(state: FloatArray, angle: FloatArray) -> FloatArray:
    """Turn by exp(-i angle n1 n2); ``angle`` (T, P)."""
    if np.abs(angle).max() < 1e-3:
        return state
    matrices = np.einsum("tpij,ijmn->tpmn", state, _basis(), optimize=True)
    phase = np.exp(-1j * angle[:, :, None] * _PRODUCT)
    matrices = matrices * phase[..., :, None] * phase.conj()[..., None, :]
    return np.einsum("tpmn,ijmn->tpij", matrices, _dual(), optimize=True).real


@cache
def _basis() -> ComplexArray:
    basis = basis_of(3)
    return np.einsum("iac,jbd->ijabcd", basis, basis).reshape(9, 9, 9, 9)


@cache
def _dual() -> ComplexArray:
    flat = _basis().reshape(81, 81)
    return np.asarray(np.linalg.inv(flat).T.reshape(9, 9, 9, 9), np.complex128)
