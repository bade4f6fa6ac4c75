"""Views of a living network, from what it has in memory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tiandi.clock import format_utc
from tiandi.control.trust import trust_map
from tiandi.errors import TiandiError
from tiandi.kms.etsi014 import KEY_SIZE_BIT
from tiandi.scenario.checks import LINK_JOINT
from tiandi.scenario.customers import ways_of
from tiandi.scenario.link_workers import LivingLink
from tiandi.scenario.living_sky import sun_point
from tiandi.scenario.network import kme_identity, relay_topology
from tiandi.scenario.view import (
    LinkLine,
    LinkState,
    LinkView,
    NetworkView,
    NodePoint,
    NodeView,
    PairView,
    StockLine,
)

if TYPE_CHECKING:
    from tiandi.scenario.living_core import LivingCore
    from tiandi.scenario.living_downlinks import SkyLink

MOST_WAYS = 4

View = TypeVar("View", LinkView, NodeView)


def network_view(living: LivingCore) -> NetworkView:
    """Everything at a glance."""
    now = living.clock.now()
    contacts = living.sky.contacts()
    at_work = {LINK_JOINT.join((line.satellite, line.station)): line.rate_bps for line in contacts if line.state == "now"}
    links = [_fibre_line(living, link) for link in living.workers.links.values()]
    links += [_sky_line(living, link, at_work.get(link.name, 0.0)) for link in living.sky_links.values()]
    fidelities = {link.fidelity for link in living.workers.links.values()}
    fidelity: Literal["events", "expected", "mixed"] = "mixed" if len(fidelities) > 1 else next(iter(fidelities), "events")
    return NetworkView(
        name=living.scenario.name,
        title=living.scenario.title,
        time=format_utc(now),
        speed=round(living.clock.speed_reached, 3),
        wanted_speed=living.clock.wanted_speed,
        paused=living.clock.paused,
        fidelity=fidelity,
        started=format_utc(living.started),
        now_real=format_utc(datetime.now(UTC)),
        nodes=[_node_point(living, name) for name in living.nodes],
        links=links,
        satellites=living.sky.points(),
        contacts=contacts,
        pairs=[pair.line(now) for pair in living.customers.pairs.values()],
        alarms=living.alarms.lines,
        totals=living.totals_now(),
        sun=sun_point(now),
    )


def _node_point(living: LivingCore, name: str) -> NodePoint:
    node = living.nodes[name]
    return NodePoint(
        name,
        node.kind,
        node.latitude_deg,
        node.longitude_deg,
        node.altitude_m,
        node.trust,
        sum(name in _ends(living, line.link) for line in living.alarms.lines),
        name in living.sky.stations and living.sky.cloudy(name),
        name in living.compromised,
    )


def _ends(living: LivingCore, link: str) -> tuple[str, ...]:
    found = living.workers.links.get(link) or living.sky_links.get(link)
    return found.ends if found else ()


def _fibre_line(living: LivingCore, link: LivingLink) -> LinkLine:
    state: LinkState = "up"
    if link.cut:
        state = "cut"
    elif living.alarms.of(link.name):
        state = "alarm"
    elif link.eavesdropped:
        state = "eavesdropped"
    elif link.full:
        state = "idle"
    rate_bps = 0.0 if link.full or link.cut else link.rate_bps
    return LinkLine(link.name, link.ends, "fibre", round(rate_bps, 1), link.stock_bit, link.qber, state, link.fidelity, link.eavesdropped)


def _sky_line(living: LivingCore, link: SkyLink, rate_bps: float) -> LinkLine:
    state: LinkState = "alarm" if living.alarms.of(link.name) else "up" if rate_bps else "idle"
    return LinkLine(link.name, link.ends, link.kind, round(rate_bps, 1), link.stock_bit, link.qber, state, "events")


def link_view(living: LivingCore, name: str) -> LinkView:
    """One link in detail."""
    fibre = living.workers.links.get(name)
    if fibre is not None:
        return _extended(
            LinkView,
            _fibre_line(living, fibre),
            length_km=fibre.link.channel.length_km,
            loss_db=round(fibre.loss_db, 3),
            funnel=fibre.funnel,
            epsilon_spent=fibre.epsilon_spent,
            blocks=list(fibre.blocks),
            history=list(fibre.history),
        )
    sky_link = living.sky_links[name]
    length_km, loss_db = sky_link.length_km, sky_link.loss_db
    if not sky_link.blocks:
        length_km, loss_db = living.sky.channels.get(name, (0.0, 0.0))
    return _extended(
        LinkView,
        _sky_line(living, sky_link, living.sky.rates_bps().get(name, 0.0)),
        length_km=round(length_km, 1),
        loss_db=round(loss_db, 3),
        funnel=sky_link.funnel,
        epsilon_spent=sky_link.epsilon_spent,
        blocks=list(sky_link.blocks),
        history=list(sky_link.history),
    )


def node_view(living: LivingCore, name: str) -> NodeView:
    """One node in detail."""
    kme = kme_identity(name)
    stocks = []
    links: list[LivingLink | SkyLink] = [*living.workers.links.values(), *living.sky_links.values()]
    for link in links:
        if name in link.ends:
            mine = link.ends[0] == name
            bits = (link.own_bit, link.peers_bit) if mine else (link.peers_bit, link.own_bit)
            stocks.append(StockLine(link.ends[1] if mine else link.ends[0], *bits))
    return _extended(
        NodeView,
        _node_point(living, name),
        kme_id=kme,
        address=living.node_address(name),
        stocks=stocks,
        saes=sorted(sae for sae, entry in living.host.directory.saes.items() if entry.home == kme),
        relays_in_flight=living.relays_in_flight.get(name, 0),
        alarm_lines=[line for line in living.alarms.lines if name in _ends(living, line.link)],
        what_it_learns=what_it_learns(living, name) if name in living.compromised else [],
    )


def what_it_learns(living: LivingCore, node: str) -> list[str]:
    """Sentences on what a compromised node has learned since then, and on what it did not although it stands on the way."""
    before, sentences = living.compromised[node], []
    for ends, pair in living.customers.pairs.items():
        title = " - ".join(ends)
        learned = pair.seen.get(node, 0) - before.get(ends, 0)
        if node in ends:
            sentences.append(f"It is an end of {title}: it has their keys by right.")
        elif learned:
            broken = " once ML-KEM is broken" if pair.demand.post_quantum else ""
            sentences.append(f"{learned} keys of {title} came through it, and it knows each of them{broken}.")
        elif pair.demand.paths > 1 and any(node in way for way in ways_of(living.network, pair, pair.demand.paths)):
            sentences.append(f"One of {pair.demand.paths} shares of each key of {title} comes through it, which alone tells it nothing.")
    return sentences or ["Nothing yet: no key has come through it since it was compromised."]


def pair_view(living: LivingCore, ends: tuple[str, str]) -> PairView:
    """Any two nodes in detail."""
    now = living.clock.now()
    customers = living.customers.pairs.get(ends) or living.customers.pairs.get(ends[::-1])
    routes, why = _ways(living, ends)
    paths = customers.demand.paths if customers else 1
    trust: list[str] = []
    if routes:
        topology = relay_topology(living.scenario.file.topology, str)
        used = routes[: max(1, min(paths, len(routes)))]
        trust = trust_map(topology, {ends: used}, post_quantum=bool(customers and customers.demand.post_quantum)).pairs[0].lines()
    return PairView(
        ends=ends,
        route=routes[0] if routes else [],
        routes=routes,
        trust=[line.strip() for line in trust],
        age_s=customers.age_s(now) if customers else None,
        served_bps=round(customers.served_bps, 1) if customers else 0.0,
        wanted_bps=round(customers.wanted_bps(now), 1) if customers else 0.0,
        why=why,
    )


def _ways(living: LivingCore, ends: tuple[str, str]) -> tuple[list[list[str]], str]:
    """The nodes of the ways that keys can go now, the best first, and why there is none where there is none."""
    try:
        found = living.network.controller.find(kme_identity(ends[0]), kme_identity(ends[1]), KEY_SIZE_BIT, MOST_WAYS)
    except TiandiError as error:
        return [], str(error)
    return [[living.network.node_of(kme) for kme in route] for route in found], ""


def route_between(living: LivingCore, source: str, target: str) -> list[str]:
    """The nodes of the way that keys between two KMEs go now; the one node where both are the same, none where there is no way."""
    if source == target:
        return [living.network.node_of(source)]
    try:
        return [living.network.node_of(kme) for kme in living.network.controller.find(source, target, KEY_SIZE_BIT, 1)[0]]
    except TiandiError:
        return []


def _extended(kind: type[View], line: LinkLine | NodePoint, **more: Any) -> View:
    """The fields of a line, and those that a view of ``kind`` has beside them."""
    return kind(**{name: getattr(line, name) for name in line.__struct_fields__}, **more)
