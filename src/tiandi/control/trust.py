"""An honest map of trust: who on the ways of a pair's keys has to be trusted, what it learns when it should not be, and who can stop them.

What it tells is what this software does (`tiandi.kms.relay`), of an attacker who hears everything that is said between places, keeps it,
and holds some nodes: reads their stores and memory, ends their TLS, and sends what it likes.

- A hop is a QKD link. Its pad is known to its two ends only, by quantum physics, as far as its devices are those of the proof.
- Hop by hop, every node on a way forms the share that travels there. Whoever holds nodes on ``threshold`` of the ways has the key; with
  fewer the shares are independent of it, whatever computer is used (`tiandi.kms.relay.sharing`).
- A satellite that hands over key knows both stations' keys: it is a node on the way. What it broadcasts, their exclusive or, says nothing.
- "Announced", no node forms the share, but each knows a pad of its chain: it needs the announcements as well, which TLS hides.
- With ML-KEM the material of all ways is under a mask that only the two ends have. Who holds the nodes learns it when ML-KEM-768 is
  broken too, and its public keys were not swapped, which certificates of the two KMEs forbid.
- Between networks (ETSI GS QKD 020) keys travel whole, under TLS alone: both KMEs at the border hold them, whatever is done before and
  behind. Shares, announcements and ML-KEM end there; trust within another network is not known here.

Nobody can change a key unnoticed, but a node on a way can spoil its share: with more than n - ``threshold`` of n ways nothing arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, reduce
from itertools import pairwise
from operator import or_

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tiandi.control.topology import Topology
from tiandi.errors import InputError
from tiandi.limits import require_within

MOST_WAYS = 16
MOST_SETS = 256
"""So many of the smallest sets of a pair are written out; each stands for every choice of one node from each of its groups."""

Pair = tuple[str, str]
NodeSets = tuple[tuple[tuple[str, ...], ...], ...]
"""Sets of nodes, compressed: of each entry, one node of every group makes a set."""


class Learns(IntEnum):
    """What an attacker learns of a pair's keys; OWN is what an end of the pair has by right."""

    NOTHING = 0
    IF_BROKEN = 1
    KEY = 2
    OWN = 3


@dataclass(frozen=True)
class Hop:
    """Two neighbours on a way, the kinds of the links between them, and whether quantum physics protects what passes."""

    ends: Pair
    kinds: tuple[str, ...]

    @property
    def quantum(self) -> bool:
        """False at a border between networks, where TLS protects alone."""
        return self.kinds != ("gateway",)


@dataclass(frozen=True)
class Choice:
    """Ways that a key goes by together, bit i for way i, of whose shares ``threshold`` give it."""

    ways: int
    threshold: int

    def wanting(self, seen: int) -> int:
        """How many shares more than those of the ways ``seen`` give the key; 0 or less where they do."""
        return self.threshold - (seen & self.ways).bit_count()

    def sparing(self, lost: int) -> int:
        """How many ways more than those ``lost`` have to be lost before no key arrives; 0 or less where none does."""
        return (self.ways & ~lost).bit_count() - self.threshold + 1


