"""What every engine does first: drop what no measurement can see, number the qubits that are left, and fuse neighbouring steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, wraps
from typing import TypeVar
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.circuits.noise import Measurement, NoisyCircuit, PauliNoise, Reset, Step, Unitary
from tiandi.errors import InputError

BitTable = NDArray[np.uint8]
MOST_QUBITS_A_STEP = 4
Made = TypeVar("Made")


def qubits_of(step: Step) -> tuple[int, ...]:
    """The qubits that ``step`` acts on."""
    return step.qubits if isinstance(step, Unitary | PauliNoise) else (step.qubit,)


def once_a_circuit(make: Callable[[NoisyCircuit], Made]) -> Callable[[NoisyCircuit], Made]:
    """Keep what ``make`` makes of a circuit for as long as that very circuit is kept."""
    made: dict[int, Made] = {}

    @wraps(make)
    def kept(noisy: NoisyCircuit) -> Made:
        number = id(noisy)
        if number not in made:
            made[number] = make(noisy)
            finalize(noisy, made.pop, number, None)
        return made[number]

    return kept


@dataclass(frozen=True)
class Prepared:
    """A circuit on the ``qubit_count`` qubits that its measurements depend on.

    ``body`` ends before the last measurements; its own measurements fill ``body_columns`` of the result, in their order.
    ``final_qubits`` are read from the state that is left, into ``final_columns``. ``measurements`` are all of them, in order.
    """

    qubit_count: int
    body: tuple[Step, ...]
    body_columns: tuple[int, ...]
    final_qubits: tuple[int, ...]
    final_columns: tuple[int, ...]
    measurements: tuple[Measurement, ...]

    @property
    def only_gates(self) -> bool:
        """Whether nothing but gates comes before the last measurements."""
        return all(isinstance(step, Unitary) for step in self.body)


@once_a_circuit
def prepare(noisy: NoisyCircuit) -> Prepared:
    """``noisy`` without the steps and qubits that no measurement can see.

    Raises InputError for a step on more than `MOST_QUBITS_A_STEP` qubits.
    """
    kept, final = _seen(noisy.steps)
    number_of = {qubit: number for number, qubit in enumerate(sorted({qubit for step in kept for qubit in qubits_of(step)}))}
    body: list[Step] = []
    body_columns, final_columns, final_qubits = [], [], []
    column = 0
    for step, last in zip(kept, final, strict=True):
        relabelled = _relabelled(step, number_of)
        if isinstance(relabelled, Measurement):
            if last:
                final_qubits.append(relabelled.qubit)
                final_columns.append(column)
            else:
                body.append(relabelled)
                body_columns.append(column)
            column += 1
        else:
            body.append(relabelled)
    return Prepared(max(1, len(number_of)), tuple(body), tuple(body_columns), tuple(final_qubits), tuple(final_columns), noisy.measurements)


def _seen(steps: Sequence[Step]) -> tuple[list[Step], list[bool]]:
    """The steps that a later measurement depends on, and of each whether it is a measurement with no other step after it on its qubit."""
    kept: list[Step] = []
    final: list[bool] = []
    seen: set[int] = set()
    acted: set[int] = set()
    for step in reversed(steps):
        qubits = qubits_of(step)
        if len(qubits) > MOST_QUBITS_A_STEP:
            raise InputError("qubits of a step", len(qubits), f"must be at most {MOST_QUBITS_A_STEP}")
        if isinstance(step, Measurement):
            seen.add(step.qubit)
            final.append(step.qubit not in acted)
        elif seen.isdisjoint(qubits):
            continue
        else:
            # Nothing before a reset can be seen on its qubit alone, but it may be entangled with others: it stays seen.
            seen.update(qubits)
            acted.update(qubits)
            final.append(False)
        kept.append(step)
    return kept[::-1], final[::-1]


def _relabelled(step: Step, number_of: dict[int, int]) -> Step:
    if isinstance(step, Unitary | PauliNoise):
        return replace(step, qubits=tuple(number_of[qubit] for qubit in step.qubits))
    return replace(step, qubit=number_of[step.qubit])


@dataclass
class Block:
    """Neighbouring ``steps`` that are done together, on ``qubits``; a measurement or a reset is a block of its own."""

    qubits: tuple[int, ...]
    steps: list[Step]


def fuse(steps: Iterable[Step], most_qubits: int) -> list[Block]:
    """``steps`` in blocks on at most ``most_qubits`` qubits (more where one step has more), in an order with the same effect."""
    blocks: dict[int, Block] = {}
    latest: dict[int, int] = {}
    for count, step in enumerate(steps):
        qubits = qubits_of(step)
        place, joined, before = count, set(qubits), []
        if not isinstance(step, Measurement | Reset):
            numbers = sorted({latest[qubit] for qubit in qubits if qubit in latest}, reverse=True)
            for number in numbers:
                block = blocks[number]
                union = joined.union(block.qubits)
                if isinstance(block.steps[0], Measurement | Reset) or len(union) > most_qubits:
                    continue
                # Into the last block before it a step may go where that stands; another one moves there, if nothing stands in its way.
                if number == numbers[0]:
                    place = number
                elif any(latest[qubit] != number for qubit in block.qubits):
                    continue
                before.append(number)
                joined = union
        moved = {qubit for number in before if number != place for qubit in blocks[number].qubits}
        earlier = [blocks.pop(number) for number in sorted(before)]
        blocks[place] = Block(tuple(sorted(joined)), [*(one for block in earlier for one in block.steps), step])
        latest.update(dict.fromkeys(moved.union(qubits), place))
    return [blocks[place] for place in sorted(blocks)]


def embedded(matrix: NDArray[np.complex128], qubits: tuple[int, ...], within: tuple[int, ...]) -> NDArray[np.complex128]:
    """``matrix`` on ``qubits`` as a matrix on the qubits ``within`` that hold them."""
    if qubits == within:
        return matrix
    return np.append(matrix, 0.0)[_entries(tuple(within.index(qubit) for qubit in qubits), len(within))]


@cache
def _entries(places: tuple[int, ...], count: int) -> NDArray[np.int64]:
    """Which entry of a matrix on ``places`` stands where in one on ``count`` qubits (2**count, 2**count); one past its last for 0."""
    numbers = np.arange(1 << count)
    bits = numbers[:, None] >> np.arange(count - 1, -1, -1) & 1
    rows = bits[:, list(places)] @ (1 << np.arange(len(places) - 1, -1, -1))
    others = numbers & ~sum(1 << (count - 1 - place) for place in places)
    entries = (rows[:, None] << len(places)) + rows
    return np.where(others[:, None] == others, entries, 1 << 2 * len(places))


def read(true_bits: BitTable, measurements: Sequence[Measurement], generator: np.random.Generator) -> BitTable:
    """``true_bits`` (shots, measured) as the readers give them: flips by each measurement's errors, in place.

    Flips are rare: places where the likeliest error might strike are drawn first, then thinned.
    """
    errors = np.array([[step.one_for_zero, step.zero_for_one] for step in measurements], float).reshape(-1, 2)
    worst = float(errors.max(initial=0.0))
    if not worst or not true_bits.size:
        return true_bits
    struck = struck_places(true_bits.size, worst, generator)
    columns = struck % true_bits.shape[1]
    flat = true_bits.reshape(-1)
    flat[struck] ^= generator.random(struck.size) * worst < errors[columns, flat[struck]]
    return true_bits


def struck_places(count: int, probability: float, generator: np.random.Generator) -> NDArray[np.int64]:
    """The places among ``count`` where something of ``probability`` happens, rising: gaps between them are geometric."""
    if probability > 0.2:
        return np.flatnonzero(generator.random(count) < probability)
    places: list[NDArray[np.int64]] = []
    end = -1
    while end < count:
        expected = (count - end) * probability
        gaps = generator.geometric(probability, int(expected + 5 * expected**0.5 + 10))
        places.append(end + np.cumsum(gaps))
        end = int(places[-1][-1])
    joined = np.concatenate(places)
    return joined[joined < count]
