"""What a twin's calibration says, as Qiskit's `Target`: gates where they work, with their errors and durations, and T1 and T2.

Errors are those of the calibration, Pauli errors (the probability that any Pauli but the identity follows a gate); Qiskit's transpiler
asks no more of them than which is larger. A measurement's error is the mean of both ways to misread.
"""

from __future__ import annotations

import numpy as np
from qiskit.circuit import Delay, Instruction, Measure, Parameter, Reset
from qiskit.circuit import library as gates
from qiskit.transpiler import InstructionProperties, QubitProperties, Target

from tiandi.computing.machines.twin import Twin

_THETA, _PHI, _LAMBDA = Parameter("theta"), Parameter("phi"), Parameter("lambda")
ON_ONE = {
    "x": gates.XGate(), "sx": gates.SXGate(), "sxdg": gates.SXdgGate(), "rx": gates.RXGate(_THETA), "ry": gates.RYGate(_THETA),
    "rxy": gates.RGate(_THETA, _PHI), "u": gates.UGate(_THETA, _PHI, _LAMBDA),
}  # fmt: skip
ON_TWO = {"cz": gates.CZGate(), "cx": gates.CXGate(), "iswap": gates.iSwapGate()}


def qiskit_target(twin: Twin) -> Target:
    """The target of ``twin``; what does not work has no gates. A machine that turns about any axis also offers rx and ry."""
    data = twin.calibration
    properties = [
        QubitProperties(t1=float(t1_s), t2=float(t2_s), frequency=float(frequency_hz))
        for t1_s, t2_s, frequency_hz in zip(data.t1_s, data.t2_s, data.frequency_hz, strict=True)
    ]
    target = Target(description=twin.sheet.name, num_qubits=twin.lattice.qubit_count, qubit_properties=properties)
    working = np.flatnonzero(data.qubit_works).tolist()
    native = set(twin.native_gates) | ({"rx", "ry"} if "rxy" in twin.native_gates else set())

    def on_each(instruction: Instruction, duration_s: float | None, errors: np.ndarray | None) -> None:
        each = {
            (qubit,): InstructionProperties(duration=duration_s, error=None if errors is None else float(errors[qubit]))
            for qubit in working
        }
        target.add_instruction(instruction, each)

    for name, gate in ON_ONE.items():
        if name in native:
            on_each(gate, data.single_qubit_gate_s, data.single_qubit_error)
    on_each(gates.RZGate(_THETA), 0.0, np.zeros(len(properties)))
    on_each(Measure(), data.readout_s, (data.one_for_zero + data.zero_for_one) / 2)
    on_each(Reset(), None, None)
    on_each(Delay(Parameter("time")), None, None)
    both_ways = {}
    for number, pair in enumerate(twin.lattice.couplers.tolist()):
        if data.coupler_works[number] and data.qubit_works[pair].all():
            for qubits in (tuple(pair), tuple(reversed(pair))):
                both_ways[qubits] = InstructionProperties(duration=data.two_qubit_gate_s, error=float(data.two_qubit_error[number]))
    for name, gate in ON_TWO.items():
        if name in native:
            target.add_instruction(gate, dict(both_ways))
    return target
