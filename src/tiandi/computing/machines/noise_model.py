"""The noise of a circuit on a machine, written out gate by gate.

What happens, in this order, at each operation:

1. Each of its qubits that waited since its last operation decays with T1 and dephases with T2 for that time. Where T2 was taken without
   echo, what it has beyond T1 is slow noise: coherence falls as exp(-(t/T)^2), which spares short times.
2. The gate.
3. Each of its qubits decays and dephases for the time of the gate.
4. A two-qubit gate: each of its qubits leaks, together ``leakage_share`` of the gate's error.
5. What is left of the gate's published error happens as one of the 3 or 15 Pauli words, each as likely (depolarising).
   A published error contains what damping and leakage do during the gate: the three together make exactly that error, 1 - F with F the
   entanglement fidelity. Where damping alone would exceed it (T2 is of slow noise), the time of damping is shortened until it does not.
6. Crosstalk: a pair of coupled qubits, each busy in another two-qubit gate at the same time, suffers ZZ with probability ``crosstalk``.

A measurement reads wrongly as calibrated; its published error contains the decay while it lasts.
"""

from __future__ import annotations

import math

import numpy as np

from tiandi.computing.circuits.circuit import DELAY, MEASURE, RESET, Circuit, Operation
from tiandi.computing.circuits.gates import GATES
from tiandi.computing.circuits.noise import Damping, FloatArray, Leakage, Measurement, NoisyCircuit, PauliNoise, Reset, Step, Unitary
from tiandi.computing.machines.calibration import Calibration
from tiandi.computing.machines.lattice import Lattice
from tiandi.computing.machines.mechanisms import Mechanisms
from tiandi.computing.machines.schedule import TICK_PER_S, VIRTUAL, Scheduled, schedule
from tiandi.errors import InputError

PULSES = frozenset({"x", "y", "sx", "sxdg", "sy", "sydg", "rx", "ry", "rxy"})
"""Turns about axes in the equator, which a machine that makes any of them makes by one pulse."""


