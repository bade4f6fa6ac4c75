"""The gates that a circuit may hold, with their unitaries; the first qubit is the most significant bit of a row's number.

Conventions are those of OpenQASM 3 (stdgates.inc) where it has the gate; ``sx`` is its quarter turn without a global phase.
``rxy`` is a turn by theta about an axis in the equator. ``fsim`` is as in Arute et al., Nature 574, 505 (2019),
doi:10.1038/s41586-019-1666-5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.complex128]


@dataclass(frozen=True)
class Gate:
    """``unitary(*parameters)``: the gate's matrix, shape (2**qubit_count, 2**qubit_count)."""

    qubit_count: int
    parameter_count: int
    unitary: Callable[..., Matrix]


def _fixed(*rows: tuple[complex, ...]) -> Gate:
    matrix = np.array(rows, complex)
    matrix.setflags(write=False)
    return Gate(round(math.log2(len(rows))), 0, lambda: matrix)


def rotation(theta: float, phi: float) -> Matrix:
    """A turn by ``theta`` about the axis cos(phi) X + sin(phi) Y: exp(-i theta/2 (cos(phi) X + sin(phi) Y))."""
    cosine, sine = math.cos(theta / 2), math.sin(theta / 2)
    return np.array([[cosine, -1j * np.exp(-1j * phi) * sine], [-1j * np.exp(1j * phi) * sine, cosine]])


def _z_rotation(angle_rad: float) -> Matrix:
    return np.diag([np.exp(-0.5j * angle_rad), np.exp(0.5j * angle_rad)])


def _phase(angle_rad: float) -> Matrix:
    return np.diag([1.0, np.exp(1j * angle_rad)])


def _general(theta: float, phi: float, lam: float) -> Matrix:
    cosine, sine = math.cos(theta / 2), math.sin(theta / 2)
    return np.array([[cosine, -np.exp(1j * lam) * sine], [np.exp(1j * phi) * sine, np.exp(1j * (phi + lam)) * cosine]])


def _controlled(matrix: Matrix) -> Matrix:
    return np.block([[np.eye(2), np.zeros((2, 2))], [np.zeros((2, 2)), matrix]]).astype(complex)


def fsim(theta: float, phi: float) -> Matrix:
    """Swaps 01 and 10 by ``theta`` and turns 11 by the conditional phase -``phi``."""
    cosine, sine = math.cos(theta), math.sin(theta)
    return np.array([[1, 0, 0, 0], [0, cosine, -1j * sine, 0], [0, -1j * sine, cosine, 0], [0, 0, 0, np.exp(-1j * phi)]])


def _zz_rotation(angle_rad: float) -> Matrix:
    return np.diag(np.exp(np.array([-0.5j, 0.5j, 0.5j, -0.5j]) * angle_rad))


_QUARTER, _HALF = math.pi / 2, math.pi
_ROOT = 1 / math.sqrt(2)

GATES: dict[str, Gate] = {
    "id": _fixed((1, 0), (0, 1)),
    "x": _fixed((0, 1), (1, 0)),
    "y": _fixed((0, -1j), (1j, 0)),
    "z": _fixed((1, 0), (0, -1)),
    "h": _fixed((_ROOT, _ROOT), (_ROOT, -_ROOT)),
    "s": _fixed((1, 0), (0, 1j)),
    "sdg": _fixed((1, 0), (0, -1j)),
    "t": _fixed((1, 0), (0, np.exp(0.25j * math.pi))),
    "tdg": _fixed((1, 0), (0, np.exp(-0.25j * math.pi))),
    # Turns by a quarter, as the machines make them: X2P, X2M, Y2P, Y2M of QCIS.
    "sx": Gate(1, 0, lambda: rotation(_QUARTER, 0.0)),
    "sxdg": Gate(1, 0, lambda: rotation(-_QUARTER, 0.0)),
    "sy": Gate(1, 0, lambda: rotation(_QUARTER, _QUARTER)),
    "sydg": Gate(1, 0, lambda: rotation(-_QUARTER, _QUARTER)),
    "rx": Gate(1, 1, lambda theta: rotation(theta, 0.0)),
    "ry": Gate(1, 1, lambda theta: rotation(theta, _QUARTER)),
    "rz": Gate(1, 1, _z_rotation),
    "p": Gate(1, 1, _phase),
    "rxy": Gate(1, 2, rotation),
    "u": Gate(1, 3, _general),
    "cx": _fixed((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0)),
    "cy": Gate(2, 0, lambda: _controlled(np.array([[0, -1j], [1j, 0]]))),
    "cz": _fixed((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, -1)),
    "cp": Gate(2, 1, lambda angle_rad: _controlled(_phase(angle_rad))),
    "swap": _fixed((1, 0, 0, 0), (0, 0, 1, 0), (0, 1, 0, 0), (0, 0, 0, 1)),
    "iswap": _fixed((1, 0, 0, 0), (0, 0, 1j, 0), (0, 1j, 0, 0), (0, 0, 0, 1)),
    "rzz": Gate(2, 1, _zz_rotation),
    "fsim": Gate(2, 2, fsim),
}
