"""Cascade: Bob finds his errors by asking Alice for parities of ever smaller blocks.

Brassard and Salvail 1994, doi:10.1007/3-540-48285-7_35.

The key of a basis is cut into frames of equal length. Each pass shuffles every frame by one permutation and cuts it into blocks of a
power of two; a part of a block is a node of a binary tree over the shuffled frame. Bob keeps, for every node whose parity he knows,
whether his own parity differs. A node that differs and has no known children holds an odd number of errors: it is searched by
bisection. Every error found changes the parities of one block in every other pass, where the partner that masked it shows up.
All searches of a round go in one message.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from tiandi.bits import BitArray, unpack
from tiandi.errors import ProtocolViolation

FRAME_BIT = 65536
MAXIMUM_PASSES = 32
MAXIMUM_FRAMES = 4096
SEED_BYTE = 16

UNKNOWN, SAME, DIFFERENT, SEARCHED = 0, 2, 3, 7
"""States of a node. The lowest bit says that the parities differ; SEARCHED is a node that differs and is being bisected."""


@dataclass(frozen=True)
class CascadePlan:
    """What both ends must agree on. ``levels`` are the binary logarithms of the block sizes, pass by pass."""

    frames: int
    frame_bit: int
    levels: tuple[int, ...]
    seed: bytes

    @classmethod
    def checked(cls, *, key_bit: int, frames: int, levels: tuple[int, ...], seed: bytes) -> CascadePlan:
        """The plan for a key of ``key_bit`` bits. Raises ProtocolViolation when a peer proposes one that makes no sense."""
        if not 1 <= frames <= min(MAXIMUM_FRAMES, key_bit) or not 1 <= len(levels) <= MAXIMUM_PASSES or len(seed) != SEED_BYTE:
            raise ProtocolViolation("a Cascade plan is out of range")
        plan = cls(frames, -(-key_bit // frames), levels, seed)
        if plan.frame_bit > FRAME_BIT or any(not 0 <= level <= plan.root_level for level in levels):
            raise ProtocolViolation("a Cascade plan has frames or blocks out of range")
        return plan

    @property
    def root_level(self) -> int:
        """Level of the tree's root: 2^level is the first power of two that holds a frame."""
        return max(1, (self.frame_bit - 1).bit_length())

    @property
    def tree_nodes(self) -> int:
        """Nodes of one tree; node numbers are heap indices, the root is 1."""
        return 2 << self.root_level

    def blocks(self, pass_number: int) -> int:
        """Blocks of a frame in one pass."""
        return -(-self.frame_bit // (1 << self.levels[pass_number]))

    def top_parities(self, pass_number: int) -> int:
        """Parities of one pass that Alice tells; after the first pass that of a frame's last block follows from the others."""
        return self.frames * (self.blocks(pass_number) - (1 if pass_number else 0))

    def shuffle(self, pass_number: int) -> NDArray[np.int64]:
        """The permutation of a pass, shape (frame_bit,): position in the pass -> position in the frame. The first is the identity."""
        order = np.arange(self.frame_bit)
        if pass_number:
            key = np.frombuffer(self.seed, "<u8").astype(np.uint64)
            words = np.random.Philox(key=key, counter=pass_number << 128).random_raw(self.frame_bit)
            _fisher_yates(order, words)
        return order

    def frames_of(self, bits: BitArray) -> BitArray:
        """``bits`` cut into frames, shape (frames, frame_bit), filled up with zeros."""
        padded = np.zeros(self.frames * self.frame_bit, np.uint8)
        padded[: bits.size] = bits
        return padded.reshape(self.frames, self.frame_bit)


def block_levels(qber: float, frame_bit: int) -> tuple[int, ...]:
    """Block sizes that leak least at an error rate: found by trial on frames of 65,536 bits, QBER 0.5 to 11 %.

    The first pass has one or two errors a block; the last passes of about half a frame each find what is left with probability
    1/2 or nearly so.
    """
    half = _half_level(frame_bit)
    first = int(np.floor(np.log2(1.8 / max(qber, 1e-3))))
    return tuple(min(max(level, 2), half) for level in (first, first + 2, first + 5)) + (half,) * 12


def repair_levels(frame_bit: int) -> tuple[int, ...]:
    """Block sizes for a key that failed its verification: each pass of halves has an even chance to show what is left."""
    return (_half_level(frame_bit),) * 24


def _half_level(frame_bit: int) -> int:
    """Level of blocks of a third to two thirds of a frame: a cut near the end of the frame would part hardly any two errors."""
    return int(np.floor(np.log2(max(1.0, frame_bit * 2 / 3))))


class CascadeAnswerer:
    """Alice: knows her key, answers parities, counts what she gave away."""

    def __init__(self, plan: CascadePlan, bits: BitArray) -> None:
        self.plan = plan
        self._sums = np.zeros((len(plan.levels), plan.frames, plan.frame_bit + 1), np.uint8)
        frames = plan.frames_of(bits)
        for pass_number in range(len(plan.levels)):
            _running_parity(frames, plan.shuffle(pass_number), self._sums[pass_number])

    def wipe(self) -> None:
        """Overwrite what tells Alice's bits."""
        self._sums.fill(0)

    def top(self, pass_number: int) -> BitArray:
        """Parities of the blocks of a pass, frame by frame; see `CascadePlan.top_parities`."""
        if not 0 <= pass_number < len(self.plan.levels):
            raise ProtocolViolation("there is no such pass")
        blocks = self.plan.top_parities(pass_number) // self.plan.frames
        edges = np.minimum(np.arange(blocks + 1) << self.plan.levels[pass_number], self.plan.frame_bit)
        sums = self._sums[pass_number][:, edges]
        return (sums[:, 1:] ^ sums[:, :-1]).ravel()

    def answer(self, nodes: NDArray[np.int64]) -> BitArray:
        """Parities of ``nodes`` (n,). Raises ProtocolViolation for a node outside the trees."""
        limit = len(self.plan.levels) * self.plan.frames * self.plan.tree_nodes
        if nodes.size and (nodes.min() < 0 or nodes.max() >= limit or (nodes % self.plan.tree_nodes).min() < 1):
            raise ProtocolViolation("a parity is asked of a node that does not exist")
        out = np.empty(nodes.size, np.uint8)
        _answer(self._sums, nodes, self.plan.root_level, out)
        return out


class CascadeCorrector:
    """Bob: asks, bisects and corrects. `start`, then feed every answer to `absorb` until ``query`` is None and ``next_pass`` too.

    After each call either ``query`` holds node numbers to ask for, or ``next_pass`` the pass whose block parities come next, or
    both are None and ``corrected`` holds the key. Raises ProtocolViolation when answers contradict each other without end.
    """

    def __init__(self, plan: CascadePlan, bits: BitArray) -> None:
        self.plan = plan
        self._length = bits.size
        passes = len(plan.levels)
        frames = plan.frames_of(bits)
        self._orders = np.stack([plan.shuffle(number) for number in range(passes)])
        self._positions = np.empty_like(self._orders)
        for order, position in zip(self._orders, self._positions, strict=True):
            position[order] = np.arange(plan.frame_bit)
        self._bits = np.stack([frames[:, order] for order in self._orders])
        self._tree = np.zeros((passes, plan.frames, plan.tree_nodes), np.uint8)
        self._frame_parity = np.zeros(plan.frames, np.uint8)
        self._pending = np.empty(0, np.int64)
        self._active = np.empty(0, np.int64)
        self._passes_open = 0
        self._corrections = 0
        self.query: NDArray[np.int64] | None = None
        self.next_pass: int | None = 0

    def wipe(self) -> None:
        """Overwrite Bob's bits."""
        self._bits.fill(0)

    @property
    def corrected(self) -> BitArray:
        """Bob's key as it stands, shape (n,)."""
        return self._bits[0].ravel()[: self._length].copy()

    def absorb_top(self, parities: BitArray) -> None:
        """Take in the block parities of ``next_pass``."""
        number = self.next_pass
        assert number is not None
        told = parities.reshape(self.plan.frames, -1)
        if number == 0:
            self._frame_parity = np.bitwise_xor.reduce(told, axis=1)
        else:
            last = self._frame_parity ^ np.bitwise_xor.reduce(told, axis=1)
            told = np.concatenate([told, last[:, None]], axis=1)
        pending = _enter_blocks(self._bits, self._tree, number, self.plan.levels[number], self.plan.root_level, np.ascontiguousarray(told))
        self._pending = np.concatenate([self._pending, pending])
        self._passes_open = number + 1
        self._go_on()

    def absorb(self, parities: BitArray) -> None:
        """Take in the parities of ``query``."""
        assert self.query is not None
        _enter_answers(self._bits, self._tree, self._active, parities, self.plan.root_level)
        self._go_on()

    def _go_on(self) -> None:
        """Descend as far as is known; correct what is found; open the next searches or the next pass."""
        levels = np.asarray(self.plan.levels)
        while True:
            self._active, found = _descend(self._tree, self._active, self.plan.root_level, self.plan.frame_bit)
            if found.size:
                # Each search of an honest pair finds a bit that differs, and no bit twice.
                self._corrections += found.size
                if self._corrections > self.plan.frames * self.plan.frame_bit:
                    raise ProtocolViolation("the parities told contradict each other: corrections do not come to an end")
                fresh = _correct(
                    self._bits, self._tree, self._orders, self._positions, found, self.plan.root_level, levels, self._passes_open
                )
                self._pending = np.concatenate([self._pending, fresh])
            if self._active.size:
                self.query, self.next_pass = self._active * 2, None
                # Children of node (tree, heap) are at heap 2 heap: the tree's offset must not be doubled.
                self.query -= (self._active // self.plan.tree_nodes) * self.plan.tree_nodes
                return
            self._active, self._pending = _choose(self._tree, self._pending, self.plan.root_level, self.plan.frames)
            if not self._active.size:
                self.query = None
                self.next_pass = self._passes_open if self._passes_open < len(self.plan.levels) else None
                return


def unpack_parities(packed: bytes, count: int) -> BitArray:
    """Parities from a message. Raises ProtocolViolation when there are not ``count`` of them."""
    try:
        return unpack(packed, count)
    except ValueError:
        raise ProtocolViolation("an answer holds another number of parities than was asked for") from None


@numba.njit(cache=True, nogil=True)
def _fisher_yates(order, words):  # type: ignore[no-untyped-def]
    """Shuffle in place; a 64-bit word against a range below 2^16 leaves a bias below 2^-48."""
    for i in range(order.size - 1, 0, -1):
        j = np.int64(words[i] % np.uint64(i + 1))
        order[i], order[j] = order[j], order[i]


@numba.njit(cache=True, nogil=True)
def _running_parity(frames, order, out):  # type: ignore[no-untyped-def]
    for f in range(frames.shape[0]):
        parity = np.uint8(0)
        for i in range(order.size):
            parity ^= frames[f, order[i]]
            out[f, i + 1] = parity


@numba.njit(cache=True, nogil=True)
def _locate(node, root_level):  # type: ignore[no-untyped-def]
    """Tree, heap index, level and index within the level of a node number."""
    tree_nodes = np.int64(2) << root_level
    tree = node // tree_nodes
    heap = node - tree * tree_nodes
    depth = 0
    while (heap >> (depth + 1)) > 0:
        depth += 1
    return tree, heap, root_level - depth, heap - (np.int64(1) << depth)


@numba.njit(cache=True, nogil=True)
def _answer(sums, nodes, root_level, out):  # type: ignore[no-untyped-def]
    frames = sums.shape[1]
    length = sums.shape[2] - 1
    for i in range(nodes.size):
        tree, _, level, index = _locate(nodes[i], root_level)
        low = min(index << level, length)
        high = min((index + 1) << level, length)
        row = sums[tree // frames, tree % frames]
        out[i] = row[low] ^ row[high]


@numba.njit(cache=True, nogil=True)
def _parity(bits, low, high):  # type: ignore[no-untyped-def]
    parity = np.uint8(0)
    for i in range(low, min(high, bits.size)):
        parity ^= bits[i]
    return parity


@numba.njit(cache=True, nogil=True)
def _enter_blocks(bits, trees, number, level, root_level, told):  # type: ignore[no-untyped-def]
    """Note which blocks of a pass differ; returns their node numbers."""
    frames, blocks = told.shape
    tree_nodes = np.int64(2) << root_level
    pending = np.empty(frames * blocks, np.int64)
    count = 0
    for f in range(frames):
        for b in range(blocks):
            heap = (np.int64(1) << (root_level - level)) + b
            differs = _parity(bits[number, f], b << level, (b + 1) << level) ^ told[f, b]
            trees[number, f, heap] = SAME | differs
            if differs:
                pending[count] = (number * frames + f) * tree_nodes + heap
                count += 1
    return pending[:count]


@numba.njit(cache=True, nogil=True)
def _choose(trees, pending, root_level, frames):  # type: ignore[no-untyped-def]
    """In each frame, take up the pass with the smallest odd part and all odd parts of that pass; they do not overlap."""
    best_level = np.full(frames, 99)
    best_pass = np.full(frames, -1)
    kept = 0
    for i in range(pending.size):
        tree, heap, level, _ = _locate(pending[i], root_level)
        number, f = tree // frames, tree % frames
        row = trees[number, f]
        if row[heap] != DIFFERENT or (level > 0 and row[2 * heap] != UNKNOWN):
            continue
        pending[kept] = pending[i]
        kept += 1
        if level < best_level[f]:
            best_level[f] = level
            best_pass[f] = number
    active = np.empty(kept, np.int64)
    count = 0
    left = 0
    for i in range(kept):
        tree, heap, _, _ = _locate(pending[i], root_level)
        number, f = tree // frames, tree % frames
        if number == best_pass[f]:
            if trees[number, f, heap] == DIFFERENT:
                trees[number, f, heap] = SEARCHED
                active[count] = pending[i]
                count += 1
        else:
            pending[left] = pending[i]
            left += 1
    return active[:count], pending[:left].copy()


@numba.njit(cache=True, nogil=True)
def _descend(trees, active, root_level, frame_bit):  # type: ignore[no-untyped-def]
    """Split the searches into those that need a parity and those that have found a bit (tree and position as a leaf's number)."""
    frames = trees.shape[1]
    asking = np.empty(active.size, np.int64)
    found = np.empty(active.size, np.int64)
    n_asking = 0
    n_found = 0
    for i in range(active.size):
        node = active[i]
        tree, heap, level, index = _locate(node, root_level)
        row = trees[tree // frames, tree % frames]
        # Beyond the frame's end there is nothing: a part whose right half is empty is its left half.
        while level > 0 and ((2 * index + 1) << (level - 1)) >= frame_bit:
            row[heap] = DIFFERENT
            node += heap
            heap, level, index = 2 * heap, level - 1, 2 * index
            row[heap] = SEARCHED
            row[heap + 1] = SAME
        if level == 0:
            row[heap] = DIFFERENT
            found[n_found] = node
            n_found += 1
        else:
            asking[n_asking] = node
            n_asking += 1
    return asking[:n_asking].copy(), found[:n_found].copy()


@numba.njit(cache=True, nogil=True)
def _enter_answers(bits, trees, active, answers, root_level):  # type: ignore[no-untyped-def]
    """Note the parities of the left halves of the searched parts and step into the half that differs."""
    frames = trees.shape[1]
    for i in range(active.size):
        tree, heap, level, index = _locate(active[i], root_level)
        number, f = tree // frames, tree % frames
        half = level - 1
        differs = _parity(bits[number, f], (2 * index) << half, (2 * index + 1) << half) ^ answers[i]
        row = trees[number, f]
        row[heap] = DIFFERENT
        row[2 * heap] = SEARCHED if differs else SAME
        row[2 * heap + 1] = SAME if differs else SEARCHED
        active[i] += heap + (0 if differs else 1)


@numba.njit(cache=True, nogil=True)
def _correct(bits, trees, orders, positions, found, root_level, levels, passes_open):  # type: ignore[no-untyped-def]
    """Flip the bits found, in every pass; returns the smallest known parts that now differ."""
    frames = trees.shape[1]
    tree_nodes = np.int64(2) << root_level
    pending = np.empty(found.size * passes_open, np.int64)
    count = 0
    for i in range(found.size):
        tree, _, _, index = _locate(found[i], root_level)
        f = tree % frames
        place = orders[tree // frames, index]
        for number in range(orders.shape[0]):
            at = positions[number, place]
            bits[number, f, at] ^= 1
            if number >= passes_open:
                continue
            row = trees[number, f]
            heap = (np.int64(1) << root_level) + at
            smallest = np.int64(0)
            for _level in range(levels[number] + 1):
                if row[heap] != UNKNOWN:
                    row[heap] ^= 1
                    if smallest == 0:
                        smallest = heap
                heap >>= 1
            if row[smallest] == DIFFERENT:
                pending[count] = (number * frames + f) * tree_nodes + smallest
                count += 1
    return pending[:count]
