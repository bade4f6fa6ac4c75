"""What a score consists of: for each criterion the distribution of errors, and of the flags what was found, missed and made up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.knowledge import Element, Flag
from tiandi.computing.instruments.program import FloatArray, IntArray

WORST = 5
"""Elements of each criterion that are named."""


@dataclass(frozen=True)
class Criterion:
    """Errors of one parameter, and what they must be. Errors are absolute or relative, as ``unit`` says."""

    name: str
    title: str
    element: Element
    unit: str
    limit: float
    """What the error of an element may be."""
    goal: float
    """Share of the elements that must be within the limit."""


@dataclass(frozen=True)
class Mark:
    """How a criterion was met. An element that should have been measured and was not is outside the limit, and in no quantile."""

    criterion: Criterion
    judged: int
    """Elements that should be known."""
    measured: int
    share: float
    """Of the judged: those within the limit; 1 where nothing was to be judged."""
    median: float
    within_95: float
    within_99: float
    """Errors that half, 95 % and 99 % of the measured do not exceed; NaN where nothing was measured."""
    worst: tuple[tuple[int, float], ...]
    """Element and error, the worst first; NaN for one that was not measured."""

    @property
    def met(self) -> bool:
        """Whether enough elements are within the limit."""
        return self.share >= self.criterion.goal

    def as_json(self) -> dict[str, Any]:
        """Numbers and words; NaN becomes None."""
        return {
            "name": self.criterion.name,
            "title": self.criterion.title,
            "element": self.criterion.element,
            "unit": self.criterion.unit,
            "limit": self.criterion.limit,
            "goal": self.criterion.goal,
            "met": self.met,
            "judged": self.judged,
            "measured": self.measured,
            "share": self.share,
            "median": _plain(self.median),
            "within_95": _plain(self.within_95),
            "within_99": _plain(self.within_99),
            "worst": [{"index": index, "error": _plain(error)} for index, error in self.worst],
        }


def mark_of(criterion: Criterion, elements: IntArray, errors: FloatArray) -> Mark:
    """The mark of ``errors`` (elements,), NaN for what was not measured."""
    size = np.abs(errors)
    known = size[np.isfinite(size)]
    quantiles = np.quantile(known, (0.5, 0.95, 0.99)) if len(known) else np.full(3, np.nan)
    order = np.argsort(np.where(np.isfinite(size), -size, -np.inf), kind="stable")[:WORST]
    return Mark(
        criterion,
        judged=len(elements),
        measured=len(known),
        share=float((known <= criterion.limit).sum() / len(elements)) if len(elements) else 1.0,
        median=float(quantiles[0]),
        within_95=float(quantiles[1]),
        within_99=float(quantiles[2]),
        worst=tuple((int(elements[one]), float(errors[one])) for one in order),
    )


@dataclass(frozen=True)
class FlagMark:
    """Flags beside the faults of the truth."""

    found: tuple[Flag, ...]
    missed: tuple[Flag, ...]
    """Faults without a flag."""
    misnamed: tuple[Flag, ...]
    """Faults whose element is flagged, as something else; the reason says as what."""
    false: tuple[Flag, ...]
    """Flags of elements that have no fault."""

    @property
    def met(self) -> bool:
        """All found by their names, none made up."""
        return not (self.missed or self.misnamed or self.false)

    def as_json(self) -> dict[str, Any]:
        """Lists of flags."""
        return {"met": self.met} | {
            name: [
                {"element": flag.element, "index": flag.index, "fault": flag.fault, "reason": flag.reason} for flag in getattr(self, name)
            ]
            for name in ("found", "missed", "misnamed", "false")
        }


@dataclass(frozen=True)
class Score:
    """The whole."""

    marks: tuple[Mark, ...]
    flags: FlagMark
    good_qubits: int
    good_couplers: int

    @property
    def met(self) -> bool:
        """Whether every criterion is met."""
        return self.flags.met and all(mark.met for mark in self.marks)

    def mark(self, name: str) -> Mark:
        """The mark of a criterion; KeyError for one that was not judged."""
        found = next((mark for mark in self.marks if mark.criterion.name == name), None)
        if found is None:
            raise KeyError(name)
        return found

    def as_json(self) -> dict[str, Any]:
        """Fit for JSON."""
        return {
            "met": self.met,
            "good_qubits": self.good_qubits,
            "good_couplers": self.good_couplers,
            "criteria": [mark.as_json() for mark in self.marks],
            "flags": self.flags.as_json(),
        }


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


BoolArray = NDArray[np.bool_]
