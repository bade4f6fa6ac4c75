"""Orbits by design: one from its six elements, a sun-synchronous one, and Walker constellations of circular ones."""

from __future__ import annotations

from datetime import UTC, datetime
from math import acos, cos, degrees, inf, pi, radians, sqrt
from typing import Literal

from sgp4.earth_gravity import wgs72

from tiandi.constants import EARTH_EQUATORIAL_RADIUS_KM, SECONDS_PER_DAY
from tiandi.errors import InputError
from tiandi.limits import require_within
from tiandi.physics.orbit import Elements

LOWEST_PERIGEE_KM = 120.0
HIGHEST_ALTITUDE_KM = 100_000.0
TROPICAL_YEAR_DAYS = 365.24219
"""Mean tropical year of 2000 [day]: the mean sun's turn about the Earth from equinox to equinox."""


def designed_orbit(
    name: str,
    *,
    epoch: datetime,
    altitude_km: float,
    inclination_deg: float,
    eccentricity: float = 0.0,
    node_deg: float = 0.0,
    argument_of_perigee_deg: float = 0.0,
    mean_anomaly_deg: float = 0.0,
) -> Elements:
    """Elements of an orbit that a satellite keeps to: mean elements of date for SGP4 at ``epoch`` (UTC), without drag, of any age.

    ``altitude_km`` is the mean semi-major axis less the Earth's equatorial radius; SGP4's periodic terms and the flattening of the
    Earth move the height above ground by some tens of kilometres about it. ``node_deg`` is the right ascension of the ascending node.
    In a circular orbit the argument of latitude is the sum of argument of perigee and mean anomaly. Raises InputError on a field out of
    its range or a perigee in the atmosphere.
    """
    require_within("altitude_km", altitude_km, LOWEST_PERIGEE_KM, HIGHEST_ALTITUDE_KM)
    require_within("inclination_deg", inclination_deg, 0.0, 180.0)
    require_within("eccentricity", eccentricity, 0.0, 0.95)
    semi_major_axis_km = EARTH_EQUATORIAL_RADIUS_KM + altitude_km
    perigee_km = semi_major_axis_km * (1.0 - eccentricity) - EARTH_EQUATORIAL_RADIUS_KM
    if perigee_km < LOWEST_PERIGEE_KM:
        raise InputError("eccentricity", eccentricity, f"puts the perigee at {perigee_km:.0f} km, below {LOWEST_PERIGEE_KM:.0f} km")
    return Elements.from_omm(
        {
            "OBJECT_NAME": name,
            "EPOCH": epoch.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f"),
            "MEAN_MOTION": _kozai_mean_motion_per_day(semi_major_axis_km, eccentricity, radians(inclination_deg)),
            "ECCENTRICITY": eccentricity,
            "INCLINATION": inclination_deg,
            "RA_OF_ASC_NODE": node_deg % 360.0,
            "ARG_OF_PERICENTER": argument_of_perigee_deg % 360.0,
            "MEAN_ANOMALY": mean_anomaly_deg % 360.0,
            "BSTAR": 0.0,
        },
        age_limit_days=inf,
    )


def sun_synchronous_inclination_deg(altitude_km: float, eccentricity: float = 0.0) -> float:
    """Inclination [deg] at which the Earth's flattening turns an orbit's plane once a year, after the mean sun.

    From the secular rate of the node due to J2, -3/2 J2 (R/p)^2 n cos(i) (Vallado, Fundamentals of Astrodynamics and Applications,
    recalled); higher terms, left out, change it by some hundredths of a degree. Raises InputError on an altitude out of range, and
    above some 6,000 km, where no inclination does it.
    """
    require_within("altitude_km", altitude_km, LOWEST_PERIGEE_KM, HIGHEST_ALTITUDE_KM)
    require_within("eccentricity", eccentricity, 0.0, 0.95)
    semi_major_axis_km = EARTH_EQUATORIAL_RADIUS_KM + altitude_km
    parameter_km = semi_major_axis_km * (1.0 - eccentricity**2)
    mean_motion_rad_per_s = sqrt(wgs72.mu / semi_major_axis_km**3)
    sun_rad_per_s = 2 * pi / (TROPICAL_YEAR_DAYS * SECONDS_PER_DAY)
    cosine = -sun_rad_per_s / (1.5 * wgs72.j2 * (wgs72.radiusearthkm / parameter_km) ** 2 * mean_motion_rad_per_s)
    if cosine < -1.0:
        raise InputError("altitude_km", altitude_km, "is too high for a sun-synchronous orbit of this eccentricity")
    return degrees(acos(cosine))


def walker_constellation(
    total: int,
    planes: int,
    phasing: int,
    *,
    altitude_km: float,
    inclination_deg: float,
    epoch: datetime,
    pattern: Literal["delta", "star"] = "delta",
    first_node_deg: float = 0.0,
    name: str = "Walker",
) -> list[Elements]:
    """Elements of the ``total`` satellites of a Walker constellation T/P/F in circular orbits, plane by plane, "Walker 1-1" first.

    T/P satellites stand evenly in each of P planes, and each plane's are F * 360 / T degrees ahead of those of the plane to its west.
    The nodes of a delta pattern lie evenly on the whole equator, those of a star pattern on half of it (Walker 1984, Satellite
    constellations, J. Brit. Interplanet. Soc. 37, 559, recalled). Raises InputError on a pattern that does not come out even.
    """
    if not (0 < planes <= total and total % planes == 0):
        raise InputError("planes", planes, f"must divide total = {total}")
    if not 0 <= phasing < planes:
        raise InputError("phasing", phasing, f"must lie in [0, {planes - 1}]")
    if pattern not in ("delta", "star"):
        raise InputError("pattern", pattern, "must be 'delta' or 'star'")
    node_step_deg = (360.0 if pattern == "delta" else 180.0) / planes
    slots = total // planes
    return [
        designed_orbit(
            f"{name} {plane + 1}-{slot + 1}",
            epoch=epoch,
            altitude_km=altitude_km,
            inclination_deg=inclination_deg,
            node_deg=first_node_deg + plane * node_step_deg,
            mean_anomaly_deg=slot * 360.0 / slots + plane * phasing * 360.0 / total,
        )
        for plane in range(planes)
        for slot in range(slots)
    ]


def _kozai_mean_motion_per_day(semi_major_axis_km: float, eccentricity: float, inclination_rad: float) -> float:
    """Revolutions per day that SGP4 takes for this mean semi-major axis: it first takes from them what J2 adds (Hoots, Roehrich 1980)."""
    radius = semi_major_axis_km / wgs72.radiusearthkm
    share = 0.75 * wgs72.j2 * (3 * cos(inclination_rad) ** 2 - 1) / (1 - eccentricity**2) ** 1.5 / radius**2
    per_minute = wgs72.xke / radius**1.5 * (1 + share)
    return per_minute * 1440.0 / (2 * pi)
