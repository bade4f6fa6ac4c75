"""Which ways keys may go where a configuration file names them one by one, instead of links among which a controller chooses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from tiandi.errors import NoRoute
from tiandi.kms.relay.link_reports import LinkReport

Nodes = tuple[str, ...]


class RoutesTable:
    """Exactly ``routes``, there and back; a `tiandi.kms.directory.Routing` for the KME ``kme_id``.

    ``stock_bit`` is by neighbour what that KME can send to it, as `heard` has it.
    """

    def __init__(self, routes: Iterable[Nodes], *, kme_id: str = "") -> None:
        self._kme_id = kme_id
        self._routes = sorted({way for route in routes for way in (route, route[::-1])}, key=lambda way: (len(way), way))
        self._neighbours: dict[str, set[str]] = {}
        for here, there in (hop for route in self._routes for hop in pairwise(route)):
            self._neighbours.setdefault(here, set()).add(there)
        self.stock_bit: dict[str, int] = {}

    def __contains__(self, route: object) -> bool:
        return route in self._routes

    def neighbours(self, kme: str) -> set[str]:
        """The KMEs to which a KME sends on some way."""
        return self._neighbours.get(kme, set())

    def heard(self, reports: Sequence[LinkReport]) -> None:
        """A table stays as it is, but for what this KME's own links hold."""
        self.stock_bit.update({report.neighbour: report.stock_bit for report in reports if report.origin == self._kme_id})

    def find(self, source: str, target: str, wanted_bit: int, paths: int, /, *, least_trust: str = "") -> list[list[str]]:
        """At most ``paths`` node-disjoint routes, the shortest first; first hops without key are a last resort.

        Raises NoRoute for none, and for who asks for ``least_trust``: a table does not say whom to trust.
        """
        if least_trust:
            raise NoRoute(source, target, f"routes one by one do not say which nodes are trusted as {least_trust}")
        ways = [way for way in self._routes if (way[0], way[-1]) == (source, target)]
        found = _disjoint(way for way in ways if self.stock_bit.get(way[1], wanted_bit) >= wanted_bit)[:paths]
        if len(found) < paths:
            found = _disjoint(ways)[:paths]
        if not found:
            raise NoRoute(source, target, "no route of the configuration joins them")
        return found


def _disjoint(ways: Iterable[Sequence[str]]) -> list[list[str]]:
    """Of these, each that shares no node but its ends with those before."""
    found: list[list[str]] = []
    used: set[str] = set()
    for way in ways:
        if not used & set(way[1:-1]) and list(way) not in found:
            found.append(list(way))
            used |= set(way[1:-1])
    return found
