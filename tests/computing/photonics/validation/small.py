"""A machine so small that all of its patterns are known, and samples of it drawn from their probabilities."""

from __future__ import annotations

from functools import cache

import numpy as np

from tiandi.computing.photonics.exact.clicks import pattern_probabilities
from tiandi.computing.photonics.gaussian import CountArray, FloatArray, Machine
from tiandi.computing.photonics.machines import haar_columns

MODES = 8


@cache
def small_machine() -> Machine:
    squeezing_r = np.tile([-0.9, 0.9], 3)
    return Machine("small", squeezing_r, np.sqrt(0.75) * haar_columns(MODES, 6, np.random.default_rng(5)))


@cache
def ideal_patterns() -> FloatArray:
    return pattern_probabilities(small_machine(), np.arange(MODES))


def drawn(probabilities: FloatArray, number: int, generator: np.random.Generator) -> CountArray:
    """Samples of modes by the probabilities (2**modes,) of all patterns."""
    modes = len(probabilities).bit_length() - 1
    patterns = generator.choice(len(probabilities), number, p=probabilities / probabilities.sum())
    return ((patterns[:, None] >> np.arange(modes)) & 1).astype(np.uint8)


def exact_samples(number: int, generator: np.random.Generator) -> CountArray:
    return drawn(ideal_patterns(), number, generator)


def independent_samples(number: int, generator: np.random.Generator) -> CountArray:
    """A bad sampler: modes with the right rates that know nothing of each other."""
    rates = ideal_patterns() @ ((np.arange(1 << MODES)[:, None] >> np.arange(MODES)) & 1)
    return (generator.random((number, MODES)) < rates).astype(np.uint8)
