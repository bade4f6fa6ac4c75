"""A circuit laid out on a machine: its qubits chosen, routed over couplers, and written in native gates, by Qiskit's transpiler.

Where the machine turns qubits about any axis of the equator, its one-qubit gates are then made of one pulse each (see `synthesis`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tiandi.computing.circuits.circuit import MEASURE, Circuit, Operation
from tiandi.computing.circuits.program import Program
from tiandi.computing.circuits.qiskit_circuits import from_qiskit_program, qiskit, to_qiskit
from tiandi.computing.circuits.synthesis import pulses
from tiandi.computing.machines.calibration import Calibration
from tiandi.computing.machines.lattice import Lattice
from tiandi.errors import InputError
from tiandi.limits import require_within

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.transpiler import Target


@dataclass(frozen=True)
class Compiled:
    """``circuit`` on a machine's qubits. Qubit k of the used qubits began on ``first_places[k]`` and ended on ``last_places[k]``."""

    circuit: Circuit
    first_places: tuple[int, ...]
    last_places: tuple[int, ...]


def compile_circuit(
    circuit: Circuit,
    lattice: Lattice,
    *,
    native_gates: Iterable[str],
    calibration: Calibration | None = None,
    optimisation: int = 1,
    seed: int = 1,
) -> Circuit:
    """``circuit`` on the lattice's qubits in native gates; its k-th measurement stays the k-th. See `compile_with_places`."""
    return compile_with_places(
        circuit, lattice, native_gates=native_gates, calibration=calibration, optimisation=optimisation, seed=seed
    ).circuit


def compile_with_places(
    circuit: Circuit,
    lattice: Lattice,
    *,
    native_gates: Iterable[str],
    calibration: Calibration | None = None,
    optimisation: int = 1,
    seed: int = 1,
) -> Compiled:
    """``circuit`` on the lattice's qubits in native gates, and where its used qubits began and ended.

    With a ``calibration``, disabled qubits and couplers are left out and better ones are preferred. ``optimisation``: 0 to 3, as Qiskit's
    levels. The same seed gives the same circuit. Raises InputError where the used qubits are more than any connected part that works.
    """
    require_within("optimisation", optimisation, 0, 3)
    require_within("seed", seed, 0, 2**31 - 1)
    native = frozenset(native_gates)
    part, couplers = _largest_part(lattice, calibration)
    compact = _compact(circuit)
    if compact.qubit_count > part.size:
        raise InputError(
            "qubits", compact.qubit_count, f"must be at most {part.size}, the largest connected part of the machine that works"
        )
    laid_out = _laid_out(to_qiskit(compact), _target(native, part, couplers, calibration), optimisation, seed)
    operations: Sequence[Operation] = in_measured_order(from_qiskit_program(laid_out))
    if "rxy" in native:
        operations = pulses(operations, native)
    places = part.tolist()
    compiled = Circuit(part.size, tuple(operations)).relabelled(dict(enumerate(places)), lattice.qubit_count)
    layout = laid_out.layout
    first = [places[place] for place in layout.initial_index_layout(filter_ancillas=True)]
    last = [places[place] for place in layout.final_index_layout(filter_ancillas=True)]
    return Compiled(compiled, tuple(first), tuple(last))


def _compact(circuit: Circuit) -> Circuit:
    """``circuit`` on its used qubits alone, in their order."""
    used = circuit.used_qubits or (0,)
    number_of = {qubit: number for number, qubit in enumerate(used)}
    operations = []
    for operation in circuit.operations:
        qubits = tuple(number_of[qubit] for qubit in operation.qubits if qubit in number_of)
        operations.append(Operation(operation.name, qubits, operation.parameters))
    return Circuit(len(used), tuple(operations))


