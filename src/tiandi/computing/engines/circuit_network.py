"""A noisy circuit as a tensor network whose shape is that of the circuit, whatever bits come out and whatever errors happen.

Every two-qubit gate is cut into two tensors joined by a bond (singular values). All that happens to one qubit between two of its
gates is a product of matrices, taken into the next gate's tensor: gates, and at every place of noise one of several operators. Which
one is drawn with a probability q known beforehand, and the operator K is divided by sqrt(q), so that over many draws the average of
K rho K^dagger / q is the channel. Where K is a Pauli matrix the state's norm stays 1. Where it is not (damping, reset) the norm of
what comes out is the weight of the draw: nothing is approximated, but draws must be accepted in proportion to it. q is taken from the
qubit's mean population, so that weights stay near 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.circuits.gates import GATES, Matrix
from tiandi.computing.circuits.noise import Damping, Leakage, Measurement, NoisyCircuit, PauliNoise, Reset, Unitary
from tiandi.computing.engines.contraction import ComplexArray, Indices, Stacked
from tiandi.errors import InputError

BitArray = NDArray[np.uint8]
PAULIS: tuple[Matrix, ...] = tuple(GATES[name].unitary() for name in ("id", "x", "y", "z"))
NO_BOND = 1e-12
"""Singular values below this part of the largest carry nothing."""
LONE = -1
"""Instead of a bond, where no gate joins a qubit to another."""
LEAST_POPULATION = 0.05
"""Of both levels, as the draw of a jump supposes it: what is never drawn could never be weighted."""

Event = tuple[int, int]
"""A place of noise and the number of the operator that stands there."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one of ``operators`` happens, each a matrix for each of ``sites``; the first unless something happens."""

    sites: tuple[int, ...]
    operators: tuple[tuple[Matrix, ...], ...]
    probability: NDArray[np.float64]


@dataclass(slots=True)
class _Site:
    """Half a two-qubit gate, ``half`` (out, in, bond), after what happened to the qubit ``before`` it; the last also has what is ``after``.

    An entry of `before` and `after` is a matrix, or a place of noise and which of its qubits this is.
    """

    qubit: int
    half: Matrix
    bond: int
    before: list[Matrix | Event]
    after: list[Matrix | Event] = field(default_factory=list)
    first: bool = False
    last: bool = False


