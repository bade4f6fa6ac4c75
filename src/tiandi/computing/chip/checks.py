"""What the electronics refuse: settings and programs beyond their limits, named by field, value and limit, before anything is played."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiandi.computing.chip.parameters import FloatArray
from tiandi.computing.instruments.instrument import Electronics, Settings
from tiandi.computing.instruments.program import Drive, Flux, Measure, Moment, Operation, Phase, Program, Train, Wait
from tiandi.computing.instruments.waveforms import check_shape
from tiandi.errors import InputError
from tiandi.limits import require_each_within, require_within

LARGEST_ENTRIES = 8_000_000
"""Targets times points of one program."""
LARGEST_SHOTS = 10_000_000
LARGEST_RAW_SHOTS = 50_000_000
"""Shots that may be asked for one by one: targets, points and shots multiplied."""
LONGEST_NS = 1e7
LONGEST_PULSE_NS = 5e5
"""What the memory of a line holds."""
LARGEST_STEPS = 100_000
LARGEST_ORDER = 100_000_000
"""Places in the order of a train, all targets and points together."""
LARGEST_TABLE = 4_096
SHORTEST_MEASURE_NS = 20.0
READOUT_BAND_HZ = (5.5e9, 7.5e9)
KINDS = {"drive_offset": "fc", "drive_imbalance": "fc", "discriminator": "fc", "reset_line": "i"}
"""Of numpy, where a setting takes others than real numbers."""


def check_settings(electronics: Electronics, settings: Settings) -> None:
    """Raise InputError for the first field that the electronics cannot take."""
    qubits, couplers = electronics.qubits, len(electronics.couplers)
    terms = np.shape(settings.predistortion_amplitude)[-1] if np.ndim(settings.predistortion_amplitude) == 2 else 0
    shapes = {
        **dict.fromkeys(("flux_bias_v", "oscillator_hz", "drive_offset", "drive_imbalance", "drive_delay_ns", "flux_delay_ns"), (qubits,)),
        **dict.fromkeys(("threshold", "reset_amplitude", "reset_frequency_hz", "readout_frequency_hz", "readout_amplitude"), (qubits,)),
        "reset_line": (qubits,),
        **dict.fromkeys(("coupler_bias_v", "coupler_delay_ns"), (couplers,)),
        **dict.fromkeys(("predistortion_amplitude", "predistortion_time_ns"), (qubits, terms)),
        "discriminator": (qubits, 3),
    }
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name not in shapes:
            continue
        if not isinstance(value, np.ndarray) or value.dtype.kind not in KINDS.get(field.name, "fi"):
            raise InputError(field.name, type(value).__name__, "must be an array of numbers of its kind")
        if value.shape != shapes[field.name]:
            raise InputError(field.name, value.shape, f"must have the shape {shapes[field.name]}")
        if field.name != "discriminator" and not np.isfinite(value).all():
            raise InputError(field.name, "not finite", "must be finite")
    limit = electronics.flux_limit_v
    require_each_within("flux_bias_v", settings.flux_bias_v, -limit, limit)
    require_each_within("coupler_bias_v", settings.coupler_bias_v, -limit, limit)
    require_each_within("oscillator_hz", settings.oscillator_hz, 3e9, 8e9)
    require_each_within("drive_offset", np.abs(settings.drive_offset), 0.0, 0.2)
    require_each_within("drive_imbalance", np.abs(settings.drive_imbalance), 0.0, 0.5)
    for name in ("drive_delay_ns", "flux_delay_ns", "coupler_delay_ns"):
        require_each_within(name, getattr(settings, name), -100.0, 100.0)
    require_within("terms of predistortion", terms, 0, 8)
    require_each_within("predistortion_amplitude", settings.predistortion_amplitude, -0.4, 0.4)
    require_each_within("predistortion_time_ns", settings.predistortion_time_ns, 0.5, 1e6)
    require_each_within("reset_amplitude", settings.reset_amplitude, -1.0, 1.0)
    require_each_within("readout_amplitude", settings.readout_amplitude, 0.0, electronics.readout_amplitude_limit)
    require_each_within("reset_line", settings.reset_line, 0, qubits - 1)
    require_each_within("reset_frequency_hz", settings.reset_frequency_hz, 3e9, 8e9)
    require_each_within("readout_frequency_hz", settings.readout_frequency_hz, *READOUT_BAND_HZ)
    require_within("reset_duration_ns", settings.reset_duration_ns, 1.0, 1e4)
    require_within("readout_duration_ns", settings.readout_duration_ns, SHORTEST_MEASURE_NS, 1e5)
    for (line, other), share in settings.flux_compensation.items():
        require_within("line of flux_compensation", line, 0, qubits + couplers - 1)
        require_within("line of flux_compensation", other, 0, qubits + couplers - 1)
        if line == other:
            raise InputError("flux_compensation", (line, other), "must be of two different lines")
        require_within("share of flux_compensation", share, -0.5, 0.5)


def grid(number: ArrayLike, targets: int, points: int, field: str) -> FloatArray:
    """A number of a program as (targets, points); axes along which it does not change have stride 0."""
    raw = np.asarray(number)
    if raw.dtype.kind not in "fiu":
        raise InputError(field, str(raw.dtype), "must be a real number or an array of them")
    given = raw.astype(float, copy=False)
    try:
        return np.broadcast_to(given, (targets, points))
    except ValueError:
        raise InputError(field, given.shape, f"must broadcast to ({targets}, {points})") from None


def check_program(electronics: Electronics, settings: Settings, program: Program) -> None:
    """Raise InputError for the first thing in ``program`` that cannot be played under ``settings``."""
    require_within("targets", program.targets, 1, electronics.qubits + len(electronics.couplers))
    require_within("points", program.points, 1, LARGEST_ENTRIES)
    require_within("targets times points", program.targets * program.points, 1, LARGEST_ENTRIES)
    require_within("shots", program.shots, 1, LARGEST_SHOTS)
    require_within("wait_ns", program.wait_ns, 0.0, 1e9)
    require_within("steps", len(program.steps), 0, LARGEST_STEPS)
    if program.outcome not in {"mean", "shots", "populations"}:
        raise InputError("outcome", program.outcome, "must be mean, shots or populations")
    if program.outcome == "shots":
        require_within("targets times points times shots", program.targets * program.points * program.shots, 1, LARGEST_RAW_SHOTS)
    if program.reset not in {"wait", "active"}:
        raise InputError("reset", program.reset, "must be wait or active")
    for moment in moments(program):
        _check_moment(electronics, settings, program, moment)
    for step in program.steps:
        if isinstance(step, Train):
            _check_train(program, step)
    _check_measures(electronics, settings, program)


def moments(program: Program) -> Iterator[Moment]:
    """All moments of a program, those of trains' tables once each."""
    for step in program.steps:
        if isinstance(step, Train):
            yield from step.table
        else:
            yield step


