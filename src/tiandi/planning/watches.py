"""When a satellite that stays up for hours, or never sets, can be used from a station: night by night."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from tiandi.clock import julian_dates
from tiandi.physics.orbit import Elements, Station, propagate
from tiandi.physics.pass_search import PASS_ROW, PassRows, Places
from tiandi.physics.passes import Visibility
from tiandi.physics.sun import sun_positions

STEP_S = 60.0
"""Between two looks; where a watch begins and ends is found between them, on a straight line."""


def watches(
    elements: Elements, station: Station, *, start: datetime, end_s: float, visibility: Visibility, maximum_range_km: float
) -> PassRows:
    """Stretches of [0, ``end_s``] seconds after ``start`` in which the satellite is high and near enough and the sun is low enough.

    Rows of `PASS_ROW`. Unlike a pass, a watch may begin or end with the night, the range or the window (at its last whole minute); its
    highest point is what counts against the least culmination, and the highest and nearest are those of its ends and the minutes between.
    """
    offsets_s = np.arange(0.0, end_s, STEP_S)
    dates = julian_dates(start, offsets_s)
    places, here = Places([station]), np.zeros(offsets_s.size, np.int64)
    positions = propagate(elements, dates)
    sine, sun_sine = places.sine(positions, here), places.sine(sun_positions(dates), here)
    range_km = np.linalg.norm(positions - places.rows[0, :3], axis=1)
    cutoff, sun_limit = np.sin(np.radians([visibility.elevation_cutoff_deg, visibility.sun_elevation_limit_deg]))
    margin = np.minimum.reduce([sine - cutoff, sun_limit - sun_sine, 1.0 - range_km / maximum_range_km])
    edges = np.flatnonzero((margin[1:] > 0.0) != (margin[:-1] > 0.0))
    moments_s = offsets_s[edges] + STEP_S * margin[edges] / (margin[edges] - margin[edges + 1])
    looks = edges + 1
    if margin[0] > 0.0:
        moments_s, looks = np.append(0.0, moments_s), np.append(0, looks)
    if margin[-1] > 0.0:
        moments_s, looks = np.append(moments_s, offsets_s[-1]), np.append(looks, offsets_s.size)
    rows = np.zeros(moments_s.size // 2, PASS_ROW)
    rows["start_s"], rows["end_s"] = moments_s[::2], moments_s[1::2]
    for row, begin, end in zip(rows, looks[::2], looks[1::2], strict=True):
        seen_s = np.concatenate([[row["start_s"]], offsets_s[begin:end], [row["end_s"]]])
        heights = np.interp(seen_s, offsets_s, sine)
        row["culmination_s"] = seen_s[np.argmax(heights)]
        row["culmination_deg"] = np.degrees(np.arcsin(heights.max()))
        row["closest_km"] = np.interp(seen_s, offsets_s, range_km).min()
        row["sun_elevation_deg"] = np.degrees(np.arcsin(np.interp(row["culmination_s"], offsets_s, sun_sine)))
    return np.asarray(rows[rows["culmination_deg"] >= visibility.culmination_deg])
