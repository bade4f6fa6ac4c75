"""Qubit spectroscopy: the line of each qubit, first over all that fabrication and stray flux may do to it, then finely.

A pulse near a qubit's frequency excites it, and the resonator answers from another place in the IQ plane. The wide scan plays short strong
pulses, whose lines are broad, so that few points cover half a gigahertz; the drive lines' oscillators follow it band by band. What is found
on a qubit's own line may also be the two-photon line to state 2, half an anharmonicity lower: of the lines that stand out the highest in
frequency is taken (Koch et al., doi 10.1103/PhysRevA.76.042319).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.experiment import Curves, Findings, Measurement, Request
from tiandi.computing.control.experiments.gates import COSINE, averaging, designed_turn
from tiandi.computing.control.experiments.node import HOUR_S, Node, column, verdicts
from tiandi.computing.control.fitting import Fit, fit_lorentzian
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.instrument import copied
from tiandi.computing.instruments.program import ComplexArray, Drive, FloatArray, IntArray, Moment, Number, Program, Reading
from tiandi.random import twin_generator

BELOW_HZ, ABOVE_HZ = 400e6, 300e6
"""Reach of the wide scan about the design frequency: stray flux only lowers it, fabrication does both."""
WIDE_NS, WIDE_STEP_HZ = 60.0, 6e6
FINE_NS, FINE_SPAN_HZ, FINE_POINTS = 300.0, 40e6, 61
"""Pulses that turn by pi as the design has it: shorter ones are stronger, and make wider lines."""
SHOTS = 1_000
NARROWEST_HZ = 2.5e6
"""A cosine of 300 ns makes lines of some 6 MHz."""
WIDER_HZ = 150e6
"""Either side of a plan near which there is no line."""
SYSTEMATIC_HZ = 0.3e6
"""By which a strong pulse shifts its line."""
ASIDE_HZ = 100e6
"""Oscillators stand so far below their qubits: leak and image stay away from the line and from that of 1-2."""
USED_BAND = 0.8
CLEAR = 8.0
STANDS_OUT = 0.4
"""Share of the strongest answer that counts as a line."""
FAINT = 0.3
"""An answer below this share of the others' typical one is that of crosstalk from another line."""


@dataclass(frozen=True, eq=False)
class Scan:
    """Mean answers (targets, points) at the frequencies (targets, points) of a scan."""

    frequency_hz: FloatArray
    iq: ComplexArray

    @property
    def answer(self) -> FloatArray:
        """(targets, points): distance in the IQ plane from where most points are, in volts."""
        rest = np.median(self.iq.real, axis=1) + 1j * np.median(self.iq.imag, axis=1)
        return np.abs(self.iq - rest[:, None])

    @property
    def noise(self) -> FloatArray:
        """(targets,): of one point, in volts, from the differences of next points; the median, so that lines do not count."""
        step = np.diff(self.iq, axis=1)
        return np.asarray(np.median(np.abs(step), axis=1) / np.sqrt(2.0 * np.log(2.0) * 2.0), float)


Scanning = Generator[Request, Any, Scan]


def tuned(knowledge: Knowledge, lines: IntArray, frequency_hz: FloatArray) -> Any:
    """Settings with the oscillators of drive lines in place for these frequencies."""
    settings = copied(knowledge.settings)
    settings.oscillator_hz[lines] = frequency_hz - ASIDE_HZ
    return settings


