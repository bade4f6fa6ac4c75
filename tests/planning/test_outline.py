"""The coast lines against places that everybody knows to be at the sea, on land, or in the middle of an ocean."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path

from tiandi.planning.outline import coast_lines


def on_land(longitude_deg: float, latitude_deg: float) -> bool:
    """Whether a point lies within a closed coast; an odd number of coasts around it, for there are inland seas."""
    return sum(Path(line).contains_point((longitude_deg, latitude_deg)) for line in coast_lines() if (line[0] == line[-1]).all()) % 2 == 1


def test_coast_lines_are_longitudes_and_latitudes_that_never_jump() -> None:
    lines = coast_lines()
    assert sum(len(line) for line in lines) > 5_000
    for line in lines:
        assert line.shape[1] == 2
        assert len(line) >= 2
        assert np.abs(line[:, 0]).max() <= 180.0
        assert np.abs(line[:, 1]).max() <= 90.0
        assert np.abs(np.diff(line[:, 0])).max() < 10.0


@pytest.mark.parametrize(
    ("place", "longitude_deg", "latitude_deg", "land"),
    [
        ("Alice Springs", 133.9, -23.7, True),
        ("Kansas", -98.0, 38.5, True),
        ("Manaus", -60.0, -3.1, True),
        ("Madagascar", 46.8, -19.5, True),
        ("Iceland", -18.5, 65.0, True),
        ("mid-Atlantic", -40.0, 30.0, False),
        ("Bay of Bengal", 88.0, 15.0, False),
        ("Tasman Sea", 160.0, -38.0, False),
    ],
)
def test_land_is_where_it_is(place: str, longitude_deg: float, latitude_deg: float, land: bool) -> None:
    assert on_land(longitude_deg, latitude_deg) is land, place


@pytest.mark.parametrize(
    ("port", "longitude_deg", "latitude_deg"),
    [("Cape Town", 18.4, -33.9), ("Qingdao", 120.4, 36.1), ("Lisbon", -9.2, 38.7), ("Callao", -77.1, -12.1)],
)
def test_ports_lie_at_the_coast(port: str, longitude_deg: float, latitude_deg: float) -> None:
    """Within 1.2 degree: the outline is drawn at 1:110 million."""
    off = np.concatenate(coast_lines()) - (longitude_deg, latitude_deg)
    assert np.hypot(*off.T).min() < 1.2, port


def test_the_lines_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        coast_lines()[0][0, 0] = 0.0
