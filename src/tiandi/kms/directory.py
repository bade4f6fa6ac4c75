"""What a KME knows of the network: other KMEs, whose SAEs are where, which pairs may have what, which ways keys may go.

The QKDN controller, or a configuration file and the operators' door, writes it; KMEs read it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from tiandi.errors import InputError, NoRoute, NotAuthorised
from tiandi.kms.relay.link_reports import LinkReport
from tiandi.kms.store.supply_keys import Reservation

RelayForm = Literal["hop-by-hop", "announced"]
TRUST = ("", "foreign", "shared", "own", "guarded")
"""What a pair may ask of nodes on the way, the least first; as `tiandi.control.topology` has it."""


class FindRoutes(Protocol):
    """At most ``paths`` node-disjoint routes between two KMEs, ``wanted_bit`` of link key on every hop, over no node trusted less than
    ``least_trust`` (a class of `tiandi.control.topology`). Raises NoRoute when there is none."""

    def __call__(self, source: str, target: str, wanted_bit: int, paths: int, /, *, least_trust: str = "") -> Sequence[Sequence[str]]: ...


class Routing(Protocol):
    """Who decides which ways keys go: a table, or a controller that hears of every link."""

    def find(self, source: str, target: str, wanted_bit: int, paths: int, /, *, least_trust: str = "") -> Sequence[Sequence[str]]:
        """As `FindRoutes`."""
        ...

    def __contains__(self, route: object) -> bool: ...

    def neighbours(self, kme: str) -> set[str]:
        """The KMEs that ``kme`` has links with."""
        ...

    def heard(self, reports: Sequence[LinkReport]) -> None:
        """Take up what is new of links."""
        ...


@dataclass(frozen=True)
class Sae:
    """A secure application entity: the KME that serves it, what SKIP calls it, and whether it may be both ends of a pair (a probe).

    An SAE of another network has the KME at the border as its ``home``, and the partner behind which it lives in ``beyond``.
    """

    home: str
    system_id: str = ""
    may_pair_with_itself: bool = False
    beyond: str = ""


@dataclass(frozen=True)
class Partner:
    """A KME of another network (ETSI GS QKD 020): which KME of ours speaks to it, the name in its certificate, and where each is reached.

    Addresses are https://host:port; the partner acknowledges at ``own_address``, and is acknowledged nowhere but at ``address``.
    ``synchronous``: it is asked to answer when all is done, instead of calling back.
    """

    border: str
    kme_id: str
    address: str
    own_address: str
    synchronous: bool = False


@dataclass(frozen=True)
class PairPolicy:
    """What a pair of SAEs may have, and how its keys travel.

    ``priority`` 0 is served first. Rates are of supply key [bit/s]; ``ahead_count`` keys are kept ready, more for a pair that takes more;
    with 0 none is made before it is asked for. At most ``ahead_sizes`` sizes are kept ready, the KME's own ``key_size`` always among
    them; any other is made as it is asked for. Of ``paths`` node-disjoint routes any ``threshold`` (None: all) make the key, over nodes
    that are trusted as much as ``least_trust`` says. With ``post_quantum`` the keys travel under ML-KEM as well; with the ``relay_form``
    "announced" no node on the way forms them (`passing`).
    """

    priority: int = 1
    minimum_bps: int = 0
    maximum_bps: int | None = None
    ahead_count: int = 64
    ahead_sizes: int = 4
    paths: int = 1
    threshold: int | None = None
    post_quantum: bool = False
    relay_form: RelayForm = "hop-by-hop"
    least_trust: str = ""


def _no_routes(source: str, target: str, wanted_bit: int, paths: int, /, *, least_trust: str = "") -> Sequence[Sequence[str]]:
    raise NoRoute(source, target, "the controller named none")


@dataclass
class Directory:
    """The network as one KME, or all KMEs of one process, see it.

    A KME relays only along ``routes`` (or, where that is None, along any route between KMEs it knows), and takes a hand-over only from a
    satellite that stands in ``hand_overs``: no neighbour can plant a key between two others.
    """

    kme_addresses: dict[str, str | tuple[str, ...]] = field(default_factory=dict)
    """https://host:port; several for a node of several processes."""
    saes: dict[str, Sae] = field(default_factory=dict)
    policies: dict[tuple[str, str], PairPolicy] = field(default_factory=dict)
    routes: Container[tuple[str, ...]] | None = None
    find_routes: FindRoutes = _no_routes
    satellites: set[str] = field(default_factory=set)
    satellite_patience_s: float = 86_400.0
    """How long keys may wait aboard a satellite for its next contact."""
    hand_overs: set[tuple[str, str, str]] = field(default_factory=set)
    """(satellite, station A, station B)."""
    default_policy: PairPolicy = PairPolicy()
    partners: dict[str, Partner] = field(default_factory=dict)
    """By the names that ``Sae.beyond`` gives."""
    pairs: set[tuple[str, str]] | None = None
    """Which (master, slave) may share keys; None stands for all SAEs of the network."""

    def home(self, sae: str) -> str:
        """The KME of an SAE. Raises InputError when nobody knows it."""
        if sae not in self.saes:
            raise InputError("SAE_ID", sae, "no KME of this network knows that SAE")
        return self.saes[sae].home

    def beyond(self, sae: str) -> str:
        """The partner behind which an SAE lives, or nothing for one of this network. Raises InputError when nobody knows it."""
        self.home(sae)
        return self.saes[sae].beyond

    def policy(self, master: str, slave: str) -> PairPolicy:
        """What a pair may have."""
        return self.policies.get((master, slave), self.default_policy)

    def strictest_policy(self, master: str, slaves: Sequence[str]) -> PairPolicy:
        """How a key that a master shares with several slaves must travel to each: as the most careful of these pairs asks."""
        policies = [self.policy(master, slave) for slave in slaves]
        if len(policies) == 1:
            return policies[0]
        thresholds = [policy.threshold for policy in policies]
        return replace(
            policies[0],
            paths=max(policy.paths for policy in policies),
            threshold=None if None in thresholds else max(filter(None, thresholds)),
            post_quantum=any(policy.post_quantum for policy in policies),
            relay_form="announced" if any(policy.relay_form == "announced" for policy in policies) else "hop-by-hop",
            least_trust=max((policy.least_trust for policy in policies), key=TRUST.index),
        )

    def routes_for(self, master: str, slaves: Sequence[str], source: str, wanted_bit: int, paths: int) -> Sequence[Sequence[str]]:
        """Routes from the KME ``source`` to that of the first slave, for keys that a master shares with all ``slaves``. Raises NoRoute."""
        target, least_trust = self.home(slaves[0]), self.strictest_policy(master, slaves).least_trust
        if least_trust:
            return self.find_routes(source, target, wanted_bit, paths, least_trust=least_trust)
        return self.find_routes(source, target, wanted_bit, paths)

    def require_pair(self, master: str, slaves: Iterable[str]) -> None:
        """Raise InputError for an SAE that nobody knows, NotAuthorised for a pair that may share no keys."""
        for slave in slaves:
            self.home(slave)
            if slave == master and not self.saes[master].may_pair_with_itself:
                raise InputError("slave_SAE_ID", slave, "must be another SAE than the caller")
            if self.pairs is not None and (master, slave) not in self.pairs:
                raise NotAuthorised(f"{master} and {slave} may share no keys")

    def place_on_route(self, kme: str, reservation: Reservation, route: Sequence[str], sender: str) -> int:
        """Where ``kme`` stands on the route of a relay that ``sender`` brought. Raises NotAuthorised when there is no such relay."""
        ends = {self.home(slave) for slave in reservation.slaves}
        known = set(route) <= set(self.kme_addresses) if self.routes is None else tuple(route) in self.routes
        if not known or len(set(route)) < len(route) or route[0] != self.home(reservation.master) or ends != {route[-1]}:
            raise NotAuthorised("the controller approved no such route for this pair of SAEs")
        place = route.index(kme) if kme in route else -1
        if place <= 0 or route[place - 1] != sender:
            raise NotAuthorised(f"{kme} does not follow {sender} on this route")
        return place
