"""Lossy decomposition and matrix product states against exact probabilities and independent functions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import unitary_group
from thewalrus.quantum import state_vector
from thewalrus.random import random_covariance
from thewalrus.symplectic import sympmat

from tests.computing.photonics.samplers.small import FALSE_ALARM, chi_square_value, small_machine
from tiandi.computing.photonics.exact.clicks import pattern_probabilities
from tiandi.computing.photonics.exact.photon_numbers import bin_distribution
from tiandi.computing.photonics.gaussian import Detectors, Machine
from tiandi.computing.photonics.samplers.lossy_decomposition import LossyDecomposition, decompose, symplectic_form, williamson
from tiandi.computing.photonics.samplers.matrix_product import MatrixProductSampler
from tiandi.computing.photonics.samplers.site_tensors import heaviest_occupations
from tiandi.errors import InputError


def test_williamson_gives_a_symplectic_matrix_and_the_covariance_back() -> None:
    covariance = random_covariance(5, hbar=2)
    nu, symplectic = williamson(covariance)
    np.testing.assert_allclose(symplectic * np.tile(nu, 2) @ symplectic.T, covariance, atol=1e-8 * np.abs(covariance).max())
    np.testing.assert_allclose(symplectic.T @ sympmat(5) @ symplectic, sympmat(5), atol=1e-8)
    np.testing.assert_array_equal(symplectic_form(5), sympmat(5))


def test_one_lossy_squeezer_leaves_the_least_squeezed_pure_state_that_fits() -> None:
    machine = Machine("one", np.array([1.0]), np.array([[np.sqrt(0.5) + 0j]]))
    found = decompose(machine.state().covariance, steps=2000, tolerance=1e-9)
    narrow = 1 + 0.5 * np.expm1(-2.0)
    np.testing.assert_allclose(found.pure, np.diag([1 / narrow, narrow]), atol=1e-5)
    assert found.pure_photons == pytest.approx((narrow + 1 / narrow) / 4 - 0.5, abs=1e-5)


def test_a_decomposition_is_of_states_and_adds_up() -> None:
    covariance = small_machine(6).state().covariance
    found = decompose(covariance, steps=1000, tolerance=1e-8)
    assert found.error < 1e-6
    assert np.linalg.eigvalsh(found.displacement)[0] > -1e-9
    np.testing.assert_allclose(np.linalg.det(found.pure), 1, rtol=1e-8)
    assert 0 < found.pure_photons < small_machine(6).state().mean_photon_numbers.sum()


def test_what_is_no_state_is_refused() -> None:
    with pytest.raises(InputError, match="covariance"):
        decompose(0.5 * np.eye(4))


def test_tensors_multiply_to_the_amplitudes_of_the_walrus() -> None:
    machine = Machine("pure", np.array([0.5, -0.4, 0.3]), unitary_group.rvs(3, random_state=5))
    covariance = machine.state().covariance
    pure = LossyDecomposition(covariance, np.zeros_like(covariance), 0.0, 0.0)
    sampler = MatrixProductSampler(machine, bond=60, levels=4, decomposition=pure)
    first, second, third = (sampler.tensor(site) for site in range(3))
    state = np.einsum("bl,cmb,nc->lmn", first[:, :, 0], second, third[0])
    exact = state_vector(np.zeros(6), covariance, cutoff=4, hbar=2)
    overlap = np.vdot(exact, state) / np.vdot(exact, exact)
    assert abs(overlap) == pytest.approx(1, abs=2e-3)
    np.testing.assert_allclose(np.abs(state), np.abs(exact), atol=2e-3)


@pytest.mark.parametrize(
    ("detectors", "base"), [(Detectors(dark_count_probability=0.01), 2), (Detectors("pseudo-number", 3, 0.01), 4)], ids=["clicks", "bins"]
)
def test_samples_have_the_exact_pattern_probabilities_where_nothing_is_cut(detectors: Detectors, base: int) -> None:
    machine = small_machine(3, detectors=detectors)
    sampler = MatrixProductSampler(machine, bond=60, levels=8, steps=1000)
    assert sampler.discarded.max() < 1e-3
    samples = sampler.sample(50_000, np.random.default_rng(2))
    exact = pattern_probabilities(machine, range(3)) if base == 2 else bin_distribution(machine, [0, 1, 2], 3).T.ravel()
    assert chi_square_value(samples, exact, base=base) > FALSE_ALARM


def test_a_larger_bond_loses_less() -> None:
    machine = small_machine(6, transmission=0.9)
    decomposition = decompose(machine.state().covariance)
    lost = [MatrixProductSampler(machine, bond=bond, decomposition=decomposition).discarded.max() for bond in (1, 8, 64)]
    assert lost[0] > 2 * lost[1] > 4 * lost[2]
    with pytest.raises(InputError, match="bond = 0"):
        MatrixProductSampler(machine, bond=0, decomposition=decomposition)


def test_kept_occupations_are_the_heaviest() -> None:
    thermal = np.array([0.5, 0.3, 0.1])
    grid = np.indices((20, 20, 20)).reshape(3, -1).T
    weights = np.sort(np.prod((1 - thermal) * thermal**grid, axis=1))[::-1]
    kept = heaviest_occupations(thermal, 40)
    assert len(kept) == 40
    assert kept.weight == pytest.approx(weights[:40].sum())
    assert heaviest_occupations(np.zeros(3), 40).weight == 1
