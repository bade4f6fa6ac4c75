"""Topologies of others: what is read, what is made of it, and files that are made to do harm."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiandi.errors import ScenarioError
from tiandi.scenario.importing import ImportedLink, ImportedNode, import_csv, import_graphml, scenario_text
from tiandi.scenario.scenario import Scenario, load_scenario
from tiandi.scenario.study import study_inputs
from tiandi.scenario.template import new_scenario, templates

ZOO = """<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key attr.name="Latitude" attr.type="double" for="node" id="d1" />
  <key attr.name="Longitude" attr.type="double" for="node" id="d2" />
  <key attr.name="label" attr.type="string" for="node" id="d3" />
  <key attr.name="LinkLabel" attr.type="string" for="edge" id="d4" />
  <key attr.name="length_km" attr.type="double" for="edge" id="d5" />
  <graph edgedefault="undirected">
    <node id="0"><data key="d1">48.2082</data><data key="d2">16.3738</data><data key="d3">Vienna</data></node>
    <node id="1"><data key="d1">47.0707</data><data key="d2">15.4395</data><data key="d3">Graz</data></node>
    <node id="2"><data key="d1">48.1486</data><data key="d2">17.1077</data><data key="d3">Vienna</data></node>
    <edge source="0" target="1"><data key="d4">a</data></edge>
    <edge source="0" target="2"><data key="d5">61.5</data></edge>
    <edge source="2" target="0"><data key="d5">66.0</data></edge>
  </graph>
