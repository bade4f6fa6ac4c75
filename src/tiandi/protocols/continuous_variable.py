"""Continuous-variable QKD with Gaussian-modulated coherent states (GG02), reverse reconciliation.

Grosshans and Grangier 2002, doi:10.1103/PhysRevLett.88.057902. Alice displaces coherent states by Gaussian numbers x; Bob measures one
quadrature of each (homodyne) or both (heterodyne) and reads y = sqrt(gain T) x + noise. Variances are in shot-noise units: that of
the vacuum is 1. All is Gaussian, so moments say everything; they are drawn at once for any number of symbols, the samples in blocks.

Keys are secure against collective attacks, of which Gaussian ones are the best (Garcia-Patron and Cerf 2006,
doi:10.1103/PhysRevLett.97.190503), by the finite-size formula of Leverrier, Grosshans, Grangier 2010 (doi:10.1103/PhysRevA.81.062343).
Both, and the papers named below, are recalled and were not re-read. Not covered: coherent attacks; noise that is not Gaussian in the
estimate; the finite range and steps of modulator and converter; an eavesdropper at the local oscillator; errors of calibration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from tiandi.errors import InputError
from tiandi.limits import require_each_within, require_within
from tiandi.protocols.concentration import EPSILON_LIMITS

Array = NDArray[np.float64]

BLOCK_PAIRS = 2**20  # 16 MiB of samples at a time.
SEARCH_STEPS = 60  # Of an interval that loses a third so often, 3e-11 are left.


@dataclass(frozen=True)
class GaussianProtocol:
    """Transmitter, channel noise and receiver; variances in shot-noise units.

    ``excess_noise`` is referred to the channel's input, ``electronic_noise`` to the output of each homodyne detector. A trusted
    detector's loss and noise are calibrated and out of Eve's reach; of an untrusted one they are hers. ``reconciliation_efficiency`` is
    the share of the mutual information that survives error correction. Raises InputError on a field out of its range.
    """

    modulation_variance: float
    excess_noise: float
    detector_efficiency: float
    electronic_noise: float
    reconciliation_efficiency: float
    detection: Literal["homodyne", "heterodyne"] = "homodyne"
    trusted_detector: bool = True

    def __post_init__(self) -> None:
        require_within("modulation_variance", self.modulation_variance, 1e-3, 1e4)
        require_within("excess_noise", self.excess_noise, 0.0, 10.0)
        require_within("detector_efficiency", self.detector_efficiency, 0.01, 1.0)
        require_within("electronic_noise", self.electronic_noise, 0.0, 10.0)
        require_within("reconciliation_efficiency", self.reconciliation_efficiency, 0.0, 1.0)
        if self.detection not in ("homodyne", "heterodyne"):
            raise InputError("detection", self.detection, "must be homodyne or heterodyne")

    @property
    def quadratures(self) -> int:
        """Quadratures measured of each symbol."""
        return 2 if self.detection == "heterodyne" else 1

    @property
    def gain(self) -> float:
        """Fraction of the light at the channel's end that counts in one quadrature: heterodyne detection splits it in two."""
        return self.detector_efficiency / self.quadratures

    def noise_variance(self, transmittance: ArrayLike) -> Array:
        """Variance of what Bob reads once Alice's number is known [shot noise], shape as ``transmittance`` of the channel."""
        values = require_each_within("transmittance", transmittance, 0.0, 1.0)
        return np.asarray(1.0 + self.electronic_noise + self.gain * self.excess_noise * values)


def mutual_information(protocol: GaussianProtocol, transmittance: ArrayLike) -> Array:
    """I_AB [bit per symbol] that Alice's and Bob's numbers share, shape as ``transmittance``: Shannon's 1/2 log2(1 + SNR) a quadrature."""
    signal = protocol.gain * require_each_within("transmittance", transmittance, 0.0, 1.0) * protocol.modulation_variance
    return np.asarray(0.5 * protocol.quadratures * np.log1p(signal / protocol.noise_variance(transmittance)) / np.log(2.0))


def holevo_information(protocol: GaussianProtocol, transmittance: ArrayLike) -> Array:
    """chi_BE [bit per symbol], the most that Eve can know of Bob's numbers by a collective attack; shape as ``transmittance``.

    Lodewyck et al. 2007 (doi:10.1103/PhysRevA.76.042305) for homodyne, Fossier et al. 2009 (doi:10.1088/0953-4075/42/11/114014) for
    heterodyne detection. Good to 1e-10 bit.
    """
    values = require_each_within("transmittance", transmittance, 0.0, 1.0)
    return _holevo(protocol, values, values * protocol.excess_noise)


