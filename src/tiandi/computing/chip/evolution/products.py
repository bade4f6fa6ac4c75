"""Products with the matrix ``STEP`` of `ladder`, for `LANES` entries side by side.

All lies in one flat table at places known when it is compiled: only so the compiler sees that lanes do not touch one another.
"""

from __future__ import annotations

from collections.abc import Callable

from tiandi.computing.chip.evolution.batches import LANES, fused_kernel, part_of_a_kernel
from tiandi.computing.chip.evolution.ladder import DECAY, RHO, SPARE, STATE, STEP, get, put


@part_of_a_kernel
def _column_three(table, begin, column):  # type: ignore[no-untyped-def]
    """One column of ``STEP`` times the matrix at ``begin``, in place."""
    for lane in range(LANES):
        x, y, z = get(table, begin, column, lane), get(table, begin, 3 + column, lane), get(table, begin, 6 + column, lane)
        put(table, begin, column, lane, get(table, STEP, 0, lane) * x + get(table, STEP, 1, lane) * y + get(table, STEP, 2, lane) * z)
        put(table, begin, 3 + column, lane, get(table, STEP, 3, lane) * x + get(table, STEP, 4, lane) * y + get(table, STEP, 5, lane) * z)
        put(table, begin, 6 + column, lane, get(table, STEP, 6, lane) * x + get(table, STEP, 7, lane) * y + get(table, STEP, 8, lane) * z)


@fused_kernel
def _element_four(table, row, lane, w, x, y, z):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    low = get(table, STEP, 4 * row, lane) * w + get(table, STEP, 4 * row + 1, lane) * x
    return low + get(table, STEP, 4 * row + 2, lane) * y + get(table, STEP, 4 * row + 3, lane) * z


@fused_kernel
def _column_four(table, begin, column):  # type: ignore[no-untyped-def]
    for lane in range(LANES):
        w, x = get(table, begin, column, lane), get(table, begin, 4 + column, lane)
        y, z = get(table, begin, 8 + column, lane), get(table, begin, 12 + column, lane)
        put(table, begin, column, lane, _element_four(table, 0, lane, w, x, y, z))
        put(table, begin, 4 + column, lane, _element_four(table, 1, lane, w, x, y, z))
        put(table, begin, 8 + column, lane, _element_four(table, 2, lane, w, x, y, z))
        put(table, begin, 12 + column, lane, _element_four(table, 3, lane, w, x, y, z))


def _three(begin: int) -> Callable[..., None]:
    @fused_kernel
    def multiply(table):  # type: ignore[no-untyped-def]
        """The 3 x 3 matrix at ``begin`` becomes ``STEP`` times itself."""
        _column_three(table, begin, 0)
        _column_three(table, begin, 1)
        _column_three(table, begin, 2)

    return multiply


def _four(begin: int) -> Callable[..., None]:
    @fused_kernel
    def multiply(table):  # type: ignore[no-untyped-def]
        """The 4 x 4 matrix at ``begin`` becomes ``STEP`` times itself."""
        _column_four(table, begin, 0)
        _column_four(table, begin, 1)
        _column_four(table, begin, 2)
        _column_four(table, begin, 3)

    return multiply


step_state_three, step_state_four = _three(STATE), _four(STATE)
_step_spare_three, _step_spare_four = _three(SPARE), _four(SPARE)


@fused_kernel
def square_step(table, levels, squarings):  # type: ignore[no-untyped-def]
    """``STEP`` becomes its square, ``squarings`` times."""
    size = 2 * levels * levels * LANES
    for _ in range(squarings):
        for place in range(size):
            table[SPARE + place] = table[STEP + place]
        if levels == 3:
            _step_spare_three(table)
        else:
            _step_spare_four(table)
        for place in range(size):
            table[STEP + place] = table[SPARE + place]


@fused_kernel
def unit_state(table, levels):  # type: ignore[no-untyped-def]
    """``STATE`` becomes the unit matrix."""
    for element in range(levels * levels):
        for lane in range(LANES):
            put(table, STATE, element, lane, complex(1.0 if element % (levels + 1) == 0 else 0.0, 0.0))


