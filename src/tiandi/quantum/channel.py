"""What lies between two QKD modules: a fibre, the air under a satellite, or the space between two."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from tiandi.clock import julian_dates
from tiandi.constants import EARTH_EQUATORIAL_RADIUS_KM
from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.physics.beam import BeamShape
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.physics.fibre import fibre_transmittance
from tiandi.physics.free_space import downlink_transmittance, intersatellite_transmittance, uplink_transmittance
from tiandi.physics.orbit import Elements, Positions, propagate
from tiandi.physics.passes import SatellitePass
from tiandi.physics.turbulence import HUFNAGEL_VALLEY_57, TurbulenceProfile

FREE_SPACE_STEP_S = 1.0
"""The range to a station changes by less than 7 km in a second: 0.1 dB."""
TOP_OF_AIR_KM = 100.0
"""A beam between satellites that comes lower than this is taken as lost."""


class FreeSpaceOptics(TypedDict):
    """What the data sheets say of the two telescopes."""

    divergence_full_angle_urad: float
    aperture_m: float
    pointing_loss_db: float
    jitter_urad: float


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
class _FreeSpaceChannel(ABC):
    """What every telescope-to-telescope channel has. Raises InputError when a data sheet lacks what it needs."""

    transmitter: Transmitter
    receiver: Receiver

    def __post_init__(self) -> None:
        for name, value in (
            ("divergence_full_angle_urad", self.transmitter.divergence_full_angle_urad),
            ("aperture_m", self.receiver.aperture_m),
        ):
            if value is None:
                raise InputError(name, value, "a channel in free space needs it")
            require_within(name, value, 1e-3, 1e4)

    @property
    def _optics(self) -> FreeSpaceOptics:
        assert self.transmitter.divergence_full_angle_urad is not None
        assert self.receiver.aperture_m is not None
        return {
            "divergence_full_angle_urad": self.transmitter.divergence_full_angle_urad,
            "aperture_m": self.receiver.aperture_m,
            "pointing_loss_db": self.transmitter.pointing_loss_db,
            "jitter_urad": self.transmitter.pointing_jitter_urad,
        }

    @abstractmethod
    def _transmittance(self) -> NDArray[np.float64]:
        """In the middle of each step of `FREE_SPACE_STEP_S`, shape (steps,)."""

    def steps(self, duration_s: float = np.inf) -> ChannelSteps:
        transmittance = self._transmittance()
        count = int(min(duration_s / FREE_SPACE_STEP_S, transmittance.size))
        return ChannelSteps(np.full(count, FREE_SPACE_STEP_S), transmittance[:count])


@dataclass(frozen=True)
class _PassChannel(_FreeSpaceChannel):
    """The air under a satellite during one pass, as far as ``maximum_range_km``."""

    satellite_pass: SatellitePass
    zenith_extinction_db: float
    maximum_range_km: float = 40000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_within("zenith_extinction_db", self.zenith_extinction_db, 0.0, 30.0)

    @cached_property
    def _track(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Range [km] and elevation [deg] in the steps within reach."""
        _, look = self.satellite_pass.track(FREE_SPACE_STEP_S)
        reached = look.range_km <= self.maximum_range_km
        return look.range_km[reached], look.elevation_deg[reached]

    @property
    def length_km(self) -> float:
        return self.satellite_pass.closest_km


@dataclass(frozen=True)
class DownlinkChannel(_PassChannel):
    """From a satellite to a station during one pass.

    ``beam`` is the convention in which the divergence is counted, see `tiandi.physics.beam`. Raises InputError when a data sheet lacks
    what it needs.
    """

    beam: BeamShape = "top-hat"

    def _transmittance(self) -> NDArray[np.float64]:
        return downlink_transmittance(*self._track, zenith_extinction_db=self.zenith_extinction_db, beam=self.beam, **self._optics)


@dataclass(frozen=True)
class UplinkChannel(_PassChannel):
    """From a station to a satellite during one pass: the beam is spread by the turbulence that it meets first.

    The divergence is that without turbulence. Raises InputError when a data sheet lacks what it needs.
    """

    wavelength_nm: float = 850.0
    air: TurbulenceProfile = HUFNAGEL_VALLEY_57
    beam: BeamShape = "gaussian"

    def _transmittance(self) -> NDArray[np.float64]:
        return uplink_transmittance(
            *self._track,
            wavelength_nm=self.wavelength_nm,
            zenith_extinction_db=self.zenith_extinction_db,
            air=self.air,
            beam=self.beam,
            **self._optics,
        )


@dataclass(frozen=True)
class InterSatelliteChannel(_FreeSpaceChannel):
    """From one satellite to another for ``duration_s`` [s] from ``start`` on; dark where the Earth and its air stand between.

    Raises InputError when a data sheet lacks what it needs, and ElementsError when elements are too old for ``start``.
    """

    sender: Elements
    recipient: Elements
    start: datetime
    duration_s: float
    beam: BeamShape = "gaussian"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_within("duration_s", self.duration_s, FREE_SPACE_STEP_S, 1e6)
        for elements in (self.sender, self.recipient):
            elements.require_age(self.start)

    @cached_property
    def _ends(self) -> tuple[Positions, Positions]:
        offsets_s = FREE_SPACE_STEP_S * (np.arange(int(self.duration_s / FREE_SPACE_STEP_S), dtype=np.float64) + 0.5)
        dates = julian_dates(self.start, offsets_s)
        return propagate(self.sender, dates), propagate(self.recipient, dates)

    @property
    def length_km(self) -> float:
        """The shortest range of the time asked for."""
        here, there = self._ends
        return float(np.linalg.norm(here - there, axis=1).min())

    def _transmittance(self) -> NDArray[np.float64]:
        here, there = self._ends
        way = there - here
        range_km = np.linalg.norm(way, axis=1)
        nearest = np.clip(-np.einsum("ij,ij->i", here, way) / range_km**2, 0.0, 1.0)
        clearance_km = np.linalg.norm(here + nearest[:, None] * way, axis=1) - EARTH_EQUATORIAL_RADIUS_KM
        return np.where(clearance_km > TOP_OF_AIR_KM, intersatellite_transmittance(range_km, beam=self.beam, **self._optics), 0.0)