class NoiseModel:
    """What goes wrong on one machine as it is calibrated now; gates on the same qubits have the same errors, which are worked out once."""

    def __init__(self, lattice: Lattice, calibration: Calibration, mechanisms: Mechanisms, native_gates: tuple[str, ...]) -> None:
        self._qubit_count, self._couplers = lattice.qubit_count, lattice.coupler_number()
        self._calibration, self._mechanisms = calibration, mechanisms
        self._native = frozenset(native_gates) | VIRTUAL | {"id"} | (PULSES if PULSES & set(native_gates) else frozenset())
        self._works = calibration.qubit_works.tolist()
        self._crosstalk = _both_turned(mechanisms.crosstalk)
        self._neighbours: dict[int, list[int]] = {qubit: [] for qubit in range(lattice.qubit_count)}
        for first, second in self._couplers:
            self._neighbours[first].append(second)
            self._neighbours[second].append(first)
        self._known: dict[tuple[int, ...], tuple[Step, ...]] = {}

    def write(self, circuit: Circuit) -> NoisyCircuit:
        """``circuit`` with the noise of the machine; raises InputError for what the machine cannot do."""
        if circuit.qubit_count > self._qubit_count:
            raise InputError("qubits", circuit.qubit_count, f"must be at most the machine's {self._qubit_count}")
        steps: list[Step] = []
        busy_until: dict[int, int] = {}
        for item in schedule(circuit, self._calibration):
            steps += self._steps(item)
            if len(item.operation.qubits) == 2:
                steps += self._crossed(item, busy_until)
                busy_until.update(dict.fromkeys(item.operation.qubits, item.end))
        return NoisyCircuit(circuit.qubit_count, tuple(steps))

    def _steps(self, item: Scheduled) -> list[Step]:
        operation = item.operation
        steps: list[Step] = []
        for qubit, idle in zip(operation.qubits, item.idle, strict=True):
            if not self._works[qubit]:
                raise InputError(f"qubit of {operation.name}", qubit, "is disabled on this machine")
            if idle > 0:
                steps.append(self._damping(qubit, idle / TICK_PER_S))
        if operation.name == MEASURE:
            return [*steps, self._measurement(operation.qubits[0])]
        if operation.name == RESET:
            return [*steps, Reset(operation.qubits[0])]
        if operation.name in {DELAY, "id"}:
            return [*steps, self._damping(operation.qubits[0], (item.end - item.start) / TICK_PER_S)]
        return [*steps, *self._gate(operation)]

    def _damping(self, qubit: int, time_s: float) -> Damping:
        return damping(
            qubit,
            time_s,
            t1_s=float(self._calibration.t1_s[qubit]),
            t2_s=float(self._calibration.t2_s[qubit]),
            slow=self._mechanisms.slow_dephasing,
        )

    def _measurement(self, qubit: int) -> Measurement:
        factor = self._mechanisms.readout_factor
        wrong = self._calibration.one_for_zero[qubit], self._calibration.zero_for_one[qubit]
        return Measurement(qubit, factor * float(wrong[0]), factor * float(wrong[1]))

    def _gate(self, operation: Operation) -> tuple[Step, ...]:
        if operation.name not in self._native:
            raise InputError("gate", operation.name, f"must be native to this machine: {', '.join(sorted(self._native))}")
        matrix = GATES[operation.name].unitary(*operation.parameters)
        gate = Unitary(matrix, operation.qubits, operation.name, operation.parameters)
        if operation.name in VIRTUAL:
            return (gate,)
        if operation.qubits not in self._known:
            self._known[operation.qubits] = self._errors(operation)
        return (gate, *self._known[operation.qubits])

    def _errors(self, operation: Operation) -> tuple[Step, ...]:
        """Damping, leakage and depolarising that make the published error of a gate; every gate on the same qubits has the same."""
        calibration, qubits = self._calibration, operation.qubits
        if len(qubits) == 1:
            error, time_s, leaking = float(calibration.single_qubit_error[qubits[0]]), calibration.single_qubit_gate_s, 0.0
        else:
            pair = (min(qubits), max(qubits))
            if pair not in self._couplers or not calibration.coupler_works[self._couplers[pair]]:
                raise InputError(f"qubits of {operation.name}", qubits, "are not joined by a coupler that works")
            error, time_s = float(calibration.two_qubit_error[self._couplers[pair]]), calibration.two_qubit_gate_s
            leaking = self._mechanisms.leakage_share * error / 1.5  # Leakage of p is an error of 3p/4, on each of two qubits.
        incoherent = [self._damping(qubit, time_s) for qubit in qubits]
        room, share = (1 - error) / (1 - 0.75 * leaking) ** len(qubits), 1.0
        while math.prod(damping_fidelity(step) for step in incoherent) < room:
            share /= 2
            incoherent = [self._damping(qubit, share * time_s) for qubit in qubits]
        left = 1 - room / math.prod(damping_fidelity(step) for step in incoherent)
        leaks = [Leakage(leaking, qubit) for qubit in qubits] if leaking else []
        return (*incoherent, *leaks, PauliNoise(depolarising(left, len(qubits)), qubits))

    def _crossed(self, item: Scheduled, busy_until: dict[int, int]) -> list[Step]:
        """ZZ with each neighbour that another gate keeps busy when this one begins."""
        if not self._mechanisms.crosstalk:
            return []
        first, second = item.operation.qubits
        return [
            PauliNoise(self._crosstalk, (qubit, neighbour))
            for qubit, partner in ((first, second), (second, first))
            for neighbour in self._neighbours[qubit]
            if neighbour != partner and busy_until.get(neighbour, 0) > item.start
        ]


def damping(qubit: int, time_s: float, *, t1_s: float, t2_s: float, slow: bool) -> Damping:
    """What ``time_s`` of waiting does: decay exp(-t/T1), then dephasing by the rest of T2, exponential or, of ``slow`` noise, Gaussian."""
    pure_rate = max(1 / t2_s - 0.5 / t1_s, 0.0)
    exponent = time_s * pure_rate
    return Damping(-math.expm1(-time_s / t1_s), -0.5 * math.expm1(-(exponent**2) if slow else -exponent), qubit)


def damping_fidelity(step: Damping) -> float:
    """Entanglement fidelity of decay and dephasing: sum over Kraus operators of |tr K|^2/4 (Nielsen 2002)."""
    root = math.sqrt(1 - step.amplitude)
    return (1 - step.phase) * (1 + root) ** 2 / 4 + step.phase * (1 - root) ** 2 / 4


def depolarising(error: float, qubits: int) -> FloatArray:
    """Probabilities of the Pauli words, shape (4**qubits,): none with 1 - ``error``, all others alike."""
    words = 4**qubits
    probabilities = np.full(words, error / (words - 1))
    probabilities[0] = 1 - error
    return probabilities


def _both_turned(probability: float) -> FloatArray:
    """Z on both of two qubits."""
    probabilities = np.zeros(16)
    probabilities[0], probabilities[15] = 1 - probability, probability
    return probabilities
