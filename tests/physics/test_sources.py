"""Photon numbers against SciPy's distributions, sums over Fock states and photons followed one by one.

Statistical tests allow five standard deviations: one false alarm in 1.7 million comparisons.
"""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import integrate, linalg, stats

from tiandi.errors import InputError
from tiandi.physics.sources import (
    ContinuousPairSource,
    PulsedPairSource,
    basis_dependence,
    heralded_distribution,
    heralded_second_order_coherence,
    heralding_probability,
    noisy_photon_number_distribution,
    phase_error_with_basis_dependence,
    photon_number_distribution,
    preparation_error,
)

SIGMAS = 5.0
LARGEST = 400


@pytest.mark.parametrize("modes", [1.0, 2.0, 7.5, 1e6, math.inf])
def test_photon_numbers_are_poisson_or_negative_binomial(modes: float) -> None:
    means = np.array([[0.0, 0.01, 0.1], [0.8, 5.0, 20.0]])
    ours = photon_number_distribution(means, LARGEST, modes=modes)
    photons = np.arange(LARGEST + 1)
    share = means[..., None]
    theirs = stats.poisson.pmf(photons, share) if math.isinf(modes) else stats.nbinom.pmf(photons, modes, modes / (modes + share))
    assert ours.shape == (2, 3, LARGEST + 1)
    # For a million modes SciPy's own argument, so close to 1, costs it nine digits.
    assert ours == pytest.approx(theirs, rel=1e-6 if modes == 1e6 else 1e-9, abs=1e-300)
    assert ours.sum(axis=-1) == pytest.approx(1.0, abs=1e-7)


def test_two_modes_are_the_pairs_of_type_two_down_conversion() -> None:
    """(n + 1) lambda^n / (1 + lambda)^(n + 2), the form of Ma, Fung and Lo 2007, with lambda half the mean."""
    half, pairs = 0.3, np.arange(30)
    expected = (pairs + 1) * half**pairs / (1 + half) ** (pairs + 2)
    assert photon_number_distribution(2 * half, 29, modes=2.0) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("modes", [1.0, 3.0, math.inf])
def test_heralding_is_a_sum_over_pair_numbers(modes: float) -> None:
    mean, efficiency, noise = 0.4, 0.35, 2e-3
    pairs = np.arange(LARGEST + 1)
    numbers = photon_number_distribution(mean, LARGEST, modes=modes)
    joint = numbers * (1 - (1 - noise) * (1 - efficiency) ** pairs)
    expected = joint / joint.sum()
    arm: dict[str, Any] = {"efficiency": efficiency, "noise_probability": noise, "modes": modes}
    assert float(heralding_probability(mean, **arm)) == pytest.approx(joint.sum(), rel=1e-12)
    assert heralded_distribution(mean, LARGEST, **arm) == pytest.approx(expected, rel=1e-11, abs=1e-300)
    first, second = expected @ pairs, expected @ (pairs * (pairs - 1.0))
    assert float(heralded_second_order_coherence(mean, **arm)) == pytest.approx(second / first**2, rel=1e-11)


def test_heralded_photons_are_those_of_pairs_followed_one_by_one() -> None:
    mean, efficiency, noise, pulses = 0.5, 0.6, 0.05, 400_000
    generator = np.random.default_rng(4)
    pairs = generator.geometric(1 / (1 + mean), pulses) - 1
    clicked = (generator.binomial(pairs, efficiency) > 0) | (generator.random(pulses) < noise)
    share = float(heralding_probability(mean, efficiency=efficiency, noise_probability=noise))
    assert abs(clicked.mean() - share) < SIGMAS * math.sqrt(share * (1 - share) / pulses)
    expected = heralded_distribution(mean, 5, efficiency=efficiency, noise_probability=noise)
    seen = np.bincount(pairs[clicked], minlength=6)[:6] / clicked.sum()
    assert (np.abs(seen - expected) < SIGMAS * np.sqrt(expected / clicked.sum())).all()


@pytest.mark.parametrize(("efficiency", "slope"), [(1e-3, 4.0), (1.0, 2.0)])
def test_faint_heralded_light_is_single_photons(efficiency: float, slope: float) -> None:
    """One thermal mode: g2 goes as 4 mean for a poor herald and as 2 mean for a perfect one."""
    coherence = heralded_second_order_coherence(np.array([1e-6, 1e-4]), efficiency=efficiency)
    assert coherence == pytest.approx(slope * np.array([1e-6, 1e-4]), rel=2e-3)


def test_noise_heralds_nothing_and_no_light_heralds_nothing() -> None:
    assert float(heralded_second_order_coherence(0.0, efficiency=0.5, noise_probability=1e-3)) == 0.0
    assert heralded_distribution(0.0, 2, efficiency=0.5, noise_probability=1e-3) == pytest.approx([1.0, 0.0, 0.0], abs=1e-12)
    assert heralded_distribution(0.3, 2, efficiency=0.0).tolist() == [1.0, 0.0, 0.0]
    assert float(heralding_probability(1e-12, efficiency=1e-3)) == pytest.approx(1e-15, rel=1e-9)


