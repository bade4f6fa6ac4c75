"""Photons in pairs and alone, each pair and each photon independent of all others."""

from __future__ import annotations

import numpy as np

from tiandi.computing.photonics.gaussian import CountArray, Machine
from tiandi.computing.photonics.samplers.detection import require_detectors
from tiandi.computing.photonics.samplers.interface import BlockSampler
from tiandi.computing.photonics.samplers.matrix_product import seen
from tiandi.errors import InputError
from tiandi.limits import require_within

LARGEST_MODES = 2048
LARGEST_PHOTONS = 255


class PairsAndSinglesSampler(BlockSampler):
    """Independent Poisson pairs of photons at modes i, j and single photons, after Bulmer et al., Sci. Adv. 8, eabl9236 (2022), arXiv
    2108.01622.

    With the state's A = X (1 - Q^-1), of blocks B and C, pairs come at rates |B_ij|^2 (half that where i = j) and singles at C_ii, all
    times one factor that gives the machine's mean photon number: hafnians with all phases left out. Exact where light is weak and pure.
    """

    name = "pairs-and-singles"

    def __init__(self, machine: Machine) -> None:
        """Raises InputError where the light is partly distinguishable, dark, or of more than 2,048 modes."""
        self._detectors = require_detectors(machine, self.name)
        require_within("modes", machine.modes, 1, LARGEST_MODES)
        if machine.indistinguishability != 1:
            raise InputError("indistinguishability", machine.indistinguishability, "must be 1 for the sampler pairs-and-singles")
        self.modes = modes = machine.modes
        transfer, squeezing = machine.transfer, machine.squeezing_r
        number = (transfer.conj() * np.sinh(squeezing) ** 2) @ transfer.T
        anomalous = (transfer * (np.sinh(2 * squeezing) / 2)) @ transfer.T
        photons = float(number.trace().real)
        require_within("mean photon number", photons, 1e-12, LARGEST_PHOTONS)
        husimi = np.block([[number.T + np.eye(modes), anomalous], [anomalous.conj(), number + np.eye(modes)]])
        kernel = np.eye(2 * modes) - np.linalg.inv(husimi)
        first, second = np.triu_indices(modes)
        pairs = np.abs(kernel[:modes, modes:][first, second]) ** 2
        pairs[first == second] /= 2
        singles = np.maximum(kernel[:modes, :modes].diagonal().real, 0.0)
        factor = photons / (2 * pairs.sum() + singles.sum())
        self._singles = factor * singles
        self._pair_rate = factor * float(pairs.sum())
        self._steps = np.cumsum(pairs) / pairs.sum()
        self._first, self._second = first, second

    def describe(self) -> str:
        """What is left out."""
        return (
            "Independent pairs and single photons at the rates of the state's matrix, phases left out, scaled to its mean photon "
            "number. Bulmer et al., Sci. Adv. 8, eabl9236 (2022), arXiv 2108.01622."
        )

    def _draw(self, rows: CountArray, generator: np.random.Generator) -> None:
        photons = generator.poisson(self._singles, rows.shape)
        counts = generator.poisson(self._pair_rate, len(rows))
        samples = np.repeat(np.arange(len(rows)), counts)
        which = np.minimum(np.searchsorted(self._steps, generator.random(len(samples))), len(self._steps) - 1)
        np.add.at(photons, (samples, self._first[which]), 1)
        np.add.at(photons, (samples, self._second[which]), 1)
        rows[:] = seen(np.minimum(photons, LARGEST_PHOTONS).astype(np.uint8), self._detectors, generator)
