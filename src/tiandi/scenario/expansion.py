"""What a scenario file says in short, at length: lists of nodes, lines, constellations and groups become nodes, fibres and links."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from itertools import pairwise
from math import degrees

from msgspec import structs

from tiandi.errors import ScenarioError
from tiandi.physics.constellation import sun_synchronous_inclination_deg, walker_constellation
from tiandi.scenario import schema
from tiandi.scenario.checks import known, named, within

MOST_NODES = 50_000
MOST_LINKS = 500_000
MOST_HOPS = 1_000
"""A file of a few lines can ask for more than any machine holds; beyond these it is refused before it is written out."""
WALKER_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""Only angles are taken from elements of this date; the epoch of the orbits is the file's."""


def expand(file: schema.ScenarioFile) -> schema.ScenarioFile:
    """The same scenario with every node, fibre, satellite and downlink written out. Raises ScenarioError on what cannot be."""
    short = file.topology
    within("topology.constellations.total", sum(entry.total for entry in short.constellations), 0, MOST_NODES)
    listed = [*short.nodes, *(node for entry in short.node_lists for node in _nodes_of_list(entry))]
    relays, fibres = _lines(short.lines, {node.name: node for node in listed})
    flown = [pair for number, entry in enumerate(short.constellations) for pair in _constellation(number, entry)]
    nodes = [*listed, *relays, *(node for node, _ in flown)]
    within("topology.nodes", len(nodes), 1, MOST_NODES)
    topology = structs.replace(
        short,
        nodes=nodes,
        node_lists=[],
        fibres=[*short.fibres, *fibres],
        lines=[],
        satellites=[*short.satellites, *(satellite for _, satellite in flown)],
        constellations=[],
    )
    downlinks = [*short.downlinks, *_downlinks(topology)]
    return structs.replace(file, topology=structs.replace(topology, downlinks=downlinks, downlink_groups=[]))


def chosen(field: str, patterns: Iterable[str], names: Sequence[str]) -> list[str]:
    """The ``names`` that ``patterns`` call, each once, in their own order. Raises ScenarioError on a pattern that calls none."""
    called: set[str] = set()
    among = set(names)
    for pattern in patterns:
        found = {pattern} if pattern in among else {name for name in names if fnmatchcase(name, pattern)}
        if not found:
            known(field, pattern, names)
        called |= found
    return [name for name in names if name in called]


def _nodes_of_list(entry: schema.NodeListEntry) -> Iterator[schema.NodeEntry]:
    for name, place in entry.places.items():
        yield schema.NodeEntry(
            name=name,
            kind=entry.kind,
            source=entry.source,
            latitude_deg=place[0],
            longitude_deg=place[1],
            altitude_m=place[2] if len(place) > 2 else 0.0,
            trust=entry.trust,
            telescopes=entry.telescopes,
        )


def _lines(lines: Sequence[schema.LineEntry], nodes: dict[str, schema.NodeEntry]) -> tuple[list[schema.NodeEntry], list[schema.FibreEntry]]:
    relays: list[schema.NodeEntry] = []
    fibres: list[schema.FibreEntry] = []
    for number, line in enumerate(lines):
        where = f"topology.lines[{number}]"
        spans = len(line.through) - 1
        hops = _per_span(f"{where}.hops", line.hops, spans)
        systems = _per_span(f"{where}.systems", line.systems, spans)
        _require_length(f"{where}.length_km", line.length_km, spans)
        within(f"{where}.hops", sum(hops), 1, MOST_HOPS)
        for end in line.through:
            known(f"{where}.through", end, nodes)
        first = len(relays)
        for span in range(spans):
            ends = nodes[line.through[span]], nodes[line.through[span + 1]]
            between = [_relay(line, len(relays) - first + hop, ends, hop / hops[span]) for hop in range(1, hops[span])]
            relays += between
            way = [line.through[span], *(relay.name for relay in between), line.through[span + 1]]
            fibres += [
                schema.FibreEntry(
                    ends=(here, there),
                    length_km=line.length_km[span] / hops[span],
                    equipment=line.equipment,
                    source=line.source,
                    systems=systems[span],
                )
                for here, there in pairwise(way)
            ]
    return relays, fibres


