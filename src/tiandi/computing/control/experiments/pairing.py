"""What experiments on pairs share: a coupler, its two qubits and their pulses for each target, and which couplers may run together.

The gate is the diabatic CZ of Foxen et al. (doi 10.1103/PhysRevLett.125.120504) without the swap: while the coupler is pulsed on, the
flux pulse of one qubit holds |11> in resonance with |20> (2 for the upper qubit), for one whole oscillation there and back.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from tiandi.computing.control.experiment import Request
from tiandi.computing.control.experiments.arcs import Arcs, arcs
from tiandi.computing.control.experiments.gates import Gates, gates, listening
from tiandi.computing.control.experiments.node import Node, column, known
from tiandi.computing.control.knowledge import Element, Knowledge
from tiandi.computing.instruments.program import (
    ComplexArray,
    FloatArray,
    Flux,
    IntArray,
    Moment,
    Number,
    Phase,
    Program,
    Reading,
    Shape,
    Train,
)

USED_COUPLING = 0.75
"""Of the strongest that the design has: a coupler that is weaker still makes the gate."""
COUPLER_SHAPE = Shape("flattop", 12.0)
"""Slow edges, so that 01 and 10, 240 MHz apart, follow; the qubit's may be quick, for the coupling is off while it moves."""
QUBIT_SHAPE = Shape("flattop", 2.0)
MOST_LIMIT = 0.95
"""Of what flux lines can do: bias and pulse together."""
QUADRATURES = np.arange(3) * 2.0 * np.pi / 3.0


