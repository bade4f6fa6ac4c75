"""What must hold in a scenario file beyond its types: names that fit together, figures within their limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from typing import TypeVar

from tiandi.errors import InputError, ScenarioError
from tiandi.kms.tls.identities import require_identity
from tiandi.scenario import schema

LINK_JOINT = " - "
MOST_RATE_BPS = 1e12

Made = TypeVar("Made")


def named(where: str, make: Callable[[], Made]) -> Made:
    """What ``make`` makes; an InputError on the way is told with the place in the file."""
    try:
        return make()
    except InputError as error:
        raise ScenarioError(f"{where}.{error.field}", error.value, error.limit) from None


def within(field: str, value: float, low: float, high: float) -> None:
    """Raise ScenarioError unless ``low`` <= ``value`` <= ``high``."""
    if not low <= value <= high:
        raise ScenarioError(field, value, f"must lie in [{low:g}, {high:g}]")


def known(field: str, name: str, among: Collection[str]) -> None:
    """Raise ScenarioError, with some of the names there are, unless ``name`` is one of them."""
    if name not in among:
        names = sorted(among)
        shown = ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
        raise ScenarioError(field, name, f"must be one of {shown}" if names else "there is none to choose from")


def check_names(file: schema.ScenarioFile) -> None:
    """Raise ScenarioError on a name that stands twice, is of the wrong kind, or means nothing. ``file`` is one that was written out."""
    _check_nodes(file.topology)
    _check_equipment(file.equipment)
    _check_fibres(file)
    _check_sky(file)
    _check_pairs(file.topology)
    _check_applications(file)
    if file.plan is not None:
        _check_plan(file.plan, file.topology)


def _check_nodes(topology: schema.Topology) -> None:
    for node in _unique("topology.nodes", [entry.name for entry in topology.nodes]):
        if LINK_JOINT in node:
            raise ScenarioError("topology.nodes", node, f"a name must not contain '{LINK_JOINT}', which joins the names of a link")
    for number, entry in enumerate(topology.nodes):
        for field, limit in (("latitude_deg", 90.0), ("longitude_deg", 180.0), ("altitude_m", 9000.0)):
            value = getattr(entry, field)
            if value is not None:
                within(f"topology.nodes ({entry.name}).{field}", value, -limit, limit)
        within(f"topology.nodes[{number}].telescopes", entry.telescopes, 1, 64)


def _check_equipment(equipment: schema.Equipment) -> None:
    for name, receiver in equipment.receivers.items():
        known(f"equipment.receivers.{name}.detector", receiver.detector, equipment.detectors)
    for name, sheet in equipment.fibre_links.items():
        known(f"equipment.fibre_links.{name}.transmitter", sheet.transmitter, equipment.transmitters)
        known(f"equipment.fibre_links.{name}.receiver", sheet.receiver, equipment.receivers)


def _check_fibres(file: schema.ScenarioFile) -> None:
    on_the_ground = {entry.name for entry in file.topology.nodes if entry.kind != "satellite"}
    gateways = {entry.name for entry in file.topology.nodes if entry.kind == "gateway"}
    switches = set(_unique("topology.switches", [entry.name for entry in file.topology.switches]))
    for number, fibre in enumerate(file.topology.fibres):
        where = f"topology.fibres[{number}]"
        _check_ends(where, fibre.ends, on_the_ground)
        known(f"{where}.equipment", fibre.equipment, file.equipment.fibre_links)
        if fibre.switch:
            known(f"{where}.switch", fibre.switch, switches)
        within(f"{where}.systems", fibre.systems, 1, 1000)
        if fibre.rate_bps is not None:
            within(f"{where}.rate_bps", fibre.rate_bps, 0.0, MOST_RATE_BPS)
    for number, link in enumerate(file.topology.gateway_links):
        where = f"topology.gateway_links[{number}]"
        _check_ends(where, link.ends, on_the_ground)
        if gateways.isdisjoint(link.ends):
            raise ScenarioError(f"{where}.ends", link.ends, "one of them must be a node of kind 'gateway'")
        within(f"{where}.rate_bps", link.rate_bps, 0.0, MOST_RATE_BPS)


def _check_ends(where: str, ends: tuple[str, str], among: Collection[str]) -> None:
    for end in ends:
        known(f"{where}.ends", end, among)
    if ends[0] == ends[1]:
        raise ScenarioError(f"{where}.ends", ends, "must be two different nodes")


def _check_sky(file: schema.ScenarioFile) -> None:
    topology, equipment = file.topology, file.equipment
    by_kind = {kind: {entry.name for entry in topology.nodes if entry.kind == kind} for kind in ("satellite", "ground station")}
    satellites = {entry.name: entry for entry in topology.satellites}
    _unique("topology.satellites", [entry.name for entry in topology.satellites])
    for number, satellite in enumerate(topology.satellites):
        known(f"topology.satellites[{number}].name", satellite.name, by_kind["satellite"])
        if satellite.transmitter:
            known(f"topology.satellites[{number}].transmitter", satellite.transmitter, equipment.transmitters)
        _check_orbit(f"topology.satellites[{number}] ({satellite.name})", satellite)
    for number, downlink in enumerate(topology.downlinks):
        where = f"topology.downlinks[{number}]"
        known(f"{where}.satellite", downlink.satellite, satellites)
        known(f"{where}.station", downlink.station, by_kind["ground station"])
        known(f"{where}.receiver", downlink.receiver, equipment.receivers)
        if downlink.transmitter or not satellites[downlink.satellite].sheet:
            known(f"{where}.transmitter", downlink.transmitter or satellites[downlink.satellite].transmitter, equipment.transmitters)
    for number, link in enumerate(topology.inter_satellite_links):
        _check_ends(f"topology.inter_satellite_links[{number}]", link.ends, satellites)
        known(f"topology.inter_satellite_links[{number}].receiver", link.receiver, equipment.receivers)
    links = {downlink.name for downlink in topology.downlinks}
    for number, hand_over in enumerate(topology.hand_overs):
        for station in hand_over.stations:
            known(f"topology.hand_overs[{number}].stations", f"{hand_over.satellite}{LINK_JOINT}{station}", links)
    if topology.downlinks and file.run.sky is None and file.plan is None:
        raise ScenarioError("run.sky", None, "must say when to look for passes, since there are downlinks")


def _check_orbit(where: str, satellite: schema.SatelliteEntry) -> None:
    """A satellite has one orbit: two lines, a design, or that of its data sheet."""
    lines = (satellite.line1, satellite.line2)
    if (lines[0] is None) != (lines[1] is None):
        raise ScenarioError(f"{where}.line{2 if lines[1] is None else 1}", None, "elements are two lines: both must be there")
    if lines[0] is not None and satellite.orbit is not None:
        raise ScenarioError(f"{where}.orbit", "given", "must not be there beside line1 and line2")
    designed = satellite.orbit is not None and satellite.orbit.altitude_km is not None
    if lines[0] is None and not designed and not satellite.sheet:
        raise ScenarioError(where, None, "needs line1 and line2, an orbit with altitude_km, or a data sheet")


def _check_pairs(topology: schema.Topology) -> None:
    """Key is kept by pair of nodes, so a pair may have one link only."""
    joints: list[schema.Joint | schema.DownlinkEntry | schema.HandOverEntry]
    joints = [*topology.fibres, *topology.gateway_links, *topology.downlinks, *topology.inter_satellite_links, *topology.hand_overs]
    pairs = [frozenset(entry.ends) for entry in joints]
    count = Counter(pairs)
    for entry, pair in zip(joints, pairs, strict=True):
        if count[pair] > 1:
            raise ScenarioError("topology", entry.name, "two nodes may be joined by one link only; one fibre may have several systems")


def _check_applications(file: schema.ScenarioFile) -> None:
    nodes = {entry.name for entry in file.topology.nodes}
    saes = set(_unique("topology.applications", [entry.sae for entry in file.topology.applications]))
    for number, application in enumerate(file.topology.applications):
        named(f"topology.applications[{number}]", partial(require_identity, application.sae, "sae"))
        known(f"topology.applications[{number}].node", application.node, nodes)
    message = file.run.demonstration
    if message is not None:
        known("run.message.sender", message.sender, saes)
        known("run.message.recipient", message.recipient, saes)
        if message.sender == message.recipient:
            raise ScenarioError("run.message.recipient", message.recipient, "must be another than the sender")
    if file.run.eavesdropper is not None:
        known("run.eavesdropper.link", file.run.eavesdropper.link, [entry.name for entry in file.topology.fibres])


def _check_plan(plan: schema.PlanOptions, topology: schema.Topology) -> None:
    nodes = {entry.name for entry in topology.nodes if entry.kind != "satellite"}
    for number, demand in enumerate(plan.demands):
        _check_ends(f"plan.demands[{number}]", demand.ends, nodes)
        within(f"plan.demands[{number}].rate_bps", demand.rate_bps, 0.0, MOST_RATE_BPS)
    for number, group in enumerate(plan.demand_groups):
        where = f"plan.demand_groups[{number}]"
        within(f"{where}.rate_bps", group.rate_bps, 0.0, MOST_RATE_BPS)
        within(f"{where}.distance_exponent", group.distance_exponent, 0.0, 4.0)
        for name, weight in group.weights.items():
            known(f"{where}.weights", name, nodes)
            within(f"{where}.weights.{name}", weight, 0.0, 1e12)


def _unique(field: str, names: list[str]) -> list[str]:
    count = Counter(names)
    for name in names:
        if count[name] > 1:
            raise ScenarioError(field, name, "this name stands twice")
        if not name.strip():
            raise ScenarioError(field, name, "a name must not be empty")
    return names
