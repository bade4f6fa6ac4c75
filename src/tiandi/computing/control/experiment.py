"""What an experiment is: a program to play, a model to fit, a verdict with a reason. Users write theirs against `Experiment`."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.knowledge import Element, Flag, Knowledge
from tiandi.computing.instruments.instrument import Settings
from tiandi.computing.instruments.program import FloatArray, IntArray, Program

GOOD = ""
"""The verdict without a reason."""


@dataclass(frozen=True, eq=False)
class Look:
    """A request to look at drive lines with the spectrum analyser."""

    lines: IntArray


Request = Program | Settings | Look


@dataclass(eq=False)
class Curves:
    """Data and fit of one experiment, to be drawn: x (targets or 1, points), y and model (targets, points), or (targets, rows, points)."""

    x: FloatArray
    y: FloatArray
    model: FloatArray | None
    x_name: str
    y_name: str
    rows: FloatArray | None = None
    """Second axis of a two-dimensional sweep: (rows,)."""
    rows_name: str = ""


@dataclass(eq=False)
class Findings:
    """What an experiment found, for each of its targets."""

    values: dict[str, FloatArray]
    """Parameter -> (targets,); taken into the knowledge only where the verdict is good, and where nothing finer is known that agrees."""
    uncertainties: dict[str, FloatArray]
    """Parameter -> (targets,), one standard deviation, with what the method itself may be off by; NaN for unknown."""
    verdicts: NDArray[np.object_]
    """(targets,): "" for good, else the reason in a sentence: a diagnosis, as "no line within the scanned 60 MHz"."""
    flags: list[Flag] = field(default_factory=list)
    curves: Curves | None = None
    repairs: dict[str, IntArray] = field(default_factory=dict)
    """Where the diagnosis of a failure says that an earlier result is wrong: experiment -> elements it should measure again first."""
    reported: frozenset[str] = frozenset()
    """Values that no other experiment uses, as an error rate: that one of them moves makes nothing stale."""


Measurement = Generator[Request, Any, Findings]
"""Answers are a Reading for a Program, a Spectrum for a Look, None for Settings."""


class Experiment(Protocol):
    """One node of the calibration graph."""

    @property
    def name(self) -> str:
        """As "rabi": one lower-case word or words with hyphens; unique in a graph."""

    @property
    def title(self) -> str:
        """As "Rabi oscillation against amplitude"."""

    @property
    def element(self) -> Element: ...

    @property
    def after(self) -> Sequence[str]:
        """Names of the experiments whose results it needs."""

    @property
    def valid_s(self) -> float:
        """Laboratory time after which its results are stale."""

    def exclusion(self, knowledge: Knowledge) -> IntArray | None:
        """(pairs, 2) of elements that must not be targets of one program (crosstalk, shared qubits); None where all may run together."""

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        """A generator: it yields requests, is sent the answer to each, and returns its findings.

        ``reading = yield Program(...)``; ``yield settings`` has settings taken: a copy (`instrument.copied`) of those of the knowledge,
        changed only on the lines of its targets; ``spectrum = yield Look(lines)`` looks at mixers. All targets were measured by what
        stands in ``after``: ``knowledge["frequency_hz"][targets]``. `control.experiments.gates` has calibrated pulses, `control.fitting`
        batched fits, `control.diagnosing` reasons for fits that failed.
        """
