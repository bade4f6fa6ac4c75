"""The compiled loops of `pair`: blocks of `LANES` entries of a batch, step by step."""

from __future__ import annotations

import math

import numpy as np

from tiandi.computing.chip.evolution.batches import LANES, fused_kernel
from tiandi.computing.chip.evolution.ladder import COUPLING, LARGEST_NORM, PHASE, STATE, TABLE, exponential_three, get, put
from tiandi.computing.chip.evolution.products import square_step, step_state_three, unit_state

# Rows of `LANES` numbers: both frequencies and the coupling at a step's begin, middle and end; step and anharmonicities; the block of
# 10 and 01: both levels' mean, half their difference, coupling (real and imaginary part), the common phase so far, the unitary, a cosine.
_BEGIN, _MIDDLE, _END, _STEP, _ANHARMONICITY = 0, 3 * LANES, 6 * LANES, 9 * LANES, 10 * LANES
_HALF, _EXCHANGE, _COMMON, _SINGLE, _COSINES, _ROWS = 12 * LANES, 13 * LANES, 15 * LANES, 16 * LANES, 24 * LANES, 25 * LANES
_COSINE = tuple((-1) ** power / math.factorial(2 * power) for power in range(9, -1, -1))
_SINE = tuple((-1) ** power / math.factorial(2 * power + 1) for power in range(9, -1, -1))
_ROOT = math.sqrt(2.0)