@dataclass(frozen=True)
class PairNode(Node):
    """An experiment on couplers. Those whose qubits are one, or neighbours, are never targets of one program."""

    element: Element = "coupler"

    def exclusion(self, knowledge: Knowledge) -> IntArray | None:
        """(pairs, 2): couplers with a coupler between them, or with a qubit in common."""
        couplers = knowledge.electronics.couplers
        count = len(couplers)
        shape = knowledge.electronics.qubits, count
        touches = sparse.csr_array((np.ones(couplers.size, np.int64), (couplers.ravel(), np.repeat(np.arange(count), 2))), shape)
        joined = touches @ touches.T
        near = sparse.triu(touches.T @ joined @ touches, 1, format="csr")
        near.sort_indices()
        return np.stack(near.nonzero(), axis=1, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Pairs:
    """(targets,): couplers and their qubits. The upper qubit is the one of higher frequency; ``moved`` is brought to resonance."""

    coupler: IntArray
    first: IntArray
    second: IntArray
    upper: IntArray
    moved: IntArray
    resonance_hz: FloatArray
    """Where the moved qubit makes |11> and |20> equal."""
    first_gates: Gates
    second_gates: Gates

    @property
    def moves_first(self) -> FloatArray:
        """(targets,): 1 where the first qubit moves, else 0."""
        return np.asarray(self.moved == self.first, float)


def pairs_of(knowledge: Knowledge, couplers: IntArray) -> Pairs:
    """The qubit that moves goes down to the resonance: the lower one, or the upper one if they are more than its anharmonicity apart."""
    first, second = knowledge.electronics.couplers[couplers].T
    frequency = knowledge["frequency_hz"]
    upper = np.where(frequency[first] > frequency[second], first, second)
    lower = first + second - upper
    anharmonicity = knowledge["anharmonicity_hz"][upper]
    wide = frequency[upper] - frequency[lower] > -anharmonicity
    return Pairs(
        coupler=couplers,
        first=first,
        second=second,
        upper=upper,
        moved=np.where(wide, upper, lower),
        resonance_hz=np.where(wide, frequency[lower] - anharmonicity, frequency[upper] + anharmonicity),
        first_gates=gates(knowledge, first),
        second_gates=gates(knowledge, second),
    )


def moved_arcs(knowledge: Knowledge, pair: Pairs) -> tuple[Arcs, FloatArray]:
    """Arcs of the moved qubits, and the static biases from which they move."""
    return arcs(knowledge, pair.moved), knowledge.settings.flux_bias_v[knowledge.flux_line[pair.moved]]


def resonant_volt(knowledge: Knowledge, pair: Pairs, offset_hz: FloatArray) -> FloatArray:
    """(targets, points): pulses that bring the moved qubit ``offset_hz`` (targets or 1, points) above its resonance; NaN out of reach."""
    arc, static = moved_arcs(knowledge, pair)
    wanted = column(pair.resonance_hz - knowledge["frequency_hz"][pair.moved] + arc.frequency(static)) + offset_hz
    # The arc is a little off from the frequency that Ramsey found: distances are what it tells.
    return np.stack([arc.bias(np.minimum(one, arc.top_hz), static) - static for one in wanted.T], axis=1)


def designed_cz_ns(knowledge: Knowledge) -> float:
    """Length of the CZ gates of the chip, if the design is right: one for all, so that those of a layer end together.

    |11> and |20> exchange at sqrt(2) g: there and back takes 1 / (2 sqrt(2) g), and an edge counts half.
    """
    weakest_hz = USED_COUPLING * float(np.abs(knowledge.electronics.design_coupling_hz).min())
    return float(np.ceil(COUPLER_SHAPE.edge_ns + 1e9 / (2.0 * np.sqrt(2.0) * weakest_hz)))


def cz_moment(knowledge: Knowledge, pair: Pairs, coupler_v: Number, qubit_v: Number, length_ns: FloatArray | None = None) -> Moment:
    """Both pulses of a CZ; voltages beside the static biases. ``length_ns`` (targets,): as they are known, if nothing is said."""
    length_ns = known(knowledge, "cz_duration_ns", pair.coupler, designed_cz_ns(knowledge)) if length_ns is None else length_ns
    duration_ns: Number = float(length_ns[0]) if (length_ns == length_ns[0]).all() else column(length_ns)
    return (
        Flux(knowledge.flux_line[pair.moved], qubit_v, duration_ns, QUBIT_SHAPE),
        Flux(pair.coupler, coupler_v, duration_ns, COUPLER_SHAPE, coupler=True),
    )


def coupler_volt(knowledge: Knowledge, couplers: IntArray, quanta: float | FloatArray) -> FloatArray:
    """(couplers, 1 or points): voltages of so many flux quanta of the design."""
    return column(knowledge.electronics.design_coupler_volt_per_flux_quantum[couplers]) * quanta


def counting_pairs(
    knowledge: Knowledge, pair: Pairs, points: int, steps: tuple[Moment | Train, ...], shots: int
) -> Generator[Request, Any, FloatArray]:
    """(targets, points, 3, 3): populations of both qubits, the first one first."""
    measures = listening(knowledge, pair.first), listening(knowledge, pair.second)
    reading: Reading = yield Program(len(pair.coupler), points, steps, measures, shots)
    assert reading.populations is not None
    return reading.populations


def only(knowledge: Knowledge, target: IntArray, points: int, steps: tuple[Moment | Train, ...], shots: int) -> Program:
    """A program that reads one qubit of each pair."""
    return Program(len(target), points, steps, (listening(knowledge, target),), shots)


def phasors(populations: FloatArray) -> ComplexArray:
    """(targets, points / 3) from populations (targets, points, 3) of one qubit, at the QUADRATURES of the last half turn.

    The angle is the phase that state 1 has gained in between: half turns about x and about the axis at p leave 1/2 + cos(p - angle) / 2 in
    state 1. The length of a perfect one is 1/4.
    """
    excited = (1.0 - populations[:, :, 0]).reshape(len(populations), -1, len(QUADRATURES))
    return np.asarray((excited * np.exp(1j * QUADRATURES)).mean(axis=-1))


def exchanged(pair: Pairs, populations: FloatArray) -> FloatArray:
    """(targets, points): share of the shots in which the lower qubit was called 0: of |11> what has gone to |20>.

    Every readout tells 0 from 1; some hardly tell 2 from 1.
    """
    first = populations[:, :, 0, :].sum(axis=-1)
    second = populations[:, :, :, 0].sum(axis=-1)
    return np.where((pair.upper == pair.first)[:, None], second, first)


def fringe_steps(pair: Pairs, side: int, control: FloatArray, phase: FloatArray, moments: tuple[Moment, ...]) -> tuple[Moment, ...]:
    """Ramsey of one qubit (0 the first) around ``moments``, with the other one turned before by pi where ``control`` (points,) is 1."""
    own, other = (pair.first_gates, pair.second_gates)[:: 1 - 2 * side]
    return (
        (own.half(), other.pulse(column(other.pi_amplitude) * control)),
        *moments,
        (own.half(phase),),
    )


def with_phases(pair: Pairs, moment: Moment, first_rad: FloatArray, second_rad: FloatArray) -> Moment:
    """A moment and virtual turns (targets,) of both qubits by the phases that they gain in it."""
    return (*moment, Phase(pair.first_gates.line, column(first_rad)), Phase(pair.second_gates.line, column(second_rad)))


def calibrated_cz(knowledge: Knowledge, pair: Pairs) -> Moment:
    """The CZ as it is known, with its virtual phases."""
    names = ("cz_amplitude_v", "cz_qubit_amplitude_v", "cz_phase_first_rad", "cz_phase_second_rad")
    volt, qubit_volt, first, second = (knowledge[name][pair.coupler] for name in names)
    return with_phases(pair, cz_moment(knowledge, pair, column(volt), column(qubit_volt)), first, second)
