"""Flux crosstalk: how much of each neighbour's flux voltage acts on a qubit, and its compensation.

While a neighbour's line plays a pulse, then the same pulse with the other sign, a qubit that its own pulse holds on the slope of its arc
runs through a Ramsey sequence. The difference of the two phases is its shift in frequency, which the slope turns into volts (Abrams et
al., doi 10.1103/PhysRevApplied.12.064022). A short and a long time: the short one says how many turns the long one has made.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.experiment import Findings, Measurement, Request
from tiandi.computing.control.experiments.arcs import arcs
from tiandi.computing.control.experiments.flux_wiring import FLAT
from tiandi.computing.control.experiments.gates import averaging, gates
from tiandi.computing.control.experiments.node import DIRECTIONS, HOUR_S, Node, closer_than, column, towards, verdicts
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.instrument import copied
from tiandi.computing.instruments.program import ComplexArray, FloatArray, Flux, IntArray, Operation, Reading

NS = 1e-9
BELOW_TOP_HZ = 80e6
"""Where a qubit is held: its slope there is about 2 GHz per flux quantum."""
TIMES_NS = (25.0, 200.0)
SHARE = 0.1
"""Size of the neighbour's pulses, in flux quanta of the design."""
PHASES = np.arange(3) * 2.0 * np.pi / 3.0
SHOTS = 1_500
FAINT = 0.25
"""Share of the usual contrast below which a phase is not believed."""


@dataclass(frozen=True)
class FluxCrosstalk(Node):
    """flux_crosstalk_<direction>: share of that neighbour's voltage; settings.flux_compensation takes them."""

    name: str = "flux-crosstalk"
    title: str = "Flux crosstalk and its compensation"
    after: tuple[str, ...] = ("flux-arc", "first-rabi")
    valid_s: float = 720.0 * HOUR_S

    def exclusion(self, knowledge: Knowledge) -> IntArray | None:
        """A target hears no pulse but that of its own neighbour: three sites lie between targets, two at least between pulses."""
        return closer_than(knowledge.electronics, 3)

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        beside = np.stack([towards(knowledge.electronics, direction)[targets] for direction in DIRECTIONS], axis=1)
        found, clear = yield from self._shares(knowledge, targets, beside)
        there = beside >= 0
        faint = np.asarray((there & ~clear).any(axis=1), bool)
        settings = copied(knowledge.settings)
        values: dict[str, FloatArray] = {}
        for number, direction in enumerate(DIRECTIONS):
            one = np.flatnonzero(there[:, number])
            lines = knowledge.flux_line[targets[one]], knowledge.flux_line[beside[one, number]]
            pairs = list(zip(lines[0].tolist(), lines[1].tolist(), strict=True))
            # What was compensated already belongs to the share: measured again it is the same value.
            share = np.full(len(targets), np.nan)
            share[one] = found[one, number] + np.array([settings.flux_compensation.get(pair, 0.0) for pair in pairs])
            values[f"flux_crosstalk_{direction}"] = share
            sure = clear[one, number]
            settings.flux_compensation |= {pair: float(share[row]) for pair, row, take in zip(pairs, one, sure, strict=True) if take}
        yield settings
        return Findings(
            values,
            {name: np.full(len(targets), 2e-4) for name in values},
            verdicts(len(targets), (faint, "no clear fringes on the slope of the arc: the phase decays too soon there")),
        )

    def _shares(
        self, knowledge: Knowledge, qubits: IntArray, others: IntArray
    ) -> Generator[Request, Any, tuple[FloatArray, NDArray[np.bool_]]]:
        """(qubits, directions): share of the others' voltage on each, and whether the fringes were clear; ``others``: -1 for none."""
        arc = arcs(knowledge, qubits)
        static = knowledge.settings.flux_bias_v[knowledge.flux_line[qubits]]
        held = arc.bias(arc.top_hz - BELOW_TOP_HZ, static)
        count = others.shape[1]
        there = others >= 0
        volt = np.where(there, SHARE * knowledge.electronics.design_volt_per_flux_quantum[others], 0.0)
        which, time, sign, phase = (axis.ravel() for axis in np.meshgrid(np.arange(count), TIMES_NS, (-1.0, 1.0), PHASES, indexing="ij"))
        gate = gates(knowledge, qubits)
        moment: list[Operation] = [Flux(knowledge.flux_line[qubits], column(held - static), time[None, :], FLAT)]
        for number in range(count):
            # Each neighbour plays at its own points; where there is none, nothing is played on the qubit's own line.
            line = knowledge.flux_line[np.where(there[:, number], others[:, number], qubits)]
            moment.append(Flux(line, column(volt[:, number]) * np.where(which == number, sign, 0.0), time[None, :], FLAT))
        steps = ((gate.half(),), tuple(moment), (gate.half(phase[None, :]),))
        reading: Reading = yield averaging(knowledge, qubits, len(time), steps, SHOTS)
        assert reading.iq is not None
        turning = fringe(reading.iq[0].reshape(len(qubits), count, len(TIMES_NS), 2, len(PHASES)))
        step = turning[..., 1] * turning[..., 0].conj()
        short, long = np.angle(step[..., 0]), np.angle(step[..., 1])
        expected = short * TIMES_NS[1] / TIMES_NS[0]
        whole = long + 2.0 * np.pi * np.round((expected - long) / (2.0 * np.pi))
        shift_hz = whole / (2.0 * np.pi * TIMES_NS[1] * NS) / 2.0
        contrast = np.abs(turning[:, :, 1]).min(axis=2)
        share = shift_hz / (column(arc.slope(held)) * np.where(there, volt, 1.0))
        return share, contrast > FAINT * (np.median(contrast[there]) if there.any() else 0.0)


def fringe(iq: ComplexArray) -> ComplexArray:
    """Phasor (...,) of a Ramsey fringe from IQ points (..., 3) with the last half turn at PHASES.

    The points of a target (first axis) lie on a line through the IQ plane; its sign is arbitrary, but the same for all of them.
    """
    centred = iq - iq.mean(axis=-1, keepdims=True)
    axis = np.exp(-0.5j * np.angle((centred.reshape(len(iq), -1) ** 2).sum(axis=1)))
    real = np.real(centred * axis[(slice(None), *(None,) * (centred.ndim - 1))])
    # A qubit whose frequency is higher than that of its pulses precesses towards lower phases.
    return np.asarray((2.0 / 3.0) * (real * np.exp(-1j * PHASES)).sum(axis=-1))
