"""The compiled loops of `transmon`: blocks of `LANES` entries of a batch, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tiandi.computing.chip.evolution.batches import LANES, fused_kernel
from tiandi.computing.chip.evolution.ladder import (
    COUPLING,
    DECAY,
    DIAGONAL,
    LARGEST_NORM,
    PHASE,
    RHO,
    STATE,
    TABLE,
    exponential_four,
    exponential_three,
    get,
)
from tiandi.computing.chip.evolution.products import (
    conjugate_four,
    conjugate_three,
    decay_four,
    decay_three,
    square_step,
    step_state_four,
    step_state_three,
    unit_state,
)

# Rows of `LANES` numbers: Omega and detuning at a step's begin, middle and end, then the step and constants of the entries.
_BEGIN, _MIDDLE, _END, _STEP = 0, 3 * LANES, 6 * LANES, 9 * LANES
_ANHARMONICITY, _DETUNING, _SCALE, _ROWS = 10 * LANES, 11 * LANES, 12 * LANES, 14 * LANES


@fused_kernel
def _sample(rows, at, number, places, pulse, flux, tones, phasors):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Omega and detuning of a block's entries at sample ``number``, into three rows that begin at ``at``; tones move on by one sample.

    ``places`` (4, lanes): entry, first sample of its shape and of its flux shape in the flat arrays, and number of its last sample.
    """
    shapes, (flux_shapes, _, flux_scale), (tone_shape, tone_scale) = pulse[0], flux, tones
    for lane in range(LANES):
        value = shapes[places[1, lane] + min(number, places[3, lane])]
        rows[at + lane], rows[at + LANES + lane] = value.real, value.imag
    for lane in range(LANES):
        omega = complex(rows[at + lane], rows[at + LANES + lane]) * complex(rows[_SCALE + lane], rows[_SCALE + LANES + lane])
        rows[at + lane], rows[at + LANES + lane], rows[at + 2 * LANES + lane] = omega.real, omega.imag, rows[_DETUNING + lane]
    if tone_scale.shape[1] > 0:
        for lane in range(LANES):
            entry, here = places[0, lane], min(number, places[3, lane])
            for tone in range(tone_scale.shape[1]):
                value = tone_scale[entry, tone] * shapes[tone_shape[entry, tone] + here] * phasors[0, tone, lane]
                phasors[0, tone, lane] *= phasors[1, tone, lane]
                rows[at + lane] += value.real
                rows[at + LANES + lane] += value.imag
    if flux_scale.shape[1] > 0:
        for lane in range(LANES):
            value = flux_shapes[places[2, lane] + min(number, places[3, lane])]
            total = 0.0
            for power in range(flux_scale.shape[1] - 1, -1, -1):
                total = (total + flux_scale[places[0, lane], power]) * value
            rows[at + 2 * LANES + lane] += total


def _generator(levels: int) -> Callable[..., None]:
    roots = tuple(0.5 * math.sqrt(level + 1.0) for level in range(levels - 1))
    ranks = tuple(float(level) for level in range(levels))
    last = 1.0 - levels

    @fused_kernel
    def generator(rows, table, number, places):  # type: ignore[no-untyped-def]
        """G of step ``number`` into the ladder's table; nothing for entries that have ended."""
        for lane in range(LANES):
            step, alpha = rows[_STEP + lane] if 2 * number < places[3, lane] else 0.0, rows[_ANHARMONICITY + lane]
            x, y, z, w = rows[_BEGIN + lane], rows[_BEGIN + LANES + lane], rows[_END + lane], rows[_END + LANES + lane]
            begin, end = rows[_BEGIN + 2 * LANES + lane], rows[_END + 2 * LANES + lane]
            sixth, twelfth = step / 6.0, step * step / 12.0
            mean = sixth * (begin + 4.0 * rows[_MIDDLE + 2 * LANES + lane] + end)
            real = sixth * (x + 4.0 * rows[_MIDDLE + lane] + z) - twelfth * (w * begin - y * end)
            imaginary = sixth * (y + 4.0 * rows[_MIDDLE + LANES + lane] + w) + twelfth * (z * begin - x * end)
            real_slope, imaginary_slope = twelfth * alpha * (y - w), twelfth * alpha * (z - x)
            # The commutator of the drives is diagonal, that of drive and levels as the drive.
            turn = 0.5 * twelfth * (y * z - x * w)
            for level in range(levels):
                rank = ranks[level]
                table[DIAGONAL + level * LANES + lane] = rank * mean + 0.5 * step * alpha * rank * (rank - 1.0) + turn
            table[DIAGONAL + (levels - 1) * LANES + lane] += (last - 1.0) * turn
            for level in range(levels - 1):
                table[COUPLING + 2 * level * LANES + lane] = roots[level] * (real + ranks[level] * real_slope)
                table[COUPLING + (2 * level + 1) * LANES + lane] = roots[level] * (imaginary + ranks[level] * imaginary_slope)

    return generator


