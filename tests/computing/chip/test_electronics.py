"""The electronics in front of the twin: grids of samples, steps of converters, the line of a reset; and that no program brings NaN."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tiandi.computing.chip.lines import as_played, rounded
from tiandi.computing.chip.truth import pi_amplitude
from tiandi.computing.chip.twin import ChipTwin, chip_twin
from tiandi.computing.instruments.program import Drive, Flux, Measure, Moment, Phase, Program, Shape, Train, Wait
from tiandi.errors import InputError

QUBITS = 9
ALL = np.arange(QUBITS)


def ready(seed: int, *, faults: bool) -> ChipTwin:
    """A twin whose electronics know where the clouds of 0 and 1 lie (from its truth), so that populations can be asked for."""
    twin = chip_twin(QUBITS, seed=seed, faults=faults)
    settings = twin.settings
    settings.discriminator[:, :2] = (0.0, 0.01j)
    settings.readout_amplitude[:] = 0.4
    settings.reset_amplitude[:] = 0.5
    twin.configure(settings)
    return twin


def test_times_are_whole_samples_of_their_lines_and_flux_has_whole_steps() -> None:
    twin = chip_twin(QUBITS, seed=1, faults=False)
    time = np.array([10.4, 11.2, 12.6])
    moment: Moment = (
        Drive(ALL, 0.1, time, 5.0e9, start_ns=0.9),
        Flux(ALL, 0.123456789, time, start_ns=0.6),
        Wait(time),
        Phase(ALL, 0.3),
    )
    program = Program(QUBITS, 3, (moment, Train((moment,), np.zeros((1, 3, 1), np.int16))), (Measure(ALL, 6.4e9, 0.1, 500.4),), 1, "mean")
    played = as_played(twin.electronics, program)
    for drive, flux, wait, phase in (played.steps[0], played.steps[1].table[0]):  # type: ignore[misc, union-attr]
        assert drive.duration_ns.tolist() == [10.0, 12.0, 12.0]  # type: ignore[union-attr]
        assert drive.start_ns == 0.0  # type: ignore[union-attr]
        assert flux.duration_ns.tolist() == [10.0, 11.0, 13.0]  # type: ignore[union-attr]
        assert flux.start_ns == 1.0  # type: ignore[union-attr]
        assert wait.duration_ns.tolist() == [10.0, 11.0, 13.0]  # type: ignore[union-attr]
        # 16 bits over -1 to 1 V.
        assert flux.amplitude * 2**15 == round(0.123456789 * 2**15)  # type: ignore[union-attr]
        assert phase is moment[3]
    assert played.measures[0].duration_ns == 500.0
    # A reading cannot tell durations that become the same samples.
    exact = replace(program, steps=played.steps, measures=played.measures)
    other = chip_twin(QUBITS, seed=1, faults=False)
    assert np.array_equal(twin.run(program).iq, other.run(exact).iq)  # type: ignore[arg-type]


def test_rounding_keeps_what_does_not_change_by_construction() -> None:
    wide = np.broadcast_to(np.array([[1.4], [2.6]]), (2, 1_000))
    assert rounded(wide, 1.0).strides == wide.strides  # type: ignore[union-attr]
    assert rounded(1.3, 0.5) == 1.5


def test_a_flux_line_cannot_make_less_than_half_a_step() -> None:
    """Of a coarse converter the least amplitudes do nothing, and the qubit does not move."""
    twin = chip_twin(QUBITS, seed=1, faults=False)
    coarse = replace(twin.electronics, flux_bit=6)
    amplitudes = [as_played(coarse, a_flux_program(volt)).steps[0][0].amplitude for volt in (0.015, 0.016, 0.04)]  # type: ignore[index, union-attr]
    assert amplitudes == [0.0, 0.03125, 0.03125]


def a_flux_program(volt: float) -> Program:
    return Program(QUBITS, 1, ((Flux(ALL, volt, 40.0),),), (Measure(ALL, 6.4e9, 0.1, 500.0),), 1, "mean")


def test_swapped_drive_cables_can_be_reset_over_each_others_line() -> None:
    twin = next(twin for seed in range(1, 40) if (twin := chip_twin(16, seed=seed)) and swapped(twin))
    one, other = swapped(twin)
    settings, truth = twin.settings, twin.truth()
    read = truth.resonator_hz + 0.5 * truth.dispersive_shift_hz
    settings.oscillator_hz[[one, other]] = truth.frequency_hz[[one, other]].mean() - 60e6
    settings.readout_frequency_hz[:], settings.readout_amplitude[:] = read, 0.4
    now = twin.conditions(settings=settings)
    pair = np.array([one, other])
    line = np.array([other, one])
    tone = now.frequency_hz[pair]
    turn = pi_amplitude(twin.hidden, now, pair, line, shape=Shape(), duration_ns=30.0, drag_ns=np.full(2, 0.33), frequency_hz=tone)
    settings.reset_amplitude[pair], settings.reset_frequency_hz[pair] = turn, tone
    twin.configure(settings)
    measure = Measure(pair, read[pair, None], 0.4, 1_000.0)
    # The clouds of 0 and 1, as a laboratory finds them.
    drive = Drive(line, np.stack([0 * turn, turn], axis=1), 30.0, tone[:, None], 0.0, 0.33)
    clouds = twin.run(Program(2, 2, ((drive,),), (measure,), 4_000, "mean")).iq
    assert clouds is not None
    settings.discriminator[pair, :2] = clouds[0]
    program = Program(2, 1, ((Drive(line, turn[:, None], 30.0, tone[:, None], 0.0, 0.33),),), (measure,), 20_000, reset="active")

    def left_excited(reset_line: np.ndarray) -> np.ndarray:
        settings.reset_line[pair] = reset_line
        twin.configure(settings)
        answer = twin.run(program).populations
        assert answer is not None
        # Shots that begin in 1 are turned to 0: what a failed reset leaves.
        return answer[:, 0, 0]

    assert (left_excited(line) < left_excited(pair) - 0.2).all()


def swapped(twin: ChipTwin) -> tuple[int, int] | None:
    for fault in twin.truth().faults:
        if fault.fault == "drive cables swapped":
            return fault.index, fault.partner
    return None


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("reset_line", np.full(QUBITS, QUBITS), "reset_line"),
        ("reset_line", np.full(QUBITS, 0.5), "reset_line"),
        ("reset_line", np.arange(3), "reset_line"),
        ("reset_frequency_hz", np.full(QUBITS, 1e30), "reset_frequency_hz"),
        ("readout_frequency_hz", np.full(QUBITS, 0.0), "readout_frequency_hz"),
        ("flux_bias_v", [0.0] * QUBITS, "flux_bias_v"),
        ("drive_offset", np.array(["a"] * QUBITS), "drive_offset"),
    ],
)
def test_settings_of_a_wrong_kind_are_refused_and_leave_the_old_ones(name: str, value: object, field: str) -> None:
    twin = chip_twin(QUBITS, seed=1, faults=False)
    settings = twin.settings
    setattr(settings, name, value)
    with pytest.raises(InputError, match=field):
        twin.configure(settings)
    twin.run(a_flux_program(0.1))


@pytest.mark.parametrize(
    ("moment", "field"),
    [
        ((Drive(ALL, 0.1, 6e5, 5.0e9),), "duration_ns"),
        ((Drive(ALL, 0.1j, 30.0, 5.0e9),), "amplitude of a drive pulse"),  # type: ignore[arg-type]
        ((Wait("long"),), "duration_ns"),  # type: ignore[arg-type]
        ((Flux(ALL, 0.1, 30.0, Shape("slepian", 0.0, 0.8, 0.1, -0.5)),), "second_cosine and third_cosine"),
    ],
)
def test_what_no_line_can_play_is_refused(moment: Moment, field: str) -> None:
    twin = chip_twin(QUBITS, seed=1, faults=False)
    with pytest.raises(InputError) as caught:
        twin.run(replace(a_flux_program(0.1), steps=(moment,)))
    assert caught.value.field == field


times = st.sampled_from([0.0, 1e-12, 0.4, 1.0, 2.0, 3.0, 17.0, 50.0, 61.0, 400.0, 20_000.0])
shapes = st.sampled_from(
    [Shape(), Shape("flattop"), Shape("flattop", 2.0), Shape("flattop", 1e6), Shape("slepian"), Shape("gaussian"), Shape("square")]
)
volts = st.sampled_from([0.0, 1e-9, 0.02, -0.3, 0.8])
drives = st.builds(
    Drive,
    st.just(ALL),
    st.sampled_from([0.0, 1e-9, 0.05, 0.5, -0.7, 0.95]),
    times,
    st.sampled_from([4.85e9, 4.975e9, 5.05e9]),
    st.sampled_from([0.0, 1.0, -3.0]),
    st.sampled_from([0.0, 0.33, -20.0]),
    shapes,
    st.sampled_from([0.0, 0.3, 30.0]),
)
fluxes = st.builds(Flux, st.just(ALL), volts, times, shapes, st.just(False), st.sampled_from([0.0, 0.3, 30.0]))
operations = st.one_of(drives, fluxes, st.builds(Wait, times), st.builds(Phase, st.just(ALL), st.just(0.4)))
moments = st.lists(operations, max_size=3).map(tuple)
TWINS = [ready(seed, faults=faults) for seed, faults in ((1, False), (2, True), (5, True))]


@hypothesis_settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(TWINS),
    st.lists(moments, max_size=3),
    st.booleans(),
    st.sampled_from(["wait", "active"]),
    st.sampled_from([20.0, 900.0]),
)
def test_every_program_that_is_taken_gives_distributions(
    twin: ChipTwin, table: list[Moment], as_train: bool, reset: str, read_ns: float
) -> None:
    order = np.array([[[0, len(table) - 1, -1]] * 2], np.int16)
    steps = (Train(tuple(table), order),) if as_train and table else tuple(table)
    middle = twin.settings
    middle.oscillator_hz[:] = 4.975e9
    twin.configure(middle)
    measure = Measure(ALL, 6.4e9, np.array([0.0, 1.0]), read_ns)
    program = Program(QUBITS, 2, steps, (measure,), 50, reset=reset)  # type: ignore[arg-type]
    found = twin.run(program).populations
    assert found is not None
    assert found.sum(axis=-1) == pytest.approx(1.0)
    assert np.isfinite(twin.run(replace(program, outcome="mean")).iq).all()  # type: ignore[arg-type]
    assert np.isfinite(twin.run(replace(program, outcome="shots", shots=3)).iq).all()  # type: ignore[arg-type]


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.sampled_from(TWINS), times, times, volts, volts, shapes, st.booleans(), st.sampled_from([0, 4, 8]))
def test_every_program_on_pairs_gives_distributions(  # noqa: PLR0917
    twin: ChipTwin, first: float, second: float, volt: float, other: float, shape: Shape, as_train: bool, coupler: int
) -> None:
    line = np.array([coupler])
    one, two = (np.array([end]) for end in twin.electronics.couplers[coupler])
    drive = Drive(one, 0.4, first, float(twin.settings.oscillator_hz[one[0]]))
    pulse = (Flux(line, volt, first, shape, coupler=True), Flux(two, other, second, shape, start_ns=0.5))
    table: tuple[Moment, ...] = ((drive,), pulse, (Wait(second),))
    steps = (Train(table, np.array([[[0, 1, 2, 1], [1, 1, 0, -1]]], np.int16)),) if as_train else table
    read = twin.electronics.design_resonator_hz
    measures = (Measure(one, float(read[one[0]]), 0.4, 500.0), Measure(two, float(read[two[0]]), 0.4, 500.0))
    found = twin.run(Program(1, 2, steps, measures, 50)).populations
    assert found is not None
    assert found.sum(axis=(-1, -2)) == pytest.approx(1.0)
