"""Approximate samplers of a Gaussian boson sampler, all under one interface; what each is exact in, it says itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tiandi.computing.photonics.gaussian import Machine
from tiandi.computing.photonics.samplers.corrected import LARGEST_PAIRED_MODES, CorrectedSampler
from tiandi.computing.photonics.samplers.interface import Sampler
from tiandi.computing.photonics.samplers.matrix_product import MatrixProductSampler
from tiandi.computing.photonics.samplers.moment_based import BoltzmannSampler, GreedySampler
from tiandi.computing.photonics.samplers.pairs import PairsAndSinglesSampler
from tiandi.computing.photonics.samplers.particles import DistinguishableSampler
from tiandi.computing.photonics.samplers.phase_space import PhaseSpaceSampler
from tiandi.computing.photonics.samplers.short_memory import FEW_PHOTONS, ShortMemorySampler
from tiandi.computing.photonics.samplers.short_memory import LARGEST_MODES as LARGEST_SHORT_MODES
from tiandi.computing.photonics.samplers.wide import LARGEST_WIDE_MODES, WideSampler
from tiandi.errors import InputError


def _threshold_corrected(machine: Machine, generator: np.random.Generator) -> Sampler:
    if machine.detectors.kind != "threshold":
        raise InputError("detectors.kind", machine.detectors.kind, "must be threshold for corrected; take corrected-number")
    if LARGEST_PAIRED_MODES < machine.modes <= LARGEST_WIDE_MODES and machine.indistinguishability == 1:
        return WideSampler(machine)
    return CorrectedSampler(machine, generator)


def _number_corrected(machine: Machine, generator: np.random.Generator) -> Sampler:
    if machine.detectors.kind == "threshold":
        raise InputError("detectors.kind", machine.detectors.kind, "must be pseudo-number or number for corrected-number; take corrected")
    return CorrectedSampler(machine, generator)


SAMPLERS: dict[str, Callable[[Machine, np.random.Generator], Sampler]] = {
    "thermal": lambda machine, _: PhaseSpaceSampler(machine, "thermal"),
    "squashed": lambda machine, _: PhaseSpaceSampler(machine, "squashed"),
    "coherent": lambda machine, _: PhaseSpaceSampler(machine, "coherent"),
    "distinguishable": lambda machine, _: DistinguishableSampler(machine),
    "pairs-and-singles": lambda machine, _: PairsAndSinglesSampler(machine),
    "greedy": lambda machine, _: GreedySampler(machine),
    "boltzmann-1": lambda machine, _: BoltzmannSampler(machine, order=1),
    "boltzmann": lambda machine, _: BoltzmannSampler(machine),
    "mps": lambda machine, _: MatrixProductSampler(machine),
    "positive-P": lambda machine, _: PhaseSpaceSampler(machine, "squeezed"),
    "short-memory": lambda machine, _: ShortMemorySampler(machine),
    "corrected": _threshold_corrected,
    "corrected-number": _number_corrected,
}
"""Samplers by their id. Whatever has to be fitted or decomposed is so in the call; the generator is drawn from for that alone."""


def best_sampler(machine: Machine) -> str:
    """The id of the one that comes closest to ``machine``, of those that draw thousands of samples a second."""
    if machine.detectors.kind != "threshold":
        return "corrected-number"
    takes = machine.indistinguishability == 1 and machine.modes <= LARGEST_SHORT_MODES
    return "short-memory" if takes and float(machine.state().mean_photon_numbers.sum()) <= FEW_PHOTONS else "corrected"
