"""Gaussian states for the tests: drawn at random, with loss and displacement."""

from __future__ import annotations

import numpy as np

from tiandi.computing.photonics.gaussian import Detectors, GaussianState, Machine


def random_machine(
    seed: int,
    modes: int,
    inputs: int,
    *,
    transmission: float = 0.7,
    strength: float = 0.9,
    share: float = 1.0,
    detectors: Detectors | None = None,
) -> Machine:
    generator = np.random.default_rng(seed)
    gaussian = generator.standard_normal((modes, modes)) + 1j * generator.standard_normal((modes, modes))
    unitary = np.linalg.qr(gaussian)[0][:, :inputs]
    squeezing_r = generator.uniform(0.3, strength, inputs) * generator.choice([-1, 1], inputs)
    return Machine("random", squeezing_r, np.sqrt(transmission) * unitary, share, detectors or Detectors())


def random_state(seed: int, modes: int, *, displacement: float = 0.0, transmission: float = 0.7) -> GaussianState:
    state = random_machine(seed, modes, modes, transmission=transmission).state()
    return GaussianState(state.covariance, displacement * np.random.default_rng(seed + 1).standard_normal(2 * modes))
