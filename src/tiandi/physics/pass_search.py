"""Every pass of one satellite over many stations: SGP4 once a step for all of them, then loops over a smooth way between the steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sgp4.earth_gravity import wgs72

from tiandi.clock import julian_dates
from tiandi.physics import pass_kernels
from tiandi.physics.orbit import EARTH_ROTATION_RATE_RAD_PER_S, Elements, Positions, Station, propagate_with_velocities
from tiandi.physics.sun import sun_positions

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
PassRows = NDArray[np.void]

PASS_ROW = np.dtype(
    [
        ("satellite", np.int64),
        ("station", np.int64),
        ("start_s", np.float64),
        ("culmination_s", np.float64),
        ("end_s", np.float64),
        ("culmination_deg", np.float64),
        ("closest_km", np.float64),
        ("sun_elevation_deg", np.float64),
    ]
)
"""One pass: satellite and station by number, times in seconds after the search's origin."""

STEPS_PER_REVOLUTION = 48
"""A satellite turns by at most 7.5 degrees about the Earth's centre in a step, and culminates at most once in two."""
STEPS_PER_CHUNK = 1 << 14
"""Steps whose positions are held at a time: three weeks of a low orbit, 1 MB."""


class Places:
    """Stations by number: ``rows`` (n, 6) hold each one's Earth-fixed position [km] and its unit vector up."""

    def __init__(self, stations: Sequence[Station]) -> None:
        self.rows: Floats = np.array([[*station.position_km(), *station.horizon_axes()[2]] for station in stations]).reshape(-1, 6)

    def sine(self, positions: Positions, station: Indices) -> Floats:
        """Sine of the elevation of each Earth-fixed position [km] from the station of that number, shape (n,)."""
        away = positions - self.rows[station, :3]
        return np.asarray(_dot(self.rows[station, 3:], away) / np.sqrt(_dot(away, away)))


@dataclass(frozen=True)
class Way:
    """A stretch of a satellite's way: its motion at even steps, as `tiandi.physics.pass_kernels` explains, and the stations below it."""

    states: Floats
    grid_s: Floats
    places: Places

    def look(self, station: Indices, times_s: Floats) -> tuple[Floats, Floats]:
        """Sine of the elevation and range [km] from station[k] at times_s[k, :] [s], two arrays of that shape."""
        sine, range_km = pass_kernels.look((self.states, self.grid_s), self.places.rows, station, times_s)
        return sine, range_km

    def within_reach(self, rows: PassRows, maximum_range_km: Floats) -> Floats:
        """First and last moment [s] of each pass within its ``maximum_range_km`` (n,), shape (n, 2); not a number where it never is."""
        passes_s = np.stack([rows["start_s"], rows["culmination_s"], rows["end_s"]], axis=1)
        reached: Floats = pass_kernels.reach(
            (self.states, self.grid_s), self.places.rows, np.ascontiguousarray(rows["station"]), passes_s, maximum_range_km
        )
        return reached


