"""Samplers of light that can be sampled exactly, by chi-square against exact probabilities; see `small.FALSE_ALARM`."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nbinom
from thewalrus.quantum import density_matrix_element

from tests.computing.photonics.samplers.small import FALSE_ALARM, chi_square_value, small_machine
from tiandi.computing.photonics.exact.clicks import click_moments, pattern_probabilities
from tiandi.computing.photonics.exact.photon_numbers import bin_distribution
from tiandi.computing.photonics.gaussian import Detectors, GaussianState, Machine
from tiandi.computing.photonics.samplers.interface import Sampler
from tiandi.computing.photonics.samplers.light import random_field
from tiandi.computing.photonics.samplers.particles import DistinguishableSampler
from tiandi.computing.photonics.samplers.phase_space import PhaseSpaceSampler

SAMPLES = 200_000


def stand_in(machine: Machine, kind: str) -> GaussianState:
    """The thermal or squashed state with the sources' photon numbers, built from its covariance by matrices alone."""
    photons = np.sinh(machine.squeezing_r) ** 2
    stretched, other = (2 * photons, 2 * photons) if kind == "thermal" else (4 * photons, 0 * photons)
    along_x = machine.squeezing_r > 0
    excess = np.concatenate([np.where(along_x, stretched, other), np.where(along_x, other, stretched)])
    transfer = np.block([[machine.transfer.real, -machine.transfer.imag], [machine.transfer.imag, machine.transfer.real]])
    return GaussianState(np.eye(2 * machine.modes) + (transfer * excess) @ transfer.T, np.zeros(2 * machine.modes))


@pytest.mark.parametrize("kind", ["thermal", "squashed"])
def test_clicks_of_classical_light_have_its_exact_pattern_probabilities(kind: str) -> None:
    machine = small_machine()
    samples = PhaseSpaceSampler(machine, kind).sample(SAMPLES, np.random.default_rng(2))
    exact = pattern_probabilities(stand_in(machine, kind), range(4))
    assert chi_square_value(samples, exact) > FALSE_ALARM
    assert chi_square_value(samples, pattern_probabilities(machine, range(4))) < FALSE_ALARM


def test_light_that_does_not_interfere_and_dark_counts_are_those_of_the_exact_functions() -> None:
    machine = small_machine(indistinguishability=0.3, detectors=Detectors(dark_count_probability=0.02))
    field = random_field(machine, "squeezed")
    total, dark = np.zeros(2, complex), 0.98
    for _ in range(50):
        real, imaginary = field.draw(10_000, np.random.default_rng(_))
        silent = dark * np.exp(-(real + 1j * imaginary))
        total += [(1 - silent[:, 0]).mean() / 50, ((1 - silent[:, 0]) * (1 - silent[:, 1])).mean() / 50]
    exact = [click_moments(machine, 1)[0], click_moments(machine, 2)[0]]
    np.testing.assert_allclose(total.real, exact, atol=4e-3)
    assert np.abs(total.imag).max() < 4e-3


@pytest.mark.parametrize("indistinguishability", [1.0, 0.4])
def test_distinguishable_photons_are_the_machine_without_interference(indistinguishability: float) -> None:
    machine = small_machine(indistinguishability=indistinguishability, detectors=Detectors(dark_count_probability=0.01))
    samples = DistinguishableSampler(machine).sample(SAMPLES, np.random.default_rng(2))
    exact = pattern_probabilities(replace(machine, indistinguishability=0.0), range(4))
    assert chi_square_value(samples, exact) > FALSE_ALARM


def test_bins_of_distinguishable_light_fill_as_the_exact_functions_say() -> None:
    machine = small_machine(2, detectors=Detectors("pseudo-number", 3, 0.02))
    samples = DistinguishableSampler(machine).sample(SAMPLES, np.random.default_rng(4))
    exact = bin_distribution(replace(machine, indistinguishability=0.0), [0, 1], 3)
    assert chi_square_value(samples, exact.T.ravel(), base=4) > FALSE_ALARM


