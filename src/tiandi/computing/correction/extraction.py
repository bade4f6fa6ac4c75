"""Memory experiments on a surface code as stim circuits, written from the lattice's positions and the machine's native gates.

One cycle: a quarter turn of every ancilla, four layers of CZ with a quarter turn of every data qubit after the first and the third, the
ancillas' turn back, their readout and reset. X and Z are exchanged on every other data qubit, so that X checks and Z checks run the
same gates (the form XZZX; Bonilla Ataides et al., Nature Communications 12, 2172 (2021), doi:10.1038/s41467-021-22274-1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np

from tiandi.computing.correction.noise import CycleNoise
from tiandi.computing.correction.patch import Patch, layers_of
from tiandi.errors import InputError

Basis = Literal["X", "Z"]
Kind = Literal["other", "gates", "readout", "end of cycle"]
MOST_ROUNDS = 1000
QUARTER, BACK = "SQRT_Y", "SQRT_Y_DAG"
DEPOLARISED_BY_LEAKAGE = 0.75


def stim_module() -> ModuleType:
    """The module stim; raises InputError that names the extra where it is not installed."""
    try:
        import stim  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InputError("error correction", "stim", "needs the extra: pip install 'tiandi[computing]'") from error
    return stim


@dataclass(frozen=True)
class Stage:
    """A piece of the circuit after, or for a readout before, which leakage acts. ``qubits``: pairs (n, 2) of gates, or what is read."""

    kind: Kind
    circuit: Any
    qubits: tuple[tuple[int, int], ...] | tuple[int, ...] = ()


@dataclass(frozen=True)
class Memory:
    """A memory experiment: ``stages`` in the order of time, made without leakage; ``circuit`` with it as depolarising, for decoders."""

    patch: Patch
    noise: CycleNoise
    basis: Basis
    rounds: int
    stages: tuple[Stage, ...]
    circuit: Any


def memory(patch: Patch, noise: CycleNoise, *, basis: Basis = "Z", rounds: int | None = None) -> Memory:
    """The experiment that keeps a logical state of ``basis`` for ``rounds`` cycles, then reads all data qubits.

    Detectors: (d^2 - 1) rounds; the observable is the logical operator. Raises InputError for rounds outside [1, `MOST_ROUNDS`].
    """
    count = noise.rounds if rounds is None else rounds
    if not 1 <= count <= MOST_ROUNDS:
        raise InputError("rounds", count, f"must lie in [1, {MOST_ROUNDS}]")
    if basis not in {"X", "Z"}:
        raise InputError("basis", basis, "must be X or Z")
    stages = tuple(_Writer(patch, noise, basis).stages(count))
    leaking = _Writer(patch, noise, basis, depolarise_leaked=True).stages(count)
    return Memory(patch, noise, basis, count, stages, sum((stage.circuit for stage in leaking), start=stim_module().Circuit()))


class _Text:
    """A circuit in stim's language, line by line: stim reads a text much faster than it appends instructions."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def append(self, name: str, targets: Sequence[object], *arguments: float) -> None:
        given = f"({', '.join(format(argument, '.17g') for argument in arguments)})" if arguments else ""
        self._lines.append(f"{name}{given} {' '.join(map(str, targets))}")

    def circuit(self) -> Any:
        return stim_module().Circuit("\n".join(self._lines))


