"""A chip twin whose single qubits are calibrated from the truth, so that tests of pairs need not bring them up first."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from tiandi.computing.chip.pair_gates import moment_unitaries
from tiandi.computing.chip.parameters import FloatArray, IntArray
from tiandi.computing.chip.readout import signals
from tiandi.computing.chip.truth import pi_amplitude
from tiandi.computing.chip.twin import ChipTwin, chip_twin
from tiandi.computing.control.experiments.frequency_allocation import allocate
from tiandi.computing.control.experiments.gates import COSINE, GATE_NS, listening
from tiandi.computing.control.experiments.pairing import Pairs, cz_moment, pairs_of
from tiandi.computing.control.experiments.pairs import pair_experiments
from tiandi.computing.control.fitting import arc_bias
from tiandi.computing.control.graph import Graph
from tiandi.computing.control.knowledge import Knowledge
from tiandi.computing.control.running import Outcome, Runner
from tiandi.computing.instruments.instrument import idle
from tiandi.computing.instruments.program import Program

QUBITS, BROKEN = 12, 7
READOUT_AMPLITUDE, READOUT_NS = 0.5, 1_000.0


def known_chip(qubits: int, *, seed: int = 3, broken: tuple[int, ...] = (), faults: bool = False) -> tuple[ChipTwin, Knowledge]:
    """A twin and the knowledge of it after perfect experiments on its qubits; the flux lines of the couplers ``broken`` reach nothing."""
    twin = chip_twin(qubits, seed=seed, faults=faults)
    hidden, electronics = twin.hidden, twin.electronics
    hidden.flux_value[np.isin(hidden.flux_column, qubits + np.array(broken, int))] = 0.0
    knowledge = Knowledge(electronics, idle(electronics))
    every = np.arange(qubits)
    _lines(twin, knowledge)
    sweet = -hidden.offset * hidden.volt
    plan = allocate(
        electronics.couplers,
        top_hz=hidden.maximum_hz,
        fixed_hz=np.full(qubits, np.nan),
        anharmonicity_hz=hidden.anharmonicity_hz,
        defects_hz=hidden.defect_hz,
    )
    knowledge.settings.flux_bias_v[:] = arc_bias(
        np.minimum(plan.frequency_hz, hidden.maximum_hz - 1e5),
        top_hz=hidden.maximum_hz,
        offset_v=sweet,
        period_v=hidden.volt,
        asymmetry=hidden.asymmetry,
        anharmonicity_hz=hidden.anharmonicity_hz,
    )
    knowledge.settings.oscillator_hz[:] = plan.frequency_hz - 100e6
    arc = {
        "top_frequency_hz": hidden.maximum_hz,
        "sweet_spot_v": sweet,
        "volt_per_flux_quantum": hidden.volt,
        "asymmetry": hidden.asymmetry,
        "anharmonicity_hz": hidden.anharmonicity_hz,
    }
    for name, value in arc.items():
        knowledge.learn("qubit", name, every, value, np.zeros(qubits), measured_s=0.0)
    retune(twin, knowledge)
    return twin, knowledge


def _lines(twin: ChipTwin, knowledge: Knowledge) -> None:
    hidden, settings = twin.hidden, knowledge.settings
    settings.flux_delay_ns[:] = hidden.drive_skew_ns - hidden.flux_skew_ns
    settings.drive_offset[:] = -hidden.leakage
    settings.drive_imbalance[:] = hidden.imbalance
    settings.predistortion_amplitude[:, : hidden.step_amplitude.shape[1]] = hidden.step_amplitude
    settings.predistortion_time_ns[:, : hidden.step_time_ns.shape[1]] = hidden.step_time_ns
    for row, column, value in zip(hidden.flux_row.tolist(), hidden.flux_column.tolist(), hidden.flux_value.tolist(), strict=True):
        if row != column and max(row, column) < hidden.qubits and value:
            settings.flux_compensation[row, column] = value


def retune(twin: ChipTwin, knowledge: Knowledge) -> None:
    """Frequencies, turns and readout as they are under the knowledge's settings."""
    hidden, qubits = twin.hidden, twin.hidden.qubits
    every: IntArray = np.arange(qubits)
    settings = deepcopy(knowledge.settings)
    now = twin.conditions(settings=settings)
    drag = 0.5e9 / (2.0 * np.pi * np.abs(hidden.anharmonicity_hz))
    turn = pi_amplitude(
        hidden, now, every, every, shape=COSINE, duration_ns=GATE_NS, drag_ns=drag, frequency_hz=now.frequency_hz
    )  # fmt: skip
    tone = now.resonator_hz[:, :2].mean(axis=1)
    amplitude, duration = np.full(qubits, READOUT_AMPLITUDE), np.full(qubits, READOUT_NS)
    read = signals(hidden, now, every, frequency_hz=tone, amplitude=amplitude, duration_ns=duration)
    settings.discriminator[:] = read.centre[:, :3]
    settings.readout_frequency_hz[:] = tone
    settings.readout_amplitude[:] = READOUT_AMPLITUDE
    values: dict[str, FloatArray] = {
        "frequency_hz": now.frequency_hz,
        "pi_amplitude": turn,
        "half_pi_amplitude": 0.5 * turn,
        "drag_ns": drag,
        "readout_frequency_hz": tone,
        "readout_amplitude": np.full(qubits, READOUT_AMPLITUDE),
        "readout_duration_ns": np.full(qubits, READOUT_NS),
    }
    for name, value in values.items():
        knowledge.learn("qubit", name, every, value, np.zeros(qubits), measured_s=twin.now_s)
    knowledge.settings = settings
    twin.configure(settings)