@fused_kernel
def _sample(rows, at, number, places, shapes, terms):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Frequencies and coupling at sample ``number``. ``places`` (4, lanes): first samples of three shapes, number of the last sample."""
    for quantity in range(3):
        begin = at + quantity * LANES
        for lane in range(LANES):
            rows[begin + lane] = shapes[places[quantity, lane] + min(number, places[3, lane])]
        for lane in range(LANES):
            value, total = rows[begin + lane], 0.0
            for power in range(terms.shape[1] - 1, -1, -1):
                total = total * value + terms[quantity, power, lane]
            rows[begin + lane] = total


@fused_kernel
def _generators(rows, table, number, places):  # type: ignore[no-untyped-def]
    """G of both blocks, nothing for entries that have ended: levels 20, 11, 02 as a ladder, levels 10, 01 into ``rows``."""
    for lane in range(LANES):
        step = rows[_STEP + lane] if 2 * number < places[3, lane] else 0.0
        sixth, twelfth = step / 6.0, step * step / 12.0
        alpha, beta = rows[_ANHARMONICITY + lane], rows[_ANHARMONICITY + LANES + lane]
        first = sixth * (rows[_BEGIN + lane] + 4.0 * rows[_MIDDLE + lane] + rows[_END + lane])
        second = sixth * (rows[_BEGIN + LANES + lane] + 4.0 * rows[_MIDDLE + LANES + lane] + rows[_END + LANES + lane])
        g, k = rows[_BEGIN + 2 * LANES + lane], rows[_END + 2 * LANES + lane]
        coupling = sixth * (g + 4.0 * rows[_MIDDLE + 2 * LANES + lane] + k)
        # The commutator of H at begin and end lies where the coupling does, turned by 90 degrees.
        begin, end = rows[_BEGIN + LANES + lane] - rows[_BEGIN + lane], rows[_END + LANES + lane] - rows[_END + lane]
        table[lane] = 2.0 * first + step * alpha
        table[LANES + lane] = first + second
        table[2 * LANES + lane] = 2.0 * second + step * beta
        turn, slope = twelfth * (k * begin - g * end), twelfth * (k - g)
        table[COUPLING + lane], table[COUPLING + 2 * LANES + lane] = _ROOT * coupling, _ROOT * coupling
        table[COUPLING + LANES + lane] = _ROOT * (turn - slope * alpha)
        table[COUPLING + 3 * LANES + lane] = _ROOT * (turn + slope * beta)
        rows[_HALF + lane] = 0.5 * (first - second)
        rows[_EXCHANGE + lane], rows[_EXCHANGE + LANES + lane] = coupling, turn
        rows[_COMMON + lane] += 0.5 * (first + second)


@fused_kernel
def _step_two(rows, shrink, squarings):  # type: ignore[no-untyped-def]
    """The unitary of 10 and 01 by one step: cos r - i A sin(r) / r with r^2 = A^2."""
    for lane in range(LANES):
        half = rows[_HALF + lane] * shrink
        exchange = complex(rows[_EXCHANGE + lane], rows[_EXCHANGE + LANES + lane]) * shrink
        square = half * half + exchange.real * exchange.real + exchange.imag * exchange.imag
        cosine, sine = 0.0, 0.0
        for even in _COSINE:
            cosine = cosine * square + even
        for odd in _SINE:
            sine = sine * square + odd
        rows[_HALF + lane], rows[_EXCHANGE + lane], rows[_EXCHANGE + LANES + lane] = half * sine, exchange.real * sine, exchange.imag * sine
        rows[_COSINES + lane] = cosine
    for _ in range(squarings):
        for lane in range(LANES):
            cosine = rows[_COSINES + lane]
            rows[_COSINES + lane] = 2.0 * cosine * cosine - 1.0
            rows[_HALF + lane] *= 2.0 * cosine
            rows[_EXCHANGE + lane] *= 2.0 * cosine
            rows[_EXCHANGE + LANES + lane] *= 2.0 * cosine
    for column in range(2):
        for lane in range(LANES):
            cosine, half = rows[_COSINES + lane], rows[_HALF + lane]
            x, y = get(rows, _SINGLE, column, lane), get(rows, _SINGLE, 2 + column, lane)
            below = complex(rows[_EXCHANGE + LANES + lane], -rows[_EXCHANGE + lane])
            above = complex(-rows[_EXCHANGE + LANES + lane], -rows[_EXCHANGE + lane])
            put(rows, _SINGLE, column, lane, complex(cosine, -half) * x + above * y)
            put(rows, _SINGLE, 2 + column, lane, below * x + complex(cosine, half) * y)


@fused_kernel
def _write(rows, table, lane, entry, part, single, double):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """One entry's unitaries since the last time, then unit matrices again."""
    phase = np.exp(-1j * rows[_COMMON + lane])
    rows[_COMMON + lane] = 0.0
    for row in range(2):
        for column in range(2):
            # 10, 01 here; 01, 10 there.
            single[entry, part, 1 - row, 1 - column] = phase * get(rows, _SINGLE, 2 * row + column, lane)
            put(rows, _SINGLE, 2 * row + column, lane, complex(1.0 if row == column else 0.0, 0.0))
    phase = np.exp(-1j * table[PHASE + lane])
    table[PHASE + lane] = 0.0
    # 20, 11, 02 here; 11, 20, 02 there.
    order = (1, 0, 2)
    for row in range(3):
        for column in range(3):
            double[entry, part, order[row], order[column]] = phase * get(table, STATE, 3 * row + column, lane)
            put(table, STATE, 3 * row + column, lane, complex(1.0 if row == column else 0.0, 0.0))


