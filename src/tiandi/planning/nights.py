"""Nights of a station through the year: how long they are dark, what the moon does in them, and what share of a month is dark and clear."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from tiandi.clock import julian_dates
from tiandi.constants import SECONDS_PER_DAY
from tiandi.limits import require_within
from tiandi.physics.moon import moon_elevation_deg, moon_illuminated_fraction
from tiandi.physics.orbit import Station
from tiandi.physics.sun import sun_elevation_deg
from tiandi.planning.climates import MONTHS, Climate

FloatArray = NDArray[np.float64]

STEP_S = 300.0
"""Between steps the elevations of sun and moon are straight lines, to 0.004 degree."""
HOURS_PER_DAY = 24.0
DEGREES_PER_HOUR = 15.0
LONGEST_TABLE_DAYS = 366 * 20


@dataclass(frozen=True)
class Nights:
    """Nights of one station, each from local mean noon to the next, arrays of shape (n,) in order of time.

    ``date`` is the day at whose local noon the night's span begins, ``dark_h`` the time [h] with the sun below the limit, ``moonless_h``
    the part of it with the moon down too. ``moon_illuminated`` (0 new, 1 full) is at local midnight, ``moon_highest_deg`` the
    moon's greatest elevation while it is dark; nan in a span without darkness. Refraction is left out: give it with the sun's limit
    (-0.833 for the upper limb at the horizon).
    """

    date: NDArray[np.datetime64]
    dark_h: FloatArray
    moonless_h: FloatArray
    moon_illuminated: FloatArray
    moon_highest_deg: FloatArray


def tabulate_nights(station: Station, *, start: datetime, days: int, sun_limit_deg: float = -6.0) -> Nights:
    """The nights of ``days`` days from that of ``start`` (UTC) on, dark while the sun's centre is below ``sun_limit_deg`` [deg].

    The sun stands to 0.01 degree, the moon to a third of a degree, so that ``dark_h`` is good to half a minute at temperate latitudes and
    ``moonless_h`` to some minutes. Raises InputError on a limit beyond 90 degrees and on no days or more than twenty years of them.
    """
    require_within("sun_limit_deg", sun_limit_deg, -90.0, 90.0)
    require_within("days", days, 1, LONGEST_TABLE_DAYS)
    day = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    noon = day + timedelta(hours=12.0 - station.longitude_deg / DEGREES_PER_HOUR)
    steps = int(SECONDS_PER_DAY / STEP_S)
    moments = julian_dates(noon, STEP_S * np.arange(days * steps + 1, dtype=np.float64))
    depth_deg, height_deg = sun_limit_deg - sun_elevation_deg(station, moments), moon_elevation_deg(station, moments)

    dark = _positive_share(depth_deg).reshape(days, steps)
    # Where the moon crosses the horizon in a step that darkness begins or ends in too, the shorter of both counts.
    moonless = np.minimum(dark, _positive_share(-height_deg).reshape(days, steps))
    highest_deg = np.where(depth_deg[:-1] >= 0.0, height_deg[:-1], -np.inf).reshape(days, steps).max(axis=1)
    return Nights(
        date=np.datetime64(day.date()) + np.arange(days),
        dark_h=dark.mean(axis=1) * HOURS_PER_DAY,
        moonless_h=moonless.mean(axis=1) * HOURS_PER_DAY,
        moon_illuminated=moon_illuminated_fraction(moments[steps // 2 :: steps]),
        moon_highest_deg=np.where(np.isfinite(highest_deg), highest_deg, np.nan),
    )


def monthly_availability(station: Station, climate: Climate, *, year: int, sun_limit_deg: float = -6.0) -> FloatArray:
    """Share of each month's time that is dark and clear, shape (12,), by the climate's mean: clouds are taken to be as many by night.

    Raises InputError on a year outside 1950 to 2100, for which the sun's formulas are made, and as `tabulate_nights` does.
    """
    require_within("year", year, 1950, 2100)
    days = (datetime(year + 1, 1, 1) - datetime(year, 1, 1)).days
    nights = tabulate_nights(station, start=datetime(year, 1, 1, tzinfo=UTC), days=days, sun_limit_deg=sun_limit_deg)
    month = nights.date.astype("datetime64[M]").astype(int) % MONTHS
    dark = np.bincount(month, nights.dark_h, MONTHS) / (np.bincount(month, minlength=MONTHS) * HOURS_PER_DAY)
    return np.asarray(dark * (1.0 - np.array(climate.cloud_fraction)))


def _positive_share(values: FloatArray) -> FloatArray:
    """Share of each step between neighbours, shape (n - 1,), in which the straight line between them is above 0."""
    first, second = values[:-1], values[1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        crossing = np.maximum(first, second) / np.abs(second - first)
    return np.where((first > 0.0) == (second > 0.0), (first > 0.0).astype(np.float64), crossing)
