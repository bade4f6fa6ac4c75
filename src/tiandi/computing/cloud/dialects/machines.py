"""Machines as the Tianyan cloud names and describes them: codes, the list, and the calibration in the file its clients download."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from tiandi.computing.circuits.qcis import NAMES
from tiandi.computing.cloud import photonic
from tiandi.computing.cloud.machines import Machine
from tiandi.errors import InputError

PUBLISHED = {"tianyan-176": "tianyan176", "tianyan-176-2": "tianyan176-2"}
"""The codes of that cloud for machines that are called otherwise here. Others keep their names, without dots: clients refuse those."""
ORIGIN = "Origin"
NATIVE = ("X2P", "X2M", "Y2P", "Y2M", "XY2P", "XY2M", "RZ", "I", "B", "M", "CZ")
"""What its clients count on from a machine; CZ is listed with the couplers it needs."""
SIMULATOR = "simulator"
PHOTONIC = photonic.KIND
"""Its programs are none that this cloud's clients write."""
RUNNING, FREE = 0, 1
_TIME = "%Y-%m-%d %H:%M:%S"


class Codes:
    """The machines of a cloud that this dialect offers, by code."""

    def __init__(self, machines: Mapping[str, Machine]) -> None:
        self._machines = machines

    @cached_property
    def names(self) -> dict[str, str]:
        """What the machine of each code is called here; asked for late, for a twin takes a moment to build."""
        found = {}
        for name, machine in self._machines.items():
            facts = machine.facts()
            if not str(facts.get("maker", "")).startswith(ORIGIN) and facts.get("kind") != PHOTONIC:
                found[PUBLISHED.get(name, name.replace(".", "-"))] = name
        return found

    def name(self, code: str | None) -> str:
        """What the machine is called here. Raises InputError naming the codes that exist."""
        if code not in self.names:
            raise InputError("computerCode", code, f"must be one of {', '.join(self.names)}")
        return self.names[code]

    def machine(self, code: str | None) -> Machine:
        """The machine of a code. Raises InputError."""
        return self._machines[self.name(code)]

    def number(self, text: str) -> str:
        """The code of the machine with an identifier of `listing`. Raises InputError."""
        for number, code in enumerate(self.names, 1):
            if text == str(number):
                return code
        raise InputError("quantumComputerId", text[:32], f"must lie in [1, {len(self.names)}]")

    def listing(self) -> list[dict[str, Any]]:
        """Every machine, with what any of the clients looks for."""
        return [_described(number, code, self.machine(code)) for number, code in enumerate(self.names, 1)]


def is_simulator(machine: Machine) -> bool:
    """Whether it has no couplers and no calibration."""
    return bool(machine.facts().get("kind") == SIMULATOR)


def _described(number: int, code: str, machine: Machine) -> dict[str, Any]:
    facts, simulates = machine.facts(), is_simulator(machine)
    disabled_qubits, disabled_couplers = ("", "") if simulates else _disabled(machine.calibration())
    rule = {"CZ": "" if simulates else '{"topology": "coupler_map"}'}
    return {
        "id": str(number),
        "code": code,
        "name": facts.get("title", code),
        "status": RUNNING,
        "isToll": FREE,
        "labels": "2" if simulates else "1",
        "bitWidth": facts["qubits"],
        "disabledQubits": disabled_qubits,
        "disabledCouplers": disabled_couplers,
        "baseGate": [{"qcis": name, "rule": rule.get(name, "")} for name in NATIVE],
        "derivativeGate": [{"qcis": name} for name in NAMES if name not in NATIVE],
        "createTime": f"{facts.get('year', 1970)}-01-01 00:00:00",
    }


def overview(calibration: Mapping[str, Any]) -> dict[str, Any]:
    """Qubits, couplers, which joins which, and the row and column of each qubit."""
    qubits = calibration["qubits"]
    return {
        "qubits": [f"Q{entry['qubit']}" for entry in qubits],
        "couplers": [f"G{entry['coupler']}" for entry in calibration.get("couplers", ())],
        "coupler_map": {f"G{entry['coupler']}": [f"Q{qubit}" for qubit in entry["qubits"]] for entry in calibration.get("couplers", ())},
        "qpu_coordinate": {f"Q{entry['qubit']}": [entry["row"], entry["column"]] for entry in qubits if "row" in entry},
    }


def configuration(code: str, machine: Machine) -> dict[str, Any]:
    """The calibration as its clients read it. Errors are Pauli errors, as in the cloud's own API; couplings in MHz, times in us.

    Amplitudes of pulses are left out: a twin has none, and this cloud runs no pulses. Raises InputError for a simulator.
    """
    if is_simulator(machine):
        raise InputError("machine", code, "is a simulator: it has no calibration")
    data = machine.calibration()
    qubits = [entry for entry in data["qubits"] if entry["works"]]
    couplers = [entry for entry in data["couplers"] if entry["works"]]
    names, pairs = [f"Q{entry['qubit']}" for entry in qubits], [f"G{entry['coupler']}" for entry in couplers]
    now, (disabled_qubits, disabled_couplers) = datetime.now(UTC).strftime(_TIME), _disabled(data)

    def of_qubits(values: list[float], unit: str) -> dict[str, Any]:
        return {"param_list": values, "qubit_used": names, "unit": unit, "update_time": now}

    def of_couplers(values: list[float], unit: str) -> dict[str, Any]:
        return {"param_list": values, "qubit_used": pairs, "unit": unit, "update_time": now}

    readout = {
        "Readout Error": of_qubits([entry["readout_error"] for entry in qubits], ""),
        "|0> readout fidelity": of_qubits([1 - entry["one_for_zero"] for entry in qubits], ""),
        "|1> readout fidelity": of_qubits([1 - entry["zero_for_one"] for entry in qubits], ""),
    }
    return {
        "computerId": code,
        "calibrationTime": now,
        "disabledQubits": disabled_qubits,
        "disabledCouplers": disabled_couplers,
        "overview": {
            **overview(data), "disabledQubits": disabled_qubits, "disabled_qubits": [word for word in disabled_qubits.split(",") if word]
        },
        "qubit": {
            "relatime": {
                "T1": of_qubits([1e6 * entry["t1_s"] for entry in qubits], "us"),
                "T2": of_qubits([1e6 * entry["t2_s"] for entry in qubits], "us"),
            },
            "frequency": {
                "f01": of_qubits([1e-6 * entry["frequency_hz"] for entry in qubits], "MHz"),
                "fah": of_qubits([1e-6 * entry["anharmonicity_hz"] for entry in qubits], "MHz"),
            },
            "singleQubit": {"gate error": of_qubits([entry["single_qubit_error"] for entry in qubits], "")},
        },
        "readout": {"readoutArray": readout},
        "twoQubitGate": {
            "czGate": {
                "gate error": of_couplers([entry["two_qubit_error"] for entry in couplers], ""),
                "coupling strength": of_couplers([1e-6 * entry["coupling_hz"] for entry in couplers], "MHz"),
            }
        },
    }  # fmt: skip


def _disabled(data: Mapping[str, Any]) -> tuple[str, str]:
    """Qubits and couplers that do not work, as lists with commas between."""
    qubits = ",".join(f"Q{entry['qubit']}" for entry in data["qubits"] if not entry["works"])
    return qubits, ",".join(f"G{entry['coupler']}" for entry in data.get("couplers", ()) if not entry["works"])