</graphml>
"""


def written(tmp_path: Path, text: str, name: str = "topology.graphml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def loaded(tmp_path: Path, text: str) -> Scenario:
    return load_scenario(str(written(tmp_path, text, "imported.toml")))


def test_a_graph_of_the_topology_zoo_becomes_a_scenario(tmp_path: Path) -> None:
    scenario = loaded(tmp_path, import_graphml(written(tmp_path, ZOO), "zoo"))
    topology = study_inputs(scenario).topology
    # Vienna to Graz are 145 km on the great circle; times 1.35 that is three hops of at most 80 km, so two relays.
    assert list(topology.nodes) == ["Vienna", "Graz", "Vienna 2", "Vienna to Graz relay 1", "Vienna to Graz relay 2"]
    way = [link.length_km for name, link in topology.links.items() if name != "Vienna - Vienna 2"]
    assert sum(way) == pytest.approx(145.0 * 1.35, rel=0.01)
    assert max(way) < 80.0
    parallel = next(fibre for fibre in scenario.file.topology.fibres if fibre.name == "Vienna - Vienna 2")
    assert (parallel.length_km, parallel.systems) == (61.5, 2)


def test_the_two_directions_of_a_directed_graph_are_one_fibre(tmp_path: Path) -> None:
    scenario = loaded(tmp_path, import_graphml(written(tmp_path, ZOO.replace('"undirected"', '"directed"')), "zoo"))
    assert all(fibre.systems == 1 for fibre in scenario.file.topology.fibres)


BROKEN = [
    (
        '<?xml version="1.0" encoding="utf-8"?>',
        '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>',
        "must not declare a document type or entities",
    ),
    ("</graphml>", "", "must be GraphML: no element found"),
    ("<graph ", "<graf ", "must be GraphML|must hold one graph"),
    ("48.2082", "148.2082", "node Vienna, latitude_deg = 148.2082: must lie in"),
    ("48.2082", "nan", "node Vienna, Latitude = nan|must be GraphML"),
    ('<data key="d1">47.0707</data>', "", "node Graz, latitude_deg and longitude_deg = None: needed"),
    ("61.5", "-61.5", "edge Vienna to Vienna 2, length_km = -61.5"),
    ('source="0" target="1"', 'source="0" target="0"', "link = 'Vienna - Vienna': must be between two different nodes"),
    ('source="0" target="1"', 'source="0" target="9"', "must be GraphML: 2 of its 3 edges"),
]


@pytest.mark.parametrize(("old", "new", "message"), BROKEN, ids=[f"{new[:30]}-{message[:20]}" for _, new, message in BROKEN])
def test_a_broken_graph_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in ZOO
    with pytest.raises(ScenarioError, match=message):
        import_graphml(written(tmp_path, ZOO.replace(old, new, 1)), "zoo")


@pytest.mark.parametrize("text", ["", "no graph at all", "<graphml/>", "<a>" * 20_000, "\x00\x01"])
def test_what_is_no_graph_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ScenarioError, match="file"):
        import_graphml(written(tmp_path, text), "zoo")


def test_a_graph_of_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.graphml"
    with path.open("wb") as file:
        file.truncate(8_000_000_000)
    with pytest.raises(ScenarioError, match="must be smaller than"):
        import_graphml(path, "zoo")


NODES = "name,latitude_deg,longitude_deg,kind,trust\nVienna,48.2082,16.3738,,\nGraz,47.0707,15.4395,user node,foreign\n"
LINKS = "from,to,length_km,systems,rate_bps\nVienna,Graz,70,3,\nVienna,Linz,150,1,25.5\n"


def test_tables_become_a_scenario(tmp_path: Path) -> None:
    nodes = written(tmp_path, f"{NODES}Linz,48.3069,14.2858,gateway,shared\n", "nodes.csv")
    topology = study_inputs(loaded(tmp_path, import_csv(written(tmp_path, LINKS, "links.csv"), nodes, "table"))).topology
    assert (topology.nodes["Graz"].kind, topology.nodes["Graz"].trust) == ("user node", "foreign")
    assert topology.links["Vienna - Linz"].rate_bps == 25.5
    assert topology.links["Vienna - Graz"].length_km == 70.0


def test_nodes_need_no_table_when_every_link_has_a_length(tmp_path: Path) -> None:
    scenario = loaded(tmp_path, import_csv(written(tmp_path, LINKS, "links.csv"), None, "table"))
    assert [node.name for node in scenario.file.topology.nodes] == ["Vienna", "Graz", "Linz"]


@pytest.mark.parametrize(
    ("links", "nodes", "message"),
    [
        (LINKS.replace("length_km", "length_mi"), None, "links.csv, column = 'length_mi': columns are from, to, length_km"),
        (LINKS.replace("from,", "", 1), None, "links.csv, column = 'from': must be there"),
        (LINKS.replace("Graz,70,3,", "Graz,70"), None, "links.csv, line 2 = '3 values': must be 5"),
        (LINKS.replace("70", "-70"), None, "links.csv, line 2, length_km = '-70'"),
        (LINKS.replace("70", "far"), None, "links.csv, line 2, length_km = 'far': must be a number"),
        (LINKS.replace("70,3", "70,2.5"), None, "links.csv, line 2, systems = '2.5': must be a whole number"),
        (LINKS.replace("70,3", "70,0"), None, "systems = 0: must lie in"),
        (LINKS.replace("70", ""), None, "needed: the link Vienna - Graz has no length_km"),
        (LINKS.replace("70", "70000"), None, "length_km = 70000.0: must lie in"),
        ("from,to\n", None, "links.csv, rows = 0"),
        ("", None, "column = 'from': must be there"),
        (LINKS, NODES, "links.csv, line 3 = 'Linz': must be one of Graz, Vienna"),
        (LINKS, NODES.replace("Graz", "Vienna"), "name = 'Vienna': this name stands twice"),
        (LINKS, NODES.replace("user node", "spy"), "nodes.csv, line 3, kind = 'spy'"),
    ],
)
def test_a_broken_table_is_refused(tmp_path: Path, links: str, nodes: str | None, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        import_csv(written(tmp_path, links, "links.csv"), None if nodes is None else written(tmp_path, nodes, "nodes.csv"), "table")


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable() and "\ufffe" not in text and "\uffff" not in text))
def test_any_printable_name_survives_the_file(name: str) -> None:
    text = scenario_text(
        "names", [ImportedNode(name), ImportedNode(f"{name} too")], [ImportedLink((name, f"{name} too"), 10.0)], source=name
    )
    assert tomllib.loads(text)["topology"]["nodes"][0]["name"] == name


@pytest.mark.parametrize("template", [*templates(), "ring", "national"])
def test_a_new_scenario_loads_under_its_name(tmp_path: Path, template: str) -> None:
    path = new_scenario("my-own", template, tmp_path)[0]
    assert load_scenario(str(path)).name == "my-own"


@pytest.mark.parametrize("template", templates())
def test_a_template_is_commented_and_makes_a_study(tmp_path: Path, template: str) -> None:
    path = new_scenario("my-own", template, tmp_path)[0]
    assert sum(line.startswith("#") for line in path.read_text().splitlines()) >= 8
    assert study_inputs(load_scenario(str(path))).demands


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "dot.png").write_bytes(b"mine")
    with pytest.raises(ScenarioError, match=r"dot.png.*is there already"):
        new_scenario("my-own", "ring", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["dot.png"]


@pytest.mark.parametrize(
    ("name", "template"), [("My Own", "network"), ("../up", "network"), ("", "network"), ("ring", "network"), ("mine", "mars")]
)
def test_a_bad_name_or_template_is_refused(tmp_path: Path, name: str, template: str) -> None:
    with pytest.raises(ScenarioError, match=r"^(name|from) = "):
        new_scenario(name, template, tmp_path)
    assert list(tmp_path.iterdir()) == []
