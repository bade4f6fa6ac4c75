"""Every pass of one satellite over many stations: a coarse scan for culminations, then all of them refined at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sgp4.earth_gravity import wgs72

from tiandi.clock import julian_dates
from tiandi.physics.orbit import EARTH_ROTATION_RATE_RAD_PER_S, Elements, Positions, Station, propagate, propagate_with_velocities
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
LOW_SINE = -0.02
"""The coarse step nearest to a culmination above the horizon stands higher than this sine of elevation: -0.011 at 120 km altitude."""
CELLS_PER_CHUNK = 1 << 18
"""Steps times stations looked at together: 2 MB an array."""
PRECISION_S = 1e-3
ROUND_LIMIT = 50


class Sight(NamedTuple):
    """A satellite seen from stations, one of each per row, in the Earth-fixed frame: where is up, how far away, and how it moves."""

    up: Positions
    away_km: Positions
    velocity_km_per_s: Positions
    acceleration_km_per_s2: Positions


class PassSearch:
    """One satellite and the stations that look for it; times are offsets [s] from ``origin``, stations go by number."""

    def __init__(self, elements: Elements, stations: Sequence[Station], origin: datetime) -> None:
        self._elements, self._origin = elements, origin
        self._sites_km = np.array([station.position_km() for station in stations])
        self._ups = np.array([station.horizon_axes()[2] for station in stations])
        eccentricity = elements.satellite.ecco
        turning_at_perigee = (1.0 + eccentricity) ** 2 / (1.0 - eccentricity**2) ** 1.5
        self._step_s = elements.period_s / (STEPS_PER_REVOLUTION * turning_at_perigee)
        self._margin = int(np.ceil(elements.period_s / self._step_s))

    def passes(self, end_s: float, cutoff_deg: float) -> PassRows:
        """Passes above ``cutoff_deg`` that culminate in [0, ``end_s``], as rows of `PASS_ROW` by station and time.

        Left out are satellites that stand still: a pass must rise and set within a revolution of its culmination.
        """
        cutoff = float(np.sin(np.radians(cutoff_deg)))
        station, before_s, middle_s, after_s = self._candidates(end_s, cutoff)
        top_s = self._zeros(_culminating, middle_s, (middle_s - self._step_s, middle_s + self._step_s), station, rising=False)
        high = self._sine(self._at(top_s), station) > cutoff
        station, before_s, top_s, after_s = station[high], before_s[high], top_s[high], after_s[high]

        def above(sight: Sight) -> tuple[Floats, Floats]:
            return _above(sight, cutoff)

        rows = np.zeros(top_s.size, PASS_ROW)
        rows["station"], rows["culmination_s"] = station, top_s
        rows["start_s"] = self._zeros(above, before_s + 0.5 * self._step_s, (before_s, top_s), station, rising=True)
        rows["end_s"] = self._zeros(above, after_s - 0.5 * self._step_s, (top_s, after_s), station, rising=False)
        rows["culmination_deg"] = np.degrees(np.arcsin(self._sine(self._at(top_s), station)))
        rows = _highest_of_each_pass(rows)
        rows = rows[(rows["culmination_s"] >= 0.0) & (rows["culmination_s"] <= end_s)]
        station, top_s = rows["station"], rows["culmination_s"]
        nearest_s = self._zeros(_approaching, top_s, (rows["start_s"], rows["end_s"]), station, rising=True)
        rows["closest_km"] = np.linalg.norm(self._at(nearest_s) - self._sites_km[station], axis=1)
        rows["sun_elevation_deg"] = np.degrees(np.arcsin(self._sine(sun_positions(self._dates(top_s)), station)))
        return rows

    def _candidates(self, end_s: float, cutoff: float) -> tuple[Indices, Floats, Floats, Floats]:
        """Steps at which a satellite stands highest: station, last step below the cut-off, the highest, first step below it."""
        first, last = -self._margin, int(np.ceil(end_s / self._step_s)) + self._margin
        size = max(STEPS_PER_REVOLUTION, CELLS_PER_CHUNK // len(self._sites_km))
        found = [self._scan(start, min(start + size, last), cutoff) for start in range(first, last, size)]
        station, before, middle, after = (np.concatenate(column) for column in zip(*found, strict=True))
        return station, before * self._step_s, middle * self._step_s, after * self._step_s

    def _scan(self, first: int, last: int, cutoff: float) -> tuple[Indices, Indices, Indices, Indices]:
        """Candidates in steps [first, last), looking a revolution beyond for where they rise and set."""
        steps = np.arange(first - self._margin, last + self._margin, dtype=np.int64)
        sine = self._sine_everywhere(self._at(steps * self._step_s))
        inner = sine[:, self._margin : -self._margin]
        earlier, later = sine[:, self._margin - 1 : -self._margin - 1], sine[:, self._margin + 1 : steps.size - self._margin + 1]
        station, index = np.nonzero((inner > earlier) & (inner >= later) & (inner > LOW_SINE))
        index += self._margin
        numbers = np.arange(steps.size, dtype=np.int64)
        below = sine <= cutoff
        last_below = np.maximum.accumulate(np.where(below, numbers, -1), axis=1)[station, index - 1]
        first_below = np.minimum.accumulate(np.where(below, numbers, steps.size)[:, ::-1], axis=1)[:, ::-1][station, index + 1]
        whole = (last_below >= 0) & (first_below < steps.size)
        return station[whole], steps[last_below[whole]], steps[index[whole]], steps[first_below[whole]]

    def _sine_everywhere(self, positions: Positions) -> Floats:
        """Sine of the elevation of each position from each station, shape (stations, n)."""
        height_km = self._ups @ positions.T - _dot(self._ups, self._sites_km)[:, None]
        square = _dot(self._sites_km, self._sites_km)[:, None] + _dot(positions, positions) - 2.0 * (self._sites_km @ positions.T)
        return np.asarray(height_km / np.sqrt(square))

    def _sine(self, positions: Positions, station: Indices) -> Floats:
        """Sine of the elevation of each position from the station of that number, shape (n,)."""
        away = positions - self._sites_km[station]
        return np.asarray(_dot(self._ups[station], away) / np.sqrt(_dot(away, away)))

    def _dates(self, offsets_s: Floats) -> Floats:
        return julian_dates(self._origin, offsets_s)

    def _at(self, offsets_s: Floats) -> Positions:
        return propagate(self._elements, self._dates(offsets_s))

    def _sight(self, offsets_s: Floats, station: Indices) -> Sight:
        positions, velocities = propagate_with_velocities(self._elements, self._dates(offsets_s))
        return Sight(self._ups[station], positions - self._sites_km[station], velocities, _acceleration(positions, velocities))

    def _zeros(
        self,
        function: Callable[[Sight], tuple[Floats, Floats]],
        guess_s: Floats,
        bracket_s: tuple[Floats, Floats],
        station: Indices,
        *,
        rising: bool,
    ) -> Floats:
        """Where ``function``, which gives value and rate, passes zero in each bracket: Newton's steps, halving where one leads out.

        It goes from below to above zero when ``rising``, else from above to below; where it does neither, the answer is an end.
        """
        offsets_s, low_s, high_s = guess_s.copy(), bracket_s[0].copy(), bracket_s[1].copy()
        active = np.arange(guess_s.size)
        for _ in range(ROUND_LIMIT):
            if active.size == 0:
                break
            here_s = offsets_s[active]
            value, rate = function(self._sight(here_s, station[active]))
            early = (value < 0.0) == rising
            low_s[active] = np.where(early, here_s, low_s[active])
            high_s[active] = np.where(early, high_s[active], here_s)
            newton_s = here_s - value / np.where(rate == 0.0, np.inf, rate)
            inside = (low_s[active] <= newton_s) & (newton_s <= high_s[active])
            offsets_s[active] = np.where(inside, newton_s, 0.5 * (low_s[active] + high_s[active]))
            active = active[np.abs(offsets_s[active] - here_s) > PRECISION_S]
        return offsets_s


def _dot(left: Positions, right: Positions) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", left, right))


def _acceleration(positions: Positions, velocities: Positions) -> Positions:
    """Acceleration in the turning frame [km/s^2] about a round Earth: good to a part in 1,000, which is enough to aim Newton's steps."""
    turning = EARTH_ROTATION_RATE_RAD_PER_S
    acceleration = -wgs72.mu * positions / (_dot(positions, positions) ** 1.5)[:, None]
    acceleration[:, 0] += 2 * turning * velocities[:, 1] + turning**2 * positions[:, 0]
    acceleration[:, 1] += -2 * turning * velocities[:, 0] + turning**2 * positions[:, 1]
    return np.asarray(acceleration)