def test_bins_of_squashed_light_fill_as_the_exact_functions_say() -> None:
    machine = small_machine(2, detectors=Detectors("pseudo-number", 3))
    samples = PhaseSpaceSampler(machine, "squashed").sample(SAMPLES, np.random.default_rng(5))
    exact = bin_distribution(stand_in(machine, "squashed"), [0, 1], 3)
    assert chi_square_value(samples, exact.T.ravel(), base=4) > FALSE_ALARM


@pytest.mark.slow
def test_photons_of_thermal_light_are_those_of_the_walrus() -> None:
    machine = small_machine(2, detectors=Detectors("number"))
    samples = PhaseSpaceSampler(machine, "thermal").sample(SAMPLES, np.random.default_rng(6))
    state = stand_in(machine, "thermal")
    inside = samples[(samples < 4).all(axis=1)]
    exact = np.array(
        [density_matrix_element(state.mean, state.covariance, [i, j], [i, j], hbar=2).real for j, i in product(range(4), repeat=2)]
    )
    assert len(inside) / SAMPLES == pytest.approx(exact.sum(), abs=4e-3)
    assert chi_square_value(inside, exact / exact.sum(), base=4) > FALSE_ALARM


def test_dark_counts_add_photons_one_at_a_time() -> None:
    dark = Machine("dark", np.array([0.7]), np.zeros((1, 1), complex), 1.0, Detectors("number", 1, 0.2))
    samples = PhaseSpaceSampler(dark, "squeezed").sample(20_000, np.random.default_rng(3))
    assert set(np.unique(samples)) == {0, 1}
    assert samples.mean() == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / 20_000))


def test_photons_of_one_squeezer_come_in_pairs_of_negative_binomial_number() -> None:
    machine = Machine("one", np.array([0.8]), np.ones((1, 1), complex), 1.0, Detectors("number"))
    samples = DistinguishableSampler(machine).sample(SAMPLES, np.random.default_rng(2))
    assert not (samples % 2).any()
    pairs = nbinom.pmf(np.arange(8), 0.5, 1 / np.cosh(0.8) ** 2)
    kept = samples[samples[:, 0] < 16] // 2
    assert chi_square_value(kept, pairs / pairs.sum(), base=8) > FALSE_ALARM


def test_coherent_light_clicks_as_the_average_over_two_phases() -> None:
    machine = small_machine(2)
    samples = PhaseSpaceSampler(machine, "coherent").sample(SAMPLES, np.random.default_rng(8))
    phases = np.exp(2j * np.pi * np.arange(400) / 400)
    amplitude = np.sinh(np.abs(machine.squeezing_r))
    fields = machine.transfer[:, :1] * amplitude[0] + machine.transfer[:, 1:] * amplitude[1] * phases
    silent = np.exp(-(np.abs(fields) ** 2))
    exact = np.array([np.prod(np.where([[i], [j]], 1 - silent, silent), axis=0).mean() for j, i in product((0, 1), repeat=2)])
    assert chi_square_value(samples, exact) > FALSE_ALARM


@settings(max_examples=15, deadline=None)
@given(kind=st.sampled_from(["thermal", "squashed", "coherent", "squeezed"]), share=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_every_field_has_the_machines_mean_photon_numbers(kind: str, share: float, seed: int) -> None:
    machine = small_machine(indistinguishability=share)
    real = random_field(machine, kind).draw(40_000, np.random.default_rng(seed))[0].astype(float)
    expected = np.abs(machine.transfer) ** 2 @ np.sinh(machine.squeezing_r) ** 2
    error = real.std(axis=0) / 200
    assert (np.abs(real.mean(axis=0) - expected) < 6 * error + 1e-5).all()


@pytest.mark.parametrize("kind", ["thermal", "squashed"])
def test_no_light_no_click(kind: str) -> None:
    sampler: Sampler = PhaseSpaceSampler(small_machine(strength=0.0), kind)
    assert not sampler.sample(100, np.random.default_rng(1)).any()
