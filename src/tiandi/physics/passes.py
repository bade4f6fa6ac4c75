"""When a satellite can be seen from a station in the dark."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar

from tiandi.clock import julian_dates
from tiandi.errors import InputError
from tiandi.physics.orbit import Elements, LookAngles, Station, look_angles, propagate
from tiandi.physics.sun import sun_elevation_deg

SEARCH_STEP_S = 20.0
"""A pass of a satellite in low orbit above 10 degrees lasts minutes; one shorter than this step may be missed."""
EDGE_PRECISION_S = 1e-3


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
        return offsets_s, _look(self.elements, self.station, self.start, offsets_s)


def find_passes(elements: Elements, station: Station, *, start: datetime, end: datetime, visibility: Visibility) -> list[SatellitePass]:
    """Usable passes whose highest point lies in [``start``, ``end``], in order of time.

    Raises InputError when the window is empty and ElementsError when the elements are too old for it.
    """
    if end <= start:
        raise InputError("to", end.isoformat(), f"must be later than from = {start.isoformat()}")
    elements.require_age(start)
    elements.require_age(end)
    margin_s = 1200.0  # Half a pass of a satellite in low orbit, and more: a pass under way at the edge is found whole.
    origin = start - timedelta(seconds=margin_s)
    offsets_s = np.arange(0.0, (end - start).total_seconds() + 2 * margin_s, SEARCH_STEP_S)
    above = np.concatenate([[False], _look(elements, station, origin, offsets_s).elevation_deg > visibility.elevation_cutoff_deg, [False]])
    edges = np.flatnonzero(above[1:] != above[:-1])
    candidates = (
        _refine(elements, station, origin, (offsets_s[rise - 1], offsets_s[set_]), visibility)
        for rise, set_ in zip(edges[::2], edges[1::2], strict=True)
        if rise > 0 and set_ < offsets_s.size
    )
    return [found for found in candidates if found is not None and start <= found.culmination <= end]


def _look(elements: Elements, station: Station, origin: datetime, offsets_s: NDArray[np.float64]) -> LookAngles:
    return look_angles(station, propagate(elements, julian_dates(origin, offsets_s)))


def _refine(
    elements: Elements, station: Station, origin: datetime, around_s: tuple[float, float], visibility: Visibility
) -> SatellitePass | None:
    """The pass between two moments below the cut-off, or None when it is too low or too bright."""
    before_s, after_s = around_s

    def elevation_deg(offset_s: float) -> float:
        return float(_look(elements, station, origin, np.array([offset_s])).elevation_deg[0])

    def range_km(offset_s: float) -> float:
        return float(_look(elements, station, origin, np.array([offset_s])).range_km[0])

    def above_cutoff_deg(offset_s: float) -> float:
        return elevation_deg(offset_s) - visibility.elevation_cutoff_deg

    top = minimize_scalar(
        lambda offset_s: -elevation_deg(offset_s), bounds=(before_s, after_s), method="bounded", options={"xatol": EDGE_PRECISION_S}
    )
    sun_deg = float(sun_elevation_deg(station, julian_dates(origin, [top.x]))[0])
    if -top.fun < visibility.culmination_deg or sun_deg > visibility.sun_elevation_limit_deg:
        return None
    nearest = minimize_scalar(range_km, bounds=(before_s, after_s), method="bounded", options={"xatol": EDGE_PRECISION_S})
    rise_s = brentq(above_cutoff_deg, before_s, top.x, xtol=EDGE_PRECISION_S)
    set_s = brentq(above_cutoff_deg, top.x, after_s, xtol=EDGE_PRECISION_S)
    return SatellitePass(
        elements=elements,
        station=station,
        start=origin + timedelta(seconds=rise_s),
        culmination=origin + timedelta(seconds=float(top.x)),
        end=origin + timedelta(seconds=set_s),
        culmination_deg=float(-top.fun),
        closest_km=float(nearest.fun),
        sun_elevation_deg=sun_deg,
    )
