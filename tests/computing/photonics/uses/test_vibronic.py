"""Vibronic spectra, beside overlaps of wave functions integrated on a grid, thewalrus, and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import eval_hermite
from scipy.stats import chi2
from thewalrus.quantum import pure_state_amplitude

from tiandi.computing.photonics.uses import vibronic
from tiandi.computing.photonics.uses.vibronic import Molecule, load_molecules
from tiandi.errors import InputError

FORMIC = load_molecules()["formic-acid"]
ANGLE = 0.5
BENT = Molecule(
    "bent",
    np.array([1200.0, 700.0]),
    np.array([1000.0, 800.0]),
    np.array([[math.cos(ANGLE), math.sin(ANGLE)], [-math.sin(ANGLE), math.cos(ANGLE)]]),
    np.array([0.9, -0.6]),
)


def oscillator(quanta: int, place: np.ndarray) -> np.ndarray:
    return eval_hermite(quanta, place) * np.exp(-(place**2) / 2) / math.sqrt(math.sqrt(math.pi) * 2.0**quanta * math.factorial(quanta))


def overlaps(molecule: Molecule, final: list[tuple[int, int]], initial: list[tuple[int, int]]) -> np.ndarray:
    """|<final|initial>|^2 (final, initial) of two modes by summing wave functions over a grid of the initial coordinates."""
    axis = np.linspace(-8, 8, 201)
    first, second = np.meshgrid(axis, axis, indexing="ij")
    rotation = molecule.scaled_rotation()
    moved = [rotation[i, 0] * first + rotation[i, 1] * second + molecule.displacement[i] for i in range(2)]
    before = np.stack([(oscillator(a, first) * oscillator(b, second)).ravel() for a, b in initial])
    waves = [[oscillator(quanta, place).ravel() for quanta in range(1 + max(map(max, final)))] for place in moved]
    after = np.stack([waves[0][a] * waves[1][b] for a, b in final])
    integrals = after @ before.T * (axis[1] - axis[0]) ** 2 * math.sqrt(abs(np.linalg.det(rotation)))
    return integrals**2


def test_franck_condon_factors_are_overlaps_of_wave_functions() -> None:
    levels, factors = vibronic.franck_condon_factors(BENT, 6)
    assert factors == pytest.approx(overlaps(BENT, [(a, b) for a, b in levels.tolist()], [(0, 0)])[:, 0], abs=1e-9)


@pytest.mark.slow
def test_franck_condon_factors_of_formic_acid_are_those_of_thewalrus() -> None:
    levels, factors = vibronic.franck_condon_factors(FORMIC, 9)
    assert 0.985 < factors.sum() <= 1
    state = vibronic.vibronic_state(FORMIC)
    for number in np.argsort(-factors)[:12]:
        amplitude = pure_state_amplitude(state.mean, state.covariance, levels[number], hbar=2)
        assert factors[number] == pytest.approx(abs(amplitude) ** 2, rel=1e-9)


def test_the_exact_spectrum_is_the_sum_of_the_lines() -> None:
    levels, factors = vibronic.franck_condon_factors(BENT, 60)
    assert factors.sum() == pytest.approx(1.0, abs=1e-9)
    spectrum = vibronic.exact_spectrum(BENT, highest_per_cm=60_000, resolution_per_cm=100, step_per_cm=100)
    lines = np.bincount(levels @ np.array([10, 8]), factors, minlength=len(spectrum.shares))
    assert spectrum.shares == pytest.approx(lines[: len(spectrum.shares)], abs=1e-9)
    assert spectrum.energies_per_cm[18] == 1800.0


def test_vibrations_are_rounded_to_steps_and_not_to_bins() -> None:
    """All lines of formic acid one by one, in bins of 50 /cm, beside the transform in steps of a fiftieth."""
    levels, factors = vibronic.franck_condon_factors(FORMIC, 9)
    spectrum = vibronic.exact_spectrum(FORMIC, highest_per_cm=15_000)
    places = np.rint(levels @ FORMIC.final_per_cm / 50).astype(int)
    lines = np.bincount(places, factors, minlength=len(spectrum.shares))[: len(spectrum.shares)]
    # Few lines lie so near to the edge of a bin that a step decides; the rest is in higher levels.
    assert np.abs(spectrum.shares - lines).sum() / 2 < 0.02 + (1 - factors.sum())


def test_hot_lines_are_overlaps_with_excited_states() -> None:
    """P(final, initial) = Boltzmann's share of the initial level times the overlap, for all levels that count."""
    temperature_k = 700.0
    spectrum = vibronic.exact_spectrum(
        BENT, temperature_k=temperature_k, lowest_per_cm=-40_000, highest_per_cm=60_000, resolution_per_cm=100
    )
    factor = np.exp(-vibronic.KELVIN_TIMES_CM * BENT.initial_per_cm / temperature_k)
    expected = np.zeros(len(spectrum.shares))
    zero = int(np.flatnonzero(spectrum.energies_per_cm == 0)[0])
    initial, final = [(a, b) for a in range(3) for b in range(4)], [(a, b) for a in range(9) for b in range(9)]
    table = overlaps(BENT, final, initial)
    for column, before in enumerate(initial):
        share = float(np.prod((1 - factor) * factor ** np.array(before)))
        for row, after in enumerate(final):
            expected[zero + 10 * after[0] + 8 * after[1] - 12 * before[0] - 7 * before[1]] += share * table[row, column]
    assert expected.sum() > 0.98
    assert np.abs(spectrum.shares - expected).sum() < 1.0001 * (1 - expected.sum()) + 1e-6
    assert spectrum.shares.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(("temperature_k", "lowest_per_cm"), [(0.0, 0.0), (500.0, -6_000.0)])
