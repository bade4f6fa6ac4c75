"""The chip twin behind the interface of an instrument: it checks, plays, reads out and lets laboratory time pass.

Populations at the end of a program are evolved once; results of shots are drawn from their exact distribution, without visiting shots
that nobody looks at. What drifts does so from program to program, not from shot to shot. Transmons have three levels here: a fourth would
change populations by 1e-6 after the pulses of gates, by 3e-4 at full scale up to 100 ns, and by 1e-2 after 1 us of that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.chip.bench import Bench
from tiandi.computing.chip.checks import check_program, check_settings
from tiandi.computing.chip.conditions import Conditions, conditions
from tiandi.computing.chip.drift import Drift
from tiandi.computing.chip.ensemble import equilibrium
from tiandi.computing.chip.faults import Fault, with_faults
from tiandi.computing.chip.lines import as_played
from tiandi.computing.chip.pairs import Pairs, pairs_of, play_pairs, resting_pairs
from tiandi.computing.chip.parameters import (
    DESIGN_ANHARMONICITY_HZ,
    DESIGN_COUPLER_VOLT,
    DESIGN_COUPLING_HZ,
    DESIGN_RABI_HZ,
    DESIGN_RESONATOR_HZ,
    DESIGN_VOLT,
    DRIVE_RATE_HZ,
    FLUX_RATE_HZ,
    RESONATOR_SPACING_HZ,
    FloatArray,
    Hidden,
    IntArray,
    design_qubit_hz,
    draw,
)
from tiandi.computing.chip.playing import entries_of, play, program_ns
from tiandi.computing.chip.reading import measure_program, reset_populations
from tiandi.computing.chip.truth import Truth, truth_of
from tiandi.computing.chip.xiaohong import PER_FEED_LINE, layout
from tiandi.computing.instruments.instrument import Electronics, Settings, Spectrum, copied, idle
from tiandi.computing.instruments.program import Program, Reading
from tiandi.errors import InputError
from tiandi.limits import require_each_within, require_within
from tiandi.random import twin_generator

QUBITS = 504
LEFT_OVER = 0.01
"""What the last shot leaves above equilibrium is evolved, too, where it is more than this."""
ACTIVE_RESET_NS = 2_000.0
"""Of an active reset beside its measurement and pulse: the resonator empties, the answer travels. Assumed."""
BETWEEN_PROGRAMS_S = 0.05
MONITOR_S = 0.2


class ChipTwin:
    """An Instrument. `truth` is for a judge alone."""

    def __init__(self, qubits: int, seed: int, *, faults: bool) -> None:
        plan = layout(qubits)
        hidden = draw(plan, seed)
        self._faults: tuple[Fault, ...] = ()
        if faults:
            hidden, self._faults = with_faults(hidden, seed)
        self._hidden = hidden
        self._drift = Drift(qubits, len(plan.couplers), seed)
        self._generator = twin_generator(seed, "chip", "shots")
        self._now_s = 0.0
        self._electronics = _electronics(qubits)
        self._settings = idle(self._electronics)

    @property
    def electronics(self) -> Electronics:
        """What a designer knows."""
        return self._electronics

    @property
    def now_s(self) -> float:
        """Laboratory time [s]."""
        return self._now_s

    def configure(self, settings: Settings) -> None:
        """Take all of ``settings``, or none and raise InputError."""
        check_settings(self._electronics, settings)
        self._settings = copied(settings)

    def rest(self, time_s: float) -> None:
        """Let laboratory time pass, up to a month."""
        require_within("time_s", time_s, 0.0, 30 * 86_400.0)
        self._now_s += time_s

    def monitor(self, lines: NDArray[np.int64]) -> Spectrum:
        """Leakage and image of the mixers of drive ``lines``, with the noise of the analyser (0.3 dB, and a floor of -80 dBc)."""
        numbers = require_each_within("lines", lines, 0, self._electronics.qubits - 1).astype(np.int64)
        if numbers.ndim != 1 or len(numbers) > self._electronics.qubits:
            raise InputError("lines", numbers.shape, f"must be one row of at most {self._electronics.qubits}")
        floor = 1e-4 * np.abs(self._generator.standard_normal((2, len(numbers))))
        leakage = np.abs(self._hidden.leakage + self._settings.drive_offset)[numbers] / 0.5
        image = np.abs(self._hidden.imbalance - self._settings.drive_imbalance)[numbers]
        scatter = 0.3 * self._generator.standard_normal((2, len(numbers)))
        self._now_s += MONITOR_S
        return Spectrum(
            leakage_dbc=20 * np.log10(np.hypot(leakage, floor[0])) + scatter[0],
            image_dbc=20 * np.log10(np.hypot(image, floor[1])) + scatter[1],
        )

    def run(self, program: Program) -> Reading:
        """Play ``program``; InputError where the lines cannot."""
        check_program(self._electronics, self._settings, program)
        program = as_played(self._electronics, program)
        began = self._now_s
        bench = Bench(self._hidden, self._electronics, self._settings, self.conditions())
        populations = self._played(bench, program)
        measured, iq = measure_program(bench, program, populations, self._generator)
        self._now_s += self._duration_s(program)
        return Reading(iq=iq, populations=measured, began_s=began, ended_s=self._now_s)

    def conditions(self, at_s: float | None = None, settings: Settings | None = None) -> Conditions:
        """The chip now, or at another time or under other settings; hidden from who controls it."""
        time = self._now_s if at_s is None else at_s
        return conditions(self._hidden, self._settings if settings is None else settings, self._drift.at(time))

    def truth(self, at_s: float | None = None, settings: Settings | None = None) -> Truth:
        """What is hidden, for a judge: now, or at another time or under other settings. Not part of the interface of an instrument."""
        return truth_of(self._hidden, self.conditions(at_s, settings), self._faults, self._now_s if at_s is None else at_s)

    @property
    def hidden(self) -> Hidden:
        """The parameters behind the truth, for a judge."""
        return self._hidden

    @property
    def settings(self) -> Settings:
        """A copy of what is set."""
        return copied(self._settings)

    def _played(self, bench: Bench, program: Program) -> FloatArray:
        """(T, P, 3), or with two measures (T, P, 3, 3): populations when the measurement begins.

        A second pass is made where the last shot's rest matters.
        """
        pairs = pairs_of(bench, program)
        if pairs is not None:
            return self._played_pairs(bench, program, pairs)
        qubits, target = entries_of(bench, program)
        initial = equilibrium(bench.now, qubits)[:, None, :]
        final = play(bench, program, initial, qubits, target)
        left = reset_populations(bench, program, final, qubits)
        if np.abs(left - initial).max() > LEFT_OVER:
            final = play(bench, program, left, qubits, target)
        targets = program.targets
        if len(program.measures) == 1:
            return final[:targets]
        return final[:targets, :, :, None] * final[targets : 2 * targets, :, None, :]

    def _played_pairs(self, bench: Bench, program: Program, pairs: Pairs) -> FloatArray:
        """The same of pairs, in the order of the measures."""
        initial = resting_pairs(bench, pairs)
        final = play_pairs(bench, program, pairs, initial)
        alone = np.concatenate([final.sum(axis=3), final.sum(axis=2)])
        left = reset_populations(bench, program, alone, pairs.ends.ravel())
        if np.abs(left - initial).max() > 2 * LEFT_OVER:
            final = play_pairs(bench, program, pairs, left)
        swapped = np.asarray(program.measures[0].lines) != pairs.ends[0]
        final = np.where(swapped[:, None, None, None], final.swapaxes(2, 3), final)
        return final if len(program.measures) == 2 else final.sum(axis=3)

    def _duration_s(self, program: Program) -> float:
        each = program_ns(program).max(axis=0) + max(_longest(measure.duration_ns) for measure in program.measures)
        if program.reset == "active":
            each = each + self._settings.readout_duration_ns + self._settings.reset_duration_ns + ACTIVE_RESET_NS
        else:
            each = each + program.wait_ns
        return BETWEEN_PROGRAMS_S + float(each.sum()) * program.shots * 1e-9


def chip_twin(qubits: int = QUBITS, *, seed: int = 1, faults: bool = True) -> ChipTwin:
    """A chip in the likeness of Xiaohong, just cooled down: its electronics are switched on and nothing is known of it."""
    require_within("seed", seed, 0, 2**63 - 1)
    return ChipTwin(qubits, seed, faults=faults)


def _longest(number: float | FloatArray) -> float:
    return float(np.max(number))


def _electronics(qubits: int) -> Electronics:
    plan = layout(qubits)

    def everywhere(value: float, count: int = qubits) -> FloatArray:
        return np.full(count, value)

    couplers = len(plan.couplers)
    slot: IntArray = plan.slot
    result = Electronics(
        name=f"Twin of Xiaohong, {qubits} qubits (the layout is ours: that of the true chip is unpublished)",
        qubits=qubits,
        couplers=plan.couplers,
        position=plan.position,
        feed_line=plan.feed_line,
        multiplexing=PER_FEED_LINE,
        design_qubit_hz=design_qubit_hz(plan),
        design_anharmonicity_hz=everywhere(DESIGN_ANHARMONICITY_HZ),
        design_resonator_hz=DESIGN_RESONATOR_HZ + RESONATOR_SPACING_HZ * slot.astype(float),
        design_volt_per_flux_quantum=everywhere(DESIGN_VOLT),
        design_coupler_volt_per_flux_quantum=everywhere(DESIGN_COUPLER_VOLT, couplers),
        design_coupling_hz=everywhere(DESIGN_COUPLING_HZ, couplers),
        design_rabi_hz=everywhere(DESIGN_RABI_HZ),
        drive_rate_hz=DRIVE_RATE_HZ,
        flux_rate_hz=FLUX_RATE_HZ,
        drive_bit=14,
        flux_bit=16,
        drive_band_hz=400e6,
        readout_amplitude_limit=1.0,
        flux_limit_v=1.0,
    )
    for value in vars(result).values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return result
