"""The map of trust against linear algebra: all that an attacker sees, as equations over a prime field, and whether the key follows."""

from __future__ import annotations

import json
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiandi.control.topology import Link, Node, Topology
from tiandi.control.trust import Learns, PairTrust, TrustMap, trust_map
from tiandi.errors import InputError
from tiandi.kms.relay import sharing

PRIME = 10007
PAIR = ("A", "B")


def network(routes: list[list[str]], borders: set[frozenset[str]] | None = None) -> Topology:
    """Nodes and links of these routes; a satellite where the name says so."""
    names = sorted({node for route in routes for node in route} | {"Elsewhere"})
    nodes = [Node(name, "satellite" if name.startswith("Sat") else "trusted node") for name in names]
    hops = sorted({tuple(sorted(hop)) for route in routes for hop in pairwise(route)})
    links = [
        Link(
            f"{one}-{two}",
            (one, two),
            "gateway" if frozenset((one, two)) in (borders or set()) else "downlink" if "Sat" in one + two else "fibre",
        )
        for one, two in hops
    ]
    return Topology.of(nodes, links)


class Knowledge:
    """What is seen, as vectors over named unknowns; a thing is known when its vector is in their span."""

    def __init__(self) -> None:
        self.unknowns: dict[str, int] = {}
        self.seen: list[dict[int, int]] = []

    def unknown(self, name: str) -> dict[int, int]:
        return {self.unknowns.setdefault(name, len(self.unknowns)): 1}

    def see(self, vector: dict[int, int]) -> None:
        self.seen.append(vector)

    def knows(self, vector: dict[int, int]) -> bool:
        rows = [*self.seen]
        return rank(rows, len(self.unknowns)) == rank([*rows, vector], len(self.unknowns))


def add(*vectors: dict[int, int], times: int = 1) -> dict[int, int]:
    total: dict[int, int] = {}
    for number, vector in enumerate(vectors):
        for place, value in vector.items():
            total[place] = (total.get(place, 0) + value * (times if number else 1)) % PRIME
    return total


def rank(rows: list[dict[int, int]], width: int) -> int:
    matrix = np.zeros((len(rows), width), np.int64)
    for number, row in enumerate(rows):
        for place, value in row.items():
            matrix[number, place] = value
    found = 0
    for column in range(width):
        pivot = next((row for row in range(found, len(matrix)) if matrix[row, column]), None)
        if pivot is None:
            continue
        matrix[[found, pivot]] = matrix[[pivot, found]]
        matrix[found] = matrix[found] * pow(int(matrix[found, column]), -1, PRIME) % PRIME
        others = [row for row in range(len(matrix)) if row != found]
        matrix[others] = (matrix[others] - matrix[others, column][:, None] * matrix[found]) % PRIME
        found += 1
    return found


def attacked(
    routes: list[list[str]], threshold: int, held: set[str], *, post_quantum: bool, announced: bool, broken: bool, by_hand_over: bool = True
) -> bool:
    """Whether the key follows from what is said in public, what the held nodes see, and, when ``broken``, what TLS and ML-KEM hid."""
    world = Knowledge()
    key, mask = world.unknown("key"), world.unknown("mask")
    material = add(key, mask) if post_quantum else key
    if broken:
        world.see(mask)
    coefficients = [world.unknown(f"coefficient {degree}") for degree in range(1, threshold)]
    for number, route in enumerate(routes):
        share = material
        for degree, coefficient in enumerate(coefficients, 1):
            share = add(share, coefficient, times=pow(number + 1, degree, PRIME))
        pads = [world.unknown(f"pad {number} {hop}") for hop in pairwise(route)]
        for pad, hop in zip(pads, pairwise(route), strict=True):
            if held & set(hop):
                world.see(pad)
        if announced:
            hidden = [add(share, pads[0]), *(add(one, two, times=-1) for one, two in pairwise(pads))]
            for vector in hidden if broken else []:
                world.see(vector)
            continue
        for pad, hop in zip(pads, pairwise(route), strict=True):
            world.see(add(share, pad))
            if by_hand_over and "Sat" in hop[0]:
                # What a satellite broadcasts for a hand-over: the difference of its keys with the stations on either side.
                place = route.index(hop[0])
                world.see(add(pads[place - 1], pads[place], times=-1))
    return world.knows(key)


