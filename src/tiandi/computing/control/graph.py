"""The calibration graph: experiments and what each needs, and how far each element of the chip has come with each of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import rustworkx
from numpy.typing import NDArray

from tiandi.computing.control.experiment import Experiment
from tiandi.computing.control.knowledge import Element, Knowledge
from tiandi.computing.instruments.program import FloatArray, IntArray
from tiandi.errors import InputError

State = Literal["never", "good", "stale", "failed"]
NEVER, DONE, STALE, FAILED = range(4)
STATES: tuple[State, ...] = ("never", "good", "stale", "failed")
"""The words for the numbers in `Progress.state`."""


class Graph:
    """Experiments in an order in which each comes after all that it needs; among equals, in the order given."""

    def __init__(self, experiments: Iterable[Experiment]) -> None:
        """Raises InputError for a name that stands twice, one that nobody has, and a circle."""
        given = list(experiments)
        self._by_name = {experiment.name: experiment for experiment in given}
        if len(self._by_name) < len(given):
            twice = next(one.name for number, one in enumerate(given) if one.name in {other.name for other in given[:number]})
            raise InputError("experiment", twice, "stands twice in the graph")
        dag, number = rustworkx.PyDiGraph(), {}
        for experiment in given:
            number[experiment.name] = dag.add_node(experiment.name)
        for experiment in given:
            for earlier in experiment.after:
                if earlier not in number:
                    raise InputError(f"{experiment.name}: after", earlier, f"must be one of {', '.join(number)}")
                dag.add_edge(number[earlier], number[experiment.name], None)
        circle = rustworkx.digraph_find_cycle(dag)
        if circle:
            names = [dag[first] for first, _ in circle]
            raise InputError("experiments", " -> ".join([*names, names[0]]), "must not need each other in a circle")
        place = {name: f"{position:06d}" for position, name in enumerate(number)}
        self.order: tuple[str, ...] = tuple(rustworkx.lexicographical_topological_sort(dag, key=place.__getitem__))
        self._needs = {name: frozenset(dag[one] for one in rustworkx.ancestors(dag, number[name])) for name in number}
        self._followers = {name: tuple(other for other in self.order if name in self._needs[other]) for name in number}

    def __getitem__(self, name: str) -> Experiment:
        """The experiment of a name; raises InputError naming those that exist."""
        if name not in self._by_name:
            raise InputError("experiment", name, f"must be one of {', '.join(self.order)}")
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def with_experiment(self, *experiments: Experiment) -> Graph:
        """The same graph and more experiments; one whose name is there already takes its place."""
        new = {experiment.name: experiment for experiment in experiments}
        kept = [new.pop(name, one) for name, one in self._by_name.items()]
        return Graph([*kept, *new.values()])

    def needs(self, name: str) -> tuple[str, ...]:
        """Everything that an experiment needs, directly or not, in order."""
        return tuple(other for other in self.order if other in self._needs[self[name].name])

    def followers(self, name: str) -> tuple[str, ...]:
        """Everything that needs an experiment, directly or not, in order."""
        return self._followers[self[name].name]

    def upto(self, names: Iterable[str]) -> tuple[str, ...]:
        """Some experiments and all that they need, in order."""
        wanted = {other for name in names for other in (*self.needs(name), name)}
        return tuple(name for name in self.order if name in wanted)


@dataclass(eq=False)
class Progress:
    """How far the elements have come with one experiment. Arrays: (elements,)."""

    element: Element
    state: NDArray[np.int8]
    """Numbers of STATES. What is good by it may be stale by its age: ask `Condition.state`."""
    measured_s: FloatArray
    """Laboratory time; NaN for never."""
    reason: dict[int, str] = field(default_factory=dict)
    """Element -> why it failed, or what made it stale."""


@dataclass(eq=False)
class Condition:
    """How far the chip has come with all experiments."""

    progress: dict[str, Progress] = field(default_factory=dict)

    def of(self, experiment: Experiment, knowledge: Knowledge) -> Progress:
        """The progress with an experiment; a fresh one where it was never run."""
        if experiment.name not in self.progress:
            size = knowledge.elements(experiment.element)
            self.progress[experiment.name] = Progress(experiment.element, np.zeros(size, np.int8), np.full(size, np.nan))
        return self.progress[experiment.name]

    def state(self, experiment: Experiment, knowledge: Knowledge, now_s: float) -> NDArray[np.int8]:
        """(elements,): numbers of STATES, with what is older than its experiment allows as stale."""
        progress = self.of(experiment, knowledge)
        with np.errstate(invalid="ignore"):
            old = (progress.state == DONE) & (now_s - progress.measured_s > experiment.valid_s)
        return np.where(old, np.int8(STALE), progress.state)

    def mark(
        self, experiment: Experiment, knowledge: Knowledge, targets: IntArray, verdicts: NDArray[np.object_], measured_s: float
    ) -> None:
        """Note what came of an experiment: good where the verdict is empty."""
        progress = self.of(experiment, knowledge)
        good = np.asarray(verdicts == "", bool)
        progress.state[targets] = np.where(good, DONE, FAILED)
        progress.measured_s[targets] = measured_s
        for target, verdict in zip(targets.tolist(), verdicts.tolist(), strict=True):
            if verdict:
                progress.reason[target] = verdict
            else:
                progress.reason.pop(target, None)

    def expire(self, graph: Graph, knowledge: Knowledge, name: str, elements: IntArray, reason: str) -> None:
        """Make results of an experiment stale, for these elements; failures too, for there is a reason to try again."""
        progress = self.of(graph[name], knowledge)
        for one in elements[progress.state[elements] != NEVER].tolist():
            progress.state[one] = STALE
            progress.reason[one] = reason

    def follow(
        self, graph: Graph, knowledge: Knowledge, name: str, elements: IntArray, reason: str, *, spared: Collection[str] = ()
    ) -> None:
        """Make stale whatever follows from results of ``name`` that have changed, for these elements and what touches them.

        ``spared``: experiments whose results stay as they are, for they are checked otherwise.
        """
        for follower in (one for one in graph.followers(name) if one not in spared):
            self.expire(graph, knowledge, follower, touching(knowledge, graph[name].element, elements, graph[follower].element), reason)

    def due(self, graph: Graph, knowledge: Knowledge, name: str, now_s: float) -> IntArray:
        """Sound elements of an experiment that need it and can have it: all it needs was measured, and it was not, or is stale."""
        able = self.able(graph, knowledge, name)
        return able[np.isin(self.state(graph[name], knowledge, now_s)[able], (NEVER, STALE))]

    def able(self, graph: Graph, knowledge: Knowledge, name: str) -> IntArray:
        """Sound elements for which all that an experiment needs was measured."""
        experiment = graph[name]
        able = np.zeros(knowledge.elements(experiment.element), bool)
        able[knowledge.sound(experiment.element)] = True
        for earlier in experiment.after:
            able &= self._allows(graph[earlier], knowledge, experiment.element)
        return np.flatnonzero(able)

    def _allows(self, earlier: Experiment, knowledge: Knowledge, element: Element) -> NDArray[np.bool_]:
        """(elements,): a coupler waits for both its qubits; a qubit does not wait for any one coupler, nor for those that all failed."""
        measured = np.isin(self.of(earlier, knowledge).state, (DONE, STALE))
        if earlier.element == element:
            return measured
        if element == "coupler":
            return np.asarray(measured[knowledge.electronics.couplers].all(axis=1), bool)
        tried = self.of(earlier, knowledge).state[knowledge.sound("coupler")] != NEVER
        return np.full(knowledge.elements("qubit"), bool(measured.any() or tried.all()))

    def counts(self, graph: Graph, knowledge: Knowledge, now_s: float) -> dict[str, dict[State, int]]:
        """Experiment -> how many sound elements are in each state."""
        found: dict[str, dict[State, int]] = {}
        for name in graph.order:
            experiment = graph[name]
            state = self.state(experiment, knowledge, now_s)[knowledge.sound(experiment.element)]
            found[name] = {word: int((state == number).sum()) for number, word in enumerate(STATES)}
        return found


def touching(knowledge: Knowledge, element: Element, elements: IntArray, other: Element) -> IntArray:
    """The elements of the other kind that touch these; for the same kind, these."""
    if element == other:
        return np.asarray(elements, np.int64)
    couplers = knowledge.electronics.couplers
    if other == "coupler":
        return np.flatnonzero(np.isin(couplers, elements).any(axis=1))
    return np.unique(couplers[elements])