@fused_kernel
def evolve_pairs(begin, end, shapes, places, samples, step, polynomials, anharmonicity, norms, single, double):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """``single`` (B, chunks, 2, 2) and ``double`` (B, chunks, 3, 3) of the blocks ``begin`` to ``end``."""
    table, rows = np.zeros(TABLE), np.zeros(_ROWS)
    terms, here = np.zeros((3, polynomials.shape[2], LANES)), np.zeros((4, LANES), np.int64)
    due, part, count, chunks = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64), samples.size, single.shape[1]
    for block in range(begin, end):
        first = block * LANES
        table[PHASE : PHASE + LANES] = 0.0
        rows[_COMMON : _COMMON + LANES] = 0.0
        unit_state(table, 3)
        squarings, most, largest = 0, 0, 0.0
        for lane in range(LANES):
            entry = min(first + lane, count - 1)
            here[0, lane], here[1, lane], here[2, lane], here[3, lane] = (
                places[0, entry],
                places[1, entry],
                places[2, entry],
                samples[entry] - 1,
            )
            rows[_STEP + lane] = step[entry]
            rows[_ANHARMONICITY + lane], rows[_ANHARMONICITY + LANES + lane] = anharmonicity[0, entry], anharmonicity[1, entry]
            terms[:, :, lane] = polynomials[:, entry, :]
            for element in range(4):
                put(rows, _SINGLE, element, lane, complex(1.0 if element % 3 == 0 else 0.0, 0.0))
            due[lane], part[lane] = here[3, lane] // 2 // chunks, 0
            most, largest = max(most, here[3, lane] // 2), max(largest, norms[entry])
        while largest > LARGEST_NORM:
            largest *= 0.5
            squarings += 1
        _sample(rows, _BEGIN, 0, here, shapes, terms)
        for number in range(most):
            _sample(rows, _MIDDLE, 2 * number + 1, here, shapes, terms)
            _sample(rows, _END, 2 * number + 2, here, shapes, terms)
            _generators(rows, table, number, here)
            exponential_three(table, 0.5**squarings)
            square_step(table, 3, squarings)
            step_state_three(table)
            _step_two(rows, 0.5**squarings, squarings)
            for place in range(3 * LANES):
                rows[_BEGIN + place] = rows[_END + place]
            for lane in range(LANES):
                if number + 1 == due[lane]:
                    if first + lane < count:
                        _write(rows, table, lane, first + lane, part[lane], single, double)
                    part[lane] += 1
                    due[lane] = (part[lane] + 1) * (here[3, lane] // 2) // chunks


# A flat table of rows for density matrices: the unitary's blocks of 01, 10 and of 11, 20, 02 (complex), maps of a decay (as `DECAY` of
# `ladder`), nine complex numbers to work on, nine that result.
_DECAYS, _HERE, _THERE, _DESK = 26 * LANES, 40 * LANES, 58 * LANES, 76 * LANES


@fused_kernel
def _turn(desk):  # type: ignore[no-untyped-def]
    """Nine elements, of the levels |mn> at 3 m + n, become the conjugates of the unitary times themselves."""
    for lane in range(LANES):
        x, y = get(desk, _HERE, 1, lane), get(desk, _HERE, 3, lane)
        put(desk, _THERE, 1, lane, (get(desk, 0, 0, lane) * x + get(desk, 0, 1, lane) * y).conjugate())
        put(desk, _THERE, 3, lane, (get(desk, 0, 2, lane) * x + get(desk, 0, 3, lane) * y).conjugate())
        x, y, z = get(desk, _HERE, 4, lane), get(desk, _HERE, 6, lane), get(desk, _HERE, 2, lane)
        put(desk, _THERE, 4, lane, (get(desk, 0, 4, lane) * x + get(desk, 0, 5, lane) * y + get(desk, 0, 6, lane) * z).conjugate())
        put(desk, _THERE, 6, lane, (get(desk, 0, 7, lane) * x + get(desk, 0, 8, lane) * y + get(desk, 0, 9, lane) * z).conjugate())
        put(desk, _THERE, 2, lane, (get(desk, 0, 10, lane) * x + get(desk, 0, 11, lane) * y + get(desk, 0, 12, lane) * z).conjugate())
        put(desk, _THERE, 0, lane, get(desk, _HERE, 0, lane).conjugate())
        put(desk, _THERE, 5, lane, get(desk, _HERE, 5, lane).conjugate())
        put(desk, _THERE, 7, lane, get(desk, _HERE, 7, lane).conjugate())
        put(desk, _THERE, 8, lane, get(desk, _HERE, 8, lane).conjugate())


@fused_kernel
def _relax(desk):  # type: ignore[no-untyped-def]
    """A 3 x 3 density matrix, by rows, after a decay."""
    for lane in range(LANES):
        x, y, z = get(desk, _HERE, 0, lane), get(desk, _HERE, 4, lane), get(desk, _HERE, 8, lane)
        for level in range(3):
            row = _DECAYS + 3 * level * LANES + lane
            put(desk, _THERE, 4 * level, lane, desk[row] * x + desk[row + LANES] * y + desk[row + 2 * LANES] * z)
        row = _DECAYS + 9 * LANES + lane
        a, b, c, d, e = desk[row], desk[row + LANES], desk[row + 2 * LANES], desk[row + 3 * LANES], desk[row + 4 * LANES]
        x, y = get(desk, _HERE, 1, lane), get(desk, _HERE, 5, lane)
        put(desk, _THERE, 1, lane, a * x + b * y)
        put(desk, _THERE, 5, lane, c * x + d * y)
        x, y = get(desk, _HERE, 3, lane), get(desk, _HERE, 7, lane)
        put(desk, _THERE, 3, lane, a * x + b * y)
        put(desk, _THERE, 7, lane, c * x + d * y)
        put(desk, _THERE, 2, lane, e * get(desk, _HERE, 2, lane))
        put(desk, _THERE, 6, lane, e * get(desk, _HERE, 6, lane))


@fused_kernel
def _copy(origin, begin, target, there, rows):  # type: ignore[no-untyped-def]
    for place in range(rows * LANES):
        target[there + place] = origin[begin + place]


@fused_kernel
def _half_turn(desk, rho, spare):  # type: ignore[no-untyped-def]
    """``rho`` (81 complex rows) becomes (U rho)^dagger; twice that is U rho U^dagger of any Hermitian matrix."""
    for column in range(9):
        for level in range(9):
            _copy(rho, 2 * LANES * (9 * level + column), desk, _HERE + 2 * LANES * level, 2)
        _turn(desk)
        _copy(desk, _THERE, spare, 18 * LANES * column, 18)
    _copy(spare, 0, rho, 0, 162)


@fused_kernel
def _decay(desk, rho, own, other):  # type: ignore[no-untyped-def]
    """Decay of one transmon, whose level counts ``own`` (3 or 1) in the rows' numbers, and the other's ``other``."""
    for spectator in range(9):
        base = other * (9 * (spectator // 3) + spectator % 3)
        for element in range(9):
            _copy(rho, 2 * LANES * (base + own * (9 * (element // 3) + element % 3)), desk, _HERE + 2 * LANES * element, 2)
        _relax(desk)
        for element in range(9):
            _copy(desk, _THERE + 2 * LANES * element, rho, 2 * LANES * (base + own * (9 * (element // 3) + element % 3)), 2)


@fused_kernel
def evolve_pair_density_matrices(begin, end, single, double, decay, given, results):  # type: ignore[no-untyped-def]  # noqa: PLR0917, PLR0912
    """``results`` (B, R, 81) of the blocks ``begin`` to ``end`` from ``given`` (B or 1, R, 81), both complex matrices, flat.

    ``decay`` (2, 2, B, 14): of the first and the second transmon, maps of half a chunk and of a whole one, as rows of ``_DECAYS``.
    """
    count, chunks = single.shape[0], single.shape[1]
    unitary, rates, desk = np.zeros((chunks, _DECAYS)), np.zeros((2, 2, 14 * LANES)), np.zeros(_DESK)
    rho, spare = np.zeros(2 * 81 * LANES), np.zeros(2 * 81 * LANES)
    for block in range(begin, end):
        for lane in range(LANES):
            entry = min(block * LANES + lane, count - 1)
            for place in range(14):
                rates[:, :, place * LANES + lane] = decay[:, :, entry, place]
            for part in range(chunks):
                for element in range(4):
                    put(unitary[part], 0, element, lane, single[entry, part, element // 2, element % 2])
                for element in range(9):
                    put(unitary[part], 0, 4 + element, lane, double[entry, part, element // 3, element % 3])
        for state in range(results.shape[1]):
            for lane in range(LANES):
                entry = min(block * LANES + lane, count - 1)
                for element in range(81):
                    put(rho, 0, element, lane, given[min(entry, given.shape[0] - 1), state, element])
            for part in range(chunks + 1):
                kind = 1 if 0 < part < chunks else 0
                for own in range(2):
                    _copy(rates[own, kind], 0, desk, _DECAYS, 14)
                    _decay(desk, rho, 3 - 2 * own, 1 + 2 * own)
                if part < chunks:
                    _copy(unitary[part], 0, desk, 0, 26)
                    _half_turn(desk, rho, spare)
                    _half_turn(desk, rho, spare)
            for lane in range(min(LANES, count - block * LANES)):
                for element in range(81):
                    results[block * LANES + lane, state, element] = get(rho, 0, element, lane)
