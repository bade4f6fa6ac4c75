"""The light of a machine as a random field: variables whose averages are those of the quantum state, or of a classical stand-in.

A mode's field is a pair of complex quadratures X + iY with X and Y real and Gaussian: X has the positive part of the normally ordered
covariance V - 1, Y the negative. What stands for the photon number is then

    alpha beta = (X.X - Y.Y) / 4 + i X.Y / 2,

the positive-P representation of a Gaussian state (Drummond and Gardiner, J. Phys. A 13, 2353 (1980), doi 10.1088/0305-4470/13/7/018; for
boson sampling Drummond, Opanchuk, Dellios and Reid, Phys. Rev. A 105, 012427 (2022), doi 10.1103/PhysRevA.105.012427). Without Y the field
is classical, alpha beta an intensity, and everything that follows is exact.

Of partly distinguishable light a share 1 - s of each input's field goes the same ways in a mode of its own; there X.Y = 0, as a squeezer's
two quadratures stay apart, and only its alpha beta is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.photonics.gaussian import FloatArray, Machine
from tiandi.limits import require_each_within, require_within

Float32Array = NDArray[np.float32]
LightKind = Literal["squeezed", "thermal", "squashed", "coherent"]
LARGEST_SQUEEZING = 3.0


@dataclass(frozen=True, eq=False)
class RandomField:
    """Draws alpha beta of all modes, in single precision."""

    positive: Float32Array
    """(random numbers of X, 2 modes): X = w positive, x-quadratures first."""
    negative: Float32Array
    """(random numbers of Y, 2 modes); no rows for a classical field."""
    own_positive: Float32Array
    """(random numbers of X, modes): own light adds w^2 own_positive; no rows where all light interferes."""
    own_negative: Float32Array
    """(random numbers of Y, modes)."""
    random_phases: bool = False
    """The random numbers of X are cosines and sines of random phases, not normals."""

    @property
    def modes(self) -> int:
        return self.positive.shape[1] // 2

    def parts(self, number: int, generator: np.random.Generator) -> tuple[Float32Array, Float32Array | None, Float32Array | None]:
        """X.X / 4, Y.Y / 4 and X.Y / 2, each (number, modes); the last two are None for a classical field."""
        weights = self._weights(number, generator)
        field = weights @ self.positive
        classical = _quarter_of_squares(field)
        if len(self.own_positive):
            classical += np.square(weights) @ self.own_positive
        if not len(self.negative):
            return classical, None, None
        weights = generator.standard_normal((number, len(self.negative)), np.float32)
        noise = weights @ self.negative
        quantum = _quarter_of_squares(noise)
        if len(self.own_negative):
            quantum += np.square(weights) @ self.own_negative
        noise *= field
        cross = noise[:, : self.modes] + noise[:, self.modes :]
        cross *= np.float32(0.5)
        return classical, quantum, cross

    def all_parts(self, number: int, generator: np.random.Generator) -> tuple[Float32Array, Float32Array, Float32Array]:
        """As ``parts``; what is None there is zeros."""
        classical, quantum, cross = self.parts(number, generator)
        if quantum is None or cross is None:
            return classical, np.zeros_like(classical), np.zeros_like(classical)
        return classical, quantum, cross

    def draw(self, number: int, generator: np.random.Generator) -> tuple[Float32Array, Float32Array | None]:
        """Real and imaginary part of alpha beta, each (number, modes); None for an imaginary part that is zero."""
        real, quantum, cross = self.parts(number, generator)
        if quantum is not None:
            real -= quantum
        return real, cross

    def _weights(self, number: int, generator: np.random.Generator) -> Float32Array:
        size = len(self.positive)
        if not self.random_phases:
            return generator.standard_normal((number, size), np.float32)
        phases = generator.random((number, size // 2), np.float32) * np.float32(2 * np.pi)
        return np.concatenate([np.cos(phases), np.sin(phases)], axis=1)


def random_field(machine: Machine, kind: LightKind, *, noise: float = 1.0) -> RandomField:
    """The field at the detectors of ``machine``, with its squeezed light or with a stand-in of the same mean photon numbers.

    ``noise`` scales Y; 1 is the state's own.
    """
    require_within("indistinguishability", machine.indistinguishability, 0.0, 1.0)
    squeezing = require_each_within("squeezing_r", machine.squeezing_r, -LARGEST_SQUEEZING, LARGEST_SQUEEZING)
    share = machine.indistinguishability
    real, imaginary = machine.transfer.real.T, machine.transfer.imag.T
    routes = np.block([[real, imaginary], [-imaginary, real]])
    intensities = np.tile(np.abs(machine.transfer.T) ** 2, (2, 1))
    excess = _excess(squeezing, kind)
    up = np.full(len(excess), True) if kind == "coherent" else excess > 0
    down = excess < 0
    own = slice(None) if share < 1 else slice(0)
    return RandomField(
        positive=_single(np.sqrt(share * excess[up])[:, None] * routes[up]),
        negative=_single(noise * np.sqrt(-share * excess[down])[:, None] * routes[down]),
        own_positive=_single(((1 - share) / 4 * excess[:, None] * intensities)[up][own]),
        own_negative=_single((-(noise**2) * (1 - share) / 4 * excess[:, None] * intensities)[down][own]),
        random_phases=kind == "coherent",
    )


def _excess(squeezing: FloatArray, kind: LightKind) -> FloatArray:
    """V - 1 of the x-quadratures, then of the p-quadratures of the inputs.

    Stand-ins have the squeezed light's mean photon number n. Thermal: 2n in both quadratures. Squashed: 4n in the stretched one and the
    vacuum's noise in the other (Qi, Brod, Quesada and Garcia-Patron, Phys. Rev. Lett. 124, 100502 (2020), doi
    10.1103/PhysRevLett.124.100502). Coherent: amplitudes of square 4n, to be multiplied by the cosine and sine of a phase.
    """
    photons = np.sinh(squeezing) ** 2
    if kind == "squeezed":
        return np.concatenate([np.expm1(2 * squeezing), np.expm1(-2 * squeezing)])
    if kind == "squashed":
        return np.concatenate([np.where(squeezing > 0, 4 * photons, 0.0), np.where(squeezing > 0, 0.0, 4 * photons)])
    return np.tile((4 if kind == "coherent" else 2) * photons, 2)


def _quarter_of_squares(field: Float32Array) -> Float32Array:
    """(x^2 + p^2) / 4 of each mode."""
    modes = field.shape[1] // 2
    total = np.square(field[:, :modes])
    total += np.square(field[:, modes:])
    total *= np.float32(0.25)
    return total


def _single(array: FloatArray) -> Float32Array:
    return np.ascontiguousarray(array, np.float32)
