"""Decoy-state BB84 with infinitely many pulses: Ma, Qi, Zhao, Lo 2005 (doi:10.1103/PhysRevA.72.012326).

The model of that paper, in which experiments with weak coherent pulses over fibre are most often stated: a background yield, one
misalignment, no dead time. All functions broadcast their arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.protocols.information import binary_entropy

Array = NDArray[np.float64]

BACKGROUND_ERROR = 0.5
"""Error rate of clicks that come from no photon."""


@dataclass(frozen=True)
class DecoyLink:
    """What the rate depends on beside the light: background yield per pulse, misalignment, error-correction efficiency, sifting.

    Raises InputError on a field out of its range.
    """

    background_yield: float
    misalignment: float
    error_correction_efficiency: float = 1.22
    sifting: float = 0.5

    def __post_init__(self) -> None:
        require_within("background_yield", self.background_yield, 0.0, 1.0)
        require_within("misalignment", self.misalignment, 0.0, 0.5)
        require_within("error_correction_efficiency", self.error_correction_efficiency, 1.0, 10.0)
        require_within("sifting", self.sifting, 0.0, 1.0)

    def gain_and_qber(self, mean_photon_number: ArrayLike, transmittance: ArrayLike) -> tuple[Array, Array]:
        """Probability of a click per pulse and its error rate (equations 10 and 11); ``transmittance`` includes the detector."""
        light = -np.expm1(-np.asarray(transmittance, float) * np.asarray(mean_photon_number, float))
        gain = self.background_yield + light
        errors = BACKGROUND_ERROR * self.background_yield + self.misalignment * light
        return gain, np.divide(errors, gain, out=np.full(np.shape(gain), BACKGROUND_ERROR), where=gain > 0)

    def single_photon(self, transmittance: ArrayLike) -> tuple[Array, Array]:
        """Yield and error rate of single photons (equations 7 to 9)."""
        eta = np.asarray(transmittance, float)
        # Equation 7 has Y0 + eta - Y0 eta, which their gain (equation 10) leaves out: the two agree to Y0 eta.
        single_yield = self.background_yield + eta - self.background_yield * eta
        errors = BACKGROUND_ERROR * self.background_yield + self.misalignment * eta
        return single_yield, np.divide(errors, single_yield, out=np.full(eta.shape, BACKGROUND_ERROR), where=single_yield > 0)

    def infinite_decoy_rate(self, mean_photon_number: ArrayLike, transmittance: ArrayLike) -> Array:
        """Secret bits per pulse when decoys tell everything (equation 1), at least 0."""
        return self._rate(mean_photon_number, transmittance, *self.single_photon(transmittance))

    def vacuum_and_weak_bounds(self, mean_photon_number: ArrayLike, decoy: ArrayLike, transmittance: ArrayLike) -> tuple[Array, Array]:
        """Lower bound on the yield and upper bound on the error rate of single photons from one weak decoy and vacuum.

        Equations 34 and 37. ``decoy`` is its mean photon number.
        """
        mu, nu = np.asarray(mean_photon_number, float), np.asarray(decoy, float)
        if not ((nu > 0) & (nu < mu)).all():
            raise InputError("decoy", nu.tolist(), "must be above 0 and below the signal's mean photon number")
        gain, _ = self.gain_and_qber(mu, transmittance)
        weak_gain, weak_qber = self.gain_and_qber(nu, transmittance)
        background = self.background_yield
        inside = weak_gain * np.exp(nu) - gain * np.exp(mu) * (nu / mu) ** 2 - (mu**2 - nu**2) / mu**2 * background
        yield_low = np.maximum(mu / (mu * nu - nu**2) * inside, 0.0)
        errors = weak_qber * weak_gain * np.exp(nu) - BACKGROUND_ERROR * background
        error_high = np.divide(errors, yield_low * nu, out=np.full(yield_low.shape, BACKGROUND_ERROR), where=yield_low > 0)
        return yield_low, np.clip(error_high, 0.0, BACKGROUND_ERROR)

    def vacuum_and_weak_rate(self, mean_photon_number: ArrayLike, decoy: ArrayLike, transmittance: ArrayLike) -> Array:
        """Secret bits per pulse with one weak decoy and vacuum, at least 0."""
        return self._rate(mean_photon_number, transmittance, *self.vacuum_and_weak_bounds(mean_photon_number, decoy, transmittance))

    def _rate(self, mean_photon_number: ArrayLike, transmittance: ArrayLike, single_yield: Array, single_error: Array) -> Array:
        mu = np.asarray(mean_photon_number, float)
        gain, qber = self.gain_and_qber(mu, transmittance)
        leak = self.error_correction_efficiency * gain * binary_entropy(qber)
        kept = mu * np.exp(-mu) * single_yield * (1.0 - binary_entropy(np.minimum(single_error, BACKGROUND_ERROR)))
        return np.maximum(self.sifting * (kept - leak), 0.0)
