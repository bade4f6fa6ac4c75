"""Scenario files: the packaged one is what the issue of the day says, and every broken one names field, value and limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import RING_SCENARIO
from tiandi.clock import format_utc, parse_utc
from tiandi.errors import ElementsError, InputError, NoPassError, ScenarioError
from tiandi.physics.detectors import Detector
from tiandi.physics.equipment import Receiver, Transmitter
from tiandi.scenario.scenario import Scenario, load_scenario, packaged_scenarios
from tiandi.scenario.schema import DetectorSheet, Entry, ReceiverSheet, TransmitterSheet

Edit = Callable[..., Scenario]


@pytest.fixture
def ring(tmp_path: Path) -> Edit:
    """The ring with some text replaced."""
    return edited(RING_SCENARIO, tmp_path)


@pytest.fixture
def sky(tmp_path: Path) -> Edit:
    """The packaged scenario with some text replaced."""
    return edited(Path(__file__).parents[2] / "src/tiandi/scenario/data/shanghai-vienna.toml", tmp_path)


def edited(source: Path, folder: Path) -> Edit:
    for picture in source.parent.glob("*.png"):
        (folder / picture.name).write_bytes(picture.read_bytes())

    def load(*replacements: tuple[str, str]) -> Scenario:
        text = source.read_text()
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = folder / "edited.toml"
        path.write_text(text)
        return load_scenario(str(path))

    return load


def test_the_trunk_line_has_32_nodes_31_hops_and_2032_km() -> None:
    """Chen et al. 2021, doi:10.1038/s41586-020-03093-8."""
    fibres = load_scenario("shanghai-vienna").file.topology.fibres[:31]
    assert sum(fibre.length_km for fibre in fibres) == pytest.approx(2032.0, abs=0.05)
    assert fibres[0].ends[0] == "Beijing"
    assert fibres[-1].ends[1] == "Shanghai"
    assert all(left.ends[1] == right.ends[0] for left, right in pairwise(fibres))
    assert len({end for fibre in fibres for end in fibre.ends}) == 32


def test_every_entry_and_every_figure_of_the_equipment_says_where_it_comes_from() -> None:
    file = load_scenario("shanghai-vienna").file
    topology, equipment = file.topology, file.equipment
    assert all(entry.source for entry in (*topology.nodes, *topology.fibres, *topology.satellites, *topology.downlinks))
    for sheets in (equipment.transmitters, equipment.detectors, equipment.receivers, equipment.fibre_links):
        for sheet in sheets.values():
            given = {
                name
                for name, default in zip(sheet.__struct_fields__[-len(sheet.__struct_defaults__) :], sheet.__struct_defaults__, strict=True)
                if name != "labels" and getattr(sheet, name) != default
            }
            needed = set(sheet.__struct_fields__[: -len(sheet.__struct_defaults__)]) - {"transmitter", "receiver", "detector"}
            assert set(sheet.labels) >= needed | given - {"x_basis_probability"}


@pytest.mark.parametrize(("sheet", "equipment"), [(TransmitterSheet, Transmitter), (DetectorSheet, Detector), (ReceiverSheet, Receiver)])
def test_a_data_sheet_has_the_fields_of_its_equipment(sheet: type[Entry], equipment: type) -> None:
    assert set(sheet.__struct_fields__) == {item.name for item in fields(equipment)} | {"labels"}


def test_the_passes_are_found_and_in_order() -> None:
    scenario = load_scenario("shanghai-vienna")
    first, second = (item.satellite_pass for item in scenario.downlinks())
    assert first is not None
    assert second is not None
    assert (first.station.name, format_utc(first.culmination)[:16]) == ("Xinglong", "2016-12-19T16:52")
    assert second.station.name == "Graz"
    assert second.start > first.end
    assert [item.station.name for item in scenario.passes()][:2] == ["Xinglong", "Graz"]


def test_every_link_of_the_packaged_scenario_carries_key() -> None:
    for item in load_scenario("shanghai-vienna").fibre_links():
        assert item.link.forecast(item.duration_s).secret_bit > 50_000


def test_a_link_is_known_by_its_ends() -> None:
    scenario = load_scenario("shanghai-vienna")
    assert scenario.link("Jinan - Tai'an").channel.length_km == 68.3
    with pytest.raises(ScenarioError, match="link = 'Jinan - Mars'"):
        scenario.link("Jinan - Mars")


@pytest.mark.parametrize("name", ["nowhere", "", "missing.toml", "README.md", "/"])
def test_an_unknown_scenario_is_refused(name: str) -> None:
    with pytest.raises(ScenarioError, match=r"must be one of beijing-shanghai, .*, space-ground, or an existing TOML file"):
        load_scenario(name)
    assert {"ring", "shanghai-vienna"} <= set(packaged_scenarios())


BROKEN: list[tuple[str, str, str]] = [
    ("length_km = 25", 'length_km = "long"', r"topology.fibres\[1\].length_km = 'long': Expected `float`"),
    ("length_km = 25", "length_km = -25", r"topology.fibres\[1\].length_km = -25"),
    ("length_km = 25", "length_km = nan", r"topology.fibres\[1\].length_km = nan"),
    (
        "length_km = 25",
        "length_km = 400",
        r"topology.fibres\[1\].length_km \(East - South\) = 400.*no key can cross.* the limit of equipment 'town' is \d+ km",
    ),
    ("length_km = 25", "lenght_km = 25", r"unknown field `lenght_km`|missing required field `length_km`"),
    ('ends = ["East", "South"]', 'ends = ["East", "Souht"]', r"topology.fibres\[1\].ends = 'Souht': must be one of East"),
    ('ends = ["East", "South"]', 'ends = ["East", "East"]', "must be two different nodes"),
    ('ends = ["East", "South"]', 'ends = ["North", "East"]', "topology = 'North - East': two nodes may be joined by one link only"),
    ('ends = ["East", "South"]', 'ends = ["East", "North"]', "topology = 'North - East': two nodes may be joined by one link only"),
    ('name = "West"', 'name = "West - End"', "a name must not contain ' - '"),
    ("misalignment = 0.01", "misalignment = 0.2", "equipment 'town' makes no key at any length"),
    ('picture = "dot.png"', 'picture = "edited.toml"', "run.message.picture = 'edited.toml': must be a picture"),
    ('name = "South"', 'name = "North"', "topology.nodes = 'North': this name stands twice"),
    ('kind = "trusted node"', 'kind = "spy"', r"topology.nodes\[0\].kind = 'spy': Invalid enum value"),
    ("clock_hz = 40e6", "clock_hz = 0", "equipment.transmitters.town.clock_hz = 0"),
    ("misalignment = 0.01", "misalignment = 0.9", "equipment.receivers.town.misalignment = 0.9"),
    ('transmitter = "town"', 'transmitter = "city"', "equipment.fibre_links.town.transmitter = 'city'"),
    ("block_sifted_bit = 300_000", "block_sifted_bit = 3", "run.block_sifted_bit = 3: must lie in"),
    ("epsilon_secrecy = 1e-9", "epsilon_secrecy = 2", "run.epsilon_secrecy = 2"),
    ("qber_limit = 0.11", "qber_limit = 0.3", "run.qber_limit = 0.3.*no key is proven above 11 %"),
    ('recipient = "sae-east"', 'recipient = "sae-west"', "run.message.recipient = 'sae-west'"),
    ('recipient = "sae-east"', 'recipient = "sae-north"', "must be another than the sender"),
    ('sae = "sae-east"', 'sae = "../../east"', r"topology.applications\[1\].sae = '../../east'"),
    ('text = "round the ring"', 'text = ""', "run.message.text = '0 bytes'"),
    ('picture = "dot.png"', 'picture = "none.png"', "run.message.picture = 'none.png'"),
    ('link = "North - East"', 'link = "North - South"', "run.eavesdropper.link = 'North - South'"),
    ("format = 1", "format = 2", "format = 2: must be 1"),
    ("format = 1", "format 1", "must be TOML in UTF-8"),
]


@pytest.mark.parametrize(("old", "new", "message"), BROKEN, ids=[f"{new[:40]}" for _, new, _ in BROKEN])
def test_a_broken_field_is_named(ring: Edit, old: str, new: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        ring((old, new)).fibre_links()


def test_the_limit_told_for_a_long_link_is_where_key_ends(ring: Edit) -> None:
    with pytest.raises(ScenarioError) as refused:
        ring(("length_km = 25", "length_km = 400")).fibre_links()
    limit_km = int(refused.value.limit.split(" is ")[1].split(" km")[0])
    ring(("length_km = 25", f"length_km = {limit_km - 1}")).fibre_links()
    with pytest.raises(ScenarioError):
        ring(("length_km = 25", f"length_km = {limit_km + 2}")).fibre_links()


def test_elements_with_a_changed_digit_are_refused(sky: Edit) -> None:
    with pytest.raises(ElementsError, match="checksum"):
        sky(("16051A   16353.90152003", "16051A   16353.90152004")).passes()


def test_elements_years_from_the_date_are_refused(sky: Edit) -> None:
    with pytest.raises(ElementsError, match=r"must lie within 30 days"):
        sky(("2016-12-19T00:00:00Z", "2019-12-19T00:00:00Z"), ("2016-12-21T12:00:00Z", "2019-12-21T12:00:00Z")).passes()


def test_a_window_without_a_pass_is_refused(sky: Edit) -> None:
    with pytest.raises(
        NoPassError, match=r"run.sky = '2016-12-19T00:00:00Z to 2016-12-19T01:00:00Z': no usable pass of Micius over Xinglong"
    ):
        sky(("2016-12-21T12:00:00Z", "2016-12-19T01:00:00Z")).downlinks()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2016-12-21T12:00:00Z", "someday", "run.sky.to = 'someday'"),
        ("sun_elevation_limit_deg = -12.0", "sun_elevation_limit_deg = 5.0", "run.sky.sun_elevation_limit_deg = 5.0"),
        ("culmination_deg = 30.0", "culmination_deg = 95.0", "run.sky.culmination_deg = 95.0"),
        ("aperture_m = 0.5", "gate_ns = 2", "unknown field `gate_ns`"),
        ("maximum_range_km = 1200.0", "maximum_range_km = 100.0", "maximum_range_km = 100.0: the satellite comes no closer than 6"),
        ("latitude_deg = 40.3959", "latitude_deg = 940.3959", r"topology.nodes \(Xinglong\).latitude_deg = 940.3959"),
        ("zenith_extinction_db = 2.5", "zenith_extinction_db = -1", "topology.downlinks .*zenith_extinction_db = -1"),
        ('stations = ["Xinglong", "Graz"]', 'stations = ["Xinglong", "Vienna"]', "topology.hand_overs"),
    ],
)
def test_a_broken_sky_is_named(sky: Edit, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sky((old, new)).downlinks()


def test_an_unknown_station_is_refused() -> None:
    with pytest.raises(ScenarioError, match="station = 'Paris': must be one of Graz, Xinglong"):
        load_scenario("shanghai-vienna").passes(station="Paris")


def test_a_scenario_without_a_sky_has_no_passes(ring: Edit) -> None:
    with pytest.raises(ScenarioError, match="has no satellites"):
        ring().passes(start=parse_utc("2016-12-19"), end=parse_utc("2016-12-20"))
    assert ring().downlinks() == []