@fused_kernel
def _rho(table, place, lane):  # type: ignore[no-untyped-def]
    return complex(table[RHO + place * LANES + lane], table[RHO + (place + 1) * LANES + lane])


@fused_kernel
def _put_rho(table, place, lane, value):  # type: ignore[no-untyped-def]
    table[RHO + place * LANES + lane], table[RHO + (place + 1) * LANES + lane] = value.real, value.imag


@fused_kernel
def conjugate_three(table):  # type: ignore[no-untyped-def]
    """``RHO`` becomes STEP rho STEP^dagger."""
    for lane in range(LANES):
        p, q, r = table[RHO + lane], table[RHO + LANES + lane], table[RHO + 2 * LANES + lane]
        u, w, v = _rho(table, 3, lane), _rho(table, 5, lane), _rho(table, 7, lane)
        uc, vc, wc = u.conjugate(), v.conjugate(), w.conjugate()
        a, b, c = get(table, STEP, 0, lane), get(table, STEP, 1, lane), get(table, STEP, 2, lane)
        d, e, f = get(table, STEP, 3, lane), get(table, STEP, 4, lane), get(table, STEP, 5, lane)
        g, h, i = get(table, STEP, 6, lane), get(table, STEP, 7, lane), get(table, STEP, 8, lane)
        # Rows of STEP rho.
        a1, b1, c1 = a * p + b * uc + c * wc, a * u + b * q + c * vc, a * w + b * v + c * r
        d1, e1, f1 = d * p + e * uc + f * wc, d * u + e * q + f * vc, d * w + e * v + f * r
        g1, h1, i1 = g * p + h * uc + i * wc, g * u + h * q + i * vc, g * w + h * v + i * r
        table[RHO + lane] = _real(a1, a) + _real(b1, b) + _real(c1, c)
        table[RHO + LANES + lane] = _real(d1, d) + _real(e1, e) + _real(f1, f)
        table[RHO + 2 * LANES + lane] = _real(g1, g) + _real(h1, h) + _real(i1, i)
        d, e, f, g, h, i = d.conjugate(), e.conjugate(), f.conjugate(), g.conjugate(), h.conjugate(), i.conjugate()
        _put_rho(table, 3, lane, a1 * d + b1 * e + c1 * f)
        _put_rho(table, 5, lane, a1 * g + b1 * h + c1 * i)
        _put_rho(table, 7, lane, d1 * g + e1 * h + f1 * i)


@fused_kernel
def _real(left, right):  # type: ignore[no-untyped-def]
    """Real part of ``left`` times ``right``*."""
    return left.real * right.real + left.imag * right.imag


@part_of_a_kernel
def _fill_pair(table, below, above, place):  # type: ignore[no-untyped-def]
    for lane in range(LANES):
        value = _rho(table, place, lane)
        put(table, SPARE, above, lane, value)
        put(table, SPARE, below, lane, value.conjugate())


@part_of_a_kernel
def _take_pair(table, row, other, place):  # type: ignore[no-untyped-def]
    """Element of SPARE STEP^dagger: row of one with row of the other, into ``RHO`` (populations where both are the same)."""
    for lane in range(LANES):
        value = get(table, SPARE, 4 * row, lane) * get(table, STEP, 4 * other, lane).conjugate()
        value += get(table, SPARE, 4 * row + 1, lane) * get(table, STEP, 4 * other + 1, lane).conjugate()
        value += get(table, SPARE, 4 * row + 2, lane) * get(table, STEP, 4 * other + 2, lane).conjugate()
        value += get(table, SPARE, 4 * row + 3, lane) * get(table, STEP, 4 * other + 3, lane).conjugate()
        table[RHO + place * LANES + lane] = value.real
        if row != other:
            table[RHO + (place + 1) * LANES + lane] = value.imag


