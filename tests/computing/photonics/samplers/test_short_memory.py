"""The chain rule with a short memory against exact patterns and cumulants of orders two to six."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.computing.photonics.samplers.small import FALSE_ALARM, chi_square_value, small_machine
from tiandi.computing.photonics.exact.clicks import click_moments, pattern_probabilities
from tiandi.computing.photonics.gaussian import Detectors, Machine
from tiandi.computing.photonics.machines import build_machine
from tiandi.computing.photonics.samplers.phase_space import PhaseSpaceSampler
from tiandi.computing.photonics.samplers.short_memory import ShortMemorySampler
from tiandi.computing.photonics.samplers.short_memory_kernels import light_moments, without_each
from tiandi.computing.photonics.validation.subsets import joint_cumulants
from tiandi.errors import InputError


def loop_hafnian(matrix: NDArray[np.complex128], loops: NDArray[np.complex128]) -> complex:
    """By the first photon: alone, or with each other."""
    if not len(loops):
        return 1.0
    rest = np.arange(1, len(loops))
    total = loops[0] * loop_hafnian(matrix[1:, 1:], loops[1:])
    for k in rest:
        left = rest[rest != k]
        total += matrix[0, k] * loop_hafnian(matrix[np.ix_(left, left)], loops[left])
    return complex(total)


def test_loop_hafnians_and_their_derivatives_are_those_of_the_definition() -> None:
    generator = np.random.default_rng(1)
    photons = 5
    matrix = generator.standard_normal((photons, photons)) + 1j * generator.standard_normal((photons, photons))
    matrix = matrix + matrix.T
    loops, column = generator.standard_normal((2, photons)) + 1j * generator.standard_normal((2, photons))
    table, out = np.empty(1 << photons, complex), np.empty(photons, complex)
    without_each(matrix, loops, table, out)
    whole = loop_hafnian(matrix, loops)
    assert table[-1] == pytest.approx(whole)
    left = np.arange(photons) != 2
    assert out[2] == pytest.approx(loop_hafnian(matrix[np.ix_(left, left)], loops[left]) / whole)
    moments = np.empty(6, complex)
    light_moments(table, column, moments)
    at = np.arange(-3, 4) / 3
    values = [loop_hafnian(matrix, loops + z * column) for z in at]
    exact = np.polynomial.Polynomial.fit(at, values, 6, domain=[-1, 1], window=[-1, 1]).coef
    np.testing.assert_allclose(moments[:4] * whole, exact[:4] * [1, 1, 2, 6], rtol=1e-8)


def test_patterns_are_exact_while_clicks_are_no_more_than_the_memory() -> None:
    machine = small_machine(6, strength=0.7, detectors=Detectors(dark_count_probability=0.01))
    samples = ShortMemorySampler(machine).sample(60_000, np.random.default_rng(2))
    exact = pattern_probabilities(machine, range(6))
    assert chi_square_value(samples, exact) > FALSE_ALARM
    projected = PhaseSpaceSampler(machine, "squeezed").sample(60_000, np.random.default_rng(2))
    assert chi_square_value(projected, exact) < FALSE_ALARM


def test_cumulants_of_orders_two_to_six_are_the_exact_ones_with_more_clicks_than_memory() -> None:
    machine = small_machine(10, transmission=0.5, strength=1.0)
    exact = pattern_probabilities(machine, range(10))
    wanted = joint_cumulants(exact[None])[0]
    orders = np.bitwise_count(np.arange(1 << 10))

    def slopes(sampler: ShortMemorySampler | PhaseSpaceSampler) -> list[float]:
        samples = sampler.sample(150_000, np.random.default_rng(2))
        assert (samples.sum(axis=1) > 3).mean() > 0.2
        found = joint_cumulants(np.bincount(samples @ (1 << np.arange(10)), minlength=1 << 10)[None] / len(samples))[0]
        return [float(found[orders == k] @ wanted[orders == k] / (wanted[orders == k] @ wanted[orders == k])) for k in range(2, 7)]

    near, short, projected = (
        slopes(sampler)
        for sampler in (ShortMemorySampler(machine), ShortMemorySampler(machine, memory=3), PhaseSpaceSampler(machine, "squeezed"))
    )
    np.testing.assert_allclose(near[:4], 1, atol=0.06)
    np.testing.assert_allclose(short[:4], 1, atol=0.12)
    assert max(projected[1:]) < 0.5


def test_a_weak_jiuzhang_has_its_exact_rates_and_pairs() -> None:
    machine = build_machine("jiuzhang-2.0-0.15w")
    sampler = ShortMemorySampler(machine)
    samples = sampler.sample(30_000, np.random.default_rng(2)).astype(np.float32)
    rates, pairs = click_moments(machine, 1), click_moments(machine, 2)
    first, second = np.triu_indices(machine.modes, 1)
    exact = pairs - rates[first] * rates[second]
    found = np.cov(samples.T)[first, second]
    assert samples.sum(axis=1).mean() == pytest.approx(rates.sum(), abs=0.08)
    # All pairs err together with the variance of the total, 0.03 here.
    assert found @ exact / (exact @ exact) == pytest.approx(1, abs=0.05)


def test_machines_that_it_does_not_take_are_refused() -> None:
    with pytest.raises(InputError, match="modes = 513"):
        ShortMemorySampler(Machine("wide", np.array([0.5]), np.full((513, 1), 0.01 + 0j)))
    with pytest.raises(InputError, match="memory = 17"):
        ShortMemorySampler(small_machine(), memory=17)
