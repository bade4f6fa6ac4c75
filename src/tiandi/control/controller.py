"""The QKDN controller of a network, or of one KME in it: what it hears of links, and which ways keys may go (ITU-T Y.3804, Y.3805).

Every KME has one. All know the same topology, which operators write, and hear the same link states, which KMEs spread
(`tiandi.kms.relay.spreading`); so each finds ways through the whole network by itself, and none of them is a single point of failure. A
change of topology or of a link's state holds from the next key on. Keys on their way when their link falls out come to rest as the relay
has it: made ready where they arrived, else voided at both ends and made anew another way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from tiandi.control.link_states import LinkStates
from tiandi.control.routing import Route, RoutePolicy, Router
from tiandi.control.topology import TRUST_CLASSES, Link, Node, Switch, Topology
from tiandi.errors import InputError, NoRoute
from tiandi.kms.directory import Routing
from tiandi.kms.operating.configuration_tables import Configuration
from tiandi.kms.relay.link_reports import LinkReport

ANY_WAY = RoutePolicy()
AGE_EVERY_S = 1.0
"""How often links of which nobody reports any more are looked for."""


class Controller:
    """Decides by the states of links; a `tiandi.kms.directory.Routing`. ``policy`` holds for every key, a pair's own trust beside it.

    Ways are asked for as of ``clock`` [s].
    """

    def __init__(self, topology: Topology, *, policy: RoutePolicy = ANY_WAY, clock: Callable[[], float] = time.monotonic) -> None:
        self.states = LinkStates(topology)
        self._router = Router(self.states)
        self._policy, self._clock = policy, clock
        self._neighbours = _neighbours(topology)
        self._aged_s = clock()

    @property
    def topology(self) -> Topology:
        return self.states.topology

    def change(self, *, put: Iterable[Node | Link | Switch] = (), remove: Iterable[str] = ()) -> None:
        """Put nodes, links and switches into the topology, and take others out, from now on. Raises InputError, and changes nothing."""
        self.replace(self.topology.with_changes(put=put, remove=remove))

    def replace(self, topology: Topology) -> None:
        """Go by another topology from now on; links that stay keep their state."""
        self.states.change(topology)
        self._neighbours = _neighbours(topology)

    def heard(self, reports: Sequence[LinkReport]) -> None:
        """Take up what is new of links; what is said of one that the topology does not have is passed over."""
        now_s = self._clock()
        for report in reports:
            if report.neighbour in self._neighbours.get(report.origin, ()):
                self.states.receive(report, now_s=now_s)

    def find(self, source: str, target: str, wanted_bit: int, paths: int, /, *, least_trust: str = "") -> list[list[str]]:
        """As `tiandi.kms.directory.FindRoutes`: by what links hold now. Where too little is ready on every way, by those that will have
        it soonest, so that what waits for key knows where it will come from."""
        policy = self._policy_of(least_trust)
        try:
            return self.routes(source, target, wanted_bit, paths, policy=policy)
        except NoRoute:
            return self.routes(source, target, 0, paths, policy=policy)

    def routes(self, source: str, target: str, wanted_bit: int, paths: int, *, policy: RoutePolicy | None = None) -> list[list[str]]:
        """The nodes of at most ``paths`` node-disjoint ways that each hold ``wanted_bit`` now, cheapest first. Raises NoRoute."""
        for end in (source, target):
            if end not in self.topology.nodes:
                raise NoRoute(source, target, f"{end} is not in the topology")
        if source == target:
            raise NoRoute(source, target, "no link is needed within one KME")
        if (now_s := self._clock()) - self._aged_s > AGE_EVERY_S:
            self.states.age(now_s)
            self._aged_s = now_s
        found: list[Route] = self._router.find_routes(source, target, wanted_bit=wanted_bit, paths=paths, policy=policy or self._policy)
        return [list(route.nodes) for route in found]

    def _policy_of(self, least_trust: str) -> RoutePolicy:
        if not least_trust:
            return self._policy
        if least_trust not in TRUST_CLASSES:
            raise InputError("least_trust", least_trust, f"must be one of {', '.join(TRUST_CLASSES)}")
        stricter = max(self._policy.least_trust, least_trust, key=TRUST_CLASSES.index)
        return RoutePolicy(**{**vars(self._policy), "least_trust": stricter})

    def __contains__(self, route: object) -> bool:
        """Whether keys may go this way at all: over links of the topology, through nodes that relay."""
        if not isinstance(route, tuple) or len(route) < 2 or not all(name in self.topology.nodes for name in route):
            return False
        linked = all(there in self._neighbours.get(here, ()) for here, there in pairwise(route))
        return linked and all(self._policy.forbids(self.topology.nodes[name]) is None for name in route[1:-1])

    def neighbours(self, kme: str) -> set[str]:
        """The KMEs that ``kme`` has links with."""
        return self._neighbours.get(kme, set())


def _neighbours(topology: Topology) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {name: set() for name in topology.nodes}
    for link in topology.links.values():
        for here, there in (link.ends, link.ends[::-1]):
            found[here].add(there)
    return found


def topology_of(configuration: Configuration) -> Topology:
    """The topology that a KME's configuration file describes. Raises InputError on a node that stands twice."""
    own = Node(configuration.kme.id, trust="guarded")
    peers = [Node(peer.id, "trusted node" if peer.relays else "user node", peer.trust) for peer in configuration.peers]
    links = {
        f"{a} - {b}": Link(f"{a} - {b}", (a, b), length_km=link.length_km) for link in configuration.links for a, b in [sorted(link.ends)]
    }
    return Topology.of([own, *peers], links.values())


def controlled(configuration: Configuration, before: Routing | None) -> Routing:
    """Who decides for the KME of a configuration file (a `tiandi.kms.operating.service.MakeRouting`).

    A controller, which stays the same when the file has changed; or a table, where the file names routes one by one.
    """
    if configuration.routes:
        return configuration.routes_table()
    if not isinstance(before, Controller):
        _compile()
        return Controller(topology_of(configuration))
    before.replace(topology_of(configuration))
    return before


def _compile() -> None:
    """Search once for one way and for several: to compile the loops takes seconds, in which a KME that serves would be silent."""
    triangle = Topology.of(map(Node, "abc"), (Link(ends, (ends[0], ends[1])) for ends in ("ab", "bc", "ac")))
    for paths in (1, 2):
        Controller(triangle).find("a", "c", 0, paths)