def scan(
    knowledge: Knowledge,
    targets: IntArray,
    lines: IntArray,
    *,
    low_hz: FloatArray,
    high_hz: FloatArray,
    step_hz: float,
    duration_ns: float,
    amplitude: Number,
) -> Scanning:
    """Play a pulse on ``lines`` at frequencies from low_hz to high_hz (targets,) and listen to each target; oscillators follow."""
    points = int(np.ceil((high_hz - low_hz).max() / step_hz)) + 1
    frequency = column(low_hz) + step_hz * np.arange(points)
    band = max(1, int(USED_BAND * knowledge.electronics.drive_band_hz / step_hz))
    answers = []
    for first in range(0, points, band):
        order = shuffled(lines, min(band, points - first))
        part = np.take_along_axis(frequency[:, first : first + band], order, axis=1)
        settings = copied(knowledge.settings)
        # An oscillator's leak must not sit on the line: it stands between two points.
        settings.oscillator_hz[lines] = part.mean(axis=1) + 0.25 * step_hz
        yield settings
        drive = Drive(lines, amplitude, duration_ns, part, shape=COSINE)
        reading: Reading = yield averaging(knowledge, targets, part.shape[1], ((drive,),), SHOTS)
        assert reading.iq is not None
        answers.append(unshuffled(reading.iq[0], order))
    return Scan(frequency, np.concatenate(answers, axis=1))


def shuffled(lines: IntArray, points: int) -> IntArray:
    """(lines, points): an order of the points of its own for each line.

    Many lines scan at once. Where cables are swapped a qubit answers to another's scan; in one common order that would look like a line of
    its own at a wrong frequency. In orders of their own the answer falls on scattered points, which a median takes away.
    """
    return twin_generator(0, "control", "order").permuted(np.tile(np.arange(points), (int(lines.max()) + 1, 1)), axis=1)[lines]


def unshuffled(answers: ComplexArray, order: IntArray) -> ComplexArray:
    """Answers (lines, points) in the order of frequencies."""
    result = np.empty_like(answers)
    np.put_along_axis(result, order, answers, axis=1)
    return result


def steady(answer: FloatArray) -> FloatArray:
    """(targets, points): medians of three neighbouring points; what stands on one point alone is no line."""
    smooth = answer.copy()
    smooth[:, 1:-1] = np.median(np.stack([answer[:, :-2], answer[:, 1:-1], answer[:, 2:]]), axis=0)
    return smooth


def strongest(found: Scan) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Of a wide scan: frequency (targets,), height of the answer in volts (targets,), and whether it stands out of the noise."""
    smooth = steady(found.answer)
    smooth[:, 0] = smooth[:, -1] = 0.0
    height = smooth.max(axis=1)
    peak = np.zeros(smooth.shape, bool)
    peak[:, 1:-1] = (smooth[:, 1:-1] >= smooth[:, :-2]) & (smooth[:, 1:-1] >= smooth[:, 2:])
    peak &= smooth > STANDS_OUT * height[:, None]
    last = smooth.shape[1] - 1 - peak[:, ::-1].argmax(axis=1)
    rows = np.arange(len(smooth))
    return found.frequency_hz[rows, last], height, height > CLEAR * found.noise


def fine_line(
    knowledge: Knowledge, targets: IntArray, frequency_hz: FloatArray, lines: IntArray | None = None
) -> Generator[Request, Any, tuple[Fit, Scan]]:
    """A narrow scan with a long weak pulse about frequencies (targets,), on ``lines`` or the targets' own as they are known."""
    lines = knowledge.drive_line[targets] if lines is None else lines
    yield tuned(knowledge, lines, frequency_hz)
    spread = column(frequency_hz) + np.linspace(-FINE_SPAN_HZ / 2, FINE_SPAN_HZ / 2, FINE_POINTS)
    order = shuffled(lines, FINE_POINTS)
    moment: Moment = (
        Drive(lines, designed_turn(knowledge, lines, FINE_NS), FINE_NS, np.take_along_axis(spread, order, axis=1), shape=COSINE),
    )
    program: Program = averaging(knowledge, targets, FINE_POINTS, (moment,), SHOTS)
    reading: Reading = yield program
    assert reading.iq is not None
    found = Scan(spread, unshuffled(reading.iq[0], order))
    return fit_lorentzian(spread, steady(found.answer), sign=1), found


