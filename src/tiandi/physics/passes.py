"""When a satellite can be seen from a station in the dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from tiandi.clock import julian_dates
from tiandi.errors import InputError
from tiandi.physics.orbit import Elements, LookAngles, Station, look_angles, propagate
from tiandi.physics.pass_search import PassRows, PassSearch


@dataclass(frozen=True)
class Visibility:
    """What makes a pass usable. Elevations in degrees; with a sun limit of 90 the sun does not matter."""

    elevation_cutoff_deg: float = 10.0
    culmination_deg: float = 10.0
    sun_elevation_limit_deg: float = 0.0

    def __post_init__(self) -> None:
        for name in ("elevation_cutoff_deg", "culmination_deg"):
            if not 0.0 <= getattr(self, name) < 90.0:
                raise InputError(name, getattr(self, name), "must lie in [0, 90) degrees")
        if not -90.0 <= self.sun_elevation_limit_deg <= 90.0:
            raise InputError("sun_elevation_limit_deg", self.sun_elevation_limit_deg, "must lie in [-90, 90] degrees")


@dataclass(frozen=True)
class SatellitePass:
    """One usable pass: from rising above the cut-off to setting below it."""

    elements: Elements
    station: Station
    start: datetime
    culmination: datetime
    end: datetime
    culmination_deg: float
    closest_km: float
    sun_elevation_deg: float

    @property
    def duration_s(self) -> float:
        return (self.end - self.start).total_seconds()

    def track(self, step_s: float) -> tuple[NDArray[np.float64], LookAngles]:
        """Offsets from the start [s] in the middle of each whole step, shape (n,), and the look angles there."""
        offsets_s = step_s * (np.arange(int(self.duration_s / step_s), dtype=np.float64) + 0.5)
        return offsets_s, look_angles(self.station, propagate(self.elements, julian_dates(self.start, offsets_s)))


@dataclass(frozen=True)
class PassTable:
    """Usable passes of many satellites over many stations, by satellite, station and time.

    ``rows`` is a structured array of `tiandi.physics.pass_search.PASS_ROW`, shape (n,): numbers of ``satellites`` and ``stations``,
    ``start_s``, ``culmination_s`` and ``end_s`` in seconds after ``origin``, ``culmination_deg``, ``closest_km``, ``sun_elevation_deg``.
    """

    satellites: tuple[Elements, ...]
    stations: tuple[Station, ...]
    origin: datetime
    rows: PassRows

    def __len__(self) -> int:
        return self.rows.size

    def passes(self) -> list[SatellitePass]:
        """Each row as a `SatellitePass`."""
        return [
            SatellitePass(
                elements=self.satellites[row["satellite"]],
                station=self.stations[row["station"]],
                start=self._moment(row["start_s"]),
                culmination=self._moment(row["culmination_s"]),
                end=self._moment(row["end_s"]),
                culmination_deg=float(row["culmination_deg"]),
                closest_km=float(row["closest_km"]),
                sun_elevation_deg=float(row["sun_elevation_deg"]),
            )
            for row in self.rows
        ]

    def _moment(self, offset_s: float) -> datetime:
        return self.origin + timedelta(seconds=float(offset_s))


def tabulate_passes(
    satellites: Sequence[Elements], stations: Sequence[Station], *, start: datetime, end: datetime, visibility: Visibility
) -> PassTable:
    """Usable passes of every satellite over every station whose highest point lies in [``start``, ``end``].

    Each satellite is propagated once for all stations; memory grows with the passes found, not with the window. A satellite that
    never sets has no pass. Raises InputError when the window is empty or there is nothing to look for, and ElementsError when elements
    are too old for it.
    """
    for field, value in (("satellites", satellites), ("stations", stations)):
        if not value:
            raise InputError(field, list(value), "must name at least one")
    if end <= start:
        raise InputError("to", end.isoformat(), f"must be later than from = {start.isoformat()}")
    found = []
    for number, elements in enumerate(satellites):
        elements.require_age(start)
        elements.require_age(end)
        rows = PassSearch(elements, stations, start).passes(
            (end - start).total_seconds(),
            visibility.elevation_cutoff_deg,
            culmination_deg=visibility.culmination_deg,
            sun_elevation_limit_deg=visibility.sun_elevation_limit_deg,
        )
        rows["satellite"] = number
        found.append(rows)
    return PassTable(tuple(satellites), tuple(stations), start, np.concatenate(found))


def find_passes(elements: Elements, station: Station, *, start: datetime, end: datetime, visibility: Visibility) -> list[SatellitePass]:
    """Usable passes whose highest point lies in [``start``, ``end``], in order of time.

    Raises InputError when the window is empty and ElementsError when the elements are too old for it.
    """
    return tabulate_passes([elements], [station], start=start, end=end, visibility=visibility).passes()
