from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from tests.kms.test_configuration import LEAST, read
from tiandi.control.controller import Controller, controlled
from tiandi.control.topology import TRUST_CLASSES, Link, Node, Topology
from tiandi.errors import InputError, NoRoute
from tiandi.kms.directory import TRUST
from tiandi.kms.operating import configuration_tables
from tiandi.kms.operating.routes_table import RoutesTable
from tiandi.kms.relay.link_reports import FORGET_S, LinkReport


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def diamond(clock: Clock | None = None, **trust: str) -> Controller:
    """a - b - d and a - c - d."""
    nodes = [Node(name, trust=trust.get(name, "own")) for name in "abcd"]  # type: ignore[arg-type]
    links = [Link(f"{a} - {b}", (a, b)) for a, b in ("ab", "bd", "ac", "cd")]
    return Controller(Topology.of(nodes, links), clock=clock or Clock())


def tell(controller: Controller, stocks: dict[str, int], *, sequence: int = 1, **more: object) -> None:
    controller.heard(
        [
            LinkReport(origin=here, neighbour=there, sequence=sequence, stock_bit=bit, rate_bps=1000.0, **more)  # type: ignore[arg-type]
            for link, bit in stocks.items()
            for here, there in (link, link[::-1])
        ]
    )


EQUAL = dict.fromkeys(("ab", "bd", "ac", "cd"), 100_000)


def test_the_way_is_the_one_with_more_key_at_both_ends_of_every_hop() -> None:
    controller = diamond()
    tell(controller, EQUAL | {"bd": 10_000})
    assert controller.find("a", "d", 1000, 1) == [["a", "c", "d"]]
    tell(controller, EQUAL | {"cd": 100}, sequence=2)
    assert controller.find("a", "d", 1000, 1) == [["a", "b", "d"]]
    assert controller.find("a", "d", 100, 2) == [["a", "b", "d"], ["a", "c", "d"]]


def test_where_no_way_has_enough_now_one_is_named_all_the_same_but_none_that_is_closed() -> None:
    controller = diamond()
    tell(controller, EQUAL | {"ab": 0, "ac": 0})
    assert len(controller.find("a", "d", 1000, 1)) == 1
    with pytest.raises(NoRoute, match="hold"):
        controller.routes("a", "d", 1000, 1)
    tell(controller, EQUAL, sequence=2, in_service=False, note="an alarm stands")
    with pytest.raises(NoRoute, match="an alarm stands"):
        controller.find("a", "d", 1000, 1)


def test_a_link_whose_kme_is_silent_is_closed_until_it_speaks_again() -> None:
    clock = Clock()
    controller = diamond(clock)
    tell(controller, EQUAL)
    clock.now_s = FORGET_S + 1
    tell(controller, {"ac": 1_000, "cd": 1_000}, sequence=2)
    assert controller.find("a", "d", 100, 2) == [["a", "c", "d"]]
    tell(controller, EQUAL, sequence=3)
    assert len(controller.find("a", "d", 100, 2)) == 2


def test_a_kme_that_begins_anew_with_lower_numbers_is_heard_once_its_old_reports_are_stale() -> None:
    clock = Clock()
    controller = diamond(clock)
    tell(controller, EQUAL, sequence=2_000)
    clock.now_s = FORGET_S / 2
    tell(controller, EQUAL, sequence=1_000, in_service=False)
    assert len(controller.routes("a", "d", 100, 2)) == 2
    clock.now_s = FORGET_S + 1
    with pytest.raises(NoRoute, match="no report for too long"):
        controller.routes("a", "d", 100, 1)
    tell(controller, EQUAL, sequence=1_000)
    assert len(controller.routes("a", "d", 100, 2)) == 2


def test_there_is_no_way_within_one_kme() -> None:
    with pytest.raises(NoRoute, match="within one KME"):
        diamond().find("a", "a", 0, 1)


