"""Bringing a chip up: the graph is walked in order, each experiment on every element that is due, with the repairs that diagnoses ask
for.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from tiandi.computing.control.curves import CurveKeeper
from tiandi.computing.control.graph import Condition, Graph, State
from tiandi.computing.control.knowledge import Flag, Knowledge
from tiandi.computing.control.running import Outcome, Runner, Step
from tiandi.computing.control.store import Store
from tiandi.computing.instruments.instrument import Electronics, Instrument, idle
from tiandi.computing.instruments.program import IntArray
from tiandi.errors import InputError, StateError

_log = logging.getLogger("tiandi.computing.control")

MOST_REPAIRS = 2
"""Times that one experiment may send elements back to earlier ones within one walk."""
SAVED_EVERY_S = 3.0
"""A bring-up that is killed loses no more of its work than this. To write the state of 504 qubits takes 0.2 s."""


def _silent(_: Step) -> None:
    """Tell nobody."""


@dataclass(eq=False)
class Session:
    """A control system at work on an instrument: what it knows, how far it has come, where it is kept."""

    runner: Runner
    store: Store | None = None
    checked: frozenset[str] = frozenset()
    """Experiments whose results are checked anyway: they do not go stale because an earlier value moved."""
    saved_s: float = -math.inf
    """When the state was last written, by the clock of this machine."""

    @property
    def knowledge(self) -> Knowledge:
        return self.runner.knowledge

    @property
    def condition(self) -> Condition:
        return self.runner.condition

    @property
    def graph(self) -> Graph:
        return self.runner.graph

    @property
    def now_s(self) -> float:
        """Laboratory time."""
        return self.runner.instrument.now_s

    def save(self, *, keep: bool = False, sparing: bool = False) -> None:
        """Write the state, where there is a store; ``keep`` adds it to the history; ``sparing``: not if that was just done."""
        if self.store is None or (sparing and time.monotonic() - self.saved_s < SAVED_EVERY_S):
            return
        try:
            self.store.save(self.knowledge, self.condition, self.now_s, keep=keep)
        except StateError as error:
            if not sparing:
                raise
            # A disk that is full now may have room at the end: what was measured is not thrown away for it.
            _log.warning("%s", error)
        self.saved_s = time.monotonic()


@dataclass(frozen=True)
class Walk:
    """What came of walking a graph."""

    began_s: float
    ended_s: float
    """Laboratory time."""
    measured: dict[str, int]
    """Experiment -> elements measured, repairs included."""
    repaired: dict[str, int]
    """Experiment -> elements that were sent back to it by later ones."""
    counts: dict[str, dict[State, int]]
    """Experiment -> state -> sound elements, at the end."""
    flags: tuple[Flag, ...]


def open_session(
    instrument: Instrument,
    graph: Graph,
    *,
    store: Store | None = None,
    cold: bool = False,
    progress: Callable[[Step], None] = _silent,
) -> Session:
    """Begin where ``store`` left off, or with a chip of which nothing is known (``cold``, or nothing stored); the instrument is configured.

    Raises StateError for a state that cannot be read and a folder that another process works on, InputError for one of another chip.
    """
    electronics = instrument.electronics
    if store is not None:
        store.claim()
    knowledge, condition = Knowledge(electronics, idle(electronics)), Condition()
    if store is not None and not cold and store.file.exists():
        loaded = store.load()
        require_same_chip(loaded.knowledge.electronics, electronics)
        knowledge, condition = loaded.knowledge, loaded.condition
        knowledge.electronics = electronics
    instrument.configure(knowledge.settings)
    keeper = CurveKeeper(store.curves if store is not None else None)
    return Session(Runner(instrument, graph, knowledge, condition, keeper, progress), store)


def require_same_chip(stored: Electronics, found: Electronics) -> None:
    """Raise InputError unless a stored state is of the chip that the instrument controls."""
    for field_name in ("name", "qubits"):
        old, new = getattr(stored, field_name), getattr(found, field_name)
        if old != new:
            raise InputError(f"chip: {field_name}", old, f"of the state must be that of the instrument, {new!r}: give another state folder")
    # The length of all CZ gates follows from the couplings of the design.
    if not all(np.array_equal(getattr(stored, one), getattr(found, one)) for one in ("couplers", "design_qubit_hz", "design_coupling_hz")):
        raise InputError(
            "chip", stored.name, "of the state has other couplers or another design than the instrument's: give another folder"
        )


def bring_up(session: Session, names: Iterable[str] | None = None) -> Walk:
    """Measure, in order, every experiment (or those of ``names`` and all they need) on every element that is due.

    What is good already and not stale is left alone, so that a bring-up that was stopped goes on where it was. The state is written after
    each experiment.
    """
    graph = session.graph
    order = graph.order if names is None else graph.upto(names)
    walk = _Walking(session, began_s=session.now_s)
    try:
        for name in order:
            walk.measure(name, session.condition.due(graph, session.knowledge, name, session.now_s), 0)
    finally:
        session.save(keep=True)
    return Walk(
        walk.began_s, session.now_s, walk.measured, walk.repaired, session.condition.counts(graph, session.knowledge, session.now_s),
        tuple(session.knowledge.flags),
    )  # fmt: skip


def calibrate(session: Session, name: str, elements: IntArray | None = None) -> Outcome:
    """Measure one experiment now, stale or not, on sound elements (or those given); what follows from a moved value goes stale.

    Raises InputError for elements whose earlier experiments have no result.
    """
    graph, knowledge = session.graph, session.knowledge
    experiment = graph[name]
    able = session.condition.able(graph, knowledge, name)
    chosen = able if elements is None else np.unique(np.asarray(elements, np.int64))
    without = np.setdiff1d(chosen, able)
    if len(without):
        wanted = ", ".join(experiment.after) or "no flag"
        raise InputError(
            f"{name}: {experiment.element}", int(without[0]), f"is flagged or has no result yet of what comes before: {wanted}"
        )
    outcome = session.runner.run(name, chosen)
    _follow(session, outcome)
    session.save(keep=True)
    return outcome


def _follow(session: Session, outcome: Outcome) -> None:
    changed = outcome.targets[outcome.moved & outcome.good]
    if len(changed):
        session.condition.follow(
            session.graph, session.knowledge, outcome.experiment, changed, f"{outcome.experiment} found a new value", spared=session.checked
        )


def remeasure(session: Session, name: str, elements: IntArray) -> dict[str, int]:
    """Measure elements with one experiment, with the repairs its diagnosis asks for; returns experiment -> elements measured."""
    walk = _Walking(session, began_s=session.now_s)
    walk.measure(name, np.intersect1d(elements, session.condition.able(session.graph, session.knowledge, name)), 0)
    return walk.measured


@dataclass(eq=False)
class _Walking:
    session: Session
    began_s: float
    measured: dict[str, int] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)

    def measure(self, name: str, targets: IntArray, repairs: int) -> None:
        """Measure; send what a diagnosis blames on earlier results back there, and then measure those again."""
        session, graph = self.session, self.session.graph
        if not len(targets):
            return
        outcome = session.runner.run(name, targets)
        self.measured[name] = self.measured.get(name, 0) + len(targets)
        _follow(session, outcome)
        session.save(sparing=True)
        earlier = {other: elements for other, elements in outcome.repairs.items() if len(elements)}
        if not earlier or repairs >= MOST_REPAIRS:
            return
        for other in (one for one in graph.needs(name) if one in earlier):
            able = np.intersect1d(earlier[other], session.condition.able(graph, session.knowledge, other))
            self.repaired[other] = self.repaired.get(other, 0) + len(able)
            session.condition.expire(graph, session.knowledge, other, able, f"{name} failed and blames it")
            self.measure(other, able, repairs + 1)
        between = [one for one in graph.needs(name) if set(graph.needs(one)) & set(earlier)]
        for other in between:
            self.measure(other, session.condition.due(graph, session.knowledge, other, session.now_s), repairs + 1)
        failed = outcome.targets[~outcome.good]
        again = np.intersect1d(failed, session.condition.able(graph, session.knowledge, name))
        self.measure(name, again, repairs + 1)
