"""Data sheets of a QKD transmitter and a QKD receiver for polarisation-encoded decoy-state BB84."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tiandi.errors import InputError


def require_within(field: str, value: float, low: float, high: float) -> None:
    """Raise InputError unless ``low`` <= ``value`` <= ``high``."""
    if not low <= value <= high:
        raise InputError(field, value, f"must lie in [{low:g}, {high:g}]")


@dataclass(frozen=True)
class Transmitter:
    """Phase-randomised weak coherent pulses: signal, decoy and vacuum.

    Mean photon numbers hold where the channel begins. ``divergence_full_angle_urad`` and ``pointing_loss_db`` are for
    transmitters aboard satellites. Raises InputError on a field out of its range.
    """

    clock_hz: float
    mean_photon_numbers: tuple[float, float, float]
    probabilities: tuple[float, float, float]
    x_basis_probability: float = 0.5
    divergence_full_angle_urad: float | None = None
    pointing_loss_db: float = 0.0

    def __post_init__(self) -> None:
        require_within("clock_hz", self.clock_hz, 1.0, 1e11)
        require_within("x_basis_probability", self.x_basis_probability, 0.01, 0.99)
        require_within("pointing_loss_db", self.pointing_loss_db, 0.0, 30.0)
        for probability in self.probabilities:
            require_within("probabilities", probability, 0.001, 0.998)
        if abs(sum(self.probabilities) - 1.0) > 1e-9:
            raise InputError("probabilities", self.probabilities, "must add up to 1")
        signal, decoy, vacuum = self.mean_photon_numbers
        if not (signal > decoy + vacuum and decoy > vacuum >= 0.0 and signal <= 2.0):
            raise InputError(
                "mean_photon_numbers",
                self.mean_photon_numbers,
                "must be signal, decoy, vacuum with 2 >= signal > decoy + vacuum, decoy > vacuum >= 0",
            )


@dataclass(frozen=True)
class Receiver:
    """Passive basis choice at a beam splitter and four threshold detectors, all blanked together after a click.

    Blanking every detector at once is what keeps dead time from telling an eavesdropper anything about the bits
    (Rogers et al. 2007, doi:10.1088/1367-2630/9/9/319). ``optics_efficiency`` is everything from the channel's end to the
    detectors. ``dark_count_rate_hz`` and ``background_rate_hz`` are per detector. Raises InputError on a field out of its range.
    """

    optics_efficiency: float
    detector_efficiency: float
    dark_count_rate_hz: float
    gate_s: float
    dead_time_s: float
    misalignment: float
    background_rate_hz: float = 0.0
    x_basis_probability: float = 0.5
    aperture_m: float | None = None

    def __post_init__(self) -> None:
        require_within("optics_efficiency", self.optics_efficiency, 0.0, 1.0)
        require_within("detector_efficiency", self.detector_efficiency, 0.0, 1.0)
        require_within("dark_count_rate_hz", self.dark_count_rate_hz, 0.0, 1e7)
        require_within("background_rate_hz", self.background_rate_hz, 0.0, 1e9)
        require_within("gate_s", self.gate_s, 1e-12, 1e-6)
        require_within("dead_time_s", self.dead_time_s, 0.0, 1e-3)
        require_within("misalignment", self.misalignment, 0.0, 0.5)
        require_within("x_basis_probability", self.x_basis_probability, 0.01, 0.99)

    @property
    def efficiency(self) -> float:
        """Probability that a photon at the channel's end makes a detector click."""
        return self.optics_efficiency * self.detector_efficiency

    @property
    def noise_probability(self) -> float:
        """Probability of a click without light, per detector and gate."""
        return -math.expm1(-(self.dark_count_rate_hz + self.background_rate_hz) * self.gate_s)
