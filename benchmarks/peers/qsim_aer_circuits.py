"""What qsim and Aer take, in CPU seconds of one thread, for the circuits of benchmarks/engines.py, read as JSON from a file."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def qsim(gates: list[dict], qubits: int, shots: int, *, noisy: bool) -> float:
    """With the size of fused gates that is quickest for it (of 2, its own choice, to 4), compared on each run."""
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
    if noisy:
        circuit.append(cirq.measure(*line, key="bits"))

    def seconds(fused: int, repetitions: int) -> float:
        simulator = qsimcirq.QSimSimulator(qsimcirq.QSimOptions(cpu_threads=1, max_fused_gate_size=fused), seed=1)
        begun = time.process_time()
        if noisy:
            simulator.run(circuit, repetitions=repetitions)
        else:
            simulator.simulate(circuit)
        return time.process_time() - begun

    best = min((2, 3, 4), key=lambda fused: min(seconds(fused, 6) for _ in range(2)))
    return float(np.median([seconds(best, shots // 4) for _ in range(5)])) / (shots // 4 if noisy else 1)


def aer(gates: list[dict], qubits: int, shots: int) -> float:
    """With a noise model of its own, gates fused and all else as Aer likes it, in single precision on one thread."""
    import numpy as np  # noqa: PLC0415
    from qiskit import QuantumCircuit  # noqa: PLC0415
    from qiskit_aer import AerSimulator  # noqa: PLC0415
    from qiskit_aer.noise import NoiseModel, amplitude_damping_error, depolarizing_error  # noqa: PLC0415

    model = NoiseModel(basis_gates=["unitary"])
    circuit = QuantumCircuit(qubits)
    for count in (1, 2):
        gate = next(one for one in gates if len(one["qubits"]) == count)
        # Qiskit's parameter also counts the identity among the words that strike.
        error = depolarizing_error(gate["error"] * 4**count / (4**count - 1), count)
        damping = amplitude_damping_error(gate["damping"])
        model.add_all_qubit_quantum_error(error.compose(damping if count == 1 else damping.tensor(damping)), f"on {count}")
    for gate in gates:
        on = gate["qubits"]
        circuit.unitary(np.array(gate["real"]) + 1j * np.array(gate["imaginary"]), on[::-1], label=f"on {len(on)}")
    circuit.measure_all()
    simulator = AerSimulator(
        method="statevector",
        precision="single",
        noise_model=model,
        max_parallel_threads=1,
        max_parallel_shots=1,
        max_parallel_experiments=1,
    )
    begun = time.process_time()
    simulator.run(circuit, shots=shots, seed_simulator=1).result()
    return (time.process_time() - begun) / shots


def main() -> None:
    given = json.loads(Path(sys.argv[2]).read_text())
    gates, qubits, shots = given["gates"], given["qubits"], given["shots"]
    taken = {
        "qsim": lambda: qsim(gates, qubits, shots, noisy=True),
        "qsim_ideal": lambda: qsim(gates, qubits, shots, noisy=False),
        "aer": lambda: aer(gates, qubits, 12),
    }[sys.argv[1]]()
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