@fused_kernel
def conjugate_four(table):  # type: ignore[no-untyped-def]
    """``RHO`` becomes STEP rho STEP^dagger."""
    for lane in range(LANES):
        for level in range(4):
            put(table, SPARE, 5 * level, lane, complex(table[RHO + level * LANES + lane], 0.0))
    _fill_pair(table, 4, 1, 4)
    _fill_pair(table, 8, 2, 6)
    _fill_pair(table, 9, 6, 8)
    _fill_pair(table, 12, 3, 10)
    _fill_pair(table, 13, 7, 12)
    _fill_pair(table, 14, 11, 14)
    _step_spare_four(table)
    _take_pair(table, 0, 0, 0)
    _take_pair(table, 1, 1, 1)
    _take_pair(table, 2, 2, 2)
    _take_pair(table, 3, 3, 3)
    _take_pair(table, 0, 1, 4)
    _take_pair(table, 0, 2, 6)
    _take_pair(table, 1, 2, 8)
    _take_pair(table, 0, 3, 10)
    _take_pair(table, 1, 3, 12)
    _take_pair(table, 2, 3, 14)


@part_of_a_kernel
def _map_three(table, rates, first, second, third):  # type: ignore[no-untyped-def]
    """Three rows of ``RHO`` become their linear map."""
    for lane in range(LANES):
        x, y, z = table[RHO + first * LANES + lane], table[RHO + second * LANES + lane], table[RHO + third * LANES + lane]
        at = DECAY + rates * LANES + lane
        table[RHO + first * LANES + lane] = table[at] * x + table[at + LANES] * y + table[at + 2 * LANES] * z
        table[RHO + second * LANES + lane] = table[at + 3 * LANES] * x + table[at + 4 * LANES] * y + table[at + 5 * LANES] * z
        table[RHO + third * LANES + lane] = table[at + 6 * LANES] * x + table[at + 7 * LANES] * y + table[at + 8 * LANES] * z


@part_of_a_kernel
def _map_two(table, rates, first, second):  # type: ignore[no-untyped-def]
    for lane in range(LANES):
        x, y = table[RHO + first * LANES + lane], table[RHO + second * LANES + lane]
        at = DECAY + rates * LANES + lane
        table[RHO + first * LANES + lane] = table[at] * x + table[at + LANES] * y
        table[RHO + second * LANES + lane] = table[at + 2 * LANES] * x + table[at + 3 * LANES] * y


@part_of_a_kernel
def _map_one(table, rates, first):  # type: ignore[no-untyped-def]
    """A row, and the one after it, of ``RHO`` by a factor."""
    for lane in range(LANES):
        factor = table[DECAY + rates * LANES + lane]
        table[RHO + first * LANES + lane] *= factor
        table[RHO + (first + 1) * LANES + lane] *= factor


@fused_kernel
def decay_three(table):  # type: ignore[no-untyped-def]
    """Relaxation and dephasing of ``RHO`` by ``DECAY``."""
    _map_three(table, 0, 0, 1, 2)
    _map_two(table, 9, 3, 7)
    _map_two(table, 9, 4, 8)
    _map_one(table, 13, 5)


@fused_kernel
def decay_four(table):  # type: ignore[no-untyped-def]
    """Relaxation and dephasing of ``RHO`` by ``DECAY``."""
    for lane in range(LANES):
        w, x, y, z = table[RHO + lane], table[RHO + LANES + lane], table[RHO + 2 * LANES + lane], table[RHO + 3 * LANES + lane]
        for level in range(4):
            at = DECAY + 4 * level * LANES + lane
            low = table[at] * w + table[at + LANES] * x
            table[RHO + level * LANES + lane] = low + table[at + 2 * LANES] * y + table[at + 3 * LANES] * z
    _map_three(table, 16, 4, 8, 14)
    _map_three(table, 16, 5, 9, 15)
    _map_two(table, 25, 6, 12)
    _map_two(table, 25, 7, 13)
    _map_one(table, 29, 10)
