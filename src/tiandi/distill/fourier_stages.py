"""The plan of an additive Fourier transform over GF(2^64): its basis, its expansions and the constants of its butterflies."""

from __future__ import annotations

from functools import cache, reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiandi.distill.vectors import field_product

Words = NDArray[np.uint64]
Expansions = list[tuple[int, int]]
"""Lengths of halves and shifts, see `_expansions`."""

SMALLEST_LEVELS = 11
"""A transform has at least 2^11 elements, which its last stage takes at once."""
REGION_LEVELS = 16
"""2^16 elements, half a megabyte, stay in a core's cache from one stage to the next."""


class Stage(NamedTuple):
    """Consecutive levels of a transform. Expansions split a region of the words into rows; then every column of these is transformed.

    That happens in a buffer, for a strip of columns at a time. The strips of the last stage are different: eight runs of 256 words each,
    which are laid across when they come into the buffer and stay so when they go back. Lengths are counted in words.
    """

    transposed: bool
    last: bool
    levels: int
    """There are 2^levels rows."""
    region: int
    stride: int
    """From row to row."""
    width: int
    """Of a strip."""
    strips: int
    step: int
    """From strip to strip."""
    region_expansions: NDArray[np.int64]
    column_expansions: NDArray[np.int64]
    """The rest of the way to the butterflies' basis, but for the last levels, four or all eight, which are taken four at a time."""
    sums: Words
    """The c of a butterfly is the sum of: what stands here for the bits that the number of its rows lacks,"""
    constants: Words
    """what stands here for its level and its column (of eight),"""
    block_levels: int
    block_constants: Words
    """and what stands here, level by level, for each bit that the number of its block of 2^block_levels words lacks."""


@cache
def cantor_basis() -> tuple[int, ...]:
    """v_0 ... v_63 with v_0 = 1 and v_k^2 + v_k = v_(k-1). All follow from v_63, which can be any element of trace 1: v_0 is its trace."""
    for start in (1 << place for place in reversed(range(64))):
        basis = [start]
        while len(basis) < 64:
            basis.append(field_product(basis[-1], basis[-1]) ^ basis[-1])
        if basis[-1] == 1:
            return tuple(reversed(basis))
    raise ArithmeticError("no power of x has trace 1")


@cache
def stages(levels: int, transposed: bool) -> tuple[Stage, ...]:
    """The stages of a transform of 2^levels elements in their order: two, or beyond 2^16 elements three, the first for the whole."""
    inner = min(levels, REGION_LEVELS)
    outer = [_stage(levels, REGION_LEVELS, levels - inner, transposed)] if levels > inner else []
    return (*outer, _stage(levels, 8, inner - 8, transposed), _stage(levels, 0, 8, transposed))


def _stage(total: int, lowest: int, levels: int, transposed: bool) -> Stage:
    """The stage for ``levels`` levels from ``lowest`` on of a transform with ``total`` levels."""
    basis, last = cantor_basis(), lowest == 0
    across = 3 if last else 0
    block_levels = lowest + levels + across
    region = 1 << (min(total, REGION_LEVELS) if last else lowest + levels)
    width = 8 << max(0, 8 - levels)
    step = width << levels if last else width
    # Values are in reverse order, so that c belongs to the point of the bits that a place lacks. Of the two places of a butterfly
    # E takes the first, which lacks the level's own bit, and E^-T the second.
    own = 0 if transposed else 1
    lacking = [[bit for bit in range(across) if not column >> bit & 1] for column in range(8)]
    constants = [reduce(int.__xor__, [basis[levels - level + bit] for bit in bits], own) for level in range(levels) for bits in lacking]
    block_constants = [basis[bit - lowest - level] for level in range(levels) for bit in range(block_levels, total)]
    return Stage(
        transposed=transposed,
        last=last,
        levels=levels,
        region=region,
        stride=width if last else 1 << lowest,
        width=width,
        strips=(region if last else 1 << lowest) // step,
        step=step,
        region_expansions=_as_array([] if last else _expansions(lowest, lowest + levels, 1)),
        column_expansions=_as_array(_conversion(levels, width)[: -8 if levels == 8 else -4 if levels >= 4 else None]),
        sums=_sums(basis[1 : max(levels, 2)]),
        constants=np.array(constants, np.uint64),
        block_levels=block_levels,
        block_constants=np.array(block_constants, np.uint64).reshape(levels, total - block_levels),
    )


def _sums(elements: tuple[int, ...]) -> Words:
    sums = [0]
    for element in elements:
        sums += [element ^ other for other in sums]
    return np.array(sums, np.uint64)


def _as_array(expansions: Expansions) -> NDArray[np.int64]:
    return np.array(expansions, np.int64).reshape(-1, 2)


def _expansions(power: int, levels: int, unit: int) -> Expansions:
    """From powers of y to powers of S = y^(2^power) + y: halves and shifts for 2^levels coefficients of ``unit`` words each.

    Each is for all neighbouring halves of that length: with y^half = S + y^shift, where S is now a power of the S above,
    low + y^half high = (low + y^shift high) + S high.
    """
    return [(unit << power + level, unit << level) for level in reversed(range(levels - power))]


def _conversion(levels: int, unit: int) -> Expansions:
    """From powers of y to products of s_0, s_1 ...: by powers of s_k for the largest k that is a power of two, then each part alike."""
    if levels < 2:
        return []
    power = 1 << (levels - 1).bit_length() - 1
    return _expansions(power, levels, unit) + _conversion(levels - power, unit << power) + _conversion(power, unit)


def additions_of_sixteen(transposed: bool) -> list[tuple[int, int]]:
    """Which rows of sixteen are added to which for their conversion: targets and sources, in this order."""
    additions = []
    for half, shift in _conversion(4, 1):
        for low in range(0, 16, 2 * half):
            own = low if transposed else low + half
            additions += [(own + row, own + half - shift + row) for row in range(shift)]
            additions += [(low + shift + row, low + half + row) for row in range(half - shift)]
    return additions