@dataclass(frozen=True)
class PairTrust:
    """The trust of one pair: its ways, the choices of them that each key goes by one of, and by node the ways it sits on, bit i for way i.

    What is said to be learned are the keys that came by: with several choices a node may never see those that went another way.
    """

    pair: Pair
    ways: tuple[tuple[Hop, ...], ...]
    choices: tuple[Choice, ...]
    post_quantum: bool
    announced: bool
    on_ways: dict[str, int]

    @cached_property
    def borders(self) -> frozenset[str]:
        """The nodes at both sides of a border between networks, which hold the whole key."""
        return frozenset(end for way in self.ways for hop in way if not hop.quantum for end in hop.ends).difference(self.pair)

    @cached_property
    def outside(self) -> Learns:
        """What an attacker learns who holds no node."""
        return Learns.NOTHING if all(hop.quantum for way in self.ways for hop in way) else Learns.IF_BROKEN

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What has to be broken, all of it, before nodes on the ways learn the key; empty where nothing has to."""
        return ("TLS between the KMEs",) * self.announced + ("ML-KEM",) * self.post_quantum

    def learns(self, held: Collection[str]) -> Learns:
        """What an attacker learns who holds all of ``held``."""
        if any(node in self.pair for node in held):
            return Learns.OWN
        if self.borders.intersection(held):
            return Learns.KEY
        seen = self._on(held)
        if any(choice.wanting(seen) <= 0 for choice in self.choices):
            return Learns.IF_BROKEN if self.assumptions else Learns.KEY
        return self.outside

    def denies(self, held: Collection[str]) -> bool:
        """Whether nobody gets keys when ``held`` are down or spoil what passes; the ways are those given, before any new route is found."""
        return any(node in self.pair for node in held) or all(choice.sparing(self._on(held)) <= 0 for choice in self.choices)

    def _on(self, held: Collection[str]) -> int:
        return reduce(or_, (self.on_ways.get(node, 0) for node in held), 0)

    @property
    def opened_by(self) -> NodeSets:
        """The smallest sets of nodes (but the ends) that give a key, at most 256 entries; under `assumptions`, but for a border's."""
        if self.borders:
            return ((tuple(sorted(self.borders)),),)
        return _smallest_sets(self.on_ways, lambda seen: min(choice.wanting(seen) for choice in self.choices))

    @property
    def stopped_by(self) -> NodeSets:
        """The smallest sets of nodes (but the ends) without which no key arrives; empty where direct links are enough."""
        return _smallest_sets(self.on_ways, lambda lost: max(choice.sparing(lost) for choice in self.choices))

    def alternatives(self) -> list[PairTrust]:
        """The same pair by its first way alone, by shares over all its ways with each threshold, and each of these with ML-KEM."""
        count = len(self.ways)
        plans = [(self.ways[:1], Choice(1, 1)), *((self.ways, Choice((1 << count) - 1, needed)) for needed in range(2, count + 1))]
        return [
            PairTrust(self.pair, ways, (choice,), post_quantum, self.announced, _on_ways(ways))
            for ways, choice in plans
            for post_quantum in (False, True)
        ]

    @property
    def title(self) -> str:
        """How its keys travel, in words."""
        first, count = self.choices[0], len(self.choices)
        together = first.ways.bit_count()
        shares = (
            "one way" if together == 1 else f"{together} ways, {'all' if first.threshold == together else f'any {first.threshold}'} needed"
        )
        if count > 1:
            shares = f"{count} ways, each key by one of them" if together == 1 else f"{count} choices, each key by one: {shares}"
        return shares + ", announced" * self.announced + ", with ML-KEM" * self.post_quantum

    def lines(self) -> list[str]:
        """What a planner reads of it."""
        text = [f"{self.pair[0]} - {self.pair[1]}: {self.title}."]
        for number, way in enumerate(self.ways, 1):
            trusted = [hop.ends[1] for hop in way[:-1]]
            must = f"{', '.join(trusted)} must be trusted with what goes here" if trusted else "no node on the way"
            text.append(f"  Way {number}: {_chain(way)}; {must}.")
        bare = [" - ".join(hop.ends) for way in self.ways for hop in way if not hop.quantum]
        text.append(
            f"  Quantum physics protects every hop but {', '.join(bare)}, where whoever breaks TLS learns the key without holding a node."
            if bare
            else "  Quantum physics protects every hop: an attacker who holds no node learns nothing."
        )
        condition = f", but only if {' and '.join(self.assumptions)} {'are both' if len(self.assumptions) > 1 else 'is'} broken too"
        condition = condition if self.assumptions and not self.borders else ""
        if self.borders:
            text.append(f"  At the border {', '.join(sorted(self.borders))} hold the key whole, whatever protects it elsewhere.")
        sets = self.opened_by
        text.append(
            f"  To learn the key an attacker must hold {_in_words(sets)}{condition}."
            if sets
            else "  No set of nodes on the ways learns the key: too many shares travel by direct links."
        )
        stops = self.stopped_by
        text.append(f"  To stop it an attacker must hold {_in_words(stops)}." if stops else "  No nodes on the ways can stop it.")
        return text

    def document(self) -> dict[str, object]:
        """It as plain data for JSON."""
        return {
            "pair": list(self.pair),
            "ways": [[{"ends": list(hop.ends), "links": list(hop.kinds), "quantum": hop.quantum} for hop in way] for way in self.ways],
            "choices": [
                {"ways": [way for way in range(len(self.ways)) if choice.ways >> way & 1], "threshold": choice.threshold}
                for choice in self.choices
            ],
            "post_quantum": self.post_quantum,
            "announced": self.announced,
            "only_if_broken": list(self.assumptions),
            "outside": self.outside.name,
            "one_node": {node: self.learns([node]).name for node in sorted(self.on_ways)},
            "opened_by": self.opened_by,
            "stopped_by": self.stopped_by,
        }


