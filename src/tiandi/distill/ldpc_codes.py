"""Quasi-cyclic low-density parity-check codes, built alike at both ends from a short name.

Gallager 1962, doi:10.1109/TIT.1962.1057683; quasi-cyclic: Fossorier 2004, doi:10.1109/TIT.2004.831841. A code is a table of circulants:
bit j of a column of blocks takes part in check (j - shift) modulo ``circulant`` of a row of blocks. The shares of columns of each degree
come from ``data/ldpc-degrees.json``. Circulants are placed where the rows are emptiest, and shifts drawn such that no two checks share
two bits, or as few as can be where frames are short for their rate.

A row of circulants can be split: its edges fall into two halves, and the parities of both halves replace those of the row. Whoever knows
the row's parities need only be told those of one half. Splitting a few rows adds a few per cent to the syndrome at nearly the efficiency of
a code built for that rate.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from tiandi.bits import BitArray
from tiandi.compiling import kernel
from tiandi.errors import InputError

CIRCULANT_SIZES = range(128, 513, 64)
"""A decoder takes 64 checks at once, and needs no fewer than 128 in a row."""
LEAST_ROWS = 4
_GOLDEN_RATIO = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class CodeName:
    """Tells a code apart from all others: rows and columns of circulants, their size, a seed, and how many rows are split.

    Raises InputError for a size that the decoder does not take, and for more rows than columns.
    """

    rows: int
    columns: int
    circulant: int
    seed: int = 0
    split_rows: int = 0

    def __post_init__(self) -> None:
        if self.circulant not in CIRCULANT_SIZES:
            raise InputError("circulant", self.circulant, f"must be a multiple of 64 in [{CIRCULANT_SIZES[0]}, {CIRCULANT_SIZES[-1]}]")
        if not LEAST_ROWS <= self.rows < self.columns:
            raise InputError("rows", self.rows, f"must be at least {LEAST_ROWS} and fewer than the {self.columns} columns")
        if not 0 <= self.split_rows <= self.rows:
            raise InputError("split_rows", self.split_rows, f"must lie in [0, {self.rows}]")

    @property
    def code_bit(self) -> int:
        """Bits of a frame."""
        return self.columns * self.circulant

    @property
    def syndrome_bit(self) -> int:
        """Parities of a frame."""
        return (self.rows + self.split_rows) * self.circulant

    def split(self, count: int) -> CodeName:
        """The same code with ``count`` rows split, 0 to ``rows``; those split for a smaller count are among them."""
        return replace(self, split_rows=count)


@dataclass(frozen=True)
class QuasiCyclicCode:
    """Where the circulants are: row r holds those from ``row_starts[r]`` to before ``row_starts[r + 1]``, each with column and shift."""

    circulant: int
    columns: int
    row_starts: NDArray[np.int64]
    edge_columns: NDArray[np.int64]
    edge_shifts: NDArray[np.int64]

    def syndrome(self, bits: BitArray) -> BitArray:
        """Parities of ``bits`` (columns * circulant,), row by row, shape (rows, circulant)."""
        parities = np.zeros((self.row_starts.size - 1, self.circulant), np.uint8)
        _sum_rows(self.row_starts, self.edge_columns, self.edge_shifts, bits, parities)
        return parities


def split_rows(name: CodeName) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which rows of the whole code are split, in the order in which they are, and where the first half of each now stands."""
    # Strides of the golden ratio spread any number of rows evenly.
    chosen = np.argsort((np.arange(name.rows) * _GOLDEN_RATIO) % 1.0)[: name.split_rows]
    return chosen, chosen + np.searchsorted(np.sort(chosen), chosen)


def split_syndrome(name: CodeName, whole: BitArray, halves: BitArray) -> BitArray:
    """The syndrome of a split code from the ``whole`` rows (rows, circulant) and the first ``halves`` (split_rows, circulant)."""
    chosen, places = split_rows(name)
    repeats = np.ones(name.rows, np.int64)
    repeats[chosen] = 2
    syndrome = np.repeat(whole, repeats, axis=0)
    syndrome[places] = halves
    syndrome[places + 1] ^= halves
    return syndrome


@lru_cache(maxsize=64)
def build_code(name: CodeName) -> QuasiCyclicCode:
    """The code called ``name``; the same on every machine."""
    if name.split_rows:
        whole = build_code(name.split(0))
        chosen, _ = split_rows(name)
        halves = (whole.row_starts[chosen] + whole.row_starts[chosen + 1]) // 2
        return replace(whole, row_starts=np.sort(np.concatenate([whole.row_starts, halves])))
    degrees = _column_degrees(name)
    order = np.argsort(_random_words(name.seed, name.columns))
    rows, shifts = np.full((2, name.columns, degrees.max()), -1)
    _place(degrees, name.rows, name.circulant, np.uint64(name.seed), rows, shifts)
    columns = np.broadcast_to(order[:, None], rows.shape)
    edges = rows >= 0
    rows, columns, shifts = rows[edges], columns[edges], shifts[edges]
    # Within a row the edges are shuffled, so that either half of it has bits of every degree.
    arrangement = np.lexsort((_random_words(name.seed + 1, rows.size), rows))
    row_starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=name.rows))])
    return QuasiCyclicCode(name.circulant, name.columns, row_starts, columns[arrangement], shifts[arrangement])


