from __future__ import annotations

from collections.abc import Callable

import pytest

from tiandi.control.topology import Link, Node, Switch, Topology
from tiandi.errors import InputError

NODES = [Node("a"), Node("b"), Node("c")]
LINKS = [Link("ab", ("a", "b"), switch="s"), Link("bc", ("b", "c"))]


def small() -> Topology:
    return Topology.of(NODES, LINKS, [Switch("s")])


def test_a_change_makes_the_next_version_and_leaves_the_old_one_alone() -> None:
    old = small()
    new = old.with_changes(put=[Node("d"), Link("cd", ("c", "d")), Link("bc", ("b", "c"), rate_bps=5.0)], remove=["ab"])
    assert (list(new.nodes), list(new.links), new.version) == (["a", "b", "c", "d"], ["bc", "cd"], 2)
    assert new.links["bc"].rate_bps == 5.0
    assert (list(old.links), old.version, old.links["bc"].rate_bps) == (["ab", "bc"], 1, 0.0)


def test_with_a_node_go_its_links() -> None:
    assert list(small().with_changes(remove=["b"]).links) == []


def test_a_node_may_be_replaced_and_its_links_stay() -> None:
    assert list(small().with_changes(put=[Node("b", trust="foreign")]).links) == ["ab", "bc"]


def test_only_user_nodes_relay_for_nobody() -> None:
    kinds = ("trusted node", "user node", "ground station", "satellite", "gateway")
    assert [kind for kind in kinds if not Node("x", kind).relays] == ["user node"]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Node("a", "relay"), "kind"),  # type: ignore[arg-type]
        (lambda: Node("a", trust="full"), "trust"),  # type: ignore[arg-type]
        (lambda: Node("a", telescopes=0), "telescopes"),
        (lambda: Link("ab", ("a", "a")), "two different nodes"),
        (lambda: Link("ab", ("a", "b"), "radio"), "kind"),  # type: ignore[arg-type]
        (lambda: Link("ab", ("a", "b"), length_km=-1.0), "length_km"),
        (lambda: Link("ab", ("a", "b"), rate_bps=float("nan")), "rate_bps"),
        (lambda: Switch("s", at_once=0), "at_once"),
        (lambda: Topology.of([Node("a"), Node("a")], []), "stands twice"),
        (lambda: Topology.of(NODES, [*LINKS, LINKS[0]], [Switch("s")]), "stands twice"),
        (lambda: Topology.of(NODES, [], [Switch("s"), Switch("s")]), "stands twice"),
        (lambda: Topology.of(NODES[:2], LINKS, [Switch("s")]), "no such node"),
        (lambda: Topology.of(NODES, LINKS), "no such switch"),
        (lambda: small().with_changes(remove=["z"]), "no such node, link or switch"),
        (lambda: small().with_changes(remove=["s"]), "no such switch"),
        (lambda: small().with_changes(put=[Link("cz", ("c", "z"))]), "no such node"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_refused(make: Callable[[], object], why: str) -> None:
    with pytest.raises(InputError, match=why):
        make()
