"""Partly distinguishable light and dark counts together, on three modes: everything against brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import chi2
from thewalrus.symplectic import passive_transformation

from tests.computing.photonics.states import random_machine
from tiandi.computing.photonics.exact.chain_rule import sample_exact
from tiandi.computing.photonics.exact.clicks import click_probability, pattern_probabilities
from tiandi.computing.photonics.gaussian import CountArray, Detectors, FloatArray, Machine
from tiandi.computing.photonics.samplers import SAMPLERS

PLACES = np.array([1, 2, 4])


def _brute_force(machine: Machine) -> FloatArray:
    """(8,): each input's own light in three modes more; a detector clicks on any light that falls on it, or in the dark."""
    share, dark = machine.indistinguishability, machine.detectors.dark_count_probability
    lanes = [np.sqrt(share) * machine.transfer] + [np.sqrt(1 - share) * machine.transfer * (np.arange(2) == source) for source in range(2)]
    sources = np.diag(np.exp(np.concatenate([2 * machine.squeezing_r, -2 * machine.squeezing_r])))
    mean, covariance = passive_transformation(np.zeros(4), sources, np.concatenate(lanes))
    assert not mean.any()
    dark_sets = np.zeros(8)
    for index in range(8):
        modes = np.flatnonzero(np.tile(index & PLACES, 6))
        dark_sets[index] = np.linalg.det((covariance[np.ix_(modes, modes)] + np.eye(len(modes))) / 2) ** -0.5
    lit = np.zeros(8)
    for clicks, more in product(range(8), repeat=2):
        if more & clicks == more:
            lit[clicks] += (-1) ** more.bit_count() * dark_sets[7 - clicks | more]
    found = np.zeros(8)
    for light, darkness in product(range(8), repeat=2):
        number = darkness.bit_count()
        found[light | darkness] += lit[light] * dark**number * (1 - dark) ** (3 - number)
    return found


def _unlikely(samples: CountArray, probabilities: FloatArray) -> bool:
    expected = len(samples) * probabilities
    found = np.bincount(samples @ PLACES, minlength=8)
    return bool(chi2.sf(((found - expected) ** 2 / expected).sum(), 7) < 1e-5)


@pytest.mark.parametrize(("share", "dark"), [(1.0, 0.03), (0.7, 0.05), (0.0, 0.02)])
def test_distinguishability_and_dark_counts_from_figures_to_samples(share: float, dark: float) -> None:
    machine = random_machine(12, 3, 2, share=share, detectors=Detectors(dark_count_probability=dark))
    known = _brute_force(machine)
    np.testing.assert_allclose(pattern_probabilities(machine, [0, 1, 2]), known, atol=1e-12)
    each = [click_probability(machine, [index >> mode & 1 for mode in range(3)]) for index in range(8)]
    np.testing.assert_allclose(each, known, atol=1e-12)
    assert not _unlikely(sample_exact(machine, 8_000, np.random.default_rng(1), workers=1), known)
    if not share:
        sampler = SAMPLERS["distinguishable"](machine, np.random.default_rng(1))
        assert not _unlikely(sampler.sample(200_000, np.random.default_rng(2)), known)
