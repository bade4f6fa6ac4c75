"""Predistortion of flux pulses: the step response of each flux line, seen by its own qubit (Rol et al., doi 10.1063/1.5133894).

Between two half turns a flux pulse of growing length pulls the qubit down its arc, where frequency tells flux well. How much phase is added
from one length to the next is the frequency in between; the arc turns it into a voltage. That over the one that was sent is the step
response, 1 + sum of amplitude exp(-t / time), which the settings then undo. The gain is left free, for the arc was measured inside pulses.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiandi.computing.control.experiment import Curves, Findings, Measurement, Request
from tiandi.computing.control.experiments.arcs import Arcs, arcs
from tiandi.computing.control.experiments.flux_crosstalk import PHASES, fringe
from tiandi.computing.control.experiments.flux_wiring import FLAT
from tiandi.computing.control.experiments.gates import averaging, gates
from tiandi.computing.control.experiments.node import HOUR_S, Node, closer_than, column, verdicts
from tiandi.computing.control.fitting import fit_step_response
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.instrument import Settings, copied
from tiandi.computing.instruments.program import ComplexArray, FloatArray, Flux, IntArray, Reading, Wait

NS = 1e-9
PULLS_HZ = (220e6, 150e6)
LENGTHS_NS = np.concatenate([np.arange(4.0, 64.0, 6.0), np.round(np.geomspace(64.0, 1_600.0, 12))])
"""Close together at first: between two lengths the phase beside the expected one must not run by half a turn."""
REST_NS = 20.0
SHOTS = 3_000
TERMS = 3
LARGEST = 0.1
WORST = 15.0
"""Reduced chi square above which terms do not describe a response; those that do have 0.3 to 6."""
PHASE_NOISE = 0.02
"""Assumed, of one phase: rad."""


@dataclass(frozen=True)
class Predistortion(Node):
    """step_amplitude_1 to _3 and step_time_1_s to _3, taken into settings.predistortion."""

    name: str = "predistortion"
    title: str = "Step response of flux lines"
    after: tuple[str, ...] = ("timing", "ramsey")
    valid_s: float = 720.0 * HOUR_S

    def exclusion(self, knowledge: Knowledge) -> IntArray | None:
        return closer_than(knowledge.electronics, 2)

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        lines = knowledge.flux_line[targets]
        middle, response, amplitude, time, model = yield from self._seen(knowledge, targets, PULLS_HZ[0])
        lost = np.asarray(~np.isfinite(amplitude).all(axis=1), bool)
        if lost.any():
            # A defect on the way, or a phase that was lost: another pull passes elsewhere.
            _, *again = yield from self._seen(knowledge, targets[lost], PULLS_HZ[1])
            for held, found in zip((response, amplitude, time, model), again, strict=True):
                held[lost] = found
            lost = np.asarray(~np.isfinite(amplitude).all(axis=1), bool)
        settings = copied(knowledge.settings)
        good = lines[~lost]
        settings.predistortion_amplitude[good] = 0.0
        settings.predistortion_amplitude[good, :TERMS] = amplitude[~lost]
        settings.predistortion_time_ns[good, :TERMS] = np.clip(time[~lost], 1.0, 1e5)
        yield settings
        values = {f"step_amplitude_{number + 1}": amplitude[:, number] for number in range(TERMS)}
        values |= {f"step_time_{number + 1}_s": time[:, number] * NS for number in range(TERMS)}
        return Findings(
            values,
            # Terms trade with each other; what counts is their sum, known as well as the points are.
            {name: np.full(len(targets), np.nan) for name in values},
            verdicts(len(targets), (lost, "the phase in the flux pulse does not follow a step response: fringes lost, or a wrong arc")),
            curves=Curves(middle, response, model, "time in the pulse (ns)", "voltage over that sent"),
        )

    def _seen(
        self, knowledge: Knowledge, targets: IntArray, pull_hz: float
    ) -> Generator[Request, Any, tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]]:
        """Times in the pulse, and of each target response there, amplitudes and times of its terms, and model."""
        gate, arc, lines = gates(knowledge, targets), arcs(knowledge, targets), knowledge.flux_line[targets]
        static = knowledge.settings.flux_bias_v[lines]
        pull = arc.bias(np.minimum(gate.frequency_hz, arc.top_hz) - pull_hz, static) - static
        length, phase = (axis.ravel()[None, :] for axis in np.meshgrid(LENGTHS_NS, PHASES, indexing="ij"))
        steps = ((gate.half(),), (Flux(lines, column(pull), length, FLAT),), (Wait(REST_NS),), (gate.half(phase),))
        reading: Reading = yield averaging(knowledge, targets, length.shape[1], steps, SHOTS)
        assert reading.iq is not None
        turning = fringe(reading.iq[0].reshape(len(targets), len(LENGTHS_NS), len(PHASES)))
        middle, response = _response(turning, arc, static, pull, gate.frequency_hz)
        response = response * (1.0 + _sum_of_terms(knowledge.settings, lines, middle))
        sigma = np.sqrt(2.0) * PHASE_NOISE / (2.0 * np.pi * np.diff(LENGTHS_NS) * NS) / np.abs(arc.slope(static + pull) * pull)[:, None]
        return middle, response, *_terms(middle, response, sigma)


def _terms(time_ns: FloatArray, response: FloatArray, sigma: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Amplitudes and times (targets, 3) of a step response, with as many terms as the data bear and 0 beyond; and the model (targets,
    points).

    Three terms and a gain are more than some lines show: their fit does not converge, or gives huge terms that cancel. NaN where nothing
    fits.
    """
    amplitude, time = (np.full((len(response), TERMS), np.nan) for _ in range(2))
    model = np.full(response.shape, np.nan)
    for terms in range(TERMS, 0, -1):
        fit = fit_step_response(time_ns, response, sigma, terms=terms)
        found = np.stack([fit[f"amplitude_{number + 1}"] for number in range(terms)], axis=1)
        take = fit.good & (fit.chi_square < WORST) & (np.abs(found) < LARGEST).all(axis=1) & np.isnan(model).any(axis=1)
        amplitude[take], time[take] = 0.0, 1.0
        amplitude[take, :terms] = found[take]
        time[take, :terms] = np.stack([fit[f"time_{number + 1}"] for number in range(terms)], axis=1)[take]
        model[take] = fit.model[take]
    return amplitude, time, model


