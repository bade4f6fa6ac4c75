import pytest

from tiandi.control.routing import LinkState, find_route
from tiandi.errors import NoRoute

RING = [
    LinkState("a - b", ("a", "b"), 1000),
    LinkState("b - c", ("b", "c"), 1000),
    LinkState("c - d", ("c", "d"), 1000),
    LinkState("d - a", ("d", "a"), 1000),
]


def but(name: str, link: LinkState) -> list[LinkState]:
    return [link if item.name == name else item for item in RING]


def test_the_way_with_the_fewest_hops() -> None:
    assert find_route(RING, "a", "b", wanted_bit=10) == ["a", "b"]
    assert len(find_route(RING, "a", "c", wanted_bit=10)) == 3


def test_a_link_out_of_service_is_gone_round() -> None:
    links = but("a - b", LinkState("a - b", ("a", "b"), 1000, in_service=False, note="alarm"))
    assert find_route(links, "a", "b", wanted_bit=10) == ["a", "d", "c", "b"]


def test_a_link_short_of_key_is_gone_round() -> None:
    assert find_route(but("a - b", LinkState("a - b", ("a", "b"), 9)), "a", "b", wanted_bit=10) == ["a", "d", "c", "b"]


def test_no_way_names_the_obstacles() -> None:
    links = [LinkState("a - b", ("a", "b"), 1000, in_service=False, note="QBER 0.25"), LinkState("b - c", ("b", "c"), 5)]
    with pytest.raises(NoRoute, match=r"a - b is out of service \(QBER 0.25\); b - c holds 5 bit of key, 10 bit are wanted"):
        find_route(links, "a", "c", wanted_bit=10)


def test_unconnected_nodes_are_said_to_be() -> None:
    with pytest.raises(NoRoute, match="no chain of links joins them"):
        find_route(RING, "a", "z", wanted_bit=10)
