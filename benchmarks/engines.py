"""The engines beside qsim, Aer and bare stim on the same circuits in the same run; CPU time of one thread."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import stim

from measure import Figure, run_peer
from tiandi.computing.circuits.gates import GATES
from tiandi.computing.circuits.noise import Damping, Measurement, NoisyCircuit, PauliNoise, Reset, Step, Unitary
from tiandi.computing.engines import run, state_vector, trajectories
from tiandi.computing.engines.amplitudes import Amplitudes
from tiandi.computing.engines.preparing import prepare

ROWS, COLUMNS, CYCLES, SHOTS = 4, 5, 20, 48
ERRORS, DAMPING = {1: 0.0014, 2: 0.0059}, 0.0005
"""Pauli errors as published for Zuchongzhi 2.1's gates; the damping is assumed (25 ns of 30 us, a little under)."""


def random_gates(cycles: int, rows: int = ROWS, columns: int = COLUMNS) -> list[Unitary]:
    """Cycles of random quarter turns about X, Y and W and of fSim gates on one of four sets of couplers of a grid."""
    generator = np.random.default_rng(1)
    sets: list[list[tuple[int, int]]] = [[], [], [], []]
    for row in range(rows):
        for column in range(columns):
            place = row * columns + column
            if column + 1 < columns:
                sets[(row + column) % 2].append((place, place + 1))
            if row + 1 < rows:
                sets[2 + (row + column) % 2].append((place, place + columns))
    gates: list[Unitary] = []
    for cycle in range(cycles):
        axes = generator.integers(0, 3, rows * columns) * math.pi / 4
        gates += [Unitary(GATES["rxy"].unitary(math.pi / 2, axis), (qubit,)) for qubit, axis in enumerate(axes)]
        gates += [Unitary(GATES["fsim"].unitary(1.5, math.pi / 6), pair) for pair in sets["ABCD".index("ABCDCDAB"[cycle % 8])]]
    return gates


def noisy_circuit(gates: list[Unitary], qubits: int) -> NoisyCircuit:
    """Each gate followed by depolarising noise and amplitude damping; all qubits read at the end."""
    steps: list[Step] = []
    for gate in gates:
        words = 4 ** len(gate.qubits)
        error = ERRORS[len(gate.qubits)]
        noise = PauliNoise(np.array([1 - error, *[error / (words - 1)] * (words - 1)]), gate.qubits)
        steps += [gate, noise, *(Damping(DAMPING, 0.0, qubit) for qubit in gate.qubits)]
    return NoisyCircuit(qubits, (*steps, *(Measurement(qubit) for qubit in range(qubits))))


def peer_seconds(peer: str, gates: list[Unitary], qubits: int) -> float | None:
    """CPU seconds of a peer: of one evolution, or of a shot with noise; None where it is not installed."""
    listed = [
        {
            "qubits": gate.qubits,
            "real": gate.matrix.real.tolist(),
            "imaginary": gate.matrix.imag.tolist(),
            "error": ERRORS[len(gate.qubits)],
            "damping": DAMPING,
        }
        for gate in gates
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gates.json"
        path.write_text(json.dumps({"gates": listed, "qubits": qubits, "shots": SHOTS}))
        printed = run_peer("qsim_aer_circuits.py", peer, str(path))
    return None if printed is None else float(printed)


def _against(name: str, seconds: float, peer: str, peer_s: float | None, goal: float) -> Figure:
    if peer_s is None:
        return Figure(f"{name}, over {peer}", seconds, math.inf, "s", f"{peer} is not installed")
    return Figure(f"{name}, over {peer}", seconds / peer_s, goal, "", f"{seconds:.3f} s, {peer} {peer_s:.3f} s")


def _cpu_seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _around_peer(work: Callable[[], object], peer: str, gates: list[Unitary], qubits: int) -> tuple[float, float | None]:
    """Median CPU seconds of ``work``, three times before the peer and three times after it; and the peer's."""
    work()
    before = [_cpu_seconds(work) for _ in range(3)]
    peer_s = peer_seconds(peer, gates, qubits)
    return float(np.median([*before, *(_cpu_seconds(work) for _ in range(3))])), peer_s


def benchmark_trajectories() -> list[Figure]:
    """20 qubits, 20 cycles, full noise: a shot of 48, over a shot of qsim (of 12) and of Aer (of 12, with its own noise model)."""
    gates, qubits = random_gates(CYCLES), ROWS * COLUMNS
    prepared = prepare(noisy_circuit(gates, qubits))
    figures = []
    for peer, called, goal in (("qsim", "qsim", 1.0), ("aer", "Aer", 0.1)):
        seconds, peer_s = _around_peer(lambda: trajectories.sample(prepared, SHOTS, np.random.default_rng(1)), peer, gates, qubits)
        figures.append(_against("noisy trajectories, 20 qubits x 20 cycles, time of a shot", seconds / SHOTS, called, peer_s, goal))
    return figures


def benchmark_state_vector() -> list[Figure]:
    """20 and 22 qubits, 20 cycles without noise: one evolution in single precision, over qsim's."""
    figures = []
    for rows, columns in ((4, 5), (2, 11)):
        gates, qubits = random_gates(CYCLES, rows, columns), rows * columns
        seconds, peer_s = _around_peer(lambda: state_vector.evolve(Amplitudes(qubits), gates), "qsim_ideal", gates, qubits)  # noqa: B023
        figures.append(_against(f"state vector, {qubits} qubits x 20 cycles", seconds, "qsim", peer_s, 1.5))
    return figures


def benchmark_stabilizer() -> list[Figure]:
    """A surface code's memory, d = 7, 7 rounds, 100,000 shots: `run` on a circuit that it has not seen, over bare stim's samples."""
    bare = stim.Circuit.generated("surface_code:rotated_memory_z", distance=7, rounds=7, after_clifford_depolarization=0.003).flattened()
    sampler = bare.compile_sampler(seed=1)
    run(from_stim(bare), 10, seed=1)
    ours, theirs = [], []
    for _ in range(9):
        noisy = from_stim(bare)
        ours.append(_cpu_seconds(lambda: run(noisy, 100_000, seed=1)))  # noqa: B023
        theirs.append(_cpu_seconds(lambda: sampler.sample(100_000)))
    seconds, peer_s = float(np.median(ours)), float(np.median(theirs))
    return [_against("stabilizer engine, d = 7 surface code, 100,000 shots", seconds, "bare stim", peer_s, 1.1)]


def from_stim(circuit: stim.Circuit) -> NoisyCircuit:
    """A memory experiment of stim's as a noisy circuit; what only annotates is left out, a reading that resets is both."""
    names = {"H": "h", "CX": "cx"}
    steps: list[Step] = []
    for line in circuit:
        groups = [tuple(target.value for target in group) for group in line.target_groups() if group[0].is_qubit_target]
        for qubits in groups:
            if line.name in names:
                steps.append(Unitary(GATES[names[line.name]].unitary(), qubits, names[line.name]))
            elif line.name.startswith("DEPOLARIZE"):
                words = 4 ** len(qubits)
                error = line.gate_args_copy()[0]
                steps.append(PauliNoise(np.array([1 - error, *[error / (words - 1)] * (words - 1)]), qubits))
            elif line.name in {"R", "M", "MR"}:
                steps += [Measurement(qubits[0])] if "M" in line.name else []
                steps += [Reset(qubits[0])] if "R" in line.name else []
    return NoisyCircuit(circuit.num_qubits, tuple(steps))


if __name__ == "__main__":
    for figure in (*benchmark_stabilizer(), *benchmark_state_vector(), *benchmark_trajectories()):
        print(figure.line())
