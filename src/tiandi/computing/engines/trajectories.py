"""Quantum trajectories: pure states that noise strikes at random, each shot with noise of its own.

What may strike is drawn for all shots ahead: Pauli errors as they are; of a decay the chance (with the damping's probability), which the
state then takes with the population of |1>: the quantum jumps of Molmer, Castin and Dalibard, J. Opt. Soc. Am. B 10, 524 (1993),
doi:10.1364/JOSAB.10.000524, thinned.
Shots that are struck alike up to some step share their state up to there: the tree of distinct histories is walked depth first, so that
each is evolved once, and few states are kept at a time. Shots that share a whole history are independent samples of one state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from math import inf
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.circuits.noise import Damping, Leakage, Measurement, PauliNoise, Reset, Step
from tiandi.computing.engines.amplitudes import Amplitudes, state_byte
from tiandi.computing.engines.channels import PAULI, PROJECTORS, TO_ZERO, no_jump, outcome_probabilities, pauli_word, undisturbed
from tiandi.computing.engines.preparing import BitTable, Block, Prepared, embedded, fuse, qubits_of, struck_places

FUSED = 3
SHOT_BYTE, STRIKE_BYTE = 150, 250
"""What a shot takes before it is run, and each strike of it."""
MOST_AT_ONCE = 1 << 20
"""Shots whose strikes are drawn together."""
ComplexArray = NDArray[np.complex128]
Strike = tuple[int, tuple[tuple[int, int], ...]]
"""What strikes a shot in one block: the block's number; place in the block and outcome of each."""


class State(Protocol):
    """A pure state that trajectories evolve; it need not be normalised."""

    @property
    def truncation_error(self) -> float:
        """The weight that was lost by approximations."""

    def copy(self) -> Self:
        """The same state, to go another way."""

    def apply(self, matrix: NDArray[np.complex128], qubits: tuple[int, ...]) -> None:
        """Multiply ``matrix`` (2**k, 2**k), unitary or not, onto ``qubits``."""

    def populations(self, qubit: int) -> NDArray[np.float64]:
        """The squared norms (2,) of the parts with ``qubit`` in |0> and in |1>."""

    def sample(self, shots: int, generator: np.random.Generator) -> BitTable:
        """Bits (shots, qubits) drawn by the squared amplitudes."""


@dataclass(frozen=True)
class _Shared:
    """A state after the blocks before ``block`` that several shots share; ``groups``: the shots by what strikes them next, latest first."""

    state: State
    block: int
    groups: list[tuple[Strike, list[int]]]
    depth: int

    @property
    def shots(self) -> int:
        return sum(len(rows) for _, rows in self.groups)


@dataclass(frozen=True)
class _Struck:
    """A state inside ``block``, before its step ``place``; ``product`` (if any) is yet to be multiplied onto it, ``outcomes`` strike it."""

    state: State
    block: int
    place: int
    product: ComplexArray | None
    outcomes: dict[int, int]
    rows: list[int]
    depth: int

    @property
    def shots(self) -> int:
        return len(self.rows)


