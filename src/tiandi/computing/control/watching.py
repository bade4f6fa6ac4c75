"""The drift watch: short checks of the last calibration, and new measurements only of what failed its check, went stale, or follows from
them.

After the idea of checking before calibrating of Kelly et al. (Physical qubit calibration on a directed acyclic graph, arXiv 1803.03226): a
check plays a handful of points where a calibration needs hundreds. Checks are made in the graph's order, and what fails one is measured
anew before the next is made, so that a later check is not failed for an earlier fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tiandi.computing.control.bringup import Session, Walk, bring_up, remeasure
from tiandi.computing.control.experiment import Experiment
from tiandi.computing.control.graph import DONE
from tiandi.computing.instruments.program import IntArray
from tiandi.errors import InputError
from tiandi.limits import require_within

LONGEST_REST_S = 30 * 86_400.0


class Check(Experiment, Protocol):
    """A short experiment whose verdict says whether the results of another still hold. It need not be in the graph.

    Its findings' repairs name what must be measured anew before that, where a few points cannot tell how far off a result is.
    """

    @property
    def watches(self) -> str:
        """Name of the experiment whose results it checks."""


@dataclass(frozen=True)
class Round:
    """One round of the watch."""

    now_s: float
    """Laboratory time when it began."""
    checked: dict[str, int]
    """Experiment watched -> elements checked."""
    failed: dict[str, dict[int, str]]
    """Experiment watched -> element -> why its check failed."""
    walk: Walk
    """What was measured anew, with the repairs it asked for."""


def watch(
    session: Session, checks: Sequence[Check], *, period_s: float, rounds: int, told: Callable[[Round], None] = lambda one: None
) -> list[Round]:
    """Rest, check, and measure anew what needs it; ``rounds`` times. ``told`` hears of each round.

    Raises InputError for a check of an experiment that is not in the graph, a period or a number of rounds out of bounds.
    """
    require_within("period_s", period_s, 0.0, LONGEST_REST_S)
    require_within("rounds", rounds, 1, 1_000_000)
    for check in checks:
        if check.watches not in session.graph:
            raise InputError(f"{check.name}: watches", check.watches, f"must be one of {', '.join(session.graph.order)}")
    done = []
    for _ in range(rounds):
        session.runner.instrument.rest(period_s)
        done.append(watch_once(session, checks))
        told(done[-1])
    return done


def watch_once(session: Session, checks: Sequence[Check]) -> Round:
    """One round without a rest: checks in the graph's order, then whatever is stale.

    What follows from a value that moved and has a check of its own is checked, not taken for stale.
    """
    graph, began_s = session.graph, session.now_s
    checked: dict[str, int] = {}
    failed: dict[str, dict[int, str]] = {}
    repaired: dict[str, int] = {}
    session.checked = frozenset(check.watches for check in checks)
    try:
        for check in sorted(checks, key=lambda one: graph.order.index(one.watches)):
            name = check.watches
            count, reasons, blamed = _checked(session, check)
            checked[name] = checked.get(name, 0) + count
            failed.setdefault(name, {}).update(reasons)
            blamed[name] = np.array(sorted(reasons), np.int64)
            for earlier in (one for one in graph.upto([name]) if one in blamed):
                session.condition.expire(graph, session.knowledge, earlier, blamed[earlier], "a check failed")
                for other, size in remeasure(session, earlier, blamed[earlier]).items():
                    repaired[other] = repaired.get(other, 0) + size
        # All checks are made: what a new value touches now, nobody would look at any more.
        session.checked = frozenset()
        walk = bring_up(session)
    finally:
        session.checked = frozenset()
    measured = {name: walk.measured.get(name, 0) + repaired.get(name, 0) for name in (*repaired, *walk.measured)}
    whole = Walk(began_s, walk.ended_s, measured, walk.repaired, walk.counts, walk.flags)
    return Round(began_s, checked, failed, whole)


def _checked(session: Session, check: Check) -> tuple[int, dict[int, str], dict[str, IntArray]]:
    """How many elements were checked, why some failed, and what earlier results they blame.

    Results that hold are as good as new: their age begins again.
    """
    graph, knowledge, name = session.graph, session.knowledge, check.watches
    progress = session.condition.of(graph[name], knowledge)
    targets = np.intersect1d(np.flatnonzero(progress.state == DONE), session.condition.able(graph, knowledge, name))
    if not len(targets):
        return 0, {}, {}
    elements, findings = session.runner.observe(check, targets)
    progress.measured_s[elements[findings.verdicts == ""]] = session.now_s
    reasons = {int(one): str(verdict) for one, verdict in zip(elements, findings.verdicts, strict=True) if verdict}
    return len(elements), reasons, dict(findings.repairs)