def verdict(routes: list[list[str]], threshold: int, held: set[str], *, post_quantum: bool, announced: bool) -> Learns:
    if attacked(routes, threshold, held, post_quantum=post_quantum, announced=announced, broken=False):
        return Learns.KEY
    broken = attacked(routes, threshold, held, post_quantum=post_quantum, announced=announced, broken=True)
    return Learns.IF_BROKEN if broken else Learns.NOTHING


def map_of(routes: list[list[str]], threshold: int | None = None, **options: bool) -> PairTrust:
    return trust_map(network(routes), {PAIR: routes}, threshold=threshold, **options).pairs[0]


@st.composite
def sets_of_routes(draw: st.DrawFn) -> list[list[str]]:
    """One to four ways, disjoint or not, some of them direct, some over a satellite."""
    inner = st.lists(st.sampled_from(["C", "D", "E", "F", "Sat 1", "Sat 2"]), max_size=3, unique=True)
    return [["A", *draw(inner), "B"] for _ in range(draw(st.integers(1, 4)))]


@settings(max_examples=40, deadline=None)
@given(sets_of_routes(), st.data(), st.booleans(), st.booleans())
def test_what_one_and_two_nodes_learn_is_what_follows_from_what_they_see(
    routes: list[list[str]], data: st.DataObject, post_quantum: bool, announced: bool
) -> None:
    threshold = data.draw(st.integers(min(2, len(routes)), len(routes)))
    options = {"post_quantum": post_quantum, "announced": announced}
    trust = map_of(routes, threshold, **options)
    nodes = sorted({node for route in routes for node in route[1:-1]})
    for held in [(), *combinations(nodes, 1), *combinations(nodes, 2)]:
        assert trust.learns(held) == verdict(routes, threshold, set(held), **options)


@settings(max_examples=40, deadline=None)
@given(sets_of_routes(), st.data())
def test_the_smallest_sets_are_those_of_a_search_through_all(routes: list[list[str]], data: st.DataObject) -> None:
    together = st.lists(st.integers(0, len(routes) - 1), min_size=1, unique=True)
    choices = data.draw(st.lists(together, min_size=1, max_size=3))
    least = min(len(chosen) for chosen in choices)
    threshold = None if least == 1 else data.draw(st.one_of(st.none(), st.integers(2, least)))
    trust = trust_map(network(routes), {PAIR: routes}, threshold=threshold, choices={PAIR: choices}).pairs[0]
    nodes = sorted({node for route in routes for node in route[1:-1]})

    def smallest(test: object) -> set[frozenset[str]]:
        for size in range(1, len(nodes) + 1):
            found = {frozenset(held) for held in combinations(nodes, size) if test(held)}  # type: ignore[operator]
            if found:
                return found
        return set()

    def spelled_out(sets: object) -> set[frozenset[str]]:
        spelled = set()
        for groups in sets:  # type: ignore[attr-defined]
            choices = [[]]
            for group in groups:
                choices = [[*chosen, node] for chosen in choices for node in group]
            spelled |= {frozenset(chosen) for chosen in choices}
        return spelled

    def arrives_without(held: tuple[str, ...]) -> bool:
        return any(sum(not set(held) & set(routes[way]) for way in chosen) >= (threshold or len(chosen)) for chosen in choices)

    def opens(held: tuple[str, ...]) -> bool:
        return any(sum(bool(set(held) & set(routes[way])) for way in chosen) >= (threshold or len(chosen)) for chosen in choices)

    assert all((trust.learns(held) == Learns.KEY) == opens(held) for held in combinations(nodes, 2))
    assert spelled_out(trust.opened_by) == smallest(lambda held: trust.learns(held) == Learns.KEY)
    assert spelled_out(trust.stopped_by) == smallest(lambda held: not arrives_without(held))
    assert all(trust.denies(held) == (not arrives_without(held)) for held in combinations(nodes, 2))


