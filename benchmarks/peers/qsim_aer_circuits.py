"""What qsim and Aer take, in CPU seconds of one thread, for the circuits of benchmarks/engines.py, read as JSON from a file."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def qsim(gates: list[dict], qubits: int, shots: int, *, noisy: bool) -> float:
    import cirq  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    import qsimcirq  # noqa: PLC0415

    line = cirq.LineQubit.range(qubits)
    circuit = cirq.Circuit()
    for gate in gates:
        on = [line[qubit] for qubit in gate["qubits"]]
        matrix = np.array(gate["real"]) + 1j * np.array(gate["imaginary"])
        circuit.append(cirq.MatrixGate(matrix)(*on))
        if noisy:
            circuit.append(cirq.depolarize(gate["error"], n_qubits=len(on))(*on))
            circuit.append(cirq.amplitude_damp(gate["damping"])(qubit) for qubit in on)
    simulator = qsimcirq.QSimSimulator(qsimcirq.QSimOptions(cpu_threads=1, max_fused_gate_size=2), seed=1)
    if noisy:
        circuit.append(cirq.measure(*line, key="bits"))
    begun = time.process_time()
    if noisy:
        simulator.run(circuit, repetitions=shots)
    else:
        simulator.simulate(circuit)
    return (time.process_time() - begun) / (shots if noisy else 1)


def aer(gates: list[dict], qubits: int, shots: int) -> float:
    import numpy as np  # noqa: PLC0415
    from qiskit import QuantumCircuit  # noqa: PLC0415
    from qiskit_aer import AerSimulator  # noqa: PLC0415
    from qiskit_aer.noise import amplitude_damping_error, depolarizing_error  # noqa: PLC0415

    circuit = QuantumCircuit(qubits)
    for gate in gates:
        on = gate["qubits"]
        circuit.unitary(np.array(gate["real"]) + 1j * np.array(gate["imaginary"]), on[::-1])
        # Qiskit's parameter also counts the identity among the words that strike.
        circuit.append(depolarizing_error(gate["error"] * 4 ** len(on) / (4 ** len(on) - 1), len(on)), on)
        for qubit in on:
            circuit.append(amplitude_damping_error(gate["damping"]), [qubit])
    circuit.measure_all()
    simulator = AerSimulator(method="statevector", precision="single", max_parallel_threads=1)
    begun = time.process_time()
    simulator.run(circuit, shots=shots, seed_simulator=1).result()
    return (time.process_time() - begun) / shots


def main() -> None:
    given = json.loads(Path(sys.argv[2]).read_text())
    gates, qubits, shots = given["gates"], given["qubits"], given["shots"]
    taken = {
        "qsim": lambda: qsim(gates, qubits, shots, noisy=True),
        "qsim_ideal": lambda: qsim(gates, qubits, shots, noisy=False),
        "aer": lambda: aer(gates, qubits, 2),
    }[sys.argv[1]]()
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
