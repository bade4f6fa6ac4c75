"""Gaussian states of optical modes, and what a photonic machine is: squeezers, a lossy interferometer, detectors.

Quadratures are ordered x_1..x_M, p_1..p_M, and the vacuum's covariance is the identity (hbar = 2), as in Weedbrook et al., Rev. Mod. Phys.
84, 621 (2012), doi 10.1103/RevModPhys.84.621.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tiandi.errors import InputError
from tiandi.limits import require_each_within, require_within

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
CountArray = NDArray[np.uint8]
"""Samples: (samples, modes). 0 and 1 for threshold detectors, clicked bins for pseudo-number detectors, photons for number detectors."""

DetectorKind = Literal["threshold", "pseudo-number", "number"]
SYMMETRY_TOLERANCE = 1e-8
PASSIVE_TOLERANCE = 1e-6
"""Published transfer matrices are rounded."""
LARGEST_R = 5.0
LARGEST_BINS = 255
WHOLLY_CHECKED = 256
"""Inputs (or modes, if fewer) up to which every machine's largest singular value is worked out; above, only rows and columns are."""


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
    """One detector a mode. Dark counts are clicks without light, per detector and sample; of a pseudo-number detector, per bin.

    A number detector has one dark count at most, which adds one to the photons. Raises InputError for values out of range.
    """

    kind: DetectorKind = "threshold"
    bins: int = 1
    """Threshold detectors that a pseudo-number detector's light is spread over evenly, 2 to 255; 1 of other detectors."""
    dark_count_probability: float = 0.0
    """In [0, 0.999]."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(DetectorKind):
            raise InputError("detectors.kind", self.kind, f"must be one of {', '.join(get_args(DetectorKind))}")
        if self.kind == "pseudo-number":
            require_within("detectors.bins", self.bins, 2, LARGEST_BINS)
        elif self.bins != 1:
            raise InputError("detectors.bins", self.bins, f"must be 1 of {self.kind} detectors")
        require_within("detectors.dark_count_probability", self.dark_count_probability, 0.0, 0.999)


@dataclass(frozen=True, eq=False)
class Machine:
    """A Gaussian boson sampler as calibrated: what enters the fast samplers, the exact functions and the judge.

    Raises InputError for figures that no such machine has: an interferometer that amplifies (of more than 256 inputs only each row and
    column are looked at; `foreign.machine_from_matrices` looks at all), or anything out of range or not finite.
    """

    name: str
    squeezing_r: FloatArray
    """(inputs,), signed: positive stretches x. Two-mode sources are given as the pairs (-r, +r) or (+r, -r) that a 50:50 splitter makes
    of them; the splitter is then part of ``transfer``."""
    transfer: ComplexArray
    """(modes, inputs), with all losses, detectors' included: a_out = transfer a_in + vacuum."""
    indistinguishability: float = 1.0
    """Share of each input's light that is in the one mode that interferes (1: all). The rest goes the same ways in a mode of its own, in
    which it meets no other input's light; both are parts of one squeezed mode and stay correlated (`exact.light`)."""
    detectors: Detectors = Detectors()

    def __post_init__(self) -> None:
        shape = self.transfer.shape
        if len(shape) != 2 or not self.transfer.size or self.squeezing_r.shape != shape[1:]:
            shapes = [list(shape), list(self.squeezing_r.shape)]
            raise InputError("transfer", shapes, "must be (modes, inputs), at least one of each, with one squeezing parameter an input")
        if not np.isfinite(self.transfer).all():
            raise InputError("transfer", "not finite", "must hold finite numbers")
        require_each_within("squeezing_r", self.squeezing_r, -LARGEST_R, LARGEST_R)
        require_within("indistinguishability", self.indistinguishability, 0.0, 1.0)
        self._require_passive()

    def _require_passive(self) -> None:
        squares = np.abs(self.transfer) ** 2
        largest = max(float(squares.sum(axis=0).max()), float(squares.sum(axis=1).max()))
        if min(self.transfer.shape) <= WHOLLY_CHECKED and largest <= (1 + PASSIVE_TOLERANCE) ** 2:
            tall = self.transfer if self.transfer.shape[0] >= self.transfer.shape[1] else self.transfer.conj().T
            largest = float(np.linalg.eigvalsh(tall.conj().T @ tall)[-1])
        require_within("largest singular value of transfer", float(np.sqrt(max(largest, 0.0))), 0.0, 1.0 + PASSIVE_TOLERANCE)

    @property
    def modes(self) -> int:
        return int(self.transfer.shape[0])

    def state(self) -> GaussianState:
        """The light at the detectors, of the interfering part: V = 1 + T (S - 1) T^t with S = diag(e^2r, e^-2r), T in quadratures."""
        transfer = np.block([[self.transfer.real, -self.transfer.imag], [self.transfer.imag, self.transfer.real]])
        excess = np.concatenate([np.expm1(2 * self.squeezing_r), np.expm1(-2 * self.squeezing_r)])
        covariance = np.eye(2 * self.modes) + (transfer * excess) @ transfer.T
        return GaussianState((covariance + covariance.T) / 2, np.zeros(2 * self.modes))