@pytest.mark.parametrize(("threshold", "count"), [(2, 2), (2, 3), (3, 4)], ids=["2-of-2", "2-of-3", "3-of-4"])
def test_shares_of_the_software_open_where_the_map_says(threshold: int, count: int) -> None:
    """One node on each of ``threshold`` disjoint ways: with their real shares the key is there; with one share fewer it is not."""
    routes = [["A", f"C{number}", "B"] for number in range(count)]
    trust, secret = map_of(routes, threshold), b"sixteen bytes..."
    shares = sharing.split(secret, threshold=threshold, shares=count)
    for held in combinations(range(count), threshold):
        assert trust.learns([f"C{number}" for number in held]) == Learns.KEY
        assert sharing.join({number: shares[number] for number in held}, threshold=threshold, share_count=count) == secret
    assert trust.learns([f"C{number}" for number in range(threshold - 1)]) == Learns.NOTHING
    assert len(trust.opened_by) == len(list(combinations(range(count), threshold)))


@settings(max_examples=15, deadline=None)
@given(st.lists(sets_of_routes(), min_size=1, max_size=3), st.booleans(), st.booleans())
def test_any_two_nodes_are_counted_over_all_pairs(many: list[list[list[str]]], post_quantum: bool, announced: bool) -> None:
    ways = {("A", f"B{number}"): [[*route[:-1], f"B{number}"] for route in routes] for number, routes in enumerate(many)}
    everything = [route for routes in ways.values() for route in routes]
    result = trust_map(network(everything), ways, post_quantum=post_quantum, announced=announced)
    for least in (Learns.KEY, Learns.IF_BROKEN):
        counts = result.opened_by_two(least)
        for i, one in enumerate(result.nodes):
            for j, two in enumerate(result.nodes):
                assert counts[i, j] == sum(pair.learns({one, two}) >= least for pair in result.pairs)


def test_a_border_between_networks_holds_the_key_whatever_is_done_before_and_behind() -> None:
    routes = [["A", "C", "Gate 1", "Gate 2", "B"], ["A", "D", "Gate 1", "Gate 2", "B"]]
    topology = network(routes, {frozenset(("Gate 1", "Gate 2"))})
    trust = trust_map(topology, {PAIR: routes}, post_quantum=True).pairs[0]
    assert trust.learns(["Gate 1"]) == trust.learns(["Gate 2"]) == Learns.KEY
    assert trust.learns([]) == trust.learns(["C", "D"]) == Learns.IF_BROKEN
    assert trust.opened_by == ((("Gate 1", "Gate 2"),),)
    assert trust.denies(["Gate 1"])
    assert not any("only if" in line for line in trust.lines())
    assert any("breaks TLS" in line for line in trust.lines())


def test_a_direct_link_among_the_ways_leaves_nothing_to_relays() -> None:
    trust = map_of([["A", "B"], ["A", "C", "B"]])
    assert (trust.opened_by, trust.learns(["C"]), trust.denies(["C"])) == ((), Learns.NOTHING, True)
    assert map_of([["A", "B"]]).lines()[-2:] == [
        "  No set of nodes on the ways learns the key: too many shares travel by direct links.",
        "  No nodes on the ways can stop it.",
    ]


