"""Programs: one sequence of pulses, played for many targets at once, at every point of a sweep.

A target is a place where the same experiment runs: a qubit for most experiments, a coupler with its two qubits for some. Every number
of a pulse is one for all, or an array that broadcasts to (targets, points). Lines are hardware channels, numbered from 0 for each kind
of line: which qubit hangs on which line is what the designer says, and may be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]
Number = float | FloatArray
"""One number, or an array that broadcasts to (targets, points)."""


@dataclass(frozen=True)
class Shape:
    """An envelope with peak 1. A cosine and a slepian rise and fall over the whole pulse; a flat top has edges of ``edge_ns``."""

    kind: Literal["cosine", "flattop", "slepian", "gaussian", "square"] = "cosine"
    edge_ns: float = 0.0
    """Rise time and fall time of a flat top, each."""
    final_angle_rad: float = 0.85
    """Of a slepian: the angle of its control vector at the middle (Martinis and Geller, doi 10.1103/PhysRevA.90.022307)."""
    initial_angle_rad: float = 0.1
    """Of a slepian: the same at its begin and end. Assumed where nothing is said; it only scales the envelope's foot."""
    second_cosine: float = 0.0
    third_cosine: float = 0.0
    """Of a slepian: weights of the second and third term of its angle's series; the first has 1 minus the third's."""


@dataclass(frozen=True, eq=False)
class Drive:
    """A microwave pulse on drive lines (PXY)."""

    lines: IntArray
    """(targets,)."""
    amplitude: Number
    """Of the AWG's full scale, -1 to 1."""
    duration_ns: Number
    frequency_hz: Number
    phase_rad: Number = 0.0
    drag_ns: Number = 0.0
    """The quadrature is this times the envelope's rate of change: about 1 / (2 pi anharmonicity), or half of it."""
    shape: Shape = Shape()
    start_ns: Number = 0.0
    """After the start of its moment."""


@dataclass(frozen=True, eq=False)
class Flux:
    """A baseband pulse on the flux lines of qubits (PZ) or, with ``coupler``, of couplers; it adds to the line's static bias."""

    lines: IntArray
    amplitude: Number
    """In volts at the AWG."""
    duration_ns: Number
    shape: Shape = Shape("flattop", 2.0)
    coupler: bool = False
    start_ns: Number = 0.0


@dataclass(frozen=True, eq=False)
class Wait:
    """Nothing, for a time."""

    duration_ns: Number


@dataclass(frozen=True, eq=False)
class Phase:
    """A virtual Z: all later drive pulses on these lines are turned by ``angle_rad``. It takes no time."""

    lines: IntArray
    angle_rad: Number


Operation = Drive | Flux | Wait | Phase
Moment = tuple[Operation, ...]
"""Operations that start together; the moment lasts as long as its longest."""


@dataclass(frozen=True, eq=False)
class Train:
    """Moments out of a table in an order of its own for each target and point: repeated gates, random sequences."""

    table: tuple[Moment, ...]
    order: NDArray[np.int16]
    """(1 or targets, points, length): rows of the table, -1 for none (which takes no time)."""


@dataclass(frozen=True, eq=False)
class Measure:
    """A tone at a resonator, heard on its feed line. It comes at the end of the program; every line may be listened to once."""

    lines: IntArray
    """(targets,): readout channels."""
    frequency_hz: Number
    amplitude: Number
    duration_ns: Number


Outcome = Literal["mean", "shots", "populations"]
"""Mean IQ point; each shot's IQ point; share of shots that the line's discriminator called 0, 1, 2, or, for two measured lines, pairs."""


@dataclass(frozen=True, eq=False)
class Program:
    """One experiment on all its targets."""

    targets: int
    points: int
    steps: tuple[Moment | Train, ...]
    measures: tuple[Measure, ...]
    """One, or two for targets with two qubits that are read together."""
    shots: int
    outcome: Outcome = "populations"
    reset: Literal["wait", "active"] = "wait"
    """Between shots: wait for relaxation, or measure and turn back whoever is found excited (needs discriminators and pi pulses)."""
    wait_ns: float = 200_000.0
    """Waiting time of "wait"."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What came of a program."""

    iq: ComplexArray | None = None
    """"mean": (measures, targets, points); "shots": (measures, targets, points, shots). In volts at the digitiser."""
    populations: FloatArray | None = None
    """(targets, points, 3) with one measure, (targets, points, 3, 3) with two; each adds up to 1."""
    began_s: float = 0.0
    ended_s: float = 0.0
    """Laboratory time, in which qubits drift."""
