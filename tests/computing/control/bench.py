"""A small laboratory: qubits that answer drive pulses as sin^2, each with a gain of its own that drifts. It is exact and fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.control.experiment import Curves, Findings, Measurement
from tiandi.computing.control.fitting import fit_damped_cosine, shot_noise
from tiandi.computing.control.knowledge import Element, Flag, Knowledge
from tiandi.computing.instruments.instrument import Electronics, Settings, Spectrum, idle
from tiandi.computing.instruments.program import Drive, IntArray, Measure, Program, Reading
from tiandi.errors import InputError

SHOTS = 400


def electronics(rows: int = 3, columns: int = 4, *, multiplexing: int = 8) -> Electronics:
    """A square of qubits, one feed line for each row."""
    qubits = rows * columns
    number = np.arange(qubits).reshape(rows, columns)
    across = np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()], axis=1)
    down = np.stack([number[:-1].ravel(), number[1:].ravel()], axis=1)
    couplers = np.concatenate([across, down])
    pairs = len(couplers)
    return Electronics(
        "bench", qubits, couplers, np.stack([number.ravel() // columns, number.ravel() % columns], axis=1), number.ravel() // columns,
        multiplexing, np.linspace(4.8e9, 5.2e9, qubits), np.full(qubits, -2.5e8), np.full(qubits, 6.5e9), np.ones(qubits), np.ones(pairs),
        np.full(pairs, 1e7), np.full(qubits, 5e7), 5e8, 1e9, 14, 14, 4e8, 0.5, 2.0,
    )  # fmt: skip


@dataclass(eq=False)
class Bench:
    """An instrument: P1 = sin^2(pi/2 gain amplitude) for the pulses of a program added up, with shot noise."""

    electronics: Electronics
    gain: NDArray[np.float64]
    drift: NDArray[np.float64]
    """Change of the gain per second."""
    now_s: float = 0.0
    settings: Settings | None = None
    programs: list[Program] = field(default_factory=list)
    refuses: frozenset[int] = frozenset()
    lost: bool = False
    """Whether nobody answers any more."""
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    @classmethod
    def of(cls, chip: Electronics, *, refuses: frozenset[int] = frozenset()) -> Bench:
        return cls(chip, np.linspace(0.8, 1.2, chip.qubits), np.zeros(chip.qubits), refuses=refuses)

    def configure(self, settings: Settings) -> None:
        if not np.isfinite(settings.flux_bias_v).all():
            raise InputError("flux_bias_v", settings.flux_bias_v, "must be finite")
        self.settings = settings

    def run(self, program: Program) -> Reading:
        if self.lost:
            raise ConnectionResetError
        self.programs.append(program)
        lines = program.measures[0].lines
        bad = sorted(self.refuses & set(lines.tolist()))
        if bad:
            raise InputError("line", bad[0], "is broken")
        began = self.now_s
        amplitude = np.zeros((program.targets, program.points))
        for moment in program.steps:
            for one in moment:
                if isinstance(one, Drive):
                    amplitude = amplitude + one.amplitude
        gain = (self.gain + self.drift * self.now_s)[lines]
        one = np.sin(0.5 * np.pi * gain[:, None] * amplitude) ** 2
        share = self.random.binomial(program.shots, one) / program.shots
        self.now_s += 1.0
        return Reading(populations=np.stack([1.0 - share, share, np.zeros_like(share)], axis=2), began_s=began, ended_s=self.now_s)

    def monitor(self, lines: NDArray[np.int64]) -> Spectrum:
        return Spectrum(np.full(len(lines), -60.0), np.full(len(lines), -60.0))

    def rest(self, time_s: float) -> None:
        self.now_s += time_s


def programme(knowledge: Knowledge, targets: IntArray, amplitude: NDArray[np.float64]) -> Program:
    """One pulse, one measurement."""
    drive = Drive(targets, amplitude, 30.0, knowledge.electronics.design_qubit_hz[targets][:, None])
    measure = Measure(targets, 6.5e9, 0.1, 1_000.0)
    return Program(len(targets), amplitude.shape[1], ((drive,),), (measure,), SHOTS)


@dataclass(frozen=True)
class Node:
    """An experiment made of whatever a test wants."""

    name: str
    after: tuple[str, ...] = ()
    element: Element = "qubit"
    valid_s: float = 1e6
    pairs: Callable[[Knowledge], IntArray] | None = None
    does: Callable[[Knowledge, IntArray], Measurement] | None = None
    watches: str = ""

    @property
    def title(self) -> str:
        return f"Test of {self.name}"

    def exclusion(self, knowledge: Knowledge) -> IntArray | None:
        return None if self.pairs is None else self.pairs(knowledge)

    def measure(self, knowledge: Knowledge, targets: IntArray) -> Measurement:
        if self.does is not None:
            return self.does(knowledge, targets)
        return succeed(targets)


def succeed(targets: IntArray, flags: tuple[Flag, ...] = (), **values: NDArray[np.float64]) -> Measurement:
    """Good findings without asking anything."""
    return Findings(values, {}, np.full(len(targets), "", object), list(flags))
    yield


def rabi(knowledge: Knowledge, targets: IntArray) -> Measurement:
    """pi_amplitude from an oscillation over the amplitude."""
    amplitude = np.linspace(0.0, 4.0, 41) * np.ones((len(targets), 1))
    reading = yield programme(knowledge, targets, amplitude)
    signal = reading.populations[:, :, 1]
    fit = fit_damped_cosine(amplitude, signal, shot_noise(signal, SHOTS), envelope="none", phase=np.pi)
    turn = 0.5 / fit["frequency"]
    error = turn * fit.uncertainties["frequency"] / fit["frequency"]
    verdicts = np.where(fit.good, "", "no oscillation").astype(object)
    return Findings(
        {"pi_amplitude": turn}, {"pi_amplitude": error}, verdicts, curves=Curves(amplitude, signal, fit.model, "amplitude", "share")
    )


def check(knowledge: Knowledge, targets: IntArray) -> Measurement:
    """Two points: a turn leaves no 0."""
    reading = yield programme(knowledge, targets, knowledge["pi_amplitude"][targets][:, None] * np.array([1.0, 3.0]))
    wrong = reading.populations[:, 1, 0] > 0.05
    return Findings({}, {}, np.where(wrong, "a turn is none", "").astype(object))


def cold(chip: Electronics) -> Knowledge:
    return Knowledge(chip, idle(chip))
