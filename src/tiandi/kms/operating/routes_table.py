"""Which ways keys may go through a network that a configuration file describes: its links, or routes one by one.

`tiandi.control` routes by what a controller knows of every link's stock. A KME alone knows its own stocks only: it takes the fewest
hops, over neighbours with whom it has enough key where there is a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import rustworkx

from tiandi.errors import NoRoute

Nodes = tuple[str, ...]


class RoutesTable:
    """Routes over ``links`` between KMEs, or exactly ``routes``, there and back. ``route in table`` tells whether keys may go that way.

    ``stock_bit`` (neighbour -> bit under which this KME can send to it) may be kept up to date by who knows it.
    """

    def __init__(self, links: Iterable[tuple[str, str]] = (), routes: Iterable[Nodes] = ()) -> None:
        self._links = {frozenset(ends) for ends in links}
        self._routes = sorted({way for route in routes for way in (route, route[::-1])}, key=lambda way: (len(way), way))
        self.stock_bit: dict[str, int] = {}

    def __contains__(self, route: object) -> bool:
        if not isinstance(route, tuple):
            return False
        return route in self._routes or (len(route) > 1 and all(frozenset(hop) in self._links for hop in pairwise(route)))

    def neighbours(self, kme: str) -> set[str]:
        """The KMEs to which a KME sends on some way."""
        ahead = {b for link in self._links for a in link if a == kme for b in link - {a}}
        return ahead | {b for route in self._routes for a, b in pairwise(route) if a == kme}

    def find(self, source: str, target: str, wanted_bit: int, paths: int) -> list[list[str]]:
        """At most ``paths`` node-disjoint routes, as short together as can be. A `directory.FindRoutes`: raises NoRoute for none."""

        def has_key(neighbour: str) -> bool:
            return self.stock_bit.get(neighbour, wanted_bit) >= wanted_bit

        found = self._find(source, target, paths, has_key)
        if len(found) < paths:
            found = self._find(source, target, paths, lambda _: True)
        if not found:
            raise NoRoute(source, target, "no chain of links joins them")
        return found

    def _find(self, source: str, target: str, paths: int, may_begin_with: Callable[[str], bool]) -> list[list[str]]:
        if self._routes:
            ways = (way for way in self._routes if (way[0], way[-1]) == (source, target) and may_begin_with(way[1]))
            return _disjoint(ways)[:paths]
        hops = {hop for link in self._links for a, b in [sorted(link)] for hop in ((a, b), (b, a))}
        return _shortest_disjoint([hop for hop in sorted(hops) if hop[0] != source or may_begin_with(hop[1])], source, target, paths)


def _disjoint(ways: Iterable[Sequence[str]]) -> list[list[str]]:
    """Of these, each that shares no node but its ends with those before."""
    found: list[list[str]] = []
    used: set[str] = set()
    for way in ways:
        if not used & set(way[1:-1]) and list(way) not in found:
            found.append(list(way))
            used |= set(way[1:-1])
    return found


def _shortest_disjoint(hops: Sequence[tuple[str, str]], source: str, target: str, paths: int) -> list[list[str]]:
    """Node-disjoint routes of the fewest hops in all: flow of unit capacity, augmented along shortest paths of what is left.

    Every node but the ends is split in two, the way in and the way out (Suurballe 1974, Networks 4, 125-145).
    """
    arcs = {((a, "out"), (b, "in")): 1.0 for a, b in hops}
    arcs |= {((node, "in"), (node, "out")): 0.0 for hop in hops for node in hop if node not in (source, target)}
    flow: set[tuple[tuple[str, str], tuple[str, str]]] = set()
    for _ in range(paths):
        left = {(b, a) if (a, b) in flow else (a, b): -cost if (a, b) in flow else cost for (a, b), cost in arcs.items()}
        path = _shortest(left, (source, "out"), (target, "in"))
        if not path:
            break
        for a, b in pairwise(path):
            if (b, a) in flow:
                flow.remove((b, a))
            else:
                flow.add((a, b))
    onward = {a[0]: b[0] for a, b in flow if a[0] != b[0] and a[0] != source}
    routes = []
    for _, first in sorted((a, b[0]) for a, b in flow if a[0] == source):
        route = [source, first]
        while route[-1] != target:
            route.append(onward[route[-1]])
        routes.append(route)
    return sorted(routes, key=len)


def _shortest(
    arcs: dict[tuple[tuple[str, str], tuple[str, str]], float], source: tuple[str, str], target: tuple[str, str]
) -> list[tuple[str, str]]:
    graph: rustworkx.PyDiGraph[tuple[str, str], float] = rustworkx.PyDiGraph()
    places = {node: graph.add_node(node) for node in sorted({end for arc in arcs for end in arc} | {source, target})}
    graph.add_edges_from([(places[a], places[b], cost) for (a, b), cost in arcs.items()])
    paths = rustworkx.digraph_bellman_ford_shortest_paths(graph, places[source], target=places[target], weight_fn=float)
    return [graph[place] for place in paths[places[target]]] if places[target] in paths else []
