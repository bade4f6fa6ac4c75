"""Where a satellite is: SGP4 from mean elements, turned into the Earth-fixed frame and seen from a station."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sgp4.api import Satrec
from sgp4.io import compute_checksum, fix_checksum

from tiandi.clock import format_utc, julian_date
from tiandi.constants import (
    DAYS_PER_JULIAN_CENTURY,
    EARTH_EQUATORIAL_RADIUS_KM,
    EARTH_FLATTENING,
    JULIAN_DATE_J2000,
    SECONDS_PER_DAY,
)
from tiandi.errors import ElementsError, InputError
from tiandi.physics.omm import satellite_from_omm
from tiandi.units import METRE_PER_KILOMETRE

Positions = NDArray[np.float64]
"""Positions [km], shape (n, 3)."""

Velocities = NDArray[np.float64]
"""Velocities [km/s], shape (n, 3)."""

SECONDS_PER_MINUTE = 60.0
ELEMENTS_LINE_LENGTH = 69
ELEMENTS_AGE_LIMIT_DAYS = 30.0
"""SGP4 from elements this old is off by some tens of kilometres along the track in a low orbit; beyond, the time of a pass is a guess."""
EARTH_ROTATION_RATE_RAD_PER_S = 2 * np.pi * 1.002737909350795 / SECONDS_PER_DAY
"""Sidereal turns per day, the rate of `greenwich_mean_sidereal_angle_rad`."""


@dataclass(frozen=True, init=False)
class Elements:
    """Mean elements of one satellite, checked when made: from two lines, or by `from_omm`. Raises ElementsError on a bad line or field.

    ``source`` is what they were made from: the two lines, or an OMM's fields as "KEYWORD = value". ``age_limit_days`` is how far from
    their epoch they are believed; elements of an orbit that was designed, not observed, have no limit.
    """

    name: str
    source: tuple[str, ...]
    age_limit_days: float
    satellite: Satrec = field(repr=False, compare=False)

    def __init__(self, name: str, line1: str, line2: str) -> None:
        for number, line in (("1", line1), ("2", line2)):
            where = f"elements of {name}, line {number}"
            if len(line) != ELEMENTS_LINE_LENGTH or not line.startswith(number + " "):
                raise ElementsError(where, line, f"must start with '{number} ' and be {ELEMENTS_LINE_LENGTH} characters long")
            if str(compute_checksum(line)) != line[-1]:
                raise ElementsError(where, line, f"checksum must be {fix_checksum(line)[-1]}, not {line[-1]}")
        self._fill(name, (line1, line2), ELEMENTS_AGE_LIMIT_DAYS, Satrec.twoline2rv(line1, line2))

    @classmethod
    def from_omm(cls, message: Mapping[str, object], *, age_limit_days: float = ELEMENTS_AGE_LIMIT_DAYS) -> Elements:
        """Elements from the fields of an Orbit Mean-Elements Message (CCSDS 502.0-B-3), one of `tiandi.physics.omm.parse_omm`.

        Raises ElementsError naming the field that is missing or cannot stand.
        """
        satellite = satellite_from_omm(message)
        elements = cls.__new__(cls)
        source = tuple(f"{keyword} = {value}" for keyword, value in message.items())
        elements._fill(str(message["OBJECT_NAME"]), source, age_limit_days, satellite)
        return elements

    def __reduce__(self) -> tuple[object, ...]:
        # SGP4's record does not pickle; what it was made from does.
        return _elements_again, (self.name, self.source, self.age_limit_days)

    def _fill(self, name: str, source: tuple[str, ...], age_limit_days: float, satellite: Satrec) -> None:
        for field_name, value in (("name", name), ("source", source), ("age_limit_days", age_limit_days), ("satellite", satellite)):
            object.__setattr__(self, field_name, value)

    @property
    def epoch_julian_date(self) -> float:
        """Epoch (UTC) [day]."""
        return float(self.satellite.jdsatepoch + self.satellite.jdsatepochF)

    @property
    def period_s(self) -> float:
        """Time of one revolution, from perigee to perigee [s]."""
        return float(2 * np.pi / self.satellite.no_kozai * SECONDS_PER_MINUTE)

    def require_age(self, moment: datetime) -> None:
        """Raise ElementsError when ``moment`` is further than ``age_limit_days`` from the epoch."""
        age_days = julian_date(moment) - self.epoch_julian_date
        if abs(age_days) > self.age_limit_days:
            raise ElementsError(
                f"elements of {self.name}, age at {format_utc(moment)}",
                f"{age_days:.1f} days",
                f"must lie within {self.age_limit_days:.0f} days; use elements of that date",
            )


def _elements_again(name: str, source: tuple[str, ...], age_limit_days: float) -> Elements:
    """Elements from the ``source`` of others."""
    if source[0].startswith("1 "):
        return Elements(name, *source)
    return Elements.from_omm(dict(line.split(" = ", 1) for line in source), age_limit_days=age_limit_days)


@dataclass(frozen=True)
class Station:
    """A place on the ground, WGS 84. Raises InputError on coordinates that no place has."""

    name: str
    latitude_deg: float
    longitude_deg: float
    altitude_m: float = 0.0

    def __post_init__(self) -> None:
        for field_name, limit in (("latitude_deg", 90.0), ("longitude_deg", 180.0), ("altitude_m", 9000.0)):
            if not abs(getattr(self, field_name)) <= limit:
                raise InputError(field_name, getattr(self, field_name), f"must lie in [-{limit:g}, {limit:g}]")

    def position_km(self) -> NDArray[np.float64]:
        """Earth-fixed position [km], shape (3,)."""
        latitude_rad, longitude_rad = np.radians(self.latitude_deg), np.radians(self.longitude_deg)
        eccentricity_squared = EARTH_FLATTENING * (2 - EARTH_FLATTENING)
        normal_km = EARTH_EQUATORIAL_RADIUS_KM / np.sqrt(1 - eccentricity_squared * np.sin(latitude_rad) ** 2)
        height_km = self.altitude_m / METRE_PER_KILOMETRE
        axial_km = (normal_km + height_km) * np.cos(latitude_rad)
        return np.array(
            [
                axial_km * np.cos(longitude_rad),
                axial_km * np.sin(longitude_rad),
                (normal_km * (1 - eccentricity_squared) + height_km) * np.sin(latitude_rad),
            ]
        )

    def horizon_axes(self) -> NDArray[np.float64]:
        """Unit vectors east, north and up in the Earth-fixed frame, shape (3, 3)."""
        latitude_rad, longitude_rad = np.radians(self.latitude_deg), np.radians(self.longitude_deg)
        sin_lat, cos_lat, sin_lon, cos_lon = np.sin(latitude_rad), np.cos(latitude_rad), np.sin(longitude_rad), np.cos(longitude_rad)
        return np.array(
            [[-sin_lon, cos_lon, 0.0], [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat], [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]]
        )


@dataclass(frozen=True)
class LookAngles:
    """A satellite seen from a station, arrays of shape (n,)."""

    azimuth_deg: NDArray[np.float64]
    elevation_deg: NDArray[np.float64]
    range_km: NDArray[np.float64]


def greenwich_mean_sidereal_angle_rad(julian_dates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angle between the equinox and Greenwich [rad], IAU 1982 (Vallado, Fundamentals of Astrodynamics, eq. 3-47).

    UTC stands in for UT1: at most 0.9 s, that is 0.4 km at the equator.
    """
    centuries = (julian_dates - JULIAN_DATE_J2000) / DAYS_PER_JULIAN_CENTURY
    seconds = 67310.54841 + (876600.0 * 3600 + 8640184.812866) * centuries + 0.093104 * centuries**2 - 6.2e-6 * centuries**3
    return 2 * np.pi * ((seconds / SECONDS_PER_DAY) % 1.0)


