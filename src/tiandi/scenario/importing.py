"""Topologies of others become scenario files: GraphML, such as the Topology Zoo's, and CSV tables of nodes and links."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, isfinite
from pathlib import Path
from typing import Any, get_args
from xml.parsers import expat

import rustworkx

from tiandi.control.topology import NodeKind, TrustClass
from tiandi.errors import ScenarioError
from tiandi.scenario.checks import LINK_JOINT, known, within
from tiandi.scenario.places import great_circle_km
from tiandi.scenario.reading import read_text
from tiandi.scenario.template import equipment_text

FIBRE_FACTOR = 1.35
"""Fibre follows roads: its length over the great circle, where a file gives none. Assumed; 1.36 for the Beijing-Shanghai line."""
LONGEST_HOP_KM = 80.0
"""A longer link is cut into equal hops with a trusted relay between any two."""
MOST_ITEMS = 20_000
PLANNED_NODES = 200
"""A file of at most so many nodes gets a demand of every pair; a larger one none."""
NODE_COLUMNS = ("name", "latitude_deg", "longitude_deg", "altitude_m", "kind", "trust")
LINK_COLUMNS = ("from", "to", "length_km", "systems", "rate_bps")
COORDINATES = (("latitude_deg", "Latitude", "latitude", "lat"), ("longitude_deg", "Longitude", "longitude", "lon"))
"""What files call the place of a node, and what is read."""


@dataclass(frozen=True)
class ImportedNode:
    """A node of somebody's topology."""

    name: str
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    altitude_m: float = 0.0
    kind: str = "trusted node"
    trust: str = "own"

    @property
    def place(self) -> tuple[float, float] | None:
        return None if self.latitude_deg is None or self.longitude_deg is None else (self.latitude_deg, self.longitude_deg)


@dataclass(frozen=True)
class ImportedLink:
    """A link of somebody's topology; a length of None is to be found from the places of its ends."""

    ends: tuple[str, str]
    length_km: float | None = None
    systems: int = 1
    rate_bps: float | None = None


def import_graphml(path: Path, name: str) -> str:
    """The scenario file (TOML) of a topology in GraphML; parallel edges become systems side by side.

    A node is called by its ``label``, else its identifier, and stands at ``Latitude`` and ``Longitude``; an edge may have ``length_km``.
    Raises ScenarioError on a file that is too large, declares entities, or lacks a place that is needed.
    """
    text = read_text(path, "file")
    # A few entities that call each other can stand for gigabytes; GraphML has no use for them.
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise ScenarioError("file", str(path), "must not declare a document type or entities")
    count = _elements(path, text)
    try:
        graphs = rustworkx.read_graphml(str(path))
    except Exception as error:
        raise ScenarioError("file", str(path), f"must be GraphML: {error}") from None
    if len(graphs) != 1 or not graphs[0].num_nodes():
        raise ScenarioError("file", str(path), f"must hold one graph with nodes, not {len(graphs)} graphs")
    graph = graphs[0]
    if graph.num_edges() != count["edge"]:
        why = f"must be GraphML: {graph.num_edges()} of its {count['edge']} edges join nodes that are there"
        raise ScenarioError("file", str(path), why)
    within("file (nodes and links)", graph.num_nodes() + graph.num_edges(), 2, MOST_ITEMS)
    names: dict[int, str] = {}
    nodes = []
    for index in graph.node_indices():
        facts: dict[str, Any] = graph[index]
        names[index] = _unique(str(facts.get("label") or facts.get("name") or facts.get("id")), set(names.values()))
        place = [_first(facts, keys, f"node {names[index]}") for keys in COORDINATES]
        nodes.append(_checked_node(ImportedNode(names[index], place[0], place[1])))
    links = [
        ImportedLink((names[here], names[there]), _number(facts, "length_km", f"edge {names[here]} to {names[there]}"))
        for here, there, facts in graph.weighted_edge_list()
    ]
    directed = isinstance(graph, rustworkx.PyDiGraph)
    return scenario_text(name, nodes, _merged(links, directed=directed), source=f"imported from {path.name}")


def _elements(path: Path, text: str) -> Counter[str]:
    """How many elements of each name an XML file has; the reader of graphs takes broken files for short ones, so they end here."""
    count: Counter[str] = Counter()
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, attributes: count.update([name.rpartition(":")[2]])
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, ValueError) as error:
        raise ScenarioError("file", str(path), f"must be GraphML: {error}") from None
    return count


