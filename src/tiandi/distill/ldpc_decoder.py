"""Which bits differ, from which parities differ: a layered decoder with messages of eight bits.

Bob's parities against Alice's are the syndrome of his errors, and errors are rare and independent: so nothing but the QBER is known of each
bit at first. Row by row, each check tells each of its bits what the least certain of the others knows (min-sum, Fossorier et al. 1999,
doi:10.1109/26.768759; layered, Hocevar 2004, doi:10.1109/SIPS.2004.1363033), put right by the tables of
`tiandi.distill.ldpc_evolution`. Which table holds follows from the share of unsatisfied checks among those just visited. 64 checks are
worked on at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import entr

from tiandi.bits import BitArray
from tiandi.compiling import kernel
from tiandi.distill.ldpc_codes import CodeName, QuasiCyclicCode, build_code
from tiandi.distill.ldpc_evolution import (
    LARGEST_BELIEF,
    LARGEST_MESSAGE,
    MAXIMUM_ITERATIONS,
    STEPS_PER_ITERATION,
    Evolution,
    evolve,
)
from tiandi.distill.ldpc_vectors import (
    LANES,
    count,
    difference,
    exceeds,
    exclusive_or,
    greater,
    is_equal,
    is_less,
    lesser,
    load,
    looked_up,
    magnitude,
    saturated_difference,
    saturated_sum,
    select,
    shuffle_flag,
    splat,
    store,
)

_HALO = LANES
"""Each column's first bits stand once more behind its last, so that 64 checks in a row always find their bits in a row."""
_DEFINITE = LARGEST_BELIEF - 1
_LARGEST_ENTROPY_BIT = 0.9
_FIRST_EFFICIENCY, _EFFICIENCY_STEP = 1.06, 1.012


def entropy_bit(qber: float) -> float:
    """Binary entropy of ``qber`` [bit]: what correcting one bit costs at least."""
    return float((entr(qber) + entr(1.0 - qber)) / np.log(2.0))


def qber_of_entropy(bit: float) -> float:
    """The QBER up to 1/2 whose binary entropy is ``bit``."""
    return float(brentq(lambda qber: entropy_bit(qber) - bit, 0.0, 0.5))


def worst_evolution(name: CodeName) -> Evolution:
    """The evolution of a code at about the highest QBER that it can correct: tables for bad frames serve good ones too."""
    code = build_code(name)
    bits = np.unique(np.bincount(code.edge_columns, minlength=code.columns), return_counts=True)
    checks = np.unique(np.diff(code.row_starts), return_counts=True)
    efficiency = _FIRST_EFFICIENCY
    while True:
        evolution = evolve(*bits, *checks, qber_of_entropy(min(name.syndrome_bit / (name.code_bit * efficiency), _LARGEST_ENTROPY_BIT)))
        if evolution.converges:
            return evolution
        efficiency *= _EFFICIENCY_STEP


@dataclass(frozen=True)
class _Schedule:
    """A code as the compiled loop wants it: for each row and each 64 of its checks, where the bits of every edge start.

    The edges of 64 checks come in three parts: those that stay clear of the column's ends, those that reach into the halo, and those that
    touch the bits repeated there; ``parts`` (rows, words, 2) says where the second and third begin.
    """

    row_starts: NDArray[np.int64]
    positions: NDArray[np.int32]
    parts: NDArray[np.int64]
    kinds: NDArray[np.int64]
    evolution: Evolution


@lru_cache(maxsize=64)
def _schedule(name: CodeName) -> _Schedule:
    code = build_code(name)
    _, kinds = np.unique(np.diff(code.row_starts), return_inverse=True)
    positions, parts = _lay_out(code)
    return _Schedule(code.row_starts, positions, parts, kinds, worst_evolution(name))


