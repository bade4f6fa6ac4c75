"""Formulas of transmons: frequency against flux, coupling through a coupler, shifts of levels that repel each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tiandi.computing.chip.parameters import FloatArray


def transmon_hz(flux: ArrayLike, maximum_hz: ArrayLike, asymmetry: ArrayLike, anharmonicity_hz: ArrayLike) -> FloatArray:
    """f01 of an asymmetric transmon: sqrt(8 EJ EC) - EC with EJ times sqrt(cos^2 + d^2 sin^2) of pi flux, EC = -anharmonicity.

    Koch et al., PRA 76, 042319 (2007), doi 10.1103/PhysRevA.76.042319, equations 2.11 and 2.18; ``flux`` in flux quanta.
    """
    angle = np.pi * np.asarray(flux, float)
    charging = -np.asarray(anharmonicity_hz, float)
    squared = np.cos(angle) ** 2 + np.asarray(asymmetry, float) ** 2 * np.sin(angle) ** 2
    return (np.asarray(maximum_hz, float) + charging) * squared**0.25 - charging


def transmon_slope_hz(flux: ArrayLike, maximum_hz: ArrayLike, asymmetry: ArrayLike, anharmonicity_hz: ArrayLike) -> FloatArray:
    """Derivative of `transmon_hz` by the flux, in Hz per flux quantum."""
    angle = np.pi * np.asarray(flux, float)
    share = np.asarray(asymmetry, float) ** 2
    squared = np.cos(angle) ** 2 + share * np.sin(angle) ** 2
    plasma = np.asarray(maximum_hz, float) - np.asarray(anharmonicity_hz, float)
    return plasma * 0.25 * squared**-0.75 * np.pi * (share - 1) * np.sin(2 * angle)


def coupling_hz(
    first_hz: ArrayLike, second_hz: ArrayLike, coupler_hz: ArrayLike, *, direct: ArrayLike, first: ArrayLike, second: ArrayLike
) -> FloatArray:
    """g of two qubits, directly and through a coupler: g12 + g1 g2 (1/D1 + 1/D2)/2 with D = qubit minus coupler.

    Yan et al. (2018), doi 10.1103/PhysRevApplied.10.054062, equation 2, without counter-rotating terms. It holds for |D| far above g1 and
    g2; 1/D is taken as D / (D^2 + 4 g^2), which stays finite where the coupler crosses a qubit.
    """
    one = np.asarray(first_hz, float) - coupler_hz
    other = np.asarray(second_hz, float) - coupler_hz
    inverse = one / (one**2 + 4 * np.square(first)) + other / (other**2 + 4 * np.square(second))
    return np.asarray(direct, float) + 0.5 * np.multiply(first, second) * inverse


def push(above: ArrayLike, coupling: ArrayLike) -> FloatArray:
    """How far a level is pushed up by one that lies ``above`` below it (down, where that is negative), coupled by ``coupling``; exact."""
    apart = np.asarray(above, float)
    return np.where(apart >= 0, 0.5, -0.5) * (np.sqrt(apart**2 + 4 * np.square(coupling)) - np.abs(apart))


def zz_hz(apart: ArrayLike, coupling: ArrayLike, first_anharmonicity: ArrayLike, second_anharmonicity: ArrayLike) -> FloatArray:
    """E11 - E10 - E01 + E00: |11> is pushed by |20> and by |02>; the pushes within the single excitation cancel.

    ``apart``: first minus second qubit. The levels' own formula, after DiCarlo et al. (2009), doi 10.1038/nature08121.
    """
    doubled = np.sqrt(2) * np.asarray(coupling, float)
    apart = np.asarray(apart, float)
    return push(-(apart + np.asarray(first_anharmonicity, float)), doubled) + push(apart - second_anharmonicity, doubled)


def resonator_shifts_hz(qubit_hz: FloatArray, anharmonicity_hz: FloatArray, resonator_hz: FloatArray, coupling: FloatArray) -> FloatArray:
    """(qubits, 3): how far the resonator moves from its bare frequency with the transmon in state 0, 1, 2.

    Koch et al. (2007), doi 10.1103/PhysRevA.76.042319, equations 3.8 to 3.10: chi_j = g^2 (j+1) / D_j, D_j = f(j, j+1) - resonator;
    the state j gives chi_(j-1) - chi_j. The dispersive shift of 1 from 0 is 2 g^2 a / (D (D + a)), below 0 for D < 0.
    """
    level = np.arange(3)
    apart = qubit_hz[:, None] - resonator_hz[:, None] + anharmonicity_hz[:, None] * level
    chi = coupling[:, None] ** 2 * (level + 1) / apart
    return np.concatenate([-chi[:, :1], chi[:, :-1] - chi[:, 1:]], axis=1)