class Trajectories:
    """Walks through trees of histories of a circuit; steps are fused to blocks of at most ``fused`` qubits."""

    def __init__(self, prepared: Prepared, generator: np.random.Generator, fused: int = FUSED) -> None:
        self._prepared, self._generator = prepared, generator
        self._blocks = fuse(prepared.body, fused)
        self._undisturbed = [[embedded(undisturbed(step), qubits_of(step), block.qubits) for step in block.steps] for block in self._blocks]
        self._matrices = [reduce(lambda product, matrix: matrix @ product, matrices) for matrices in self._undisturbed]
        column_of = dict(zip((id(step) for step in prepared.body if isinstance(step, Measurement)), prepared.body_columns, strict=True))
        self._columns = [column_of.get(id(block.steps[0]), -1) for block in self._blocks]
        self._strikes: list[list[Strike]] = []
        self._bits = np.zeros((0, len(prepared.measurements)), np.uint8)
        self._waiting: list[_Shared | _Struck] = []
        self._lost = 0.0

    def sample(self, start: Callable[[], State], shots: int, at_once: int) -> tuple[BitTable, float]:
        """True bits (shots, measured) of runs that begin in ``start()``, ``at_once`` in one tree; and what their states lost, on average.

        At most floor(log2(at_once)) + 1 states are kept at a time.
        """
        bits = np.zeros((shots, len(self._prepared.measurements)), np.uint8)
        self._lost = 0.0
        for begin in range(0, shots, at_once):
            self._bits = bits[begin : begin + at_once]
            self._strikes = draw_strikes(self._blocks, len(self._bits), self._generator)
            self._waiting = [_Shared(start(), 0, self._grouped(list(range(len(self._bits))), 0), 0)]
            while self._waiting:
                found = self._waiting.pop()
                self._wait(*(self._evolve(found) if isinstance(found, _Shared) else self._strike(found)))
        return bits, self._lost / max(1, shots)

    def _wait(self, *parted: _Shared | _Struck) -> None:
        """The smaller part of shots goes first: it has at most half of them, so that few states wait in all."""
        self._waiting += sorted(parted, key=lambda part: part.shots, reverse=True)

    def _grouped(self, rows: list[int], depth: int) -> list[tuple[Strike, list[int]]]:
        """``rows`` by their strike number ``depth``, the latest strike first."""
        groups: dict[Strike, list[int]] = {}
        end: Strike = (len(self._blocks), ())
        for row in rows:
            strikes = self._strikes[row]
            groups.setdefault(strikes[depth] if depth < len(strikes) else end, []).append(row)
        return sorted(groups.items(), reverse=True)

    def _evolve(self, shared: _Shared) -> list[_Shared | _Struck]:
        """Evolve a shared state to where some of its shots are struck next, and part those from the others."""
        (block, outcomes), rows = shared.groups.pop()
        state = shared.state
        for number in range(shared.block, block):
            state.apply(self._matrices[number], self._blocks[number].qubits)
        if block == len(self._blocks):
            self._read_final(state, np.array(rows))
            return []
        rest: list[_Shared | _Struck] = [_Shared(state, block, shared.groups, shared.depth)] if shared.groups else []
        own = state.copy() if rest else state
        return [*rest, _Struck(own, block, 0, None, dict(outcomes), rows, shared.depth)]

    def _read_final(self, state: State, rows: NDArray[np.int64]) -> None:
        self._lost += state.truncation_error * rows.size
        if self._prepared.final_qubits:
            found = state.sample(rows.size, self._generator)
            self._bits[rows[:, None], np.array(self._prepared.final_columns)] = found[:, list(self._prepared.final_qubits)]

    def _strike(self, struck: _Struck) -> list[_Shared | _Struck]:
        """Go on inside a block in which something strikes: to its end, or to a step that looks at the state and may part the shots."""
        block, product = self._blocks[struck.block], struck.product
        for place in range(struck.place, len(block.steps)):
            step, outcome = block.steps[place], struck.outcomes.get(place, 0)
            within = (qubits_of(step), block.qubits)
            if not outcome:
                matrix = self._undisturbed[struck.block][place]
            elif isinstance(step, PauliNoise | Leakage):
                matrix = embedded(pauli_word(outcome, len(within[0])), *within)
            elif isinstance(step, Damping) and not outcome & 1:
                matrix = embedded(PAULI[3] @ no_jump(step.amplitude), *within)
            else:
                if product is not None:
                    struck.state.apply(product, block.qubits)
                after = PAULI[3 if isinstance(step, Damping) and outcome & 2 else 0]
                return [
                    _Struck(state, struck.block, place + 1, embedded(after @ found, *within), struck.outcomes, rows, struck.depth)
                    for state, rows, found in self._looked_at(struck.state, struck.rows, step, struck.block)
                ]
            product = matrix if product is None else matrix @ product
        if product is not None:
            struck.state.apply(product, block.qubits)
        return [_Shared(struck.state, struck.block + 1, self._grouped(struck.rows, struck.depth + 1), struck.depth + 1)]

    def _looked_at(self, state: State, rows: list[int], step: Step, number: int) -> list[tuple[State, list[int], ComplexArray]]:
        """A step that looks at its qubit: each shot finds 1 with the population of |1>. States, their shots, and what they undergo."""
        weights = state.populations(qubits_of(step)[0])
        ones = self._generator.random(len(rows)) * weights.sum() < weights[1]
        if isinstance(step, Measurement):
            self._bits[np.array(rows)[ones], self._columns[number]] = 1
        parted: list[tuple[State, list[int], ComplexArray]] = []
        for value in (0, 1):
            group = [row for row, one in zip(rows, ones, strict=True) if one == value]
            if not group:
                continue
            if isinstance(step, Damping):
                matrix = TO_ZERO[1] if value else no_jump(step.amplitude)
                weight = weights[1] if value else weights[0] + (1 - step.amplitude) * weights[1]
            else:
                matrix = (TO_ZERO if isinstance(step, Reset) else PROJECTORS)[value]
                weight = weights[value]
            # The state's norm is 1 again afterwards.
            parted.append((state.copy() if parted else state, group, matrix / np.sqrt(weight)))
        return parted