def import_csv(links_path: Path, nodes_path: Path | None, name: str) -> str:
    """The scenario file (TOML) of a table of links, and perhaps one of nodes.

    Links have the columns ``from``, ``to``, and perhaps ``length_km``, ``systems`` and ``rate_bps``; nodes ``name`` and perhaps
    ``latitude_deg``, ``longitude_deg``, ``altitude_m``, ``kind`` and ``trust``. Raises ScenarioError naming line and column.
    """
    links = []
    for where, row in _rows(links_path, LINK_COLUMNS, needed=2):
        systems = _number(row, "systems", where)
        length_km, rate_bps = _number(row, "length_km", where), _number(row, "rate_bps", where)
        links.append(ImportedLink((_name(row["from"]), _name(row["to"])), length_km, 1 if systems is None else int(systems), rate_bps))
    if nodes_path is None:
        nodes = [ImportedNode(end) for end in dict.fromkeys(end for link in links for end in link.ends)]
    else:
        nodes = [_csv_node(where, row) for where, row in _rows(nodes_path, NODE_COLUMNS, needed=1)]
    among = {node.name for node in nodes}
    for name_of_node, count in Counter(node.name for node in nodes).items():
        if count > 1:
            raise ScenarioError(f"{nodes_path}, name", name_of_node, "this name stands twice")
    for number, link in enumerate(links, start=2):
        for end in link.ends:
            known(f"{links_path.name}, line {number}", end, among)
    return scenario_text(name, nodes, _merged(links, directed=False), source=f"imported from {links_path.name}")


def scenario_text(name: str, nodes: Sequence[ImportedNode], links: Sequence[ImportedLink], *, source: str) -> str:
    """A scenario file of these nodes and links, with usual equipment to be replaced. Raises ScenarioError on a link without a length."""
    places = {node.name: node.place for node in nodes}
    parts = [
        f"# {source}; equipment and demands are assumed: put your own.",
        "format = 1",
        f"name = {_text(name)}",
        f"title = {_text(name)}",
    ]
    for node in nodes:
        fields: dict[str, object] = {"name": node.name, "kind": node.kind, "source": source}
        if node.place is not None:
            fields |= {"latitude_deg": node.place[0], "longitude_deg": node.place[1], "altitude_m": node.altitude_m}
        parts.append(_table("topology.nodes", fields | ({"trust": node.trust} if node.trust != "own" else {})))
    for link in links:
        length_km = link.length_km if link.length_km is not None else _length_km(link, places)
        within(f"link {LINK_JOINT.join(link.ends)}, length_km", length_km, 0.0, 20_000.0)
        hops = max(1, ceil(length_km / LONGEST_HOP_KM)) if link.rate_bps is None else 1
        of_link = source if link.length_km is not None else f"{source}; length assumed: great circle times {FIBRE_FACTOR}"
        common: dict[str, object] = {"equipment": "trunk", "systems": link.systems, "source": of_link}
        if hops > 1:
            fields = {"name": " to ".join(link.ends), "through": list(link.ends), "length_km": [round(length_km, 3)], "hops": hops}
            parts.append(_table("topology.lines", fields | common))
        else:
            rate = {} if link.rate_bps is None else {"rate_bps": link.rate_bps}
            parts.append(_table("topology.fibres", {"ends": list(link.ends), "length_km": round(length_km, 3)} | rate | common))
    parts.append(equipment_text())
    parts.append(_table("plan", {"from": "2026-01-01", "to": "2027-01-01"}, many=False))
    grounded = [node.name for node in nodes if node.kind != "satellite"]
    if 2 <= len(grounded) <= PLANNED_NODES:
        parts.append(_table("plan.demand_groups", {"nodes": grounded, "rate_bps": 1000.0, "source": "assumed: every pair alike"}))
    return "\n".join(parts) + "\n"


def _length_km(link: ImportedLink, places: dict[str, tuple[float, float] | None]) -> float:
    here, there = (places[end] for end in link.ends)
    for end, place in zip(link.ends, (here, there), strict=True):
        if place is None:
            raise ScenarioError(
                f"node {end}, latitude_deg and longitude_deg", None, f"needed: the link {LINK_JOINT.join(link.ends)} has no length_km"
            )
    assert here is not None
    assert there is not None
    return FIBRE_FACTOR * float(great_circle_km([here], [there])[0])