def _above(sight: Sight, cutoff: float) -> tuple[Floats, Floats]:
    """Sine of the elevation less ``cutoff``, and its rate."""
    up, away, velocity, _ = sight
    square = _dot(away, away)
    sine = _dot(up, away) / np.sqrt(square)
    return sine - cutoff, _dot(up, velocity) / np.sqrt(square) - sine * _dot(away, velocity) / square


def _culminating(sight: Sight) -> tuple[Floats, Floats]:
    """Rate of the sine of the elevation times the range, and its own rate."""
    up, away, velocity, acceleration = sight
    square, height, climb, drift = _dot(away, away), _dot(up, away), _dot(up, velocity), _dot(away, velocity)
    drift_rate = _dot(velocity, velocity) + _dot(away, acceleration)
    value = climb - height * drift / square
    return value, _dot(up, acceleration) - (climb * drift + height * drift_rate - 2.0 * height * drift**2 / square) / square


def _approaching(sight: Sight) -> tuple[Floats, Floats]:
    """Rate of half the square of the range, and its own rate."""
    _, away, velocity, acceleration = sight
    return _dot(away, velocity), _dot(velocity, velocity) + _dot(away, acceleration)


def _highest_of_each_pass(rows: PassRows) -> PassRows:
    """One row a pass, by station and time; a pass that culminates twice, or was met in two chunks, has several rows at first."""
    rows = rows[np.lexsort((rows["start_s"], rows["station"]))]
    fresh = (rows["station"][1:] != rows["station"][:-1]) | (rows["start_s"][1:] > rows["end_s"][:-1])
    number = np.concatenate([[0], np.cumsum(fresh)])[: rows.size]
    rows = rows[np.lexsort((rows["culmination_deg"], number))]
    return rows[np.flatnonzero(np.diff(number, append=-1))]