@fused_kernel
def _squarings(first, norms):  # type: ignore[no-untyped-def]
    """How often a block's G must be halved so that the series holds for each."""
    largest = 0.0
    for entry in range(first, min(first + LANES, norms.size)):
        largest = max(largest, norms[entry])
    count = 0
    while largest > LARGEST_NORM:
        largest *= 0.5
        count += 1
    return count


@fused_kernel
def _start(first, rows, places, pulse, flux, step, anharmonicity, tone_detuning, tone_start, phasors):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Constants of a block's entries, and their tones' turns from sample to sample; the fewest and the most steps of an entry."""
    _, shape, scale, detuning, samples = pulse
    fewest, most = samples[first], 0
    for lane in range(LANES):
        # The last block is filled up with the last entry.
        entry = min(first + lane, step.size - 1)
        places[0, lane], places[1, lane], places[2, lane], places[3, lane] = entry, shape[entry], flux[1][entry], samples[entry] - 1
        rows[_STEP + lane], rows[_ANHARMONICITY + lane], rows[_DETUNING + lane] = step[entry], anharmonicity[entry], detuning[entry]
        rows[_SCALE + lane], rows[_SCALE + LANES + lane] = scale[entry].real, scale[entry].imag
        fewest, most = min(fewest, samples[entry]), max(most, samples[entry])
        for tone in range(tone_detuning.shape[1]):
            phasors[0, tone, lane] = np.exp(-1j * tone_detuning[entry, tone] * tone_start[entry, tone])
            phasors[1, tone, lane] = np.exp(-0.5j * tone_detuning[entry, tone] * step[entry])
    return (fewest - 1) // 2, (most - 1) // 2


@fused_kernel
def _shift(rows):  # type: ignore[no-untyped-def]
    """A step's end is the next one's begin."""
    for place in range(3 * LANES):
        rows[_BEGIN + place] = rows[_END + place]


def _unitaries(levels: int, exponential: Callable[..., None], multiply: Callable[..., None]) -> Callable[..., None]:
    generator = _generator(levels)

    @fused_kernel
    def evolve(begin, end, pulse, flux, tones, step, anharmonicity, tone_detuning, tone_start, norms, results):  # type: ignore[no-untyped-def]  # noqa: PLR0917
        """``results`` (B, L, L) of the blocks ``begin`` to ``end``."""
        table, rows = np.zeros(TABLE), np.zeros(_ROWS)
        phasors, places = np.zeros((2, tone_detuning.shape[1], LANES), np.complex128), np.zeros((4, LANES), np.int64)
        for block in range(begin, end):
            first = block * LANES
            squarings = _squarings(first, norms)
            _, steps = _start(first, rows, places, pulse, flux, step, anharmonicity, tone_detuning, tone_start, phasors)
            unit_state(table, levels)
            table[PHASE : PHASE + LANES] = 0.0
            _sample(rows, _BEGIN, 0, places, pulse, flux, tones, phasors)
            for number in range(steps):
                _sample(rows, _MIDDLE, 2 * number + 1, places, pulse, flux, tones, phasors)
                _sample(rows, _END, 2 * number + 2, places, pulse, flux, tones, phasors)
                generator(rows, table, number, places)
                exponential(table, 0.5**squarings)
                square_step(table, levels, squarings)
                multiply(table)
                _shift(rows)
            for lane in range(min(LANES, results.shape[0] - first)):
                phase = np.exp(-1j * table[PHASE + lane])
                for element in range(levels * levels):
                    results[first + lane, element // levels, element % levels] = phase * get(table, STATE, element, lane)

    return evolve


@fused_kernel
def _take_decay(number, places, levels, full, half, table):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """The decay after step ``number`` - 1 of a block's entries: a whole step's, half at begin and end, none afterwards."""
    for lane in range(LANES):
        entry, left = places[0, lane], places[3, lane] // 2 - number
        at = DECAY + lane
        for apart in range(levels):
            for row in range(levels - apart):
                for column in range(levels - apart):
                    value = full[entry, apart, row, column] if number > 0 and left > 0 else half[entry, apart, row, column]
                    table[at] = value if left >= 0 else (1.0 if row == column else 0.0)
                    at += LANES


@fused_kernel
def _copy(origin, begin, target, there, size):  # type: ignore[no-untyped-def]
    for place in range(size * LANES):
        target[there + place] = origin[begin + place]


def _density_matrices(
    levels: int, exponential: Callable[..., None], conjugate: Callable[..., None], decay: Callable[..., None]
) -> Callable[..., None]:
    generator = _generator(levels)

    @fused_kernel
    def evolve(  # type: ignore[no-untyped-def]  # noqa: PLR0917
        begin, end, pulse, flux, tones, step, anharmonicity, tone_detuning, tone_start, norms, full, half, initial, results
    ):
        """``results`` (B, R, L^2) of the blocks ``begin`` to ``end`` from ``initial`` (B or 1, R, L^2)."""
        table, rows = np.zeros(TABLE), np.zeros(_ROWS)
        phasors, places = np.zeros((2, tone_detuning.shape[1], LANES), np.complex128), np.zeros((4, LANES), np.int64)
        count, size = results.shape[1], results.shape[2]
        rho = np.zeros((count, size * LANES))
        for block in range(begin, end):
            first = block * LANES
            squarings = _squarings(first, norms)
            fewest, steps = _start(first, rows, places, pulse, flux, step, anharmonicity, tone_detuning, tone_start, phasors)
            _take_decay(0, places, levels, full, half, table)
            for state in range(count):
                for place in range(size * LANES):
                    entry = min(first + place % LANES, results.shape[0] - 1)
                    table[RHO + place] = initial[min(entry, initial.shape[0] - 1), state, place // LANES]
                decay(table)
                _copy(table, RHO, rho[state], 0, size)
            _sample(rows, _BEGIN, 0, places, pulse, flux, tones, phasors)
            for number in range(steps):
                _sample(rows, _MIDDLE, 2 * number + 1, places, pulse, flux, tones, phasors)
                _sample(rows, _END, 2 * number + 2, places, pulse, flux, tones, phasors)
                generator(rows, table, number, places)
                exponential(table, 0.5**squarings)
                square_step(table, levels, squarings)
                if number == 0 or number + 1 >= fewest:
                    _take_decay(number + 1, places, levels, full, half, table)
                for state in range(count):
                    _copy(rho[state], 0, table, RHO, size)
                    conjugate(table)
                    decay(table)
                    _copy(table, RHO, rho[state], 0, size)
                _shift(rows)
            for lane in range(min(LANES, results.shape[0] - first)):
                for state in range(count):
                    for place in range(size):
                        results[first + lane, state, place] = rho[state, place * LANES + lane]

    return evolve


evolve_unitaries: dict[int, Callable[..., Any]] = {
    3: _unitaries(3, exponential_three, step_state_three),
    4: _unitaries(4, exponential_four, step_state_four),
}
evolve_density_matrices: dict[int, Callable[..., Any]] = {
    3: _density_matrices(3, exponential_three, conjugate_three, decay_three),
    4: _density_matrices(4, exponential_four, conjugate_four, decay_four),
}
