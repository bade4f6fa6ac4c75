"""cqlib's pulses: its waves against numbers that cqlib 1.3.11 gives, the text both ways, and texts played on the twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tiandi.computing.chip.bench import Bench
from tiandi.computing.chip.pairs import pairs_of, play_pairs, resting_pairs
from tiandi.computing.chip.playing import entries_of, play
from tiandi.computing.chip.twin import ChipTwin, chip_twin
from tiandi.computing.instruments.instrument import idle
from tiandi.computing.instruments.program import Drive, Flux, Measure, Program, Shape, Train, Wait
from tiandi.computing.instruments.pulse_text import gate_parameters, gate_text, lines_of, text_of
from tiandi.computing.instruments.pulses import read_pulses, write_pulses
from tiandi.computing.instruments.waveforms import envelope
from tiandi.errors import InputError

TWIN = chip_twin(9, seed=4, faults=False)
CHIP = TWIN.electronics


def frequency(qubit: int) -> float:
    return float(CHIP.design_qubit_hz[qubit])


def test_a_cosine_is_that_of_cqlib() -> None:
    given_by_cqlib = [0.0, 0.047746, 0.172746, 0.327254, 0.452254, 0.5, 0.452254, 0.327254, 0.172746, 0.047746, 0.0]
    assert 0.5 * envelope(lines_of("PXY Q0 0 10 0.5 5e9 0 0")[0].shape(), np.arange(11), 10.0) == pytest.approx(given_by_cqlib, abs=1e-6)


def test_a_slepian_is_that_of_cqlib() -> None:
    # cqlib takes the sample before the place (by up to a part in 1,024 of the pulse); where the wave is steep that is the difference.
    given_by_cqlib = [0.0, 0.383639, 0.442522, 0.466254, 0.479128, 0.487214, 0.492432, 0.495945, 0.498235, 0.499547, 0.5]
    shape = lines_of("PZ G0 2 20 0.5 0 0.864 0.05 -0.18 0.04")[0].shape()
    assert 0.5 * envelope(shape, np.arange(11), 20.0) == pytest.approx(given_by_cqlib, abs=3e-3)


def test_a_flattop_has_the_area_of_that_of_cqlib() -> None:
    given_by_cqlib = [0.001178, 0.014887, 0.08654, 0.25, 0.41346, 0.485113, 0.498822, 0.499959, 0.499999, 0.5]
    mine = 0.5 * envelope(lines_of("PZ Q0 1 19 0.5 0 6")[0].shape(), np.arange(20), 19.0)
    assert mine.sum() == pytest.approx(2 * sum(given_by_cqlib), rel=2e-3)
    assert np.abs(mine[:10] - given_by_cqlib).max() < 0.06


def populations(twin: ChipTwin, program: Program) -> np.ndarray:
    bench = Bench(twin.hidden, twin.electronics, twin.settings, twin.conditions())
    pairs = pairs_of(bench, program)
    if pairs is not None:
        return play_pairs(bench, program, pairs, resting_pairs(bench, pairs))
    qubits, target = entries_of(bench, program)
    start = np.zeros((len(qubits), 1, 3))
    start[..., 0] = 1.0
    return play(bench, program, start, qubits, target)


def test_a_text_plays_as_the_moments_it_stands_for() -> None:
    one, other = frequency(0), frequency(2)
    text = f"""
    PXY Q0 0 30 0.3 {one} 0 -0.165 0   // a half turn
    PXY Q2 0 20 0.2 {other} 0.5 0
    RZ Q0 0.7
    I Q0 200
    PZ Q2 1 40 -0.05 0 3
    B Q0 Q2
    PXY Q0 0 30 0.3 {one} 0 -0.165
    M Q0 Q2
    """
    program = read_pulses(text, CHIP, idle(CHIP), shots=100, outcome="mean")
    two = np.array([0, 2])
    column = lambda first, second: np.array([[first], [second]])  # noqa: E731
    tones = column(one, other)
    by_hand = Program(
        2,
        1,
        (
            (
                Drive(two, column(0.3, 0.2), column(30.0, 20.0), tones, column(0.0, 0.5), column(0.33, 0.0)),
                Flux(two, column(0.0, -0.05), column(0.0, 40.0), Shape("flattop", 3.0), start_ns=column(0.0, 20.0)),
                Wait(60.0),
            ),
            (Wait(170.0),),
            (Drive(two, column(0.3, 0.0), column(30.0, 0.0), tones, column(-0.7, 0.0), column(0.33, 0.0)), Wait(30.0)),
        ),
        program.measures,
        100,
        "mean",
    )
    assert np.abs(populations(TWIN, program) - populations(TWIN, by_hand)).max() < 2e-4
    assert (program.measures[0].lines == two).all()
    assert TWIN.run(program).iq is not None


def test_rz_turns_as_a_rotation_about_z() -> None:
    """Half turn, RZ(pi), half turn: nothing; RZ(pi / 2) before a half turn about y makes it one about x."""
    quiet = chip_twin(9, seed=4, faults=False)
    now = quiet.conditions()
    amplitude = 0.25e9 / (0.5 * 30.0 * abs(now.drive[0, 0]))
    half = f"PXY Q0 0 30 {amplitude:.8f} {now.frequency_hz[0]:.0f} {{}} -0.165"

    def excited(text: str) -> float:
        return float(populations(quiet, read_pulses(text + "\nM Q0", CHIP, idle(CHIP), shots=1, outcome="mean"))[0, 0, 1])

    first = half.format("0")
    assert excited(f"{first}\n{first}") > 0.97
    assert excited(f"{first}\nRZ Q0 3.14159265\n{first}") < 0.03
    assert excited(f"{first}\nRZ Q0 1.57079633\n{half.format('1.57079633')}") > 0.97
    assert excited(f"{first}\nRZ Q0 1.57079633\n{half.format('-1.57079633')}") < 0.03


def test_a_gate_of_cqlib_on_a_pair_becomes_a_program() -> None:
    first, second = CHIP.couplers[3]
    gate = {
        "qubit0": f"Q{first}", "qubit1": f"Q{second}", "coupler": "G3", "qubit_call_mapper": 0, "coupler_off_call_mapper": 0,
        "coupler_call_mapper": 0, "pad_time_left": 2, "pad_time_right": 2, "detune_wave_class": "1", "detune_length": 46,
        "qubit0_detune_amplitude": -0.05, "qubit1_detune_amplitude": 0.0, "detune_extra_param": 4, "qubit0_dynamic_phase": 0.3,
        "qubit1_dynamic_phase": -0.2, "coupler_detune_amplitude": 0.1, "cz_wave_class": "2", "cz_length": 40, "cz_amplitude": 0.2,
        "coupler_detune_longer_left": 3, "coupler_detune_longer_right": 3, "cz_extra_param": [0.864, 0.05, -0.18, 0.04],
    }  # fmt: skip
    text = gate_text(gate)
    program = read_pulses(f"{text}\nM Q{first} Q{second}", CHIP, idle(CHIP), shots=50, outcome="mean")
    assert program.targets == 1
    flux = [part for moment in program.steps for part in moment if isinstance(part, Flux)]  # type: ignore[union-attr]
    assert sorted(part.coupler for part in flux) == [False, False, True, True]
    # PZ0 takes no time: the coupler's second pulse begins 3 ns into the first.
    begins = {part.shape.kind: float(np.max(part.start_ns)) for part in flux if part.coupler}
    assert begins == {"flattop": 0.0, "slepian": 3.0}
    shares = populations(TWIN, program)
    assert shares.sum() == pytest.approx(1.0, abs=1e-6)
    assert TWIN.run(program).iq is not None
    again = read_pulses(write_pulses(program, CHIP), CHIP, idle(CHIP), shots=50, outcome="mean")
    assert np.abs(populations(TWIN, again) - shares).max() < 1e-6


def test_parameters_of_a_half_turn_go_both_ways() -> None:
    given_by_cqlib = {
        "qubit": "Q3", "qubit_channel": "xy", "wave_class": "0", "length": 30, "amplitude": 0.27, "phase": 0, "drag_alpha": -0.17,
        "extra_param": 0.0, "frequency": 5.05e9,
    }  # fmt: skip
    assert gate_parameters(lines_of(gate_text(given_by_cqlib))[0]) == given_by_cqlib
    with pytest.raises(InputError, match="drag_alpha"):
        gate_text({key: value for key, value in given_by_cqlib.items() if key != "drag_alpha"})


pulse = st.tuples(
    st.integers(0, 8),
    st.sampled_from([0, 1, 2]),
    st.integers(0, 60),
    st.floats(-0.4, 0.4),
    st.floats(-3.1, 3.1),
    st.booleans(),
)


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.lists(pulse, max_size=6))
def test_what_is_written_reads_as_the_same_program(pulses: list[tuple[int, int, int, float, float, bool]]) -> None:
    extra = {0: "", 1: "3.5", 2: "0.864 0.05 -0.18 0.04"}
    lines = [
        f"PXY Q{qubit} {wave} {length} {amplitude} {frequency(qubit)} {phase} 0.1 {extra[wave]}"
        if drive
        else f"PZ{'0' * (length % 2)} Q{qubit} {wave} {length} {amplitude} 0 {extra[wave]}"
        for qubit, wave, length, amplitude, phase, drive in pulses
    ]
    program = read_pulses("\n".join([*lines, "M Q0 Q5"]), CHIP, idle(CHIP), shots=1, outcome="mean")
    try:
        text = write_pulses(program, CHIP)
    except InputError as error:
        assert error.field.startswith("start_ns")  # noqa: PT017  # A PZ0 may begin before a drive pulse ends only by the text's own order.
        return
    again = read_pulses(text, CHIP, idle(CHIP), shots=1, outcome="mean")
    assert text_of(lines_of(text)) == text
    assert write_pulses(again, CHIP) == text


def test_trains_are_written_in_their_order() -> None:
    lines = np.array([1])
    table = ((Drive(lines, 0.1, 20.0, frequency(1)),), (Wait(60_000.0),))
    program = Program(1, 1, (Train(table, np.array([[[1, 0, -1]]], np.int16)),), (Measure(lines, 6.4e9, 0.1, 500.0),), 1)
    assert write_pulses(program, CHIP) == f"I Q1 49984\nI Q1 10016\nPXY Q1 0 20 0.1 {frequency(1):.0f} 0 0\nM Q1"
    with pytest.raises(InputError, match="one of cqlib's waves"):
        write_pulses(replace(program, steps=((Drive(lines, 0.1, 20.0, frequency(1), shape=Shape("square")),),)), CHIP)
    with pytest.raises(InputError, match="whole nanoseconds"):
        write_pulses(replace(program, steps=((Drive(lines, 0.1, 20.5, frequency(1)),),)), CHIP)


@pytest.mark.parametrize(
    ("text", "field", "limit"),
    [
        ("X Q0\nM Q0", "line 1", "PXY"),
        ("PXY Q0 0 30 0.3 5e9 0", "line 1: PXY", "at least 6"),
        ("PXY G0 0 30 0.3 5e9 0 0", "line 1: PXY", "of a qubit"),
        ("PXY Q0 -1 30 0.3 5e9 0 0", "line 1: wave", "0 (cosine)"),
        ("PXY Q0 0 30.5 0.3 5e9 0 0", "line 1: length", "whole"),
        ("PXY Q0 0 49985 0.3 5e9 0 0", "line 1: length", "49984"),
        ("PXY Q0 0 30 1.3 5e9 0 0", "line 1: amplitude", "[-1, 1]"),
        ("PXY Q0 0 30 0.3 7e9 0 0", "line 1: frequency", "6e+09"),
        ("PXY Q0 0 30 0.3 5e9 4 0", "line 1: phase", "3.14"),
        ("PXY Q0 0 30 0.3 5e9 0 11", "line 1: drag_alpha", "10"),
        ("PXY Q0 0 30 nan 5e9 0 0", "line 1", "finite"),
        ("PXY Q0 0 30 much 5e9 0 0", "line 1", "number"),
        ("\nPZ Q0 1 30 0.1 0", "line 2: parameters of a flattop", "must be 1"),
        ("PZ Q0 2 30 0.1 0 0.8 0.9 0 0", "line 1: final_angle_rad", "[0.91"),
        ("PZ Q0 2 30 0.1 0 0.8 0.1 -0.5 0", "line 1: second_cosine and third_cosine", "above"),
        ("PZ Q0 0 30 0.1 1", "line 1: call_mapper", "must be 0"),
        ("PZ Q9 0 30 0.1 0\nM Q0", "PZ: element", "below Q9"),
        ("PZ G77 0 30 0.1 0\nM Q0", "PZ: element", "below G12"),
        ("I Q0 Q1 5", "line 1: I", "one element"),
        ("PXY Q0 0 30 0.3 5e9 0 0", "M", "must say"),
        ("M Q0\nPXY Q0 0 30 0.3 5e9 0 0", "PXY", "before"),
        ("PZ G0 0 30 0.1 0\nM Q8", "qubits", "joined"),
        ("PZ G0 0 30 0.1 0\nPZ G1 0 30 0.1 0\nM Q0", "couplers", "of their own"),
    ],
)
def test_what_is_no_such_text_is_refused_by_line_value_and_limit(text: str, field: str, limit: str) -> None:
    with pytest.raises(InputError) as caught:
        read_pulses(text, CHIP, idle(CHIP), shots=1)
    assert caught.value.field == field
    assert limit in caught.value.limit


@hypothesis_settings(max_examples=80, deadline=None)
@given(st.text(alphabet="PXYZQGIBM0123456789. -\n", max_size=80))
def test_no_text_does_more_than_raise_an_input_error(text: str) -> None:
    try:
        read_pulses(text, CHIP, idle(CHIP), shots=1)
    except InputError as error:
        assert error.limit  # noqa: PT017
