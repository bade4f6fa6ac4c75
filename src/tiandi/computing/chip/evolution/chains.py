"""Chains of superoperators by index: trains of pulses, random sequences of tens of thousands of gates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.chip.evolution.batches import fused_kernel, on_all_cores
from tiandi.computing.instruments.program import FloatArray
from tiandi.errors import InputError

NONE = -1
"""In an order: nothing is done."""


@fused_kernel
def _multiply(columns, vector, product):  # type: ignore[no-untyped-def]
    """``vector`` becomes the matrix times itself; ``columns`` are the matrix's, so that its rows are the lanes of vectors."""
    size = vector.size
    for row in range(size):
        product[row] = 0.0
    for column in range(size):
        factor, line = vector[column], columns[column]
        for row in range(size):
            product[row] += factor * line[row]
    for row in range(size):
        vector[row] = product[row]


@fused_kernel
def _chains(begin, end, initial, tables, order, results):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Chains ``begin`` to ``end`` of B x points."""
    points, size = results.shape[1], results.shape[2]
    vector, product = np.empty(size), np.empty(size)
    for number in range(begin, end):
        entry, point = number // points, number % points
        table, word = tables[min(entry, tables.shape[0] - 1)], order[min(entry, order.shape[0] - 1), point]
        vector[:] = initial[min(entry, initial.shape[0] - 1)]
        for place in range(word.size):
            if word[place] >= 0:
                _multiply(table[word[place]], vector, product)
        results[entry, point] = vector


@fused_kernel
def _local(first, second, state, product):  # type: ignore[no-untyped-def]
    """``state`` (9, 9) becomes first state second^T; both maps are given by columns, the product is a place to work."""
    for row in range(9):
        for column in range(9):
            product[row, column] = 0.0
    for middle in range(9):
        for row in range(9):
            factor = first[middle, row]
            for column in range(9):
                product[row, column] += factor * state[middle, column]
    for row in range(9):
        for column in range(9):
            state[row, column] = 0.0
        for middle in range(9):
            factor = product[row, middle]
            for column in range(9):
                state[row, column] += factor * second[middle, column]


@fused_kernel
def _pair_chains(begin, end, initial, first, second, both, order, results):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Chains ``begin`` to ``end`` of B x points."""
    points = results.shape[1]
    vector, product, square = np.empty(81), np.empty(81), np.empty((9, 9))
    state, unit = vector.reshape(9, 9), np.eye(9)
    for number in range(begin, end):
        entry, point = number // points, number % points
        word = order[min(entry, order.shape[0] - 1), point]
        own, other, joint = min(entry, first.shape[0] - 1), min(entry, second.shape[0] - 1), min(entry, both.shape[0] - 1)
        vector[:] = initial[min(entry, initial.shape[0] - 1)]
        for place in range(word.shape[0]):
            one, two, pair = word[place, 0], word[place, 1], word[place, 2]
            if one >= 0 or two >= 0:
                _local(first[own, one] if one >= 0 else unit, second[other, two] if two >= 0 else unit, state, square)
            if pair >= 0:
                _multiply(both[joint, pair], vector, product)
        results[entry, point] = vector


def apply_chains(initial: FloatArray, table: FloatArray, order: NDArray[np.integer]) -> FloatArray:
    """Vectors of `hermitian` after chains of superoperators: (B, points, L^2); the first L elements are the populations.

    ``initial`` (B or 1, L^2), ``table`` (B or 1, K, L^2, L^2), ``order`` (B or 1, points, length): rows of the table, first what is
    applied first, `NONE` for nothing. The work is L^4 multiplications for each gate: 81 for three levels, 256 for four.
    """
    size, rows = initial.shape[-1], table.shape[1]
    if table.shape[2:] != (size, size):
        raise InputError("table", table.shape, f"must be (B, K, {size}, {size}), as initial says")
    _require_order(order, rows)
    count = _entries(len(initial), len(table), len(order))
    results = np.empty((count, order.shape[1], size))
    arguments = _by_columns(table), np.ascontiguousarray(order, np.int16), results
    on_all_cores(_chains, count * order.shape[1], np.ascontiguousarray(initial, float), *arguments)
    return results


def apply_pair_chains(
    initial: FloatArray, first: FloatArray, second: FloatArray, both: FloatArray, order: NDArray[np.integer]
) -> FloatArray:
    """Vectors of two transmons (see `pair`) after chains: (B, points, 81).

    Each place of ``order`` (B or 1, points, length, 3) applies a row of ``first`` (B or 1, K, 9, 9) to the first transmon, at once one of
    ``second`` to the second, and then one of ``both`` (B or 1, M, 81, 81); `NONE` for nothing. The work is 1,458 multiplications for local
    maps and 6,561 for a joint one.
    """
    for name, table, size in (("first", first, 9), ("second", second, 9), ("both", both, 81)):
        if table.ndim != 4 or table.shape[2:] != (size, size):
            raise InputError(name, table.shape, f"must be (B, K, {size}, {size})")
    if order.ndim != 4 or order.shape[3] != 3:
        raise InputError("order", order.shape, "must be (B, points, length, 3)")
    for column, table in enumerate((first, second, both)):
        _require_order(order[..., column], table.shape[1])
    count = _entries(len(initial), len(first), len(second), len(both), len(order))
    results = np.empty((count, order.shape[1], 81))
    tables = (_by_columns(each) for each in (first, second, both))
    given, words = np.ascontiguousarray(initial, float), np.ascontiguousarray(order, np.int16)
    on_all_cores(_pair_chains, count * order.shape[1], given, *tables, words, results)
    return results


def _by_columns(table: FloatArray) -> FloatArray:
    return np.ascontiguousarray(np.swapaxes(table, -1, -2), dtype=float)


def _entries(*sizes: int) -> int:
    """The number B that all sizes are, but for those of 1."""
    most = max(sizes)
    if not {1, most} >= set(sizes):
        raise InputError("batch", list(sizes), f"must all be {most} or 1")
    return most


def _require_order(order: NDArray[np.integer], rows: int) -> None:
    if order.size and not NONE <= order.min() <= order.max() < rows:
        raise InputError("order", [int(order.min()), int(order.max())], f"must number the {rows} rows of the table, or be {NONE}")
