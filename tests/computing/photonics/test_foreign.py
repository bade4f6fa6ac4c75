"""States and interferometers of other libraries, in all their conventions."""

from __future__ import annotations

import numpy as np
import piquasso as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thewalrus.quantum import density_matrix_element
from thewalrus.symplectic import loss, squeezing, xxpp_to_xpxp

from tests.computing.photonics.states import random_machine, random_state
from tiandi.computing.photonics.exact.photon_numbers import photon_probability
from tiandi.computing.photonics.foreign import (
    covariance_in,
    machine_from_matrices,
    machine_from_perceval,
    state_from_matrices,
    state_from_piquasso,
    state_from_thewalrus,
)
from tiandi.computing.photonics.gaussian import Detectors
from tiandi.errors import InputError


@pytest.mark.parametrize("hbar", [1.0, 2.0, 0.5])
def test_piquasso_states_of_any_hbar(hbar: float) -> None:
    with pq.Program() as program:
        pq.Q(0) | pq.Squeezing(0.4, phi=0.3)
        pq.Q(1) | pq.Squeezing(-0.8)
        pq.Q(1) | pq.Displacement(r=0.6, phi=0.2)
        pq.Q(0, 1) | pq.Beamsplitter(0.5, 0.7)
    theirs = pq.GaussianSimulator(d=2, config=pq.Config(hbar=hbar, cutoff=6)).execute(program).state
    state = state_from_piquasso(theirs)
    for counts in ((0, 0), (1, 0), (1, 1), (2, 1)):
        assert photon_probability(state, counts) == pytest.approx(theirs.get_particle_detection_probability(counts), abs=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("hbar", [1.0, 2.0])
def test_thewalrus_states(hbar: float) -> None:
    symplectic = squeezing(np.array([0.5, -0.9]))
    covariance = hbar / 2 * symplectic @ symplectic.T
    mean, covariance = loss(np.array([0.3, 0.1, -0.2, 0.5]), covariance, 0.7, 0, hbar=hbar)
    state = state_from_thewalrus(mean, covariance, hbar=hbar)
    for counts in ([0, 0], [1, 0], [2, 1]):
        theirs = density_matrix_element(mean, covariance, counts, counts, hbar=hbar)
        assert photon_probability(state, counts) == pytest.approx(theirs.real, abs=1e-11)
    other = state_from_matrices(xxpp_to_xpxp(covariance), xxpp_to_xpxp(mean), order="xpxp", hbar=hbar)
    np.testing.assert_allclose(other.covariance, state.covariance, atol=1e-12)
    np.testing.assert_allclose(other.mean, state.mean, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["xxpp", "xpxp"]), st.floats(0.1, 10))
def test_there_and_back(seed: int, order: str, hbar: float) -> None:
    state = random_state(seed, 3, displacement=0.5)
    covariance, mean = covariance_in(state, order=order, hbar=hbar)  # type: ignore[arg-type]
    again = state_from_matrices(covariance, mean, order=order, hbar=hbar)  # type: ignore[arg-type]
    np.testing.assert_allclose(again.covariance, state.covariance, atol=1e-10)
    np.testing.assert_allclose(again.mean, state.mean, atol=1e-10)


class Circuit:
    """What is asked of a Perceval circuit."""

    name = "a splitter"

    def compute_unitary(self) -> np.ndarray:
        return np.array([[1, 1j], [1j, 1]]) / np.sqrt(2)


def test_perceval_circuits() -> None:
    machine = machine_from_perceval(Circuit(), [0.5, -0.5], transmission=0.8, detectors=Detectors("number"))
    assert machine.name == "a splitter"
    assert machine.state().mean_photon_numbers.sum() == pytest.approx(0.8 * 2 * np.sinh(0.5) ** 2)
    with pytest.raises(InputError, match="compute_unitary"):
        machine_from_perceval(object(), [0.5])


def test_what_is_not_physical_is_refused() -> None:
    state = random_state(2, 3, transmission=1.0)
    covariance, _ = covariance_in(state, order="xxpp", hbar=2.0)
    with pytest.raises(InputError, match="uncertainty"):
        state_from_matrices(covariance, order="xpxp", hbar=2.0)
    with pytest.raises(InputError, match="uncertainty"):
        state_from_matrices(covariance, order="xxpp", hbar=4.0)
    with pytest.raises(InputError, match="square"):
        state_from_matrices(np.eye(3), order="xxpp", hbar=2.0)
    with pytest.raises(InputError, match="mean"):
        state_from_matrices(np.eye(4), np.zeros(3), order="xxpp", hbar=2.0)
    with pytest.raises(InputError, match="order"):
        state_from_matrices(np.eye(4), order="pxpx", hbar=2.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="symmetric"):
        state_from_matrices(np.eye(4) + np.eye(4, k=1), order="xxpp", hbar=2.0)
    with pytest.raises(InputError, match="finite"):
        state_from_matrices(np.full((4, 4), np.nan), order="xxpp", hbar=2.0)
    with pytest.raises(InputError, match="Piquasso"):
        state_from_piquasso(object())


def test_machines_of_matrices_are_checked() -> None:
    transfer = random_machine(3, 4, 2).transfer
    machine = machine_from_matrices(transfer, [0.5, 0.2], detectors=Detectors("pseudo-number", 4))
    assert machine.modes == 4
    with pytest.raises(InputError, match="singular value"):
        machine_from_matrices(2 * transfer, [0.5, 0.2])
    with pytest.raises(InputError, match="squeezing"):
        machine_from_matrices(transfer, [0.5])
    with pytest.raises(InputError, match="squeezing_r"):
        machine_from_matrices(transfer, [0.5, 50.0])
    with pytest.raises(InputError, match="finite"):
        machine_from_matrices(transfer * np.nan, [0.5, 0.2])
    with pytest.raises(InputError, match="dark"):
        machine_from_matrices(transfer, [0.5, 0.2], detectors=Detectors(dark_count_probability=2.0))
    with pytest.raises(InputError, match="indistinguishability"):
        machine_from_matrices(transfer, [0.5, 0.2], indistinguishability=-0.1)
