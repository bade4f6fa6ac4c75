"""What lies between two QKD modules: a fibre, or the air under a satellite."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tiandi.errors import InputError, require_within
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.physics.fibre import fibre_transmittance
from tiandi.physics.free_space import downlink_transmittance
from tiandi.physics.passes import SatellitePass

DOWNLINK_STEP_S = 1.0
"""The range changes by less than 7 km in a second: 0.1 dB."""


@dataclass(frozen=True)
class ChannelSteps:
    """A channel over one block in steps of constant transmittance, arrays of shape (steps,)."""

    duration_s: NDArray[np.float64]
    transmittance: NDArray[np.float64]


class Channel(Protocol):
    """The way of the light."""

    def steps(self, duration_s: float) -> ChannelSteps:
        """The channel over a block of ``duration_s``; one that ends by itself, like a pass, is over when it is over."""
        ...

    @property
    def length_km(self) -> float:
        """Length of the fibre, or the shortest range."""
        ...


@dataclass(frozen=True)
class FibreChannel:
    """A fibre of constant attenuation. Raises InputError on a length or loss out of range."""

    length_km: float
    attenuation_db_per_km: float = 0.2
    insertion_loss_db: float = 0.0

    def __post_init__(self) -> None:
        require_within("length_km", self.length_km, 0.0, 2000.0)
        require_within("attenuation_db_per_km", self.attenuation_db_per_km, 0.1, 5.0)
        require_within("insertion_loss_db", self.insertion_loss_db, 0.0, 60.0)

    def steps(self, duration_s: float) -> ChannelSteps:
        transmittance = fibre_transmittance(
            self.length_km, attenuation_db_per_km=self.attenuation_db_per_km, insertion_loss_db=self.insertion_loss_db
        )
        return ChannelSteps(np.array([duration_s]), np.array([transmittance]))


@dataclass(frozen=True)
class DownlinkChannel:
    """The air under a satellite during one pass, as far as ``maximum_range_km``.

    Raises InputError when a data sheet lacks what it needs.
    """

    satellite_pass: SatellitePass
    transmitter: Transmitter
    receiver: Receiver
    zenith_extinction_db: float
    maximum_range_km: float = 40000.0

    def __post_init__(self) -> None:
        require_within("zenith_extinction_db", self.zenith_extinction_db, 0.0, 30.0)
        for name, value in (
            ("divergence_full_angle_urad", self.transmitter.divergence_full_angle_urad),
            ("aperture_m", self.receiver.aperture_m),
        ):
            if value is None:
                raise InputError(name, value, "a downlink needs it")
            require_within(name, value, 1e-3, 1e4)

    @cached_property
    def _track(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Range [km] and elevation [deg] in the steps within reach."""
        _, look = self.satellite_pass.track(DOWNLINK_STEP_S)
        reached = look.range_km <= self.maximum_range_km
        return look.range_km[reached], look.elevation_deg[reached]

    @property
    def length_km(self) -> float:
        return self.satellite_pass.closest_km

    def steps(self, duration_s: float = np.inf) -> ChannelSteps:
        range_km, elevation_deg = self._track
        assert self.transmitter.divergence_full_angle_urad is not None
        assert self.receiver.aperture_m is not None
        transmittance = downlink_transmittance(
            range_km,
            elevation_deg,
            divergence_full_angle_urad=self.transmitter.divergence_full_angle_urad,
            aperture_m=self.receiver.aperture_m,
            zenith_extinction_db=self.zenith_extinction_db,
            pointing_loss_db=self.transmitter.pointing_loss_db,
        )
        count = int(min(duration_s / DOWNLINK_STEP_S, transmittance.size))
        return ChannelSteps(np.full(count, DOWNLINK_STEP_S), transmittance[:count])
