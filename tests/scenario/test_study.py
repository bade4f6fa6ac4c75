"""A scenario as a study sees it: rates, skies and demands against closed forms, and networks that do not hang together."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from math import acos, cos, radians, sin
from pathlib import Path

import numpy as np
import pytest

from tiandi.constants import EARTH_MEAN_RADIUS_KM
from tiandi.control.topology import Link, Node, Topology
from tiandi.errors import ElementsError, InputError, ScenarioError
from tiandi.physics.orbit import propagate
from tiandi.planning.inputs import StudyInputs
from tiandi.scenario.places import great_circle_km
from tiandi.scenario.scenario import Scenario, load_scenario, packaged_scenarios
from tiandi.scenario.study import require_connected, study_inputs

PACKAGED = ["beijing-shanghai", "china-africa", "china-europe", "euroqci", "national", "space-ground"]
TEMPLATES = Path(__file__).parents[2] / "src/tiandi/scenario/data/templates"
Edit = Callable[..., Scenario]


@pytest.fixture
def network(tmp_path: Path) -> Edit:
    return _edited(TEMPLATES / "network.toml", tmp_path)


@pytest.fixture
def sky(tmp_path: Path) -> Edit:
    return _edited(TEMPLATES / "satellite.toml", tmp_path)


def _edited(source: Path, folder: Path) -> Edit:
    def load(*replacements: tuple[str, str]) -> Scenario:
        text = source.read_text(encoding="utf-8")
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        path = folder / "edited.toml"
        path.write_text(text, encoding="utf-8")
        return load_scenario(str(path))

    return load


@pytest.fixture(scope="module")
def national() -> StudyInputs:
    return study_inputs(load_scenario("national"))


@pytest.mark.parametrize("name", PACKAGED)
def test_a_packaged_scenario_loads_quickly_and_makes_a_study(name: str) -> None:
    begin = time.perf_counter()
    scenario = load_scenario(name)
    assert time.perf_counter() - begin < 2.0
    inputs = study_inputs(scenario)
    assert inputs.demands
    for satellite in inputs.satellites:
        for moment in scenario.plan_window:
            satellite.elements.require_age(moment)
    assert {station.climate for station in inputs.stations} == set(inputs.climates)
    for entry in (*scenario.file.topology.nodes, *scenario.file.topology.fibres, *scenario.file.topology.downlinks):
        assert entry.source


def test_the_trunk_line_is_as_published() -> None:
    """Chen et al. 2021, doi:10.1038/s41586-020-03093-8: 2,032 km, 32 nodes, 135 links over 31 hops, each hop above 20 kbit/s."""
    file = load_scenario("beijing-shanghai").file
    inputs = study_inputs(load_scenario("beijing-shanghai"))
    assert (len(inputs.topology.nodes), len(inputs.topology.links)) == (32, 31)
    assert sum(link.length_km for link in inputs.topology.links.values()) == pytest.approx(2032.0, abs=0.2)
    assert sum(fibre.systems for fibre in file.topology.fibres) == 135
    assert min(link.rate_bps for link in inputs.topology.links.values()) > 20_000.0


def test_the_national_network_is_as_published(national: StudyInputs) -> None:
    """Chen H.-Z. et al. 2025, doi:10.1038/s41534-025-01089-8: 145 nodes, 80 cities, over 10,000 km, links of 9.75 to 360 kbit/s."""
    file = load_scenario("national").file
    backbone = [node for node in file.topology.nodes if node.kind == "trusted node"]
    assert len(backbone) == 145
    assert sum(not node.source.startswith("synthetic") for node in backbone) == 80
    assert sum(node.kind == "ground station" for node in file.topology.nodes) == 6
    assert sum(fibre.length_km for fibre in file.topology.fibres) > 10_000.0
    rates_bps = [link.rate_bps for link in national.topology.links.values() if link.kind == "fibre"]
    assert min(rates_bps) >= 9_750.0
    assert max(rates_bps) <= 360_000.0
    assert len(national.demands) == 80 * 79 // 2
    assert any("synthetic" in note for note in national.notes)


def test_geostationary_dawn_stays_near_75_degrees_east() -> None:
    elements = load_scenario("space-ground").elements("Dawn GEO")
    places = propagate(elements, elements.epoch_julian_date + np.arange(0.0, 300.0, 29.5))
    assert np.degrees(np.arctan2(places[:, 1], places[:, 0])) == pytest.approx(75.0, abs=5.0)


def test_the_rate_of_a_fibre_is_that_of_its_systems_together(network: Edit) -> None:
    scenario = network()
    links = study_inputs(scenario).topology.links
    planned = next(item for item in scenario.fibre_links() if item.link.name == "North - East")
    one_bps = planned.link.forecast(planned.duration_s).secret_bit / planned.duration_s
    assert links["North - East"].rate_bps == pytest.approx(one_bps)
    assert links["West - North"].rate_bps == pytest.approx(2 * one_bps)


def test_a_measured_rate_goes_before_the_forecast(network: Edit) -> None:
    assert study_inputs(network(("systems = 2", "systems = 3\nrate_bps = 100.0"))).topology.links["West - North"].rate_bps == 300.0


def test_a_constellation_over_stations_is_written_out(sky: Edit) -> None:
    begin = time.perf_counter()
    scenario = sky(("total = 4", "total = 100"), ("planes = 2", "planes = 10"))
    inputs = study_inputs(scenario)
    assert time.perf_counter() - begin < 2.0
    assert len(inputs.satellites) == 100
    assert len([link for link in inputs.topology.links.values() if link.kind == "downlink"]) == 300
    assert inputs.satellites[0].name == "Sky 1-1"
    assert inputs.satellites[0].elements.require_age(datetime(2026, 6, 1, tzinfo=UTC)) is None


def test_a_hundred_satellites_over_a_hundred_stations_take_two_more_lines(sky: Edit) -> None:
    places = "\n".join(f'"Station {number}" = [{number % 60}, {number}]' for number in range(100))
    scenario = sky(("total = 4", "total = 100"), ("Graz = [", f"{places}\nGraz = ["))
    begin = time.perf_counter()
    assert len(study_inputs(scenario).topology.links) == 100 * 103
    assert time.perf_counter() - begin < 2.0


def test_what_the_file_says_goes_before_the_data_sheet(sky: Edit) -> None:
    given = study_inputs(sky(("phasing = 1", "phasing = 1\nbuffer_bit = 1e6\nslew_s = 7.0"))).satellites[0]
    sheet = study_inputs(sky()).satellites[0]
    assert (given.buffer_bit, given.slew_s, given.contact_limit_s) == (1e6, 7.0, sheet.contact_limit_s)
    assert given.transmitter == sheet.transmitter


def test_a_gravity_model_shares_by_weight_and_distance(network: Edit) -> None:
    scenario = network(("rate_bps = 5_000", "rate_bps = 5_000\ndistance_exponent = 1.0\nweights = { East = 3.0 }"))
    demands = {demand.ends: demand.rate_bps for demand in study_inputs(scenario).demands}
    assert demands[("North", "South")] == 1_000.0
    assert sum(demands.values()) == pytest.approx(6_000.0)

    def distance_km(here: tuple[float, float], there: tuple[float, float]) -> float:
        first, second, turn = radians(here[0]), radians(there[0]), radians(here[1] - there[1])
        return EARTH_MEAN_RADIUS_KM * acos(sin(first) * sin(second) + cos(first) * cos(second) * cos(turn))

    expected = 3.0 * distance_km((48.20, 16.65), (48.20, 16.10)) / distance_km((48.30, 16.40), (48.20, 16.65)) / 3.0
    assert demands[("North", "East")] / demands[("East", "West")] == pytest.approx(expected, rel=1e-6)


def test_a_degree_of_the_equator_is_111_km() -> None:
    assert great_circle_km([[0.0, 179.5]], [[0.0, -179.5]])[0] == pytest.approx(111.195, abs=0.001)


def test_switches_gateways_and_user_nodes_come_through(network: Edit) -> None:
    added = """
