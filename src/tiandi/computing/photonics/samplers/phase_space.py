"""Samplers that draw a random field and detect it: exact for classical light, projected for squeezed light."""

from __future__ import annotations

import numpy as np

from tiandi.computing.photonics.gaussian import CountArray, Machine
from tiandi.computing.photonics.samplers.detection import detect, require_detectors
from tiandi.computing.photonics.samplers.interface import BlockSampler
from tiandi.computing.photonics.samplers.light import LightKind, random_field

DESCRIPTIONS: dict[LightKind, str] = {
    "thermal": "Thermal light of the sources' mean photon numbers, a mock-up. Exact for that light: it has each mode's mean photon number, "
    "and no pairs. Zhong et al., Science 370, 1460 (2020), doi 10.1126/science.abe8770.",
    "squashed": "Squashed light: the sources' mean photon numbers, all in one quadrature. Exact for that light, which is classical. Qi et "
    "al., Phys. Rev. Lett. 124, 100502 (2020), doi 10.1103/PhysRevLett.124.100502.",
    "coherent": "Coherent light of the sources' mean photon numbers with random phases, anew for each sample. Exact for that light. Zhong "
    "et al., Science 370, 1460 (2020), doi 10.1126/science.abe8770.",
    "squeezed": "Positive-P amplitudes of the machine's own light, with click probabilities clipped to [0, 1]. All moments would be exact "
    "without the clipping. Goodman, Dellios, Reid and Drummond, arXiv 2604.12330.",
}


class PhaseSpaceSampler(BlockSampler):
    """Independent samples: a random field, then a uniform number for each detector."""

    def __init__(self, machine: Machine, kind: LightKind) -> None:
        """Raises InputError where the machine's sources or detectors are out of range."""
        self.name = "positive-P" if kind == "squeezed" else kind
        self.modes = machine.modes
        self._kind: LightKind = kind
        self._detectors = require_detectors(machine, self.name)
        self._field = random_field(machine, kind)

    def describe(self) -> str:
        """What it is exact in, and whose it is."""
        return DESCRIPTIONS[self._kind]

    def _draw(self, rows: CountArray, generator: np.random.Generator) -> None:
        real, imaginary = self._field.draw(len(rows), generator)
        detect(real, imaginary, generator.random(rows.shape, np.float32), self._detectors, rows)
