"""Flux arcs: each qubit's frequency against the voltage of its flux line, by spectroscopy inside flux pulses.

Two steps beside the present bias and the line found there give a parabola, which tells where the sweet spot is and how wide the arc; around
the sweet spot six more steps are then found in narrow windows, and the transmon's formula (Koch et al., doi 10.1103/PhysRevA.76.042319) is
fitted to all. So near the top it cannot tell the junctions' asymmetry from the period: the asymmetry is assumed.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiandi.computing.control.experiment import Curves, Findings, Measurement, Request
from tiandi.computing.control.experiments.flux_wiring import AROUND_NS, FLAT
from tiandi.computing.control.experiments.gates import COSINE, averaging, designed_turn
from tiandi.computing.control.experiments.node import HOUR_S, Node, closer_than, column, known, verdicts
from tiandi.computing.control.experiments.qubit_spectroscopy import WIDE_NS, Scan
from tiandi.computing.control.fitting import arc_frequency, fit_arc, fit_lorentzian
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.instrument import copied
from tiandi.computing.instruments.program import Drive, FloatArray, Flux, IntArray, Reading

FIRST = 0.05
"""First steps, in flux quanta of the design."""
FIRST_BELOW_HZ, FIRST_ABOVE_HZ = 220e6, 160e6
LATER = (-0.16, -0.12, -0.07, 0.07, 0.12, 0.16)
"""Later steps from the sweet spot, in flux quanta."""
LATER_HZ = 56e6
STEP_HZ, SHOTS = 8e6, 1_000
SETTLED_NS = 60.0
ASYMMETRY = 0.2
CLEAR = 6.0
WORST_DESIGN = 1.5
"""By what factor a flux quantum may cost more or less than designed."""
WORST_HZ = 4e6
"""Scatter of the lines about the arc that is borne."""


@dataclass(frozen=True)
class FluxArc(Node):
    """top_frequency_hz, sweet_spot_v, volt_per_flux_quantum and asymmetry (assumed)."""

    name: str = "flux-arc"
    title: str = "Flux arc"
    after: tuple[str, ...] = ("flux-wiring",)
    valid_s: float = 720.0 * HOUR_S

    def exclusion(self, knowledge: Knowledge) -> IntArray | None:
        """Neighbours' flux pulses reach a qubit by crosstalk that is not known yet."""
        return closer_than(knowledge.electronics, 2)

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        before = copied(knowledge.settings)
        bias = before.flux_bias_v[knowledge.flux_line[targets]]
        here = knowledge["frequency_hz"][targets]
        design = knowledge.electronics.design_volt_per_flux_quantum[targets]
        anharmonicity = known(knowledge, "anharmonicity_hz", targets, knowledge.electronics.design_anharmonicity_hz[targets])
        volts, lines = [np.zeros(len(targets))], [here]
        for step in (-FIRST, FIRST):
            volts.append(step * design)
            found = yield from self._line(knowledge, targets, volts[-1], here - FIRST_BELOW_HZ, FIRST_BELOW_HZ + FIRST_ABOVE_HZ)
            lines.append(found)
        low, high = lines[1] - here, lines[2] - here
        bend = np.maximum(-(low + high) / (2.0 * volts[2] ** 2), 1e7)
        slope = (high - low) / (2.0 * volts[2])
        sweet = np.clip(slope / (2.0 * bend), -0.25 * design, 0.25 * design)
        top = here + bend * sweet**2
        period = np.sqrt((top - anharmonicity) * np.pi**2 * (1.0 - ASYMMETRY**2) / (4.0 * bend))
        period = np.clip(np.where(np.isfinite(period), period, design), design / WORST_DESIGN, WORST_DESIGN * design)
        sweet, top = np.where(np.isfinite(sweet), sweet, 0.0), np.where(np.isfinite(top), top, here)
        for step in LATER:
            volts.append(sweet + step * period)
            expected = arc_frequency(
                volts[-1], top_hz=top, offset_v=sweet, period_v=period, asymmetry=ASYMMETRY, anharmonicity_hz=anharmonicity
            )
            found = yield from self._line(knowledge, targets, volts[-1], expected - LATER_HZ, 2.0 * LATER_HZ)
            lines.append(found)
        yield before
        return self._findings(targets, column(bias) + np.stack(volts, axis=1), np.stack(lines, axis=1), anharmonicity, design)

    def _line(
        self, knowledge: Knowledge, targets: IntArray, volt: FloatArray, low_hz: FloatArray, span_hz: float
    ) -> Generator[Request, Any, FloatArray]:
        """(targets,): the line within a flux pulse of ``volt``; NaN for none."""
        points = int(span_hz / STEP_HZ) + 1
        frequency = column(low_hz) + STEP_HZ * np.arange(points)
        drive_lines = knowledge.drive_line[targets]
        settings = copied(knowledge.settings)
        settings.oscillator_hz[drive_lines] = frequency.mean(axis=1) + 0.25 * STEP_HZ
        yield settings
        flux = Flux(knowledge.flux_line[targets], column(volt), SETTLED_NS + WIDE_NS + AROUND_NS, FLAT)
        drive = Drive(drive_lines, designed_turn(knowledge, drive_lines, WIDE_NS), WIDE_NS, frequency, shape=COSINE, start_ns=SETTLED_NS)
        reading: Reading = yield averaging(knowledge, targets, points, ((flux, drive),), SHOTS)
        assert reading.iq is not None
        seen = Scan(frequency, reading.iq[0])
        fit = fit_lorentzian(frequency, seen.answer, sign=1)
        return np.where(fit.good & (fit["height"] > CLEAR * seen.noise), fit["centre"], np.nan)

    def _findings(self, targets: IntArray, volts: FloatArray, lines: FloatArray, anharmonicity: FloatArray, design: FloatArray) -> Findings:
        fit = fit_arc(volts, lines, anharmonicity_hz=anharmonicity, period_v=design, asymmetry=ASYMMETRY)
        count = len(targets)
        return Findings(
            {
                "top_frequency_hz": fit["top_hz"],
                "sweet_spot_v": fit["offset_v"],
                "volt_per_flux_quantum": fit["period_v"],
                "asymmetry": np.full(count, ASYMMETRY),
            },
            {
                "top_frequency_hz": fit.uncertainties["top_hz"],
                "sweet_spot_v": fit.uncertainties["offset_v"],
                "volt_per_flux_quantum": fit.uncertainties["period_v"],
                "asymmetry": np.full(count, np.nan),
            },
            verdicts(
                count,
                (np.isfinite(lines).sum(axis=1) < 6, "the line was lost at most voltages: no arc"),
                (~fit.good, "the lines do not lie on a transmon's arc"),
                (fit.noise > WORST_HZ, f"the lines scatter by more than {WORST_HZ / 1e6:.0f} MHz about the arc: wrong lines among them"),
                (
                    np.abs(np.log(fit["period_v"] / design)) > np.log(WORST_DESIGN),
                    "a flux quantum costs half more or a third less than designed: another line's crosstalk?",
                ),
            ),
            curves=Curves(volts, lines / 1e9, fit.model / 1e9, "voltage of the flux line (V)", "frequency (GHz)"),
        )
