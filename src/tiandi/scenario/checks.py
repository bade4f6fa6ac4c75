"""What must hold in a scenario file beyond its types: names that fit together, figures within their limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from tiandi.errors import InputError, ScenarioError
from tiandi.kms.tls.identities import require_identity
from tiandi.scenario import schema

LINK_JOINT = " - "

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


def known(field: str, name: str, among: Iterable[str]) -> None:
    """Raise ScenarioError, with some of the names there are, unless ``name`` is one of them."""
    names = sorted(among)
    if name not in names:
        shown = ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
        raise ScenarioError(field, name, f"must be one of {shown}" if names else "there is none to choose from")


def check_names(file: schema.ScenarioFile) -> None:
    """Raise ScenarioError on a name that stands twice, is of the wrong kind, or means nothing."""
    _check_nodes(file.topology)
    _check_fibres(file)
    _check_sky(file)
    _check_pairs(file.topology)
    _check_applications(file)


def _check_nodes(topology: schema.Topology) -> None:
    for node in _unique("topology.nodes", [entry.name for entry in topology.nodes]):
        if LINK_JOINT in node:
            raise ScenarioError("topology.nodes", node, f"a name must not contain '{LINK_JOINT}', which joins the names of a link")


def _check_fibres(file: schema.ScenarioFile) -> None:
    on_the_ground = [entry.name for entry in file.topology.nodes if entry.kind != "satellite"]
    for number, fibre in enumerate(file.topology.fibres):
        for end in fibre.ends:
            known(f"topology.fibres[{number}].ends", end, on_the_ground)
        if fibre.ends[0] == fibre.ends[1]:
            raise ScenarioError(f"topology.fibres[{number}].ends", fibre.ends, "must be two different nodes")
        known(f"topology.fibres[{number}].equipment", fibre.equipment, file.equipment.fibre_links)
    for name, receiver in file.equipment.receivers.items():
        known(f"equipment.receivers.{name}.detector", receiver.detector, file.equipment.detectors)
    for name, sheet in file.equipment.fibre_links.items():
        known(f"equipment.fibre_links.{name}.transmitter", sheet.transmitter, file.equipment.transmitters)
        known(f"equipment.fibre_links.{name}.receiver", sheet.receiver, file.equipment.receivers)


def _check_sky(file: schema.ScenarioFile) -> None:
    topology = file.topology
    by_kind = {kind: [entry.name for entry in topology.nodes if entry.kind == kind] for kind in ("satellite", "ground station")}
    satellites = _unique("topology.satellites", [entry.name for entry in topology.satellites])
    for number, satellite in enumerate(satellites):
        known(f"topology.satellites[{number}].name", satellite, by_kind["satellite"])
    for number, downlink in enumerate(topology.downlinks):
        known(f"topology.downlinks[{number}].satellite", downlink.satellite, satellites)
        known(f"topology.downlinks[{number}].station", downlink.station, by_kind["ground station"])
        known(f"topology.downlinks[{number}].transmitter", downlink.transmitter, file.equipment.transmitters)
        known(f"topology.downlinks[{number}].receiver", downlink.receiver, file.equipment.receivers)
    for number, hand_over in enumerate(topology.hand_overs):
        for station in hand_over.stations:
            link = f"{hand_over.satellite}{LINK_JOINT}{station}"
            known(f"topology.hand_overs[{number}].stations", link, [downlink.name for downlink in topology.downlinks])
    if topology.downlinks and file.run.sky is None:
        raise ScenarioError("run.sky", None, "must say when to look for passes, since there are downlinks")


def _check_pairs(topology: schema.Topology) -> None:
    """Key is kept by pair of nodes, so a pair may have one link only."""
    joints: list[schema.FibreEntry | schema.DownlinkEntry | schema.HandOverEntry]
    joints = [*topology.fibres, *topology.downlinks, *topology.hand_overs]
    pairs = [frozenset(entry.ends) for entry in joints]
    for entry, pair in zip(joints, pairs, strict=True):
        if pairs.count(pair) > 1:
            raise ScenarioError("topology", entry.name, "two nodes may be joined by one link only")


def _check_applications(file: schema.ScenarioFile) -> None:
    nodes = [entry.name for entry in file.topology.nodes]
    saes = _unique("topology.applications", [entry.sae for entry in file.topology.applications])
    for number, application in enumerate(file.topology.applications):
        named(f"topology.applications[{number}]", partial(require_identity, application.sae, "sae"))
        known(f"topology.applications[{number}].node", application.node, nodes)
    message = file.run.message
    known("run.message.sender", message.sender, saes)
    known("run.message.recipient", message.recipient, saes)
    if message.sender == message.recipient:
        raise ScenarioError("run.message.recipient", message.recipient, "must be another than the sender")
    if file.run.eavesdropper is not None:
        known("run.eavesdropper.link", file.run.eavesdropper.link, [entry.name for entry in file.topology.fibres])


def _unique(field: str, names: list[str]) -> list[str]:
    for name in names:
        if names.count(name) > 1:
            raise ScenarioError(field, name, "this name stands twice")
        if not name.strip():
            raise ScenarioError(field, name, "a name must not be empty")
    return names
