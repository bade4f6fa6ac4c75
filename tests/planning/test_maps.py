"""Maps: ground tracks against skyfield, great circles against their geometry, and nothing that runs across the edge."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planning.test_report import MICIUS, study
from tiandi.clock import julian_date
from tiandi.control.topology import Link, Node, Topology
from tiandi.physics.orbit import Elements
from tiandi.planning.inputs import Demand, StudyInputs
from tiandi.planning.maps import great_circle, ground_track, network_map
from tiandi.planning.results import CONTACT_OUTCOME, StudyResult

longitudes, latitudes = st.floats(-180.0, 180.0), st.floats(-85.0, 85.0)


def test_ground_tracks_are_those_of_skyfield() -> None:
    skyfield = pytest.importorskip("skyfield.api")
    start = datetime(2016, 12, 19, tzinfo=UTC)
    seconds = np.arange(0.0, 5700.0, 300.0)
    ours = ground_track(Elements("Micius", *MICIUS), julian_date(start), seconds)
    scale = skyfield.load.timescale(builtin=True)
    theirs = skyfield.EarthSatellite(*MICIUS, "Micius", scale).at(scale.utc(2016, 12, 19, 0, 0, seconds))
    beneath = skyfield.wgs84.subpoint_of(theirs)
    turned = (ours[:, 0] - beneath.longitude.degrees + 180.0) % 360.0 - 180.0
    assert np.abs(turned * np.cos(np.radians(ours[:, 1]))).max() < 0.02
    # Ours are geocentric.
    assert np.abs(ours[:, 1] - beneath.latitude.degrees).max() < 0.2


@given(st.tuples(longitudes, latitudes), st.tuples(longitudes, latitudes))
def test_a_great_circle_leads_from_one_place_to_the_other_in_even_steps(one: tuple[float, float], other: tuple[float, float]) -> None:
    line = np.radians(great_circle(one, other))
    points = np.stack([np.cos(line[:, 1]) * np.cos(line[:, 0]), np.cos(line[:, 1]) * np.sin(line[:, 0]), np.sin(line[:, 1])], axis=1)
    ends = np.radians([one, other])
    wanted = np.stack([np.cos(ends[:, 1]) * np.cos(ends[:, 0]), np.cos(ends[:, 1]) * np.sin(ends[:, 0]), np.sin(ends[:, 1])], axis=1)
    if wanted[0] @ wanted[1] < -0.999999:
        return  # Opposite each other every way is the shortest.
    np.testing.assert_allclose(points[[0, -1]], wanted, atol=1e-6)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert np.ptp(steps) < 1e-6


def map_of(places: dict[str, tuple[float, float]], links: list[tuple[str, str]]) -> StudyResult:
    """A study of bare places and links, without satellites or demands."""
    topology = Topology.of(
        [Node(name, latitude_deg=latitude, longitude_deg=longitude) for name, (latitude, longitude) in places.items()],
        [Link(f"{a}-{b}", (a, b), length_km=3000.0) for a, b in links],
    )
    ends = tuple(places)[:2]
    demands = (Demand(ends, 1.0),) if len(ends) == 2 else ()
    count = len(links)
    return replace(
        study(days=3, seeds=1),
        inputs=StudyInputs(name="bare", title="Bare", topology=topology, demands=demands),
        links=tuple(topology.links),
        made_bit=np.ones((1, count)),
        used_bit=np.linspace(0.0, 1.0, count)[None] if count else np.zeros((1, 0)),
        contacts=np.zeros(0, CONTACT_OUTCOME),
    )


@pytest.mark.parametrize(
    ("places", "links"),
    [
        ({}, []),
        ({"Alone": (10.0, 20.0)}, []),
        ({"Fiji": (-17.8, 178.0), "Samoa": (-13.8, -171.8)}, [("Fiji", "Samoa")]),
        ({"Svalbard": (78.2, 15.6), "McMurdo": (-77.8, 166.7), "Lima": (-12.0, -77.0)}, [("Svalbard", "McMurdo"), ("Lima", "Svalbard")]),
        ({f"City {number}": (30 + number % 10 * 0.3, 110 + number // 10 * 0.3) for number in range(100)}, []),
    ],
    ids=["nothing", "one place", "over the date line", "pole to pole", "a hundred cities"],
)
def test_any_network_has_a_map_of_modest_size(places: dict[str, tuple[float, float]], links: list[tuple[str, str]]) -> None:
    chart = network_map(map_of(places, links))
    ElementTree.fromstring(chart.svg)
    assert len(chart.svg) < 120_000
    assert len(chart.rows) == len(places) + len(links)


def test_a_link_over_the_date_line_does_not_run_around_the_world() -> None:
    """Fiji and Samoa are 10 degrees apart: their map is a detail, and its ticks name both sides."""
    svg = network_map(map_of({"Fiji": (-17.8, 178.0), "Samoa": (-13.8, -171.8)}, [("Fiji", "Samoa")])).svg
    assert "°E" in svg
    assert "°W" in svg
    assert svg.count("Fiji") == 1


def test_the_table_of_the_map_has_every_node_and_what_links_made_and_used() -> None:
    result = study(days=3, seeds=2)
    chart = network_map(result)
    rows = {row[0]: row for row in chart.rows}
    assert rows["Graz"][4:6] == (47.067, 15.494)
    assert rows["Beijing-Jinan"][6] == pytest.approx(result.made_bit[:, 0].mean())
    assert rows["Micius-Graz"][1] == "downlink"