def runner(twin: ChipTwin, knowledge: Knowledge, *experiments: Any) -> Runner:
    """Experiments that need nothing before them, ready to run."""
    return Runner(twin, Graph([replace(one, after=()) for one in experiments]), knowledge)


def verdict_of(outcome: Outcome, element: int) -> str:
    """What an experiment said of one element; "" for good."""
    return str(outcome.verdicts[outcome.targets == element][0])


@cache
def pairs_up_to(experiment: str) -> tuple[ChipTwin, Knowledge]:
    """A dozen qubits, one coupler broken, with all experiments up to this one. Take a copy before changing it."""
    order = [*pair_experiments()]
    place = [one.name for one in order].index(experiment)
    if place == 0:
        twin, knowledge = known_chip(QUBITS, broken=(BROKEN,))
    else:
        twin, knowledge = deepcopy(pairs_up_to(order[place - 1].name))
    run = runner(twin, knowledge, order[place])
    outcome = run.run(experiment, knowledge.sound("coupler"))
    left = outcome.targets[~outcome.good]
    assert left.tolist() == ([BROKEN] if place == 0 else []), outcome.verdicts
    if experiment == "coupler-bias":
        retune(twin, knowledge)
    return twin, knowledge


def gate_errors(twin: ChipTwin, knowledge: Knowledge, couplers: IntArray) -> tuple[FloatArray, FloatArray]:
    """Of the calibrated CZ, without decay: mean error over states, and the least that other voltages nearby and any phases give."""
    error, least = np.empty(len(couplers)), np.empty(len(couplers))
    trial = [part.ravel() for part in np.meshgrid(np.linspace(-6e-3, 6e-3, 13), np.linspace(-3e-3, 3e-3, 13))]
    for place, coupler in enumerate(couplers):
        pair = pairs_of(knowledge, np.array([coupler]))
        names = ("cz_amplitude_v", "cz_qubit_amplitude_v", "cz_phase_first_rad", "cz_phase_second_rad")
        volt, qubit_volt, first, second = (knowledge[name][coupler] for name in names)
        phases = [np.zeros(1), np.array([second]), np.array([first]), np.array([first + second + np.pi])]
        error[place] = _error(twin, knowledge, pair, (np.array([[volt]]), np.array([[qubit_volt]])), phases)[0]
        least[place] = _error(twin, knowledge, pair, (volt + trial[0][None, :], qubit_volt + trial[1][None, :]), None).min()
    return error, least


def _error(
    twin: ChipTwin, knowledge: Knowledge, pair: Pairs, volts: tuple[FloatArray, FloatArray], phases: list[FloatArray] | None
) -> FloatArray:
    """(points,): 1 - (|Tr(U^+ M)|^2 + Tr(M^+ M)) / 20, Pedersen et al., doi 10.1016/j.physleta.2007.02.069, equation 3."""
    program = Program(1, volts[0].shape[1], (cz_moment(knowledge, pair, *volts),), (listening(knowledge, pair.first),), 1)
    found = moment_unitaries(twin.hidden, twin.electronics, twin.settings, twin.conditions(), program)
    single, double = found.single[0], found.double[0]
    one, other, both = np.angle(single[:, 1, 1]), np.angle(single[:, 0, 0]), np.angle(double[:, 0, 0])
    if phases is None:
        off = np.angle(-np.exp(1j * (both - one - other)))
        phases = [0.0 * off, other + 0.5 * off, one + 0.5 * off, one + other + off + np.pi]
    diagonal = [np.ones(len(single)), single[:, 0, 0], single[:, 1, 1], double[:, 0, 0]]
    trace = sum(np.exp(-1j * phase) * entry for phase, entry in zip(phases, diagonal, strict=True))
    kept = 1.0 + (np.abs(single) ** 2).sum(axis=(1, 2)) + np.abs(double[:, 0, 0]) ** 2
    return np.asarray(1.0 - (np.abs(trace) ** 2 + kept) / 20.0)
