"""Sources of light: how many photons they send, single photons heralded by their twins, entangled pairs, and what is wrong with real ones.

Means may be arrays of any shape (...,), so any number of intensities or pump powers is one call.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.errors import InputError
from tiandi.limits import require_each_within, require_within

Array = NDArray[np.float64]
PairStatistics = Literal["thermal", "poisson"]
IntensityShape = Literal["gaussian", "lognormal"]

BRIGHTEST_MEAN = 20.0
HERMITE_NODES = 48
"""Enough for averages over intensities to 1e-7 at every noise and mean allowed here; below a mean of 1 to 1e-9."""


def photon_number_distribution(mean_photons: ArrayLike, largest: int, *, modes: float = math.inf) -> Array:
    """Probability of 0, 1, ... ``largest`` photons [1], shape (..., largest + 1); pairs of photons are counted alike.

    ``modes`` infinite is Poisson: a phase-randomised laser, or down-conversion into very many modes. One mode is thermal, K modes of equal
    strength share the mean (a negative binomial; recalled: Mandel and Wolf 1995, Optical Coherence and Quantum Optics). Left out: modes
    of unequal strength, whose effective number is then not whole. Raises InputError on a mean outside [0, 20] or fewer than one mode.
    """
    mean = require_each_within("mean_photons", mean_photons, 0.0, BRIGHTEST_MEAN)
    require_within("modes", modes, 1.0, math.inf)
    return _distribution(mean, largest, modes)


def heralding_probability(mean_pairs: ArrayLike, *, efficiency: ArrayLike, noise_probability: ArrayLike = 0.0, modes: float = 1.0) -> Array:
    """Probability per pulse [1] that a threshold detector in one arm of a pair source clicks; broadcast.

    ``efficiency`` is that of the whole heralding arm and ``noise_probability`` its click without light. Keeps its digits for faint
    pumping. Raises InputError on a figure out of its range.
    """
    mean, caught, noise = _heralding(mean_pairs, efficiency, noise_probability, modes)
    return np.asarray(-np.expm1(np.log1p(-noise) + _log_vacuum(mean * caught, modes)))


def heralded_distribution(
    mean_pairs: ArrayLike, largest: int, *, efficiency: ArrayLike, noise_probability: ArrayLike = 0.0, modes: float = 1.0
) -> Array:
    """Probability of 0 ... ``largest`` photons [1] in the other arm, given that the herald clicked; shape (..., largest + 1).

    By Bayes: n pairs make the herald click with 1 - (1 - noise) (1 - efficiency)^n. The vacuum that is left comes from noise alone;
    loss in the arm itself comes afterwards. Where the herald never clicks there is nothing to say, and all is vacuum. Raises InputError
    on a figure out of its range.
    """
    mean, caught, noise = _heralding(mean_pairs, efficiency, noise_probability, modes)
    heralded = heralding_probability(mean, efficiency=caught, noise_probability=noise, modes=modes)[..., None]
    pairs = np.arange(largest + 1)
    silent = (1.0 - noise[..., None]) * (1.0 - caught[..., None]) ** pairs
    joint = _distribution(mean, largest, modes) * (1.0 - silent)
    return np.where(heralded > 0.0, joint / np.where(heralded > 0.0, heralded, 1.0), pairs == 0)


def heralded_second_order_coherence(
    mean_pairs: ArrayLike, *, efficiency: ArrayLike, noise_probability: ArrayLike = 0.0, modes: float = 1.0
) -> Array:
    """g2(0) = <n (n - 1)> / <n>^2 [1] of the heralded arm; 0 for a true single photon, 1 for a laser; broadcast.

    From the factorial moments of the pair number in closed form; loss after the source does not change it. 0 where no photon is
    ever heralded. Raises InputError on a figure out of its range.
    """
    mean, caught, noise = _heralding(mean_pairs, efficiency, noise_probability, modes)
    heralded = heralding_probability(mean, efficiency=caught, noise_probability=noise, modes=modes)
    rest = 1.0 - caught
    silent = (1.0 - noise) * np.exp(_log_vacuum(mean * caught, modes))
    per_mode = 1.0 + mean * caught / modes
    first = mean * (1.0 - silent * rest / per_mode)
    second = mean**2 * (1.0 + 1.0 / modes) * (1.0 - silent * (rest / per_mode) ** 2)
    return np.asarray(np.where(first > 0.0, second * heralded / np.where(first > 0.0, first, 1.0) ** 2, 0.0))


def noisy_photon_number_distribution(
    mean_photons: ArrayLike, largest: int, *, relative_deviation: float, shape: IntensityShape = "gaussian"
) -> Array:
    """Probability of 0 ... ``largest`` photons [1] of a laser whose intensity varies from pulse to pulse; shape (..., largest + 1).

    The Poisson distribution averaged over intensities of mean ``mean_photons`` and standard deviation ``relative_deviation`` times that, by
    Gauss-Hermite quadrature. A Gaussian intensity is cut off at zero, five deviations away at the least. This is what an observer without
    access to the intensities sees; what it means for decoys is a matter of the proof. Raises InputError on a mean outside [0, 20], a
    deviation outside [0, 0.2] or an unknown shape.
    """
    mean = require_each_within("mean_photons", mean_photons, 0.0, BRIGHTEST_MEAN)
    require_within("relative_deviation", relative_deviation, 0.0, 0.2)
    if shape not in ("gaussian", "lognormal"):
        raise InputError("shape", shape, "must be gaussian or lognormal")
    nodes, weights = np.polynomial.hermite.hermgauss(HERMITE_NODES)
    normal = math.sqrt(2.0) * nodes
    variance = math.log1p(relative_deviation**2)
    gaussian = np.maximum(1.0 + relative_deviation * normal, 0.0)
    factors = gaussian if shape == "gaussian" else np.exp(math.sqrt(variance) * normal - 0.5 * variance)
    given_intensity = _distribution(mean[..., None] * factors, largest, math.inf)
    return np.einsum("j,...jn->...n", weights / math.sqrt(math.pi), given_intensity)


def preparation_error(rotation_rad: ArrayLike) -> Array:
    """Error rate [1] of a state turned by ``rotation_rad`` on the Bloch sphere (twice the angle of polarisation); shape as given.

    sin^2(rotation / 2), measured in the basis of the state that was meant.
    """
    return np.asarray(np.sin(0.5 * np.asarray(rotation_rad, float)) ** 2)


def basis_dependence(rotations_rad: ArrayLike) -> Array:
    """Delta [1], how far the emitted states betray the basis: shape (...,) for ``rotations_rad`` (..., bases, bits).

    Rotations of the four BB84 states from where they belong, in the one plane of the Bloch sphere that holds them, Z basis first.
    Delta = (1 - Re<Psi_Z|Psi_X>) / 2: the imbalance of the quantum coin that chooses between the two bases, with Alice's bit kept
    beside the state (Gottesman, Lo, Luetkenhaus, Preskill 2004, arXiv:quant-ph/0212066, and Lo, Preskill 2007, arXiv:quant-ph/0610203;
    recalled). It is 0 when all four states turn together, and never less than (1 - fidelity of the two bases' mean states) / 2. Left out:
    rotations out of the plane and mixed states.
    """
    z, x = np.moveaxis(np.asarray(rotations_rad, float), -2, 0)
    # Half the Bloch angle between each Z state (0, pi) and each X state (pi / 2, -pi / 2).
    halves = 0.5 * (z[..., :, None] - x[..., None, :]) + 0.25 * np.pi * np.array([[-1.0, 1.0], [1.0, 3.0]])
    overlap = np.sum(np.cos(halves) * np.array([[1.0, 1.0], [1.0, -1.0]]), axis=(-2, -1)) / (2.0 * math.sqrt(2.0))
    return np.asarray(np.clip(0.5 * (1.0 - overlap), 0.0, 1.0))


def phase_error_with_basis_dependence(bit_error: ArrayLike, dependence: ArrayLike, detection_probability: ArrayLike = 1.0) -> Array:
    """Upper bound on the phase error rate [1] when the source betrays the basis by ``dependence``; broadcast, 1/2 where nothing is proven.

    e + 4 D (1 - D) (1 - 2 e) + 4 (1 - 2 D) sqrt(D (1 - D) e (1 - e)) with D = dependence / detection_probability, since an eavesdropper
    may lose all but the pulses that tell her most (Lo, Preskill 2007, arXiv:quant-ph/0610203; recalled). Written as the sum of
    two angles. Asymptotic: no fluctuations. Raises InputError on a figure outside [0, 1].
    """
    error = require_each_within("bit_error", bit_error, 0.0, 1.0)
    detected = require_each_within("detection_probability", detection_probability, 0.0, 1.0)
    betrayed = require_each_within("dependence", dependence, 0.0, 1.0)
    share = np.where(detected > 0.0, betrayed / np.where(detected > 0.0, detected, 1.0), 0.5)
    angle = np.arcsin(np.sqrt(np.minimum(error, 0.5))) + 2.0 * np.arcsin(np.sqrt(np.clip(share, 0.0, 0.5)))
    return np.asarray(np.where(angle < 0.25 * np.pi, np.sin(angle) ** 2, 0.5))


@dataclass(frozen=True)
class PulsedPairSource:
    """Polarisation-entangled pairs from a pulsed pump.

    ``mean_pairs`` per pulse. "thermal": one spatial and spectral mode, in which either term of the entangled state is a two-mode
    squeezed vacuum, so that the pairs have the statistics of two thermal modes (type-II down-conversion). "poisson": so many modes that
    pairs come independently. ``visibility`` is that of the correlations of one pair, in every basis. Raises InputError on a field out
    of its range.
    """

    clock_hz: float
    mean_pairs: float
    statistics: PairStatistics = "thermal"
    visibility: float = 1.0

    def __post_init__(self) -> None:
        require_within("clock_hz", self.clock_hz, 1.0, 1e11)
        require_within("mean_pairs", self.mean_pairs, 0.0, 10.0)
        require_within("visibility", self.visibility, 0.0, 1.0)
        if self.statistics not in ("thermal", "poisson"):
            raise InputError("statistics", self.statistics, "must be thermal or poisson")


@dataclass(frozen=True)
class ContinuousPairSource:
    """Polarisation-entangled pairs from a continuous pump: a Poisson process of ``pair_rate_hz`` pairs per second.

    Holds while the coherence time is far below the coincidence window. ``visibility`` is that of the correlations of one pair. Raises
    InputError on a field out of its range.
    """

    pair_rate_hz: float
    visibility: float = 1.0

    def __post_init__(self) -> None:
        require_within("pair_rate_hz", self.pair_rate_hz, 0.0, 1e12)
        require_within("visibility", self.visibility, 0.0, 1.0)


def _log_vacuum(mean: Array, modes: float) -> Array:
    """Logarithm of the probability of no photon at all; loss only scales ``mean``."""
    return -mean if math.isinf(modes) else -modes * np.log1p(mean / modes)


def _distribution(mean: Array, largest: int, modes: float) -> Array:
    """Each probability from the one before it, in logarithms, which keeps the digits for any number of modes."""
    photons = np.arange(1, largest + 1)
    with np.errstate(divide="ignore"):
        steps = np.log(mean[..., None] * (1.0 + (photons - 1) / modes) / (photons * (1.0 + mean[..., None] / modes)))
    vacuum = _log_vacuum(mean, modes)[..., None]
    return np.exp(np.concatenate([vacuum, vacuum + np.cumsum(steps, axis=-1)], axis=-1))


def _heralding(mean_pairs: ArrayLike, efficiency: ArrayLike, noise_probability: ArrayLike, modes: float) -> tuple[Array, Array, Array]:
    """The figures of a heralding arm, checked and brought to one shape."""
    require_within("modes", modes, 1.0, math.inf)
    mean, caught, noise = np.broadcast_arrays(
        require_each_within("mean_pairs", mean_pairs, 0.0, BRIGHTEST_MEAN),
        require_each_within("efficiency", efficiency, 0.0, 1.0),
        require_each_within("noise_probability", noise_probability, 0.0, 1.0 - 1e-12),
    )
    return mean, caught, noise
