"""The graph of pairs, and which couplers run together."""

from __future__ import annotations

import numpy as np

from tests.computing.control.experiments.known_chip import known_chip
from tiandi.computing.control.experiments import single_qubit_experiments
from tiandi.computing.control.experiments.pairs import pair_experiments
from tiandi.computing.control.graph import Graph
from tiandi.computing.control.grouping import batches


def test_it_joins_the_graph_of_single_qubits() -> None:
    graph = Graph([*single_qubit_experiments(), *pair_experiments()])
    names = [one.name for one in pair_experiments()]
    assert [name for name in graph.order if name in names] == names


def test_couplers_of_one_program_share_no_qubit_and_no_neighbour() -> None:
    _, knowledge = known_chip(30)
    couplers = knowledge.electronics.couplers
    groups = batches(knowledge, pair_experiments()[0], np.arange(len(couplers)))
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(couplers)))
    assert len(groups) <= 14
    joined = {frozenset(pair) for pair in couplers.tolist()}
    for group in groups:
        for place, one in enumerate(group):
            for other in group[place + 1 :]:
                ends = [(a, b) for a in couplers[one].tolist() for b in couplers[other].tolist()]
                assert not any(a == b or frozenset((a, b)) in joined for a, b in ends)