def asymptotic_key_rate(protocol: GaussianProtocol, transmittance: ArrayLike) -> Array:
    """Secret key [bit per symbol] of infinitely many symbols, beta I_AB - chi_BE (Devetak and Winter) or 0; shape as ``transmittance``."""
    kept = protocol.reconciliation_efficiency * mutual_information(protocol, transmittance)
    return np.maximum(0.0, kept - holevo_information(protocol, transmittance))


def _holevo(protocol: GaussianProtocol, transmittance: Array, added_noise: Array) -> Array:
    """Holevo information when the channel leaves ``added_noise`` above the shot noise at its end.

    Of each pair of symplectic eigenvalues, before and after Bob's measurement, the sum and the product of (square - 1) are
    formed: in these the published expressions hold no difference of large numbers.
    """
    efficiency, electronic, modulation = protocol.detector_efficiency, protocol.electronic_noise, protocol.modulation_variance
    if not protocol.trusted_detector:
        added_noise = efficiency * added_noise + protocol.quadratures * electronic
        transmittance, efficiency, electronic = efficiency * transmittance, 1.0, 0.0
    lost, squeezing = 1.0 - transmittance, modulation * (modulation + 2.0)
    alice, bob = modulation + 1.0, transmittance * modulation + 1.0 + added_noise
    difference = modulation * lost - added_noise
    total = 2.0 * (modulation * lost + added_noise * alice) + difference**2
    product = squeezing * added_noise * (added_noise + 2.0 * lost)
    cross = squeezing * (lost + added_noise)
    if protocol.detection == "homodyne":
        detector = (1.0 - efficiency + electronic) / efficiency
        scale = bob + detector
        after = (total * detector + cross) / scale, detector * product / scale
    else:
        detector = (2.0 - efficiency + 2.0 * electronic) / efficiency
        scale = (bob + detector) ** 2
        remainder = product + difference * (alice + bob)
        after = (total * detector**2 + 2.0 * detector * cross + remainder) / scale, (detector**2 - 1.0) * product / scale
    return np.maximum(0.0, _entropy(total, product) - _entropy(*after))


def _entropy(total: Array, product: Array) -> Array:
    """Entropy [bit] of two modes, from the sum and the product of (symplectic eigenvalue squared - 1)."""
    larger = 0.5 * (total + np.sqrt(np.maximum(total**2 - 4.0 * product, 0.0)))
    smaller = product / np.where(larger > 0.0, larger, 1.0)
    excess = np.maximum([larger, smaller], 0.0)
    photons = 0.5 * excess / (1.0 + np.sqrt(1.0 + excess))
    thermal = special.xlogy(photons + 1.0, photons + 1.0) - special.xlogy(photons, photons)
    return np.asarray(thermal.sum(axis=0) / np.log(2.0))


@dataclass(frozen=True)
class Moments:
    """Sums over pairs (x sent, y read) of x x, x y and y y, each of shape (...); both are known to have mean 0.

    ``x`` in the units of the modulation variance, ``y`` in shot-noise units. Raises InputError for sums that no numbers have.
    """

    pairs: Array
    sum_xx: Array
    sum_xy: Array
    sum_yy: Array

    def __post_init__(self) -> None:
        for name in ("pairs", "sum_xx", "sum_xy", "sum_yy"):
            values = np.asarray(getattr(self, name), float)
            if not np.isfinite(values).all() or (name != "sum_xy" and (values < 0.0).any()):
                raise InputError(name, getattr(self, name), "must be finite, and not negative but for sum_xy")


def moments_of(blocks: Iterable[tuple[Array, Array]]) -> Moments:
    """Moments of samples that come in blocks of (x, y), each of shape (n,), from `sample_quadratures` or from hardware."""
    sums = np.zeros(4)
    for sent, read in blocks:
        sums += np.array([sent.size, sent @ sent, sent @ read, read @ read])
    return Moments(*sums)


def expected_moments(protocol: GaussianProtocol, transmittance: ArrayLike, symbols: ArrayLike) -> Moments:
    """Mean moments of ``symbols`` symbols over a channel of ``transmittance``; shape is theirs, broadcast."""
    values = require_each_within("transmittance", transmittance, 0.0, 1.0)
    pairs, values = np.broadcast_arrays(protocol.quadratures * np.asarray(symbols, float), values)
    slope, sum_xx = np.sqrt(protocol.gain * values), pairs * protocol.modulation_variance
    return Moments(pairs, sum_xx, slope * sum_xx, slope**2 * sum_xx + pairs * protocol.noise_variance(values))


