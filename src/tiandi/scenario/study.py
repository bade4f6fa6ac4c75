"""A scenario as a study sees it: rates of its fibres, satellites, stations, climates, and who wants how much key."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import partial

import rustworkx
from msgspec import structs

from tiandi.constants import SECONDS_PER_DAY
from tiandi.control.topology import Link, Node, Switch, Topology
from tiandi.errors import ScenarioError
from tiandi.physics.passes import Visibility
from tiandi.planning.climates import Climate, load_climates, read_climates
from tiandi.planning.inputs import PlannedSatellite, PlannedStation, Prices, StudyInputs
from tiandi.quantum.channel import InterSatelliteChannel
from tiandi.quantum.link import QkdLink
from tiandi.scenario import schema
from tiandi.scenario.checks import known, named
from tiandi.scenario.demands import demands_of
from tiandi.scenario.satellites import spacecraft_of
from tiandi.scenario.scenario import Scenario

PARTS_SHOWN, NODES_SHOWN = 4, 3
MODEL_NOTES = (
    "Fibres make the key that their block by block forecast says, finite-size terms included, around the clock: no repairs, no time for"
    " polarisation to be set again.",
)


def study_inputs(scenario: Scenario) -> StudyInputs:
    """What a study asks about ``scenario``.

    Raises ScenarioError naming the field that cannot stand: a fibre that no key can cross, a network in parts, a station whose
    downlinks disagree on its receiver, a climate that is not in the table.
    """
    file = scenario.file
    topology = Topology.of(
        [_node(entry) for entry in file.topology.nodes],
        [*_fibres(scenario), *_gateway_links(file), *_inter_satellite_links(scenario), *_downlinks(file)],
        [Switch(entry.name, entry.at_once) for entry in file.topology.switches],
    )
    require_connected(topology)
    stations = _stations(scenario)
    plan = file.plan
    return StudyInputs(
        name=scenario.name,
        title=scenario.title,
        topology=topology,
        satellites=tuple(_satellite(scenario, entry) for entry in file.topology.satellites),
        stations=stations,
        demands=tuple(demands_of(file)),
        climates=_climates(scenario, stations),
        prices=None if plan is None or plan.prices is None else Prices(**structs.asdict(plan.prices)),
        epsilon_secrecy=file.run.epsilon_secrecy,
        epsilon_correctness=file.run.epsilon_correctness,
        notes=(*file.run.notes, *MODEL_NOTES, *_synthetic_note(file)),
    )


def require_connected(topology: Topology) -> None:
    """Raise ScenarioError, naming the parts, unless key can be relayed between any two nodes over some chain of links."""
    number = {name: index for index, name in enumerate(topology.nodes)}
    relays = [node.relays for node in topology.nodes.values()]
    graph = rustworkx.PyGraph(multigraph=False)
    graph.add_nodes_from(list(topology.nodes))
    attached: set[int] = set()
    for link in topology.links.values():
        here, there = (number[end] for end in link.ends)
        if relays[here] and relays[there]:
            graph.add_edge(here, there, None)
        elif relays[here] or relays[there]:
            # Nothing passes through a user node, so that it joins no parts: it belongs to the first that it has a link to.
            user = there if relays[here] else here
            if user not in attached:
                attached.add(user)
                graph.add_edge(here, there, None)
    parts = sorted(rustworkx.connected_components(graph), key=len, reverse=True)
    if len(parts) > 1:
        names = [[graph[index] for index in sorted(part)] for part in parts]
        shown = [
            ", ".join(part[:NODES_SHOWN]) + (f" and {len(part) - NODES_SHOWN} more" if len(part) > NODES_SHOWN else "") for part in names
        ]
        more = f"; and {len(parts) - PARTS_SHOWN} more parts" if len(parts) > PARTS_SHOWN else ""
        listed = "; ".join(shown[:PARTS_SHOWN])
        raise ScenarioError("topology", f"{len(parts)} parts", f"no links join its parts: {listed}{more}")


def _node(entry: schema.NodeEntry) -> Node:
    return Node(
        entry.name,
        kind=entry.kind,
        trust=entry.trust,
        latitude_deg=entry.latitude_deg,
        longitude_deg=entry.longitude_deg,
        altitude_m=entry.altitude_m,
        telescopes=entry.telescopes,
    )


def _fibres(scenario: Scenario) -> list[Link]:
    """Fibres with their rates; those of equal equipment and length are forecast once."""
    rate_bps: dict[tuple[str, float], float] = {}
    links = []
    for number, entry in enumerate(scenario.file.topology.fibres):
        like = entry.equipment, entry.length_km
        if entry.rate_bps is None and like not in rate_bps:
            rate_bps[like] = scenario.fibre_rate_bps(number)
        rate = rate_bps[like] if entry.rate_bps is None else entry.rate_bps
        links.append(Link(entry.name, entry.ends, rate_bps=entry.systems * rate, length_km=entry.length_km, switch=entry.switch))
    return links


def _gateway_links(file: schema.ScenarioFile) -> list[Link]:
    return [Link(entry.name, entry.ends, kind="gateway", rate_bps=entry.rate_bps) for entry in file.topology.gateway_links]


def _downlinks(file: schema.ScenarioFile) -> list[Link]:
    return [Link(entry.name, entry.ends, kind="downlink") for entry in file.topology.downlinks]


def _inter_satellite_links(scenario: Scenario) -> list[Link]:
    """Links between satellites at the mean rate of the first day of the plan, in one block."""
    links = []
    for number, entry in enumerate(scenario.file.topology.inter_satellite_links):
        here, there = entry.ends
        where = f"topology.inter_satellite_links[{number}]"
        transmitter, receiver = scenario.sender(here), scenario.receiver(entry.receiver)
        ways = scenario.elements(here), scenario.elements(there)
        channel = named(
            where,
            partial(InterSatelliteChannel, transmitter, receiver, *ways, scenario.plan_window[0], SECONDS_PER_DAY),
        )
        link = named(
            where, partial(QkdLink, here, there, transmitter=transmitter, receiver=receiver, channel=channel, security=scenario.security)
        )
        rate_bps = link.forecast(SECONDS_PER_DAY).secret_bit / SECONDS_PER_DAY
        links.append(Link(entry.name, entry.ends, kind="inter-satellite", rate_bps=rate_bps, length_km=channel.length_km))
    return links


def _satellite(scenario: Scenario, entry: schema.SatelliteEntry) -> PlannedSatellite:
    """A satellite with what the file says of it, else its data sheet, else what is usual."""
    links = {link.transmitter for link in scenario.file.topology.downlinks if link.satellite == entry.name}
    if len(links) > 1:
        raise ScenarioError(f"topology.downlinks ({entry.name}).transmitter", sorted(links), "a satellite of a study has one transmitter")
    sheet = spacecraft_of(entry)
    given = {name: getattr(entry, name) for name in ("buffer_bit", "contact_limit_s", "slew_s", "sunlit_allowed")}
    facts = {
        name: value if value is not None else getattr(sheet, name)
        for name, value in given.items()
        if value is not None or sheet is not None
    }
    elements = scenario.elements(entry.name)
    return named(
        "topology",
        lambda: PlannedSatellite(
            elements,
            scenario.sender(entry.name, *links),
            labels=dict(sheet.labels) if sheet is not None else {"source": entry.source},
            **facts,
        ),
    )


def _stations(scenario: Scenario) -> tuple[PlannedStation, ...]:
    """Ground stations that satellites serve. The downlinks of one agree on its receiver and its air; the farthest range of them holds."""
    plan = scenario.file.plan
    visibility = Visibility(10.0, 20.0, -6.0)
    if plan is not None:
        limits = plan.elevation_cutoff_deg, plan.culmination_deg, plan.sun_elevation_limit_deg
        visibility = named("plan", partial(Visibility, *limits))
    by_station: dict[str, list[schema.DownlinkEntry]] = {}
    for link in scenario.file.topology.downlinks:
        by_station.setdefault(link.station, []).append(link)
    telescopes = {node.name: node.telescopes for node in scenario.file.topology.nodes}
    stations = []
    for name, links in by_station.items():
        for field in ("receiver", "zenith_extinction_db"):
            given = {getattr(link, field) for link in links}
            if len(given) > 1:
                raise ScenarioError(
                    f"topology.downlinks ({name}).{field}", sorted(given), "must be the same for all satellites of a station"
                )
        stations.append(
            PlannedStation(
                scenario.station(name),
                scenario.receiver(links[0].receiver),
                zenith_extinction_db=links[0].zenith_extinction_db,
                climate=_climate_name(plan, name),
                visibility=visibility,
                maximum_range_km=max(link.maximum_range_km for link in links),
                telescopes=telescopes[name],
            )
        )
    return tuple(stations)


def _climate_name(plan: schema.PlanOptions | None, station: str) -> str:
    if plan is not None:
        for pattern, climate in plan.climates.items():
            if pattern == station or fnmatchcase(station, pattern):
                return climate
    return station


def _climates(scenario: Scenario, stations: Sequence[PlannedStation]) -> dict[str, Climate]:
    """The rows of the table of cloud that the stations name."""
    plan = scenario.file.plan
    table = dict(load_climates())
    if plan is not None and plan.climate_file:
        table |= read_climates(scenario.folder / plan.climate_file)
    for station in stations:
        known(f"plan.climates ({station.name})", station.climate, table)
    return {station.climate: table[station.climate] for station in stations}


def _synthetic_note(file: schema.ScenarioFile) -> tuple[str, ...]:
    nodes = file.topology.nodes
    synthetic = sum(node.source.startswith("synthetic") for node in nodes)
    return (f"{synthetic} of the {len(nodes)} nodes are synthetic: their sites are interpolated.",) if synthetic else ()
