"""Line timing: how much later a qubit's flux line acts than its drive line.

A flux pulse as long as a turn pulls the qubit out of resonance; played beside the turn it does nothing. What is excited against the flux
pulse's start is a dip, whose middle is where both meet at the qubit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.experiments.arcs import arcs
from tiandi.computing.control.experiments.flux_wiring import FLAT
from tiandi.computing.control.experiments.gates import GATE_NS, counting, excited, gates
from tiandi.computing.control.experiments.node import HOUR_S, Node, closer_than, column, verdicts
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.instrument import copied
from tiandi.computing.instruments.program import FloatArray, Flux, IntArray, Reading

PULL_HZ = 150e6
FLUX_NS, DRIVE_START_NS = 12.0, 40.0
STARTS_NS = np.arange(14.0, 85.0, 2.0)
SHOTS = 2_000
SHALLOW = 0.15
WORST_NS = 12.0


@dataclass(frozen=True)
class Timing(Node):
    """flux_lag_ns, as it is without settings.flux_delay_ns, which takes it away."""

    name: str = "timing"
    title: str = "Timing of flux against drive"
    after: tuple[str, ...] = ("discrimination",)
    valid_s: float = 720.0 * HOUR_S

    def exclusion(self, knowledge: Knowledge) -> IntArray | None:
        return closer_than(knowledge.electronics, 2)

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        gate = gates(knowledge, targets)
        arc = arcs(knowledge, targets)
        static = knowledge.settings.flux_bias_v[knowledge.flux_line[targets]]
        pull = arc.bias(np.minimum(gate.frequency_hz, arc.top_hz) - PULL_HZ, static) - static
        flux = Flux(knowledge.flux_line[targets], column(pull), FLUX_NS, FLAT, start_ns=STARTS_NS)
        reading: Reading = yield counting(knowledge, targets, len(STARTS_NS), ((flux, gate.turn(start_ns=DRIVE_START_NS)),), SHOTS)
        signal = excited(reading)
        centre, error, depth, model = dip(STARTS_NS, signal)
        lag = DRIVE_START_NS + 0.5 * GATE_NS - (centre + 0.5 * FLUX_NS)
        flat = depth < SHALLOW
        far = np.abs(lag) > WORST_NS
        good = ~flat & ~far
        lines = knowledge.flux_line[targets]
        # What the settings took away already belongs to the lag: measured again it is the same value.
        whole = lag - knowledge.settings.flux_delay_ns[lines]
        settings = copied(knowledge.settings)
        settings.flux_delay_ns[lines[good]] = -whole[good]
        yield settings
        return Findings(
            {"flux_lag_ns": whole},
            {"flux_lag_ns": error},
            verdicts(
                len(targets),
                (flat, "the flux pulse does not disturb the turn wherever it stands"),
                (far, f"flux and drive meet more than {WORST_NS:.0f} ns from where they are sent to: a wrong cable?"),
            ),
            curves=Curves(STARTS_NS, signal, model, "start of the flux pulse (ns)", "population not 0"),
        )


def dip(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Middle, its uncertainty and depth (targets,) of a dip of any symmetric form in y (targets, points), and y mirrored at the middle.

    x: (points,), evenly spaced. A symmetric dip convolved with itself is highest at twice its middle; a parabola through the highest points
    tells it between the steps.
    """
    points, step = len(x), x[1] - x[0]
    level = np.quantile(y, 0.8, axis=1)
    depth = np.maximum(level[:, None] - y, 0.0)
    squared = np.fft.irfft(np.fft.rfft(depth, 4 * points, axis=1) ** 2, 4 * points, axis=1)[:, : 2 * points - 1]
    rows, best = np.arange(len(y)), np.clip(squared.argmax(axis=1), 3, 2 * points - 5)
    left, middle, right = (squared[rows, best + offset] for offset in (-3, 0, 3))
    bend = left - 2.0 * middle + right
    shift = np.where(bend < 0, 1.5 * (left - right) / np.where(bend < 0, bend, -1.0), 0.0)
    centre = x[0] + 0.5 * step * (best + np.clip(shift, -2.0, 2.0))
    model = np.stack([np.interp(2.0 * place - x, x, row) for row, place in zip(y, centre, strict=True)])
    noise = np.std(model - y, axis=1) / np.sqrt(2.0)
    slope = np.sqrt((np.gradient(y, x, axis=1) ** 2).sum(axis=1))
    return centre, noise / np.maximum(slope, 1e-12), level - y.min(axis=1), model
