"""Which way a key is relayed: the fewest hops over links that are in service and hold enough key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import rustworkx

from tiandi.errors import NoRoute


@dataclass(frozen=True)
class LinkState:
    """A link between two KMEs as the controller sees it. ``note`` says why it is out of service."""

    name: str
    ends: tuple[str, str]
    stock_bit: int
    in_service: bool = True
    note: str = ""

    def obstacle(self, wanted_bit: int) -> str | None:
        """Why this link cannot carry ``wanted_bit``, or None when it can."""
        if not self.in_service:
            return f"{self.name} is out of service ({self.note})"
        if self.stock_bit < wanted_bit:
            return f"{self.name} holds {self.stock_bit} bit of key, {wanted_bit} bit are wanted"
        return None


def find_route(links: Iterable[LinkState], source: str, target: str, *, wanted_bit: int) -> list[str]:
    """KMEs from ``source`` to ``target``, both included, by the fewest hops that can each carry ``wanted_bit``.

    Raises NoRoute; its text names the obstacles on the shortest way there would be.
    """
    links = list(links)
    route = _shortest([link for link in links if link.obstacle(wanted_bit) is None], source, target)
    if route:
        return route
    wished = _shortest(links, source, target)
    hops = {frozenset(hop) for hop in pairwise(wished)}
    obstacles = [link.obstacle(wanted_bit) for link in links if frozenset(link.ends) in hops]
    raise NoRoute(source, target, "; ".join(text for text in obstacles if text) or "no chain of links joins them")


def _shortest(links: list[LinkState], source: str, target: str) -> list[str]:
    """The nodes of a shortest path, or an empty list."""
    graph: rustworkx.PyGraph[str, None] = rustworkx.PyGraph()
    nodes = {name: graph.add_node(name) for name in sorted({end for link in links for end in link.ends} | {source, target})}
    graph.add_edges_from([(nodes[link.ends[0]], nodes[link.ends[1]], None) for link in links])
    paths = rustworkx.dijkstra_shortest_paths(graph, nodes[source], target=nodes[target], default_weight=1.0)
    return [graph[index] for index in paths[nodes[target]]] if nodes[target] in paths else []