def _check_lines(field: str, lines: NDArray[np.int64], program: Program, last: int) -> None:
    if np.shape(lines) != (program.targets,):
        raise InputError(field, np.shape(lines), f"must have the shape ({program.targets},)")
    if not np.issubdtype(np.asarray(lines).dtype, np.integer):
        raise InputError(field, str(np.asarray(lines).dtype), "must be whole numbers")
    require_each_within(field, lines, 0, last)
    if len(np.unique(lines)) != len(lines):
        raise InputError(field, "a line twice", "targets of one program must not share a line")


def _check_moment(electronics: Electronics, settings: Settings, program: Program, moment: Moment) -> None:
    for operation in moment:
        if isinstance(operation, Drive):
            _check_drive(electronics, settings, program, operation)
        elif isinstance(operation, Flux):
            last = (len(electronics.couplers) if operation.coupler else electronics.qubits) - 1
            _check_lines("lines of a flux pulse", operation.lines, program, last)
            bias = (settings.coupler_bias_v if operation.coupler else settings.flux_bias_v)[operation.lines, None]
            amplitude = grid(operation.amplitude, program.targets, program.points, "amplitude of a flux pulse")
            limit = electronics.flux_limit_v
            require_each_within("static bias plus flux pulse [V]", amplitude + bias, -limit, limit)
        elif isinstance(operation, Phase):
            _check_lines("lines of a phase", operation.lines, program, electronics.qubits - 1)
            require_each_within("angle_rad", grid(operation.angle_rad, program.targets, program.points, "angle_rad"), -1e6, 1e6)
        elif not isinstance(operation, Wait):
            raise InputError("operation", type(operation).__name__, "must be Drive, Flux, Wait or Phase")
        _check_times(program, operation)