[[topology.switches]]
name = "exchange"
source = "synthetic"

[[topology.nodes]]
name = "Abroad"
kind = "gateway"
trust = "foreign"
source = "synthetic"

[[topology.gateway_links]]
ends = ["North", "Abroad"]
rate_bps = 50.0
source = "agreed"

[[topology.nodes]]
name = "Farm"
kind = "user node"
source = "synthetic"

[[topology.fibres]]
ends = ["East", "Farm"]
length_km = 5
equipment = "trunk"
switch = "exchange"
source = "synthetic"
"""
    topology = study_inputs(network(("# Fibres:", f"{added}\n# Fibres:"))).topology
    assert topology.links["North - Abroad"].kind == "gateway"
    assert topology.links["East - Farm"].switch == "exchange"
    assert topology.nodes["Abroad"].trust == "foreign"
    assert not topology.nodes["Farm"].relays


def test_satellites_may_be_linked(sky: Edit) -> None:
    link = '\n[[topology.inter_satellite_links]]\nends = ["Sky 1-1", "Sky 1-2"]\nreceiver = "telescope"\nsource = "assumed"\n'
    scenario = sky(
        ("[equipment.detectors.silicon]", f"{link}\n[equipment.detectors.silicon]"),
        ("planes = 2", "planes = 1"),
        ("phasing = 1", "phasing = 0"),
    )
    made = study_inputs(scenario).topology.links["Sky 1-1 - Sky 1-2"]
    # A quarter of a turn apart in an orbit of 500 km, the Earth stands between them.
    assert (made.kind, made.rate_bps) == ("inter-satellite", 0.0)


def test_parts_that_no_link_joins_are_named(network: Edit) -> None:
    text = '\n[[topology.nodes]]\nname = "Island"\nkind = "trusted node"\nsource = "synthetic"\n\n# Fibres:'
    with pytest.raises(ScenarioError, match="topology = '2 parts': no links join its parts: North, East, South and 1 more; Island"):
        study_inputs(network(("\n# Fibres:", text)))


def test_a_user_node_joins_no_parts() -> None:
    nodes = [Node("A"), Node("B"), Node("user", kind="user node")]
    links = [Link("A - user", ("A", "user")), Link("B - user", ("B", "user"))]
    with pytest.raises(ScenarioError, match="2 parts"):
        require_connected(Topology.of(nodes, links))
    require_connected(Topology.of(nodes, [*links, Link("A - B", ("A", "B"))]))


def test_the_demonstration_of_a_scenario_for_studies_is_refused(sky: Edit) -> None:
    with pytest.raises(ScenarioError, match=r"run.message = None: the demonstration needs it"):
        assert sky().file.run.message


def test_elements_too_old_for_the_window_are_refused() -> None:
    inputs = study_inputs(load_scenario("shanghai-vienna"))
    with pytest.raises(ElementsError, match="must lie within 30 days"):
        inputs.satellites[0].elements.require_age(datetime(2026, 1, 1, tzinfo=UTC))


BROKEN_SKY = [
    ('sheet = "microsatellite"', 'sheet = "sputnik"', "sheet = 'sputnik': must be one of dawn-geo, dawn-meo"),
    ('sheet = "microsatellite"', 'sheet = "qeyssat"', "sheet = 'qeyssat': must be of a satellite that sends light down"),
    ('sheet = "microsatellite"', 'transmitter = "none"', r"topology.satellites\[0\].transmitter = 'none': there is none to choose from"),
    ("total = 4", "total = 5", r"topology.constellations\[0\].planes = 2: must divide total = 5"),
    ("total = 4", "total = 1000000", "must lie in"),
    ("altitude_km = 500", "altitude_km = 20", "altitude_km = 20"),
    ('satellites = ["*"]', 'satellites = ["Moon *"]', r"topology.downlink_groups\[0\].satellites = 'Moon \*': must be one of Sky 1-1"),
    ('receiver = "telescope"', 'receiver = "telescop"', r"topology.downlinks\[0\].receiver = 'telescop': must be one of telescope"),
    ('"*" = "temperate"', '"*" = "martian"', r"plan.climates \(Graz\) = 'martian'"),
    ("culmination_deg = 20.0", "culmination_deg = 95.0", "plan.culmination_deg = 95.0"),
    ('to = "2027-01-01"', 'to = "2025-01-01"', "plan.to = '2025-01-01T00:00:00Z': must be later than from"),
    ('from = "2026-01-01"', 'from = "someday"', "plan.from = 'someday'"),
    ("rate_bps = 3.0", "rate_bps = -3.0", r"plan.demand_groups\[0\].rate_bps = -3.0"),
    ("Graz = [47.0671, 15.4933, 490]", "Graz = [147.0671, 15.4933, 490]", r"topology.nodes \(Graz\).latitude_deg = 147.0671"),
    ("Graz = [47.0671, 15.4933, 490]", "Graz = [47.0671]", r"topology.node_lists\[0\].places"),
    ("satellite = 20e6", "satelite = 20e6", "unknown field `satelite`; the field is `satellite`"),
]


@pytest.mark.parametrize(("old", "new", "message"), BROKEN_SKY, ids=[new[:40] for _, new, _ in BROKEN_SKY])
def test_a_broken_plan_of_satellites_is_named(sky: Edit, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        study_inputs(sky((old, new)))


BROKEN_NETWORK = [
    ("length_km = 30", "length_mi = 30", "unknown field `length_mi`; the field is `length_km`"),
    ("length_km = 30", "length_km = -30", "length_km = -30"),
    ("length_km = 30", "length_km = 300", r"length_km \(North - East\) = 300.*no key can cross this link"),
    ("systems = 2", "systems = 0", r"topology.fibres\[3\].systems = 0: Expected `int` >= 1"),
    ("systems = 2", 'switch = "exchange"', r"topology.fibres\[3\].switch = 'exchange': there is none to choose from"),
    ("systems = 2", "rate_bps = nan", r"topology.fibres\[3\].rate_bps = nan"),
    ('ends = ["North", "South"]', 'ends = ["North", "Mars"]', r"plan.demands\[0\].ends = 'Mars': must be one of East"),
    ('nodes = ["*"]', 'nodes = ["N*"]', r"plan.demand_groups\[0\].nodes = '1 nodes': must be 2 to"),
    ('nodes = ["*"]', 'nodes = ["*"]\nweights = { East = -1.0 }', "plan.demand_groups.*weights.East = -1.0"),
    ('nodes = ["*"]', 'nodes = ["*"]\nweights = { Mars = 1.0 }', "plan.demand_groups.*weights = 'Mars'"),
    ('kind = "trusted node"', 'kind = "trusted node"\ntrust = "blind"', "trust = 'blind'|Invalid enum value 'blind'"),
]


@pytest.mark.parametrize(("old", "new", "message"), BROKEN_NETWORK, ids=[new[:40] for _, new, _ in BROKEN_NETWORK])
def test_a_broken_plan_of_fibres_is_named(network: Edit, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        study_inputs(network((old, new)))


LINE = """
[[topology.lines]]
name = "Trunk"
through = ["North", "East", "South"]
length_km = [100.0, 60.0]
hops = [2, 1]
systems = 3
equipment = "trunk"
source = "synthetic"
"""


def test_a_line_is_cut_into_hops_with_relays_between(network: Edit) -> None:
    first = network().file.topology.fibres[0]
    scenario = network(
        ('[[topology.fibres]]\nends = ["North", "East"]\nlength_km = 30\nequipment = "trunk"\nsource = "synthetic"\n', LINE),
        ('[[topology.fibres]]\nends = ["East", "South"]\nlength_km = 40\nequipment = "trunk"\nsource = "synthetic"\n', ""),
    )
    fibres = {fibre.name: fibre for fibre in scenario.file.topology.fibres}
    assert first.name not in fibres
    assert [fibres[name].length_km for name in ("North - Trunk relay 1", "Trunk relay 1 - East", "East - South")] == [50.0, 50.0, 60.0]
    assert fibres["East - South"].systems == 3
    relay = next(node for node in scenario.file.topology.nodes if node.name == "Trunk relay 1")
    assert (relay.latitude_deg, relay.longitude_deg) == (48.25, 16.525)
    assert relay.source.startswith("synthetic")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hops = [2, 1]", "hops = [2]", r"topology.lines\[0\].hops = '1 values': must be 2"),
        ("hops = [2, 1]", "hops = 100000", r"topology.lines\[0\].hops = 200000: must lie in"),
        ("length_km = [100.0, 60.0]", "length_km = [100.0]", r"topology.lines\[0\].length_km = '1 values': must be 2"),
        ('"South"]', '"Mars"]', r"topology.lines\[0\].through = 'Mars'"),
    ],
)
def test_a_broken_line_is_named(network: Edit, old: str, new: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        network(("\n# Fibres:", f"{LINE.replace(old, new)}\n# Fibres:"))


def test_a_file_of_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    with path.open("wb") as file:
        file.truncate(8_000_000_000)
    with pytest.raises(ScenarioError, match="must be smaller than 10000000 bytes"):
        load_scenario(str(path))


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * 100_000 + "]" * 100_000)
    with pytest.raises(ScenarioError, match="nested too deeply"):
        load_scenario(str(path))


def test_every_packaged_scenario_is_tested() -> None:
    assert sorted([*PACKAGED, "ring", "shanghai-vienna"]) == packaged_scenarios()