class _Writer:
    """Writes the stages; ``depolarise_leaked``: with depolarising in the place of leakage."""

    def __init__(self, patch: Patch, noise: CycleNoise, basis: Basis, *, depolarise_leaked: bool = False) -> None:
        self._patch, self._noise, self._basis, self._depolarise = patch, noise, basis, depolarise_leaked
        self._data, self._ancillas = list(patch.data), [check.ancilla for check in patch.checks]
        self._coupler = noise.lattice.coupler_number()
        self._layers = layers_of(patch.checks)
        # Where the logical state needs the other basis, data qubits are turned at the start and back at the end.
        self._turned = [qubit for qubit in patch.data if (qubit in patch.turned) == (basis == "Z")]
        self._strays = [self._stray_pairs(layer) for layer in self._layers]

    def stages(self, rounds: int) -> list[Stage]:
        stages = [Stage("other", self._start().circuit())]
        gates = self._gates()
        for number in range(rounds):
            stages += gates
            stages += self._readout(number)
        stages += self._end(rounds)
        return stages

    def _start(self) -> _Text:
        circuit = _Text()
        circuit.append("R", self._data + self._ancillas)
        self._flip(circuit, self._data + self._ancillas, self._noise.reset)
        self._turn(circuit, self._turned, QUARTER)
        return circuit

    def _gates(self) -> list[Stage]:
        before = _Text()
        self._turn(before, self._ancillas, QUARTER)
        self._wait(before, self._data, self._noise.idle_single)
        stages = [Stage("other", before.circuit())]
        for number, layer in enumerate(self._layers):
            circuit = _Text()
            circuit.append("CZ", [qubit for pair in layer for qubit in pair])
            for first, second in layer:
                coupler = self._coupler[min(first, second), max(first, second)]
                self._append(circuit, "DEPOLARIZE2", [first, second], self._noise.two_qubit[coupler])
                if self._depolarise:
                    self._append(circuit, "DEPOLARIZE1", [first, second], DEPOLARISED_BY_LEAKAGE * self._noise.leaking[coupler])
            for first, second in self._strays[number]:
                stray = self._noise.crosstalk + self._noise.stray
                if stray:
                    circuit.append("E", [f"Z{first}", f"Z{second}"], stray)
            busy = {qubit for pair in layer for qubit in pair}
            self._wait(circuit, [qubit for qubit in self._patch.qubits if qubit not in busy], self._noise.idle_two)
            if number in {0, 2}:
                self._turn(circuit, self._data, QUARTER if number == 0 else BACK)
                self._wait(circuit, self._ancillas, self._noise.idle_single)
            stages.append(Stage("gates", circuit.circuit(), tuple(layer)))
        after = _Text()
        self._turn(after, self._ancillas, BACK)
        self._wait(after, self._data, self._noise.idle_single)
        return [*stages, Stage("other", after.circuit())]

    def _readout(self, number: int) -> list[Stage]:
        circuit = _Text()
        self._measure(circuit, self._ancillas)
        count = len(self._ancillas)
        back = 1 if self._noise.resets else 2
        for place, check in enumerate(self._patch.checks):
            earlier = [place - count * (1 + back)] if number >= back else []
            if number >= 1 or check.basis == self._basis:
                if number == 1 and not self._noise.resets:
                    earlier = []
                self._detector(circuit, check.ancilla, number, [place - count, *earlier])
        circuit.append("TICK", [])
        rest = _Text()
        if self._noise.resets:
            rest.append("R", self._ancillas)
            self._flip(rest, self._ancillas, self._noise.reset)
        self._wait(rest, self._data, self._noise.idle_readout)
        return [Stage("readout", circuit.circuit(), tuple(self._ancillas)), Stage("end of cycle", rest.circuit())]

    def _end(self, rounds: int) -> list[Stage]:
        before, circuit = _Text(), _Text()
        self._turn(before, self._turned, BACK)
        self._measure(circuit, self._data)
        data, count = len(self._data), len(self._ancillas)
        place_of = {qubit: place - data for place, qubit in enumerate(self._data)}
        for place, check in enumerate(self._patch.checks):
            if check.basis == self._basis:
                # Without a reset an ancilla adds up its checks: the last value is the difference of its last two readouts.
                last = [place - count - data] + ([] if self._noise.resets or rounds < 2 else [place - 2 * count - data])
                self._detector(circuit, check.ancilla, rounds, [place_of[qubit] for qubit in check.support] + last)
        logical = [f"rec[{place_of[qubit]}]" for qubit in self._patch.logical[self._basis]]
        circuit.append("OBSERVABLE_INCLUDE", logical, 0)
        return [Stage("other", before.circuit()), Stage("readout", circuit.circuit(), tuple(self._data))]

    def _detector(self, circuit: _Text, ancilla: int, number: int, records: Sequence[int]) -> None:
        row, column = self._noise.lattice.position[ancilla]
        circuit.append("DETECTOR", [f"rec[{record}]" for record in records], row, column, number)

    def _stray_pairs(self, layer: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Coupled pairs whose qubits are busy in different gates of one layer."""
        gate = {qubit: number for number, pair in enumerate(layer) for qubit in pair}
        return [pair for pair in self._coupler if gate.get(pair[0], -1) != gate.get(pair[1], -1) and pair[0] in gate and pair[1] in gate]

    def _turn(self, circuit: _Text, qubits: Sequence[int], name: str) -> None:
        if qubits:
            circuit.append(name, qubits)
        for qubit in qubits:
            self._append(circuit, "DEPOLARIZE1", [qubit], self._noise.single_qubit[qubit])

    def _measure(self, circuit: _Text, qubits: Sequence[int]) -> None:
        for qubit in qubits:
            circuit.append("M", [qubit], self._noise.readout[qubit])

    def _flip(self, circuit: _Text, qubits: Sequence[int], errors: np.ndarray) -> None:
        for qubit in qubits:
            self._append(circuit, "X_ERROR", [qubit], errors[qubit])

    def _wait(self, circuit: _Text, qubits: Sequence[int], waiting: np.ndarray) -> None:
        for qubit in qubits:
            if waiting[qubit, 0] < 1:
                circuit.append("PAULI_CHANNEL_1", [qubit], *waiting[qubit, 1:])

    @staticmethod
    def _append(circuit: _Text, name: str, qubits: Sequence[int], error: float) -> None:
        if error > 0:
            circuit.append(name, qubits, error)