def test_classes_of_trust_stand_in_the_same_order_wherever_they_stand() -> None:
    assert ("", *TRUST_CLASSES) == TRUST
    assert get_args(configuration_tables.TrustClass) == TRUST_CLASSES


@pytest.mark.parametrize("lie", [{"rate_bps": 1e15}, {"stock_bit": 1 << 61}, {"in_service": True}])
def test_no_report_leads_keys_through_a_node_that_is_trusted_too_little(lie: dict[str, object]) -> None:
    controller = diamond(b="foreign")
    tell(controller, EQUAL | {"ac": 0})
    for here, there in ("ab", "ba", "bd", "db"):
        said = {"origin": here, "neighbour": there, "sequence": 2, "stock_bit": 10**9} | lie
        controller.heard([LinkReport(**said)])  # type: ignore[arg-type]
    assert controller.find("a", "d", 1000, 1, least_trust="own") == [["a", "c", "d"]]
    assert controller.find("a", "d", 1000, 2, least_trust="own") == [["a", "c", "d"]]


def test_keys_of_a_pair_pass_only_nodes_that_are_trusted_enough() -> None:
    controller = diamond(b="foreign", c="guarded")
    tell(controller, EQUAL | {"cd": 2_000})
    assert controller.find("a", "d", 1000, 2, least_trust="own") == [["a", "c", "d"]]
    assert len(controller.find("a", "d", 1000, 2)) == 2
    with pytest.raises(InputError, match="least_trust"):
        controller.find("a", "d", 1000, 1, least_trust="friend")


def test_a_change_of_the_topology_holds_from_the_next_key_on_and_what_stays_keeps_its_state() -> None:
    controller = diamond()
    tell(controller, EQUAL)
    with pytest.raises(NoRoute, match="e is not in the topology"):
        controller.find("a", "e", 0, 1)
    controller.change(put=[Node("e"), Link("d - e", ("d", "e"))], remove=["c"])
    assert controller.find("a", "d", 1000, 2) == [["a", "b", "d"]]
    tell(controller, {"de": 5_000})
    assert controller.routes("a", "e", 1000, 1) == [["a", "b", "d", "e"]]
    assert controller.neighbours("d") == {"b", "e"}
    with pytest.raises(InputError, match="remove"):
        controller.change(remove=["z"])


def test_a_route_may_be_relayed_over_links_of_the_topology_through_nodes_that_relay() -> None:
    controller = diamond()
    assert ("a", "b", "d") in controller
    controller.change(put=[Node("b", "user node")])
    assert ("a", "b", "d") not in controller
    assert ("a", "b") in controller
    for odd in (("a", "d"), ("a",), (), ["a", "b"], "ab", ("a", "z")):
        assert odd not in controller


def test_what_is_said_of_links_that_nobody_built_is_passed_over() -> None:
    controller = diamond()
    tell(controller, EQUAL | {"ad": 10**9})  # type: ignore[operator]
    assert all(len(route) == 3 for route in controller.find("a", "d", 1000, 2))


NETWORK = """
[[peers]]
id = "kme-b"
address = "https://b:1"
trust = "foreign"
relays = false
[[links]]
ends = ["kme-b", "kme-a"]
length_km = 50.0
"""


def test_a_configuration_file_makes_a_controller_that_stays_and_one_with_routes_a_table(tmp_path: Path) -> None:
    configuration = read(tmp_path, LEAST + NETWORK)
    controller = controlled(configuration, None)
    assert isinstance(controller, Controller)
    assert controller.topology.nodes["kme-b"] == Node("kme-b", "user node", "foreign")
    assert controller.topology.links["kme-a - kme-b"].length_km == 50.0
    again = controlled(msgspec.structs.replace(configuration, links=[]), controller)
    assert again is controller
    assert not controller.topology.links
    routes = '[[routes]]\nnodes = ["kme-a", "kme-b"]\n'
    assert isinstance(controlled(read(tmp_path, LEAST + NETWORK.split("[[links]]", maxsplit=1)[0] + routes), controller), RoutesTable)