def stands(fit: Fit, found: Scan) -> NDArray[np.bool_]:
    """(targets,): is the fitted line that of a qubit: out of the noise, and as wide as the pulse makes it?"""
    wide = (fit["width"] > NARROWEST_HZ) & (fit["width"] < 0.8 * FINE_SPAN_HZ)
    return np.asarray(fit.good & wide & (fit["height"] > CLEAR * found.noise), bool)


@dataclass(frozen=True)
class QubitSpectroscopy(Node):
    """frequency_hz to about a megahertz, at the present bias, and line_height_v, the answer in the wide scan."""

    name: str = "qubit-spectroscopy"
    title: str = "Qubit spectroscopy"
    after: tuple[str, ...] = ("readout-power", "mixer")
    valid_s: float = 720.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        design = knowledge.electronics.design_qubit_hz[targets]
        wide: Scan = yield from scan(
            knowledge, targets, knowledge.drive_line[targets], low_hz=design - BELOW_HZ, high_hz=design + ABOVE_HZ,
            step_hz=WIDE_STEP_HZ, duration_ns=WIDE_NS, amplitude=designed_turn(knowledge, knowledge.drive_line[targets], WIDE_NS),
        )  # fmt: skip
        rough, height, there = strongest(wide)
        typical = np.median(height[there]) if there.any() else 0.0
        there &= height > FAINT * typical
        fit, fine = yield from fine_line(knowledge, targets, rough)
        lost = there & ~stands(fit, fine)
        none = f"no line {BELOW_HZ / 1e6:.0f} MHz below to {ABOVE_HZ / 1e6:.0f} MHz above the design: dead, or its drive does not reach it"
        return Findings(
            {"frequency_hz": fit["centre"], "line_height_v": height},
            {"frequency_hz": np.hypot(fit.uncertainties["centre"], SYSTEMATIC_HZ), "line_height_v": wide.noise},
            verdicts(len(targets), (~there, none), (lost, "the wide scan's line is not there in the fine one")),
            curves=Curves(wide.frequency_hz / 1e9, wide.answer, None, "drive frequency (GHz)", "answer (V)"),
            reported=frozenset({"line_height_v"}),
        )


@dataclass(frozen=True)
class IdleSpectroscopy(Node):
    """frequency_hz to about a megahertz, at the idle bias that frequency allocation chose.

    The plan says where to look; who is not there is looked for in a wide scan.
    """

    name: str = "idle-spectroscopy"
    title: str = "Qubit spectroscopy at the idle bias"
    after: tuple[str, ...] = ("frequency-allocation",)
    valid_s: float = 720.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        planned = knowledge["planned_frequency_hz"][targets]
        fit, fine = yield from fine_line(knowledge, targets, planned)
        lost = ~stands(fit, fine)
        centre, error = fit["centre"].copy(), fit.uncertainties["centre"].copy()
        if lost.any():
            some = targets[lost]
            wide: Scan = yield from scan(
                knowledge, some, knowledge.drive_line[some], low_hz=planned[lost] - WIDER_HZ, high_hz=planned[lost] + WIDER_HZ,
                step_hz=WIDE_STEP_HZ, duration_ns=WIDE_NS, amplitude=designed_turn(knowledge, knowledge.drive_line[some], WIDE_NS),
            )  # fmt: skip
            rough, _, there = strongest(wide)
            again, seen = yield from fine_line(knowledge, some, rough)
            found = there & stands(again, seen)
            centre[lost], error[lost] = again["centre"], again.uncertainties["centre"]
            lost[lost] = ~found
        span = f"no line within {WIDER_HZ / 1e6:.0f} MHz of the plan: the flux arc is not what was fitted, or the qubit does not answer"
        return Findings(
            {"frequency_hz": centre},
            {"frequency_hz": np.hypot(error, SYSTEMATIC_HZ)},
            verdicts(len(targets), (lost, span)),
            curves=Curves(fine.frequency_hz / 1e9, fine.answer, fit.model, "drive frequency (GHz)", "answer (V)"),
        )
