"""What a QKD network is made of, as its controller sees it (ITU-T Y.3804): nodes, links, optical switches. It may change while it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar, get_args

from tiandi.errors import InputError
from tiandi.limits import require_within

NodeKind = Literal["trusted node", "user node", "ground station", "satellite", "gateway"]
LinkKind = Literal["fibre", "downlink", "inter-satellite", "gateway"]
TrustClass = Literal["foreign", "shared", "own", "guarded"]
TRUST_CLASSES: tuple[TrustClass, ...] = get_args(TrustClass)
"""Who keeps a node, the least trusted first: another operator, one together with others, this one, this one behind a guarded door."""

Item = TypeVar("Item", "Node", "Link", "Switch")


@dataclass(frozen=True)
class Node:
    """A place with a KME. A satellite has no place; a user node relays for nobody; a gateway leads to another network.

    ``telescopes`` is how many satellites a ground station, or stations a satellite, serves at a time.
    """

    name: str
    kind: NodeKind = "trusted node"
    trust: TrustClass = "own"
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    altitude_m: float = 0.0
    telescopes: int = 1

    def __post_init__(self) -> None:
        if self.kind not in get_args(NodeKind):
            raise InputError(f"nodes ({self.name}).kind", self.kind, f"must be one of {', '.join(get_args(NodeKind))}")
        if self.trust not in TRUST_CLASSES:
            raise InputError(f"nodes ({self.name}).trust", self.trust, f"must be one of {', '.join(TRUST_CLASSES)}")
        require_within(f"nodes ({self.name}).telescopes", self.telescopes, 1, 64)

    @property
    def relays(self) -> bool:
        """Whether keys of others may pass through it."""
        return self.kind != "user node"


@dataclass(frozen=True)
class Link:
    """A QKD link between two nodes; ``name`` tells parallel ones apart.

    ``rate_bps`` is the secret key [bit/s] it makes while it works: always, for a fibre; during contacts, which the contact plan knows, for
    a downlink. Links that share an optical ``switch`` share its time. Light of a fibre takes ``length_km`` [km].
    """

    name: str
    ends: tuple[str, str]
    kind: LinkKind = "fibre"
    rate_bps: float = 0.0
    length_km: float = 0.0
    switch: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(LinkKind):
            raise InputError(f"links ({self.name}).kind", self.kind, f"must be one of {', '.join(get_args(LinkKind))}")
        require_within(f"links ({self.name}).rate_bps", self.rate_bps, 0.0, 1e12)
        require_within(f"links ({self.name}).length_km", self.length_km, 0.0, 500_000.0)
        if self.ends[0] == self.ends[1]:
            raise InputError(f"links ({self.name}).ends", self.ends, "must be two different nodes")


@dataclass(frozen=True)
class Switch:
    """An optical switch: of the links that go through it, ``at_once`` are lit at a time. It is no node: nothing in it can be read."""

    name: str
    at_once: int = 1

    def __post_init__(self) -> None:
        require_within(f"switches ({self.name}).at_once", self.at_once, 1, 1024)


@dataclass(frozen=True)
class Topology:
    """Nodes, links and switches by name; ``version`` grows with every change. Raises InputError on names that do not fit together."""

    nodes: dict[str, Node]
    links: dict[str, Link]
    switches: dict[str, Switch] = field(default_factory=dict)
    version: int = 1

    def __post_init__(self) -> None:
        for link in self.links.values():
            for end in link.ends:
                if end not in self.nodes:
                    raise InputError(f"links ({link.name}).ends", end, "there is no such node")
            if link.switch and link.switch not in self.switches:
                raise InputError(f"links ({link.name}).switch", link.switch, "there is no such switch")

    @classmethod
    def of(cls, nodes: Iterable[Node], links: Iterable[Link], switches: Iterable[Switch] = ()) -> Topology:
        """A topology of these. Raises InputError on a name that stands twice."""
        return cls(_by_name("nodes", nodes), _by_name("links", links), _by_name("switches", switches))

    def with_changes(self, *, put: Iterable[Node | Link | Switch] = (), remove: Iterable[str] = ()) -> Topology:
        """The next version: things put in, or in place of those of the same name, and nodes, links and switches taken out by name.

        With a node go its links. Raises InputError on an unknown name.
        """
        nodes, links, switches = dict(self.nodes), dict(self.links), dict(self.switches)
        for name in remove:
            if not any(name in among for among in (nodes, links, switches)):
                raise InputError("remove", name, "there is no such node, link or switch")
            if nodes.pop(name, None):
                links = {key: link for key, link in links.items() if name not in link.ends}
            links.pop(name, None)
            switches.pop(name, None)
        for item in put:
            among: dict[str, object] = nodes if isinstance(item, Node) else links if isinstance(item, Link) else switches  # type: ignore[assignment]
            among[item.name] = item
        return replace(self, nodes=nodes, links=links, switches=switches, version=self.version + 1)


def _by_name(field_name: str, items: Iterable[Item]) -> dict[str, Item]:
    named: dict[str, Item] = {}
    for item in items:
        if item.name in named:
            raise InputError(field_name, item.name, "this name stands twice")
        named[item.name] = item
    return named
