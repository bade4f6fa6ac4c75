"""A machine as the Origin cloud describes a chip, its best blocks of qubits, and its readout errors taken out of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tiandi.computing.cloud.machines import Machine
from tiandi.limits import require_within

BASIC_GATES = ("U3", "CZ")
"""What its compiler may leave in a program: this cloud reads U3 and CZ as the native gates."""
SINGLE, DOUBLE = "RPhi", "CZ"
"""The gates by whose durations the client knows those of all gates with one qubit, and with two."""
MOST_BLOCKS = 100


def chip(machine: Machine) -> dict[str, Any]:
    """What chipInfo.json tells: times in us, frequencies in Hz, durations in ns, fidelities as 1 minus the calibration's errors."""
    data = machine.calibration()
    working = [entry for entry in data["couplers"] if entry["works"]]
    neighbours: dict[str, list[dict[str, Any]]] = {str(entry["qubit"]): [] for entry in data["qubits"]}
    for entry in working:
        first, second = entry["qubits"]
        for one, other in ((first, second), (second, first)):
            neighbours[str(one)].append({"v": other, "w": 1 - entry["two_qubit_error"]})
    return {
        "ChipID": machine.name,
        "QubitCount": len(data["qubits"]),
        "AvailableQubits": [entry["qubit"] for entry in data["qubits"] if entry["works"]],
        "HighFrequencyQubit": [],
        "CompensateAngle": {},
        "BasicQGate": list(BASIC_GATES),
        "QGateClock": [
            {"gateType": SINGLE, "IntValue": round(1e9 * data["single_qubit_gate_s"])},
            {"gateType": DOUBLE, "IntValue": round(1e9 * data["two_qubit_gate_s"])},
        ],
        "adjMatrix": neighbours,
        "QubitParams": [
            {
                "qubitId": str(entry["qubit"]),
                "Frequency": entry["frequency_hz"],
                "T1": 1e6 * entry["t1_s"],
                "T2": 1e6 * entry["t2_s"],
                "ReadoutFidelity": 1 - entry["readout_error"],
                "SingleGateFidelity": 1 - entry["single_qubit_error"],
            }
            for entry in data["qubits"]
        ],
    }


def blocks(calibration: Mapping[str, Any], size: int, count: int) -> list[list[int]]:
    """Up to ``count`` connected blocks of ``size`` working qubits, best first, grown from each qubit by the neighbour that costs least.

    The cost of a qubit is its readout and gate error and that of the best coupler to the block. Raises InputError.
    """
    works = {entry["qubit"]: entry for entry in calibration["qubits"] if entry["works"]}
    require_within("qubitNum", size, 1, len(works))
    require_within("qubitBlockNum", count, 1, MOST_BLOCKS)
    errors: dict[int, dict[int, float]] = {qubit: {} for qubit in works}
    for entry in calibration["couplers"]:
        first, second = entry["qubits"]
        if entry["works"] and first in works and second in works:
            errors[first][second] = errors[second][first] = entry["two_qubit_error"]
    own = {qubit: entry["readout_error"] + entry["single_qubit_error"] for qubit, entry in works.items()}
    found: dict[tuple[int, ...], float] = {}
    for start in works:
        block, cost = [start], own[start]
        while len(block) < size:
            edge = [(own[other] + error, other) for qubit in block for other, error in errors[qubit].items() if other not in block]
            if not edge:
                break
            more, chosen = min(edge)
            block.append(chosen)
            cost += more
        if len(block) == size:
            found[tuple(sorted(block))] = cost
    return [list(block) for block in sorted(found, key=found.__getitem__)[:count]]


def corrected(counts: Mapping[str, int], qubits: Sequence[int], calibration: Mapping[str, Any]) -> dict[str, float]:
    """Probabilities with each qubit's readout confusion inverted, negative ones set to 0 and the rest scaled to 1.

    ``counts`` have the first of ``qubits`` rightmost; a bit that no measurement wrote (qubit -1) stays as it is.
    """
    width = len(qubits)
    table = np.zeros(2**width)
    for string, number in counts.items():
        table[int(string, 2)] = number
    table = table.reshape((2,) * width)
    for axis, qubit in enumerate(reversed(qubits)):
        if qubit >= 0:
            entry = calibration["qubits"][qubit]
            right, wrong = 1 - entry["one_for_zero"], entry["zero_for_one"]
            inverse = np.linalg.inv(np.array([[right, wrong], [1 - right, 1 - wrong]]))
            table = np.moveaxis(np.tensordot(inverse, table, axes=(1, axis)), 0, axis)
    flat = np.clip(table.ravel(), 0.0, None)
    flat /= flat.sum()
    return {f"{place:0{width}b}": float(flat[place]) for place in np.flatnonzero(flat)}