def _check_times(program: Program, operation: Operation) -> None:
    if isinstance(operation, Phase):
        return
    duration = grid(operation.duration_ns, program.targets, program.points, "duration_ns")
    require_each_within("duration_ns", duration, 0.0, LONGEST_NS if isinstance(operation, Wait) else LONGEST_PULSE_NS)
    if not isinstance(operation, Wait):
        require_each_within("start_ns", grid(operation.start_ns, program.targets, program.points, "start_ns"), 0.0, LONGEST_NS)
        check_shape(operation.shape)


def _check_drive(electronics: Electronics, settings: Settings, program: Program, drive: Drive) -> None:
    def whole(number: ArrayLike, field: str) -> FloatArray:
        return grid(number, program.targets, program.points, field)

    _check_lines("lines of a drive pulse", drive.lines, program, electronics.qubits - 1)
    room = 1.0 - np.abs(settings.drive_offset[drive.lines, None])
    amplitude = np.abs(whole(drive.amplitude, "amplitude of a drive pulse"))
    stretched = amplitude * (1 + np.abs(settings.drive_imbalance[drive.lines, None]))
    over = ~(stretched <= np.maximum(room, 0.0) + 1e-12)
    if over.any():
        raise InputError("amplitude of a drive pulse", float(amplitude[over][0]), "with its corrections must stay within full scale, 1")
    away = np.abs(whole(drive.frequency_hz, "frequency_hz of a drive pulse") - settings.oscillator_hz[drive.lines, None])
    if not (away <= 0.5 * electronics.drive_band_hz).all():
        raise InputError(
            "distance of a drive pulse from its local oscillator [Hz]",
            float(np.nanmax(away)),
            f"must be at most {0.5 * electronics.drive_band_hz:g}, half the band of a line",
        )
    require_each_within("phase_rad", whole(drive.phase_rad, "phase_rad"), -1e6, 1e6)
    require_each_within("drag_ns", whole(drive.drag_ns, "drag_ns"), -20.0, 20.0)


def _check_train(program: Program, train: Train) -> None:
    order = np.asarray(train.order)
    require_within("moments in the table of a train", len(train.table), 1, LARGEST_TABLE)
    if order.ndim != 3 or order.shape[0] not in {1, program.targets} or order.shape[1] != program.points:
        raise InputError("order of a train", order.shape, f"must be (1 or {program.targets}, {program.points}, length)")
    require_within("size of the order of a train", order.size, 0, LARGEST_ORDER)
    if not np.issubdtype(order.dtype, np.integer):
        raise InputError("order of a train", str(order.dtype), "must be whole numbers")
    if order.size:
        require_within("row of a train's table", int(order.min()), -1, len(train.table) - 1)
        require_within("row of a train's table", int(order.max()), -1, len(train.table) - 1)


def _check_measures(electronics: Electronics, settings: Settings, program: Program) -> None:
    require_within("measures", len(program.measures), 1, 2)
    lines = []
    for measure in program.measures:
        if not isinstance(measure, Measure):
            raise InputError("measure", type(measure).__name__, "must be Measure")
        _check_lines("lines of a measure", measure.lines, program, electronics.qubits - 1)
        frequency = grid(measure.frequency_hz, program.targets, program.points, "frequency_hz of a measure")
        require_each_within("frequency_hz of a measure", frequency, *READOUT_BAND_HZ)
        amplitude = grid(measure.amplitude, program.targets, program.points, "amplitude of a measure")
        require_each_within("amplitude of a measure", amplitude, 0.0, electronics.readout_amplitude_limit)
        duration = grid(measure.duration_ns, program.targets, program.points, "duration_ns of a measure")
        require_each_within("duration_ns of a measure", duration, SHORTEST_MEASURE_NS, 1e5)
        lines.append(np.asarray(measure.lines))
    every = np.concatenate(lines)
    if len(np.unique(every)) != len(every):
        raise InputError("lines of measures", "a line twice", "every line may be listened to once")
    crowd = np.bincount(electronics.feed_line[every]).max()
    if crowd > electronics.multiplexing:
        raise InputError("measures on one feed line", int(crowd), f"must be at most {electronics.multiplexing}")
    if program.outcome == "populations" or program.reset == "active":
        unknown = every[np.isnan(settings.discriminator[every, :2]).any(axis=1)]
        if len(unknown):
            raise InputError(
                "discriminator", f"none for line {unknown[0]}", "must hold the centres of states 0 and 1 for populations and active reset"
            )
