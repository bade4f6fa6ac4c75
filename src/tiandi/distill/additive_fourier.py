"""Additive Fourier transforms over GF(2^64): values of a polynomial at every sum of some elements, and the transposes of that.

v_0 ... v_63 are Cantor's basis of GF(2^64) over GF(2): v_0 = 1 and v_k^2 + v_k = v_(k-1). Let s_k be the polynomial that vanishes at the
sums of v_0 ... v_(k-1). Then s_k(v_j) = v_(j-k), and s_k(y) = y^(2^k) + y for k a power of two. For coefficients in the basis of products
of s_0 ... s_(m-1), evaluation at the sums of v_0 ... v_(m-1) is m levels of butterflies: (a, b), 2^k places apart, become
a + c b and a + c b + b, with c the value of s_k (Lin, Chung and Han 2014, doi:10.1109/FOCS.2014.41). To that basis from powers of y lead
expansions in powers of s_16, s_8, s_4, s_2 and s_1, which only add (Lin, Al-Naffouri, Han and Chung 2016,
doi:10.1109/TIT.2016.2608892; Gao and Mateer 2010, recalled).

Call evaluation E. With elements in reverse order, butterflies transposed are butterflies inverted, and expansions transposed are
expansions inverted but for a change of halves. So the same code serves E and E^-T, and run backwards E^T.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba
import numpy as np

from tiandi.compiling import kernel
from tiandi.distill.fourier_stages import Words, additions_of_sixteen, stages
from tiandi.distill.vectors import Lanes, add, broadcast, load, multiply, row_additions, store, transpose

_convert_sixteen = row_additions(16, additions_of_sixteen(False))
_convert_sixteen_transposed = row_additions(16, additions_of_sixteen(True))
_revert_sixteen_transposed = row_additions(16, additions_of_sixteen(True)[::-1])


def evaluate(words: Words, lanes: Lanes) -> None:
    """E: values of the polynomial with coefficients ``words`` (N,), in place; N is a power of two and at least 2^11.

    Point j is the sum of the v_k for the bits k of j. The value at point N - 1 - (2048 p + 256 q + r) is left in word 2048 p + 8 r + q.
    """
    _go_forward(words, False, lanes)


def interpolate_transposed(words: Words, lanes: Lanes) -> None:
    """E^-T of ``words`` (N,), which are in reverse order, in place; the result is in the order of `evaluate`."""
    _go_forward(words, True, lanes)


def evaluate_transposed(words: Words, lanes: Lanes) -> None:
    """E^T of ``words`` (N,), which are in the order of `evaluate`, in place; the result is in reverse order."""
    *outer, columns, last = stages(words.size.bit_length() - 1, True)
    for start in range(0, words.size, last.region):
        _back(words, start, last, lanes)
        _back(words, start, columns, lanes)
    for stage in outer:
        _back(words, 0, stage, lanes)


def _go_forward(words: Words, transposed: bool, lanes: Lanes) -> None:
    *outer, columns, last = stages(words.size.bit_length() - 1, transposed)
    for stage in outer:
        _forward(words, 0, stage, lanes)
    for start in range(0, words.size, last.region):
        _forward(words, start, columns, lanes)
        _forward(words, start, last, lanes)


def aligned_words(count: int) -> Words:
    """``count`` words, not set, that begin with a cache line, so that no vector lies across two."""
    raw = np.empty(count + 7, np.uint64)
    start = -(raw.ctypes.data // raw.itemsize) % 8
    return raw[start : start + count]


def _inner(function: Callable[..., Any]) -> Callable[..., Any]:
    """For what only kernels call: they hold its code, so that it needs no cache nor entry of its own."""
    return cast(Callable[..., Any], numba.njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function))  # type: ignore[call-overload]


@kernel
def _forward(words, start, stage, lanes):  # type: ignore[no-untyped-def]
    _expand(words[start : start + stage.region], stage.region_expansions, stage.transposed)
    buffer, constants = _workspace(stage.width << stage.levels), _workspace(8 * stage.levels)
    for number in range(stage.strips):
        strip = start + number * stage.step
        _set_constants(constants, stage, strip >> stage.block_levels)
        if stage.last:
            for row in range(0, 256, 8):
                transpose(buffer, 8 * row, 8, words, strip + row, 256)
        else:
            _read_rows(buffer, words, strip, stage, lanes)
        _convert(buffer, stage, lanes)
        _butterflies(buffer, stage, constants, lanes)
        _write_rows(words, strip, buffer, stage, lanes)


@kernel
def _back(words, start, stage, lanes):  # type: ignore[no-untyped-def]
    buffer, constants = _workspace(stage.width << stage.levels), _workspace(8 * stage.levels)
    for number in range(stage.strips):
        strip = start + number * stage.step
        _set_constants(constants, stage, strip >> stage.block_levels)
        _read_rows(buffer, words, strip, stage, lanes)
        _butterflies_back(buffer, stage, constants, lanes)
        _revert_transposed(buffer, stage, lanes)
        if stage.last:
            for row in range(0, 256, 8):
                transpose(words, strip + row, 256, buffer, 8 * row, 8)
        else:
            _write_rows(words, strip, buffer, stage, lanes)
    _collect_transposed(words[start : start + stage.region], stage.region_expansions)


@_inner
def _workspace(count):  # type: ignore[no-untyped-def]
    raw = np.empty(count + 7, np.uint64)
    start = -(raw.ctypes.data // 8) % 8
    return raw[start : start + count]


@_inner
def _read_rows(buffer, words, strip, stage, lanes):  # type: ignore[no-untyped-def]
    for row in range(1 << stage.levels):
        for column in range(0, stage.width, len(lanes)):
            store(buffer, row * stage.width + column, load(words, strip + row * stage.stride + column, lanes))


@_inner
def _write_rows(words, strip, buffer, stage, lanes):  # type: ignore[no-untyped-def]
    for row in range(1 << stage.levels):
        for column in range(0, stage.width, len(lanes)):
            store(words, strip + row * stage.stride + column, load(buffer, row * stage.width + column, lanes))


@_inner
def _set_constants(constants, stage, block):  # type: ignore[no-untyped-def]
    for level in range(stage.levels):
        common = np.uint64(0)
        for bit in range(stage.block_constants.shape[1]):
            if not block >> bit & 1:
                common ^= stage.block_constants[level, bit]
        for i in range(8 * level, 8 * level + 8):
            constants[i] = common ^ stage.constants[i]


@_inner
def _expand(words, expansions, transposed):  # type: ignore[no-untyped-def]
    """y^shift high reaches as far as y^half: what does is expanded in its turn. The transpose has that in the other half."""
    for number in range(expansions.shape[0]):
        half, shift = expansions[number, 0], expansions[number, 1]
        for low in range(0, words.size, 2 * half):
            own = low if transposed else low + half
            _add_run(words, own, own + half - shift, shift)
            _add_run(words, low + shift, low + half, half - shift)


@_inner
def _collect_transposed(words, expansions):  # type: ignore[no-untyped-def]
    for number in range(expansions.shape[0] - 1, -1, -1):
        half, shift = expansions[number, 0], expansions[number, 1]
        for low in range(0, words.size, 2 * half):
            _add_run(words, low + shift, low + half, half - shift)
            _add_run(words, low, low + half - shift, shift)


@_inner
def _add_run(words, target, source, count):  # type: ignore[no-untyped-def]
    targets, sources = words[target : target + count], words[source : source + count]
    for i in range(count):
        targets[i] ^= sources[i]


@_inner
def _convert(buffer, stage, lanes):  # type: ignore[no-untyped-def]
    _expand(buffer, stage.column_expansions, stage.transposed)
    sixteen = 16 * stage.width
    if stage.levels == 8:
        for word in range(0, sixteen, len(lanes)):
            if stage.transposed:
                _convert_sixteen_transposed(buffer, word, sixteen, lanes)
            else:
                _convert_sixteen(buffer, word, sixteen, lanes)
    if stage.levels >= 4:
        for rows in range(0, buffer.size, sixteen):
            for word in range(rows, rows + stage.width, len(lanes)):
                if stage.transposed:
                    _convert_sixteen_transposed(buffer, word, stage.width, lanes)
                else:
                    _convert_sixteen(buffer, word, stage.width, lanes)


@_inner
def _revert_transposed(buffer, stage, lanes):  # type: ignore[no-untyped-def]
    sixteen = 16 * stage.width
    if stage.levels >= 4:
        for rows in range(0, buffer.size, sixteen):
            for word in range(rows, rows + stage.width, len(lanes)):
                _revert_sixteen_transposed(buffer, word, stage.width, lanes)
    if stage.levels == 8:
        for word in range(0, sixteen, len(lanes)):
            _revert_sixteen_transposed(buffer, word, sixteen, lanes)
    _collect_transposed(buffer, stage.column_expansions)


@_inner
def _butterflies(buffer, stage, constants, lanes):  # type: ignore[no-untyped-def]
    """All levels of the stage, two at a time. An odd one is the first of the transform, where c is 1 or, transposed, 0."""
    half, odd = buffer.size // 2, stage.levels & 1
    if odd:
        if not stage.transposed:
            _add_run(buffer, 0, half, half)
        _add_run(buffer, half, 0, half)
    for column in range(0, 8, len(lanes)):
        for level in range(stage.levels - 2 - odd, -1, -2):
            upper, lower = load(constants, 8 * level + 8 + column, lanes), load(constants, 8 * level + column, lanes)
            blocks = 1 << stage.levels - level - 2
            quarter = buffer.size // (4 * blocks)
            for block in range(blocks):
                lacking = blocks - 1 - block
                both = add(upper, broadcast(stage.sums[lacking], lanes))
                first = add(lower, broadcast(stage.sums[2 * lacking + 1], lanes))
                second = add(lower, broadcast(stage.sums[2 * lacking], lanes))
                for i in range(4 * quarter * block + column, 4 * quarter * block + quarter, 8):
                    a, b = load(buffer, i, lanes), load(buffer, i + quarter, lanes)
                    c, d = load(buffer, i + 2 * quarter, lanes), load(buffer, i + 3 * quarter, lanes)
                    a, b = add(a, multiply(c, both)), add(b, multiply(d, both))
                    c, d = add(c, a), add(d, b)
                    a, c = add(a, multiply(b, first)), add(c, multiply(d, second))
                    store(buffer, i, a)
                    store(buffer, i + quarter, add(b, a))
                    store(buffer, i + 2 * quarter, c)
                    store(buffer, i + 3 * quarter, add(d, c))


@_inner
def _butterflies_back(buffer, stage, constants, lanes):  # type: ignore[no-untyped-def]
    """The inverse of `_butterflies`, transposed."""
    for column in range(0, 8, len(lanes)):
        for level in range(0, stage.levels - 1, 2):
            upper, lower = load(constants, 8 * level + 8 + column, lanes), load(constants, 8 * level + column, lanes)
            blocks = 1 << stage.levels - level - 2
            quarter = buffer.size // (4 * blocks)
            for block in range(blocks):
                lacking = blocks - 1 - block
                both = add(upper, broadcast(stage.sums[lacking], lanes))
                first = add(lower, broadcast(stage.sums[2 * lacking + 1], lanes))
                second = add(lower, broadcast(stage.sums[2 * lacking], lanes))
                for i in range(4 * quarter * block + column, 4 * quarter * block + quarter, 8):
                    a, b = load(buffer, i, lanes), load(buffer, i + quarter, lanes)
                    c, d = load(buffer, i + 2 * quarter, lanes), load(buffer, i + 3 * quarter, lanes)
                    b, d = add(b, a), add(d, c)
                    a, c = add(a, multiply(b, first)), add(c, multiply(d, second))
                    c, d = add(c, a), add(d, b)
                    store(buffer, i, add(a, multiply(c, both)))
                    store(buffer, i + quarter, add(b, multiply(d, both)))
                    store(buffer, i + 2 * quarter, c)
                    store(buffer, i + 3 * quarter, d)
    if stage.levels & 1:
        half = buffer.size // 2
        _add_run(buffer, half, 0, half)