def _relay(line: schema.LineEntry, number: int, ends: tuple[schema.NodeEntry, schema.NodeEntry], share: float) -> schema.NodeEntry:
    """The relay at ``share`` of the way between two nodes. A span is short: along its chord and along the great circle are one."""
    here, there = ((node.latitude_deg, node.longitude_deg) for node in ends)
    latitude_deg = longitude_deg = None
    if here[0] is not None and here[1] is not None and there[0] is not None and there[1] is not None:
        # The short way round, also across the meridian of 180 degrees.
        turn_deg = (there[1] - here[1] + 180.0) % 360.0 - 180.0
        latitude_deg = round(here[0] + share * (there[0] - here[0]), 4)
        longitude_deg = round((here[1] + share * turn_deg + 180.0) % 360.0 - 180.0, 4)
    return schema.NodeEntry(
        name=f"{line.name} relay {number}",
        kind="trusted node",
        source="synthetic: interpolated between the nodes of the line",
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
    )


def _per_span(field: str, value: int | list[int], spans: int) -> list[int]:
    if isinstance(value, int):
        return [value] * spans
    _require_length(field, value, spans)
    return value


def _require_length(field: str, values: Sequence[float], spans: int) -> None:
    if len(values) != spans:
        raise ScenarioError(field, f"{len(values)} values", f"must be {spans}, one for each span between nodes of the line")


def _constellation(number: int, entry: schema.ConstellationEntry) -> list[tuple[schema.NodeEntry, schema.SatelliteEntry]]:
    where = f"topology.constellations[{number}]"
    inclination_deg = entry.inclination_deg
    if inclination_deg is None:
        inclination_deg = named(where, partial(sun_synchronous_inclination_deg, entry.altitude_km))
    walker = named(
        where,
        lambda: walker_constellation(
            entry.total,
            entry.planes,
            entry.phasing,
            altitude_km=entry.altitude_km,
            inclination_deg=inclination_deg,
            epoch=WALKER_EPOCH,
            pattern=entry.pattern,
            first_node_deg=entry.first_node_deg,
            name=entry.name,
        ),
    )
    common = {field: getattr(entry, field) for field in schema.Spacecraft.__struct_fields__ if field != "name"}
    return [
        (
            schema.NodeEntry(name=elements.name, kind="satellite", source=entry.source, trust=entry.trust),
            schema.SatelliteEntry(
                name=elements.name,
                orbit=schema.OrbitEntry(
                    altitude_km=entry.altitude_km,
                    inclination_deg=inclination_deg,
                    node_deg=degrees(elements.satellite.nodeo),
                    mean_anomaly_deg=degrees(elements.satellite.mo),
                    epoch=entry.epoch,
                ),
                **common,
            ),
        )
        for elements in walker
    ]


def _downlinks(topology: schema.Topology) -> list[schema.DownlinkEntry]:
    satellites = [entry.name for entry in topology.satellites]
    stations = [node.name for node in topology.nodes if node.kind == "ground station"]
    downlinks: list[schema.DownlinkEntry] = []
    for number, group in enumerate(topology.downlink_groups):
        where = f"topology.downlink_groups[{number}]"
        senders = chosen(f"{where}.satellites", group.satellites, satellites)
        receivers = chosen(f"{where}.stations", group.stations, stations)
        within(f"{where} (links)", len(downlinks) + len(senders) * len(receivers), 0, MOST_LINKS)
        downlinks += [
            schema.DownlinkEntry(
                satellite=satellite,
                station=station,
                receiver=group.receiver,
                zenith_extinction_db=group.zenith_extinction_db,
                maximum_range_km=group.maximum_range_km,
                source=group.source,
            )
            for satellite in senders
            for station in receivers
        ]
    return downlinks
