"""Which way a key is relayed (ITU-T Y.3804): the cheapest by stock, rate, hops, trust and latency, or several that share no node.

What a way costs is the sum over its hops of

    hop + stock wanted / (free stock) + rate wanted / (wanted + rate x 60 s) + latency_per_ms x latency

and over the nodes passed through of what their class of trust costs; the weights are those of `RouteWeights`, and every term is at least
0, so that the cheapest way is found exactly. What must hold is no matter of price: service, stock, trust, hops and latency have limits.

A satellite relays as any node does; how long keys wait for it is latency. So does a gateway: the nodes behind it are another operator's,
whose class of trust is for the operator of this network to say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiandi.control.link_states import LinkStates
from tiandi.control.route_search import MOST_LABELS, Arcs, Prices, arcs_of, cheapest, cheapest_within, costs_to, disjoint
from tiandi.control.topology import TRUST_CLASSES, Node, Topology, TrustClass
from tiandi.errors import InputError, NoRoute
from tiandi.limits import require_within

REFILL_S = 60.0
MOST_PATHS = 16
ROUNDING_MS = 1e-6
OBSTACLE_PRICE = 1e6
"""In looking for what to tell of: beside it the hops of any way are few."""


@dataclass(frozen=True)
class RouteWeights:
    """What a hop costs; the share of its free stock that the key takes; the time its link takes to make the key again; a ms of latency.

    ``rate`` is 0 times for a link that makes the key at once, half for one that takes 60 s, 1 for one that makes none. ``trust`` is for
    passing through a node that is foreign, shared, own or guarded. Chosen by us (assumed). Raises InputError on a negative weight.
    """

    hop: float = 1.0
    stock: float = 1.0
    rate: float = 0.5
    latency_per_ms: float = 1e-3
    trust: tuple[float, float, float, float] = (2.0, 1.0, 0.25, 0.0)

    def __post_init__(self) -> None:
        for name in ("hop", "stock", "rate", "latency_per_ms"):
            require_within(f"weights.{name}", getattr(self, name), 0.0, 1e6)
        if len(self.trust) != len(TRUST_CLASSES):
            raise InputError("weights.trust", self.trust, f"one weight each for {', '.join(TRUST_CLASSES)}")
        for weight in self.trust:
            require_within("weights.trust", weight, 0.0, 1e6)


@dataclass(frozen=True)
class RoutePolicy:
    """What a way must keep to: nodes passed through of at least this class, so many hops, so much time, none of the names in ``avoid``.

    ``avoid`` names nodes to pass through and links. Of every stock only ``stock_share`` may be taken. Raises InputError.
    """

    least_trust: TrustClass = "foreign"
    most_hops: int | None = None
    most_latency_ms: float | None = None
    weights: RouteWeights = RouteWeights()
    avoid: frozenset[str] = frozenset()
    stock_share: float = 1.0

    def __post_init__(self) -> None:
        if self.least_trust not in TRUST_CLASSES:
            raise InputError("least_trust", self.least_trust, f"must be one of {', '.join(TRUST_CLASSES)}")
        if self.most_hops is not None:
            require_within("most_hops", self.most_hops, 1, 1e6)
        if self.most_latency_ms is not None:
            require_within("most_latency_ms", self.most_latency_ms, 0.0, 1e12)
        require_within("stock_share", self.stock_share, 0.0, 1.0)

    def keeps(self, route: Route) -> bool:
        """Whether a way keeps to the limits of hops and latency."""
        return len(route.links) <= self.limits[0] and route.latency_ms <= self.limits[1]

    @property
    def limits(self) -> tuple[float, float]:
        """Hops and latency [ms], infinite where nothing is asked."""
        hops = np.inf if self.most_hops is None else float(self.most_hops)
        return hops, np.inf if self.most_latency_ms is None else self.most_latency_ms + ROUNDING_MS

    def forbids(self, node: Node) -> str | None:
        """Why keys may not pass through a node, or None when they may."""
        if not node.relays:
            return f"{node.name} is a user node, which relays for nobody"
        if TRUST_CLASSES.index(node.trust) < TRUST_CLASSES.index(self.least_trust):
            return f"{node.name} is of the class {node.trust}, at least {self.least_trust} is asked for"
        return f"{node.name} is to be avoided" if node.name in self.avoid else None


ANY_ROUTE = RoutePolicy()


@dataclass(frozen=True)
class Route:
    """A way: its nodes, both ends among them, the links between them, what it costs, and how long a key takes [ms]."""

    nodes: tuple[str, ...]
    links: tuple[str, ...]
    cost: float
    latency_ms: float


@dataclass(frozen=True)
class Cut:
    """The fewest nodes, and direct links, without which there is no way: as many as there are node-disjoint ways."""

    nodes: tuple[str, ...]
    links: tuple[str, ...]

    def __str__(self) -> str:
        return " and ".join((*self.nodes, *self.links)) or "nothing"


class Router:
    """Finds ways through the links of ``states`` as they are at that moment; nothing is built anew unless the topology changes."""

    def __init__(self, states: LinkStates) -> None:
        self.states = states
        self._follow(states.topology)

    def find_routes(
        self, source: str, target: str, *, wanted_bit: float, paths: int = 1, least_paths: int = 1, policy: RoutePolicy = ANY_ROUTE
    ) -> list[Route]:
        """At most ``paths`` ways that share no node but their ends, each good for ``wanted_bit``; the cheapest first.

        One is the cheapest within the policy's limits; several cost the least together, exactly unless hops or latency are limited: where
        they break a limit, those of least latency, or fewest hops, are taken in their place, and of these only those that keep it. Raises
        InputError on names and figures, NoRoute for fewer than ``least_paths``: it names the obstacles, or the nodes all ways go through.
        """
        require_within("wanted_bit", wanted_bit, 0.0, 1e18)
        require_within("paths", paths, 1, MOST_PATHS)
        require_within("least_paths", least_paths, 1, paths)
        ends = self._ends(source, target)
        prices = self._prices(ends, wanted_bit, policy)
        routes = self._one(ends, prices, policy) if paths == 1 else self._several(ends, prices, policy, paths)
        if not routes:
            raise NoRoute(source, target, self._obstacles(ends, wanted_bit, policy))
        if len(routes) < least_paths:
            cut = self._cut(ends, prices)
            size = len(cut.nodes) + len(cut.links)
            why = f"all go through {cut}" if size < least_paths else "others take too many hops or too long"
            raise NoRoute(source, target, f"{least_paths} ways that share no node are wanted, there are {len(routes)}: {why}")
        return routes

    def find_cut(self, source: str, target: str, *, wanted_bit: float, policy: RoutePolicy = ANY_ROUTE) -> Cut:
        """The fewest nodes and direct links without which there is no way for ``wanted_bit``, hops and latency aside."""
        ends = self._ends(source, target)
        return self._cut(ends, self._prices(ends, wanted_bit, policy))

    def _follow(self, topology: Topology) -> None:
        self._topology = topology
        self._nodes = tuple(topology.nodes)
        self._node_number = {name: number for number, name in enumerate(self._nodes)}
        ends = [[self._node_number[end] for end in link.ends] for link in topology.links.values()]
        tails, heads = np.array(ends, np.int64).reshape(-1, 2).T
        self._arcs: Arcs = arcs_of(tails, heads, len(self._nodes))
        self._trust = np.array([TRUST_CLASSES.index(node.trust) for node in topology.nodes.values()], np.int64)
        self._relays = np.array([node.relays for node in topology.nodes.values()], bool)

    def _ends(self, source: str, target: str) -> tuple[int, int]:
        if self.states.topology is not self._topology:
            self._follow(self.states.topology)
        for field_name, name in (("source", source), ("target", target)):
            if name not in self._node_number:
                raise InputError(field_name, name, "there is no such node")
        if source == target:
            raise InputError("target", target, "must be another node than the source")
        return self._node_number[source], self._node_number[target]

    def _prices(self, ends: tuple[int, int], wanted_bit: float, policy: RoutePolicy) -> Prices:
        states, weights = self.states, policy.weights
        free_bit = states.free_bit(policy.stock_share)
        usable = states.in_service & (free_bit >= wanted_bit)
        wanted = max(wanted_bit, 1.0)
        price = weights.hop + weights.latency_per_ms * states.latency_ms + weights.rate * wanted / (wanted + REFILL_S * states.rate_bps)
        price += weights.stock * wanted / np.maximum(free_bit, wanted)
        link_price = np.where(usable, price, np.inf)
        may_pass = self._relays & (self._trust >= TRUST_CLASSES.index(policy.least_trust))
        node_price = np.where(may_pass, np.asarray(weights.trust, float)[self._trust], np.inf)
        for name in policy.avoid:
            if name in states.number:
                link_price[states.number[name]] = np.inf
            if name in self._node_number:
                node_price[self._node_number[name]] = np.inf
        node_price[ends[0]], node_price[ends[1]] = np.inf, 0.0
        return Prices(link_price, node_price, states.latency_ms)

    def _one(self, ends: tuple[int, int], prices: Prices, policy: RoutePolicy) -> list[Route]:
        arcs = cheapest(self._arcs, prices, *ends)
        route = self._route(arcs, prices) if len(arcs) else None
        if route and not policy.keeps(route):
            bounds = np.stack([costs_to(self._arcs, measure, *ends) for measure in (prices, _hops(prices), _latency(prices))])
            arcs, all_seen = cheapest_within(self._arcs, prices, bounds, ends, policy.limits)
            if not all_seen:
                raise NoRoute(self._nodes[ends[0]], self._nodes[ends[1]], f"none within the limits among {MOST_LABELS} partial ways")
            route = self._route(arcs, prices) if len(arcs) else None
        return [route] if route else []

    def _several(self, ends: tuple[int, int], prices: Prices, policy: RoutePolicy, paths: int) -> list[Route]:
        kept: list[Route] = []
        for measure in (prices, _latency(prices), _hops(prices)):
            used, _, _ = disjoint(self._arcs, measure, ends, paths)
            routes = self._trace(used, ends, prices)
            keeping = [route for route in routes if policy.keeps(route)]
            kept = max(kept, keeping, key=len)
            if len(keeping) == len(routes):
                break
        return sorted(kept, key=lambda route: (route.cost, route.nodes)) or self._one(ends, prices, policy)

    def _trace(self, used: NDArray[np.bool_], ends: tuple[int, int], prices: Prices) -> list[Route]:
        """The ways that used arcs make from the source to the target."""
        arcs = np.flatnonzero(used)
        onward = {int(self._arcs.tail[arc]): int(arc) for arc in arcs}
        routes = []
        for first in arcs[self._arcs.tail[arcs] == ends[0]]:
            way = [int(first)]
            while self._arcs.head[way[-1]] != ends[1]:
                way.append(onward[int(self._arcs.head[way[-1]])])
            routes.append(self._route(np.array(way), prices))
        return routes

    def _route(self, arcs: NDArray[np.int64], prices: Prices) -> Route:
        links, heads = self._arcs.link[arcs], self._arcs.head[arcs]
        return Route(
            nodes=(self._nodes[self._arcs.tail[arcs[0]]], *(self._nodes[node] for node in heads)),
            links=tuple(self.states.names[link] for link in links),
            cost=float(prices.link[links].sum() + prices.node[heads].sum()),
            latency_ms=float(prices.latency_ms[links].sum()),
        )

    def _cut(self, ends: tuple[int, int], prices: Prices) -> Cut:
        source, target = ends
        used, _, cost = disjoint(self._arcs, _hops(prices), ends, len(self.states.names) + 1)
        reached_in, reached_out = np.isfinite(cost[::2]), np.isfinite(cost[1::2])
        nodes = np.flatnonzero(reached_in & ~reached_out & (np.arange(len(self._nodes)) != target))
        direct = np.flatnonzero(used & (self._arcs.tail == source) & (self._arcs.head == target))
        return Cut(tuple(self._nodes[node] for node in nodes), tuple(self.states.names[link] for link in self._arcs.link[direct]))

    def _obstacles(self, ends: tuple[int, int], wanted_bit: float, policy: RoutePolicy) -> str:
        """What stands in the way that has the fewest obstacles."""
        states = self.states
        prices = self._prices(ends, wanted_bit, policy)
        closed = Prices(
            np.where(np.isfinite(prices.link), 1.0, OBSTACLE_PRICE),
            np.where(np.isfinite(prices.node), 0.0, OBSTACLE_PRICE),
            prices.latency_ms,
        )
        closed.node[ends[1]] = 0.0
        arcs = cheapest(self._arcs, closed, *ends)
        if not len(arcs):
            return "no chain of links joins them"
        route = self._route(arcs, prices)
        texts = [policy.forbids(states.topology.nodes[node]) for node in route.nodes[1:-1]]
        for name in route.links:
            avoided = f"{name} is to be avoided" if name in policy.avoid else None
            texts.append(states.obstacle(name, wanted_bit, stock_share=policy.stock_share) or avoided)
        return "; ".join(text for text in texts if text) or self._limits_in_the_way(ends, prices, policy)

    def _limits_in_the_way(self, ends: tuple[int, int], prices: Prices, policy: RoutePolicy) -> str:
        fewest = len(cheapest(self._arcs, _hops(prices), *ends))
        latency = self._route(cheapest(self._arcs, _latency(prices), *ends), prices).latency_ms
        most_hops, most_latency_ms = policy.limits
        if fewest > most_hops:
            return f"the fewest hops are {fewest}, at most {most_hops:.0f} are allowed"
        if latency > most_latency_ms:
            return f"the quickest way takes {latency:.3g} ms, at most {policy.most_latency_ms:.3g} ms are allowed"
        return f"no way was found within {most_hops:.0f} hops and {most_latency_ms:.3g} ms at once"


def _hops(prices: Prices) -> Prices:
    """Prices that count hops over what may be used."""
    return Prices(np.where(np.isfinite(prices.link), 1.0, np.inf), np.where(np.isfinite(prices.node), 0.0, np.inf), prices.latency_ms)


def _latency(prices: Prices) -> Prices:
    """Prices that count latency [ms] over what may be used."""
    hops = _hops(prices)
    return hops._replace(link=np.where(np.isfinite(prices.link), prices.latency_ms, np.inf))