@pytest.mark.parametrize("shape", ["gaussian", "lognormal"])
@pytest.mark.parametrize("mean", [0.1, 0.6, 5.0])
def test_intensity_noise_is_an_average_over_intensities(shape: Any, mean: float) -> None:
    deviation = 0.15
    sigma = math.sqrt(math.log1p(deviation**2))
    density = (
        stats.norm(mean, deviation * mean).pdf if shape == "gaussian" else stats.lognorm(sigma, scale=mean * math.exp(-(sigma**2) / 2)).pdf
    )
    ours = noisy_photon_number_distribution(mean, 60, relative_deviation=deviation, shape=shape)
    for photons in range(6):
        expected, _ = integrate.quad(lambda x, n=photons: stats.poisson.pmf(n, x) * density(x), 0.0, 4 * mean, epsabs=1e-13, limit=200)
        assert ours[photons] == pytest.approx(expected, abs=1e-8)
    numbers = np.arange(61)
    assert ours @ numbers == pytest.approx(mean, rel=1e-7)
    assert ours @ numbers**2 - mean**2 == pytest.approx(mean + (deviation * mean) ** 2, rel=1e-7)


def test_a_steady_laser_is_poisson_and_a_noisy_one_has_more_vacuum() -> None:
    means = np.array([0.5, 0.1, 0.0])
    steady = noisy_photon_number_distribution(means, 10, relative_deviation=0.0)
    assert steady == pytest.approx(photon_number_distribution(means, 10), abs=1e-14)
    noisy = noisy_photon_number_distribution(means, 10, relative_deviation=0.1)
    assert (noisy[:2, 0] > steady[:2, 0]).all()
    assert (noisy[:2, 1] < steady[:2, 1]).all()


def bb84_states(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Real state vectors (bases, bits, 2)."""
    angles = np.array([[0.0, math.pi], [math.pi / 2, -math.pi / 2]]) + rotations
    return np.stack([np.cos(angles / 2), np.sin(angles / 2)], axis=-1)


def test_basis_dependence_is_the_imbalance_of_the_coin() -> None:
    """From state vectors with Alice's qubit beside them, and never below what the fidelity of the mean states says."""
    generator = np.random.default_rng(2)
    alices = np.array([[[1.0, 0.0], [0.0, 1.0]], np.array([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2)])
    for _ in range(50):
        rotations = 0.3 * generator.standard_normal((2, 2))
        emitted = bb84_states(rotations)
        joint = np.einsum("sba,sbe->sae", alices, emitted).reshape(2, 4) / math.sqrt(2)
        ours = float(basis_dependence(rotations))
        assert ours == pytest.approx(0.5 * (1 - joint[0] @ joint[1]), abs=1e-13)
        mean_z, mean_x = (0.5 * state.T @ state for state in emitted)
        fidelity = float(np.trace(linalg.sqrtm(linalg.sqrtm(mean_z) @ mean_x @ linalg.sqrtm(mean_z))).real)
        assert ours >= 0.5 * (1 - fidelity) - 1e-9


def test_turning_all_states_together_betrays_nothing() -> None:
    assert float(basis_dependence(np.full((2, 2), 0.4))) == pytest.approx(0.0, abs=1e-15)
    assert basis_dependence(np.zeros((3, 5, 2, 2))).shape == (3, 5)


def test_a_turned_state_errs_as_born_says() -> None:
    angle = 0.13
    assert float(preparation_error(angle)) == pytest.approx(bb84_states(np.full((2, 2), angle))[0, 0, 1] ** 2)


@given(error=st.floats(0.0, 0.2), share=st.floats(0.0, 0.02))
def test_the_phase_error_of_a_flawed_source_is_the_bound_of_lo_and_preskill(error: float, share: float) -> None:
    root = math.sqrt(share * (1 - share) * error * (1 - error))
    printed = error + 4 * share * (1 - share) * (1 - 2 * error) + 4 * (1 - 2 * share) * root
    ours = float(phase_error_with_basis_dependence(error, share))
    assert ours == pytest.approx(min(printed, 0.5), abs=1e-12)
    assert float(phase_error_with_basis_dependence(error, share, 0.5)) >= ours - 1e-15


def test_loss_turns_a_small_flaw_into_no_proof_at_all() -> None:
    bounds = phase_error_with_basis_dependence(0.01, 1e-6, np.array([1.0, 1e-3, 1e-6, 0.0]))
    assert bounds[0] == pytest.approx(0.0104, abs=1e-4)
    assert bounds[2] == bounds[3] == 0.5
    assert (np.diff(bounds) >= 0).all()


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: photon_number_distribution([-0.1], 3), "mean_photons"),
        (lambda: photon_number_distribution([math.nan], 3), "mean_photons"),
        (lambda: photon_number_distribution(0.1, 3, modes=0.5), "modes"),
        (lambda: heralding_probability(0.1, efficiency=1.2), "efficiency"),
        (lambda: heralding_probability(0.1, efficiency=0.2, noise_probability=-1.0), "noise_probability"),
        (lambda: noisy_photon_number_distribution(0.1, 3, relative_deviation=0.5), "relative_deviation"),
        (lambda: noisy_photon_number_distribution(0.1, 3, relative_deviation=0.1, shape="flat"), "shape"),  # type: ignore[arg-type]
        (lambda: PulsedPairSource(clock_hz=0.0, mean_pairs=0.1), "clock_hz"),
        (lambda: PulsedPairSource(clock_hz=1e6, mean_pairs=0.1, statistics="bose"), "statistics"),  # type: ignore[arg-type]
        (lambda: PulsedPairSource(clock_hz=1e6, mean_pairs=0.1, visibility=1.1), "visibility"),
        (lambda: ContinuousPairSource(pair_rate_hz=-1.0), "pair_rate_hz"),
    ],
)
def test_bad_figures_are_named(call: Any, field: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.field == field