class CircuitNetwork:
    """The tensors of ``noisy``; qubits that nothing touches are left out. Raises InputError for what this engine cannot run."""

    def __init__(self, noisy: NoisyCircuit) -> None:
        self._sites: list[_Site] = []
        self._bond_sizes: list[int] = []
        self._pending: dict[int, list[Matrix | Event]] = {}
        self._places: list[_Place] = []
        self._state: dict[int, Matrix] = {}
        self._halves: dict[bytes, tuple[Matrix, Matrix]] = {}
        self._last_site: dict[int, int] = {}
        measured: set[int] = set()
        for step in noisy.steps:
            qubits = step.qubits if isinstance(step, Unitary | PauliNoise) else (step.qubit,)
            if again := measured & set(qubits):
                raise InputError("steps after a measurement of qubit", min(again), "must not be: this engine reads at the end")
            for qubit in qubits:
                if qubit not in self._pending:
                    self._pending[qubit], self._state[qubit] = [], np.diag([1.0 + 0j, 0.0])
            if isinstance(step, Measurement):
                measured.add(step.qubit)
            elif isinstance(step, Unitary):
                self._gate(step)
            else:
                self._noise(step)
        if not self._pending:
            raise InputError("circuit", "empty", "must touch at least one qubit")
        self._finish()

    def _gate(self, gate: Unitary) -> None:
        if len(gate.qubits) == 1:
            qubit = gate.qubits[0]
            self._pending[qubit].append(gate.matrix)
            self._state[qubit] = gate.matrix @ self._state[qubit] @ gate.matrix.conj().T
            return
        if len(gate.qubits) > 2:
            raise InputError("qubits of a gate", len(gate.qubits), "must be 1 or 2 for the tensor network")
        key = gate.matrix.tobytes()
        if key not in self._halves:
            self._halves[key] = _halves(gate.matrix)
        first, second = gate.qubits
        for qubit, half in zip(gate.qubits, self._halves[key], strict=True):
            self._add_site(qubit, half, len(self._bond_sizes))
        self._bond_sizes.append(self._halves[key][0].shape[2])
        both = gate.matrix @ np.kron(self._state[first], self._state[second]) @ gate.matrix.conj().T
        parts = both.reshape(2, 2, 2, 2)
        self._state[first], self._state[second] = np.einsum("ajbj->ab", parts), np.einsum("jajb->ab", parts)

    def _add_site(self, qubit: int, half: Matrix, bond: int) -> None:
        site = _Site(qubit, half, bond, self._pending[qubit], first=qubit not in self._last_site)
        self._last_site[qubit] = len(self._sites)
        self._sites.append(site)
        self._pending[qubit] = []

    def _noise(self, step: PauliNoise | Damping | Leakage | Reset) -> None:
        if isinstance(step, PauliNoise):
            self._place(step.qubits, list(itertools.product(PAULIS, repeat=len(step.qubits))), step.probabilities)
        elif isinstance(step, Leakage):
            each = step.probability / 4
            self._place((step.qubit,), [(pauli,) for pauli in PAULIS], np.array([1 - 3 * each, each, each, each]))
        else:
            self._decay(step)

    def _decay(self, step: Damping | Reset) -> None:
        """The jump to |0> and its absence, each over the root of how often it is drawn."""
        amplitude = 1.0 if isinstance(step, Reset) else step.amplitude
        state = self._state[step.qubit]
        excited = min(max(float(state[1, 1].real), LEAST_POPULATION), 1 - LEAST_POPULATION)
        jump = amplitude * excited
        stays = np.array([[1, 0], [0, math.sqrt(1 - amplitude)]], np.complex128) / math.sqrt(1 - jump)
        falls = np.array([[0, math.sqrt(amplitude / max(jump, 1e-300))], [0, 0]], np.complex128)
        if amplitude:
            self._place((step.qubit,), [(stays,), (falls,)], np.array([1 - jump, jump]))
        phase = 0.0 if isinstance(step, Reset) else step.phase
        if phase:
            self._place((step.qubit,), [(PAULIS[0],), (PAULIS[3],)], np.array([1 - phase, phase]))
        coherence = state[0, 1] * math.sqrt(1 - amplitude) * (1 - 2 * phase)
        ones = state[1, 1] * (1 - amplitude)
        self._state[step.qubit] = np.array([[1 - ones, coherence], [np.conj(coherence), ones]])

    def _place(self, qubits: Sequence[int], operators: Sequence[tuple[Matrix, ...]], probability: NDArray[np.float64]) -> None:
        number = len(self._places)
        for position, qubit in enumerate(qubits):
            self._pending[qubit].append((number, position))
        self._places.append(_Place(tuple(qubits), tuple(operators), np.asarray(probability, float)))

    def _finish(self) -> None:
        """What is left after a qubit's last gate belongs to that gate's tensor; a qubit without any has a tensor of its own."""
        for qubit in sorted(self._pending):
            if qubit not in self._last_site:
                self._add_site(qubit, np.eye(2, dtype=complex)[:, :, None], LONE)
            last = self._sites[self._last_site[qubit]]
            last.last, last.after = True, self._pending[qubit]
        self.qubits = tuple(sorted(self._last_site))
        self._column = {qubit: column for column, qubit in enumerate(self.qubits)}
        sites_of: list[set[int]] = [set() for _ in self._places]
        for number, site in enumerate(self._sites):
            for entry in (*site.before, *site.after):
                if isinstance(entry, tuple):
                    sites_of[entry[0]].add(number)
        self._places = [
            _Place(tuple(sorted(sites)), place.operators, place.probability) for sites, place in zip(sites_of, self._places, strict=True)
        ]
        self._happens = np.array([1 - place.probability[0] for place in self._places])
        self._usual = [self._tensor(site, {}) for site in self._sites]

    def _tensor(self, site: _Site, events: Mapping[int, int]) -> ComplexArray:
        """Legs: out (the qubit's bit where this is its last), in (absent where this is its first), bond."""
        tensor = np.einsum("oib,ij->ojb", site.half, self._matrix(site.before, events))
        if site.last:
            tensor = np.einsum("po,ojb->pjb", self._matrix(site.after, events), tensor)
        tensor = tensor[:, 0] if site.first else tensor
        return np.ascontiguousarray(tensor[..., 0] if site.bond == LONE else tensor, np.complex64)

    def _matrix(self, entries: Sequence[Matrix | Event], events: Mapping[int, int]) -> Matrix:
        matrix: Matrix = np.eye(2, dtype=complex)
        for entry in entries:
            factor = self._places[entry[0]].operators[events.get(entry[0], 0)][entry[1]] if isinstance(entry, tuple) else entry
            matrix = factor @ matrix
        return matrix

    def components(self) -> list[tuple[int, ...]]:
        """Groups of qubits that gates join, largest first, each rising."""
        group = {qubit: {qubit} for qubit in self.qubits}
        by_bond: dict[int, int] = {}
        for site in self._sites:
            if site.bond == LONE:
                continue
            other = by_bond.setdefault(site.bond, site.qubit)
            if group[other] is not group[site.qubit]:
                group[other] |= group[site.qubit]
                for qubit in group[site.qubit]:
                    group[qubit] = group[other]
        distinct = {id(members): tuple(sorted(members)) for members in group.values()}
        return sorted(distinct.values(), key=lambda members: (-len(members), members))

    def legs(self, qubits: Sequence[int], open_qubits: Sequence[int]) -> tuple[list[int], list[Indices], Indices, dict[int, int]]:
        """Of one component: the numbers of its sites, their legs, the legs of ``open_qubits``, and the size of each leg."""
        members, left_open = set(qubits), set(open_qubits)
        chain = len(self._bond_sizes)
        latest: dict[int, int] = {}
        numbers, inputs, sizes = [], [], {}
        end: dict[int, int] = {}
        for number, site in enumerate(self._sites):
            if site.qubit not in members:
                continue
            own: list[int] = []
            if not site.last or site.qubit in left_open:
                own.append(chain)
                sizes[chain] = 2
            if not site.first:
                own.append(latest[site.qubit])
            if site.bond != LONE:
                own.append(site.bond)
                sizes[site.bond] = self._bond_sizes[site.bond]
            latest[site.qubit] = end[site.qubit] = chain
            chain += 1
            numbers.append(number)
            inputs.append(tuple(own))
        return numbers, inputs, tuple(end[qubit] for qubit in open_qubits), sizes

    def stacked(
        self, numbers: Sequence[int], bits: BitArray, events: Sequence[Mapping[int, int]], open_qubits: Sequence[int]
    ) -> list[Stacked]:
        """The tensors of sites ``numbers`` for a batch: ``bits`` (batch, qubits) that come out, and for each its ``events`` by place."""
        batch, left_open = len(bits), set(open_qubits)
        changed: dict[int, dict[int, Mapping[int, int]]] = {}
        for item, happened in enumerate(events):
            for place in happened:
                for number in self._places[place].sites:
                    changed.setdefault(number, {})[item] = happened
        tensors = []
        for number in numbers:
            site = self._sites[number]
            closed = site.last and site.qubit not in left_open
            column = bits[:, self._column[site.qubit]]
            values = self._usual[number] if closed else self._usual[number][None]
            row = column.astype(np.int64) if closed else np.zeros(batch, np.int64)
            if number in changed:
                others = [self._tensor(site, happened) for happened in changed[number].values()]
                items = list(changed[number])
                if closed:
                    others = [tensor[column[item]] for tensor, item in zip(others, items, strict=True)]
                row[items] = len(values) + np.arange(len(items))
                values = np.concatenate([values, np.array(others)])
            tensors.append(Stacked(values, row))
        return tensors

    def draw_events(self, batch: int, generator: np.random.Generator) -> list[dict[int, int]]:
        """What goes wrong in each of ``batch`` runs: the operator at each place where it is not the first."""
        events: list[dict[int, int]] = [{} for _ in range(batch)]
        if not self._places:
            return events
        for item, place in zip(*np.nonzero(generator.random((batch, len(self._places))) < self._happens), strict=True):
            probability = self._places[place].probability[1:]
            chosen = np.searchsorted(np.cumsum(probability), generator.random() * probability.sum(), side="right")
            events[item][int(place)] = 1 + min(int(chosen), len(probability) - 1)
        return events


def _halves(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """A two-qubit gate as two tensors (out, in, bond), by singular values."""
    left, values, right = np.linalg.svd(matrix.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(4, 4))
    rank = int((values > NO_BOND * values[0]).sum())
    root = np.sqrt(values[:rank])
    return (left[:, :rank] * root).reshape(2, 2, rank), (root[:, None] * right[:rank]).reshape(rank, 2, 2).transpose(1, 2, 0)
