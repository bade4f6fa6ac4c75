"""The corrected sampler of thousands of weakly correlated modes: nothing is measured on draws, all is known in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.linalg import blas

from tiandi.computing.photonics.gaussian import CountArray, Machine
from tiandi.computing.photonics.samplers.detection import detect, require_detectors
from tiandi.computing.photonics.samplers.interface import BlockSampler
from tiandi.computing.photonics.samplers.light import random_field
from tiandi.computing.photonics.samplers.normal import normal_probability
from tiandi.computing.photonics.samplers.wide_fit import fit_modes, lower_root, missing_pairs
from tiandi.errors import InputError
from tiandi.limits import require_within

LARGEST_WIDE_MODES = 12_288
"""The latent Gaussian's root takes 0.6 GB then, and twice as much while it is made."""


class WideSampler(BlockSampler):
    """Independent samples with the ideal state's rates, and pairs and higher orders as far as modes are weakly correlated."""

    name = "corrected"

    def __init__(self, machine: Machine) -> None:
        """Raises InputError for detectors other than threshold ones, partly distinguishable light or more than 12,288 modes."""
        self._detectors = require_detectors(machine, self.name, kinds=("threshold",))
        require_within("modes", machine.modes, 1, LARGEST_WIDE_MODES)
        if machine.indistinguishability < 1:
            raise InputError("indistinguishability", machine.indistinguishability, "must be 1 for the corrected sampler of many modes")
        self.modes = machine.modes
        light = random_field(machine, "squeezed")
        dark_counts = self._detectors.dark_count_probability
        fit = fit_modes(light, dark_counts)
        correlations, self.covariance = missing_pairs(light, fit, dark_counts)
        self._root, self.shrunk = lower_root(correlations)
        self.residual = float(np.abs(fit.residual).max())
        self._offset = fit.offset.astype(np.float32)
        scales = [np.tile(strength, 2).astype(np.float32) for strength in (fit.classical, fit.quantum)]
        self._field = replace(light, positive=light.positive * scales[0], negative=light.negative * scales[1])

    def describe(self) -> str:
        """What was put right, and whose it is."""
        repair = f" Correlations had to be shrunk by {self.shrunk:.1%} to exist." if self.shrunk else ""
        return (
            "Positive-P amplitudes scaled mode by mode, with a latent Gaussian: each mode's mean is the ideal state's, each pair's "
            f"covariance too to leading order in how weakly modes are correlated (here {self.covariance:.2g}, root mean square); other "
            f"orders are approximate.{repair} Amplitudes as in Goodman et al., arXiv 2604.12330."
        )

    def _draw(self, rows: CountArray, generator: np.random.Generator) -> None:
        real, imaginary = self._field.draw(len(rows), generator)
        real += self._offset
        latent = generator.standard_normal(rows.shape, np.float32)
        mixed = blas.strmm(1.0, self._root, latent.T, lower=1, overwrite_b=1).T
        detect(real, imaginary, normal_probability(mixed), self._detectors, rows)