def draw_strikes(blocks: list[Block], shots: int, generator: np.random.Generator) -> list[list[Strike]]:
    """What strikes each shot, in the order of the blocks. Each shot's noise is its own."""
    strikes: list[list[Strike]] = [[] for _ in range(shots)]
    for number, block in enumerate(blocks):
        here: dict[int, list[tuple[int, int]]] = {}
        for place, step in enumerate(block.steps):
            chances = outcome_probabilities(step)
            total = float(chances[1:].sum())
            if not total:
                continue
            rows = struck_places(shots, min(1.0, total), generator)
            ends = np.cumsum(chances[1:])
            drawn = np.minimum(np.searchsorted(ends, generator.random(rows.size) * ends[-1], side="right"), ends.size - 1) + 1
            for row, outcome in zip(rows.tolist(), drawn.tolist(), strict=True):
                here.setdefault(row, []).append((place, outcome))
        for row, outcomes in here.items():
            strikes[row].append((number, tuple(outcomes)))
    return strikes


def strikes_a_shot(prepared: Prepared) -> tuple[float, int]:
    """How much strikes a shot on average, and how often a reset or a measurement looks at it."""
    looks = sum(isinstance(step, Measurement | Reset) for step in prepared.body)
    return sum(float(outcome_probabilities(step)[1:].sum()) for step in prepared.body) - looks, looks


def shots_at_once(prepared: Prepared, shots: int, state_byte: float, allowed_byte: float) -> tuple[int, float]:
    """How many shots share one tree of histories so that their states keep within ``allowed_byte``; and the bytes that these take.

    What strikes them may take a quarter. One shot is always tried.
    """
    struck_byte = SHOT_BYTE + STRIKE_BYTE * sum(strikes_a_shot(prepared))
    wanted = max(1, int(min(shots, MOST_AT_ONCE, allowed_byte / 4 / struck_byte)))
    states = max(1, int(min(wanted.bit_length(), (allowed_byte - wanted * struck_byte) // state_byte)))
    at_once = min(wanted, (1 << states) - 1)
    return at_once, states * state_byte + at_once * struck_byte


def sample(prepared: Prepared, shots: int, generator: np.random.Generator, allowed_byte: float = inf) -> BitTable:
    """True bits (shots, measured), each shot with noise of its own; states in single precision, as many as ``allowed_byte`` holds."""
    at_once, _ = shots_at_once(prepared, shots, state_byte(prepared.qubit_count), allowed_byte)
    return Trajectories(prepared, generator).sample(lambda: Amplitudes(prepared.qubit_count), shots, at_once)[0]
