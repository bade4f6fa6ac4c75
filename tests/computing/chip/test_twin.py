"""The chip twin: closed formulas of Rabi, T1, Ramsey and echo, determinism, refusals, faults, memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from tiandi.computing.chip.bench import Bench
from tiandi.computing.chip.drift import PERIODS_S
from tiandi.computing.chip.faults import PER_THOUSAND
from tiandi.computing.chip.parameters import DEFECTS
from tiandi.computing.chip.playing import play
from tiandi.computing.chip.truth import pi_amplitude
from tiandi.computing.chip.twin import ChipTwin, chip_twin
from tiandi.computing.chip.xiaohong import layout
from tiandi.computing.instruments.instrument import Instrument
from tiandi.computing.instruments.program import Drive, Flux, Measure, Moment, Phase, Program, Shape, Train, Wait
from tiandi.errors import InputError

QUBITS = 9
ALL = np.arange(QUBITS)


def quiet_twin() -> ChipTwin:
    """A chip without faults, crosstalk and coupling whose local oscillators lie well beside its qubits."""
    twin = chip_twin(QUBITS, seed=4, faults=False)
    hidden = twin.hidden
    alone = hidden.drive_row == hidden.drive_column
    none = np.ones(len(hidden.couplers.volt))
    twin._hidden = replace(
        hidden,
        drive_row=hidden.drive_row[alone],
        drive_column=hidden.drive_column[alone],
        drive_value=hidden.drive_value[alone],
        imbalance=0 * hidden.imbalance,
        leakage=0 * hidden.leakage,
        couplers=replace(hidden.couplers, direct_hz=0 * none, first_hz=none, second_hz=none),
    )
    settings = twin.settings
    settings.oscillator_hz = twin.truth().frequency_hz - 80e6
    twin.configure(settings)
    return twin


def played(twin: ChipTwin, steps: tuple[Moment | Train, ...], points: int) -> np.ndarray:
    """(T, P, 3): true populations before the readout, from state 0."""
    program = Program(QUBITS, points, steps, (Measure(ALL, 6.4e9, 0.1, 500.0),), 1)
    bench = Bench(twin.hidden, twin.electronics, twin.settings, twin.conditions())
    start = np.zeros((QUBITS, 1, 3))
    start[..., 0] = 1.0
    return play(bench, program, start, ALL, ALL)


def pulse(twin: ChipTwin, share: float | np.ndarray, phase: float | np.ndarray = 0.0) -> Drive:
    """``share`` of a pi pulse of 30 ns."""
    now = twin.conditions()
    whole = pi_amplitude(
        twin.hidden, now, ALL, ALL, shape=Shape(), duration_ns=30.0, drag_ns=np.full(QUBITS, 0.33), frequency_hz=now.frequency_hz
    )
    return Drive(ALL, share * whole[:, None], 30.0, now.frequency_hz[:, None], phase, 0.33)


def test_the_interface_is_that_of_an_instrument() -> None:
    instrument: Instrument = chip_twin(6)
    assert instrument.now_s == 0.0


def test_the_lattice_has_504_qubits_and_963_couplers() -> None:
    plan = layout(504)
    assert len(plan.position) == 504
    assert len(plan.couplers) == 963
    assert (np.abs(np.diff(plan.position[plan.couplers], axis=1)).sum(axis=(1, 2)) == 1).all()


def test_rabi_is_the_area_of_a_weak_pulse() -> None:
    twin = quiet_twin()
    now = twin.conditions()
    amplitude = np.linspace(0.0, 0.02, 9)
    duration = 1_000.0
    found = played(twin, ((Drive(ALL, amplitude, duration, now.frequency_hz[:, None]),),), 9)
    reach = np.abs(now.drive.diagonal())[:, None]
    angle = 2 * np.pi * reach * amplitude * 0.5 * duration * 1e-9
    assert np.abs(found[..., 1] - np.sin(angle / 2) ** 2).max() < 0.06
    assert np.abs(found[:, :3, 1] - np.sin(angle[:, :3] / 2) ** 2).max() < 0.02


def test_a_wait_relaxes_with_t1() -> None:
    twin = quiet_twin()
    time = np.linspace(0.0, 60_000.0, 13)
    found = played(twin, ((pulse(twin, 1.0),), (Wait(time),)), 13)[..., 1]
    now = twin.conditions()
    thermal = now.thermal[:, None]
    expected = thermal + (found[:, :1] - thermal) * np.exp(-time * 1e-9 / now.t1_s[:, None])
    # The third level, which the closed form leaves out, takes up to this.
    assert np.abs(found - expected).max() < 6e-3


def test_ramsey_oscillates_at_the_detuning_and_falls_with_slow_noise() -> None:
    twin = quiet_twin()
    now = twin.conditions()
    time = np.linspace(0.0, 8_000.0, 41)
    turn = 2 * np.pi * 0.5e6 * time * 1e-9
    found = played(twin, ((pulse(twin, 0.5),), (Wait(time),), (pulse(twin, 0.5, turn),)), 41)[..., 1]
    truth = twin.truth()
    seconds = time * 1e-9
    envelope = np.exp(-seconds / truth.t2_echo_s[:, None] - 0.5 * (2 * np.pi * now.slow_hz[:, None] * seconds) ** 2)
    assert np.abs(2 * found - 1 - envelope * np.cos(turn)).max() < 0.12
    detuned = replace(pulse(twin, 0.5), frequency_hz=now.frequency_hz[:, None] + 0.5e6)
    by_frequency = played(twin, ((detuned,), (Wait(time),), (detuned,)), 41)[..., 1]
    cycles = 0.5e6 * (seconds + 30e-9)
    assert np.abs(2 * by_frequency - 1 - envelope * np.cos(2 * np.pi * cycles)).max() < 0.12


def test_echo_undoes_slow_noise() -> None:
    twin = quiet_twin()
    half = 6_000.0
    ramsey = played(twin, ((pulse(twin, 0.5),), (Wait(2 * half),), (pulse(twin, 0.5),)), 1)[:, 0, 1]
    echo = played(twin, ((pulse(twin, 0.5),), (Wait(half),), (pulse(twin, 1.0),), (Wait(half),), (pulse(twin, 0.5, np.pi),)), 1)[:, 0, 1]
    expected = np.exp(-2 * half * 1e-9 / twin.truth().t2_echo_s)
    assert np.abs(np.abs(2 * echo - 1) - expected).max() < 0.05
    assert (np.abs(2 * ramsey - 1) < np.abs(2 * echo - 1) - 0.05).sum() >= QUBITS - 2


def test_a_train_is_its_moments() -> None:
    twin = quiet_twin()
    table: tuple[Moment, ...] = (
        (replace(pulse(twin, 0.5), frequency_hz=twin.conditions().frequency_hz[:, None] + 1e6),),
        (pulse(twin, 0.7, 1.1),),
        (Phase(ALL, 0.4),),
        (Wait(50.0),),
    )
    order = np.array([[[0, 2, 1, 3, 0, -1, 1, 2, 0, 3, 1]]], np.int16)
    train = played(twin, (Train(table, order),), 1)
    one_by_one = played(twin, tuple(table[row] for row in order[0, 0] if row >= 0), 1)
    assert np.abs(train - one_by_one).max() < 1e-3


def test_a_flux_pulse_turns_by_the_arc_and_a_swapped_line_does_not() -> None:
    twin = quiet_twin()
    hidden = twin.hidden
    alone = hidden.flux_row == hidden.flux_column
    twin._hidden = replace(
        hidden,
        step_amplitude=0 * hidden.step_amplitude,
        flux_row=hidden.flux_row[alone],
        flux_column=hidden.flux_column[alone],
        flux_value=hidden.flux_value[alone],
        flux_skew_ns=hidden.drive_skew_ns,
    )
    now = twin.conditions()
    time = np.linspace(0.0, 100.0, 21)
    volt = 0.08
    found = played(twin, ((pulse(twin, 0.5),), (Flux(ALL, volt, time, Shape("square")),), (pulse(twin, 0.5),)), 21)[..., 1]
    from tiandi.computing.chip.transmons import transmon_hz  # noqa: PLC0415

    parts = hidden.maximum_hz, hidden.asymmetry, hidden.anharmonicity_hz
    shift = transmon_hz(now.flux + volt / hidden.volt, *parts) - transmon_hz(now.flux, *parts)
    expected = 0.5 + 0.5 * np.cos(2 * np.pi * shift[:, None] * time * 1e-9)
    assert np.abs(found - expected).max() < 0.05


def a_program(twin: ChipTwin, outcome: str = "mean", **changes: object) -> Program:
    measure = Measure(ALL, twin.electronics.design_resonator_hz[:, None] + 4e6, 0.4, 800.0)
    program = Program(
        QUBITS, 5, ((Drive(ALL, np.linspace(0, 0.4, 5), 30.0, twin.electronics.design_qubit_hz[:, None]),),), (measure,), 200, "mean"
    )
    return replace(program, outcome=outcome, **changes)  # type: ignore[arg-type]


def test_the_same_seed_and_calls_give_the_same_readings() -> None:
    one, other, different = (chip_twin(QUBITS, seed=seed) for seed in (8, 8, 9))
    readings = [[twin.run(a_program(twin)).iq, twin.run(a_program(twin, "shots")).iq] for twin in (one, other, different)]
    assert np.array_equal(readings[0][0], readings[1][0])
    assert np.array_equal(readings[0][1], readings[1][1])
    assert not np.allclose(readings[0][0], readings[2][0])
    assert one.now_s == other.now_s > 0


def test_laboratory_time_passes_with_shots_and_everything_drifts() -> None:
    twin = chip_twin(QUBITS, seed=8, faults=False)
    reading = twin.run(a_program(twin))
    assert reading.ended_s - reading.began_s == pytest.approx(0.05 + 5 * 200 * (30 + 800 + 200_000) * 1e-9)
    before = twin.truth()
    twin.rest(6 * 3600.0)
    after = twin.truth()
    assert (before.frequency_hz != after.frequency_hz).all()
    assert np.abs(before.frequency_hz - after.frequency_hz).max() < 40e3
    assert (before.t1_s != after.t1_s).all()
    assert np.array_equal(twin.truth(0.0).frequency_hz, chip_twin(QUBITS, seed=8, faults=False).truth().frequency_hz)
    assert PERIODS_S[-1] > 86_400


def test_faults_are_in_the_truth_and_act() -> None:
    twin = chip_twin(66, seed=3)
    truth = twin.truth()
    names = {fault.fault for fault in truth.faults}
    assert names == set(PER_THOUSAND)
    for fault in truth.faults:
        if fault.fault == "drive line broken":
            assert truth.drive_line[fault.index] == -1
        if fault.fault == "drive cables swapped":
            assert truth.drive_line[fault.index] == fault.partner
        if fault.fault == "flux cables swapped":
            assert truth.flux_line[fault.index] == fault.partner
        if fault.fault == "collision":
            assert abs(truth.maximum_hz[fault.index] - truth.maximum_hz[fault.partner]) < 2e6
    sound = np.setdiff1d(np.arange(66), [fault.index for fault in truth.faults if fault.element == "qubit"])
    assert (truth.drive_line[sound] == sound).all()
    assert (truth.flux_line[sound] == sound).all()
    assert isinstance(truth.as_json()["frequency_hz"], list)


@pytest.mark.parametrize(
    ("steps", "field"),
    [
        ((Drive(ALL, 1.5, 30.0, 5.0e9),), "amplitude of a drive pulse"),
        ((Drive(ALL, np.nan, 30.0, 5.0e9),), "amplitude of a drive pulse"),
        ((Drive(ALL, 0.5, 30.0, 6.0e9),), "distance of a drive pulse"),
        ((Drive(ALL, 0.5, -3.0, 5.0e9),), "duration_ns"),
        ((Drive(ALL[:3], 0.5, 30.0, 5.0e9),), "lines of a drive pulse"),
        ((Drive(0 * ALL, 0.5, 30.0, 5.0e9),), "lines of a drive pulse"),
        ((Drive(ALL, np.zeros((4, 7)), 30.0, 5.0e9),), "amplitude of a drive pulse"),
        ((Flux(ALL, 1.2, 30.0),), "static bias plus flux pulse"),
        ((Flux(ALL, 0.2, 30.0, coupler=True),), "couplers of one program"),
        ((Wait(1e9),), "duration_ns"),
    ],
)
def test_programs_beyond_the_lines_are_refused(steps: Moment, field: str) -> None:
    twin = chip_twin(QUBITS, seed=1, faults=False)
    with pytest.raises(InputError) as caught:
        twin.run(replace(a_program(twin), steps=(steps,)))
    assert caught.value.field.startswith(field)
    assert twin.now_s == 0.0


def test_populations_need_discriminators_and_settings_are_taken_whole_or_not() -> None:
    twin = chip_twin(QUBITS, seed=1, faults=False)
    with pytest.raises(InputError, match="discriminator"):
        twin.run(a_program(twin, "populations"))
    settings = twin.settings
    settings.flux_bias_v[:] = 0.1
    settings.drive_delay_ns[2] = 1e4
    with pytest.raises(InputError, match="drive_delay_ns"):
        twin.configure(settings)
    assert (twin.settings.flux_bias_v == 0).all()
    settings.drive_delay_ns[2] = 0.0
    twin.configure(settings)
    settings.flux_bias_v[:] = 0.3
    assert (twin.settings.flux_bias_v == 0.1).all()


def test_a_monitor_sees_what_corrections_leave() -> None:
    twin = chip_twin(QUBITS, seed=1, faults=False)
    before = twin.monitor(ALL)
    settings = twin.settings
    settings.drive_offset = -twin.hidden.leakage
    settings.drive_imbalance = twin.hidden.imbalance.copy()
    twin.configure(settings)
    after = twin.monitor(ALL)
    assert (after.leakage_dbc < -60).all()
    assert (after.image_dbc < -60).all()
    assert np.median(before.image_dbc) > -45


def test_memory_grows_no_faster_than_the_chip() -> None:
    def peak(qubits: int) -> int:
        twin = chip_twin(qubits, seed=1, faults=False)
        lines = np.arange(qubits)
        drive = Drive(lines, np.linspace(0, 0.5, 21), 30.0, twin.electronics.design_qubit_hz[:, None])
        program = Program(
            qubits, 21, ((drive,),), (Measure(lines, twin.electronics.design_resonator_hz[:, None], 0.4, 800.0),), 200, "mean"
        )
        twin.run(program)
        tracemalloc.start()
        twin.run(program)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    small, large = peak(60), peak(240)
    assert large < 5.5 * small


def test_defects_are_several_for_each_qubit() -> None:
    assert chip_twin(6).hidden.defect_hz.shape == (6, DEFECTS)
