"""The corrected sampler of many modes, on machines small enough for exact moments of all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.computing.photonics.samplers.small import small_machine
from tiandi.computing.photonics.exact.clicks import click_moments
from tiandi.computing.photonics.gaussian import Detectors, Machine
from tiandi.computing.photonics.machines import haar_columns
from tiandi.computing.photonics.samplers import SAMPLERS
from tiandi.computing.photonics.samplers.interface import Sampler
from tiandi.computing.photonics.samplers.light import random_field
from tiandi.computing.photonics.samplers.phase_space import PhaseSpaceSampler
from tiandi.computing.photonics.samplers.wide import LARGEST_WIDE_MODES, WideSampler
from tiandi.computing.photonics.samplers.wide_fit import fit_modes, lower_root
from tiandi.errors import InputError

SAMPLES = 120_000


def spread_light(modes: int, sources: int, dark_counts: float = 0.0) -> Machine:
    """Strong squeezing spread over many modes, as in Jiuzhang 4.0."""
    generator = np.random.default_rng(8)
    transfer = np.sqrt(0.51) * haar_columns(modes, sources, generator)
    return Machine("spread", generator.uniform(1.45, 1.8, sources), transfer, 1.0, Detectors(dark_count_probability=dark_counts))


def error_of_pairs(sampler: Sampler, exact: NDArray[np.float64]) -> float:
    """Relative error of all pairs' covariances, the samples' noise taken off by the product of two halves' deviations."""
    samples = sampler.sample(SAMPLES, np.random.default_rng(3)).astype(np.float32)
    one, other = (np.cov(part.T)[np.triu_indices(sampler.modes, 1)] - exact for part in np.split(samples, 2))
    return float(np.sqrt(max(np.mean(one * other), 0.0) / np.mean(exact**2)))


@pytest.mark.slow
@pytest.mark.parametrize("dark_counts", [0.0, 0.05])
def test_pairs_are_nearer_to_the_exact_ones_than_those_of_positive_p(dark_counts: float) -> None:
    machine = spread_light(96, 16, dark_counts)
    first, second = np.triu_indices(machine.modes, 1)
    rates = click_moments(machine, 1)
    exact = click_moments(machine, 2) - rates[first] * rates[second]
    sampler = WideSampler(machine)
    assert sampler.residual < 1e-5
    assert not sampler.shrunk
    assert sampler.covariance == pytest.approx(np.sqrt(np.mean(exact**2)), rel=1e-4)
    samples = sampler.sample(SAMPLES, np.random.default_rng(2))
    assert np.sqrt(np.mean((samples.mean(axis=0) - rates) ** 2)) < 2e-3
    found = error_of_pairs(sampler, exact)
    assert found < 0.025
    assert found < error_of_pairs(PhaseSpaceSampler(machine, "squeezed"), exact) / 2


def test_light_that_is_never_clipped_is_not_changed() -> None:
    fit = fit_modes(random_field(spread_light(24, 8), "squashed"), 0.0)
    np.testing.assert_allclose(fit.classical, 1, atol=1e-6)
    np.testing.assert_allclose(fit.offset, 0, atol=1e-6)


def test_dark_modes_click_by_their_dark_counts_alone() -> None:
    machine = spread_light(24, 8, 0.1)
    transfer = machine.transfer.copy()
    transfer[5:] = 0
    samples = WideSampler(Machine("half dark", machine.squeezing_r, transfer, 1.0, machine.detectors)).sample(
        50_000, np.random.default_rng(1)
    )
    np.testing.assert_allclose(samples[:, 5:].mean(axis=0), 0.1, atol=0.008)


def test_the_same_seed_gives_the_same_samples() -> None:
    sampler = WideSampler(spread_light(24, 8))
    one, other = (sampler.sample(700, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(one, other)


def test_correlations_that_no_gaussian_has_are_shrunk() -> None:
    wanted = np.full((3, 3), -0.8, np.float32, order="F")
    np.fill_diagonal(wanted, 1)
    root, shrunk = lower_root(wanted)
    assert shrunk == 0.5
    np.testing.assert_allclose((root @ root.T)[np.tril_indices(3, -1)], -0.4, atol=1e-6)
    np.testing.assert_allclose((root @ root.T).diagonal(), 1, atol=1e-6)


def test_the_default_sampler_of_many_modes() -> None:
    wide = Machine("wide", np.array([0.5, 0.6]), np.full((2049, 2), 0.005 + 0j))
    sampler = SAMPLERS["corrected"](wide, np.random.default_rng(1))
    assert isinstance(sampler, WideSampler)
    assert "covariance" in sampler.describe()
    assert sampler.sample(3, np.random.default_rng(1)).shape == (3, 2049)


def test_what_it_cannot_sample_is_refused() -> None:
    with pytest.raises(InputError, match=r"detectors\.kind = 'number'"):
        WideSampler(small_machine(detectors=Detectors("number")))
    with pytest.raises(InputError, match=r"indistinguishability = 0\.9"):
        WideSampler(small_machine(indistinguishability=0.9))
    many = Machine("many", np.array([0.5]), np.full((LARGEST_WIDE_MODES + 1, 1), 0.001 + 0j))
    with pytest.raises(InputError, match="modes = 12289"):
        WideSampler(many)