@lru_cache(maxsize=1)
def _degree_tables() -> list[tuple[float, dict[int, float]]]:
    """Pairs of a rate, in parities per bit, and the shares of columns of each degree."""
    data = json.loads(files("tiandi.distill").joinpath("data/ldpc-degrees.json").read_text())
    return [(entry["rate"], {int(degree): share for degree, share in entry["columns"].items()}) for entry in data["tables"]]


def _column_degrees(name: CodeName) -> NDArray[np.int64]:
    """Degree of each column, ascending, from the table made for the rate nearest to the code's."""
    _, shares = min(_degree_tables(), key=lambda table: abs(np.log(table[0] * name.columns / name.rows)))
    ends = np.rint(np.cumsum(list(shares.values())) / sum(shares.values()) * name.columns).astype(np.int64)
    degrees = np.repeat(list(shares), np.diff(ends, prepend=0))
    # Columns of degree two form one chain from row to row, which must not close.
    degrees[name.rows - 1 :] = np.maximum(degrees[name.rows - 1 :], 3)
    return np.minimum(degrees, name.rows)


def _random_words(seed: int, count: int) -> NDArray[np.uint64]:
    """Raw words of Philox, which NumPy keeps the same in all its versions."""
    return np.random.Philox(key=seed).random_raw(count)


@kernel
def _draw(state):  # type: ignore[no-untyped-def]
    """Next word of SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    word = state[0]
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@kernel
def _offset(row, other_row, shift, other_shift, circulant):  # type: ignore[no-untyped-def]
    """Which two checks of two rows share a bit, as one number: the difference of the shifts, from the smaller row."""
    return (shift - other_shift if row < other_row else other_shift - shift) % circulant


@kernel
def _choose_rows(degree, chain, load, state, chosen):  # type: ignore[no-untyped-def]
    """The emptiest rows, ties drawn by lot; a column of degree two is the next link of the chain."""
    rows = load.size
    if degree == 2:
        chosen[0], chosen[1] = chain % rows, (chain + 1) % rows
        return
    lots = np.empty(rows)
    for row in range(rows):
        lots[row] = load[row] + np.float64(_draw(state) >> np.uint64(11)) * 2.0**-53
    for j in range(degree):
        emptiest = 0
        for row in range(1, rows):
            if lots[row] < lots[emptiest]:
                emptiest = row
        chosen[j] = emptiest
        lots[emptiest] = np.inf


@kernel
def _choose_shifts(rows, circulant, taken, state, shifts):  # type: ignore[no-untyped-def]
    """For each of ``rows`` the first shift from a random one on that closes fewest cycles of four edges."""
    for j in range(rows.size):
        first = np.int64(_draw(state) % np.uint64(circulant))
        fewest = j + 1
        for turn in range(circulant):
            shift, clashes = (first + turn) % circulant, 0
            for i in range(j):
                low, high = min(rows[i], rows[j]), max(rows[i], rows[j])
                clashes += taken[low, high, _offset(rows[j], rows[i], shift, shifts[i], circulant)]
                if clashes >= fewest:
                    break
            if clashes < fewest:
                fewest, shifts[j] = clashes, shift
            if fewest == 0:
                break


@kernel
def _place(degrees, row_count, circulant, seed, rows, shifts):  # type: ignore[no-untyped-def]
    """Rows and shifts of every column, from the lowest degree to the highest."""
    state = np.array([seed], np.uint64)
    taken = np.zeros((row_count, row_count, circulant), np.bool_)
    load = np.zeros(row_count, np.int64)
    for column in range(degrees.size):
        degree = degrees[column]
        _choose_rows(degree, column, load, state, rows[column])
        _choose_shifts(rows[column, :degree], circulant, taken, state, shifts[column])
        for j in range(degree):
            load[rows[column, j]] += 1
            for i in range(j):
                low, high = min(rows[column, i], rows[column, j]), max(rows[column, i], rows[column, j])
                taken[low, high, _offset(rows[column, j], rows[column, i], shifts[column, j], shifts[column, i], circulant)] = True


@kernel
def _add_bits(target, source):  # type: ignore[no-untyped-def]
    for j in range(target.size):
        target[j] ^= source[j]


@kernel
def _sum_rows(row_starts, edge_columns, edge_shifts, bits, parities):  # type: ignore[no-untyped-def]
    circulant = parities.shape[1]
    for row in range(parities.shape[0]):
        for edge in range(row_starts[row], row_starts[row + 1]):
            start, shift = edge_columns[edge] * circulant, edge_shifts[edge]
            _add_bits(parities[row, : circulant - shift], bits[start + shift : start + circulant])
            _add_bits(parities[row, circulant - shift :], bits[start : start + shift])