def _response(
    turning: ComplexArray, arc: Arcs, static: FloatArray, pull: FloatArray, frame_hz: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Middles (lengths - 1,) between pulse lengths, and voltage over that sent (targets, lengths - 1) there."""
    step = np.diff(LENGTHS_NS) * NS
    expected = arc.frequency(static + pull) - frame_hz
    beside = np.empty((len(turning), len(step)))
    last = np.zeros(len(turning))
    for place, time in enumerate(step):
        raw = np.angle(turning[:, place + 1] * turning[:, place].conj() * np.exp(-2j * np.pi * (expected + last) * time))
        last = last + raw / (2.0 * np.pi * time)
        beside[:, place] = last
        # What one short interval says is noisy: the next is expected near the mean of the last few.
        last = beside[:, max(0, place - 3) : place + 1].mean(axis=1)
    frequency = frame_hz[:, None] + expected[:, None] + beside
    voltage = np.stack([arc.bias(one, static + pull) for one in frequency.T], axis=1)
    return LENGTHS_NS[:-1] + 0.5 * np.diff(LENGTHS_NS), (voltage - static[:, None]) / pull[:, None]


def _sum_of_terms(settings: Settings, lines: IntArray, time_ns: FloatArray) -> FloatArray:
    """(lines, times): what the settings already take the step response to be, less 1."""
    amplitude, decay = settings.predistortion_amplitude[lines], settings.predistortion_time_ns[lines]
    return np.asarray((amplitude[:, :, None] * np.exp(-time_ns / decay[:, :, None])).sum(axis=1))
