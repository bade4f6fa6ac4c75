"""Photons that go their ways alone: each squeezer's photons are routed one by one, with the intensities of the transfer matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiandi.compiling import kernel
from tiandi.computing.photonics.gaussian import CountArray, Machine
from tiandi.computing.photonics.samplers.detection import require_detectors
from tiandi.computing.photonics.samplers.interface import BlockSampler


class DistinguishableSampler(BlockSampler):
    """Samples of a machine whose sources do not interfere with each other at all (indistinguishability 0), exactly.

    A squeezer's photons come in pairs, their number negative binomial; among detectors that all see one mode of light, photons are routed
    independently. The machine's own indistinguishability has no part in it.
    """

    name = "distinguishable"
    block = 4096

    def __init__(self, machine: Machine) -> None:
        """Raises InputError where the detectors are out of range."""
        self.modes = machine.modes
        self._detectors = require_detectors(machine, self.name)
        intensities = np.abs(machine.transfer) ** 2
        self._pair_share = 1 / np.cosh(machine.squeezing_r) ** 2
        self._routes = np.cumsum(intensities.T, axis=1)

    def describe(self) -> str:
        """What it is exact in, and whose it is."""
        return (
            "Distinguishable single-mode squeezed light: squeezers whose photons do not interfere with those of others, two of them for "
            "each two-mode source. Exact for that light: each photon takes its way alone. Zhong et al., Science 370, 1460 (2020), doi "
            "10.1126/science.abe8770."
        )

    def _draw(self, rows: CountArray, generator: np.random.Generator) -> None:
        pairs = generator.negative_binomial(0.5, self._pair_share, (len(rows), len(self._pair_share)))
        photons = np.zeros((*rows.shape, self._bins), np.uint8)
        uniform = generator.random(2 * int(pairs.sum()))
        _route(pairs, self._routes, uniform, photons)
        dark = self._detectors.dark_count_probability
        if dark:
            photons += generator.random(photons.shape, np.float32) < dark
        if self._detectors.kind == "number":
            rows[:] = photons[:, :, 0]
        else:
            rows[:] = np.count_nonzero(photons, axis=2)

    @property
    def _bins(self) -> int:
        return self._detectors.bins if self._detectors.kind == "pseudo-number" else 1


@kernel
def _route(pairs: NDArray[np.int64], routes: NDArray[np.float64], uniform: NDArray[np.float64], photons: NDArray[np.uint8]) -> None:
    """Send each photon of each sample to a detector's bin, or nowhere; of a bin's photons at most 254 are counted."""
    modes, bins = photons.shape[1], photons.shape[2]
    used = 0
    for sample in range(pairs.shape[0]):
        for source in range(pairs.shape[1]):
            for _ in range(2 * pairs[sample, source]):
                where = np.searchsorted(routes[source], uniform[used], side="right")
                if where < modes:
                    below = routes[source, where - 1] if where else 0.0
                    part = (uniform[used] - below) / (routes[source, where] - below)
                    bin_ = min(int(part * bins), bins - 1)
                    photons[sample, where, bin_] = min(photons[sample, where, bin_] + 1, 254)
                used += 1