def _largest_part(lattice: Lattice, calibration: Calibration | None) -> tuple[NDArray[np.int64], dict[tuple[int, int], int]]:
    """Qubits of the largest part that couplers join and that works, rising; and its couplers by their places in it, with their numbers."""
    works = np.ones(lattice.qubit_count, bool) if calibration is None else calibration.qubit_works
    pairs = [
        (int(first), int(second), number)
        for number, (first, second) in enumerate(lattice.couplers)
        if works[first] and works[second] and (calibration is None or calibration.coupler_works[number])
    ]
    root = list(range(lattice.qubit_count))

    def find(qubit: int) -> int:
        while root[qubit] != qubit:
            root[qubit] = qubit = root[root[qubit]]
        return qubit

    for first, second, _ in pairs:
        root[find(first)] = find(second)
    parts: dict[int, list[int]] = {}
    for qubit in np.flatnonzero(works).tolist():
        parts.setdefault(find(qubit), []).append(qubit)
    if not parts:
        raise InputError("qubits that work", 0, "must be at least 1")
    part = max(parts.values(), key=len)
    place = {qubit: number for number, qubit in enumerate(part)}
    return np.array(part), {(place[first], place[second]): number for first, second, number in pairs if first in place}


def _target(
    native: frozenset[str], part: NDArray[np.int64], couplers: dict[tuple[int, int], int], calibration: Calibration | None
) -> Target:
    """What Qiskit is to compile for: the general one-qubit gate where it is native or pulses are made of it later, else sx, x and rz."""
    qiskit()
    from qiskit.circuit import Delay, Measure, Parameter, Reset  # noqa: PLC0415
    from qiskit.circuit import library as gates  # noqa: PLC0415
    from qiskit.transpiler import InstructionProperties, Target  # noqa: PLC0415

    two_qubit = {"cz": gates.CZGate, "cx": gates.CXGate, "iswap": gates.iSwapGate}
    found = [name for name in two_qubit if name in native]
    if not found:
        raise InputError("native gates", sorted(native), f"must hold one of {', '.join(two_qubit)}")
    target = Target(num_qubits=part.size)
    ones = [(place,) for place in range(part.size)]

    def each(values: NDArray[np.float64] | None) -> dict[tuple[int, ...], InstructionProperties]:
        return {one: InstructionProperties(error=None if values is None else float(values[part[one[0]]])) for one in ones}

    single = None if calibration is None else calibration.single_qubit_error
    reading = None if calibration is None else (calibration.one_for_zero + calibration.zero_for_one) / 2
    theta, phi, lam = Parameter("theta"), Parameter("phi"), Parameter("lam")
    if native & {"u", "rxy"}:
        target.add_instruction(gates.UGate(theta, phi, lam), each(single))
    elif {"sx", "rz"} <= native:
        target.add_instruction(gates.SXGate(), each(single))
        target.add_instruction(gates.RZGate(theta), each(None))
        if "x" in native:
            target.add_instruction(gates.XGate(), each(single))
    else:
        raise InputError("native gates", sorted(native), "must hold rxy, u, or both of sx and rz")
    target.add_instruction(Measure(), each(reading))
    target.add_instruction(Reset(), each(None))
    target.add_instruction(Delay(Parameter("time")), each(None))
    both_ways = {}
    for (first, second), number in couplers.items():
        error = None if calibration is None else float(calibration.two_qubit_error[number])
        both_ways[first, second] = both_ways[second, first] = InstructionProperties(error=error)
    target.add_instruction(two_qubit[found[0]](), both_ways)
    return target


def _laid_out(circuit: QuantumCircuit, target: Target, optimisation: int, seed: int) -> QuantumCircuit:
    from qiskit.transpiler import generate_preset_pass_manager  # noqa: PLC0415

    return generate_preset_pass_manager(optimisation, target=target, seed_transpiler=seed).run(circuit)


def in_measured_order(program: Program) -> list[Operation]:
    """The operations in an order of time that is as good as theirs, with the measurements in the order of their classical bits."""
    bits = iter(program.classical_bits)
    waiting = [(operation, next(bits) if operation.name == MEASURE else -1) for operation in program.circuit.operations]
    order = sorted(program.classical_bits)
    done: list[Operation] = []
    read = 0
    while waiting:
        blocked: set[int] = set()
        later: list[tuple[Operation, int]] = []
        for operation, bit in waiting:
            early = operation.name == MEASURE and bit != order[read]
            if early or not blocked.isdisjoint(operation.qubits):
                blocked.update(operation.qubits)
                later.append((operation, bit))
                continue
            done.append(operation)
            read += operation.name == MEASURE
        if len(later) == len(waiting):
            raise InputError("measurements", len(order), "cannot be made in the order of their classical bits")
        waiting = later
    return done