def to_earth_fixed(positions: Positions, julian_dates: NDArray[np.float64]) -> Positions:
    """Turn positions of date, shape (n, 3), about the Earth's axis into the Earth-fixed frame; polar motion (15 m) is left out."""
    angle_rad = greenwich_mean_sidereal_angle_rad(julian_dates)
    cos_angle, sin_angle = np.cos(angle_rad), np.sin(angle_rad)
    x, y, z = positions.T
    return np.stack([cos_angle * x + sin_angle * y, cos_angle * y - sin_angle * x, z], axis=1)


def propagate(elements: Elements, julian_dates: NDArray[np.float64]) -> Positions:
    """Earth-fixed positions [km], shape (n, 3), by SGP4 (Vallado et al. 2006, AIAA 2006-6753).

    Raises ElementsError when SGP4 gives up, for instance because the orbit has decayed.
    """
    return to_earth_fixed(_positions_of_date(elements, julian_dates)[0], julian_dates)


def propagate_with_velocities(elements: Elements, julian_dates: NDArray[np.float64]) -> tuple[Positions, Velocities]:
    """Earth-fixed positions [km] and velocities in that turning frame [km/s], each of shape (n, 3), by SGP4 as `propagate`."""
    positions_of_date, velocities_of_date = _positions_of_date(elements, julian_dates)
    positions = to_earth_fixed(positions_of_date, julian_dates)
    velocities = to_earth_fixed(velocities_of_date, julian_dates)
    velocities[:, 0] += EARTH_ROTATION_RATE_RAD_PER_S * positions[:, 1]
    velocities[:, 1] -= EARTH_ROTATION_RATE_RAD_PER_S * positions[:, 0]
    return positions, velocities


def _positions_of_date(elements: Elements, julian_dates: NDArray[np.float64]) -> tuple[Positions, Velocities]:
    days = np.floor(julian_dates)
    failures, positions, velocities = elements.satellite.sgp4_array(days, julian_dates - days)
    if failures.any():
        raise ElementsError(f"elements of {elements.name}", int(failures.max()), "SGP4 must reach the date (its error codes: 1-6)")
    return positions, velocities


def look_angles(station: Station, positions: Positions) -> LookAngles:
    """Azimuth (from north over east) and elevation [deg] and range [km] of Earth-fixed ``positions``, without refraction."""
    east, north, up = station.horizon_axes() @ (positions - station.position_km()).T
    range_km = np.sqrt(east**2 + north**2 + up**2)
    return LookAngles(
        azimuth_deg=np.degrees(np.arctan2(east, north)) % 360.0, elevation_deg=np.degrees(np.arcsin(up / range_km)), range_km=range_km
    )


def range_rate_km_per_s(station: Station, positions: Positions, velocities: Velocities) -> NDArray[np.float64]:
    """How fast the range from ``station`` grows [km/s], shape (n,), of Earth-fixed ``positions`` and ``velocities``.

    Light of a receding satellite arrives with its frequency lower by this over the speed of light, to first order.
    """
    away = positions - station.position_km()
    return np.asarray(np.einsum("ij,ij->i", away, velocities) / np.linalg.norm(away, axis=1))
