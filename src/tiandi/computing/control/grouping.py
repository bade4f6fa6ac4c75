"""Which elements may be measured by one program: no excluded pairs, and no feed line with more tones than it carries."""

from __future__ import annotations

import numpy as np
import rustworkx
from numpy.typing import NDArray

from tiandi.computing.control.experiment import Experiment
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import IntArray


def batches(knowledge: Knowledge, experiment: Experiment, targets: IntArray) -> list[IntArray]:
    """Targets in as few groups as greedy colouring finds, each sorted; none where there are no targets."""
    targets = np.unique(targets)
    if not len(targets):
        return []
    pairs = experiment.exclusion(knowledge)
    colour = np.zeros(len(targets), np.int64) if pairs is None else _coloured(targets, pairs, knowledge.elements(experiment.element))
    found = []
    for number in range(int(colour.max()) + 1):
        found.extend(_multiplexed(knowledge, experiment, targets[colour == number]))
    return found


def _coloured(targets: IntArray, pairs: IntArray, size: int) -> IntArray:
    """(targets,): colours such that no pair has one."""
    place = np.full(size, -1, np.int64)
    place[targets] = np.arange(len(targets))
    edges = place[np.asarray(pairs, np.int64).reshape(-1, 2)]
    edges = edges[(edges >= 0).all(axis=1) & (edges[:, 0] != edges[:, 1])]
    graph = rustworkx.PyGraph(multigraph=False)
    graph.add_nodes_from(range(len(targets)))
    graph.add_edges_from_no_data([(int(first), int(second)) for first, second in edges])
    colours = rustworkx.graph_greedy_color(graph)
    return np.array([colours[one] for one in range(len(targets))], np.int64)


def _multiplexed(knowledge: Knowledge, experiment: Experiment, targets: IntArray) -> list[IntArray]:
    """Groups in which no feed line is heard at more than ``multiplexing`` resonators: each target to the first group with room."""
    electronics = knowledge.electronics
    listened = targets[:, None] if experiment.element == "qubit" else electronics.couplers[targets]
    lines = electronics.feed_line[listened]
    per_target = [np.unique(row, return_counts=True) for row in lines]
    used: list[NDArray[np.int64]] = []
    group = np.zeros(len(targets), np.int64)
    for number, (line, count) in enumerate(per_target):
        one = next((one for one, room in enumerate(used) if (room[line] + count <= electronics.multiplexing).all()), len(used))
        if one == len(used):
            used.append(np.zeros(int(electronics.feed_line.max()) + 1, np.int64))
        used[one][line] += count
        group[number] = one
    return [targets[group == number] for number in range(len(used))]
