"""What the electronics make of a program before it reaches the chip: the steps of their converters and the grid of their samples.

Controllers with a waveform memory play whole samples, so durations and starts are rounded to the samples of their line (a drive line of
0.5 GS/s: 2 ns, a flux line of 1 GS/s: 1 ns; a wait: the finer of the two; a measurement: the digitiser's), halves to even. Amplitudes of
flux lines are rounded to the converter's steps over its range of twice ``flux_limit_v``, those of drive lines in `chip.tones`. Between its
samples a pulse follows its envelope, as behind a reconstruction filter. Delays of settings are analogue and keep their value.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tiandi.computing.instruments.instrument import Electronics
from tiandi.computing.instruments.program import Drive, Flux, Measure, Moment, Number, Operation, Program, Train, Wait


def as_played(electronics: Electronics, program: Program) -> Program:
    """``program`` as the lines play it; it has been checked."""
    steps = tuple(
        replace(step, table=tuple(_moment(electronics, moment) for moment in step.table))
        if isinstance(step, Train)
        else _moment(electronics, step)
        for step in program.steps
    )
    return replace(program, steps=steps, measures=tuple(_measure(electronics, measure) for measure in program.measures))


def _moment(electronics: Electronics, moment: Moment) -> Moment:
    return tuple(_operation(electronics, operation) for operation in moment)


def _operation(electronics: Electronics, operation: Operation) -> Operation:
    if isinstance(operation, Drive):
        sample_ns = 1e9 / electronics.drive_rate_hz
        return replace(operation, duration_ns=rounded(operation.duration_ns, sample_ns), start_ns=rounded(operation.start_ns, sample_ns))
    if isinstance(operation, Flux):
        sample_ns = 1e9 / electronics.flux_rate_hz
        step_v = electronics.flux_limit_v * 2.0 ** (1 - electronics.flux_bit)
        return replace(
            operation,
            amplitude=rounded(operation.amplitude, step_v),
            duration_ns=rounded(operation.duration_ns, sample_ns),
            start_ns=rounded(operation.start_ns, sample_ns),
        )
    if isinstance(operation, Wait):
        finest_ns = 1e9 / max(electronics.drive_rate_hz, electronics.flux_rate_hz)
        return Wait(rounded(operation.duration_ns, finest_ns))
    return operation


def _measure(electronics: Electronics, measure: Measure) -> Measure:
    return replace(measure, duration_ns=rounded(measure.duration_ns, 1e9 / electronics.digitiser_rate_hz))


def rounded(number: Number, step: float) -> Number:
    """The nearest whole multiples of ``step``; axes along which nothing changes by construction (stride 0) stay such."""
    values = np.asarray(number, float)
    if values.ndim == 0:
        return float(np.round(values / step) * step)
    distinct = values[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in values.strides)]
    return np.broadcast_to(np.round(distinct / step) * step, values.shape)
