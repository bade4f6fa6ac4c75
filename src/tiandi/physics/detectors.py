"""Single-photon detectors: what they catch, what they invent, and how long they are blind afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

from tiandi.limits import require_within

FULL_WIDTH_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian over its standard deviation."""


@dataclass(frozen=True)
class Detector:
    """Data sheet of a threshold detector: it tells light from no light, not one photon from two.

    ``after_pulse_probability`` is the probability that a click leaves a carrier which is still trapped when the dead time ends;
    it is released after an exponential time of mean ``after_pulse_lifetime_s`` and then makes a click of its own.
    ``jitter_fwhm_s`` is the full width at half maximum of the delay. Raises InputError on a field out of its range.
    """

    efficiency: float
    dark_count_rate_hz: float
    dead_time_s: float = 0.0
    after_pulse_probability: float = 0.0
    after_pulse_lifetime_s: float = 1e-6
    jitter_fwhm_s: float = 0.0

    def __post_init__(self) -> None:
        require_within("efficiency", self.efficiency, 0.0, 1.0)
        require_within("dark_count_rate_hz", self.dark_count_rate_hz, 0.0, 1e7)
        require_within("dead_time_s", self.dead_time_s, 0.0, 1e-3)
        require_within("after_pulse_probability", self.after_pulse_probability, 0.0, 0.5)
        require_within("after_pulse_lifetime_s", self.after_pulse_lifetime_s, 1e-10, 1e-3)
        require_within("jitter_fwhm_s", self.jitter_fwhm_s, 0.0, 1e-7)

    @property
    def jitter_sigma_s(self) -> float:
        """Standard deviation of the delay [s], taken as Gaussian."""
        return self.jitter_fwhm_s / FULL_WIDTH_PER_SIGMA


# What such detectors typically reach; a link takes the figures of its own data sheet instead. Recalled, not re-read.
SILICON = Detector(
    efficiency=0.5,
    dark_count_rate_hz=25.0,
    dead_time_s=40e-9,
    after_pulse_probability=0.005,
    after_pulse_lifetime_s=100e-9,
    jitter_fwhm_s=350e-12,
)
"""Silicon avalanche photodiode at 850 nm; efficiency, dark counts and jitter as published for Micius (doi:10.1038/nature23655)."""
INGAAS = Detector(
    efficiency=0.2,
    dark_count_rate_hz=800.0,
    dead_time_s=2e-6,
    after_pulse_probability=0.01,
    after_pulse_lifetime_s=2e-6,
    jitter_fwhm_s=150e-12,
)
"""Gated InGaAs avalanche photodiode at 1550 nm, cooled to about -50 degrees Celsius."""
SUPERCONDUCTING_NANOWIRE = Detector(efficiency=0.8, dark_count_rate_hz=30.0, dead_time_s=40e-9, jitter_fwhm_s=50e-12)
"""Superconducting nanowire at 1550 nm and about 2 kelvin; nothing is trapped in it, so it has no after-pulses."""


def gate_acceptance(gate_s: ArrayLike, spread_sigma_s: ArrayLike) -> NDArray[np.float64]:
    """Fraction of clicks that fall within a gate of ``gate_s`` [s] centred on them, when they spread by ``spread_sigma_s`` [s]; broadcast.

    erf(gate / (2 sqrt 2 sigma)) of a Gaussian: pulse, jitter and synchronisation add in squares.
    """
    gate, spread = np.broadcast_arrays(np.asarray(gate_s, float), np.asarray(spread_sigma_s, float))
    with np.errstate(divide="ignore"):
        return np.asarray(erf(gate / (2.0 * np.sqrt(2.0) * spread)))


def observed_rate_hz(rate_hz: ArrayLike, dead_time_s: ArrayLike) -> NDArray[np.float64]:
    """Rate [1/s] that a detector with a non-paralysable dead time shows under ``rate_hz``: R / (1 + R tau); saturates at 1 / tau."""
    rate = np.asarray(rate_hz, float)
    return rate / (1.0 + rate * np.asarray(dead_time_s, float))
