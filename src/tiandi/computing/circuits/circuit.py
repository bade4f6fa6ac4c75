"""A circuit as every other file of `computing` sees it: gates on numbered qubits, and which qubits are read, in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tiandi.computing.circuits.gates import GATES
from tiandi.errors import InputError

MEASURE, RESET, BARRIER, DELAY = "measure", "reset", "barrier", "delay"
MOST_QUBITS = 10_000


@dataclass(frozen=True, slots=True)
class Operation:
    """A gate of `gates.GATES` (angles in radian), or `MEASURE`, `RESET`, `BARRIER` or `DELAY` (its parameter: seconds), on ``qubits``."""

    name: str
    qubits: tuple[int, ...]
    parameters: tuple[float, ...] = ()


@dataclass(frozen=True)
class Circuit:
    """``operations`` in the order of time on qubits 0 to ``qubit_count`` - 1. The bits of a result follow the measurements' order.

    Raises InputError for an unknown gate, a qubit outside the circuit or named twice, a wrong count of qubits or parameters.
    """

    qubit_count: int
    operations: tuple[Operation, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.qubit_count <= MOST_QUBITS:
            raise InputError("qubits", self.qubit_count, f"must lie in [1, {MOST_QUBITS}]")
        for operation in self.operations:
            self._check(operation)

    def _check(self, operation: Operation) -> None:
        for qubit in operation.qubits:
            if not 0 <= qubit < self.qubit_count:
                raise InputError(f"qubit of {operation.name}", qubit, f"must lie in [0, {self.qubit_count - 1}]")
        if len(set(operation.qubits)) < len(operation.qubits):
            raise InputError(f"qubits of {operation.name}", operation.qubits, "must differ")
        if operation.name in GATES:
            gate = GATES[operation.name]
            qubits, parameters = gate.qubit_count, gate.parameter_count
        elif operation.name in {MEASURE, RESET, BARRIER, DELAY}:
            qubits = len(operation.qubits) if operation.name == BARRIER else 1
            parameters = 1 if operation.name == DELAY else 0
        else:
            raise InputError("gate", operation.name, f"must be one of {', '.join([*GATES, MEASURE, RESET, BARRIER, DELAY])}")
        if len(operation.qubits) != qubits:
            raise InputError(f"qubits of {operation.name}", operation.qubits, f"must be {qubits}")
        if len(operation.parameters) != parameters:
            raise InputError(f"parameters of {operation.name}", operation.parameters, f"must be {parameters}")

    @property
    def measured_qubits(self) -> tuple[int, ...]:
        """The qubit that each bit of a result comes from."""
        return tuple(operation.qubits[0] for operation in self.operations if operation.name == MEASURE)

    @property
    def used_qubits(self) -> tuple[int, ...]:
        """Qubits that any operation but a barrier touches, rising."""
        return tuple(sorted({qubit for operation in self.operations if operation.name != BARRIER for qubit in operation.qubits}))

    def counted(self) -> dict[str, int]:
        """How often each operation occurs, by name."""
        counts: dict[str, int] = {}
        for operation in self.operations:
            counts[operation.name] = counts.get(operation.name, 0) + 1
        return counts

    def relabelled(self, number_of: Mapping[int, int], qubit_count: int) -> Circuit:
        """The same circuit on other qubits: ``number_of`` gives each used qubit's new number."""
        return Circuit(
            qubit_count,
            tuple(replace(operation, qubits=tuple(number_of[qubit] for qubit in operation.qubits)) for operation in self.operations),
        )


def measure_all(circuit: Circuit, qubits: Iterable[int] | None = None) -> Circuit:
    """``circuit`` with measurements of ``qubits`` (all of them unless given) at its end."""
    read = range(circuit.qubit_count) if qubits is None else qubits
    return replace(circuit, operations=(*circuit.operations, *(Operation(MEASURE, (qubit,)) for qubit in read)))
