"""Gaussian states of optical modes, and what a photonic machine is: squeezers, a lossy interferometer, detectors.

Quadratures are ordered x_1..x_M, p_1..p_M, and the vacuum's covariance is the identity (hbar = 2), as in Weedbrook et al., Rev. Mod. Phys.
84, 621 (2012), doi 10.1103/RevModPhys.84.621.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiandi.errors import InputError

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
CountArray = NDArray[np.uint8]
"""Samples: (samples, modes). 0 and 1 for threshold detectors, clicked bins for pseudo-number detectors, photons for number detectors."""

DetectorKind = Literal["threshold", "pseudo-number", "number"]
SYMMETRY_TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False)
class GaussianState:
    """A state of ``modes`` modes by its first two moments."""

    covariance: FloatArray
    """(2 modes, 2 modes), vacuum = identity."""
    mean: FloatArray
    """(2 modes,), in the same units: a coherent state alpha has mean (2 Re alpha, 2 Im alpha)."""

    def __post_init__(self) -> None:
        size = len(self.mean)
        if self.covariance.shape != (size, size) or size % 2 or not size:
            raise InputError("covariance", list(self.covariance.shape), f"must be square, with two rows a mode, as the mean's {size}")
        if not (np.isfinite(self.covariance).all() and np.isfinite(self.mean).all()):
            raise InputError("covariance", "not finite", "must hold finite numbers")
        if np.abs(self.covariance - self.covariance.T).max() > SYMMETRY_TOLERANCE * max(1.0, float(np.abs(self.covariance).max())):
            raise InputError("covariance", "not symmetric", "must be symmetric")

    @property
    def modes(self) -> int:
        return len(self.mean) // 2

    @property
    def mean_photon_numbers(self) -> FloatArray:
        """(modes,)."""
        modes, diagonal = self.modes, self.covariance.diagonal()
        return (diagonal[:modes] + diagonal[modes:]) / 4 - 0.5 + (self.mean[:modes] ** 2 + self.mean[modes:] ** 2) / 4

    def part(self, modes: NDArray[np.int64]) -> GaussianState:
        """The state of some modes alone."""
        rows = np.concatenate([modes, modes + self.modes])
        return GaussianState(self.covariance[np.ix_(rows, rows)], self.mean[rows])


@dataclass(frozen=True)
class Detectors:
    """One detector a mode. Dark counts are clicks without light, per detector and sample; of a pseudo-number detector, per bin."""

    kind: DetectorKind = "threshold"
    bins: int = 1
    """Threshold detectors that a pseudo-number detector's light is spread over evenly."""
    dark_count_probability: float = 0.0


@dataclass(frozen=True, eq=False)
class Machine:
    """A Gaussian boson sampler as calibrated: what enters the fast samplers, the exact functions and the judge."""

    name: str
    squeezing_r: FloatArray
    """(inputs,), signed: positive stretches x. Two-mode sources are given as the pairs (-r, +r) or (+r, -r) that a 50:50 splitter makes
    of them; the splitter is then part of ``transfer``."""
    transfer: ComplexArray
    """(modes, inputs), with all losses, detectors' included: a_out = transfer a_in + vacuum."""
    indistinguishability: float = 1.0
    """Share of each source's light that is in the one mode that interferes (1: all); the rest is squeezed light of its own."""
    detectors: Detectors = Detectors()

    @property
    def modes(self) -> int:
        return int(self.transfer.shape[0])

    def state(self) -> GaussianState:
        """The light at the detectors, of the interfering part: V = 1 + T (S - 1) T^t with S = diag(e^2r, e^-2r), T in quadratures."""
        transfer = np.block([[self.transfer.real, -self.transfer.imag], [self.transfer.imag, self.transfer.real]])
        excess = np.concatenate([np.expm1(2 * self.squeezing_r), np.expm1(-2 * self.squeezing_r)])
        covariance = np.eye(2 * self.modes) + (transfer * excess) @ transfer.T
        return GaussianState((covariance + covariance.T) / 2, np.zeros(2 * self.modes))