def test_alternatives_tell_what_disjoint_ways_and_ml_kem_change() -> None:
    trust = map_of([["A", "C", "B"], ["A", "Sat", "B"], ["A", "E", "B"]])
    told = {
        (len(other.ways), other.choices[0].threshold, other.post_quantum): (
            len(other.opened_by[0]),
            len(other.stopped_by[0]),
            other.learns(["C", "Sat", "E"]),
        )
        for other in trust.alternatives()
    }
    key, broken = Learns.KEY, Learns.IF_BROKEN
    assert told == {
        (1, 1, False): (1, 1, key),
        (1, 1, True): (1, 1, broken),
        (3, 2, False): (2, 2, key),
        (3, 2, True): (2, 2, broken),
        (3, 3, False): (3, 1, key),
        (3, 3, True): (3, 1, broken),
    }


def test_the_map_reads_as_text_and_as_json() -> None:
    routes = [["A", "C", "B"], ["A", "Sat 1", "B"]]
    result = trust_map(network(routes), {PAIR: routes}, post_quantum={PAIR})
    text = "\n".join(result.lines())
    assert "A - B: 2 ways, all needed, with ML-KEM." in text
    assert "must hold C and Sat 1, but only if ML-KEM is broken too" in text
    assert "A -(downlink)- Sat 1 -(downlink)- B" in text
    document = json.loads(json.dumps(result.document()))
    assert document["pairs"][0]["one_node"] == {"C": "NOTHING", "Sat 1": "NOTHING"}
    assert result.learns.tolist() == [[Learns.OWN, Learns.OWN, Learns.NOTHING, Learns.NOTHING, Learns.NOTHING]]
    assert result.denies.tolist() == [[True, True, True, False, True]]


def test_each_key_by_one_of_several_ways_is_open_to_each_node() -> None:
    routes = [["A", "C", "B"], ["A", "D", "B"]]
    trust = trust_map(network(routes), {PAIR: routes}, choices={PAIR: [[0], [1]]}).pairs[0]
    assert trust.learns(["C"]) == trust.learns(["D"]) == Learns.KEY
    assert not trust.denies(["C"])
    assert "each key by one of them" in trust.title


def test_sixteen_ways_of_four_nodes_are_searched_at_once() -> None:
    routes = [["A", *(f"{number}.{hop}" for hop in range(4)), "B"] for number in range(16)]
    trust = map_of(routes, 8)
    assert len(trust.opened_by) == 256
    assert all(len(groups) == 8 and trust.learns([group[0] for group in groups]) == Learns.KEY for groups in trust.opened_by)


def test_no_pairs_at_all_is_a_map_too() -> None:
    assert TrustMap(("A",), ()).lines() == ["Keys of 0 pairs over 1 nodes. A node that is the end of a pair has that pair's keys."]


@pytest.mark.parametrize(
    ("routes", "threshold"),
    [
        ([["A", "C"]], None),
        ([["A", "C", "A", "B"]], None),
        ([["A", "Nowhere", "B"]], None),
        ([["A", "User", "B"]], None),
        ([["A", "Elsewhere", "B"]], None),
        ([["A", "C", "B"]], 2),
        ([["A", "C", "B"]], 0),
        ([["A", "C", "B"], ["A", "C", "B"]], 1),
        ([], None),
        ([["A", "C", "B"]] * 17, None),
    ],
    ids=[
        "other end",
        "twice",
        "unknown node",
        "user node",
        "no link",
        "threshold high",
        "threshold low",
        "share is the key",
        "no way",
        "too many",
    ],
)
def test_ways_that_cannot_be_are_refused(routes: list[list[str]], threshold: int | None) -> None:
    topology = network([["A", "C", "B"], ["A", "User", "B"]]).with_changes(put=[Node("User", "user node")])
    with pytest.raises(InputError):
        trust_map(topology, {PAIR: routes}, threshold=threshold)


@pytest.mark.parametrize("choice", [[], [1], [-1]], ids=["empty", "too high", "negative"])
def test_choices_of_ways_that_are_not_there_are_refused(choice: list[int]) -> None:
    routes = [["A", "C", "B"]]
    with pytest.raises(InputError, match="choices"):
        trust_map(network(routes), {PAIR: routes}, choices={PAIR: [choice]})
