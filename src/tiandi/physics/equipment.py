"""Data sheets of a QKD transmitter and a QKD receiver for decoy-state BB84."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.physics.detectors import Detector, gate_acceptance

BasisChoice = Literal["passive", "active"]
MAXIMUM_INTENSITIES = 16


@dataclass(frozen=True)
class Transmitter:
    """Phase-randomised weak coherent pulses of two or more intensities, the brightest first: signal, decoys, perhaps vacuum.

    Mean photon numbers hold where the channel begins. ``divergence_full_angle_urad``, ``pointing_jitter_urad`` (standard deviation on
    each of two axes) and ``pointing_loss_db`` (a constant loss besides) are for transmitters in free space. Raises InputError on a
    field out of its range.
    """

    clock_hz: float
    mean_photon_numbers: tuple[float, ...]
    probabilities: tuple[float, ...]
    x_basis_probability: float = 0.5
    divergence_full_angle_urad: float | None = None
    pointing_loss_db: float = 0.0
    pointing_jitter_urad: float = 0.0

    def __post_init__(self) -> None:
        require_within("clock_hz", self.clock_hz, 1.0, 1e11)
        require_within("x_basis_probability", self.x_basis_probability, 0.01, 0.99)
        require_within("pointing_loss_db", self.pointing_loss_db, 0.0, 30.0)
        require_within("pointing_jitter_urad", self.pointing_jitter_urad, 0.0, 1e4)
        means, probabilities = self.mean_photon_numbers, self.probabilities
        if not 2 <= len(means) <= MAXIMUM_INTENSITIES:
            raise InputError("mean_photon_numbers", means, f"must be 2 to {MAXIMUM_INTENSITIES} intensities")
        if len(probabilities) != len(means):
            raise InputError("probabilities", probabilities, f"must be {len(means)}, one an intensity")
        for probability in probabilities:
            require_within("probabilities", probability, 0.001, 0.998)
        if abs(sum(probabilities) - 1.0) > 1e-9:
            raise InputError("probabilities", probabilities, "must add up to 1")
        falling = all(brighter > dimmer for brighter, dimmer in pairwise(means))
        if not (falling and 2.0 >= means[0] > sum(means[1:3]) and means[-1] >= 0.0):
            raise InputError(
                "mean_photon_numbers", means, "must fall from at most 2 to no less than 0, the first above the sum of the next two"
            )


@dataclass(frozen=True)
class Receiver:
    """A passive basis choice at a beam splitter with four threshold detectors, or an active one with two.

    All detectors are blanked together after a click, which keeps dead time from telling an eavesdropper anything about the bits
    (Rogers et al. 2007, doi:10.1088/1367-2630/9/9/319). ``optics_efficiency`` is everything from the channel's end to the
    detectors. ``background_rate_hz`` is per detector, like the dark counts. ``timing_sigma_s`` is the standard deviation of the light's
    arrival against the gate: synchronisation and the width of the pulse together, without the detector's jitter.
    Raises InputError on a field out of its range.
    """

    optics_efficiency: float
    detector: Detector
    gate_s: float
    misalignment: float
    background_rate_hz: float = 0.0
    timing_sigma_s: float = 0.0
    x_basis_probability: float = 0.5
    basis_choice: BasisChoice = "passive"
    aperture_m: float | None = None

    def __post_init__(self) -> None:
        require_within("optics_efficiency", self.optics_efficiency, 0.0, 1.0)
        require_within("background_rate_hz", self.background_rate_hz, 0.0, 1e9)
        require_within("timing_sigma_s", self.timing_sigma_s, 0.0, 1e-6)
        require_within("gate_s", self.gate_s, 1e-12, 1e-6)
        require_within("misalignment", self.misalignment, 0.0, 0.5)
        require_within("x_basis_probability", self.x_basis_probability, 0.01, 0.99)
        if self.basis_choice not in ("passive", "active"):
            raise InputError("basis_choice", self.basis_choice, "must be passive or active")

    @property
    def efficiency(self) -> float:
        """Probability that a photon at the channel's end makes a detector click within the gate."""
        accepted = gate_acceptance(self.gate_s, math.hypot(self.detector.jitter_sigma_s, self.timing_sigma_s))
        return self.optics_efficiency * self.detector.efficiency * float(accepted)

    @property
    def noise_probability(self) -> float:
        """Probability of a click without light, per detector and gate."""
        return -math.expm1(-(self.detector.dark_count_rate_hz + self.background_rate_hz) * self.gate_s)
