"""A Qiskit backend that plays on tiandi's chip: circuits of one qubit out of rz, sx, x and delays become programs of its `Instrument`.

All circuits of a job are points of one program. rz takes no time: it turns the phase of later pulses. A shot that the discriminator calls
2 counts as 1. Runs in the peers' environment with tiandi's sources on the path.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Delay, Measure, Parameter
from qiskit.circuit.library import RZGate, SXGate, XGate
from qiskit.providers import BackendV2, JobStatus, JobV1, Options
from qiskit.result import Result
from qiskit.transpiler import InstructionProperties, Target

from tiandi.computing.instruments import program as pulses
from tiandi.computing.instruments.client import RemoteInstrument

GATE_NS = 30.0


class TwinJob(JobV1):
    """Done when it is made."""

    def __init__(self, backend: BackendV2, name: str, result: Result) -> None:
        super().__init__(backend, name)
        self._result = result

    def submit(self) -> None:
        """It has run already."""

    def result(self) -> Result:
        return self._result

    def status(self) -> JobStatus:
        return JobStatus.DONE


class TwinBackend(BackendV2):
    """The calibrated qubits of ``chip``; ``known`` has one number for each."""

    def __init__(self, chip: RemoteInstrument, known: dict[str, list[float]]) -> None:
        super().__init__(name="tiandi-chip")
        self._chip, self._known, self._jobs = chip, known, 0
        qubits = range(len(known["qubit"]))
        self._target = Target(num_qubits=len(qubits))
        for gate, seconds in (
            (RZGate(Parameter("angle")), 0.0),
            (SXGate(), 1e-9 * GATE_NS),
            (XGate(), 1e-9 * GATE_NS),
            (Measure(), 1e-9 * known["readout_ns"][0]),
        ):
            self._target.add_instruction(gate, {(qubit,): InstructionProperties(duration=seconds) for qubit in qubits})
        self._target.add_instruction(Delay(Parameter("t")), {(qubit,): None for qubit in qubits})

    def __deepcopy__(self, memo: dict[int, Any]) -> TwinBackend:
        """There is one chip: copies of the backend play on it too."""
        return self

    @property
    def target(self) -> Target:
        return self._target

    @property
    def max_circuits(self) -> None:
        return None

    @classmethod
    def _default_options(cls) -> Options:
        return Options(shots=1_000)

    def run(self, run_input: Any, **options: Any) -> TwinJob:
        circuits = [run_input] if isinstance(run_input, QuantumCircuit) else list(run_input)
        shots = int(options.get("shots", self.options.shots))
        shares = self._ones(circuits, shots)
        experiments = []
        for circuit, share in zip(circuits, shares, strict=True):
            ones = round(float(share) * shots)
            # Shots of one circuit are exchangeable: their number is what was counted.
            data = {"counts": {"0x0": shots - ones, "0x1": ones}, "memory": ["0x1"] * ones + ["0x0"] * (shots - ones)}
            header = {"metadata": circuit.metadata or {}, "name": circuit.name, "creg_sizes": [["c", 1]], "memory_slots": 1}
            experiments.append({"shots": shots, "success": True, "data": data, "header": header, "meas_level": 2})
        self._jobs += 1
        name = str(self._jobs)
        said = {"backend_name": self.name, "backend_version": "1", "qobj_id": name, "job_id": name, "success": True, "results": experiments}
        return TwinJob(self, name, Result.from_dict(said))

    def _ones(self, circuits: list[QuantumCircuit], shots: int) -> Any:
        """Share of shots of each circuit that were not called 0."""
        measured = {
            circuit.find_bit(one.qubits[0]).index for circuit in circuits for one in circuit.data if one.operation.name == "measure"
        }
        if len(measured) != 1:
            raise ValueError("all circuits of a job must measure one qubit, the same")
        (row,) = measured
        known = {name: values[row] for name, values in self._known.items()}
        line = np.array([int(known["drive_line"])])
        table: list[Any] = []
        places: dict[Any, int] = {}
        orders = [[self._row(step, known, line, table, places) for step in _steps(circuit)] for circuit in circuits]
        order = np.full((1, len(circuits), max(1, *map(len, orders))), -1, np.int16)
        for point, steps in enumerate(orders):
            order[0, point, : len(steps)] = steps
        measure = pulses.Measure(
            np.array([int(known["qubit"])]), known["readout_hz"], known["readout_amplitude"], known["readout_ns"]
        )  # fmt: skip
        steps = (pulses.Train(tuple(table), order),) if table else ()
        program = pulses.Program(1, len(circuits), steps, (measure,), shots, "populations", wait_ns=300_000.0)
        return 1.0 - self._chip.run(program).populations[0, :, 0]

    def _row(self, step: Any, known: dict[str, float], line: Any, table: list[Any], places: dict[Any, int]) -> int:
        """Where a step is in the table, which grows as new ones come."""
        if step not in places:
            name, number = step
            if name == "delay":
                made: Any = pulses.Wait(number)
            else:
                size = known["pi_amplitude" if name == "x" else "half_pi_amplitude"]
                made = pulses.Drive(line, size, GATE_NS, known["frequency_hz"], number, known["drag_ns"], pulses.Shape("cosine"))
            places[step] = len(table)
            table.append((made,))
        return places[step]


def _steps(circuit: QuantumCircuit) -> list[tuple[str, float]]:
    """("x" or "sx", phase) and ("delay", nanoseconds) of a circuit. rz(a) before a pulse turns its axis by -a."""
    turned, steps = 0.0, []
    for one in circuit.data:
        name = one.operation.name
        if name == "rz":
            turned += float(one.operation.params[0])
        elif name in {"sx", "x"}:
            steps.append((name, round(-turned % (2.0 * np.pi), 9) % (2.0 * np.pi)))
        elif name == "delay":
            steps.append((name, round(float(one.operation.params[0]) * {"s": 1e9, "us": 1e3, "ns": 1.0}[one.operation.unit], 3)))
        elif name not in {"measure", "barrier"}:
            raise ValueError(f"{name}: the chip plays rz, sx, x and delays")
    return steps
