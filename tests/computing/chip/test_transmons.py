"""Formulas of the chip against diagonalised Hamiltonians and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiandi.computing.chip.transmons import coupling_hz, push, resonator_shifts_hz, transmon_hz, transmon_slope_hz, zz_hz


def cooper_pair_box_hz(josephson_hz: float, charging_hz: float) -> float:
    """f01 by diagonalising 4 EC n^2 - EJ/2 (|n><n+1| + h.c.) at no offset charge (Koch et al. 2007, equation 2.1)."""
    charge = np.arange(-20, 21)
    matrix = np.diag(4.0 * charging_hz * charge**2) - 0.5 * josephson_hz * (np.eye(41, k=1) + np.eye(41, k=-1))
    levels = np.linalg.eigvalsh(matrix)
    return float(levels[1] - levels[0])


@pytest.mark.parametrize("flux", [0.0, 0.1, 0.2, 0.3])
def test_frequency_against_the_diagonalised_cooper_pair_box(flux: float) -> None:
    charging, asymmetry = 220e6, 0.25
    josephson = 15e9
    maximum = cooper_pair_box_hz(josephson, charging)
    at_flux = josephson * np.sqrt(np.cos(np.pi * flux) ** 2 + asymmetry**2 * np.sin(np.pi * flux) ** 2)
    exact = cooper_pair_box_hz(at_flux, charging)
    assert transmon_hz(flux, maximum, asymmetry, -charging) == pytest.approx(exact, abs=6e6)


@given(st.floats(-0.45, 0.45), st.floats(0.05, 0.5))
def test_slope_is_the_derivative(flux: float, asymmetry: float) -> None:
    low, high = (float(transmon_hz(flux + step, 5e9, asymmetry, -240e6)) for step in (-1e-6, 1e-6))
    assert float(transmon_slope_hz(flux, 5e9, asymmetry, -240e6)) == pytest.approx((high - low) / 2e-6, abs=2e4)


def test_dispersive_shift_against_the_diagonalised_transmon_and_resonator() -> None:
    qubit, anharmonicity, resonator, coupling = 5.0e9, -240e6, 6.4e9, 90e6
    levels, photons = 5, 5
    lower_q, lower_r = np.diag(np.sqrt(np.arange(1.0, levels)), 1), np.diag(np.sqrt(np.arange(1.0, photons)), 1)
    number = np.arange(levels)
    matrix = np.kron(np.diag(qubit * number + 0.5 * anharmonicity * number * (number - 1)), np.eye(photons))
    matrix = matrix + np.kron(np.eye(levels), resonator * np.diag(np.arange(photons)))
    matrix = matrix + coupling * (np.kron(lower_q.T, lower_r) + np.kron(lower_q, lower_r.T))
    energies, vectors = np.linalg.eigh(matrix)

    def energy(state: int, photon: int) -> float:
        return float(energies[np.abs(vectors[state * photons + photon]).argmax()])

    given = resonator_shifts_hz(np.array([qubit]), np.array([anharmonicity]), np.array([resonator]), np.array([coupling]))[0]
    exact = [energy(state, 1) - energy(state, 0) - resonator for state in range(3)]
    assert given[1] < given[0]
    assert given[0] == pytest.approx(exact[0], rel=0.02)
    assert given[1] - given[0] == pytest.approx(exact[1] - exact[0], rel=0.1)
    closed = 2 * coupling**2 * anharmonicity / ((qubit - resonator) * (qubit + anharmonicity - resonator))
    assert given[1] - given[0] == pytest.approx(closed, rel=1e-9)


@given(st.floats(-800e6, 800e6), st.floats(1e5, 2e7))
def test_zz_against_the_diagonalised_pair(apart: float, coupling: float) -> None:
    first, second = -240e6, -230e6
    # |11>, |20>, |02> and |10>, |01> with energies against that of |11> and of the mean.
    double = np.array(
        [[0, 2**0.5 * coupling, 2**0.5 * coupling], [2**0.5 * coupling, apart + first, 0], [2**0.5 * coupling, 0, -apart + second]]
    )
    gaps = min(abs(apart + first), abs(-apart + second))
    if gaps < 8 * coupling:
        return
    energies, vectors = np.linalg.eigh(double)
    exact = energies[np.abs(vectors[0]).argmax()]
    assert float(zz_hz(apart, coupling, first, second)) == pytest.approx(exact, rel=0.06, abs=300.0)


@given(st.floats(-1e9, 1e9), st.floats(0, 1e8))
def test_push_is_exact_for_two_levels(above: float, coupling: float) -> None:
    levels = np.linalg.eigvalsh(np.array([[above, coupling], [coupling, 0.0]]))
    expected = levels[1] - above if above >= 0 else levels[0] - above
    assert float(push(above, coupling)) == pytest.approx(expected, abs=1.0)


def test_a_coupler_can_switch_the_coupling_off() -> None:
    coupler = np.linspace(5.6e9, 7.5e9, 400)
    values = coupling_hz(5.0e9, 4.9e9, coupler, direct=6e6, first=88e6, second=88e6)
    assert values.min() < -5e6
    assert values.max() > 2e6