def test_samples_follow_the_exact_spectrum(temperature_k: float, lowest_per_cm: float) -> None:
    """Chi-square over the bins with at least 20 expected; false alarm one in a thousand."""
    bins = {"lowest_per_cm": lowest_per_cm, "highest_per_cm": 30_000.0, "resolution_per_cm": 100.0}
    exact = vibronic.exact_spectrum(BENT, temperature_k=temperature_k, step_per_cm=100.0, **bins)
    energies = vibronic.sample_energies(BENT, 10_000, np.random.default_rng(4), temperature_k=temperature_k)
    seen = vibronic.binned(energies, **bins)
    expected = 10_000 * exact.shares
    kept = expected >= 20
    statistic = ((10_000 * seen.shares - expected) ** 2 / np.maximum(expected, 1e-9))[kept].sum()
    assert statistic < chi2.isf(1e-3, kept.sum())
    assert vibronic.total_variation(seen, exact) < 0.1


def test_without_rotation_and_change_of_frequency_light_is_poissonian() -> None:
    plain = vibronic.displaced_only(BENT)
    levels, factors = vibronic.franck_condon_factors(plain, 5)
    huang_rhys = BENT.displacement**2 / 2
    expected = [
        math.prod(math.exp(-s) * s**n / math.factorial(n) for s, n in zip(huang_rhys.tolist(), level, strict=True))
        for level in levels.tolist()
    ]
    assert factors == pytest.approx(expected, rel=1e-10)


def test_energies_count_final_quanta_up_and_initial_quanta_down() -> None:
    samples = np.array([[1, 2, 0, 0], [0, 1, 1, 1]], np.uint8)
    assert vibronic.energies(samples, BENT).tolist() == [2600.0, 800.0 - 1900.0]
    assert vibronic.energies(samples[:, :2], BENT).tolist() == [2600.0, 800.0]


def test_formic_acid_says_where_its_parameters_are_from() -> None:
    assert FORMIC.label == "second-hand"
    assert "10.1038/nphoton.2015.153" in FORMIC.source
    assert np.abs(FORMIC.duschinsky @ FORMIC.duschinsky.T - np.eye(7)).max() < 6e-4


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("duschinsky", np.ones((2, 2)), "orthogonal"),
        ("duschinsky", np.eye(3), "must be"),
        ("displacement", np.array([1.0, math.nan]), "displacement"),
        ("initial_per_cm", np.array([0.0, 1.0]), "initial_per_cm"),
    ],
)
def test_molecules_that_cannot_stand_are_refused(field: str, value: np.ndarray, words: str) -> None:
    fields = {**vars(BENT), field: value}
    with pytest.raises(InputError, match=words):
        Molecule(**fields)


def test_what_cannot_be_reckoned_is_refused() -> None:
    with pytest.raises(InputError, match="levels"):
        vibronic.franck_condon_factors(FORMIC, 60)
    with pytest.raises(InputError, match="bins"):
        vibronic.exact_spectrum(BENT, highest_per_cm=1e6, resolution_per_cm=0.1)
    with pytest.raises(InputError, match="temperature_k"):
        vibronic.vibronic_state(BENT, -1.0)
    with pytest.raises(InputError, match="samples"):
        vibronic.energies(np.zeros((1, 3), np.uint8), BENT)
    with pytest.raises(InputError, match="same bins"):
        vibronic.total_variation(
            vibronic.exact_spectrum(BENT, step_per_cm=50), vibronic.exact_spectrum(BENT, resolution_per_cm=100, step_per_cm=100)
        )
