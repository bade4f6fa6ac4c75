"""Contraction of one tensor network for many sets of values at once, along a path that is looked for once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiandi.errors import InputError

ComplexArray = NDArray[np.complex64]
IntArray = NDArray[np.int64]
Indices = tuple[int, ...]

LARGEST_ENTRIES = 2**27
"""Entries of the largest tensor on the way (8 byte each); a network that would need more is cut into slices."""
SEARCHES, MOST_SEARCHES = 6, 24
"""Rounds of the search for a path: usually, and while the cost lies between `WORTH_SEARCHING_FLOP` and `HOPELESS_FLOP`.

Below `CHEAP_FLOP` one round is enough.
"""
TRIES_A_ROUND = 64
BETTERED_BY = 1e5
"""Reordering hardly ever saves more than this factor."""
CHEAP_FLOP, WORTH_SEARCHING_FLOP, HOPELESS_FLOP = 3e6, 8e8, 1e13
ITEM_BYTE = 8


@dataclass(frozen=True, slots=True)
class Stacked:
    """One tensor of each of a batch of networks: its distinct ``values`` (rows, ...), and which ``row`` (batch,) each network has.

    Networks of a batch that share a value, a corner of equal bits without an error say, share the work that follows from it.
    """

    values: ComplexArray
    row: IntArray


@dataclass(frozen=True, slots=True)
class _Step:
    """Two tensors are ordered as matrices and multiplied; the product is called ``result``."""

    left: int
    right: int
    left_axes: Indices
    right_axes: Indices
    left_shape: Indices
    right_shape: Indices
    shape: Indices


class Contraction:
    """The cheapest way found to contract tensors with legs ``inputs`` to one with legs ``output``; ``sizes`` gives each leg's dimension.

    Every leg belongs to two tensors, or to one and the output. ``flop`` counts the real operations (8 for each complex
    multiplication and addition) of one network, ``memory_byte`` is that of its largest tensor three times (two factors and a product).
    Paths: random greedy search, then exact reordering of subtrees and slicing, Gray and Kourtis, Quantum 5, 410 (2021),
    doi:10.22331/q-2021-03-15-410, by cotengra. The same ``seed`` gives the same path. Raises InputError where cotengra is absent.
    """

    def __init__(
        self,
        inputs: Sequence[Indices],
        output: Indices,
        sizes: Mapping[int, int],
        *,
        seed: int = 0,
        largest_entries: int = LARGEST_ENTRIES,
    ) -> None:
        self._output = output
        self._inputs = list(inputs)
        sliced: Indices = ()
        path: list[tuple[int, int]] = []
        entries, cost, slices = math.prod(sizes[leg] for leg in output), 0.0, 1
        if len(inputs) > 1:
            tree, sliced = _best_tree(inputs, output, sizes, seed=seed, largest_entries=largest_entries)
            path = [(int(first), int(second)) for first, second in tree.get_ssa_path()]
            entries, cost, slices = int(tree.max_size()), float(tree.contraction_cost()), int(tree.multiplicity)
        self.flop, self.slices, self.largest_entries = 8.0 * cost, slices, entries
        self.memory_byte = 3 * ITEM_BYTE * entries
        self._sliced = [(leg, sizes[leg]) for leg in sliced]
        self._steps, self._last_axes = _compiled([tuple(leg for leg in legs if leg not in sliced) for legs in inputs], output, path, sizes)

    def __call__(self, tensors: Sequence[Stacked]) -> ComplexArray:
        """The result for each network of the batch, shape (batch, *sizes of the output's legs)."""
        total: ComplexArray | None = None
        for chosen in itertools.product(*(range(size) for _, size in self._sliced)):
            at = {leg: value for (leg, _), value in zip(self._sliced, chosen, strict=True)}
            part = self._contract([_slice(tensor, legs, at) for tensor, legs in zip(tensors, self._inputs, strict=True)])
            total = part if total is None else total + part
        assert total is not None
        return total

    def _contract(self, tensors: list[Stacked | None]) -> ComplexArray:
        for step in self._steps:
            left, right = tensors[step.left], tensors[step.right]
            assert left is not None
            assert right is not None
            tensors[step.left] = tensors[step.right] = None
            tensors.append(_product(left, right, step))
        last = tensors[-1]
        assert last is not None
        return last.values.transpose(self._last_axes)[last.row]


def _slice(tensor: Stacked, legs: Indices, at: Mapping[int, int]) -> Stacked:
    if not at:
        return tensor
    return Stacked(tensor.values[(slice(None), *(at.get(leg, slice(None)) for leg in legs))], tensor.row)


def _product(left: Stacked, right: Stacked, step: _Step) -> Stacked:
    """Only distinct pairs of rows are multiplied."""
    first = left.values.transpose(step.left_axes).reshape(len(left.values), *step.left_shape)
    second = right.values.transpose(step.right_axes).reshape(len(right.values), *step.right_shape)
    if len(second) == 1:
        row = left.row
        product = first.reshape(-1, step.left_shape[1]) @ second[0]
    elif len(first) == 1:
        row = right.row
        product = first @ second
    else:
        pairs, row = np.unique(left.row * len(second) + right.row, return_inverse=True)
        product = first[pairs // len(second)] @ second[pairs % len(second)]
    return Stacked(product.reshape(-1, *step.shape), row)


def _compiled(
    inputs: Sequence[Indices], output: Indices, path: Sequence[tuple[int, int]], sizes: Mapping[int, int]
) -> tuple[list[_Step], Indices]:
    """The steps of a path whose tensors are numbered in the order in which they come about; the axes that give the output's order."""
    legs = list(inputs)
    steps = []
    for numbers in path:
        # The larger one stands first and keeps its order where it can.
        first, second = sorted(numbers, key=lambda number: -math.prod(sizes[leg] for leg in legs[number]))
        shared = [leg for leg in legs[first] if leg in legs[second]]
        left, right = ([leg for leg in legs[number] if leg not in shared] for number in (first, second))
        width, height, depth = (math.prod(sizes[leg] for leg in some) for some in (left, right, shared))
        steps.append(
            _Step(
                first,
                second,
                (0, *(1 + legs[first].index(leg) for leg in (*left, *shared))),
                (0, *(1 + legs[second].index(leg) for leg in (*shared, *right))),
                (width, depth),
                (depth, height),
                tuple(sizes[leg] for leg in (*left, *right)),
            )
        )
        legs.append((*left, *right))
    return steps, (0, *(1 + legs[-1].index(leg) for leg in output))


def _best_tree(
    inputs: Sequence[Indices], output: Indices, sizes: Mapping[int, int], *, seed: int, largest_entries: int
) -> tuple[Any, Indices]:
    """The cheapest of some rounds of greedy search, each round's best reordered, then sliced; and the legs that are."""
    cotengra = _cotengra()
    # cotengra wants a character for each leg.
    symbols = {leg: cotengra.get_symbol(leg) for leg in sizes}
    names, ends = [tuple(symbols[leg] for leg in legs) for legs in inputs], tuple(symbols[leg] for leg in output)
    dimensions = {symbols[leg]: size for leg, size in sizes.items()}
    best: Any = None
    cheapest = math.inf
    for number in range(MOST_SEARCHES):
        if 8 * cheapest < CHEAP_FLOP or (number >= SEARCHES and not WORTH_SEARCHING_FLOP < 8 * cheapest < HOPELESS_FLOP):
            break
        optimiser = cotengra.RandomGreedyOptimizer(max_repeats=TRIES_A_ROUND, seed=1000 * seed + number, accel="auto")
        tree = cotengra.array_contract_tree(names, ends, size_dict=dimensions, optimize=optimiser, canonicalize=False)
        # What is hopeless is not worth more: it will be refused by what it would cost.
        hopeless = 8 * tree.contraction_cost() > HOPELESS_FLOP * BETTERED_BY
        if not hopeless:
            tree.subtree_reconfigure_(subtree_size=8, minimize="flops")
        if tree.contraction_cost() < cheapest:
            best, cheapest = tree, tree.contraction_cost()
        if hopeless:
            break
    if best.max_size() > largest_entries and 8 * cheapest < HOPELESS_FLOP:
        best.slice_and_reconfigure_(target_size=largest_entries, minimize="flops")
    return best, tuple(leg for leg in sizes if symbols[leg] in best.sliced_inds)


def _cotengra() -> Any:
    try:
        return import_module("cotengra")
    except ImportError:
        raise InputError("engine", "tensor network", "needs cotengra: install tiandi[computing]") from None