@dataclass(frozen=True)
class TrustMap:
    """The trust of many pairs. ``nodes`` are those of the topology, in the order of the columns."""

    nodes: tuple[str, ...]
    pairs: tuple[PairTrust, ...]

    @cached_property
    def learns(self) -> NDArray[np.int8]:
        """What who holds one node learns, as numbers of `Learns`, shape (pairs, nodes); what needs no node is in `PairTrust.outside`."""
        return self._of_each_node(lambda pair, node: int(pair.learns([node])), lambda pair: int(pair.outside)).astype(np.int8)

    @cached_property
    def denies(self) -> NDArray[np.bool_]:
        """Whether one node alone can stop a pair's keys, shape (pairs, nodes)."""
        return self._of_each_node(lambda pair, node: int(pair.denies([node])), lambda pair: 0).astype(bool)

    def _of_each_node(self, of_node: Callable[[PairTrust, str], int], of_others: Callable[[PairTrust], int]) -> NDArray[np.int8]:
        column = {name: number for number, name in enumerate(self.nodes)}
        table = np.zeros((len(self.pairs), len(self.nodes)), np.int8)
        for row, pair in zip(table, self.pairs, strict=True):
            row[:] = of_others(pair)
            for node in {*pair.on_ways, *pair.pair}:
                row[column[node]] = of_node(pair, node)
        return table

    def opened_by_two(self, least: Learns = Learns.KEY) -> NDArray[np.int64]:
        """Of how many pairs who holds nodes i and j learns at least ``least``, shape (nodes, nodes); one node alone on the diagonal."""
        alone = csr_array((self.learns >= least).astype(np.int64))
        singles = np.asarray(alone.sum(axis=0)).ravel()
        counts: NDArray[np.int64] = singles[:, None] + singles[None, :] - (alone.T @ alone).toarray()
        column = {name: number for number, name in enumerate(self.nodes)}
        for pair, alone_learn in zip(self.pairs, self.learns, strict=True):
            if (pair.assumptions and least > Learns.IF_BROKEN) or pair.outside >= least:
                continue
            partial = {number: mask for node, mask in pair.on_ways.items() if alone_learn[number := column[node]] < least}
            numbers, masks = np.array(list(partial), np.int64), np.array(list(partial.values()), np.int64)
            both = masks[:, None] | masks[None, :]
            opened = [np.bitwise_count(both & choice.ways) >= choice.threshold for choice in pair.choices]
            counts[np.ix_(numbers, numbers)] += np.any(opened, axis=0)
        return counts

    def lines(self, most_pairs: int = 50) -> list[str]:
        """What a planner reads: the whole network first, then each of its first ``most_pairs`` pairs."""
        key = (self.learns >= Learns.KEY).sum(axis=0)
        text = [f"Keys of {len(self.pairs)} pairs over {len(self.nodes)} nodes. A node that is the end of a pair has that pair's keys."]
        for number in np.argsort(-key, kind="stable")[:5]:
            if key[number]:
                stops = int(self.denies[:, number].sum())
                text.append(f"Who holds {self.nodes[number]} has the keys of {key[number]} pairs and can stop {stops}.")
        if len(self.nodes) > 1 and len(self.pairs):
            two = np.triu(self.opened_by_two(), 1)
            first, second = np.unravel_index(int(two.argmax()), two.shape)
            text.append(f"The two nodes that open most are {self.nodes[first]} and {self.nodes[second]}: {two[first, second]} pairs.")
        for pair in self.pairs[:most_pairs]:
            text += pair.lines()
        return text

    def document(self) -> dict[str, object]:
        """It as plain data for JSON."""
        return {"nodes": list(self.nodes), "pairs": [pair.document() for pair in self.pairs]}


def trust_map(
    topology: Topology,
    ways: Mapping[Pair, Sequence[Sequence[str]]],
    *,
    threshold: int | Mapping[Pair, int] | None = None,
    choices: Mapping[Pair, Sequence[Sequence[int]]] | None = None,
    post_quantum: bool | Collection[Pair] = False,
    announced: bool | Collection[Pair] = False,
) -> TrustMap:
    """The map of trust of pairs whose keys travel by ``ways``: for each the names of the nodes of every way, both ends included.

    A key goes by all ways of its pair at once, in shares; where ``choices`` are given, by the ways of one of these lists of their numbers,
    as the router finds them. ``threshold`` is how many of those shares give the key, all of them where none is given. ``post_quantum`` and
    ``announced`` hold for all pairs or for those named. Raises InputError on ways that do not lead from one end to the other over links of
    the topology, on a user node on the way, on choices of ways that are not there, and on a threshold below 2 of several shares, with which
    each of them would be the key itself.
    """
    kinds: dict[frozenset[str], set[str]] = {}
    for link in topology.links.values():
        kinds.setdefault(frozenset(link.ends), set()).add(link.kind)
    found = []
    for pair, routes in ways.items():
        where = f"ways ({pair[0]} - {pair[1]})"
        require_within(where, len(routes), 1, MOST_WAYS)
        hops = tuple(_way(where, topology, kinds, pair, list(route)) for route in routes)
        wanted = threshold.get(pair) if isinstance(threshold, Mapping) else threshold
        lists = (choices or {}).get(pair) or [range(len(hops))]
        chosen = tuple(_choice(f"choices ({pair[0]} - {pair[1]})", numbers, len(hops), wanted) for numbers in lists)
        quantum_safe = post_quantum if isinstance(post_quantum, bool) else pair in post_quantum
        differences = announced if isinstance(announced, bool) else pair in announced
        found.append(PairTrust(pair, hops, chosen, quantum_safe, differences, _on_ways(hops)))
    return TrustMap(tuple(topology.nodes), tuple(found))


