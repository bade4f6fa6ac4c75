"""Writes peers.json: programs and state vectors as the makers' own libraries give them. Needs cqlib 1.3.11 and pyqpanda3 0.5.1.

Run by hand in an environment that holds both: python record_peers.py
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

import numpy as np
from cqlib.circuits import Circuit, gates
from cqlib.simulator import StatevectorSimulator
from pyqpanda3 import core
from pyqpanda3.intermediate_compiler import convert_qprog_to_originir


def numbers(values) -> list[list[float]]:
    """Real and imaginary parts, rounded far below the tolerance of the tests."""
    return [[round(float(value.real), 12), round(float(value.imag), 12)] for value in np.asarray(values, complex).ravel()]


def cqlib_gates() -> list[dict]:
    """Every gate of cqlib with its matrix, and as what it is sent."""

    found = []
    for name in gates.__all__:
        count = len(inspect.signature(getattr(gates, name).__init__).parameters) - 2
        angles = [round(0.37 * (place + 1) - 0.9 * (place % 2), 3) for place in range(count)] if name != "I" else [40]
        gate = getattr(gates, name)(*angles)
        qubits = " ".join(f"Q{number}" for number in range(gate.num_qubits))
        text = " ".join([name, qubits, *map(str, angles)])
        found.append({"text": text, "matrix": numbers(gate.__array__()), "sent": Circuit.load(text).qcis})
    return found


def cqlib_circuits(generator: np.random.Generator) -> list[dict]:
    """Random circuits as cqlib sends them, with the amplitudes of its own simulator."""

    found = []
    for _ in range(10):
        count = 5
        circuit = Circuit(count)
        for _ in range(40):
            first, second, third = (int(number) for number in generator.permutation(count)[:3])
            angles = [float(angle) for angle in generator.uniform(-7, 7, 3)]
            name = str(generator.choice(sorted(_CQLIB)))
            getattr(circuit, name)(*_CQLIB[name](first, second, third, angles))
        amplitudes = StatevectorSimulator(circuit).statevector()
        found.append(
            {"text": circuit.as_str(), "sent": circuit.qcis, "amplitudes": {key: numbers([value])[0] for key, value in amplitudes.items()}}
        )
    return found


_CQLIB = {
    **{name: lambda a, b, c, w: (a,) for name in ("h", "x", "y", "z", "s", "sd", "t", "td", "x2p", "x2m", "y2p", "y2m")},
    **{name: lambda a, b, c, w: (a, w[0]) for name in ("rx", "ry", "rz", "xy2p", "xy2m", "xy")},
    **{name: lambda a, b, c, w: (a, b) for name in ("cx", "cy", "cz", "swap")},
    "rxy": lambda a, b, c, w: (a, w[0], w[1]),
    "u": lambda a, b, c, w: (a, *w),
    **{name: lambda a, b, c, w: (a, b, w[0]) for name in ("crx", "cry", "crz")},
    "ccx": lambda a, b, c, w: (a, b, c),
}


def pyqpanda_circuits(generator: np.random.Generator) -> list[dict]:
    """Random circuits as pyqpanda3 writes them, with the amplitudes of its own simulator (qubit 0 least significant)."""

    one = ["H", "X", "Y", "Z", "S", "T", "I", "X1", "Y1", "Z1"]
    turns = {"RX": 1, "RY": 1, "RZ": 1, "U1": 1, "P": 1, "U2": 2, "RPHI": 2, "U3": 3, "U4": 4}
    two = {"CNOT": 0, "CZ": 0, "SWAP": 0, "ISWAP": 0, "SQISWAP": 0, "CR": 1, "CP": 1, "CRX": 1, "CRY": 1, "CRZ": 1, "CU": 4,
           "RXX": 1, "RYY": 1, "RZZ": 1, "RZX": 1}  # fmt: skip

    def gate(qubits):
        kind = generator.integers(4)
        if kind == 0:
            return getattr(core, str(generator.choice(one)))(qubits[0])
        if kind == 1:
            name = str(generator.choice(sorted(turns)))
            return getattr(core, name)(qubits[0], *(float(angle) for angle in generator.uniform(-7, 7, turns[name])))
        if kind == 2:
            name = str(generator.choice(sorted(two)))
            return getattr(core, name)(*qubits[:2], *(float(angle) for angle in generator.uniform(-7, 7, two[name])))
        return core.TOFFOLI(*qubits[:3])

    found = []
    for _ in range(16):
        count = 6
        program = core.QProg()
        for qubit in range(count):
            program << core.RY(qubit, float(generator.uniform(0, 3)))
        for _ in range(12):
            order = [int(number) for number in generator.permutation(count)]
            program << gate(order)
            inner = core.QCircuit()
            for _ in range(2):
                inner << gate([order[number] for number in generator.permutation(3)])
            kind = generator.integers(4)
            if kind == 0:
                program << inner.dagger()
            elif kind == 1:
                program << inner.control(order[3 : 4 + int(generator.integers(2))])
            elif kind == 2:
                program << inner.dagger().control(order[3:4])
        machine = core.CPUQVM()
        machine.run(program, 1)
        found.append({"text": convert_qprog_to_originir(program, 14), "state": numbers(machine.result().get_state_vector())})
    return found


if __name__ == "__main__":
    draw = np.random.default_rng(5)
    data = {
        "source": "cqlib 1.3.11 and pyqpanda3 0.5.1, by record_peers.py",
        "cqlib gates": cqlib_gates(),
        "cqlib circuits": cqlib_circuits(draw),
        "pyqpanda3 circuits": pyqpanda_circuits(draw),
    }
    target = Path(__file__).with_name("peers.json")
    target.write_text(json.dumps(data, indent=None, separators=(",", ":")).replace('},{"text"', '},\n{"text"') + "\n", encoding="utf-8")
    sys.stdout.write(f"{target}: {target.stat().st_size} bytes\n")
