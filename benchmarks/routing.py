"""Routes through large networks: each after the state of one link has changed, alone and as two ways that share no node."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rustworkx
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import Delaunay, cKDTree

from measure import Figure, run_peer
from tiandi.control.link_states import LinkStates
from tiandi.control.routing import Router
from tiandi.control.topology import Link, Node, Topology

SEED = 20250320
SIZE_KM = 3000.0
WANTED_BIT = 4096
LINKS_PER_NODE = 3
QUESTIONS = 200
DISJOINT_GOAL = 3.0
"""Two ways that share no node may take this many times as long as the goal of one."""


class Network(NamedTuple):
    """Link states of a network in the plane, and questions: from where, to where, after which link's stock has changed to what."""

    states: LinkStates
    questions: list[tuple[str, str, str, float]]


def benchmark_routing() -> list[Figure]:
    """Mean processor time over 200 questions of a state that changes and the route after it."""
    figures = []
    for nodes, goal_ms in ((1_000, 1.0), (10_000, 10.0)):
        network = plan_network(nodes)
        name = f"a route through {nodes:,} nodes, {len(network.states.names):,} links, after a link's state changed"
        one_ms = _routes_ms(network, 1)
        figures += [
            Figure(name, one_ms, goal_ms, "ms", _peers(network, one_ms)),
            Figure("the same: two ways that share no node", _routes_ms(network, 2), DISJOINT_GOAL * goal_ms, "ms"),
        ]
    return figures


def plan_network(nodes: int) -> Network:
    """A connected network of short links: those of a spanning tree, and of those between neighbours the shortest."""
    random = np.random.default_rng(SEED)
    places_km = SIZE_KM * random.random((nodes, 2))
    corners = Delaunay(places_km).simplices
    _, nearest = cKDTree(places_km).query(places_km, 8)
    near = np.stack([np.repeat(np.arange(nodes), 7), nearest[:, 1:].ravel()], axis=1)
    joints = np.unique(np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [0, 2]], near])), axis=0)
    length_km = np.hypot(*(places_km[joints[:, 0]] - places_km[joints[:, 1]]).T)
    tree = minimum_spanning_tree(coo_array((length_km, joints.T), shape=(nodes, nodes))).tocoo()
    in_tree = np.isin(joints @ [nodes, 1], np.sort(np.stack([tree.row, tree.col]), axis=0).T @ [nodes, 1])
    order = np.lexsort((length_km, ~in_tree))
    chosen = order[: LINKS_PER_NODE * nodes]
    links = [
        Link(f"link {number}", (f"node {a}", f"node {b}"), rate_bps=1e4, length_km=float(length_km[joint]))
        for number, joint in enumerate(chosen)
        for a, b in [joints[joint]]
    ]
    states = LinkStates(Topology.of([Node(f"node {number}") for number in range(nodes)], links))
    for link in links:
        states.update(link.name, stock_bit=float(random.integers(10 * WANTED_BIT, 1000 * WANTED_BIT)))
    questions = [
        (f"node {a}", f"node {b}", f"link {random.integers(len(links))}", float(random.integers(10 * WANTED_BIT, 1000 * WANTED_BIT)))
        for a, b in (random.choice(nodes, 2, replace=False) for _ in range(QUESTIONS))
    ]
    return Network(states, questions)


def _routes_ms(network: Network, paths: int) -> float:
    router = Router(network.states)
    router.find_routes(*network.questions[0][:2], wanted_bit=WANTED_BIT, paths=paths)

    def ask(source: str, target: str, link: str, stock_bit: float) -> None:
        network.states.update(link, stock_bit=stock_bit)
        router.find_routes(source, target, wanted_bit=WANTED_BIT, paths=paths)

    return _mean_ms(network, ask)


def _mean_ms(network: Network, ask: Callable[[str, str, str, float], None]) -> float:
    start = time.process_time()
    for question in network.questions:
        ask(*question)
    return 1e3 * (time.process_time() - start) / len(network.questions)


def _peers(network: Network, one_ms: float) -> str:
    """How long rustworkx, and networkx where it is installed, take for the same questions, by prices that only the stock makes."""
    links = network.states.topology.links.values()
    prices = {link.name: 1.0 + WANTED_BIT / network.states.stock_bit[network.states.number[link.name]] for link in links}
    number = {name: place for place, name in enumerate(network.states.topology.nodes)}
    graph: rustworkx.PyGraph[int, float] = rustworkx.PyGraph()
    graph.add_nodes_from(list(number.values()))
    graph.add_edges_from([(number[link.ends[0]], number[link.ends[1]], prices[link.name]) for link in links])

    def ask(source: str, target: str, link: str, stock_bit: float) -> None:
        graph.update_edge_by_index(network.states.number[link], 1.0 + WANTED_BIT / stock_bit)
        list(rustworkx.dijkstra_shortest_paths(graph, number[source], number[target], weight_fn=float)[number[target]])

    text = f"{_mean_ms(network, ask) / one_ms:.1f} times as fast as rustworkx"
    questions = [
        (source, target, (*network.states.topology.links[link].ends, 1.0 + WANTED_BIT / stock_bit))
        for source, target, link, stock_bit in network.questions
    ]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work.json"
        work.write_text(json.dumps({"links": [(*link.ends, prices[link.name]) for link in links], "questions": questions}))
        networkx_ms = run_peer("networkx_routes.py", str(work))
    return text if networkx_ms is None else f"{text}, {float(networkx_ms) / one_ms:.0f} times as fast as networkx"