def _lay_out(code: QuasiCyclicCode) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Positions and parts of a `_Schedule`."""
    words = code.circulant // LANES
    row = np.repeat(np.arange(code.row_starts.size - 1), np.diff(code.row_starts))[:, None]
    start = (np.arange(words) * LANES + code.edge_shifts[:, None]) % code.circulant
    part = np.where(start > code.circulant - LANES, 1, np.where(start < _HALO, 2, 0))
    position = code.edge_columns[:, None] * (code.circulant + _HALO) + start
    order = np.lexsort((part.ravel(), np.broadcast_to(np.arange(words), start.shape).ravel(), np.broadcast_to(row, start.shape).ravel()))
    counts = np.zeros((code.row_starts.size - 1, words, 3), np.int64)
    np.add.at(counts, (row, np.arange(words), part), 1)
    return position.ravel()[order].astype(np.int32), np.cumsum(counts, axis=2)[:, :, :2].copy()


def find_errors(name: CodeName, syndrome: BitArray, frame_bit: int) -> BitArray | None:
    """The errors (frame_bit,) whose parities are ``syndrome`` (rows, circulant), or None when the decoder does not find any.

    Bits from ``frame_bit`` on fill the frame up and are known to be right. Errors that have this syndrome and are not the true ones are
    possible, and rare: keys must be verified. Several threads may decode at once.
    """
    return _find_errors(name, syndrome, frame_bit, shuffle_flag())


def _find_errors(name: CodeName, syndrome: BitArray, frame_bit: int, shuffle: bool | None) -> BitArray | None:
    schedule = _schedule(name)
    evolution = schedule.evolution
    belief = np.full(name.code_bit, LARGEST_BELIEF, np.int8)
    belief[:frame_bit] = evolution.prior
    columns = belief.reshape(name.columns, name.circulant)
    haloed = np.concatenate([columns, columns[:, :_HALO]], axis=1)
    signs = np.where(syndrome.ravel() != 0, np.int8(-128), np.int8(0))
    found = _decode(
        schedule.row_starts,
        schedule.positions,
        schedule.parts,
        schedule.kinds,
        evolution.tables.reshape(evolution.unsatisfied.size, -1),
        evolution.unsatisfied,
        name.circulant,
        signs,
        haloed.reshape(-1),
        shuffle,
    )
    return (haloed[:, : name.circulant] < 0).ravel()[:frame_bit].astype(np.uint8) if found else None


@kernel
def _visit(start, degree, positions, parts, circulant, sign, table, tables, belief, messages, heard, shuffle):  # type: ignore[no-untyped-def]
    """Let 64 checks hear their bits and answer; returns how many found their parity wrong.

    A belief at the end of its range stands for any larger one: nothing is taken out of it and nothing added, or what was cut off would be
    missed later.
    """
    zero, definite = splat(0), splat(_DEFINITE)
    least = second = splat(LARGEST_MESSAGE)
    for edge in range(degree):
        before = load(belief, np.int64(positions[start + edge]))
        others = saturated_difference(before, load(messages, (start + edge) * LANES))
        others = select(exceeds(magnitude(before), definite), before, others)
        size = magnitude(others)
        sign = exclusive_or(sign, others)
        second = lesser(second, greater(size, least))
        least = lesser(least, size)
        store(heard, edge * LANES, others)
    least_told, second_told = looked_up(tables, table, least, shuffle), looked_up(tables, table, second, shuffle)
    for edge in range(degree):
        others = load(heard, edge * LANES)
        size = magnitude(others)
        told = select(is_equal(size, least), second_told, least_told)
        told = select(is_less(exclusive_or(others, sign), zero), difference(zero, told), told)
        store(messages, (start + edge) * LANES, told)
        after = select(exceeds(size, definite), others, saturated_sum(others, told))
        store(belief, np.int64(positions[start + edge]), after)
    stride = circulant + _HALO
    for edge in range(parts[0], parts[1]):
        column = np.int64(positions[start + edge]) // stride * stride
        store(belief, column, load(belief, column + circulant))
    for edge in range(parts[1], degree):
        column = np.int64(positions[start + edge]) // stride * stride
        store(belief, column + circulant, load(belief, column))
    return count(is_less(sign, zero))


@kernel
def _satisfied(row_starts, positions, circulant, signs, belief):  # type: ignore[no-untyped-def]
    """Whether the errors believed in have the syndrome ``signs``."""
    words = circulant // LANES
    for row in range(row_starts.size - 1):
        degree = row_starts[row + 1] - row_starts[row]
        for word in range(words):
            start = row_starts[row] * words + word * degree
            sign = load(signs, row * circulant + word * LANES)
            for edge in range(degree):
                sign = exclusive_or(sign, load(belief, np.int64(positions[start + edge])))
            if count(is_less(sign, splat(0))):
                return False
    return True


@kernel
def _decode(row_starts, positions, parts, kinds, tables, unsatisfied, circulant, signs, belief, shuffle):  # type: ignore[no-untyped-def]
    """Pass over all rows until every check is satisfied; returns whether that came about. ``belief`` ends up as what is believed."""
    words, rows = circulant // LANES, row_starts.size - 1
    messages = np.zeros(positions.size * LANES, np.int8)
    heard = np.empty(np.diff(row_starts).max() * LANES, np.int8)
    flat = tables.reshape(-1)
    step = 0
    for iteration in range(MAXIMUM_ITERATIONS):
        for group in range(STEPS_PER_ITERATION):
            wrong, checks = 0, 0
            for row in range(group * rows // STEPS_PER_ITERATION, (group + 1) * rows // STEPS_PER_ITERATION):
                degree = row_starts[row + 1] - row_starts[row]
                table = step * tables.shape[1] + kinds[row] * (LARGEST_MESSAGE + 1)
                for word in range(words):
                    start = row_starts[row] * words + word * degree
                    sign = load(signs, row * circulant + word * LANES)
                    wrong += _visit(
                        start, degree, positions, parts[row, word], circulant, sign, table, flat, belief, messages, heard, shuffle
                    )
                checks += circulant
            if checks:
                step = _next_step(iteration * STEPS_PER_ITERATION + group, wrong, checks, unsatisfied)
        # Costs next to nothing: while there are errors, one of the first checks shows it.
        if _satisfied(row_starts, positions, circulant, signs, belief):
            return True
    return False


@kernel
def _next_step(visited, wrong, checks, unsatisfied):  # type: ignore[no-untyped-def]
    """The step of the evolution that comes after the share of checks just found wrong; the first pass goes step by step."""
    last = unsatisfied.size - 1
    if visited + 1 < STEPS_PER_ITERATION:
        return min(visited + 1, last)
    step = min(STEPS_PER_ITERATION - 1, last)
    while step < last and unsatisfied[step] * checks > wrong:
        step += 1
    return min(step + 1, last)