class PassSearch:
    """One satellite and the stations that look for it; times are offsets [s] from ``origin``, stations go by number."""

    def __init__(self, elements: Elements, stations: Sequence[Station], origin: datetime) -> None:
        self._elements, self._origin = elements, origin
        self._places = Places(stations)
        eccentricity = elements.satellite.ecco
        turning_at_perigee = (1.0 + eccentricity) ** 2 / (1.0 - eccentricity**2) ** 1.5
        self._step_s = elements.period_s / (STEPS_PER_REVOLUTION * turning_at_perigee)
        self._margin = int(np.ceil(elements.period_s / self._step_s)) + 1

    def passes(
        self, end_s: float, cutoff_deg: ArrayLike, *, culmination_deg: ArrayLike = 0.0, sun_elevation_limit_deg: ArrayLike = 90.0
    ) -> PassRows:
        """Passes above ``cutoff_deg`` that culminate in [0, ``end_s``], as rows of `PASS_ROW` by station and time.

        They culminate at ``culmination_deg`` or higher while the sun is no higher than its limit; each of the three limits is one number or
        one a station. Left out are satellites that stand still: a pass must rise and set within a revolution of its culmination.
        """
        chunks = self.chunks(end_s, cutoff_deg, culmination_deg=culmination_deg, sun_elevation_limit_deg=sun_elevation_limit_deg)
        rows = np.concatenate([rows for _, rows in chunks])
        return rows[np.lexsort((rows["culmination_s"], rows["station"]))]

    def chunks(
        self, end_s: float, cutoff_deg: ArrayLike, *, culmination_deg: ArrayLike, sun_elevation_limit_deg: ArrayLike
    ) -> Iterator[tuple[Way, PassRows]]:
        """The same passes, some weeks at a time, with the stretch of the way in which they lie."""
        cutoffs, lowest_deg, sun_limit_deg = (
            np.broadcast_to(np.asarray(limit, float), len(self._places.rows)).copy()
            for limit in (cutoff_deg, culmination_deg, sun_elevation_limit_deg)
        )
        cutoffs = np.sin(np.radians(cutoffs))
        last = int(np.floor(end_s / self._step_s)) + 1
        for first in range(0, last, STEPS_PER_CHUNK):
            way = self._way(first - self._margin, min(first + STEPS_PER_CHUNK, last) + self._margin)
            until_s = (first + STEPS_PER_CHUNK) * self._step_s if first + STEPS_PER_CHUNK < last else np.nextafter(end_s, np.inf)
            station, found = self._culminations(way, cutoffs, np.array([first * self._step_s, until_s]))
            # Most passes fall away here, before it is worked out when they rise and set.
            sun = sun_positions(julian_dates(self._origin, found[:, 1]))
            sun_deg = np.degrees(np.arcsin(self._places.sine(sun, station)))
            top_deg = np.degrees(np.arcsin(np.minimum(found[:, 2], 1.0)))
            usable = (sun_deg <= sun_limit_deg[station]) & (top_deg >= lowest_deg[station])
            station, found = station[usable], found[usable]
            edges = pass_kernels.edges((way.states, way.grid_s), self._places.rows, station, cutoffs, found)
            rows = np.zeros(station.size, PASS_ROW)
            rows["station"], rows["culmination_s"], rows["culmination_deg"] = station, found[:, 1], top_deg[usable]
            rows["start_s"], rows["end_s"], rows["closest_km"] = edges[:, 0], edges[:, 1], edges[:, 3]
            rows["sun_elevation_deg"] = sun_deg[usable]
            yield way, rows

    def _culminations(self, way: Way, cutoffs: Floats, window_s: Floats) -> tuple[Indices, Floats]:
        """Rows of `pass_kernels.culminations` of all stations one after another, and whose they are."""
        buffer = np.empty((way.states.shape[0] // 2 + 2, 4))
        stations, found = [np.empty(0, np.int64)], [buffer[:0]]
        for number, place in enumerate(self._places.rows):
            count = pass_kernels.culminations((way.states, way.grid_s), place, cutoffs[number], window_s, buffer)
            stations.append(np.full(count, number))
            found.append(buffer[:count].copy())
        return np.concatenate(stations), np.concatenate(found)

    def _way(self, first: int, last: int) -> Way:
        """Steps ``first`` to ``last``."""
        offsets_s = np.arange(first, last + 1, dtype=np.float64) * self._step_s
        positions, velocities = propagate_with_velocities(self._elements, julian_dates(self._origin, offsets_s))
        states = np.concatenate([positions, velocities, _acceleration(positions, velocities)], axis=1)
        return Way(states, np.array([offsets_s[0], self._step_s]), self._places)


def _dot(left: Positions, right: Positions) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", left, right))


def _acceleration(positions: Positions, velocities: Positions) -> Positions:
    """Acceleration in the turning frame [km/s^2] about a flattened Earth (J2; Montenbruck, Gill 2000, section 3.2, recalled)."""
    turning = EARTH_ROTATION_RATE_RAD_PER_S
    square = _dot(positions, positions)
    flattening = 1.5 * wgs72.j2 * wgs72.radiusearthkm**2 / square
    height = 5.0 * positions[:, 2] ** 2 / square
    inward = np.stack([1.0 + flattening * (1.0 - height), 1.0 + flattening * (1.0 - height), 1.0 + flattening * (3.0 - height)], axis=1)
    acceleration = -wgs72.mu / (square**1.5)[:, None] * positions * inward
    acceleration[:, 0] += 2 * turning * velocities[:, 1] + turning**2 * positions[:, 0]
    acceleration[:, 1] += -2 * turning * velocities[:, 0] + turning**2 * positions[:, 1]
    return np.asarray(acceleration)
