"""Ramsey fringes (doi 10.1103/PhysRev.78.695): the qubit's frequency, and the decay of its phase.

The second half turn is played with a phase that runs as if the drive were ``artificial`` lower, so that the fringes are faster by as
much: their frequency less the artificial one is the qubit's detuning, with its sign, as long as it is smaller. A short window finds a
qubit that spectroscopy left within some megahertz, a long one makes it exact. The long one is played twice: its first pass tells how long
it may be. A fringe of many periods looks the same where the qubit has moved by the frequency of its steps, or by more than the artificial
one to the other side: both quadratures after three short delays, each of which says how many turns the next one has made, tell first where
the qubit is.

Shots. With an unknown frequency, phase, contrast, offset, fast and slow decay, and N points of M shots spread evenly to 1.6 T, the
Cramer-Rao bounds (computed for a contrast of 0.9) are 1.2 / (T sqrt(N M)) for the frequency and, as relative error of the time T of 1/e,
6.4 / sqrt(N M) at worst. At T = 10 us and 81 x 2,500 shots these are 0.3 kHz and 1.4 %: 5 kHz and 5 % lie beyond three standard
deviations.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiandi.computing.control.diagnosing import Diagnosis, diagnose, explained
from tiandi.computing.control.experiment import Curves, Findings, Measurement, Request
from tiandi.computing.control.experiments.fringe_fit import fit_fringes
from tiandi.computing.control.experiments.gates import GATE_NS, along_axis, averaging, counting, excited, gates, in_parts
from tiandi.computing.control.experiments.node import HOUR_S, QuietNeighbours, column, known, verdicts
from tiandi.computing.control.fitting import fit_damped_cosine, shot_noise
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.instruments.program import FloatArray, IntArray, Program, Reading, Wait

NS = 1e-9
COARSE_NS, COARSE_POINTS, COARSE_SHOTS, COARSE_ARTIFICIAL_HZ = 400.0, 49, 1_000, 8e6
LONG_POINTS, LONG_SHOTS = 81, 2_500
FIRST_NS = 6_000.0
"""Window of the first of the long passes."""
PERIODS = 12.0
"""Artificial fringes in a long window."""
DECAYS = 1.6
"""Length of the last window in units of the decay time found."""
LONGEST_NS = 150_000.0
PARTS = 3
CLEAR = 4.0
NEAR_NS = (30.0, 150.0, 700.0)
"""Short delays: the first tells up to 8 MHz, a tenth of a turn on it is less than half a turn on the next."""
NEAR_SHOTS = 1_000
QUADRATURES = np.arange(4) * 0.5 * np.pi
FAINT = 0.2
"""Contrast of a fringe below which readout or turns are no longer as they were calibrated."""


def fringes(
    knowledge: Knowledge, targets: IntArray, delay_ns: FloatArray, artificial_hz: FloatArray, shots: int, *, mean: bool = False
) -> Program:
    """Half turn, wait, half turn. delay_ns: (targets, points); artificial_hz: (targets,).

    A phase of a pulse that grows in time is a lower frequency: a tone goes as exp(-2 pi i frequency t), its envelope as exp(i phase).
    """
    gate = gates(knowledge, targets)
    phase = 2.0 * np.pi * column(artificial_hz) * delay_ns * NS
    steps = ((gate.half(),), (Wait(delay_ns),), (gate.half(phase),))
    build = averaging if mean else counting
    return build(knowledge, targets, delay_ns.shape[1], steps, shots)


def nearby(knowledge: Knowledge, targets: IntArray) -> Generator[Request, Any, tuple[FloatArray, FloatArray]]:
    """(targets,) each: detuning of the qubits in Hz, to some 10 kHz within 8 MHz, and the contrast of the shortest fringe."""
    gate = gates(knowledge, targets)
    delay, phase = (axis.ravel()[None, :] for axis in np.meshgrid(NEAR_NS, QUADRATURES, indexing="ij"))
    steps = ((gate.half(),), (Wait(delay),), (gate.half(phase),))
    reading: Reading = yield counting(knowledge, targets, delay.shape[1], steps, NEAR_SHOTS)
    phasor = (excited(reading).reshape(len(targets), len(NEAR_NS), 4) * np.exp(-1j * QUADRATURES)).sum(axis=2)
    detuning = np.zeros(len(targets))
    for number, time_ns in enumerate(NEAR_NS):
        # A gate of a cosine counts half; the two half turns stand for one.
        period_s = (time_ns + GATE_NS) * NS
        rest = np.angle(phasor[:, number] * np.exp(-2j * np.pi * detuning * period_s))
        detuning = detuning + rest / (2.0 * np.pi * period_s)
    return detuning, np.abs(phasor[:, 0])


@dataclass(frozen=True)
class RamseyCoarse(QuietNeighbours):
    """frequency_hz to some 50 kHz; heard by the mean, for it comes before readout is calibrated."""

    name: str = "ramsey-coarse"
    title: str = "Ramsey fringes, short window"
    after: tuple[str, ...] = ("rabi",)
    valid_s: float = 720.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        delay = np.broadcast_to(np.linspace(0.0, COARSE_NS, COARSE_POINTS), (len(targets), COARSE_POINTS))
        artificial = np.full(len(targets), COARSE_ARTIFICIAL_HZ)
        reading: Reading = yield fringes(knowledge, targets, delay, artificial, COARSE_SHOTS, mean=True)
        signal = along_axis(reading)
        fit = fit_damped_cosine(delay * NS, signal, lowest=0.0 * artificial, highest=2.0 * artificial)
        still = ~fit.good | (fit.swing < CLEAR * fit.noise)
        far = np.abs(fit["frequency"] - artificial) > 0.9 * artificial
        why = explained(still, diagnose(fit, "oscillation", unit="s"), "the signal scatters as much as it oscillates")
        found = Diagnosis.clean(len(targets))
        found.blame(still, f"no fringes within {COARSE_NS:.0f} ns, for the phase decays sooner or the half turn is none: {{why}}", why=why)
        found.blame(far, f"detuned by nearly {COARSE_ARTIFICIAL_HZ / 1e6:.0f} MHz: the sign is not sure")
        return Findings(
            {"frequency_hz": knowledge["frequency_hz"][targets] + fit["frequency"] - artificial},
            {"frequency_hz": fit.uncertainties["frequency"]},
            found.verdicts,
            repairs={next((one for one in self.after if "spectroscopy" in one), "idle-spectroscopy"): targets[still | far]},
            curves=Curves(delay, signal, fit.model, "delay (ns)", "signal (V)"),
        )


@dataclass(frozen=True)
class Ramsey(QuietNeighbours):
    """frequency_hz and t2_ramsey_s."""

    name: str = "ramsey"
    title: str = "Ramsey fringes, long window"
    after: tuple[str, ...] = ("ramsey-coarse", "discrimination")
    valid_s: float = 1.0 * HOUR_S

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        before = knowledge["frequency_hz"][targets].copy()
        near, contrast = yield from nearby(knowledge, targets)
        window = np.clip(DECAYS * known(knowledge, "t2_ramsey_s", targets, FIRST_NS * NS / DECAYS) / NS, 1_000.0, LONGEST_NS)
        for shots in (LONG_SHOTS // 8, LONG_SHOTS):
            delay = column(window) * np.linspace(0.0, 1.0, LONG_POINTS)
            artificial = PERIODS / (window * NS)
            reading = yield from in_parts(fringes(knowledge, targets, delay, artificial - near, shots), PARTS)
            signal = excited(reading)
            fit = fit_fringes(delay * NS, signal, shot_noise(signal, shots), highest_hz=2.0 * artificial)
            # Weights out of the data favour what fell low by chance; those out of the fit do not.
            expected = np.clip(np.where(fit.good[:, None], fit.model, signal), 0.0, 1.0)
            fit = fit_fringes(delay * NS, signal, shot_noise(expected, shots), highest_hz=2.0 * artificial)
            window = np.where(fit.good, np.clip(DECAYS * fit.time_s / NS, 0.3 * window, 6.0 * window), window)
            window = np.clip(window, 1_000.0, LONGEST_NS)
        detuning = fit.frequency_hz - artificial + near
        gone = contrast < FAINT
        still = ~fit.good | (fit.swing < CLEAR * fit.noise)
        far = np.abs(detuning - near) > 0.9 * artificial
        return Findings(
            {"frequency_hz": before + detuning, "t2_ramsey_s": fit.time_s},
            {"frequency_hz": fit.frequency_error_hz, "t2_ramsey_s": fit.time_error_s},
            verdicts(
                len(targets),
                (gone, f"no fringe after {NEAR_NS[0]:.0f} ns: the half turns are none, or the readout no longer tells states"),
                (still, "no fringes in the long window: the phase decays within the first steps"),
                (far, "the long window does not bear out what short delays tell of the frequency"),
                (fit.time_s > 3.0 * delay[:, -1] * NS, f"the decay is longer than the scanned {LONGEST_NS / 1e3:.0f} us tell"),
            ),
            curves=Curves(delay, signal, fit.model, "delay (ns)", "population not 0"),
            repairs={next((one for one in reversed(self.after) if one.startswith("ramsey")), "ramsey-coarse"): targets[gone | far]},
            reported=frozenset({"t2_ramsey_s"}),
        )