def _merged(links: Iterable[ImportedLink], *, directed: bool) -> list[ImportedLink]:
    """One link for each pair; more of them, unless they are the two directions of one, are systems side by side on the shortest."""
    merged: dict[frozenset[str], ImportedLink] = {}
    for link in links:
        pair = frozenset(link.ends)
        if len(pair) == 1:
            raise ScenarioError("link", LINK_JOINT.join(link.ends), "must be between two different nodes")
        within(f"link {LINK_JOINT.join(link.ends)}, systems", link.systems, 1, 1000)
        if pair in merged:
            before = merged[pair]
            lengths = [each.length_km for each in (before, link) if each.length_km is not None]
            systems = max(before.systems, link.systems) if directed else before.systems + link.systems
            merged[pair] = replace(before, length_km=min(lengths, default=None), systems=systems)
        else:
            merged[pair] = link
    return list(merged.values())


def _rows(path: Path, columns: Sequence[str], *, needed: int) -> list[tuple[str, dict[str, str]]]:
    """Each row of a CSV file with where it stands. Raises ScenarioError on a missing or unknown column, or a row too short."""
    reader = csv.reader(read_text(path, "file").lstrip("\ufeff").splitlines())
    try:
        header = [column.strip() for column in next(reader, [])]
        for column in header:
            if column not in columns:
                raise ScenarioError(f"{path.name}, column", column, f"columns are {', '.join(columns)}")
        for column in columns[:needed]:
            if column not in header:
                raise ScenarioError(f"{path.name}, column", column, "must be there")
        rows = []
        for row in reader:
            where = f"{path.name}, line {reader.line_num}"
            if not any(row):
                continue
            if len(row) != len(header):
                raise ScenarioError(where, f"{len(row)} values", f"must be {len(header)}, one for each column")
            rows.append((where, dict(zip(header, (value.strip() for value in row), strict=True))))
    except csv.Error as error:
        raise ScenarioError(path.name, f"line {reader.line_num}", f"must be CSV: {error}") from None
    within(f"{path.name}, rows", len(rows), 1, MOST_ITEMS)
    return rows


def _csv_node(where: str, row: dict[str, str]) -> ImportedNode:
    kind, trust = row.get("kind") or "trusted node", row.get("trust") or "own"
    known(f"{where}, kind", kind, get_args(NodeKind))
    known(f"{where}, trust", trust, get_args(TrustClass))
    latitude_deg, longitude_deg, altitude_m = (_number(row, field, where) for field in NODE_COLUMNS[1:4])
    return _checked_node(ImportedNode(_name(row["name"]), latitude_deg, longitude_deg, altitude_m or 0.0, kind, trust))


def _checked_node(node: ImportedNode) -> ImportedNode:
    for field, limit in (("latitude_deg", 90.0), ("longitude_deg", 180.0), ("altitude_m", 9000.0)):
        value = getattr(node, field)
        if value is not None:
            within(f"node {node.name}, {field}", value, -limit, limit)
    return node


def _name(text: str) -> str:
    """A name without what joins the names of a link."""
    return text.strip().replace(LINK_JOINT, "-")


def _unique(text: str, taken: set[str]) -> str:
    """``text``, or with a number behind it when that name is taken."""
    name = stem = _name(text)
    number = 1
    while name in taken:
        number += 1
        name = f"{stem} {number}"
    return name


def _first(facts: dict[str, Any], keys: Iterable[str], where: str) -> float | None:
    return next((_number(facts, key, where) for key in keys if facts.get(key) not in (None, "")), None)


def _number(facts: dict[str, Any], key: str, where: str) -> float | None:
    value = facts.get(key)
    if value in (None, ""):
        return None
    try:
        number = float(str(value))
    except ValueError:
        number = float("nan")
    if not isfinite(number) or (key in {"systems", "length_km", "rate_bps"} and number < 0):
        raise ScenarioError(f"{where}, {key}", value, "must be a number, and 0 or greater for lengths, rates and systems")
    if key == "systems" and number % 1:
        raise ScenarioError(f"{where}, {key}", value, "must be a whole number")
    return number


def _table(name: str, fields: dict[str, object], *, many: bool = True) -> str:
    head = f"\n[[{name}]]" if many else f"\n[{name}]"
    return "\n".join([head, *(f"{key} = {_text(value)}" for key, value in fields.items())])


def _text(value: object) -> str:
    """A value as TOML; its strings, numbers and lists of them are written as in JSON, but for the escapes of rare characters."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