def sample_moments(protocol: GaussianProtocol, transmittance: ArrayLike, symbols: ArrayLike, generator: np.random.Generator) -> Moments:
    """Moments of one run, exact in distribution, at the same cost for any number of symbols; shapes as `expected_moments`.

    They follow the Wishart distribution, drawn by Bartlett's decomposition (1933): three numbers stand for all symbols.
    """
    values = require_each_within("transmittance", transmittance, 0.0, 1.0)
    pairs, values = np.broadcast_arrays(protocol.quadratures * np.asarray(symbols, float), values)
    deviation = np.sqrt(protocol.noise_variance(values))
    sum_xx = 2.0 * protocol.modulation_variance * generator.standard_gamma(0.5 * pairs)
    along = np.sqrt(protocol.gain * values * sum_xx) + deviation * generator.standard_normal(pairs.shape) * (pairs > 0)
    across = 2.0 * deviation**2 * generator.standard_gamma(0.5 * np.maximum(pairs - 1.0, 0.0))
    return Moments(pairs, sum_xx, along * np.sqrt(sum_xx), along**2 + across)


def sample_quadratures(
    protocol: GaussianProtocol, transmittance: float, symbols: int, generator: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    """What Alice sent and Bob read, exact in distribution, in blocks (x, y) of shape (n,) with n up to BLOCK_PAIRS.

    Homodyne detection gives one pair a symbol, of the quadrature that Bob chose; heterodyne detection two.
    """
    values = require_each_within("transmittance", transmittance, 0.0, 1.0)
    slope, deviation = np.sqrt(protocol.gain * values), np.sqrt(protocol.noise_variance(values))
    pairs = protocol.quadratures * symbols
    for start in range(0, pairs, BLOCK_PAIRS):
        sent = np.sqrt(protocol.modulation_variance) * generator.standard_normal(min(BLOCK_PAIRS, pairs - start))
        yield sent, slope * sent + deviation * generator.standard_normal(sent.size)


@dataclass(frozen=True)
class ChannelEstimate:
    """What moments tell of the channel, each of shape (...); not a number where they tell nothing. Noise in shot-noise units.

    ``noise_variance`` is that of Bob's readings around Alice's numbers. The excess noise may come out negative, its bounds may not.
    """

    transmittance: Array
    transmittance_low: Array
    transmittance_high: Array
    noise_variance: Array
    noise_variance_high: Array
    excess_noise: Array
    excess_noise_low: Array
    excess_noise_high: Array


def estimate_channel(protocol: GaussianProtocol, moments: Moments, *, failure: float) -> ChannelEstimate:
    """Estimates of transmittance and excess noise with bounds, each of which fails with at most ``failure``.

    Estimators as in Leverrier, Grosshans, Grangier 2010: the slope of y on x and the variance left around it. They bound both by normal
    approximations; here the slope has Student's exact bounds, the variance those of Laurent and Massart 2000 (lemma 1,
    doi:10.1214/aos/1015957395): 6 % wider than exact ones at 1e-10, 30 % at 1e-2, and free of their numerical trouble in long blocks.
    """
    require_within("failure", failure, 1e-100, 0.5)
    with np.errstate(all="ignore"):
        freedom = np.where(np.asarray(moments.pairs) > 1.0, np.asarray(moments.pairs) - 1.0, np.nan)
        slope = np.divide(moments.sum_xy, moments.sum_xx)
        residual = moments.sum_yy - slope * moments.sum_xy
        variance = np.where(residual > 0.0, residual, np.nan) / freedom
        half_width = -special.stdtrit(freedom, failure) * np.sqrt(variance / moments.sum_xx)
        low, middle, high = (np.maximum(slope + side * half_width, 0.0) ** 2 for side in (-1.0, 0.0, 1.0))
        spread = 2.0 * np.sqrt(-np.log(failure) / freedom)
        variance_low = variance / (1.0 + spread + 0.5 * spread**2)
        variance_high = np.where(spread < 1.0, variance / (1.0 - spread), np.inf)
        gain, vacuum = protocol.gain, 1.0 + protocol.electronic_noise
        least, most = np.maximum(variance_low - vacuum, 0.0) / high, np.maximum(variance_high - vacuum, 0.0) / low
        return ChannelEstimate(middle / gain, low / gain, high / gain, variance, variance_high, (variance - vacuum) / middle, least, most)


@dataclass(frozen=True)
class CollectiveKey:
    """Secret key of a finite block and what it rests on, each of shape (...); ``holevo_information`` is the worst within the bounds."""

    length_bit: Array
    bit_per_symbol: Array
    mutual_information: Array
    holevo_information: Array
    estimate: ChannelEstimate


def proven_key(
    protocol: GaussianProtocol,
    moments: Moments,
    *,
    key_symbols: ArrayLike,
    epsilon_estimation: float = 1e-10,
    epsilon_smoothing: float = 1e-10,
    epsilon_amplification: float = 1e-10,
) -> CollectiveKey:
    """Secret key [bit] of ``key_symbols`` symbols when ``moments`` are those of the other symbols, disclosed for the estimate.

    n [beta I_AB - chi - Delta(n)], Delta(n) = (2 dim + 3) sqrt(log2(2 / epsilon_smoothing) / n) + 2 / n log2(1 / epsilon_amplification):
    Leverrier, Grosshans, Grangier 2010. dim is 2 for the raw bit of a quadrature, hence 4 for heterodyne detection. I_AB is the
    estimate's, against which beta is measured: beta I_AB is what error correction left. A symbol that it gave up is no key symbol.

    chi is the largest over all transmittances and noises within bounds, of which three may fail, with epsilon_estimation / 3 each.
    The paper takes the lowest transmittance and the highest noise; but at a given noise Eve's information mostly grows with the
    transmittance, so that corner is not the worst while I_AB stays. Moments that no channel gives, and too few of them, have length 0.
    """
    require_within("epsilon_estimation", epsilon_estimation, *EPSILON_LIMITS)
    require_within("epsilon_smoothing", epsilon_smoothing, *EPSILON_LIMITS)
    require_within("epsilon_amplification", epsilon_amplification, *EPSILON_LIMITS)
    symbols = np.asarray(key_symbols, float)
    if not (np.isfinite(symbols) & (symbols >= 0.0)).all():
        raise InputError("key_symbols", key_symbols, "must be finite and not negative")
    estimate = estimate_channel(protocol, moments, failure=epsilon_estimation / 3.0)
    added_noise = (estimate.noise_variance_high - 1.0 - protocol.electronic_noise) / protocol.gain
    possible = (estimate.transmittance_low <= 1.0) & (added_noise >= 0.0) & (added_noise < 1e6) & (symbols > 0.0)
    # Numbers of another size than Alice is said to send would put the transmittance wrong.
    spread = 2.0 * np.sqrt(np.log(3.0 / epsilon_estimation) / np.maximum(moments.pairs, 1.0))
    surplus = np.abs(moments.sum_xx - protocol.modulation_variance * moments.pairs)
    possible &= surplus <= (spread + 0.5 * spread**2) * protocol.modulation_variance * moments.pairs
    low, high = (np.where(possible, np.minimum(side, 1.0), 0.0) for side in (estimate.transmittance_low, estimate.transmittance_high))
    chi = _largest_holevo(protocol, low, high, np.where(possible, added_noise, 0.0))
    ratio = protocol.gain * protocol.modulation_variance * np.minimum(estimate.transmittance, 1.0) / estimate.noise_variance
    shared = 0.5 * protocol.quadratures * np.log1p(np.where(possible, ratio, 0.0)) / np.log(2.0)
    block, dimension = np.maximum(symbols, 1.0), 2**protocol.quadratures
    delta = (2 * dimension + 3) * np.sqrt(np.log2(2.0 / epsilon_smoothing) / block) - 2.0 / block * np.log2(epsilon_amplification)
    length = symbols * np.maximum(0.0, protocol.reconciliation_efficiency * shared - chi - delta)
    return CollectiveKey(length, length / (block + moments.pairs / protocol.quadratures), shared, chi, estimate)


def _largest_holevo(protocol: GaussianProtocol, low: Array, high: Array, added_noise: Array) -> Array:
    """Largest Holevo information over transmittances from ``low`` to ``high``: it has one maximum, found by cutting off thirds."""
    ends = np.maximum(_holevo(protocol, low, added_noise), _holevo(protocol, high, added_noise))
    for _ in range(SEARCH_STEPS):
        third = (high - low) / 3.0
        rising = _holevo(protocol, low + third, added_noise) < _holevo(protocol, high - third, added_noise)
        low, high = np.where(rising, low + third, low), np.where(rising, high, high - third)
    return np.maximum(ends, _holevo(protocol, 0.5 * (low + high), added_noise))