def _choice(where: str, numbers: Sequence[int], count: int, threshold: int | None) -> Choice:
    require_within(where, len(numbers), 1, count)
    for number in numbers:
        require_within(where, number, 0, count - 1)
    together = reduce(or_, (1 << number for number in numbers))
    needed = together.bit_count() if threshold is None else threshold
    require_within(f"{where}, threshold", needed, min(2, together.bit_count()), together.bit_count())
    return Choice(together, needed)


def _way(where: str, topology: Topology, kinds: Mapping[frozenset[str], set[str]], pair: Pair, route: list[str]) -> tuple[Hop, ...]:
    if len(route) < 2 or (route[0], route[-1]) != tuple(pair) or len(set(route)) < len(route):
        raise InputError(where, route, "must lead from one end to the other, over each node once")
    for node in route:
        if node not in topology.nodes:
            raise InputError(where, node, "there is no such node")
    for node in route[1:-1]:
        if not topology.nodes[node].relays:
            raise InputError(where, node, "is a user node, which relays for nobody")
    for hop in pairwise(route):
        if frozenset(hop) not in kinds:
            raise InputError(where, hop, "no link joins them")
    return tuple(Hop(hop, tuple(sorted(kinds[frozenset(hop)]))) for hop in pairwise(route))


def _on_ways(ways: Sequence[Sequence[Hop]]) -> dict[str, int]:
    """By node, the ways that it sits on; a node at a border holds what travels by all of them."""
    found: dict[str, int] = {}
    for number, way in enumerate(ways):
        for hop in way[:-1]:
            found[hop.ends[1]] = found.get(hop.ends[1], 0) | 1 << number
    ends = {ways[0][0].ends[0], ways[0][-1].ends[1]}
    for node in {end for way in ways for hop in way if not hop.quantum for end in hop.ends} - ends:
        found[node] = (1 << len(ways)) - 1
    return found


def _smallest_sets(on_ways: Mapping[str, int], missing: Callable[[int], int]) -> NodeSets:
    """The smallest sets of nodes whose ways together leave nothing ``missing``, which falls by one at most with each further way.

    Nodes that sit on the same ways stand for each other. How many nodes it takes is found by the sets of ways that one more node gives,
    of which there are 2^16 at most; then the choices of that size are searched, leaving out those that can no longer get there.
    """
    groups: dict[int, list[str]] = {}
    for node, mask in sorted(on_ways.items()):
        groups.setdefault(mask, []).append(node)
    masks = sorted(groups)
    reached, size = {0}, 0
    while all(missing(mask) > 0 for mask in reached):
        wider = {seen | mask for seen in reached for mask in masks}
        if wider <= reached:
            return ()
        reached, size = wider | reached, size + 1
    most = max(mask.bit_count() for mask in masks)
    sets: list[tuple[tuple[str, ...], ...]] = []
    waiting: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    while waiting and len(sets) < MOST_SETS:
        seen, chosen = waiting.pop()
        if len(chosen) == size:
            sets.append(tuple(tuple(groups[mask]) for mask in chosen))
            continue
        left = size - len(chosen) - 1
        for mask in reversed(masks):
            if (not chosen or mask > chosen[-1]) and missing(seen | mask) <= left * most:
                waiting.append((seen | mask, (*chosen, mask)))
    return tuple(sets)


def _chain(way: Sequence[Hop]) -> str:
    return way[0].ends[0] + "".join(f" -({'/'.join(hop.kinds)})- {hop.ends[1]}" for hop in way)


def _in_words(sets: NodeSets) -> str:
    """The first sets as a person says them."""
    shown = [" and ".join(group[0] if len(group) == 1 else f"any of {', '.join(group)}" for group in groups) for groups in sets[:4]]
    more = f", or one of {len(sets) - 4}{'' if len(sets) < MOST_SETS else ' and more'} other choices" if len(sets) > 4 else ""
    return "; or ".join(shown) + more
